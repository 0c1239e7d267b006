//! The codes that the index holds instead of roles.
//!
//! A predefined role has its number for a code. A custom role gets a code while somebody holds it, and the code is given again
//! afterwards. When all codes are given, and wherever a code can't say what is held, it is [`ASK`]: the state answers that question.

use std::collections::BTreeMap;

use bindery_index::{ASK, CODE_MAX};

use crate::id::{Id as _, RoleId};
use crate::permission::PermissionSet;
use crate::role::CUSTOM_FIRST;
use crate::state::State;

/// Which custom roles have which codes.
#[derive(Debug)]
pub(super) struct RoleCodes {
    by_role: BTreeMap<RoleId, u32>,
    /// By code, from the first that isn't fixed: the role; `None` for a code that is free.
    roles: Vec<Option<RoleId>>,
    free: Vec<u32>,
    /// So many custom roles have codes at once, at the most.
    custom_max: usize,
}

impl RoleCodes {
    /// So many codes are left for custom roles.
    pub(super) const CUSTOM_MAX: usize = custom_max();

    /// Codes for the roles that users have in the state, for `custom_max` custom ones at the most.
    pub(super) fn of(state: &State, custom_max: usize) -> Self {
        let mut codes = Self {
            by_role: BTreeMap::new(),
            roles: Vec::new(),
            free: Vec::new(),
            custom_max: custom_max.min(Self::CUSTOM_MAX),
        };
        for role in state.uses_of_role.keys() {
            codes.give(*role);
        }
        codes
    }

    /// The code of a role that is held, and whether it was given just now: then the index must be told what it means.
    pub(super) fn give(&mut self, role: RoleId) -> Given {
        if let Some(code) = self.known(role) {
            return Given::Before(code);
        }
        if self.by_role.len() >= self.custom_max {
            return Given::Before(ASK);
        }
        let code = match self.free.pop() {
            Some(code) => code,
            None => code_at(self.roles.len()),
        };
        if let Some(place) = self.place_mut(code) {
            debug_assert_eq!(*place, None, "a free code is no role's");
            *place = Some(role);
        } else {
            self.roles.push(Some(role));
        }
        self.by_role.insert(role, code);
        self.assert_counted();
        Given::Now(code)
    }

    /// The code of a role, if it has one.
    pub(super) fn known(&self, role: RoleId) -> Option<u32> {
        match role.number() {
            // No role has it, and in the index it says that nothing is there. Only damage produces it.
            0 => Some(ASK),
            number if number < CUSTOM_FIRST => Some(number),
            _ => self.by_role.get(&role).copied(),
        }
    }

    /// The custom role of a code.
    pub(super) fn role(&self, code: u32) -> Option<RoleId> {
        let place = usize::try_from(code.checked_sub(CUSTOM_FIRST)?).ok()?;
        self.roles.get(place).copied().flatten()
    }

    /// Takes a code back from a role that nobody holds any more.
    pub(super) fn take_back(&mut self, code: u32) {
        let role = self.place_mut(code).and_then(Option::take);
        debug_assert!(role.is_some(), "only a code that was given is taken back");
        if let Some(role) = role {
            self.by_role.remove(&role);
            self.free.push(code);
        }
        self.assert_counted();
    }

    /// Every code that may be held, with its permissions and the number of its role.
    pub(super) fn all<'a>(
        &'a self,
        state: &'a State,
    ) -> impl Iterator<Item = (u32, PermissionSet, RoleId)> + 'a {
        let fixed = (1..CUSTOM_FIRST).map(|number| (number, RoleId::new(number)));
        let custom = self.by_role.iter().map(|(role, code)| (*code, *role));
        fixed
            .chain(custom)
            .map(|(code, role)| (code, state.permissions(role), role))
    }

    fn assert_counted(&self) {
        debug_assert_eq!(
            self.by_role.len().saturating_add(self.free.len()),
            self.roles.len(),
            "a code is a role's or free"
        );
    }

    fn place_mut(&mut self, code: u32) -> Option<&mut Option<RoleId>> {
        let place = usize::try_from(code.checked_sub(CUSTOM_FIRST)?).ok()?;
        self.roles.get_mut(place)
    }
}

/// A code, and since when its role has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// The index knows it.
    Before(u32),
    /// The index must be told what it means.
    Now(u32),
}

/// The codes of all roles in an array, for a build that looks up millions.
pub(super) struct FoundCodes<'a> {
    /// By the number of the role, for those below [`Self::COUNTED_MAX`].
    found: Vec<u32>,
    codes: &'a RoleCodes,
}

impl<'a> FoundCodes<'a> {
    const COUNTED_MAX: u32 = 1 << 16;

    pub(super) fn new(codes: &'a RoleCodes) -> Self {
        let last = codes.by_role.last_key_value();
        let end = last.map_or(CUSTOM_FIRST, |(role, _)| role.number().saturating_add(1));
        let numbers = 0..end.min(Self::COUNTED_MAX);
        Self {
            found: numbers.map(|number| find(codes, number)).collect(),
            codes,
        }
    }

    #[inline]
    pub(super) fn of(&self, role: RoleId) -> u32 {
        let place = usize::try_from(role.number()).unwrap_or(usize::MAX);
        match self.found.get(place) {
            Some(code) => *code,
            None => find(self.codes, role.number()),
        }
    }
}

fn find(codes: &RoleCodes, number: u32) -> u32 {
    codes.known(RoleId::new(number)).unwrap_or(ASK)
}

/// The code at this place behind the fixed ones.
fn code_at(place: usize) -> u32 {
    let place = u32::try_from(place).unwrap_or(u32::MAX);
    let code = place.saturating_add(CUSTOM_FIRST);
    debug_assert!(code <= CODE_MAX, "no more codes are given than there are");
    code
}

#[expect(clippy::as_conversions, reason = "of constants, in a const fn")]
const fn custom_max() -> usize {
    (CODE_MAX - CUSTOM_FIRST + 1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::{Account, AccountSettings};
    use crate::text::Name;
    use crate::time::Timestamp;

    fn codes(custom_max: usize) -> RoleCodes {
        let account = Account {
            id: crate::id::AccountId(1),
            name: Name::parse("account").unwrap(),
            id_key: crate::id::IdKey::new([7; 16]),
            created_at: Timestamp::from_millis(0),
            settings: AccountSettings::default(),
        };
        RoleCodes::of(&State::new(account), custom_max)
    }

    fn custom(number: u32) -> RoleId {
        RoleId::new(CUSTOM_FIRST.saturating_add(number))
    }

    #[test]
    fn a_predefined_role_has_its_number_and_a_custom_one_keeps_its_code() {
        let mut codes = codes(RoleCodes::CUSTOM_MAX);
        assert_eq!(codes.give(RoleId::new(9)), Given::Before(9));
        assert_eq!(codes.give(custom(1000)), Given::Now(CUSTOM_FIRST));
        assert_eq!(codes.give(custom(1000)), Given::Before(CUSTOM_FIRST));
        assert_eq!(codes.role(CUSTOM_FIRST), Some(custom(1000)));
        assert_eq!(codes.role(9), None);
    }

    #[test]
    fn a_code_that_was_taken_back_is_given_again() {
        let mut codes = codes(RoleCodes::CUSTOM_MAX);
        let [Given::Now(one), Given::Now(other)] = [1, 2].map(|role| codes.give(custom(role)))
        else {
            unreachable!("both are new");
        };
        codes.take_back(one);
        assert_eq!(codes.known(custom(1)), None);
        assert_eq!(codes.give(custom(3)), Given::Now(one));
        assert_eq!(codes.known(custom(2)), Some(other));
    }

    #[test]
    fn once_all_codes_are_given_the_state_is_asked() {
        let mut codes = codes(RoleCodes::CUSTOM_MAX);
        let all = u32::try_from(RoleCodes::CUSTOM_MAX).unwrap();
        for role in 0..all {
            assert!(matches!(codes.give(custom(role)), Given::Now(code) if code <= CODE_MAX));
        }
        assert_eq!(codes.give(custom(all)), Given::Before(ASK));
        codes.take_back(CODE_MAX);
        assert_eq!(codes.give(custom(all)), Given::Now(CODE_MAX));
    }
}

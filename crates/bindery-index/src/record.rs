//! What is known of users and places, and how it is packed into words.

use std::hint::select_unpredictable;

use crate::pool::{Full, Table};

/// Numbers of users and places must be below this: two bits of a key say what is held.
pub(crate) const NUMBERS: u32 = 1 << 30;

/// The code that the index can't answer for: it never has a table.
pub const ASK: u32 = 0xffff;

/// The highest code that may have a table. The chunk of tables behind it would have one for [`ASK`] too.
pub const CODE_MAX: u32 = 0xfe7f;

/// What kind of thing is held on a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A role in an organization.
    Organization,
    /// A predefined role in a space.
    Membership,
    /// A role bound on a space.
    Binding,
    /// A role bound on a project.
    OnProject,
}

/// What a key names: the top bits of it.
const ORGANIZATION: u32 = 0;
const SPACE: u32 = 1;
const PROJECT: u32 = 3;

/// Membership and binding of a space are one slot, so that a check has a key less to look for: its value has the binding's
/// code below, and the membership's above.
const MEMBERSHIP_SHIFT: u32 = 16;

impl Kind {
    #[inline]
    pub(crate) const fn key(self, number: u32) -> u32 {
        debug_assert!(number < NUMBERS, "the top bits of a key are its kind's");
        let named = match self {
            Self::Organization => ORGANIZATION,
            Self::Membership | Self::Binding => SPACE,
            Self::OnProject => PROJECT,
        };
        named << 30 | number
    }

    /// The part of a slot's value that is of this kind.
    #[inline]
    pub(crate) const fn code_in(self, value: u32) -> u32 {
        match self {
            Self::Membership => value >> MEMBERSHIP_SHIFT,
            Self::Organization | Self::Binding | Self::OnProject => value & 0xffff,
        }
    }

    /// A slot's value with this part of it.
    pub(crate) const fn with_code(self, value: u32, code: u32) -> u32 {
        debug_assert!(code <= 0xffff, "codes have 16 bits");
        match self {
            Self::Membership => value & 0xffff | code << MEMBERSHIP_SHIFT,
            Self::Organization | Self::Binding | Self::OnProject => value & !0xffff | code & 0xffff,
        }
    }

    /// Whether two values of a slot say something of the same kind.
    pub(crate) const fn overlap(one: u32, other: u32) -> bool {
        let is_above = one >> MEMBERSHIP_SHIFT != 0 && other >> MEMBERSHIP_SHIFT != 0;
        let is_below = one & 0xffff != 0 && other & 0xffff != 0;
        is_above || is_below
    }

    /// What a slot holds: its kinds with their codes, and the number of its key.
    #[inline]
    pub(crate) fn each_in(key: u32, value: u32, mut with: impl FnMut(Self, u32, u32)) {
        let mut tell = |kind: Self| {
            let code = kind.code_in(value);
            if code != 0 {
                with(kind, number_of(key), code);
            }
        };
        match key >> 30 {
            ORGANIZATION => tell(Self::Organization),
            PROJECT => tell(Self::OnProject),
            _ => {
                tell(Self::Membership);
                tell(Self::Binding);
            }
        }
    }
}

/// The number in a key.
#[inline]
pub(crate) const fn number_of(key: u32) -> u32 {
    key & (NUMBERS - 1)
}

/// Whether a key names a project.
#[inline]
pub(crate) const fn is_project(key: u32) -> bool {
    key >> 30 == PROJECT
}

/// Whether a key names an organization.
#[inline]
pub(crate) const fn is_organization(key: u32) -> bool {
    key >> 30 == ORGANIZATION
}

/// What is known of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Their role in the account, 0 to 3.
    pub account_role: u8,
    /// Not a bot.
    pub is_human: bool,
    /// Whether they may act at all.
    pub is_active: bool,
    /// The moment from which on they may not.
    pub until: Option<i64>,
}

/// A space's place and mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Its organization.
    pub organization: u32,
    /// Its mark.
    pub is_public: bool,
}

/// A project's place and mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its space.
    pub space: u32,
    /// Its mark.
    pub is_restricted: bool,
}

/// A code that a user holds on something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Who.
    pub user: u32,
    /// What.
    pub kind: Kind,
    /// On what; its kind says which numbers these are.
    pub resource: u32,
    /// Which code.
    pub code: u32,
}

/// The way down to a resource; 0 for what is not on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Where {
    /// The organization.
    pub organization: u32,
    /// The space.
    pub space: u32,
    /// The project.
    pub project: u32,
}

/// What a user holds on the way down to a resource, as codes of 16 bits each; 0 is none. Words, since four halves of
/// one would be packed into it and taken out again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The role in the organization.
    pub organization: u32,
    /// The predefined role in the space.
    pub membership: u32,
    /// The role bound on the space.
    pub binding: u32,
    /// The role bound on the project.
    pub on_project: u32,
}

/// A user's word: their table, their marks, and their first organization with the role there, which most checks need
/// and which is thus found without a second look.
///
/// Users whose time ends have the place of their end where others have their first organization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UserWord(pub(crate) u64);

/// The lowest bit and the width of each part of a [`UserWord`] above its table.
const EXISTS: u32 = Table::BITS;
const ACTIVE: u32 = EXISTS + 1;
const HUMAN: u32 = ACTIVE + 1;
const ACCOUNT_ROLE: u32 = HUMAN + 1;
const ENDS: u32 = ACCOUNT_ROLE + 2;
const SPREAD: u32 = ENDS + 1;
const MORE: u32 = SPREAD + 1;
const HOME_ROLE: u32 = MORE + 1;
const HOME: u32 = HOME_ROLE + 2;
/// Organizations and ends from here on don't fit into a word.
const HOMES: u32 = 1 << (64 - HOME);
/// The code of the first role in an organization; a word holds how far a role is behind it.
const HOME_ROLE_FIRST: u32 = 5;

/// What a user's word says at once.
#[derive(Clone, Copy, Debug)]
pub struct User(pub(crate) UserWord);

impl User {
    /// Whether they exist and may act, unless their time is over.
    #[inline]
    pub const fn is_active(self) -> bool {
        let both = 1 << EXISTS | 1 << ACTIVE;
        self.0.0 & both == both
    }

    /// Whether there is a moment from which on they may not.
    #[inline]
    pub const fn ends(self) -> bool {
        self.0.ends()
    }

    /// Their role in the account, 0 to 3.
    #[inline]
    pub const fn account_role(self) -> u8 {
        self.0.account_role()
    }

    /// Not a bot.
    #[inline]
    pub const fn is_human(self) -> bool {
        self.0.bit(HUMAN)
    }

    /// For whoever carries it: [`User::from_bits`] makes it again.
    #[inline]
    pub const fn bits(self) -> u64 {
        self.0.0
    }

    /// From [`User::bits`] of the same read.
    #[inline]
    pub const fn from_bits(bits: u64) -> Self {
        Self(UserWord(bits))
    }
}

/// What searches ask about a user: four bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Brief(pub(crate) u8);

impl Brief {
    pub(crate) const IN_WORD: usize = 16;
    pub(crate) const MASK: u64 = 0xf;
    const ACTIVE: u8 = 1;
    const HUMAN: u8 = 2;
    const ADMIN: u8 = 4;
    const ENDS: u8 = 8;

    /// The word that a user's is in, and how far up.
    #[inline]
    pub(crate) const fn place(user: u32) -> (usize, u32) {
        (user as usize / Self::IN_WORD, user % 16 * 4)
    }

    pub(crate) fn of(principal: &Principal) -> Self {
        let bit = |is_so: bool, bit: u8| u8::from(is_so) * bit;
        Self(
            bit(principal.is_active, Self::ACTIVE)
                | bit(principal.is_human, Self::HUMAN)
                | bit(principal.account_role == 0, Self::ADMIN)
                | bit(principal.until.is_some(), Self::ENDS),
        )
    }

    /// Whether they exist and may act, unless their time is over.
    #[inline]
    pub const fn is_active(self) -> bool {
        self.0 & Self::ACTIVE != 0
    }

    /// Not a bot.
    #[inline]
    pub const fn is_human(self) -> bool {
        self.0 & Self::HUMAN != 0
    }

    /// Whether their role in the account is its first, 0.
    #[inline]
    pub const fn is_admin(self) -> bool {
        self.0 & Self::ADMIN != 0
    }

    /// Whether there is a moment from which on they may not act.
    #[inline]
    pub const fn ends(self) -> bool {
        self.0 & Self::ENDS != 0
    }
}

impl UserWord {
    #[inline]
    const fn bit(self, at: u32) -> bool {
        self.0 >> at & 1 != 0
    }

    const fn with(self, at: u32, bits: u32, value: u64) -> Self {
        debug_assert!(value >> bits == 0, "a part of a word fits into it");
        let mask = ((1 << bits) - 1) << at;
        Self(self.0 & !mask | value << at)
    }

    #[inline]
    pub(crate) const fn table(self) -> Table {
        Table::from_bits(self.0)
    }

    pub(crate) const fn with_table(self, table: Table) -> Self {
        self.with(0, Table::BITS, table.to_bits())
    }

    #[inline]
    pub(crate) const fn exists(self) -> bool {
        self.bit(EXISTS)
    }

    #[inline]
    pub(crate) const fn ends(self) -> bool {
        self.bit(ENDS)
    }

    /// All but the end, which is elsewhere.
    #[inline]
    pub(crate) const fn principal(self) -> Principal {
        Principal {
            account_role: self.account_role(),
            is_human: self.bit(HUMAN),
            is_active: self.bit(ACTIVE),
            until: None,
        }
    }

    pub(crate) const fn without_principal(self) -> Self {
        self.with(EXISTS, 1, 0)
    }

    pub(crate) fn with_principal(self, principal: &Principal) -> Self {
        self.with(EXISTS, 1, 1)
            .with(ACTIVE, 1, u64::from(principal.is_active))
            .with(HUMAN, 1, u64::from(principal.is_human))
            .with(ACCOUNT_ROLE, 2, u64::from(principal.account_role & 3))
            .with(ENDS, 1, u64::from(principal.until.is_some()))
    }

    #[inline]
    const fn account_role(self) -> u8 {
        (self.0 >> ACCOUNT_ROLE & 3) as u8
    }

    /// Whether all that they hold on the way to a place is in the line of its space, or here.
    #[inline]
    pub(crate) const fn is_in_one_line(self) -> bool {
        self.0 & (1 << SPREAD | 1 << MORE) == 0
    }

    /// Whether project bindings are spread by their project, since too many are in one space.
    #[inline]
    pub(crate) const fn is_spread(self) -> bool {
        self.bit(SPREAD)
    }

    pub(crate) const fn with_spread(self, is_spread: bool) -> Self {
        self.with(SPREAD, 1, is_spread as u64)
    }

    /// Whether there are roles in organizations in the table too.
    #[inline]
    pub(crate) const fn has_more(self) -> bool {
        self.bit(MORE)
    }

    pub(crate) const fn with_more(self, has_more: bool) -> Self {
        self.with(MORE, 1, has_more as u64)
    }

    /// The first organization, or the place of the end.
    #[inline]
    pub(crate) const fn home(self) -> u32 {
        (self.0 >> HOME) as u32
    }

    #[inline]
    pub(crate) const fn home_role(self) -> u32 {
        HOME_ROLE_FIRST + (self.0 >> HOME_ROLE & 3) as u32
    }

    /// The code of the role in this organization, if that is the first one.
    #[inline]
    #[expect(
        clippy::needless_bitwise_bool,
        reason = "a branch would wait for the word"
    )]
    pub(crate) fn role_at_home(self, organization: u32) -> u32 {
        // Who ends has no home, and where there is no organization there is no role either; nothing here waits for a guess.
        let is_home = (self.home() == organization) & (organization != 0) & !self.ends();
        select_unpredictable(is_home, self.home_role(), 0)
    }

    pub(crate) fn with_home(self, home: u32, code: u32) -> Self {
        debug_assert!(
            code == 0 || Self::fits(home, code),
            "only roles that fit stand in a word"
        );
        let role = u64::from(code.saturating_sub(HOME_ROLE_FIRST) & 3);
        self.with(HOME, 64 - HOME, u64::from(home))
            .with(HOME_ROLE, 2, role)
    }

    /// With the place of the user's end.
    pub(crate) fn with_end(self, place: u32) -> Result<Self, Full> {
        (place < HOMES)
            .then_some(self.with_home(place, 0))
            .ok_or(Full)
    }

    /// With the first of these roles that is in an organization, if there is one and nothing else is there.
    pub(crate) fn with_first_home(self, held: &[(u32, u32)]) -> Self {
        let mut of_organizations = held.iter().filter_map(|(key, value)| {
            let (number, code) = (number_of(*key), Kind::Organization.code_in(*value));
            (is_organization(*key) && Self::fits(number, code)).then_some((number, code))
        });
        match of_organizations.next() {
            Some((number, code)) if !self.ends() => self.with_home(number, code),
            _ => self,
        }
    }

    /// Whether this role in this organization fits into a word.
    pub(crate) fn fits(organization: u32, code: u32) -> bool {
        organization < HOMES && (HOME_ROLE_FIRST..HOME_ROLE_FIRST + 4).contains(&code)
    }
}

/// A place's word: where it lies, whether it is there, and its mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place(pub(crate) u64);

impl Place {
    const EXISTS: u64 = 1 << 30;
    const MARK: u64 = 1 << 31;

    pub(crate) fn new(above: u32, mark: bool) -> Self {
        Self(u64::from(above) | Self::EXISTS | if mark { Self::MARK } else { 0 })
    }

    #[inline]
    pub(crate) const fn exists(self) -> bool {
        self.0 & Self::EXISTS != 0
    }

    #[inline]
    pub(crate) const fn mark(self) -> bool {
        self.0 & Self::MARK != 0
    }

    #[inline]
    pub(crate) const fn above(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32 & (NUMBERS - 1)
    }
}

//! What the people of an account have used of its quotas of a day ([`bindery_core::quota`]). Counted in memory: each server on a
//! store counts what it is asked for itself, and a restart or an unload of the account begins anew.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bindery_core::audit::AuditEntry;
use bindery_core::command::{Caller, Context};
use bindery_core::id::UserId;
use bindery_core::quota::{CountedFor, DailyUse, Quota};
use bindery_core::refusal::{QuotaReached, Refusal};
use bindery_core::role::AccountRole;
use bindery_core::state::State;
use bindery_core::time::Timestamp;

/// What stands in an audit entry whose texts found no room.
const LEFT_OUT: &str = "left out: the quotas of bytes written today are used up";
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// How many people are counted each by themselves; those who come after them share one count.
const PERSONS_MAX: usize = 131_072;

/// The use of one account.
#[derive(Debug, Default)]
pub(crate) struct Usage(Mutex<Day>);

#[derive(Debug, Default)]
struct Day {
    number: i64,
    everyone: DailyUse,
    members: DailyUse,
    persons: BTreeMap<UserId, DailyUse>,
    /// Everyone for whom there is no room in `persons`.
    others: DailyUse,
}

/// Today's use, for an account admin to see.
#[derive(Clone, Copy, Debug, Default)]
pub struct Today {
    /// Everyone's.
    pub everyone: DailyUse,
    /// That of everyone who isn't account admin.
    pub members: DailyUse,
    /// One person's.
    pub person: DailyUse,
}

impl Today {
    /// The use that this quota counts; `None` for a total.
    pub fn of(&self, quota: Quota) -> Option<u64> {
        Some(match quota {
            Quota::InvitationsPerDay => self.everyone.invitations,
            Quota::InvitationsPerDayOfMembers => self.members.invitations,
            Quota::InvitationsPerDayOfMember => self.person.invitations,
            Quota::KeysPerDayOfPerson => self.person.keys,
            Quota::PlacesPerDayOfMember => self.person.places,
            Quota::WrittenBytesPerDay => self.everyone.bytes,
            Quota::WrittenBytesPerDayOfMembers => self.members.bytes,
            Quota::WrittenBytesPerDayOfMember => self.person.bytes,
            Quota::Users
            | Quota::Organizations
            | Quota::Spaces
            | Quota::Projects
            | Quota::Roles
            | Quota::RoleBindings
            | Quota::Memberships
            | Quota::Restrictions
            | Quota::ApiKeys
            | Quota::UserKeysOfPerson
            | Quota::ServiceKeysOfCreator => return None,
        })
    }
}

/// The quotas of a day that hold for everyone, and those only for people who aren't account admin.
const FOR_ALL: [Quota; 3] = [
    Quota::InvitationsPerDay,
    Quota::KeysPerDayOfPerson,
    Quota::WrittenBytesPerDay,
];
const FOR_MEMBERS: [Quota; 5] = [
    Quota::InvitationsPerDayOfMembers,
    Quota::InvitationsPerDayOfMember,
    Quota::PlacesPerDayOfMember,
    Quota::WrittenBytesPerDayOfMembers,
    Quota::WrittenBytesPerDayOfMember,
];

impl Usage {
    /// Counts what a command does. Refuses it, and counts nothing, where that is above a limit; what `always` may be done is
    /// only counted.
    pub(crate) fn charge(
        &self,
        state: &State,
        context: &Context,
        added: DailyUse,
        always: bool,
    ) -> Result<(), Refusal> {
        let Some(who) = state.counted_for(context) else {
            return Ok(());
        };
        let mut day = self.day(context.now);
        let is_key = matches!(context.caller, Caller::Key { .. });
        if is_key
            && !always
            && let Some(quota) = day.reached(state, who, added)
        {
            return Err(Refusal::Quota(QuotaReached {
                quota,
                limit: state.quota_limit(quota),
                retry_after_seconds: Some(seconds_left(context.now)),
            }));
        }
        day.add(who, added);
        Ok(())
    }

    /// Counts the texts of an audit entry that no change goes with. That something was asked is always written down; where today's
    /// quotas of bytes are used up, what was asked is left out.
    pub(crate) fn keep_room(&self, state: &State, entry: &mut AuditEntry) {
        let texts = [&entry.text, &entry.variables].into_iter().flatten();
        let bytes: usize = texts.map(String::len).sum();
        if bytes == 0 {
            return;
        }
        let role = state.user(entry.user).map(|user| user.account_role);
        let who = CountedFor {
            person: state.person_behind(entry.user),
            is_admin: role == Some(AccountRole::Admin),
        };
        let added = DailyUse {
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            ..DailyUse::default()
        };
        let mut day = self.day(entry.at);
        if day.reached(state, who, added).is_none() {
            day.add(who, added);
        } else {
            entry.text = Some(LEFT_OUT.to_owned());
            entry.variables = None;
        }
    }

    /// Today's use.
    pub(crate) fn today(&self, person: UserId, now: Timestamp) -> Today {
        self.day(now).today(person)
    }

    fn day(&self, now: Timestamp) -> MutexGuard<'_, Day> {
        let mut day = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = now.as_millis().div_euclid(DAY_MS);
        if number > day.number {
            *day = Day {
                number,
                ..Day::default()
            };
        }
        day
    }
}

impl Day {
    fn today(&self, person: UserId) -> Today {
        let is_alone = self.persons.contains_key(&person) || self.persons.len() < PERSONS_MAX;
        let person = self.persons.get(&person).copied();
        Today {
            everyone: self.everyone,
            members: self.members,
            person: match person {
                Some(person) => person,
                None if is_alone => DailyUse::default(),
                None => self.others,
            },
        }
    }

    /// The first quota that this would be too much for.
    fn reached(&self, state: &State, who: CountedFor, added: DailyUse) -> Option<Quota> {
        let before = self.today(who.person);
        let more = Today {
            everyone: added,
            members: added,
            person: added,
        };
        let for_members = FOR_MEMBERS.iter().filter(|_| !who.is_admin);
        FOR_ALL.iter().chain(for_members).copied().find(|quota| {
            match (before.of(*quota), more.of(*quota)) {
                (Some(before), Some(more)) => {
                    more > 0 && before.saturating_add(more) > state.quota_limit(*quota)
                }
                _ => false,
            }
        })
    }

    fn add(&mut self, who: CountedFor, added: DailyUse) {
        add_to(&mut self.everyone, added);
        if !who.is_admin {
            add_to(&mut self.members, added);
        }
        let has_room = self.persons.len() < PERSONS_MAX;
        match self.persons.get_mut(&who.person) {
            Some(person) => add_to(person, added),
            None if has_room => {
                self.persons.insert(who.person, added);
            }
            None => add_to(&mut self.others, added),
        }
    }
}

fn add_to(sum: &mut DailyUse, added: DailyUse) {
    sum.invitations = sum.invitations.saturating_add(added.invitations);
    sum.keys = sum.keys.saturating_add(added.keys);
    sum.places = sum.places.saturating_add(added.places);
    sum.bytes = sum.bytes.saturating_add(added.bytes);
}

/// How long until the next day begins.
fn seconds_left(now: Timestamp) -> u64 {
    let left = DAY_MS - now.as_millis().rem_euclid(DAY_MS);
    u64::try_from(left.div_euclid(1000)).unwrap_or(0).max(1)
}

#[cfg(test)]
mod tests {
    use bindery_core::audit::AuditKind;
    use bindery_core::id::{AccountId, ApiKeyId, Id as _, IdKey};
    use bindery_core::place::{Account, AccountSettings};
    use bindery_core::text::Name;

    use super::*;

    const NOON: Timestamp = Timestamp::from_millis(DAY_MS * 20_000 + DAY_MS / 2);
    const TOMORROW: Timestamp = Timestamp::from_millis(DAY_MS * 20_001);

    /// An account in which a member may write a hundred bytes a day.
    fn narrow() -> State {
        let mut settings = AccountSettings::default();
        let quota = Quota::WrittenBytesPerDayOfMember;
        settings.quotas.set(quota, Some(100));
        State::new(Account {
            id: AccountId(1),
            name: Name::parse("narrow").unwrap(),
            id_key: IdKey::new([7; 16]),
            created_at: NOON,
            settings,
        })
    }

    fn by(user: u32, now: Timestamp) -> Context {
        let caller = Caller::Key {
            user: UserId::from_number(user),
            key: ApiKeyId::from_number(user),
        };
        Context { caller, now }
    }

    fn bytes(bytes: u64) -> DailyUse {
        DailyUse {
            bytes,
            ..DailyUse::default()
        }
    }

    #[test]
    fn what_exceeds_the_bytes_of_a_day_is_refused_until_the_next_day_and_deleting_never_is() {
        let (state, usage) = (narrow(), Usage::default());
        let charge = |user, now, more, always| usage.charge(&state, &by(user, now), more, always);
        assert_eq!(charge(1, NOON, bytes(60), false), Ok(()));
        let refused = Err(Refusal::Quota(QuotaReached {
            quota: Quota::WrittenBytesPerDayOfMember,
            limit: 100,
            retry_after_seconds: Some(12 * 60 * 60),
        }));
        assert_eq!(charge(1, NOON, bytes(60), false), refused);
        assert_eq!(
            charge(1, NOON, bytes(40), false),
            Ok(()),
            "it was not counted"
        );
        assert_eq!(charge(1, NOON, bytes(60), true), Ok(()), "takes away");
        assert_eq!(charge(2, NOON, bytes(60), false), Ok(()), "somebody else");
        assert_eq!(usage.today(UserId::from_number(1), NOON).person, bytes(160));
        assert_eq!(
            usage.today(UserId::from_number(1), NOON).everyone,
            bytes(220)
        );
        assert_eq!(charge(1, TOMORROW, bytes(60), false), Ok(()));
        // A clock that was set back doesn't begin the day before anew.
        assert!(charge(1, NOON, bytes(60), false).is_err());
    }

    #[test]
    fn what_was_asked_is_left_out_of_the_audit_log_once_the_bytes_of_the_day_are_used_up() {
        let (state, usage) = (narrow(), Usage::default());
        let entry = |at| AuditEntry {
            user: UserId::from_number(1),
            address: "127.0.0.1".to_owned(),
            kind: AuditKind::Query,
            operation: "list_roles".to_owned(),
            text: None,
            variables: Some("x".repeat(60)),
            status: 403,
            problem: None,
            key: None,
            request: None,
            revision: None,
            at,
        };
        let kept = |at| {
            let mut noted = entry(at);
            usage.keep_room(&state, &mut noted);
            noted
        };
        assert_eq!(kept(NOON), entry(NOON));
        let left_out = AuditEntry {
            text: Some(LEFT_OUT.to_owned()),
            variables: None,
            ..entry(NOON)
        };
        assert_eq!(kept(NOON), left_out);
        assert_eq!(kept(NOON), left_out);
        assert_eq!(kept(TOMORROW), entry(TOMORROW));
    }

    #[test]
    fn people_beyond_those_that_are_counted_alone_share_one_count() {
        let mut day = Day::default();
        let added = DailyUse {
            invitations: 1,
            ..DailyUse::default()
        };
        let who = |number: usize| CountedFor {
            person: UserId::from_number(u32::try_from(number).unwrap()),
            is_admin: false,
        };
        for number in 1..=PERSONS_MAX + 2 {
            day.add(who(number), added);
        }
        assert_eq!(day.persons.len(), PERSONS_MAX);
        assert_eq!(day.today(who(1).person).person.invitations, 1);
        let late = who(PERSONS_MAX + 7).person;
        assert_eq!(day.today(late).person.invitations, 2);
    }
}

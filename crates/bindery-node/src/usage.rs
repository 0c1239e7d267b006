//! Counts the use of daily quotas ([`bindery_core::quota`]) by the people of an account, in memory. Each
//! server on a store counts its own requests, and a restart or unload of the account resets the counts.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bindery_core::audit::AuditEntry;
use bindery_core::command::{Caller, Context};
use bindery_core::id::UserId;
use bindery_core::quota::{CountedFor, DailyUse, Quota};
use bindery_core::refusal::{QuotaReached, Refusal};
use bindery_core::role::AccountRole;
use bindery_core::state::State;
use bindery_core::time::Timestamp;

/// Bytes that an audit entry counts besides its texts: about its row with its indexes.
const ROW_BYTES: u64 = 256;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// How many people have a count each; all others share one.
const PERSONS_MAX: usize = 131_072;

/// The use of one account.
#[derive(Debug, Default)]
pub(crate) struct Usage(Mutex<Day>);

#[derive(Debug, Default)]
struct Day {
    number: i64,
    everyone: DailyUse,
    members: DailyUse,
    persons: BTreeMap<UserId, Person>,
    /// Everyone without room in `persons`.
    others: Person,
    /// Bytes of audit entries without a change, of everyone.
    noted: u64,
    /// The same, of everyone who isn't account admin.
    noted_by_members: u64,
}

/// The use of one person.
#[derive(Clone, Copy, Debug, Default)]
struct Person {
    /// By changes.
    changed: DailyUse,
    /// Bytes of audit entries without a change.
    noted: u64,
    /// How many audit entries were left out.
    left_out: u64,
}

/// Today's use, as shown to account admins.
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

/// The daily quotas for everyone, and those for people who aren't account admins.
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
    /// Counts what a command does, at the time of its commit. If that exceeds a limit, refuses it and counts
    /// nothing. What may `always` be done is only counted.
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
        let mut day = self.lock();
        day.begin(context.now);
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

    /// Counts the row of an audit entry without a change, for its person alone. It never takes from the
    /// quotas of changes, not even the person's own. Once rows have used up as much as a quota of bytes
    /// allows, only the first, second, fourth, eighth and so on of a person's day is written, with the count
    /// so far. Returns `None` for the others.
    pub(crate) fn keep_room(&self, state: &State, entry: AuditEntry) -> Option<AuditEntry> {
        let role = state.user(entry.user).map(|user| user.account_role);
        let is_admin = role == Some(AccountRole::Admin);
        let person = state.person_behind(entry.user);
        let texts = [&entry.text, &entry.variables].into_iter().flatten();
        let texts: usize = texts.map(String::len).sum();
        let bytes = u64::try_from(texts).unwrap_or(u64::MAX);
        let bytes = bytes.saturating_add(ROW_BYTES);
        let limit = |quota| state.quota_limit(quota);
        let mut day = self.lock();
        // The first entries of a new day have room: they make the writer begin the day, if the clock is
        // right.
        let is_first = number_of(entry.at) > day.number;
        let of_members = day.noted_by_members.saturating_add(bytes);
        let of_everyone = day.noted.saturating_add(bytes);
        let used = day.person_mut(person);
        let of_person = used.changed.bytes.saturating_add(used.noted);
        let of_person = of_person.saturating_add(bytes);
        let has_room = is_first
            || of_everyone <= limit(Quota::WrittenBytesPerDay)
                && (is_admin
                    || of_person <= limit(Quota::WrittenBytesPerDayOfMember)
                        && of_members <= limit(Quota::WrittenBytesPerDayOfMembers));
        let kept = if has_room {
            entry
        } else {
            used.left_out = used.left_out.saturating_add(1);
            if !used.left_out.is_power_of_two() {
                return None;
            }
            AuditEntry {
                text: Some(left_out(used.left_out)),
                variables: None,
                ..entry
            }
        };
        used.noted = used.noted.saturating_add(bytes);
        day.noted = of_everyone;
        if !is_admin {
            day.noted_by_members = of_members;
        }
        Some(kept)
    }

    /// The use of the day of this moment.
    pub(crate) fn today(&self, person: UserId, now: Timestamp) -> Today {
        let day = self.lock();
        if number_of(now) > day.number {
            // The day has begun, and the writer has had nothing to do since.
            return Today::default();
        }
        day.today(person)
    }

    /// Begins the day of this commit. Reads begin none: with a clock that has run ahead, that day would count
    /// all use until then.
    pub(crate) fn begin_day(&self, committed_at: Timestamp) {
        self.lock().begin(committed_at);
    }

    fn lock(&self) -> MutexGuard<'_, Day> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number_of(moment: Timestamp) -> i64 {
    moment.as_millis().div_euclid(DAY_MS)
}

impl Day {
    fn today(&self, person: UserId) -> Today {
        let is_alone = self.persons.contains_key(&person) || self.persons.len() < PERSONS_MAX;
        let person = self.persons.get(&person).copied();
        Today {
            everyone: self.everyone,
            members: self.members,
            person: match person {
                Some(person) => person.changed,
                None if is_alone => DailyUse::default(),
                None => self.others.changed,
            },
        }
    }

    /// The first quota that this would exceed.
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
        add_to(&mut self.person_mut(who.person).changed, added);
    }

    fn person_mut(&mut self, person: UserId) -> &mut Person {
        let has_room = self.persons.len() < PERSONS_MAX;
        match self.persons.entry(person) {
            Entry::Occupied(person) => person.into_mut(),
            Entry::Vacant(place) if has_room => place.insert(Person::default()),
            Entry::Vacant(_) => &mut self.others,
        }
    }

    fn begin(&mut self, moment: Timestamp) {
        let number = number_of(moment);
        if number > self.number {
            *self = Self {
                number,
                ..Self::default()
            };
        }
    }
}

/// The text of an audit entry that stands for others.
fn left_out(count: u64) -> String {
    format!(
        "left out; the quotas of bytes written today are used up: {count} requests without a change are not audited one by one so far"
    )
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
    use bindery_core::change::Change;
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
        // Setting the clock back doesn't begin the previous day again.
        assert!(charge(1, NOON, bytes(60), false).is_err());
    }

    fn read_at(at: Timestamp) -> AuditEntry {
        AuditEntry {
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
        }
    }

    #[test]
    fn of_requests_without_a_change_one_in_so_many_is_audited_once_the_bytes_are_used_up() {
        let mut state = narrow();
        let mut account = state.account().clone();
        let quota = Quota::WrittenBytesPerDayOfMember;
        let quotas = &mut account.settings.quotas;
        quotas.set(quota, Some(3 * (ROW_BYTES + 60)));
        state.apply(&Change::PutAccount(account));
        let usage = Usage::default();
        usage.begin_day(NOON);
        for _ in 0..3 {
            assert_eq!(usage.keep_room(&state, read_at(NOON)), Some(read_at(NOON)));
        }
        let kept = (1..=1000).filter_map(|_| usage.keep_room(&state, read_at(NOON)));
        let texts: Vec<String> = kept.filter_map(|entry| entry.text).collect();
        let expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512].map(left_out);
        assert_eq!(texts, expected);
        // The first entry of a day is written, so that the writer begins it.
        let next = usage.keep_room(&state, read_at(TOMORROW));
        assert_eq!(next, Some(read_at(TOMORROW)));
        usage.begin_day(TOMORROW);
        let next = usage.keep_room(&state, read_at(TOMORROW));
        assert_eq!(next, Some(read_at(TOMORROW)));
    }

    #[test]
    fn requests_without_a_change_use_up_nothing_that_a_change_needs() {
        let mut state = narrow();
        let mut account = state.account().clone();
        for quota in FOR_MEMBERS.into_iter().chain(FOR_ALL) {
            account.settings.quotas.set(quota, Some(1000));
        }
        state.apply(&Change::PutAccount(account));
        let usage = Usage::default();
        usage.begin_day(NOON);
        for _ in 0..100 {
            usage.keep_room(&state, read_at(NOON));
        }
        for user in [1, 2] {
            let charged = usage.charge(&state, &by(user, NOON), bytes(400), false);
            assert_eq!(charged, Ok(()), "person {user}");
        }
        assert_eq!(
            usage.today(UserId::from_number(1), NOON).members,
            bytes(800)
        );
    }

    #[test]
    fn a_look_at_the_quotas_and_a_read_begin_no_day() {
        let (state, usage) = (narrow(), Usage::default());
        let person = UserId::from_number(1);
        assert_eq!(usage.charge(&state, &by(1, NOON), bytes(60), false), Ok(()));
        // The clock is fifty years ahead; a commit is refused.
        let ahead = Timestamp::from_millis(DAY_MS * 40_000);
        assert_eq!(usage.today(person, ahead).person, DailyUse::default());
        usage.keep_room(&state, read_at(ahead));
        assert_eq!(usage.today(person, NOON).person, bytes(60));
        assert_eq!(
            usage.charge(&state, &by(1, TOMORROW), bytes(60), false),
            Ok(())
        );
        assert_eq!(usage.today(person, TOMORROW).person, bytes(60));
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

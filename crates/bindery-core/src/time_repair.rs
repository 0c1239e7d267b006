//! Sets an account's time back after its clock ran ahead. Instants in the log never decrease, so one entry in fifty years' time is
//! the instant of every later change until then.
//!
//! There are two kinds of instants. One says when something happened; it becomes [`TimeRepair::latest`] if it is later. The other
//! says when something expires, and may lie in the future for a good reason: it moves only if an entry with a wrong instant set it.
//!
//! Invariant: an entry and the records that it puts are repaired by the same function, so replaying the repaired log still gives the
//! repaired records.

use crate::api_key::KeyOwner;
use crate::change::{Change, Entry};
use crate::command::shorten_what_ends_with;
use crate::credential::LinkPurpose;
use crate::given::GivenAt;
use crate::id::{ApiKeyId, UserId};
use crate::state::State;
use crate::time::Timestamp;
use crate::user::Standing;

/// The repair of one account.
#[derive(Clone, Debug)]
pub struct TimeRepair {
    latest: Timestamp,
    newest: Timestamp,
    before: Option<State>,
}

impl TimeRepair {
    /// The operation of the entry that records a repair.
    pub const OPERATION: &str = "repair_account_time";

    /// Nothing is later than `latest` afterwards. `newest` is the instant of the account's last entry until now, and `before` the
    /// state before the first entry that is ahead; absent if the log no longer goes back to it.
    pub fn new(latest: Timestamp, newest: Timestamp, before: Option<State>) -> Self {
        Self {
            latest,
            newest,
            before,
        }
    }

    /// Whether an entry, or something that it puts, is later than `latest`.
    pub fn is_entry_ahead(entry: &Entry, latest: Timestamp) -> bool {
        let is_ahead = |change| Self::is_record_ahead(change, latest);
        entry.at > latest || entry.changes.iter().any(is_ahead)
    }

    /// Whether a record says that something happened later than `latest`.
    pub fn is_record_ahead(record: &Change, latest: Timestamp) -> bool {
        let mut repaired = record.clone();
        set_back(&mut repaired, latest);
        repaired != *record
    }

    /// The instant at which something happened.
    pub fn instant(&self, at: Timestamp) -> Timestamp {
        at.min(self.latest)
    }

    /// An entry that is ahead, or that follows one. It gets another batch: a server that knows it as it was must notice that the log
    /// has another one in its place, and load the account anew.
    #[must_use]
    pub fn entry(&self, entry: &Entry, batch: u64) -> Entry {
        let repaired = |records: &[Change]| records.iter().map(|one| self.record(one)).collect();
        Entry {
            at: self.instant(entry.at),
            batch,
            changes: repaired(&entry.changes),
            before: repaired(&entry.before),
            ..entry.clone()
        }
    }

    /// A record, or a change. One that is as it was before any entry was ahead stays as it is.
    #[must_use]
    pub fn record(&self, record: &Change) -> Change {
        let before = self.before.as_ref();
        let known = before.and_then(|state| state.record(record.key()));
        if known.as_ref() == Some(record) {
            return record.clone();
        }
        let mut repaired = record.clone();
        set_back(&mut repaired, self.latest);
        self.move_ends(&mut repaired, known.as_ref());
        repaired
    }

    /// Moves the ends that an entry with a wrong instant has set. `known` is the record from before there was any.
    fn move_ends(&self, record: &mut Change, known: Option<&Change>) {
        match record {
            Change::PutApiKey(key) => {
                let known = match known {
                    Some(Change::PutApiKey(known)) => Some(known),
                    _ => None,
                };
                let is_known = known.is_some_and(|known| known.expires_at == key.expires_at);
                if !is_known {
                    key.expires_at = key.expires_at.map(|end| self.end(end));
                }
                let is_known = known.is_some_and(|known| known.previous == key.previous);
                if let (false, Some(previous)) = (is_known, &mut key.previous) {
                    previous.until = self.end(previous.until);
                }
            }
            Change::PutUser(user) => {
                let is_known = matches!(known, Some(Change::PutUser(known)) if known.standing == user.standing);
                if let (false, Standing::Invited { until }) = (is_known, &mut user.standing) {
                    *until = self.end(*until);
                }
            }
            Change::PutCredential(credential) => {
                let is_known = matches!(known, Some(Change::PutCredential(known)) if known.link == credential.link);
                if let (false, Some(link)) = (is_known, &mut credential.link) {
                    link.until = self.end(link.until);
                }
            }
            Change::PutAccount(_)
            | Change::PutOrganization(_)
            | Change::DeleteOrganization(_)
            | Change::PutOrganizationMembership(_)
            | Change::DeleteOrganizationMembership(_)
            | Change::PutSpace(_)
            | Change::DeleteSpace(_)
            | Change::PutSpaceMembership(_)
            | Change::DeleteSpaceMembership(_)
            | Change::PutProject(_)
            | Change::DeleteProject(_)
            | Change::PutRestriction(_)
            | Change::DeleteRestriction(_)
            | Change::PutRole(_)
            | Change::DeleteRole(_)
            | Change::PutRoleBinding(_)
            | Change::DeleteRoleBinding(_)
            | Change::DeleteCredential(_) => {}
        }
    }

    /// An end that an entry with a wrong instant has set. It keeps what was left of its time at the account's last entry, so it
    /// never gets later, one that had passed by then stays passed, and of two ends the earlier stays the earlier.
    fn end(&self, end: Timestamp) -> Timestamp {
        if end <= self.latest {
            return end;
        }
        let left = end
            .as_millis()
            .saturating_sub(self.newest.max(self.latest).as_millis())
            .max(0);
        Timestamp::from_millis(self.latest.as_millis().saturating_add(left))
    }

    /// What the entry that records the repair changes, in the repaired state: the account, as it is now, and the service keys that
    /// would expire later than the service key that made them. Ends from before the clock was wrong don't move, so this can happen.
    pub fn last_changes(repaired: &State, moved: &[End]) -> Vec<Change> {
        let mut state = repaired.clone();
        let mut changes = vec![Change::PutAccount(repaired.account().clone())];
        for end in moved {
            let EndOf::Key(id) = end.of else { continue };
            let Some(key) = state.api_key(id).cloned() else {
                continue;
            };
            if let (KeyOwner::Service(bot), Some(end)) = (key.owner, key.expires_at) {
                let mut shortened = Vec::new();
                shorten_what_ends_with(&state, bot, end, &mut shortened);
                for change in &shortened {
                    state.apply(change);
                }
                changes.append(&mut shortened);
            }
        }
        changes
    }

    /// Every end that an operator should look at: those that moved, and those that didn't and lie between both times. Those counted
    /// as passed, and don't any more.
    pub fn ends(&self, before: &State, repaired: &State) -> Vec<End> {
        let mut ends = Vec::new();
        let mut note = |of, before: Option<Timestamp>, after: Option<Timestamp>| {
            let Some(after) = after else {
                return;
            };
            let revives = self.latest < after && after <= self.newest;
            if before != Some(after) || revives {
                ends.push(End { of, before, after });
            }
        };
        for key in repaired.api_keys().filter(|key| !key.is_revoked) {
            let old = before.api_key(key.id);
            let end = old.and_then(|old| old.expires_at);
            note(EndOf::Key(key.id), end, key.expires_at);
            let end = old.and_then(|old| old.previous).map(|old| old.until);
            let after = key.previous.map(|previous| previous.until);
            note(EndOf::PreviousSecret(key.id), end, after);
        }
        for user in repaired.users.values() {
            let end = before
                .user(user.id)
                .and_then(|old| invited_until(&old.standing));
            note(
                EndOf::Invitation(user.id),
                end,
                invited_until(&user.standing),
            );
        }
        for credential in repaired.credentials.values() {
            let Some(link) = credential.link else {
                continue;
            };
            let old = before.credential(credential.user);
            let end = old.and_then(|old| old.link).map(|old| old.until);
            note(
                EndOf::Link(credential.user, link.purpose),
                end,
                Some(link.until),
            );
        }
        ends
    }
}

/// Something that expires, before and after a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// What expires.
    pub of: EndOf,
    /// When it would have; absent if it had no end.
    pub before: Option<Timestamp>,
    /// When it does now.
    pub after: Timestamp,
}

impl End {
    /// Whether it has moved; otherwise it had counted as passed at the wrong time.
    pub fn has_moved(&self) -> bool {
        self.before != Some(self.after)
    }
}

/// What expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndOf {
    /// A key.
    Key(ApiKeyId),
    /// The secret that a key had before it was refreshed.
    PreviousSecret(ApiKeyId),
    /// The invitation of a person.
    Invitation(UserId),
    /// The link that a person was sent.
    Link(UserId, LinkPurpose),
}

fn invited_until(standing: &Standing) -> Option<Timestamp> {
    match standing {
        Standing::Invited { until } => Some(*until),
        Standing::Active | Standing::Inactive => None,
    }
}

/// Nothing that the record says has happened is later than `latest`.
fn set_back(record: &mut Change, latest: Timestamp) {
    let back = |instant: &mut Timestamp| *instant = latest.min(*instant);
    let back_given = |given: &mut GivenAt| {
        if let Some(at) = given.moment().filter(|at| *at > latest) {
            *given = at.min(latest).into();
        }
    };
    match record {
        Change::PutAccount(account) => back(&mut account.created_at),
        Change::PutUser(user) => {
            back(&mut user.created_at);
            user.address_released_at.iter_mut().for_each(back);
        }
        Change::PutOrganization(organization) => back(&mut organization.created_at),
        Change::PutOrganizationMembership(membership) => back_given(&mut membership.given_at),
        Change::PutSpace(space) => back(&mut space.created_at),
        Change::PutSpaceMembership(membership) => back_given(&mut membership.given_at),
        Change::PutProject(project) => back(&mut project.created_at),
        Change::PutRestriction(restriction) => back(&mut restriction.created_at),
        Change::PutRole(role) => {
            back(&mut role.created_at);
            back(&mut role.updated_at);
        }
        Change::PutRoleBinding(binding) => {
            back(&mut binding.created_at);
            back(&mut binding.updated_at);
        }
        Change::PutApiKey(key) => back(&mut key.created_at),
        // A credential says when its link expires, and nothing else.
        Change::PutCredential(_)
        | Change::DeleteOrganization(_)
        | Change::DeleteOrganizationMembership(_)
        | Change::DeleteSpace(_)
        | Change::DeleteSpaceMembership(_)
        | Change::DeleteProject(_)
        | Change::DeleteRestriction(_)
        | Change::DeleteRole(_)
        | Change::DeleteRoleBinding(_)
        | Change::DeleteCredential(_) => {}
    }
}

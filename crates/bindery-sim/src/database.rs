//! The database behind every node's store: accounts with log, records and audit log, and commits that were
//! sent and have not happened yet. It keeps all promises of `Store`; `handle.rs` injects the faults.

use std::collections::{BTreeMap, BTreeSet};

use bindery_core::api_key::SecretHash;
use bindery_core::audit::AuditEntry;
use bindery_core::change::{Change, Entry, LogPosition};
use bindery_core::credential::Credential;
use bindery_core::id::{AccountId, ApiKeyId, Kind, Revision};
use bindery_core::place::Account;
use bindery_core::state::State;
use bindery_core::text::Email;
use bindery_core::time::Timestamp;
use bindery_core::user::Standing;
use bindery_store::{AppendError, AuditQuery, Batch, StoreError};

/// In loading order: a referenced record comes first.
const KINDS: [Kind; 11] = [
    Kind::User,
    Kind::ApiKey,
    Kind::Organization,
    Kind::OrganizationMembership,
    Kind::Space,
    Kind::SpaceMembership,
    Kind::Project,
    Kind::Restriction,
    Kind::Role,
    Kind::RoleBinding,
    Kind::Credential,
];

#[derive(Debug, Default)]
pub(crate) struct Database {
    pub(crate) ledgers: BTreeMap<AccountId, Ledger>,
}

/// One account.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    /// The beginning of the log, the same in every run.
    pub(crate) founding: &'static [Entry],
    /// The rest of the log. Checks see all of it; nodes see what comes after the base.
    pub(crate) entries: Vec<Entry>,
    /// Nodes can read the log after this revision.
    pub(crate) base: Revision,
    /// The state at its end, updated entry by entry.
    pub(crate) state: State,
    records: BTreeMap<(usize, u32), Change>,
    natural_keys: BTreeMap<(usize, String), u32>,
    pub(crate) audit: Vec<Audited>,
    audit_head: u64,
    pub(crate) uses: BTreeMap<ApiKeyId, Timestamp>,
    /// A commit that was sent and has no response. It holds the account's row.
    pub(crate) under_way: Option<Batch>,
    /// Whether a running call holds the account's row.
    pub(crate) is_taken: bool,
    /// When each revision was committed.
    pub(crate) history: Vec<(u64, Revision)>,
    /// The rolled back end of the log, if any.
    pub(crate) lost: Option<Lost>,
}

/// The rolled back end of a log.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    /// When it was rolled back.
    pub(crate) at: u64,
    entries: Vec<Entry>,
    /// The nodes with running calls at that time, which may have been reading this.
    pub(crate) busy: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Audited {
    pub(crate) number: u64,
    /// The latest time of this entry and all before it.
    latest: Timestamp,
    pub(crate) entry: AuditEntry,
}

impl Ledger {
    pub(crate) fn new(account: Account) -> Self {
        Self {
            founding: &[],
            entries: Vec::new(),
            base: Revision(0),
            state: State::new(account),
            records: BTreeMap::new(),
            natural_keys: BTreeMap::new(),
            audit: Vec::new(),
            audit_head: 0,
            uses: BTreeMap::new(),
            under_way: None,
            is_taken: false,
            history: Vec::new(),
            lost: None,
        }
    }

    /// Rolls back the last entries, as if another database without them took over. Responses about them don't
    /// count any more; the audit log stays.
    pub(crate) fn lose(&mut self, count: usize, at: u64, busy: BTreeSet<usize>) {
        let kept = self.entries.len().saturating_sub(count);
        let entries = self.entries.split_off(kept);
        let rest = std::mem::take(&mut self.entries);
        let audit = std::mem::take(&mut self.audit);
        let beginning = Self {
            founding: self.founding,
            base: self.base,
            audit,
            audit_head: self.audit_head,
            uses: std::mem::take(&mut self.uses),
            lost: Some(Lost { at, entries, busy }),
            ..Self::new(self.state.account().clone())
        };
        let mut history = std::mem::replace(self, beginning).history;
        for entry in self.founding {
            self.take(entry);
        }
        for entry in rest {
            self.take(&entry);
            self.entries.push(entry);
        }
        history.retain(|(_, head)| *head <= self.head());
        self.history = history;
    }

    /// Whether this position was in the log, and is rolled back.
    pub(crate) fn has_lost(&self, position: LogPosition) -> bool {
        let lost = self.lost.iter().flat_map(|lost| &lost.entries);
        let mut lost = lost.map(Entry::position);
        lost.any(|one| one == position)
    }

    fn take(&mut self, entry: &Entry) {
        for change in &entry.changes {
            self.keep(change);
        }
        self.rebuild_natural_keys(std::slice::from_ref(entry));
        self.state.advance(entry);
    }

    pub(crate) fn head(&self) -> Revision {
        self.state.revision()
    }

    /// What a node can read after this position.
    pub(crate) fn entries_after(
        &self,
        known: LogPosition,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let account = self.state.account().id;
        let known_revision = known.revision;
        if known_revision < self.base {
            let until = self.base;
            return Err(StoreError::Forgotten { account, until });
        }
        let before = known_revision.0.checked_sub(1);
        let last = before.and_then(|before| self.all_after(Revision(before), 1).pop());
        let position = last.map_or(LogPosition::default(), |last| last.position());
        if !known.is_met_by(position) {
            return Err(StoreError::Diverged {
                account,
                known: known_revision,
            });
        }
        Ok(self.all_after(known_revision, limit))
    }

    fn all_after(&self, revision: Revision, limit: usize) -> Vec<Entry> {
        let skip = usize::try_from(revision.0).unwrap_or(usize::MAX);
        let rest = skip.saturating_sub(self.founding.len());
        let founding = self.founding.iter().skip(skip);
        let entries = self.entries.iter().skip(rest);
        founding.chain(entries).take(limit).cloned().collect()
    }

    /// The state at the base of the log.
    pub(crate) fn base(&self) -> State {
        let mut state = State::new(self.state.account().clone());
        let many = usize::try_from(self.base.0).unwrap_or(usize::MAX);
        for entry in self.all_after(Revision(0), many) {
            state.advance(&entry);
        }
        state
    }

    /// Moves the base forward, as `Store::forget_log` does.
    pub(crate) fn forget_log(&mut self, until: Revision, before: Timestamp, limit: usize) -> usize {
        let left = usize::try_from(until.0.saturating_sub(self.base.0)).unwrap_or(usize::MAX);
        let entries = self.all_after(self.base, limit.min(left));
        let old = entries.iter().take_while(|entry| entry.at < before);
        let forgotten = old.count();
        self.base = Revision(self.base.0 + forgotten as u64);
        forgotten
    }

    /// The state from the current records, as a database has it.
    pub(crate) fn load(&self) -> State {
        State::load(
            self.state.account().clone(),
            self.state.position(),
            self.state.latest(),
            self.state.issued(),
            self.records.values().cloned(),
        )
    }

    /// Whether the batch can be committed here.
    pub(crate) fn check(&self, batch: &Batch) -> Result<Revision, AppendError> {
        let head = batch.check(self.state.account().id, self.head())?;
        let mut last = BTreeMap::new();
        for change in batch.entries.iter().flat_map(|entry| &entry.changes) {
            last.insert(place_of(change), change);
        }
        let mut taken = BTreeSet::new();
        for ((kind, number), change) in &last {
            let Some(key) = natural_key(change) else {
                continue;
            };
            let holder = self.natural_keys.get(&(*kind, key.clone()));
            let is_held = holder
                .is_some_and(|holder| holder != number && !last.contains_key(&(*kind, *holder)));
            if is_held || !taken.insert((kind, key.clone())) {
                let noun = change.key().0.noun();
                let message = format!("there is another {noun} with the natural key `{key}`");
                return Err(AppendError::Contradiction(message));
            }
        }
        Ok(head)
    }

    /// Commits a checked batch.
    pub(crate) fn commit(&mut self, batch: &Batch, time: u64) {
        for entry in &batch.entries {
            for change in &entry.changes {
                self.keep(change);
            }
            self.state.advance(entry);
            self.entries.push(entry.clone());
        }
        self.rebuild_natural_keys(&batch.entries);
        if !batch.entries.is_empty() {
            self.history.push((time, self.head()));
        }
        for entry in &batch.audit {
            self.audit_head += 1;
            let latest = self.audit.last().map_or(entry.at, |last| last.latest);
            self.audit.push(Audited {
                number: self.audit_head,
                latest: latest.max(entry.at),
                entry: kept(entry),
            });
        }
        for (key, at) in &batch.uses {
            let known = self.uses.entry(*key).or_insert(*at);
            *known = (*known).max(*at);
        }
    }

    fn keep(&mut self, change: &Change) {
        if let Change::PutAccount(_) = change {
            return;
        }
        let place = place_of(change);
        let old = if change.is_delete() {
            self.records.remove(&place)
        } else {
            self.records.insert(place, change.clone())
        };
        if let Some(key) = old.as_ref().and_then(natural_key) {
            self.natural_keys.remove(&(place.0, key));
        }
    }

    /// For the records of the batch, after all its removals.
    fn rebuild_natural_keys(&mut self, entries: &[Entry]) {
        for change in entries.iter().flat_map(|entry| &entry.changes) {
            let place = place_of(change);
            if let Some(key) = self.records.get(&place).and_then(natural_key) {
                self.natural_keys.insert((place.0, key), place.1);
            }
        }
    }

    /// The last revision that was committed before this time.
    pub(crate) fn head_before(&self, time: u64) -> Revision {
        let before = self.history.iter().rev().find(|(at, _)| *at < time);
        before.map_or(Revision(self.founding.len() as u64), |(_, head)| *head)
    }

    /// Whether this is the secret of a key or link.
    pub(crate) fn has_secret(&self, secret: &SecretHash) -> bool {
        self.records.values().any(|record| match record {
            Change::PutApiKey(key) => {
                key.secret.hash == *secret
                    || key
                        .previous
                        .is_some_and(|previous| previous.hash == *secret)
            }
            Change::PutCredential(credential) => credential
                .link
                .as_ref()
                .is_some_and(|link| link.token == *secret),
            _ => false,
        })
    }

    /// The credential of the person with this address, and the expiry of their invitation if they are only
    /// invited.
    pub(crate) fn credential(&self, email: &Email) -> Option<(Credential, Option<Timestamp>)> {
        let (person, until) = self.records.values().find_map(|record| match record {
            Change::PutUser(user)
                if user
                    .email()
                    .is_some_and(|one| one.folded() == email.folded()) =>
            {
                let until = match user.standing {
                    Standing::Invited { until } => Some(until),
                    Standing::Active | Standing::Inactive => None,
                };
                Some((user.id, until))
            }
            _ => None,
        })?;
        self.records.values().find_map(|record| match record {
            Change::PutCredential(credential) if credential.user == person => {
                Some((credential.clone(), until))
            }
            _ => None,
        })
    }

    pub(crate) fn find_audit(&self, query: &AuditQuery) -> Vec<(u64, AuditEntry)> {
        let newest_first = self.audit.iter().rev();
        let matching = newest_first.filter(|audited| {
            let entry = &audited.entry;
            entry.at >= query.from
                && entry.at <= query.to
                && query.user.is_none_or(|user| entry.user == user)
                && query.kind.is_none_or(|kind| entry.kind == kind)
                && query.before.is_none_or(|before| audited.number < before)
                && (query.operations.is_empty() || query.operations.contains(&entry.operation))
        });
        matching
            .take(query.limit)
            .map(|audited| (audited.number, audited.entry.clone()))
            .collect()
    }

    pub(crate) fn forget_audit(&mut self, before: Timestamp, limit: usize) -> usize {
        let old = self.audit.iter().take_while(|one| one.latest < before);
        let forgotten = old.take(limit).count();
        self.audit.drain(..forgotten);
        forgotten
    }
}

/// An entry as every store keeps it: without NUL in its text.
fn kept(entry: &AuditEntry) -> AuditEntry {
    let text = |text: &String| text.replace('\0', "\u{fffd}");
    AuditEntry {
        address: text(&entry.address),
        operation: text(&entry.operation),
        text: entry.text.as_ref().map(text),
        variables: entry.variables.as_ref().map(text),
        ..entry.clone()
    }
}

fn place_of(change: &Change) -> (usize, u32) {
    let (kind, number) = change.key();
    let place = KINDS.iter().position(|one| *one == kind);
    (place.unwrap_or(KINDS.len()), number)
}

fn natural_key(change: &Change) -> Option<String> {
    change.natural_key()
}

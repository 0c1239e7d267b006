//! Pending records that are not changes: audit entries of requests that changed nothing, and last uses of
//! keys. They wait in memory until the writer commits them with its next batch, within the interval of
//! [`Node::keep_notes`](crate::Node::keep_notes). At most [`NOTES_MAX`] entries and [`NOTES_BYTES_MAX`] bytes
//! wait; a killed process loses no more than that.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bindery_core::audit::AuditEntry;
use bindery_core::id::ApiKeyId;
use bindery_core::time::Timestamp;
use bindery_store::Batch;

/// How many audit entries may wait. So many gather only while the store is unreachable. Then the oldest are
/// dropped, and the log says how many.
pub(crate) const NOTES_MAX: usize = 65_536;
/// How many bytes of text they may have.
const NOTES_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The writer is woken for this many waiting audit entries.
pub(crate) const NOTES_WAKE: usize = 1024;
/// A use of a key is recorded only if it is this much later than the last recorded one.
const USE_STEP_MS: i64 = 60_000;

/// The pending records of one account.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    waiting: Mutex<Waiting>,
    /// When each key was last used, within a minute.
    uses: Mutex<BTreeMap<ApiKeyId, Timestamp>>,
}

#[derive(Debug, Default)]
struct Waiting {
    audit: VecDeque<AuditEntry>,
    uses: BTreeMap<ApiKeyId, Timestamp>,
    /// Bytes of the texts in `audit`.
    bytes: usize,
    /// Dropped since the log last said so.
    lost: usize,
    /// Whether some are in a batch, neither written nor put back yet.
    are_taken: bool,
}

/// Records in a batch; then [`Notes::settle`], or [`Notes::put_back`] if it isn't committed.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    audit: Vec<AuditEntry>,
    uses: Vec<(ApiKeyId, Timestamp)>,
}

impl Taken {
    /// Drops the uses of keys: the numbers belong to other keys now.
    pub(crate) fn forget_uses(&mut self) {
        self.uses.clear();
    }
}

impl Notes {
    /// Starts with the last uses of keys in the store.
    pub(crate) fn new(uses: Vec<(ApiKeyId, Timestamp)>) -> Self {
        Self {
            waiting: Mutex::default(),
            uses: Mutex::new(uses.into_iter().collect()),
        }
    }

    /// Adds an audit entry. Returns whether the writer should be woken.
    pub(crate) fn request(&self, entry: AuditEntry) -> bool {
        let mut waiting = lock(&self.waiting);
        waiting.bytes += bytes_of(&entry);
        waiting.audit.push_back(entry);
        waiting.give_up();
        waiting.audit.len() == NOTES_WAKE
    }

    /// Records the use of a key.
    pub(crate) fn key_use(&self, key: ApiKeyId, now: Timestamp) {
        {
            let mut uses = lock(&self.uses);
            let known = uses.get(&key).map_or(i64::MIN, |at| at.as_millis());
            if now.as_millis() < known.saturating_add(USE_STEP_MS) {
                return;
            }
            uses.insert(key, now);
        }
        lock(&self.waiting).uses.insert(key, now);
    }

    /// When a key was last used.
    pub(crate) fn last_use(&self, key: ApiKeyId) -> Option<Timestamp> {
        lock(&self.uses).get(&key).copied()
    }

    /// Replaces all last uses of keys by those in the store: after a rollback, pending ones belong to other
    /// keys.
    pub(crate) fn take_uses(&self, uses: Vec<(ApiKeyId, Timestamp)>) {
        lock(&self.waiting).uses.clear();
        *lock(&self.uses) = uses.into_iter().collect();
    }

    /// Whether anything waits to be written.
    pub(crate) fn is_waiting(&self) -> bool {
        let waiting = lock(&self.waiting);
        waiting.are_taken || !waiting.audit.is_empty() || !waiting.uses.is_empty()
    }

    /// How many audit entries wait.
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.waiting).audit.len()
    }

    /// Takes everything that waits.
    pub(crate) fn take(&self) -> Taken {
        let mut waiting = lock(&self.waiting);
        if waiting.lost > 0 {
            tracing::error!(
                entries = waiting.lost,
                "audit entries were dropped: the store was unreachable for too long"
            );
            waiting.lost = 0;
        }
        waiting.bytes = 0;
        waiting.are_taken = !waiting.audit.is_empty() || !waiting.uses.is_empty();
        Taken {
            audit: std::mem::take(&mut waiting.audit).into(),
            uses: std::mem::take(&mut waiting.uses).into_iter().collect(),
        }
    }

    /// The taken records are written.
    pub(crate) fn settle(&self) {
        lock(&self.waiting).are_taken = false;
    }

    /// Drops the taken records: the store refuses them even in a batch of their own.
    pub(crate) fn give_up(&self, taken: &Taken) {
        let entries = taken.audit.len();
        tracing::error!(
            entries,
            "audit entries were dropped: the store refuses them"
        );
        self.settle();
    }

    /// Puts the records of a batch back that was not committed, before newer ones.
    pub(crate) fn put_back(&self, taken: Taken) {
        let mut waiting = lock(&self.waiting);
        waiting.are_taken = false;
        for (key, at) in taken.uses {
            waiting.uses.entry(key).or_insert(at);
        }
        let newer = std::mem::replace(&mut waiting.audit, taken.audit.into());
        waiting.audit.extend(newer);
        waiting.bytes = waiting.audit.iter().map(bytes_of).sum();
        waiting.give_up();
    }
}

impl Waiting {
    fn give_up(&mut self) {
        while self.audit.len() > NOTES_MAX || self.bytes > NOTES_BYTES_MAX {
            let Some(oldest) = self.audit.pop_front() else {
                return;
            };
            self.bytes -= bytes_of(&oldest);
            self.lost += 1;
        }
    }
}

impl Taken {
    /// Adds the records to a batch, before its own audit entries. Entries from after `now` were made while
    /// the clock was ahead, and get `now` instead.
    pub(crate) fn add_to(&self, batch: &mut Batch, now: Timestamp) {
        let entries = self.audit.iter().map(|entry| AuditEntry {
            at: entry.at.min(now),
            ..entry.clone()
        });
        batch.audit.splice(0..0, entries);
        let uses = self.uses.iter().map(|(key, at)| (*key, (*at).min(now)));
        batch.uses.extend(uses);
    }
}

/// The size of the texts in an entry that a client chose.
fn bytes_of(entry: &AuditEntry) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    length(&entry.text) + length(&entry.variables)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_to_the_store_is_waited_for() {
        let notes = Notes::default();
        assert!(!notes.is_waiting());
        notes.key_use(ApiKeyId::new(1), Timestamp::from_millis(1));
        let taken = notes.take();
        assert!(notes.is_waiting());
        notes.put_back(taken);
        assert!(notes.is_waiting());
        let _taken = notes.take();
        notes.settle();
        assert!(!notes.is_waiting());
    }
}

//! What is written down beside the changes: requests that changed nothing, and when keys were last used. Kept in memory until
//! the writer takes it along with its next batch, within [`NOTES_MAX`] entries, [`NOTES_BYTES_MAX`] bytes and the interval of
//! [`Node::keep_notes`](crate::Node::keep_notes); a killed process loses no more than that.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bindery_core::audit::AuditEntry;
use bindery_core::id::ApiKeyId;
use bindery_core::time::Timestamp;
use bindery_store::Batch;

/// How many audit entries may wait. Only a store that is out of reach lets so many gather; then the oldest are given up, and
/// the log says how many.
pub(crate) const NOTES_MAX: usize = 65_536;
/// How many bytes of text they may have.
const NOTES_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How many waiting audit entries the writer is woken for.
pub(crate) const NOTES_WAKE: usize = 1024;
/// How much later a use of a key must be than the one that is known, to be noted.
const USE_STEP_MS: i64 = 60_000;

/// The notes of one account.
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
    /// Given up since the log last said so.
    lost: usize,
    /// Whether some are taken and neither written down nor put back yet.
    are_taken: bool,
}

/// Notes on their way into a batch; then [`Notes::settle`], or [`Notes::put_back`] if it isn't committed.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    audit: Vec<AuditEntry>,
    uses: Vec<(ApiKeyId, Timestamp)>,
}

impl Taken {
    /// What was noted of keys is of others than have their numbers now.
    pub(crate) fn forget_uses(&mut self) {
        self.uses.clear();
    }
}

impl Notes {
    /// Notes with what the store has written down of the keys' uses.
    pub(crate) fn new(uses: Vec<(ApiKeyId, Timestamp)>) -> Self {
        Self {
            waiting: Mutex::default(),
            uses: Mutex::new(uses.into_iter().collect()),
        }
    }

    /// Notes a request. Returns whether enough have gathered to wake the writer for.
    pub(crate) fn request(&self, entry: AuditEntry) -> bool {
        let mut waiting = lock(&self.waiting);
        waiting.bytes += bytes_of(&entry);
        waiting.audit.push_back(entry);
        waiting.give_up();
        waiting.audit.len() == NOTES_WAKE
    }

    /// Notes that a key was used.
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

    /// Keys were last used when the store says so, and what was noted of them since is of others.
    pub(crate) fn take_uses(&self, uses: Vec<(ApiKeyId, Timestamp)>) {
        lock(&self.waiting).uses.clear();
        *lock(&self.uses) = uses.into_iter().collect();
    }

    /// Whether anything isn't written down yet.
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
                "audit entries were given up: the store was out of reach for too long"
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

    /// What was taken is written down.
    pub(crate) fn settle(&self) {
        lock(&self.waiting).are_taken = false;
    }

    /// What was taken is refused by the store, with nothing else in its batch, and would be again.
    pub(crate) fn give_up(&self, taken: &Taken) {
        let entries = taken.audit.len();
        tracing::error!(
            entries,
            "audit entries were given up: the store refuses them"
        );
        self.settle();
    }

    /// Takes notes back whose batch was not committed; what was noted meanwhile comes after them.
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
    /// Puts the notes before what the batch itself tells. Notes from after `now` were made while the clock was ahead, and get that
    /// moment instead.
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

/// What an entry has of text that a client chose.
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

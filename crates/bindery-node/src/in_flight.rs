//! Limits how many commands of one key and one person wait for an account's writer, so that a flood leaves
//! room for others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bindery_core::id::{ApiKeyId, UserId};

/// How many commands of one key may wait for a commit; more are refused.
pub const KEY_COMMANDS_MAX: usize = 128;
/// The same for one person: all their keys, and the service keys made with them, at any depth.
pub const PERSON_COMMANDS_MAX: usize = 512;

/// Counts waiting commands of an account, by key and by person.
#[derive(Debug, Default)]
pub(crate) struct InFlight(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    keys: HashMap<ApiKeyId, usize>,
    persons: HashMap<UserId, usize>,
}

/// A waiting command; dropping this ends the count.
#[derive(Debug)]
pub(crate) struct Waits {
    all: Arc<InFlight>,
    person: UserId,
    key: ApiKeyId,
}

impl InFlight {
    /// Counts a command, if there is room for it.
    pub(crate) fn enter(self: &Arc<Self>, person: UserId, key: ApiKeyId) -> Option<Waits> {
        let mut counts = self.counts();
        let of_key = counts.keys.get(&key).copied().unwrap_or_default();
        let of_person = counts.persons.get(&person).copied().unwrap_or_default();
        if of_key >= KEY_COMMANDS_MAX || of_person >= PERSON_COMMANDS_MAX {
            return None;
        }
        counts.keys.insert(key, of_key + 1);
        counts.persons.insert(person, of_person + 1);
        Some(Waits {
            all: Arc::clone(self),
            person,
            key,
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let mut counts = self.all.counts();
        leave(&mut counts.keys, &self.key);
        leave(&mut counts.persons, &self.person);
    }
}

/// Removes entries at zero, so the maps are as small as the queue.
fn leave<K: Hash + Eq>(counts: &mut HashMap<K, usize>, one: &K) {
    match counts.get_mut(one) {
        Some(count) if *count > 1 => *count -= 1,
        _ => drop(counts.remove(one)),
    }
}

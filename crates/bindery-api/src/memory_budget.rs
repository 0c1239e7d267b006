//! Limits the memory that clients can use on the server, over all connections: bytes of arriving requests,
//! and of responses that wait to be read. An ordinary request or response counts as a part of its connection
//! instead.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::turns::Lane;

/// The client that needs memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// A connection without a valid key so far.
    Stranger,
    /// A request of this key, person and account, or a connection whose first valid key it was.
    Key(Lane),
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exhausted {
    /// That of the key.
    Key,
    /// That of its person.
    Person,
    /// That of its account.
    Account,
    /// That of all clients.
    Whole,
}

/// A number of bytes that clients share.
///
/// A key may have more as long as the free memory is at least the sum of what the key, its person and its
/// account have. So a key that is alone gets a quarter, a person with many keys a third, and an account with
/// many people half. The more accounts use memory, the less each may have: `n` accounts that take all they
/// can leave one part in `n + 1` free for others.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    max: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    all: usize,
    /// By all connections without a key.
    strangers: usize,
    keys: HashMap<Lane, usize>,
    persons: HashMap<[u64; 2], usize>,
    accounts: HashMap<u64, usize>,
}

impl MemoryBudget {
    /// A budget of this many bytes.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            used: Mutex::default(),
        })
    }

    /// How many bytes are reserved.
    pub(crate) fn used(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, owner: Owner, bytes: usize) -> Result<(), Exhausted> {
        let mut used = self.lock();
        used.check(owner, bytes, self.max)?;
        used.add(owner, bytes);
        Ok(())
    }

    fn force(&self, owner: Owner, bytes: usize) {
        self.lock().add(owner, bytes);
    }

    fn give_back(&self, owner: Owner, bytes: usize) {
        if bytes > 0 {
            self.lock().subtract(owner, bytes);
        }
    }
}

impl Used {
    /// Whether this owner may have this much more of the maximum.
    fn check(&self, owner: Owner, bytes: usize, max: usize) -> Result<(), Exhausted> {
        // What others hold, and what this owner, its person and its account would hold together. The rest is
        // free.
        let fits = |all: usize, held: [usize; 3]| {
            let sum = held.into_iter().try_fold(all, usize::checked_add);
            sum.is_some_and(|sum| sum <= max)
        };
        let more = |held: usize| held.saturating_add(bytes);
        let all = more(self.all);
        match owner {
            // All of them count as one key.
            Owner::Stranger => fits(all, [more(self.strangers); 3]),
            Owner::Key(lane) => {
                let key = more(self.keys.get(&lane).copied().unwrap_or(0));
                let person = more(self.persons.get(&person_of(lane)).copied().unwrap_or(0));
                let account = more(self.accounts.get(&lane.0[0]).copied().unwrap_or(0));
                // Blame the smallest part that would be too large even without others.
                for (alone, exhausted) in [
                    ([key; 3], Exhausted::Key),
                    ([key, person, person], Exhausted::Person),
                    ([key, person, account], Exhausted::Account),
                ] {
                    if !fits(alone[2], alone) {
                        return Err(exhausted);
                    }
                }
                fits(all, [key, person, account])
            }
        }
        .then_some(())
        .ok_or(Exhausted::Whole)
    }

    fn add(&mut self, owner: Owner, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.all += bytes;
        match owner {
            Owner::Stranger => self.strangers += bytes,
            Owner::Key(lane) => {
                *self.keys.entry(lane).or_default() += bytes;
                *self.persons.entry(person_of(lane)).or_default() += bytes;
                *self.accounts.entry(lane.0[0]).or_default() += bytes;
            }
        }
    }

    fn subtract(&mut self, owner: Owner, bytes: usize) {
        self.all -= bytes;
        match owner {
            Owner::Stranger => self.strangers -= bytes,
            Owner::Key(lane) => {
                subtract(&mut self.keys, lane, bytes);
                subtract(&mut self.persons, person_of(lane), bytes);
                subtract(&mut self.accounts, lane.0[0], bytes);
            }
        }
    }
}

const fn person_of(Lane([account, person, _]): Lane) -> [u64; 2] {
    [account, person]
}

fn subtract<K: Hash + Eq>(of: &mut HashMap<K, usize>, key: K, bytes: usize) {
    if let std::collections::hash_map::Entry::Occupied(mut entry) = of.entry(key) {
        *entry.get_mut() -= bytes;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

/// Bytes that are reserved until this is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    budget: Arc<MemoryBudget>,
    owner: Owner,
    bytes: usize,
}

impl Reserved {
    /// Nothing yet.
    pub(crate) fn none(budget: &Arc<MemoryBudget>, owner: Owner) -> Self {
        Self {
            budget: Arc::clone(budget),
            owner,
            bytes: 0,
        }
    }

    /// Reserves more, up to `bytes` in all; never fewer than before.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 {
            self.budget.take(self.owner, more)?;
            self.bytes += more;
        }
        Ok(())
    }

    /// The same for bytes that are there already and can't be refused any more.
    pub(crate) fn force_to(&mut self, bytes: usize) {
        let more = bytes.saturating_sub(self.bytes);
        self.budget.force(self.owner, more);
        self.bytes += more;
    }

    /// Returns everything. From here on it belongs to `owner`.
    pub(crate) fn reset(&mut self, owner: Owner) {
        self.budget.give_back(self.owner, self.bytes);
        self.bytes = 0;
        self.owner = owner;
    }

    /// Bytes that keep this reserved until their last reader is dropped.
    pub(crate) fn attach(self, content: Vec<u8>) -> Bytes {
        Bytes::from_owner(Attached {
            content,
            _reserved: self,
        })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.give_back(self.owner, self.bytes);
    }
}

struct Attached {
    content: Vec<u8>,
    _reserved: Reserved,
}

impl AsRef<[u8]> for Attached {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(account: u64, person: u64, key: u64) -> Owner {
        Owner::Key(Lane([account, person, key]))
    }

    /// As much as it can get, in steps of 10, and which limit was reached.
    fn hold_all(budget: &Arc<MemoryBudget>, owner: Owner) -> (Reserved, Exhausted) {
        let mut reserved = Reserved::none(budget, owner);
        loop {
            if let Err(exhausted) = reserved.grow_to(reserved.bytes + 10) {
                return (reserved, exhausted);
            }
        }
    }

    #[test]
    fn a_key_a_person_an_account_and_strangers_each_have_a_share_and_not_all() {
        let budget = MemoryBudget::new(1200);
        let sum = |held: &[(Reserved, Exhausted)]| -> usize {
            held.iter().map(|(reserved, _)| reserved.bytes).sum()
        };
        let (one, exhausted) = hold_all(&budget, key(1, 1, 1));
        assert_eq!((one.bytes, exhausted), (300, Exhausted::Key));
        let mut held = vec![(one, exhausted)];
        held.extend((2..60).map(|number| hold_all(&budget, key(1, 1, number))));
        assert!((380..=400).contains(&sum(&held)), "{}", sum(&held));
        assert_eq!(held[59 - 1].1, Exhausted::Person);
        held.extend((2..60).map(|number| hold_all(&budget, key(1, number, 1))));
        assert!((560..=600).contains(&sum(&held)), "{}", sum(&held));
        assert_eq!(held.last().unwrap().1, Exhausted::Account);
        drop(held);
        let (strangers, exhausted) = hold_all(&budget, Owner::Stranger);
        assert_eq!((strangers.bytes, exhausted), (300, Exhausted::Whole));
        drop(strangers);
        let used = budget.lock();
        assert_eq!((used.all, used.strangers), (0, 0));
        assert!(used.keys.is_empty() && used.persons.is_empty() && used.accounts.is_empty());
    }

    #[test]
    fn accounts_that_take_all_they_can_leave_memory_for_another() {
        let budget = MemoryBudget::new(1000);
        let mut held = Vec::new();
        for account in 1..=4 {
            for person in 1..=8 {
                held.push(hold_all(&budget, key(account, person, 1)));
            }
        }
        assert_eq!(held.last().unwrap().1, Exhausted::Whole);
        for owner in [key(5, 1, 1), Owner::Stranger] {
            let mut other = Reserved::none(&budget, owner);
            assert_eq!(other.grow_to(20), Ok(()));
        }
    }

    #[test]
    fn people_of_an_account_that_take_all_they_can_leave_memory_for_another() {
        let budget = MemoryBudget::new(1000);
        let held: Vec<_> = (1..=3)
            .map(|person| hold_all(&budget, key(1, person, 1)))
            .collect();
        let mut other = Reserved::none(&budget, key(1, 4, 1));
        assert_eq!(other.grow_to(10), Ok(()));
        drop(held);
    }

    #[test]
    fn what_strangers_could_not_be_refused_is_theirs_until_it_is_given_back() {
        let budget = MemoryBudget::new(1000);
        let mut forced = Reserved::none(&budget, Owner::Stranger);
        forced.force_to(250);
        let mut more = Reserved::none(&budget, Owner::Stranger);
        assert_eq!(more.grow_to(1), Err(Exhausted::Whole));
        drop(forced);
        assert_eq!(more.grow_to(250), Ok(()));
    }

    #[test]
    fn bytes_are_reserved_until_the_last_reader_lets_go() {
        let budget = MemoryBudget::new(1000);
        let mut reserved = Reserved::none(&budget, key(1, 1, 1));
        reserved.force_to(600);
        let bytes = reserved.attach(vec![1, 2, 3]);
        let slice = bytes.slice(1..);
        drop(bytes);
        assert_eq!(budget.used(), 600);
        drop(slice);
        assert_eq!(budget.used(), 0);
    }
}

//! How much memory clients may make the server hold, over all connections: bytes of requests that are arriving, and of answers that
//! wait to be taken. What a request or answer of ordinary size needs counts as a part of its connection instead.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bindery_core::command::Caller;
use bindery_core::id::AccountId;
use bytes::Bytes;

/// What one account may have of a budget, and what one key may.
const ACCOUNT_SHARE: usize = 2;
const KEY_SHARE: usize = 4;
/// What all connections without a key together may have.
const STRANGERS_SHARE: usize = 4;

/// Who needs the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// A connection on which no key has been shown yet.
    Stranger,
    /// A request of this key, or a connection on which it was the first to be shown.
    Key(AccountId, Caller),
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exhausted {
    /// That of the key itself.
    Key,
    /// That of its account.
    Account,
    /// That of all.
    Whole,
}

/// A number of bytes that are shared.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    max: usize,
    used: AtomicUsize,
    strangers: AtomicUsize,
    of: Mutex<Shares>,
}

#[derive(Debug, Default)]
struct Shares {
    keys: HashMap<(AccountId, Caller), usize>,
    accounts: HashMap<AccountId, usize>,
}

impl MemoryBudget {
    /// So many bytes.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            used: AtomicUsize::new(0),
            strangers: AtomicUsize::new(0),
            of: Mutex::default(),
        })
    }

    /// How many bytes are reserved.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, owner: Owner, bytes: usize) -> Result<(), Exhausted> {
        take(&self.used, bytes, self.max)
            .then_some(())
            .ok_or(Exhausted::Whole)?;
        let shared = match owner {
            Owner::Stranger => take(&self.strangers, bytes, self.max / STRANGERS_SHARE)
                .then_some(())
                .ok_or(Exhausted::Whole),
            Owner::Key(account, caller) => self.take_share(account, caller, bytes, true),
        };
        if shared.is_err() {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        shared
    }

    fn take_share(
        &self,
        account: AccountId,
        caller: Caller,
        bytes: usize,
        is_bounded: bool,
    ) -> Result<(), Exhausted> {
        let mut shares = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let of_key = shares.keys.get(&(account, caller)).copied().unwrap_or(0) + bytes;
        let of_account = shares.accounts.get(&account).copied().unwrap_or(0) + bytes;
        if is_bounded && of_key > self.max / KEY_SHARE {
            return Err(Exhausted::Key);
        }
        if is_bounded && of_account > self.max / ACCOUNT_SHARE {
            return Err(Exhausted::Account);
        }
        shares.keys.insert((account, caller), of_key);
        shares.accounts.insert(account, of_account);
        Ok(())
    }

    fn give_back(&self, owner: Owner, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        match owner {
            Owner::Stranger => {
                self.strangers.fetch_sub(bytes, Ordering::Relaxed);
            }
            Owner::Key(account, caller) => {
                let mut shares = self.of.lock().unwrap_or_else(PoisonError::into_inner);
                give_back(&mut shares.keys, (account, caller), bytes);
                give_back(&mut shares.accounts, account, bytes);
            }
        }
    }
}

fn take(used: &AtomicUsize, bytes: usize, max: usize) -> bool {
    let taken = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
        used.checked_add(bytes).filter(|sum| *sum <= max)
    });
    taken.is_ok()
}

fn give_back<K: std::hash::Hash + Eq>(of: &mut HashMap<K, usize>, key: K, bytes: usize) {
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
    /// None yet.
    pub(crate) fn none(budget: &Arc<MemoryBudget>, owner: Owner) -> Self {
        Self {
            budget: Arc::clone(budget),
            owner,
            bytes: 0,
        }
    }

    /// Reserves more, so that `bytes` are reserved together; fewer stay as many as they are.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 {
            self.budget.take(self.owner, more)?;
            self.bytes += more;
        }
        Ok(())
    }

    /// The same for what is there already and can't be refused any more.
    pub(crate) fn force_to(&mut self, bytes: usize) {
        let more = bytes.saturating_sub(self.bytes);
        if let Owner::Key(account, caller) = self.owner {
            let _ = self.budget.take_share(account, caller, more, false);
        }
        self.budget.used.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
    }

    /// Gives everything back. From here on it is for `owner`.
    pub(crate) fn reset(&mut self, owner: Owner) {
        self.budget.give_back(self.owner, self.bytes);
        self.bytes = 0;
        self.owner = owner;
    }

    /// Bytes that keep this reserved until the last of their readers has let go of them.
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
    use bindery_core::id::UserId;

    use super::*;

    fn key(account: u32, user: u32) -> Owner {
        Owner::Key(AccountId(account), Caller::Person(UserId::new(user)))
    }

    #[test]
    fn neither_a_key_nor_an_account_nor_strangers_can_take_all_of_it() {
        let budget = MemoryBudget::new(1000);
        let hold = |owner, bytes| {
            let mut reserved = Reserved::none(&budget, owner);
            reserved.grow_to(bytes).map(|()| reserved)
        };
        let first = hold(key(1, 1), 250).unwrap();
        assert_eq!(hold(key(1, 1), 1).unwrap_err(), Exhausted::Key);
        let second = hold(key(1, 2), 250).unwrap();
        assert_eq!(hold(key(1, 3), 1).unwrap_err(), Exhausted::Account);
        let strangers = hold(Owner::Stranger, 250).unwrap();
        assert_eq!(hold(Owner::Stranger, 1).unwrap_err(), Exhausted::Whole);
        let other = hold(key(2, 1), 250).unwrap();
        assert_eq!(hold(key(2, 2), 1).unwrap_err(), Exhausted::Whole);
        assert_eq!(budget.used(), 1000);
        drop((first, second, strangers, other));
        assert_eq!(budget.used(), 0);
        assert!(budget.of.lock().unwrap().keys.is_empty());
        assert!(budget.of.lock().unwrap().accounts.is_empty());
        assert_eq!(budget.strangers.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn bytes_are_reserved_until_the_last_reader_lets_go() {
        let budget = MemoryBudget::new(1000);
        let mut reserved = Reserved::none(&budget, key(1, 1));
        reserved.force_to(600);
        let bytes = reserved.attach(vec![1, 2, 3]);
        let slice = bytes.slice(1..);
        drop(bytes);
        assert_eq!(budget.used(), 600);
        drop(slice);
        assert_eq!(budget.used(), 0);
    }
}

//! Finds the loaded account of a key.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use bindery_core::api_key::{ApiKey, SecretHash};
use bindery_core::change::{Change, Entry};
use bindery_core::id::AccountId;

/// The keys of all loaded accounts. Only a hint: the account decides whether the key is valid, so a stale
/// entry does no harm.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory(Arc<RwLock<HashMap<SecretHash, AccountId>>>);

impl Directory {
    pub(crate) fn find(&self, hash: &SecretHash) -> Option<AccountId> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(hash)
            .copied()
    }

    pub(crate) fn add<'a>(&self, account: AccountId, keys: impl IntoIterator<Item = &'a ApiKey>) {
        let mut accounts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            accounts.insert(key.secret.hash, account);
            if let Some(previous) = key.previous {
                accounts.insert(previous.hash, account);
            }
        }
    }

    /// Adds secrets of keys that readers of the account can already see. Adding them earlier would make a new
    /// key look like a revoked one.
    pub(crate) fn learn(&self, account: AccountId, secrets: &mut Vec<SecretHash>) {
        if secrets.is_empty() {
            return;
        }
        let mut accounts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        accounts.extend(secrets.drain(..).map(|secret| (secret, account)));
    }

    /// Removes every key of these accounts, including replaced secrets.
    pub(crate) fn forget(&self, accounts: &BTreeSet<AccountId>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, account| !accounts.contains(account));
        known.shrink_to_fit();
    }
}

/// Collects the secrets of the keys in new log entries, for [`Directory::learn`].
pub(crate) fn note_secrets(entries: &[Entry], secrets: &mut Vec<SecretHash>) {
    let changes = entries.iter().flat_map(|entry| &entry.changes);
    let keys = changes.filter_map(|change| match change {
        Change::PutApiKey(key) => Some(key),
        _ => None,
    });
    note_keys(keys, secrets);
}

/// Collects the secrets of these keys, for [`Directory::learn`].
pub(crate) fn note_keys<'a>(
    keys: impl IntoIterator<Item = &'a ApiKey>,
    secrets: &mut Vec<SecretHash>,
) {
    for key in keys {
        secrets.push(key.secret.hash);
        secrets.extend(key.previous.map(|previous| previous.hash));
    }
}

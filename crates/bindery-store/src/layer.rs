//! A store in front of another: it passes on every call, except those that it changes.

use std::time::Duration;

use bindery_core::api_key::SecretHash;
use bindery_core::audit::AuditEntry;
use bindery_core::change::{Entry, LogPosition};
use bindery_core::credential::Credential;
use bindery_core::id::{AccountId, ApiKeyId, Revision};
use bindery_core::place::Account;
use bindery_core::state::State;
use bindery_core::text::Email;
use bindery_core::time::Timestamp;

use crate::{AppendError, AuditQuery, Batch, Owner, Store, StoreError, Wake};

/// A store in front of another, for tests. Implement [`Layer::below`], and only those methods of [`Store`] that differ: the others pass the call
/// on. A type with this trait is a [`Store`].
///
/// Import `Layer` only where it is implemented: elsewhere a call of `load` would name two traits.
#[expect(missing_docs, reason = "each method is the one of `Store`")]
pub trait Layer: Send + Sync + 'static {
    /// The store that gets the calls.
    fn below(&self) -> &dyn Store;

    /// Runs before each call that is passed on. With an error, the call fails and is not passed on; calls that can't fail are.
    fn check_reachable(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.check_reachable()?;
        self.below().accounts()
    }

    fn damaged_accounts(&self) -> Result<Vec<StoreError>, StoreError> {
        self.check_reachable()?;
        self.below().damaged_accounts()
    }

    fn heads(&self) -> Result<Vec<(AccountId, LogPosition)>, StoreError> {
        self.check_reachable()?;
        self.below().heads()
    }

    fn create_account(&self, account: &Account) -> Result<(), StoreError> {
        self.check_reachable()?;
        self.below().create_account(account)
    }

    fn load(&self, account: AccountId) -> Result<State, StoreError> {
        self.check_reachable()?;
        self.below().load(account)
    }

    fn append(
        &self,
        account: AccountId,
        known: LogPosition,
        decide: &mut dyn FnMut(&[Entry]) -> Batch,
    ) -> Result<Revision, AppendError> {
        self.check_reachable()
            .map_err(|error| AppendError::Unavailable(error.into()))?;
        self.below().append(account, known, decide)
    }

    fn changes_since(
        &self,
        account: AccountId,
        known: LogPosition,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.check_reachable()?;
        self.below().changes_since(account, known, limit)
    }

    fn base(&self, account: AccountId) -> Result<State, StoreError> {
        self.check_reachable()?;
        self.below().base(account)
    }

    fn forget_log(
        &self,
        account: AccountId,
        until: Revision,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.check_reachable()?;
        self.below().forget_log(account, until, before, limit)
    }

    fn audit(
        &self,
        account: AccountId,
        query: &AuditQuery,
    ) -> Result<Vec<(u64, AuditEntry)>, StoreError> {
        self.check_reachable()?;
        self.below().audit(account, query)
    }

    fn forget_audit(
        &self,
        account: AccountId,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.check_reachable()?;
        self.below().forget_audit(account, before, limit)
    }

    fn key_uses(&self, account: AccountId) -> Result<Vec<(ApiKeyId, Timestamp)>, StoreError> {
        self.check_reachable()?;
        self.below().key_uses(account)
    }

    fn owners(&self, secrets: &[SecretHash]) -> Result<Vec<Option<Owner>>, StoreError> {
        self.check_reachable()?;
        self.below().owners(secrets)
    }

    fn credentials(
        &self,
        email: &Email,
        account: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<(AccountId, Credential)>, StoreError> {
        self.check_reachable()?;
        self.below().credentials(email, account, limit)
    }

    fn check_place(&self) -> Result<(), StoreError> {
        self.check_reachable()?;
        self.below().check_place()
    }

    fn database_time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.check_reachable()?;
        self.below().database_time()
    }

    fn watch(&self, timeout: Duration) -> Wake {
        self.below().watch(timeout)
    }
}

// A method with a default of its own must be passed on too.
#[deny(clippy::missing_trait_methods)]
impl<T: Layer> Store for T {
    fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        Layer::accounts(self)
    }

    fn damaged_accounts(&self) -> Result<Vec<StoreError>, StoreError> {
        Layer::damaged_accounts(self)
    }

    fn heads(&self) -> Result<Vec<(AccountId, LogPosition)>, StoreError> {
        Layer::heads(self)
    }

    fn create_account(&self, account: &Account) -> Result<(), StoreError> {
        Layer::create_account(self, account)
    }

    fn load(&self, account: AccountId) -> Result<State, StoreError> {
        Layer::load(self, account)
    }

    fn append(
        &self,
        account: AccountId,
        known: LogPosition,
        decide: &mut dyn FnMut(&[Entry]) -> Batch,
    ) -> Result<Revision, AppendError> {
        Layer::append(self, account, known, decide)
    }

    fn changes_since(
        &self,
        account: AccountId,
        known: LogPosition,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        Layer::changes_since(self, account, known, limit)
    }

    fn base(&self, account: AccountId) -> Result<State, StoreError> {
        Layer::base(self, account)
    }

    fn forget_log(
        &self,
        account: AccountId,
        until: Revision,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        Layer::forget_log(self, account, until, before, limit)
    }

    fn audit(
        &self,
        account: AccountId,
        query: &AuditQuery,
    ) -> Result<Vec<(u64, AuditEntry)>, StoreError> {
        Layer::audit(self, account, query)
    }

    fn forget_audit(
        &self,
        account: AccountId,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        Layer::forget_audit(self, account, before, limit)
    }

    fn key_uses(&self, account: AccountId) -> Result<Vec<(ApiKeyId, Timestamp)>, StoreError> {
        Layer::key_uses(self, account)
    }

    fn owners(&self, secrets: &[SecretHash]) -> Result<Vec<Option<Owner>>, StoreError> {
        Layer::owners(self, secrets)
    }

    fn credentials(
        &self,
        email: &Email,
        account: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<(AccountId, Credential)>, StoreError> {
        Layer::credentials(self, email, account, limit)
    }

    fn check_place(&self) -> Result<(), StoreError> {
        Layer::check_place(self)
    }

    fn database_time(&self) -> Result<Option<Timestamp>, StoreError> {
        Layer::database_time(self)
    }

    fn watch(&self, timeout: Duration) -> Wake {
        Layer::watch(self, timeout)
    }
}

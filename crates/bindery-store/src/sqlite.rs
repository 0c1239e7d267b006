//! The store on one embedded SQLite file, for one process: `bindery.db` in the data directory, beside `bindery.lock`.
//!
//! WAL with `synchronous = FULL`: a commit is on the disk when it returns. One connection writes, another reads, so that
//! readers don't wait for the writer, and one loads whole accounts, so that nobody waits for a large one but who wants it. What it shares with PostgreSQL is in `tables`; what is SQLite's own (opening, pragmas,
//! row by row writing, what a failed commit means) is here.

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bindery_core::api_key::SecretHash;
use bindery_core::audit::AuditEntry;
use bindery_core::change::Entry;
use bindery_core::credential::Credential;
use bindery_core::id::{AccountId, ApiKeyId, Revision};
use bindery_core::place::Account;
use bindery_core::state::State;
use bindery_core::text::Email;
use bindery_core::time::Timestamp;
use rusqlite::{Connection, TransactionBehavior};

use crate::copy::{Import, Snapshot};
use crate::tables::append::create_account;
use crate::tables::{Database, Failure, audit, base, read, secrets};
use crate::{AppendError, AuditQuery, Batch, Owner, Store, StoreError, Wake};

mod append;
mod connection;
mod copy;
mod file;
mod schema;

/// An open data directory. Whoever else opens it meanwhile is told [`StoreError::InUse`].
#[derive(Debug)]
pub struct SqliteStore {
    /// The file, for messages.
    place: String,
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    loader: Mutex<Connection>,
    // Declared last: the lock is let go of after the connections are closed.
    _lock: File,
}

impl SqliteStore {
    /// Opens the store of a data directory; makes the directory and the store if they are missing, for the user of this
    /// process alone. A file that isn't ours, is damaged, or was written by a newer version is left as it is.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        file::open(data_dir)
    }

    /// What is in a data directory at this moment, also while a server uses it. Changes nothing there.
    pub fn snapshot(data_dir: &Path) -> Result<Snapshot, StoreError> {
        copy::snapshot(data_dir)
    }

    /// Begins a store in a data directory in which there is none yet, or one without an account, and in which a restore was
    /// not finished: what is left of that is thrown away.
    pub fn import(data_dir: &Path) -> Result<Import, StoreError> {
        copy::import(data_dir)
    }

    fn writer(&self) -> MutexGuard<'_, Connection> {
        lock(&self.writer)
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        lock(&self.reader)
    }
}

/// A panic in the middle of a transaction (`decide` is not ours) rolled it back, so the connection is as good as before.
fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for SqliteStore {
    fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        read::accounts(&mut &*self.reader()).map_err(|failure| failure.at(&self.place))
    }

    fn heads(&self) -> Result<Vec<(AccountId, Revision)>, StoreError> {
        read::heads(&mut &*self.reader()).map_err(|failure| failure.at(&self.place))
    }

    fn create_account(&self, account: &Account) -> Result<(), StoreError> {
        create_account(&mut &*self.writer(), account).map_err(|failure| failure.at(&self.place))
    }

    fn load(&self, account: AccountId) -> Result<State, StoreError> {
        at_once(&mut lock(&self.loader), |database| {
            read::load(database, account)
        })
        .map_err(|failure| failure.at(&self.place))
    }

    fn append(
        &self,
        account: AccountId,
        known: Revision,
        decide: &mut dyn FnMut(&[Entry]) -> Batch,
    ) -> Result<Revision, AppendError> {
        append::append(&mut self.writer(), &self.place, account, known, decide)
    }

    fn changes_since(
        &self,
        account: AccountId,
        revision: Revision,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        read::changes_since(&mut &*self.reader(), account, revision, limit)
            .map_err(|failure| failure.at(&self.place))
    }

    fn base(&self, account: AccountId) -> Result<State, StoreError> {
        at_once(&mut lock(&self.loader), |database| {
            base::load(database, account)
        })
        .map_err(|failure| failure.at(&self.place))
    }

    fn forget_log(
        &self,
        account: AccountId,
        until: Revision,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        forget_log(&mut self.writer(), account, until, before, limit)
            .map_err(|failure| failure.at(&self.place))
    }

    fn audit(
        &self,
        account: AccountId,
        query: &AuditQuery,
    ) -> Result<Vec<(u64, AuditEntry)>, StoreError> {
        audit::find(&mut &*self.reader(), account, query).map_err(|failure| failure.at(&self.place))
    }

    fn forget_audit(
        &self,
        account: AccountId,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        audit::forget(&mut &*self.writer(), account, before, limit)
            .map_err(|failure| failure.at(&self.place))
    }

    fn key_uses(&self, account: AccountId) -> Result<Vec<(ApiKeyId, Timestamp)>, StoreError> {
        read::key_uses(&mut &*self.reader(), account).map_err(|failure| failure.at(&self.place))
    }

    fn owners(&self, of: &[SecretHash]) -> Result<Vec<Option<Owner>>, StoreError> {
        secrets::owners(&mut &*self.reader(), of).map_err(|failure| failure.at(&self.place))
    }

    fn credentials(
        &self,
        email: &Email,
        limit: usize,
    ) -> Result<Vec<(AccountId, Credential)>, StoreError> {
        secrets::credentials(&mut &*self.reader(), email, limit)
            .map_err(|failure| failure.at(&self.place))
    }

    fn watch(&self, _timeout: Duration) -> Wake {
        Wake::Alone
    }
}

/// All of it in one transaction, so at one revision.
fn at_once<T>(
    connection: &mut Connection,
    work: impl FnOnce(&mut dyn Database) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let transaction = connection.transaction()?;
    work(&mut &*transaction)
}

fn forget_log(
    connection: &mut Connection,
    account: AccountId,
    until: Revision,
    before: Timestamp,
    limit: usize,
) -> Result<usize, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let forgotten = base::forget(&mut &*transaction, account, until, before, limit)?;
    transaction.commit()?;
    Ok(forgotten)
}

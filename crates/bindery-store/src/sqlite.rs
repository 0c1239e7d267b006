//! The store on one embedded SQLite file, for one process: `bindery.db` in the data directory, beside
//! `bindery.lock`.
//!
//! WAL with `synchronous = FULL`: a commit is on the disk when it returns. One connection writes and another
//! reads, so that readers don't wait for the writer. One loads whole accounts and one reads audit logs, so
//! that these long reads delay no one else. `tables` is shared with PostgreSQL. SQLite's own parts (opening,
//! pragmas, writing row by row, the meaning of a failed commit) are here.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
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
use rusqlite::{Connection, TransactionBehavior};

use crate::copy::{Import, Snapshot};
use crate::tables::append::create_account;
use crate::tables::read::Head;
use crate::tables::{Database, Failure, audit, base, read, secrets};
use crate::{
    AppendError, AuditQuery, Batch, Owner, RepairedTime, Store, StoreError, TimeRepairOrder, Wake,
};

mod append;
mod connection;
mod copy;
mod file;
mod positions;
mod schema;

use self::positions::Positions;

/// An open data directory. Another process that opens it gets [`StoreError::InUse`].
#[derive(Debug)]
pub struct SqliteStore {
    /// The file, for messages.
    place: String,
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    loader: Mutex<Connection>,
    auditor: Mutex<Connection>,
    /// The position of each account; written by the holder of the writer.
    positions: Positions,
    /// Whether the last commit failed in a way that may have left all of it in the WAL.
    is_unsettled: AtomicBool,
    files: file::OpenFiles,
    // Declared last: the locks are released after the connections are closed.
    _held: File,
    _lock: File,
}

impl SqliteStore {
    /// Opens the store of a data directory. Creates directory and store if necessary, private to the user of
    /// this process. A file that isn't ours, is damaged, or is of a newer version is not changed.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        file::open(data_dir)
    }

    /// The current content of a data directory, while a server may be using it. Changes nothing.
    pub fn snapshot(data_dir: &Path) -> Result<Snapshot, StoreError> {
        copy::snapshot(data_dir)
    }

    /// Begins a store in a data directory without a store, without an account, or with an unfinished restore,
    /// whose remains are removed.
    pub fn import(data_dir: &Path) -> Result<Import, StoreError> {
        copy::import(data_dir)
    }

    /// Sets an account's time back, in one transaction.
    pub fn repair_time(
        &self,
        account: AccountId,
        order: TimeRepairOrder<'_>,
    ) -> Result<RepairedTime, StoreError> {
        let mut writer = self.writer();
        self.files.check()?;
        let committed = |head: &Head| self.positions.note(account, head);
        let repaired = append::repair_time(&mut writer, &self.place, account, order, &committed)?;
        self.files.check()?;
        Ok(repaired)
    }

    /// Makes sure that a failed commit never happens. If a disk can't sync, the whole commit may be in the
    /// WAL: no one sees it, but the next process that opens the file would accept it. So another commit
    /// replaces it on the disk before anyone gets the response that it isn't there.
    fn settle(&self) -> Result<(), Failure> {
        if self.is_unsettled.load(Ordering::Relaxed) {
            let writer = self.writer();
            file::commit_something(&writer)?;
            self.is_unsettled.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    fn writer(&self) -> MutexGuard<'_, Connection> {
        lock(&self.writer)
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        lock(&self.reader)
    }
}

/// A panic in the middle of a transaction (`decide` is not ours) rolled it back, so the connection is still
/// valid.
fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for SqliteStore {
    fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let found = read::accounts(&mut &*self.reader());
        let (accounts, _) = found.map_err(|failure| failure.at(&self.place))?;
        Ok(accounts)
    }

    fn damaged_accounts(&self) -> Result<Vec<StoreError>, StoreError> {
        let found = read::accounts(&mut &*self.reader());
        let (_, damaged) = found.map_err(|failure| failure.at(&self.place))?;
        let damaged = damaged.into_iter();
        Ok(damaged
            .map(|what| Failure::Damaged(what).at(&self.place))
            .collect())
    }

    fn heads(&self) -> Result<Vec<(AccountId, LogPosition)>, StoreError> {
        read::heads(&mut &*self.reader()).map_err(|failure| failure.at(&self.place))
    }

    fn create_account(&self, account: &Account) -> Result<(), StoreError> {
        let mut writer = self.writer();
        self.files.check()?;
        make_account(&mut writer, account)
            .map(|head| self.positions.note(account.id, &head))
            .map_err(|failure| failure.at(&self.place))?;
        self.files.check()
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
        known: LogPosition,
        decide: &mut dyn FnMut(&[Entry]) -> Batch,
    ) -> Result<Revision, AppendError> {
        let mut writer = self.writer();
        self.files
            .check()
            .map_err(|error| AppendError::Unavailable(error.into()))?;
        let committed = |head: &Head| self.positions.note(account, head);
        let appended = append::append(&mut writer, &self.place, account, known, decide, &committed);
        // If the files were moved during a commit, it is on a disk, but maybe on one that is never read
        // again. This is known once the files are back: until then the log isn't read.
        if appended.is_ok()
            && let Err(error) = self.files.check()
        {
            return Err(AppendError::Unknown(error.into()));
        }
        if let Err(AppendError::Unknown(_)) = appended {
            self.is_unsettled.store(true, Ordering::Relaxed);
        }
        appended
    }

    fn changes_since(
        &self,
        account: AccountId,
        known: LogPosition,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.files.check()?;
        self.settle()
            .and_then(|()| read::changes_since(&mut &*self.reader(), account, known, limit))
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
        self.files.check()?;
        forget_log(&mut self.writer(), account, until, before, limit)
            .map_err(|failure| failure.at(&self.place))
    }

    fn audit(
        &self,
        account: AccountId,
        query: &AuditQuery,
    ) -> Result<Vec<(u64, AuditEntry)>, StoreError> {
        at_once(&mut lock(&self.auditor), |database| {
            audit::find(database, account, query)
        })
        .map_err(|failure| failure.at(&self.place))
    }

    fn forget_audit(
        &self,
        account: AccountId,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.files.check()?;
        forget_audit(&mut self.writer(), account, before, limit)
            .map_err(|failure| failure.at(&self.place))
    }

    fn key_uses(&self, account: AccountId) -> Result<Vec<(ApiKeyId, Timestamp)>, StoreError> {
        // At one moment: the rows are compared with their sum, which the writer may change in between.
        at_once(&mut self.reader(), |database| {
            read::key_uses(database, account)
        })
        .map_err(|failure| failure.at(&self.place))
    }

    fn owners(&self, of: &[SecretHash]) -> Result<Vec<Option<Owner>>, StoreError> {
        secrets::owners(&mut &*self.reader(), of).map_err(|failure| failure.at(&self.place))
    }

    fn credentials(
        &self,
        email: &Email,
        account: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<(AccountId, Credential)>, StoreError> {
        secrets::credentials(&mut &*self.reader(), email, account, limit)
            .map_err(|failure| failure.at(&self.place))
    }

    fn check_place(&self) -> Result<(), StoreError> {
        self.files.check()
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

fn make_account(connection: &mut Connection, account: &Account) -> Result<Head, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    create_account(&mut &*transaction, account)?;
    let head = read::head(&mut &*transaction, account.id)?;
    transaction.commit()?;
    Ok(head)
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

fn forget_audit(
    connection: &mut Connection,
    account: AccountId,
    before: Timestamp,
    limit: usize,
) -> Result<usize, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let forgotten = audit::forget(&mut &*transaction, account, before, limit)?;
    transaction.commit()?;
    Ok(forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_commit_that_may_be_in_the_wal_another_is_put_in_its_place_before_the_log_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        let wal = || std::fs::metadata(directory.path().join("bindery.db-wal")).unwrap();
        let missing = AccountId(1);
        let read = || store.changes_since(missing, Revision(0).into(), 1);
        assert!(matches!(read(), Err(StoreError::NoAccount(_))));
        let before = wal().len();
        store.is_unsettled.store(true, Ordering::Relaxed);
        assert!(matches!(read(), Err(StoreError::NoAccount(_))));
        let settled = wal().len();
        assert!(settled > before, "something was committed");
        assert!(matches!(read(), Err(StoreError::NoAccount(_))));
        assert_eq!(wal().len(), settled, "once");
    }
}

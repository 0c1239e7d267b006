//! The store on one embedded SQLite file, for one process: `bindery.db` in the data directory, beside `bindery.lock`.
//!
//! WAL with `synchronous = FULL`: a commit is on the disk when it returns. One connection writes, another reads, so that
//! readers don't wait for the writer. The statements are plain enough to run on PostgreSQL as well; what is SQLite's own
//! (opening, pragmas, what a failed commit means) is in `file`, `schema` and `append`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bindery_core::audit::AuditEntry;
use bindery_core::change::Entry;
use bindery_core::id::{AccountId, ApiKeyId, Revision};
use bindery_core::place::Account;
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use rusqlite::{Connection, ErrorCode};

use crate::{AppendError, AuditQuery, Batch, Store, StoreError};

mod append;
mod audit;
mod file;
mod read;
mod schema;

/// An open data directory. Whoever else opens it meanwhile is told [`StoreError::InUse`].
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    // Declared last: the lock is let go of after the connections are closed.
    _lock: File,
}

impl SqliteStore {
    /// Opens the store of a data directory; makes the directory and the store if they are missing, for the user of this
    /// process alone. A file that isn't ours, is damaged, or was written by a newer version is left as it is.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        file::open(data_dir)
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
        read::accounts(&self.reader()).map_err(|failure| failure.at(&self.path))
    }

    fn create_account(&self, account: &Account) -> Result<(), StoreError> {
        append::create_account(&self.writer(), account).map_err(|failure| failure.at(&self.path))
    }

    fn load(&self, account: AccountId) -> Result<State, StoreError> {
        read::load(&mut self.reader(), account).map_err(|failure| failure.at(&self.path))
    }

    fn append(
        &self,
        account: AccountId,
        known: Revision,
        decide: &mut dyn FnMut(&[Entry]) -> Batch,
    ) -> Result<Revision, AppendError> {
        append::append(&mut self.writer(), &self.path, account, known, decide)
    }

    fn changes_since(
        &self,
        account: AccountId,
        revision: Revision,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        read::changes_since(&self.reader(), account, revision, limit)
            .map_err(|failure| failure.at(&self.path))
    }

    fn audit(
        &self,
        account: AccountId,
        query: &AuditQuery,
    ) -> Result<Vec<(u64, AuditEntry)>, StoreError> {
        audit::find(&self.reader(), account, query).map_err(|failure| failure.at(&self.path))
    }

    fn forget_audit(
        &self,
        account: AccountId,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        audit::forget(&self.writer(), account, before, limit)
            .map_err(|failure| failure.at(&self.path))
    }

    fn key_uses(&self, account: AccountId) -> Result<Vec<(ApiKeyId, Timestamp)>, StoreError> {
        read::key_uses(&self.reader(), account).map_err(|failure| failure.at(&self.path))
    }
}

/// What can go wrong inside, before it is known which file it happened to.
#[derive(Debug)]
enum Failure {
    Sqlite(rusqlite::Error),
    /// Something stored can't be what we wrote; says what.
    Damaged(String),
    NoAccount(AccountId),
    AccountExists(AccountId),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Failure {
    /// The same for whoever called the store.
    fn at(self, path: &Path) -> StoreError {
        let corrupt = |why| StoreError::Corrupt {
            path: path.display().to_string(),
            why,
        };
        match self {
            Self::Sqlite(error) if is_damage(&error) => corrupt(error.to_string()),
            Self::Sqlite(error) => StoreError::Unavailable(error.into()),
            Self::Damaged(why) => corrupt(why),
            Self::NoAccount(account) => StoreError::NoAccount(account),
            Self::AccountExists(account) => StoreError::AccountExists(account),
        }
    }
}

/// Whether SQLite, or the type of what it found, says that the file is damaged.
fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..) => true,
        other => matches!(
            other.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        ),
    }
}

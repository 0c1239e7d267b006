//! The store on one PostgreSQL database, for any number of processes.
//!
//! `tables` is shared with SQLite. PostgreSQL's own parts are: the address of the database and the protection
//! of the connection (`address`), connections that can break at any time (`connection`, `pool`), taking an
//! account's row and writing a batch in two round trips (`append`), nodes that start at once (`migrate`) and
//! notify each other (`listen`), and damaged indexes (`inspect`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

use self::address::Address;
use self::connection::{Connection, READ_TIMEOUT, WRITE_TIMEOUT};
use self::listen::Listener;
use self::pool::Pool;
use crate::copy::{Import, Snapshot};
use crate::tables::append::create_account;
use crate::tables::{Database as _, Failure, audit, base, read, secrets};
use crate::{
    AppendError, AuditQuery, Batch, Owner, RepairedTime, Store, StoreError, TimeRepairOrder, Wake,
};

pub use self::address::AddressError;

mod address;
mod append;
mod connection;
mod copy;
mod inspect;
mod listen;
mod migrate;
mod pool;

/// How many accounts a node can write at once.
const WRITERS_MAX: usize = 8;
/// How many threads of a node can read at once, of each of three kinds.
const READERS_MAX: usize = 4;

/// How long the next rows of a whole account may take: they are read in the order of their key.
const ROWS_TIMEOUT: Duration = Duration::from_secs(55);

/// Each of its statements sees what was committed when it began, and nothing later.
const BEGIN_AT_ONCE: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is invalid.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A database, with the connections of this process to it.
pub struct PostgresStore {
    address: Arc<Address>,
    writers: Pool,
    /// For short reads that others wait for: positions of accounts, changes of others, owners of secrets.
    readers: Pool,
    /// For whole accounts, which may take minutes.
    loaders: Pool,
    /// For audit logs, which may take minutes as well, without delaying anything else.
    auditors: Pool,
    listener: Listener,
    /// Accounts whose last commit has no response: it may still be running.
    unsettled: Mutex<Unsettled>,
}

#[derive(Debug, Default)]
struct Unsettled {
    /// The last of those commits of each account.
    accounts: BTreeMap<AccountId, u64>,
    /// How many there were.
    count: u64,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresStore")
            .field(&self.address.place)
            .finish()
    }
}

impl PostgresStore {
    /// Opens the store in a database, and creates its tables if necessary, in the first schema of the login's
    /// `search_path`. Tables of a newer version and of others are not changed.
    pub fn open(url: &str) -> Result<Self, OpenError> {
        let address = Arc::new(Address::parse(url)?);
        let place = &address.place;
        let node = getrandom::u64().map_err(|error| {
            StoreError::Unavailable(
                format!("the system returned no random numbers: {error}").into(),
            )
        })?;
        let opened = Connection::open(&address, WRITE_TIMEOUT, None);
        let mut connection = opened.map_err(|failure| failure.at(place))?;
        migrate::migrate(&mut connection, place)?;
        Ok(Self {
            writers: Pool::new(Arc::clone(&address), WRITE_TIMEOUT, WRITERS_MAX),
            readers: Pool::new(Arc::clone(&address), WRITE_TIMEOUT, READERS_MAX),
            loaders: Pool::new(Arc::clone(&address), READ_TIMEOUT, READERS_MAX),
            auditors: Pool::new(Arc::clone(&address), READ_TIMEOUT, READERS_MAX),
            listener: Listener::new(Arc::clone(&address), node),
            unsettled: Mutex::default(),
            address,
        })
    }

    /// The current content of a database, while servers may be using it. Changes nothing.
    pub fn snapshot(url: &str) -> Result<Snapshot, OpenError> {
        copy::snapshot(&Address::parse(url)?)
    }

    /// The time of the database's own clock. Opens no store, so a standby that takes no writes is enough.
    pub fn clock(url: &str) -> Result<Timestamp, OpenError> {
        let address = Address::parse(url)?;
        let read = Connection::open(&address.of_any_server(), WRITE_TIMEOUT, None)
            .and_then(|mut connection| clock_of(&mut connection));
        Ok(read.map_err(|failure| failure.at(&address.place))?)
    }

    /// Begins a store in a database without a store, without an account, or with an unfinished restore, whose
    /// remains are removed. The login must be allowed to create tables.
    pub fn import(url: &str) -> Result<Import, OpenError> {
        copy::import(&Address::parse(url)?)
    }

    /// Sets an account's time back, in one transaction. Changes of the account by servers wait for its end,
    /// and are refused if they wait too long. Afterwards servers reload the account.
    pub fn repair_time(
        &self,
        account: AccountId,
        order: TimeRepairOrder<'_>,
    ) -> Result<RepairedTime, StoreError> {
        let (place, note) = (&self.address.place, self.listener.note(account));
        append::repair_time(&self.address, place, account, &note, order)
    }

    fn read<T>(
        &self,
        work: impl FnMut(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.read_from(&self.readers, work)
    }

    fn read_from<T>(
        &self,
        pool: &Pool,
        work: impl FnMut(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        pool.read(work)
            .map_err(|failure| failure.at(&self.address.place))
    }

    /// Reads an account at one moment.
    fn load_at_once(
        &self,
        load: impl FnMut(&mut Connection) -> Result<State, Failure>,
    ) -> Result<State, StoreError> {
        self.read_at_once(&self.loaders, load)
    }

    /// Reads several statements at one moment.
    fn read_at_once<T>(
        &self,
        pool: &Pool,
        mut read: impl FnMut(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.read_from(pool, |connection| {
            connection.begin(BEGIN_AT_ONCE, "SELECT 1", &[], &mut |_| Ok(()))?;
            // The database may be silent during one row, not during all of them.
            connection.wait_for_statements_of(ROWS_TIMEOUT);
            let found = read(connection)?;
            // What was read is right, even if building the state took so long that the database has ended the
            // transaction.
            let _ = connection.end("ROLLBACK");
            Ok(found)
        })
    }

    fn unsettled(&self) -> MutexGuard<'_, Unsettled> {
        self.unsettled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of a transaction whose commit has no response: it holds the account's row until
    /// then.
    ///
    /// A database that has come back from a crash shows what it had written, whether or not its synchronous
    /// standby has it. So this commits instead of rolling back: taking the row is a write, whose commit waits
    /// until the standby has it and everything before it. What is read after that is safe even if the primary
    /// is lost the next moment.
    fn settle(&self, account: AccountId) -> Result<(), Failure> {
        let Some(lost) = self.unsettled().accounts.get(&account).copied() else {
            return Ok(());
        };
        self.writers.read(|connection| {
            append::take_row(connection, account)?;
            connection.end("COMMIT")
        })?;
        let mut unsettled = self.unsettled();
        // Another commit may have been lost since.
        if unsettled.accounts.get(&account) == Some(&lost) {
            unsettled.accounts.remove(&account);
        }
        drop(unsettled);
        Ok(())
    }
}

impl Store for PostgresStore {
    fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let (accounts, _) = self.read(|connection| read::accounts(connection))?;
        Ok(accounts)
    }

    fn damaged_accounts(&self) -> Result<Vec<StoreError>, StoreError> {
        let (_, damaged) = self.read(|connection| read::accounts(connection))?;
        let damaged = damaged.into_iter();
        let place = &self.address.place;
        Ok(damaged
            .map(|what| Failure::Damaged(what).at(place))
            .collect())
    }

    fn heads(&self) -> Result<Vec<(AccountId, LogPosition)>, StoreError> {
        self.read(|connection| read::heads(connection))
    }

    fn create_account(&self, account: &Account) -> Result<(), StoreError> {
        // Not repeated on another connection: after a lost response, a repetition would find that the account
        // exists.
        let begun = self
            .writers
            .start(|connection| connection.begin(append::BEGIN, "SELECT 1", &[], &mut |_| Ok(())));
        let created = begun.and_then(|(mut lease, ())| {
            create_account(&mut *lease, account)?;
            lease.end("COMMIT")
        });
        created.map_err(|failure| failure.at(&self.address.place))
    }

    fn load(&self, account: AccountId) -> Result<State, StoreError> {
        self.load_at_once(|connection| match read::load(connection, account) {
            // A restore writes the rows of accounts last.
            Err(Failure::Damaged(_)) if migrate::is_unfinished(connection)? => {
                Err(Failure::NoAccount(account))
            }
            loaded => loaded,
        })
    }

    fn append(
        &self,
        account: AccountId,
        known: LogPosition,
        decide: &mut dyn FnMut(&[Entry]) -> Batch,
    ) -> Result<Revision, AppendError> {
        let (place, note) = (&self.address.place, self.listener.note(account));
        let appended = append::append(&self.writers, place, account, known, &note, decide);
        if let Err(AppendError::Unknown(_)) = appended {
            let mut unsettled = self.unsettled();
            unsettled.count = unsettled.count.wrapping_add(1);
            let lost = unsettled.count;
            unsettled.accounts.insert(account, lost);
            drop(unsettled);
        }
        appended
    }

    fn changes_since(
        &self,
        account: AccountId,
        known: LogPosition,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.settle(account)
            .map_err(|failure| failure.at(&self.address.place))?;
        self.read(|connection| read::changes_since(connection, account, known, limit))
    }

    fn base(&self, account: AccountId) -> Result<State, StoreError> {
        self.load_at_once(|connection| base::load(connection, account))
    }

    fn forget_log(
        &self,
        account: AccountId,
        until: Revision,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        // If the response to the commit is lost, it happened completely or not at all, and the next call
        // finds out. The account's row is taken first: entries that are read here must not be repaired before
        // they are deleted (see `repair_time`).
        let forgotten = self
            .writers
            .start(|connection| append::take_row(connection, account));
        let forgotten = forgotten.and_then(|(mut lease, _)| {
            let forgotten = base::forget(&mut *lease, account, until, before, limit)?;
            lease.end("COMMIT")?;
            Ok(forgotten)
        });
        match forgotten {
            // Another node has given the account its base at the same moment.
            Err(Failure::Taken(_)) => Ok(0),
            other => other.map_err(|failure| failure.at(&self.address.place)),
        }
    }

    fn audit(
        &self,
        account: AccountId,
        query: &AuditQuery,
    ) -> Result<Vec<(u64, AuditEntry)>, StoreError> {
        self.read_at_once(&self.auditors, |connection| {
            audit::find(connection, account, query)
        })
    }

    fn forget_audit(
        &self,
        account: AccountId,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        // If the response to the commit is lost, it happened completely or not at all.
        let begun = self
            .writers
            .start(|connection| connection.begin(append::BEGIN, "SELECT 1", &[], &mut |_| Ok(())));
        let forgotten = begun.and_then(|(mut lease, ())| {
            let forgotten = audit::forget(&mut *lease, account, before, limit)?;
            lease.end("COMMIT")?;
            Ok(forgotten)
        });
        forgotten.map_err(|failure| failure.at(&self.address.place))
    }

    fn key_uses(&self, account: AccountId) -> Result<Vec<(ApiKeyId, Timestamp)>, StoreError> {
        // At one moment: the rows are compared with their sum, which another node may change in between.
        self.read_at_once(&self.readers, |connection| {
            read::key_uses(connection, account)
        })
    }

    fn owners(&self, of: &[SecretHash]) -> Result<Vec<Option<Owner>>, StoreError> {
        self.read(|connection| secrets::owners(connection, of))
    }

    fn credentials(
        &self,
        email: &Email,
        account: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<(AccountId, Credential)>, StoreError> {
        self.read(|connection| secrets::credentials(connection, email, account, limit))
    }

    fn database_time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(clock_of).map(Some)
    }

    fn watch(&self, timeout: Duration) -> Wake {
        self.listener.watch(timeout)
    }
}

fn clock_of(connection: &mut Connection) -> Result<Timestamp, Failure> {
    let sql = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT";
    let mut time = None;
    connection.query(sql, &[], &mut |row| {
        time = Some(Timestamp::from_millis(row.integer(0)?));
        Ok(())
    })?;
    time.ok_or_else(|| Failure::Database("the database returned no time".into()))
}

//! The log, the current records and the audit log. A very small interface, blocking on purpose: a transaction
//! begins and ends inside one function, no handle to one is ever passed on, and a simulation can drive it
//! step by step.

use std::collections::BTreeSet;
use std::time::Duration;

use bindery_core::api_key::SecretHash;
use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::change::{Change, Entry, LogPosition};
use bindery_core::credential::Credential;
use bindery_core::id::{AccountId, ApiKeyId, Revision, UserId};
use bindery_core::place::Account;
use bindery_core::state::State;
use bindery_core::text::Email;
use bindery_core::time::Timestamp;

pub mod copy;
#[doc(hidden)]
pub mod fuzzing;
mod layer;
#[cfg(feature = "postgres")]
pub mod postgres;
mod record;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod tables;

#[doc(hidden)]
pub use layer::Layer;
pub use tables::schema::FORMAT;
pub use tables::time_repair::{RepairedTime, TimeRepairOrder};

/// A store of any number of accounts, each with its own log, revisions and audit log.
pub trait Store: Send + Sync + 'static {
    /// Every account whose row is whole, by number; [`Store::damaged_accounts`] has the others.
    fn accounts(&self) -> Result<Vec<Account>, StoreError>;

    /// The damaged rows of accounts that [`Store::accounts`] leaves out: each error names one. By default
    /// none.
    fn damaged_accounts(&self) -> Result<Vec<StoreError>, StoreError> {
        Ok(Vec::new())
    }

    /// The position of every account, by number. A follower polls this, besides wake-ups.
    fn heads(&self) -> Result<Vec<(AccountId, LogPosition)>, StoreError>;

    /// Stores a new account at revision 0. Its number must be free: [`Store::accounts`] has the taken ones.
    fn create_account(&self, account: &Account) -> Result<(), StoreError>;

    /// The newest state of an account, from its current records.
    fn load(&self, account: AccountId) -> Result<State, StoreError>;

    /// Appends to an account's log in one transaction. It takes the account's row, and calls `decide` with
    /// the entries that others have appended since `known` (in order, empty if none). Then it commits the
    /// returned batch with records, audit entries and the new revision, all or nothing.
    ///
    /// `decide` runs at most once. The batch's entries must continue the newest revision without a gap; an
    /// empty batch commits nothing. For an unknown account this is a contradiction, and `decide` does not
    /// run.
    ///
    /// If `known` isn't in the log, this is [`AppendError::Diverged`], and `decide` does not run either: the
    /// database was restored, or a server without the last changes has taken over. The log may have grown
    /// past `known` since, so the batch is compared, not only the revision.
    fn append(
        &self,
        account: AccountId,
        known: LogPosition,
        decide: &mut dyn FnMut(&[Entry]) -> Batch,
    ) -> Result<Revision, AppendError>;

    /// Entries after `known`, in order, at most `limit`; [`StoreError::Diverged`] if `known` isn't in the
    /// log. After an [`AppendError::Unknown`] here, this waits until that commit has happened or never will:
    /// what it doesn't return then isn't in the log.
    fn changes_since(
        &self,
        account: AccountId,
        known: LogPosition,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// The state at which the log begins: the account as it was created, or the result of the entries that
    /// [`Store::forget_log`] has removed. With the entries after it, it gives every later state.
    ///
    /// The default is for a store that never truncates.
    fn base(&self, account: AccountId) -> Result<State, StoreError> {
        let accounts = self.accounts()?;
        let found = accounts.into_iter().find(|one| one.id == account);
        found.map(State::new).ok_or(StoreError::NoAccount(account))
    }

    /// Truncates the log: removes the oldest entries, none after `until`, none of the time `before` or later,
    /// at most `limit`, and keeps their effect as the [`Store::base`], all or nothing. Returns how many; 0 as
    /// well if another node does this at the same moment.
    ///
    /// A node whose position is before the base then gets [`StoreError::Forgotten`] or
    /// [`AppendError::Forgotten`]. The default is for a store that never truncates.
    fn forget_log(
        &self,
        _account: AccountId,
        _until: Revision,
        _before: Timestamp,
        _limit: usize,
    ) -> Result<usize, StoreError> {
        Ok(0)
    }

    /// Matching audit entries, newest first, each with its number; at most `query.limit`.
    fn audit(
        &self,
        account: AccountId,
        query: &AuditQuery,
    ) -> Result<Vec<(u64, AuditEntry)>, StoreError>;

    /// Removes the oldest audit entries: those before the first one that is not older than `before`, at most
    /// `limit`. Returns how many; the numbers of the others stay.
    fn forget_audit(
        &self,
        account: AccountId,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError>;

    /// The last recorded use of each key.
    fn key_uses(&self, account: AccountId) -> Result<Vec<(ApiKeyId, Timestamp)>, StoreError>;

    /// The owners of these secrets, in order: of a key (also its previous secret in its grace period), or of
    /// a link. `None` for an unknown one. Only a hint: the account decides whether a secret is valid.
    fn owners(&self, secrets: &[SecretHash]) -> Result<Vec<Option<Owner>>, StoreError>;

    /// The credentials of people with this address, in all accounts or in one: at most `limit`, of the
    /// accounts with the lowest numbers. First the active people, by account; then the invited ones, latest
    /// expiry first.
    fn credentials(
        &self,
        email: &Email,
        account: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<(AccountId, Credential)>, StoreError>;

    /// Whether changes can be written: a SQLite store fails with [`StoreError::Moved`] once its files are not
    /// the opened ones. Asks the system for a few facts about files, and waits for nothing else.
    fn check_place(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The database's own clock, if the database may run on another machine.
    fn database_time(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    /// Waits until another process may have appended, at most `timeout`. Only a wake-up, without data: it can
    /// be false and it can be missed, so a follower also polls the log. For one thread at a time.
    fn watch(&self, timeout: Duration) -> Wake;
}

/// The owner of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The account.
    pub account: AccountId,
    /// Its revision at the look-up: from there on it knows the secret.
    pub revision: Revision,
}

/// Why [`Store::watch`] returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// No other process can append here: there is nothing to follow. Returned at once.
    Alone,
    /// No wake-up arrived in time.
    Quiet,
    /// Others have appended to these accounts.
    Appended(BTreeSet<AccountId>),
    /// The connection was not listening all the time since the last call, so any account may have changed.
    /// Returned at once after listening has begun (again), and after the timeout if it can't begin.
    Missed,
}

/// The content of one append.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Log entries, in the order of their revisions.
    pub entries: Vec<Entry>,
    /// Audit entries, in order; numbered by the store.
    pub audit: Vec<AuditEntry>,
    /// Last uses of keys; not in the log, since no decision depends on them.
    pub uses: Vec<(ApiKeyId, Timestamp)>,
}

impl Batch {
    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.audit.is_empty() && self.uses.is_empty()
    }

    /// The revision of an account at `newest` after this batch. Every store calls this before it writes:
    /// entries with a gap, or of another account, are refused.
    pub fn check(&self, account: AccountId, newest: Revision) -> Result<Revision, AppendError> {
        let mut head = newest;
        for entry in &self.entries {
            if entry.revision != head.next() {
                let Revision(revision) = entry.revision;
                let message = format!("an entry of revision {revision} can't follow {head}");
                return Err(AppendError::Contradiction(message));
            }
            head = entry.revision;
            entry
                .check_parts()
                .map_err(|error| AppendError::Contradiction(error.to_string()))?;
            for change in &entry.changes {
                if let Change::PutAccount(other) = change
                    && other.id != account
                {
                    let message = format!(
                        "account {} can't be put in account {}",
                        other.id.0, account.0
                    );
                    return Err(AppendError::Contradiction(message));
                }
            }
        }
        Ok(head)
    }
}

/// A query of audit entries.
#[derive(Clone, Debug)]
pub struct AuditQuery {
    /// Not earlier than this.
    pub from: Timestamp,
    /// Not later than this.
    pub to: Timestamp,
    /// Of this user only.
    pub user: Option<UserId>,
    /// Of one of these operations; any, if empty.
    pub operations: Vec<String>,
    /// Of this kind only.
    pub kind: Option<AuditKind>,
    /// With a smaller number than this: where the previous page ended.
    pub before: Option<u64>,
    /// At most this many.
    pub limit: usize,
}

/// The error of a library, for the operator's log. It is part of the messages that carry it, so it is not
/// their source as well.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a store can't be opened or read, or has no such account. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("`{0}` is in use by another process; stop it, or choose another data directory")]
    InUse(String),
    /// A newer version of Bindery wrote it.
    #[error(
        "`{path}` has format {found}, and this version of bindery reads up to {known}; use a newer bindery"
    )]
    Newer {
        /// The file, or the database.
        path: String,
        /// Its format.
        found: i64,
        /// The newest known format.
        known: i64,
    },
    /// Not a Bindery store, or damaged.
    #[error(
        "`{path}` can't be read as a bindery store ({why}); restore it from a backup, or choose another place"
    )]
    Corrupt {
        /// The file, or the database.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The files of the store are not the opened ones.
    #[error(
        "`{0}` was deleted, renamed or replaced while this process uses it, so no change is written. Put back what was there, or stop \
        the server, restore a backup, and start it again"
    )]
    Moved(String),
    /// This user has no permission to read it.
    #[error(
        "`{path}`: permission denied for user {user}{owner}; run this command as the user that the server runs as"
    )]
    Denied {
        /// The file or directory.
        path: String,
        /// The number of the user of this process.
        user: u32,
        /// Its owner, as a clause, if known.
        owner: String,
    },
    /// Committed changes are lost: it was replaced by an older copy, or the end of its write-ahead log was
    /// damaged.
    #[error(
        "`{path}` has account {} at {}; restore the newest backup, or delete `bindery.positions` beside it to accept the store as it is",
        (.account).0, loss((.known, .known_audit), (.found, .found_audit))
    )]
    RolledBack {
        /// The file.
        path: String,
        /// The account.
        account: AccountId,
        /// Its known revision.
        known: Revision,
        /// Its current revision.
        found: Revision,
        /// The known number of its last audit entry.
        known_audit: u64,
        /// The current number of its last audit entry.
        found_audit: u64,
    },
    /// There is no such account.
    #[error("there is no account {}", (.0).0)]
    NoAccount(AccountId),
    /// The account exists already.
    #[error("there is an account {} already", (.0).0)]
    AccountExists(AccountId),
    /// The entries after the requested revision are truncated: reload the account.
    #[error("the log of account {} begins after revision {until}; reload the account", (.account).0)]
    Forgotten {
        /// The account.
        account: AccountId,
        /// The last revision that the log doesn't have.
        until: Revision,
    },
    /// The known position isn't in the log: the log was rolled back, and may have grown since. Reload the
    /// account.
    #[error("the log of account {} does not have revision {known} as it is known here; reload the account", (.account).0)]
    Diverged {
        /// The account.
        account: AccountId,
        /// The known revision.
        known: Revision,
    },
    /// A restore into it was interrupted.
    #[error(
        "`{0}` holds a part of a store: a restore or migration into it was not finished; run `bindery restore` again, or \
        `bindery migrate`"
    )]
    Unfinished(String),
    /// An older version wrote it, and read-only commands don't migrate it.
    #[error(
        "`{path}` has format {found}, and this version of bindery looks into format {known}; start a server of this version \
        on it first, or use the bindery that wrote it"
    )]
    Older {
        /// The file, or the database.
        path: String,
        /// Its format.
        found: i64,
        /// The format of this version.
        known: i64,
    },
    /// The target is not empty.
    #[error("`{0}` has accounts in it; choose an empty directory or database")]
    NotEmpty(String),
    /// The directory or the database is unavailable; a retry may help.
    #[error("the store can't be reached: {0}")]
    Unavailable(Cause),
}

/// What was lost, in words: the parts that differ.
fn loss(known: (&Revision, &u64), found: (&Revision, &u64)) -> String {
    let ((known, known_audit), (found, found_audit)) = (known, found);
    if known > found {
        format!("revision {found}, and it was at revision {known} before")
    } else if known_audit > found_audit {
        format!("audit entry {found_audit}, and it was at audit entry {known_audit} before")
    } else {
        format!("revision {found}, and that revision was another change before")
    }
}

/// Why nothing was appended, or why the outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The connection broke during the commit. Read the log before you respond to any client.
    #[error("the outcome of the commit is unknown: {0}")]
    Unknown(Cause),
    /// Nothing was written, nothing was decided: the entries after the known revision are truncated. Reload
    /// the account.
    #[error("the log begins after revision {until}")]
    Forgotten {
        /// The last revision that the log doesn't have.
        until: Revision,
    },
    /// Nothing was written, nothing was decided: the known position isn't in the log. Reload the account.
    #[error("the log does not have revision {known} as it is known here")]
    Diverged {
        /// The known revision.
        known: Revision,
    },
    /// Nothing was written; a retry is safe.
    #[error("nothing was written: {0}")]
    Unavailable(Cause),
    /// Nothing was written, and a retry won't help: the batch breaks a rule that the store enforces.
    #[error("the batch contradicts what is stored: {0}")]
    Contradiction(String),
}

//! Where the log, the current records and the audit log live. A very small interface, blocking on purpose: a transaction
//! begins and ends inside one function, no handle to one ever travels, and a simulation can drive it step by step.

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

/// A store of any number of accounts, each with a log, revisions and an audit log of its own.
pub trait Store: Send + Sync + 'static {
    /// Every account whose row is whole, by number; [`Store::damaged_accounts`] has the others.
    fn accounts(&self) -> Result<Vec<Account>, StoreError>;

    /// What is wrong with the rows of accounts that [`Store::accounts`] leaves out: each error names one. As it stands here, of a store
    /// that is never damaged.
    fn damaged_accounts(&self) -> Result<Vec<StoreError>, StoreError> {
        Ok(Vec::new())
    }

    /// How far every account has come, by number: what a follower asks now and then, whatever it has heard.
    fn heads(&self) -> Result<Vec<(AccountId, LogPosition)>, StoreError>;

    /// Keeps a new account at revision 0. Its number must be free: [`Store::accounts`] tells which are taken.
    fn create_account(&self, account: &Account) -> Result<(), StoreError>;

    /// The newest state of an account, from its current records.
    fn load(&self, account: AccountId) -> Result<State, StoreError>;

    /// Appends to an account's log, in one transaction: takes the account's row, hands `decide` what others have appended
    /// since `known` (in order, empty if nothing), and commits the batch that it returns with records, audit entries
    /// and the new revision, all or nothing.
    ///
    /// `decide` runs at most once. The batch's entries must continue the newest revision without a gap; an empty batch
    /// commits nothing. An account that isn't there is a contradiction, and `decide` doesn't hear of it.
    ///
    /// A `known` that isn't in the log is [`AppendError::Diverged`], and `decide` doesn't hear of that either: the database
    /// was restored, or another server has taken over that had not heard of everything. The log may have grown past it
    /// since, so its batch is looked at, and not its revision alone.
    fn append(
        &self,
        account: AccountId,
        known: LogPosition,
        decide: &mut dyn FnMut(&[Entry]) -> Batch,
    ) -> Result<Revision, AppendError>;

    /// Entries after `known`, in order, at most `limit` of them; [`StoreError::Diverged`] if `known` isn't in the log. After an [`AppendError::Unknown`] here, this waits until
    /// that commit has happened or never will: what it doesn't tell then isn't in the log.
    fn changes_since(
        &self,
        account: AccountId,
        known: LogPosition,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// The state that the log goes on from: what the account was when it was made, or what the entries made that
    /// [`Store::forget_log`] has forgotten. With the entries after it, it makes every later state.
    ///
    /// As it stands here, of a store that never forgets.
    fn base(&self, account: AccountId) -> Result<State, StoreError> {
        let accounts = self.accounts()?;
        let found = accounts.into_iter().find(|one| one.id == account);
        found.map(State::new).ok_or(StoreError::NoAccount(account))
    }

    /// Forgets the oldest entries of the log: none after `until`, none of the moment `before` or later, at most `limit` of
    /// them, and keeps what they made as the [`Store::base`], all or nothing. Returns how many; 0 as well if another node does
    /// this just now.
    ///
    /// Whoever is behind the base then is told [`StoreError::Forgotten`] or [`AppendError::Forgotten`]. As it stands here, of
    /// a store that never forgets.
    fn forget_log(
        &self,
        _account: AccountId,
        _until: Revision,
        _before: Timestamp,
        _limit: usize,
    ) -> Result<usize, StoreError> {
        Ok(0)
    }

    /// Audit entries that match, newest first, each with its number; at most `query.limit`.
    fn audit(
        &self,
        account: AccountId,
        query: &AuditQuery,
    ) -> Result<Vec<(u64, AuditEntry)>, StoreError>;

    /// Forgets the oldest audit entries: those before the first one that is not older than `before`, at most `limit` of
    /// them. Returns how many; the numbers of the others stay.
    fn forget_audit(
        &self,
        account: AccountId,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError>;

    /// When each key was last used, as far as it was written down.
    fn key_uses(&self, account: AccountId) -> Result<Vec<(ApiKeyId, Timestamp)>, StoreError>;

    /// Where each of these secrets leads, in their order: of a key (its last one as well, while it is in its grace time), or of
    /// a link. `None` for one that no account has. A hint about who may come in, and never the word that lets them in: that is
    /// the account's.
    fn owners(&self, secrets: &[SecretHash]) -> Result<Vec<Option<Owner>>, StoreError>;

    /// What people with this address prove themselves with, and in which accounts, or in this account alone: at most `limit`, of the
    /// accounts with the lowest numbers. First the active people, by account; then those invited, whose invitation ends last first.
    fn credentials(
        &self,
        email: &Email,
        account: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<(AccountId, Credential)>, StoreError>;

    /// Whether changes can be written: a SQLite store fails with [`StoreError::Moved`] once its files are not the ones that it opened.
    /// Asks the system for a few facts about files, and waits for nothing else.
    fn check_place(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The time of the database's own clock, of a store whose database runs on a machine of its own.
    fn database_time(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    /// Waits until another process may have appended, at most `timeout`. A wake-up and never the data: it can come for
    /// nothing and it can be missed, so whoever follows also reads the log now and then. For one thread at a time.
    fn watch(&self, timeout: Duration) -> Wake;
}

/// Where a secret leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The account.
    pub account: AccountId,
    /// How far it had come when this was looked up: from there on it knows the secret.
    pub revision: Revision,
}

/// Why [`Store::watch`] returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// No other process can append here: there is nothing to follow, and this was told at once.
    Alone,
    /// Nothing was heard until the time was over.
    Quiet,
    /// Others have appended to these accounts.
    Appended(BTreeSet<AccountId>),
    /// We weren't listening all the time since the call before, so any account may have changed. Told at once after
    /// listening has begun (again), and when the time is over if it can't begin.
    Missed,
}

/// What one append writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Log entries, in the order of their revisions.
    pub entries: Vec<Entry>,
    /// Audit entries, in the order they happened; numbered by the store.
    pub audit: Vec<AuditEntry>,
    /// When keys were last used; beside the log, since no decision depends on it.
    pub uses: Vec<(ApiKeyId, Timestamp)>,
}

impl Batch {
    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.audit.is_empty() && self.uses.is_empty()
    }

    /// The revision that an account at `newest` comes to by this batch. Every store asks this before it writes: entries
    /// that leave a gap, or that put an account in another's place, are refused.
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

/// Which audit entries are wanted.
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
    /// With a smaller number than this: where the page before ended.
    pub before: Option<u64>,
    /// How many at the most.
    pub limit: usize,
}

/// What a library said, for the log of the operator. Part of the messages that carry it, so not their source as well.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a store can't be opened, read, or told of an account. Nothing was written.
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
        /// The newest format that is known.
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
    /// The files of the store are not the ones that were opened.
    #[error(
        "`{0}` was deleted, renamed or replaced while this process uses it, so no change is written. Put back what was there, or stop \
        the server, restore a backup, and start it again"
    )]
    Moved(String),
    /// The system doesn't let this user read it.
    #[error(
        "`{path}`: permission denied for user {user}{owner}; run this command as the user that the server runs as"
    )]
    Denied {
        /// The file or directory.
        path: String,
        /// The number of the user of this process.
        user: u32,
        /// Whose it is, as a clause, if that can be told.
        owner: String,
    },
    /// It has lost what was committed: an older copy is in its place, or the end of its write-ahead log was damaged.
    #[error(
        "`{path}` has account {} at {}; restore the newest backup, or delete `bindery.positions` beside it to accept the store as it is",
        (.account).0, loss((.known, .known_audit), (.found, .found_audit))
    )]
    RolledBack {
        /// The file.
        path: String,
        /// Which account.
        account: AccountId,
        /// Where it was.
        known: Revision,
        /// Where it is.
        found: Revision,
        /// The number of its last audit entry then.
        known_audit: u64,
        /// The number of its last audit entry now.
        found_audit: u64,
    },
    /// The account isn't there.
    #[error("there is no account {}", (.0).0)]
    NoAccount(AccountId),
    /// The account is there already.
    #[error("there is an account {} already", (.0).0)]
    AccountExists(AccountId),
    /// The entries after the revision that was asked for are forgotten: load the account anew.
    #[error("the log of account {} begins after revision {until}; load the account anew", (.account).0)]
    Forgotten {
        /// Whose log.
        account: AccountId,
        /// The last revision that it doesn't have.
        until: Revision,
    },
    /// What was known of the log isn't in it: it has lost its end, and may have come further since. Load the account anew.
    #[error("the log of account {} has not come to revision {known} as it is known here; load the account anew", (.account).0)]
    Diverged {
        /// Whose log.
        account: AccountId,
        /// What was known of it.
        known: Revision,
    },
    /// A restore into it was broken off.
    #[error(
        "`{0}` holds a part of a store: a restore or migration into it was not finished; run `bindery restore` again, or \
        `bindery migrate`"
    )]
    Unfinished(String),
    /// An older version wrote it, and whoever only looks doesn't change it.
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
    /// There is something already where something is to be made.
    #[error("`{0}` has accounts in it; choose an empty directory or database")]
    NotEmpty(String),
    /// The directory or the database can't be reached; trying again may help.
    #[error("the store can't be reached: {0}")]
    Unavailable(Cause),
}

/// Where an account is and where it was, in words: as far as they differ.
fn loss(known: (&Revision, &u64), found: (&Revision, &u64)) -> String {
    let ((known, known_audit), (found, found_audit)) = (known, found);
    if known > found {
        format!("revision {found}, and it was at revision {known} already")
    } else if known_audit > found_audit {
        format!("audit entry {found_audit}, and it was at audit entry {known_audit} already")
    } else {
        format!("revision {found}, and it came to that by another change already")
    }
}

/// Why nothing was appended, or why we can't tell.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The connection died around the commit. Read the log before answering anyone.
    #[error("the outcome of the commit is unknown: {0}")]
    Unknown(Cause),
    /// Nothing was written, nothing was decided: the entries after the known revision are forgotten. Load the account anew.
    #[error("the log begins after revision {until}")]
    Forgotten {
        /// The last revision that it doesn't have.
        until: Revision,
    },
    /// Nothing was written, nothing was decided: what was known of the log isn't in it. Load the account anew.
    #[error("the log has not come to revision {known} as it is known here")]
    Diverged {
        /// What was known of it.
        known: Revision,
    },
    /// Nothing was written; trying again is safe.
    #[error("nothing was written: {0}")]
    Unavailable(Cause),
    /// Nothing was written, and trying again won't help: the batch breaks a rule that the store guards.
    #[error("the batch contradicts what is stored: {0}")]
    Contradiction(String),
}

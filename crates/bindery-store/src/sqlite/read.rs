//! What is read from the tables: accounts, the current state, the log.

use bindery_core::change::{Change, Entry};
use bindery_core::id::{AccountId, ApiKeyId, Kind, Revision};
use bindery_core::place::Account;
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::Failure;
use crate::Batch;
use crate::record::{KINDS, kind_of};

// Parameters are written $1, $2, … in the order in which they first appear: names to SQLite, places to PostgreSQL.

/// How far an account has come.
pub(super) struct Head {
    pub(super) revision: Revision,
    /// When its last entry was decided.
    pub(super) latest: Timestamp,
    /// The number of its last audit entry.
    pub(super) audit: u64,
    /// The latest time in its audit log.
    pub(super) audit_latest: Timestamp,
}

impl Head {
    /// Where the account stands with a batch more.
    pub(super) fn after(&self, batch: &Batch) -> Self {
        let last = batch.entries.last();
        let audit_latest = batch.audit.iter().map(|entry| entry.at).max();
        let audited = u64::try_from(batch.audit.len()).expect("a length fits into 64 bits");
        Self {
            revision: last.map_or(self.revision, |entry| entry.revision),
            latest: last.map_or(self.latest, |entry| entry.at),
            audit: self.audit.saturating_add(audited),
            audit_latest: audit_latest
                .map_or(self.audit_latest, |latest| latest.max(self.audit_latest)),
        }
    }
}

pub(super) fn head(connection: &Connection, account: AccountId) -> Result<Head, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT revision, latest, audit_head, audit_latest FROM account WHERE id = $1",
    )?;
    let head = statement.query_row([account.0], |row| {
        Ok(Head {
            revision: Revision(row.get(0)?),
            latest: Timestamp::from_millis(row.get(1)?),
            audit: row.get(2)?,
            audit_latest: Timestamp::from_millis(row.get(3)?),
        })
    });
    head.optional()?.ok_or(Failure::NoAccount(account))
}

pub(super) fn accounts(connection: &Connection) -> Result<Vec<Account>, Failure> {
    let mut statement = connection.prepare_cached("SELECT id, body FROM account ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut accounts = Vec::new();
    while let Some(row) = rows.next()? {
        accounts.push(decode_account(row.get(0)?, blob(row, 1)?)?);
    }
    Ok(accounts)
}

/// The state from the current records, at one revision: all of it in one transaction.
pub(super) fn load(connection: &mut Connection, account: AccountId) -> Result<State, Failure> {
    let transaction = connection.transaction()?;
    let Head {
        revision, latest, ..
    } = head(&transaction, account)?;
    let entity = account_entity(&transaction, account)?;
    let mut state = State::load(entity, revision, latest, issued(&transaction, account)?, []);
    let mut statement = transaction.prepare_cached(
        "SELECT number, body FROM record WHERE account = $1 AND kind = $2 ORDER BY number",
    )?;
    for (kind, stored) in KINDS {
        let mut rows = statement.query((account.0, stored))?;
        while let Some(row) = rows.next()? {
            state.apply(&decode_record(kind, row.get(0)?, blob(row, 1)?)?);
        }
    }
    Ok(state)
}

fn account_entity(connection: &Connection, account: AccountId) -> Result<Account, Failure> {
    let mut statement = connection.prepare_cached("SELECT body FROM account WHERE id = $1")?;
    let mut rows = statement.query([account.0])?;
    let row = rows.next()?.ok_or(Failure::NoAccount(account))?;
    decode_account(account.0, blob(row, 0)?)
}

fn issued(connection: &Connection, account: AccountId) -> Result<Vec<(Kind, u32)>, Failure> {
    let mut statement =
        connection.prepare_cached("SELECT kind, number FROM issued WHERE account = $1")?;
    let mut rows = statement.query([account.0])?;
    let mut issued = Vec::new();
    while let Some(row) = rows.next()? {
        let stored: u8 = row.get(0)?;
        let unknown = || Failure::Damaged(format!("numbers of an unknown kind {stored}"));
        issued.push((kind_of(stored).ok_or_else(unknown)?, row.get(1)?));
    }
    Ok(issued)
}

pub(super) fn key_uses(
    connection: &Connection,
    account: AccountId,
) -> Result<Vec<(ApiKeyId, Timestamp)>, Failure> {
    head(connection, account)?;
    let mut statement = connection.prepare_cached(
        "SELECT key_number, at FROM key_use WHERE account = $1 ORDER BY key_number",
    )?;
    let mut rows = statement.query([account.0])?;
    let mut uses = Vec::new();
    while let Some(row) = rows.next()? {
        uses.push((
            ApiKeyId::new(row.get(0)?),
            Timestamp::from_millis(row.get(1)?),
        ));
    }
    Ok(uses)
}

/// Entries after `revision`, at most `limit`.
pub(super) fn changes_since(
    connection: &Connection,
    account: AccountId,
    revision: Revision,
    limit: usize,
) -> Result<Vec<Entry>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT revision, body FROM log WHERE account = $1 AND revision > $2
        ORDER BY revision LIMIT $3",
    )?;
    let mut rows = statement.query((account.0, bounded(revision.0), bounded(limit)))?;
    let mut entries = Vec::new();
    let mut expected = revision;
    while let Some(row) = rows.next()? {
        expected = expected.next();
        entries.push(decode_entry(
            expected,
            Revision(row.get(0)?),
            blob(row, 1)?,
        )?);
    }
    if entries.is_empty() {
        // Nothing new, or nothing at all.
        head(connection, account)?;
    }
    Ok(entries)
}

fn blob<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a [u8]> {
    Ok(row.get_ref(column)?.as_blob()?)
}

/// As far as a column reaches: nothing stored lies beyond it.
pub(super) fn bounded(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

fn decode_account(number: u32, body: &[u8]) -> Result<Account, Failure> {
    match Change::decode(body) {
        Ok(Change::PutAccount(account)) if account.id == AccountId(number) => Ok(account),
        Ok(_) => Err(Failure::Damaged(format!(
            "account {number} holds something else"
        ))),
        Err(error) => Err(Failure::Damaged(format!("account {number}: {error}"))),
    }
}

fn decode_record(kind: Kind, number: u32, body: &[u8]) -> Result<Change, Failure> {
    let noun = kind.noun();
    match Change::decode(body) {
        Ok(change) if change.key() == (kind, number) && !change.is_delete() => Ok(change),
        Ok(_) => Err(Failure::Damaged(format!(
            "{noun} {number} holds something else"
        ))),
        Err(error) => Err(Failure::Damaged(format!("{noun} {number}: {error}"))),
    }
}

fn decode_entry(expected: Revision, found: Revision, body: &[u8]) -> Result<Entry, Failure> {
    if found != expected {
        return Err(Failure::Damaged(format!(
            "revision {expected} is missing from the log"
        )));
    }
    match Entry::decode(body) {
        Ok(entry) if entry.revision == found => Ok(entry),
        Ok(_) => Err(Failure::Damaged(format!("revision {found} holds another"))),
        Err(error) => Err(Failure::Damaged(format!("revision {found}: {error}"))),
    }
}

//! The one transaction that changes anything, begun and ended in [`append`].

use std::collections::BTreeMap;
use std::path::Path;

use bindery_core::change::{Change, Entry};
use bindery_core::id::{AccountId, ApiKeyId, Id as _, Revision};
use bindery_core::place::Account;
use bindery_core::time::Timestamp;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::read::{Head, changes_since, head};
use super::{Failure, audit};
use crate::record::number_of;
use crate::{AppendError, Batch};

pub(super) fn create_account(connection: &Connection, account: &Account) -> Result<(), Failure> {
    let inserted = connection.execute(
        "INSERT INTO account (id, revision, latest, audit_head, audit_latest, body)
        VALUES ($1, 0, $2, 0, 0, $3)",
        (
            account.id.0,
            account.created_at.as_millis(),
            Change::PutAccount(account.clone()).encode(),
        ),
    );
    match inserted {
        Ok(_) => Ok(()),
        Err(error) if is_taken(&error) => Err(Failure::AccountExists(account.id)),
        Err(error) => Err(error.into()),
    }
}

/// [`crate::Store::append`]. Whatever returns before the commit drops the transaction, which rolls it back.
pub(super) fn append(
    connection: &mut Connection,
    path: &Path,
    account: AccountId,
    known: Revision,
    decide: &mut dyn FnMut(&[Entry]) -> Batch,
) -> Result<Revision, AppendError> {
    let refuse = |failure: Failure| match failure {
        Failure::NoAccount(_) => AppendError::Contradiction(failure.at(path).to_string()),
        other => AppendError::Unavailable(other.at(path).into()),
    };
    // Takes the place of the account's row lock: one writer in the whole file, from here on.
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| refuse(error.into()))?;
    let old = head(&transaction, account).map_err(refuse)?;
    if known > old.revision {
        let newest = old.revision;
        let message = format!("revision {known} is not in the log, which ends at {newest}");
        return Err(AppendError::Contradiction(message));
    }
    let appended = missed(&transaction, account, known, old.revision).map_err(refuse)?;
    let batch = decide(&appended);
    if batch.is_empty() {
        return Ok(old.revision);
    }
    let revision = batch.check(account, old.revision)?;
    write(&transaction, account, &batch, &old).map_err(|error| match error {
        WriteError::Contradiction(message) => AppendError::Contradiction(message),
        WriteError::Sqlite(error) => refuse(error.into()),
    })?;
    commit(&transaction)?;
    Ok(revision)
}

/// The entries after `known` up to `newest`: every one of them, or it is damage.
fn missed(
    transaction: &Transaction<'_>,
    account: AccountId,
    known: Revision,
    newest: Revision,
) -> Result<Vec<Entry>, Failure> {
    if known == newest {
        return Ok(Vec::new());
    }
    let entries = changes_since(transaction, account, known, usize::MAX)?;
    if entries.last().map(|entry| entry.revision) != Some(newest) {
        return Err(Failure::Damaged(format!(
            "revision {newest} is missing from the log"
        )));
    }
    Ok(entries)
}

fn commit(transaction: &Transaction<'_>) -> Result<(), AppendError> {
    let Err(error) = transaction.execute_batch("COMMIT") else {
        return Ok(());
    };
    // Still inside, so nothing was committed, and dropping the transaction rolls it back. Outside of it the log alone can
    // tell: SQLite has either rolled back by itself, or failed after the commit was written.
    if transaction.is_autocommit() {
        Err(AppendError::Unknown(error.into()))
    } else {
        Err(AppendError::Unavailable(error.into()))
    }
}

enum WriteError {
    Contradiction(String),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

fn write(
    transaction: &Transaction<'_>,
    account: AccountId,
    batch: &Batch,
    old: &Head,
) -> Result<(), WriteError> {
    write_log(transaction, account, &batch.entries)?;
    // One by one and in order: a name that one change gives up is free for the next.
    for change in batch.entries.iter().flat_map(|entry| &entry.changes) {
        write_record(transaction, account, change)?;
    }
    write_issued(transaction, account, &batch.entries)?;
    audit::write(transaction, account, &batch.audit, old)?;
    write_uses(transaction, account, &batch.uses)?;
    write_head(transaction, account, batch, old)
}

fn write_log(
    transaction: &Transaction<'_>,
    account: AccountId,
    entries: &[Entry],
) -> rusqlite::Result<()> {
    let mut insert = transaction
        .prepare_cached("INSERT INTO log (account, revision, body) VALUES ($1, $2, $3)")?;
    for entry in entries {
        insert.execute((account.0, entry.revision.0, entry.encode()))?;
    }
    Ok(())
}

fn write_record(
    transaction: &Transaction<'_>,
    account: AccountId,
    change: &Change,
) -> Result<(), WriteError> {
    if let Change::PutAccount(_) = change {
        let mut update =
            transaction.prepare_cached("UPDATE account SET body = $1 WHERE id = $2")?;
        update.execute((change.encode(), account.0))?;
        return Ok(());
    }
    let (kind, number) = change.key();
    let stored = number_of(kind).ok_or_else(|| {
        WriteError::Contradiction(format!("there is no place to keep a {}", kind.noun()))
    })?;
    if change.is_delete() {
        let mut delete = transaction.prepare_cached(
            "DELETE FROM record WHERE account = $1 AND kind = $2 AND number = $3",
        )?;
        delete.execute((account.0, stored, number))?;
        return Ok(());
    }
    let mut put = transaction.prepare_cached(
        "INSERT INTO record (account, kind, number, natural_key, body) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (account, kind, number)
        DO UPDATE SET natural_key = excluded.natural_key, body = excluded.body",
    )?;
    let key = change.natural_key();
    match put.execute((account.0, stored, number, &key, change.encode())) {
        Ok(_) => Ok(()),
        Err(error) if is_taken(&error) => Err(WriteError::Contradiction(format!(
            "there is another {} with the natural key `{}`",
            kind.noun(),
            key.unwrap_or_default()
        ))),
        Err(error) => Err(error.into()),
    }
}

/// Remembers the highest number of each kind that was put, as [`bindery_core::state::State::apply`] does in memory.
fn write_issued(
    transaction: &Transaction<'_>,
    account: AccountId,
    entries: &[Entry],
) -> rusqlite::Result<()> {
    let puts = entries
        .iter()
        .flat_map(|entry| &entry.changes)
        .filter(|change| !change.is_delete());
    let mut highest = BTreeMap::new();
    for (kind, number) in puts.map(Change::key) {
        let known = highest.entry(number_of(kind)).or_insert(number);
        *known = number.max(*known);
    }
    let mut put = transaction.prepare_cached(
        "INSERT INTO issued (account, kind, number) VALUES ($1, $2, $3)
        ON CONFLICT (account, kind)
        DO UPDATE SET number = excluded.number WHERE issued.number < excluded.number",
    )?;
    for (stored, number) in highest {
        put.execute((account.0, stored, number))?;
    }
    Ok(())
}

fn write_uses(
    transaction: &Transaction<'_>,
    account: AccountId,
    uses: &[(ApiKeyId, Timestamp)],
) -> rusqlite::Result<()> {
    let mut put = transaction.prepare_cached(
        "INSERT INTO key_use (account, key_number, at) VALUES ($1, $2, $3)
        ON CONFLICT (account, key_number)
        DO UPDATE SET at = excluded.at WHERE key_use.at < excluded.at",
    )?;
    for (key, at) in uses {
        put.execute((account.0, key.number(), at.as_millis()))?;
    }
    Ok(())
}

/// Moves the account on, if it is still where it was.
fn write_head(
    transaction: &Transaction<'_>,
    account: AccountId,
    batch: &Batch,
    old: &Head,
) -> Result<(), WriteError> {
    let new = old.after(batch);
    let mut update = transaction.prepare_cached(
        "UPDATE account SET revision = $1, latest = $2, audit_head = $3, audit_latest = $4
        WHERE id = $5 AND revision = $6",
    )?;
    let moved = update.execute((
        new.revision.0,
        new.latest.as_millis(),
        new.audit,
        new.audit_latest.as_millis(),
        account.0,
        old.revision.0,
    ))?;
    if moved == 1 {
        return Ok(());
    }
    Err(WriteError::Contradiction(format!(
        "the account has left revision {}",
        old.revision
    )))
}

/// Whether a row with one of its unique keys is there already.
fn is_taken(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_is_refused_in_the_transaction_wrote_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "PRAGMA foreign_keys = ON;
                CREATE TABLE one (x BIGINT PRIMARY KEY);
                CREATE TABLE two (x BIGINT REFERENCES one (x) DEFERRABLE INITIALLY DEFERRED);",
            )
            .unwrap();
        let transaction = connection.transaction().unwrap();
        transaction
            .execute_batch("INSERT INTO two (x) VALUES (1)")
            .unwrap();
        let refused = commit(&transaction);
        assert!(
            matches!(refused, Err(AppendError::Unavailable(_))),
            "{refused:?}"
        );
        drop(transaction);
        let rows = "SELECT count(*) FROM two";
        assert_eq!(connection.query_row(rows, [], |row| row.get(0)), Ok(0));
    }

    #[test]
    fn a_commit_that_fails_outside_of_the_transaction_may_have_written_anything() {
        let mut connection = Connection::open_in_memory().unwrap();
        let transaction = connection.transaction().unwrap();
        transaction.execute_batch("ROLLBACK").unwrap();
        let refused = commit(&transaction);
        assert!(
            matches!(refused, Err(AppendError::Unknown(_))),
            "{refused:?}"
        );
    }
}

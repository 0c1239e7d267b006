//! The one transaction that changes anything, begun and ended in [`append`].

use bindery_core::api_key::SecretHash;
use bindery_core::change::{Change, Entry, LogPosition};
use bindery_core::id::{AccountId, ApiKeyId, Id as _, Revision};
use bindery_core::time::Timestamp;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::connection::is_taken;
use crate::tables::append::{issued, last_uses, missed, refuse, stored, taken};
use crate::tables::read::{Head, head};
use crate::tables::{batch_of, bounded, kept, secrets};
use crate::{AppendError, Batch};

/// [`crate::Store::append`]. Whatever returns before the commit drops the transaction, which rolls it back.
pub(super) fn append(
    connection: &mut Connection,
    place: &str,
    account: AccountId,
    known: LogPosition,
    decide: &mut dyn FnMut(&[Entry]) -> Batch,
) -> Result<Revision, AppendError> {
    // Takes the place of the account's row lock: one writer in the whole file, from here on.
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| refuse(error.into(), place))?;
    let mut database: &Connection = &transaction;
    let old = head(&mut database, account).map_err(|failure| refuse(failure, place))?;
    let appended = missed(&mut database, place, account, known, &old)?;
    let batch = decide(&appended);
    if batch.is_empty() {
        return Ok(old.position.revision);
    }
    let revision = batch.check(account, old.position.revision)?;
    write(&transaction, account, &batch, &old).map_err(|error| match error {
        WriteError::Refused(error) => error,
        WriteError::Sqlite(error) => refuse(error.into(), place),
    })?;
    commit(&transaction)?;
    Ok(revision)
}

fn commit(transaction: &Transaction<'_>) -> Result<(), AppendError> {
    let Err(error) = transaction.execute_batch("COMMIT") else {
        return Ok(());
    };
    // Still inside, so nothing was committed, and dropping the transaction rolls it back. Outside of it the log alone can
    // tell: SQLite has either rolled back by itself, or failed after the commit was written.
    //
    // But a disk that had no room for all of it has no end of it, which makes it a commit.
    let is_cut_short = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
    if transaction.is_autocommit() && !is_cut_short {
        Err(AppendError::Unknown(error.into()))
    } else {
        Err(AppendError::Unavailable(error.into()))
    }
}

enum WriteError {
    Refused(AppendError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<AppendError> for WriteError {
    fn from(error: AppendError) -> Self {
        Self::Refused(error)
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
    write_audit(transaction, account, batch, old)?;
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
        insert.execute((account.0, bounded(entry.revision.0), entry.encode()))?;
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
    let stored = stored(kind)?;
    if let Some(secrets) = secrets::of(change) {
        write_secrets(transaction, account, (stored, number), &secrets)?;
    }
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
        Err(error) if is_taken(&error) => Err(taken(kind, &key.unwrap_or_default()).into()),
        Err(error) => Err(error.into()),
    }
}

/// Writes down where the secrets of a record lead, instead of those it had.
fn write_secrets(
    transaction: &Transaction<'_>,
    account: AccountId,
    (stored, number): (u8, u32),
    secrets: &[&SecretHash],
) -> rusqlite::Result<()> {
    let mut delete = transaction
        .prepare_cached("DELETE FROM secret WHERE account = $1 AND kind = $2 AND number = $3")?;
    delete.execute((account.0, stored, number))?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO secret (account, kind, number, hash) VALUES ($1, $2, $3, $4)",
    )?;
    for SecretHash(hash) in secrets {
        insert.execute((account.0, stored, number, hash))?;
    }
    Ok(())
}

fn write_issued(
    transaction: &Transaction<'_>,
    account: AccountId,
    entries: &[Entry],
) -> Result<(), WriteError> {
    let mut put = transaction.prepare_cached(
        "INSERT INTO issued (account, kind, number) VALUES ($1, $2, $3)
        ON CONFLICT (account, kind)
        DO UPDATE SET number = excluded.number WHERE issued.number < excluded.number",
    )?;
    for (stored, number) in issued(entries)? {
        put.execute((account.0, stored, number))?;
    }
    Ok(())
}

/// Writes audit entries with the numbers after the last one.
fn write_audit(
    transaction: &Transaction<'_>,
    account: AccountId,
    batch: &Batch,
    old: &Head,
) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO audit (account, number, user_number, at, latest, status, kind, operation,
            address, text, variables)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )?;
    for (number, latest, entry) in old.audited(&batch.audit) {
        insert.execute((
            account.0,
            number,
            entry.user.number(),
            entry.at.as_millis(),
            latest.as_millis(),
            entry.status,
            entry.kind.name(),
            kept(&entry.operation),
            kept(&entry.address),
            entry.text.as_deref().map(kept),
            entry.variables.as_deref().map(kept),
        ))?;
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
    for (key, at) in last_uses(uses) {
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
        "UPDATE account SET revision = $1, batch = $2, latest = $3, audit_head = $4, latest_audit = $5
        WHERE id = $6 AND revision = $7",
    )?;
    let moved = update.execute((
        bounded(new.position.revision.0),
        batch_of(new.position),
        new.latest.as_millis(),
        bounded(new.audit),
        new.audit_latest.as_millis(),
        account.0,
        bounded(old.position.revision.0),
    ))?;
    if moved == 1 {
        return Ok(());
    }
    let message = format!("the account has left revision {}", old.position.revision);
    Err(AppendError::Contradiction(message).into())
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

//! The one transaction that changes anything, begun and ended in [`append`].

use bindery_core::api_key::SecretHash;
use bindery_core::change::{Change, Entry, LogPosition};
use bindery_core::id::{AccountId, ApiKeyId, Id as _, Revision};
use bindery_core::text::RequestId;
use bindery_core::time::Timestamp;
use rusqlite::{Connection, ErrorCode, Params, Transaction, TransactionBehavior, params};

use super::connection::is_taken;
use crate::tables::append::{issued, last_uses, missed, refuse, stored, taken};
use crate::tables::checksum::{self, NO_REVISION};
use crate::tables::read::{Head, head};
use crate::tables::{Failure, batch_of, bounded, kept, secrets, time_repair};
use crate::{AppendError, Batch, RepairedTime, StoreError, TimeRepairOrder};

/// [`crate::Store::append`]; passes the account's new position to `committed`. Any return before the commit
/// drops the transaction, which rolls it back.
pub(super) fn append(
    connection: &mut Connection,
    place: &str,
    account: AccountId,
    known: LogPosition,
    decide: &mut dyn FnMut(&[Entry]) -> Batch,
    committed: &dyn Fn(&Head),
) -> Result<Revision, AppendError> {
    // Instead of a lock on the account's row: from here on one writer in the whole file.
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
    let new = write(&transaction, account, &batch, &old).map_err(|error| match error {
        WriteError::Refused(error) => error,
        WriteError::Sqlite(error) => refuse(error.into(), place),
    })?;
    commit(&transaction)?;
    committed(&new);
    Ok(revision)
}

/// [`super::SqliteStore::repair_time`]; passes the account's new position to `committed`.
pub(super) fn repair_time(
    connection: &mut Connection,
    place: &str,
    account: AccountId,
    order: TimeRepairOrder<'_>,
    committed: &dyn Fn(&Head),
) -> Result<RepairedTime, StoreError> {
    let at = |failure: Failure| failure.at(place);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| at(error.into()))?;
    let mut database: &Connection = &transaction;
    let (repaired, batch) = time_repair::rewrite(&mut database, account, order).map_err(at)?;
    if batch.is_empty() {
        return Ok(repaired);
    }
    let old = head(&mut database, account).map_err(at)?;
    let unavailable = |error: AppendError| StoreError::Unavailable(error.into());
    let new = write(&transaction, account, &batch, &old).map_err(|error| match error {
        WriteError::Refused(error) => unavailable(error),
        WriteError::Sqlite(error) => at(error.into()),
    })?;
    commit(&transaction).map_err(unavailable)?;
    committed(&new);
    Ok(repaired)
}

fn commit(transaction: &Transaction<'_>) -> Result<(), AppendError> {
    let Err(error) = transaction.execute_batch("COMMIT") else {
        return Ok(());
    };
    // Still inside the transaction, so nothing was committed, and dropping it rolls it back. Outside of it
    // only the log can show the outcome: SQLite has either rolled back by itself, or failed after the commit
    // was written.
    //
    // But if the disk had no room for all of it, its end, which makes it a commit, is missing.
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
) -> Result<Head, WriteError> {
    write_log(transaction, account, &batch.entries)?;
    let mut content = old.content;
    // One by one and in order: a name that one change frees can be taken by the next.
    for change in batch.entries.iter().flat_map(|entry| &entry.changes) {
        content ^= write_record(transaction, account, change)?;
    }
    content ^= write_issued(transaction, account, &batch.entries)?;
    write_audit(transaction, account, batch, old)?;
    write_uses(transaction, account, &batch.uses)?;
    let new = Head {
        content,
        ..old.after(batch)
    };
    write_head(transaction, account, &new, old)?;
    Ok(new)
}

fn write_log(
    transaction: &Transaction<'_>,
    account: AccountId,
    entries: &[Entry],
) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO log (account, revision, body, checksum) VALUES ($1, $2, $3, $4)",
    )?;
    for entry in entries {
        let (revision, body) = (bounded(entry.revision.0), entry.encode());
        let checksum = checksum::of_log(account, revision, &body).stored();
        insert.execute((account.0, revision, body, checksum))?;
    }
    Ok(())
}

/// Writes the record, and returns the change of the account's content.
fn write_record(
    transaction: &Transaction<'_>,
    account: AccountId,
    change: &Change,
) -> Result<i64, WriteError> {
    if let Change::PutAccount(_) = change {
        // It is in the account's row, which is written last.
        return Ok(0);
    }
    let (kind, number) = change.key();
    let stored = stored(kind)?;
    let mut content = checksum_at(
        transaction,
        "SELECT checksum FROM record WHERE account = $1 AND kind = $2 AND number = $3",
        (account.0, stored, number),
    )?;
    if let Some(secrets) = secrets::of(change) {
        content ^= write_secrets(transaction, account, (stored, number), &secrets)?;
    }
    if change.is_delete() {
        let mut delete = transaction.prepare_cached(
            "DELETE FROM record WHERE account = $1 AND kind = $2 AND number = $3",
        )?;
        delete.execute((account.0, stored, number))?;
        return Ok(content);
    }
    let mut put = transaction.prepare_cached(
        "INSERT INTO record (account, kind, number, natural_key, body, checksum)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (account, kind, number)
        DO UPDATE SET natural_key = excluded.natural_key, body = excluded.body,
            checksum = excluded.checksum",
    )?;
    let (key, body) = (change.natural_key(), change.encode());
    let place = (i64::from(stored), i64::from(number));
    let checksum = checksum::of_record(account, place, key.as_deref(), &body).stored();
    match put.execute((account.0, stored, number, &key, body, checksum)) {
        Ok(_) => Ok(content ^ checksum),
        Err(error) if is_taken(&error) => Err(taken(kind, &key.unwrap_or_default()).into()),
        Err(error) => Err(error.into()),
    }
}

/// The combined checksums of the rows that a statement finds.
fn checksum_at(
    transaction: &Transaction<'_>,
    sql: &str,
    key: impl Params,
) -> rusqlite::Result<i64> {
    let mut select = transaction.prepare_cached(sql)?;
    let mut rows = select.query(key)?;
    let mut found = 0;
    while let Some(row) = rows.next()? {
        found ^= row.get::<_, i64>(0)?;
    }
    Ok(found)
}

/// Replaces the secrets of a record. Returns the change of the account's content.
fn write_secrets(
    transaction: &Transaction<'_>,
    account: AccountId,
    (stored, number): (u8, u32),
    secrets: &[&SecretHash],
) -> rusqlite::Result<i64> {
    let mut content = checksum_at(
        transaction,
        "SELECT checksum FROM secret WHERE account = $1 AND kind = $2 AND number = $3",
        (account.0, stored, number),
    )?;
    let mut delete = transaction
        .prepare_cached("DELETE FROM secret WHERE account = $1 AND kind = $2 AND number = $3")?;
    delete.execute((account.0, stored, number))?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO secret (account, kind, number, hash, checksum) VALUES ($1, $2, $3, $4, $5)",
    )?;
    for SecretHash(hash) in secrets {
        let place = (i64::from(stored), i64::from(number));
        let checksum = checksum::of_secret(account, place, hash).stored();
        insert.execute((account.0, stored, number, hash, checksum))?;
        content ^= checksum;
    }
    Ok(content)
}

fn write_issued(
    transaction: &Transaction<'_>,
    account: AccountId,
    entries: &[Entry],
) -> Result<i64, WriteError> {
    let mut put = transaction.prepare_cached(
        "INSERT INTO issued (account, kind, number, checksum) VALUES ($1, $2, $3, $4)
        ON CONFLICT (account, kind)
        DO UPDATE SET number = excluded.number, checksum = excluded.checksum
            WHERE issued.number < excluded.number",
    )?;
    let mut content = 0;
    for (stored, number) in issued(entries)? {
        let old = checksum_at(
            transaction,
            "SELECT checksum FROM issued WHERE account = $1 AND kind = $2",
            (account.0, stored),
        )?;
        let checksum = checksum::of_issued(account, stored.into(), number.into()).stored();
        if put.execute((account.0, stored, number, checksum))? > 0 {
            content ^= old ^ checksum;
        }
    }
    Ok(content)
}

/// Writes audit entries with the numbers after the last one.
fn write_audit(
    transaction: &Transaction<'_>,
    account: AccountId,
    batch: &Batch,
    old: &Head,
) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO audit (account, number, user_number, at, newest, status, kind, operation,
            address, text, variables, problem, key_number, request, revision, checksum)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )?;
    for (number, latest, entry) in old.audited(&batch.audit) {
        insert.execute(params![
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
            entry.problem.as_deref().map(kept),
            entry.key.map_or(0, ApiKeyId::number),
            entry.request.as_ref().map(RequestId::as_str),
            entry
                .revision
                .map_or(NO_REVISION, |revision| bounded(revision.0)),
            checksum::of_audit(account, (number, latest), entry).stored(),
        ])?;
    }
    Ok(())
}

fn write_uses(
    transaction: &Transaction<'_>,
    account: AccountId,
    uses: &[(ApiKeyId, Timestamp)],
) -> rusqlite::Result<()> {
    let mut put = transaction.prepare_cached(
        "INSERT INTO key_use (account, key_number, at, checksum) VALUES ($1, $2, $3, $4)
        ON CONFLICT (account, key_number)
        DO UPDATE SET at = excluded.at, checksum = excluded.checksum WHERE key_use.at < excluded.at",
    )?;
    let mut content = 0;
    for (key, at) in last_uses(uses) {
        let old = checksum_at(
            transaction,
            "SELECT checksum FROM key_use WHERE account = $1 AND key_number = $2",
            (account.0, key.number()),
        )?;
        let checksum = checksum::of_key_use(account, key.number().into(), at.as_millis()).stored();
        if put.execute((account.0, key.number(), at.as_millis(), checksum))? > 0 {
            content ^= old ^ checksum;
        }
    }
    // SQLite has no operator for exclusive or.
    let mut change = transaction
        .prepare_cached("UPDATE account SET uses = (uses | $1) - (uses & $1) WHERE id = $2")?;
    change.execute((content, account.0))?;
    Ok(())
}

/// Updates the account's row, if it is unchanged.
fn write_head(
    transaction: &Transaction<'_>,
    account: AccountId,
    new: &Head,
    old: &Head,
) -> Result<(), WriteError> {
    let mut update = transaction.prepare_cached(
        "UPDATE account SET revision = $1, batch = $2, latest = $3, audit_head = $4, newest_audit = $5,
            body = $6, content = $7, checksum = $8
        WHERE id = $9 AND revision = $10",
    )?;
    let moved = update.execute((
        bounded(new.position.revision.0),
        batch_of(new.position),
        new.latest.as_millis(),
        bounded(new.audit),
        new.audit_latest.as_millis(),
        &new.body,
        new.content,
        new.checksum(account).stored(),
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

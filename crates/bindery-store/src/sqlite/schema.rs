//! The tables, and the steps from each format of the file to the next. Forward only: a step that was ever released stays
//! as it is, and a change of the tables is one more step.

use rusqlite::{Connection, TransactionBehavior};

/// Marks a SQLite file as ours: `Bndr`.
pub(super) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"Bndr");

/// The format that this version writes, and the newest that it reads.
pub(super) const FORMAT: i32 = 2;

/// Each format with what makes it from the one before.
const STEPS: &[(i32, &str)] = &[(1, FORMAT_1), (2, FORMAT_2)];

/// What is INTEGER fits into 32 bits with its sign, and BLOB is BYTEA elsewhere.
///
/// - `account`: `latest` is the time of its last log entry, `audit_latest` the latest time in its audit log.
/// - `record`: what is there now, so that loading needn't replay the log.
/// - `issued`: the highest number ever given to each kind, since the thing that had it may be gone.
/// - `audit`: `latest` is the latest time so far, which never falls however the clock is set: it finds the first entry
///   of a span of time without reading the older ones.
const FORMAT_1: &str = "
    CREATE TABLE account (
        id BIGINT NOT NULL,
        revision BIGINT NOT NULL,
        latest BIGINT NOT NULL,
        audit_head BIGINT NOT NULL,
        audit_latest BIGINT NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (id)
    );
    CREATE TABLE log (
        account BIGINT NOT NULL,
        revision BIGINT NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (account, revision)
    );
    CREATE TABLE record (
        account BIGINT NOT NULL,
        kind INTEGER NOT NULL,
        number BIGINT NOT NULL,
        natural_key TEXT,
        body BLOB NOT NULL,
        PRIMARY KEY (account, kind, number),
        UNIQUE (account, kind, natural_key)
    );
    CREATE TABLE issued (
        account BIGINT NOT NULL,
        kind INTEGER NOT NULL,
        number BIGINT NOT NULL,
        PRIMARY KEY (account, kind)
    );
    CREATE TABLE audit (
        account BIGINT NOT NULL,
        number BIGINT NOT NULL,
        user_number BIGINT NOT NULL,
        at BIGINT NOT NULL,
        latest BIGINT NOT NULL,
        status INTEGER NOT NULL,
        kind TEXT NOT NULL,
        operation TEXT NOT NULL,
        address TEXT NOT NULL,
        text TEXT,
        variables TEXT,
        PRIMARY KEY (account, number)
    );
    CREATE INDEX audit_by_user ON audit (account, user_number, number);
    CREATE INDEX audit_by_time ON audit (account, latest, number);
";

/// - `key_use`: when a key was last used, about; beside the log, since no decision depends on it.
const FORMAT_2: &str = "
    CREATE TABLE key_use (
        account BIGINT NOT NULL,
        key_number BIGINT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (account, key_number)
    );
";

/// The format of an open database.
pub(super) fn format_of(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Takes an open database from the format it has to [`FORMAT`].
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    run(connection, STEPS)
}

/// Runs the steps that are still to come, each whole or not at all.
fn run(connection: &mut Connection, steps: &[(i32, &str)]) -> rusqlite::Result<()> {
    let found = format_of(connection)?;
    for (format, sql) in steps.iter().filter(|(format, _)| *format > found) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", format)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_lead_to_the_format_one_by_one() {
        let formats: Vec<i32> = STEPS.iter().map(|(format, _)| *format).collect();
        assert_eq!(formats, (1..=FORMAT).collect::<Vec<_>>());
    }

    #[test]
    fn only_the_missing_steps_run_and_a_failing_one_leaves_the_format_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        let first = (1, "CREATE TABLE one (x BIGINT)");
        let second = (2, "CREATE TABLE two (x BIGINT)");
        let broken = (
            3,
            "CREATE TABLE three (x BIGINT); CREATE TABLE one (x BIGINT)",
        );
        run(&mut connection, &[first]).unwrap();
        run(&mut connection, &[first, second]).unwrap();
        assert!(run(&mut connection, &[first, second, broken]).is_err());
        assert_eq!(format_of(&connection).unwrap(), 2);
        let tables = "SELECT count(*) FROM sqlite_schema";
        let tables: i64 = connection.query_row(tables, [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 2);
    }
}

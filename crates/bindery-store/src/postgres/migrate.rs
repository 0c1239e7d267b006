//! Migrates a database to the newest format, in one transaction that one node at a time runs.

use std::fmt::Write as _;
use std::time::Duration;

use super::connection::Connection;
use crate::StoreError;
use crate::tables::schema::{FILLS, FORMAT, STEPS};
use crate::tables::{Database as _, Failure, Value};

/// How long a node waits while another one migrates.
const MIGRATION_TIMEOUT: Duration = Duration::from_mins(10);

/// How long it waits for a table that is being read, how often, and how far apart.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 300;
const ATTEMPT_PAUSE: Duration = Duration::from_secs(1);

/// Instead of a format while a backup is written into the database.
pub(super) const UNFINISHED: i64 = -1;

/// Held during a migration: `Bndr`.
const LOCK: i32 = i32::from_be_bytes(*b"Bndr");

pub(super) fn migrate(connection: &mut Connection, place: &str) -> Result<(), StoreError> {
    let at = |failure: Failure| failure.at(place);
    // Usually there is nothing to do, and a login that may not create tables is enough.
    if found(connection).map_err(at)? == Some(FORMAT.into()) {
        return Ok(());
    }
    for _ in 0..ATTEMPTS {
        begin_alone(connection).map_err(at)?;
        let (from, steps) = steps(connection, place)?;
        // A transaction that waits for a table also blocks all later ones, even those that would not conflict
        // with its current reader.
        let briefly = format!("SET LOCAL lock_timeout = {}", LOCK_TIMEOUT.as_millis());
        connection.batch(&briefly).map_err(at)?;
        match connection.batch(&steps) {
            Ok(()) => {}
            Err(failure) if is_in_the_way(&failure) => {
                connection.end("ROLLBACK").map_err(at)?;
                std::thread::sleep(ATTEMPT_PAUSE);
                continue;
            }
            Err(failure) => return Err(at(failure)),
        }
        for (_, fill) in FILLS.iter().filter(|(of, _)| i64::from(*of) > from) {
            fill(connection).map_err(at)?;
        }
        return connection.end("COMMIT").map_err(at);
    }
    Err(StoreError::Unavailable(
        "its tables can't be migrated while they are read all the time, for example by a backup"
            .into(),
    ))
}

/// A lock timeout, or a deadlock.
fn is_in_the_way(failure: &Failure) -> bool {
    let Failure::Database(cause) = failure else {
        return false;
    };
    let said = cause.to_string();
    ["(55P03)", "(40P01)"]
        .iter()
        .any(|code| said.ends_with(code))
}

/// Begins a transaction in which no other one creates tables.
pub(super) fn begin_alone(connection: &mut Connection) -> Result<(), Failure> {
    let timeout_ms = MIGRATION_TIMEOUT.as_millis();
    // Waiting for the turn is silent, and so is creating an index of many rows.
    connection.wait_for_statements_of(MIGRATION_TIMEOUT);
    connection.begin(
        &format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {timeout_ms}; SET LOCAL statement_timeout = {timeout_ms}"
        ),
        "SELECT pg_advisory_xact_lock($1)",
        &[Value::Integer(LOCK.into())],
        &mut |_| Ok(()),
    )
}

/// The remaining steps, now that no other node runs them, and the format that they start from.
fn steps(connection: &mut Connection, place: &str) -> Result<(i64, String), StoreError> {
    let found = found(connection).map_err(|failure| failure.at(place))?;
    let corrupt = |why: &str| StoreError::Corrupt {
        path: place.to_owned(),
        why: why.to_owned(),
    };
    let mut steps = String::new();
    let format = match found {
        Some(format) if format > FORMAT.into() => {
            return Err(StoreError::Newer {
                path: place.to_owned(),
                found: format,
                known: FORMAT.into(),
            });
        }
        Some(UNFINISHED) => return Err(StoreError::Unfinished(place.to_owned())),
        Some(format) if format < 1 => return Err(corrupt("it names no format")),
        Some(format) => format,
        None => {
            if has_table(connection, "account").map_err(|failure| failure.at(place))? {
                return Err(corrupt("it has tables of another application"));
            }
            steps.push_str(CREATE_FORMAT);
            0
        }
    };
    steps.push_str(&steps_after(format));
    let _ = write!(steps, "UPDATE bindery_format SET format = {FORMAT};");
    Ok((format, steps))
}

pub(super) const CREATE_FORMAT: &str = "CREATE TABLE bindery_format (format BIGINT NOT NULL);
    INSERT INTO bindery_format (format) VALUES (0);";

/// The steps from this format to the newest, without the statement that sets the format.
pub(super) fn steps_after(format: i64) -> String {
    let steps = STEPS.iter().filter(|(step, _)| i64::from(*step) > format);
    steps
        .map(|(_, sql)| sql.replace(" BLOB ", " BYTEA "))
        .collect()
}

/// The format of the database; `None` if it has none.
pub(super) fn found(connection: &mut Connection) -> Result<Option<i64>, Failure> {
    if !has_table(connection, "bindery_format")? {
        return Ok(None);
    }
    let mut format = 0;
    let sql = "SELECT format FROM bindery_format";
    connection.query(sql, &[], &mut |row| {
        format = row.integer(0)?;
        Ok(())
    })?;
    Ok(Some(format))
}

/// Whether a backup is being written into the database.
pub(super) fn is_unfinished(connection: &mut Connection) -> Result<bool, Failure> {
    Ok(found(connection)? == Some(UNFINISHED))
}

pub(super) fn has_table(connection: &mut Connection, name: &str) -> Result<bool, Failure> {
    let mut is_there = false;
    connection.query(
        "SELECT 1 FROM pg_catalog.pg_tables
        WHERE schemaname = current_schema() AND CAST(tablename AS TEXT) = $1",
        &[Value::Text(Some(name))],
        &mut |_| {
            is_there = true;
            Ok(())
        },
    )?;
    Ok(is_there)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::super::address::Address;
    use super::super::connection::WRITE_TIMEOUT;
    use super::*;

    /// A separate database on the server that the tests in `tests/it` use as well.
    fn new_database(what_for: &str) -> Address {
        let server = std::env::var("BINDERY_TEST_POSTGRES").expect(
            "BINDERY_TEST_POSTGRES names no PostgreSQL server to test with: `cargo xtask test` starts one",
        );
        let name = format!("migrated_{what_for}_{}", std::process::id());
        let (base, _) = server.rsplit_once('/').expect("the URL names a database");
        let mut client = connect(&Address::parse(&server).expect("a URL"));
        client
            .batch(&format!("CREATE DATABASE {name}"))
            .expect("a new name");
        Address::parse(&format!("{base}/{name}")).expect("a URL")
    }

    fn connect(address: &Address) -> Connection {
        Connection::open(address, WRITE_TIMEOUT, None).expect("the server of the tests")
    }

    #[test]
    fn a_table_that_a_backup_reads_is_waited_for_without_keeping_others_from_it() {
        let address = new_database("read");
        let mut first = connect(&address);
        migrate(&mut first, "here").expect("no other node is there");
        first
            .batch(
                "ALTER TABLE account RENAME COLUMN newest_audit TO latest_audit;
                ALTER TABLE base RENAME COLUMN newest_change TO latest_change;
                ALTER TABLE audit RENAME COLUMN newest TO latest;
                ALTER TABLE audit DROP COLUMN problem, DROP COLUMN key_number, DROP COLUMN request,
                    DROP COLUMN revision, DROP COLUMN checksum;
                ALTER TABLE account DROP COLUMN content, DROP COLUMN uses, DROP COLUMN base_checksum,
                    DROP COLUMN oldest_audit, DROP COLUMN checksum;
                ALTER TABLE base DROP COLUMN content, DROP COLUMN checksum;
                ALTER TABLE base_record DROP COLUMN checksum; ALTER TABLE base_issued DROP COLUMN checksum;
                ALTER TABLE log DROP COLUMN checksum; ALTER TABLE record DROP COLUMN checksum;
                ALTER TABLE issued DROP COLUMN checksum; ALTER TABLE key_use DROP COLUMN checksum;
                ALTER TABLE secret DROP COLUMN checksum;
                ALTER TABLE account DROP COLUMN batch; ALTER TABLE base DROP COLUMN batch;
                ALTER TABLE account RENAME COLUMN latest_audit TO audit_latest;
                ALTER TABLE base RENAME COLUMN latest_change TO latest;
                UPDATE bindery_format SET format = 4",
            )
            .expect("as it was in format 4");
        let (mut backup, mut second) = (connect(&address), connect(&address));
        let begun = backup.begin("BEGIN", "SELECT id FROM account", &[], &mut |_| Ok(()));
        begun.expect("anyone may read");
        thread::scope(|threads| {
            let migrating = threads.spawn(|| migrate(&mut second, "here"));
            // Its attempts and its pauses between them.
            for _ in 0..40 {
                let read = first.query("SELECT id FROM account", &[], &mut |_| Ok(()));
                read.expect("it is not kept waiting for as long as the backup takes");
                thread::sleep(Duration::from_millis(100));
            }
            assert!(!migrating.is_finished(), "the backup is still at it");
            backup.end("ROLLBACK").expect("it is done");
            migrating.join().expect("no panic").expect("nobody reads");
        });
        assert_eq!(found(&mut first).ok().flatten(), Some(FORMAT.into()));
    }

    #[test]
    fn a_node_waits_for_another_one_that_migrates_longer_than_for_other_answers() {
        let address = new_database("once");
        let (mut first, mut second) = (connect(&address), connect(&address));
        // As if the timeout of all other responses were zero: the wait for a turn does not depend on it.
        second.wait_for_statements_of(Duration::ZERO);
        begin_alone(&mut first).expect("no other node is there");
        thread::scope(|threads| {
            let waiting = threads.spawn(|| migrate(&mut second, "here"));
            thread::sleep(Duration::from_secs(6));
            assert!(!waiting.is_finished(), "it waits for its turn");
            first.end("COMMIT").expect("nothing was done");
            waiting.join().expect("no panic").expect("its turn came");
        });
        let mut third = connect(&address);
        assert_eq!(found(&mut third).ok().flatten(), Some(FORMAT.into()));
    }
}

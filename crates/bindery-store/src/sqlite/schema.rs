//! The format of a file, and its migration to the newest one.

use rusqlite::{Connection, TransactionBehavior};

use crate::tables::Failure;
use crate::tables::schema::{FILLS, STEPS};

/// Marks a SQLite file as ours: `Bndr`.
pub(super) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"Bndr");

/// The format of an open database.
pub(super) fn format_of(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Migrates an open database to the newest format.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), Failure> {
    run(connection, STEPS)
}

/// Runs the remaining steps, each completely or not at all.
fn run(connection: &mut Connection, steps: &[(i32, &str)]) -> Result<(), Failure> {
    let found = format_of(connection)?;
    for (format, sql) in steps.iter().filter(|(format, _)| *format > found) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        for (_, fill) in FILLS.iter().filter(|(of, _)| of == format) {
            fill(&mut &*transaction)?;
        }
        transaction.pragma_update(None, "user_version", format)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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

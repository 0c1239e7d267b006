//! Writes the checksums of existing rows: in the migration to format 6, and at the end of an import.

use std::fmt::Write as _;

use bindery_core::id::AccountId;

use super::checksum::{of_account, of_base, of_cells};
use super::known_to::NoteKnownTo;
use super::replay::{HeadRow, Replay};
use super::{Database, Failure, Value, check_touched, number, secrets};
use crate::copy::{self, ACCOUNT, BASE, Cell, RECORD, SECRET, Sums, TABLES, Table};

/// How many rows get their checksums in one statement.
const ROWS_AT_ONCE: usize = 64;

/// Gives every row its checksum, and every account and base the sum of its rows, in a store of format 5. Adds
/// to records who gave each role and when, and who may know each password, as far as the log shows it. A
/// checksum would hide existing damage, so records and the position of each account are first compared with
/// the log: see [`Replay`].
pub(crate) fn fill(database: &mut dyn Database) -> Result<(), Failure> {
    for account in accounts(database)? {
        fill_account(database, account)?;
    }
    Ok(())
}

fn fill_account(database: &mut dyn Database, account: AccountId) -> Result<(), Failure> {
    let mut base = None;
    let sql = "SELECT revision, batch, newest_change, body FROM base WHERE account = $1";
    database.query(sql, &[account.into()], &mut |row| {
        let numbers = [row.integer(0)?, row.integer(1)?, row.integer(2)?];
        base = Some((numbers, row.bytes(3)?.to_vec()));
        Ok(())
    })?;
    let base = base
        .as_ref()
        .map(|(numbers, body)| head_row(*numbers, body));
    let mut replay = Replay::begin(account, base)?;
    let mut sums = Sums::default();
    for table in &TABLES {
        if table.code != ACCOUNT && table.code != BASE {
            add_checksums(database, account, table, &mut replay, &mut sums)?;
        }
    }
    let mut end = None;
    let sql =
        "SELECT revision, batch, latest, audit_head, newest_audit, body FROM account WHERE id = $1";
    database.query(sql, &[account.into()], &mut |row| {
        let numbers = [row.integer(0)?, row.integer(1)?, row.integer(2)?];
        let audit = (row.integer(3)?, row.integer(4)?);
        end = Some((numbers, audit, row.bytes(5)?.to_vec()));
        Ok(())
    })?;
    let (numbers, audit, body) = end.ok_or(Failure::NoAccount(account))?;
    replay.finish(head_row(numbers, &body), audit)?;
    sums.add(SECRET, secrets::write_anew(database, account)?);
    let mut noting = NoteKnownTo::begin(account)?;
    while noting.step(database)?.is_some() {}
    sums.add(RECORD, noting.changed);
    seal(database, account, sums)
}

fn head_row([revision, batch, latest]: [i64; 3], body: &[u8]) -> HeadRow<'_> {
    HeadRow {
        revision,
        batch: Some(batch),
        latest,
        body,
    }
}

fn accounts(database: &mut dyn Database) -> Result<Vec<AccountId>, Failure> {
    let mut accounts = Vec::new();
    database.query("SELECT id FROM account ORDER BY id", &[], &mut |row| {
        accounts.push(AccountId(number(row, 0)?));
        Ok(())
    })?;
    Ok(accounts)
}

/// Writes the sums of an account's rows and of its base's, and the checksums of the rows that have them.
pub(crate) fn seal(
    database: &mut dyn Database,
    account: AccountId,
    sums: Sums,
) -> Result<(), Failure> {
    seal_base(database, account, sums.base)?;
    seal_account(database, account, sums.account)?;
    database.execute(
        "UPDATE account SET uses = $1, oldest_audit = COALESCE(
            (SELECT MIN(number) FROM audit WHERE account = $2), audit_head + 1)
        WHERE id = $2",
        &[Value::Integer(sums.uses), account.into()],
    )?;
    Ok(())
}

fn seal_account(
    database: &mut dyn Database,
    account: AccountId,
    content: i64,
) -> Result<(), Failure> {
    let mut checksum = None;
    database.query(
        "SELECT revision, batch, latest, audit_head, newest_audit, body FROM account WHERE id = $1",
        &[account.into()],
        &mut |row| {
            checksum = Some(of_account(
                account,
                (row.integer(0)?, row.integer(1)?),
                row.integer(2)?,
                (row.integer(3)?, row.integer(4)?),
                row.bytes(5)?,
            ));
            Ok(())
        },
    )?;
    let checksum = checksum.ok_or(Failure::NoAccount(account))?;
    database.execute(
        "UPDATE account SET content = $1, checksum = $2 WHERE id = $3",
        &[
            Value::Integer(content),
            Value::Integer(checksum.stored()),
            account.into(),
        ],
    )?;
    Ok(())
}

fn seal_base(database: &mut dyn Database, account: AccountId, content: i64) -> Result<(), Failure> {
    let mut checksum = None;
    database.query(
        "SELECT revision, batch, newest_change, body FROM base WHERE account = $1",
        &[account.into()],
        &mut |row| {
            checksum = Some(of_base(
                account,
                (row.integer(0)?, row.integer(1)?),
                row.integer(2)?,
                content,
                row.bytes(3)?,
            ));
            Ok(())
        },
    )?;
    if let Some(checksum) = checksum {
        database.execute(
            "UPDATE base SET content = $1, checksum = $2 WHERE account = $3",
            &[
                Value::Integer(content),
                Value::Integer(checksum.stored()),
                account.into(),
            ],
        )?;
        database.execute(
            "UPDATE account SET base_checksum = $1 WHERE id = $2",
            &[Value::Integer(checksum.stored()), account.into()],
        )?;
    }
    Ok(())
}

/// Gives the rows of one table their checksums, and writes records to which a giver was added.
fn add_checksums(
    database: &mut dyn Database,
    account: AccountId,
    table: &'static Table,
    replay: &mut Replay,
    sums: &mut Sums,
) -> Result<(), Failure> {
    copy::each_page(database, account, table, &mut |database, rows| {
        let (mut changed, mut same): (Vec<&[Cell]>, Vec<&[Cell]>) = Default::default();
        for row in rows {
            if replay.take(table.code, row)? {
                changed.push(row);
            } else {
                same.push(row);
            }
        }
        let bytes = database.type_of_bytes();
        for (rows, bytes) in [(same, None), (changed, Some(bytes))] {
            for some in rows.chunks(ROWS_AT_ONCE) {
                write(database, account, table, some, bytes, sums)?;
            }
        }
        Ok(())
    })
}

/// Writes the checksums of some rows, and their bodies, the last column, if the type of those is given.
fn write(
    database: &mut dyn Database,
    account: AccountId,
    table: &Table,
    rows: &[&[Cell]],
    bytes: Option<&str>,
    sums: &mut Sums,
) -> Result<(), Failure> {
    let mut values = vec![account.into()];
    for row in rows {
        for cell in &row[..table.key] {
            if let Cell::Integer(number) = cell {
                values.push(Value::Integer(*number));
            }
        }
        let checksum = of_cells(table, account, row).stored();
        sums.add(table.code, checksum);
        values.push(Value::Integer(checksum));
        if let (Some(_), Some(Cell::Bytes(body))) = (bytes, row.last()) {
            values.push(Value::Bytes(body));
        }
    }
    update(database, table, (&["checksum"], bytes), rows.len(), &values)
}

/// Sets columns of these rows, each of which must exist: see [`statement`].
pub(crate) fn update(
    database: &mut dyn Database,
    table: &Table,
    (columns, bytes): (&[&str], Option<&str>),
    rows: usize,
    values: &[Value<'_>],
) -> Result<(), Failure> {
    let touched = database.execute(&statement(table, columns, bytes, rows), values)?;
    check_touched(table.name, rows, touched)
}

/// Sets number columns in this many rows of a table, and the last column of the table if the type of its
/// bytes is given. The values are the account, then the key and the columns of each row.
///
/// Each row has the account too: compared with one value, `SQLite` would read all rows of the account for
/// each statement.
fn statement(table: &Table, columns: &[&str], bytes: Option<&str>, rows: usize) -> String {
    let last = table.columns.last().filter(|_| bytes.is_some());
    let sets = columns.iter().copied().chain(last.map(|(name, _)| *name));
    let sets: Vec<String> = sets
        .enumerate()
        .map(|(place, column)| format!("{column} = new.column{}", table.key + place + 2))
        .collect();
    let mut sql = format!(
        "UPDATE {} SET {} FROM (VALUES ",
        table.name,
        sets.join(", ")
    );
    let numbers = std::iter::repeat_n("BIGINT", table.key + columns.len());
    let types: Vec<&str> = numbers.chain(bytes).collect();
    let mut place = 2;
    for row in 0..rows {
        sql.push_str(if row == 0 {
            "(CAST($1 AS BIGINT)"
        } else {
            ", (CAST($1 AS BIGINT)"
        });
        for of in &types {
            let _ = write!(sql, ", CAST(${place} AS {of})");
            place += 1;
        }
        sql.push(')');
    }
    let _ = write!(sql, ") AS new WHERE {}.account = new.column1", table.name);
    for (place, (key, _)) in (2..).zip(&table.columns[..table.key]) {
        let _ = write!(sql, " AND {}.{key} = new.column{place}", table.name);
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_whose_rows_are_told_apart_by_numbers_get_their_checksums_by_them() {
        for table in &TABLES {
            let key = &table.columns[..table.key];
            assert!(
                key.iter()
                    .all(|(_, column)| *column == copy::Column::Integer)
            );
        }
        let log = copy::table_of(copy::LOG).unwrap();
        assert_eq!(
            statement(log, &["checksum"], None, 2),
            "UPDATE log SET checksum = new.column3 FROM (VALUES (CAST($1 AS BIGINT), CAST($2 AS BIGINT), CAST($3 AS BIGINT)), \
            (CAST($1 AS BIGINT), CAST($4 AS BIGINT), CAST($5 AS BIGINT))) AS new WHERE log.account = new.column1 \
            AND log.revision = new.column2"
        );
        let record = copy::table_of(copy::RECORD).unwrap();
        assert_eq!(
            statement(record, &["checksum"], Some("BYTEA"), 1),
            "UPDATE record SET checksum = new.column4, body = new.column5 FROM (VALUES (CAST($1 AS BIGINT), CAST($2 AS BIGINT), \
            CAST($3 AS BIGINT), CAST($4 AS BIGINT), CAST($5 AS BYTEA))) AS new WHERE record.account = new.column1 \
            AND record.kind = new.column2 AND record.number = new.column3"
        );
    }

    /// Counts the statements that write records.
    #[cfg(feature = "sqlite")]
    struct Counting {
        file: rusqlite::Connection,
        written: usize,
    }

    #[cfg(feature = "sqlite")]
    impl Database for Counting {
        fn query(
            &mut self,
            sql: &str,
            values: &[Value<'_>],
            take: super::super::TakeRow<'_>,
        ) -> Result<(), Failure> {
            self.file.query(sql, values, take)
        }

        fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<usize, Failure> {
            self.written += usize::from(sql.contains("UPDATE record"));
            Database::execute(&mut self.file, sql, values)
        }
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn givers_are_written_together_with_the_checksums_of_their_records() {
        use super::super::schema::STEPS;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bindery.db");
        std::fs::write(
            &path,
            include_bytes!("../../tests/fixtures/format-5.db").as_slice(),
        )
        .unwrap();
        let file = rusqlite::Connection::open(&path).unwrap();
        file.execute_batch(STEPS[5].1).unwrap();
        let mut counting = Counting { file, written: 0 };
        fill(&mut counting).unwrap();
        // For each of two accounts: unchanged records, and records that have a giver now.
        assert!(counting.written <= 4, "{}", counting.written);
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn a_file_finds_each_row_that_gets_its_checksum_by_its_key() {
        let file = rusqlite::Connection::open_in_memory().unwrap();
        for (_, step) in super::super::schema::STEPS {
            file.execute_batch(step).unwrap();
        }
        for table in TABLES.iter().filter(|table| table.key > 0) {
            let sql = format!(
                "EXPLAIN QUERY PLAN {}",
                statement(table, &["checksum"], None, 64)
            );
            let mut plan = file.prepare(&sql).unwrap();
            let values = vec![1; plan.parameter_count()];
            let steps = plan.query_map(rusqlite::params_from_iter(values), |row| row.get(3));
            let steps: Vec<String> = steps.unwrap().map(Result::unwrap).collect();
            let search = format!("SEARCH {} ", table.name);
            let step = steps.iter().find(|step| step.starts_with(&search));
            let step = step.unwrap_or_else(|| unreachable!("{steps:?}"));
            for (key, _) in &table.columns[..table.key] {
                assert!(step.contains(&format!("{key}=?")), "{step}");
            }
        }
    }
}

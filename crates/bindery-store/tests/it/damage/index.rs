//! Indexes that disagree with their tables: an entry for a row is missing, leads to another row or to none,
//! or a second row with the same key got in. The rows themselves are unchanged, except for the last kind.
//!
//! The database changes rows as if the index did not exist; both databases can be made to do so by their
//! catalogs.

use std::num::NonZeroU64;
use std::path::Path;

use bindery_core::time::Timestamp;
use bindery_store::postgres::PostgresStore;
use bindery_store::sqlite::SqliteStore;
use bindery_store::{RepairedTime, TimeRepairOrder};
use rusqlite::Connection;

use super::postgres::{connect, delete, insert, snapshot};
use super::sqlite::{FILE, copy_of};
use super::*;
use crate::postgres::Database;

/// The damage of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// An entry for a row is missing.
    Lacks,
    /// An entry for a row leads to no row.
    LeadsNowhere,
    /// Two entries lead to each other's row.
    Crossed,
    /// There is another row with the same key, and it leads to both.
    LetIn,
}

const CHANGES: [Change; 4] = [
    Change::Lacks,
    Change::LeadsNowhere,
    Change::Crossed,
    Change::LetIn,
];

/// A damaged index: its table, its rows, and the damage.
#[derive(Debug)]
struct Plan<'a> {
    table: &'a Table,
    change: Change,
    row: &'a Vec<Value>,
    other: &'a Vec<Value>,
    /// Another row with the same key: an older one.
    twin: Vec<Value>,
    /// The index.
    index: usize,
}

fn plan<'a>(now: &'a Content, before: &'a Content, chance: &mut Chance) -> Plan<'a> {
    let place = chance.below(TABLES.len());
    let table = &now[place];
    let row = &table.rows[chance.below(table.rows.len())];
    let other = &table.rows[chance.below(table.rows.len())];
    let older = before[place].rows.iter();
    let twin = older.into_iter().find(|older| {
        table.key_of(older) == table.key_of(row) && *older != row && chance.below(2) == 0
    });
    Plan {
        table,
        change: CHANGES[chance.below(CHANGES.len())],
        row,
        other,
        twin: twin.unwrap_or(row).clone(),
        index: chance.below(4),
    }
}

/// Some damages are impossible: a row can't be exchanged with itself.
fn is_possible(plan: &Plan<'_>) -> bool {
    plan.change != Change::Crossed || plan.row != plan.other
}

/// Whether the index covers the rows: one of them covers people only.
fn concerns(index: &str, plan: &Plan<'_>) -> bool {
    let is_person = |row: &Vec<Value>| row[1] == Value::Integer(0);
    index != "record_of_person" || (is_person(plan.row) && is_person(plan.other))
}

/// Whether `verify` has named the table or a row of it.
fn is_named(said: &[String], plan: &Plan<'_>) -> Result<(), String> {
    let table = plan.table.name;
    let names_table =
        |line: &String| line.contains(&format!("`{table}`")) || line.contains(&format!("{table}_"));
    let names_row = |line: &String| names(line, table, plan.row) || names(line, table, plan.other);
    if said.iter().any(|line| names_table(line) || names_row(line)) {
        Ok(())
    } else {
        Err(format!("{said:?}"))
    }
}

/// An index of PostgreSQL, and whether it is unique.
type Found = (String, bool);

fn indexes(client: &mut ::postgres::Client, table: &str) -> Vec<Found> {
    let sql = "SELECT CAST(indexrelid AS regclass)::TEXT, indisunique FROM pg_index
        WHERE indrelid = CAST($1::TEXT AS regclass) ORDER BY 1";
    let rows = client.query(sql, &[&table]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Makes PostgreSQL change rows as if some indexes didn't exist.
fn without(client: &mut ::postgres::Client, indexes: &[&str], sql: &[String]) {
    let set = |client: &mut ::postgres::Client, is_ready: bool| {
        for index in indexes {
            let sql = format!(
                "UPDATE pg_index SET indisready = {is_ready} WHERE indexrelid = CAST('{index}' AS regclass)"
            );
            client.batch_execute(&sql).unwrap();
        }
    };
    set(client, false);
    for one in sql {
        client.batch_execute(one).unwrap();
    }
    set(client, true);
}

/// The location of a row.
fn place_of(client: &mut ::postgres::Client, table: &Table, row: &[Value]) -> String {
    let columns = table.columns.iter().zip(row);
    let conditions: Vec<String> = columns
        .map(|(column, value)| {
            let value = super::postgres::literal(value);
            format!("{column} IS NOT DISTINCT FROM {value}")
        })
        .collect();
    let (name, conditions) = (table.name, conditions.join(" AND "));
    let sql = format!("SELECT ctid::TEXT FROM {name} WHERE {conditions}");
    client.query_one(&sql, &[]).unwrap().get(0)
}

/// Returns the description; `None` if nothing has changed.
fn damage_database(client: &mut ::postgres::Client, plan: &Plan<'_>) -> Option<String> {
    let Plan {
        table, row, other, ..
    } = plan;
    let name = table.name;
    let found = indexes(client, name);
    let (index, _) = &found[plan.index % found.len()];
    if plan.change != Change::LetIn && !concerns(index, plan) {
        return None;
    }
    let vacuum = || format!("VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) {name}");
    match plan.change {
        Change::Lacks => {
            client.batch_execute(&delete(table, &[row])).unwrap();
            client.batch_execute(&vacuum()).unwrap();
            without(client, &[index], &[insert(name, &[row])]);
        }
        Change::LeadsNowhere => without(
            client,
            &[index],
            // It gets another location, since its old one is not free yet.
            &[delete(table, &[row]), insert(name, &[row]), vacuum()],
        ),
        Change::Crossed => {
            // The next free location is used: the rows exchange theirs, if they come in the right order.
            let places = [row, other].map(|row| place_of(client, table, row));
            let both = insert(name, &[row]) + &insert(name, &[other]);
            without(
                client,
                &[index],
                &[delete(table, &[row, other]), vacuum(), both],
            );
            if place_of(client, table, row) == places[0] {
                let both = insert(name, &[other]) + &insert(name, &[row]);
                without(
                    client,
                    &[index],
                    &[delete(table, &[row, other]), vacuum(), both],
                );
            }
            assert_ne!(place_of(client, table, row), places[0]);
        }
        Change::LetIn => {
            let unique = found.iter().filter(|(_, is_unique)| *is_unique);
            let unique: Vec<&str> = unique.map(|(index, _)| &**index).collect();
            without(client, &unique, &[insert(name, &[&plan.twin])]);
            return Some(format!("{name} has a second row {:?}", plan.twin));
        }
    }
    Some(format!(
        "{index}: {:?} of {row:?} and {other:?}",
        plan.change
    ))
}

/// The original table and indexes.
fn mend(client: &mut ::postgres::Client, table: &Table) {
    let rows: Vec<&Vec<Value>> = table.rows.iter().collect();
    let sql = format!(
        "BEGIN; TRUNCATE {}; {} COMMIT",
        table.name,
        insert(table.name, &rows)
    );
    client.batch_execute(&sql).unwrap();
}

#[test]
fn an_index_of_a_database_that_disagrees_with_its_table_is_noticed_and_verify_names_it() {
    let (database, before) = super::postgres::template();
    let url = &database.url;
    let mut client = connect(url);
    let now = super::postgres::content(&mut client);
    // As with large tables, which are not scanned for a few rows.
    let by_index = format!("{url}?options=-cenable_seqscan%3Doff%20-cenable_bitmapscan%3Doff");
    let right = super::postgres::answers_of(&by_index, url);
    let (mut tally, mut seeds) = (Tally::default(), 0..);
    let count = count(30);
    while tally.damages < usize::try_from(count).unwrap() {
        let seed = seeds.next().unwrap();
        let plan = plan(&now, &before, &mut Chance(seed));
        if !is_possible(&plan) {
            continue;
        }
        let Some(how) = damage_database(&mut client, &plan) else {
            continue;
        };
        let how = format!("seed {seed}: {how}");
        let said = verified(snapshot(url));
        let answers = super::postgres::answers_of(&by_index, url);
        tally.count(&how, &answers, &right, is_named(&said, &plan));
        mend(&mut client, plan.table);
    }
    assert_eq!(
        verified(snapshot(url)),
        Vec::<String>::new(),
        "it is as it was"
    );
    tally.close("PostgreSQL, indexes", 1);
}

#[test]
fn every_index_of_a_database_is_compared_and_amcheck_is_used_where_it_is() {
    let database = Database::new();
    furnish(&database.open());
    let mut client = connect(&database.url);
    for table in TABLES {
        for (index, _) in indexes(&mut client, table) {
            let sql = format!(
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = CAST('{index}' AS regclass)"
            );
            client.batch_execute(&sql).unwrap();
            let said = verified(snapshot(&database.url)).join("\n");
            assert!(
                said.contains(&format!("index `{index}` of table `{table}`")),
                "{said}"
            );
            let sql = format!(
                "UPDATE pg_index SET indisvalid = true WHERE indexrelid = CAST('{index}' AS regclass)"
            );
            client.batch_execute(&sql).unwrap();
        }
    }
    assert_eq!(verified(snapshot(&database.url)), Vec::<String>::new());
    // Not every server has it.
    if client.batch_execute("CREATE EXTENSION amcheck").is_ok() {
        assert_eq!(verified(snapshot(&database.url)), Vec::<String>::new());
    }
}

#[test]
fn an_index_that_an_administrator_has_added_is_not_called_damaged() {
    let database = Database::new();
    furnish(&database.open());
    let mut client = connect(&database.url);
    client
        .batch_execute(
            "CREATE INDEX added ON audit (account, operation, number); CREATE INDEX added_too ON record (kind, body);
            UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ('added'::regclass, 'added_too'::regclass)",
        )
        .unwrap();
    assert_eq!(verified(snapshot(&database.url)), Vec::<String>::new());
    // An index like ours, which the database may read instead.
    client
        .batch_execute("CREATE INDEX added_like_ours ON audit (account, user_number, number)")
        .unwrap();
    for line in verified(snapshot(&database.url)) {
        let expected = "index `audit_by_user` of table `audit` can't be compared";
        assert!(line.contains(expected), "{line}");
        assert!(!line.contains("REINDEX"), "{line}");
    }
    if client.batch_execute("CREATE EXTENSION amcheck").is_ok() {
        assert_eq!(verified(snapshot(&database.url)), Vec::<String>::new());
    }
}

/// Removes these entries from the index by time of the audit log.
const OUT_OF_THE_INDEX: [&str; 3] = [
    "CREATE TABLE kept AS SELECT * FROM audit WHERE account = 1 AND number IN (11, 12, 13);
    DELETE FROM audit WHERE account = 1 AND number IN (11, 12, 13);",
    "INSERT INTO audit SELECT * FROM kept",
    "DROP TABLE kept",
];

/// The new time is that of entry 10.
fn repair_is_refused(
    snapshot: Result<Snapshot, StoreError>,
    repair: impl FnOnce(TimeRepairOrder<'_>) -> Result<RepairedTime, StoreError>,
) {
    let latest = Timestamp::from_millis(1_700_000_000_010);
    let order = TimeRepairOrder {
        latest,
        batch: NonZeroU64::MIN,
        written: &mut |_| Ok(()),
    };
    let planned = snapshot.unwrap().plan_time_repair(AccountId(1), latest);
    for refused in [planned, repair(order)] {
        let refused = refused.unwrap_err().to_string();
        // The database may look up a single entry by the damaged index as well.
        let is_named = [
            "an index of table `audit` leads to other entries of account 1",
            "audit entry 13 of account 1 is missing",
        ];
        let is_named = is_named.iter().any(|expected| refused.contains(expected));
        assert!(is_named, "{refused}");
    }
}

#[test]
fn a_time_is_not_repaired_by_an_index_that_lacks_audit_entries() {
    let database = Database::new();
    furnish(&database.open());
    let mut client = connect(&database.url);
    let [first, second, third] = OUT_OF_THE_INDEX;
    client.batch_execute(first).unwrap();
    without(&mut client, &["audit_by_time"], &[second.to_owned()]);
    client.batch_execute(third).unwrap();
    let url = format!(
        "{}?options=-cenable_seqscan%3Doff%20-cenable_bitmapscan%3Doff",
        database.url
    );
    let store = PostgresStore::open(&url).unwrap();
    repair_is_refused(snapshot(&url), |order| {
        store.repair_time(AccountId(1), order)
    });

    let directory = tempfile::tempdir().unwrap();
    furnish(&SqliteStore::open(directory.path()).unwrap());
    let path = directory.path().join(FILE);
    Connection::open(&path)
        .unwrap()
        .execute_batch(first)
        .unwrap();
    let audit = Table::new("audit", Vec::new(), Vec::new());
    without_indexes(&path, &audit, Some("audit_by_time"), |file| {
        file.execute_batch(second).unwrap();
        file.execute_batch(third).unwrap();
    });
    let store = SqliteStore::open(directory.path()).unwrap();
    repair_is_refused(SqliteStore::snapshot(directory.path()), |order| {
        store.repair_time(AccountId(1), order)
    });
}

/// Makes SQLite change rows of a table as if some of its indexes didn't exist: those with these names, or
/// all.
fn without_indexes(path: &Path, table: &Table, only: Option<&str>, work: impl FnOnce(&Connection)) {
    let open = || {
        let file = Connection::open(path).unwrap();
        file.execute_batch("PRAGMA writable_schema = ON").unwrap();
        file
    };
    let name = table.name;
    let file = open();
    let kept: Vec<Vec<Value>> = {
        let mut rows = file
            .prepare("SELECT * FROM sqlite_schema WHERE tbl_name = ?1 ORDER BY rowid")
            .unwrap();
        let rows = rows.query_map([name], |row| (0..5).map(|column| row.get(column)).collect());
        rows.unwrap().map(Result::unwrap).collect()
    };
    let plain = format!("CREATE TABLE {name} ({})", table.columns.join(", "));
    if let Some(index) = only {
        let sql = "DELETE FROM sqlite_schema WHERE type = 'index' AND name = ?1";
        assert_eq!(file.execute(sql, [index]).unwrap(), 1);
    } else {
        let sql = "DELETE FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?1";
        file.execute(sql, [name]).unwrap();
        let sql = "UPDATE sqlite_schema SET sql = ?1 WHERE type = 'table' AND name = ?2";
        file.execute(sql, [&plain, name]).unwrap();
    }
    drop(file);
    // Reads the schema again.
    work(&Connection::open(path).unwrap());
    let file = open();
    file.execute("DELETE FROM sqlite_schema WHERE tbl_name = ?1", [name])
        .unwrap();
    for row in kept {
        let sql = "INSERT INTO sqlite_schema VALUES (?1, ?2, ?3, ?4, ?5)";
        file.execute(sql, rusqlite::params_from_iter(row)).unwrap();
    }
}

/// Returns the description; `None` if nothing has changed.
fn damage_file(path: &Path, plan: &Plan<'_>) -> Option<String> {
    let Plan {
        table, row, other, ..
    } = plan;
    let name = table.name;
    let file = Connection::open(path).unwrap();
    let named: Vec<String> = {
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?1 AND sql IS NOT NULL ORDER BY 1";
        let mut rows = file.prepare(sql).unwrap();
        let rows = rows.query_map([name], |row| row.get(0));
        rows.unwrap().map(Result::unwrap).collect()
    };
    // A named one, or all: those of keys are part of the table.
    let only = named
        .get(plan.index % (named.len() + 1))
        .map(|index| &**index);
    if only.is_some_and(|index| plan.change != Change::LetIn && !concerns(index, plan)) {
        return None;
    }
    let place_of = |file: &Connection, row: &Vec<Value>| -> i64 {
        let columns = table.columns.iter().zip(1..);
        let conditions: Vec<String> = columns
            .map(|(column, place)| format!("{column} IS ?{place}"))
            .collect();
        let sql = format!(
            "SELECT rowid FROM {name} WHERE {}",
            conditions.join(" AND ")
        );
        let values = rusqlite::params_from_iter(row);
        file.query_row(&sql, values, |row| row.get(0)).unwrap()
    };
    let (one, two) = (place_of(&file, row), place_of(&file, other));
    let run = |file: &Connection, sql: &str| file.execute_batch(sql).unwrap();
    let put = |file: &Connection, place: i64, row: &Vec<Value>| {
        let places: Vec<String> = (1..=row.len()).map(|place| format!("?{place}")).collect();
        let sql = format!(
            "INSERT INTO {name} (rowid, {}) VALUES ({place}, {})",
            table.columns.join(", "),
            places.join(", ")
        );
        let put = file.execute(&sql, rusqlite::params_from_iter(row));
        assert_eq!(put.unwrap(), 1);
    };
    match plan.change {
        Change::Lacks => {
            run(&file, &format!("DELETE FROM {name} WHERE rowid = {one}"));
            drop(file);
            without_indexes(path, table, only, |file| put(file, one, row));
        }
        Change::LeadsNowhere => {
            drop(file);
            without_indexes(path, table, only, |file| {
                run(file, &format!("DELETE FROM {name} WHERE rowid = {one}"));
                put(file, 1 << 40, row);
            });
        }
        Change::Crossed => {
            drop(file);
            without_indexes(path, table, only, |file| {
                run(
                    file,
                    &format!("DELETE FROM {name} WHERE rowid IN ({one}, {two})"),
                );
                put(file, one, other);
                put(file, two, row);
            });
        }
        Change::LetIn => {
            drop(file);
            without_indexes(path, table, None, |file| put(file, 1 << 40, &plan.twin));
        }
    }
    Some(format!(
        "{} of {name}: {:?} of {row:?} and {other:?} or {:?}",
        only.unwrap_or("indexes"),
        plan.change,
        plan.twin
    ))
}

#[test]
fn an_index_of_a_file_that_disagrees_with_its_table_is_noticed_and_verify_names_it() {
    let (template, before) = super::sqlite::template();
    let now = super::sqlite::content(&Connection::open(template.path().join(FILE)).unwrap());
    let right = super::sqlite::answers_of(copy_of(template.path()).path(), &[]);
    let (mut tally, mut seeds) = (Tally::default(), 0..);
    let count = count(100);
    while tally.damages < usize::try_from(count).unwrap() {
        let seed = seeds.next().unwrap();
        let plan = plan(&now, &before, &mut Chance(seed));
        if !is_possible(&plan) {
            continue;
        }
        let directory = copy_of(template.path());
        let Some(how) = damage_file(&directory.path().join(FILE), &plan) else {
            continue;
        };
        let how = format!("seed {seed}: {how}");
        let said = verified(bindery_store::sqlite::SqliteStore::snapshot(
            directory.path(),
        ));
        let answers = super::sqlite::answers_of(directory.path(), &right);
        tally.count(&how, &answers, &right, is_named(&said, &plan));
    }
    tally.close("SQLite, indexes", 1);
}

//! A SQLite file: its rows, its bytes, and the end of its write-ahead log.

use std::fs;
use std::path::Path;

use bindery_core::id::AccountId;
use bindery_store::sqlite::SqliteStore;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::*;

pub(super) const FILE: &str = "bindery.db";

pub(super) fn copy_of(template: &Path) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(template.join(FILE), directory.path().join(FILE)).unwrap();
    directory
}

/// A store with all kinds of content, and its earlier content.
pub(super) fn template() -> (tempfile::TempDir, Content) {
    let now = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(now.path()).unwrap();
    furnish(&store);
    drop(store);
    let before = content(&Connection::open(now.path().join(FILE)).unwrap());
    let store = SqliteStore::open(now.path()).unwrap();
    go_on(&store);
    (now, before)
}

pub(super) fn content(file: &Connection) -> Content {
    TABLES.iter().map(|name| table(file, name)).collect()
}

pub(super) fn table(file: &Connection, name: &'static str) -> Table {
    let mut select = file.prepare(&format!("SELECT * FROM {name}")).unwrap();
    let columns: Vec<String> = select.column_names().map(str::to_owned).collect();
    let count = columns.len();
    let rows = select.query_map([], |row| (0..count).map(|column| row.get(column)).collect());
    let rows = rows.unwrap().map(Result::unwrap).collect();
    Table::new(name, columns, rows)
}

/// Replaces the content of the table; false if the file does not accept it.
fn put(file: &mut Connection, old: &Table, new: &Table) -> bool {
    let transaction = file.transaction().unwrap();
    let conditions: Vec<String> = (old.columns.iter().zip(1..))
        .map(|(column, place)| format!("{column} IS ?{place}"))
        .collect();
    let places: Vec<String> = (1..=old.columns.len())
        .map(|place| format!("?{place}"))
        .collect();
    let delete = format!(
        "DELETE FROM {} WHERE {}",
        old.name,
        conditions.join(" AND ")
    );
    let insert = format!("INSERT INTO {} VALUES ({})", old.name, places.join(", "));
    for row in old.rows.iter().filter(|row| !new.rows.contains(row)) {
        let deleted = transaction.execute(&delete, rusqlite::params_from_iter(row));
        assert_eq!(deleted.unwrap(), 1);
    }
    let mut come = new.rows.iter().filter(|row| !old.rows.contains(row));
    let is_put = come.all(|row| {
        let inserted = transaction.execute(&insert, rusqlite::params_from_iter(row));
        inserted.is_ok()
    });
    if is_put {
        transaction.commit().unwrap();
    }
    is_put
}

/// The results of the store of a directory; all are refused if it can't be opened.
pub(super) fn answers_of(directory: &Path, right: &[Told]) -> Vec<Told> {
    match SqliteStore::open(directory) {
        Ok(store) => {
            let mut answers = answers(&store);
            answers.push(listed(&store));
            answers
        }
        Err(error) => {
            let refused = |(what, _): &Told| (*what, Err(error.to_string()));
            right.iter().map(refused).collect()
        }
    }
}

#[test]
fn a_damaged_row_of_a_file_is_refused_or_harmless_and_verify_names_it() {
    let (template, before) = template();
    let right = answers_of(copy_of(template.path()).path(), &[]);
    let now = content(&Connection::open(template.path().join(FILE)).unwrap());
    let (mut tally, mut seeds) = (Tally::default(), 0..);
    let count = count(200);
    while tally.damages < usize::try_from(count).unwrap() {
        let seed = seeds.next().unwrap();
        let damaged = damage(&now, &before, &mut Chance(seed));
        let old = now
            .iter()
            .find(|table| table.name == damaged.table.name)
            .unwrap();
        let directory = copy_of(template.path());
        let mut file = Connection::open(directory.path().join(FILE)).unwrap();
        if !put(&mut file, old, &damaged.table) || table(&file, old.name) == *old {
            continue;
        }
        drop(file);
        let how = format!("seed {seed}: {}", damaged.how);
        let said = verified(SqliteStore::snapshot(directory.path()));
        let is_named = check_named(&said, old, &damaged.table);
        let answers = answers_of(directory.path(), &right);
        tally.count(&how, &answers, &right, is_named);
    }
    let refused_min = tally.damages / 2;
    tally.close("SQLite, rows", refused_min);
}

#[test]
fn a_damaged_byte_of_a_file_is_refused_or_harmless() {
    let (template, _) = template();
    let right = answers_of(copy_of(template.path()).path(), &[]);
    let now = content(&Connection::open(template.path().join(FILE)).unwrap());
    let mut tally = Tally::default();
    for seed in 0..count(200) {
        let mut chance = Chance(seed);
        let directory = copy_of(template.path());
        let path = directory.path().join(FILE);
        let mut bytes = fs::read(&path).unwrap();
        let place = chance.below(bytes.len());
        let bit = chance.below(8);
        let how = if chance.below(8) == 0 {
            bytes[place..(place / 512 * 512 + 512)].fill(0);
            format!("seed {seed}: bytes from {place} are gone")
        } else {
            bytes[place] ^= 1 << bit;
            format!("seed {seed}: bit {bit} of byte {place} is another")
        };
        fs::write(&path, &bytes).unwrap();
        let said = verified(SqliteStore::snapshot(directory.path()));
        let answers = answers_of(directory.path(), &right);
        // Many bytes mean nothing.
        let is_said = !said.is_empty() || (answers == right && is_same(&path, &now));
        let is_named = is_said.then_some(()).ok_or_else(|| format!("{said:?}"));
        tally.count(&how, &answers, &right, is_named);
    }
    // Most bytes of so small a store are not in any row.
    tally.close("SQLite, bytes", 0);
}

/// Whether every row of a file can be read, and is unchanged.
fn is_same(path: &Path, now: &Content) -> bool {
    let Ok(file) = Connection::open(path) else {
        return false;
    };
    let rows = |name: &str| -> rusqlite::Result<Vec<Vec<Value>>> {
        let mut select = file.prepare(&format!("SELECT * FROM {name}"))?;
        let count = select.column_count();
        let rows =
            select.query_map([], |row| (0..count).map(|column| row.get(column)).collect())?;
        rows.collect()
    };
    now.iter().all(|table| {
        rows(table.name)
            .is_ok_and(|rows| Table::new(table.name, table.columns.clone(), rows) == *table)
    })
}

#[test]
fn a_write_ahead_log_that_loses_acknowledged_commits_is_refused() {
    let (now, _) = template();
    let store = SqliteStore::open(now.path()).unwrap();
    let wal = now.path().join("bindery.db-wal");
    let head = || store.load(AccountId(1)).unwrap().position();
    let log = store
        .changes_since(AccountId(1), Revision(9).into(), 100)
        .unwrap();
    for _ in 0..3 {
        let next = Entry {
            revision: head().revision.next(),
            ..log.last().unwrap().clone()
        };
        let appended = store.append(AccountId(1), head(), &mut |_| bindery_store::Batch {
            entries: vec![next.clone()],
            ..Default::default()
        });
        appended.unwrap();
    }
    // As after a crash.
    let whole = fs::read(&wal).unwrap();
    let crashed = |wal: &[u8]| {
        let directory = copy_of(now.path());
        fs::write(directory.path().join("bindery.db-wal"), wal).unwrap();
        let positions = "bindery.positions";
        fs::copy(now.path().join(positions), directory.path().join(positions)).unwrap();
        directory
    };
    let directory = crashed(&whole);
    let opened = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(opened.load(AccountId(1)).unwrap().position(), head());
    let mut refused = 0;
    for seed in 0..40 {
        let mut chance = Chance(seed);
        let mut damaged = whole.clone();
        let place = 32 + chance.below(damaged.len() - 32);
        if seed % 2 == 0 {
            damaged.truncate(place);
        } else {
            damaged[place] ^= 1 << chance.below(8);
        }
        let directory = crashed(&damaged);
        match SqliteStore::open(directory.path()) {
            Err(StoreError::RolledBack { account, known, .. }) => {
                assert_eq!((account, known), (AccountId(1), head().revision));
                refused += 1;
                // As an operator does to accept it.
                fs::remove_file(directory.path().join("bindery.positions")).unwrap();
                SqliteStore::open(directory.path()).unwrap();
            }
            Err(other) => unreachable!("seed {seed}: {other}"),
            Ok(store) => assert_eq!(store.load(AccountId(1)).unwrap().position(), head()),
        }
    }
    assert!(refused > 30, "{refused}");
}

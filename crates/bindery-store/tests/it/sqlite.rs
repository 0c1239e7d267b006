//! SQLite: the suite of all stores, and tests of its files.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bindery_conformance::{conformance, forgetting};
use bindery_core::id::Revision;
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_store::sqlite::SqliteStore;
use bindery_store::{Batch, Store as _, StoreError};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::entries::{ACCOUNT, TO_FORMAT_5, account, append_key, entry, owner_of_key};

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory for the test")
}

/// Opens a store, puts an account with a few organizations into it, and closes it.
fn filled(data_dir: &Path) -> State {
    let store = SqliteStore::open(data_dir).expect("a new store");
    fill(&store)
}

fn fill(store: &SqliteStore) -> State {
    store
        .create_account(&account())
        .expect("the number is free");
    let batch = Batch {
        entries: (1..=100).map(entry).collect(),
        audit: Vec::new(),
        ..Batch::default()
    };
    store
        .append(ACCOUNT, Revision(0).into(), &mut |_| batch.clone())
        .expect("it continues the log");
    store.load(ACCOUNT).expect("it is there")
}

fn refused(data_dir: &Path) -> StoreError {
    SqliteStore::open(data_dir).expect_err("it can't be opened")
}

/// Changes the closed store with SQL.
fn meddle(data_dir: &Path, sql: &str) {
    let connection = Connection::open(data_dir.join("bindery.db")).expect("a database");
    connection.execute_batch(sql).expect("SQL");
}

/// The bytes of a SQLite database that this SQL made.
fn database(sql: &str) -> Vec<u8> {
    let dir = directory();
    meddle(dir.path(), sql);
    fs::read(dir.path().join("bindery.db")).expect("a database")
}

/// Every file of the directory with its bytes.
fn contents(data_dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(data_dir).expect("a directory");
    files
        .map(|file| {
            let file = file.expect("a file");
            let name = file.file_name().to_string_lossy().into_owned();
            (name, fs::read(file.path()).unwrap_or_default())
        })
        .collect()
}

#[test]
fn sqlite_keeps_to_what_every_store_promises() {
    let parent = directory();
    let count = Cell::new(0);
    conformance(|| {
        count.set(count.get() + 1);
        SqliteStore::open(&parent.path().join(count.get().to_string())).unwrap()
    });
}

#[test]
fn sqlite_forgets_as_every_store_that_forgets() {
    let parent = directory();
    let count = Cell::new(0);
    forgetting(|| {
        count.set(count.get() + 1);
        SqliteStore::open(&parent.path().join(count.get().to_string())).unwrap()
    });
}

#[test]
fn a_format_without_bases_is_brought_up_to_date_with_what_is_in_it() {
    let dir = directory();
    let state = filled(dir.path());
    meddle(dir.path(), TO_FORMAT_5);
    meddle(
        dir.path(),
        "DROP TABLE base; DROP TABLE base_record; DROP TABLE base_issued;
        ALTER TABLE account DROP COLUMN batch;
        ALTER TABLE account RENAME COLUMN latest_audit TO audit_latest; PRAGMA user_version = 3",
    );
    let store = SqliteStore::open(dir.path()).unwrap();
    assert_eq!(store.load(ACCOUNT).unwrap(), state);
    let late = Timestamp::from_millis(i64::MAX);
    let forgotten = store.forget_log(ACCOUNT, Revision(60), late, 100);
    assert_eq!(forgotten.unwrap(), 60);
    assert_eq!(store.base(ACCOUNT).unwrap().revision(), Revision(60));
    assert_eq!(store.load(ACCOUNT).unwrap(), state);
}

#[test]
fn a_store_that_is_opened_again_has_the_same_state() {
    let dir = directory();
    let state = filled(dir.path());
    let store = SqliteStore::open(dir.path()).unwrap();
    assert_eq!(store.load(ACCOUNT).unwrap(), state);
    assert_eq!(store.accounts().unwrap(), [account()]);
    assert_eq!(
        store
            .changes_since(ACCOUNT, Revision(99).into(), 10)
            .unwrap(),
        [entry(100)]
    );
}

#[test]
fn a_store_whose_process_was_killed_has_the_same_state() {
    let dir = directory();
    let store = SqliteStore::open(dir.path()).unwrap();
    let state = fill(&store);
    let copy = directory();
    for name in ["bindery.db", "bindery.db-wal"] {
        fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let store = SqliteStore::open(copy.path()).unwrap();
    assert_eq!(store.load(ACCOUNT).unwrap(), state);
}

#[test]
fn a_panic_while_deciding_leaves_the_store_as_it_was() {
    let dir = directory();
    let store = SqliteStore::open(dir.path()).unwrap();
    let state = fill(&store);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let _ = store.append(ACCOUNT, Revision(100).into(), &mut |_| panic!("on purpose"));
        });
        assert!(writer.join().is_err());
    });
    let batch = Batch {
        entries: vec![entry(101)],
        audit: Vec::new(),
        ..Batch::default()
    };
    let newest = store.append(ACCOUNT, Revision(100).into(), &mut |_| batch.clone());
    assert_eq!(newest.unwrap(), Revision(101));
    assert_ne!(store.load(ACCOUNT).unwrap(), state);
}

#[test]
fn an_older_format_is_brought_up_to_date_with_what_is_in_it() {
    let dir = directory();
    filled(dir.path());
    append_key(&SqliteStore::open(dir.path()).unwrap(), 101);
    meddle(dir.path(), TO_FORMAT_5);
    meddle(
        dir.path(),
        "DROP TABLE secret; DROP INDEX record_of_person; DROP TABLE base; DROP TABLE base_record;
        DROP TABLE base_issued; ALTER TABLE account DROP COLUMN batch;
        ALTER TABLE account RENAME COLUMN latest_audit TO audit_latest; PRAGMA user_version = 2",
    );
    let store = SqliteStore::open(dir.path()).unwrap();
    assert_eq!(owner_of_key(&store), Some(Revision(101)));
    let last = store.changes_since(ACCOUNT, Revision(100).into(), 1);
    let last = last.unwrap().pop().unwrap().position();
    assert_eq!(store.heads().unwrap(), [(ACCOUNT, last)]);
    assert!(last.batch.is_some());
}

#[test]
fn a_secret_is_found_by_an_index_and_a_person_as_well() {
    let dir = directory();
    filled(dir.path());
    let connection = Connection::open(dir.path().join("bindery.db")).unwrap();
    for (sql, index) in [
        (
            "SELECT s.hash, a.id FROM secret AS s JOIN account AS a ON a.id = s.account
            WHERE s.hash IN (x'01', x'02')",
            "secret_by_hash",
        ),
        (
            "SELECT c.body FROM record AS p JOIN record AS c
                ON c.account = p.account AND c.kind = 14 AND c.number = p.number
            WHERE p.kind = 0 AND p.natural_key = 'ada@example.com'",
            "record_of_person",
        ),
    ] {
        let mut explain = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let steps = explain
            .query_map([], |row| row.get::<_, String>(3))
            .unwrap();
        let steps: Vec<String> = steps.map(Result::unwrap).collect();
        assert!(steps.iter().any(|step| step.contains(index)), "{steps:?}");
        let scans = steps.iter().any(|step| step.starts_with("SCAN"));
        assert!(!scans, "{steps:?}");
    }
}

#[test]
fn a_second_opener_gets_the_error_that_the_directory_is_in_use() {
    let dir = directory();
    let store = SqliteStore::open(dir.path()).unwrap();
    let error = refused(dir.path());
    assert!(
        matches!(&error, StoreError::InUse(path) if Path::new(path) == dir.path()),
        "{error}"
    );
    drop(store);
    SqliteStore::open(dir.path()).unwrap();
}

#[test]
fn a_newer_store_is_refused_and_left_as_it_is() {
    let dir = directory();
    filled(dir.path());
    meddle(dir.path(), "PRAGMA user_version = 99");
    let before = contents(dir.path());
    let error = refused(dir.path());
    assert!(
        matches!(
            error,
            StoreError::Newer {
                found: 99,
                known: 6,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(contents(dir.path()), before);
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        ["bindery.db", "bindery.lock", "bindery.positions"]
    );
}

#[test]
fn a_newer_format_is_noticed_while_it_is_in_the_wal() {
    let dir = directory();
    filled(dir.path());
    let newer = Connection::open(dir.path().join("bindery.db")).unwrap();
    newer.execute_batch("PRAGMA user_version = 99").unwrap();
    let copy = directory();
    for name in ["bindery.db", "bindery.db-wal"] {
        fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let error = refused(copy.path());
    assert!(
        matches!(
            error,
            StoreError::Newer {
                found: 99,
                known: 6,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn what_is_not_a_store_is_refused_with_the_reason_and_left_as_it_is() {
    let another = "PRAGMA application_id = 7; CREATE TABLE one (x);";
    let unnumbered = "PRAGMA application_id = 1114530930; CREATE TABLE one (x);";
    let cases = [
        ("it is empty", Vec::new()),
        ("it is not a SQLite database", vec![b'x'; 5000]),
        ("it is not a SQLite database", b"SQLite".to_vec()),
        ("it is cut short", b"SQLite format 3\0 and then".to_vec()),
        (
            "it is the database of another application",
            database(another),
        ),
        ("it names no format", database(unnumbered)),
    ];
    for (expected, bytes) in cases {
        let dir = directory();
        fs::write(dir.path().join("bindery.lock"), "").unwrap();
        fs::write(dir.path().join("bindery.db"), bytes).unwrap();
        let before = contents(dir.path());
        let error = refused(dir.path());
        assert!(
            matches!(&error, StoreError::Corrupt { why, .. } if why == expected),
            "{error}"
        );
        assert_eq!(contents(dir.path()), before, "{expected}");
    }
}

#[test]
fn a_directory_in_the_place_of_the_file_is_refused() {
    let dir = directory();
    fs::create_dir(dir.path().join("bindery.db")).unwrap();
    let error = refused(dir.path());
    assert!(
        matches!(&error, StoreError::Corrupt { why, .. } if why == "it is not a file"),
        "{error}"
    );
}

#[test]
fn a_store_cut_short_anywhere_is_refused() {
    let dir = directory();
    filled(dir.path());
    let whole = fs::read(dir.path().join("bindery.db")).unwrap();
    let end = whole.len();
    for length in [0, 1, 60, 99, 100, 1000, 4096, 5000, end / 2, end - 1] {
        let dir = directory();
        fs::write(dir.path().join("bindery.db"), &whole[..length]).unwrap();
        let error = refused(dir.path());
        assert!(
            matches!(error, StoreError::Corrupt { .. }),
            "{length} bytes: {error}"
        );
        let files = contents(dir.path());
        assert_eq!(files["bindery.db"], whole[..length], "{length} bytes");
        assert_eq!(
            files.keys().collect::<Vec<_>>(),
            ["bindery.db", "bindery.lock"]
        );
    }
}

#[test]
fn a_wal_without_its_database_is_not_taken_for_a_new_store() {
    let dir = directory();
    fs::write(dir.path().join("bindery.db-wal"), "whose?").unwrap();
    let error = refused(dir.path());
    assert!(
        matches!(&error, StoreError::Corrupt { why, .. } if why.contains("missing")),
        "{error}"
    );
}

#[test]
fn a_store_that_was_never_finished_is_made_again() {
    let dir = directory();
    fs::write(dir.path().join("bindery.db.new"), "half of").unwrap();
    filled(dir.path());
    assert_eq!(
        contents(dir.path()).keys().collect::<Vec<_>>(),
        ["bindery.db", "bindery.lock", "bindery.positions"]
    );
}

#[test]
fn damage_inside_is_refused_with_its_place() {
    for (sql, expected) in [
        (
            "UPDATE record SET body = x'ff' WHERE number = 64",
            "the row of organization 64 of account 1 in table `record` was altered",
        ),
        (
            "UPDATE record SET number = 640 WHERE number = 64",
            "the row of organization 640 of account 1 in table `record` was altered",
        ),
        (
            "UPDATE record SET body = 'text' WHERE number = 64",
            "Invalid type",
        ),
        (
            "UPDATE account SET body = x''",
            "the row of account 1 in table `account`",
        ),
        (
            "UPDATE account SET revision = -1",
            "the row of account 1 in table `account`",
        ),
        (
            "UPDATE issued SET kind = 99",
            "the row of kind 99 of account 1",
        ),
    ] {
        let dir = directory();
        filled(dir.path());
        meddle(dir.path(), sql);
        let error = SqliteStore::open(dir.path())
            .unwrap()
            .load(ACCOUNT)
            .unwrap_err();
        assert!(
            matches!(&error, StoreError::Corrupt { why, .. } if why.contains(expected)),
            "{sql}: {error}"
        );
    }
    for (sql, expected) in [
        (
            "DELETE FROM log WHERE revision = 64",
            "revision 64 is missing",
        ),
        (
            "UPDATE log SET body = x'00' WHERE revision = 64",
            "the row of revision 64 of account 1 in table `log` was altered",
        ),
    ] {
        let dir = directory();
        filled(dir.path());
        meddle(dir.path(), sql);
        let store = SqliteStore::open(dir.path()).unwrap();
        let error = store
            .changes_since(ACCOUNT, Revision(0).into(), 100)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{sql}: {error}");
        let appended = store.append(ACCOUNT, Revision(0).into(), &mut |_| Batch::default());
        let error = appended.unwrap_err().to_string();
        assert!(error.contains(expected), "{sql}: {error}");
    }
}

#[test]
fn nothing_is_appended_after_a_damaged_end_of_a_log() {
    let dir = directory();
    filled(dir.path());
    meddle(dir.path(), "DELETE FROM log WHERE revision > 64");
    let store = SqliteStore::open(dir.path()).unwrap();
    let appended = store.append(ACCOUNT, Revision(60).into(), &mut |_| Batch::default());
    let error = appended.unwrap_err().to_string();
    assert!(error.contains("revision 100 is missing"), "{error}");
}

#[test]
fn a_directory_that_can_not_be_written_is_named() {
    let dir = directory();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let lock_is_a_directory = dir.path().join("data");
    fs::create_dir_all(lock_is_a_directory.join("bindery.lock")).unwrap();
    for (data_dir, named) in [
        (file.join("data"), file.join("data")),
        (file.clone(), file),
        (
            lock_is_a_directory.clone(),
            lock_is_a_directory.join("bindery.lock"),
        ),
    ] {
        let error = refused(&data_dir);
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert!(
            error
                .to_string()
                .contains(&format!("`{}`", named.display())),
            "{error}"
        );
    }
}

#[cfg(unix)]
#[test]
fn no_other_user_can_read_what_is_made() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let parent = directory();
    let data_dir = parent.path().join("deep").join("data");
    let store = SqliteStore::open(&data_dir).unwrap();
    fill(&store);
    assert_eq!(mode(&data_dir), 0o700);
    for name in [
        "bindery.db",
        "bindery.db-wal",
        "bindery.db-shm",
        "bindery.lock",
    ] {
        assert_eq!(mode(&data_dir.join(name)), 0o600, "{name}");
    }
}

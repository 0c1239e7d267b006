//! Rows that are whole and still wrong: missing, out of date, or absent from an index. Each is refused, and
//! healthy ones are not. On both databases where both can have it.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use std::thread;

use bindery_core::api_key::SecretHash;
use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::change::{Change, LogPosition};
use bindery_core::id::{ApiKeyId, Revision, UserId};
use bindery_core::time::Timestamp;
use bindery_store::copy::Part;
use bindery_store::sqlite::SqliteStore;
use bindery_store::{AuditQuery, Batch, Store, StoreError};

use crate::copy::{Site, directory, everything, places};
use crate::entries::{ACCOUNT, account, append_key, entry, with};

fn append(store: &dyn Store, known: u64, batch: &Batch) {
    let known = if known == 0 {
        Revision(0).into()
    } else {
        store.load(ACCOUNT).unwrap().position()
    };
    let appended = store.append(ACCOUNT, known, &mut |_| batch.clone());
    appended.unwrap();
}

fn founded(place: &Site) -> Box<dyn Store> {
    let store = place.open().unwrap();
    store.create_account(&account()).unwrap();
    store
}

/// A read of a store that is refused, and why.
type Refused = fn(&dyn Store) -> String;

/// Describes the damage, or panics.
fn damage<T>(answer: Result<T, StoreError>) -> String {
    match answer.map(drop) {
        Err(StoreError::Corrupt { why, .. }) => why,
        other => unreachable!("no damage: {other:?}"),
    }
}

#[test]
fn key_uses_that_are_committed_meanwhile_are_no_damage() {
    for place in places() {
        let store = founded(&place);
        let other = matches!(place, Site::Database(_)).then(|| place.open().unwrap());
        let writer = other.as_deref().unwrap_or(&*store);
        thread::scope(|scope| {
            let writing = scope.spawn(|| {
                for at in 1..300 {
                    let uses = (1..20).map(|key| (ApiKeyId::new(key), Timestamp::from_millis(at)));
                    let batch = Batch {
                        uses: uses.collect(),
                        ..Batch::default()
                    };
                    append(writer, 0, &batch);
                }
            });
            while !writing.is_finished() {
                store.key_uses(ACCOUNT).unwrap();
            }
            writing.join().unwrap();
        });
    }
}

/// How many audit entries there are: more than a page checks one by one.
const AUDITED: i64 = 10_000;

/// User 2 makes one request in a thousand, and it is the only one of its operation.
fn audited() -> Batch {
    let audit = (1..=AUDITED).map(|number| AuditEntry {
        user: UserId::new(if number % 1000 == 0 { 2 } else { 1 }),
        address: "192.0.2.1".to_owned(),
        kind: AuditKind::Query,
        operation: if number % 1000 == 0 { "rare" } else { "often" }.to_owned(),
        text: None,
        variables: None,
        status: 200,
        problem: None,
        key: None,
        request: None,
        revision: None,
        at: Timestamp::from_millis(number),
    });
    Batch {
        audit: audit.collect(),
        ..Batch::default()
    }
}

/// Queries over the whole log, and over its beginning.
fn reaching_back() -> Vec<AuditQuery> {
    let by_user = AuditQuery {
        user: Some(UserId::new(2)),
        limit: 100,
        ..everything()
    };
    let by_operation = AuditQuery {
        operations: vec!["rare".to_owned()],
        limit: 100,
        ..everything()
    };
    let early = AuditQuery {
        to: Timestamp::from_millis(2_500),
        limit: 1_000,
        ..everything()
    };
    let late = AuditQuery {
        from: Timestamp::from_millis(2_000),
        operations: vec!["rare".to_owned()],
        limit: 100,
        ..everything()
    };
    vec![everything(), by_user, by_operation, early, late]
}

#[test]
fn an_audit_entry_missing_far_back_is_named_by_every_query_that_reaches_it() {
    for place in places() {
        let store = founded(&place);
        append(&*store, 0, &audited());
        for query in reaching_back() {
            store.audit(ACCOUNT, &query).unwrap();
        }
        place.meddle("DELETE FROM audit WHERE number = 2000");
        for query in reaching_back() {
            let why = damage(store.audit(ACCOUNT, &query));
            assert!(why.contains("audit entry 2000 of account 1"), "{why}");
        }
        // A page that doesn't reach it is returned.
        let page = AuditQuery {
            before: Some(2000),
            limit: 100,
            ..everything()
        };
        assert_eq!(store.audit(ACCOUNT, &page).unwrap().len(), 100);
    }
}

#[test]
fn a_copy_of_a_store_that_lacks_audit_entries_is_refused() {
    for missing in ["number = 1", "number = 5", "number = 10000", "TRUE"] {
        for place in places() {
            let store = founded(&place);
            append(&*store, 0, &audited());
            drop(store);
            place.meddle(&format!("DELETE FROM audit WHERE {missing}"));
            let copied = place
                .snapshot()
                .unwrap()
                .each(None, &mut |_| Ok::<_, StoreError>(()));
            let why = damage(copied);
            assert!(why.contains("audit"), "{missing}: {why}");
        }
    }
}

#[test]
fn an_audit_entry_missing_in_an_index_is_no_shorter_answer() {
    for (index, columns) in [
        ("audit_by_user", "account, user_number, number"),
        ("audit_by_time", "account, TIME, number"),
    ] {
        let place = directory();
        let store = founded(&place);
        append(&*store, 0, &audited());
        drop(store);
        // SQLite fills an index by its condition, and then has no entry for it.
        let Site::Directory(directory) = &place else {
            unreachable!("it is a directory");
        };
        let file = rusqlite::Connection::open(directory.path().join("bindery.db")).unwrap();
        let sql = format!("SELECT sql FROM sqlite_schema WHERE name = '{index}'");
        let made: String = file.query_row(&sql, [], |row| row.get(0)).unwrap();
        let time = made.split(", ").nth(1).unwrap();
        let columns = columns.replace("TIME", time);
        file.execute_batch(&format!(
            "DROP INDEX {index}; CREATE INDEX {index} ON audit ({columns}) WHERE number <> 2000;
            PRAGMA writable_schema = ON;
            UPDATE sqlite_schema SET sql = '{made}' WHERE name = '{index}';"
        ))
        .unwrap();
        drop(file);
        let store = place.open().unwrap();
        let query = match index {
            "audit_by_user" => reaching_back().remove(1),
            _ => reaching_back().remove(4),
        };
        let why = damage(store.audit(ACCOUNT, &query));
        assert!(why.contains("an index of table `audit`"), "{why}");
    }
}

fn is_of(part: &Part, table: &str) -> bool {
    format!("{part:?}").contains(&format!("name: \"{table}\""))
}

#[test]
fn a_copy_that_lacks_rows_is_no_store() {
    let parts = directory().furnished().parts();
    for place in places() {
        for (table, expected) in [
            ("record", "rows of account 1"),
            ("issued", "rows of account 1"),
            ("key_use", "rows of account 1"),
            ("base_record", "rows of the base of account 1"),
        ] {
            let mut import = place.import().unwrap();
            let first = parts.iter().position(|part| is_of(part, table)).unwrap();
            for (at, part) in parts.iter().enumerate() {
                if at != first {
                    import.take(part).unwrap();
                }
            }
            let why = damage(import.finish());
            assert!(why.contains(expected), "{table}: {why}");
        }
    }
}

#[test]
fn whatever_only_looks_refuses_a_store_that_is_behind_its_notes_as_well() {
    let place = directory();
    let store = founded(&place);
    append_key(&*store, 1);
    let Site::Directory(directory) = &place else {
        unreachable!("it is a directory");
    };
    let older = tempfile::tempdir().unwrap();
    drop(store);
    let name = |name: &str| directory.path().join(name);
    std::fs::copy(name("bindery.db"), older.path().join("bindery.db")).unwrap();
    append_key(&*place.open().unwrap(), 2);
    std::fs::copy(
        name("bindery.positions"),
        older.path().join("bindery.positions"),
    )
    .unwrap();
    assert_eq!(place.verify().unwrap().len(), 1);
    let looked = SqliteStore::snapshot(older.path());
    assert!(
        matches!(
            looked,
            Err(StoreError::RolledBack {
                known: Revision(2),
                found: Revision(1),
                ..
            })
        ),
        "{looked:?}"
    );
    std::fs::remove_file(older.path().join("bindery.positions")).unwrap();
    SqliteStore::snapshot(older.path()).unwrap();
}

#[test]
fn a_loss_of_audit_entries_alone_says_how_many() {
    let place = directory();
    let store = founded(&place);
    append_key(&*store, 1);
    let Site::Directory(directory) = &place else {
        unreachable!("it is a directory");
    };
    drop(store);
    let older = tempfile::tempdir().unwrap();
    let name = |name: &str| directory.path().join(name);
    std::fs::copy(name("bindery.db"), older.path().join("bindery.db")).unwrap();
    let batch = Batch {
        audit: audited().audit[..7].to_vec(),
        ..Batch::default()
    };
    append(&*place.open().unwrap(), 1, &batch);
    std::fs::copy(
        name("bindery.positions"),
        older.path().join("bindery.positions"),
    )
    .unwrap();
    let said = SqliteStore::open(older.path()).unwrap_err().to_string();
    assert!(said.contains("at audit entry 0"), "{said}");
    assert!(said.contains("at audit entry 7 before"), "{said}");
}

/// Keeps the row of the account, runs something, and restores the row.
fn with_a_stale_row(place: &Site, work: impl FnOnce()) {
    place.meddle("CREATE TABLE kept AS SELECT * FROM account");
    work();
    place.meddle("DELETE FROM account; INSERT INTO account SELECT * FROM kept; DROP TABLE kept");
    if let Site::Directory(directory) = place {
        // The positions would show it as well.
        std::fs::remove_file(directory.path().join("bindery.positions")).unwrap();
    }
}

#[test]
fn an_account_whose_row_is_behind_its_log_is_not_loaded() {
    for place in places() {
        let store = founded(&place);
        append_key(&*store, 1);
        with_a_stale_row(&place, || {
            // This leaves the sum of the records unchanged.
            let renamed = Change::PutAccount(bindery_core::place::Account {
                name: bindery_core::text::Name::parse("renamed").unwrap(),
                ..account()
            });
            let batch = Batch {
                entries: vec![with(entry(2), vec![renamed])],
                ..Batch::default()
            };
            append(&*store, 1, &batch);
        });
        let why = damage(store.load(ACCOUNT));
        assert!(
            why.contains("the row of account 1 in table `account` is out of date"),
            "{why}"
        );
        let named = place.verify().unwrap_err();
        assert!(named.contains("is out of date"), "{named}");
    }
}

#[test]
fn an_audit_log_that_goes_on_after_what_the_account_says_is_refused() {
    for place in places() {
        let store = founded(&place);
        append_key(&*store, 1);
        with_a_stale_row(&place, || {
            let batch = Batch {
                audit: audited().audit[..7].to_vec(),
                ..Batch::default()
            };
            append(&*store, 1, &batch);
        });
        let why = damage(store.audit(ACCOUNT, &everything()));
        assert!(why.contains("is out of date"), "{why}");
    }
}

#[test]
fn an_account_whose_row_is_missing_is_damaged_and_never_created_again() {
    for place in places() {
        let store = founded(&place);
        append_key(&*store, 1);
        place.meddle("DELETE FROM account");
        let why = damage(store.create_account(&account()));
        let missing = "the row of account 1 is missing from table `account`";
        assert!(why.contains(missing), "{why}");
        assert_eq!(store.heads().unwrap(), []);
        let why = damage(store.load(ACCOUNT));
        assert!(why.contains(missing), "{why}");
        // Its keys still lead to it, so that their requests report the damage, and not an unknown key.
        let owners = store.owners(&[SecretHash([9; 32])]).unwrap();
        assert_eq!(owners[0].map(|owner| owner.account), Some(ACCOUNT));
        // A copy without it is not a copy of everything.
        let mut snapshot = place.snapshot().unwrap();
        let why = damage(snapshot.each(None, &mut |_| Ok::<_, StoreError>(())));
        assert!(why.contains(missing), "{why}");
    }
}

#[test]
fn audit_entries_are_forgotten_together_with_the_note_of_it() {
    for place in places() {
        let store = founded(&place);
        let batch = Batch {
            audit: audited().audit[..7].to_vec(),
            ..Batch::default()
        };
        append(&*store, 0, &batch);
        place.meddle(match place {
            Site::Directory(_) => {
                "CREATE TRIGGER keep BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'kept'); END"
            }
            Site::Database(_) => {
                "CREATE FUNCTION keep() RETURNS TRIGGER AS 'BEGIN RAISE EXCEPTION ''kept''; END' LANGUAGE plpgsql;
                CREATE TRIGGER keep BEFORE DELETE ON audit FOR EACH ROW EXECUTE FUNCTION keep()"
            }
        });
        let late = Timestamp::from_millis(4);
        let refused = store.forget_audit(ACCOUNT, late, 100);
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(place.verify().unwrap()[0].audit, 7);
        place.meddle(match place {
            Site::Directory(_) => "DROP TRIGGER keep",
            Site::Database(_) => "DROP TRIGGER keep ON audit",
        });
        assert_eq!(store.forget_audit(ACCOUNT, late, 100).unwrap(), 3);
        assert_eq!(place.verify().unwrap()[0].audit, 4);
    }
}

#[test]
fn a_forgotten_audit_entry_that_is_back_is_damage() {
    for place in places() {
        let store = founded(&place);
        let batch = Batch {
            audit: audited().audit[..7].to_vec(),
            ..Batch::default()
        };
        append(&*store, 0, &batch);
        place.meddle("CREATE TABLE kept AS SELECT * FROM audit WHERE number = 3");
        let late = Timestamp::from_millis(4);
        assert_eq!(store.forget_audit(ACCOUNT, late, 100).unwrap(), 3);
        assert_eq!(store.audit(ACCOUNT, &everything()).unwrap().len(), 4);
        place.meddle("INSERT INTO audit SELECT * FROM kept");
        let why = damage(store.audit(ACCOUNT, &everything()));
        assert!(
            why.contains("begins with entry 3 and should begin with entry 4"),
            "{why}"
        );
        let named = place.verify().unwrap_err();
        assert!(named.contains("begins with entry 3"), "{named}");
    }
}

#[test]
fn a_base_that_should_not_be_there_is_no_place_to_go_on_from() {
    for place in places() {
        let store = founded(&place);
        append_key(&*store, 1);
        place.meddle(
            "INSERT INTO base (account, revision, batch, newest_change, content, checksum, body)
            SELECT id, 9, 9, 0, 0, 0, body FROM account",
        );
        damage(store.changes_since(ACCOUNT, Revision(9).into(), 10));
    }
}

#[test]
fn a_damaged_log_row_is_damage_also_where_a_node_goes_on_from() {
    for place in places() {
        let store = founded(&place);
        append_key(&*store, 1);
        append_key(&*store, 2);
        append_key(&*store, 3);
        let log = store
            .changes_since(ACCOUNT, Revision(1).into(), 10)
            .unwrap();
        let known: LogPosition = log[0].position();
        place.meddle("UPDATE log SET checksum = 1 WHERE revision = 2");
        let why = damage(store.changes_since(ACCOUNT, known, 10));
        assert!(why.contains("the row of revision 2 of account 1"), "{why}");
    }
}

#[test]
fn a_column_of_another_type_is_named_with_its_row() {
    for (sql, row) in [
        (
            "UPDATE record SET body = 'text' WHERE account = 1 AND kind = 1 AND number = 65",
            "the row of role 65 of account 1 in table `record`",
        ),
        (
            "UPDATE record SET checksum = 'text' WHERE account = 1 AND kind = 1 AND number = 65",
            "the row of role 65 of account 1 in table `record`",
        ),
        (
            "UPDATE issued SET number = 'text' WHERE account = 1 AND kind = 3",
            "the row of kind 3 of account 1 in table `issued`",
        ),
        (
            "UPDATE account SET body = 'text' WHERE id = 1",
            "the row of account 1 in table `account`",
        ),
        (
            "UPDATE secret SET hash = 'text' WHERE rowid =
                (SELECT MIN(rowid) FROM secret WHERE account = 1 AND kind = 6 AND number = 1)",
            "the row of API key 1 of account 1 in table `secret`",
        ),
    ] {
        let place = directory().furnished();
        place.meddle(sql);
        let store = place.open().unwrap();
        let why = damage(store.load(ACCOUNT));
        assert!(why.contains(row), "{sql}: {why}");
        let named = place.verify().unwrap_err();
        // `verify` names tables of numbers by their first column.
        let row = row.replace("row of kind", "row with kind");
        assert!(named.contains(&row), "{sql}: {named}");
    }
    let others: [(&str, &str, Refused); 4] = [
        (
            "UPDATE audit SET status = 'text' WHERE account = 1 AND number = 20",
            "the row of audit entry 20 of account 1 in table `audit`",
            |store| damage(store.audit(ACCOUNT, &everything())),
        ),
        (
            "UPDATE key_use SET at = 'text' WHERE account = 1 AND key_number = 1",
            "the row of API key 1 of account 1 in table `key_use`",
            |store| damage(store.key_uses(ACCOUNT)),
        ),
        (
            "UPDATE log SET body = 'text' WHERE account = 1 AND revision = 8",
            "the row of revision 8 of account 1 in table `log`",
            |store| damage(store.changes_since(ACCOUNT, Revision(6).into(), 10)),
        ),
        (
            "UPDATE base SET newest_change = 'text' WHERE account = 1",
            "the row of account 1 in table `base`",
            |store| damage(store.base(ACCOUNT)),
        ),
    ];
    for (sql, row, read) in others {
        let place = directory().furnished();
        place.meddle(sql);
        let why = read(&*place.open().unwrap());
        assert!(why.contains(row), "{sql}: {why}");
    }
}

#[test]
fn damage_that_was_found_is_said_even_if_a_later_look_fails() {
    let place = directory().furnished();
    place.meddle(
        "UPDATE record SET body = X'00' WHERE account = 1 AND kind = 1 AND number = 65; DROP TABLE key_use",
    );
    let named = place.verify().unwrap_err();
    assert!(named.contains("the row of role 65 of account 1"), "{named}");
    assert!(named.contains("key_use"), "{named}");
}

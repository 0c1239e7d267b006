//! A store of format 5, as the code of commit f7a5747 made it, is migrated to format 6 and has the same
//! content.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use bindery_core::change::{Change, Entry};
use bindery_core::credential::{Credential, KnownTo, PasswordHash};
use bindery_core::given::Giver;
use bindery_core::id::{AccountId, ApiKeyId, Revision, UserId};
use bindery_core::role::AccountRole;
use bindery_core::text::{Email, Name};
use bindery_core::time::Timestamp;
use bindery_core::user::{Identity, Standing, User};
use bindery_store::copy::{Backup, BackupError, Import, Part, Snapshot};
use bindery_store::postgres::PostgresStore;
use bindery_store::sqlite::SqliteStore;
use bindery_store::{Store, StoreError};
use minicbor::Encode;
use rusqlite::Connection;

use crate::copy::everything;
use crate::postgres::Database;

use self::version_1::backup_of;

mod version_1;

/// The entries of its first account; the second has the first ten of them, with other keys.
const ENTRIES: &str = include_str!("../../../bindery-core/tests/golden/format-5.hex");
const SQLITE: &[u8] = include_bytes!("../fixtures/format-5.db");
const POSTGRES: &str = include_str!("../fixtures/format-5.sql");

fn entries() -> Vec<Entry> {
    let bytes = |line: &str| -> Vec<u8> {
        let digits = line.as_bytes().chunks(2);
        let digit = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.map(digit).collect()
    };
    let lines = ENTRIES.lines();
    lines
        .map(|line| Entry::decode(&bytes(line)).unwrap())
        .collect()
}

/// Reads everything of the fixture, and checks that appends continue.
fn assert_same(store: &dyn Store, snapshot: impl Fn() -> Snapshot) {
    let entries = entries();
    let account = AccountId(1);
    let base = store.base(account).unwrap();
    assert_eq!(base.revision(), Revision(9));
    let log = store
        .changes_since(account, base.position(), usize::MAX)
        .unwrap();
    assert_eq!(log, entries[9..]);
    let state = store.load(account).unwrap();
    let mut made = base;
    for entry in &log {
        made.advance(entry);
    }
    assert!(state == made, "{:?}", state.difference(&made));
    // A role from before the truncated log has an unknown giver; one in the log has the user of its entry.
    let record = |change: &Change| state.record(change.key()).unwrap();
    let early = &entries[7].changes[0];
    let late = &entries[17].changes[2];
    let giver = |change: Change| match change {
        Change::PutRoleBinding(binding) => binding.given_by,
        Change::PutOrganizationMembership(membership) => membership.given_by,
        other => unreachable!("{other:?}"),
    };
    assert_eq!(giver(record(early)), Giver::UNKNOWN);
    assert_eq!(giver(record(late)), Giver::by(Some(UserId::new(1))));
    assert_eq!(giver(record(&entries[18].changes[0])), Giver::OPERATOR);

    let audit = store.audit(account, &everything()).unwrap();
    let numbers: Vec<u64> = audit.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (2..=19).rev().collect::<Vec<_>>());
    assert!(
        audit
            .iter()
            .all(|(_, one)| one.request.is_none() && one.revision.is_none())
    );
    assert_eq!(store.key_uses(account).unwrap().len(), 1);
    let Change::PutApiKey(key) = &entries[0].changes[1] else {
        unreachable!("the first entry puts a key");
    };
    let owner = store.owners(&[key.secret.hash]).unwrap()[0].unwrap();
    assert_eq!((owner.account, owner.revision), (account, Revision(19)));

    assert_clean(snapshot());
    let mut next = entries[18].clone();
    next.revision = Revision(20);
    let batch = || bindery_store::Batch {
        entries: vec![next.clone()],
        ..Default::default()
    };
    let appended = store.append(account, state.position(), &mut |_| batch());
    assert_eq!(appended.unwrap(), Revision(20));
    let forgotten = store.forget_log(account, Revision(18), next.at.just_after(), usize::MAX);
    assert_eq!(forgotten.unwrap(), 9);
    store.load(account).unwrap();
    store.base(account).unwrap();
    assert_clean(snapshot());
}

fn assert_clean(mut snapshot: Snapshot) {
    let report = snapshot.verify(&mut |_| ()).unwrap();
    assert_eq!(report.damaged, []);
    assert_eq!(report.verified.len(), 2);
}

#[test]
fn a_file_of_format_5_says_the_same_in_format_6() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("bindery.db"), SQLITE).unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    assert_same(&store, || SqliteStore::snapshot(directory.path()).unwrap());
    drop(store);
    let again = SqliteStore::open(directory.path()).unwrap();
    again.load(AccountId(1)).unwrap();
    again.load(AccountId(2)).unwrap();
}

#[test]
fn a_database_of_format_5_says_the_same_in_format_6() {
    let database = Database::new();
    database.run(POSTGRES);
    let store = PostgresStore::open(&database.url).unwrap();
    assert_same(&store, || PostgresStore::snapshot(&database.url).unwrap());
}

/// An entry as the code of commit f7a5747 wrote it.
#[derive(Encode)]
struct EntryOfFormat5 {
    #[n(0)]
    revision: Revision,
    #[n(1)]
    at: Timestamp,
    #[n(2)]
    by: Option<UserId>,
    #[n(3)]
    key: Option<ApiKeyId>,
    #[n(4)]
    operation: &'static str,
    #[n(5)]
    batch: u64,
    #[n(6)]
    changes: Vec<Change>,
}

const INVITED: UserId = UserId::new(4);
const INVITER: UserId = UserId::new(2);

/// Puts more entries into the fixture: grace, a member, invites a user with a temporary password, which is
/// then used. In between, this many entries have no effect on that.
fn invite_with_temporary_password(between: u64, blob: impl Fn(&[u8]) -> String) -> String {
    let at = Timestamp::from_millis(1_700_000_000_020);
    let user = |standing| {
        Change::PutUser(User {
            id: INVITED,
            name: Name::parse("Boss").unwrap(),
            identity: Identity::Human {
                email: Email::parse("boss@example.com").unwrap(),
            },
            account_role: AccountRole::Member,
            is_developer: true,
            standing,
            created_at: at,
            address_released_at: None,
        })
    };
    let credential = |password: &str| {
        Change::PutCredential(Credential {
            user: INVITED,
            password: Some(PasswordHash::new(password.to_owned())),
            link: None,
            known_to: KnownTo::Unrecorded,
        })
    };
    let until = at.plus_seconds(9);
    let steps = [
        (
            "create_user",
            INVITER,
            user(Standing::Invited { until }),
            credential("temporary"),
        ),
        (
            "sign_in",
            INVITED,
            user(Standing::Active),
            credential("chosen"),
        ),
    ];
    let entry = |revision, operation, by, changes| {
        let entry = EntryOfFormat5 {
            revision: Revision(revision),
            at,
            by: Some(by),
            key: None,
            operation,
            batch: revision,
            changes,
        };
        blob(&minicbor::to_vec(&entry).unwrap())
    };
    let mut sql = String::new();
    for revision in 21..21 + between {
        let changes = vec![user(Standing::Invited { until })];
        let entry = entry(revision, "update_user", INVITER, changes);
        let _ = write!(
            sql,
            "INSERT INTO log (account, revision, body) VALUES (1, {revision}, {entry});"
        );
    }
    for (revision, (operation, by, user, credential)) in [20, 21 + between].into_iter().zip(steps) {
        let changes = vec![user.clone(), credential.clone()];
        let entry = entry(revision, operation, by, changes);
        let (user, credential) = (blob(&user.encode()), blob(&credential.encode()));
        let _ = write!(
            sql,
            "DELETE FROM record WHERE account = 1 AND number = 4 AND kind IN (0, 14);
            INSERT INTO record (account, kind, number, natural_key, body) VALUES
                (1, 0, 4, 'boss@example.com', {user}), (1, 14, 4, NULL, {credential});
            INSERT INTO log (account, revision, body) VALUES (1, {revision}, {entry});
            UPDATE account SET revision = {revision}, batch = {revision}, latest = {} WHERE id = 1;
            UPDATE issued SET number = 4 WHERE account = 1 AND kind IN (0, 14);",
            at.as_millis()
        );
    }
    sql
}

fn assert_known(store: &dyn Store, snapshot: Snapshot) {
    let account = AccountId(1);
    let state = store.load(account).unwrap();
    let known_to = &state.credential(INVITED).unwrap().known_to;
    assert_eq!(known_to, &KnownTo::Users(vec![INVITER]));
    let base = store.base(account).unwrap();
    let log = store
        .changes_since(account, base.position(), usize::MAX)
        .unwrap();
    let mut made = base;
    for entry in &log {
        made.advance(entry);
    }
    assert!(state == made, "{:?}", state.difference(&made));
    assert_clean(snapshot);
}

/// More entries than are read at once.
const MANY_ENTRIES: u64 = 1_100;

#[test]
fn on_the_way_to_format_6_the_log_tells_who_may_know_a_password() {
    for between in [0, MANY_ENTRIES] {
        let directory = tempfile::tempdir().unwrap();
        drop(file_with_temporary_password(directory.path(), between));
        let store = SqliteStore::open(directory.path()).unwrap();
        assert_known(&store, SqliteStore::snapshot(directory.path()).unwrap());

        let database = Database::new();
        database.run(POSTGRES);
        let blob = |bytes: &[u8]| format!("'\\x{}'::bytea", hex(bytes));
        database.run(&invite_with_temporary_password(between, blob));
        let store = PostgresStore::open(&database.url).unwrap();
        assert_known(&store, PostgresStore::snapshot(&database.url).unwrap());
    }
}

#[test]
fn the_log_of_a_backup_of_version_1_tells_who_may_know_a_password() {
    for between in [0, MANY_ENTRIES] {
        let files = tempfile::tempdir().unwrap();
        let backup = backup_of(&file_with_temporary_password(files.path(), between));
        let directory = tempfile::tempdir().unwrap();
        restore(&backup, || SqliteStore::import(directory.path()).unwrap()).unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        assert_known(&store, SqliteStore::snapshot(directory.path()).unwrap());

        let database = Database::new();
        restore(&backup, || PostgresStore::import(&database.url).unwrap()).unwrap();
        let store = PostgresStore::open(&database.url).unwrap();
        assert_known(&store, PostgresStore::snapshot(&database.url).unwrap());
    }
}

fn file_with_temporary_password(directory: &Path, between: u64) -> Connection {
    let file = file_of_format_5(directory);
    let blob = |bytes: &[u8]| format!("x'{}'", hex(bytes));
    let sql = invite_with_temporary_password(between, blob);
    file.execute_batch(&format!("BEGIN; {sql} COMMIT;"))
        .unwrap();
    file
}

fn file_of_format_5(directory: &Path) -> Connection {
    let path = directory.join("bindery.db");
    fs::write(&path, SQLITE).unwrap();
    Connection::open(path).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A backup of version 1 of the same store, as the code of commit f7a5747 made it.
const BACKUP: &[u8] = include_bytes!("../fixtures/format-5.backup");

/// Restores a backup into a new store, unless it is refused.
fn restore(bytes: &[u8], begin: impl FnOnce() -> Import) -> Result<(), BackupError> {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("backup");
    fs::write(&file, bytes).unwrap();
    let read = |take: &mut dyn FnMut(&Part) -> Result<(), StoreError>| {
        Backup::open(&file)?.each(&mut |part, _| Ok::<_, BackupError>(take(part)?))
    };
    read(&mut |_| Ok(()))?;
    let mut import = begin();
    read(&mut |part| import.take(part))?;
    Ok(import.finish()?)
}

#[test]
fn the_backups_that_these_tests_make_are_those_of_version_1() {
    let directory = tempfile::tempdir().unwrap();
    assert!(backup_of(&file_of_format_5(directory.path())) == BACKUP);
}

#[test]
fn damage_that_a_backup_of_version_1_has_copied_makes_no_store() {
    for (sql, expected) in DAMAGE {
        // The batch of a revision is not part of a backup.
        if sql.contains("batch") {
            continue;
        }
        let files = tempfile::tempdir().unwrap();
        let file = file_of_format_5(files.path());
        assert_eq!(file.execute(sql, []).unwrap(), 1, "{sql}");
        let backup = backup_of(&file);
        let directory = tempfile::tempdir().unwrap();
        let refused = restore(&backup, || SqliteStore::import(directory.path()).unwrap());
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(expected), "{sql}: {refused}");
        assert!(SqliteStore::open(directory.path()).is_err(), "{sql}");

        let database = Database::new();
        let refused = restore(&backup, || PostgresStore::import(&database.url).unwrap());
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(expected), "{sql}: {refused}");
        assert!(PostgresStore::open(&database.url).is_err(), "{sql}");
    }
}

#[test]
fn a_backup_of_version_1_says_the_same_in_format_6_on_both_databases() {
    let directory = tempfile::tempdir().unwrap();
    restore(BACKUP, || SqliteStore::import(directory.path()).unwrap()).unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    assert_same(&store, || SqliteStore::snapshot(directory.path()).unwrap());
    let database = Database::new();
    restore(BACKUP, || PostgresStore::import(&database.url).unwrap()).unwrap();
    let store = PostgresStore::open(&database.url).unwrap();
    assert_same(&store, || PostgresStore::snapshot(&database.url).unwrap());
}

#[test]
fn a_backup_of_version_1_that_is_cut_or_altered_is_refused_before_anything_is_made() {
    let refused = |bytes: &[u8]| restore(bytes, || unreachable!("it is checked first")).is_err();
    for length in (0..BACKUP.len()).step_by(7) {
        assert!(refused(&BACKUP[..length]), "the first {length} bytes");
    }
    for place in (0..BACKUP.len()).step_by(5) {
        let mut bytes = BACKUP.to_vec();
        bytes[place] ^= 1 << (place % 8);
        assert!(refused(&bytes), "byte {place}");
    }
    let twice = [BACKUP, BACKUP].concat();
    assert!(refused(&twice));
}

#[test]
fn a_server_of_format_5_can_not_write_into_format_6() {
    // The first statements of each write in the code of commit f7a5747.
    let statements = [
        "SELECT revision, latest, audit_head, latest_audit, batch FROM account WHERE id = 1",
        "INSERT INTO account (id, revision, latest, audit_head, latest_audit, body) VALUES (9, 0, 0, 0, 0, '')",
        "SELECT revision, latest_change, body, batch FROM base WHERE account = 1",
        "DELETE FROM audit WHERE account = 1 AND number IN (
            SELECT number FROM audit WHERE account = 1 AND latest < 9 ORDER BY latest, number LIMIT 9)",
    ];
    let directory = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(directory.path()).unwrap());
    let file = rusqlite::Connection::open(directory.path().join("bindery.db")).unwrap();
    let database = Database::new();
    drop(PostgresStore::open(&database.url).unwrap());
    for sql in statements {
        assert!(file.prepare(sql).is_err(), "{sql}");
        assert!(!database.accepts(sql), "{sql}");
    }
}

/// Damage that a store of format 5 has already, and the expected message.
const DAMAGE: [(&str, &str); 16] = [
    (
        "DELETE FROM record WHERE account = 1 AND kind = 1 AND number = 64",
        "account 1: the log makes role 64, and the records don't have it",
    ),
    (
        "UPDATE record SET body = (SELECT body FROM record AS other WHERE other.account = 1 AND other.kind = 1 AND other.number = 65)
        WHERE account = 1 AND kind = 1 AND number = 64",
        "account 1: role 64 holds something else",
    ),
    (
        "UPDATE record SET natural_key = 'other' WHERE account = 1 AND kind = 1 AND number = 64",
        "account 1: the records have role 64 otherwise than the log makes it",
    ),
    (
        "DELETE FROM log WHERE account = 1 AND revision = 12",
        "account 1: revision 12 is missing from the log",
    ),
    (
        "DELETE FROM log WHERE account = 1 AND revision = 19",
        "account 1: ",
    ),
    (
        "UPDATE issued SET number = number + 1 WHERE account = 2 AND kind = 3",
        "account 2: another number than the log gives is kept as the last of kind space",
    ),
    (
        "UPDATE account SET revision = 18 WHERE id = 1",
        "account 1: it is at revision 18, and its log ends at 19",
    ),
    (
        "UPDATE account SET body = (SELECT body FROM account AS other WHERE other.id = 1) WHERE id = 2",
        "account 2 holds something else",
    ),
    (
        "UPDATE account SET latest = latest - 1 WHERE id = 1",
        "account 1: column `latest` of its row in table `account` has",
    ),
    (
        "UPDATE account SET batch = batch + 1 WHERE id = 2",
        "account 2: column `batch` of its row in table `account` has",
    ),
    (
        "UPDATE base SET latest_change = latest_change + 1000000 WHERE account = 1",
        "account 1: revision 10 is of 1700000000010, and what is before it of",
    ),
    (
        "UPDATE account SET audit_head = audit_head - 1 WHERE id = 1",
        "account 1: column `audit_head` of its row in table `account` has 18, and its logs end with 19",
    ),
    (
        "DELETE FROM audit WHERE account = 1 AND number = 19",
        "account 1: column `audit_head` of its row in table `account` has 19, and its logs end with 18",
    ),
    (
        "DELETE FROM audit WHERE account = 1 AND number = 9",
        "account 1: audit entry 9 is missing from table `audit`",
    ),
    (
        "UPDATE account SET latest_audit = latest_audit + 1 WHERE id = 1",
        "account 1: column `newest_audit` of its row in table `account` has",
    ),
    (
        "UPDATE audit SET latest = latest - 1 WHERE account = 1 AND number = 9",
        "account 1: audit entry 9 says that",
    ),
];

#[test]
fn damage_of_a_file_of_format_5_is_named_and_gets_no_checksum() {
    for (sql, expected) in DAMAGE {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bindery.db");
        fs::write(&path, SQLITE).unwrap();
        let file = rusqlite::Connection::open(&path).unwrap();
        assert_eq!(file.execute(sql, []).unwrap(), 1, "{sql}");
        let refused = SqliteStore::open(directory.path()).unwrap_err();
        assert!(refused.to_string().contains(expected), "{sql}: {refused}");
        let format = file.pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0));
        assert_eq!(format.unwrap(), 5);
    }
}

#[test]
fn damage_of_a_database_of_format_5_is_named_and_gets_no_checksum() {
    for (sql, expected) in DAMAGE {
        let database = Database::new();
        database.run(POSTGRES);
        database.run(sql);
        let refused = PostgresStore::open(&database.url).unwrap_err();
        assert!(refused.to_string().contains(expected), "{sql}: {refused}");
        // As a server of format 5 finds it.
        assert!(database.accepts("SELECT latest_audit FROM account"));
    }
}

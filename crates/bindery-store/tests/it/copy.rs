//! Whole stores: backups, what is made from them, and errors in either. Each on both databases.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use bindery_conformance::furnish;
use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::id::{AccountId, Revision, UserId};
use bindery_core::state::Difference;
use bindery_core::time::Timestamp;
use bindery_store::copy::{Backup, BackupError, BackupWriter, Import, Part, Snapshot, Verified};
use bindery_store::postgres::{OpenError, PostgresStore};
use bindery_store::sqlite::SqliteStore;
use bindery_store::{AuditQuery, Batch, FORMAT, RepairedTime, Store, StoreError, TimeRepairOrder};
use tempfile::TempDir;

use crate::entries::{ACCOUNT, account, entry, with};
use crate::postgres::Database;

/// Where a store is.
pub(crate) enum Site {
    Directory(TempDir),
    Database(Database),
}

/// An empty one of each kind.
pub(crate) fn places() -> [Site; 2] {
    [directory(), Site::Database(Database::new())]
}

pub(crate) fn directory() -> Site {
    Site::Directory(tempfile::tempdir().unwrap())
}

/// A description of the store's content.
fn reason(error: OpenError) -> StoreError {
    match error {
        OpenError::Store(error) => error,
        OpenError::Address(error) => unreachable!("{error}"),
    }
}

impl Site {
    pub(crate) fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        match self {
            Self::Directory(dir) => Ok(Box::new(SqliteStore::open(dir.path())?)),
            Self::Database(database) => {
                let opened = PostgresStore::open(&database.url).map_err(reason);
                Ok(Box::new(opened?))
            }
        }
    }

    pub(crate) fn repair_time(
        &self,
        account: AccountId,
        order: TimeRepairOrder<'_>,
    ) -> Result<RepairedTime, StoreError> {
        match self {
            Self::Directory(dir) => SqliteStore::open(dir.path())?.repair_time(account, order),
            Self::Database(database) => database.open().repair_time(account, order),
        }
    }

    pub(crate) fn furnished(self) -> Self {
        furnish(&*self.open().unwrap());
        self
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        match self {
            Self::Directory(dir) => SqliteStore::snapshot(dir.path()),
            Self::Database(database) => PostgresStore::snapshot(&database.url).map_err(reason),
        }
    }

    pub(crate) fn import(&self) -> Result<Import, StoreError> {
        match self {
            Self::Directory(dir) => SqliteStore::import(dir.path()),
            Self::Database(database) => PostgresStore::import(&database.url).map_err(reason),
        }
    }

    /// Changes the stored data with SQL.
    pub(crate) fn meddle(&self, sql: &str) {
        match self {
            Self::Directory(dir) => {
                let file = dir.path().join("bindery.db");
                let connection = rusqlite::Connection::open(file).unwrap();
                connection.execute_batch(sql).unwrap();
            }
            Self::Database(database) => database.run(sql),
        }
    }

    pub(crate) fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut snapshot = self.snapshot().unwrap();
        let told = snapshot.each(None, &mut |part| {
            parts.push(part.clone());
            Ok::<_, StoreError>(())
        });
        told.unwrap();
        parts
    }

    pub(crate) fn fill(&self, parts: &[Part]) {
        let mut import = self.import().unwrap();
        for part in parts {
            import.take(part).unwrap();
        }
        import.finish().unwrap();
    }

    pub(crate) fn verify(&self) -> Result<Vec<Verified>, String> {
        let report = self.snapshot().unwrap().verify(&mut |_| ()).unwrap();
        let damaged: Vec<String> = report.damaged.iter().map(ToString::to_string).collect();
        if damaged.is_empty() {
            Ok(report.verified)
        } else {
            Err(damaged.join("; "))
        }
    }

    pub(crate) fn back_up(&self, to: &Path) {
        let mut writer = BackupWriter::create(to).unwrap();
        let mut snapshot = self.snapshot().unwrap();
        let told = snapshot.each(None, &mut |part| writer.take(part));
        told.unwrap();
        writer.finish().unwrap();
    }
}

/// Reads a whole backup.
fn read(file: &Path) -> Result<Vec<Part>, BackupError> {
    let mut parts = Vec::new();
    Backup::open(file)?.each(&mut |part, _| {
        parts.push(part.clone());
        Ok::<_, BackupError>(())
    })?;
    Ok(parts)
}

pub(crate) fn everything() -> AuditQuery {
    AuditQuery {
        from: Timestamp::from_millis(i64::MIN),
        to: Timestamp::from_millis(i64::MAX),
        user: None,
        operations: Vec::new(),
        kind: None,
        before: None,
        limit: usize::MAX,
    }
}

pub(crate) fn assert_same(one: &dyn Store, other: &dyn Store) {
    assert_eq!(one.accounts().unwrap(), other.accounts().unwrap());
    assert_eq!(one.heads().unwrap(), other.heads().unwrap());
    for (account, head) in one.heads().unwrap() {
        let (state, base) = (one.load(account).unwrap(), one.base(account).unwrap());
        assert_eq!(state, other.load(account).unwrap());
        // The batch of its revision was in a truncated entry, and is not part of a copy.
        let difference = other.base(account).unwrap().difference(&base);
        assert!(
            matches!(difference, None | Some(Difference::Batch)),
            "{difference:?}"
        );
        assert_eq!(state.position(), head);
        let log = |store: &dyn Store| store.changes_since(account, base.position(), usize::MAX);
        assert_eq!(log(one).unwrap(), log(other).unwrap());
        let audit = |store: &dyn Store| store.audit(account, &everything()).unwrap();
        assert_eq!(audit(one), audit(other));
        assert_eq!(
            one.key_uses(account).unwrap(),
            other.key_uses(account).unwrap()
        );
    }
}

#[test]
fn what_goes_from_database_to_database_and_back_stays_the_same_to_the_byte() {
    let files = tempfile::tempdir().unwrap();
    let [first, second] = places();
    let third = directory();
    let first = first.furnished();
    let mut backups = Vec::new();
    for (number, from, to) in [
        (1, &first, Some(&second)),
        (2, &second, Some(&third)),
        (3, &third, None),
    ] {
        let file = files.path().join(number.to_string());
        from.back_up(&file);
        backups.push(fs::read(&file).unwrap());
        if let Some(to) = to {
            to.fill(&read(&file).unwrap());
            assert_same(&*from.open().unwrap(), &*to.open().unwrap());
        }
    }
    assert!(backups[0] == backups[1] && backups[1] == backups[2]);
    let revisions = |place: &Site| -> Vec<(u64, u64)> {
        let verified = place.verify().unwrap();
        let told = verified.iter();
        told.map(|one| (one.base.0, one.revision.0)).collect()
    };
    for place in [first, second, third] {
        assert_eq!(revisions(&place), [(6, 15), (0, 1)]);
        // It is a store like any other.
        let store = place.open().unwrap();
        let batch = Batch {
            entries: vec![entry(2)],
            ..Batch::default()
        };
        let second = AccountId(2);
        let appended = store.append(second, Revision(1).into(), &mut |_| batch.clone());
        assert_eq!(appended.unwrap(), Revision(2));
    }
}

#[test]
fn a_byte_of_a_backup_that_is_another_is_noticed_wherever_it_is() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("backup");
    directory().furnished().back_up(&file);
    let whole = fs::read(&file).unwrap();
    let parts = read(&file).unwrap().len();
    assert!(parts > 10, "{parts}");
    for (at, _) in whole.iter().enumerate() {
        for flipped in [1 << (at % 8), 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flipped;
            fs::write(&file, &bytes).unwrap();
            assert!(read(&file).is_err(), "byte {at} of {}", whole.len());
        }
    }
    fs::write(&file, &whole).unwrap();
    assert_eq!(read(&file).unwrap().len(), parts);
}

#[test]
fn a_backup_without_its_end_or_with_a_piece_missing_or_added_is_refused() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("backup");
    directory().furnished().back_up(&file);
    let whole = fs::read(&file).unwrap();
    for length in 0..whole.len() {
        fs::write(&file, &whole[..length]).unwrap();
        assert!(read(&file).is_err(), "the first {length} bytes");
    }
    // Frames that are whole, but in the wrong place.
    let mut ends = vec![20];
    while let Some(head) = whole[ends[ends.len() - 1]..].first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        ends.push(ends[ends.len() - 1] + 5 + usize::try_from(length).unwrap() + 8);
        if head[0] == 0 {
            break;
        }
    }
    assert_eq!(ends[ends.len() - 1] + 32, whole.len());
    for frame in ends.windows(2) {
        let (before, one, after) = (
            &whole[..frame[0]],
            &whole[frame[0]..frame[1]],
            &whole[frame[1]..],
        );
        for pieces in [[before, after].concat(), [before, one, one, after].concat()] {
            fs::write(&file, pieces).unwrap();
            assert!(read(&file).is_err(), "{frame:?}");
        }
    }
    fs::write(&file, [&whole[..], b"x"].concat()).unwrap();
    let refused = read(&file).unwrap_err().to_string();
    assert!(refused.contains("something after its end"), "{refused}");
}

#[test]
fn what_is_no_backup_or_a_newer_one_is_said_to_be_that() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("backup");
    directory().furnished().back_up(&file);
    let mut newer = fs::read(&file).unwrap();
    newer[19] = 3;
    for (bytes, expected) in [
        (newer, "a backup of version 3"),
        (b"SQLite format 3\0 and more".to_vec(), "not a backup"),
        (Vec::new(), "not a backup"),
    ] {
        fs::write(&file, bytes).unwrap();
        let refused = read(&file).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
}

#[test]
fn a_backup_comes_to_its_name_when_it_is_whole_and_replaces_nothing() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("backup");
    let unfinished = files.path().join("backup.unfinished");
    let begun = BackupWriter::create(&file).unwrap();
    let second = BackupWriter::create(&file);
    assert!(matches!(second, Err(BackupError::InUse(_))), "{second:?}");
    drop(begun);
    assert!(!unfinished.exists() && !file.exists());
    // The remains of a killed process are no obstacle, and no other user can read them.
    fs::write(&unfinished, "half of one").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o666)).unwrap();
        // A symbolic link with this name is not followed.
        let elsewhere = files.path().join("elsewhere");
        fs::write(&elsewhere, "precious").unwrap();
        symlink(&elsewhere, files.path().join("link.unfinished")).unwrap();
        let refused = BackupWriter::create(&files.path().join("link"));
        assert!(matches!(refused, Err(BackupError::InUse(_))), "{refused:?}");
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious");
    }
    let place = directory().furnished();
    place.back_up(&file);
    assert!(!unfinished.exists());
    let again = BackupWriter::create(&file);
    assert!(matches!(again, Err(BackupError::Exists(_))), "{again:?}");
    assert_eq!(read(&file).unwrap(), place.parts());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn one_account_is_copied_alone() {
    for place in places() {
        let place = place.furnished();
        let mut alone = Vec::new();
        let mut snapshot = place.snapshot().unwrap();
        let told = snapshot.each(Some(AccountId(2)), &mut |part| {
            alone.push(part.clone());
            Ok::<_, StoreError>(())
        });
        told.unwrap();
        let missing = snapshot.rows_about(Some(AccountId(9)));
        assert!(
            matches!(missing, Err(StoreError::NoAccount(AccountId(9)))),
            "{missing:?}"
        );
        let other = directory();
        other.fill(&alone);
        let heads = other.open().unwrap().heads().unwrap();
        let heads = heads
            .into_iter()
            .map(|(account, head)| (account, head.revision));
        assert!(heads.eq([(AccountId(2), Revision(1))]));
    }
}

#[test]
fn a_store_is_no_store_until_all_of_a_backup_is_in_it() {
    let parts = directory().furnished().parts();
    for place in places() {
        // A store without an account counts as none.
        drop(place.open().unwrap());
        for count in [0, 1, parts.len() / 2, parts.len()] {
            let mut import = place.import().unwrap();
            for part in &parts[..count] {
                import.take(part).unwrap();
            }
            if count == 1 {
                let second = place.import();
                assert!(matches!(second, Err(StoreError::InUse(_))), "{second:?}");
            }
            drop(import);
            let opened = place.open().map(drop);
            assert!(
                matches!(opened, Err(StoreError::Unfinished(_))),
                "{opened:?}"
            );
            let looked = place.snapshot();
            assert!(
                matches!(looked, Err(StoreError::Unfinished(_))),
                "{looked:?}"
            );
        }
        place.fill(&parts);
        assert_eq!(place.parts(), parts);
        let again = place.import();
        assert!(matches!(again, Err(StoreError::NotEmpty(_))), "{again:?}");
        assert_eq!(place.parts(), parts);
    }
}

/// A restore of many rows takes many transactions; in between, a reader must find nothing to load.
#[test]
fn a_server_that_has_the_empty_store_open_sees_no_account_before_all_of_it_is_there() {
    let source = directory();
    let store = source.open().unwrap();
    store.create_account(&account()).unwrap();
    // More rows than go into one transaction, of records and of the log.
    let changes = (1..=20_000).flat_map(|number| entry(number).changes);
    let many = with(entry(1), changes.collect());
    let batch = || Batch {
        entries: vec![many.clone()],
        ..Batch::default()
    };
    store
        .append(ACCOUNT, Revision(0).into(), &mut |_| batch())
        .unwrap();
    drop(store);
    let parts = source.parts();
    let target = Site::Database(Database::new());
    let server = target.open().unwrap();
    let mut import = target.import().unwrap();
    for part in &parts {
        import.take(part).unwrap();
        assert_eq!(server.heads().unwrap(), []);
        let loaded = server.load(ACCOUNT);
        assert!(
            matches!(loaded, Err(StoreError::NoAccount(_))),
            "{loaded:?}"
        );
    }
    import.finish().unwrap();
    assert_same(&*server, &*source.open().unwrap());
}

#[test]
fn nothing_is_put_between_the_tables_of_others() {
    let database = Database::new();
    database.run("CREATE TABLE account (name TEXT); INSERT INTO account VALUES ('ada')");
    let place = Site::Database(database);
    let refused = place.import();
    assert!(
        matches!(refused, Err(StoreError::Corrupt { .. })),
        "{refused:?}"
    );
    let refused = place.snapshot();
    assert!(
        matches!(refused, Err(StoreError::Corrupt { .. })),
        "{refused:?}"
    );
}

#[test]
fn reading_an_older_or_newer_store_is_an_error_and_changes_nothing() {
    for place in places() {
        let place = place.furnished();
        let mark = |format: i32| match &place {
            Site::Directory(_) => place.meddle(&format!("PRAGMA user_version = {format}")),
            Site::Database(_) => {
                place.meddle(&format!("UPDATE bindery_format SET format = {format}"));
            }
        };
        mark(2);
        let older = place.snapshot();
        assert!(
            matches!(older, Err(StoreError::Older { found: 2, .. })),
            "{older:?}"
        );
        mark(99);
        let newer = place.snapshot();
        assert!(
            matches!(newer, Err(StoreError::Newer { found: 99, .. })),
            "{newer:?}"
        );
        mark(FORMAT);
        assert_eq!(place.verify().unwrap().len(), 2);
    }
}

#[test]
fn a_copy_beside_a_writer_is_the_store_at_one_revision() {
    const APPENDS: u32 = 400;
    for place in places() {
        let store = place.open().unwrap();
        store.create_account(&account()).unwrap();
        let revisions: Vec<u64> = thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for number in 1..=APPENDS {
                    let batch = Batch {
                        entries: vec![entry(number)],
                        ..Batch::default()
                    };
                    let known = Revision(u64::from(number) - 1);
                    store
                        .append(ACCOUNT, known.into(), &mut |_| batch.clone())
                        .unwrap();
                    let late = Timestamp::from_millis(i64::MAX);
                    let until = Revision(u64::from(number / 2));
                    store.forget_log(ACCOUNT, until, late, 10).unwrap();
                }
            });
            let mut revisions = Vec::new();
            loop {
                let is_over = writer.is_finished();
                let verified = place.verify().unwrap();
                revisions.push(verified[0].revision.0);
                if is_over {
                    break;
                }
            }
            writer.join().unwrap();
            revisions
        });
        assert!(revisions.is_sorted(), "{revisions:?}");
        let verified = place.verify().unwrap();
        assert_eq!(verified[0].revision, Revision(APPENDS.into()));
        assert_eq!(verified[0].base, Revision(u64::from(APPENDS / 2)));
    }
}

#[test]
fn a_part_has_bounds_and_no_row_is_left_out_at_them() {
    let audit = |at: i64| AuditEntry {
        user: UserId::new(1),
        address: "192.0.2.1".to_owned(),
        kind: AuditKind::Query,
        operation: "list_roles".to_owned(),
        text: Some("x".repeat(3000)),
        variables: None,
        status: 200,
        problem: None,
        key: None,
        request: None,
        revision: None,
        at: Timestamp::from_millis(at),
    };
    for place in places() {
        let store = place.open().unwrap();
        store.create_account(&account()).unwrap();
        let batch = Batch {
            entries: (1..=1300).map(entry).collect(),
            audit: (1..=1300).map(audit).collect(),
            ..Batch::default()
        };
        let appended = store.append(ACCOUNT, Revision(0).into(), &mut |_| batch.clone());
        assert_eq!(appended.unwrap(), Revision(1300));
        let parts = place.parts();
        let largest = parts.iter().map(Part::rows).max();
        assert_eq!(largest, Some(512));
        // The account, three parts each of log and records, one of numbers, and for the audit log one part
        // per 256 KiB.
        let of_audit = 1300_usize.div_ceil(262_144_usize.div_ceil(3_064));
        assert_eq!(parts.len(), 1 + 3 + 3 + 1 + of_audit);
        let verified = place.verify().unwrap();
        assert_eq!((verified[0].records, verified[0].audit), (1300, 1300));
        let other = directory();
        other.fill(&parts);
        assert_same(&*store, &*other.open().unwrap());
    }
}

#[test]
fn what_does_not_agree_is_named() {
    for (sql, expected) in [
        (
            "DELETE FROM record WHERE account = 1 AND kind = 2 AND number = 1",
            "account 1: the log makes role binding 1, and the records don't have it",
        ),
        (
            "INSERT INTO record (account, kind, number, natural_key, body)
            SELECT 2, kind, number, natural_key, body FROM record WHERE account = 1 AND kind = 1",
            "the row of role 64 of account 2 in table `record` was altered",
        ),
        (
            "DELETE FROM base_record WHERE kind = 1 AND number = 65",
            "a row of table `base_record` or `base_issued` of account 1 is missing",
        ),
        (
            "UPDATE record SET body = (SELECT body FROM log WHERE account = 2) WHERE kind = 0",
            "the row of user 1 of account 1 in table `record` was altered",
        ),
        (
            "UPDATE record SET natural_key = 'other' WHERE account = 1 AND kind = 1 AND number = 64",
            "the row of role 64 of account 1 in table `record` was altered",
        ),
        (
            "UPDATE account SET revision = 14 WHERE id = 1",
            "the row of account 1 in table `account` was altered",
        ),
        (
            "DELETE FROM log WHERE account = 1 AND revision = 15",
            "account 1: it is at revision 15, and revision 15 is missing from the log",
        ),
        (
            "DELETE FROM log WHERE account = 1 AND revision = 7",
            "account 1: revision 7 is missing from the log",
        ),
        (
            "UPDATE log SET body = (SELECT body FROM base WHERE account = 1) WHERE account = 2",
            "the row with revision 1 of account 2 in table `log` was altered",
        ),
        (
            "UPDATE account SET latest = latest + 1 WHERE id = 2",
            "the row of account 2 in table `account` was altered",
        ),
        (
            "UPDATE issued SET number = number + 1 WHERE account = 1 AND kind = 3",
            "the row with kind 3 of account 1 in table `issued` was altered",
        ),
        (
            "DELETE FROM audit WHERE number = 40",
            "audit entry 40 of account 1 is missing from table `audit`",
        ),
        (
            "DELETE FROM audit WHERE number = 20",
            "account 1: audit entry 20 is missing",
        ),
        (
            "DELETE FROM secret WHERE account = 1 AND kind = 6",
            "account 1: the secrets of API key 1 lead elsewhere than the records say",
        ),
        (
            "INSERT INTO secret (account, kind, number, hash) SELECT 2, kind, number, hash FROM secret",
            "the row of API key 1 of account 2 in table `secret` was altered",
        ),
        (
            "UPDATE audit SET newest = 1 WHERE number = 20",
            "the row with number 20 of account 1 in table `audit` was altered",
        ),
        (
            "UPDATE account SET batch = batch + 1 WHERE id = 1",
            "the row of account 1 in table `account` was altered",
        ),
        (
            "UPDATE account SET newest_audit = 1 WHERE id = 1",
            "the row of account 1 in table `account` was altered",
        ),
    ] {
        for place in places() {
            let place = place.furnished();
            place.meddle(sql);
            let found = place.verify().unwrap_err();
            assert!(found.contains(expected), "{sql}: {found}");
        }
    }
}

#[test]
fn a_backup_of_a_store_that_is_not_there_is_refused_and_makes_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let missing: PathBuf = parent.path().join("missing");
    let refused = SqliteStore::snapshot(&missing);
    assert!(
        matches!(refused, Err(StoreError::Corrupt { .. })),
        "{refused:?}"
    );
    assert!(!missing.exists());
}

//! Damage by seed: rows and bytes of a store are flipped, cut, swapped, out of date or missing. Whatever is answered afterwards is
//! right or refused, and `verify` names what was damaged.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use bindery_core::api_key::SecretHash;
use bindery_core::change::{Change, Entry};
use bindery_core::id::{AccountId, Revision, UserId};
use bindery_core::text::Email;
use bindery_store::conformance::furnish;
use bindery_store::copy::Verifier;
use bindery_store::sqlite::SqliteStore;
use bindery_store::{AuditQuery, Store, StoreError};
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::copy::everything;

/// How many damages of each kind the tests make; `BINDERY_DAMAGE` makes it another number.
const COUNT: u64 = 200;
const FILE: &str = "bindery.db";

/// Random numbers of a seed (`SplitMix64`).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }
}

/// One question about a store, answered in words.
type Answer = Result<String, String>;

/// Every answer that a server gives from a store.
fn answers(store: &dyn Store) -> Vec<(&'static str, Answer)> {
    fn told<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> Answer {
        let told = answer.map(|told| format!("{told:?}"));
        told.map_err(|error| error.to_string())
    }
    let mut answers = Vec::new();
    for account in [AccountId(1), AccountId(2)] {
        answers.push(("load", told(store.load(account))));
        answers.push(("base", told(store.base(account))));
        for known in [0, 6, 9] {
            let log = store.changes_since(account, Revision(known).into(), 100);
            answers.push(("log", told(log)));
        }
        for user in [None, Some(UserId::new(1))] {
            for (before, limit) in [(None, 100), (None, 7), (Some(20), 5)] {
                let query = AuditQuery {
                    user,
                    before,
                    limit,
                    ..everything()
                };
                answers.push(("audit", told(store.audit(account, &query))));
            }
        }
        answers.push(("uses", told(store.key_uses(account))));
    }
    let secrets: Vec<SecretHash> = [1, 2, 101, 102].map(|byte| SecretHash([byte; 32])).into();
    let owners = store.owners(&secrets);
    for place in 0..secrets.len() {
        let one = owners.as_ref().map(|owners| owners[place]);
        let one = one.map_err(ToString::to_string);
        answers.push((
            "owner",
            one.map(|one| format!("{:?}", one.map(|one| one.account))),
        ));
    }
    let email = Email::parse("ada@example.org").unwrap();
    answers.push(("credentials", told(store.credentials(&email, None, 10))));
    answers
}

/// Whether an answer is right, refused, or harmless: a secret that leads nowhere lets nobody in.
fn is_safe(what: &str, answer: &Answer, right: &Answer) -> bool {
    let denies = |answer: &Answer| {
        let denial = if what == "owner" { "None" } else { "[]" };
        answer.as_ref().is_ok_and(|answer| answer == denial)
    };
    answer == right
        || answer.is_err()
        || (["owner", "credentials"].contains(&what) && denies(answer))
}

fn copy_of(template: &Path) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(template.join(FILE), directory.path().join(FILE)).unwrap();
    directory
}

/// A store with everything in it, and the same at an earlier time.
fn templates() -> (tempfile::TempDir, tempfile::TempDir) {
    let now = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(now.path()).unwrap();
    furnish(&store);
    drop(store);
    let before = copy_of(now.path());
    let store = SqliteStore::open(now.path()).unwrap();
    let known = store.load(AccountId(1)).unwrap().position();
    let log = store
        .changes_since(AccountId(1), Revision(6).into(), 100)
        .unwrap();
    let last = log.last().unwrap();
    let changes = vec![log[2].changes[1].clone()];
    let next = Entry {
        revision: last.revision.next(),
        parts: vec![bindery_core::change::Part::of(
            "update_organization",
            &changes,
        )],
        changes: renamed(changes),
        ..last.clone()
    };
    let appended = store.append(AccountId(1), known, &mut |_| bindery_store::Batch {
        entries: vec![next.clone()],
        uses: vec![(
            bindery_core::id::ApiKeyId::new(1),
            next.at.plus_seconds(5000),
        )],
        ..Default::default()
    });
    appended.unwrap();
    (now, before)
}

fn renamed(changes: Vec<Change>) -> Vec<Change> {
    let rename = |change| match change {
        Change::PutOrganization(mut organization) => {
            organization.name = bindery_core::text::Name::parse("renamed").unwrap();
            Change::PutOrganization(organization)
        }
        other => other,
    };
    changes.into_iter().map(rename).collect()
}

const TABLES: [&str; 10] = [
    "account",
    "log",
    "record",
    "issued",
    "audit",
    "key_use",
    "secret",
    "base",
    "base_record",
    "base_issued",
];

/// Damages one row, and says how.
fn damage_row(path: &Path, older: &Path, chance: &mut Chance) -> String {
    let file = Connection::open(path.join(FILE)).unwrap();
    let table = TABLES[chance.below(TABLES.len())];
    let ids: Vec<i64> = {
        let mut rows = file.prepare(&format!("SELECT rowid FROM {table}")).unwrap();
        let rows = rows.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let columns: Vec<String> = {
        let rows = file.prepare(&format!("SELECT * FROM {table}")).unwrap();
        rows.column_names().map(str::to_owned).collect()
    };
    let row = ids[chance.below(ids.len())];
    let column = &columns[chance.below(columns.len())];
    let read = |row: i64| -> Value {
        let sql = format!("SELECT {column} FROM {table} WHERE rowid = ?1");
        file.query_row(&sql, [row], |row| row.get(0)).unwrap()
    };
    let write = |row: i64, value: &Value| {
        let sql = format!("UPDATE {table} SET {column} = ?1 WHERE rowid = ?2");
        file.execute(&sql, (value, row)).is_ok()
    };
    match chance.below(6) {
        0 => {
            file.execute(&format!("DELETE FROM {table} WHERE rowid = ?1"), [row])
                .unwrap();
            format!("row {row} of {table} is missing")
        }
        1 => {
            let other = ids[chance.below(ids.len())];
            let (one, two) = (read(row), read(other));
            let is_done = write(row, &two) && write(other, &one);
            format!("{column} of rows {row} and {other} of {table} are swapped: {is_done}")
        }
        2 => {
            let sql = format!(
                "ATTACH '{}' AS older; DELETE FROM main.{table} WHERE rowid = {row};
                INSERT OR IGNORE INTO main.{table} SELECT * FROM older.{table} WHERE rowid = {row};",
                older.join(FILE).display()
            );
            let is_done = file.execute_batch(&sql).is_ok();
            format!("row {row} of {table} is out of date: {is_done}")
        }
        _ => {
            let old = read(row);
            let new = flipped(&old, chance);
            let is_done = write(row, &new);
            format!("{column} of row {row} of {table} was {old:?} and is {new:?}: {is_done}")
        }
    }
}

fn flipped(value: &Value, chance: &mut Chance) -> Value {
    let mut flip = |bytes: &mut Vec<u8>| {
        let place = chance.below(bytes.len());
        match chance.below(4) {
            0 => bytes.truncate(place),
            _ if bytes.is_empty() => bytes.push(b'x'),
            _ => bytes[place] ^= 1 << chance.below(7),
        }
    };
    match value {
        Value::Integer(number) => Value::Integer(number ^ (1 << chance.below(63))),
        Value::Blob(bytes) => {
            let mut bytes = bytes.clone();
            flip(&mut bytes);
            Value::Blob(bytes)
        }
        Value::Text(text) => {
            let mut bytes = text.clone().into_bytes();
            flip(&mut bytes);
            Value::Text(String::from_utf8_lossy(&bytes).into_owned())
        }
        Value::Null | Value::Real(_) => Value::Text("x".to_owned()),
    }
}

fn count() -> u64 {
    let given = std::env::var("BINDERY_DAMAGE").ok();
    given.and_then(|count| count.parse().ok()).unwrap_or(COUNT)
}

/// What `verify` says of a store: what is damaged, in words.
fn verified(path: &Path) -> Vec<String> {
    let snapshot = SqliteStore::snapshot(path);
    let mut snapshot = match snapshot {
        Ok(snapshot) => snapshot,
        Err(error) => return vec![error.to_string()],
    };
    let mut found: Vec<String> = match snapshot.damaged() {
        Ok(damaged) => damaged.iter().map(ToString::to_string).collect(),
        Err(error) => vec![error.to_string()],
    };
    let mut verifier = Verifier::default();
    let mut replayed = None;
    let told = snapshot.each(None, &mut |part| {
        if replayed.is_none() {
            replayed = verifier.take(part).err();
        }
        Ok::<_, StoreError>(())
    });
    found.extend(told.err().map(|error| error.to_string()));
    let replayed = replayed.or_else(|| verifier.finish().err());
    found.extend(replayed.map(|error| error.to_string()));
    match snapshot.mislead() {
        Ok(misled) => found.extend(misled.map(|one| one.to_string())),
        Err(error) => found.push(error.to_string()),
    }
    found
}

#[test]
fn a_damaged_row_of_a_file_is_refused_or_harmless_and_verify_names_it() {
    let (now, before) = templates();
    let right = answers(&SqliteStore::open(copy_of(now.path()).path()).unwrap());
    let mut refused = 0;
    for seed in 0..count() {
        let mut chance = Chance(seed);
        let damaged = copy_of(now.path());
        let old = dump(damaged.path());
        let how = damage_row(damaged.path(), before.path(), &mut chance);
        if dump(damaged.path()) == old {
            continue;
        }
        let named = verified(damaged.path());
        assert!(
            !named.is_empty(),
            "seed {seed}: verify finds nothing though {how}"
        );
        let Ok(store) = SqliteStore::open(damaged.path()) else {
            refused += 1;
            continue;
        };
        let found = answers(&store);
        for ((what, answer), (_, right)) in found.iter().zip(&right) {
            assert!(
                is_safe(what, answer, right),
                "seed {seed}: {how}, and {what} says {answer:?} in place of {right:?}"
            );
        }
        refused += u64::from(found.iter().any(|(_, answer)| answer.is_err()));
    }
    assert!(refused > count() / 2, "{refused}");
}

#[test]
fn a_damaged_byte_of_a_file_is_refused_or_harmless() {
    let (now, _) = templates();
    let right = answers(&SqliteStore::open(copy_of(now.path()).path()).unwrap());
    for seed in 0..count() {
        let mut chance = Chance(seed);
        let damaged = copy_of(now.path());
        let path = damaged.path().join(FILE);
        let mut bytes = fs::read(&path).unwrap();
        let place = chance.below(bytes.len());
        let bit = chance.below(8);
        match chance.below(8) {
            0 => bytes[place..(place / 512 * 512 + 512)].fill(0),
            _ => bytes[place] ^= 1 << bit,
        }
        fs::write(&path, &bytes).unwrap();
        let Ok(store) = SqliteStore::open(damaged.path()) else {
            continue;
        };
        for ((what, answer), (_, right)) in answers(&store).iter().zip(&right) {
            assert!(
                is_safe(what, answer, right),
                "seed {seed}: byte {place}, bit {bit}, and {what} says {answer:?} in place of {right:?}"
            );
        }
    }
}

#[test]
fn a_write_ahead_log_that_loses_acknowledged_commits_is_refused() {
    let (now, _) = templates();
    let store = SqliteStore::open(now.path()).unwrap();
    let wal = now.path().join("bindery.db-wal");
    let head = || store.load(AccountId(1)).unwrap().position();
    let log = store
        .changes_since(AccountId(1), Revision(6).into(), 100)
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
    // As a crash leaves it.
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
                // What an operator does to accept it.
                fs::remove_file(directory.path().join("bindery.positions")).unwrap();
                SqliteStore::open(directory.path()).unwrap();
            }
            Err(other) => unreachable!("seed {seed}: {other}"),
            Ok(store) => assert_eq!(store.load(AccountId(1)).unwrap().position(), head()),
        }
    }
    assert!(refused > 30, "{refused}");
}

/// Every row of the file in words.
fn dump(path: &Path) -> String {
    let file = Connection::open(path.join(FILE)).unwrap();
    let mut dump = String::new();
    for table in TABLES {
        let mut rows = file
            .prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2, 3"))
            .unwrap();
        let columns = rows.column_count();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                let _ = write!(dump, "{:?} ", row.get::<_, Value>(column).unwrap());
            }
        }
    }
    dump
}

//! Damage by seed, on both databases: rows are altered, cut, swapped, out of date, missing or added, and
//! indexes disagree with their tables. Every result afterwards is correct or refused, and `verify` names what
//! was damaged.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use bindery_conformance::furnish;
use bindery_core::api_key::{Secret, SecretHash};
use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::change::{Change, Entry, OneOperation};
use bindery_core::credential::{Credential, KnownTo, Link, LinkPurpose, PasswordHash};
use bindery_core::id::{AccountId, ApiKeyId, Revision, RoleBindingId, UserId};
use bindery_core::text::{Email, Name};
use bindery_store::copy::Snapshot;
use bindery_store::{AuditQuery, Batch, Store, StoreError};
use rusqlite::types::Value;

use crate::copy::everything;

mod index;
mod postgres;
mod sqlite;

/// Sets the number of damages of each test, and makes the tests print the results.
const VARIABLE: &str = "BINDERY_DAMAGE";

fn count(usual: u64) -> u64 {
    let given = std::env::var(VARIABLE).ok();
    given.and_then(|count| count.parse().ok()).unwrap_or(usual)
}

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

/// The effects of damages.
#[derive(Default)]
struct Tally {
    damages: usize,
    refused: usize,
    /// Every result is that of the undamaged store.
    harmless: usize,
    wrong: Vec<String>,
    unnamed: Vec<String>,
}

impl Tally {
    /// Counts one damage by the results after it, and by the output of `verify`.
    fn count(&mut self, how: &str, answers: &[Told], right: &[Told], is_named: Result<(), String>) {
        self.damages += 1;
        assert_eq!(answers.len(), right.len());
        let pairs = answers.iter().zip(right);
        let wrong = pairs.filter(|((what, answer), (_, right))| !is_safe(what, answer, right));
        let wrong: Vec<String> = wrong
            .map(|((what, answer), (_, right))| {
                format!("{how}, and {what} says {answer:?} in place of {right:?}")
            })
            .collect();
        if !wrong.is_empty() {
            self.wrong.push(wrong[0].clone());
        } else if answers == right {
            self.harmless += 1;
        } else {
            self.refused += 1;
        }
        if let Err(said) = is_named {
            self.unnamed.push(format!("{how}, and verify says: {said}"));
        }
    }

    /// Prints the counts, and fails if a result was wrong, a damage wasn't named, or few were noticed at all.
    fn close(self, of: &str, refused_min: usize) {
        if std::env::var(VARIABLE).is_ok() {
            let line = format!(
                "{of}: {} damages, {} refused, {} harmless, {} wrong answers, {} unnamed by verify",
                self.damages,
                self.refused,
                self.harmless,
                self.wrong.len(),
                self.unnamed.len()
            );
            let mut stdout = std::io::stdout();
            writeln!(stdout, "{line}").unwrap();
        }
        let some = |found: &[String]| found.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
        assert!(self.wrong.is_empty(), "{of}: {}", some(&self.wrong));
        assert!(self.unnamed.is_empty(), "{of}: {}", some(&self.unnamed));
        assert!(self.refused >= refused_min, "{of}: {}", self.refused);
    }
}

/// One question about a store, with the result as text.
type Answer = Result<String, String>;
type Told = (&'static str, Answer);

fn told<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> Answer {
    let told = answer.map(|told| format!("{told:?}"));
    told.map_err(|error| error.to_string())
}

/// Every read of a server from a store.
fn answers(store: &dyn Store) -> Vec<Told> {
    let mut answers = Vec::new();
    for account in [AccountId(1), AccountId(2)] {
        answers.push(("load", told(store.load(account))));
        answers.push(("base", told(store.base(account))));
        for known in [0, 6, 9, 12] {
            let log = store.changes_since(account, Revision(known).into(), 100);
            answers.push(("log", told(log)));
        }
        for user in [None, Some(UserId::new(1)), Some(UserId::new(2))] {
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
    let secrets: Vec<SecretHash> = [1, 2, 50, 60, 101, 102]
        .map(|byte| SecretHash([byte; 32]))
        .into();
    let owners = store.owners(&secrets);
    for place in 0..secrets.len() {
        let one = owners.as_ref().map_err(ToString::to_string);
        // The owner of a secret is only a hint: the account decides, and an account that isn't loaded admits no one.
        let one = one.and_then(|owners| match owners[place] {
            None => Ok(None),
            Some(owner) => match store.load(owner.account) {
                Ok(_) => Ok(Some(owner.account)),
                Err(error) => Err(error.to_string()),
            },
        });
        answers.push(("owner", one.map(|one| format!("{one:?}"))));
    }
    for address in ["ada@example.org", "grace@example.com"] {
        let email = Email::parse(address).unwrap();
        answers.push(("credentials", told(store.credentials(&email, None, 10))));
    }
    answers
}

/// The accounts as `bindery account list` has them.
fn listed(store: &dyn Store) -> Told {
    let list = || -> Result<String, StoreError> {
        let revisions: BTreeMap<_, _> = store.heads()?.into_iter().collect();
        let mut listed = String::new();
        for account in store.accounts()? {
            let revision = revisions[&account.id].revision;
            let _ = write!(listed, "[{account:?} at {revision}]");
        }
        // Damage is reported besides the others.
        match store.damaged_accounts()?.pop() {
            None => Ok(listed),
            Some(error) => Err(error),
        }
    };
    ("list", list().map_err(|error| error.to_string()))
}

/// Whether a result is correct, refused, or harmless: a secret without an owner admits no one.
fn is_safe(what: &str, answer: &Answer, right: &Answer) -> bool {
    let denies = |answer: &Answer| {
        let denial = if what == "owner" { "None" } else { "[]" };
        answer.as_ref().is_ok_and(|answer| answer == denial)
    };
    answer == right
        || answer.is_err()
        || (["owner", "credentials"].contains(&what) && denies(answer))
}

/// The damage that `verify` finds in a store, as text.
fn verified(snapshot: Result<Snapshot, StoreError>) -> Vec<String> {
    let report = snapshot.and_then(|mut snapshot| snapshot.verify(&mut |_| ()));
    match report {
        Ok(report) => report.damaged.iter().map(ToString::to_string).collect(),
        Err(error) => vec![error.to_string()],
    }
}

const ADA: UserId = UserId::new(1);

/// Adds newer rows to every table than those that [`furnish`] has written.
fn go_on(store: &dyn Store) {
    let account = AccountId(1);
    let state = store.load(account).unwrap();
    let log = store
        .changes_since(account, Revision(9).into(), 100)
        .unwrap();
    let late = log.last().unwrap().at.plus_seconds(1);
    let Some(Change::PutOrganization(mut organization)) = log
        .iter()
        .chain(&store.changes_since(account, Revision(8).into(), 1).unwrap())
        .flat_map(|entry| &entry.changes)
        .find(|change| matches!(change, Change::PutOrganization(one) if one.name.as_str() != "globex"))
        .cloned()
    else {
        unreachable!("an organization is renamed");
    };
    organization.name = Name::parse("renamed").unwrap();
    let Some(Change::PutApiKey(key)) = state.api_keys().next().cloned().map(Change::PutApiKey)
    else {
        unreachable!("there is a key");
    };
    let refreshed = bindery_core::api_key::ApiKey {
        secret: Secret {
            hash: SecretHash([50; 32]),
            redacted: "ak-abc...xyz".to_owned(),
        },
        previous: None,
        ..key
    };
    let credential = |user, byte| {
        Change::PutCredential(Credential {
            user,
            password: Some(PasswordHash::new(format!("password {byte}"))),
            link: Some(Link {
                token: SecretHash([byte; 32]),
                purpose: LinkPurpose::Invitation,
                until: late,
            }),
            known_to: KnownTo::Owner,
        })
    };
    let changes = vec![
        vec![credential(ADA, 60), credential(UserId::new(2), 61)],
        vec![
            Change::PutOrganization(organization),
            Change::DeleteRoleBinding(RoleBindingId::new(2)),
            Change::PutApiKey(refreshed),
        ],
    ];
    let entries = (16..).zip(changes).map(|(revision, changes)| {
        Entry::from(OneOperation {
            revision: Revision(revision),
            at: late,
            by: Some(ADA),
            key: Some(ApiKeyId::new(1)),
            operation: "change_something".to_owned(),
            batch: revision,
            changes,
        })
    });
    let audit = (0..10).map(|number| AuditEntry {
        user: UserId::new(1 + number % 2),
        address: "192.0.2.1".to_owned(),
        kind: AuditKind::Mutation,
        operation: "change_something".to_owned(),
        text: None,
        variables: None,
        status: 200,
        problem: None,
        key: Some(ApiKeyId::new(1)),
        request: None,
        revision: Some(Revision(16)),
        at: late,
    });
    let batch = Batch {
        entries: entries.collect(),
        audit: audit.collect(),
        uses: vec![(ApiKeyId::new(1), late.plus_seconds(5000))],
    };
    let appended = store.append(account, state.position(), &mut |_| batch.clone());
    assert_eq!(appended.unwrap(), Revision(17));
    let forgotten = store.forget_log(account, Revision(12), late, 3);
    assert_eq!(forgotten.unwrap(), 3);
    let first = store.audit(account, &everything()).unwrap().pop().unwrap();
    let before = first.1.at.just_after().just_after().just_after();
    assert!(store.forget_audit(account, before, 100).unwrap() > 0);
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

/// The rows of a table, each with the values of its columns.
#[derive(Clone, Debug, PartialEq)]
struct Table {
    name: &'static str,
    columns: Vec<String>,
    /// How many of the first columns are the account and the key.
    key: usize,
    rows: Vec<Vec<Value>>,
}

impl Table {
    fn new(name: &'static str, columns: Vec<String>, mut rows: Vec<Vec<Value>>) -> Self {
        rows.sort_by_key(|row| format!("{row:?}"));
        let key = match name {
            "account" | "base" => 1,
            "record" | "base_record" | "secret" => 3,
            _ => 2,
        };
        Self {
            name,
            columns,
            key,
            rows,
        }
    }

    fn key_of<'row>(&self, row: &'row [Value]) -> &'row [Value] {
        &row[..self.key]
    }
}

/// Every table of a store, in the order of [`TABLES`].
type Content = Vec<Table>;

/// A table after damage, and how it was done.
struct Damaged {
    table: Table,
    how: String,
}

/// Damages rows of one table. A change that the database refuses is no damage.
fn damage(now: &Content, before: &Content, chance: &mut Chance) -> Damaged {
    let place = chance.below(TABLES.len());
    let (mut table, older) = (now[place].clone(), &before[place]);
    let (row, other) = (
        chance.below(table.rows.len()),
        chance.below(table.rows.len()),
    );
    let column = chance.below(table.columns.len());
    let (name, called) = (table.name, table.columns[column].clone());
    let how = match chance.below(12) {
        0 => {
            let gone = table.rows.remove(row);
            format!("row {gone:?} of {name} is missing")
        }
        1 => {
            let (one, two) = (
                table.rows[row][column].clone(),
                table.rows[other][column].clone(),
            );
            table.rows[row][column] = two;
            table.rows[other][column] = one;
            format!("{called} of rows {row} and {other} of {name} are swapped")
        }
        2 => {
            for column in table.key..table.columns.len() {
                let one = table.rows[row][column].clone();
                table.rows[row][column] = table.rows[other][column].clone();
                table.rows[other][column] = one;
            }
            format!("rows {row} and {other} of {name} are swapped")
        }
        3 | 4 => is_out_of_date(&mut table, older, chance),
        5 => {
            table = older.clone();
            format!("all rows of {name} are out of date")
        }
        6 | 7 => {
            let mut added = table.rows[row].clone();
            let column = chance.below(table.key);
            added[column] = match &added[column] {
                Value::Integer(number) => {
                    let by = [1, -1, 7, 1000, 1 << 33][chance.below(5)];
                    Value::Integer(number.wrapping_add(by))
                }
                other => altered(other, chance),
            };
            if let Some(place) = table
                .columns
                .iter()
                .position(|column| column == "natural_key")
                && chance.below(2) == 0
            {
                added[place] = Value::Null;
            }
            let how = format!("{name} has another row {added:?}");
            table.rows.push(added);
            how
        }
        _ => {
            let old = table.rows[row][column].clone();
            let new = altered(&old, chance);
            table.rows[row][column] = new.clone();
            format!("{called} of row {row} of {name} was {old:?} and is {new:?}")
        }
    };
    Damaged { table, how }
}

/// Restores an older row, adds a deleted one, or removes a newer one.
fn is_out_of_date(table: &mut Table, older: &Table, chance: &mut Chance) -> String {
    let name = table.name;
    let differ: Vec<&Vec<Value>> = older
        .rows
        .iter()
        .filter(|row| !table.rows.contains(row))
        .collect();
    let young: Vec<usize> = (0..table.rows.len())
        .filter(|place| {
            let key = table.key_of(&table.rows[*place]);
            !older.rows.iter().any(|row| older.key_of(row) == key)
        })
        .collect();
    if !young.is_empty() && (differ.is_empty() || chance.below(2) == 0) {
        let gone = table.rows.remove(young[chance.below(young.len())]);
        return format!("row {gone:?} of {name} is not there yet");
    }
    let Some(old) = differ.get(chance.below(differ.len())) else {
        return format!("no row of {name} was another");
    };
    let key = older.key_of(old).to_vec();
    let place = table.rows.iter().position(|row| table.key_of(row) == key);
    if let Some(place) = place {
        table.rows.remove(place);
    }
    table.rows.push((*old).clone());
    format!("row {key:?} of {name} is out of date")
}

fn altered(value: &Value, chance: &mut Chance) -> Value {
    let mut flip = |bytes: &mut Vec<u8>| {
        let place = chance.below(bytes.len());
        match chance.below(4) {
            0 => bytes.truncate(place),
            _ if bytes.is_empty() => bytes.push(b'x'),
            _ => bytes[place] ^= 1 << chance.below(7),
        }
    };
    match value {
        Value::Integer(number) => Value::Integer(number ^ (1 << chance.below(64))),
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

/// Whether `verify` has named one of the changed rows.
fn check_named(said: &[String], old: &Table, new: &Table) -> Result<(), String> {
    let gone = old.rows.iter().filter(|row| !new.rows.contains(row));
    let come = new.rows.iter().filter(|row| !old.rows.contains(row));
    let rows: Vec<&Vec<Value>> = gone.chain(come).collect();
    let is_named = |line: &String| rows.iter().any(|row| names(line, old.name, row));
    if said.iter().any(is_named) {
        Ok(())
    } else {
        Err(format!("{said:?}"))
    }
}

/// Whether a line of `verify` names a row of a table.
fn names(line: &str, table: &str, row: &[Value]) -> bool {
    let number = |place: usize| match row.get(place) {
        Some(Value::Integer(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    let has = |word: &str| {
        let words = line.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
        words.into_iter().any(|one| one == word)
    };
    let of_account = line.contains("ccount") && has(&number(0));
    let is_named = match table {
        // The log can't show any more which of them it is.
        "base" | "base_record" | "base_issued" => of_account && line.contains("`base"),
        "key_use" => of_account && line.contains("`key_use`"),
        // Or a sum in it, which is compared with its rows.
        "account" => of_account,
        "record" | "secret" => of_account && has(&number(2)),
        "issued" => of_account && line.contains("kind"),
        // The revision, or the number of the entry.
        _ => of_account && has(&number(1)),
    };
    let is_of_none = line.contains(&format!("`{table}`")) && line.contains("isn't there");
    is_named || (of_account && is_of_none)
}

//! Reads from the tables: accounts, the current state, the log.

use std::collections::BTreeMap;

use bindery_core::audit::AuditEntry;
use bindery_core::change::{Change, Entry, LogPosition};
use bindery_core::id::{AccountId, ApiKeyId, Kind, Revision};
use bindery_core::place::Account;
use bindery_core::state::{Difference, RecordError, State};
use bindery_core::time::Timestamp;

use super::base::explain_gap;
use super::checksum::{self, Checksum};
use super::fold::{Source, fold};
use super::{Database, Failure, Row, TakeRow, Value, batch_of, bounded, number, position, secrets};
use crate::Batch;
use crate::copy;
use crate::record::kind_of;

/// The position of an account.
pub(crate) const HEAD: &str = "SELECT revision, latest, audit_head, newest_audit, batch, content, checksum, body FROM account WHERE id = $1";

/// The row of an account.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) position: LogPosition,
    /// The time of its last entry.
    pub(crate) latest: Timestamp,
    /// The number of its last audit entry.
    pub(crate) audit: u64,
    /// The latest time in its audit log.
    pub(crate) audit_latest: Timestamp,
    /// The combined checksums of its records, issued numbers and secrets.
    pub(crate) content: i64,
    /// The account itself, as it is stored.
    pub(crate) body: Vec<u8>,
}

impl Head {
    /// Reads a row of [`HEAD`].
    pub(crate) fn read(account: AccountId, row: &dyn Row) -> Result<Self, Failure> {
        let name = || format!("the row of account {} in table `account`", account.0);
        let expected = || -> Result<Checksum, Failure> {
            Ok(checksum::of_account(
                account,
                (row.integer(0)?, row.integer(4)?),
                row.integer(1)?,
                (row.integer(2)?, row.integer(3)?),
                row.bytes(7)?,
            ))
        };
        checksum::check_row(expected(), row.integer(6), name)?;
        let head = || -> Result<Self, Failure> {
            Ok(Self {
                position: position(row, 0, 4)?,
                latest: Timestamp::from_millis(row.integer(1)?),
                audit: number(row, 2)?,
                audit_latest: Timestamp::from_millis(row.integer(3)?),
                content: row.integer(5)?,
                body: row.bytes(7)?.to_vec(),
            })
        };
        head().map_err(|failure| checksum::unreadable(failure, name))
    }

    /// The checksum of this row.
    pub(crate) fn checksum(&self, account: AccountId) -> Checksum {
        checksum::of_account(
            account,
            (bounded(self.position.revision.0), batch_of(self.position)),
            self.latest.as_millis(),
            (bounded(self.audit), self.audit_latest.as_millis()),
            &self.body,
        )
    }

    /// The numbers of new audit entries, and the latest time up to each.
    pub(crate) fn audited<'a>(
        &self,
        entries: &'a [AuditEntry],
    ) -> impl Iterator<Item = (i64, Timestamp, &'a AuditEntry)> {
        let mut latest = self.audit_latest;
        (bounded(self.audit) + 1..)
            .zip(entries)
            .map(move |(number, entry)| {
                latest = latest.max(entry.at);
                (number, latest, entry)
            })
    }

    /// The row after another batch.
    pub(crate) fn after(&self, batch: &Batch) -> Self {
        let last = batch.entries.last();
        let audit_latest = batch.audit.iter().map(|entry| entry.at).max();
        let audited = u64::try_from(batch.audit.len()).expect("a length fits into 64 bits");
        let mut changes = batch.entries.iter().flat_map(|entry| &entry.changes);
        let is_account = |change: &&Change| matches!(change, Change::PutAccount(_));
        let body = changes.rfind(is_account);
        Self {
            position: last.map_or(self.position, Entry::position),
            latest: last.map_or(self.latest, |entry| entry.at),
            audit: self.audit.saturating_add(audited),
            audit_latest: audit_latest
                .map_or(self.audit_latest, |latest| latest.max(self.audit_latest)),
            // The store finds the batch's effect on it as it writes.
            content: self.content,
            body: body.map_or_else(|| self.body.clone(), Change::encode),
        }
    }
}

pub(crate) fn head(database: &mut dyn Database, account: AccountId) -> Result<Head, Failure> {
    let mut head = None;
    database.query(HEAD, &[account.into()], &mut |row| {
        head = Some(Head::read(account, row)?);
        Ok(())
    })?;
    head.ok_or(Failure::NoAccount(account))
}

/// A hint where to read: the data itself is read from checked rows. A damaged row hides no other one: it
/// counts as revision 0 if the revision is damaged, and is left out if its number is.
///
/// Reads the table itself (no index has `id + 0`): an index that lacks an account would hide it.
pub(crate) fn heads(database: &mut dyn Database) -> Result<Vec<(AccountId, LogPosition)>, Failure> {
    let mut heads = BTreeMap::new();
    let sql = "SELECT id, revision, batch FROM account ORDER BY id + 0";
    database.query(sql, &[], &mut |row| {
        if let Ok(id) = number(row, 0) {
            let position = position(row, 1, 2).unwrap_or_default();
            heads.insert(AccountId(id), position);
        }
        Ok(())
    })?;
    Ok(heads.into_iter().collect())
}

/// The accounts whose rows are whole, and descriptions of the damage in the others. Reads the table itself,
/// like [`heads`].
pub(crate) fn accounts(
    database: &mut dyn Database,
) -> Result<(Vec<Account>, Vec<String>), Failure> {
    let (mut accounts, mut damaged) = (BTreeMap::new(), Vec::new());
    database.query(
        "SELECT revision, latest, audit_head, newest_audit, batch, content, checksum, body, id,
            COALESCE(
                (SELECT MAX(log.revision) FROM log WHERE log.account = account.id),
                (SELECT base.revision FROM base WHERE base.account = account.id),
                revision
            )
        FROM account ORDER BY id + 0",
        &[],
        &mut |row| {
            match account(row) {
                Ok(one) if accounts.contains_key(&one.id) => damaged.push(format!(
                    "the row of account {} is in table `account` twice",
                    one.id.0
                )),
                Ok(one) => {
                    accounts.insert(one.id, one);
                }
                Err(Failure::Damaged(what)) => damaged.push(what),
                Err(other) => return Err(other),
            }
            Ok(())
        },
    )?;
    missing_accounts(database, &mut damaged)?;
    Ok((accounts.into_values().collect(), damaged))
}

fn account(row: &dyn Row) -> Result<Account, Failure> {
    let id = row.integer(8)?;
    let id = u32::try_from(id).map_err(|_| {
        Failure::Damaged(format!(
            "the row of account {id} in table `account` was altered: no account has this number"
        ))
    })?;
    let head = Head::read(AccountId(id), row)?;
    let (revision, newest) = (row.integer(0)?, row.integer(9)?);
    if revision != newest {
        return Err(Failure::Damaged(format!(
            "the row of account {id} in table `account` is at revision {revision}, and the log ends at {newest}: one of both is damaged \
            or out of date"
        )));
    }
    decode_account(id, &head.body)
}

/// Accounts with a log and without a row. Every account has a log from its first change on, or a base.
fn missing_accounts(database: &mut dyn Database, damaged: &mut Vec<String>) -> Result<(), Failure> {
    for table in ["log", "base"] {
        each_without_row(database, table, &mut |row| {
            damaged.push(format!(
                "the row of account {} is missing from table `account`, and table `{table}` has rows of it",
                row.integer(0)?
            ));
            Ok(())
        })?;
    }
    Ok(())
}

/// Finds the accounts with rows in this table and none in table `account`. Goes from one account to the next,
/// not from row to row.
pub(crate) fn each_without_row(
    database: &mut dyn Database,
    table: &str,
    take: TakeRow<'_>,
) -> Result<(), Failure> {
    let sql = format!(
        "WITH RECURSIVE found (account) AS (
            SELECT MIN(account) FROM {table}
            UNION ALL
            SELECT (SELECT MIN({table}.account) FROM {table} WHERE {table}.account > found.account)
            FROM found WHERE found.account IS NOT NULL
        )
        SELECT account FROM found WHERE account IS NOT NULL AND account NOT IN (SELECT id FROM account)"
    );
    database.query(&sql, &[], take)
}

/// The state from the current records. The caller holds a transaction that sees one moment, so it is the
/// state of one revision.
pub(crate) fn load(database: &mut dyn Database, account: AccountId) -> Result<State, Failure> {
    let head = match head(database, account) {
        Err(Failure::NoAccount(_)) => {
            check_absent(database, account)?;
            return Err(Failure::NoAccount(account));
        }
        found => found?,
    };
    check_end(database, account, &head)?;
    let entity = decode_account(account.0, &head.body)?;
    let (state, content) = fold(database, entity, (head.position, head.latest), &RECORDS)?;
    if content ^ secrets::content(database, account)? != head.content {
        return Err(stray(database, account, &state)?);
    }
    Ok(state)
}

/// Refuses an account of which only the row is missing: its remains must not become another account's.
pub(crate) fn check_absent(database: &mut dyn Database, account: AccountId) -> Result<(), Failure> {
    let tables = copy::TABLES
        .iter()
        .filter(|table| !table.begins_account())
        .map(|table| table.name)
        .chain(["secret"]);
    for table in tables {
        let sql = format!("SELECT account FROM {table} WHERE account = $1 LIMIT 1");
        database.query(&sql, &[account.into()], &mut |_| {
            Err(Failure::Damaged(format!(
                "the row of account {} is missing from table `account`, and table `{table}` has rows of it",
                account.0
            )))
        })?;
    }
    Ok(())
}

/// Refuses an account whose log has entries after its row's revision. The row is then out of date, and later
/// changes may have left the sum of the records unchanged.
pub(crate) fn check_end(
    database: &mut dyn Database,
    AccountId(account): AccountId,
    head: &Head,
) -> Result<(), Failure> {
    let Revision(newest) = head.position.revision;
    database.query(
        "SELECT revision FROM log WHERE account = $1 AND revision > $2
        UNION ALL SELECT revision FROM base WHERE account = $1 AND revision > $2 ORDER BY 1 DESC LIMIT 1",
        &[
            AccountId(account).into(),
            Value::Integer(bounded(newest)),
        ],
        &mut |row| {
            Err(Failure::Damaged(format!(
                "the row of account {account} in table `account` is out of date: its log goes on to revision {}, and the row says {newest}",
                row.integer(0)?
            )))
        },
    )
}

/// Every row of the account is as it was written, but together they are wrong. The log shows which one is
/// missing, outdated or extra.
fn stray(
    database: &mut dyn Database,
    account: AccountId,
    state: &State,
) -> Result<Failure, Failure> {
    let AccountId(number) = account;
    let mut made = match super::base::load(database, account) {
        Ok(base) => base,
        Err(Failure::Damaged(why)) => {
            return Ok(Failure::Damaged(format!(
                "the records of account {number} are not those that belong to it; which ones is unknown: {why}"
            )));
        }
        Err(other) => return Err(other),
    };
    let mut expected = issued(database, "base_issued", account)?;
    while made.revision() < state.revision() {
        let entries = changes_since(database, account, made.position(), LOG_PAGE)?;
        if entries.is_empty() {
            let missing = made.revision().next();
            return Ok(Failure::Damaged(format!(
                "account {number} is at revision {}, and revision {missing} is missing from its log",
                state.revision()
            )));
        }
        for entry in &entries {
            made.advance(entry);
        }
        let put = super::append::issued(&entries);
        for (kind, number) in put.map_err(|error| Failure::Damaged(error.to_string()))? {
            let (kind, number) = (i64::from(kind), i64::from(number));
            let known = expected.entry(kind).or_insert(number);
            *known = number.max(*known);
        }
    }
    let difference = match state.difference(&made) {
        // A number that the records have as well is no difference between states.
        None => other_number(&expected, &issued(database, "issued", account)?),
        difference => difference,
    };
    let what = match difference {
        Some(difference) => difference_in_words(difference),
        None => secrets::misleading(database, account)?.unwrap_or_else(|| {
            "the sum of its rows in table `account` is not the one that they have".to_owned()
        }),
    };
    Ok(Failure::Damaged(format!("account {number}: {what}")))
}

/// The last issued number of each kind.
fn issued(
    database: &mut dyn Database,
    table: &str,
    account: AccountId,
) -> Result<BTreeMap<i64, i64>, Failure> {
    let mut issued = BTreeMap::new();
    let sql = format!("SELECT kind, number FROM {table} WHERE account = $1");
    database.query(&sql, &[account.into()], &mut |row| {
        issued.insert(row.integer(0)?, row.integer(1)?);
        Ok(())
    })?;
    Ok(issued)
}

fn other_number(expected: &BTreeMap<i64, i64>, found: &BTreeMap<i64, i64>) -> Option<Difference> {
    let kinds = expected.keys().chain(found.keys());
    let mut other = kinds.filter(|kind| expected.get(kind) != found.get(kind));
    other.find_map(|kind| decode_kind(*kind).ok().map(Difference::Issued))
}

/// How many entries of the log are read at once to find a row.
const LOG_PAGE: usize = 1000;

/// The tables of the current records.
const RECORDS: Source = Source {
    records: "SELECT number, body, checksum, natural_key FROM record
        WHERE account = $1 AND kind = $2 ORDER BY number",
    record: |account, key, row| {
        Ok(checksum::of_record(
            account,
            key,
            row.text(3)?,
            row.bytes(1)?,
        ))
    },
    numbers: "SELECT kind, number, checksum FROM issued WHERE account = $1",
    issued: checksum::of_issued,
    tables: ["record", "issued"],
};

/// The difference between the records and the replayed log.
pub(crate) fn difference_in_words(difference: Difference) -> String {
    let named = |kind: Kind, number: u32| format!("{} {number}", kind.noun());
    match difference {
        Difference::Revision { expected, found } => {
            format!("it is at revision {found}, and its log ends at {expected}")
        }
        Difference::Latest => "its last change was at another moment than its log says".to_owned(),
        Difference::Batch => "its last change came in another batch than its log says".to_owned(),
        Difference::Missing(kind, number) => format!(
            "the log makes {}, and the records don't have it",
            named(kind, number)
        ),
        Difference::Unexpected(kind, number) => format!(
            "the records have {}, which the log doesn't make, or deletes",
            named(kind, number)
        ),
        Difference::Other(kind, number) => format!(
            "the records have {} otherwise than the log makes it",
            named(kind, number)
        ),
        Difference::Issued(kind) => format!(
            "another number than the log gives is kept as the last of kind {}",
            kind.noun()
        ),
        Difference::Derived => {
            "the records are as the log makes them, and what is derived from them is not".to_owned()
        }
    }
}

pub(crate) fn account_entity(
    database: &mut dyn Database,
    account: AccountId,
) -> Result<Account, Failure> {
    let head = head(database, account)?;
    decode_account(account.0, &head.body)
}

pub(crate) fn decode_kind(stored: i64) -> Result<Kind, Failure> {
    let kind = u8::try_from(stored).ok().and_then(kind_of);
    kind.ok_or_else(|| Failure::Damaged(format!("numbers of an unknown kind {stored}")))
}

/// The last use of each key. The caller holds a transaction that sees one moment.
pub(crate) fn key_uses(
    database: &mut dyn Database,
    account: AccountId,
) -> Result<Vec<(ApiKeyId, Timestamp)>, Failure> {
    head(database, account)?;
    let mut uses = Vec::new();
    let mut content = 0;
    database.query(
        "SELECT key_number, at, checksum FROM key_use WHERE account = $1 ORDER BY key_number",
        &[account.into()],
        &mut |row| {
            let key = row.integer(0).unwrap_or(-1);
            let expected = row
                .integer(0)
                .and_then(|key| Ok(checksum::of_key_use(account, key, row.integer(1)?)));
            content ^= checksum::check_row(expected, row.integer(2), || {
                let AccountId(account) = account;
                format!("the row of API key {key} of account {account} in table `key_use`")
            })?;
            let at = Timestamp::from_millis(row.integer(1)?);
            uses.push((ApiKeyId::new(number(row, 0)?), at));
            Ok(())
        },
    )?;
    if uses_sum(database, account)? != content {
        return Err(stray_uses(account));
    }
    Ok(uses)
}

/// The combined checksums of the rows of `key_use`.
pub(crate) fn uses_sum(database: &mut dyn Database, account: AccountId) -> Result<i64, Failure> {
    number_in_account(database, account, "uses")
}

/// A number in the row of an account that its checksum does not cover.
pub(crate) fn number_in_account(
    database: &mut dyn Database,
    account: AccountId,
    column: &str,
) -> Result<i64, Failure> {
    let mut number = None;
    let sql = format!("SELECT {column} FROM account WHERE id = $1");
    database.query(&sql, &[account.into()], &mut |row| {
        let name = || format!("the row of account {} in table `account`", account.0);
        let found = row.integer(0);
        number = Some(found.map_err(|failure| checksum::unreadable(failure, name))?);
        Ok(())
    })?;
    number.ok_or(Failure::NoAccount(account))
}

pub(crate) fn stray_uses(AccountId(account): AccountId) -> Failure {
    Failure::Damaged(format!(
        "a row of table `key_use` of account {account} is missing, out of date, or should not be there"
    ))
}

/// Entries after `known`, at most `limit`. The known one is read as well, to compare it.
pub(crate) fn changes_since(
    database: &mut dyn Database,
    account: AccountId,
    known: LogPosition,
    limit: usize,
) -> Result<Vec<Entry>, Failure> {
    // Read before the log, which only grows: so an entry that is missing at its end is noticed as well.
    let newest = head(database, account)?.position.revision;
    let mut entries = Vec::new();
    // Whether the row of the known entry exists, and whether it is the known one.
    let (mut is_found, mut is_met) = (false, false);
    let mut expected = known.revision;
    let read = database.query(
        "SELECT revision, body, checksum FROM log WHERE account = $1 AND revision >= $2
        ORDER BY revision LIMIT $3",
        &[
            account.into(),
            Value::Integer(bounded(known.revision.0)),
            Value::Integer(bounded(limit.saturating_add(1))),
        ],
        &mut |row| {
            let found = Revision(number(row, 0)?);
            is_found |= found == known.revision;
            check_log(account, row)?;
            if found == known.revision {
                let entry = decode_entry(found, found, row.bytes(1)?)?;
                if !known.is_met_by(entry.position()) {
                    return Err(Failure::Diverged(account, known));
                }
                is_met = true;
                return Ok(());
            }
            expected = expected.next();
            entries.push(decode_entry(expected, found, row.bytes(1)?)?);
            Ok(())
        },
    );
    let is_seen = is_found || (known.revision == Revision(0) && !entries.is_empty());
    if !is_seen && matches!(read, Ok(()) | Err(Failure::Damaged(_))) {
        // It is the base, or the log does not have it (any more).
        explain_gap(database, account, known)?;
    }
    read?;
    let is_last = entries.len() + usize::from(is_met) <= limit;
    if is_last && expected < newest {
        return Err(Failure::Damaged(format!(
            "revision {newest} is missing from the log of account {}, or one before it",
            account.0
        )));
    }
    entries.truncate(limit);
    Ok(entries)
}

fn check_log(account: AccountId, row: &dyn Row) -> Result<(), Failure> {
    let revision = row.integer(0)?;
    let body = row.bytes(1);
    let expected = body.map(|body| checksum::of_log(account, revision, body));
    let checked = checksum::check_row(expected, row.integer(2), || {
        let AccountId(account) = account;
        format!("the row of revision {revision} of account {account} in table `log`")
    });
    checked.map(drop)
}

/// Writes the last batch of each account whose log has it. The batch of a base is no longer known.
pub(crate) fn fill_batches(database: &mut dyn Database) -> Result<(), Failure> {
    let mut last = Vec::new();
    database.query(
        "SELECT account.id, account.revision, log.body FROM account
        JOIN log ON log.account = account.id AND log.revision = account.revision",
        &[],
        &mut |row| {
            let revision = Revision(number(row, 1)?);
            let entry = decode_entry(revision, revision, row.bytes(2)?)?;
            last.push((AccountId(number(row, 0)?), entry.position()));
            Ok(())
        },
    )?;
    for (account, position) in last {
        put_batch(database, account, position)?;
    }
    Ok(())
}

/// A description, if the account's row has another last batch than the log.
pub(crate) fn misplaced(
    database: &mut dyn Database,
    account: AccountId,
) -> Result<Option<String>, Failure> {
    let mut misplaced = None;
    database.query(
        "SELECT account.revision, account.batch, log.body, base.revision, base.batch FROM account
        LEFT JOIN log ON log.account = account.id AND log.revision = account.revision
        LEFT JOIN base ON base.account = account.id AND base.revision = account.revision
        WHERE account.id = $1 AND (log.revision IS NOT NULL OR base.revision IS NOT NULL)",
        &[account.into()],
        &mut |row| {
            let said = position(row, 0, 1)?;
            // A fully truncated log ends at its base.
            let found = match position(row, 3, 4) {
                Ok(base) => base,
                Err(_) => decode_entry(said.revision, said.revision, row.bytes(2)?)?.position(),
            };
            if said != found {
                misplaced = Some(format!(
                    "it says that another batch made revision {} than the log does",
                    said.revision
                ));
            }
            Ok(())
        },
    )?;
    Ok(misplaced)
}

/// Writes the last batch of the account.
pub(crate) fn put_batch(
    database: &mut dyn Database,
    account: AccountId,
    position: LogPosition,
) -> Result<(), Failure> {
    database.execute(
        "UPDATE account SET batch = $1 WHERE id = $2",
        &[Value::Integer(batch_of(position)), account.into()],
    )?;
    Ok(())
}

pub(crate) fn decode_account(number: u32, body: &[u8]) -> Result<Account, Failure> {
    match Change::decode(body) {
        Ok(Change::PutAccount(account)) if account.id == AccountId(number) => Ok(account),
        Ok(_) => Err(Failure::Damaged(format!(
            "account {number} holds something else"
        ))),
        Err(error) => Err(Failure::Damaged(format!("account {number}: {error}"))),
    }
}

pub(crate) fn decode_record(kind: Kind, number: u32, body: &[u8]) -> Result<Change, Failure> {
    let record = Change::decode_record(kind, number, body);
    record.map_err(|error| not_the_record(kind, number, &error))
}

/// Describes a record that isn't the one with this key.
pub(crate) fn not_the_record(kind: Kind, number: u32, error: &RecordError) -> Failure {
    let noun = kind.noun();
    Failure::Damaged(match error {
        RecordError::Other => format!("{noun} {number} holds something else"),
        RecordError::Decode(error) => format!("{noun} {number}: {error}"),
    })
}

pub(crate) fn decode_entry(
    expected: Revision,
    found: Revision,
    body: &[u8],
) -> Result<Entry, Failure> {
    if found != expected {
        return Err(Failure::Damaged(if found < expected {
            format!("revision {found} is in the log where revision {expected} should be")
        } else {
            format!("revision {expected} is missing from the log")
        }));
    }
    match Entry::decode(body) {
        Ok(entry) if entry.revision == found => Ok(entry),
        Ok(_) => Err(Failure::Damaged(format!("revision {found} holds another"))),
        Err(error) => Err(Failure::Damaged(format!("revision {found}: {error}"))),
    }
}

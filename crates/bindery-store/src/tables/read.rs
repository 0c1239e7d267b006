//! What is read from the tables: accounts, the current state, the log.

use bindery_core::audit::AuditEntry;
use bindery_core::change::{Change, Entry, LogPosition};
use bindery_core::id::{AccountId, ApiKeyId, Kind, Revision};
use bindery_core::place::Account;
use bindery_core::state::{RecordError, State};
use bindery_core::time::Timestamp;

use super::base::explain_gap;
use super::fold::fold;
use super::{Database, Failure, Row, Value, batch_of, bounded, number, position};
use crate::Batch;
use crate::record::kind_of;

/// Where an account stands.
pub(crate) const HEAD: &str =
    "SELECT revision, latest, audit_head, latest_audit, batch FROM account WHERE id = $1";

/// How far an account has come.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) position: LogPosition,
    /// When its last entry was decided.
    pub(crate) latest: Timestamp,
    /// The number of its last audit entry.
    pub(crate) audit: u64,
    /// The latest time in its audit log.
    pub(crate) audit_latest: Timestamp,
}

impl Head {
    /// Reads a row of [`HEAD`].
    pub(crate) fn read(row: &dyn Row) -> Result<Self, Failure> {
        Ok(Self {
            position: position(row, 0, 4)?,
            latest: Timestamp::from_millis(row.integer(1)?),
            audit: number(row, 2)?,
            audit_latest: Timestamp::from_millis(row.integer(3)?),
        })
    }

    /// The numbers that new audit entries get, and the latest time up to each.
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

    /// Where the account stands with a batch more.
    pub(crate) fn after(&self, batch: &Batch) -> Self {
        let last = batch.entries.last();
        let audit_latest = batch.audit.iter().map(|entry| entry.at).max();
        let audited = u64::try_from(batch.audit.len()).expect("a length fits into 64 bits");
        Self {
            position: last.map_or(self.position, Entry::position),
            latest: last.map_or(self.latest, |entry| entry.at),
            audit: self.audit.saturating_add(audited),
            audit_latest: audit_latest
                .map_or(self.audit_latest, |latest| latest.max(self.audit_latest)),
        }
    }
}

pub(crate) fn head(database: &mut dyn Database, account: AccountId) -> Result<Head, Failure> {
    let mut head = None;
    database.query(HEAD, &[account.into()], &mut |row| {
        head = Some(Head::read(row)?);
        Ok(())
    })?;
    head.ok_or(Failure::NoAccount(account))
}

pub(crate) fn heads(database: &mut dyn Database) -> Result<Vec<(AccountId, LogPosition)>, Failure> {
    let mut heads = Vec::new();
    let sql = "SELECT id, revision, batch FROM account ORDER BY id";
    database.query(sql, &[], &mut |row| {
        let account = AccountId(number(row, 0)?);
        heads.push((account, position(row, 1, 2)?));
        Ok(())
    })?;
    Ok(heads)
}

pub(crate) fn accounts(database: &mut dyn Database) -> Result<Vec<Account>, Failure> {
    let mut accounts = Vec::new();
    database.query(
        "SELECT id, body FROM account ORDER BY id",
        &[],
        &mut |row| {
            accounts.push(decode_account(number(row, 0)?, row.bytes(1)?)?);
            Ok(())
        },
    )?;
    Ok(accounts)
}

/// The state from the current records. The caller holds a transaction that sees one moment, so it is the state of one
/// revision.
pub(crate) fn load(database: &mut dyn Database, account: AccountId) -> Result<State, Failure> {
    let Head {
        position, latest, ..
    } = head(database, account)?;
    let entity = account_entity(database, account)?;
    fold(
        database,
        entity,
        (position, latest),
        "SELECT number, body FROM record WHERE account = $1 AND kind = $2 ORDER BY number",
        "SELECT kind, number FROM issued WHERE account = $1",
    )
}

pub(crate) fn account_entity(
    database: &mut dyn Database,
    account: AccountId,
) -> Result<Account, Failure> {
    let mut entity = None;
    let sql = "SELECT body FROM account WHERE id = $1";
    database.query(sql, &[account.into()], &mut |row| {
        entity = Some(decode_account(account.0, row.bytes(0)?)?);
        Ok(())
    })?;
    entity.ok_or(Failure::NoAccount(account))
}

pub(crate) fn decode_kind(stored: i64) -> Result<Kind, Failure> {
    let kind = u8::try_from(stored).ok().and_then(kind_of);
    kind.ok_or_else(|| Failure::Damaged(format!("numbers of an unknown kind {stored}")))
}

pub(crate) fn key_uses(
    database: &mut dyn Database,
    account: AccountId,
) -> Result<Vec<(ApiKeyId, Timestamp)>, Failure> {
    head(database, account)?;
    let mut uses = Vec::new();
    database.query(
        "SELECT key_number, at FROM key_use WHERE account = $1 ORDER BY key_number",
        &[account.into()],
        &mut |row| {
            let at = Timestamp::from_millis(row.integer(1)?);
            uses.push((ApiKeyId::new(number(row, 0)?), at));
            Ok(())
        },
    )?;
    Ok(uses)
}

/// Entries after `known`, at most `limit`. That one is read as well, to see that it is the one that is known.
pub(crate) fn changes_since(
    database: &mut dyn Database,
    account: AccountId,
    known: LogPosition,
    limit: usize,
) -> Result<Vec<Entry>, Failure> {
    let mut entries = Vec::new();
    let mut is_met = false;
    let mut expected = known.revision;
    let read = database.query(
        "SELECT revision, body FROM log WHERE account = $1 AND revision >= $2
        ORDER BY revision LIMIT $3",
        &[
            account.into(),
            Value::Integer(bounded(known.revision.0)),
            Value::Integer(bounded(limit.saturating_add(1))),
        ],
        &mut |row| {
            let found = Revision(number(row, 0)?);
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
    let is_seen = is_met || (known.revision == Revision(0) && !entries.is_empty());
    if !is_seen && matches!(read, Ok(()) | Err(Failure::Damaged(_))) {
        // It is what the log begins at, or something that the log hasn't, or hasn't any more.
        explain_gap(database, account, known)?;
    }
    read?;
    entries.truncate(limit);
    Ok(entries)
}

/// Writes down the last batch of each account whose log has it. Of a base, nobody knows it any more.
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

/// In words, if the account says that another batch has brought it to where it is than the log does.
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
            // A log that has forgotten all that it had ends where its base is.
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

/// Writes down which batch has brought the account to where it is.
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

/// What a record is that isn't the one with this key.
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
        return Err(Failure::Damaged(format!(
            "revision {expected} is missing from the log"
        )));
    }
    match Entry::decode(body) {
        Ok(entry) if entry.revision == found => Ok(entry),
        Ok(_) => Err(Failure::Damaged(format!("revision {found} holds another"))),
        Err(error) => Err(Failure::Damaged(format!("revision {found}: {error}"))),
    }
}

//! The parts of an append that both databases share, between taking the account's row and writing.

use std::collections::BTreeMap;

use bindery_core::change::{Change, Entry, LogPosition};
use bindery_core::id::{AccountId, ApiKeyId, Kind};
use bindery_core::place::Account;
use bindery_core::time::Timestamp;

use super::checksum::of_account;
use super::read::{Head, changes_since, check_absent};
use super::{Database, Failure, Value};
use crate::AppendError;
use crate::record::number_of;

/// Stores a new account at revision 0, if nothing is left of an older one with its number. The caller holds a
/// transaction: until it ends, nothing else can write rows of the account.
pub(crate) fn create_account(
    database: &mut dyn Database,
    account: &Account,
) -> Result<(), Failure> {
    let latest = account.created_at.as_millis();
    let body = Change::PutAccount(account.clone()).encode();
    let checksum = of_account(account.id, (0, 0), latest, (0, 0), &body);
    let inserted = database.execute(
        "INSERT INTO account (id, revision, batch, latest, audit_head, newest_audit, body, content, checksum)
        VALUES ($1, 0, 0, $2, 0, 0, $3, 0, $4)",
        &[
            account.id.into(),
            Value::Integer(latest),
            Value::Bytes(&body),
            Value::Integer(checksum.stored()),
        ],
    );
    match inserted {
        Ok(_) => check_absent(database, account.id),
        Err(Failure::Taken(_)) => Err(Failure::AccountExists(account.id)),
        Err(failure) => Err(failure),
    }
}

/// A failure of an append before anything was committed.
pub(crate) fn refuse(failure: Failure, place: &str) -> AppendError {
    match failure {
        Failure::NoAccount(_) => AppendError::Contradiction(failure.at(place).to_string()),
        Failure::Taken(cause) => AppendError::Contradiction(cause.to_string()),
        Failure::Forgotten(_, until) => AppendError::Forgotten { until },
        Failure::Diverged(_, known) => AppendError::Diverged {
            known: known.revision,
        },
        other => AppendError::Unavailable(other.at(place).into()),
    }
}

/// The entries after `known` up to the newest revision; a missing one is damage.
pub(crate) fn missed(
    database: &mut dyn Database,
    place: &str,
    account: AccountId,
    known: LogPosition,
    head: &Head,
) -> Result<Vec<Entry>, AppendError> {
    let newest = head.position.revision;
    if known.is_met_by(head.position) {
        return Ok(Vec::new());
    }
    if known.revision >= newest {
        return Err(refuse(Failure::Diverged(account, known), place));
    }
    let entries = changes_since(database, account, known, usize::MAX)
        .map_err(|failure| refuse(failure, place))?;
    if entries.last().map(|entry| entry.revision) != Some(newest) {
        let why = format!("revision {newest} is missing from the log");
        return Err(refuse(Failure::Damaged(why), place));
    }
    Ok(entries)
}

/// The stored number of a kind.
pub(crate) fn stored(kind: Kind) -> Result<u8, AppendError> {
    number_of(kind).ok_or_else(|| {
        let noun = kind.noun();
        AppendError::Contradiction(format!("there is no place to keep a {noun}"))
    })
}

/// The highest number of each kind that was put, as [`bindery_core::state::State::apply`] remembers it in
/// memory.
pub(crate) fn issued(entries: &[Entry]) -> Result<BTreeMap<u8, u32>, AppendError> {
    let puts = entries
        .iter()
        .flat_map(|entry| &entry.changes)
        .filter(|change| !change.is_delete());
    let mut highest = BTreeMap::new();
    for (kind, number) in puts.map(Change::key) {
        let known = highest.entry(stored(kind)?).or_insert(number);
        *known = number.max(*known);
    }
    Ok(highest)
}

/// The last use of each key.
pub(crate) fn last_uses(uses: &[(ApiKeyId, Timestamp)]) -> BTreeMap<ApiKeyId, Timestamp> {
    let mut latest = BTreeMap::new();
    for (key, at) in uses {
        let known = latest.entry(*key).or_insert(*at);
        *known = (*at).max(*known);
    }
    latest
}

/// The error for a taken natural key.
pub(crate) fn taken(kind: Kind, key: &str) -> AppendError {
    let noun = kind.noun();
    AppendError::Contradiction(format!(
        "there is another {noun} with the natural key `{key}`"
    ))
}

//! The checksum of each row. It covers the table, the account and all other columns, so that an altered or
//! misplaced row is noticed before it is used. It protects against damage, not against attackers.
//!
//! A whole row can still be missing, duplicated or out of date. So an account's row has the `content` of its
//! account: the checksums of all its records, issued numbers and secrets, combined by exclusive or. A base
//! has the same for its rows.
//!
//! Invariant: a checksum is made from what is stored, never from what was meant to be stored.

use bindery_core::audit::AuditEntry;
use bindery_core::id::{AccountId, Id as _, Kind};
use bindery_core::text::RequestId;
use bindery_core::time::Timestamp;
use twox_hash::XxHash3_64;

use super::{Failure, Row, bounded, kept};
use crate::copy::{
    ACCOUNT, AUDIT, BASE, BASE_ISSUED, BASE_RECORD, Cell, Column, ISSUED, KEY_USE, LOG, RECORD,
    SECRET, Table,
};
use crate::record::kind_of;

/// A checksum of the columns so far, in the order of [`Table::columns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checksum(u64);

impl Checksum {
    /// Of a row of this table and account, before its first column.
    pub(crate) const fn of(table: u8, AccountId(account): AccountId) -> Self {
        Self(0).integer(table as i64).integer(account as i64)
    }

    pub(crate) const fn integer(self, number: i64) -> Self {
        // The finalizer of SplitMix64: each bit of the number changes half of the bits.
        let mut bits = (self.0 ^ number.cast_unsigned()).wrapping_add(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(bits ^ (bits >> 31))
    }

    #[inline]
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        Self(XxHash3_64::oneshot_with_seed(self.0, bytes))
    }

    #[inline]
    pub(crate) fn text(self, text: Option<&str>) -> Self {
        match text {
            None => self.integer(0),
            Some(text) => self.integer(1).bytes(text.as_bytes()),
        }
    }

    /// As a column value.
    pub(crate) const fn stored(self) -> i64 {
        self.0.cast_signed()
    }
}

pub(crate) fn of_log(account: AccountId, revision: i64, body: &[u8]) -> Checksum {
    Checksum::of(LOG, account).integer(revision).bytes(body)
}

#[inline]
pub(crate) fn of_record(
    account: AccountId,
    (kind, number): (i64, i64),
    natural_key: Option<&str>,
    body: &[u8],
) -> Checksum {
    let key = Checksum::of(RECORD, account).integer(kind).integer(number);
    key.text(natural_key).bytes(body)
}

#[inline]
pub(crate) fn of_base_record(
    account: AccountId,
    (kind, number): (i64, i64),
    body: &[u8],
) -> Checksum {
    let key = Checksum::of(BASE_RECORD, account);
    key.integer(kind).integer(number).bytes(body)
}

pub(crate) fn of_issued(account: AccountId, kind: i64, number: i64) -> Checksum {
    Checksum::of(ISSUED, account).integer(kind).integer(number)
}

pub(crate) fn of_base_issued(account: AccountId, kind: i64, number: i64) -> Checksum {
    let table = Checksum::of(BASE_ISSUED, account);
    table.integer(kind).integer(number)
}

pub(crate) fn of_secret(account: AccountId, (kind, number): (i64, i64), hash: &[u8]) -> Checksum {
    let key = Checksum::of(SECRET, account).integer(kind).integer(number);
    key.bytes(hash)
}

pub(crate) fn of_key_use(account: AccountId, key: i64, at: i64) -> Checksum {
    Checksum::of(KEY_USE, account).integer(key).integer(at)
}

/// Of the row of an account.
pub(crate) fn of_account(
    account: AccountId,
    (revision, batch): (i64, i64),
    latest: i64,
    (audit_head, newest_audit): (i64, i64),
    body: &[u8],
) -> Checksum {
    Checksum::of(ACCOUNT, account)
        .integer(revision)
        .integer(batch)
        .integer(latest)
        .integer(audit_head)
        .integer(newest_audit)
        .bytes(body)
}

/// Of the row of a base.
pub(crate) fn of_base(
    account: AccountId,
    (revision, batch): (i64, i64),
    newest_change: i64,
    content: i64,
    body: &[u8],
) -> Checksum {
    Checksum::of(BASE, account)
        .integer(revision)
        .integer(batch)
        .integer(newest_change)
        .integer(content)
        .bytes(body)
}

/// Of an audit entry as it is stored.
pub(crate) fn of_audit(
    account: AccountId,
    (number, latest): (i64, Timestamp),
    entry: &AuditEntry,
) -> Checksum {
    let text = |text: &str| kept(text).into_owned();
    Checksum::of(AUDIT, account)
        .integer(number)
        .integer(entry.user.number().into())
        .integer(entry.at.as_millis())
        .integer(latest.as_millis())
        .integer(entry.status.into())
        .text(Some(entry.kind.name()))
        .text(Some(&text(&entry.operation)))
        .text(Some(&text(&entry.address)))
        .text(entry.text.as_deref().map(text).as_deref())
        .text(entry.variables.as_deref().map(text).as_deref())
        .text(entry.problem.as_deref().map(text).as_deref())
        .integer(entry.key.map_or(0, |key| key.number().into()))
        .text(entry.request.as_ref().map(RequestId::as_str))
        .integer(
            entry
                .revision
                .map_or(NO_REVISION, |revision| bounded(revision.0)),
        )
}

/// The revision of an audit entry that has none.
pub(crate) const NO_REVISION: i64 = -1;

/// Of a row of any table except those of accounts and bases; its columns begin with the first one that was
/// read.
pub(crate) fn of_row(
    table: &Table,
    account: AccountId,
    row: &dyn Row,
) -> Result<Checksum, Failure> {
    let mut checksum = Checksum::of(table.code, account);
    for (place, (_, column)) in table.columns.iter().enumerate() {
        checksum = match column {
            Column::Integer => checksum.integer(row.integer(place)?),
            Column::Text => checksum.text(row.text(place)?),
            Column::Bytes => checksum.bytes(row.bytes(place)?),
        };
    }
    Ok(checksum)
}

/// The same for a row that will be written.
pub(crate) fn of_cells(table: &Table, account: AccountId, cells: &[Cell]) -> Checksum {
    let table = Checksum::of(table.code, account);
    cells.iter().fold(table, |checksum, cell| match cell {
        Cell::Integer(number) => checksum.integer(*number),
        Cell::Text(text) => checksum.text(text.as_deref()),
        Cell::Bytes(bytes) => checksum.bytes(bytes),
    })
}

/// Refuses a row with a wrong checksum or an unreadable column. Returns its checksum. `row` describes the
/// row.
#[inline]
pub(crate) fn check_row(
    expected: Result<Checksum, Failure>,
    found: Result<i64, Failure>,
    row: impl FnOnce() -> String,
) -> Result<i64, Failure> {
    match (expected, found) {
        (Ok(expected), Ok(found)) if expected.stored() == found => Ok(found),
        (Ok(_), Ok(_)) => Err(altered(&row())),
        (Err(failure), _) | (_, Err(failure)) => Err(unreadable(failure, row)),
    }
}

/// Damage that was found while a row was read, with a description of the row.
#[cold]
pub(crate) fn unreadable(failure: Failure, row: impl FnOnce() -> String) -> Failure {
    match failure {
        Failure::Damaged(why) => Failure::Damaged(format!("{} can't be read: {why}", row())),
        other => other,
    }
}

#[cold]
pub(crate) fn altered(row: &str) -> Failure {
    Failure::Damaged(format!(
        "{row} was altered since it was written: its checksum is another"
    ))
}

/// The row of a record in words.
pub(crate) fn name_of(
    table: &str,
    AccountId(account): AccountId,
    kind: i64,
    number: i64,
) -> String {
    let noun = u8::try_from(kind).ok().and_then(kind_of).map(Kind::noun);
    let noun = noun.unwrap_or("unknown kind");
    format!("the row of {noun} {number} of account {account} in table `{table}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_its_place_and_its_table_count() {
        let account = AccountId(1);
        let of = |kind, number, key, body: &[u8]| of_record(account, (kind, number), key, body);
        let row = of(2, 17, Some("1/S5"), b"body");
        for other in [
            of(17, 2, Some("1/S5"), b"body"),
            of(2, 18, Some("1/S5"), b"body"),
            of(2, 17, Some("1/S4"), b"body"),
            of(2, 17, Some(""), b"body"),
            of(2, 17, None, b"body"),
            of(2, 17, Some("1/S5"), b"bodz"),
            of(2, 17, Some("1/S5b"), b"ody"),
            of_record(AccountId(2), (2, 17), Some("1/S5"), b"body"),
            of_base_record(account, (2, 17), b"body"),
        ] {
            assert_ne!(row, other);
        }
        assert_ne!(of_issued(account, 1, 2), of_base_issued(account, 1, 2));
        assert_ne!(of_issued(account, 1, 2), of_key_use(account, 1, 2));
    }

    #[test]
    fn checksums_stay_what_they_are() {
        // Stored forever: another value would make every row damaged.
        let row = of_record(AccountId(1), (2, 17), Some("1/S5"), b"body");
        assert_eq!(row.stored(), 2_318_884_002_261_034_556);
    }
}

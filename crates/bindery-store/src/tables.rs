//! What both databases share: the tables, and every statement that is the same on both, over a minimal trait
//! of a connection. The differences (opening, locking, committing, writing many rows) are in each store.
//!
//! Parameters are written $1, $2, … in the order in which they first appear: names in SQLite, positions in
//! PostgreSQL.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::num::NonZeroU64;

use bindery_core::change::LogPosition;
use bindery_core::id::{AccountId, Revision};

use crate::{Cause, StoreError};

pub(crate) mod append;
pub(crate) mod audit;
pub(crate) mod base;
pub(crate) mod checksum;
pub(crate) mod fold;
pub(crate) mod known_to;
pub(crate) mod read;
pub(crate) mod replay;
pub(crate) mod schema;
pub(crate) mod seal;
pub(crate) mod secrets;
pub(crate) mod time_repair;

/// A connection that runs statements.
pub(crate) trait Database {
    /// Runs a query, and passes each row to `take` as it arrives.
    fn query(&mut self, sql: &str, values: &[Value<'_>], take: TakeRow<'_>) -> Result<(), Failure>;

    /// Runs a statement, and returns how many rows it touched.
    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<usize, Failure>;

    /// The name of the type of bytes.
    fn type_of_bytes(&self) -> &'static str {
        "BLOB"
    }

    /// Describes the damage in the database's own structure, including indexes, as far as it can find it.
    fn inspect(&mut self) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    /// Makes a read-only transaction usable again after a statement failed in it.
    fn recover(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Takes each row of a query.
pub(crate) type TakeRow<'a> = &'a mut dyn FnMut(&dyn Row) -> Result<(), Failure>;

/// A row of a query. Columns are counted from 0; a column of another type is damage.
pub(crate) trait Row {
    fn integer(&self, column: usize) -> Result<i64, Failure>;
    fn text(&self, column: usize) -> Result<Option<&str>, Failure>;
    fn bytes(&self, column: usize) -> Result<&[u8], Failure>;
}

/// A parameter of a statement.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Integer(i64),
    Text(Option<&'a str>),
    Bytes(&'a [u8]),
}

impl From<AccountId> for Value<'_> {
    fn from(AccountId(number): AccountId) -> Self {
        Self::Integer(number.into())
    }
}

/// Rows of an account that are written many at a time, with the same statement on both databases.
pub(crate) struct Rows<'a> {
    /// The table with its columns, the account's number first.
    pub(crate) into: &'a str,
    /// What follows the values.
    pub(crate) or: &'a str,
}

/// How many rows one statement writes. There are only a few sizes below it, so a connection keeps few
/// prepared statements.
const ROWS_AT_ONCE: usize = 128;

impl Rows<'_> {
    pub(crate) fn insert<'v, R>(
        &self,
        database: &mut dyn Database,
        account: AccountId,
        rows: impl Iterator<Item = R>,
    ) -> Result<(), Failure>
    where
        R: AsRef<[Value<'v>]>,
    {
        let rows: Vec<R> = rows.collect();
        let mut left = rows.as_slice();
        let mut size = ROWS_AT_ONCE;
        while !left.is_empty() {
            while size > left.len() {
                size /= 2;
            }
            let (now, later) = left.split_at(size);
            left = later;
            let mut values = vec![account.into()];
            values.extend(now.iter().flat_map(|row| row.as_ref().iter().cloned()));
            let columns = now.first().map_or(0, |row| row.as_ref().len());
            database.execute(&self.statement(size, columns), &values)?;
        }
        Ok(())
    }

    fn statement(&self, rows: usize, columns: usize) -> String {
        let mut sql = format!("INSERT INTO {} VALUES ", self.into);
        let mut place = 2;
        for row in 0..rows {
            sql.push_str(if row == 0 { "($1" } else { ", ($1" });
            for _ in 0..columns {
                let _ = write!(sql, ", ${place}");
                place += 1;
            }
            sql.push(')');
        }
        sql.push_str(self.or);
        sql
    }
}

/// An inner failure, without the place where it happened.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The database failed, or is unavailable.
    Database(Cause),
    /// Something stored can't be what we wrote; a description.
    Damaged(String),
    /// A row with one of its unique keys exists already, or a row breaks another constraint.
    Taken(Cause),
    NoAccount(AccountId),
    AccountExists(AccountId),
    /// The log of the account begins after this revision.
    Forgotten(AccountId, Revision),
    /// The log of the account does not reach this position, or was rolled back.
    Diverged(AccountId, LogPosition),
}

impl Failure {
    /// The same for the caller of the store.
    pub(crate) fn at(self, place: &str) -> StoreError {
        match self {
            Self::Database(cause) | Self::Taken(cause) => StoreError::Unavailable(cause),
            Self::Damaged(why) => StoreError::Corrupt {
                path: place.to_owned(),
                why,
            },
            Self::NoAccount(account) => StoreError::NoAccount(account),
            Self::AccountExists(account) => StoreError::AccountExists(account),
            Self::Forgotten(account, until) => StoreError::Forgotten { account, until },
            Self::Diverged(account, known) => StoreError::Diverged {
                account,
                known: known.revision,
            },
        }
    }
}

/// A text as every database keeps it: PostgreSQL can't store NUL.
pub(crate) fn kept(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}").into()
    } else {
        text.into()
    }
}

/// A number of a row in the type that it was written from.
pub(crate) fn number<T: TryFrom<i64>>(row: &dyn Row, column: usize) -> Result<T, Failure> {
    let found = row.integer(column)?;
    T::try_from(found).map_err(|_| {
        Failure::Damaged(format!(
            "{found} in column {column} of a row is out of range"
        ))
    })
}

/// The position of a row that has its revision in one column and its batch in another.
pub(crate) fn position(
    row: &dyn Row,
    revision: usize,
    batch: usize,
) -> Result<LogPosition, Failure> {
    Ok(LogPosition {
        revision: Revision(number(row, revision)?),
        batch: NonZeroU64::new(row.integer(batch)?.cast_unsigned()),
    })
}

/// The batch of a position as a column value.
pub(crate) fn batch_of(position: LogPosition) -> i64 {
    position.batch.map_or(0, NonZeroU64::get).cast_signed()
}

/// Refuses a table in which rows of a scan are not found by their keys.
pub(crate) fn check_touched(table: &str, rows: usize, touched: usize) -> Result<(), Failure> {
    if touched == rows {
        return Ok(());
    }
    Err(Failure::Damaged(format!(
        "of {rows} rows in table `{table}` only {touched} are found by their keys: rebuild its indexes, and try again"
    )))
}

/// Limited to the range of a column: nothing stored is beyond it.
pub(crate) fn bounded(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

//! What the two databases have in common: the tables, and every statement that is the same on both, over the little that a
//! connection must be able to do. What differs (opening, locking, committing, writing many rows) is beside each store.
//!
//! Parameters are written $1, $2, … in the order in which they first appear: names to SQLite, places to PostgreSQL.

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
    /// Runs a query, and hands over each row as it comes.
    fn query(&mut self, sql: &str, values: &[Value<'_>], take: TakeRow<'_>) -> Result<(), Failure>;

    /// Runs a statement, and tells how many rows it touched.
    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<usize, Failure>;

    /// What a column of bytes is called.
    fn type_of_bytes(&self) -> &'static str {
        "BLOB"
    }

    /// Looks for damage in the database's own structure, indexes included, as far as it can say; in words.
    fn inspect(&mut self) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    /// Makes a transaction that only looks usable again after a statement failed in it.
    fn recover(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// What is done with each row of a query.
pub(crate) type TakeRow<'a> = &'a mut dyn FnMut(&dyn Row) -> Result<(), Failure>;

/// A row that a query found. Columns are counted from 0; one of another type is damage.
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

/// Rows of an account that are written many at a time, on both databases in the same words.
pub(crate) struct Rows<'a> {
    /// The table with its columns, the account's number first.
    pub(crate) into: &'a str,
    /// What follows the values.
    pub(crate) or: &'a str,
}

/// How many rows one statement writes. The few sizes below it are all that a connection has to keep prepared.
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

/// What can go wrong inside, before it is known at which place it happened.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The database failed, or can't be reached.
    Database(Cause),
    /// Something stored can't be what we wrote; says what.
    Damaged(String),
    /// A row with one of its unique keys is there already, or a row breaks another constraint.
    Taken(Cause),
    NoAccount(AccountId),
    AccountExists(AccountId),
    /// The log of the account begins after this revision.
    Forgotten(AccountId, Revision),
    /// The log of the account has never come to this position, or has lost it again.
    Diverged(AccountId, LogPosition),
}

impl Failure {
    /// The same for whoever called the store.
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

/// A text as every database keeps it: PostgreSQL has no place for NUL, and refuses all that is written with it.
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

/// The batch of a position as its column has it.
pub(crate) fn batch_of(position: LogPosition) -> i64 {
    position.batch.map_or(0, NonZeroU64::get).cast_signed()
}

/// Refuses a table in which rows that a scan has found are not found by their keys.
pub(crate) fn check_touched(table: &str, rows: usize, touched: usize) -> Result<(), Failure> {
    if touched == rows {
        return Ok(());
    }
    Err(Failure::Damaged(format!(
        "of {rows} rows in table `{table}` only {touched} are found by their keys: rebuild its indexes, and try again"
    )))
}

/// As far as a column reaches: nothing stored lies beyond it.
pub(crate) fn bounded(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

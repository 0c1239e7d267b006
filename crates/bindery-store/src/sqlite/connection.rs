//! A SQLite connection for the shared statements.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, ToSql, params_from_iter};

use crate::tables::{Database, Failure, Row, TakeRow, Value};

/// Transactions lend it, so it is a shared reference.
impl Database for &Connection {
    fn query(&mut self, sql: &str, values: &[Value<'_>], take: TakeRow<'_>) -> Result<(), Failure> {
        let mut statement = self.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            take(row)?;
        }
        Ok(())
    }

    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<usize, Failure> {
        let mut statement = self.prepare_cached(sql)?;
        Ok(statement.execute(params_from_iter(values))?)
    }
}

/// An exclusive one.
impl Database for Connection {
    fn inspect(&mut self) -> Result<Vec<String>, Failure> {
        let mut found = Vec::new();
        Database::query(self, "PRAGMA integrity_check", &[], &mut |row| {
            found.extend(row.text(0)?.filter(|said| *said != "ok").map(str::to_owned));
            Ok(())
        })?;
        Ok(found)
    }

    fn query(&mut self, sql: &str, values: &[Value<'_>], take: TakeRow<'_>) -> Result<(), Failure> {
        Database::query(&mut &*self, sql, values, take)
    }

    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<usize, Failure> {
        Database::execute(&mut &*self, sql, values)
    }
}

impl Row for rusqlite::Row<'_> {
    fn integer(&self, column: usize) -> Result<i64, Failure> {
        Ok(self.get(column)?)
    }

    fn text(&self, column: usize) -> Result<Option<&str>, Failure> {
        let text = self.get_ref(column)?.as_str_or_null();
        Ok(text.map_err(rusqlite::Error::from)?)
    }

    fn bytes(&self, column: usize) -> Result<&[u8], Failure> {
        let bytes = self.get_ref(column)?.as_blob();
        Ok(bytes.map_err(rusqlite::Error::from)?)
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
            Self::Text(None) => ValueRef::Null,
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        if is_damage(&error) {
            Self::Damaged(error.to_string())
        } else if is_taken(&error) {
            Self::Taken(error.into())
        } else {
            Self::Database(error.into())
        }
    }
}

/// Whether SQLite, or the type of a value, shows that the file is damaged.
fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..) => true,
        other => matches!(
            other.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        ),
    }
}

/// Whether a row with one of its unique keys exists already.
pub(super) fn is_taken(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

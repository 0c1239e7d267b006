//! Reads a data directory while a server uses it, and fills one from a backup.

use std::path::Path;

use super::file::{Draft, open_to_look};
use crate::StoreError;
use crate::copy::{Import, Snapshot, Target};
use crate::tables::{Database, Failure, TakeRow, Value};

/// In a transaction, which with a WAL sees one moment and blocks no writer. The WAL can't be reset before it
/// ends.
pub(super) fn snapshot(data_dir: &Path) -> Result<Snapshot, StoreError> {
    let (place, connection) = open_to_look(data_dir)?;
    Ok(Snapshot::new(place, Box::new(connection)))
}

pub(super) fn import(data_dir: &Path) -> Result<Import, StoreError> {
    let draft = Draft::begin(data_dir)?;
    Import::begin(data_dir.display().to_string(), Box::new(draft))
}

impl Database for Draft {
    fn query(&mut self, sql: &str, values: &[Value<'_>], take: TakeRow<'_>) -> Result<(), Failure> {
        self.connection.query(sql, values, take)
    }

    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<usize, Failure> {
        Database::execute(&mut self.connection, sql, values)
    }
}

impl Target for Draft {
    fn begin(&mut self) -> Result<(), Failure> {
        Ok(self.connection.execute_batch("BEGIN")?)
    }

    fn commit(&mut self) -> Result<(), Failure> {
        Ok(self.connection.execute_batch("COMMIT")?)
    }

    /// No other process can have written into it.
    fn finish(mut self: Box<Self>, _accounts: i64) -> Result<(), Failure> {
        self.commit()?;
        Draft::finish(*self)
    }
}

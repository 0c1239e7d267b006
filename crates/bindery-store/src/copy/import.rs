//! A new store out of parts. It is no store until it is finished: whoever opens it before is told that it is a part of one.

use std::fmt;

use super::{Cell, Part};
use crate::StoreError;
use crate::tables::{Database, Failure, Rows, Value};

/// How many rows go into one transaction.
const COMMIT_ROWS: usize = 16 * 1024;

/// What a database does for an import beside running statements.
pub(crate) trait Target: Database {
    fn begin(&mut self) -> Result<(), Failure>;
    fn commit(&mut self) -> Result<(), Failure>;
    /// Makes it a store, if it has so many accounts.
    fn finish(self: Box<Self>, accounts: i64) -> Result<(), Failure>;
}

/// A store in the making. Dropped before [`Import::finish`], it stays [`StoreError::Unfinished`].
pub struct Import {
    place: String,
    target: Box<dyn Target + Send>,
    accounts: i64,
    /// Rows since the last commit.
    rows: usize,
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Import").field(&self.place).finish()
    }
}

impl Import {
    pub(crate) fn begin(
        place: String,
        mut target: Box<dyn Target + Send>,
    ) -> Result<Self, StoreError> {
        target.begin().map_err(|failure| failure.at(&place))?;
        Ok(Self {
            place,
            target,
            accounts: 0,
            rows: 0,
        })
    }

    /// Writes one more part.
    pub fn take(&mut self, part: &Part) -> Result<(), StoreError> {
        self.write(part).map_err(|failure| failure.at(&self.place))
    }

    fn write(&mut self, part: &Part) -> Result<(), Failure> {
        let table = part.table;
        if table.begins_account() {
            self.accounts += 1;
        }
        let names = table.columns.iter().map(|(name, _)| *name);
        let names: Vec<&str> = [table.account].into_iter().chain(names).collect();
        let into = format!("{} ({})", table.name, names.join(", "));
        let rows = part.rows.iter();
        let rows = rows.map(|row| row.iter().map(value).collect::<Vec<_>>());
        Rows {
            into: &into,
            or: "",
        }
        .insert(&mut *self.target, part.account, rows)?;
        self.rows += part.rows.len();
        if self.rows >= COMMIT_ROWS {
            self.target.commit()?;
            self.target.begin()?;
            self.rows = 0;
        }
        Ok(())
    }

    /// Makes it a store. When this returns, it is on the disk and whole.
    pub fn finish(mut self) -> Result<(), StoreError> {
        let finished = self
            .target
            .commit()
            .and_then(|()| self.target.finish(self.accounts));
        finished.map_err(|failure| failure.at(&self.place))
    }
}

fn value(cell: &Cell) -> Value<'_> {
    match cell {
        Cell::Integer(number) => Value::Integer(*number),
        Cell::Text(text) => Value::Text(text.as_deref()),
        Cell::Bytes(bytes) => Value::Bytes(bytes),
    }
}

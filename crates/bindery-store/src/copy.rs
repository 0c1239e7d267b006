//! A whole store, or one account of it, as a stream of parts for any database. Backups consist of parts, and
//! a migration streams them from one database into another. A reader ([`Snapshot`]) sees one moment and
//! changes nothing; a writer ([`Import`]) makes a store only when it is complete.
//!
//! A part is some rows of one table of one account, bounded by [`ROWS_MAX`] and [`BYTES_MAX`]. Accounts come
//! by number, an account's tables in the order of [`TABLES`], rows by their keys. So the same content is the
//! same stream, from any database.

use bindery_core::id::AccountId;

use crate::tables::{Failure, Value};

mod file;
mod import;
mod snapshot;
mod verify;

pub use self::file::{Backup, BackupError, BackupWriter, Mark};
pub(crate) use self::file::{FrameWriter, encode};
pub use self::import::Import;
pub(crate) use self::import::Target;
pub use self::snapshot::{DAMAGED_MAX, Damage, Report, Snapshot};
pub(crate) use self::snapshot::{each_checked_page, each_page, next_page};
pub use self::verify::{Discrepancy, Verified, Verifier};

/// The most rows of a part.
pub(crate) const ROWS_MAX: usize = 512;
/// A part takes no more rows after this many bytes; one row may be larger.
pub(crate) const BYTES_MAX: usize = 256 * 1024;

/// Rows of one table of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub(crate) account: AccountId,
    pub(crate) table: &'static Table,
    pub(crate) rows: Vec<Vec<Cell>>,
    /// Whether it is from a backup of version 1: its records don't say who gave a role where the log does.
    pub(crate) is_of_older_format: bool,
}

impl Part {
    /// The number of rows.
    pub fn rows(&self) -> u64 {
        u64::try_from(self.rows.len()).unwrap_or(u64::MAX)
    }
}

/// The content of one column of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Integer(i64),
    Text(Option<String>),
    Bytes(Vec<u8>),
}

impl Cell {
    /// As a parameter of a statement.
    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Self::Integer(number) => Value::Integer(*number),
            Self::Text(text) => Value::Text(text.as_deref()),
            Self::Bytes(bytes) => Value::Bytes(bytes),
        }
    }
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Integer,
    Text,
    Bytes,
}

/// A table as its rows are copied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// Its permanent code in backups.
    pub(crate) code: u8,
    pub(crate) name: &'static str,
    /// The column with the account's number, which is not part of a row here.
    pub(crate) account: &'static str,
    /// How many of the first columns are the key of a row. 0 if an account has a single row.
    pub(crate) key: usize,
    pub(crate) columns: &'static [(&'static str, Column)],
}

impl Table {
    /// Whether it is the table whose row begins an account.
    pub(crate) fn begins_account(&self) -> bool {
        self.code == ACCOUNT
    }
}

pub(crate) const ACCOUNT: u8 = 1;
pub(crate) const BASE: u8 = 2;
pub(crate) const BASE_RECORD: u8 = 3;
pub(crate) const BASE_ISSUED: u8 = 4;
pub(crate) const LOG: u8 = 5;
pub(crate) const RECORD: u8 = 6;
pub(crate) const ISSUED: u8 = 7;
pub(crate) const AUDIT: u8 = 8;
pub(crate) const KEY_USE: u8 = 9;
/// Derived from the records, and not part of a copy.
pub(crate) const SECRET: u8 = 10;

/// Every table except the one with the format, in copy order: the base, the log, the current records, the
/// rest. A change of the tables must change this, and the version of the file.
pub(crate) static TABLES: [Table; 9] = {
    use Column::{Bytes, Integer, Text};
    [
        Table {
            code: ACCOUNT,
            name: "account",
            account: "id",
            key: 0,
            columns: &[
                ("revision", Integer),
                ("latest", Integer),
                ("audit_head", Integer),
                ("newest_audit", Integer),
                ("body", Bytes),
                // Not in a backup of version 1. Its rows are compared with it at the end of an import.
                ("content", Integer),
                ("uses", Integer),
            ],
        },
        Table {
            code: BASE,
            name: "base",
            account: "account",
            key: 0,
            columns: &[
                ("revision", Integer),
                ("newest_change", Integer),
                ("body", Bytes),
                // Not in a backup of version 1.
                ("content", Integer),
            ],
        },
        Table {
            code: BASE_RECORD,
            name: "base_record",
            account: "account",
            key: 2,
            columns: &[("kind", Integer), ("number", Integer), ("body", Bytes)],
        },
        Table {
            code: BASE_ISSUED,
            name: "base_issued",
            account: "account",
            key: 1,
            columns: &[("kind", Integer), ("number", Integer)],
        },
        Table {
            code: LOG,
            name: "log",
            account: "account",
            key: 1,
            columns: &[("revision", Integer), ("body", Bytes)],
        },
        Table {
            code: RECORD,
            name: "record",
            account: "account",
            key: 2,
            columns: &[
                ("kind", Integer),
                ("number", Integer),
                ("natural_key", Text),
                ("body", Bytes),
            ],
        },
        Table {
            code: ISSUED,
            name: "issued",
            account: "account",
            key: 1,
            columns: &[("kind", Integer), ("number", Integer)],
        },
        Table {
            code: AUDIT,
            name: "audit",
            account: "account",
            key: 1,
            columns: &[
                ("number", Integer),
                ("user_number", Integer),
                ("at", Integer),
                ("newest", Integer),
                ("status", Integer),
                ("kind", Text),
                ("operation", Text),
                ("address", Text),
                ("text", Text),
                ("variables", Text),
                // Not in a backup of version 1.
                ("problem", Text),
                ("key_number", Integer),
                ("request", Text),
                ("revision", Integer),
            ],
        },
        Table {
            code: KEY_USE,
            name: "key_use",
            account: "account",
            key: 1,
            columns: &[("key_number", Integer), ("at", Integer)],
        },
    ]
};

/// The combined checksums of the rows of an account: `content` in its row and the row of its base, and
/// `uses`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) account: i64,
    pub(crate) base: i64,
    pub(crate) uses: i64,
}

impl Sums {
    /// Adds or removes a row of the table with this code.
    pub(crate) fn add(&mut self, code: u8, checksum: i64) {
        match code {
            RECORD | ISSUED | SECRET => self.account ^= checksum,
            BASE_RECORD | BASE_ISSUED => self.base ^= checksum,
            KEY_USE => self.uses ^= checksum,
            _ => {}
        }
    }

    /// Adds other rows of the same account.
    pub(crate) fn combine(&mut self, other: Self) {
        self.account ^= other.account;
        self.base ^= other.base;
        self.uses ^= other.uses;
    }

    /// Refuses rows that disagree with the copied sums.
    pub(crate) fn check(self, copied: Self, AccountId(account): AccountId) -> Result<(), Failure> {
        let refuse = |what: String| {
            Err(Failure::Damaged(format!(
                "{what} don't agree with the sum that was copied with them: one is missing or altered"
            )))
        };
        if self.base != copied.base {
            return refuse(format!("the rows of the base of account {account}"));
        }
        if self.account != copied.account {
            return refuse(format!("the rows of account {account}"));
        }
        if self.uses != copied.uses {
            return refuse(format!("the rows of account {account} in table `key_use`"));
        }
        Ok(())
    }
}

/// The table with this code.
pub(crate) fn table_of(code: u8) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.code == code)
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use std::collections::BTreeSet;

    use rusqlite::Connection;

    use super::*;
    use crate::tables::schema::STEPS;

    const DERIVED: [&str; 4] = ["batch", "base_checksum", "oldest_audit", "checksum"];

    #[test]
    fn every_column_of_every_table_is_copied() {
        let connection = Connection::open_in_memory().unwrap();
        for (_, step) in STEPS {
            connection.execute_batch(step).unwrap();
        }
        let mut made = connection
            .prepare(
                "SELECT tables.name, columns.name, columns.pk FROM sqlite_schema AS tables,
                    pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'",
            )
            .unwrap();
        let made: BTreeSet<(String, String, bool)> = made
            .query_map([], |row| {
                Ok((
                    row.get(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, i64>(2)? > 0,
                ))
            })
            .unwrap()
            .map(Result::unwrap)
            // Derived from the other columns, the records or the log.
            .filter(|(table, column, _)| table != "secret" && !DERIVED.contains(&column.as_str()))
            .collect();
        let copied = TABLES.iter().flat_map(|table| {
            let account = (table.account, true);
            let columns = table.columns.iter().enumerate();
            let columns = columns.map(|(place, (column, _))| (*column, place < table.key));
            columns
                .chain([account])
                .map(|(column, is_key)| (table.name.to_owned(), column.to_owned(), is_key))
        });
        assert_eq!(copied.collect::<BTreeSet<_>>(), made);
    }
}

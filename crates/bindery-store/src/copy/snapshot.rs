//! Reading a store out, part by part, as it is at one moment.

use std::fmt;

use bindery_core::id::AccountId;
use bindery_core::place::Account;

use super::{BYTES_MAX, Cell, Column, Discrepancy, Part, ROWS_MAX, TABLES, Table};
use crate::StoreError;
use crate::tables::{Database, Failure, Row, Value, bounded, read, secrets};

/// A store at one moment, beside whoever uses it. Nothing is changed by it, and nobody waits for it.
pub struct Snapshot {
    place: String,
    /// In a transaction that sees one moment.
    database: Box<dyn Database + Send>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Snapshot").field(&self.place).finish()
    }
}

impl Snapshot {
    pub(crate) fn new(place: String, database: Box<dyn Database + Send>) -> Self {
        Self { place, database }
    }

    /// Every account, by number.
    pub fn accounts(&mut self) -> Result<Vec<Account>, StoreError> {
        read::accounts(&mut *self.database).map_err(|failure| failure.at(&self.place))
    }

    /// How many rows there are, at the most and about: counting them would take as long as reading them.
    pub fn rows_about(&mut self, only: Option<AccountId>) -> Result<u64, StoreError> {
        self.about(only).map_err(|failure| failure.at(&self.place))
    }

    fn about(&mut self, only: Option<AccountId>) -> Result<u64, Failure> {
        let mut rows = 0_i64;
        for account in self.chosen(only)? {
            for sql in [
                "SELECT account.revision - COALESCE(base.revision, 0) FROM account
                LEFT JOIN base ON base.account = account.id WHERE account.id = $1",
                "SELECT account.audit_head - COALESCE(
                    (SELECT MIN(audit.number) FROM audit WHERE audit.account = $1), account.audit_head + 1
                ) + 1 FROM account WHERE account.id = $1",
                "SELECT CAST(COALESCE(SUM(number), 0) AS BIGINT) FROM issued WHERE account = $1",
                "SELECT CAST(COALESCE(SUM(number), 0) AS BIGINT) FROM base_issued WHERE account = $1",
            ] {
                self.database.query(sql, &[account.into()], &mut |row| {
                    rows = rows.saturating_add(row.integer(0)?);
                    Ok(())
                })?;
            }
        }
        Ok(u64::try_from(rows).unwrap_or(0))
    }

    /// Hands over everything, or everything of one account.
    pub fn each<E: From<StoreError>>(
        &mut self,
        only: Option<AccountId>,
        take: &mut dyn FnMut(&Part) -> Result<(), E>,
    ) -> Result<(), E> {
        let at = |failure: Failure, place: &str| E::from(failure.at(place));
        let accounts = self
            .chosen(only)
            .map_err(|failure| at(failure, &self.place))?;
        for account in accounts {
            for table in &TABLES {
                let mut after = vec![-1; table.key];
                loop {
                    let (part, is_last) = page(&mut *self.database, account, table, &after)
                        .map_err(|failure| at(failure, &self.place))?;
                    if let Some(last) = part.rows.last() {
                        after = key_of(last, table);
                        take(&part)?;
                    }
                    if is_last {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks whether secrets lead where the records say, and accounts are where their logs say: that follows from them, and is no part
    /// of what is handed over. Tells the first account in which it isn't so.
    pub fn mislead(&mut self) -> Result<Option<Discrepancy>, StoreError> {
        let at = |failure: Failure, place: &str| failure.at(place);
        let accounts = self.chosen(None);
        for account in accounts.map_err(|failure| at(failure, &self.place))? {
            let misleading = secrets::misleading(&mut *self.database, account);
            let misplaced = read::misplaced(&mut *self.database, account);
            for found in [misleading, misplaced] {
                if let Some(what) = found.map_err(|failure| at(failure, &self.place))? {
                    return Ok(Some(Discrepancy { account, what }));
                }
            }
        }
        Ok(None)
    }

    fn chosen(&mut self, only: Option<AccountId>) -> Result<Vec<AccountId>, Failure> {
        let heads = read::heads(&mut *self.database)?;
        let all = heads.into_iter().map(|(account, _)| account);
        match only {
            None => Ok(all.collect()),
            Some(one) if all.into_iter().any(|account| account == one) => Ok(vec![one]),
            Some(missing) => Err(Failure::NoAccount(missing)),
        }
    }
}

fn key_of(row: &[Cell], table: &Table) -> Vec<i64> {
    let key = row.iter().take(table.key);
    key.map(|cell| match cell {
        Cell::Integer(number) => *number,
        // Keys are numbers.
        Cell::Text(_) | Cell::Bytes(_) => i64::MAX,
    })
    .collect()
}

/// The rows after this key, as many as a part may have, and whether they are the last ones. Every statement is short: a
/// database need not go on for as long as the whole copy takes.
fn page(
    database: &mut dyn Database,
    account: AccountId,
    table: &'static Table,
    after: &[i64],
) -> Result<(Part, bool), Failure> {
    let mut values = vec![account.into()];
    values.extend(after.iter().map(|number| Value::Integer(*number)));
    values.push(Value::Integer(bounded(ROWS_MAX)));
    let mut rows = Vec::new();
    let (mut bytes, mut seen) = (0, 0);
    database.query(&statement(table), &values, &mut |row| {
        seen += 1;
        // What is too much for this part is read again for the next.
        if bytes < BYTES_MAX {
            let cells = cells(row, table)?;
            bytes += cells.iter().map(size).sum::<usize>();
            rows.push(cells);
        }
        Ok(())
    })?;
    let is_last = table.key == 0 || (rows.len() == seen && seen < ROWS_MAX);
    let part = Part {
        account,
        table,
        rows,
    };
    Ok((part, is_last))
}

fn statement(table: &Table) -> String {
    let names = |columns: &[(&str, Column)]| {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    };
    let key = names(&table.columns[..table.key]);
    let of_account = format!(
        "SELECT {} FROM {} WHERE {} = $1",
        names(table.columns),
        table.name,
        table.account
    );
    match table.key {
        0 => format!("{of_account} LIMIT $2"),
        1 => format!("{of_account} AND {key} > $2 ORDER BY {key} LIMIT $3"),
        _ => format!("{of_account} AND ({key}) > ($2, $3) ORDER BY {key} LIMIT $4"),
    }
}

fn cells(row: &dyn Row, table: &Table) -> Result<Vec<Cell>, Failure> {
    let columns = table.columns.iter().enumerate();
    columns
        .map(|(place, (_, column))| match column {
            Column::Integer => row.integer(place).map(Cell::Integer),
            Column::Text => Ok(Cell::Text(row.text(place)?.map(str::to_owned))),
            Column::Bytes => Ok(Cell::Bytes(row.bytes(place)?.to_vec())),
        })
        .collect()
}

fn size(cell: &Cell) -> usize {
    match cell {
        Cell::Integer(_) => size_of::<i64>(),
        Cell::Text(text) => text.as_ref().map_or(0, String::len),
        Cell::Bytes(bytes) => bytes.len(),
    }
}

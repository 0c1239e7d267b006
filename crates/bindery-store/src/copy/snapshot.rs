//! Reads a store part by part, as it is at one moment.

use std::fmt;

use bindery_core::id::AccountId;
use bindery_core::place::Account;
use bindery_core::time::Timestamp;

use super::{
    ACCOUNT, AUDIT, BASE, BASE_RECORD, BYTES_MAX, Cell, Column, Discrepancy, Part, RECORD,
    ROWS_MAX, SECRET, Sums, TABLES, Table, Verified, Verifier,
};
use crate::StoreError;
use crate::tables::time_repair::{self, RepairedTime};
use crate::tables::{Database, Failure, Row, Value, audit, base, bounded, checksum, read, secrets};

/// A store at one moment, while servers may be using it. It changes nothing and blocks no one.
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

    /// The number of every account, in order, including accounts with a damaged row whose number is whole.
    pub fn accounts(&mut self) -> Result<Vec<AccountId>, StoreError> {
        self.chosen(None).map_err(|failure| failure.at(&self.place))
    }

    /// One account, if its row is whole.
    pub fn account(&mut self, account: AccountId) -> Result<Account, StoreError> {
        let head = read::head(&mut *self.database, account);
        head.and_then(|head| read::decode_account(account.0, &head.body))
            .map_err(|failure| failure.at(&self.place))
    }

    /// The damaged rows of accounts: each error names one.
    pub fn damaged_accounts(&mut self) -> Result<Vec<StoreError>, StoreError> {
        let found = read::accounts(&mut *self.database);
        let (_, damaged) = found.map_err(|failure| failure.at(&self.place))?;
        let damaged = damaged.into_iter();
        Ok(damaged
            .map(|what| Failure::Damaged(what).at(&self.place))
            .collect())
    }

    /// Continues after [`Snapshot::each`] found damage.
    pub fn recover(&mut self) -> Result<(), StoreError> {
        let recovered = self.database.recover();
        recovered.map_err(|failure| failure.at(&self.place))
    }

    /// An upper estimate of the number of rows: counting them would take as long as reading them.
    pub fn rows_about(&mut self, only: Option<AccountId>) -> Result<u64, StoreError> {
        self.about(only).map_err(|failure| failure.at(&self.place))
    }

    fn about(&mut self, only: Option<AccountId>) -> Result<u64, Failure> {
        let mut rows = 0_i64;
        for account in self.chosen(only)? {
            // Subtracted here, not by the database: damaged numbers may overflow it.
            for sql in [
                "SELECT account.revision, COALESCE(base.revision, 0) FROM account
                LEFT JOIN base ON base.account = account.id WHERE account.id = $1",
                "SELECT account.audit_head, COALESCE(
                    (SELECT MIN(audit.number) FROM audit WHERE audit.account = $1), account.audit_head
                ) FROM account WHERE account.id = $1",
                "SELECT number, 0 FROM issued WHERE account = $1",
                "SELECT number, 0 FROM base_issued WHERE account = $1",
            ] {
                self.database.query(sql, &[account.into()], &mut |row| {
                    let count = row.integer(0)?.saturating_sub(row.integer(1)?);
                    rows = rows.saturating_add(count.max(0));
                    Ok(())
                })?;
            }
        }
        Ok(u64::try_from(rows).unwrap_or(0))
    }

    /// Passes all parts, or those of one account, to `take`. Refuses a copy of all accounts if the row of one
    /// is damaged or missing.
    pub fn each<E: From<StoreError>>(
        &mut self,
        only: Option<AccountId>,
        take: &mut dyn FnMut(&Part) -> Result<(), E>,
    ) -> Result<(), E> {
        let at = |failure: Failure, place: &str| E::from(failure.at(place));
        let accounts = match only {
            Some(_) => self.chosen(only),
            None => self.all_whole(),
        };
        let accounts = accounts.map_err(|failure| at(failure, &self.place))?;
        for account in accounts {
            let mut sums = Sums::default();
            let mut audited = 0;
            for table in &TABLES {
                let mut after = vec![-1; table.key];
                loop {
                    let (part, is_last) =
                        page(&mut *self.database, account, table, &after, Some(&mut sums))
                            .map_err(|failure| at(failure, &self.place))?;
                    if let Some(last) = part.rows.last() {
                        after = key_of(last, table);
                        take(&part)?;
                    }
                    if table.code == AUDIT {
                        audited += part.rows.len();
                    }
                    if is_last {
                        break;
                    }
                }
            }
            check_sums(&mut *self.database, account, sums)
                .and_then(|()| audit::check_count(&mut *self.database, account, audited))
                .map_err(|failure| at(failure, &self.place))?;
        }
        Ok(())
    }

    /// Checks everything: the database's own structure, every row, and each account that is whole so far,
    /// replayed from its log. A damaged account does not stop the check of others. Calls `progress` with the
    /// number of replayed rows.
    pub fn verify(&mut self, progress: &mut dyn FnMut(u64)) -> Result<Report, StoreError> {
        let mut report = Report::default();
        match self.verify_all(&mut report, progress) {
            Ok(()) => Ok(report),
            Err(error) if report.damaged.is_empty() => Err(error),
            // Damage that was found before is reported, even if the rest fails.
            Err(error) => {
                report.damaged.push(Damage {
                    account: None,
                    what: format!("the rest was not checked: {error}"),
                });
                Ok(report)
            }
        }
    }

    fn verify_all(
        &mut self,
        report: &mut Report,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), StoreError> {
        let mut found = Found::default();
        let looked = self.look(&mut found);
        report.damaged = found.damaged;
        looked.map_err(|failure| failure.at(&self.place))?;
        for account in self.accounts()? {
            let is_damaged = |one: &Damage| one.account == Some(account);
            if report.damaged.iter().any(is_damaged) {
                continue;
            }
            match self.verify_account(account, progress) {
                Ok(verified) => report.verified.push(verified),
                Err(Stopped::Differs(what)) => {
                    report.damaged.push(Damage {
                        account: Some(account),
                        what,
                    });
                    self.recover()?;
                }
                Err(Stopped::Failed(error)) => return Err(error),
            }
        }
        Ok(())
    }

    fn verify_account(
        &mut self,
        account: AccountId,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Verified, Stopped> {
        let mut verifier = Verifier::default();
        self.each(Some(account), &mut |part| {
            progress(part.rows());
            Ok::<_, Stopped>(verifier.take(part)?)
        })?;
        let agreed = verifier.finish()?.pop();
        let at = |failure: Failure| Stopped::from(failure.at(&self.place));
        let misleading = secrets::misleading(&mut *self.database, account).map_err(at)?;
        let misplaced = read::misplaced(&mut *self.database, account).map_err(at)?;
        if let Some(what) = misleading.or(misplaced) {
            return Err(Discrepancy { account, what }.into());
        }
        agreed.ok_or_else(|| StoreError::NoAccount(account).into())
    }

    /// Checks every row of every table, and the database's own structure. Names at most [`DAMAGED_MAX`] rows.
    /// A [`Verifier`] finds what only the log can show.
    fn look(&mut self, found: &mut Found) -> Result<(), Failure> {
        for what in self.database.inspect()? {
            found.say(what);
        }
        for account in self.chosen(None)? {
            found.account = Some(account);
            self.look_at(account, found)?;
        }
        found.account = None;
        let accounts = read::accounts(&mut *self.database);
        let accounts = found.note(accounts, &mut *self.database)?;
        for what in accounts.into_iter().flat_map(|(_, damaged)| damaged) {
            found.say(what);
        }
        self.orphans(found)
    }

    fn look_at(&mut self, account: AccountId, found: &mut Found) -> Result<(), Failure> {
        let database = &mut *self.database;
        let head = found.note(read::head(database, account), database)?;
        let base = found.note(base::content(database, account), database)?;
        let mut sums = Sums::default();
        let mut is_readable = true;
        for table in TABLES.iter().chain([&SECRETS]) {
            let looked = altered(database, account, table, found, &mut sums);
            is_readable &= found.note(looked, database)?.is_some();
        }
        if let Some(head) = head {
            found.note(read::check_end(database, account, &head), database)?;
            if is_readable && sums.account != head.content {
                // Names the row, if another way to read finds it.
                let loaded = read::load(database, account).map(drop);
                found.note::<()>(loaded.and_then(|()| Err(unindexed(account))), database)?;
            }
        }
        if let Some(base) = base
            && is_readable
            && sums.base != base.unwrap_or_default()
        {
            found.note::<()>(Err(base::stray(account)), database)?;
        }
        let uses = found.note(read::uses_sum(database, account), database)?;
        if uses.is_some_and(|uses| is_readable && sums.uses != uses) {
            found.note::<()>(Err(read::stray_uses(account)), database)?;
        }
        found.note(audit::check_ends(database, account), database)?;
        Ok(())
    }

    /// Rows of accounts that don't exist.
    fn orphans(&mut self, found: &mut Found) -> Result<(), Failure> {
        for table in TABLES
            .iter()
            .filter(|table| !table.begins_account())
            .chain([&SECRETS])
        {
            let name = table.name;
            let looked = read::each_without_row(&mut *self.database, name, &mut |row| {
                found.say(match row.integer(0) {
                    Ok(account) => {
                        format!("table `{name}` has rows of account {account}, which isn't there")
                    }
                    Err(_) => format!("table `{name}` has rows whose account is no number"),
                });
                Ok(())
            });
            found.note(looked, &mut *self.database)?;
        }
        Ok(())
    }

    /// What setting an account's time back to `latest` would change, without changing anything. See
    /// [`RepairedTime`].
    pub fn plan_time_repair(
        &mut self,
        account: AccountId,
        latest: Timestamp,
    ) -> Result<RepairedTime, StoreError> {
        time_repair::plan(&mut *self.database, account, latest)
            .map_err(|failure| failure.at(&self.place))
    }

    /// Every account, if the rows of all of them are whole: a copy must not silently lack one.
    fn all_whole(&mut self) -> Result<Vec<AccountId>, Failure> {
        let (accounts, damaged) = read::accounts(&mut *self.database)?;
        match damaged.into_iter().next() {
            None => Ok(accounts.into_iter().map(|account| account.id).collect()),
            Some(what) => Err(Failure::Damaged(what)),
        }
    }

    fn chosen(&mut self, only: Option<AccountId>) -> Result<Vec<AccountId>, Failure> {
        let Some(one) = only else {
            let heads = read::heads(&mut *self.database)?;
            return Ok(heads.into_iter().map(|(account, _)| account).collect());
        };
        let mut found = Vec::new();
        let sql = "SELECT id FROM account WHERE id = $1";
        self.database.query(sql, &[one.into()], &mut |_| {
            found.push(one);
            Ok(())
        })?;
        if found.is_empty() {
            return Err(Failure::NoAccount(one));
        }
        Ok(found)
    }
}

/// How many damaged rows [`Snapshot::verify`] names at most before it replays logs.
pub const DAMAGED_MAX: usize = 100;

/// Something damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Its account, if known.
    pub account: Option<AccountId>,
    /// A description.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// The result of [`Snapshot::verify`].
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The accounts in which everything agrees.
    pub verified: Vec<Verified>,
    /// Everything that disagrees.
    pub damaged: Vec<Damage>,
}

/// Why an account can't be replayed to its end.
enum Stopped {
    /// It is damaged; a description.
    Differs(String),
    /// The store can't be read.
    Failed(StoreError),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt { why, .. } => Self::Differs(why),
            other => Self::Failed(other),
        }
    }
}

impl From<Discrepancy> for Stopped {
    fn from(discrepancy: Discrepancy) -> Self {
        Self::Differs(discrepancy.to_string())
    }
}

/// The damage found so far.
#[derive(Default)]
struct Found {
    /// The account that is being checked.
    account: Option<AccountId>,
    damaged: Vec<Damage>,
}

impl Found {
    fn say(&mut self, what: String) {
        let is_said = |one: &Damage| one.what == what;
        if self.damaged.len() < DAMAGED_MAX && !self.damaged.iter().any(is_said) {
            self.damaged.push(Damage {
                account: self.account,
                what,
            });
        }
    }

    /// Records damage and continues; other failures stop the check. Returns the result if there is one.
    fn note<T>(
        &mut self,
        looked: Result<T, Failure>,
        database: &mut dyn Database,
    ) -> Result<Option<T>, Failure> {
        match looked {
            Ok(seen) => Ok(Some(seen)),
            Err(Failure::Damaged(what)) => {
                database.recover()?;
                self.say(what);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }
}

/// Secrets are not part of a copy: checked, but never passed on.
static SECRETS: Table = Table {
    code: SECRET,
    name: "secret",
    account: "account",
    key: 2,
    columns: &[
        ("kind", Column::Integer),
        ("number", Column::Integer),
        ("hash", Column::Bytes),
    ],
};

/// Looks for rows of a table with a wrong checksum, a few at a time, so that every statement is short.
fn altered(
    database: &mut dyn Database,
    account: AccountId,
    table: &'static Table,
    found: &mut Found,
    sums: &mut Sums,
) -> Result<(), Failure> {
    if table.key == 0 {
        return Ok(());
    }
    let mut look = |row: &dyn Row| {
        let stored = row.integer(table.columns.len());
        if let Ok(stored) = stored {
            sums.add(table.code, stored);
        }
        let expected = checksum::of_row(table, account, row);
        match checksum::check_row(expected, stored, || name_of(table, account, row)) {
            Ok(_) => {}
            Err(Failure::Damaged(what)) => found.say(what),
            Err(other) => return Err(other),
        }
        Ok(())
    };
    if table.code == SECRET {
        return secrets::each(database, account, &mut look);
    }
    let sql = statement(table, true);
    let mut after = vec![-1; table.key];
    loop {
        let mut values = vec![account.into()];
        values.extend(after.iter().map(|number| Value::Integer(*number)));
        values.push(Value::Integer(bounded(ROWS_MAX)));
        let (mut rows, mut last) = (0, after.clone());
        database.query(&sql, &values, &mut |row| {
            rows += 1;
            let key: Result<Vec<i64>, Failure> =
                (0..table.key).map(|place| row.integer(place)).collect();
            if let Ok(key) = key {
                check_order(table, account, row, (&last, &key))?;
                last = key;
            }
            look(row)
        })?;
        if rows < ROWS_MAX || last == after {
            return Ok(());
        }
        after = last;
    }
}

fn names(columns: &[(&str, Column)]) -> String {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    names.join(", ")
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

/// Takes some rows of a table.
type TakePage<'a> = &'a mut dyn FnMut(&mut dyn Database, &mut [Vec<Cell>]) -> Result<(), Failure>;

/// Passes all rows of a table of an account to `take`, a few at a time. They may have no checksums yet.
pub(crate) fn each_page(
    database: &mut dyn Database,
    account: AccountId,
    table: &'static Table,
    take: TakePage<'_>,
) -> Result<(), Failure> {
    pages_after(database, account, table, vec![-1; table.key], None, take)
}

/// The same, but refuses a row with a wrong checksum, and begins after this key.
pub(crate) fn each_checked_page(
    database: &mut dyn Database,
    account: AccountId,
    table: &'static Table,
    after: Vec<i64>,
    take: TakePage<'_>,
) -> Result<(), Failure> {
    let sums = &mut Sums::default();
    pages_after(database, account, table, after, Some(sums), take)
}

fn pages_after(
    database: &mut dyn Database,
    account: AccountId,
    table: &'static Table,
    mut after: Vec<i64>,
    mut sums: Option<&mut Sums>,
    take: TakePage<'_>,
) -> Result<(), Failure> {
    loop {
        let (mut part, is_last) = page(database, account, table, &after, sums.as_deref_mut())?;
        if let Some(last) = part.rows.last() {
            after = key_of(last, table);
            take(database, &mut part.rows)?;
        }
        if is_last {
            return Ok(());
        }
    }
}

/// The next rows of a table of an account after a key, which becomes the last key read. After the last rows
/// it is absent.
pub(crate) fn next_page(
    database: &mut dyn Database,
    account: AccountId,
    table: &'static Table,
    after: &mut Option<Vec<i64>>,
) -> Result<Vec<Vec<Cell>>, Failure> {
    let Some(key) = after.take() else {
        return Ok(Vec::new());
    };
    let (part, is_last) = page(database, account, table, &key, None)?;
    let last = part.rows.last().filter(|_| !is_last);
    *after = last.map(|row| key_of(row, table));
    Ok(part.rows)
}

/// Refuses an account with a missing, outdated or extra row, by the sums of the rows that were passed on.
fn check_sums(
    database: &mut dyn Database,
    account: AccountId,
    mut sums: Sums,
) -> Result<(), Failure> {
    let base = base::content(database, account)?;
    if sums.base != base.unwrap_or_default() {
        return Err(base::stray(account));
    }
    if sums.uses != read::uses_sum(database, account)? {
        return Err(read::stray_uses(account));
    }
    let head = read::head(database, account)?;
    sums.add(SECRET, secrets::content(database, account)?);
    if sums.account == head.content {
        return Ok(());
    }
    // Names the row, if another way to read finds it.
    read::load(database, account)?;
    Err(unindexed(account))
}

/// The failure if an account loads, but a scan by keys doesn't find all its rows.
fn unindexed(AccountId(account): AccountId) -> Failure {
    Failure::Damaged(format!(
        "the rows of account {account} that the primary keys of tables `record`, `issued` and `secret` lead to are not all that belong \
        to it: rebuild their indexes, and verify the store again"
    ))
}

/// The rows after this key, as many as a part may have, and whether they are the last ones. Every statement
/// is short: a database may not run one for as long as the whole copy takes.
fn page(
    database: &mut dyn Database,
    account: AccountId,
    table: &'static Table,
    after: &[i64],
    mut sums: Option<&mut Sums>,
) -> Result<(Part, bool), Failure> {
    if sums.is_some() {
        // Their checksums cover more than is copied.
        match table.code {
            ACCOUNT => drop(read::head(database, account)?),
            BASE => drop(base::content(database, account)?),
            _ => {}
        }
    }
    let has_checksum = sums.is_some() && table.key > 0;
    let mut values = vec![account.into()];
    values.extend(after.iter().map(|number| Value::Integer(*number)));
    values.push(Value::Integer(bounded(ROWS_MAX)));
    let (mut rows, mut last) = (Vec::new(), after.to_vec());
    let (mut bytes, mut seen) = (0, 0);
    database.query(&statement(table, has_checksum), &values, &mut |row| {
        seen += 1;
        // What is too much for this part is read again for the next.
        if bytes < BYTES_MAX {
            if has_checksum && let Some(sums) = &mut sums {
                let checked = checksum::check_row(
                    checksum::of_row(table, account, row),
                    row.integer(table.columns.len()),
                    || name_of(table, account, row),
                );
                sums.add(table.code, checked?);
            }
            let cells = cells(row, table).map_err(|failure| {
                checksum::unreadable(failure, || name_of(table, account, row))
            })?;
            let key = key_of(&cells, table);
            check_order(table, account, row, (&last, &key))?;
            last = key;
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
        is_of_older_format: false,
    };
    Ok((part, is_last))
}

/// Refuses a row whose key is not after the previous one.
fn check_order(
    table: &Table,
    account: AccountId,
    row: &dyn Row,
    (last, key): (&[i64], &[i64]),
) -> Result<(), Failure> {
    if table.key == 0 || last < key {
        return Ok(());
    }
    let row = name_of(table, account, row);
    Err(Failure::Damaged(format!(
        "{row} is there twice, or an index of the table is damaged: rebuild it (`REINDEX`)"
    )))
}

/// A row in words.
fn name_of(table: &Table, account: AccountId, row: &dyn Row) -> String {
    let key = |place| row.integer(place).unwrap_or_default();
    match table.code {
        RECORD | BASE_RECORD | SECRET => checksum::name_of(table.name, account, key(0), key(1)),
        _ => {
            let column = table.columns.first().map_or("", |(name, _)| *name);
            let (AccountId(account), name) = (account, table.name);
            format!(
                "the row with {column} {} of account {account} in table `{name}`",
                key(0)
            )
        }
    }
}

fn statement(table: &Table, has_checksum: bool) -> String {
    let key = names(&table.columns[..table.key]);
    let of_account = format!(
        "SELECT {}{} FROM {} WHERE {} = $1",
        names(table.columns),
        if has_checksum { ", checksum" } else { "" },
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

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bindery_core::api_key::{ApiKey, KeyOwner, Secret, SecretHash};
    use bindery_core::change::{Change, Entry, OneOperation};
    use bindery_core::id::{ApiKeyId, UserId};
    use bindery_core::text::{Description, KeyName};
    use bindery_core::time::Timestamp;
    use rusqlite::Connection;

    use super::*;
    use crate::copy::{Import, Target};
    use crate::sqlite::SqliteStore;
    use crate::tables::TakeRow;
    use crate::{Batch, Store as _};
    use bindery_conformance::furnish_sqlite;

    /// A database whose primary key of `record` lacks an entry: reading a page misses a row that other ways
    /// find.
    struct Lacking(Connection);

    impl Database for Lacking {
        fn query(
            &mut self,
            sql: &str,
            values: &[Value<'_>],
            take: TakeRow<'_>,
        ) -> Result<(), Failure> {
            let is_page = sql.contains("FROM record") && sql.contains("ORDER BY kind, number");
            let mut rows = 0;
            self.0.query(sql, values, &mut |row| {
                rows += 1;
                if is_page && rows == 2 {
                    return Ok(());
                }
                take(row)
            })
        }

        fn execute(&mut self, _: &str, _: &[Value<'_>]) -> Result<usize, Failure> {
            Ok(0)
        }
    }

    /// Records the number of rows of the longest result.
    struct Longest {
        file: Connection,
        rows: Arc<AtomicUsize>,
    }

    impl Database for Longest {
        fn query(
            &mut self,
            sql: &str,
            values: &[Value<'_>],
            take: TakeRow<'_>,
        ) -> Result<(), Failure> {
            let mut rows = 0;
            let read = self.file.query(sql, values, &mut |row| {
                rows += 1;
                take(row)
            });
            self.rows.fetch_max(rows, Ordering::Relaxed);
            read
        }

        fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<usize, Failure> {
            Database::execute(&mut self.file, sql, values)
        }
    }

    impl Target for Longest {
        fn begin(&mut self) -> Result<(), Failure> {
            Ok(())
        }

        fn commit(&mut self) -> Result<(), Failure> {
            Ok(())
        }

        fn finish(self: Box<Self>, _: i64) -> Result<(), Failure> {
            Ok(())
        }
    }

    /// This many keys.
    fn filled(count: u32) -> Vec<Change> {
        let key = |number: u32| {
            Change::PutApiKey(ApiKey {
                id: ApiKeyId::new(number),
                name: KeyName::parse("a key").expect("a name"),
                description: Description::default(),
                owner: KeyOwner::User(UserId::new(1)),
                created_by: UserId::new(1),
                created_at: Timestamp::from_millis(1),
                expires_at: None,
                is_revoked: false,
                secret: Secret {
                    hash: SecretHash(std::array::from_fn(|place| number.to_le_bytes()[place % 4])),
                    redacted: "ak-abc...xyz".to_owned(),
                },
                previous: None,
                is_enforcement_point: false,
                is_sign_in: false,
                last_spaces: Vec::new(),
                ends_with: None,
            })
        };
        (1..=count).map(key).collect()
    }

    #[test]
    fn no_statement_of_a_look_or_a_copy_reads_more_than_a_part_has() {
        let directory = tempfile::tempdir().unwrap();
        furnish_sqlite(directory.path());
        let store = SqliteStore::open(directory.path()).unwrap();
        let known = store.load(AccountId(1)).unwrap().position();
        let batch = Batch {
            entries: vec![Entry::from(OneOperation {
                revision: known.revision.next(),
                at: Timestamp::from_millis(i64::MAX / 2),
                by: None,
                key: None,
                operation: "create_keys".to_owned(),
                batch: 77,
                changes: filled(1_500),
            })],
            uses: (1..=1_500)
                .map(|key| (ApiKeyId::new(key), Timestamp::from_millis(i64::MAX / 2)))
                .collect(),
            ..Batch::default()
        };
        let appended = store.append(AccountId(1), known, &mut |_| batch.clone());
        appended.unwrap();
        let longest = |path: &Path| {
            let rows = Arc::new(AtomicUsize::new(0));
            let file = Connection::open(path).unwrap();
            let database = Longest {
                file,
                rows: Arc::clone(&rows),
            };
            (Box::new(database), rows)
        };
        let (database, looked) = longest(&directory.path().join("bindery.db"));
        let empty = tempfile::tempdir().unwrap();
        drop(SqliteStore::open(empty.path()).unwrap());
        let (target, written) = longest(&empty.path().join("bindery.db"));
        let mut snapshot = Snapshot::new("here".to_owned(), database);
        assert_eq!(snapshot.verify(&mut |_| ()).unwrap().damaged, []);
        let mut import = Import::begin("there".to_owned(), target).unwrap();
        let copied = snapshot.each(None, &mut |part| import.take(part));
        copied.unwrap();
        import.finish().unwrap();
        for rows in [looked, written] {
            let rows = rows.load(Ordering::Relaxed);
            assert!(rows <= ROWS_MAX, "{rows}");
        }
        let copy = SqliteStore::open(empty.path()).unwrap();
        let (one, other) = (store.load(AccountId(1)), copy.load(AccountId(1)));
        assert!(one.unwrap() == other.unwrap());
    }

    #[test]
    fn a_copy_that_misses_a_row_is_refused_though_the_account_loads() {
        let directory = tempfile::tempdir().unwrap();
        furnish_sqlite(directory.path());
        let file = Connection::open(directory.path().join("bindery.db")).unwrap();
        let mut snapshot = Snapshot::new("here".to_owned(), Box::new(Lacking(file)));
        let copied = snapshot.each(None, &mut |_| Ok::<_, StoreError>(()));
        let refused = copied.unwrap_err().to_string();
        assert!(refused.contains("the rows of account 1 that"), "{refused}");
    }
}

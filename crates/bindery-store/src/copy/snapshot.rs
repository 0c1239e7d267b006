//! Reading a store out, part by part, as it is at one moment.

use std::fmt;

use bindery_core::id::AccountId;
use bindery_core::place::Account;
use bindery_core::time::Timestamp;

use super::{
    ACCOUNT, BASE, BASE_RECORD, BYTES_MAX, Cell, Column, Discrepancy, Part, RECORD, ROWS_MAX,
    SECRET, Sums, TABLES, Table,
};
use crate::StoreError;
use crate::tables::time_repair::{self, RepairedTime};
use crate::tables::{Database, Failure, Row, Value, audit, base, bounded, checksum, read, secrets};

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
            let mut sums = Sums::default();
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
                    if is_last {
                        break;
                    }
                }
            }
            check_sums(&mut *self.database, account, sums)
                .map_err(|failure| at(failure, &self.place))?;
        }
        Ok(())
    }

    /// Looks at every row of every table by itself, and at the database's own structure, and says in words what is damaged:
    /// [`DAMAGED_MAX`] rows at the most. What only the log can tell, a [`Verifier`](super::Verifier) finds.
    pub fn damaged(&mut self) -> Result<Vec<String>, StoreError> {
        let mut found = Found(Vec::new());
        match self.look(&mut found) {
            Ok(()) => Ok(found.0),
            Err(failure) if found.0.is_empty() => Err(failure.at(&self.place)),
            // What was found before is damage, whatever became of the rest.
            Err(failure) => {
                let failure = failure.at(&self.place);
                found
                    .0
                    .push(format!("the rest was not looked at: {failure}"));
                Ok(found.0)
            }
        }
    }

    fn look(&mut self, found: &mut Found) -> Result<(), Failure> {
        found.0.extend(self.database.inspect()?);
        let accounts = self.chosen(None)?;
        for account in accounts {
            self.look_at(account, found)?;
        }
        self.orphans(found)
    }

    fn look_at(&mut self, account: AccountId, found: &mut Found) -> Result<(), Failure> {
        let head = found.note(read::head(&mut *self.database, account))?;
        let base = found.note(base::content(&mut *self.database, account))?;
        let mut sums = Sums::default();
        let mut is_readable = true;
        for table in TABLES.iter().chain([&SECRETS]) {
            let rows = altered(&mut *self.database, account, table, found, &mut sums);
            is_readable &= found.note(rows)?.is_some();
        }
        if let Some(head) = head {
            found.note(read::check_end(&mut *self.database, account, &head))?;
            if is_readable && sums.account != head.content {
                // Tells which row it is, if another way to read them finds it.
                let loaded = read::load(&mut *self.database, account).map(drop);
                found.note::<()>(loaded.and_then(|()| Err(unindexed(account))))?;
            }
        }
        if let Some(base) = base
            && is_readable
            && sums.base != base.unwrap_or_default()
        {
            found.note::<()>(Err(base::stray(account)))?;
        }
        let uses = found.note(read::uses_sum(&mut *self.database, account))?;
        if uses.is_some_and(|uses| is_readable && sums.uses != uses) {
            found.note::<()>(Err(read::stray_uses(account)))?;
        }
        found.note(audit::verify_ends(&mut *self.database, account))?;
        Ok(())
    }

    /// Rows of accounts that aren't there. Goes from one account to the next, and not from row to row.
    fn orphans(&mut self, found: &mut Found) -> Result<(), Failure> {
        for table in TABLES
            .iter()
            .filter(|table| !table.begins_account())
            .chain([&SECRETS])
        {
            let name = table.name;
            let sql = format!(
                "WITH RECURSIVE found (account) AS (
                    SELECT MIN(account) FROM {name}
                    UNION ALL
                    SELECT (SELECT MIN({name}.account) FROM {name} WHERE {name}.account > found.account)
                    FROM found WHERE found.account IS NOT NULL
                )
                SELECT account FROM found WHERE account IS NOT NULL AND account NOT IN (SELECT id FROM account)"
            );
            self.database.query(&sql, &[], &mut |row| {
                found.say(match row.integer(0) {
                    Ok(account) => {
                        format!("table `{name}` has rows of account {account}, which isn't there")
                    }
                    Err(_) => format!("table `{name}` has rows whose account is no number"),
                });
                Ok(())
            })?;
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

    /// What setting an account's time back to `latest` would change, without changing anything. See [`RepairedTime`].
    pub fn plan_time_repair(
        &mut self,
        account: AccountId,
        latest: Timestamp,
    ) -> Result<RepairedTime, StoreError> {
        time_repair::plan(&mut *self.database, account, latest)
            .map_err(|failure| failure.at(&self.place))
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

/// How many damaged rows [`Snapshot::damaged`] names at the most.
pub const DAMAGED_MAX: usize = 100;

/// What was found to be damaged.
struct Found(Vec<String>);

impl Found {
    fn say(&mut self, what: String) {
        if self.0.len() < DAMAGED_MAX && !self.0.contains(&what) {
            self.0.push(what);
        }
    }

    /// Notes damage and goes on; whatever else fails ends the look.
    fn note<T>(&mut self, looked: Result<T, Failure>) -> Result<Option<T>, Failure> {
        match looked {
            Ok(seen) => Ok(Some(seen)),
            Err(Failure::Damaged(what)) => {
                self.say(what);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }
}

/// Where secrets lead, which is no table of a copy: looked at, and never handed over.
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

/// Looks for rows of a table whose checksum isn't theirs, some at a time, so that every statement is short.
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
        let checked = checksum::check_row(expected, stored, || name_of(table, account, row));
        found.note(checked).map(drop)
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
        let (mut rows, mut next) = (0, None);
        database.query(&sql, &values, &mut |row| {
            rows += 1;
            let key: Result<Vec<i64>, Failure> =
                (0..table.key).map(|place| row.integer(place)).collect();
            next = key.ok().or(next.take());
            look(row)
        })?;
        match next {
            Some(next) if rows == ROWS_MAX => after = next,
            _ => return Ok(()),
        }
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

/// What is done with some rows of a table.
type TakePage<'a> = &'a mut dyn FnMut(&mut dyn Database, &mut [Vec<Cell>]) -> Result<(), Failure>;

/// Hands over all rows of a table of an account, some at a time. They may have no checksums yet.
pub(crate) fn each_page(
    database: &mut dyn Database,
    account: AccountId,
    table: &'static Table,
    take: TakePage<'_>,
) -> Result<(), Failure> {
    pages_after(database, account, table, vec![-1; table.key], None, take)
}

/// The same, but refuses a row whose checksum is not its own, and begins after this key.
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

/// Refuses an account of which a row is missing, out of date, or should not be there, by the sums of what was handed over.
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
    // Tells which row it is, if another way to read them finds it.
    read::load(database, account)?;
    Err(unindexed(account))
}

/// What is wrong if an account loads and a look at its rows, by their keys, doesn't find all of them.
fn unindexed(AccountId(account): AccountId) -> Failure {
    Failure::Damaged(format!(
        "the rows of account {account} that the primary keys of tables `record`, `issued` and `secret` lead to are not all that belong \
        to it: rebuild their indexes, and verify the store again"
    ))
}

/// The rows after this key, as many as a part may have, and whether they are the last ones. Every statement is short: a
/// database need not go on for as long as the whole copy takes.
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
    let mut rows = Vec::new();
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
    use crate::conformance::furnish;
    use crate::copy::{Import, Target};
    use crate::sqlite::SqliteStore;
    use crate::tables::TakeRow;
    use crate::{Batch, Store as _};

    /// Whose primary key of `record` lacks an entry: reading a page misses a row that other ways lead to.
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

    /// Notes how many rows the longest answer to a statement had.
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

    /// So many keys.
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
        let store = SqliteStore::open(directory.path()).unwrap();
        furnish(&store);
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
        assert_eq!(snapshot.damaged().unwrap(), Vec::<String>::new());
        assert_eq!(snapshot.mislead().unwrap(), None);
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
        furnish(&SqliteStore::open(directory.path()).unwrap());
        let file = Connection::open(directory.path().join("bindery.db")).unwrap();
        let mut snapshot = Snapshot::new("here".to_owned(), Box::new(Lacking(file)));
        let copied = snapshot.each(None, &mut |_| Ok::<_, StoreError>(()));
        let refused = copied.unwrap_err().to_string();
        assert!(refused.contains("the rows of account 1 that"), "{refused}");
    }
}

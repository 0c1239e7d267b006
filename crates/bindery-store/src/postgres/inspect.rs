//! Checks whether the indexes agree with their tables. PostgreSQL returns the rows of an index without
//! comparing them with the key of the look-up. So a damaged index hides rows, or returns wrong ones.
//!
//! Each index is read from its beginning to its end, twice: with the rows that it leads to, and by its keys
//! alone. Both are compared with a scan of the table. All three see one moment, in the transaction of the
//! caller.
//!
//! Indexes of database administrators are not checked: no statement needs them, and they may be of any kind.
//! PostgreSQL may read one of them instead of ours; then only `amcheck` can check ours.

use std::collections::BTreeMap;
use std::time::Duration;

use super::connection::{Connection, READ_TIMEOUT};
use crate::copy::TABLES;
use crate::tables::{Database as _, Failure, Value};

/// How long the database may take to read one index.
const TIMEOUT: Duration = Duration::from_hours(6);

/// The indexes that the migrations create; PostgreSQL names those of keys.
const NAMES: [&str; 15] = [
    "account_pkey",
    "audit_by_time",
    "audit_by_user",
    "audit_pkey",
    "base_issued_pkey",
    "base_pkey",
    "base_record_pkey",
    "issued_pkey",
    "key_use_pkey",
    "log_pkey",
    "record_account_kind_natural_key_key",
    "record_of_person",
    "record_pkey",
    "secret_by_hash",
    "secret_pkey",
];

/// Every B-tree index with the usual order, on columns only.
const INDEXES: &str = "
    SELECT CAST(tables.relname AS TEXT), CAST(indexes.relname AS TEXT),
        CASE WHEN one.indisvalid AND one.indisready AND one.indislive THEN 1 ELSE 0 END,
        (SELECT STRING_AGG(QUOTE_IDENT(CAST(columns.attname AS TEXT)), ', ' ORDER BY keys.place)
            FROM UNNEST(one.indkey) WITH ORDINALITY AS keys (number, place)
            JOIN pg_catalog.pg_attribute AS columns
                ON columns.attrelid = one.indrelid AND columns.attnum = keys.number
            WHERE keys.place <= one.indnkeyatts),
        pg_catalog.pg_get_expr(one.indpred, one.indrelid)
    FROM pg_catalog.pg_index AS one
    JOIN pg_catalog.pg_class AS indexes ON indexes.oid = one.indexrelid
    JOIN pg_catalog.pg_class AS tables ON tables.oid = one.indrelid
    JOIN pg_catalog.pg_namespace AS schemas ON schemas.oid = tables.relnamespace
    JOIN pg_catalog.pg_am AS methods ON methods.oid = indexes.relam
    WHERE schemas.nspname = current_schema() AND methods.amname = 'btree'
        AND 0 <> ALL (one.indkey) AND 0 = ALL (one.indoption)
    ORDER BY 1, 2";

/// The arguments of `amcheck`, if the extension is installed and this login may use it.
const AMCHECK: &str = "
    SELECT QUOTE_IDENT(CAST(schemas.nspname AS TEXT)) FROM pg_catalog.pg_extension AS extensions
    JOIN pg_catalog.pg_namespace AS schemas ON schemas.oid = extensions.extnamespace
    JOIN pg_catalog.pg_proc AS functions ON functions.pronamespace = schemas.oid
    WHERE extensions.extname = 'amcheck' AND functions.proname = 'bt_index_check'
        AND functions.pronargs = 2 AND has_function_privilege(functions.oid, 'EXECUTE')";

/// The table alone.
const BY_TABLE: &str = "SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off;
    SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off";

/// The index with the requested order, and its rows.
const BY_INDEX: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = on;
    SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off;
    SET LOCAL enable_incremental_sort = off; SET LOCAL max_parallel_workers_per_gather = 0";

/// The keys of the same index.
const BY_KEYS: &str = "SET LOCAL enable_indexonlyscan = on";

struct Index {
    table: String,
    name: String,
    is_usable: bool,
    /// Its columns.
    order: String,
    /// Its rows, as a clause.
    rows: String,
    /// The column of the table with the number of the account.
    account: &'static str,
}

/// The result of comparing an index with its table.
enum Compared {
    Same,
    Differs(String),
    /// The database reads another index instead: for example one with the same columns that an administrator
    /// has added.
    NotRead,
}

/// Rows of an account: their number, and their combined checksums.
type Sums = BTreeMap<i64, (i64, i64)>;

/// Describes the indexes that disagree with their tables. Leaves the transaction to be rolled back to its
/// savepoint.
pub(super) fn inspect(connection: &mut Connection) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    let amcheck = amcheck(connection)?;
    for index in indexes(connection)? {
        let compared = compare(connection, &index, amcheck.as_deref());
        connection.recover()?;
        connection.wait_for_statements_of(READ_TIMEOUT);
        match compared {
            Ok(Compared::Same) => {}
            Ok(Compared::Differs(why)) | Err(Failure::Damaged(why)) => {
                found.push(index.says(&why));
            }
            Ok(Compared::NotRead) => found.push(index.says_not_read()),
            Err(other) => return Err(other),
        }
    }
    Ok(found)
}

impl Index {
    fn says(&self, why: &str) -> String {
        let Self { table, name, .. } = self;
        format!("index `{name}` of table `{table}`: {why}; rebuild it (`REINDEX INDEX {name}`)")
    }

    fn says_not_read(&self) -> String {
        let Self { table, name, .. } = self;
        format!(
            "index `{name}` of table `{table}` can't be compared: the database reads another index in its place; drop that one, or \
            install the extension `amcheck`"
        )
    }

    /// Its rows in its order. No other index of ours has this order, so nothing else is read if sorting is
    /// forbidden.
    fn sorted(&self, columns: &str) -> String {
        let Self {
            table, order, rows, ..
        } = self;
        format!(
            "(SELECT *, ROW({order}) < LAG(ROW({order})) OVER () AS is_before
            FROM (SELECT {columns} FROM {table} {rows} ORDER BY {order}) AS sorted) AS compared"
        )
    }
}

fn indexes(connection: &mut Connection) -> Result<Vec<Index>, Failure> {
    let mut indexes = Vec::new();
    connection.query(INDEXES, &[], &mut |row| {
        let owned = |column| -> Result<String, Failure> {
            Ok(row.text(column)?.unwrap_or_default().to_owned())
        };
        let table = owned(0)?;
        let known = TABLES.iter().find(|known| known.name == table);
        let account = match known {
            Some(known) => known.account,
            None if table == "secret" => "account",
            // Another application's.
            None => return Ok(()),
        };
        if !NAMES.contains(&&*owned(1)?) {
            return Ok(());
        }
        indexes.push(Index {
            table,
            name: owned(1)?,
            is_usable: row.integer(2)? == 1,
            order: owned(3)?,
            rows: row
                .text(4)?
                .map_or_else(String::new, |rows| format!("WHERE {rows}")),
            account,
        });
        Ok(())
    })?;
    Ok(indexes)
}

/// Compares an index with its table. If the database reads another index, leaves it to `amcheck`, if that is
/// installed.
fn compare(
    connection: &mut Connection,
    index: &Index,
    amcheck: Option<&str>,
) -> Result<Compared, Failure> {
    let compared = compare_rows(connection, index)?;
    let Some(schema) = amcheck else {
        return Ok(compared);
    };
    if let Compared::Differs(_) = compared {
        return Ok(compared);
    }
    check_structure(connection, schema, &index.name)?;
    Ok(Compared::Same)
}

fn compare_rows(connection: &mut Connection, index: &Index) -> Result<Compared, Failure> {
    let differs = |why: &str| Ok(Compared::Differs(why.to_owned()));
    if !index.is_usable {
        return differs("the database doesn't use it");
    }
    let Index {
        table,
        order,
        rows,
        account,
        ..
    } = index;
    connection.batch(&format!(
        "SET LOCAL statement_timeout = {}",
        TIMEOUT.as_millis()
    ))?;
    connection.wait_for_statements_of(TIMEOUT);
    connection.batch(BY_TABLE)?;
    let expected = sums(
        connection,
        &format!("SELECT {account}, COUNT(*), BIT_XOR(checksum) FROM {table} {rows} GROUP BY 1"),
    )?;
    let keys = format!("COUNT(*), COALESCE(BIT_XOR(hash_record_extended(ROW({order}), 0)), 0)");
    let expected_keys = totals(connection, &format!("SELECT {keys} FROM {table} {rows}"))?;

    connection.batch(BY_INDEX)?;
    // The account's number may be one of its columns.
    let sorted = index.sorted(&format!("{account} AS of_account, checksum, {order}"));
    let by_index = format!(
        "SELECT of_account, COUNT(*), BIT_XOR(checksum), COUNT(*) FILTER (WHERE is_before)
        FROM {sorted} GROUP BY 1"
    );
    if !is_planned(
        connection,
        &by_index,
        &format!("Index Scan using {}", index.name),
    )? {
        return Ok(Compared::NotRead);
    }
    let mut misplaced = None;
    let mut found = Sums::new();
    connection.query(&by_index, &[], &mut |row| {
        let account = row.integer(0)?;
        if row.integer(3)? > 0 {
            misplaced.get_or_insert(account);
        }
        found.insert(account, (row.integer(1)?, row.integer(2)?));
        Ok(())
    })?;
    if let Some(account) = first_difference(&expected, &found).or(misplaced) {
        return differs(&format!(
            "it leads to other rows of account {account} than the table has"
        ));
    }

    connection.batch(BY_KEYS)?;
    let by_keys = format!(
        "SELECT {keys}, COUNT(*) FILTER (WHERE is_before) FROM {}",
        index.sorted(order)
    );
    if !is_planned(
        connection,
        &by_keys,
        &format!("Index Only Scan using {}", index.name),
    )? {
        return Ok(Compared::NotRead);
    }
    if totals(connection, &by_keys)? != expected_keys {
        return differs("its keys are not those of the rows");
    }
    Ok(Compared::Same)
}

fn sums(connection: &mut Connection, sql: &str) -> Result<Sums, Failure> {
    let mut sums = Sums::new();
    connection.query(sql, &[], &mut |row| {
        sums.insert(row.integer(0)?, (row.integer(1)?, row.integer(2)?));
        Ok(())
    })?;
    Ok(sums)
}

/// A count, a sum, and how many are out of order; 0 if that isn't requested.
fn totals(connection: &mut Connection, sql: &str) -> Result<(i64, i64, i64), Failure> {
    let mut totals = (0, 0, 0);
    connection.query(sql, &[], &mut |row| {
        totals = (
            row.integer(0)?,
            row.integer(1)?,
            row.integer(2).unwrap_or_default(),
        );
        Ok(())
    })?;
    Ok(totals)
}

fn first_difference(expected: &Sums, found: &Sums) -> Option<i64> {
    let accounts = expected.keys().chain(found.keys());
    accounts
        .copied()
        .find(|account| expected.get(account) != found.get(account))
}

/// Whether the database would read the query in this way.
fn is_planned(connection: &mut Connection, sql: &str, way: &str) -> Result<bool, Failure> {
    let mut is_planned = false;
    connection.query(&format!("EXPLAIN {sql}"), &[], &mut |row| {
        is_planned |= row.text(0)?.is_some_and(|line| line.contains(way));
        Ok(())
    })?;
    Ok(is_planned)
}

fn amcheck(connection: &mut Connection) -> Result<Option<String>, Failure> {
    let mut schema = None;
    connection.query(AMCHECK, &[], &mut |row| {
        schema = row.text(0)?.map(str::to_owned);
        Ok(())
    })?;
    Ok(schema)
}

/// The scans don't show whether every look-up finds its way from the root.
fn check_structure(connection: &mut Connection, schema: &str, name: &str) -> Result<(), Failure> {
    let sql = format!("SELECT {schema}.bt_index_check(CAST($1 AS TEXT)::regclass, true)");
    match connection.query(&sql, &[Value::Text(Some(name))], &mut |_| Ok(())) {
        // It can't check an index that is younger than the transaction.
        Err(Failure::Database(_)) if !connection.is_lost() => Ok(()),
        checked => checked,
    }
}

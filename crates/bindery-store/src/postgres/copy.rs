//! Reads a database while servers use it, and fills one from a backup.

use std::fmt::Write as _;
use std::time::Duration;

use super::OpenError;
use super::address::Address;
use super::connection::{Connection, READ_TIMEOUT, WRITE_TIMEOUT};
use super::migrate::{self, UNFINISHED};
use crate::StoreError;
use crate::copy::{Import, Snapshot, TABLES, Target};
use crate::tables::schema::FORMAT;
use crate::tables::{Database, Failure, TakeRow, Value};

/// How long the taker of the parts may take for one of them. Then the database ends the transaction: until
/// that it keeps deleted rows.
const IDLE_TIMEOUT: Duration = Duration::from_mins(10);

/// Held while a backup is written into the database: `Bndi`.
const LOCK: i32 = i32::from_be_bytes(*b"Bndi");
/// How often the lock is requested, and how far apart.
const LOCK_ATTEMPTS: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

pub(super) fn snapshot(address: &Address) -> Result<Snapshot, OpenError> {
    let place = &address.place;
    // A standby is enough.
    let address = &address.of_any_server();
    let looked = Connection::open(address, READ_TIMEOUT, None).and_then(|mut connection| {
        let idle_ms = IDLE_TIMEOUT.as_millis();
        connection.batch(&format!(
            "SET idle_in_transaction_session_timeout = {idle_ms}; {}",
            super::BEGIN_AT_ONCE
        ))?;
        let format = migrate::found(&mut connection)?;
        // After damage, reading continues here.
        connection.batch("SAVEPOINT look")?;
        Ok((connection, format))
    });
    let (connection, format) = looked.map_err(|failure| failure.at(place))?;
    check_format(format, place)?;
    Ok(Snapshot::new(place.clone(), Box::new(connection)))
}

fn check_format(found: Option<i64>, place: &str) -> Result<(), StoreError> {
    let (path, known) = (place.to_owned(), i64::from(FORMAT));
    match found {
        Some(found) if found == known => Ok(()),
        Some(UNFINISHED) => Err(StoreError::Unfinished(path)),
        Some(found) if found > known => Err(StoreError::Newer { path, found, known }),
        Some(found) => Err(StoreError::Older { path, found, known }),
        None => {
            let why = "it has no tables of bindery".to_owned();
            Err(StoreError::Corrupt { path, why })
        }
    }
}

pub(super) fn import(address: &Address) -> Result<Import, OpenError> {
    let place = &address.place;
    let at = |failure: Failure| failure.at(place);
    let mut connection = Connection::open(address, WRITE_TIMEOUT, None).map_err(at)?;
    let idle_ms = IDLE_TIMEOUT.as_millis();
    let settings = format!("SET idle_in_transaction_session_timeout = {idle_ms}");
    connection.batch(&settings).map_err(at)?;
    if !is_alone(&mut connection).map_err(at)? {
        return Err(StoreError::InUse(place.clone()).into());
    }
    migrate::begin_alone(&mut connection).map_err(at)?;
    check_empty(&mut connection, place)?;
    connection.batch(&made_anew()).map_err(at)?;
    connection.end("COMMIT").map_err(at)?;
    connection.wait_for_statements_of(WRITE_TIMEOUT);
    Ok(Import::begin(place.clone(), Box::new(Filling(connection)))?)
}

/// The database may not have noticed yet that an earlier process was killed.
fn is_alone(connection: &mut Connection) -> Result<bool, Failure> {
    for attempt in 0..LOCK_ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(LOCK_PAUSE);
        }
        let mut is_alone = false;
        connection.query(
            "SELECT CASE WHEN pg_try_advisory_lock($1) THEN 1 ELSE 0 END",
            &[Value::Integer(LOCK.into())],
            &mut |row| {
                is_alone = row.integer(0)? == 1;
                Ok(())
            },
        )?;
        if is_alone {
            return Ok(true);
        }
    }
    Ok(false)
}

fn check_empty(connection: &mut Connection, place: &str) -> Result<(), StoreError> {
    let at = |failure: Failure| failure.at(place);
    let format = migrate::found(connection).map_err(at)?;
    match format {
        Some(UNFINISHED) => return Ok(()),
        Some(found) if found > FORMAT.into() => check_format(format, place)?,
        _ => {}
    }
    if !migrate::has_table(connection, "account").map_err(at)? {
        return Ok(());
    }
    if format.is_none() {
        return Err(StoreError::Corrupt {
            path: place.to_owned(),
            why: "it has tables of another application".to_owned(),
        });
    }
    // No account can be created between the check and the removal of these tables.
    let lock = "LOCK TABLE account IN ACCESS EXCLUSIVE MODE";
    connection.batch(lock).map_err(at)?;
    match accounts(connection).map_err(at)? {
        0 => Ok(()),
        _ => Err(StoreError::NotEmpty(place.to_owned())),
    }
}

fn accounts(connection: &mut Connection) -> Result<i64, Failure> {
    let mut count = 0;
    let sql = "SELECT COUNT(*) FROM account";
    connection.query(sql, &[], &mut |row| {
        count = row.integer(0)?;
        Ok(())
    })?;
    Ok(count)
}

/// Empty tables, with a mark that keeps all others out.
fn made_anew() -> String {
    let mut sql = String::from("DROP TABLE IF EXISTS bindery_format; DROP TABLE IF EXISTS secret;");
    for table in &TABLES {
        let _ = write!(sql, "DROP TABLE IF EXISTS {};", table.name);
    }
    sql.push_str(migrate::CREATE_FORMAT);
    sql.push_str(&migrate::steps_after(0));
    sql.push_str(&mark(UNFINISHED));
    sql
}

fn mark(format: i64) -> String {
    format!("UPDATE bindery_format SET format = {format};")
}

/// A database that is being filled from a backup.
struct Filling(Connection);

impl Database for Filling {
    fn type_of_bytes(&self) -> &'static str {
        self.0.type_of_bytes()
    }

    fn query(&mut self, sql: &str, values: &[Value<'_>], take: TakeRow<'_>) -> Result<(), Failure> {
        self.0.query(sql, values, take)
    }

    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<usize, Failure> {
        self.0.execute(sql, values)
    }
}

impl Target for Filling {
    fn begin(&mut self) -> Result<(), Failure> {
        self.0.batch(super::append::BEGIN)
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.0.batch("COMMIT")
    }

    fn finish(mut self: Box<Self>, expected: i64) -> Result<(), Failure> {
        // A server that had the empty store open before may have created an account in it.
        let found = accounts(&mut self.0)?;
        if found != expected {
            let why = format!("it has {found} accounts, and {expected} were put into it");
            return Err(Failure::Damaged(why));
        }
        self.0.batch(&mark(FORMAT.into()))?;
        self.commit()
    }
}

//! From the start of a server on what a company has to its first word, against reading the same rows and nothing else.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bindery_core::change::{Change, Entry, OneOperation};
use bindery_core::id::{AccountId, Revision};
use bindery_store::postgres::PostgresStore;
use bindery_store::{Batch, Store as _};
use postgres::fallible_iterator::FallibleIterator as _;
use postgres::{Client, NoTls};

use super::{new_database, serve};
use crate::changes::{THEN, account, for_each};
use crate::load::{number_of, read_plainly};
use crate::row::{Goal, Row, Unit};
use crate::say;
use crate::size::Size;
use crate::time::rounds;
use crate::world::World;

const ROUNDS: usize = 5;

pub(super) fn rows(binary: &Path, size: Size) -> Result<Vec<Row>> {
    let directory = tempfile::tempdir()?;
    let made = Command::new(std::env::current_exe()?)
        .args(["--size", size.name(), "--make-store"])
        .arg(directory.path())
        .status()?;
    ensure!(made.success(), "the store could not be made");
    let url = new_database()?;
    fill(&url, size)?;
    let on_a_file = compare(
        "SQLite",
        |command| command.arg("--data-dir").arg(directory.path()),
        binary,
        || read_plainly(&directory.path().join("bindery.db")),
    )?;
    let on_a_database = compare(
        "PostgreSQL",
        |command| command.env("BINDERY_STORE", &url),
        binary,
        || read_all(&url),
    )?;
    Ok(vec![on_a_file, on_a_database])
}

fn compare(
    store: &str,
    on: impl Fn(&mut Command) -> &mut Command,
    binary: &Path,
    read: impl Fn() -> Result<f64>,
) -> Result<Row> {
    let [started, plain] = rounds::<2>(ROUNDS, |_, contestant| {
        if contestant == 1 {
            return read();
        }
        let begun = Instant::now();
        // It says that it listens once it can answer.
        let server = serve(on(Command::new(binary).arg("serve")))?;
        let ready = begun.elapsed().as_secs_f64();
        drop(server);
        say(&format!("started on {store}: {ready:.2} s"));
        Ok(ready)
    })?;
    Ok(Row {
        what: format!(
            "a server started on {store}, until it answers, against the plain reading of those rows"
        ),
        measured: started.over(&plain),
        unit: Unit::Times,
        goal: Goal::AtMost(3.0),
        from: format!("{:.2} s against {:.2} s", started.median(), plain.median()),
    })
}

/// Puts the records where the store would have put them; the last one goes through the store.
fn fill(url: &str, size: Size) -> Result<()> {
    let begun = Instant::now();
    let store = PostgresStore::open(url)?;
    store.create_account(&account()?)?;
    let mut client = Client::connect(url, NoTls)?;
    let mut rows =
        client.copy_in("COPY record (account, kind, number, natural_key, body) FROM STDIN")?;
    let mut last = None;
    for_each(&World::new(size), |change| {
        let (kind, number) = change.key();
        write!(rows, "1\t{}\t{number}\t", number_of(kind)?)?;
        match change.natural_key() {
            Some(key) => write!(rows, "{}", key.replace('\\', "\\\\"))?,
            None => rows.write_all(b"\\N")?,
        }
        rows.write_all(b"\t\\\\x")?;
        for octet in change.encode() {
            write!(rows, "{octet:02x}")?;
        }
        rows.write_all(b"\n")?;
        last = Some(change);
        Ok(())
    })?;
    rows.finish()?;
    client.batch_execute("ANALYZE record")?;
    let entry = entry(last.context("there is something to store")?);
    store.append(AccountId(1), Revision(0).into(), &mut |_| Batch {
        entries: vec![entry.clone()],
        ..Batch::default()
    })?;
    say(&format!(
        "database filled: {:.1} s",
        begun.elapsed().as_secs_f64()
    ));
    Ok(())
}

fn entry(change: Change) -> Entry {
    Entry::from(OneOperation {
        revision: Revision(1),
        at: THEN,
        by: None,
        key: None,
        operation: String::new(),
        batch: 0,
        changes: vec![change],
    })
}

/// Seconds to fetch every row that a start fetches, and to look at nothing in them.
fn read_all(url: &str) -> Result<f64> {
    let mut client = Client::connect(url, NoTls)?;
    let begun = Instant::now();
    let statement = client.prepare(
        "SELECT number, body FROM record WHERE account = 1 AND kind = $1 ORDER BY number",
    )?;
    let column = statement.params()[0].clone();
    let mut octets = 0;
    for kind in 0..16_i32 {
        let wide = i64::from(kind);
        let parameter: &(dyn postgres::types::ToSql + Sync) = match column {
            postgres::types::Type::INT8 => &wide,
            _ => &kind,
        };
        let mut rows = client.query_raw(&statement, [parameter])?;
        while let Some(row) = rows.next()? {
            octets += row.get::<_, &[u8]>(1).len();
        }
    }
    ensure!(octets > 0, "nothing is in the store");
    Ok(begun.elapsed().as_secs_f64())
}

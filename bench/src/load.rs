//! From a store on the disk to the first answer.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bindery_core::access::AccessWriter;
use bindery_core::change::OneOperation;
use bindery_core::change::{Change, Entry};
use bindery_core::id::{AccountId, Kind, Revision};
use bindery_core::state::State;
use bindery_store::sqlite::SqliteStore;
use bindery_store::{Batch, Store as _};
use rusqlite::Connection;

use crate::changes::{NOW, THEN, account, for_each};
use crate::machine::resident;
use crate::questions::questions;
use crate::row::{Goal, Row, Unit};
use crate::say;
use crate::setting::grown;
use crate::size::Size;
use crate::time::Samples;
use crate::world::World;

const ACCOUNT: AccountId = AccountId(1);

pub(crate) fn rows(size: Size) -> Result<Vec<Row>> {
    let directory = tempfile::tempdir()?;
    // Elsewhere, so that what it has left in the memory of its process doesn't count here.
    let made = Command::new(std::env::current_exe()?)
        .args(["--size", size.name(), "--make-store"])
        .arg(directory.path())
        .status()?;
    ensure!(made.success(), "the store could not be made");
    let (mut load, mut read, mut memory) = (Samples::default(), Samples::default(), None);
    let mut parts = [Samples::default(), Samples::default()];
    for round in 0..rounds(size) {
        read.push(read_plainly(&directory.path().join("bindery.db"))?);
        let before = resident();
        let begun = Instant::now();
        let store = SqliteStore::open(directory.path())?;
        let state = store.load(ACCOUNT)?;
        let read_in = begun.elapsed().as_secs_f64();
        let writer = AccessWriter::new(&state);
        let index = writer.index();
        let total = begun.elapsed().as_secs_f64();
        if round == 0 {
            let at_first = grown(before, resident());
            memory = at_first.zip(grown(before, settled()));
            check(size, &state, &writer)?;
        }
        drop(index);
        load.push(total);
        parts[0].push(read_in);
        parts[1].push(total - read_in);
        say(&format!("load: {total:.2} s"));
    }
    let [state, index] = parts.map(|part| part.median());
    let mut rows = vec![
        Row {
            what: "loading everything from SQLite, to the first answer".to_owned(),
            measured: load.median(),
            unit: Unit::Seconds,
            goal: size.at_large(Goal::AtMost(10.0)),
            from: format!("{state:.2} s the state, {index:.2} s the index"),
        },
        Row {
            what: "the same, against the plain reading of those rows".to_owned(),
            measured: load.over(&read),
            unit: Unit::Times,
            goal: size.at_large(Goal::AtMost(2.0)),
            from: format!("{:.2} s against {:.2} s", load.median(), read.median()),
        },
    ];
    if let Some((at_first, memory)) = memory {
        rows.push(Row {
            what: "state and index after loading, resident, for each role held".to_owned(),
            measured: memory as f64 / World::new(size).held.len() as f64,
            unit: Unit::Bytes,
            goal: size.at_large(Goal::AtMost(150.0)),
            from: format!(
                "{} MiB; {} MiB before the allocator gives back what it keeps for a second",
                memory >> 20,
                at_first >> 20
            ),
        });
    }
    Ok(rows)
}

/// What is resident once the allocator has looked at what nobody needs: it does a second after that was freed, when it is asked
/// for something.
fn settled() -> Option<u64> {
    for _ in 0..30 {
        thread::sleep(Duration::from_millis(100));
        let _asked = thread::spawn(|| vec![0_u8; 1 << 20].len()).join();
    }
    resident()
}

const fn rounds(size: Size) -> usize {
    match size {
        Size::S => 15,
        Size::M => 5,
        Size::L => 1,
    }
}

/// What was loaded is what was written.
fn check(size: Size, state: &State, writer: &AccessWriter) -> Result<()> {
    let world = World::new(size);
    let mut count = 0;
    for_each(&world, |change| {
        if let Change::PutRoleBinding(binding) = change {
            ensure!(
                state.role_binding(binding.id) == Some(binding),
                "{:?} is missing",
                binding.id
            );
            count += 1;
        }
        Ok(())
    })?;
    say(&format!("{count} bindings were loaded"));
    let index = writer.index();
    for asked in questions(&world, state).iter().take(10_000) {
        let decided = index.decide(&asked.question, NOW);
        ensure!(
            decided.is_some_and(|(decision, _)| decision.is_allowed() == asked.is_allowed),
            "a wrong answer to {asked:?}"
        );
    }
    Ok(())
}

/// Seconds to fetch every row that a load fetches, and to look at nothing in them.
pub(crate) fn read_plainly(path: &Path) -> Result<f64> {
    let connection = Connection::open(path)?;
    let begun = Instant::now();
    let mut statement = connection.prepare(
        "SELECT number, body FROM record WHERE account = 1 AND kind = $1 ORDER BY number",
    )?;
    let mut octets = 0;
    for kind in 0..16 {
        let mut rows = statement.query([kind])?;
        while let Some(row) = rows.next()? {
            let number: u32 = row.get(0)?;
            octets += row.get_ref(1)?.as_blob()?.len() + usize::from(number == 0);
        }
    }
    ensure!(octets > 0, "nothing is in the store");
    Ok(begun.elapsed().as_secs_f64())
}

/// Makes the store that is then loaded. Ten million commits would take an hour, so the records are put where the store
/// would have put them, in one transaction; the last one goes through the store, and a load proves that it reads them.
pub(crate) fn make_store(size: Size, directory: &Path) -> Result<()> {
    let begun = Instant::now();
    let world = World::new(size);
    let store = SqliteStore::open(directory)?;
    store.create_account(&account()?)?;
    drop(store);
    let mut connection = Connection::open(directory.join("bindery.db"))?;
    connection.execute_batch(
        "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA cache_size = -4000000;",
    )?;
    let transaction = connection.transaction()?;
    let mut insert = transaction.prepare(
        "INSERT INTO record (account, kind, number, natural_key, body) VALUES (1, $1, $2, $3, $4)",
    )?;
    let mut last = None;
    for_each(&world, |change| {
        let (kind, number) = change.key();
        insert.execute((
            number_of(kind)?,
            number,
            change.natural_key(),
            change.encode(),
        ))?;
        last = Some(change);
        Ok(())
    })?;
    drop(insert);
    transaction.commit()?;
    connection.execute_batch("PRAGMA journal_mode = WAL")?;
    drop(connection);
    let entry = Entry::from(OneOperation {
        revision: Revision(1),
        at: THEN,
        by: None,
        key: None,
        operation: String::new(),
        batch: 0,
        changes: vec![last.context("there is something to store")?],
    });
    SqliteStore::open(directory)?.append(ACCOUNT, Revision(0).into(), &mut |_| Batch {
        entries: vec![entry.clone()],
        ..Batch::default()
    })?;
    say(&format!(
        "store made: {:.1} s",
        begun.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// The number of a kind in a database: the one it is encoded with.
pub(crate) fn number_of(kind: Kind) -> Result<u8> {
    let encoded = minicbor::to_vec(kind)?;
    encoded.first().copied().context("a kind is one octet")
}

//! `bindery verify`: checks whether a store, or a backup, agrees with its logs.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use bindery_core::id::AccountId;
use bindery_store::copy::{Backup, DAMAGED_MAX, Report, Verified, Verifier};

use crate::progress::Progress;
use crate::store::{self, Place};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: store::OrBackup,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let Report { verified, damaged } = match arguments.store.backup() {
        Some(file) => of_backup(file)?,
        None => of_store(&arguments.store.place()?)?,
    };
    let mut stdout = std::io::stdout();
    for one in verified {
        let Verified {
            account: AccountId(number),
            revision,
            base,
            records,
            audit,
        } = one;
        writeln!(
            stdout,
            "account {number}: revision {revision}, a log after {base}, {records} records and {audit} audit entries agree"
        )
        .context("stdout is closed")?;
    }
    if damaged.is_empty() {
        return Ok(());
    }
    let more = if damaged.len() < DAMAGED_MAX {
        ""
    } else {
        "; there may be more"
    };
    let lines: Vec<String> = damaged.iter().map(ToString::to_string).collect();
    bail!("damaged{more}:\n  {}", lines.join("\n  "))
}

fn of_store(place: &Place) -> Result<Report> {
    let mut snapshot = place.snapshot()?;
    let progress = Progress::of_rows("verify", snapshot.rows_about(None)?);
    Ok(snapshot.verify(&mut |rows| progress.add(rows))?)
}

fn of_backup(file: &Path) -> Result<Report> {
    let backup = Backup::open(file)?;
    let progress = Progress::of_bytes("verify", backup.bytes()?);
    let mut verifier = Verifier::default();
    backup.each(&mut |part, at| {
        progress.reach(at);
        anyhow::Ok(verifier.take(part)?)
    })?;
    Ok(Report {
        verified: verifier.finish()?,
        damaged: Vec::new(),
    })
}

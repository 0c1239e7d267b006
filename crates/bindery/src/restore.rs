//! `bindery restore`: a store from a backup, complete or not at all.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use bindery_store::copy::{Backup, BackupError};

use crate::hold::Hold;
use crate::progress::Progress;
use crate::store;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: store::Arguments,
    /// The backup. All of it is checked before anything is written.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let place = arguments.store.place()?;
    let backup = Backup::open(&arguments.from)?;
    let checking = Progress::of_bytes("check", backup.bytes()?);
    backup.each(&mut |_, at| {
        checking.reach(at);
        Ok::<_, BackupError>(())
    })?;
    drop(checking);
    let backup = Backup::open(&arguments.from)?;
    let progress = Progress::of_bytes("restore", backup.bytes()?);
    let mut import = place.import()?;
    let (mut rows, mut hold) = (0, Hold::from_environment());
    // Checked again while it is read: the store gets exactly what was written.
    backup.each(&mut |part, at| {
        import.take(part)?;
        rows += part.rows();
        progress.reach(at);
        hold.at(rows)
    })?;
    import.finish()?;
    drop(progress);
    let file = arguments.from.display();
    writeln!(std::io::stdout(), "{rows} rows out of `{file}`").context("stdout is closed")
}

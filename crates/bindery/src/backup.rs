//! `bindery backup`: one file of a store that may be in use.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use bindery_core::id::AccountId;
use bindery_store::copy::BackupWriter;

use crate::hold::Hold;
use crate::progress::Progress;
use crate::store;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: store::InUse,
    /// The file to write, where nothing may be yet. It holds addresses of people and hashes of secrets: keep it as safe as the
    /// store.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Only this account, by the number that `bindery account list` shows.
    #[arg(long, value_name = "NUMBER")]
    account: Option<u32>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let only = arguments.account.map(AccountId);
    let mut snapshot = arguments.store.place()?.snapshot()?;
    let rows_about = snapshot.rows_about(only)?;
    let mut writer = BackupWriter::create(&arguments.to)?;
    let progress = Progress::of_rows("backup", rows_about);
    let (mut rows, mut hold) = (0, Hold::from_environment());
    snapshot.each(only, &mut |part| {
        writer.take(part)?;
        rows += part.rows();
        progress.add(part.rows());
        hold.at(rows)
    })?;
    writer.finish()?;
    drop(progress);
    let file = arguments.to.display();
    writeln!(std::io::stdout(), "{rows} rows in `{file}`").context("stdout is closed")
}

//! `bindery backup`: one file of a store that may be in use.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use bindery_core::id::AccountId;
use bindery_store::StoreError;
use bindery_store::copy::BackupWriter;

use crate::hold::Hold;
use crate::progress::Progress;
use crate::store;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: store::InUse,
    /// The file to write; it must not exist. It holds addresses of people and hashes of secrets: keep it as
    /// safe as the store.
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
    let accounts = match only {
        Some(one) => vec![one],
        None => snapshot.accounts()?,
    };
    let (mut copies, mut damaged) = (0, Vec::new());
    for account in accounts {
        let (mark, before) = (writer.mark()?, rows);
        let outcome = snapshot.each(Some(account), &mut |part| {
            writer.take(part)?;
            rows += part.rows();
            progress.add(part.rows());
            hold.at(rows)
        });
        match outcome {
            Err(error) if only.is_none() && is_damage(&error) => {
                writer.go_back(mark)?;
                rows = before;
                snapshot.recover()?;
                damaged.push(error.to_string());
            }
            outcome => {
                outcome?;
                copies += 1;
            }
        }
    }
    drop(progress);
    if only.is_none() {
        let unreadable = snapshot.damaged_accounts()?.into_iter();
        damaged.extend(unreadable.map(|error| error.to_string()));
        let mut named = BTreeSet::new();
        damaged.retain(|one| named.insert(one.clone()));
    }
    let file = arguments.to.display();
    if copies == 0 && !damaged.is_empty() {
        bail!("no account can be read:\n  {}", damaged.join("\n  "));
    }
    writer.finish()?;
    writeln!(std::io::stdout(), "{rows} rows in `{file}`").context("stdout is closed")?;
    if damaged.is_empty() {
        return Ok(());
    }
    bail!(
        "damaged accounts are not in `{file}`, so keep the backups before it:\n  {}",
        damaged.join("\n  ")
    )
}

fn is_damage(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StoreError::Corrupt { .. }))
}

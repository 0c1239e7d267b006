//! `bindery migrate`: copies one store into another, like a backup that is restored without a file.

use std::io::Write as _;

use anyhow::{Context as _, Result};

use crate::hold::Hold;
use crate::progress::Progress;
use crate::store::Place;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The source: sqlite:DIR or postgres://…. Stop its servers first: later changes are not copied.
    #[arg(
        long,
        value_name = "URL",
        env = "BINDERY_MIGRATE_FROM",
        hide_env_values = true
    )]
    from: String,
    /// The target, which must be empty.
    #[arg(
        long,
        value_name = "URL",
        env = "BINDERY_MIGRATE_TO",
        hide_env_values = true
    )]
    to: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let place = |url: &str, name: &str| {
        Place::parse(url).with_context(|| {
            format!("{name} takes sqlite:DIR or postgres://…, and this is neither")
        })
    };
    let (from, to) = (
        place(&arguments.from, "--from")?,
        place(&arguments.to, "--to")?,
    );
    let mut snapshot = from.snapshot().context("--from")?;
    let mut import = to.import().context("--to")?;
    let progress = Progress::of_rows("migrate", snapshot.rows_about(None)?);
    let (mut rows, mut hold) = (0, Hold::from_environment());
    snapshot.each(None, &mut |part| {
        import.take(part)?;
        rows += part.rows();
        progress.add(part.rows());
        hold.at(rows)
    })?;
    import.finish()?;
    drop(progress);
    writeln!(std::io::stdout(), "{rows} rows migrated").context("stdout is closed")
}

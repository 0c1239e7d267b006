//! What Bindery costs, against its peers and against the machine: `cargo xtask bench`.
//!
//! Every figure that counts is a ratio: both sides are measured in one process, in rounds that alternate, and the answers of
//! both are compared. Nothing here fails because something took long; a wrong answer does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

mod changes;
mod check;
mod fairness;
mod fleet;
mod floor;
mod http;
mod load;
mod machine;
mod memory;
mod parts;
#[cfg(feature = "peers")]
mod peers;
mod questions;
mod random;
mod report;
mod row;
mod search;
mod setting;
mod size;
mod time;
mod world;
mod write;

use parts::{Group, Part};
use row::Row;
use size::Size;

/// As the product has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about = "What Bindery costs, against its peers and against the machine")]
struct Arguments {
    /// How many roles are held: ten thousand, a million, ten million; all of them by default.
    #[arg(long, value_enum, ignore_case = true)]
    size: Option<Size>,
    /// Only this part; the report then stays as it is.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// The report whose tables are replaced.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Measures what belongs into one process, and prints rows as JSON.
    #[arg(long, hide = true, requires = "size")]
    group: Option<Group>,
    /// Makes a store in this directory.
    #[arg(long, hide = true, requires = "size")]
    make_store: Option<PathBuf>,
    /// Serves the endpoint that HTTP is compared with, until it is ended.
    #[arg(long, hide = true)]
    raw_endpoint: bool,
    /// Sends the requests of a file to this address, on many connections.
    #[arg(long, hide = true, requires_all = ["requests", "seconds"])]
    hostile: Option<String>,
    /// The file with the requests.
    #[arg(long, hide = true)]
    requests: Option<PathBuf>,
    /// For so long.
    #[arg(long, hide = true)]
    seconds: Option<f64>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if arguments.raw_endpoint {
        return http::serve_raw();
    }
    if let (Some(address), Some(requests), Some(seconds)) =
        (&arguments.hostile, &arguments.requests, arguments.seconds)
    {
        return fairness::attack(address, requests, seconds);
    }
    match (arguments.size, &arguments.make_store, arguments.group) {
        (Some(size), Some(directory), _) => load::make_store(size, directory),
        (Some(size), None, Some(group)) => {
            for row in group.rows(size, arguments.only)? {
                print(&serde_json::to_string(&row)?)?;
            }
            Ok(())
        }
        _ => report(arguments),
    }
}

fn report(arguments: &Arguments) -> Result<()> {
    for size in Size::ALL {
        if arguments.size.is_some_and(|wanted| wanted != size) {
            continue;
        }
        let machine = machine::describe();
        let mut rows = Vec::new();
        for group in Group::ALL {
            if arguments.only.is_none_or(|part| part.group() == *group) {
                rows.extend(measure(size, *group, arguments.only)?);
            }
        }
        let table = report::table(size, &machine, &rows);
        print(&format!("\n{table}"))?;
        if let (Some(path), None) = (&arguments.write, arguments.only) {
            report::write(path, size, &table)?;
        }
    }
    Ok(())
}

/// In a process of its own, so that one's memory isn't the other's.
fn measure(size: Size, group: Group, only: Option<Part>) -> Result<Vec<Row>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--size", size.name(), "--group", &group.name()]);
    if let Some(part) = only {
        command.args(["--only", &part.name()]);
    }
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let mut rows = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let row: Row = serde_json::from_str(&line?)?;
        rows.push(row);
    }
    ensure!(
        child.wait()?.success(),
        "{} at size {} failed",
        group.name(),
        size.name()
    );
    Ok(rows)
}

fn print(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// A line for whoever waits.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

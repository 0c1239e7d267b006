//! The `bindery` command: one binary that serves, and that manages the store it serves from.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::LazyLock;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

mod accounts;
mod ask;
mod backup;
mod connections;
mod demo;
mod hold;
mod migrate;
mod open;
mod progress;
mod repair_time;
mod restore;
mod serve;
mod store;
mod verify;

/// A response makes a dozen small allocations, on any free thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The store format decides whether another version can be installed instead.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{} (store format {})",
        env!("CARGO_PKG_VERSION"),
        bindery_store::FORMAT
    )
});

/// An access-control server: it stores who may do what, and answers permission checks.
#[derive(Debug, Parser)]
#[command(name = "bindery", version = VERSION.as_str(), max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API from a directory or a database.
    Serve(Box<serve::Arguments>),
    /// Serve a small sample company from a temporary directory, with commands to paste.
    Demo(demo::Arguments),
    /// Manage the accounts of a store: of a directory while no server uses it, of a database at any time.
    #[command(subcommand)]
    Account(accounts::AccountCommand),
    /// Give a person an API key: in a directory while no server uses it, in a database at any time.
    #[command(subcommand)]
    Key(accounts::KeyCommand),
    /// Write a whole store, or one account of it, into one file; servers keep running.
    Backup(backup::Arguments),
    /// Create a store from a backup; the target must be empty.
    Restore(restore::Arguments),
    /// Copy a store into an empty one, from a directory into a database or back.
    Migrate(migrate::Arguments),
    /// Replay the logs of a store or a backup and compare: exits with 0 if everything agrees.
    Verify(verify::Arguments),
    /// Ask a server for a decision: exits with 0 for yes, 1 for no, 2 if it can't be decided or the server does not respond.
    Check(ask::Arguments),
    /// The same with every way to the permission, and what would be enough.
    Explain(ask::Arguments),
    /// Print the OpenAPI document of the API that this binary serves.
    Openapi,
}

fn print_openapi() -> anyhow::Result<()> {
    std::io::stdout()
        .write_all(bindery_api::openapi_json().as_bytes())
        .context("stdout is closed")
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Account(command) => accounts::run_account(&command),
        Command::Key(command) => accounts::run_key(&command),
        Command::Backup(arguments) => backup::run(&arguments),
        Command::Restore(arguments) => restore::run(&arguments),
        Command::Migrate(arguments) => migrate::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Check(arguments) => return ask::check(&arguments),
        Command::Explain(arguments) => return ask::explain(&arguments),
        Command::Openapi => print_openapi(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, including causes: service managers show one line.
            let _ = writeln!(std::io::stderr(), "bindery: {error:#}");
            ExitCode::FAILURE
        }
    }
}

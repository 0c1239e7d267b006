//! The `bindery` command: one binary that serves, and that looks after the store it serves from.

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

/// An answer makes a dozen small allocations, on whatever thread is free.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Which store it takes is what decides whether another version can be put in its place.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{} (store format {})",
        env!("CARGO_PKG_VERSION"),
        bindery_store::FORMAT
    )
});

/// The book of who may do what: an access-control server.
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
    /// Serve a small sample company from a throw-away directory, with commands to paste.
    Demo(demo::Arguments),
    /// Look after the accounts of a store: of a directory while no server uses it, of a database at any time.
    #[command(subcommand)]
    Account(accounts::AccountCommand),
    /// Give a person an API key: in a directory while no server uses it, in a database at any time.
    #[command(subcommand)]
    Key(accounts::KeyCommand),
    /// Write a whole store, or one account of it, into one file; servers go on meanwhile.
    Backup(backup::Arguments),
    /// Make a store of a backup, where there is none yet.
    Restore(restore::Arguments),
    /// Copy a store to where there is none yet, from a directory into a database or back.
    Migrate(migrate::Arguments),
    /// Replay the logs of a store or a backup and compare: exits with 0 if everything agrees.
    Verify(verify::Arguments),
    /// Ask a server whether somebody may: exits with 0 for yes, 1 for no, 2 if that can't be decided or there is no answer.
    Check(ask::Arguments),
    /// The same with every way that was looked at, and what would be enough.
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
            // One line, causes included: what a service manager shows.
            let _ = writeln!(std::io::stderr(), "bindery: {error:#}");
            ExitCode::FAILURE
        }
    }
}

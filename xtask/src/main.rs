//! What contributors and CI run, in Rust instead of shell.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

mod bench;
#[cfg(test)]
mod book;
mod ci;
mod codegen;
mod figures;
mod flood;
mod fuzz;
mod instructions;
mod mutants;
mod postgres;
mod repeat;
mod run;
#[cfg(test)]
mod security;
mod suites;
mod torture;
mod words;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "What contributors and CI run")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build bindery and run it with a small sample company; further arguments are passed to `bindery demo`.
    Demo {
        /// Passed on.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Install what the tests need, and run every suite.
    Test,
    /// Run every test that waits for something many times, and stop at the first failure;
    /// xtask/waiting-tests.tsv lists them.
    Repeat(repeat::Arguments),
    /// Run a command with a temporary PostgreSQL in `BINDERY_TEST_POSTGRES`, like `cargo test -p
    /// bindery-store`.
    Postgres {
        /// The command and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// Run only one suite: some thirty thousand cases made from the OpenAPI document; takes about fifteen
    /// minutes.
    Schemathesis,
    /// Kill, stop, partition and fill three servers and their database, and compare what clients received
    /// with the log.
    Torture {
        /// How many minutes.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        minutes: u64,
        /// Chooses faults and commands [default: random]
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Run simulated nodes and a faulty store from many seeds, on every processor: `--seeds N`, `--from
    /// SEED`, or `--seed ONE` to see its steps.
    Simulate {
        /// Passed on.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run a random walk of an attacker with few rights, beside administrators: `--calls N`, `--seed N`, or
    /// `--planted` to see that it finds mistakes.
    Walk {
        /// Passed on.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Damage a store on SQLite and one on PostgreSQL by seed, in rows, indexes and bytes, and compare every
    /// read and `verify` with the undamaged store.
    Damage {
        /// How many damages of each kind.
        #[arg(long, default_value_t = 2000)]
        count: u32,
    },
    /// Count the instructions of decisions with callgrind, and compare them with docs/instructions.tsv.
    Instructions {
        /// Store the new counts.
        #[arg(long)]
        update: bool,
    },
    /// Run what CI runs: formatting, generated files, lints, dependencies, then every suite.
    Ci,
    /// Build Bindery with its peers, measure both, and write the tables of docs/performance.md.
    Bench {
        /// How many roles are held: s (ten thousand, about a minute), m (a million), l (ten million) or all.
        #[arg(long, default_value = "all", value_parser = ["s", "m", "l", "all"])]
        size: String,
        /// Only one part, such as `check`, `write` or `cedar`; then nothing is written.
        #[arg(long)]
        only: Option<String>,
    },
    /// Hold ten thousand hostile connections of each shape against a server; print its memory, and how long a
    /// normal client's checks take.
    Flood {
        /// How many connections.
        #[arg(long, default_value_t = 10_000)]
        connections: usize,
        /// How many seconds each shape is held once its connections are open.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
        /// Only shapes with this in their name.
        #[arg(long)]
        only: Option<String>,
    },
    /// Run every fuzz target for some minutes, and name the failing input; needs cargo-fuzz and a nightly
    /// toolchain.
    Fuzz(fuzz::Arguments),
    /// Change the rules of the core in small ways, and name each change that no test notices; needs cargo-mutants.
    Mutants(mutants::Arguments),
    /// Print lengths of files and functions, circles of imports in the API, and private words left in
    /// comments.
    Figures,
    /// Generate the tables of bindery-core and the reference pages in docs/ from the tables in contract/.
    Codegen {
        /// Only check whether they are stale.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match run_task(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_task(task: Task) -> Result<()> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().context("xtask stands in the workspace")?;
    match task {
        Task::Demo { arguments } => suites::demo(root, &arguments),
        Task::Test => suites::test(root),
        Task::Repeat(arguments) => repeat::run_all(root, &arguments),
        Task::Postgres { command } => postgres::run_with(root, &command),
        Task::Schemathesis => suites::schemathesis(root),
        Task::Torture { minutes, seed } => torture::long(root, minutes, seed),
        Task::Simulate { arguments } => suites::simulate(root, &arguments),
        Task::Walk { arguments } => suites::walk(root, &arguments),
        Task::Damage { count } => suites::damage(root, count),
        Task::Instructions { update } => instructions::run(root, update),
        Task::Ci => ci::run_all(root),
        Task::Bench { size, only } => bench::run_all(root, &size, only.as_deref()),
        Task::Flood {
            connections,
            seconds,
            only,
        } => flood::run_all(root, connections, seconds, only.as_deref()),
        Task::Fuzz(arguments) => fuzz::run_all(root, &arguments),
        Task::Mutants(arguments) => mutants::run_all(root, &arguments),
        Task::Figures => figures::print(root),
        Task::Codegen { check } => codegen::run(root, check),
    }
}

//! What contributors and CI run, in Rust instead of shell.

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

mod codegen;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make the tables of bindery-core from those in contract/.
    Codegen {
        /// Only say whether they are stale.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask stands in the workspace")?;
    match Arguments::parse().task {
        Task::Codegen { check } => codegen::run(root, check),
    }
}

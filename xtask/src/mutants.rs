//! `cargo xtask mutants`: changes the rules in small ways, one at a time, with cargo-mutants, and runs the tests of core and model
//! against each change. A change that no test notices is a rule without a test.
//!
//! Results stay in `target/mutants/`. A shard that was interrupted goes on where it stopped.

use std::path::Path;

use anyhow::{Result, bail};

use crate::run::{cargo, run, say};
use crate::suites::target;

/// Files whose every mutant is tried: the decision, the index of what decisions need, and two families of commands.
const WHOLE: [&str; 8] = [
    "crates/bindery-core/src/decision.rs",
    "crates/bindery-core/src/decision/*.rs",
    "crates/bindery-core/src/access.rs",
    "crates/bindery-core/src/access/*.rs",
    "crates/bindery-core/src/command/role_bindings.rs",
    "crates/bindery-core/src/command/spaces.rs",
    "crates/bindery-core/src/command/proofs.rs",
    "crates/bindery-core/src/command/cascade.rs",
];
/// Of the other files of the core, one mutant of so many is tried.
const SAMPLED: u64 = 20;

/// Which mutants to try.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Which part of the mutants, `0/4` for the first of four.
    #[arg(long, default_value = "0/1")]
    shard: String,
    /// Instead of whole files, a sample of all other files of the core, chosen by this number.
    #[arg(long)]
    sample: Option<u64>,
    /// How many mutants are built and tested at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// Only list them.
    #[arg(long)]
    list: bool,
}

/// Tries the mutants, and fails if a test misses one.
pub(crate) fn run_all(root: &Path, arguments: &Arguments) -> Result<()> {
    let found = cargo(root, &["mutants", "--version"]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        bail!("cargo-mutants is not installed: `cargo install --locked cargo-mutants`");
    }
    let (name, shard) = match arguments.sample {
        Some(seed) => ("sample", format!("{}/{SAMPLED}", seed % SAMPLED)),
        None => ("whole", arguments.shard.clone()),
    };
    let directory = target(root)
        .join("mutants")
        .join(format!("{name}-{}", shard.replace('/', "-of-")));
    std::fs::create_dir_all(&directory)?;
    let mut command = cargo(root, &["mutants", "--no-shuffle", "--shard", &shard]);
    let option = if arguments.sample.is_some() {
        command.args(["--file", "crates/bindery-core/src/**/*.rs"]);
        "--exclude"
    } else {
        "--file"
    };
    for file in WHOLE {
        command.args([option, file]);
    }
    // Tables that are generated, and texts, have tests of their own.
    for file in [
        "crates/bindery-core/src/*/table.rs",
        "crates/bindery-core/src/explain/words.rs",
    ] {
        command.args(["--exclude", file]);
    }
    if arguments.list {
        return run(command.arg("--list"));
    }
    command
        .args([
            "--iterate",
            "--test-package",
            "bindery-core,bindery-model",
            "--timeout-multiplier",
            "4",
        ])
        .args(["--jobs", &arguments.jobs.to_string(), "--output"])
        .arg(&directory);
    let tried = run(&mut command);
    say(&format!(
        "results: {}",
        directory.join("mutants.out").display()
    ));
    tried
}

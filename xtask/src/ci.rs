//! `cargo xtask ci`: what must hold before a change lands.

use std::path::Path;

use anyhow::Result;

use crate::run::{cargo, run};
use crate::{codegen, instructions, suites};

/// Runs everything, tests last; the first failure stops it.
pub(crate) fn run_all(root: &Path) -> Result<()> {
    run(&mut cargo(root, &["fmt", "--all", "--check"]))?;
    codegen::run(root, true)?;
    run(&mut cargo(
        root,
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "--deny",
            "warnings",
        ],
    ))?;
    // The benchmarks without their peers, which take minutes to build.
    let bench = ["--manifest-path", "bench/Cargo.toml"];
    run(cargo(root, &["fmt", "--check"]).args(bench))?;
    run(cargo(
        root,
        &["clippy", "--no-default-features", "--target-dir", "target"],
    )
    .args(bench)
    .args(["--", "--deny", "warnings"]))?;
    // Advisories need a database from outside, which not every machine can reach: run `cargo deny check
    // advisories` by hand.
    run(&mut cargo(
        root,
        &["deny", "--locked", "check", "bans", "licenses", "sources"],
    ))?;
    instructions::run(root, false)?;
    suites::test(root)
}

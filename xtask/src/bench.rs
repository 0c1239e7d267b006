//! `cargo xtask bench`: builds the workspace in `bench/`, which has peers in it and stays out of every other build, and runs it.

use std::path::Path;

use anyhow::Result;

use crate::postgres::{self, Postgres};
use crate::run::{cargo, run};
use crate::suites::target;

/// Prints the measurements, and writes them into `docs/performance.md` if all parts of a size were measured.
pub(crate) fn run_all(root: &Path, size: &str, only: Option<&str>) -> Result<()> {
    run(&mut cargo(
        root,
        &[
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--package",
            "bindery",
        ],
    ))?;
    let postgres = Postgres::start(root)?;
    let report = root.join("docs/performance.md");
    let mut command = cargo(
        root,
        &[
            "run",
            "--quiet",
            "--release",
            "--manifest-path",
            "bench/Cargo.toml",
            "--",
            "--write",
        ],
    );
    command
        .arg(report)
        .env("BINDERY_BIN", target(root).join("release/bindery"))
        .env(postgres::VARIABLE, &postgres.url);
    if size != "all" {
        command.args(["--size", size]);
    }
    if let Some(only) = only {
        command.args(["--only", only]);
    }
    run(&mut command)
}

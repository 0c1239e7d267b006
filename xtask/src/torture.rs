//! `cargo xtask torture`: real servers on a real database, with real faults. `crates/bindery-torture` has the
//! actions and checks.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::run::{cargo, program, run, run_and_read};
use crate::suites::{python_packages, target};

/// How long the short form in `cargo xtask test` causes faults; it runs until each kind has had its turn.
const SHORT_SECONDS: u64 = 40;

/// For this many minutes, with this seed if given.
pub(crate) fn long(root: &Path, minutes: u64, seed: Option<u64>) -> Result<()> {
    let logs = target(root).join("torture");
    let mut command = command(root, minutes * 60)?;
    command.arg("--keep").arg(&logs);
    if let Some(seed) = seed {
        command.args(["--seed", &seed.to_string()]);
    }
    if !run_and_read(&mut command, |_| ())? {
        bail!(
            "not everything held; what the processes said is in {}",
            logs.display()
        );
    }
    Ok(())
}

/// The short form for the test suite: about a minute, always with the same seed.
pub(crate) fn short(root: &Path, read: impl FnMut(&str)) -> Result<bool> {
    let mut command = command(root, SHORT_SECONDS)?;
    run_and_read(command.args(["--short", "--seed", "1"]), read)
}

fn command(root: &Path, seconds: u64) -> Result<Command> {
    let packages = python_packages(root)?;
    run(&mut cargo(
        root,
        &[
            "build",
            "--locked",
            "--package",
            "bindery",
            "--package",
            "bindery-torture",
        ],
    ))?;
    let built = target(root).join("debug");
    let mut command = in_a_room_of_its_own(root, &built.join("bindery-torture"));
    command
        .arg("--bindery")
        .arg(built.join("bindery"))
        .arg("--packages")
        .arg(packages)
        .args(["--seconds", &seconds.to_string()]);
    Ok(command)
}

/// In a mount namespace: its mounts end with it in any case. Where that is impossible, it runs without small
/// disks to fill.
fn in_a_room_of_its_own(root: &Path, binary: &Path) -> Command {
    let tried = program(root, "unshare", &["--mount", "true"]).output();
    if tried.is_ok_and(|output| output.status.success()) {
        let mut command = program(root, "unshare", &["--mount"]);
        command.arg(binary);
        return command;
    }
    program(root, binary, &[])
}

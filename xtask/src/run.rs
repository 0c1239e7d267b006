//! Runs other programs, and reads their output while it is shown.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// A program to run in the workspace.
pub(crate) fn program(root: &Path, name: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(root);
    command
}

/// The cargo that runs this.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    program(root, cargo, arguments)
}

/// Runs it to its end; a failure is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    say(&format!("==> {}", shown(command)));
    let status = command
        .status()
        .with_context(|| format!("can't start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs it to its end, shows its stdout, passes each line to `read`, and returns whether it succeeded.
pub(crate) fn run_and_read(command: &mut Command, mut read: impl FnMut(&str)) -> Result<bool> {
    say(&format!("==> {}", shown(command)));
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't start {}", shown(command)))?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        say(&line);
        read(&line);
    }
    Ok(child.wait()?.success())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Prints a line.
#[expect(clippy::print_stdout, reason = "a developer's command")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

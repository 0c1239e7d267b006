//! `cargo xtask test`: every suite, each with its count. A suite that can't run is a failure, said aloud.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::run::{cargo, program, run, run_and_read, say};

/// What a suite came to.
struct Outcome {
    suite: &'static str,
    passed: u32,
    failed: u32,
    /// Why it counts as failed although no test did.
    trouble: Option<String>,
}

/// Builds and starts the demo; it runs until it is interrupted.
pub(crate) fn demo(root: &Path, arguments: &[String]) -> Result<()> {
    let mut command = cargo(
        root,
        &[
            "run",
            "--quiet",
            "--release",
            "--package",
            "bindery",
            "--",
            "demo",
        ],
    );
    run(command.args(arguments))
}

/// Runs every suite and closes with the counts.
pub(crate) fn test(root: &Path) -> Result<()> {
    let outcomes = [rust(root), python_sdk(root)];
    say("");
    for Outcome {
        suite,
        passed,
        failed,
        trouble,
    } in &outcomes
    {
        let trouble = trouble
            .as_ref()
            .map(|why| format!("  NOT RUN TO ITS END: {why}"));
        say(&format!(
            "{suite}: {passed} passed, {failed} failed{}",
            trouble.unwrap_or_default()
        ));
    }
    let passed: u32 = outcomes.iter().map(|one| one.passed).sum();
    let troubled = outcomes
        .iter()
        .filter(|one| one.failed == 0 && one.trouble.is_some())
        .count();
    let failed = outcomes.iter().map(|one| one.failed).sum::<u32>() + u32::try_from(troubled)?;
    say(&format!("{passed} passed, {failed} failed"));
    if failed > 0 || outcomes.iter().any(|one| one.trouble.is_some()) {
        bail!("not every suite passed");
    }
    Ok(())
}

fn rust(root: &Path) -> Outcome {
    let mut outcome = Outcome {
        suite: "rust",
        passed: 0,
        failed: 0,
        trouble: None,
    };
    let mut tests = cargo(root, &["test", "--workspace", "--locked", "--no-fail-fast"]);
    let ran = run_and_read(&mut tests, |line| {
        // `test result: ok. 12 passed; 0 failed; 0 ignored; …`
        if let Some(counts) = line.strip_prefix("test result: ") {
            outcome.passed += count(counts, "passed");
            outcome.failed += count(counts, "failed");
            if count(counts, "ignored") > 0 {
                outcome.trouble = Some("tests are ignored".to_owned());
            }
        }
    });
    finish(outcome, ran)
}

/// The official Python SDK, unmodified, against the binary that the Rust suite built.
fn python_sdk(root: &Path) -> Outcome {
    let mut outcome = Outcome {
        suite: "python sdk end to end",
        passed: 0,
        failed: 0,
        trouble: None,
    };
    let ran = python(root).and_then(|python| {
        run(&mut cargo(
            root,
            &["build", "--locked", "--package", "bindery"],
        ))?;
        let binary = target(root).join("debug/bindery");
        let mut tests = program(
            root,
            python,
            &["-m", "pytest", "-q", "-p", "no:cacheprovider", "e2e/python"],
        );
        tests
            .env("BINDERY_BIN", binary)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        run_and_read(&mut tests, |line| {
            // `12 passed, 1 failed in 3.4s`
            if line.contains(" in ") && (line.contains(" passed") || line.contains(" failed")) {
                outcome.passed = count(line, "passed");
                outcome.failed =
                    count(line, "failed") + count(line, "error") + count(line, "errors");
                if count(line, "skipped") > 0 {
                    outcome.trouble = Some("tests are skipped".to_owned());
                }
            }
        })
    });
    finish(outcome, ran)
}

fn finish(mut outcome: Outcome, ran: Result<bool>) -> Outcome {
    match ran {
        Ok(true) if outcome.passed == 0 => outcome.trouble = Some("it ran no test".to_owned()),
        Ok(true) => {}
        Ok(false) => {
            let why = outcome
                .trouble
                .unwrap_or_else(|| "its runner failed".to_owned());
            outcome.trouble = Some(why);
        }
        Err(error) => outcome.trouble = Some(format!("{error:#}")),
    }
    outcome
}

/// The number before `word`, as test runners write it.
fn count(line: &str, word: &str) -> u32 {
    let words: Vec<&str> = line
        .split([' ', ',', ';', '.'])
        .filter(|word| !word.is_empty())
        .collect();
    let before = words
        .windows(2)
        .find(|pair| pair[1] == word)
        .map(|pair| pair[0]);
    before.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// A Python with what `e2e/python/requirements.txt` names, in the target folder.
fn python(root: &Path) -> Result<PathBuf> {
    let requirements = root.join("e2e/python/requirements.txt");
    let wanted = fs::read_to_string(&requirements).context("e2e/python/requirements.txt")?;
    let home = target(root).join("e2e-python");
    let python = home.join("bin/python");
    let mark = home.join("requirements.installed");
    if fs::read_to_string(&mark).ok().as_deref() == Some(&*wanted) {
        return Ok(python);
    }
    let found = ["python3", "python3.13", "python3.12", "python3.11"]
        .into_iter()
        .find(|name| is_python_3_11(root, name))
        .context("this takes Python 3.11 or newer as `python3`")?;
    let home = home.to_str().context("the target folder's name is text")?;
    run(&mut program(root, found, &["-m", "venv", "--clear", home]))?;
    let requirements = requirements
        .to_str()
        .context("the workspace's name is text")?;
    run(&mut program(
        root,
        &python,
        &[
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            requirements,
        ],
    ))?;
    fs::write(mark, wanted)?;
    Ok(python)
}

/// Where that Python has its packages.
pub(crate) fn python_packages(root: &Path) -> Result<PathBuf> {
    let ask = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let output = program(root, python(root)?, &["-c", ask]).output()?;
    let path = String::from_utf8(output.stdout)?;
    Ok(PathBuf::from(path.trim()))
}

fn is_python_3_11(root: &Path, name: &str) -> bool {
    let check = "import sys; sys.exit(sys.version_info < (3, 11))";
    program(root, name, &["-c", check])
        .status()
        .is_ok_and(|status| status.success())
}

fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

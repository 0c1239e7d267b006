//! `cargo xtask repeat`: runs every test that waits for something many times, alone or with a load beside it.
//!
//! `xtask/waiting-tests.tsv` lists these tests, what each waits for, and why the speed of the machine does
//! not matter.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::postgres::{self, Postgres};
use crate::run::{cargo, program, run_and_read, say};
use crate::suites::{count, run_pytest};

const LIST: &str = "xtask/waiting-tests.tsv";
/// A row of the list.
struct Waiting {
    suite: String,
    tests: String,
}

fn list(root: &Path) -> Result<Vec<Waiting>> {
    let text = fs::read_to_string(root.join(LIST)).context(LIST)?;
    let rows = text.lines().skip(1).map(|line| {
        let [suite, tests, _, _] = line.split('\t').collect::<Vec<_>>()[..] else {
            bail!("{LIST}: a line without four columns: {line}");
        };
        Ok(Waiting {
            suite: suite.to_owned(),
            tests: tests.to_owned(),
        })
    });
    rows.collect()
}

/// What to repeat, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How often each test runs.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    times: u32,
    /// Run beside a load: one busy thread for each processor.
    #[arg(long)]
    load: bool,
    /// Only suites whose name contains this, such as `bindery-node`.
    #[arg(long)]
    only: Option<String>,
}

/// Builds everything once, then runs the tests until the first failure.
pub(crate) fn run_all(root: &Path, arguments: &Arguments) -> Result<()> {
    let mut suites: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Waiting { suite, tests } in list(root)? {
        let is_chosen = |only: &String| suite.contains(only.as_str());
        if arguments.only.as_ref().is_none_or(is_chosen) {
            suites.entry(suite).or_default().push(tests);
        }
    }
    if suites.is_empty() {
        bail!("{LIST} has no suite of that name");
    }
    let given = std::env::var(postgres::VARIABLE).ok();
    let postgres = match given {
        Some(_) => None,
        None => Some(Postgres::start(root)?),
    };
    let url = given.or_else(|| postgres.as_ref().map(|postgres| postgres.url.clone()));
    let url = url.context("a PostgreSQL to test with")?;
    let built = build(root)?;
    let load = Load::new(arguments.load);
    std::thread::scope(|scope| {
        for _ in 0..load.threads {
            scope.spawn(|| load.turn());
        }
        let repeated = repeat(root, arguments.times, &suites, &built, &url);
        load.is_over.store(true, Ordering::Relaxed);
        repeated
    })
}

fn repeat(
    root: &Path,
    times: u32,
    suites: &BTreeMap<String, Vec<String>>,
    built: &BTreeMap<String, PathBuf>,
    url: &str,
) -> Result<()> {
    let began = Instant::now();
    let mut passed = 0;
    for round in 1..=times {
        for (suite, tests) in suites {
            let ran = run_suite(root, suite, tests, built, url)?;
            match ran {
                Some(ran) if ran > 0 => passed += ran,
                _ => bail!("round {round} of {times}: {suite} failed or ran no test"),
            }
        }
        say(&format!(
            "round {round} of {times}: {passed} passed so far, in {} s",
            began.elapsed().as_secs()
        ));
    }
    say(&format!("{passed} passed, 0 failed"));
    Ok(())
}

/// How many tests passed, if none failed.
fn run_suite(
    root: &Path,
    suite: &str,
    tests: &[String],
    built: &BTreeMap<String, PathBuf>,
    url: &str,
) -> Result<Option<u32>> {
    let mut passed = 0;
    let Some((package, _)) = suite.split_once(' ') else {
        let is_passed = run_pytest(root, tests, |line| {
            if line.contains(" passed") && line.contains(" in ") {
                passed += count(line, "passed");
            }
        })?;
        return Ok(is_passed.then_some(passed));
    };
    let binary = built
        .get(suite)
        .with_context(|| format!("{LIST}: cargo built no {suite}"))?;
    // Cargo runs it here as well.
    let mut command = program(&root.join("crates").join(package), binary, &["--quiet"]);
    command.args(tests).env(postgres::VARIABLE, url);
    let is_passed = run_and_read(&mut command, |line| {
        if let Some(counts) = line.strip_prefix("test result: ") {
            passed += count(counts, "passed");
        }
    })?;
    Ok(is_passed.then_some(passed))
}

/// Builds every test binary of the workspace, as `cargo xtask test` does, and returns the path of each:
/// `bindery-node it`.
fn build(root: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut command = cargo(root, &["test", "--workspace", "--locked", "--no-run"]);
    command.arg("--message-format=json-render-diagnostics");
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("the tests can't be built");
    }
    let mut built = BTreeMap::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let message: Value = serde_json::from_str(line)?;
        let is_test = message["profile"]["test"] == true;
        let (Some(binary), Some(id)) = (
            message["executable"].as_str(),
            message["package_id"].as_str(),
        ) else {
            continue;
        };
        let target = &message["target"];
        let kind = target["kind"][0].as_str().unwrap_or_default();
        let name = if kind == "test" {
            target["name"].as_str().unwrap_or_default()
        } else {
            kind
        };
        // `path+file:///…/crates/bindery-node#0.1.0`
        let package = id.rsplit('/').next().unwrap_or_default();
        let package = package.split('#').next().unwrap_or_default();
        if is_test {
            built.insert(format!("{package} {name}"), binary.into());
        }
    }
    Ok(built)
}

/// Threads that keep the processors busy until they are stopped.
struct Load {
    threads: usize,
    is_over: AtomicBool,
}

impl Load {
    fn new(is_wanted: bool) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            threads: if is_wanted { processors } else { 0 },
            is_over: AtomicBool::new(false),
        }
    }

    fn turn(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signs of a test that waits.
    const SIGNS: [&str; 6] = [
        "sleep(",
        "timeout(",
        "yield_now",
        "thread::spawn",
        "thread::scope",
        "try_wait",
    ];

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    fn files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                files(&path, found);
            } else if path.extension().is_some_and(|one| one == "rs") {
                found.push(path);
            }
        }
    }

    /// The module of a file in `tests/it`, as the test runner names it.
    fn module(path: &Path) -> Option<String> {
        let text = path.to_str()?;
        let (_, rest) = text.split_once("/tests/it/")?;
        Some(format!(
            "{}::",
            rest.strip_suffix(".rs")?.replace('/', "::")
        ))
    }

    #[test]
    fn every_file_of_tests_that_waits_is_in_the_list() {
        // They have what others wait with, and no tests.
        const WITHOUT_TESTS: [&str; 5] = ["support::", "faulty::", "proxy::", "served::", "main::"];
        let rows = list(&root()).expect("the list");
        let mut missing = Vec::new();
        for krate in fs::read_dir(root().join("crates")).expect("a folder of ours") {
            let krate = krate.expect("an entry");
            let package = krate.file_name().to_string_lossy().into_owned();
            let mut found = Vec::new();
            files(&krate.path().join("tests/it"), &mut found);
            for path in found {
                let text = fs::read_to_string(&path).expect("a file of ours");
                let module = module(&path).expect("below tests/it");
                let is_listed = rows.iter().any(|row| {
                    row.suite == format!("{package} it") && module.starts_with(&row.tests)
                });
                let waits = SIGNS.iter().any(|sign| text.contains(sign));
                if waits && !is_listed && !WITHOUT_TESTS.contains(&module.as_str()) {
                    missing.push(format!("{package} {module}"));
                }
            }
        }
        assert_eq!(missing, [""; 0], "add them to {LIST}, with a reason");
    }

    #[test]
    fn every_row_names_tests_that_are_there() {
        for Waiting { suite, tests } in list(&root()).expect("the list") {
            let Some((package, target)) = suite.split_once(' ') else {
                assert!(root().join(&tests).is_file(), "{tests}");
                continue;
            };
            let folder = if target == "it" { "tests/it" } else { "src" };
            let below = root().join("crates").join(package).join(folder);
            let first = tests.split("::").next().unwrap_or_default();
            let is_there =
                below.join(format!("{first}.rs")).is_file() || below.join(first).is_dir();
            assert!(is_there, "{suite}: there is no {tests}");
        }
    }
}

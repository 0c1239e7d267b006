//! `cargo xtask test`: every suite, each with its count. A suite that can't run is a failure, and says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::postgres::{self, Postgres};
use crate::run::{cargo, program, run, run_and_read, say};
use crate::torture;

/// The result of a suite.
struct Outcome {
    suite: &'static str,
    passed: u32,
    failed: u32,
    /// Why it counts as failed although no test failed.
    trouble: Option<String>,
    began: Instant,
    took: Duration,
}

impl Outcome {
    fn new(suite: &'static str) -> Self {
        Self {
            suite,
            passed: 0,
            failed: 0,
            trouble: None,
            began: Instant::now(),
            took: Duration::ZERO,
        }
    }

    /// Reads the counts of pytest's last line: `12 passed, 1 failed in 3.4s`.
    fn read_pytest(&mut self, line: &str) {
        if line.contains(" in ") && (line.contains(" passed") || line.contains(" failed")) {
            self.passed = count(line, "passed");
            self.failed = count(line, "failed") + count(line, "error") + count(line, "errors");
            if count(line, "skipped") > 0 {
                self.trouble = Some("tests are skipped".to_owned());
            }
        }
    }
}

/// How many cases Schemathesis sends.
struct Cases {
    /// For each operation, by an admin and by a member.
    examples: &'static str,
    /// For all operations: with fewer, the run is incomplete.
    least: &'static str,
}

/// In each run of all suites, in about seven minutes on two cores.
const FEW_CASES: Cases = Cases {
    examples: "150",
    least: "12000",
};
/// In `cargo xtask schemathesis`.
const MANY_CASES: Cases = Cases {
    examples: "300",
    least: "20000",
};

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

/// Builds and runs the simulation, in release mode.
pub(crate) fn simulate(root: &Path, arguments: &[String]) -> Result<()> {
    let mut command = cargo(
        root,
        &[
            "run",
            "--quiet",
            "--release",
            "--package",
            "bindery-sim",
            "--",
        ],
    );
    run(command.args(arguments))
}

/// Builds and runs the attacker's random walk, in release mode.
pub(crate) fn walk(root: &Path, arguments: &[String]) -> Result<()> {
    let mut command = cargo(
        root,
        &[
            "run",
            "--quiet",
            "--release",
            "--package",
            "bindery-model",
            "--example",
            "walk",
            "--",
        ],
    );
    run(command.args(arguments))
}

/// Runs the damage tests of both stores, each with this many damages. Each prints its results in one line.
pub(crate) fn damage(root: &Path, count: u32) -> Result<()> {
    let postgres = Postgres::start(root)?;
    let arguments = ["test", "--package", "bindery-store"];
    let mut command = cargo(root, &arguments);
    command.args(["--test", "it", "--", "damage::"]);
    command.env(postgres::VARIABLE, &postgres.url);
    run(command.env("BINDERY_DAMAGE", count.to_string()))
}

/// Runs every suite and prints the counts.
pub(crate) fn test(root: &Path) -> Result<()> {
    let began = Instant::now();
    let postgres = Postgres::start(root);
    let url = postgres.as_ref().map(|postgres| postgres.url.as_str()).ok();
    // Built before the lanes start: two builds at once would wait for each other.
    let built = build(root);
    let mut outcomes = Vec::new();
    if built.is_ok() {
        // Tests in Rust and clients in Python and TypeScript share only the server of the tests: each creates
        // its own directories and databases.
        let (tests, clients) = std::thread::scope(|lanes| {
            let tests = lanes.spawn(|| rust(root, url));
            let clients = end_to_end(root, url);
            (tests.join(), clients)
        });
        outcomes.push(
            tests.unwrap_or_else(|_| {
                finish(Outcome::new("rust"), Err(anyhow!("its runner panicked")))
            }),
        );
        outcomes.extend(clients);
        // Alone: it stops and slows down servers.
        outcomes.push(tortured(root));
    }
    for (suite, outcome) in [("build", built), ("postgres", postgres.map(drop))] {
        if let Err(error) = outcome {
            outcomes.push(finish(Outcome::new(suite), Err(error)));
        }
    }
    close(&outcomes, began.elapsed())
}

/// Runs these Python test files against the built binary. Returns whether all passed.
pub(crate) fn run_pytest(root: &Path, files: &[String], read: impl FnMut(&str)) -> Result<bool> {
    let setting = Setting::new(root)?;
    let mut tests = setting.python(&["-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]);
    run_and_read(tests.args(files), read)
}

/// Only the cases made from the OpenAPI document.
pub(crate) fn schemathesis(root: &Path) -> Result<()> {
    let began = Instant::now();
    let setting = Setting::new(root)?;
    close(&[setting.schemathesis(&MANY_CASES)], began.elapsed())
}

/// Everything that the two lanes run.
fn build(root: &Path) -> Result<()> {
    run(&mut cargo(
        root,
        &["test", "--workspace", "--locked", "--no-run"],
    ))?;
    run(&mut cargo(
        root,
        &["build", "--locked", "--package", "bindery"],
    ))
}

/// Prints the result and the duration of each suite. The last line is the total.
fn close(outcomes: &[Outcome], whole: Duration) -> Result<()> {
    say("");
    for Outcome {
        suite,
        passed,
        failed,
        trouble,
        took,
        ..
    } in outcomes
    {
        let trouble = trouble
            .as_ref()
            .map(|why| format!("  NOT RUN TO ITS END: {why}"));
        say(&format!(
            "{suite}: {passed} passed, {failed} failed, in {:.1} min{}",
            took.as_secs_f64() / 60.0,
            trouble.unwrap_or_default()
        ));
    }
    say(&format!(
        "all of it in {:.1} min",
        whole.as_secs_f64() / 60.0
    ));
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

fn rust(root: &Path, postgres: Option<&str>) -> Outcome {
    let mut outcome = Outcome::new("rust");
    let mut tests = cargo(root, &["test", "--workspace", "--locked", "--no-fail-fast"]);
    tests.envs(postgres.map(|url| (postgres::VARIABLE, url)));
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

/// Real servers on a database with real faults, for a minute.
fn tortured(root: &Path) -> Outcome {
    let mut outcome = Outcome::new("torture");
    let ran = torture::short(root, |line| {
        // `torture: 11 passed, 0 failed`
        if let Some(counts) = line.strip_prefix("torture: ")
            && counts.ends_with(" failed")
        {
            outcome.passed = count(counts, "passed");
            outcome.failed = count(counts, "failed");
        }
    });
    finish(outcome, ran)
}

/// The official clients, unmodified, against the binary; then a check that each has shown its scenarios.
fn end_to_end(root: &Path, postgres: Option<&str>) -> Vec<Outcome> {
    let mut setting = match Setting::new(root) {
        Ok(setting) => setting,
        Err(error) => return vec![finish(Outcome::new("end to end"), Err(error))],
    };
    let mut outcomes = vec![
        setting.pytest("raw http", "test_raw"),
        setting.pytest("python sdk", "test_sdk"),
        setting.pytest("ax command line", "test_cli"),
        setting.typescript("typescript client"),
        setting.coverage(),
        setting.schemathesis(&FEW_CASES),
    ];
    if let Some(url) = postgres {
        setting.postgres = Some(url.to_owned());
        outcomes.extend([
            setting.pytest("raw http on PostgreSQL", "test_raw"),
            setting.pytest("python sdk on PostgreSQL", "test_sdk"),
            setting.pytest("ax command line on PostgreSQL", "test_cli"),
            setting.typescript("typescript client on PostgreSQL"),
        ]);
    }
    outcomes
}

/// State that the end-to-end suites share.
struct Setting<'root> {
    root: &'root Path,
    python: PathBuf,
    binary: PathBuf,
    /// Every test file in `e2e/python`.
    tests: Vec<String>,
    /// Where each suite records the scenarios that it has shown, on SQLite.
    coverage: PathBuf,
    /// The server to create databases on, instead of SQLite.
    postgres: Option<String>,
}

impl<'root> Setting<'root> {
    fn new(root: &'root Path) -> Result<Self> {
        let python = python(root, "e2e/python")?;
        run(&mut cargo(
            root,
            &["build", "--locked", "--package", "bindery"],
        ))?;
        let coverage = target(root).join("e2e-coverage");
        if coverage.exists() {
            fs::remove_dir_all(&coverage)?;
        }
        fs::create_dir_all(&coverage)?;
        let mut tests = Vec::new();
        for entry in fs::read_dir(root.join("e2e/python"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let is_of_a_suite = ["test_raw", "test_sdk", "test_cli"]
                .iter()
                .any(|prefix| name.starts_with(prefix));
            if is_of_a_suite {
                tests.push(format!("e2e/python/{name}"));
            } else if name.starts_with("test_") {
                bail!("no suite runs e2e/python/{name}");
            }
        }
        tests.sort();
        Ok(Self {
            root,
            python,
            binary: target(root).join("debug/bindery"),
            tests,
            coverage,
            postgres: None,
        })
    }

    fn python(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.root, &self.python, arguments);
        command
            .env("BINDERY_BIN", &self.binary)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        match &self.postgres {
            Some(url) => command.env("BINDERY_E2E_STORE", url),
            None => command.env("BINDERY_E2E_COVERAGE", &self.coverage),
        };
        command
    }

    /// The files in `e2e/python` with this prefix.
    fn pytest(&self, suite: &'static str, prefix: &str) -> Outcome {
        let mut outcome = Outcome::new(suite);
        let mut tests =
            self.python(&["-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]);
        tests.args(self.tests.iter().filter(|file| file.contains(prefix)));
        let ran = run_and_read(&mut tests, |line| outcome.read_pytest(line));
        finish(outcome, ran)
    }

    fn typescript(&self, suite: &'static str) -> Outcome {
        let mut outcome = Outcome::new(suite);
        let home = self.root.join("e2e/typescript");
        let ran = node_20(self.root).and_then(|()| {
            run(&mut program(
                &home,
                "npm",
                &["ci", "--no-audit", "--no-fund"],
            ))?;
            run(&mut program(&home, "npm", &["run", "--silent", "build"]))?;
            let mut tests = self.python(&["e2e/python/with_scene.py", "typescript"]);
            tests.args(["npm", "--prefix", "e2e/typescript", "test", "--silent"]);
            run_and_read(&mut tests, |line| {
                // `ℹ pass 12`
                let told = |what| line.strip_prefix(what)?.trim().parse::<u32>().ok();
                if let Some(passed) = told("ℹ pass ") {
                    outcome.passed = passed;
                } else if let Some(failed) = told("ℹ fail ").or_else(|| told("ℹ cancelled ")) {
                    outcome.failed += failed;
                } else if told("ℹ skipped ").or_else(|| told("ℹ todo ")) > Some(0) {
                    outcome.trouble = Some("tests are skipped".to_owned());
                }
            })
        });
        finish(outcome, ran)
    }

    /// Cases made from the OpenAPI document, the same each time except for the times of the day. On SQLite
    /// only: what a case finds about the API doesn't depend on the store, and the stores have their own
    /// suites.
    fn schemathesis(&self, cases: &Cases) -> Outcome {
        let mut outcome = Outcome::new("schemathesis");
        let ran = python(self.root, "e2e/schemathesis").and_then(|python| {
            let mut tests = program(
                self.root,
                &python,
                &[
                    "-m",
                    "pytest",
                    "-q",
                    "-s",
                    "--tb=short",
                    "-p",
                    "no:cacheprovider",
                    "e2e/schemathesis",
                ],
            );
            tests
                .env("BINDERY_EXAMPLES", cases.examples)
                .env("BINDERY_CASES_MIN", cases.least)
                .env("BINDERY_BIN", &self.binary)
                .env("BINDERY_REPORTS", target(self.root))
                .env("PYTHONDONTWRITEBYTECODE", "1");
            run_and_read(&mut tests, |line| outcome.read_pytest(line))
        });
        finish(outcome, ran)
    }

    /// An operation counts as a test here: passed if every client has shown all its scenarios.
    fn coverage(&self) -> Outcome {
        let mut outcome = Outcome::new("operations whole in every client");
        let mut check = self.python(&["e2e/python/coverage_check.py"]);
        let ran = run_and_read(check.arg(&self.coverage), |line| {
            if line.ends_with(" failed") && line.contains(" passed, ") {
                outcome.passed = count(line, "passed");
                outcome.failed = count(line, "failed");
            }
        });
        finish(outcome, ran)
    }
}

fn finish(mut outcome: Outcome, ran: Result<bool>) -> Outcome {
    outcome.took = outcome.began.elapsed();
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
pub(crate) fn count(line: &str, word: &str) -> u32 {
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

/// A Python with the packages of this folder's `requirements.txt`, in the target folder.
fn python(root: &Path, folder: &str) -> Result<PathBuf> {
    let requirements = root.join(folder).join("requirements.txt");
    let wanted =
        fs::read_to_string(&requirements).with_context(|| format!("{folder}/requirements.txt"))?;
    let home = target(root).join(folder.replace('/', "-"));
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
    let output = program(root, python(root, "e2e/python")?, &["-c", ask]).output()?;
    let path = String::from_utf8(output.stdout)?;
    Ok(PathBuf::from(path.trim()))
}

fn node_20(root: &Path) -> Result<()> {
    let check = "process.exit(Number(process.versions.node.split('.')[0]) >= 20 ? 0 : 1)";
    let is_new = program(root, "node", &["-e", check]).status();
    if !is_new.is_ok_and(|status| status.success()) {
        bail!("this takes Node 20 or newer as `node`, with `npm`");
    }
    Ok(())
}

fn is_python_3_11(root: &Path, name: &str) -> bool {
    let check = "import sys; sys.exit(sys.version_info < (3, 11))";
    program(root, name, &["-c", check])
        .status()
        .is_ok_and(|status| status.success())
}

pub(crate) fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

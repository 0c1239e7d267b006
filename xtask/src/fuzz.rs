//! `cargo xtask fuzz`: every target of `fuzz/` for some minutes, under cargo-fuzz. New inputs stay in
//! `target/fuzz/`; the corpus in `fuzz/corpus` is read, and never written.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::PoisonError;

use anyhow::{Context as _, Result, bail};

use crate::run::{cargo, program, run, say};
use crate::suites::target;

/// The largest generated input, except for targets with their own limit.
const INPUT_MAX: usize = 4096;
/// The size of a whole backup.
const BACKUP_MAX: usize = 16 * 1024;
/// Memory of one target; libFuzzer ends it beyond that.
const MEMORY_MAX_MB: usize = 2048;
/// An input that takes longer fails.
const INPUT_SECONDS_MAX: u32 = 10;

/// What to fuzz, and how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How long each target runs.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
    /// Only the target with this name.
    #[arg(long)]
    only: Option<String>,
    /// How many targets run at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
}

/// Builds the targets, and runs one after the other. The first that fails doesn't stop the others.
pub(crate) fn run_all(root: &Path, arguments: &Arguments) -> Result<()> {
    let mut targets = targets(root)?;
    if let Some(only) = &arguments.only {
        targets.retain(|target| target == only);
        if targets.is_empty() {
            bail!("there is no target `{only}` in fuzz/fuzz_targets");
        }
    }
    look_for_tools(root)?;
    run(cargo_fuzz(root, "build").args(arguments.only.as_slice()))?;
    let (waiting, failed) = (Mutex::new(VecDeque::from(targets)), Mutex::new(Vec::new()));
    let work = || {
        let next = || lock(&waiting).pop_front();
        while let Some(target) = next() {
            if let Err(error) = fuzz(root, &target, arguments.minutes) {
                say(&format!("{target}: {error:#}"));
                lock(&failed).push(target);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The names of all targets, in order.
fn targets(root: &Path) -> Result<Vec<String>> {
    let mut targets = Vec::new();
    for entry in fs::read_dir(root.join("fuzz/fuzz_targets"))? {
        let name = entry?.file_name().into_string();
        let name = name.ok().context("a target whose name is not UTF-8")?;
        targets.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    targets.sort_unstable();
    Ok(targets)
}

/// `cargo +nightly fuzz …`, without a sanitizer: the fuzzed code has no `unsafe`, and is twice as fast
/// without.
fn cargo_fuzz(root: &Path, verb: &str) -> Command {
    // The cargo that runs this belongs to one toolchain; rustup's own cargo can choose.
    let mut command = program(
        root,
        "cargo",
        &["+nightly", "fuzz", verb, "--sanitizer", "none"],
    );
    // Set by the cargo that runs this, for its own toolchain.
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    command
}

fn look_for_tools(root: &Path) -> Result<()> {
    let is_there = |mut command: Command| {
        let output = command.stdin(Stdio::null()).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !is_there(program(
        root,
        "rustup",
        &["run", "nightly", "rustc", "--version"],
    )) {
        bail!("fuzzing needs a nightly toolchain: `rustup toolchain install nightly`");
    }
    if !is_there(cargo(root, &["fuzz", "--version"])) {
        bail!("fuzzing needs cargo-fuzz: `cargo install --locked cargo-fuzz`");
    }
    Ok(())
}

/// Runs one target, and reports how many inputs it made and what they reached.
fn fuzz(root: &Path, name: &str, minutes: u64) -> Result<()> {
    let directory = target(root).join("fuzz");
    let found = directory.join("corpus").join(name);
    fs::create_dir_all(&found)?;
    let artifacts = root.join("fuzz/artifacts").join(name);
    fs::create_dir_all(&artifacts)?;
    let log = directory.join(format!("{name}.log"));
    let mut command = cargo_fuzz(root, "run");
    command.arg(name).arg(&found);
    command.arg(root.join("fuzz/corpus").join(name)).arg("--");
    let dictionary = root.join("fuzz/dictionaries").join(name);
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    let input_max = if name == "backups" {
        BACKUP_MAX
    } else {
        INPUT_MAX
    };
    command.args([
        format!("-max_total_time={}", minutes * 60),
        format!("-max_len={input_max}"),
        format!("-rss_limit_mb={MEMORY_MAX_MB}"),
        format!("-timeout={INPUT_SECONDS_MAX}"),
        format!("-artifact_prefix={}/", artifacts.display()),
        "-print_final_stats=1".to_owned(),
    ]);
    say(&format!("==> {name} for {minutes} min; {}", log.display()));
    let output = File::create(&log).with_context(|| log.display().to_string())?;
    command.stdout(output.try_clone()?).stderr(output);
    let status = command.status().context("can't start cargo")?;
    let told = Told::read(&log)?;
    for line in &told.lines {
        say(&format!("{name}: {line}"));
    }
    match told.failed {
        Some(input) => bail!(
            "failed with the input {}; what it said is in {}",
            input.display(),
            log.display()
        ),
        None if !status.success() => bail!("{status}; what it said is in {}", log.display()),
        None => Ok(()),
    }
}

/// The output of libFuzzer.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    /// The last line with coverage, and the final figures.
    lines: Vec<String>,
    /// The input that failed.
    failed: Option<PathBuf>,
}

impl Told {
    fn read(log: &Path) -> Result<Self> {
        let lines = BufReader::new(File::open(log)?).split(b'\n');
        let lines = lines.map(|line| Ok(String::from_utf8_lossy(&line?).into_owned()));
        Ok(Self::of(&lines.collect::<Result<Vec<_>>>()?))
    }

    fn of(lines: &[String]) -> Self {
        let coverage = lines.iter().rfind(|line| line.contains(" cov: "));
        let figures = [
            "stat::number_of_executed_units",
            "stat::average_exec_per_sec",
            "stat::new_units_added",
            "stat::peak_rss_mb",
        ];
        let is_figure = |line: &&String| figures.iter().any(|figure| line.starts_with(figure));
        let marker = "Test unit written to ";
        let failed = lines.iter().find_map(|line| line.split_once(marker));
        Self {
            lines: coverage
                .into_iter()
                .chain(lines.iter().filter(is_figure))
                .map(|line| line.trim().to_owned())
                .collect(),
            failed: failed.map(|(_, path)| PathBuf::from(path.trim())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES_MAX: usize = 200;
    const BYTES_MAX: u64 = 300 * 1024;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    #[test]
    fn every_target_is_built_documented_and_has_a_corpus_that_runs_as_a_plain_test() {
        let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
        let (manifest, readme) = (read("fuzz/Cargo.toml"), read("fuzz/README.md"));
        let tests = ["core", "store", "api"]
            .map(|name| read(&format!("crates/bindery-{name}/tests/it/fuzzing.rs")))
            .concat();
        let targets = targets(root()).unwrap();
        assert!(targets.len() >= 6, "{targets:?}");
        for target in targets {
            assert!(
                manifest.contains(&format!("name = \"{target}\"")),
                "{target}"
            );
            assert!(readme.contains(&format!("| `{target}` |")), "{target}");
            assert!(tests.contains(&format!("run(\"{target}\"")), "{target}");
            let corpus = fs::read_dir(root().join("fuzz/corpus").join(&target)).unwrap();
            let sizes: Vec<u64> = corpus
                .map(|entry| entry.unwrap().metadata().unwrap().len())
                .collect();
            let bytes: u64 = sizes.iter().sum();
            assert!(
                (1..=FILES_MAX).contains(&sizes.len()),
                "{target}: {}",
                sizes.len()
            );
            assert!(bytes <= BYTES_MAX, "{target}: {bytes}");
        }
    }

    #[test]
    fn a_run_is_read_as_its_last_coverage_and_the_input_that_failed() {
        let lines = [
            "#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 30Mb",
            "#99\tNEW    cov: 12 ft: 15 corp: 2/9b lim: 4 exec/s: 0 rss: 30Mb L: 8/8 MS: 1 ChangeBit-",
            "thread '<unnamed>' panicked at src/x.rs:1:1:",
            "artifact_prefix='/x/'; Test unit written to /x/crash-0a",
            "stat::number_of_executed_units: 100",
            "stat::slowest_unit_time_sec:    0",
        ];
        let told = Told::of(&lines.map(str::to_owned));
        assert_eq!(told.lines, [lines[1], lines[4]]);
        assert_eq!(told.failed, Some(PathBuf::from("/x/crash-0a")));
    }
}

//! `cargo xtask instructions`: how many machine instructions a decision takes, counted by callgrind, compared
//! with the figures in `docs/instructions.tsv`. Counts don't depend on the load of a machine, so CI can use
//! them to guard the hot path.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::run::{cargo, say};

const FIGURES: &str = "docs/instructions.tsv";
/// Kinds of decisions, as `benches/instructions` knows them.
const KINDS: [&str; 9] = [
    "bound",
    "fallback",
    "restricted",
    "nothing",
    "batch",
    "plain",
    "batch_plain",
    "encoded",
    "entities",
];
/// This many decisions are counted; the rest of the process is counted without any, and subtracted.
const DECISIONS: u64 = 20_000;
/// A rise beyond this fails.
const RISE_PERCENT_MAX: f64 = 5.0;

/// Counts, and compares or replaces the figures.
pub(crate) fn run(root: &Path, update: bool) -> Result<()> {
    let mut counted = BTreeMap::new();
    for kind in KINDS {
        let of = |count| collect(root, kind, count);
        let per_decision = to_f64(of(DECISIONS)? - of(0)?) / to_f64(DECISIONS);
        counted.insert(kind, per_decision);
    }
    let path = root.join(FIGURES);
    if update {
        let mut text = String::from("kind\tinstructions a decision\n");
        for (kind, count) in &counted {
            writeln!(text, "{kind}\t{count:.1}")?;
        }
        return fs::write(&path, text).with_context(|| format!("{FIGURES} can't be written"));
    }
    let known = fs::read_to_string(&path).with_context(|| format!("{FIGURES} can't be read"))?;
    let known: BTreeMap<&str, f64> = known
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once('\t'))
        .map(|(kind, count)| Ok((kind, count.parse()?)))
        .collect::<Result<_>>()?;
    let mut has_risen = false;
    for (kind, count) in &counted {
        let before = known
            .get(kind)
            .with_context(|| format!("{FIGURES} has no figure for {kind}"))?;
        let rise = (count / before - 1.0) * 100.0;
        say(&format!(
            "{kind}: {count:.1} instructions a decision, {rise:+.1} % of {before}"
        ));
        has_risen |= rise > RISE_PERCENT_MAX;
    }
    if has_risen {
        bail!(
            "decisions take over {RISE_PERCENT_MAX} % more instructions; if that is what they are worth, \
            `cargo xtask instructions --update` stores the new figures"
        );
    }
    Ok(())
}

/// Instructions of a whole process that makes this many decisions.
fn collect(root: &Path, kind: &str, count: u64) -> Result<u64> {
    // Cargo runs it, so the path of the binary need not be known.
    let runner = r#"target."cfg(all())".runner=["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]"#;
    let count = count.to_string();
    let mut command: Command = cargo(
        root,
        &[
            "bench",
            "--quiet",
            "--locked",
            "--package",
            "bindery-core",
            "--bench",
            "instructions",
            "--config",
            runner,
            "--",
            kind,
            &count,
        ],
    );
    let output = command
        .stderr(Stdio::piped())
        .output()
        .context("cargo can't be started")?;
    let told = String::from_utf8_lossy(&output.stderr);
    // `==123== Collected : 4567`
    let collected = told
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .and_then(|(_, number)| number.trim().parse().ok());
    match collected {
        Some(collected) if output.status.success() => Ok(collected),
        _ => bail!(
            "callgrind counted nothing; valgrind must be installed (on Debian: apt install valgrind)\n{told}"
        ),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a second's work are far below 2^52"
)]
fn to_f64(count: u64) -> f64 {
    count as f64
}

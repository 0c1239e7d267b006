//! `cargo xtask simulate`: runs seeds on every processor, and reports the results.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use bindery_sim::{Counts, Event, Mistake, run};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Runs simulated nodes and a faulty store from many seeds")]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 100_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Run only this seed, and show its steps.
    #[arg(long)]
    seed: Option<u64>,
    /// Plant each mistake, and show which seed finds it.
    #[arg(long)]
    planted: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let is_clean = match arguments.seed {
        Some(seed) => tell(seed),
        None if arguments.planted => find_planted(arguments.from, arguments.seeds),
        None => run_many(arguments.from, arguments.seeds),
    };
    match is_clean {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "the outcome can't be shown: {error}");
            ExitCode::FAILURE
        }
    }
}

fn tell(seed: u64) -> io::Result<bool> {
    let outcome = run(seed, None, true);
    let mut out = io::stdout().lock();
    for line in &outcome.lines {
        writeln!(out, "{line}")?;
    }
    match &outcome.broken {
        Some(what) => writeln!(out, "seed {seed} is broken: {what}")?,
        None => writeln!(out, "seed {seed} is clean, digest {:016x}", outcome.digest)?,
    }
    Ok(outcome.broken.is_none())
}

/// Returns whether all of them are found.
fn find_planted(from: u64, seeds: u64) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let mut are_found = true;
    for mistake in Mistake::ALL {
        let mut ran = (from..from.saturating_add(seeds)).zip(1_u64..);
        let found = ran.find_map(|(seed, count)| {
            let broken = run(seed, Some(mistake), false).broken?;
            Some(format!("found by seed {seed}, after {count}: {broken}"))
        });
        are_found &= found.is_some();
        let found = found.unwrap_or_else(|| format!("not found in {seeds} seeds"));
        writeln!(out, "{mistake:?}: {found}")?;
    }
    Ok(are_found)
}

fn run_many(from: u64, seeds: u64) -> io::Result<bool> {
    let start = Instant::now();
    let (next, done) = (AtomicU64::new(from), AtomicU64::new(0));
    let is_over = AtomicBool::new(false);
    let counts = Mutex::new(Counts::default());
    let broken = Mutex::new(Vec::new());
    let end = from.saturating_add(seeds);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = Counts::default();
                while !is_over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let outcome = run(seed, None, false);
                    mine.add(&outcome.counts);
                    done.fetch_add(1, Ordering::Relaxed);
                    if let (Some(what), Ok(mut broken)) = (outcome.broken, broken.lock()) {
                        broken.push((seed, what));
                        is_over.store(broken.len() >= 5, Ordering::Relaxed);
                    }
                }
                if let Ok(mut counts) = counts.lock() {
                    counts.add(&mine);
                }
            });
        }
    });
    let mut broken = broken.into_inner().unwrap_or_default();
    broken.sort();
    let mut out = io::stdout().lock();
    let counts = counts.into_inner().unwrap_or_default();
    for (event, count) in Event::ALL.iter().zip(&counts.0) {
        writeln!(out, "{count:>12} {}", event.words())?;
    }
    let (seconds, done) = (start.elapsed().as_secs_f64(), done.into_inner());
    let last = from.saturating_add(done).saturating_sub(1);
    for (seed, what) in &broken {
        writeln!(out, "seed {seed} is broken: {what}")?;
        writeln!(out, "  cargo xtask simulate --seed {seed}")?;
    }
    writeln!(
        out,
        "{done} seeds, {from} to about {last}, on {threads} threads in {seconds:.1} s: {} broken",
        broken.len()
    )?;
    Ok(broken.is_empty())
}

//! `cargo xtask walk`: the random walk of an attacker beside administrators, for any number of calls.

use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;

use bindery_model::walk::{Planted, run};

fn main() -> ExitCode {
    match walk() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "walk: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the result is as expected: no broken rule, or each planted mistake found.
fn walk() -> io::Result<bool> {
    let mut calls = 200_000;
    let mut seed = 1;
    let mut is_planted = false;
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().and_then(|value| value.parse().ok());
            value.ok_or_else(|| io::Error::other(format!("{argument} needs a number")))
        };
        match argument.as_str() {
            "--calls" => calls = number()?,
            "--seed" => seed = number()?,
            "--planted" => is_planted = true,
            _ => {
                let usage = "usage: cargo xtask walk [--calls N] [--seed N] [--planted]";
                return Err(io::Error::other(usage));
            }
        }
    }
    let mut out = io::stdout().lock();
    if is_planted {
        let mut are_found = true;
        for planted in Planted::ALL {
            let outcome = run(seed, calls, Some(planted));
            are_found &= outcome.broken.is_some();
            match outcome.broken {
                Some(broken) => {
                    let (calls, what) = (outcome.calls, broken.what);
                    writeln!(out, "{planted:?}: found after {calls} calls: {what}")?;
                }
                None => writeln!(out, "{planted:?}: not found in {calls} calls")?,
            }
        }
        return Ok(are_found);
    }
    let outcome = run(seed, calls, None);
    if let Some(broken) = &outcome.broken {
        for call in &broken.calls {
            writeln!(out, "{call}")?;
        }
        let (seed, what) = (broken.seed, &broken.what);
        writeln!(out, "seed {seed} breaks a rule: {what}")?;
        return Ok(false);
    }
    writeln!(
        out,
        "{} calls from seed {seed}, {} by the attacker, {} of them changed something, {} while it could act as a victim: no gain",
        outcome.calls, outcome.by_attacker, outcome.changed, outcome.as_victims
    )?;
    Ok(true)
}

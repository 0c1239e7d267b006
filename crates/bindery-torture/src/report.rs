//! The result of a run, for people and for `cargo xtask test`, which checks the last line.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::check::{Kind, Verdict};
use crate::faults::Fault;
use crate::history::{Answer, Operation};
use crate::say;

/// With fewer acknowledged changes, the run tested too little.
pub(crate) const ACKNOWLEDGED_MIN: usize = 200;

pub(crate) struct Report {
    pub(crate) seconds: u64,
    pub(crate) seed: u64,
    pub(crate) faults: BTreeMap<Fault, usize>,
    /// How often a server was started.
    pub(crate) starts: usize,
    /// When a primary was killed permanently.
    pub(crate) failovers_ns: Vec<u64>,
    /// How often a server did not know the outcome of a commit.
    pub(crate) lost_answers: usize,
    /// How often a server was partitioned.
    pub(crate) cut_offs: usize,
    pub(crate) head: u64,
    pub(crate) operations: Vec<Operation>,
    pub(crate) verdict: Verdict,
}

/// How many changes were acknowledged.
pub(crate) fn acknowledged(operations: &[Operation]) -> usize {
    let is_one = |one: &&Operation| one.intent.is_change() && matches!(one.answer, Answer::Done(_));
    operations.iter().filter(is_one).count()
}

impl Report {
    /// Prints everything. Returns whether all is correct.
    pub(crate) fn tell(&self) -> bool {
        let verdict = &self.verdict;
        say("");
        for (fault, count) in &self.faults {
            say(&format!("{count:>7} x {}", fault.name()));
        }
        say(&format!("{:>7} x a server was started", self.starts));
        say(&format!("{:>7} x a server was partitioned", self.cut_offs));
        say(&format!(
            "{:>7} x a server read the log to find the outcome of a commit",
            self.lost_answers
        ));
        say("");
        let count = |is_change: bool, is_one: &dyn Fn(&Answer) -> bool| {
            let all = self.operations.iter();
            all.filter(|one| one.intent.is_change() == is_change && is_one(&one.answer))
                .count()
        };
        let done = acknowledged(&self.operations);
        for (what, number) in [
            ("requests", self.operations.len()),
            ("changes acknowledged", done),
            ("of these found in the log", verdict.found),
            ("of these that correctly changed nothing", verdict.idle),
            ("changes refused, rightly", verdict.refused),
            (
                "changes with the response that nothing was changed",
                count(true, &|answer| *answer == Answer::Nothing),
            ),
            (
                "changes without a response that are in the log",
                verdict.in_after_all,
            ),
            (
                "changes without a response that are not in it",
                verdict.not_in,
            ),
            (
                "reads that agree with the state at their revision",
                verdict.seen,
            ),
            (
                "reads without a response",
                count(false, &|answer| {
                    matches!(answer, Answer::Nothing | Answer::Unknown)
                }),
            ),
        ] {
            say(&format!("{number:>7} {what}"));
        }
        say(&format!(
            "        revision {} after {} s, seed {}",
            self.head, self.seconds, self.seed
        ));
        self.tell_of_failovers();
        self.judge(done)
    }

    /// From the kill of a primary to the first change that was requested after it and acknowledged. It
    /// includes the time that the test itself waits before it promotes the standby.
    fn tell_of_failovers(&self) {
        let times = self.failovers_ns.iter().filter_map(|killed| {
            let changes = self.operations.iter().filter(|one| {
                let is_done = matches!(one.answer, Answer::Done(_));
                one.intent.is_change() && is_done && one.invoked_ns > *killed
            });
            let first = changes.map(|one| one.returned_ns).min()?;
            Some(format!(
                "{:.1} s",
                Duration::from_nanos(first - killed).as_secs_f64()
            ))
        });
        let times: Vec<String> = times.collect();
        say(&format!(
            "        changes again after a failover: {}",
            times.join(", ")
        ));
    }

    fn judge(&self, done: usize) -> bool {
        say("");
        for violation in &self.verdict.told {
            say(&format!("{:?}: {}", violation.kind, violation.what));
        }
        let missing = self.faults.iter().filter(|(_, count)| **count == 0);
        let missing: Vec<&str> = missing.map(|(fault, _)| fault.name()).collect();
        let mut checks: Vec<(String, bool)> = Kind::ALL
            .into_iter()
            .map(|kind| {
                let count = self.verdict.count(kind);
                (format!("{count} {}", kind.promise()), count == 0)
            })
            .collect();
        checks.push((
            format!("faults of every kind, but for {missing:?}"),
            missing.is_empty(),
        ));
        checks.push((
            format!("{done} changes acknowledged, {ACKNOWLEDGED_MIN} at least"),
            done >= ACKNOWLEDGED_MIN,
        ));
        for (what, is_right) in &checks {
            say(&format!(
                "{} {what}",
                if *is_right { "ok  " } else { "NOT " }
            ));
        }
        let failed = checks.iter().filter(|(_, is_right)| !is_right).count();
        say(&format!(
            "torture: {} passed, {failed} failed",
            checks.len() - failed
        ));
        failed == 0
    }
}

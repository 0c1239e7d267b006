//! One check, and many: against the same table without a writer to fear, and against the memory itself.

use std::hint::black_box;

use anyhow::{Result, ensure};
use bindery_core::access::Frozen;
use bindery_core::decision::Question;

use crate::changes::NOW;
use crate::floor::Floor;
use crate::questions::Asked;
use crate::row::{Goal, Row, Unit};
use crate::setting::Setting;
use crate::time::{Latencies, each, rounds};

const ROUNDS: usize = 31;
/// Questions of one contestant in one round.
const WINDOW: usize = 1 << 14;
const BATCH: usize = 1000;

pub(crate) fn rows(setting: &Setting) -> Result<Vec<Row>> {
    let floor = Floor::new(setting.world.size);
    let mut rows = Vec::new();
    rows.push(against_frozen(setting)?);
    rows.extend(against_two_touches(setting, &floor)?);
    rows.push(many_at_once(setting, &floor)?);
    Ok(rows)
}

/// A loop of reads, each at a revision of its own, against one read in which the same loop runs.
fn against_frozen(setting: &Setting) -> Result<Row> {
    let index = &setting.index;
    let [live, frozen, reasons] = rounds(ROUNDS, |round, contestant| {
        let asked = setting.window(3 * round + contestant, WINDOW);
        let mut wrong = 0;
        let nanos = match contestant {
            0 => each(WINDOW, || {
                wrong = count_wrong(asked, |question| is_allowed(setting, question));
            }),
            1 => each(WINDOW, || {
                let read = |facts: Frozen<'_>| {
                    count_wrong(asked, |question| facts.allows(question) == Some(true))
                };
                wrong = index.read(NOW, read).map_or(WINDOW, |(wrong, _)| wrong);
            }),
            _ => each(WINDOW, || {
                wrong = count_wrong(asked, |question| {
                    let decided = index.decide(question, NOW);
                    decided.is_some_and(|(decision, _)| black_box(decision).is_allowed())
                });
            }),
        };
        ensure!(wrong == 0, "{wrong} wrong answers");
        Ok(nanos)
    })?;
    Ok(Row {
        what: "one check, ids in, at a pinned revision, against the same table frozen".to_owned(),
        measured: live.over(&frozen),
        unit: Unit::Times,
        goal: setting.world.size.at_large(Goal::AtMost(1.2)),
        from: format!(
            "{:.1} ns against {:.1} ns, loops; {:.1} ns with the reason of each",
            live.median(),
            frozen.median(),
            reasons.median()
        ),
    })
}

fn against_two_touches(setting: &Setting, floor: &Floor) -> Result<[Row; 2]> {
    let mut tails = [const { Vec::new() }; 3];
    let [clock, live, touches] = rounds(ROUNDS, |round, contestant| {
        let asked = setting.window(3 * round + contestant, WINDOW);
        let mut times = match contestant {
            0 => Latencies::of(asked, |asked| {
                black_box(asked);
            }),
            1 => Latencies::of(asked, |asked| {
                black_box(is_allowed(setting, &asked.question));
            }),
            _ => Latencies::of(asked, |asked| {
                black_box(floor.touch(&asked.question));
            }),
        };
        tails[contestant].push(times.quantile(0.99));
        Ok(times.quantile(0.5))
    })?;
    let clock = clock.median();
    // What is too quick for the clock counts as a nanosecond.
    let without_clock = |nanos: f64| (nanos - clock).max(1.0);
    let (live, touches) = (
        without_clock(live.median()),
        without_clock(touches.median()),
    );
    for tail in &mut tails {
        tail.sort_unstable_by(f64::total_cmp);
    }
    let tail = |contestant: usize| without_clock(tails[contestant][ROUNDS / 2]);
    let from = |one: f64, other: f64| {
        format!("{one:.0} ns against {other:.0} ns, less {clock:.0} ns of reading the clock")
    };
    Ok([
        Row {
            what: "one fenced check, ids in, p50, against two dependent touches".to_owned(),
            measured: live / touches,
            unit: Unit::Times,
            goal: setting.world.size.at_large(Goal::AtMost(1.5)),
            from: from(live, touches),
        },
        Row {
            what: "the same, p99".to_owned(),
            measured: tail(1) / tail(2),
            unit: Unit::Times,
            goal: Goal::Open,
            from: from(tail(1), tail(2)),
        },
    ])
}

fn many_at_once(setting: &Setting, floor: &Floor) -> Result<Row> {
    let mut answers = Vec::with_capacity(BATCH);
    let mut questions: Vec<Question> = Vec::with_capacity(BATCH);
    let [live, touches] = rounds(ROUNDS, |round, contestant| {
        let asked = setting.window(2 * round + contestant, WINDOW);
        let mut nanos = 0.0;
        for asked in asked.chunks_exact(BATCH) {
            questions.clear();
            questions.extend(asked.iter().map(|asked| asked.question));
            nanos += match contestant {
                0 => each(BATCH, || {
                    setting.index.allows_many(&questions, NOW, &mut answers);
                }),
                _ => each(BATCH, || {
                    let read = questions
                        .iter()
                        .fold(0, |all, asked| all ^ floor.touch(asked));
                    black_box(read);
                }),
            };
            if contestant == 0 {
                let are_right = answers.len() == BATCH
                    && answers
                        .iter()
                        .zip(asked)
                        .all(|(answer, asked)| *answer == asked.is_allowed);
                ensure!(are_right, "a batch with a wrong answer");
            }
        }
        Ok(nanos / (WINDOW / BATCH) as f64)
    })?;
    Ok(Row {
        what: format!("a batch of {BATCH} random checks, ids in, against two touches each"),
        measured: live.over(&touches),
        unit: Unit::Times,
        goal: setting.world.size.at_large(Goal::AtMost(4.0)),
        from: format!(
            "{:.1} ns a check against {:.1} ns",
            live.median(),
            touches.median()
        ),
    })
}

#[inline]
fn is_allowed(setting: &Setting, question: &Question) -> bool {
    let decided = setting.index.allows(question, NOW);
    decided.is_some_and(|(is_allowed, _)| is_allowed)
}

/// Asks all of them, and tells how many answers aren't the expected ones.
#[inline]
pub(crate) fn count_wrong(asked: &[Asked], mut ask: impl FnMut(&Question) -> bool) -> usize {
    asked
        .iter()
        .map(|asked| usize::from(ask(&asked.question) != asked.is_allowed))
        .sum()
}

//! The memory that the state and the index take.

use anyhow::{Context as _, Result};

use crate::row::{Goal, Row, Unit};
use crate::setting::Setting;

pub(crate) fn rows(setting: &Setting) -> Result<Vec<Row>> {
    let bytes = setting.index.bytes();
    let checks = u64::try_from(bytes.checks)?;
    // Counted, and not what became resident: the index is built in memory that building the state has left behind.
    let index = checks + u64::try_from(bytes.searches)?;
    let state = setting
        .state_resident
        .context("this system doesn't tell how much memory is resident")?;
    let row = |what: &str, octets: u64, goal: Goal, from: String| Row {
        what: what.to_owned(),
        measured: setting.per_held(octets),
        unit: Unit::Bytes,
        goal: setting.world.size.at_large(goal),
        from,
    };
    let mebi = |octets: u64| octets >> 20;
    Ok(vec![
        row(
            "index for checks, memory for each role held",
            checks,
            Goal::AtMost(18.0),
            format!("{} MiB allocated", mebi(checks)),
        ),
        row(
            "index whole, with what searches need, memory for each role held",
            index,
            Goal::AtMost(32.0),
            format!("{} MiB allocated", mebi(index)),
        ),
        row(
            "state resident, and index whole",
            state + index,
            Goal::AtMost(150.0),
            format!(
                "{} MiB, of which {} the state",
                mebi(state + index),
                mebi(state)
            ),
        ),
    ])
}

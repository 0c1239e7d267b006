//! One line of the table: what was measured, the goal, and whether it was reached.

use serde::{Deserialize, Serialize};

/// What a measurement should come to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// For information.
    Open,
}

impl Goal {
    pub(crate) fn is_reached(self, measured: f64) -> bool {
        match self {
            Self::AtMost(bound) => measured <= bound,
            Self::AtLeast(bound) => measured >= bound,
            Self::Open => true,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) measured: f64,
    pub(crate) unit: Unit,
    pub(crate) goal: Goal,
    /// The medians that it comes from.
    pub(crate) from: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    /// How many times as much one takes as the other.
    Times,
    Nanoseconds,
    Microseconds,
    Seconds,
    /// Per role held.
    Bytes,
}

impl Unit {
    pub(crate) fn show(self, value: f64) -> String {
        let digits = if value < 10.0 {
            2
        } else {
            usize::from(value < 100.0)
        };
        match self {
            Self::Times => format!("{value:.digits$}x"),
            Self::Nanoseconds => format!("{value:.digits$} ns"),
            Self::Microseconds => format!("{value:.digits$} us"),
            Self::Seconds => format!("{value:.digits$} s"),
            Self::Bytes => format!("{value:.digits$} B"),
        }
    }
}

impl Row {
    /// The row as the cells of the table.
    pub(crate) fn cells(&self) -> [String; 5] {
        let bound = |bound: f64| self.unit.show(bound);
        let (goal, reached) = match self.goal {
            Goal::AtMost(most) => (format!("<= {}", trimmed(&bound(most))), self.reached()),
            Goal::AtLeast(least) => (format!(">= {}", trimmed(&bound(least))), self.reached()),
            Goal::Open => (String::new(), ""),
        };
        [
            self.what.clone(),
            self.unit.show(self.measured),
            goal,
            reached.to_owned(),
            self.from.clone(),
        ]
    }

    fn reached(&self) -> &'static str {
        if self.goal.is_reached(self.measured) {
            "yes"
        } else {
            "**no**"
        }
    }
}

/// Without zeros behind the point that say nothing.
fn trimmed(shown: &str) -> String {
    match shown.split_once('.') {
        Some((whole, rest)) => {
            let end = rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len());
            let (digits, unit) = rest.split_at(end);
            match digits.trim_end_matches('0') {
                "" => format!("{whole}{unit}"),
                digits => format!("{whole}.{digits}{unit}"),
            }
        }
        None => shown.to_owned(),
    }
}

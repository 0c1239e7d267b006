//! Log lines that clients can cause: at most one of each kind a second, with how many were left out. Metrics count all of them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::problem::Overload;

const INTERVAL: Duration = Duration::from_secs(1);

/// The kinds.
#[derive(Debug, Default)]
pub(crate) struct LogLimits {
    pub(crate) connections: LogLimit,
    overloads: [LogLimit; Overload::ALL.len()],
    unavailable: LogLimit,
}

/// What the log says about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A fault of the server. Each is logged, since the response refers to the log.
    Error,
    /// The store, or something else that the server needs, is unreachable.
    Unavailable { left_out: u64 },
    /// Clients have used up what is shared.
    Overload { kind: &'static str, left_out: u64 },
}

impl LogLimits {
    /// What the log says about a request with this status, if anything.
    pub(crate) fn of_request(&self, status: u16, overload: Option<Overload>) -> Option<Line> {
        self.of_request_at(status, overload, Instant::now())
    }

    fn of_request_at(&self, status: u16, overload: Option<Overload>, now: Instant) -> Option<Line> {
        if status < 500 {
            return None;
        }
        if let Some(overload) = overload {
            let mut kinds = Overload::ALL.into_iter().zip(&self.overloads);
            let (kind, limit) = kinds.find(|(kind, _)| *kind == overload)?;
            let left_out = limit.allow(now)?;
            let kind = kind.name();
            return Some(Line::Overload { kind, left_out });
        }
        if status == 503 {
            let left_out = self.unavailable.allow(now)?;
            return Some(Line::Unavailable { left_out });
        }
        Some(Line::Error)
    }
}

/// One kind of line.
#[derive(Debug, Default)]
pub(crate) struct LogLimit(Mutex<Written>);

#[derive(Debug, Default)]
struct Written {
    last: Option<Instant>,
    left_out: u64,
}

impl LogLimit {
    /// Whether a line is written now; if so, how many were left out since the previous one.
    pub(crate) fn allow(&self, now: Instant) -> Option<u64> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = |last: Instant| now.saturating_duration_since(last) >= INTERVAL;
        if !written.last.is_none_or(is_due) {
            written.left_out += 1;
            return None;
        }
        written.last = Some(now);
        Some(std::mem::take(&mut written.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_cause_one_line_a_second_of_each_kind_and_faults_are_all_there() {
        let limits = LogLimits::default();
        let began = Instant::now();
        let lines = |millis: u64, status, overload| {
            let now = began + Duration::from_millis(millis);
            let lines = (0..1000).filter_map(|_| limits.of_request_at(status, overload, now));
            lines.collect::<Vec<_>>()
        };
        let memory = |left_out| Line::Overload {
            kind: "memory",
            left_out,
        };
        assert_eq!(lines(0, 503, Some(Overload::Memory)), [memory(0)]);
        assert_eq!(lines(999, 503, Some(Overload::Memory)), []);
        assert_eq!(lines(1000, 503, Some(Overload::Memory)), [memory(1999)]);
        assert_eq!(lines(1000, 429, Some(Overload::Memory)), []);
        assert_eq!(lines(1000, 503, Some(Overload::Queue)).len(), 1);
        let unavailable = Line::Unavailable { left_out: 0 };
        assert_eq!(lines(1000, 503, None), [unavailable]);
        assert_eq!(lines(1000, 500, None).len(), 1000);
        assert_eq!(lines(1000, 404, None), []);
    }
}

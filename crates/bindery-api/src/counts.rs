//! The counters of requests. `metrics.rs` serves them.
//!
//! A request costs three lock-free additions.

use std::time::{Duration, SystemTime};

use bindery_node::{Counter, Histogram, MICROS};
use hyper::StatusCode;

use crate::problem::Overload;
use crate::rate::Bucket;

/// The statuses of refused commands, and any other.
pub(crate) const REFUSED: [(u16, &str); 6] = [
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (409, "409"),
    (422, "422"),
];

/// The counters of requests.
#[derive(Debug)]
pub(crate) struct Counts {
    /// One for each operation, and one for requests that reached none.
    pub(crate) of_operation: Box<[OfOperation]>,
    pub(crate) allowed: Counter,
    pub(crate) denied: Counter,
    pub(crate) refused: [Counter; REFUSED.len()],
    pub(crate) limited: [Counter; Bucket::ALL.len()],
    pub(crate) overloads: [Counter; Overload::ALL.len()],
    pub(crate) refused_connections: Counter,
    pub(crate) held_back: Counter,
    pub(crate) started: SystemTime,
}

#[derive(Debug)]
pub(crate) struct OfOperation {
    /// By the first digit of the status.
    pub(crate) classes: [Counter; CLASSES.len()],
    pub(crate) micros: Histogram,
}

pub(crate) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Counts {
    /// All at zero, for this many operations.
    pub(crate) fn new(operations: usize) -> Self {
        let of_operation = || OfOperation {
            classes: Default::default(),
            micros: Histogram::new(&MICROS),
        };
        Self {
            of_operation: (0..=operations).map(|_| of_operation()).collect(),
            allowed: Counter::default(),
            denied: Counter::default(),
            refused: Default::default(),
            limited: Default::default(),
            overloads: Default::default(),
            refused_connections: Counter::default(),
            held_back: Counter::default(),
            started: SystemTime::now(),
        }
    }

    /// Counts a request; `place` is the index of its operation, if it reached one.
    pub(crate) fn answered(&self, place: Option<usize>, status: StatusCode, took: Duration) {
        let place = place.unwrap_or(self.of_operation.len() - 1);
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        if let Some(of_operation) = self.of_operation.get(place) {
            of_operation.classes[class].count();
            of_operation.micros.observe_micros(took);
        }
    }

    /// Counts decisions, and how many of them allow.
    pub(crate) fn decided(&self, all: usize, allowed: usize) {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        if allowed > 0 {
            self.allowed.add(count(allowed));
        }
        if allowed < all {
            self.denied.add(count(all - allowed));
        }
    }

    /// Counts a request that was refused because this bucket was empty.
    pub(crate) fn limited(&self, bucket: Bucket) {
        let place = Bucket::ALL.iter().position(|one| *one == bucket);
        if let Some(place) = place {
            self.limited[place].count();
        }
    }

    /// Counts a request that was refused because clients had used up what it needs.
    pub(crate) fn overloaded(&self, overload: Overload) {
        let place = Overload::ALL.iter().position(|one| *one == overload);
        if let Some(place) = place {
            self.overloads[place].count();
        }
    }

    /// Counts a refused connection.
    pub(crate) fn refused_connection(&self) {
        self.refused_connections.count();
    }

    /// Counts a request that waits because earlier ones on the same connection were refused.
    pub(crate) fn held_back(&self) {
        self.held_back.count();
    }

    /// Counts a command that was refused with this status.
    pub(crate) fn refused(&self, status: u16) {
        let place = REFUSED.iter().position(|(known, _)| *known == status);
        if let Some(place) = place {
            self.refused[place].count();
        }
    }
}

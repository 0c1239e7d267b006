//! The events of a run: counted, digested, and shown line by line on demand.

use std::fmt::Write as _;

macro_rules! events {
    ($($name:ident $words:literal)*) => {
        /// Something that happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "`Event::words` says what each is")]
        pub enum Event { $($name,)* }

        impl Event {
            /// All of them, in the order of [`Counts`].
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What it is, for people.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)* }
            }
        }
    };
}

events! {
    Submitted "commands submitted"
    Acknowledged "commands acknowledged"
    Refused "commands refused"
    Unavailable "commands answered unavailable"
    Contradicted "commands answered with a contradiction"
    Unanswered "commands never answered: their node was killed"
    GivenUp "commands whose client went away"
    Read "reads"
    AtLeastWaited "requests that waited for a revision"
    AtLeastGivenUp "requests that timed out waiting for a revision"
    ClientMoved "moves of a client to another node"
    RevisionPassedOn "revisions that one client passed to another"
    Committed "batches committed"
    EntriesCommitted "entries committed"
    EntriesCaughtUp "entries of others returned by an append"
    EntriesRead "entries read from the log"
    CallUnreachable "calls of a partitioned node"
    CallFailed "calls that failed"
    CallHung "calls that hung while others ran"
    AppendFailed "appends that failed after deciding, nothing written"
    AppendRefused "appends refused as a contradiction"
    RowTimedOut "appends that waited too long for the account's row"
    LostCommitted "commits without a response: written"
    LostNotCommitted "commits without a response: not written"
    LostUnderWay "commits without a response: still under way"
    SettledCommitted "commits under way that happened later"
    SettledNever "commits under way that never happened"
    KilledInCall "nodes killed inside of a call of the store"
    Killed "nodes killed between calls"
    Started "nodes started"
    StartFailed "nodes that could not start yet"
    AccountMade "accounts created while others worked"
    CutOff "nodes partitioned"
    Healed "nodes that reach the store again"
    ClockForward "clocks set forward"
    ClockBack "clocks set back"
    WakeDropped "wake-ups dropped"
    WakeDoubled "wake-ups doubled"
    WakeDelivered "wake-ups delivered"
    WakeForNothing "wake-ups for nothing"
    WakeMissed "followers with possibly missed wake-ups"
    TurnLater "turns that could not read the log after a lost response"
    NoRandomNumbers "batches without random numbers"
    Noted "audit entries of requests without a change"
    NotesFlushed "flushes of audit entries"
    Loaded "accounts loaded from their records"
    EntriesForgotten "entries of the log truncated"
    RetentionForgot "logs truncated by a node's retention"
    Forgotten "calls that met a truncated log"
    EndLost "logs rolled back"
    Diverged "calls that met a rolled back log"
    ReadOfLost "reads of rolled back changes"
    Unknown "commands with an unknown outcome"
    Evicted "accounts unloaded"
    EvictedNone "times that no account was unloaded"
    Woken "accounts loaded again"
}

/// How many of each [`Event`], in the order of [`Event::ALL`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts(pub Vec<u64>);

impl Default for Counts {
    fn default() -> Self {
        Self(vec![0; Event::ALL.len()])
    }
}

impl Counts {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (mine, others) in self.0.iter_mut().zip(&other.0) {
            *mine += others;
        }
    }

    /// How many of this one.
    pub fn of(&self, event: Event) -> u64 {
        Event::ALL
            .iter()
            .zip(&self.0)
            .find(|(one, _)| **one == event)
            .map_or(0, |(_, count)| *count)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) digest: u64,
    pub(crate) counts: Counts,
    pub(crate) lines: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn new(is_told: bool) -> Self {
        Self {
            lines: is_told.then(Vec::new),
            ..Self::default()
        }
    }

    /// Adds numbers to the digest.
    pub(crate) fn digest(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.digest = (self.digest.rotate_left(5) ^ number).wrapping_mul(0x517C_C1B7_2722_0A95);
        }
    }

    pub(crate) fn add(&mut self, event: Event, many: u64) {
        let place = Event::ALL.iter().position(|one| *one == event);
        let place = place.unwrap_or_default();
        self.counts.0[place] += many;
        self.digest(&[place as u64, many]);
    }

    /// Writes a line, if lines were requested.
    pub(crate) fn line(&mut self, time: u64, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let mut line = String::new();
            let _ = write!(line, "{time:>7} ms  {}", text());
            lines.push(line);
        }
    }
}

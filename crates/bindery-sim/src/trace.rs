//! What happened in a run: counted, digested, and on demand told line by line.

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
    AtLeastGivenUp "requests that gave up waiting for a revision"
    ClientMoved "moves of a client to another node"
    RevisionPassedOn "revisions that one client told another"
    Committed "batches committed"
    EntriesCommitted "entries committed"
    EntriesCaughtUp "entries of others handed to an append"
    EntriesRead "entries read from the log"
    CallUnreachable "calls of a node that is cut off"
    CallFailed "calls that failed"
    CallHung "calls that hung while others went on"
    AppendFailed "appends that failed after deciding, nothing written"
    AppendRefused "appends refused as a contradiction"
    RowTimedOut "appends that waited too long for the account's row"
    LostCommitted "commits whose answer was lost: written"
    LostNotCommitted "commits whose answer was lost: not written"
    LostUnderWay "commits whose answer was lost: still under way"
    SettledCommitted "commits under way that happened later"
    SettledNever "commits under way that never happened"
    KilledInCall "nodes killed inside of a call of the store"
    Killed "nodes killed between calls"
    Started "nodes started"
    StartFailed "nodes that could not start yet"
    AccountMade "accounts made while others worked"
    CutOff "nodes cut off"
    Healed "nodes that reach the store again"
    ClockForward "clocks set forward"
    ClockBack "clocks set back"
    WakeDropped "wake-ups dropped"
    WakeDoubled "wake-ups doubled"
    WakeDelivered "wake-ups delivered"
    WakeForNothing "wake-ups for nothing"
    WakeMissed "followers told that they may have missed something"
    TurnLater "turns that could not read the log after a lost answer"
    NoRandomNumbers "batches without random numbers"
    Noted "requests noted for the audit log"
    NotesFlushed "flushes of notes"
    Loaded "accounts loaded from their records"
    EntriesForgotten "entries of the log forgotten"
    RetentionForgot "logs of which a node forgot what its retention doesn't keep"
    Forgotten "calls told that the log has forgotten what they ask for"
    EndLost "logs that have lost their end"
    Diverged "calls told that the log has lost what is known of it"
    ReadOfLost "reads of what is lost"
    Unknown "commands of which nobody can tell any more"
    Evicted "accounts given up"
    EvictedNone "times that no account was given up"
    Woken "accounts that came back to work"
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

    /// Takes numbers into the digest.
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

    /// Writes a line, if anyone reads it.
    pub(crate) fn line(&mut self, time: u64, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let mut line = String::new();
            let _ = write!(line, "{time:>7} ms  {}", text());
            lines.push(line);
        }
    }
}

//! The verdict: compares what clients received with the log, revision by revision.
//!
//! Every response names a revision, so no order has to be searched for: the log is the order. It remains to
//! check that
//! * each acknowledged change is in the log exactly once, with the changes that its command makes of the
//!   state before it. It comes after every revision that any client knew when it was sent, and not after the
//!   revision of its own response. So it took effect between request and response (linearizable);
//! * a change with the response "nothing was changed" isn't in the log, one without a response is there at
//!   most once, and nothing is there that no client requested;
//! * each read is what the state at its revision says, and each refusal is correct at a revision between its
//!   request and its response;
//! * no response is older than its request wanted, and no server goes back.

use std::collections::HashMap;
use std::fmt;

use bindery_core::change::Entry;
use bindery_core::command::{Caller, Context};
use bindery_core::id::{ApiKeyId, Revision, UserId};
use bindery_core::refusal::Refusal;
use bindery_core::state::State;

use crate::history::{Answer, Operation};

#[cfg(test)]
mod tests;

/// How many violations are shown.
const TOLD_MAX: usize = 20;

/// The input of the check.
pub(crate) struct Evidence<'a> {
    /// The state before the first request of the history.
    pub(crate) start: State,
    /// All entries after it.
    pub(crate) log: &'a [Entry],
    pub(crate) operations: &'a [Operation],
    /// The user of every request.
    pub(crate) user: UserId,
    /// The key of each client, which identifies its entries.
    pub(crate) keys: &'a [ApiKeyId],
    /// When the standby that every commit waits for was stopped.
    pub(crate) standstills: &'a [Standstill],
}

/// A period in which the standby received nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standstill {
    /// The newest revision that it has.
    pub(crate) head: u64,
    /// When it continued.
    pub(crate) resumed_ns: u64,
}

/// A kind of violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Acknowledged, and not in the log.
    Lost,
    /// In the log twice.
    Duplicated,
    /// In the log, although its response was "nothing was changed".
    Denied,
    /// In the log, and no client requested it.
    Unasked,
    /// In the log, but not between its request and its response.
    Reordered,
    /// The response has an older revision than requested, or than the same server had before.
    Stale,
    /// Not what the state at the revision of the response says.
    Wrong,
    /// Acknowledged before the standby can have had it.
    Early,
    /// The log has a gap, or a change that its command doesn't make.
    Broken,
    /// Two servers, or the log and the records, disagree.
    Divergent,
}

impl Kind {
    pub(crate) const ALL: [Self; 10] = [
        Self::Lost,
        Self::Duplicated,
        Self::Denied,
        Self::Unasked,
        Self::Reordered,
        Self::Stale,
        Self::Wrong,
        Self::Early,
        Self::Broken,
        Self::Divergent,
    ];

    /// The sentence if there is none.
    pub(crate) fn promise(self) -> &'static str {
        match self {
            Self::Lost => "acknowledged changes lost",
            Self::Duplicated => "changes made twice",
            Self::Denied => "changes made although the response was `nothing was changed`",
            Self::Unasked => "changes that no client requested",
            Self::Reordered => "changes not between their request and their response",
            Self::Stale => "responses older than requested, or a server that went back",
            Self::Wrong => "responses that differ from the state at their revision",
            Self::Early => "changes acknowledged that only the primary can have had",
            Self::Broken => "gaps in the log",
            Self::Divergent => "differences between servers, log and records",
        }
    }
}

/// One violation.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) kind: Kind,
    pub(crate) what: String,
}

/// The result.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) counts: HashMap<Kind, usize>,
    /// The first few.
    pub(crate) told: Vec<Violation>,
    /// Acknowledged changes that were found in the log.
    pub(crate) found: usize,
    /// Acknowledged changes that correctly changed nothing.
    pub(crate) idle: usize,
    /// Correct refusals.
    pub(crate) refused: usize,
    /// Correct reads.
    pub(crate) seen: usize,
    /// Changes without a response that are in the log.
    pub(crate) in_after_all: usize,
    /// Changes without a response that aren't.
    pub(crate) not_in: usize,
}

impl Verdict {
    pub(crate) fn add(&mut self, kind: Kind, what: impl fmt::Display) {
        *self.counts.entry(kind).or_default() += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(Violation {
                kind,
                what: what.to_string(),
            });
        }
    }

    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.counts.get(&kind).copied().unwrap_or(0)
    }
}

/// Checks everything.
pub(crate) fn check(evidence: &Evidence<'_>) -> (Verdict, State) {
    let mut verdict = Verdict::default();
    staleness(evidence.operations, &mut verdict);
    let known = known_before(evidence.operations);
    let mut sweep = Sweep::new(evidence, &known, verdict);
    let mut state = evidence.start.clone();
    sweep.at(&state);
    for entry in evidence.log {
        if entry.revision != state.revision().next() {
            let (found, last) = (entry.revision, state.revision());
            let what = format!("revision {found} follows {last}");
            sweep.verdict.add(Kind::Broken, what);
        }
        sweep.meet(entry, &state);
        state.advance(entry);
        sweep.at(&state);
    }
    (sweep.finish(state.revision()), state)
}

/// Checks that no response is below what its request wanted, and none of a server below an earlier one of
/// that server.
fn staleness(operations: &[Operation], verdict: &mut Verdict) {
    for operation in operations {
        let Operation {
            revision, at_least, ..
        } = operation;
        if *revision > 0 && revision < at_least {
            verdict.add(
                Kind::Stale,
                format_args!("wanted at {at_least}: {operation:?}"),
            );
        }
        if matches!(&operation.answer, Answer::Done(_)) && *revision == 0 {
            verdict.add(Kind::Wrong, format_args!("without revision: {operation:?}"));
        }
        if let Answer::Odd(_) = &operation.answer {
            verdict.add(Kind::Wrong, format_args!("{operation:?}"));
        }
    }
    let nodes = operations.iter().map(|one| one.node).max();
    for node in 0..nodes.map_or(0, |last| last + 1) {
        let of_node: Vec<&Operation> = operations.iter().filter(|one| one.node == node).collect();
        let known = known_before_in(&of_node);
        for (operation, known) in of_node.iter().zip(known) {
            if operation.revision > 0 && operation.revision < known {
                let what = format_args!("server {node} had answered at {known}: {operation:?}");
                verdict.add(Kind::Stale, what);
            }
        }
    }
}

/// For each operation, the highest revision that any client had received before it was sent.
fn known_before(operations: &[Operation]) -> Vec<u64> {
    known_before_in(&operations.iter().collect::<Vec<_>>())
}

fn known_before_in(operations: &[&Operation]) -> Vec<u64> {
    let mut returned: Vec<(u64, u64)> = operations
        .iter()
        .map(|one| (one.returned_ns, one.revision))
        .collect();
    returned.sort_unstable();
    let mut order: Vec<usize> = (0..operations.len()).collect();
    order.sort_unstable_by_key(|index| operations[*index].invoked_ns);
    let mut known = vec![0; operations.len()];
    let (mut next, mut highest) = (0, 0);
    for index in order {
        while let Some((at, revision)) = returned.get(next)
            && *at < operations[index].invoked_ns
        {
            highest = highest.max(*revision);
            next += 1;
        }
        known[index] = highest;
    }
    known
}

/// One pass through the log, with all operations that wait for a revision.
struct Sweep<'a> {
    operations: &'a [Operation],
    keys: &'a [ApiKeyId],
    user: UserId,
    known: &'a [u64],
    standstills: &'a [Standstill],
    /// The changes of each client, in order.
    changes: Vec<Vec<usize>>,
    /// The first of these whose response isn't passed yet.
    next: Vec<usize>,
    /// Which were found in the log.
    is_found: Vec<bool>,
    /// By the first revision at which they may be correct, in reverse order.
    coming: Vec<usize>,
    /// Those that wait for a revision at which their response is correct.
    waiting: Vec<usize>,
    verdict: Verdict,
}

impl<'a> Sweep<'a> {
    fn new(evidence: &Evidence<'a>, known: &'a [u64], verdict: Verdict) -> Self {
        let operations = evidence.operations;
        let mut changes = vec![Vec::new(); evidence.keys.len()];
        let mut coming = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            if operation.intent.is_change()
                && let Some(of_client) = changes.get_mut(operation.client)
            {
                of_client.push(index);
            }
            if matches!(operation.answer, Answer::Done(_) | Answer::Refused(_)) {
                coming.push(index);
            }
        }
        for of_client in &mut changes {
            of_client.sort_unstable_by_key(|index| operations[*index].invoked_ns);
        }
        let mut sweep = Self {
            operations,
            keys: evidence.keys,
            user: evidence.user,
            known,
            standstills: evidence.standstills,
            next: vec![0; changes.len()],
            changes,
            is_found: vec![false; operations.len()],
            coming: Vec::new(),
            waiting: Vec::new(),
            verdict,
        };
        let start = evidence.start.revision().0;
        coming.sort_unstable_by_key(|index| std::cmp::Reverse(sweep.from(*index).max(start)));
        sweep.coming = coming;
        sweep
    }

    /// The first revision at which the response may have been given.
    fn from(&self, index: usize) -> u64 {
        let operation = &self.operations[index];
        if operation.intent.is_change() {
            self.known[index]
        } else {
            // A read is at the revision that it names, and at no other.
            operation.revision
        }
    }

    fn context(&self, client: usize, state: &State) -> Context {
        Context {
            caller: Caller::Key {
                user: self.user,
                key: self.keys.get(client).copied().unwrap_or(ApiKeyId::new(0)),
            },
            now: state.latest(),
        }
    }

    /// Checks everything that may be correct at this revision.
    fn at(&mut self, state: &State) {
        let Revision(revision) = state.revision();
        while let Some(index) = self.coming.last().copied()
            && self.from(index) <= revision
        {
            self.coming.pop();
            self.waiting.push(index);
        }
        let waiting = std::mem::take(&mut self.waiting);
        for index in waiting {
            if self.is_found[index] || self.is_right(index, state) {
                continue;
            }
            if self.operations[index].revision > revision {
                self.waiting.push(index);
            } else {
                self.mourn(index, state);
            }
        }
    }

    /// Whether the response is correct at this revision; records it.
    fn is_right(&mut self, index: usize, state: &State) -> bool {
        let operation = &self.operations[index];
        let context = self.context(operation.client, state);
        let met = operation.intent.meet(state, &context);
        match (&operation.answer, met) {
            (Answer::Done(told), Ok((changes, right))) if operation.intent.is_change() => {
                // A change is found in the log; a change of nothing is correct where it would change nothing
                // again.
                let is_right = changes.is_empty() && *told == right;
                self.verdict.idle += usize::from(is_right);
                is_right
            }
            (Answer::Done(told), Ok((_, right))) => {
                let is_right = *told == right && state.revision().0 == operation.revision;
                self.verdict.seen += usize::from(is_right);
                is_right
            }
            (Answer::Refused(status), Err(refusal)) => {
                let is_right = *status == status_of(refusal);
                self.verdict.refused += usize::from(is_right);
                is_right
            }
            _ => false,
        }
    }

    /// No revision is left at which the response could be correct.
    fn mourn(&mut self, index: usize, state: &State) {
        let operation = &self.operations[index];
        let known = self.known[index];
        let is_acknowledged = matches!(operation.answer, Answer::Done(_));
        if operation.intent.is_change() && is_acknowledged {
            let what = format_args!("asked for after {known}: {operation:?}");
            self.verdict.add(Kind::Lost, what);
            return;
        }
        let context = self.context(operation.client, state);
        let right = operation.intent.meet(state, &context).map(|(_, told)| told);
        let what = format_args!("asked for after {known}, right were {right:?}: {operation:?}");
        self.verdict.add(Kind::Wrong, what);
    }

    /// Finds the operation of an entry; `state` is the one before it.
    fn meet(&mut self, entry: &Entry, state: &State) {
        let Revision(revision) = entry.revision;
        let client = self.keys.iter().position(|key| Some(*key) == entry.key);
        let Some(client) = client else {
            let what = format_args!("by no client: {entry:?}");
            self.verdict.add(Kind::Unasked, what);
            return;
        };
        let is_of = |sweep: &Self, index: usize| sweep.makes(index, entry, state) == Some(true);
        // The requests of a client are in the log in their order, some of them.
        let of_client = &self.changes[client];
        let mut next = self.next[client];
        while let Some(index) = of_client.get(next) {
            let operation = &self.operations[*index];
            let is_behind = operation.revision < revision || !is_done(operation);
            if !is_behind {
                break;
            }
            next += 1;
        }
        self.next[client] = next;
        let acknowledged = of_client.get(next).copied();
        if let Some(index) = acknowledged
            && self.known[index] < revision
            && !self.is_found[index]
            && is_of(self, index)
        {
            self.is_found[index] = true;
            self.verdict.found += 1;
            self.look_at_haste(index, revision);
            return;
        }
        let unknown = of_client.iter().copied().find(|index| {
            self.operations[*index].answer == Answer::Unknown
                && self.known[*index] < revision
                && !self.is_found[*index]
                && is_of(self, *index)
        });
        if let Some(index) = unknown {
            self.is_found[index] = true;
            self.verdict.in_after_all += 1;
            return;
        }
        let is_alike = |index: &usize| self.makes(*index, entry, state).is_some();
        let asked = of_client.iter().copied().find(is_alike);
        let kind = match asked.map(|index| (index, &self.operations[index].answer)) {
            None => Kind::Unasked,
            Some((index, _)) if self.is_found[index] => Kind::Duplicated,
            Some((_, Answer::Nothing | Answer::Refused(_))) => Kind::Denied,
            Some((index, Answer::Done(_) | Answer::Unknown | Answer::Odd(_))) => {
                self.is_found[index] = true;
                Kind::Reordered
            }
        };
        let operation = asked.map(|index| &self.operations[index]);
        let what = format_args!("{entry:?}, of {operation:?}");
        self.verdict.add(kind, what);
    }

    /// A change that the standby lacks may not be acknowledged before the standby continues. A primary that
    /// dies meanwhile loses it, even one that came back once and showed it.
    fn look_at_haste(&mut self, index: usize, revision: u64) {
        let operation = &self.operations[index];
        let is_early = |standstill: &&Standstill| {
            revision > standstill.head && operation.returned_ns < standstill.resumed_ns
        };
        if let Some(standstill) = self.standstills.iter().find(is_early) {
            let what = format_args!("revision {revision}, {standstill:?}: {operation:?}");
            self.verdict.add(Kind::Early, what);
        }
    }

    /// If an entry is what this operation makes of the state before it: whether that is also its response.
    fn makes(&self, index: usize, entry: &Entry, state: &State) -> Option<bool> {
        let operation = &self.operations[index];
        let mut context = self.context(operation.client, state);
        context.now = entry.at;
        let (changes, right) = operation.intent.meet(state, &context).ok()?;
        let is_told = match &operation.answer {
            Answer::Done(told) => *told == right,
            _ => true,
        };
        (changes == entry.changes).then_some(is_told)
    }

    fn finish(mut self, head: Revision) -> Verdict {
        let late: Vec<usize> = self.waiting.iter().chain(&self.coming).copied().collect();
        for index in late {
            if self.is_found[index] {
                continue;
            }
            let operation = &self.operations[index];
            let is_change = operation.intent.is_change() && is_done(operation);
            let kind = if is_change { Kind::Lost } else { Kind::Wrong };
            let what = format_args!("the log ends at {head}: {operation:?}");
            self.verdict.add(kind, what);
        }
        let unknown = self.operations.iter().enumerate().filter(|(index, one)| {
            one.intent.is_change() && one.answer == Answer::Unknown && !self.is_found[*index]
        });
        self.verdict.not_in = unknown.count();
        self.verdict
    }
}

fn is_done(operation: &Operation) -> bool {
    matches!(operation.answer, Answer::Done(_))
}

/// The status of this refusal.
fn status_of(refusal: Refusal) -> u16 {
    match refusal {
        Refusal::NotFound(_) => 404,
        Refusal::Unauthenticated => 401,
        Refusal::Forbidden(_) => 403,
        Refusal::Invalid(_) => 400,
        Refusal::Unprocessable(_) => 422,
        Refusal::Quota(reached) if reached.quota.info().is_daily => 429,
        Refusal::Conflict(_) | Refusal::Quota(_) => 409,
    }
}

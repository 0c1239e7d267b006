//! Checks a finished run: every promise, against the log.

use std::collections::{BTreeMap, BTreeSet};

use bindery_core::command::Context;
use bindery_core::id::{AccountId, Revision};
use bindery_core::resource::Level;
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_node::Account;

use crate::database::Ledger;
use crate::operation::{Note, Operation, Read, Response};
use crate::requests;
use crate::run::{Run, lock};

/// How many questions each account gets at the end.
const QUESTIONS: usize = 12;

impl Run {
    /// Checks everything, and returns the first broken promise.
    pub(crate) fn check(&self) -> Result<(), String> {
        let ledgers = lock(&self.database).ledgers.clone();
        let operations = std::mem::take(&mut *lock(&self.operations));
        let reads = std::mem::take(&mut *lock(&self.reads));
        let notes = std::mem::take(&mut *lock(&self.notes));
        if let Some(waiting) = self.still_waiting() {
            return Err(waiting);
        }
        contradicted_alone(&operations)?;
        for (id, ledger) in &ledgers {
            let log = Log::new(ledger)?;
            let mut claims = BTreeMap::new();
            let of_account = |account: &AccountId| account == id;
            for (number, operation) in operations.iter().enumerate() {
                if of_account(&operation.account) {
                    log.check_operation(number, operation, &mut claims)?;
                }
            }
            log.everything_was_asked_for(&claims)?;
            for read in reads.iter().filter(|read| of_account(&read.account)) {
                log.check_read(read)?;
            }
            audited_once(*id, ledger, &operations)?;
            for note in notes.iter().filter(|note| of_account(&note.account)) {
                is_written_down(note, ledger)?;
            }
            log.goes_on_from_its_base()?;
            if ledger.load() != ledger.state {
                return Err(format!("account {}: the records differ from the log", id.0));
            }
            for seat in &self.seats {
                let account = seat.node().and_then(|node| node.account(*id));
                let account = account.ok_or_else(|| {
                    format!("node {} never learned of account {}", seat.number, id.0)
                })?;
                self.check_node(seat.number, &account, &ledger.state)?;
            }
        }
        Ok(())
    }

    /// Checks that the node has reached the end of the log, and that its index agrees with the state.
    fn check_node(&self, seat: usize, account: &Account, state: &State) -> Result<(), String> {
        let snapshot = account.snapshot();
        if *snapshot != *state {
            return Err(format!(
                "node {seat} is at revision {} with another state than the log at {}",
                snapshot.revision(),
                state.revision()
            ));
        }
        let now = self.now_at(seat);
        let at = now.max(state.latest());
        for _ in 0..QUESTIONS {
            let question = requests::question(self, state);
            let (decision, _) = account.decide(&question, now);
            let expected = state.decide(&question, at);
            if decision != expected {
                return Err(format!(
                    "node {seat}: the index says {decision:?} to {question:?}, the log {expected:?}"
                ));
            }
        }
        let question = requests::question(self, state);
        let mut found = Vec::new();
        account.users_of(question.resource, question.permission, now, &mut found);
        let mut expected = state.users_of(question.permission, question.resource, at);
        found.sort_unstable();
        expected.sort_unstable();
        if found != expected {
            return Err(format!(
                "node {seat}: the index finds {found:?} for {question:?}, the log {expected:?}"
            ));
        }
        let (who, what) = (question.principal, question.permission);
        let mut found = Vec::new();
        account.resources_of(who, what, Level::Project, now, &mut found);
        let mut expected = state.resources_of(who, what, Level::Project, at);
        found.sort_unstable();
        expected.sort_unstable();
        if found != expected {
            return Err(format!(
                "node {seat}: the index finds {found:?} for {who:?} and {what:?}, the log {expected:?}"
            ));
        }
        if let Some((kind, number)) = account.access().disagreement(state) {
            let noun = kind.noun();
            return Err(format!(
                "node {seat}: the index and the log disagree about {noun} {number}"
            ));
        }
        let node = self.seats[seat].node().ok_or("a node is missing")?;
        for key in state.api_keys() {
            let hash = &key.secret.hash;
            let expected = state.authenticate(hash, at);
            let found = node.authenticate(hash, now);
            let is_here = |(one, _): &(std::sync::Arc<Account>, _)| one.id() == account.id();
            if expected.is_some() && !found.as_ref().is_some_and(is_here) {
                return Err(format!(
                    "node {seat} doesn't know the valid key {:?}",
                    key.id
                ));
            }
        }
        if !account.takes_writes() {
            return Err(format!("node {seat} says that it takes no writes"));
        }
        let staleness = node.staleness().as_millis();
        if staleness > 1_000 {
            return Err(format!("node {seat} says that it is {staleness} ms behind"));
        }
        Ok(())
    }
}

/// The log of an account, with the state after each entry that this run added.
struct Log<'ledger> {
    ledger: &'ledger Ledger,
    /// The revision at which the run began.
    first: Revision,
    states: Vec<State>,
}

/// Which operations claim which revisions.
type Claims = BTreeMap<Revision, usize>;

impl<'ledger> Log<'ledger> {
    fn new(ledger: &'ledger Ledger) -> Result<Self, String> {
        let first = Revision(ledger.founding.len() as u64);
        let mut state = State::new(ledger.state.account().clone());
        for entry in ledger.founding {
            state.advance(entry);
        }
        let mut states = vec![state.clone()];
        let mut latest = Timestamp::from_millis(i64::MIN);
        for entry in &ledger.entries {
            if entry.revision != state.revision().next() {
                return Err(format!(
                    "the log goes on with {} after {}",
                    entry.revision,
                    state.revision()
                ));
            }
            if entry.at < latest {
                return Err(format!("time goes back in the log at {}", entry.revision));
            }
            latest = entry.at;
            state.advance(entry);
            states.push(state.clone());
        }
        if state != ledger.state {
            return Err("replaying the log doesn't give the state".to_owned());
        }
        Ok(Self {
            ledger,
            first,
            states,
        })
    }

    fn state(&self, revision: Revision) -> Option<&State> {
        let place = revision.0.checked_sub(self.first.0)?;
        self.states.get(usize::try_from(place).ok()?)
    }

    fn check_operation(
        &self,
        number: usize,
        operation: &Operation,
        claims: &mut Claims,
    ) -> Result<(), String> {
        let broken = |what: String| {
            let command = &operation.command;
            Err(format!(
                "#{number} at node {} ({command:?}, told {:?}): {what}",
                operation.seat, operation.response
            ))
        };
        let mut found = 0;
        let mut is_last_in = false;
        for attempt in lock(&operation.attempts).iter() {
            is_last_in = false;
            if attempt.on < operation.head && !operation.is_forgiven {
                return broken(format!(
                    "decided on {}, and the log had come to {} when it was sent",
                    attempt.on, operation.head
                ));
            }
            let Ok(changes) = &attempt.came_to else {
                continue;
            };
            let revision = attempt.on.next();
            let entry = self.entry(revision);
            let Some(entry) = entry.filter(|entry| entry.batch == attempt.batch) else {
                continue;
            };
            if changes.is_empty() {
                continue;
            }
            if entry.changes != *changes || entry.at != attempt.at {
                return broken(format!("revision {revision} isn't what was decided"));
            }
            if entry.operation() != operation.command.operation() {
                return broken(format!("revision {revision} is a {}", entry.operation()));
            }
            if let Some(other) = claims.insert(revision, number) {
                return broken(format!("revision {revision} is #{other}'s as well"));
            }
            found += 1;
            is_last_in = true;
        }
        if operation.is_forgiven {
            return Ok(());
        }
        self.check_response(operation, found, is_last_in)
            .or_else(broken)
    }

    /// Checks the response to an operation that is in the log this often.
    fn check_response(
        &self,
        operation: &Operation,
        found: usize,
        is_last_in: bool,
    ) -> Result<(), String> {
        let broken = Err::<(), String>;
        let attempts = lock(&operation.attempts);
        let last = attempts.last();
        let is_change = last.is_some_and(|attempt| {
            let came_to = attempt.came_to.as_ref();
            came_to.is_ok_and(|changes| !changes.is_empty())
        });
        match &operation.response {
            Response::Waiting => return broken("it still waits".to_owned()),
            Response::Acknowledged(told) => {
                let Some(last) = last else {
                    return broken("it was never decided".to_owned());
                };
                if found != usize::from(is_change) || is_last_in != is_change {
                    return broken(format!("it is in the log {found} times"));
                }
                let context = Context {
                    caller: operation.caller,
                    now: last.at,
                };
                let state = self.state(last.on);
                if !state.is_some_and(|state| told.is_outcome_on(state, &context)) {
                    return broken(format!(
                        "it has another outcome than the response on the log's revision {}",
                        last.on
                    ));
                }
            }
            Response::Refused(refusal) => {
                let Some(last) = last else {
                    return broken("it was never decided".to_owned());
                };
                let context = Context {
                    caller: operation.caller,
                    now: last.at,
                };
                let state = self.state(last.on);
                let again = state.map(|state| operation.command.run_on(state, &context));
                if found > 0 || again != Some(Err(*refusal)) {
                    return broken(format!(
                        "in the log {found} times, and on revision {} its outcome is {again:?}",
                        last.on
                    ));
                }
            }
            Response::Unavailable | Response::Contradicted => {
                if found > 0 {
                    return broken("it is in the log".to_owned());
                }
            }
            Response::Unknown if self.ledger.base <= operation.head => {
                return broken("the outcome was known: the log could be read".to_owned());
            }
            Response::Unanswered | Response::Unknown => {
                if found > 1 {
                    return broken(format!("it is in the log {found} times"));
                }
            }
        }
        Ok(())
    }

    /// Checks that base and readable log together give the state.
    fn goes_on_from_its_base(&self) -> Result<(), String> {
        let mut state = self.ledger.base();
        let rest = self.ledger.entries_after(state.position(), usize::MAX);
        for entry in rest.unwrap_or_default() {
            state.advance(&entry);
        }
        if state != self.ledger.state {
            let base = self.ledger.base;
            return Err(format!("the base {base} and the log don't give the state"));
        }
        Ok(())
    }

    fn entry(&self, revision: Revision) -> Option<&bindery_core::change::Entry> {
        let place = revision.0.checked_sub(self.first.0 + 1)?;
        self.ledger.entries.get(usize::try_from(place).ok()?)
    }

    fn everything_was_asked_for(&self, claims: &Claims) -> Result<(), String> {
        for entry in &self.ledger.entries {
            if !claims.contains_key(&entry.revision) {
                return Err(format!(
                    "no client asked for revision {}, a {}",
                    entry.revision,
                    entry.operation()
                ));
            }
        }
        Ok(())
    }

    fn check_read(&self, read: &Read) -> Result<(), String> {
        let Read {
            seat,
            revision,
            question,
            decision,
            ..
        } = read;
        let Some(state) = self.state(*revision) else {
            return Err(format!(
                "a reader of node {seat} saw revision {revision}, which isn't in the log"
            ));
        };
        let expected = state.decide(question, read.now.max(state.latest()));
        if *decision != expected {
            return Err(format!(
                "node {seat} said {decision:?} to {question:?} at {revision}, and the log says {expected:?}"
            ));
        }
        if read.snapshot.as_deref().is_some_and(|seen| seen != state) {
            return Err(format!(
                "a reader of node {seat} saw another revision {revision} than the log has"
            ));
        }
        Ok(())
    }
}

/// Checks that pending audit entries are in the audit log, unless their node was killed. An entry may be
/// there twice: if the response to a batch without log entries is lost, no one can tell whether it was
/// written.
fn is_written_down(note: &Note, ledger: &Ledger) -> Result<(), String> {
    let text = Some(&*note.text);
    let mut audited = ledger.audit.iter();
    if note.is_lost || audited.any(|one| one.entry.text.as_deref() == text) {
        return Ok(());
    }
    Err(format!(
        "the audit log lacks {} of node {}",
        note.text, note.seat
    ))
}

/// Checks that the store refused an operation only because of that operation itself.
fn contradicted_alone(operations: &[Operation]) -> Result<(), String> {
    let mut decided_in: BTreeMap<u64, usize> = BTreeMap::new();
    for operation in operations {
        for attempt in lock(&operation.attempts).iter() {
            *decided_in.entry(attempt.batch).or_default() += 1;
        }
    }
    for (number, operation) in operations.iter().enumerate() {
        let last = lock(&operation.attempts).last().map(|last| last.batch);
        let others = last.and_then(|batch| decided_in.get(&batch));
        if matches!(operation.response, Response::Contradicted) && others != Some(&1) {
            return Err(format!(
                "#{number} was refused by the store because of another operation"
            ));
        }
    }
    Ok(())
}

/// Checks that every answered operation is in the audit log exactly once.
fn audited_once(id: AccountId, ledger: &Ledger, operations: &[Operation]) -> Result<(), String> {
    let mut audited = BTreeSet::new();
    for one in &ledger.audit {
        let text = one.entry.text.as_deref().unwrap_or_default();
        if text.starts_with('#') && !audited.insert(text) {
            return Err(format!("the audit log has {text} twice"));
        }
    }
    for (number, operation) in operations.iter().enumerate() {
        let is_answered = matches!(
            operation.response,
            Response::Acknowledged(_) | Response::Refused(_)
        );
        let is_audited = audited.contains(&*format!("#{number}"));
        if operation.account == id && operation.is_audited && is_answered && !is_audited {
            return Err(format!(
                "#{number} was answered, and isn't in the audit log"
            ));
        }
    }
    Ok(())
}

//! A command in the writer's queue, and its outcome for the caller.

use std::sync::Arc;

use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::change::{Change, Entry, Origin, Part};
use bindery_core::command::{Caller, Command, Context};
use bindery_core::id::Revision;
use bindery_core::quota::only_takes_away;
use bindery_core::refusal::Refusal;
use bindery_core::rules::RulesVersion;
use bindery_core::state::State;
use bindery_core::text::RequestId;
use bindery_core::time::Timestamp;
use tokio::sync::oneshot;

use crate::account::ExecuteError;
use crate::in_flight::Waits;
use crate::usage::Usage;

/// Bytes of each text that the audit log keeps of a request that changed nothing, since there may be many.
pub const NOTED_TEXT_MAX: usize = 2 * 1024;

/// What the audit log keeps of a request, besides what the command says.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The client address.
    pub address: String,
    /// The body without its secrets.
    pub text: Option<String>,
    /// Path and query parameters, as JSON text.
    pub variables: Option<String>,
    /// The id of the request.
    pub request: Option<RequestId>,
    /// The HTTP status of success.
    pub success: u16,
    /// The response to a refusal.
    pub refused: fn(&Refusal) -> RefusedAs,
}

/// The response to a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedAs {
    /// The HTTP status.
    pub status: u16,
    /// The end of the problem's type, if that says more than the status.
    pub problem: Option<&'static str>,
}

/// A queued command of any type. Decided once per batch; its caller gets the outcome once the batch is
/// committed.
pub(crate) trait Submission: Send {
    /// Decides the command on the newest state, and keeps the outcome for [`Submission::answer`].
    fn decide(&mut self, state: &State, now: Timestamp, batch: u64) -> Decided;
    /// Sends the outcome to the caller. `Err` if the batch was not committed.
    fn answer(self: Box<Self>, committed: Result<(), ExecuteError>);
}

/// Not a command: it only causes a batch, so that pending records are written.
pub(crate) struct Flush(oneshot::Sender<Result<(), ExecuteError>>);

impl Flush {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Result<(), ExecuteError>>) {
        let (reply, answer) = oneshot::channel();
        (Self(reply), answer)
    }
}

impl Submission for Flush {
    fn decide(&mut self, _: &State, _: Timestamp, _: u64) -> Decided {
        Decided {
            entry: None,
            audit: None,
        }
    }

    fn answer(self: Box<Self>, committed: Result<(), ExecuteError>) {
        let _ = self.0.send(committed);
    }
}

/// What one command adds to its batch.
pub(crate) struct Decided {
    /// `None` if the command was refused or changes nothing.
    pub(crate) entry: Option<Entry>,
    /// The audit entry, if one is kept.
    pub(crate) audit: Option<AuditEntry>,
}

/// How the audit entry of a command without a change is kept.
enum Noted {
    All,
    /// With this text, which counts the entries that are left out.
    Count(Option<String>),
    Nothing,
}

pub(crate) struct Pending<C: Command> {
    command: C,
    caller: Caller,
    audit: Option<Audit>,
    outcome: Option<Result<C::Outcome, Refusal>>,
    /// Counts the command until the writer has responded, even if the caller has gone away.
    waits: Option<Waits>,
    usage: Arc<Usage>,
    /// Whether it is counted already: a batch may be decided again.
    is_charged: bool,
    /// How its audit entry is kept, if it changes nothing.
    noted: Option<Noted>,
    reply: oneshot::Sender<Result<C::Outcome, ExecuteError>>,
}

impl<C: Command> Pending<C> {
    pub(crate) fn new(
        command: C,
        caller: Caller,
        audit: Option<Audit>,
        waits: Option<Waits>,
        usage: Arc<Usage>,
    ) -> (Self, oneshot::Receiver<Result<C::Outcome, ExecuteError>>) {
        let (reply, answer) = oneshot::channel();
        (
            Self {
                command,
                caller,
                audit,
                outcome: None,
                waits,
                usage,
                is_charged: false,
                noted: None,
                reply,
            },
            answer,
        )
    }

    /// Counts the command for the daily quotas, once even if it is decided again.
    fn charge(
        &mut self,
        state: &State,
        context: &Context,
        changes: &[Change],
    ) -> Result<(), Refusal> {
        if self.is_charged || changes.is_empty() {
            return Ok(());
        }
        let mut added = state.daily_use(C::COUNTS, changes);
        let audit = self.audit.iter();
        let texts = audit.flat_map(|audit| [&audit.text, &audit.variables]);
        let texts: usize = texts.flatten().map(String::len).sum();
        let texts = u64::try_from(texts).unwrap_or(u64::MAX);
        added.bytes = added.bytes.saturating_add(texts);
        self.usage
            .charge(state, context, added, only_takes_away(changes))?;
        self.is_charged = true;
        Ok(())
    }

    /// `changed_at` is the revision of the change, if there is one.
    fn audit_entry(
        &mut self,
        state: &State,
        context: &Context,
        refusal: Option<&Refusal>,
        changed_at: Option<Revision>,
    ) -> Option<AuditEntry> {
        let audit = self.audit.as_ref()?;
        let refused = refusal.map(audit.refused);
        let key = match context.caller {
            Caller::Key { key, .. } => Some(key),
            Caller::Operator | Caller::Person(_) => None,
        };
        let kept = |text: &Option<String>| match changed_at {
            Some(_) => text.clone(),
            None => text.as_deref().map(cut),
        };
        let entry = AuditEntry {
            user: context.user(),
            address: audit.address.clone(),
            kind: AuditKind::Mutation,
            operation: C::OPERATION.to_owned(),
            text: kept(&audit.text),
            variables: kept(&audit.variables),
            status: refused.map_or(audit.success, |refused| refused.status),
            problem: refused.and_then(|refused| refused.problem.map(ToOwned::to_owned)),
            key,
            request: audit.request.clone(),
            revision: Some(changed_at.unwrap_or(state.revision())),
            at: context.now,
        };
        if changed_at.is_some() {
            return Some(entry);
        }
        // Once, even if it is decided again.
        let noted = self.noted.take();
        let noted = noted.unwrap_or_else(|| match self.usage.keep_room(state, entry.clone()) {
            None => Noted::Nothing,
            Some(kept) if kept == entry => Noted::All,
            Some(kept) => Noted::Count(kept.text),
        });
        let entry = match &noted {
            Noted::Nothing => None,
            Noted::All => Some(entry),
            Noted::Count(text) => Some(AuditEntry {
                text: text.clone(),
                variables: None,
                ..entry
            }),
        };
        self.noted = Some(noted);
        entry
    }
}

impl<C: Command + Send> Submission for Pending<C>
where
    C::Outcome: Send,
{
    fn decide(&mut self, state: &State, now: Timestamp, batch: u64) -> Decided {
        let context = Context {
            caller: self.caller,
            now,
        };
        let decided = state.execute(&self.command, &context);
        let decided = decided.and_then(|decided| {
            self.charge(state, &context, &decided.changes)?;
            Ok(decided)
        });
        let (entry, refusal) = match decided {
            Ok(decided) => {
                self.outcome = Some(Ok(decided.outcome));
                let entry = (!decided.changes.is_empty()).then(|| {
                    let (by, key, origin) = match self.caller {
                        Caller::Operator => (None, None, Origin::OPERATOR),
                        Caller::Person(user) => (Some(user), None, Origin::API),
                        Caller::Key { user, key } => (Some(user), Some(key), Origin::API),
                    };
                    let request = self.audit.as_ref().and_then(|audit| audit.request.clone());
                    Entry {
                        revision: state.revision().next(),
                        at: now,
                        by,
                        key,
                        batch,
                        parts: vec![Part {
                            request,
                            ..Part::of(C::OPERATION, &decided.changes)
                        }],
                        before: state.before(&decided.changes),
                        changes: decided.changes,
                        origin,
                        plan: None,
                        rules: RulesVersion::CURRENT,
                    }
                });
                (entry, None)
            }
            Err(refusal) => {
                self.outcome = Some(Err(refusal));
                (None, Some(refusal))
            }
        };
        let changed_at = entry.as_ref().map(|entry| entry.revision);
        let audit = self.audit_entry(state, &context, refusal.as_ref(), changed_at);
        Decided { entry, audit }
    }

    fn answer(self: Box<Self>, committed: Result<(), ExecuteError>) {
        let answer = match (committed, self.outcome) {
            (Err(error), _) => Err(error),
            (Ok(()), Some(outcome)) => outcome.map_err(ExecuteError::Refused),
            (Ok(()), None) => Err(ExecuteError::Unavailable),
        };
        // Before the caller may send the next command.
        drop(self.waits);
        // The caller may have gone away; the change is made in any case.
        let _ = self.reply.send(answer);
    }
}

/// Cuts between two characters, and marks the cut.
fn cut(text: &str) -> String {
    if text.len() <= NOTED_TEXT_MAX {
        return text.to_owned();
    }
    let kept = text.get(..text.floor_char_boundary(NOTED_TEXT_MAX));
    format!("{}…", kept.unwrap_or_default())
}

//! What clients requested and received, to compare with the log after the run.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bindery_core::change::Change;
use bindery_core::command::{AnyCommand, WithCommand};
use bindery_core::command::{Caller, Command, Context, Decided};
use bindery_core::decision::{Decision, Question};
use bindery_core::id::{AccountId, Revision};
use bindery_core::refusal::Refusal;
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_node::{Account, Audit, ExecuteError};

use crate::run::lock;

/// A command that a client sent.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) account: AccountId,
    pub(crate) seat: usize,
    pub(crate) command: AnyCommand,
    pub(crate) caller: Caller,
    pub(crate) is_audited: bool,
    /// The end of the log when it was sent.
    pub(crate) head: Revision,
    /// Each time it was decided.
    pub(crate) attempts: Arc<Mutex<Vec<Attempt>>>,
    pub(crate) response: Response,
    /// Whether it was sent before a rollback: its outcome doesn't count any more.
    pub(crate) is_forgiven: bool,
}

/// One decision of a command.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// The batch of the decision.
    pub(crate) batch: u64,
    /// The revision of the state that it was decided on.
    pub(crate) on: Revision,
    pub(crate) at: Timestamp,
    pub(crate) came_to: Result<Vec<Change>, Refusal>,
}

/// The response to a client.
#[derive(Debug)]
pub(crate) enum Response {
    /// None yet.
    Waiting,
    Acknowledged(Told),
    Refused(Refusal),
    Unavailable,
    Contradicted,
    /// The outcome is unknown: the log was truncated.
    Unknown,
    /// None, and none will come.
    Unanswered,
}

/// An outcome that can be compared with that of the same command on another state.
pub(crate) struct Told(Comparison);

type Comparison = Box<dyn Fn(&State, &Context) -> bool + Send>;

impl Told {
    /// Whether the command has this outcome on the state.
    pub(crate) fn is_outcome_on(&self, state: &State, context: &Context) -> bool {
        (self.0)(state, context)
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told(..)")
    }
}

/// A decision that a client received.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) account: AccountId,
    pub(crate) seat: usize,
    pub(crate) question: Question,
    pub(crate) now: Timestamp,
    pub(crate) decision: Decision,
    pub(crate) revision: Revision,
    /// The whole state that it saw, now and then.
    pub(crate) snapshot: Option<Arc<State>>,
}

/// An audit entry of a node, pending or written.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) account: AccountId,
    pub(crate) seat: usize,
    pub(crate) text: String,
    /// Whether the node was killed since, which may have lost it.
    pub(crate) is_lost: bool,
}

pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Told, ExecuteError>> + Send>>;

/// Sends a command to an account, and records each of its decisions.
pub(crate) struct Dispatch {
    pub(crate) account: Arc<Account>,
    pub(crate) caller: Caller,
    pub(crate) audit: Option<Audit>,
    pub(crate) attempts: Arc<Mutex<Vec<Attempt>>>,
    /// The last batch that the node has begun.
    pub(crate) batch: Arc<AtomicU64>,
}

impl WithCommand for Dispatch {
    type Output = Answer;

    fn with<C>(self, command: C) -> Answer
    where
        C: Command + Clone + Send + Sync + 'static,
        C::Outcome: PartialEq + Send + 'static,
    {
        let Self {
            account,
            caller,
            audit,
            attempts,
            batch,
        } = self;
        let noting = Noting {
            command: command.clone(),
            attempts,
            batch,
        };
        Box::pin(async move {
            let outcome = account.execute(noting, caller, audit).await?;
            Ok(Told(Box::new(move |state, context| {
                let decided = state.execute(&command, context);
                decided.is_ok_and(|decided| decided.outcome == outcome)
            })))
        })
    }
}

/// A command that records each of its decisions.
struct Noting<C> {
    command: C,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    batch: Arc<AtomicU64>,
}

impl<C> Noting<C> {
    fn note(&self, state: &State, context: &Context, came_to: Result<Vec<Change>, Refusal>) {
        lock(&self.attempts).push(Attempt {
            batch: self.batch.load(Ordering::Relaxed),
            on: state.revision(),
            at: context.now,
            came_to,
        });
    }
}

impl<C: Command> Command for Noting<C> {
    type Outcome = C::Outcome;
    const OPERATION: &str = C::OPERATION;

    fn admit(&self, state: &State, context: &Context) -> Result<(), Refusal> {
        let admitted = self.command.admit(state, context);
        if let Err(refusal) = admitted {
            self.note(state, context, Err(refusal));
        }
        admitted
    }

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<C::Outcome>, Refusal> {
        let decided = self.command.execute(state, context);
        let came_to = match &decided {
            Ok(decided) => Ok(decided.changes.clone()),
            Err(refusal) => Err(*refusal),
        };
        self.note(state, context, came_to);
        decided
    }
}

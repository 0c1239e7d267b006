//! What clients asked for and what they were told, to be held against the log when the run is over.

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

use crate::world::lock;

/// A command that a client sent.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) account: AccountId,
    pub(crate) seat: usize,
    pub(crate) command: AnyCommand,
    pub(crate) caller: Caller,
    pub(crate) is_audited: bool,
    /// How far the log had come when it was sent.
    pub(crate) head: Revision,
    /// Each time it was decided.
    pub(crate) attempts: Arc<Mutex<Vec<Attempt>>>,
    pub(crate) fate: Fate,
    /// Whether it was sent before the log lost its end: what became of it, nobody can be held to.
    pub(crate) is_forgiven: bool,
}

/// A command was decided.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// In which batch.
    pub(crate) batch: u64,
    /// On which state.
    pub(crate) on: Revision,
    pub(crate) at: Timestamp,
    pub(crate) came_to: Result<Vec<Change>, Refusal>,
}

/// What a client was told.
#[derive(Debug)]
pub(crate) enum Fate {
    /// Nothing yet.
    Waiting,
    Acknowledged(Told),
    Refused(Refusal),
    Unavailable,
    Contradicted,
    /// That nobody can tell: the log has forgotten it.
    Unknown,
    /// Nothing, and it never will be.
    Unanswered,
}

/// An outcome, with what compares it to that of the same command on another state.
pub(crate) struct Told(Comparison);

type Comparison = Box<dyn Fn(&State, &Context) -> bool + Send>;

impl Told {
    /// Whether the command comes to this on the state.
    pub(crate) fn is_outcome_on(&self, state: &State, context: &Context) -> bool {
        (self.0)(state, context)
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told(..)")
    }
}

/// A decision that a client was told.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) account: AccountId,
    pub(crate) seat: usize,
    pub(crate) question: Question,
    pub(crate) now: Timestamp,
    pub(crate) decision: Decision,
    pub(crate) revision: Revision,
    /// The whole of what it saw, now and then.
    pub(crate) snapshot: Option<Arc<State>>,
}

/// A request that a node noted and still has to write down, or has written down since.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) account: AccountId,
    pub(crate) seat: usize,
    pub(crate) text: String,
    /// Whether the node was killed since, which may take it along.
    pub(crate) is_lost: bool,
}

pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Told, ExecuteError>> + Send>>;

/// Sends a command to an account, and notes each time that it is decided.
pub(crate) struct Dispatch {
    pub(crate) account: Arc<Account>,
    pub(crate) caller: Caller,
    pub(crate) audit: Option<Audit>,
    pub(crate) attempts: Arc<Mutex<Vec<Attempt>>>,
    /// The batch that the node has begun last.
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

/// The command, and a note of each time that it is decided.
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

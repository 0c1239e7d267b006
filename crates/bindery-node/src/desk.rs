//! The writer of one account, turn by turn: it takes the commands that wait, has the store append them as one batch, finds out what
//! became of a commit whose answer was lost, publishes the new state, and answers.
//!
//! A turn waits for nothing but the store. A thread can take one turn after another, and a simulation can do anything between two.
//!
//! `commit` sends a batch to the store, `outcome` reads the log to find out what is committed, `finish` publishes and answers.

mod commit;
mod finish;
mod outcome;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bindery_core::access::AccessWriter;
use bindery_core::api_key::SecretHash;
use bindery_core::id::AccountId;
use bindery_store::Store;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use self::outcome::Unanswered;
use crate::account::{Errand, Published};
use crate::clock::ClockGuard;
use crate::directory::Directory;
use crate::meters::Meters;
use crate::notes::{Notes, Taken};
use crate::random::Random;
use crate::submission::Submission;
use crate::usage::Usage;
use crate::writer::Writer;

/// How many commands one transaction takes.
const BATCH_MAX: usize = 1024;
/// How long to wait before the outcome of a commit is read again.
const RESOLVE_PAUSE: Duration = Duration::from_millis(100);

/// The state of one account's writer.
pub struct Desk {
    pub(crate) id: AccountId,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) guard: Arc<ClockGuard>,
    pub(crate) random: Random,
    pub(crate) directory: Directory,
    /// Secrets of keys in entries that were read or made since the last publication.
    pub(crate) heard: Vec<SecretHash>,
    pub(crate) published: Arc<Published>,
    pub(crate) notes: Arc<Notes>,
    pub(crate) usage: Arc<Usage>,
    pub(crate) takes_writes: Arc<AtomicBool>,
    pub(crate) is_called: Arc<AtomicBool>,
    pub(crate) access: AccessWriter,
    pub(crate) writer: Writer,
    pub(crate) meters: Arc<Meters>,
    pub(crate) waiting: mpsc::Receiver<Errand>,
    /// What the thread waited for. It comes before the rest of `waiting`.
    pub(crate) first: Option<Errand>,
    pub(crate) mode: Mode,
}

/// What the next turn does.
#[derive(Default)]
pub(crate) enum Mode {
    /// Commits the commands that wait.
    #[default]
    Queue,
    /// Commits the commands of a refused batch one by one.
    Separate(Separated),
    /// Reads the log until it is known what became of a commit, then goes on as before.
    Resolve { lost: Unanswered, then: Box<Self> },
    /// Ends. The account is released, and its last audit entries have had their attempt.
    Close,
}

/// A batch that contradicts the store. Its commands get a batch each, so that only the one to blame is refused.
pub(crate) struct Separated {
    /// Whether pending audit entries get a batch of their own first: they may be to blame as well.
    are_notes_first: bool,
    commands: VecDeque<Box<dyn Submission>>,
}

/// One attempt to commit a batch.
#[derive(Default)]
struct Attempt {
    commands: Vec<Box<dyn Submission>>,
    /// Pending audit entries in the same batch.
    notes: Taken,
    /// Whether this is one command of a refused batch.
    is_single: bool,
}

/// The result of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing waits.
    Idle,
    /// Something was done, and more may wait.
    Done,
    /// The answer of a commit was lost and the log can't be read yet. Nothing is decided or answered until it can: try again later.
    Later,
    /// The account is released and nothing is left to write.
    Over,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("account", &self.id)
            .field("known", &self.writer.known())
            .finish_non_exhaustive()
    }
}

/// Who runs the turns of the desks.
pub(crate) enum Hands {
    /// A thread for each.
    Threads,
    /// The caller, who is given each desk.
    Given(Box<dyn Fn(Desk) + Send + Sync>),
}

impl Hands {
    /// Has turns taken at the desk. If a thread takes them, the node waits for it in the end.
    pub(crate) fn employ(&self, desk: Desk) -> io::Result<Option<JoinHandle<()>>> {
        match self {
            Self::Threads => desk.work_on_thread().map(Some),
            Self::Given(take) => {
                take(desk);
                Ok(None)
            }
        }
    }
}

impl Attempt {
    /// Of one command of a refused batch.
    fn of_one(command: Box<dyn Submission>) -> Self {
        Self {
            commands: vec![command],
            is_single: true,
            ..Self::default()
        }
    }
}

impl Desk {
    /// The account of this writer.
    pub fn account(&self) -> AccountId {
        self.id
    }

    fn work_on_thread(self) -> io::Result<JoinHandle<()>> {
        let AccountId(number) = self.id;
        std::thread::Builder::new()
            .name(format!("writer-{number}"))
            .spawn(move || {
                // Its batch may be committed or not, and no caller may get a guess: a new process reads the log.
                if std::panic::catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
                    tracing::error!("the writer of an account has panicked; the process ends");
                    std::process::abort();
                }
            })
    }

    fn work(mut self) {
        loop {
            match self.turn() {
                Turn::Done => {}
                // The next turn sees whether the queue is closed.
                Turn::Idle => self.first = self.waiting.blocking_recv(),
                Turn::Later => std::thread::sleep(RESOLVE_PAUSE),
                Turn::Over => return,
            }
        }
    }

    /// Does the next thing: one batch at most.
    pub fn turn(&mut self) -> Turn {
        match std::mem::take(&mut self.mode) {
            Mode::Resolve { lost, then } => {
                self.mode = *then;
                self.resolve(lost)
            }
            Mode::Separate(mut separated) => {
                let attempt = if separated.are_notes_first {
                    separated.are_notes_first = false;
                    Attempt::default()
                } else if let Some(command) = separated.commands.pop_front() {
                    Attempt::of_one(command)
                } else {
                    return self.take_queued();
                };
                self.mode = Mode::Separate(separated);
                self.commit(attempt)
            }
            Mode::Queue => self.take_queued(),
            Mode::Close => self.close(),
        }
    }

    /// Commits the commands that wait, or catches up with other nodes if they have appended something.
    fn take_queued(&mut self) -> Turn {
        let (commands, is_called, is_over) = self.gather();
        if !commands.is_empty() {
            // An append also catches up, if it gets that far.
            let turn = self.commit(Attempt {
                commands,
                ..Attempt::default()
            });
            let is_resolving = matches!(self.mode, Mode::Resolve { .. });
            if is_called && !is_resolving && !self.takes_writes.load(Ordering::Relaxed) {
                self.catch_up();
            }
            return turn;
        }
        if is_called {
            self.catch_up();
            return Turn::Done;
        }
        if !is_over {
            return Turn::Idle;
        }
        self.mode = Mode::Close;
        if self.notes.is_waiting() {
            // One attempt: a process that ends must not wait for a store that may never come back.
            return self.commit(Attempt::default());
        }
        self.close()
    }

    fn close(&self) -> Turn {
        if self.notes.is_waiting() {
            let entries = self.notes.waiting();
            tracing::error!(
                account = self.id.0,
                entries,
                "audit entries were dropped: the store can't be written"
            );
        }
        Turn::Over
    }

    /// Takes the commands that queued while the last commit ran. Returns them, whether others have appended something, and whether
    /// the queue is closed.
    fn gather(&mut self) -> (Vec<Box<dyn Submission>>, bool, bool) {
        let mut commands = Vec::new();
        let mut is_called = false;
        while commands.len() < BATCH_MAX {
            let errand = match self
                .first
                .take()
                .map_or_else(|| self.waiting.try_recv(), Ok)
            {
                Ok(errand) => errand,
                Err(end) => return (commands, is_called, end == TryRecvError::Disconnected),
            };
            match errand {
                Errand::Commit(submission) => commands.push(submission),
                Errand::CatchUp => {
                    self.is_called.store(false, Ordering::Release);
                    is_called = true;
                }
            }
        }
        (commands, is_called, false)
    }
}

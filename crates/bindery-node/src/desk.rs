//! The loop of an account's writer. One turn takes the queued commands, lets the store append them as one batch, publishes the
//! result, and responds. If the response to a commit is lost, it reads the log to find the outcome.
//!
//! A turn waits for the store only. So a thread can run turns one after the other, and a simulation can act between two turns.
//!
//! `commit` sends a batch to the store, `outcome` finds the outcome of a lost commit, `reload` reads what others have appended, and
//! `finish` publishes and responds.

mod commit;
mod finish;
mod outcome;
mod reload;

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

use self::outcome::LostCommit;
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
    /// Secrets of keys that were read or made since the last publish.
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
    /// A message that was waited for; it goes before the ones in `waiting`.
    pub(crate) first: Option<Errand>,
    pub(crate) mode: Mode,
    /// The commit whose outcome is unknown, if there is one. Nothing else goes on until it is known.
    pub(crate) lost: Option<LostCommit>,
}

/// What the next turn does.
#[derive(Default)]
pub(crate) enum Mode {
    /// Commits the queued commands.
    #[default]
    Queue,
    /// Commits the commands of a refused batch one by one.
    Separate(Separated),
    /// Ends. The account is closed, and the last audit entries and uses get one attempt.
    Close,
}

/// A batch that contradicts the store. Its commands get a batch each, so that only the one to blame is refused.
pub(crate) struct Separated {
    /// Whether pending audit entries and uses of keys get a batch of their own first: they may be the contradiction, and must not make
    /// commands fail.
    are_notes_first: bool,
    commands: VecDeque<Box<dyn Submission>>,
}

/// One attempt to commit a batch.
#[derive(Default)]
struct Attempt {
    commands: Vec<Box<dyn Submission>>,
    /// Pending audit entries and uses of keys in the same batch.
    notes: Taken,
    /// Whether this is one command of a refused batch.
    is_single: bool,
}

/// What was in the queue.
#[derive(Default)]
struct Gathered {
    commands: Vec<Box<dyn Submission>>,
    /// Whether others have appended something.
    is_called: bool,
    /// Whether nothing can queue any more.
    is_closed: bool,
}

/// The result of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing waits.
    Idle,
    /// Something was done, and more may wait.
    Done,
    /// The response to a commit was lost, and the log can't be read. Until it can, nothing is decided and no response is sent. Try again
    /// later.
    Later,
    /// The account is closed, and nothing is left to write.
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
    /// One thread for each desk.
    Threads,
    /// The function that takes each desk.
    Given(Box<dyn Fn(Desk) + Send + Sync>),
}

impl Hands {
    /// Hands the desk over. If it gets a thread, the caller must join it in the end.
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
    /// The account of this desk.
    pub fn account(&self) -> AccountId {
        self.id
    }

    fn work_on_thread(self) -> io::Result<JoinHandle<()>> {
        let AccountId(number) = self.id;
        std::thread::Builder::new()
            .name(format!("writer-{number}"))
            .spawn(move || {
                // The batch may be committed or not, and no client may get a guess: a new process reads the log.
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

    /// Runs the next step: at most one batch.
    pub fn turn(&mut self) -> Turn {
        if let Some(lost) = self.lost.take() {
            return self.resolve(lost);
        }
        match &mut self.mode {
            Mode::Queue => self.take_queued(),
            Mode::Separate(separated) => {
                let attempt = if std::mem::take(&mut separated.are_notes_first) {
                    Attempt::default()
                } else if let Some(command) = separated.commands.pop_front() {
                    Attempt::of_one(command)
                } else {
                    self.mode = Mode::Queue;
                    return self.take_queued();
                };
                self.commit(attempt)
            }
            Mode::Close => self.close(),
        }
    }

    /// Commits the queued commands, or reads what others have appended.
    fn take_queued(&mut self) -> Turn {
        let Gathered {
            commands,
            is_called,
            is_closed,
        } = self.gather();
        if !commands.is_empty() {
            // An append also catches up, if it gets that far.
            let turn = self.commit(Attempt {
                commands,
                ..Attempt::default()
            });
            if is_called && self.lost.is_none() && !self.takes_writes.load(Ordering::Relaxed) {
                self.catch_up();
            }
            return turn;
        }
        if is_called {
            self.catch_up();
            return Turn::Done;
        }
        if !is_closed {
            return Turn::Idle;
        }
        self.mode = Mode::Close;
        if self.notes.is_waiting() {
            // One attempt: a process that stops must not wait for a store that may never come back.
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

    /// Takes what queued while the last commit ran, as much as one batch takes.
    fn gather(&mut self) -> Gathered {
        let mut gathered = Gathered::default();
        while gathered.commands.len() < BATCH_MAX {
            let errand = match self
                .first
                .take()
                .map_or_else(|| self.waiting.try_recv(), Ok)
            {
                Ok(errand) => errand,
                Err(end) => {
                    gathered.is_closed = end == TryRecvError::Disconnected;
                    break;
                }
            };
            match errand {
                Errand::Commit(submission) => gathered.commands.push(submission),
                Errand::CatchUp => {
                    self.is_called.store(false, Ordering::Release);
                    gathered.is_called = true;
                }
            }
        }
        gathered
    }
}

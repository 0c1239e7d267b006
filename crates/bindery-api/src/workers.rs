//! The worker pool: threads of low priority for requests that take long, apart from the threads that serve connections.
//!
//! Lists, searches, explanations, large bodies and passwords run here. Turns are fair (`turns`), so no key keeps all workers. The
//! threads lower their own priority: on a busy machine small requests go first.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use crate::problem::Problem;
use crate::turns::{Bound, Bounds, Lane, Turn, Turnstile};

/// By how much a worker lowers its own priority. Enough that a connection thread which wakes up goes first, and still a tenth of a
/// processor when all are busy.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// How many jobs of one key may wait; more get 429.
const KEY_WAITING_MAX: usize = 128;
/// The same of one person's keys together.
const PERSON_WAITING_MAX: usize = 256;
/// The same of one account.
const ACCOUNT_WAITING_MAX: usize = 1024;
/// The same of all accounts.
const WAITING_MAX: usize = 4096;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that run jobs.
#[derive(Debug)]
pub(crate) struct Workers {
    turns: Turnstile,
    jobs: Mutex<Option<Sender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Workers {
    /// Twice as many workers as processors: an account gets at most three quarters of them, so another account always finds one
    /// free, and a key or person half.
    pub(crate) fn for_requests() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let count = 2 * processors.max(2);
        let bound = |running, waiting| Bound { running, waiting };
        let bounds = Bounds([
            bound(count, WAITING_MAX),
            bound(count / 4 * 3, ACCOUNT_WAITING_MAX),
            bound(count / 2, PERSON_WAITING_MAX),
            bound(count / 2, KEY_WAITING_MAX),
        ]);
        Self::new("worker", count, bounds)
    }

    /// This many threads with this name, and these bounds on their jobs.
    pub(crate) fn new(name: &str, count: usize, bounds: Bounds) -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let start = |number: usize| {
            let queue = Arc::clone(&queue);
            let builder = std::thread::Builder::new().name(format!("{name}-{number}"));
            let started = builder.spawn(move || work(&queue));
            started
                .inspect_err(
                    |error| tracing::error!(%error, "the system gives no thread for a worker"),
                )
                .ok()
        };
        Self {
            turns: Turnstile::new(bounds),
            threads: Mutex::new((0..count).filter_map(start).collect()),
            jobs: Mutex::new(Some(jobs)),
        }
    }

    /// Runs work when its lane has a turn. Work that was started runs to its end, even if no one waits for it any more. A full queue loses
    /// the newest job of the lane with the most, which gets the refusal.
    pub(crate) async fn run_displacing<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.turns.enter_displacing(lane).await;
        self.run_in(turn.map_err(Problem::queue_full)?, work).await
    }

    async fn run_in<T: Send + 'static>(
        &self,
        turn: Turn,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move || {
            let worked = work();
            drop(turn);
            // The client may have gone away.
            let _ = reply.send(worked);
        });
        let jobs = self
            .jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let unsent = match jobs {
            Some(jobs) => jobs.send(job).err().map(|mpsc::SendError(job)| job),
            None => Some(job),
        };
        if let Some(job) = unsent {
            // No worker could be started, or the server stops.
            tokio::task::spawn_blocking(job);
        }
        answer.await.map_err(|_| Problem::internal())
    }

    /// Runs work that waits for the store: in a turn of its lane too, and at normal priority, since it may hold what others wait for.
    pub(crate) async fn run_on_store<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.turns.enter(lane).await.map_err(Problem::queue_full)?;
        let worked = tokio::task::spawn_blocking(move || {
            let worked = work();
            drop(turn);
            worked
        });
        worked.await.map_err(|error| {
            tracing::error!(%error, "a request to the store did not come to its end");
            Problem::internal()
        })
    }

    /// Polls a future on workers only, each time in a turn of its lane; between two polls it holds no worker. A full lane refuses it
    /// before its first poll and not later: it may have made a change by then, whose answer must not say otherwise.
    pub(crate) async fn drive<T: Send + 'static>(
        &self,
        lane: Lane,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        let mut future: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(future);
        let woken = Arc::new(Woken(Notify::new()));
        let mut turn = self.turns.enter(lane).await.map_err(Problem::queue_full)?;
        loop {
            let waker = Waker::from(Arc::clone(&woken));
            // Timers and tasks that the future starts belong to this runtime.
            let runtime = Handle::current();
            let polled = self
                .run_in(turn, move || {
                    let _inside = runtime.enter();
                    let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                    (future, polled)
                })
                .await?;
            match polled {
                (_, Poll::Ready(output)) => return Ok(output),
                (pending, Poll::Pending) => future = pending,
            }
            woken.0.notified().await;
            let again = self.turns.enter_again(lane).await;
            turn = again.map_err(Problem::queue_full)?;
        }
    }

    /// Takes a turn without a job.
    #[cfg(test)]
    pub(crate) async fn occupy(&self, lane: Lane) -> Turn {
        self.turns.enter(lane).await.unwrap()
    }

    /// How many jobs wait.
    pub(crate) fn waiting(&self) -> usize {
        self.turns.waiting()
    }

    /// How many jobs run.
    pub(crate) fn running(&self) -> usize {
        self.turns.running()
    }

    /// Ends the threads once they have done what was started. Blocks.
    pub(crate) fn close(&self) {
        drop(
            self.jobs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
    }
}

struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    lower_priority();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else {
            return;
        };
        // Its caller gets a 500, and the worker goes on. The panic itself is in the log.
        let _ = std::panic::catch_unwind(AssertUnwindSafe(job));
    }
}

/// Of this thread alone: on Linux, process 0 is the calling thread.
#[cfg(target_os = "linux")]
fn lower_priority() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "a worker can't lower its priority");
    }
}

#[cfg(not(target_os = "linux"))]
fn lower_priority() {}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn one() -> Workers {
        let bound = Bound {
            running: 1,
            waiting: 3,
        };
        Workers::new("test", 1, Bounds([bound; 4]))
    }

    #[tokio::test]
    async fn a_job_that_panics_costs_only_its_caller_a_response() {
        let workers = one();
        let lane = Lane([1, 1, 1]);
        let failed = workers
            .drive(
                lane,
                async move { assert!(lane.0.is_empty(), "on purpose") },
            )
            .await;
        assert_eq!(failed.unwrap_err().status(), 500);
        assert_eq!(workers.drive(lane, async { 7 }).await.unwrap(), 7);
        workers.close();
        assert_eq!(
            workers.drive(lane, async { 8 }).await.unwrap(),
            8,
            "while it stops"
        );
    }

    #[tokio::test]
    async fn a_future_is_polled_on_workers_alone_and_holds_none_while_it_waits() {
        let workers = one();
        let (say, hear) = oneshot::channel::<u8>();
        let name = || std::thread::current().name().unwrap_or_default().to_owned();
        let driven = workers.drive(Lane([1, 1, 1]), async move {
            let before = name();
            let heard = hear.await.unwrap();
            (before, heard, name())
        });
        let other = async {
            // The only worker is free while the other waits.
            let answer = workers
                .drive(Lane([2, 1, 1]), async { 7_u8 })
                .await
                .unwrap();
            say.send(answer).unwrap();
        };
        let (driven, ()) = tokio::join!(driven, other);
        assert_eq!(
            driven.unwrap(),
            ("test-0".to_owned(), 7, "test-0".to_owned())
        );
    }

    #[tokio::test]
    async fn a_full_lane_is_refused_and_says_which_part_is_full() {
        let workers = one();
        let lane = Lane([1, 1, 1]);
        let turn = workers.occupy(lane).await;
        let mut waiting: Vec<_> = (0..3)
            .map(|_| Box::pin(workers.drive(lane, async {})))
            .collect();
        for one in &mut waiting {
            assert!(one.now_or_never().is_none());
        }
        assert_eq!(workers.waiting(), 3);
        let refused = workers.drive(lane, async {}).await.unwrap_err();
        assert_eq!(refused.status(), 503);
        drop(turn);
        for one in waiting {
            one.await.unwrap();
        }
    }

    /// It may have committed a change before it waits once more.
    #[tokio::test]
    async fn a_future_that_has_begun_comes_to_its_end_though_its_lane_is_full() {
        let workers = one();
        let lane = Lane([1, 1, 1]);
        let (start, started) = oneshot::channel::<()>();
        let (say, hear) = oneshot::channel::<u8>();
        let mut driven = Box::pin(workers.drive(lane, async move {
            start.send(()).unwrap();
            hear.await.unwrap()
        }));
        tokio::select! {
            _ = &mut driven => unreachable!("nothing was said yet"),
            started = started => started.unwrap(),
        }
        let turn = workers.occupy(lane).await;
        let mut waiting: Vec<_> = (0..3)
            .map(|_| Box::pin(workers.drive(lane, async {})))
            .collect();
        for one in &mut waiting {
            assert!(one.now_or_never().is_none());
        }
        assert_eq!(
            workers.drive(lane, async {}).await.unwrap_err().status(),
            503
        );
        say.send(7).unwrap();
        assert!((&mut driven).now_or_never().is_none());
        drop(turn);
        let (driven, waited) = tokio::join!(driven, futures_util::future::join_all(waiting));
        assert_eq!(driven.unwrap(), 7);
        assert!(waited.into_iter().all(|one| one.is_ok()));
    }
}

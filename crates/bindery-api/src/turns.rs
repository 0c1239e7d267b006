//! Turns for work that is limited: who may start next. Each request waits in its lane, by account, person and key, and lanes
//! take turns, so one key's load delays another key by one turn and not by its whole queue.
//!
//! The worker pool (`workers`), large bodies and password hashing hand out turns. Requests that wait for a revision
//! (`freshness`) are counted in the same way.

mod fair;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bindery_core::command::Caller;
use bindery_core::id::{AccountId, Id as _, UserId};
use tokio::sync::oneshot;

use fair::{FairQueue, Ticket};

/// All lanes together, then the three parts of a lane.
const LEVELS: usize = 4;

/// Where a request waits: account, person, key. What has no account uses numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lane(pub(crate) [u64; LEVELS - 1]);

/// How many may run and wait at one level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) running: usize,
    pub(crate) waiting: usize,
}

/// The bounds of all lanes together, of an account, of a person and of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds(pub(crate) [Bound; LEVELS]);

/// A level at which a queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    All,
    Account,
    Person,
    Key,
}

/// Too many wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueFull {
    pub(crate) level: Level,
}

impl Level {
    const ALL: [Self; LEVELS] = [Self::All, Self::Account, Self::Person, Self::Key];
}

impl Lane {
    /// The lane of an authenticated caller.
    pub(crate) fn of(AccountId(account): AccountId, person: UserId, caller: Caller) -> Self {
        let key = match caller {
            Caller::Key { key, .. } => key.number().into(),
            Caller::Person(_) | Caller::Operator => 0,
        };
        Self([account.into(), person.number().into(), key])
    }
}

/// Hands out turns. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Turnstile(Arc<Mutex<FairQueue<Waiting>>>);

/// A request that waits, and how it is given its turn.
type Waiting = (Lane, oneshot::Sender<Turn>);

/// Permission to run, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turnstile: Turnstile,
    lane: Lane,
}

impl Turnstile {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Mutex::new(FairQueue::new(bounds))))
    }

    /// Waits for a turn. A caller that stops waiting leaves the queue.
    pub(crate) async fn enter(&self, lane: Lane) -> Result<Turn, QueueFull> {
        let (give, turn) = oneshot::channel();
        let ticket = self.queue().push(lane, (lane, give))?;
        self.wait(lane, ticket, turn).await
    }

    /// The same for a request that had a turn before: it waits however many others do.
    pub(crate) async fn enter_again(&self, lane: Lane) -> Result<Turn, QueueFull> {
        let (give, turn) = oneshot::channel();
        let ticket = self.queue().push_past_bounds(lane, (lane, give));
        self.wait(lane, ticket, turn).await
    }

    /// The same as [`Turnstile::enter`], but a full queue loses the newest request of the lane with the most.
    pub(crate) async fn enter_displacing(&self, lane: Lane) -> Result<Turn, QueueFull> {
        let (give, turn) = oneshot::channel();
        let (ticket, displaced) = self.queue().push_or_displace(lane, (lane, give))?;
        drop(displaced);
        self.wait(lane, ticket, turn).await
    }

    /// A turn at once, if no level of the lane runs as many as it may.
    pub(crate) fn try_enter(&self, lane: Lane) -> Result<Turn, QueueFull> {
        self.queue().start(lane)?;
        Ok(Turn {
            turnstile: self.clone(),
            lane,
        })
    }

    async fn wait(
        &self,
        lane: Lane,
        ticket: Ticket,
        turn: oneshot::Receiver<Turn>,
    ) -> Result<Turn, QueueFull> {
        let mut place = Place {
            turnstile: self,
            lane,
            ticket,
            is_taken: true,
        };
        self.start();
        let turn = turn.await;
        place.is_taken = false;
        // The queue drops a sender without a turn only where another lane displaced it.
        turn.map_err(|_| QueueFull {
            level: Level::Account,
        })
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue().waiting()
    }

    /// How many run.
    pub(crate) fn running(&self) -> usize {
        self.queue().running()
    }

    /// Starts what may run.
    fn start(&self) {
        loop {
            let Some((lane, give)) = self.queue().pop() else {
                return;
            };
            if give.is_closed() {
                self.queue().finish(lane);
                continue;
            }
            let turn = Turn {
                turnstile: self.clone(),
                lane,
            };
            // A receiver that went away this moment gives the turn back, as every dropped turn does.
            drop(give.send(turn));
        }
    }

    fn queue(&self) -> MutexGuard<'_, FairQueue<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue, which its owner leaves when it stops waiting.
struct Place<'a> {
    turnstile: &'a Turnstile,
    lane: Lane,
    ticket: Ticket,
    is_taken: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.is_taken {
            let left = self.turnstile.queue().remove(self.lane, self.ticket);
            drop(left);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turnstile.queue().finish(self.lane);
        self.turnstile.start();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn one_at_a_time() -> Turnstile {
        Turnstile::new(Bounds(
            [Bound {
                running: 1,
                waiting: 100,
            }; LEVELS],
        ))
    }

    #[test]
    fn a_dropped_turn_starts_the_next_that_still_waits() {
        let turnstile = one_at_a_time();
        let lane = Lane([1, 1, 1]);
        let first = turnstile.enter(lane).now_or_never().unwrap().unwrap();
        let mut gone = Box::pin(turnstile.enter(lane));
        assert!((&mut gone).now_or_never().is_none());
        let mut waits = Box::pin(turnstile.enter(lane));
        assert!((&mut waits).now_or_never().is_none());
        drop(gone);
        drop(first);
        let second = waits.now_or_never().unwrap().unwrap();
        assert_eq!((turnstile.waiting(), turnstile.running()), (0, 1));
        drop(second);
        assert_eq!(turnstile.running(), 0);
    }

    #[test]
    fn a_turn_that_no_one_receives_is_returned() {
        let turnstile = one_at_a_time();
        let lane = Lane([1, 1, 1]);
        let first = turnstile.enter(lane).now_or_never().unwrap().unwrap();
        let mut given = Box::pin(turnstile.enter(lane));
        assert!((&mut given).now_or_never().is_none());
        drop(first);
        // It was given the turn and is dropped before it looks.
        drop(given);
        assert_eq!((turnstile.waiting(), turnstile.running()), (0, 0));
    }

    #[test]
    fn a_caller_that_stops_waiting_leaves_the_queue() {
        let turnstile = one_at_a_time();
        let first = turnstile.enter(Lane([1, 1, 1])).now_or_never().unwrap();
        let mut gone = Box::pin(turnstile.enter(Lane([1, 2, 3])));
        assert!((&mut gone).now_or_never().is_none());
        assert_eq!(turnstile.waiting(), 1);
        drop(gone);
        assert_eq!(turnstile.waiting(), 0);
        drop(first);
        assert_eq!(turnstile.running(), 0);
    }
}

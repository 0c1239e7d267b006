//! The order of turns: a queue that is fair at every level of a lane. Pure, without a clock or a lock.

use std::collections::{BTreeMap, VecDeque};

use super::{Bound, Bounds, LEVELS, Lane, Level, QueueFull};

/// Waiting items, by lane. Each level gives its children turns in a ring, so a child's share does not grow
/// with its queue.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    bounds: Bounds,
    root: Ring<T>,
    tickets: u64,
}

/// Identifies a waiting item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

#[derive(Debug)]
struct Ring<T> {
    /// Items taken and not finished yet, at this level and below.
    running: usize,
    /// Waiting items, at this level and below.
    waiting: usize,
    /// Items at the end of a lane, each with its ticket.
    items: VecDeque<(Ticket, T)>,
    /// The children with waiting items; the front one is next.
    order: VecDeque<u64>,
    children: BTreeMap<u64, Ring<T>>,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self {
            running: 0,
            waiting: 0,
            items: VecDeque::new(),
            order: VecDeque::new(),
            children: BTreeMap::new(),
        }
    }
}

impl<T> FairQueue<T> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            root: Ring::default(),
            tickets: 0,
        }
    }

    /// Queues an item, if no level of its lane is full.
    pub(super) fn push(&mut self, lane: Lane, item: T) -> Result<Ticket, QueueFull> {
        self.check(lane, |ring, bound| ring.waiting >= bound.waiting)?;
        Ok(self.push_past_bounds(lane, item))
    }

    /// Queues an item, without a limit.
    pub(super) fn push_past_bounds(&mut self, lane: Lane, item: T) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.root.push(&lane.0, (ticket, item));
        ticket
    }

    /// Queues an item. At a full level, it replaces the newest item of the lane with the most waiting, which
    /// is returned. It is refused if its own lane would then have the most.
    pub(super) fn push_or_displace(
        &mut self,
        lane: Lane,
        item: T,
    ) -> Result<(Ticket, Option<T>), QueueFull> {
        let mut displaced = None;
        let full = self.deepest_full(lane);
        if let Some(place) = full {
            let (above, own) = lane.0.split_at(place);
            displaced = self.root.displace(above, own.first());
            if displaced.is_none() {
                return Err(QueueFull {
                    level: Level::ALL[place],
                });
            }
        }
        Ok((self.push_past_bounds(lane, item), displaced))
    }

    /// Starts an item of this lane at once, if every level has a free slot. It runs until
    /// [`FairQueue::finish`].
    pub(super) fn start(&mut self, lane: Lane) -> Result<(), QueueFull> {
        self.check(lane, |ring, bound| ring.running >= bound.running)?;
        self.root.start(&lane.0);
        Ok(())
    }

    /// Removes an item that waits no longer; `None` if it was taken before.
    pub(super) fn remove(&mut self, lane: Lane, ticket: Ticket) -> Option<T> {
        self.root.remove(&lane.0, ticket)
    }

    /// Refuses at the first level of a lane that is full by this test.
    fn check(
        &self,
        lane: Lane,
        is_full: impl Fn(&Ring<T>, Bound) -> bool,
    ) -> Result<(), QueueFull> {
        let mut levels = self.rings(lane).zip(Level::ALL);
        let full = levels.find(|((ring, bound), _)| is_full(ring, *bound));
        full.map_or(Ok(()), |(_, level)| Err(QueueFull { level }))
    }

    /// The last level of a lane with a full queue.
    fn deepest_full(&self, lane: Lane) -> Option<usize> {
        let full = self.rings(lane).enumerate();
        full.filter(|(_, (ring, bound))| ring.waiting >= bound.waiting)
            .map(|(place, _)| place)
            .last()
    }

    /// The existing levels of a lane, from the root on, with their bounds.
    fn rings(&self, lane: Lane) -> impl Iterator<Item = (&Ring<T>, Bound)> {
        let mut next = Some(&self.root);
        let mut levels = lane.0.into_iter();
        self.bounds.0.into_iter().map_while(move |bound| {
            let ring = next?;
            next = levels.next().and_then(|child| ring.children.get(&child));
            Some((ring, bound))
        })
    }

    /// Takes the next item whose lane may run one more. It runs until [`FairQueue::finish`].
    pub(super) fn pop(&mut self) -> Option<T> {
        self.root.pop(&self.bounds.0)
    }

    /// An item of this lane has finished.
    pub(super) fn finish(&mut self, lane: Lane) {
        self.root.finish(&lane.0);
    }

    pub(super) fn waiting(&self) -> usize {
        self.root.waiting
    }

    pub(super) fn running(&self) -> usize {
        self.root.running
    }
}

impl<T> Ring<T> {
    fn push(&mut self, lane: &[u64], item: (Ticket, T)) {
        self.waiting += 1;
        let Some((child, below)) = lane.split_first() else {
            self.items.push_back(item);
            return;
        };
        let ring = self.children.entry(*child).or_default();
        if ring.waiting == 0 {
            self.order.push_back(*child);
        }
        ring.push(below, item);
    }

    fn pop(&mut self, bounds: &[Bound]) -> Option<T> {
        let (bound, below) = bounds.split_first()?;
        if self.waiting == 0 || self.running >= bound.running {
            return None;
        }
        let item = match self.items.pop_front() {
            Some((_, item)) => item,
            None => self.pop_below(below)?,
        };
        self.waiting -= 1;
        self.running += 1;
        Some(item)
    }

    fn pop_below(&mut self, bounds: &[Bound]) -> Option<T> {
        // Children that may not run more are skipped and keep their place.
        for place in 0..self.order.len() {
            let child = self.order[place];
            let Some(ring) = self.children.get_mut(&child) else {
                continue;
            };
            let Some(item) = ring.pop(bounds) else {
                continue;
            };
            self.order.remove(place);
            if ring.waiting > 0 {
                self.order.push_back(child);
            }
            return Some(item);
        }
        None
    }

    fn start(&mut self, lane: &[u64]) {
        self.running += 1;
        if let Some((child, below)) = lane.split_first() {
            self.children.entry(*child).or_default().start(below);
        }
    }

    fn remove(&mut self, lane: &[u64], ticket: Ticket) -> Option<T> {
        let item = match lane.split_first() {
            None => {
                let place = self.items.iter().position(|(one, _)| *one == ticket)?;
                self.items.remove(place)?.1
            }
            Some((child, below)) => {
                let item = self.children.get_mut(child)?.remove(below, ticket)?;
                self.drop_if_empty(*child);
                item
            }
        };
        self.waiting -= 1;
        Some(item)
    }

    /// Takes the newest item of the child with the most below `above`; `own` is the child that gets one more.
    /// `None` if that would then have as many as the other.
    fn displace(&mut self, above: &[u64], own: Option<&u64>) -> Option<T> {
        let item = if let Some((child, above)) = above.split_first() {
            let item = self.children.get_mut(child)?.displace(above, own)?;
            self.drop_if_empty(*child);
            item
        } else {
            let own = self.children.get(own?).map_or(0, |ring| ring.waiting);
            let most = self.children.iter().max_by_key(|(_, ring)| ring.waiting);
            let (child, _) = most.filter(|(_, ring)| ring.waiting > own + 1)?;
            let child = *child;
            let item = self.children.get_mut(&child)?.pop_newest()?;
            self.drop_if_empty(child);
            item
        };
        self.waiting -= 1;
        Some(item)
    }

    /// Of the child with the most, down to the end of a lane.
    fn pop_newest(&mut self) -> Option<T> {
        let item = if let Some((_, item)) = self.items.pop_back() {
            item
        } else {
            let most = self.children.iter().max_by_key(|(_, ring)| ring.waiting);
            let child = *most?.0;
            let item = self.children.get_mut(&child)?.pop_newest()?;
            self.drop_if_empty(child);
            item
        };
        self.waiting -= 1;
        Some(item)
    }

    /// Removes a child that may have lost its last item.
    fn drop_if_empty(&mut self, child: u64) {
        let Some(ring) = self.children.get(&child) else {
            return;
        };
        if ring.waiting > 0 {
            return;
        }
        let is_over = ring.running == 0;
        self.order.retain(|one| *one != child);
        if is_over {
            self.children.remove(&child);
        }
    }

    fn finish(&mut self, lane: &[u64]) {
        debug_assert!(self.running > 0, "only a taken item finishes");
        self.running = self.running.saturating_sub(1);
        let Some((child, below)) = lane.split_first() else {
            return;
        };
        if let Some(ring) = self.children.get_mut(child) {
            ring.finish(below);
            if ring.running == 0 && ring.waiting == 0 {
                self.children.remove(child);
            }
        }
    }
}

const _: () = assert!(LEVELS == 4, "a lane has three parts below the whole");

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(running: [usize; LEVELS], waiting: [usize; LEVELS]) -> Bounds {
        Bounds(std::array::from_fn(|level| Bound {
            running: running[level],
            waiting: waiting[level],
        }))
    }

    const MANY: [usize; LEVELS] = [1000; LEVELS];

    fn order(queue: &mut FairQueue<&'static str>) -> String {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn turns_go_round_by_account_then_person_then_key() {
        let mut queue = FairQueue::new(bounds(MANY, MANY));
        for _ in 0..4 {
            queue.push(Lane([1, 1, 1]), "a").unwrap();
            queue.push(Lane([1, 1, 2]), "b").unwrap();
        }
        queue.push(Lane([1, 2, 3]), "C").unwrap();
        queue.push(Lane([1, 2, 3]), "C").unwrap();
        queue.push(Lane([2, 1, 1]), "x").unwrap();
        queue.push(Lane([2, 1, 1]), "x").unwrap();
        // The second account waits for at most one turn of the first, and in it a second person for one of
        // the first.
        assert_eq!(order(&mut queue), "axCxbCababab");
    }

    #[test]
    fn a_key_that_floods_delays_another_by_one_turn() {
        let mut queue = FairQueue::new(bounds([1, 1, 1, 1], MANY));
        let (flood, other) = (Lane([1, 1, 1]), Lane([1, 2, 2]));
        for _ in 0..500 {
            queue.push(flood, "flood").unwrap();
        }
        assert_eq!(queue.pop(), Some("flood"));
        queue.push(other, "other").unwrap();
        assert_eq!(queue.pop(), None, "one runs at a time");
        queue.finish(flood);
        let next = queue.pop();
        // The ring was at the flood's lane; the other is next or the one after.
        if next == Some("flood") {
            queue.finish(flood);
            assert_eq!(queue.pop(), Some("other"));
        } else {
            assert_eq!(next, Some("other"));
        }
    }

    #[test]
    fn no_level_runs_more_than_its_bound_and_a_full_one_blocks_no_other() {
        let mut queue = FairQueue::new(bounds([4, 3, 2, 1], MANY));
        for key in 0..9 {
            for _ in 0..9 {
                queue.push(Lane([1, key / 3, key]), "a").unwrap();
            }
        }
        assert_eq!(order(&mut queue), "aaa", "an account's bound");
        queue.push(Lane([2, 1, 1]), "b").unwrap();
        queue.push(Lane([2, 1, 1]), "b").unwrap();
        assert_eq!(order(&mut queue), "b", "the bound of all");
        queue.finish(Lane([2, 1, 1]));
        assert_eq!(order(&mut queue), "b");
    }

    #[test]
    fn what_is_full_says_so_and_what_has_ended_leaves_nothing_behind() {
        let mut queue = FairQueue::new(bounds([1; LEVELS], [6, 5, 4, 2]));
        let full = |level| Err(QueueFull { level });
        let mut push = |lane| queue.push(Lane(lane), "a").map(|_| ());
        assert_eq!(push([1, 1, 1]), Ok(()));
        assert_eq!(push([1, 1, 1]), Ok(()));
        assert_eq!(push([1, 1, 1]), full(Level::Key));
        assert_eq!(push([1, 1, 2]), Ok(()));
        assert_eq!(push([1, 1, 3]), Ok(()));
        assert_eq!(push([1, 1, 4]), full(Level::Person));
        assert_eq!(push([1, 2, 5]), Ok(()));
        assert_eq!(push([1, 3, 6]), full(Level::Account));
        assert_eq!(push([2, 1, 1]), Ok(()));
        assert_eq!(push([3, 1, 1]), full(Level::All));
        let lanes = [
            [1, 1, 1],
            [2, 1, 1],
            [1, 2, 5],
            [1, 1, 2],
            [1, 1, 3],
            [1, 1, 1],
        ];
        for _ in lanes {
            assert_eq!(queue.pop(), Some("a"));
            let running: Vec<u64> = queue
                .root
                .children
                .iter()
                .filter(|(_, ring)| ring.running > 0)
                .map(|(lane, _)| *lane)
                .collect();
            let account = running[0];
            let ring = &queue.root.children[&account];
            let (person, ring) = ring
                .children
                .iter()
                .find(|(_, ring)| ring.running > 0)
                .unwrap();
            let (key, _) = ring
                .children
                .iter()
                .find(|(_, ring)| ring.running > 0)
                .unwrap();
            let lane = Lane([account, *person, *key]);
            queue.finish(lane);
        }
        assert_eq!((queue.waiting(), queue.running()), (0, 0));
        assert!(queue.root.children.is_empty());
    }

    #[test]
    fn what_leaves_the_queue_has_no_turn_and_leaves_nothing_behind() {
        let mut queue = FairQueue::new(bounds([1; LEVELS], [2; LEVELS]));
        let lane = Lane([1, 1, 1]);
        let first = queue.push(lane, "first").unwrap();
        let second = queue.push(lane, "second").unwrap();
        assert!(queue.push(lane, "third").is_err());
        assert_eq!(queue.remove(lane, first), Some("first"));
        assert_eq!(queue.remove(lane, first), None);
        assert_eq!(queue.remove(Lane([2, 1, 1]), second), None);
        assert_eq!(queue.pop(), Some("second"));
        assert_eq!(queue.remove(lane, second), None, "it runs");
        let last = queue.push(lane, "last").unwrap();
        queue.remove(lane, last);
        queue.finish(lane);
        assert_eq!((queue.waiting(), queue.running()), (0, 0));
        assert!(queue.root.children.is_empty() && queue.root.order.is_empty());
    }

    #[test]
    fn what_has_begun_waits_past_the_bounds() {
        let mut queue = FairQueue::new(bounds([1; LEVELS], [1; LEVELS]));
        let lane = Lane([1, 1, 1]);
        queue.push(lane, "first").unwrap();
        queue.push_past_bounds(lane, "second");
        assert!(queue.push(lane, "third").is_err());
        assert_eq!(queue.pop(), Some("first"));
        assert!(queue.push(lane, "third").is_err());
        queue.finish(lane);
        assert_eq!(queue.pop(), Some("second"));
        assert!(queue.push(lane, "third").is_ok());
    }

    #[test]
    fn a_lane_with_few_waiting_takes_the_place_of_one_with_many() {
        let mut queue = FairQueue::new(bounds([1; LEVELS], [100, 5, 3, 3]));
        let mut push = |person, item| queue.push_or_displace(Lane([1, person, 0]), item);
        for item in ["a1", "a2", "a3"] {
            push(1, item).unwrap();
        }
        assert!(push(1, "a4").is_err(), "the bound of a person");
        push(2, "b1").unwrap();
        push(2, "b2").unwrap();
        let (_, displaced) = push(3, "c1").unwrap();
        assert_eq!(displaced, Some("a3"));
        // No lane has two more than the new one would have.
        let full = push(3, "c2").unwrap_err();
        assert_eq!(full.level, Level::Account);
        push(4, "d1").unwrap();
        push(5, "e1").unwrap();
        assert!(push(6, "f1").is_err(), "each has one");
        assert_eq!(push(1, "a5").map(|_| ()), Err(full));
        let mut served = Vec::new();
        while let Some(item) = queue.pop() {
            served.push(item);
            let person = u64::from(item.as_bytes()[0] - b'a') + 1;
            queue.finish(Lane([1, person, 0]));
        }
        assert_eq!(served, ["a1", "b1", "c1", "d1", "e1"]);
        assert!(queue.root.children.is_empty() && queue.root.order.is_empty());
    }

    #[test]
    fn what_starts_at_once_counts_at_every_level_until_it_ends() {
        let mut queue = FairQueue::<()>::new(bounds([4, 3, 2, 1], [0; LEVELS]));
        let full = |level| Err(QueueFull { level });
        for lane in [[1, 1, 1], [1, 1, 2], [1, 2, 3], [2, 1, 1]] {
            assert_eq!(queue.start(Lane(lane)), Ok(()));
        }
        assert_eq!(queue.start(Lane([3, 1, 1])), full(Level::All));
        queue.finish(Lane([2, 1, 1]));
        assert_eq!(queue.start(Lane([1, 3, 4])), full(Level::Account));
        queue.finish(Lane([1, 2, 3]));
        assert_eq!(queue.start(Lane([1, 1, 5])), full(Level::Person));
        queue.finish(Lane([1, 1, 1]));
        assert_eq!(queue.start(Lane([1, 1, 2])), full(Level::Key));
        queue.finish(Lane([1, 1, 2]));
        assert!(queue.root.children.is_empty());
    }
}

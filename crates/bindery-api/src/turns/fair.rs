//! The order of turns: a queue that is fair at every level of a lane. Pure, without a clock or a lock.

use std::collections::{BTreeMap, VecDeque};

use super::{Bound, Bounds, LEVELS, Lane, Level, QueueFull};

/// Items that wait, by lane. Each level gives its children turns in a ring, so a child's share does not grow with what it queues.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    bounds: Bounds,
    root: Ring<T>,
}

#[derive(Debug)]
struct Ring<T> {
    /// Items taken and not finished yet, here and below.
    running: usize,
    /// Items that wait, here and below.
    waiting: usize,
    /// What waits at the end of a lane.
    items: VecDeque<T>,
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
        }
    }

    /// Queues an item, if no level of its lane is full.
    pub(super) fn push(&mut self, lane: Lane, item: T) -> Result<(), QueueFull> {
        let mut ring = Some(&self.root);
        for (place, level) in Level::ALL.into_iter().enumerate() {
            let waiting = ring.map_or(0, |ring| ring.waiting);
            if waiting >= self.bounds.0[place].waiting {
                return Err(QueueFull { level });
            }
            let below = lane.0.get(place);
            ring = ring.and_then(|ring| ring.children.get(below?));
        }
        self.root.push(&lane.0, item);
        Ok(())
    }

    /// Takes the next item whose lane may run one more. It runs until [`FairQueue::finish`].
    pub(super) fn pop(&mut self) -> Option<T> {
        self.root.pop(&self.bounds.0)
    }

    /// An item of this lane has ended.
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
    fn push(&mut self, lane: &[u64], item: T) {
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
            Some(item) => item,
            None => self.pop_below(below)?,
        };
        self.waiting -= 1;
        self.running += 1;
        Some(item)
    }

    fn pop_below(&mut self, bounds: &[Bound]) -> Option<T> {
        // Children that may not run more are passed over and keep their place.
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

    fn finish(&mut self, lane: &[u64]) {
        debug_assert!(self.running > 0, "only what was taken ends");
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
        // The second account waits for one turn of the first at most, and there a second person for one of the first.
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
        // The ring had come to the flood's lane alone; the other is next or the one after.
        if next == Some("flood") {
            queue.finish(flood);
            assert_eq!(queue.pop(), Some("other"));
        } else {
            assert_eq!(next, Some("other"));
        }
    }

    #[test]
    fn no_level_runs_more_than_its_bound_and_a_full_one_blocks_nobody_else() {
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
        let mut push = |lane| queue.push(Lane(lane), "a");
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
}

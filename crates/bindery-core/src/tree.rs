//! A persistent B+ tree of small entries: what there are millions of is kept in it. A clone is O(1); a change copies the path to
//! one leaf, or nothing that no clone has a part in.
//!
//! Beside the maps of `imbl`, which keep whatever is shared one by one, it is made of sorted entries at once, takes hardly
//! more memory than they do, and copies far fewer nodes for a change: a leaf is a kibibyte of entries and nothing else.

use std::fmt;
use std::slice;
use std::sync::Arc;

use itertools::{EitherOrBoth, Itertools as _};

mod grouped;
pub(crate) use grouped::Dense;

/// The octets of the entries of a full leaf: with what the allocator adds, a block that it keeps ready for each thread.
const LEAF_OCTETS: usize = 1000;
/// The most children of a node.
const CHILDREN_MAX: usize = 16;

/// What a tree is made of: a small thing with its place in the order.
pub(crate) trait Keyed: Copy {
    /// What it is found by; one entry a key.
    type Key: Copy + Ord;
    /// Its key.
    fn key(&self) -> Self::Key;
}

/// Sets of pairs.
impl<A: Copy + Ord, B: Copy + Ord> Keyed for (A, B) {
    type Key = Self;

    fn key(&self) -> Self {
        *self
    }
}

/// A value that is filed under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filed<K, V> {
    pub(crate) key: K,
    pub(crate) value: V,
}

impl<K: Copy + Ord, V: Copy> Keyed for Filed<K, V> {
    type Key = K;

    fn key(&self) -> K {
        self.key
    }
}

/// Entries by their keys.
pub(crate) struct Tree<E: Keyed> {
    root: Node<E>,
    /// How many entries it has.
    len: usize,
}

enum Node<E: Keyed> {
    /// Entries in order. Only the leaf of an empty tree is empty.
    Leaf(Arc<[E]>),
    /// Children in order, one at least.
    Inner(Arc<[Child<E>]>),
}

struct Child<E: Keyed> {
    /// No entry of it is smaller, and all entries of the child before are. Of the first child it says nothing.
    first: E::Key,
    node: Node<E>,
}

/// How many entries fit into a leaf.
const fn leaf_max<E>() -> usize {
    match LEAF_OCTETS.checked_div(size_of::<E>()) {
        Some(fit) if fit > 8 => fit,
        _ => 8,
    }
}

impl<E: Keyed> Tree<E> {
    /// A tree of these entries, in whatever order they come, each key once.
    pub(crate) fn of(entries: impl Iterator<Item = E>) -> Self {
        let mut entries: Vec<E> = entries.collect();
        entries.sort_unstable_by_key(Keyed::key);
        let mut growing = Growing::with_room();
        for entry in entries {
            growing.push(entry);
        }
        growing.finish()
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The entry with this key.
    pub(crate) fn get(&self, key: &E::Key) -> Option<&E> {
        let mut node = &self.root;
        loop {
            match node {
                Node::Inner(children) => node = &children.get(place(children, key))?.node,
                Node::Leaf(entries) => {
                    let at = entries.binary_search_by(|one| one.key().cmp(key)).ok()?;
                    return entries.get(at);
                }
            }
        }
    }

    /// Whether there is an entry with this key.
    pub(crate) fn contains(&self, key: &E::Key) -> bool {
        self.get(key).is_some()
    }

    /// All entries in order.
    pub(crate) fn iter(&self) -> Entries<'_, E> {
        self.entries(None)
    }

    /// The entries from this key on.
    pub(crate) fn from(&self, key: E::Key) -> Entries<'_, E> {
        self.entries(Some(&key))
    }

    /// The entries behind this key.
    pub(crate) fn behind(&self, key: E::Key) -> impl Iterator<Item = &E> {
        let mut entries = self.from(key);
        let at_most_one = entries.here.as_slice().first();
        if at_most_one.is_some_and(|first| first.key() == key) {
            entries.here.next();
        }
        entries
    }

    fn entries(&self, from: Option<&E::Key>) -> Entries<'_, E> {
        let Sought {
            here,
            beside,
            behind,
        } = self.root.seek(from);
        Entries {
            root: &self.root,
            here: here.iter(),
            beside: beside.iter(),
            behind,
        }
    }

    /// Whatever is not the same in both, in order: of the left, of the right, or of both with the same key.
    pub(crate) fn differences<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = EitherOrBoth<&'a E>>
    where
        E: PartialEq,
    {
        self.iter()
            .merge_join_by(other.iter(), |left, right| left.key().cmp(&right.key()))
            .filter(|one| !matches!(one, EitherOrBoth::Both(left, right) if left == right))
    }

    /// Puts an entry where its key belongs, and returns the one that was there.
    pub(crate) fn insert(&mut self, entry: E) -> Option<E> {
        let (old, split) = self.root.insert(entry);
        if let Some(right) = split {
            let left = Child {
                first: right.first,
                node: self.root.clone(),
            };
            self.root = Node::Inner(Arc::new([left, right]));
        }
        if old.is_none() {
            self.len = self.len.saturating_add(1);
        }
        debug_assert!(self.contains(&entry.key()), "what was put in is found");
        old
    }

    /// Takes the entry with this key out.
    pub(crate) fn remove(&mut self, key: &E::Key) -> Option<E> {
        // What isn't there would cost a copy all the same.
        self.get(key)?;
        let old = self.root.remove(key)?;
        debug_assert!(self.len > 0, "an entry was counted when it came");
        self.len = self.len.saturating_sub(1);
        debug_assert!(!self.contains(key), "each key is there once");
        while let Node::Inner(children) = &self.root {
            match &**children {
                [] => self.root = Node::empty(),
                [only] => self.root = only.node.clone(),
                _ => break,
            }
        }
        Some(old)
    }
}

/// A tree that is told its entries, most of them in order: those only fill leaves.
pub(crate) struct Growing<E: Keyed> {
    /// How many go into a leaf.
    filled: usize,
    leaves: Vec<Child<E>>,
    leaf: Vec<E>,
    last: Option<E::Key>,
    /// How many came in time.
    len: usize,
    /// What came too late.
    late: Vec<E>,
}

impl<E: Keyed> Growing<E> {
    /// Leaves are filled whole, as those are whose later keys are all larger.
    pub(crate) fn whole() -> Self {
        Self {
            filled: leaf_max::<E>(),
            ..Self::with_room()
        }
    }

    /// Leaves keep a little room for what comes between.
    fn with_room() -> Self {
        let max = leaf_max::<E>();
        Self {
            filled: max.saturating_sub(max / 8),
            leaves: Vec::new(),
            leaf: Vec::new(),
            last: None,
            len: 0,
            late: Vec::new(),
        }
    }

    /// Takes one more; each key once.
    pub(crate) fn push(&mut self, entry: E) {
        if self.last.is_some_and(|last| entry.key() <= last) {
            self.late.push(entry);
            return;
        }
        self.last = Some(entry.key());
        self.len = self.len.saturating_add(1);
        if self.leaf.len() >= self.filled {
            self.close_leaf();
        }
        self.leaf.push(entry);
    }

    fn close_leaf(&mut self) {
        if let Some(first) = self.leaf.first() {
            self.leaves.push(Child {
                first: first.key(),
                node: Node::Leaf(self.leaf.as_slice().into()),
            });
        }
        self.leaf.clear();
    }

    /// The tree.
    pub(crate) fn finish(mut self) -> Tree<E> {
        self.close_leaf();
        let mut level = self.leaves;
        while level.len() > 1 {
            let mut below = level.into_iter().peekable();
            level = Vec::new();
            while let Some(first) = below.peek().map(|child| child.first) {
                let children = below.by_ref().take(CHILDREN_MAX.saturating_sub(2));
                level.push(Child {
                    first,
                    node: Node::Inner(children.collect()),
                });
            }
        }
        let root = level.pop().map_or_else(Node::empty, |child| child.node);
        let mut tree = Tree {
            root,
            len: self.len,
        };
        for entry in self.late {
            tree.insert(entry);
        }
        tree
    }
}

/// Sets of keys.
impl<K: Keyed<Key = K> + Ord> Tree<K> {
    /// Puts a key in or takes it out.
    pub(crate) fn set(&mut self, key: K, is_there: bool) {
        if is_there {
            self.insert(key);
        } else {
            self.remove(&key);
        }
    }

    /// Takes one key out and puts another in.
    pub(crate) fn replace(&mut self, from: Option<K>, to: Option<K>) {
        if from == to {
            return;
        }
        if let Some(from) = from {
            self.remove(&from);
        }
        if let Some(to) = to {
            self.insert(to);
        }
    }
}

/// Which child a key belongs to.
fn place<E: Keyed>(children: &[Child<E>], key: &E::Key) -> usize {
    // Of the first one its key says nothing, and so is not asked.
    let others = children.get(1..).unwrap_or_default();
    others.partition_point(|child| child.first <= *key)
}

impl<E: Keyed> Node<E> {
    fn empty() -> Self {
        Self::Leaf(Arc::new([]))
    }

    fn len(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Inner(children) => children.len(),
        }
    }

    /// Where the entries from a key on begin.
    fn seek(&self, from: Option<&E::Key>) -> Sought<'_, E> {
        let mut node = self;
        let mut sought = Sought {
            here: &[],
            beside: &[],
            behind: None,
        };
        loop {
            match node {
                Self::Inner(children) => {
                    let at = from.map_or(0, |key| place(children, key));
                    let (here, rest) = children.split_at_checked(at).unwrap_or_default();
                    debug_assert_eq!(here.len(), at, "there are children");
                    let [child, rest @ ..] = rest else {
                        return sought;
                    };
                    let above = sought.beside.first().map(|child| child.first);
                    sought.behind = above.or(sought.behind);
                    sought.beside = rest;
                    node = &child.node;
                }
                Self::Leaf(entries) => {
                    let at = from.map_or(0, |key| entries.partition_point(|one| one.key() < *key));
                    sought.here = entries.get(at..).unwrap_or_default();
                    return sought;
                }
            }
        }
    }

    /// Also returns what no longer fits in here, to go behind it.
    fn insert(&mut self, entry: E) -> (Option<E>, Option<Child<E>>) {
        let key = entry.key();
        match self {
            Self::Leaf(entries) => match entries.binary_search_by(|one| one.key().cmp(&key)) {
                Ok(at) => {
                    let old = Arc::make_mut(entries).get_mut(at);
                    (old.map(|old| std::mem::replace(old, entry)), None)
                }
                Err(at) => {
                    let right = put_in(entries, at, entry, leaf_max::<E>());
                    let split = right.and_then(|right| {
                        Some(Child {
                            first: right.first()?.key(),
                            node: Self::Leaf(right),
                        })
                    });
                    (None, split)
                }
            },
            Self::Inner(children) => {
                let at = place(children, &key);
                let Some(child) = own(children).get_mut(at) else {
                    return (None, None);
                };
                let (old, split) = child.node.insert(entry);
                let right = split
                    .and_then(|split| put_in(children, at.saturating_add(1), split, CHILDREN_MAX));
                let split = right.and_then(|right| {
                    Some(Child {
                        first: right.first()?.first,
                        node: Self::Inner(right),
                    })
                });
                (old, split)
            }
        }
    }

    /// May leave a node without entries or children, which goes with its parent's next look at it.
    fn remove(&mut self, key: &E::Key) -> Option<E> {
        match self {
            Self::Leaf(entries) => {
                let at = entries.binary_search_by(|one| one.key().cmp(key)).ok()?;
                let old = entries.get(at).copied();
                *entries = without(entries, at);
                old
            }
            Self::Inner(children) => {
                let at = place(children, key);
                let child = own(children).get_mut(at)?;
                let old = child.node.remove(key);
                if child.node.len() == 0 {
                    *children = without(children, at);
                } else {
                    merge_around(children, at);
                }
                old
            }
        }
    }
}

/// The children, to be changed. Copying them counts another owner of each, and the count stands where the child does: looking
/// at all counts first fetches them side by side, where counting would wait for one after the other.
fn own<E: Keyed>(children: &mut Arc<[Child<E>]>) -> &mut [Child<E>] {
    if Arc::get_mut(children).is_none() {
        let owners = children.iter().map(|child| match &child.node {
            Node::Leaf(entries) => Arc::strong_count(entries),
            Node::Inner(children) => Arc::strong_count(children),
        });
        std::hint::black_box(owners.fold(0, std::ops::BitOr::bitor));
    }
    Arc::make_mut(children)
}

/// Puts one more in at a place, and returns the right half if they are too many. Behind the last of a full row, the two begin a
/// row of their own: so rows that only grow at their end stay full, and what comes between the two has a row to fill.
fn put_in<T: Clone>(all: &mut Arc<[T]>, at: usize, one: T, max: usize) -> Option<Arc<[T]>> {
    if all.len() >= max
        && at == all.len()
        && let Some((last, rest)) = all.split_last()
    {
        let right = Arc::new([last.clone(), one]);
        *all = rest.into();
        return Some(right);
    }
    debug_assert!(at <= all.len(), "a place in the row or behind it");
    let (before, behind) = all.split_at_checked(at)?;
    let longer = |before: &[T], one: T, behind: &[T]| -> Arc<[T]> {
        let chained = before.iter().cloned().chain([one]);
        chained.chain(behind.iter().cloned()).collect()
    };
    if all.len() < max {
        *all = longer(before, one, behind);
        return None;
    }
    let half = all.len() / 2;
    let (left, right) = all.split_at_checked(half)?;
    let (left, right): (Arc<[T]>, Arc<[T]>) = match at.checked_sub(half) {
        Some(at) if at > 0 => {
            let (before, behind) = right.split_at_checked(at)?;
            (left.into(), longer(before, one, behind))
        }
        _ => {
            let (before, behind) = left.split_at_checked(at)?;
            (longer(before, one, behind), right.into())
        }
    };
    debug_assert!(
        !left.is_empty() && !right.is_empty() && left.len().max(right.len()) <= max,
        "both halves fit"
    );
    *all = left;
    Some(right)
}

fn without<T: Clone>(all: &[T], at: usize) -> Arc<[T]> {
    let (before, behind) = all.split_at_checked(at).unwrap_or((all, &[]));
    before
        .iter()
        .chain(behind.iter().skip(1))
        .cloned()
        .collect()
}

/// Makes one of a child that has become small and one beside it, if there is room to spare.
fn merge_around<E: Keyed>(children: &mut Arc<[Child<E>]>, at: usize) {
    let at = at.saturating_sub(1);
    let Some([left, right]) = children.get(at..).and_then(<[_]>::first_chunk) else {
        return;
    };
    let has_room = |max: usize| {
        let small = left.node.len().min(right.node.len());
        let both = left.node.len().saturating_add(right.node.len());
        small < max / 4 && both <= max / 2
    };
    let merged = match (&left.node, &right.node) {
        (Node::Leaf(one), Node::Leaf(other)) if has_room(leaf_max::<E>()) => {
            Node::Leaf(one.iter().chain(&**other).copied().collect())
        }
        (Node::Inner(one), Node::Inner(other)) if has_room(CHILDREN_MAX) => {
            // The first of the right ones becomes one in the middle, of which its key has to be true.
            let (first, rest) = other.split_at_checked(1).unwrap_or_default();
            let first = first.iter().map(|child| Child {
                first: right.first,
                node: child.node.clone(),
            });
            let one = one.iter().cloned();
            Node::Inner(one.chain(first).chain(rest.iter().cloned()).collect())
        }
        _ => return,
    };
    let mut fewer = without(children, at.saturating_add(1));
    if let Some(child) = own(&mut fewer).get_mut(at) {
        child.node = merged;
    }
    *children = fewer;
}

/// Where entries begin: in a leaf, then in those beside it, then from a key on.
struct Sought<'a, E: Keyed> {
    here: &'a [E],
    beside: &'a [Child<E>],
    behind: Option<E::Key>,
}

/// The entries of a tree from somewhere on, in order.
pub(crate) struct Entries<'a, E: Keyed> {
    root: &'a Node<E>,
    here: slice::Iter<'a, E>,
    /// The next leaves, as far as they have the same parent.
    beside: slice::Iter<'a, Child<E>>,
    /// Where the leaf behind those begins, which is looked up from the root.
    behind: Option<E::Key>,
}

impl<'a, E: Keyed> Iterator for Entries<'a, E> {
    type Item = &'a E;

    #[inline]
    fn next(&mut self) -> Option<&'a E> {
        loop {
            if let Some(entry) = self.here.next() {
                return Some(entry);
            }
            self.go_on()?;
        }
    }
}

impl<E: Keyed> Entries<'_, E> {
    /// To the next leaf. Looks at the one after it, so that it is on its way while this one is read.
    #[inline(never)]
    fn go_on(&mut self) -> Option<()> {
        let next = self.beside.next().map(|child| &child.node);
        if let Some(Node::Leaf(entries)) = next {
            self.here = entries.iter();
        } else {
            let sought = self.root.seek(Some(&self.behind?));
            self.here = sought.here.iter();
            self.beside = sought.beside.iter();
            self.behind = sought.behind;
        }
        let after = self.beside.as_slice().first();
        if let Some(Node::Leaf(entries)) = after.map(|child| &child.node) {
            std::hint::black_box(entries.first().map(Keyed::key));
        }
        Some(())
    }
}

impl<E: Keyed> Default for Tree<E> {
    fn default() -> Self {
        Self {
            root: Node::empty(),
            len: 0,
        }
    }
}

impl<E: Keyed> Clone for Tree<E> {
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
            len: self.len,
        }
    }
}

impl<E: Keyed> Clone for Node<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(entries) => Self::Leaf(Arc::clone(entries)),
            Self::Inner(children) => Self::Inner(Arc::clone(children)),
        }
    }
}

impl<E: Keyed> Clone for Child<E> {
    fn clone(&self) -> Self {
        Self {
            first: self.first,
            node: self.node.clone(),
        }
    }
}

impl<E: Keyed + PartialEq> PartialEq for Tree<E> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<E: Keyed + Eq> Eq for Tree<E> {}

impl<E: Keyed + fmt::Debug> fmt::Debug for Tree<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// So large that a few hundred make a tree of some height.
    type Large = Filed<u16, [u8; 128]>;

    const fn large(key: u16, value: u8) -> Large {
        Filed {
            key,
            value: [value; 128],
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert(u16, u8),
        Remove(u16),
        /// Every key of a range, in order: what makes and empties whole leaves.
        Fill(u16, u16),
        Clear(u16, u16),
        /// Whoever holds a clone goes on holding what it was.
        Keep,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let key = 0_u16..600;
        let step = prop_oneof![
            6 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Insert(key, value)),
            6 => key.clone().prop_map(Step::Remove),
            2 => (key.clone(), 0_u16..120).prop_map(|(first, count)| Step::Fill(first, count)),
            2 => (key, 0_u16..160).prop_map(|(first, count)| Step::Clear(first, count)),
            1 => Just(Step::Keep),
        ];
        proptest::collection::vec(step, 1..80)
    }

    fn check(tree: &Tree<Large>, model: &BTreeMap<u16, Large>) {
        assert!(tree.iter().eq(model.values()));
        for key in (0..760).step_by(7) {
            assert_eq!(tree.get(&key), model.get(&key));
            assert!(tree.from(key).eq(model.range(key..).map(|(_, one)| one)));
            let behind = model.range(key.saturating_add(1)..).map(|(_, one)| one);
            assert!(tree.behind(key).eq(behind));
        }
        check_shape(&tree.root);
        let built: Vec<Large> = model.values().copied().collect();
        assert!(*tree == Tree::of(built.into_iter()));
    }

    /// All leaves are at one depth, nothing is empty, and the keys of children say what they have to.
    fn check_shape(node: &Node<Large>) -> usize {
        match node {
            Node::Leaf(_) => 0,
            Node::Inner(children) => {
                assert!((1..=CHILDREN_MAX).contains(&children.len()));
                let mut depths = children.iter().map(|child| check_shape(&child.node));
                let depth = depths.next().unwrap();
                assert!(depths.all(|other| other == depth));
                for pair in children.windows(2) {
                    let least = ends(&pair[1].node).0;
                    assert!(ends(&pair[0].node).1 < pair[1].first && pair[1].first <= least);
                }
                depth.saturating_add(1)
            }
        }
    }

    fn ends(node: &Node<Large>) -> (u16, u16) {
        match node {
            Node::Leaf(entries) => (entries.first().unwrap().key, entries.last().unwrap().key),
            Node::Inner(children) => {
                let (first, last) = (children.first().unwrap(), children.last().unwrap());
                (ends(&first.node).0, ends(&last.node).1)
            }
        }
    }

    fn leaves(node: &Node<Large>) -> usize {
        match node {
            Node::Leaf(_) => 1,
            Node::Inner(children) => children.iter().map(|child| leaves(&child.node)).sum(),
        }
    }

    proptest! {
        #[test]
        fn it_is_a_sorted_map_and_its_clones_stay_what_they_were(
            from in 0_u16..400,
            steps in steps(),
        ) {
            let mut model: BTreeMap<u16, Large> = (0..from).map(|key| (key, large(key, 0))).collect();
            let built: Vec<Large> = model.values().copied().collect();
            let mut tree = Tree::of(built.into_iter());
            let mut kept = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(key, value) => {
                        let entry = large(key, value);
                        prop_assert_eq!(tree.insert(entry), model.insert(key, entry));
                    }
                    Step::Remove(key) => prop_assert_eq!(tree.remove(&key), model.remove(&key)),
                    Step::Fill(first, count) => for key in first..first.saturating_add(count) {
                        let entry = large(key, 1);
                        prop_assert_eq!(tree.insert(entry), model.insert(key, entry));
                    },
                    Step::Clear(first, count) => for key in first..first.saturating_add(count) {
                        prop_assert_eq!(tree.remove(&key), model.remove(&key));
                    },
                    Step::Keep => kept.push((tree.clone(), model.clone())),
                }
            }
            kept.push((tree, model));
            for (tree, model) in &kept {
                check(tree, model);
            }
            for pair in kept.windows(2) {
                let [(one, of_one), (other, of_other)] = pair else { unreachable!() };
                let found = one.differences(other).map(|one| one.reduce(|one, _| one).key);
                let mut expected: Vec<u16> = of_one.keys().chain(of_other.keys()).copied().collect();
                expected.sort_unstable();
                expected.dedup();
                expected.retain(|key| of_one.get(key) != of_other.get(key));
                prop_assert_eq!(found.collect::<Vec<u16>>(), expected);
            }
        }
    }

    #[test]
    fn what_comes_too_late_is_filed_where_it_belongs() {
        let mut growing = Growing::whole();
        for key in (0..500)
            .filter(|key| key % 3 != 0)
            .chain((0..500).step_by(3))
        {
            growing.push(large(key, 0));
        }
        let tree = growing.finish();
        check_shape(&tree.root);
        assert!(tree.iter().map(|one| one.key).eq(0..500));
    }

    #[test]
    fn keys_that_descend_into_a_gap_fill_leaves_too() {
        let mut tree = Tree::default();
        for key in (0..80).chain(5_000..5_080) {
            tree.insert(large(key, 0));
        }
        for key in (1_000..3_000).rev() {
            tree.insert(large(key, 1));
        }
        check_shape(&tree.root);
        assert!(
            leaves(&tree.root) <= 2_160 / 4 + 1,
            "{}",
            leaves(&tree.root)
        );
    }

    #[test]
    fn leaves_stay_full_enough_whatever_comes_and_goes() {
        let mut tree = Tree::default();
        for key in 0..4_000 {
            tree.insert(large(key, 0));
        }
        assert!(
            leaves(&tree.root) <= 4_000 / 7 + 1,
            "ascending keys leave leaves with room for one"
        );
        for key in (0..4_000).filter(|key| key % 10 != 3) {
            tree.remove(&key);
        }
        assert_eq!(tree.iter().count(), 400);
        assert!(leaves(&tree.root) <= 400 / 2, "{}", leaves(&tree.root));
        for key in (0..4_000).rev() {
            tree.insert(large(key, 1));
        }
        assert!(leaves(&tree.root) <= 4_000 / 4, "{}", leaves(&tree.root));
        for key in 0..4_000 {
            tree.remove(&key);
        }
        assert_eq!(leaves(&tree.root), 1);
        assert!(tree == Tree::default() && tree.iter().next().is_none());
    }
}

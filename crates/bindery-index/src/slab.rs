//! Cells that never move: a first chunk, sized when the index is built, and later ones as it grows. So a reader needs no
//! protection against the writer's making room.

use std::iter::once;
use std::ops::{Deref, Range};
use std::sync::OnceLock;

use crate::atomic::AtomicU64;

/// Chunks in an octave: what is behind the first chunk doubles with every so many.
const PER_OCTAVE: usize = 8;
const OCTAVES: usize = 20;

#[derive(Debug)]
pub(crate) struct Slab<T> {
    first: Box<[T]>,
    /// The length of the chunks in the first octave behind the first chunk.
    step: usize,
    later: Box<[OnceLock<Box<[T]>>]>,
}

impl<T: Default> Slab<T> {
    /// Room for `length` cells, and for growth from there: 8 million times as many.
    pub(crate) fn new(length: usize) -> Self {
        Self {
            first: fresh(length),
            step: (length / 32).max(64),
            later: (0..OCTAVES * PER_OCTAVE).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The cell, if there is room for it already.
    #[inline]
    pub(crate) fn get(&self, place: usize) -> Option<&T> {
        match self.first.get(place) {
            Some(cell) => Some(cell),
            None => self.get_later(place),
        }
    }

    #[cold]
    #[inline(never)]
    fn get_later(&self, place: usize) -> Option<&T> {
        let (chunk, _, within) = self.locate(place)?;
        self.later.get(chunk)?.get()?.get(within)
    }

    /// The cell, with room made for it; `None` where even that ends.
    pub(crate) fn make(&self, place: usize) -> Option<&T> {
        if let Some(cell) = self.first.get(place) {
            return Some(cell);
        }
        let (chunk, length, within) = self.locate(place)?;
        self.later
            .get(chunk)?
            .get_or_init(|| fresh(length))
            .get(within)
    }

    /// Which later chunk a place is in, that chunk's length, and where in it.
    fn locate(&self, place: usize) -> Option<(usize, usize, usize)> {
        let behind = place.checked_sub(self.first.len())?;
        let steps = behind / self.step + PER_OCTAVE;
        let octave = usize::try_from((steps / PER_OCTAVE).ilog2()).ok()?;
        let in_octave = (steps >> octave) - PER_OCTAVE;
        let chunk = octave * PER_OCTAVE + in_octave;
        let (length, within) = (self.step << octave, behind - self.begin_of(chunk));
        debug_assert!(within < length, "a place is in its chunk");
        Some((chunk, length, within))
    }

    /// Where a later chunk begins, counted from the end of the first.
    fn begin_of(&self, chunk: usize) -> usize {
        let (octave, in_octave) = (chunk / PER_OCTAVE, chunk % PER_OCTAVE);
        (((PER_OCTAVE + in_octave) << octave) - PER_OCTAVE) * self.step
    }

    /// The places that have a cell, in order. Between them, whole chunks may never have been needed.
    pub(crate) fn places(&self) -> impl Iterator<Item = Range<usize>> {
        let behind = self.first.len();
        let later = self.later.iter().enumerate();
        let later = later.filter_map(move |(chunk, cells)| {
            let begin = behind + self.begin_of(chunk);
            cells.get().map(|cells| begin..begin + cells.len())
        });
        once(0..behind).chain(later)
    }

    /// How many cells there are: not how far they go.
    pub(crate) fn room(&self) -> usize {
        let later = self.later.iter().filter_map(OnceLock::get);
        self.first.len() + later.map(|chunk| chunk.len()).sum::<usize>()
    }

    /// The bytes of all cells, and of where they are found.
    pub(crate) fn bytes(&self) -> usize {
        self.room() * size_of::<T>() + size_of_val(&*self.later)
    }
}

/// Words that belong together.
#[derive(Debug)]
pub(crate) struct Cells<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Cells<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Deref for Cells<N> {
    type Target = [AtomicU64; N];

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

fn fresh<T: Default>(length: usize) -> Box<[T]> {
    (0..length).map(|_| T::default()).collect()
}

#[cfg(test)]
mod tests {
    use super::Slab;
    use std::collections::BTreeSet;

    #[test]
    fn every_place_has_a_cell_of_its_own_that_stays_where_it_is() {
        for first in [0, 1, 100, 5_000] {
            let slab = Slab::<u64>::new(first);
            assert!(slab.get(first).is_none());
            let mut addresses = BTreeSet::new();
            for place in 0..40_000 {
                let made = std::ptr::from_ref(slab.make(place).unwrap());
                assert!(addresses.insert(made), "{first} {place}");
                assert_eq!(made, std::ptr::from_ref(slab.get(place).unwrap()));
            }
            assert!(slab.room() < 2 * 40_000, "{first}: {}", slab.room());
        }
    }
}

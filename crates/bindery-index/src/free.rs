//! The writer's side of a pool: which of its lines are free.
//!
//! Free lines that lie side by side are one run, whatever tables they were. Tables that grow together would otherwise leave
//! behind, size by size, several times what they take, and nobody would ever ask for those sizes again.

use std::collections::{BTreeMap, BTreeSet};

use crate::pool::{Full, PLACES_MAX, Table};

/// So many tables of a class are kept as they are, for whoever wants one of the same next: most do, and what is below is slower.
const AT_HAND: usize = 16;
/// The last class that some are kept of, of 16 lines.
const AT_HAND_CLASS_MAX: u8 = 13;

#[derive(Debug)]
pub(crate) struct Free {
    /// From this line on, all are free.
    end: u32,
    /// Free halves of lines whose other half is taken, by place.
    halves: BTreeSet<u32>,
    /// Lengths of the runs of free lines, by the first line. No two of them touch, and none touches the end.
    runs: BTreeMap<u32, u32>,
    /// The same as (length, first line).
    by_length: BTreeSet<(u32, u32)>,
    /// Places of whole tables, by their class.
    at_hand: Vec<Vec<u32>>,
}

impl Free {
    pub(crate) fn new() -> Self {
        Self {
            // The first line stays empty: owners without a table read it.
            end: 1,
            halves: BTreeSet::new(),
            runs: BTreeMap::new(),
            by_length: BTreeSet::new(),
            at_hand: vec![Vec::new(); usize::from(AT_HAND_CLASS_MAX) + 1],
        }
    }

    /// A table of this class. That it is empty, whoever gave it back has seen to.
    pub(crate) fn take(&mut self, class: u8) -> Result<Table, Full> {
        let at_hand = self.at_hand.get_mut(usize::from(class));
        if let Some(place) = at_hand.and_then(Vec::pop) {
            return Ok(Table { place, class });
        }
        let mut table = Table { place: 0, class };
        table.place = match class {
            0 => 0,
            1 => self.take_half()?,
            _ => 2 * self.take_lines(table.lines())?,
        };
        Ok(table)
    }

    pub(crate) fn give_back(&mut self, table: Table) {
        let Table { place, class } = table;
        debug_assert!(class == 0 || place > 1, "the first line is never taken");
        if let Some(at_hand) = self.at_hand.get_mut(usize::from(class))
            && class != 0
            && at_hand.len() < AT_HAND
        {
            debug_assert!(!at_hand.contains(&place), "a table is given back once");
            at_hand.push(place);
            return;
        }
        match class {
            0 => {}
            1 => self.give_back_half(place),
            _ => self.give_back_lines(place / 2, table.lines()),
        }
    }

    /// How many lines a pool must have for all that is taken, the first one included.
    pub(crate) fn lines(&self) -> usize {
        self.end as usize
    }

    fn take_half(&mut self) -> Result<u32, Full> {
        if let Some(place) = self.halves.pop_first() {
            return Ok(place);
        }
        let place = 2 * self.take_lines(1)?;
        self.halves.insert(place + 1);
        Ok(place)
    }

    /// The first of so many lines: of the shortest run that has them, or behind everything.
    fn take_lines(&mut self, lines: u32) -> Result<u32, Full> {
        if let Some((length, first)) = self.by_length.range((lines, 0)..).next().copied() {
            self.remove_run(first, length);
            if length > lines {
                self.insert_run(first + lines, length - lines);
            }
            return Ok(first);
        }
        let first = self.end;
        let end = first + lines;
        if end > PLACES_MAX / 2 {
            return Err(Full);
        }
        self.end = end;
        Ok(first)
    }

    fn give_back_half(&mut self, place: u32) {
        if self.halves.remove(&(place ^ 1)) {
            self.give_back_lines(place / 2, 1);
        } else {
            let is_new = self.halves.insert(place);
            debug_assert!(is_new, "a half is given back once");
        }
    }

    fn give_back_lines(&mut self, mut first: u32, mut length: u32) {
        if let Some((before, its_length)) = self.runs.range(..first).next_back()
            && before + its_length == first
        {
            let (before, its_length) = (*before, *its_length);
            self.remove_run(before, its_length);
            (first, length) = (before, length + its_length);
        }
        if let Some(its_length) = self.runs.get(&(first + length)).copied() {
            self.remove_run(first + length, its_length);
            length += its_length;
        }
        debug_assert!(
            first > 0 && first + length <= self.end,
            "only lines that were taken are given back"
        );
        if first + length == self.end {
            self.end = first;
        } else {
            self.insert_run(first, length);
        }
    }

    fn insert_run(&mut self, first: u32, length: u32) {
        debug_assert!(length > 0, "a run has a line");
        let overlapping = self.runs.range(first..first + length).next();
        debug_assert_eq!(overlapping, None, "no two runs share a line");
        self.runs.insert(first, length);
        self.by_length.insert((length, first));
    }

    fn remove_run(&mut self, first: u32, length: u32) {
        let is_there = self.by_length.remove(&(length, first));
        debug_assert!(is_there, "runs are found by line and by length");
        self.runs.remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Halves of lines that a table takes.
    fn places(table: Table) -> std::ops::Range<u32> {
        let length = match table.class {
            0 => 0,
            1 => 1,
            _ => 2 * table.lines(),
        };
        table.place..table.place + length
    }

    #[test]
    fn no_two_tables_share_a_place_and_all_of_them_given_back_leave_nothing_behind() {
        let mut free = Free::new();
        let mut taken: Vec<Table> = Vec::new();
        let mut owners = BTreeSet::new();
        let mut draw = 7_u32;
        for step in 0..20_000 {
            draw = draw.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = (draw >> 8) as usize;
            if step < 10_000 && (taken.is_empty() || !draw.is_multiple_of(3)) {
                let class = u8::try_from(at % 24).unwrap();
                let table = free.take(class).unwrap();
                assert!(places(table).all(|place| place > 1 && owners.insert(place)));
                taken.push(table);
            } else if !taken.is_empty() {
                let table = taken.swap_remove(at % taken.len());
                assert!(places(table).all(|place| owners.remove(&place)));
                free.give_back(table);
            }
        }
        assert_eq!((taken.len(), owners.len()), (0, 0));
        for class in 1..=AT_HAND_CLASS_MAX {
            for place in std::mem::take(&mut free.at_hand[usize::from(class)]) {
                match class {
                    1 => free.give_back_half(place),
                    _ => free.give_back_lines(place / 2, Table { place, class }.lines()),
                }
            }
        }
        assert_eq!((free.end, free.runs.len(), free.halves.len()), (1, 0, 0));
        assert_eq!(free.by_length.len(), 0);
    }

    #[test]
    fn tables_that_grow_together_leave_little_behind() {
        let mut free = Free::new();
        let mut tables = vec![Table::default(); 500];
        for class in 1..24 {
            for table in &mut tables {
                let larger = free.take(class).unwrap();
                free.give_back(*table);
                *table = larger;
            }
        }
        let needed: u32 = tables.iter().map(|table| table.lines()).sum();
        let taken = free.lines();
        assert!(taken < 2 * needed as usize, "{taken} lines for {needed}");
    }
}

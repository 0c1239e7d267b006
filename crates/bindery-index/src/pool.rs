//! Bucket tables: small hash tables of (key u32, value u32) slots in cache lines of eight, a table an owner.
//!
//! A hash picks the line, all of its slots are compared without a branch, and a line that is full makes the table move to a
//! larger one. Owners with four slots or fewer share a line with another, half each. Branches that hang on a missing load,
//! not the misses, were what made other layouts slow. Ten slots fit into a line too, and take a quarter less memory; but a slot
//! that is a word is compared in two instructions, and fewer of them let more of the next checks' misses begin.

use std::sync::atomic::Ordering::Relaxed;

use crate::atomic::AtomicU64;
use crate::compare::find;
pub(crate) use crate::free::Free;
use crate::slab::Slab;

/// Slots in half a line.
pub(crate) const HALF: usize = 4;
/// Slots in a line.
pub(crate) const LINE: usize = 2 * HALF;
/// Lines of the tables of each class. The classes below are apart: 0 is no table, 1 is half a line.
const LINES: [u32; 64] = lines();
/// No more places than this fit into a [`Table`].
pub(crate) const PLACES_MAX: u32 = 1 << 28;
const CLASS_MAX: u8 = 57;

const fn lines() -> [u32; 64] {
    let mut lines = [1; 64];
    let mut class = 2_u32;
    while class < 64 {
        lines[class as usize] = match class {
            2..=9 => class - 1,
            10..=41 => (4 + (class - 9) % 4) << ((class - 9) / 4 + 1),
            _ => 2048 << (class - 41),
        };
        class += 1;
    }
    lines
}

/// Half a line: each word is a slot, with its key below its value.
pub(crate) type Words = [u64; HALF];

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; 8]);

/// Where an owner's table is: 34 bits, for a word that holds more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// In halves of lines. Place 0 is an empty half that every owner without a table reads.
    pub(crate) place: u32,
    pub(crate) class: u8,
}

impl Table {
    pub(crate) const BITS: u32 = 34;

    #[inline]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self {
            place: (bits & 0x0fff_ffff) as u32,
            class: (bits >> 28 & 0x3f) as u8,
        }
    }

    #[inline]
    pub(crate) const fn to_bits(self) -> u64 {
        self.place as u64 | (self.class as u64) << 28
    }

    #[inline]
    pub(crate) fn lines(self) -> u32 {
        LINES[usize::from(self.class & 63)]
    }

    #[inline]
    const fn is_whole(self) -> bool {
        self.class > 1
    }

    /// The line in which a key with this hash is.
    #[inline]
    fn line(self, hash: u32) -> usize {
        let within = (u64::from(hash) * u64::from(self.lines())) >> 32;
        (self.place / 2) as usize + within as usize
    }
}

/// Spreads dense numbers over 32 bits, of which the upper ones count.
#[inline]
pub(crate) const fn hash(number: u32) -> u32 {
    number.wrapping_mul(0x9e37_79b1)
}

/// The lines of all tables of one kind.
#[derive(Debug)]
pub(crate) struct Pool {
    lines: Slab<Line>,
}

impl Pool {
    pub(crate) fn new(lines: usize) -> Self {
        let pool = Self {
            lines: Slab::new(lines.max(1)),
        };
        // Place 0 can be read from the beginning.
        let _ = pool.lines.make(0);
        pool
    }

    pub(crate) fn bytes(&self) -> usize {
        self.lines.bytes()
    }

    /// Reads ahead what [`Pool::find`] with this hash will need.
    #[inline]
    pub(crate) fn touch(&self, table: Table, hash: u32) -> u64 {
        let line = self.lines.get(table.line(hash));
        line.map_or(0, |line| line.0[0].load(Relaxed))
    }

    /// The slots of these keys, all of the same hash; 0 where there is none.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "else keys and codes go through memory"
    )]
    pub(crate) fn find<const N: usize>(&self, table: Table, hash: u32, keys: [u32; N]) -> [u64; N] {
        let Some(line) = self.lines.get(table.line(hash)) else {
            return [0; N];
        };
        let half = (table.place as usize & 1) * HALF;
        // The half of a small table is compared twice, which changes nothing and needs no branch.
        let other = if table.is_whole() { HALF } else { half };
        find(words(line, half), words(line, other), keys)
    }

    /// The value of this key; 0 where there is none.
    #[inline]
    pub(crate) fn value(&self, table: Table, hash: u32, key: u32) -> u32 {
        let [slot] = self.find(table, hash, [key]);
        unpacked(slot).1
    }

    /// Every slot of the table.
    #[inline]
    pub(crate) fn each(&self, table: Table, mut with: impl FnMut(u32, u32)) {
        self.each_half(table, |slots| {
            for (key, value) in slots {
                if key != 0 {
                    with(key, value);
                }
            }
        });
    }

    /// The same four at a time; slots that are free are 0.
    #[inline]
    pub(crate) fn each_half(&self, table: Table, mut with: impl FnMut([(u32, u32); HALF])) {
        for half in 0..halves(table.class) {
            let place = (table.place + half) as usize;
            // A line that nothing was ever put into need not be there, and others behind it are.
            if let Some(line) = self.lines.get(place / 2) {
                with(words(line, (place & 1) * HALF).map(unpacked));
            }
        }
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "as of the function that calls it")]
fn words(line: &Line, from: usize) -> Words {
    let word = |at: usize| line.0[(from + at) & 7].load(Relaxed);
    [word(0), word(1), word(2), word(3)]
}

/// Key and value of a slot.
#[inline]
pub(crate) const fn unpacked(slot: u64) -> (u32, u32) {
    ((slot & 0xffff_ffff) as u32, (slot >> 32) as u32)
}

fn packed((key, value): (u32, u32)) -> u64 {
    u64::from(key) | u64::from(value) << 32
}

/// How many halves a table of this class has.
fn halves(class: u8) -> u32 {
    match class {
        0 => 0,
        1 => 1,
        _ => 2 * LINES[usize::from(class)],
    }
}

/// A slot with the hash of its key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) hash: u32,
    pub(crate) key: u32,
    pub(crate) value: u32,
}

/// No room: an owner with more than fits anywhere, or more tables than can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The smallest class whose lines hold these slots, if one does that is at most `spare` classes larger than it would
/// have to be if they were spread evenly.
pub(crate) fn class_for(slots: &[Slot], spare: u8, fill: &mut Vec<u8>) -> Option<u8> {
    if slots.is_empty() {
        return Some(0);
    }
    if slots.len() <= HALF {
        return Some(1);
    }
    let first =
        (2..=CLASS_MAX).find(|class| LINES[usize::from(*class)] as usize * LINE >= slots.len())?;
    (first..=CLASS_MAX.min(first.saturating_add(spare))).find(|class| {
        let table = Table {
            place: 0,
            class: *class,
        };
        fill.clear();
        fill.resize(table.lines() as usize, 0);
        slots.iter().all(|slot| {
            let line = &mut fill[table.line(slot.hash)];
            *line += 1;
            usize::from(*line) <= LINE
        })
    })
}

impl Pool {
    fn half(&self, place: usize) -> Result<(&Line, usize), Full> {
        let line = self.lines.make(place / 2).ok_or(Full)?;
        Ok((line, (place & 1) * HALF))
    }

    fn store(&self, place: usize, words: Words) -> Result<(), Full> {
        let (line, from) = self.half(place)?;
        for (at, word) in words.into_iter().enumerate() {
            line.0[(from + at) & 7].store(word, Relaxed);
        }
        Ok(())
    }

    /// The halves in which a key with this hash may be.
    fn places(table: Table, hash: u32) -> std::ops::Range<usize> {
        match table.class {
            0 => 0..0,
            1 => table.place as usize..table.place as usize + 1,
            _ => 2 * table.line(hash)..2 * table.line(hash) + 2,
        }
    }

    /// Rewrites the one slot for which `wanted` holds; whether there was one.
    fn rewrite(
        &self,
        table: Table,
        hash: u32,
        wanted: u32,
        with: (u32, u32),
    ) -> Result<bool, Full> {
        for place in Self::places(table, hash) {
            let (line, from) = self.half(place)?;
            let mut there = words(line, from).map(unpacked);
            if let Some(slot) = there.iter_mut().find(|(key, _)| *key == wanted) {
                *slot = with;
                self.store(place, there.map(packed))?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Puts a slot where there is room in its line; whether there was.
    pub(crate) fn put(&self, table: Table, slot: Slot) -> Result<bool, Full> {
        let Slot { hash, key, value } = slot;
        debug_assert!(key != 0 && value != 0, "0 is for what isn't there");
        Ok(self.rewrite(table, hash, key, (key, value))?
            || self.rewrite(table, hash, 0, (key, value))?)
    }

    /// Takes a slot out, if it is there.
    pub(crate) fn remove(&self, table: Table, hash: u32, key: u32) -> Result<bool, Full> {
        self.rewrite(table, hash, key, (0, 0))
    }

    /// Fills an empty table of a class that [`class_for`] has chosen.
    pub(crate) fn fill(&self, table: Table, slots: &[Slot]) -> Result<(), Full> {
        for slot in slots {
            if !self.put(table, *slot)? {
                debug_assert!(false, "a class was chosen that holds all slots");
                return Err(Full);
            }
        }
        Ok(())
    }

    /// Empties a table and gives it back.
    pub(crate) fn clear(&self, table: Table, free: &mut Free) -> Result<(), Full> {
        for half in 0..halves(table.class) {
            self.store((table.place + half) as usize, [0; 4])?;
        }
        free.give_back(table);
        Ok(())
    }

    /// Whether nothing is in the line of this hash.
    pub(crate) fn is_empty_at(&self, table: Table, hash: u32) -> bool {
        Self::places(table, hash).all(|place| {
            let line = self.lines.get(place / 2);
            line.is_none_or(|line| {
                let mut there = words(line, (place & 1) * HALF).into_iter().map(unpacked);
                there.all(|(key, _)| key == 0)
            })
        })
    }

    /// How many slots a table of this class has.
    pub(crate) fn slots_of(class: u8) -> usize {
        halves(class) as usize * HALF
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_grow_by_a_quarter_at_the_most_until_they_double() {
        assert_eq!(LINES[..12], [1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12]);
        assert_eq!(LINES[41..44], [2048, 4096, 8192]);
        assert_eq!(LINES[usize::from(CLASS_MAX)] * 2, PLACES_MAX);
        for pair in LINES[2..=usize::from(CLASS_MAX)].windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
        }
        for class in 0..=CLASS_MAX {
            let table = Table {
                place: 0x0abc_def0,
                class,
            };
            assert_eq!(Table::from_bits(table.to_bits()), table);
            assert!(table.to_bits() < 1 << Table::BITS);
        }
    }

    #[test]
    fn what_is_put_is_found_until_it_is_removed_and_nothing_else_is() {
        for count in [1_u32, 5, 6, 10, 11, 40, 400, 5_000] {
            let (pool, mut free) = (Pool::new(0), Free::new());
            let slots: Vec<Slot> = (1..=count)
                .map(|key| Slot {
                    hash: hash(key),
                    key,
                    value: key << 3,
                })
                .collect();
            let class = class_for(&slots, 20, &mut Vec::new()).unwrap();
            let table = free.take(class).unwrap();
            pool.fill(table, &slots).unwrap();
            let mut seen = 0;
            pool.each(table, |key, value| {
                assert_eq!(value, key << 3);
                seen += 1;
            });
            assert_eq!(seen, count);
            for slot in &slots {
                let keys = [slot.key, slot.key + count];
                assert_eq!(
                    pool.find(table, slot.hash, keys),
                    [packed((slot.key, slot.value)), 0]
                );
                assert!(pool.remove(table, slot.hash, slot.key).unwrap());
                assert_eq!(pool.find(table, slot.hash, keys), [0, 0]);
            }
            assert_eq!(pool.find(Table::default(), 7, [7]), [0]);
        }
    }
}

//! Building an index of everything at once: counted, sorted by owner, and each table made in the size it needs.

use std::mem::replace;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder};

use crate::atomic::AtomicU64;
use crate::index::{BELOW, HOLDERS, Index, LARGE_BYTES, PLACE};
use crate::pool::{Free, Full, Pool, Slot, Table, class_for};
use crate::record::{
    Holding, Kind, NUMBERS, Place, Principal, Project, Space, UserWord, is_organization, number_of,
};
use crate::slab::{Cells, Slab};
use crate::writer::{
    SPARE_MAX, Writer, cells, checked, choose_held, hash_below, hash_held, put_brief, put_code,
};

/// Room for what comes later, as a part of what is there.
const SLACK: usize = 64;

/// What numbers things of one kind have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// How many there are.
    pub count: usize,
    /// One more than the highest number.
    pub end: usize,
}

/// So many numbers for each thing that is there may be nobody's (any more), beside [`UNUSED_MIN`].
const UNUSED_PER_ONE: usize = 64;
/// So many may be in any case.
const UNUSED_MIN: usize = 1 << 20;

impl Room {
    /// There is a cell for every number. One that is further from the others is damaged, or almost everything that there ever was is gone:
    /// that isn't worth the memory.
    fn end_max(self) -> usize {
        let dense = self.count.saturating_mul(UNUSED_PER_ONE);
        dense.saturating_add(UNUSED_MIN).min(NUMBERS as usize)
    }
}

/// Where the facts come from. Each part may be asked for more than once, and is the same each time.
pub trait Source: Sync {
    /// Of users, organizations, spaces and projects.
    fn rooms(&self) -> [Room; 4];
    /// Every user.
    fn principals(&self, with: &mut dyn FnMut(u32, Principal));
    /// Every organization.
    fn organizations(&self, with: &mut dyn FnMut(u32));
    /// Every space.
    fn spaces(&self, with: &mut dyn FnMut(u32, Space));
    /// Every project.
    fn projects(&self, with: &mut dyn FnMut(u32, Project));
    /// Every code that is held, but [`ASK`](crate::ASK), with its permissions and name.
    fn codes(&self, with: &mut dyn FnMut(u32, [u64; 3], u32));
    /// Everything that is held, once each.
    fn holdings(&self, with: &mut dyn FnMut(Holding));
}

impl Writer {
    /// An index of these facts, as of `revision`.
    pub fn build(source: &impl Source, revision: u64) -> Self {
        let (index, held, holders, last_end) = build(source).unwrap_or_else(|Full| {
            let index = Index::new([0; 4], Pool::new(0), Pool::new(0));
            index.closed.store(1, Relaxed);
            index.sequence.begin_write();
            (index, Free::new(), Free::new(), 0)
        });
        index.revision.store(revision, Relaxed);
        Self::new(index, held, holders, last_end)
    }
}

type Built = (Index, Free, Free, u32);

fn build(source: &impl Source) -> Result<Built, Full> {
    let mut result = Ok(());
    let mut note = |made: Result<(), Full>| {
        if made.is_err() {
            result = made;
        }
    };
    let rooms = source.rooms();
    if rooms.iter().any(|room| room.end > room.end_max()) {
        return Err(Full);
    }
    let is_large = rooms.iter().map(|room| room.count).sum::<usize>() >= LARGE;
    let ends = rooms.map(|room| room.end);
    let mut index = Index::new(ends, Pool::new(0), Pool::new(0));
    let mut last_end = 0;
    let mut admins = Vec::new();
    source.principals(&mut |user, principal| {
        note(put_principal(&index, user, &principal, &mut last_end));
        if principal.account_role == 0 {
            admins.push((user, 1));
        }
    });
    source.organizations(&mut |number| {
        note(put_place(
            &index.organizations,
            number,
            Place::new(0, false),
        ));
    });
    source.spaces(&mut |number, space| {
        let place = Place::new(space.organization, space.is_public);
        note(put_place(&index.spaces, number, place));
    });
    source.projects(&mut |number, project| {
        let place = Place::new(project.space, project.is_restricted);
        note(put_place(&index.projects, number, place));
    });
    source.codes(&mut |code, permissions, name| {
        note(put_code(&index, code, permissions, name));
    });
    result?;
    let (users, places) = beside(
        is_large,
        || count_by_user(source, rooms),
        || count_by_place(source, rooms),
    );
    let (users, places) = (users?, places?);
    let (held, holders) = beside(
        is_large,
        || build_held(source, &index, users),
        || build_holders(source, &index, (rooms, places), &mut admins),
    );
    let (pool, free_held) = held?;
    index.held = pool;
    let (pool, free_holders) = holders?;
    index.holders = pool;
    index.is_large = index.bytes().checks > LARGE_BYTES;
    Ok((index, free_held, free_holders, last_end))
}

/// There are that many things, or more, where another thread is worth its while.
const LARGE: usize = 4096;

/// Both, the first on a thread of its own if there is much to do.
fn beside<A: Send, B>(
    is_large: bool,
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B,
) -> (A, B) {
    if !is_large {
        return (one(), other());
    }
    let waiting = Mutex::new(Some(one));
    let run = || {
        let one = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        one.map(|one| one())
    };
    thread::scope(|scope| {
        // The system may give no thread: then it takes twice as long.
        let spawned = Builder::new().spawn_scoped(scope, run);
        let other = other();
        let one = match spawned {
            Ok(one) => one.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => run(),
        };
        (one.expect("nobody else has run it"), other)
    })
}

/// How many (key, value) pairs each owner has, for [`Sorted`].
struct Counts {
    by_owner: Vec<usize>,
    owners_max: usize,
}

impl Counts {
    fn of(room: Room) -> Self {
        Self {
            by_owner: vec![0; room.end],
            owners_max: room.end_max(),
        }
    }

    #[inline]
    fn count(&mut self, owner: u32) -> Result<(), Full> {
        let owner = owner as usize;
        if owner >= self.by_owner.len() {
            if owner >= self.owners_max {
                return Err(Full);
            }
            self.by_owner.resize(owner + 1, 0);
        }
        self.by_owner[owner] += 1;
        Ok(())
    }
}

/// What each user holds.
fn count_by_user(source: &impl Source, [users, ..]: [Room; 4]) -> Result<Counts, Full> {
    let (mut counts, mut result) = (Counts::of(users), Ok(()));
    source.holdings(&mut |held| {
        let counted = checked(held.user).and_then(|user| counts.count(user));
        result = result.and(counted);
    });
    result.map(|()| counts)
}

/// What is held on each organization, space and project.
fn count_by_place(source: &impl Source, [_, levels @ ..]: [Room; 4]) -> Result<[Counts; 3], Full> {
    let (mut counts, mut result) = (levels.map(Counts::of), Ok(()));
    source.holdings(&mut |held| {
        let of_level = &mut counts[level(held.kind)];
        let counted = checked(held.resource).and_then(|on| of_level.count(on));
        result = result.and(counted);
    });
    result.map(|()| counts)
}

/// Which of organizations, spaces and projects something is held on.
const fn level(kind: Kind) -> usize {
    match kind {
        Kind::Organization => 0,
        Kind::Membership | Kind::Binding => 1,
        Kind::OnProject => 2,
    }
}

fn put_principal(
    index: &Index,
    user: u32,
    principal: &Principal,
    last_end: &mut u32,
) -> Result<(), Full> {
    let cell = index.users.make(checked(user)? as usize).ok_or(Full)?;
    let mut word = UserWord::default().with_principal(principal);
    if let Some(until) = principal.until {
        *last_end += 1;
        let end = index.ends.make(*last_end as usize).ok_or(Full)?;
        end.store(until.cast_unsigned(), Relaxed);
        word = word.with_end(*last_end)?;
    }
    cell.store(word.0, Relaxed);
    put_brief(index, user, principal)
}

fn put_place<const N: usize>(
    places: &Slab<Cells<N>>,
    number: u32,
    place: Place,
) -> Result<(), Full> {
    cells(places, number)?[PLACE].store(place.0, Relaxed);
    Ok(())
}

/// A table for every user, with their words; the pool is made when it is known what it must hold.
fn build_held(source: &impl Source, index: &Index, counts: Counts) -> Result<(Pool, Free), Full> {
    let users = counts.by_owner.len();
    let by_user = Sorted::of(counts.by_owner, |each| {
        source.holdings(&mut |held| {
            let value = held.kind.with_code(0, held.code);
            each(held.user as usize, held.kind.key(held.resource), value);
        });
    })?;
    let (mut free, mut fill, mut slots) = (Free::new(), Vec::new(), Vec::new());
    for user in 0..users {
        let held = by_user.owned_by(user);
        if held.is_empty() {
            continue;
        }
        let cell = index.users.make(user).ok_or(Full)?;
        let mut word = UserWord(cell.load(Relaxed)).with_first_home(held);
        slots_in(word, held, &mut slots);
        let (class, is_spread) = choose_held(&index.projects, &mut slots, &mut fill)?;
        word = word.with_table(free.take(class)?).with_spread(is_spread);
        let is_more = |slot: &Slot| is_organization(slot.key);
        word = word.with_more(slots.iter().any(is_more));
        cell.store(word.0, Relaxed);
    }
    let pool = Pool::new(free.lines() + free.lines() / SLACK);
    for user in 0..users {
        let held = by_user.owned_by(user);
        if held.is_empty() {
            continue;
        }
        let word = UserWord(index.users.make(user).ok_or(Full)?.load(Relaxed));
        slots_in(word, held, &mut slots);
        for slot in &mut slots {
            slot.hash = hash_held(&index.projects, word.is_spread(), slot.key);
        }
        pool.fill(word.table(), &slots)?;
    }
    Ok((pool, free))
}

/// What of this stands in the user's table, and not in their word.
fn slots_in(word: UserWord, held: &[(u32, u32)], slots: &mut Vec<Slot>) {
    let in_table = held
        .iter()
        .filter(|(key, _)| !is_organization(*key) || word.role_at_home(number_of(*key)) == 0);
    slots.clear();
    slots.extend(in_table.map(|(key, value)| Slot {
        hash: 0,
        key: *key,
        value: *value,
    }));
}

/// The tables of all places: who holds something there, and what lies below.
fn build_holders(
    source: &impl Source,
    index: &Index,
    (rooms, counts): ([Room; 4], [Counts; 3]),
    admins: &mut [(u32, u32)],
) -> Result<(Pool, Free), Full> {
    let owners = counts.each_ref().map(|counts| counts.by_owner.len());
    let [organizations, spaces, projects] = owners;
    let firsts = [0, organizations, organizations + spaces];
    let counts = counts.into_iter().flat_map(|counts| counts.by_owner);
    let holders = Sorted::of(counts.collect(), |each| {
        source.holdings(&mut |held| {
            let owner = firsts[level(held.kind)] + held.resource as usize;
            let value = held.kind.with_code(0, held.code);
            each(owner, held.kind.key(held.user), value);
        });
    })?;
    let [spaces_of, projects_of] = count_below(source, rooms)?;
    let spaces_below = Sorted::of(spaces_of.by_owner, |each| {
        source.spaces(&mut |number, space| each(space.organization as usize, number, 1));
    })?;
    let projects_below = Sorted::of(projects_of.by_owner, |each| {
        source.projects(&mut |number, project| each(project.space as usize, number, 1));
    })?;
    let held_on = |level: usize, number: usize| {
        if number < owners[level] {
            holders.owned_by(firsts[level] + number)
        } else {
            &[]
        }
    };
    let there = joined(admins)?;
    let admins = &admins[..there];
    let mut free = Free::new();
    let mut plan = Plan::default();
    plan.add(&mut free, admins, || Ok(&index.admins))?;
    for number in 0..organizations.max(spaces_below.owners()) {
        plan.add(&mut free, held_on(0, number), || {
            cell(&index.organizations, number, HOLDERS)
        })?;
        plan.add(&mut free, spaces_below.owned_by(number), || {
            cell(&index.organizations, number, BELOW)
        })?;
    }
    for number in 0..spaces.max(projects_below.owners()) {
        plan.add(&mut free, held_on(1, number), || {
            cell(&index.spaces, number, HOLDERS)
        })?;
        plan.add(&mut free, projects_below.owned_by(number), || {
            cell(&index.spaces, number, BELOW)
        })?;
    }
    for number in 0..projects {
        plan.add(&mut free, held_on(2, number), || {
            cell(&index.projects, number, HOLDERS)
        })?;
    }
    let pool = Pool::new(free.lines() + free.lines() / SLACK);
    for (table, slots) in plan.tables {
        hash_all(slots, &mut plan.slots);
        pool.fill(table, &plan.slots)?;
    }
    Ok((pool, free))
}

/// How many spaces each organization has, and how many projects each space.
fn count_below(
    source: &impl Source,
    [_, organizations, spaces, _]: [Room; 4],
) -> Result<[Counts; 2], Full> {
    let (mut spaces_of, mut projects_of) = (Counts::of(organizations), Counts::of(spaces));
    let mut result = Ok(());
    source.spaces(&mut |_, space| result = result.and(spaces_of.count(space.organization)));
    source.projects(&mut |_, project| result = result.and(projects_of.count(project.space)));
    result.map(|()| [spaces_of, projects_of])
}

/// Tables to be filled, and what with.
#[derive(Default)]
struct Plan<'a> {
    tables: Vec<(Table, &'a [(u32, u32)])>,
    slots: Vec<Slot>,
    fill: Vec<u8>,
}

impl<'a> Plan<'a> {
    fn add<'c>(
        &mut self,
        free: &mut Free,
        held: &'a [(u32, u32)],
        cell: impl FnOnce() -> Result<&'c AtomicU64, Full>,
    ) -> Result<(), Full> {
        if held.is_empty() {
            return Ok(());
        }
        hash_all(held, &mut self.slots);
        let class = class_for(&self.slots, SPARE_MAX, &mut self.fill).ok_or(Full)?;
        let table = free.take(class)?;
        cell()?.store(table.to_bits(), Relaxed);
        self.tables.push((table, held));
        Ok(())
    }
}

fn hash_all(held: &[(u32, u32)], slots: &mut Vec<Slot>) {
    slots.clear();
    slots.extend(held.iter().map(|(key, value)| Slot {
        hash: hash_below(*key),
        key: *key,
        value: *value,
    }));
}

fn cell<const N: usize>(
    of: &Slab<Cells<N>>,
    number: usize,
    which: usize,
) -> Result<&AtomicU64, Full> {
    of.make(number)
        .and_then(|cells| cells.get(which))
        .ok_or(Full)
}

/// (key, value) pairs by their owner.
struct Sorted {
    /// Where each owner's are.
    ranges: Vec<Range<usize>>,
    slots: Vec<(u32, u32)>,
}

impl Sorted {
    /// `each` yields owner, key and value of what was counted. Values of one key become one.
    fn of(
        mut begins: Vec<usize>,
        each: impl Fn(&mut dyn FnMut(usize, u32, u32)),
    ) -> Result<Self, Full> {
        let mut end = 0;
        for count in &mut begins {
            let begin = end;
            end += *count;
            *count = begin;
        }
        let mut slots = vec![(0, 0); end];
        // Where the owner's next one goes, and then where they end.
        let mut ends = begins;
        each(&mut |owner, key, value| {
            let next = &mut ends[owner];
            slots[*next] = (key, value);
            *next += 1;
        });
        debug_assert!(
            ends.last().is_none_or(|last| *last == slots.len()) && ends.is_sorted(),
            "as many were told as were counted"
        );
        let mut begin = 0;
        let ranges = ends.iter().map(|end| {
            let start = replace(&mut begin, *end);
            Ok(start..start + joined(&mut slots[start..*end])?)
        });
        Ok(Self {
            ranges: ranges.collect::<Result<_, _>>()?,
            slots,
        })
    }

    fn owners(&self) -> usize {
        self.ranges.len()
    }

    fn owned_by(&self, owner: usize) -> &[(u32, u32)] {
        let range = self.ranges.get(owner).cloned();
        &self.slots[range.unwrap_or_default()]
    }
}

/// Sorts them by key and joins the values of each; how many that makes. `Full` if the same is held twice: two codes would become
/// a third.
fn joined(slots: &mut [(u32, u32)]) -> Result<usize, Full> {
    slots.sort_unstable();
    let mut count = 0;
    for at in 0..slots.len() {
        let (key, value) = slots[at];
        match slots[..count].last_mut() {
            Some((last, joined)) if *last == key => {
                if Kind::overlap(*joined, value) {
                    return Err(Full);
                }
                *joined |= value;
            }
            _ => {
                slots[count] = (key, value);
                count += 1;
            }
        }
    }
    Ok(count)
}

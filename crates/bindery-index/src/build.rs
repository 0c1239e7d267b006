//! Building an index of everything at once: counted, sorted by owner, and each table made in the size it needs.

use std::collections::BTreeMap;
use std::mem::replace;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder};

use crate::atomic::AtomicU64;
use crate::codes::Codes;
use crate::index::{BELOW, HOLDERS, Index, LARGE_BYTES, PLACE};
use crate::pool::{Free, Full, Pool, Slot, Table, class_for};
use crate::record::{
    Holding, Kind, NUMBERS, Place, Principal, Project, Space, UserWord, is_organization, number_of,
};
use crate::slab::{Cells, Slab};
use crate::writer::{
    SPARE_MAX, Writer, cells, checked, choose_held, hash_below, hash_held, put_brief,
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
    /// Every role with its permissions.
    fn roles(&self, with: &mut dyn FnMut(u32, [u64; 3]));
    /// Everything that is held, once each.
    fn holdings(&self, with: &mut dyn FnMut(Holding));
}

impl Writer {
    /// An index of these facts, as of `revision`.
    pub fn build(source: &impl Source, revision: u64) -> Self {
        let (index, held, holders, codes, last_end) = build(source).unwrap_or_else(|Full| {
            let index = Index::new([0; 4], Pool::new(0), Pool::new(0));
            index.closed.store(1, Relaxed);
            index.sequence.begin_write();
            (index, Free::new(), Free::new(), Codes::default(), 0)
        });
        index.revision.store(revision, Relaxed);
        Self::new(index, held, holders, codes, last_end)
    }
}

type Built = (Index, Free, Free, Codes, u32);

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
    let mut codes = Codes::default();
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
    source.roles(&mut |role, permissions| {
        note(codes.define(&index, role, Some(permissions)));
    });
    result?;
    let (users, places) = beside(
        is_large,
        || count_by_user(source, rooms),
        || count_by_place(source, rooms),
    );
    let (users, (places, roles)) = (users?, places?);
    for (role, count) in roles.all() {
        codes.take_all(&index, role, count)?;
    }
    let codes_of = CodesOf::new(&codes);
    let (held, holders) = beside(
        is_large,
        || build_held(source, &index, &codes_of, users),
        || build_holders(source, &index, &codes_of, (rooms, places), &mut admins),
    );
    let (pool, free_held) = held?;
    index.held = pool;
    let (pool, free_holders) = holders?;
    index.holders = pool;
    index.is_large = index.bytes().checks > LARGE_BYTES;
    Ok((index, free_held, free_holders, codes, last_end))
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

/// How many hold each role.
#[derive(Default)]
struct Uses {
    /// By the number of the role.
    counted: Vec<u64>,
    others: BTreeMap<u32, u64>,
}

impl Uses {
    /// Roles below this are counted in places of their own.
    const COUNTED_MAX: usize = 1 << 16;

    #[inline]
    fn count(&mut self, role: u32) {
        let place = role as usize;
        if place >= self.counted.len() && place < Self::COUNTED_MAX {
            self.counted.resize(place + 1, 0);
        }
        match self.counted.get_mut(place) {
            Some(count) => *count += 1,
            None => *self.others.entry(role).or_default() += 1,
        }
    }

    fn all(self) -> impl Iterator<Item = (u32, u64)> {
        let counted = (0..).zip(self.counted).filter(|(_, uses)| *uses > 0);
        counted.chain(self.others)
    }
}

/// The codes of roles once all of them are known, most of them found without a search.
struct CodesOf<'a> {
    /// By the number of the role; 0 for those that have none.
    found: Vec<u32>,
    codes: &'a Codes,
}

impl<'a> CodesOf<'a> {
    fn new(codes: &'a Codes) -> Self {
        let found = (0..=codes.last()).map(|role| codes.of(role).unwrap_or(0));
        Self {
            found: found.take(Uses::COUNTED_MAX).collect(),
            codes,
        }
    }

    #[inline]
    fn of(&self, role: u32) -> u32 {
        match self.found.get(role as usize) {
            Some(code) => *code,
            None => self.codes.of(role).unwrap_or(0),
        }
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

/// What is held on each organization, space and project, and of each role.
fn count_by_place(
    source: &impl Source,
    [_, levels @ ..]: [Room; 4],
) -> Result<([Counts; 3], Uses), Full> {
    let (mut counts, mut uses, mut result) = (levels.map(Counts::of), Uses::default(), Ok(()));
    source.holdings(&mut |held| {
        let of_level = &mut counts[level(held.kind)];
        let counted = checked(held.resource).and_then(|on| of_level.count(on));
        result = result.and(counted);
        uses.count(held.role);
    });
    result.map(|()| (counts, uses))
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
fn build_held(
    source: &impl Source,
    index: &Index,
    codes: &CodesOf<'_>,
    counts: Counts,
) -> Result<(Pool, Free), Full> {
    let users = counts.by_owner.len();
    let by_user = Sorted::of(counts.by_owner, |each| {
        source.holdings(&mut |held| {
            let value = held.kind.with_code(0, codes.of(held.role));
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
    codes: &CodesOf<'_>,
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
            let value = held.kind.with_code(0, codes.of(held.role));
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

/// Sorts them by key and joins the values of each; how many that makes. `Full` if the same is held twice: codes of two roles would become
/// that of a third.
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

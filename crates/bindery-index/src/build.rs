//! Building an index of everything at once: counted, sorted by owner, and each table made in the size it needs.

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use crate::atomic::AtomicU64;
use crate::codes::Codes;
use crate::index::{BELOW, HOLDERS, Index, LARGE_BYTES, PLACE};
use crate::pool::{Free, Full, Pool, Slot, Table, class_for};
use crate::record::{
    Holding, Kind, Place, Principal, Project, Space, UserWord, is_organization, number_of,
};
use crate::slab::{Cells, Slab};
use crate::writer::{
    SPARE_MAX, Writer, cells, checked, choose_held, hash_below, hash_held, put_brief,
};

/// Room for what comes later, as a part of what is there.
const SLACK: usize = 64;

/// Where the facts come from. Each part may be asked for more than once, and is the same each time.
pub trait Source: Sync {
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
    let mut index = Index::new(numbers(source), Pool::new(0), Pool::new(0));
    let mut codes = Codes::default();
    let mut last_end = 0;
    source.principals(&mut |user, principal| {
        note(put_principal(&index, user, &principal, &mut last_end));
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
    source.holdings(&mut |held| {
        let is_good = checked(held.user).is_ok() && checked(held.resource).is_ok();
        note(is_good.then_some(()).ok_or(Full));
        note(codes.take(&index, held.role).map(|_| ()));
    });
    result?;
    let (held, holders) = std::thread::scope(|scope| {
        let held = scope.spawn(|| build_held(source, &index, &codes));
        let holders = build_holders(source, &index, &codes);
        (held.join(), holders)
    });
    let (pool, free_held) = held.map_err(|_| Full)??;
    index.held = pool;
    let (pool, free_holders) = holders?;
    index.holders = pool;
    index.is_large = index.bytes().checks > LARGE_BYTES;
    Ok((index, free_held, free_holders, codes, last_end))
}

/// One more than the highest number of users, organizations, spaces and projects.
fn numbers(source: &impl Source) -> [usize; 4] {
    let mut numbers = [0; 4];
    let [users, organizations, spaces, projects] = &mut numbers;
    let up_to = |highest: &mut usize, number: u32| *highest = (*highest).max(number as usize + 1);
    source.principals(&mut |user, _| up_to(users, user));
    source.organizations(&mut |number| up_to(organizations, number));
    source.spaces(&mut |number, _| up_to(spaces, number));
    source.projects(&mut |number, _| up_to(projects, number));
    numbers
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
fn build_held(source: &impl Source, index: &Index, codes: &Codes) -> Result<(Pool, Free), Full> {
    let mut users = index.users.room();
    source.holdings(&mut |held| users = users.max(held.user as usize + 1));
    let by_user = Sorted::new(users, |each| {
        source.holdings(&mut |held| {
            let code = codes.of(held.role).unwrap_or(0);
            let value = held.kind.with_code(0, code);
            each(held.user as usize, held.kind.key(held.resource), value);
        });
    });
    let (mut free, mut fill, mut slots) = (Free::new(), Vec::new(), Vec::new());
    for user in 0..users {
        let held = by_user.of(user);
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
        let held = by_user.of(user);
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
fn build_holders(source: &impl Source, index: &Index, codes: &Codes) -> Result<(Pool, Free), Full> {
    let rooms = [
        index.organizations.room(),
        index.spaces.room(),
        index.projects.room(),
    ];
    let mut ends = rooms;
    source.holdings(&mut |held| {
        let (end, number) = match held.kind {
            Kind::Organization => (&mut ends[0], held.resource),
            Kind::Membership | Kind::Binding => (&mut ends[1], held.resource),
            Kind::OnProject => (&mut ends[2], held.resource),
        };
        *end = (*end).max(number as usize + 1);
    });
    source.spaces(&mut |_, space| ends[0] = ends[0].max(space.organization as usize + 1));
    source.projects(&mut |_, project| ends[1] = ends[1].max(project.space as usize + 1));
    let [organizations, spaces, projects] = ends;
    let holders = Sorted::new(organizations + spaces + projects, |each| {
        source.holdings(&mut |held| {
            let first = match held.kind {
                Kind::Organization => 0,
                Kind::Membership | Kind::Binding => organizations,
                Kind::OnProject => organizations + spaces,
            };
            let owner = first + held.resource as usize;
            let code = codes.of(held.role).unwrap_or(0);
            each(
                owner,
                held.kind.key(held.user),
                held.kind.with_code(0, code),
            );
        });
    });
    let below = Sorted::new(organizations + spaces, |each| {
        source.spaces(&mut |number, space| each(space.organization as usize, number, 1));
        source.projects(&mut |number, project| {
            each(organizations + project.space as usize, number, 1);
        });
    });
    let admins = Sorted::new(1, |each| {
        source.principals(&mut |user, principal| {
            if principal.account_role == 0 {
                each(0, user, 1);
            }
        });
    });
    let mut free = Free::new();
    let mut plan = Plan::default();
    plan.add(&mut free, admins.of(0), || Ok(&index.admins))?;
    for number in 0..organizations {
        let (there, under) = (holders.of(number), below.of(number));
        plan.add(&mut free, there, || {
            cell(&index.organizations, number, HOLDERS)
        })?;
        plan.add(&mut free, under, || {
            cell(&index.organizations, number, BELOW)
        })?;
    }
    for number in 0..spaces {
        let (there, under) = (
            holders.of(organizations + number),
            below.of(organizations + number),
        );
        plan.add(&mut free, there, || cell(&index.spaces, number, HOLDERS))?;
        plan.add(&mut free, under, || cell(&index.spaces, number, BELOW))?;
    }
    for number in 0..projects {
        let there = holders.of(organizations + spaces + number);
        plan.add(&mut free, there, || cell(&index.projects, number, HOLDERS))?;
    }
    let pool = Pool::new(free.lines() + free.lines() / SLACK);
    for (table, slots) in plan.tables {
        hash_all(slots, &mut plan.slots);
        pool.fill(table, &plan.slots)?;
    }
    Ok((pool, free))
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
    /// `each` yields owner, key and value; the same each time. Values of one key become one.
    fn new(owners: usize, each: impl Fn(&mut dyn FnMut(usize, u32, u32))) -> Self {
        let mut begins = vec![0_usize; owners + 3];
        each(&mut |owner, _, _| begins[owner + 2] += 1);
        for owner in 2..begins.len() {
            begins[owner] += begins[owner - 1];
        }
        let mut slots = vec![(0, 0); begins[owners + 1]];
        // While they are filed, `begins[owner + 1]` is where the owner's next one goes; then it is where they end.
        each(&mut |owner, key, value| {
            let next = &mut begins[owner + 1];
            slots[*next] = (key, value);
            *next += 1;
        });
        let range = |owner: usize| begins[owner]..begins[owner + 1];
        let ranges = (0..=owners).map(|owner| {
            let Range { start, end } = range(owner);
            start..start + joined(&mut slots[start..end])
        });
        Self {
            ranges: ranges.collect(),
            slots,
        }
    }

    fn of(&self, owner: usize) -> &[(u32, u32)] {
        &self.slots[self.ranges[owner].clone()]
    }
}

/// Sorts them by key and joins the values of each; how many that makes.
fn joined(slots: &mut [(u32, u32)]) -> usize {
    slots.sort_unstable();
    let mut count = 0;
    for at in 0..slots.len() {
        let (key, value) = slots[at];
        match slots[..count].last_mut() {
            Some((last, joined)) if *last == key => *joined |= value,
            _ => {
                slots[count] = (key, value);
                count += 1;
            }
        }
    }
    count
}

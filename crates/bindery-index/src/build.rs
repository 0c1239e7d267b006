//! Building an index of everything at once: counted, sorted by owner, and each table made in the size it needs.

use std::collections::BTreeMap;
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
    /// One more than the highest numbers of users, organizations, spaces and projects.
    fn room(&self) -> [usize; 4];
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
    let mut index = Index::new(source.room(), Pool::new(0), Pool::new(0));
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
    let (users, places) = std::thread::scope(|scope| {
        let users = scope.spawn(|| count_by_user(source, &index));
        let places = count_by_place(source, &index);
        (users.join(), places)
    });
    let (users, (places, roles)) = (users.map_err(|_| Full)??, places?);
    for (role, count) in roles.all() {
        codes.take_all(&index, role, count)?;
    }
    let codes_of = CodesOf::new(&codes);
    let (held, holders) = std::thread::scope(|scope| {
        let held = scope.spawn(|| build_held(source, &index, &codes_of, users));
        let holders = build_holders(source, &index, &codes_of, places, &mut admins);
        (held.join(), holders)
    });
    let (pool, free_held) = held.map_err(|_| Full)??;
    index.held = pool;
    let (pool, free_holders) = holders?;
    index.holders = pool;
    index.is_large = index.bytes().checks > LARGE_BYTES;
    Ok((index, free_held, free_holders, codes, last_end))
}

/// How many (key, value) pairs each owner has, for [`Sorted`].
#[derive(Default)]
struct Counts(Vec<usize>);

impl Counts {
    fn of(owners: usize) -> Self {
        Self(vec![0; owners])
    }

    #[inline]
    fn count(&mut self, owner: usize) {
        self.reach(owner);
        self.0[owner] += 1;
    }

    /// There is an owner with this number.
    fn reach(&mut self, owner: usize) {
        if owner >= self.0.len() {
            self.0.resize(owner + 1, 0);
        }
    }

    fn owners(&self) -> usize {
        self.0.len()
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
fn count_by_user(source: &impl Source, index: &Index) -> Result<Counts, Full> {
    let (mut counts, mut result) = (Counts::of(index.users.room()), Ok(()));
    source.holdings(&mut |held| match checked(held.user) {
        Ok(user) => counts.count(user as usize),
        Err(full) => result = Err(full),
    });
    result.map(|()| counts)
}

/// What is held on each organization, space and project, and of each role.
fn count_by_place(source: &impl Source, index: &Index) -> Result<([Counts; 3], Uses), Full> {
    let rooms = [
        index.organizations.room(),
        index.spaces.room(),
        index.projects.room(),
    ];
    let (mut counts, mut uses, mut result) = (rooms.map(Counts::of), Uses::default(), Ok(()));
    source.holdings(&mut |held| match checked(held.resource) {
        Ok(resource) => {
            counts[family(held.kind)].count(resource as usize);
            uses.count(held.role);
        }
        Err(full) => result = Err(full),
    });
    result.map(|()| (counts, uses))
}

/// Which of organizations, spaces and projects something is held on.
const fn family(kind: Kind) -> usize {
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
    let users = counts.owners();
    let by_user = Sorted::counted(counts, |each| {
        source.holdings(&mut |held| {
            let value = held.kind.with_code(0, codes.of(held.role));
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
fn build_holders(
    source: &impl Source,
    index: &Index,
    codes: &CodesOf<'_>,
    mut counts: [Counts; 3],
    admins: &mut [(u32, u32)],
) -> Result<(Pool, Free), Full> {
    let [organizations, spaces, projects] = &mut counts;
    source.spaces(&mut |_, space| organizations.reach(space.organization as usize));
    source.projects(&mut |_, project| spaces.reach(project.space as usize));
    let firsts = [
        0,
        organizations.owners(),
        organizations.owners() + spaces.owners(),
    ];
    let [organizations, spaces, projects] =
        [organizations.owners(), spaces.owners(), projects.owners()];
    let holders = Sorted::counted(Counts(counts.map(|counts| counts.0).concat()), |each| {
        source.holdings(&mut |held| {
            let owner = firsts[family(held.kind)] + held.resource as usize;
            let value = held.kind.with_code(0, codes.of(held.role));
            each(owner, held.kind.key(held.user), value);
        });
    });
    let below = Sorted::new(organizations + spaces, |each| {
        source.spaces(&mut |number, space| each(space.organization as usize, number, 1));
        source.projects(&mut |number, project| {
            each(organizations + project.space as usize, number, 1);
        });
    });
    let there = joined(admins);
    let admins = &admins[..there];
    let mut free = Free::new();
    let mut plan = Plan::default();
    plan.add(&mut free, admins, || Ok(&index.admins))?;
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
        let mut counts = Counts::of(owners);
        each(&mut |owner, _, _| counts.count(owner));
        Self::counted(counts, each)
    }

    /// The same of what was counted before.
    fn counted(Counts(mut begins): Counts, each: impl Fn(&mut dyn FnMut(usize, u32, u32))) -> Self {
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
            let start = std::mem::replace(&mut begin, *end);
            start..start + joined(&mut slots[start..*end])
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

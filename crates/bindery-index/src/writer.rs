//! The writer's side: one fact at a time, each set or cleared, in a section that readers notice.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::atomic::AtomicU64;
use crate::index::{BELOW, HOLDERS, Index, PLACE, place};
use crate::pool::{Free, Full, LINE, Pool, Slot, Table, class_for, hash};
use crate::record::{
    ASK, Brief, CODE_MAX, Kind, NUMBERS, Place, Principal, Project, Space, UserWord,
    is_organization, is_project, number_of,
};
use crate::slab::{Cells, Slab};

/// How many classes larger than needed a table may become before project bindings are spread by project.
const SPARE: u8 = 4;
/// How many classes larger than needed a table may become at all: beyond, somebody has chosen keys that collide.
pub(crate) const SPARE_MAX: u8 = 24;

/// The one who changes an [`Index`].
#[derive(Debug)]
pub struct Writer {
    index: Arc<Index>,
    changes: Changes,
}

/// What a section of changes is made with; each call sets or clears one fact, whatever was there before.
#[derive(Debug)]
pub struct Changes {
    index: Arc<Index>,
    held: Free,
    holders: Free,
    free_ends: Vec<u32>,
    last_end: u32,
    /// Kept from one rebuilding to the next.
    fill: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(index: Index, held: Free, holders: Free, last_end: u32) -> Self {
        let index = Arc::new(index);
        Self {
            changes: Changes {
                index: Arc::clone(&index),
                held,
                holders,
                free_ends: Vec::new(),
                last_end,
                fill: Vec::new(),
            },
            index,
        }
    }

    /// What readers share.
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Makes a section of changes after which the facts are those of `revision`. A reader sees all of it or nothing.
    ///
    /// While it runs, and forever if it panics or something doesn't fit, reads are `None`.
    pub fn write<T>(&mut self, revision: u64, with: impl FnOnce(&mut Changes) -> T) -> T {
        self.index.sequence.begin_write();
        let made = with(&mut self.changes);
        self.index.revision.store(revision, Relaxed);
        if self.index.closed.load(Relaxed) == 0 {
            self.index.sequence.end_write();
        }
        made
    }
}

impl Changes {
    /// The user is this now; `None` where they are not there at all, which no change of an account brings about: only its log can
    /// lose the one that made them.
    pub fn set_principal(&mut self, user: u32, principal: Option<Principal>) {
        self.or_close(|changes| match principal {
            Some(principal) => changes.try_set_principal(user, principal),
            None => changes.try_forget_principal(user),
        });
    }

    /// When the last of the changes was.
    pub fn set_latest(&mut self, latest: i64) {
        self.index.latest.store(latest.cast_unsigned(), Relaxed);
    }

    /// The organization is there, or is gone.
    pub fn set_organization(&mut self, number: u32, is_there: bool) {
        self.or_close(|changes| {
            let cells = cells(&changes.index.organizations, number)?;
            let place = if is_there {
                Place::new(0, false)
            } else {
                Place::default()
            };
            cells[PLACE].store(place.0, Relaxed);
            Ok(())
        });
    }

    /// The space is this now, or is gone.
    pub fn set_space(&mut self, number: u32, space: Option<Space>) {
        self.or_close(|changes| {
            let cells = cells(&changes.index.spaces, number)?;
            let from = Place(cells[PLACE].load(Relaxed));
            let to = space.map_or(Place::default(), |space| {
                Place::new(space.organization, space.is_public)
            });
            cells[PLACE].store(to.0, Relaxed);
            if (from.exists(), from.above()) != (to.exists(), to.above()) {
                let index = Arc::clone(&changes.index);
                changes.file(&index.organizations, from, number, false)?;
                changes.file(&index.organizations, to, number, true)?;
            }
            Ok(())
        });
    }

    /// The project is this now, or is gone.
    pub fn set_project(&mut self, number: u32, project: Option<Project>) {
        self.or_close(|changes| changes.try_set_project(number, project));
    }

    /// The code has these permissions and this name now.
    pub fn set_code(&mut self, code: u32, permissions: [u64; 3], name: u32) {
        self.or_close(|changes| put_code(&changes.index, code, permissions, name));
    }

    /// The user holds this code there now, 0 for nothing. Returns the code that they held before.
    pub fn set_held(&mut self, user: u32, kind: Kind, resource: u32, code: u32) -> u32 {
        let mut old = 0;
        self.or_close(|changes| {
            old = changes.try_set_held(user, kind, resource, code)?;
            Ok(())
        });
        old
    }

    /// The index can't hold it: it is closed for good, and the caller's state answers.
    fn or_close(&mut self, with: impl FnOnce(&mut Self) -> Result<(), Full>) {
        if self.index.closed.load(Relaxed) == 0 && with(self).is_err() {
            self.index.closed.store(1, Relaxed);
        }
    }

    fn try_set_principal(&mut self, user: u32, principal: Principal) -> Result<(), Full> {
        let index = Arc::clone(&self.index);
        let cell = index.users.make(checked(user)? as usize).ok_or(Full)?;
        let mut word = UserWord(cell.load(Relaxed));
        match (word.ends(), principal.until) {
            (false, Some(_)) => {
                // The end takes the place of the first organization, which goes where the others are.
                let (home, code) = (word.home(), word.home_role());
                word = word.with_home(0, 0);
                if home != 0 {
                    word = self.put_held(word, Kind::Organization.key(home), code)?;
                    word = word.with_more(true);
                }
                let end = self.free_ends.pop().unwrap_or_else(|| {
                    self.last_end += 1;
                    self.last_end
                });
                word = word.with_end(end)?;
            }
            (true, None) => {
                self.free_ends.push(word.home());
                word = word.with_home(0, 0);
            }
            (true, Some(_)) | (false, None) => {}
        }
        if let Some(until) = principal.until {
            let end = index.ends.make(word.home() as usize).ok_or(Full)?;
            end.store(until.cast_unsigned(), Relaxed);
        }
        cell.store(word.with_principal(&principal).0, Relaxed);
        put_brief(&index, user, &principal)?;
        let is_admin = u32::from(principal.account_role == 0);
        self.set_in(&index.admins, user, hash(user), is_admin)
    }

    fn try_forget_principal(&mut self, user: u32) -> Result<(), Full> {
        self.try_set_principal(user, NOBODY)?;
        let cell = self.index.users.make(checked(user)? as usize).ok_or(Full)?;
        let word = UserWord(cell.load(Relaxed));
        cell.store(word.without_principal().0, Relaxed);
        Ok(())
    }

    fn try_set_project(&mut self, number: u32, project: Option<Project>) -> Result<(), Full> {
        let index = Arc::clone(&self.index);
        let cells = cells(&index.projects, number)?;
        let from = Place(cells[PLACE].load(Relaxed));
        let to = project.map_or(Place::default(), |project| {
            Place::new(project.space, project.is_restricted)
        });
        if (from.exists(), from.above()) == (to.exists(), to.above()) {
            cells[PLACE].store(to.0, Relaxed);
            return Ok(());
        }
        // Bindings stand in the line of their project's space: they move with it. As a rule there are none yet, or no more.
        let mut bound = Vec::new();
        let on_it = Table::from_bits(cells[HOLDERS].load(Relaxed));
        index
            .holders
            .each(on_it, |key, value| bound.push((number_of(key), value)));
        let key = Kind::OnProject.key(number);
        for (user, _) in &bound {
            self.change_head(*user, |changes, word| changes.take_held(word, key))?;
        }
        cells[PLACE].store(to.0, Relaxed);
        for (user, value) in bound {
            self.change_head(user, |changes, word| changes.put_held(word, key, value))?;
        }
        self.file(&index.spaces, from, number, false)?;
        self.file(&index.spaces, to, number, true)
    }

    fn try_set_held(
        &mut self,
        user: u32,
        kind: Kind,
        resource: u32,
        code: u32,
    ) -> Result<u32, Full> {
        let index = Arc::clone(&self.index);
        checked(user)?;
        let resource = checked(resource)?;
        debug_assert!(
            code == ASK || index.codes.get(code as usize).is_some(),
            "a code has a table before it is held: {code}"
        );
        let mut old = 0;
        self.change_head(user, |changes, word| {
            old = changes.code_held(word, kind, resource);
            changes.set_code_held(word, kind, resource, code)
        })?;
        let holders = match kind {
            Kind::Organization => &cells(&index.organizations, resource)?[HOLDERS],
            Kind::Membership | Kind::Binding => &cells(&index.spaces, resource)?[HOLDERS],
            Kind::OnProject => &cells(&index.projects, resource)?[HOLDERS],
        };
        let (key, pool) = (kind.key(user), &index.holders);
        let before = pool.value(Table::from_bits(holders.load(Relaxed)), hash(user), key);
        self.set_in(holders, key, hash(user), kind.with_code(before, code))?;
        debug_assert_eq!(
            self.code_of(user, kind, resource),
            code,
            "what was set is held"
        );
        Ok(old)
    }

    fn change_head(
        &mut self,
        user: u32,
        with: impl FnOnce(&mut Self, UserWord) -> Result<UserWord, Full>,
    ) -> Result<(), Full> {
        let index = Arc::clone(&self.index);
        let cell = index.users.make(user as usize).ok_or(Full)?;
        let word = with(self, UserWord(cell.load(Relaxed)))?;
        cell.store(word.0, Relaxed);
        Ok(())
    }

    fn code_of(&self, user: u32, kind: Kind, resource: u32) -> u32 {
        let cell = self.index.users.get(user as usize);
        let word = UserWord(cell.map_or(0, |cell| cell.load(Relaxed)));
        self.code_held(word, kind, resource)
    }

    fn code_held(&self, word: UserWord, kind: Kind, resource: u32) -> u32 {
        if kind == Kind::Organization && word.role_at_home(resource) != 0 {
            return word.role_at_home(resource);
        }
        kind.code_in(self.value_held(word, kind.key(resource)))
    }

    fn value_held(&self, word: UserWord, key: u32) -> u32 {
        let hash = hash_held(&self.index.projects, word.is_spread(), key);
        self.index.held.value(word.table(), hash, key)
    }

    fn set_code_held(
        &mut self,
        word: UserWord,
        kind: Kind,
        resource: u32,
        code: u32,
    ) -> Result<UserWord, Full> {
        let key = kind.key(resource);
        if kind != Kind::Organization {
            let value = kind.with_code(self.value_held(word, key), code);
            return if value == 0 {
                self.take_held(word, key)
            } else {
                self.put_held(word, key, value)
            };
        }
        if word.role_at_home(resource) != 0 {
            if UserWord::fits(resource, code) {
                return Ok(word.with_home(resource, code));
            }
            let word = word.with_home(0, 0);
            return if code == 0 {
                Ok(word)
            } else {
                Ok(self.put_held(word, key, code)?.with_more(true))
            };
        }
        if code == 0 {
            let word = self.take_held(word, key)?;
            let mut has_more = false;
            self.index.held.each(word.table(), |key, _| {
                has_more |= is_organization(key);
            });
            return Ok(word.with_more(has_more));
        }
        let is_elsewhere = word.has_more() && self.code_held(word, kind, resource) != 0;
        if word.home() == 0 && !is_elsewhere && UserWord::fits(resource, code) {
            return Ok(word.with_home(resource, code));
        }
        Ok(self.put_held(word, key, code)?.with_more(true))
    }

    /// Puts a slot into a user's table, which may move.
    fn put_held(&mut self, word: UserWord, key: u32, value: u32) -> Result<UserWord, Full> {
        let index = Arc::clone(&self.index);
        let slot = Slot {
            hash: hash_held(&index.projects, word.is_spread(), key),
            key,
            value,
        };
        let old = word.table();
        if old.class != 0 && index.held.put(old, slot)? {
            return Ok(word);
        }
        let mut slots = vec![slot];
        index.held.each(old, |key, value| {
            slots.push(Slot {
                hash: 0,
                key,
                value,
            });
        });
        let (class, is_spread) = choose_held(&index.projects, &mut slots, &mut self.fill)?;
        let table = self.held.take(class)?;
        index.held.fill(table, &slots)?;
        index.held.clear(old, &mut self.held)?;
        Ok(word.with_table(table).with_spread(is_spread))
    }

    /// Takes a slot out of a user's table, which is given back when it is empty.
    fn take_held(&mut self, word: UserWord, key: u32) -> Result<UserWord, Full> {
        let index = Arc::clone(&self.index);
        let hash = hash_held(&index.projects, word.is_spread(), key);
        let old = word.table();
        index.held.remove(old, hash, key)?;
        let Some(mut slots) = worth_shrinking(&index.held, old, hash) else {
            return Ok(word);
        };
        let (class, is_spread) = choose_held(&index.projects, &mut slots, &mut self.fill)?;
        let table = self.held.take(class)?;
        index.held.fill(table, &slots)?;
        index.held.clear(old, &mut self.held)?;
        Ok(word.with_table(table).with_spread(is_spread))
    }

    /// Sets or clears a slot in a table of the places.
    fn set_in(&mut self, cell: &AtomicU64, key: u32, hash: u32, value: u32) -> Result<(), Full> {
        let index = Arc::clone(&self.index);
        let pool = &index.holders;
        let old = Table::from_bits(cell.load(Relaxed));
        let slots = if value == 0 {
            pool.remove(old, hash, key)?;
            worth_shrinking(pool, old, hash)
        } else {
            let slot = Slot { hash, key, value };
            if old.class != 0 && pool.put(old, slot)? {
                return Ok(());
            }
            let mut slots = vec![slot];
            pool.each(old, |key, value| {
                slots.push(Slot {
                    hash: 0,
                    key,
                    value,
                });
            });
            Some(slots)
        };
        let Some(mut slots) = slots else {
            return Ok(());
        };
        for slot in &mut slots {
            slot.hash = hash_below(slot.key);
        }
        let class = class_for(&slots, SPARE_MAX, &mut self.fill).ok_or(Full)?;
        let table = self.holders.take(class)?;
        pool.fill(table, &slots)?;
        pool.clear(old, &mut self.holders)?;
        cell.store(table.to_bits(), Relaxed);
        Ok(())
    }

    /// Notes what lies below a place, or lies there no more.
    fn file<const N: usize>(
        &mut self,
        above: &Slab<Cells<N>>,
        place: Place,
        number: u32,
        is_there: bool,
    ) -> Result<(), Full> {
        if !place.exists() {
            return Ok(());
        }
        let cell = &cells(above, place.above())?[BELOW];
        self.set_in(cell, number, hash(number), u32::from(is_there))
    }
}

/// The slots of a table that a removal has left so empty that a smaller one is better.
fn worth_shrinking(pool: &Pool, table: Table, hash: u32) -> Option<Vec<Slot>> {
    // Counting takes longer than removing, so it is done only where the line has become empty.
    if table.class == 0 || !pool.is_empty_at(table, hash) {
        return None;
    }
    let mut slots = Vec::new();
    pool.each(table, |key, value| {
        slots.push(Slot {
            hash: 0,
            key,
            value,
        });
    });
    let is_small = slots.len() * 4 <= Pool::slots_of(table.class);
    (slots.is_empty() || is_small && Pool::slots_of(table.class) > LINE).then_some(slots)
}

/// The class of a user's table, and whether project bindings are spread in it; sets the hashes accordingly.
pub(crate) fn choose_held(
    projects: &Slab<Cells<2>>,
    slots: &mut [Slot],
    fill: &mut Vec<u8>,
) -> Result<(u8, bool), Full> {
    for (is_spread, spare) in [(false, SPARE), (true, SPARE_MAX)] {
        for slot in &mut *slots {
            slot.hash = hash_held(projects, is_spread, slot.key);
        }
        if let Some(class) = class_for(slots, spare, fill) {
            return Ok((class, is_spread));
        }
    }
    Err(Full)
}

/// Where in a user's table a key stands: project bindings in the line of their space, so that a check reads one line.
pub(crate) fn hash_held(projects: &Slab<Cells<2>>, is_spread: bool, key: u32) -> u32 {
    let number = number_of(key);
    if is_project(key) && !is_spread {
        return hash(place(projects, number).above());
    }
    hash(number)
}

/// Where in a place's table a key stands.
pub(crate) fn hash_below(key: u32) -> u32 {
    hash(number_of(key))
}

/// Whatever anybody would stand in a table for, they are not.
const NOBODY: Principal = Principal {
    account_role: 1,
    is_human: false,
    is_active: false,
    until: None,
};

pub(crate) fn put_code(
    index: &Index,
    code: u32,
    permissions: [u64; 3],
    name: u32,
) -> Result<(), Full> {
    if code == 0 || code > CODE_MAX {
        return Err(Full);
    }
    let table = index.codes.make(code as usize).ok_or(Full)?;
    for (cell, word) in table.iter().zip(permissions) {
        cell.store(word, Relaxed);
    }
    table[3].store(u64::from(name), Relaxed);
    Ok(())
}

pub(crate) fn put_brief(index: &Index, user: u32, principal: &Principal) -> Result<(), Full> {
    let (place, shift) = Brief::place(user);
    let cell = index.briefs.make(place).ok_or(Full)?;
    let others = cell.load(Relaxed) & !(Brief::MASK << shift);
    let Brief(brief) = Brief::of(principal);
    cell.store(others | u64::from(brief) << shift, Relaxed);
    Ok(())
}

pub(crate) fn checked(number: u32) -> Result<u32, Full> {
    (number != 0 && number < NUMBERS)
        .then_some(number)
        .ok_or(Full)
}

pub(crate) fn cells<const N: usize>(of: &Slab<Cells<N>>, number: u32) -> Result<&Cells<N>, Full> {
    of.make(checked(number)? as usize).ok_or(Full)
}

//! The readers' side.

use std::hint::spin_loop;
use std::sync::atomic::Ordering::Relaxed;

use crate::atomic::AtomicU64;
use crate::pool::{HALF, Pool, Table, hash, unpacked};
use crate::record::{
    Brief, Held, Kind, Place, Principal, Project, Space, User, UserWord, Where, number_of,
};
use crate::sequence::Sequence;
use crate::slab::{Cells, Slab};

/// How often a read begins anew before it is given up: a change takes a microsecond or so, a batch longer.
const TRIES: usize = 64;
/// How often a read that takes long is made before it is given up: among many changes there is no pause for it.
const LONG_READS: usize = 3;
/// How often it looks whether the change is made that it has to wait for: a millisecond or so, longer than all but large batches take.
const LONG_TRIES: usize = 1 << 16;
/// Caches hold about this much.
pub(crate) const LARGE_BYTES: usize = 4 << 20;

/// A word of the place, and its tables: who holds something on it, and what lies directly below.
pub(crate) const PLACE: usize = 0;
pub(crate) const HOLDERS: usize = 1;
pub(crate) const BELOW: usize = 2;

/// The facts of one account. Share it by `Arc`; only its [`Writer`](crate::Writer) changes it.
#[derive(Debug)]
pub struct Index {
    pub(crate) sequence: Sequence,
    pub(crate) revision: AtomicU64,
    /// Not 0 once something came that doesn't fit: every read is `None` then.
    pub(crate) closed: AtomicU64,
    pub(crate) latest: AtomicU64,
    pub(crate) is_large: bool,
    /// The table of those whose role in the account is 0.
    pub(crate) admins: AtomicU64,
    pub(crate) users: Slab<AtomicU64>,
    pub(crate) ends: Slab<AtomicU64>,
    /// What searches ask about users, sixteen in a word: a sixteenth of what their words take, and as much less to miss.
    pub(crate) briefs: Slab<AtomicU64>,
    pub(crate) organizations: Slab<Cells<4>>,
    pub(crate) spaces: Slab<Cells<4>>,
    // A project has nothing below: sixteen bytes.
    pub(crate) projects: Slab<Cells<2>>,
    /// By code: three words of permissions, and the code's name.
    pub(crate) codes: Slab<Cells<4>>,
    /// What each user holds.
    pub(crate) held: Pool,
    /// Who holds something on each place, and what lies below it.
    pub(crate) holders: Pool,
}

/// What the index takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes {
    /// What checks read: users, what they hold, places, roles.
    pub checks: usize,
    /// What only searches read: who holds something on a place, and what lies below it.
    pub searches: usize,
}

impl Index {
    /// Nothing yet, and room for this many users, organizations, spaces and projects.
    pub(crate) fn new(
        [users, organizations, spaces, projects]: [usize; 4],
        held: Pool,
        holders: Pool,
    ) -> Self {
        let more = |length: usize| length + length / 64;
        Self {
            sequence: Sequence::new(),
            revision: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            latest: AtomicU64::new(0),
            is_large: false,
            admins: AtomicU64::new(0),
            users: Slab::new(more(users)),
            ends: Slab::new(0),
            briefs: Slab::new(more(users) / Brief::IN_WORD + 1),
            organizations: Slab::new(more(organizations)),
            spaces: Slab::new(more(spaces)),
            projects: Slab::new(more(projects)),
            codes: Slab::new(128),
            held,
            holders,
        }
    }

    /// What the closure makes of the facts, and the revision at which they stood; all of them at one. `None` if the writer
    /// was at work all the time, or the account has outgrown the index.
    ///
    /// The closure may run more than once, and on facts that never were: what it returns is then thrown away.
    #[inline]
    pub fn read<T>(&self, mut with: impl FnMut(View<'_>) -> T) -> Option<(T, u64)> {
        self.read_some(|view| Some(with(view)))
    }

    /// [`Index::read`] with a closure that may find that the facts don't say: then this is `None` too.
    #[inline]
    pub fn read_some<T>(&self, mut with: impl FnMut(View<'_>) -> Option<T>) -> Option<(T, u64)> {
        if let Some(begun) = self.sequence.begin_read() {
            // If these facts never were, the caller asks elsewhere for nothing. That is rare.
            let made = with(View { index: self })?;
            // Behind it, so that nothing has to keep it.
            let revision = self.revision.load(Relaxed);
            if self.sequence.is_whole(begun) {
                return Some((made, revision));
            }
        }
        self.read_again(TRIES, TRIES, spin_loop, with)
    }

    /// [`Index::read`] of a great deal: `None` also if changes came into it three times, since whoever asks has another way
    /// that takes no longer than many reads do. Waiting for a change that is being made doesn't count.
    pub fn read_long<T>(&self, mut with: impl FnMut(View<'_>) -> T) -> Option<(T, u64)> {
        self.read_again(LONG_TRIES, LONG_READS, spin_loop, |view| Some(with(view)))
    }

    /// Looks so often whether a read can begin, with a pause after each look, and reads at most so often.
    #[cold]
    #[inline(never)]
    fn read_again<T>(
        &self,
        tries: usize,
        reads: usize,
        pause: impl Fn(),
        mut with: impl FnMut(View<'_>) -> Option<T>,
    ) -> Option<(T, u64)> {
        let mut made = 0;
        for _ in 0..tries {
            if made == reads || self.closed.load(Relaxed) != 0 {
                return None;
            }
            if let Some(begun) = self.sequence.begin_read() {
                made += 1;
                let revision = self.revision.load(Relaxed);
                let answer = with(View { index: self })?;
                if self.sequence.is_whole(begun) {
                    return Some((answer, revision));
                }
            }
            pause();
        }
        None
    }

    /// [`Index::read_long`], and what happens while it waits.
    #[cfg(test)]
    pub(crate) fn read_long_while<T>(
        &self,
        pause: impl Fn(),
        mut with: impl FnMut(View<'_>) -> T,
    ) -> Option<(T, u64)> {
        self.read_again(LONG_TRIES, LONG_READS, pause, |view| Some(with(view)))
    }

    /// What a reader that doesn't ask the sequence gets: planted in tests, which must notice.
    #[cfg(test)]
    pub(crate) fn read_torn<T>(&self, with: impl FnOnce(View<'_>) -> T) -> T {
        with(View { index: self })
    }

    /// What the index takes, to the byte but for what the allocator adds; used or not yet.
    pub fn bytes(&self) -> Bytes {
        let places = [
            place_bytes(&self.organizations),
            place_bytes(&self.spaces),
            place_bytes(&self.projects),
        ];
        let rest = self.users.bytes() + self.ends.bytes() + self.codes.bytes() + self.held.bytes();
        // It is shared with two counts before it.
        let itself = size_of::<Self>() + 2 * size_of::<usize>();
        Bytes {
            checks: itself + rest + places.iter().map(|bytes| bytes.checks).sum::<usize>(),
            searches: self.holders.bytes()
                + self.briefs.bytes()
                + places.iter().map(|bytes| bytes.searches).sum::<usize>(),
        }
    }
}

/// Of a place, checks read the first word.
fn place_bytes<const N: usize>(places: &Slab<Cells<N>>) -> Bytes {
    let searches = places.room() * (N - 1) * size_of::<AtomicU64>();
    Bytes {
        checks: places.bytes() - searches,
        searches,
    }
}

/// The facts as they stand while a read runs.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    index: &'a Index,
}

impl View<'_> {
    /// So many lie side by side.
    pub const FEW: usize = HALF;
}

impl<'a> View<'a> {
    #[inline]
    fn word(self, user: u32) -> UserWord {
        let cell = self.index.users.get(user as usize);
        UserWord(cell.map_or(0, |cell| cell.load(Relaxed)))
    }

    /// The user's word, as it stands; one that nobody is says that they don't exist.
    #[inline]
    pub fn user(self, number: u32) -> User {
        User(self.word(number))
    }

    /// The user, if they exist.
    #[inline]
    pub fn principal(self, user: u32) -> Option<Principal> {
        self.known(self.user(user))
    }

    /// All that this word says, if the user exists.
    #[inline]
    pub fn known(self, User(word): User) -> Option<Principal> {
        let mut principal = word.principal();
        if word.ends() {
            principal.until = self.end(word);
        }
        word.exists().then_some(principal)
    }

    #[cold]
    fn end(self, word: UserWord) -> Option<i64> {
        let cell = self.index.ends.get(word.home() as usize)?;
        Some(cell.load(Relaxed).cast_signed())
    }

    /// What searches ask about a user.
    #[inline]
    pub fn brief(self, user: u32) -> Brief {
        let (place, shift) = Brief::place(user);
        let cell = self.index.briefs.get(place);
        Brief((cell.map_or(0, |cell| cell.load(Relaxed)) >> shift & Brief::MASK) as u8)
    }

    /// Whether there is such an organization.
    #[inline]
    pub fn organization(self, number: u32) -> bool {
        place(&self.index.organizations, number).exists()
    }

    /// The space, if it exists.
    #[inline]
    pub fn space(self, number: u32) -> Option<Space> {
        let place = place(&self.index.spaces, number);
        place.exists().then_some(Space {
            organization: place.above(),
            is_public: place.mark(),
        })
    }

    /// The project, if it exists.
    #[inline]
    pub fn project(self, number: u32) -> Option<Project> {
        let place = place(&self.index.projects, number);
        place.exists().then_some(Project {
            space: place.above(),
            is_restricted: place.mark(),
        })
    }

    /// What the user holds on the way down: one line of theirs, as a rule.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "else it goes through memory")]
    pub fn held(self, User(word): User, on: Where) -> Held {
        let keys = [Kind::Binding.key(on.space), Kind::OnProject.key(on.project)];
        let [in_space, on_project] = self.index.held.find(word.table(), hash(on.space), keys);
        let (in_space, on_project) = (unpacked(in_space).1, unpacked(on_project).1);
        let mut on_project = Kind::OnProject.code_in(on_project);
        let mut organization = word.role_at_home(on.organization);
        if !word.is_in_one_line() {
            let (above, project) = (on.organization, on.project);
            (organization, on_project) =
                self.held_elsewhere(word, above, project, organization, on_project);
        }
        Held {
            organization,
            membership: Kind::Membership.code_in(in_space),
            binding: Kind::Binding.code_in(in_space),
            on_project,
        }
    }

    /// What is in other lines than that of the space: the role in the organization above, and that on the project.
    #[inline(never)]
    fn held_elsewhere(
        self,
        word: UserWord,
        above: u32,
        project: u32,
        mut organization: u32,
        mut on_project: u32,
    ) -> (u32, u32) {
        let table = word.table();
        if word.is_spread() && project != 0 {
            let key = Kind::OnProject.key(project);
            let value = self.index.held.value(table, hash(project), key);
            on_project = Kind::OnProject.code_in(value);
        }
        if word.has_more() && organization == 0 {
            let key = Kind::Organization.key(above);
            let value = self.index.held.value(table, hash(above), key);
            organization = Kind::Organization.code_in(value);
        }
        (organization, on_project)
    }

    /// Whether what has this code has this permission. `None` if the code has no table, as [`ASK`](crate::ASK).
    #[inline]
    pub fn grants(self, code: u32, permission: u8) -> Option<bool> {
        let table = self.index.codes.get(code as usize)?;
        let word = table[usize::from(permission >> 6) & 3].load(Relaxed);
        Some(permission < 192 && word >> (permission & 63) & 1 != 0)
    }

    /// All permissions of a code that has a table.
    pub fn permissions(self, code: u32) -> Option<[u64; 3]> {
        let table = self.index.codes.get(code as usize)?;
        Some([0, 1, 2].map(|word: usize| table[word].load(Relaxed)))
    }

    /// The name of a code; 0 if it has none.
    #[inline]
    pub fn name(self, code: u32) -> u32 {
        let table = self.index.codes.get(code as usize);
        table.map_or(0, |table| (table[3].load(Relaxed) & 0xffff_ffff) as u32)
    }

    /// Reads ahead a user's word. What it returns is to be kept until all are read, so that they are.
    #[inline]
    pub fn touch_user(self, user: u32) -> u64 {
        self.word(user).0
    }

    /// Reads ahead the lines that a check of this user will need.
    #[inline]
    pub fn touch_held(self, user: u32, on: Where) -> u64 {
        let word = self.word(user);
        let held = &self.index.held;
        let mut read = held.touch(word.table(), hash(on.space));
        if word.is_spread() {
            read ^= held.touch(word.table(), hash(on.project));
        }
        if word.has_more() {
            read ^= held.touch(word.table(), hash(on.organization));
        }
        read
    }

    /// Reads ahead a project's word.
    #[inline]
    pub fn touch_project(self, project: u32) -> u64 {
        place(&self.index.projects, project).0
    }

    /// Whether it outgrows the caches, so that reading ahead is worth its price.
    #[inline]
    pub fn is_large(self) -> bool {
        self.index.is_large
    }

    /// When the last change was.
    #[inline]
    pub fn latest(self) -> i64 {
        self.index.latest.load(Relaxed).cast_signed()
    }

    /// The numbers that users may have, in order; not each has one.
    #[inline]
    pub fn users(self) -> impl Iterator<Item = u32> + 'a {
        numbers(&self.index.users)
    }

    /// No user has this number or a higher one.
    pub fn users_end(self) -> u32 {
        let end = self.index.users.places().map(|places| places.end).max();
        u32::try_from(end.unwrap_or(0)).unwrap_or(u32::MAX)
    }

    /// The same for organizations.
    #[inline]
    pub fn organizations(self) -> impl Iterator<Item = u32> + 'a {
        numbers(&self.index.organizations)
    }

    /// The same for spaces.
    #[inline]
    pub fn spaces(self) -> impl Iterator<Item = u32> + 'a {
        numbers(&self.index.spaces)
    }

    /// The same for projects.
    #[inline]
    pub fn projects(self) -> impl Iterator<Item = u32> + 'a {
        numbers(&self.index.projects)
    }

    /// Everyone whose role in the account is its first, 0.
    #[inline]
    pub fn each_admin(self, mut with: impl FnMut(u32)) {
        let admins = Table::from_bits(self.index.admins.load(Relaxed));
        self.index.holders.each(admins, |user, _| with(user));
    }

    /// Everything that the user holds, with its code.
    #[inline]
    pub fn each_held(self, user: u32, mut with: impl FnMut(Kind, u32, u32)) {
        let word = self.word(user);
        if !word.ends() && word.home() != 0 {
            with(Kind::Organization, word.home(), word.home_role());
        }
        let held = &self.index.held;
        held.each(word.table(), |key, value| {
            Kind::each_in(key, value, &mut with);
        });
    }

    /// Everyone who holds something in the organization, with its code.
    #[inline]
    pub fn each_in_organization(self, organization: u32, with: impl FnMut(Kind, u32, u32)) {
        self.each_holder(
            table(&self.index.organizations, organization, HOLDERS),
            with,
        );
    }

    /// The same as numbers of users and codes, as many at a time as lie side by side, and 0 for both where nobody does: for
    /// whoever looks at all of them without a branch for each.
    #[inline]
    pub fn each_few_in_organization(
        self,
        organization: u32,
        mut with: impl FnMut([(u32, u32); View::FEW]),
    ) {
        let table = table(&self.index.organizations, organization, HOLDERS);
        let of_slot = |(key, value)| (number_of(key), Kind::Organization.code_in(value));
        let holders = &self.index.holders;
        holders.each_half(table, |slots| with(slots.map(of_slot)));
    }

    /// Everyone who has a membership or a binding of the space: who has both comes twice.
    #[inline]
    pub fn each_in_space(self, space: u32, with: impl FnMut(Kind, u32, u32)) {
        self.each_holder(table(&self.index.spaces, space, HOLDERS), with);
    }

    /// Everyone who has a binding on the project.
    #[inline]
    pub fn each_on_project(self, project: u32, with: impl FnMut(Kind, u32, u32)) {
        self.each_holder(table(&self.index.projects, project, HOLDERS), with);
    }

    #[inline]
    fn each_holder(self, table: Table, mut with: impl FnMut(Kind, u32, u32)) {
        let holders = &self.index.holders;
        holders.each(table, |key, value| Kind::each_in(key, value, &mut with));
    }

    /// The spaces of an organization, in no order.
    #[inline]
    pub fn each_space_of(self, organization: u32, mut with: impl FnMut(u32)) {
        let below = table(&self.index.organizations, organization, BELOW);
        self.index.holders.each(below, |space, _| with(space));
    }

    /// The projects of a space, in no order.
    #[inline]
    pub fn each_project_of(self, space: u32, mut with: impl FnMut(u32)) {
        let below = table(&self.index.spaces, space, BELOW);
        self.index.holders.each(below, |project, _| with(project));
    }
}

/// Nothing has the number 0.
#[inline]
fn numbers<T: Default>(of: &Slab<T>) -> impl Iterator<Item = u32> {
    let places = of.places().flatten();
    let numbers = places.filter_map(|place| u32::try_from(place).ok());
    numbers.filter(|number| *number != 0)
}

#[inline]
pub(crate) fn place<const N: usize>(of: &Slab<Cells<N>>, number: u32) -> Place {
    let cells = of.get(number as usize);
    Place(cells.map_or(0, |cells| cells[PLACE].load(Relaxed)))
}

#[inline]
pub(crate) fn table<const N: usize>(of: &Slab<Cells<N>>, number: u32, which: usize) -> Table {
    let cell = of.get(number as usize).and_then(|cells| cells.get(which));
    Table::from_bits(cell.map_or(0, |cell| cell.load(Relaxed)))
}

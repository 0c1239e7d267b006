//! The index against plain maps, and readers against a writer.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use crate::{
    ASK, Brief, CODE_MAX, Changes, Held, Holding, Kind, Principal, Project, Room, Source, Space,
    View, Where, Writer,
};

mod races;

/// The same facts, plainly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Plain {
    principals: BTreeMap<u32, Principal>,
    organizations: BTreeSet<u32>,
    spaces: BTreeMap<u32, Space>,
    projects: BTreeMap<u32, Project>,
    codes: BTreeMap<u32, [u64; 3]>,
    held: BTreeMap<(u32, Kind, u32), u32>,
}

impl Source for Plain {
    fn rooms(&self) -> [Room; 4] {
        fn room<'a>(numbers: impl ExactSizeIterator<Item = &'a u32>) -> Room {
            Room {
                count: numbers.len(),
                end: numbers.max().map_or(0, |last| *last as usize + 1),
            }
        }
        [
            room(self.principals.keys()),
            room(self.organizations.iter()),
            room(self.spaces.keys()),
            room(self.projects.keys()),
        ]
    }
    fn principals(&self, with: &mut dyn FnMut(u32, Principal)) {
        self.principals
            .iter()
            .for_each(|(user, one)| with(*user, *one));
    }
    fn organizations(&self, with: &mut dyn FnMut(u32)) {
        self.organizations.iter().for_each(|one| with(*one));
    }
    fn spaces(&self, with: &mut dyn FnMut(u32, Space)) {
        self.spaces
            .iter()
            .for_each(|(number, one)| with(*number, *one));
    }
    fn projects(&self, with: &mut dyn FnMut(u32, Project)) {
        self.projects
            .iter()
            .for_each(|(number, one)| with(*number, *one));
    }
    fn codes(&self, with: &mut dyn FnMut(u32, [u64; 3], u32)) {
        let unnamed = self.held.values().map(|code| (*code, [0; 3]));
        let all = unnamed.filter(|(code, _)| *code != ASK);
        for (code, permissions) in all.chain(self.codes.clone()) {
            with(code, permissions, name(code));
        }
    }
    fn holdings(&self, with: &mut dyn FnMut(Holding)) {
        for ((user, kind, resource), code) in &self.held {
            with(Holding {
                user: *user,
                kind: *kind,
                resource: *resource,
                code: *code,
            });
        }
    }
}

/// xorshift: the same numbers every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 >> 33).unwrap() % end
    }
}

#[derive(Clone, Copy, Debug)]
struct World {
    users: u32,
    organizations: u32,
    spaces: u32,
    projects: u32,
}

impl World {
    /// One fact, set or cleared.
    fn step(self, numbers: &mut Numbers, plain: &mut Plain, changes: &mut Changes) {
        let user = 1 + numbers.below(self.users);
        let organization = 1 + numbers.below(self.organizations);
        let space = 1 + numbers.below(self.spaces);
        let project = 1 + numbers.below(self.projects);
        let code = match numbers.below(12) {
            0..4 => 5 + numbers.below(8),
            4 => CODE_MAX - numbers.below(3),
            5 => ASK,
            _ => 64 + numbers.below(20),
        };
        let is_there = numbers.below(3) > 0;
        match numbers.below(20) {
            0 => {
                let until = (numbers.below(3) == 0).then(|| i64::from(numbers.below(9)) - 4);
                let principal = Principal {
                    account_role: u8::try_from(numbers.below(4)).unwrap(),
                    is_human: numbers.below(2) == 0,
                    is_active: is_there,
                    until,
                };
                let principal = (numbers.below(6) > 0).then_some(principal);
                put(&mut plain.principals, user, principal);
                changes.set_principal(user, principal);
            }
            1 => {
                set(&mut plain.organizations, organization, is_there);
                changes.set_organization(organization, is_there);
            }
            2 => {
                let of = Space {
                    organization,
                    is_public: numbers.below(2) == 0,
                };
                put(&mut plain.spaces, space, is_there.then_some(of));
                changes.set_space(space, is_there.then_some(of));
            }
            3 => {
                let of = Project {
                    space,
                    is_restricted: numbers.below(2) == 0,
                };
                put(&mut plain.projects, project, is_there.then_some(of));
                changes.set_project(project, is_there.then_some(of));
            }
            4 => {
                let word = u64::from(numbers.below(u32::MAX));
                let permissions = [word, word << 7, !word];
                if code != ASK {
                    plain.codes.insert(code, permissions);
                    changes.set_code(code, permissions, name(code));
                }
            }
            _ => {
                let (kind, resource) = match numbers.below(8) {
                    0 => (Kind::Organization, organization),
                    1 => (Kind::Membership, space),
                    2 => (Kind::Binding, space),
                    _ => (Kind::OnProject, project),
                };
                let key = (user, kind, resource);
                let before = plain.held.get(&key).copied();
                if code != ASK && !plain.codes.contains_key(&code) {
                    plain.codes.insert(code, [0; 3]);
                    changes.set_code(code, [0; 3], name(code));
                }
                put(&mut plain.held, key, is_there.then_some(code));
                let code = if is_there { code } else { 0 };
                let old = changes.set_held(user, kind, resource, code);
                assert_eq!(old, before.unwrap_or(0), "{key:?}");
            }
        }
    }

    fn check(self, plain: &Plain, view: View<'_>) {
        for user in 0..=self.users + 1 {
            let principal = plain.principals.get(&user);
            assert_eq!(view.principal(user), principal.copied());
            let brief = principal.map_or_else(Brief::default, Brief::of);
            assert_eq!(view.brief(user), brief, "{user}");
            let mut held = BTreeMap::new();
            view.each_held(user, |kind, resource, code| {
                assert_eq!(held.insert((user, kind, resource), code), None);
            });
            let of_user = |key: &(u32, Kind, u32)| key.0 == user;
            let expected = plain.held.iter().filter(|(key, _)| of_user(key));
            assert_eq!(held, expected.map(|(key, code)| (*key, *code)).collect());
            for project in 0..=self.projects + 1 {
                self.check_way(plain, view, user, project);
            }
        }
        for number in 0..=self.organizations + 1 {
            let expected = plain.organizations.contains(&number);
            assert_eq!(view.organization(number), expected);
            let mut below = BTreeSet::new();
            view.each_space_of(number, |space| assert!(below.insert(space)));
            let mut spaces = plain.spaces.clone();
            spaces.retain(|_, space| space.organization == number);
            assert_eq!(below, spaces.into_keys().collect());
        }
        for number in 0..=self.spaces + 1 {
            assert_eq!(view.space(number), plain.spaces.get(&number).copied());
            let mut below = BTreeSet::new();
            view.each_project_of(number, |project| assert!(below.insert(project)));
            let mut projects = plain.projects.clone();
            projects.retain(|_, project| project.space == number);
            assert_eq!(below, projects.into_keys().collect());
        }
        let mut admins = BTreeSet::new();
        view.each_admin(|user| assert!(admins.insert(user)));
        let mut principals = plain.principals.clone();
        principals.retain(|_, principal| principal.account_role == 0);
        assert_eq!(admins, principals.into_keys().collect());
        let mut all = BTreeMap::new();
        for number in 1..=self.organizations.max(self.spaces).max(self.projects) {
            let mut note = |kind, user, code| {
                all.insert((user, kind, number), code);
            };
            view.each_in_organization(number, &mut note);
            view.each_in_space(number, &mut note);
            view.each_on_project(number, &mut note);
        }
        assert_eq!(all, plain.held);
    }

    fn check_way(self, plain: &Plain, view: View<'_>, user: u32, project: u32) {
        let found = plain.projects.get(&project).copied();
        assert_eq!(view.project(project), found);
        let space = found.map_or(1 + project % self.spaces, |project| project.space);
        // Only for a project that is there does a check ask about it.
        let on = Where {
            organization: 1 + project % self.organizations,
            space,
            project: found.map_or(0, |_| project),
        };
        let code = |kind, resource| {
            plain
                .held
                .get(&(user, kind, resource))
                .copied()
                .unwrap_or(0)
        };
        let expected = [
            code(Kind::Organization, on.organization),
            code(Kind::Membership, on.space),
            code(Kind::Binding, on.space),
            code(Kind::OnProject, on.project),
        ];
        let codes = codes(view.held(view.user(user), on));
        assert_eq!(codes, expected, "{user} {on:?}");
        for code in codes {
            let permissions = plain.codes.get(&code).copied().unwrap_or_default();
            for permission in [0, 1, 63, 64, 100, 191, 192, 255] {
                let word = permissions.get(usize::from(permission) / 64);
                let expected = word.is_some_and(|word| word >> (permission % 64) & 1 != 0);
                let expected = (code != ASK).then_some(expected && code != 0);
                assert_eq!(view.grants(code, permission), expected);
            }
            let is_named = code != 0 && code != ASK;
            assert_eq!(view.name(code), if is_named { name(code) } else { 0 });
        }
    }
}

/// Each code has another name.
fn name(code: u32) -> u32 {
    code + 1_000_000
}

fn codes(held: Held) -> [u32; 4] {
    [
        held.organization,
        held.membership,
        held.binding,
        held.on_project,
    ]
}

fn set(of: &mut BTreeSet<u32>, number: u32, is_there: bool) {
    if is_there {
        of.insert(number);
    } else {
        of.remove(&number);
    }
}

fn put<K: Ord, V>(of: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => of.insert(key, value),
        None => of.remove(&key),
    };
}

#[test]
fn the_index_holds_what_was_told_it_change_by_change_and_built_at_once() {
    // Few users with much, many with little, and projects that crowd into one space.
    for (users, spaces, projects, steps) in [(3, 9, 60, 6000), (40, 5, 20, 4000), (2, 1, 300, 5000)]
    {
        let world = World {
            users,
            organizations: 5,
            spaces,
            projects,
        };
        let mut numbers = Numbers(u64::from(users) << 32 | 0x9e37_79b9);
        let mut plain = Plain::default();
        let mut writer = Writer::build(&plain, 0);
        for revision in 1..=steps {
            writer.write(revision, |changes| {
                world.step(&mut numbers, &mut plain, changes);
            });
            if revision % 500 == 0 {
                let checked = writer.index().read(|view| world.check(&plain, view));
                assert_eq!(checked, Some(((), revision)));
                let built = Writer::build(&plain, revision);
                let checked = built.index().read(|view| world.check(&plain, view));
                assert_eq!(checked, Some(((), revision)));
            }
        }
        // Changes go on as well on one that was built at once.
        let mut built = Writer::build(&plain, 0);
        for revision in 1..=500 {
            built.write(revision, |changes| {
                world.step(&mut numbers, &mut plain, changes);
            });
        }
        built
            .index()
            .read(|view| world.check(&plain, view))
            .unwrap();
        // And everything can go.
        let held = std::mem::take(&mut plain.held);
        built.write(501, |changes| {
            for (user, kind, resource) in held.into_keys() {
                changes.set_held(user, kind, resource, 0);
            }
        });
        built
            .index()
            .read(|view| world.check(&plain, view))
            .unwrap();
    }
}

/// What was deleted before the account was loaded has left gaps.
#[test]
fn numbers_are_met_however_far_they_are_behind_the_others() {
    let mut writer = Writer::build(&Plain::default(), 0);
    let far = [1, 700, 5_000, 100_000, 3_000_000];
    writer.write(1, |changes| {
        for number in far {
            let principal = Principal {
                account_role: 1,
                is_human: true,
                is_active: true,
                until: None,
            };
            let space = Space {
                organization: number,
                is_public: true,
            };
            let project = Project {
                space: number,
                is_restricted: false,
            };
            changes.set_principal(number, Some(principal));
            changes.set_organization(number, true);
            changes.set_space(number, Some(space));
            changes.set_project(number, Some(project));
        }
    });
    let met = writer.index().read(|view| {
        [
            view.users()
                .filter(|number| view.principal(*number).is_some())
                .collect::<Vec<u32>>(),
            view.organizations()
                .filter(|number| view.organization(*number))
                .collect(),
            view.spaces()
                .filter(|number| view.space(*number).is_some())
                .collect(),
            view.projects()
                .filter(|number| view.project(*number).is_some())
                .collect(),
        ]
    });
    let (met, _) = met.unwrap();
    for met in met {
        assert_eq!(met, far);
    }
}

/// Whether an index that is built of these facts is one that answers.
fn is_answered(plain: &impl Source) -> bool {
    let writer = Writer::build(plain, 0);
    writer.index().read(|_| ()).is_some()
}

#[test]
fn facts_that_are_damaged_close_the_index_and_take_no_memory() {
    let far = (1 << 30) - 1;
    let sound = Plain {
        organizations: [1].into(),
        held: [((1, Kind::Binding, 1), 64), ((1, Kind::Membership, 1), 2)].into(),
        ..Plain::default()
    };
    assert!(is_answered(&sound));
    let space = |organization| Space {
        organization,
        is_public: true,
    };
    let project = Project {
        space: far,
        is_restricted: true,
    };
    let with = |damage: &dyn Fn(&mut Plain)| {
        let mut plain = sound.clone();
        damage(&mut plain);
        plain
    };
    let damaged = [
        with(&|plain| plain.organizations = [far].into()),
        with(&|plain| plain.spaces = [(far, space(1))].into()),
        with(&|plain| plain.spaces = [(1, space(far))].into()),
        with(&|plain| plain.projects = [(1, project)].into()),
        with(&|plain| plain.held = [((far, Kind::Binding, 1), 64)].into()),
        with(&|plain| plain.held = [((1, Kind::OnProject, far), 64)].into()),
    ];
    for plain in damaged {
        assert!(!is_answered(&plain), "{plain:?}");
    }
}

/// Holdings that no map would keep beside each other, or that end where another thread asks for them.
struct Odd {
    held: [Holding; 2],
    asked_by: Option<thread::ThreadId>,
}

impl Source for Odd {
    fn rooms(&self) -> [Room; 4] {
        // Many enough for two threads.
        let room = Room {
            count: 10_000,
            end: 10_001,
        };
        [room; 4]
    }
    fn principals(&self, _: &mut dyn FnMut(u32, Principal)) {}
    fn organizations(&self, _: &mut dyn FnMut(u32)) {}
    fn spaces(&self, _: &mut dyn FnMut(u32, Space)) {}
    fn projects(&self, _: &mut dyn FnMut(u32, Project)) {}
    fn codes(&self, _: &mut dyn FnMut(u32, [u64; 3], u32)) {}
    fn holdings(&self, with: &mut dyn FnMut(Holding)) {
        let is_elsewhere = self
            .asked_by
            .is_some_and(|one| one != thread::current().id());
        assert!(!is_elsewhere, "asked elsewhere");
        self.held.into_iter().for_each(with);
    }
}

const fn of_one(kind: Kind, code: u32) -> Holding {
    Holding {
        user: 1,
        kind,
        resource: 1,
        code,
    }
}

#[test]
#[should_panic(expected = "asked elsewhere")]
fn what_goes_wrong_on_another_thread_is_not_taken_for_what_does_not_fit() {
    let odd = Odd {
        held: [of_one(Kind::Organization, 65), of_one(Kind::Binding, 66)],
        asked_by: Some(thread::current().id()),
    };
    Writer::build(&odd, 0);
}

#[test]
fn two_roles_of_one_user_in_one_way_never_become_a_third() {
    let kinds = [
        Kind::Organization,
        Kind::Membership,
        Kind::Binding,
        Kind::OnProject,
    ];
    for (kind, other) in kinds
        .into_iter()
        .flat_map(|kind| kinds.map(|other| (kind, other)))
    {
        let odd = Odd {
            held: [of_one(kind, 65), of_one(other, 66)],
            asked_by: None,
        };
        assert_eq!(is_answered(&odd), kind != other, "{kind:?} and {other:?}");
    }
}

/// Such tables have many lines for few slots, and memory is made only for those lines that have one.
#[test]
fn a_table_whose_keys_collide_loses_nothing() {
    let close = |number: &u32, from: f64, to: f64| {
        let at = f64::from(crate::pool::hash(*number)) / 2_f64.powi(32);
        (from..to).contains(&at)
    };
    let mut colliding: Vec<u32> = (1..1 << 20)
        .filter(|number| close(number, 0.999, 1.0))
        .take(8)
        .collect();
    // It takes a hundred lines and more to part it from the others.
    colliding.extend((1..1 << 20).find(|number| close(number, 0.99, 0.991)));
    let mut plain = Plain::default();
    let mut writer = Writer::build(&plain, 0);
    let mut told = |plain: &Plain, user: u32, project: u32| {
        writer.write(1, |changes| {
            changes.set_code(64, [1; 3], 64);
            changes.set_held(user, Kind::OnProject, project, 64);
        });
        let read = writer.index().read(|view| {
            for user in 1..=4 {
                let mut held = BTreeMap::new();
                view.each_held(user, |kind, resource, code| {
                    held.insert((user, kind, resource), code);
                });
                let mut expected = plain.held.clone();
                expected.retain(|(one, ..), _| *one == user);
                assert_eq!(held, expected, "{user}");
            }
        });
        assert_eq!(read, Some(((), 1)));
    };
    for user in 1..=4 {
        for project in &colliding {
            plain.held.insert((user, Kind::OnProject, *project), 64);
            told(&plain, user, *project);
        }
    }
    // Into the line that is full: the table moves, and takes along what is in it.
    let other = (1..1 << 20)
        .find(|number| close(number, 0.9911, 0.992))
        .unwrap();
    for user in 1..=4 {
        plain.held.insert((user, Kind::OnProject, other), 64);
        told(&plain, user, other);
    }
}

#[test]
fn a_code_means_what_it_was_told_last_and_the_one_to_ask_for_means_nothing() {
    let mut writer = Writer::build(&Plain::default(), 0);
    writer.write(1, |changes| {
        changes.set_code(CODE_MAX, [0, 1, 0], 7);
        changes.set_code(CODE_MAX, [2, 0, 0], 8);
        // Every other code has a table.
        (1..CODE_MAX).for_each(|code| changes.set_code(code, [u64::MAX; 3], 1));
        changes.set_held(1, Kind::Binding, 1, ASK);
        changes.set_held(1, Kind::Binding, 2, CODE_MAX);
    });
    let seen = writer.index().read(|view| {
        let on = |space| Where {
            space,
            ..Where::default()
        };
        let code = |space| view.held(view.user(1), on(space)).binding;
        let told = [view.grants(code(2), 1), view.grants(code(2), 64)];
        let asked = (code(1), view.grants(code(1), 1), view.permissions(ASK));
        (asked, told, view.name(CODE_MAX))
    });
    let told = [Some(true), Some(false)];
    assert_eq!(seen, Some((((ASK, None, None), told, 8), 1)));
}

#[test]
fn what_does_not_fit_closes_the_index_for_good() {
    type Breaks = fn(&mut Changes);
    let breaks: [Breaks; 4] = [
        |changes| changes.set_code(CODE_MAX + 1, [1; 3], 1),
        |changes| _ = changes.set_held(1 << 30, Kind::Binding, 1, ASK),
        |changes| _ = changes.set_held(1, Kind::OnProject, 1 << 30, ASK),
        |changes| changes.set_organization(0, true),
    ];
    for does in breaks {
        let mut writer = Writer::build(&Plain::default(), 0);
        assert_eq!(writer.index().read(|_| ()), Some(((), 0)));
        writer.write(1, does);
        assert_eq!(writer.index().read(|_| ()), None);
        writer.write(2, |changes| changes.set_organization(1, true));
        assert_eq!(writer.index().read(|_| ()), None);
    }
}

#[test]
fn a_long_read_that_changes_keep_from_its_end_is_given_up_soon() {
    let writer = std::cell::RefCell::new(Writer::build(&Plain::default(), 0));
    let index = std::sync::Arc::clone(writer.borrow().index());
    let reads = std::cell::Cell::new(0_u64);
    let torn = |_: View<'_>| {
        reads.set(reads.get() + 1);
        writer.borrow_mut().write(reads.get(), |_| ());
    };
    assert_eq!(index.read_long(torn), None);
    assert_eq!(reads.get(), 3);
    assert_eq!(index.read_long(|_| 7), Some((7, 3)));
}

#[test]
fn a_long_read_waits_for_the_change_that_is_being_made() {
    let mut writer = Writer::build(&Plain::default(), 0);
    let index = std::sync::Arc::clone(writer.index());
    let looks = std::cell::Cell::new(0);
    let reads = std::cell::Cell::new(0);
    let read = |_: View<'_>| reads.set(reads.get() + 1);
    // A change that lasts for a thousand looks is waited for, without anything being read of it.
    index.sequence.begin_write();
    let pause = || {
        looks.set(looks.get() + 1);
        if looks.get() == 1000 {
            index.sequence.end_write();
        }
    };
    assert_eq!(index.read_long_while(pause, read), Some(((), 0)));
    assert_eq!((looks.get(), reads.get()), (1000, 1));
    // One that doesn't end is not waited for without bound, and nothing is read.
    writer.write(1, |_| {
        assert_eq!(index.read_long(read), None);
    });
    assert_eq!(reads.get(), 1);
    assert_eq!(index.read_long(read), Some(((), 1)));
}

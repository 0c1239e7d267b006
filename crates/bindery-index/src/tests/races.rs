//! Readers who look while a writer is amid a section: they see all of it or nothing. The same readers without the sequence
//! are caught by the same looks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::yield_now;

use super::Plain;
use crate::{Changes, Index, Kind, Project, View, Where, Writer};

const READERS: usize = 3;
/// Sections that they live through.
const TURNS: u64 = 100;
/// So many have a role on the first project at every second revision, and on the second at the others.
const MOVERS: u32 = 500;
const CODE: u32 = 64;
const OTHER: u32 = 65;

/// Whether what a view shows belongs together.
type Look = fn(View<'_>) -> bool;

const LOOKS: [(&str, Look); 3] = [("check", check), ("batch", batch), ("list", list)];

fn holds(view: View<'_>, user: u32, project: u32) -> bool {
    let on = Where {
        organization: 0,
        space: project,
        project,
    };
    view.held(view.user(user), on).on_project == CODE
}

fn check(view: View<'_>) -> bool {
    holds(view, 1, 1) != holds(view, 1, 2)
}

fn batch(view: View<'_>) -> bool {
    let is_first = holds(view, 1, 1);
    (1..=MOVERS).all(|user| {
        let seen = [1, 2].map(|project| holds(view, user, project));
        seen == [is_first, !is_first]
    })
}

fn list(view: View<'_>) -> bool {
    let [mut on_first, mut on_second] = [0, 0];
    view.each_on_project(1, |_, _, _| on_first += 1);
    view.each_on_project(2, |_, _, _| on_second += 1);
    let mut held = BTreeMap::new();
    view.each_held(1, |_, project, code| {
        held.insert(project, code);
    });
    let is_first = held.get(&1) == Some(&CODE);
    let is_second = held.get(&2) == Some(&CODE);
    matches!(
        (on_first, on_second, is_first, is_second),
        (MOVERS, 0, true, false) | (0, MOVERS, false, true)
    )
}

/// What readers saw.
#[derive(Default)]
struct Seen {
    /// Also those that came to nothing.
    tries: AtomicU64,
    looks: AtomicU64,
    torn: AtomicU64,
    /// A reader that panicked makes no more tries: the writer must not wait for them.
    has_panicked: AtomicBool,
}

/// Tells the writer when its reader panics.
struct OnPanic<'a>(&'a Seen);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.has_panicked.store(true, Ordering::SeqCst);
        }
    }
}

impl Seen {
    fn note(&self, looked: Option<bool>) {
        if let Some(is_whole) = looked {
            self.looks.fetch_add(1, Ordering::SeqCst);
            self.torn.fetch_add(u64::from(!is_whole), Ordering::SeqCst);
        }
        self.tries.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until so many more tries have come to an end that at least one of them began just now.
    fn wait(&self) {
        let tries = self.tries.load(Ordering::SeqCst) + READERS as u64 + 1;
        while self.tries.load(Ordering::SeqCst) < tries && !self.has_panicked.load(Ordering::SeqCst)
        {
            yield_now();
        }
    }
}

/// Everyone moves; in between nobody has anything, and readers look.
fn turn(changes: &mut Changes, revision: u64, seen: &Seen) {
    let (from, to) = if revision % 2 == 1 { (1, 2) } else { (2, 1) };
    for user in 1..=MOVERS {
        changes.set_held(user, Kind::OnProject, from, 0);
        // Tables grow, shrink and move as well.
        let other = 3 + u32::try_from(revision % 61).unwrap();
        let is_there = (revision / 61).is_multiple_of(2);
        changes.set_held(
            user,
            Kind::OnProject,
            other,
            if is_there { OTHER } else { 0 },
        );
    }
    seen.wait();
    for user in 1..=MOVERS {
        changes.set_held(user, Kind::OnProject, to, CODE);
    }
}

/// How many looks there were, and how many were torn.
fn race(turns: u64, read: impl Fn(&Index) -> Option<bool> + Sync) -> (u64, u64) {
    let mut plain = Plain::default();
    for user in 1..=MOVERS {
        plain.held.insert((user, Kind::OnProject, 1), CODE);
    }
    plain.codes.insert(OTHER, [0; 3]);
    for project in 1..=64 {
        let of = Project {
            space: project,
            is_restricted: false,
        };
        plain.projects.insert(project, of);
    }
    let mut writer = Writer::build(&plain, 0);
    let index = Arc::clone(writer.index());
    let (seen, is_over) = (Seen::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                let _on_panic = OnPanic(&seen);
                while !is_over.load(Ordering::SeqCst) {
                    seen.note(read(&index));
                    yield_now();
                }
            });
        }
        for revision in 1..=turns {
            writer.write(revision, |changes| turn(changes, revision, &seen));
            seen.wait();
        }
        is_over.store(true, Ordering::SeqCst);
    });
    (seen.looks.into_inner(), seen.torn.into_inner())
}

#[test]
fn a_check_a_batch_and_a_list_each_see_one_revision() {
    for (name, look) in LOOKS {
        let (looks, torn) = race(TURNS, |index| {
            index.read(look).map(|(is_whole, _)| is_whole)
        });
        assert!(looks >= TURNS, "{name}: {looks} looks");
        assert_eq!(torn, 0, "{name}: torn among {looks}");
    }
}

/// Whether it comes into the first try or into one of the later ones.
#[test]
fn a_read_that_a_section_came_into_is_made_again() {
    for sections in [1, 2, 3] {
        let mut plain = Plain::default();
        plain.held.insert((1, Kind::OnProject, 1), CODE);
        let mut writer = Writer::build(&plain, 0);
        let index = Arc::clone(writer.index());
        let mut tries = 0;
        let read = index.read(|view| {
            let on_first = holds(view, 1, 1);
            tries += 1;
            if tries <= sections {
                let (from, to) = if tries % 2 == 1 { (1, 2) } else { (2, 1) };
                writer.write(tries, |changes| {
                    changes.set_held(1, Kind::OnProject, from, 0);
                    changes.set_held(1, Kind::OnProject, to, CODE);
                });
            }
            on_first != holds(view, 1, 2)
        });
        assert_eq!((read, tries), (Some((true, sections)), sections + 1));
    }
}

#[test]
fn readers_that_do_not_ask_the_sequence_are_caught() {
    for (name, look) in LOOKS {
        let (looks, torn) = race(4, |index| Some(index.read_torn(look)));
        assert!(torn > 0, "{name}: not one torn among {looks}");
    }
}

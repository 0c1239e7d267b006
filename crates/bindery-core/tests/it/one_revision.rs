//! A check, a batch and a search each see one revision while the writer goes on.
//!
//! From one revision to the next, several facts change together, so that an answer which mixes two revisions is one that neither
//! of them gives. The same readers are then shown an index into which a change comes in two parts, and must notice.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::yield_now;

use bindery_core::access::{AccessIndex, AccessWriter, Touched};
use bindery_core::change::{Entry, OneOperation};
use bindery_core::decision::{Decision, Question};
use bindery_core::id::{Revision, UserId};
use bindery_core::permission::Permission;
use bindery_core::resource::{Level, Resource};
use bindery_core::state::State;
use bindery_core::time::Timestamp;

use crate::world::World;

const NOW: Timestamp = Timestamp::from_millis(0);
const ASKED: Permission = Permission::ProjectRead;
/// Whose binding moves from one project to another in each change. Two questions are asked about each.
const MOVERS: usize = 500;
const READERS: usize = 3;
/// Changes that readers live through.
const TURNS: usize = 40;

/// What holds at every second revision, and what holds at the others. All of the movers have one of the two projects; ann is let
/// in by nothing, either because the vault is restricted or because she holds nothing, and ben always by something.
fn turn(is_odd: bool) -> String {
    let (from, to) = if is_odd { ("a", "b") } else { ("b", "a") };
    let mut text = String::new();
    for mover in 0..MOVERS {
        let line = format!(
            "mover{mover} has nothing on acme/blue/{from}\nmover{mover} has Reader on acme/blue/{to}\n"
        );
        text.push_str(&line);
    }
    text.push_str(if is_odd {
        "
        ann has nothing on acme/red
        acme/red/vault  open
        ben has nothing on acme/red/vault
        ben has Reader on acme/red
        "
    } else {
        "
        ann has Reader on acme/red
        acme/red/vault  restricted
        ben has nothing on acme/red
        ben has Reader on acme/red/vault
        "
    });
    text
}

/// What the entities say at every second revision.
struct Expected {
    decisions: Vec<Decision>,
    users: Vec<UserId>,
    resources: Vec<Resource>,
}

/// The world, told on from turn to turn, and the log's state and index of it.
struct Scene {
    world: World,
    state: State,
    access: AccessWriter,
}

/// What is asked, and what must come of it at even revisions and at odd ones.
struct Asked {
    questions: Vec<Question>,
    /// In which all the movers are or are not, and one of them.
    project: Resource,
    mover: UserId,
    expected: [Expected; 2],
}

impl Scene {
    /// Told up to revision 2, with what the entities said at 1 and 2.
    fn new() -> (Self, Asked) {
        let world = World::parse(
            "
            acme/blue/a
            acme/blue/b
            acme/red/vault
            acme/blue  private
            acme/red  private
            role Reader: PROJECT_READ
            ",
        );
        let state = World::parse("").state;
        let access = AccessWriter::new(&state);
        let mut scene = Self {
            world,
            state,
            access,
        };
        scene.tell(&turn(true), whole);
        let mut questions = Vec::new();
        for mover in 0..MOVERS {
            for project in ["a", "b"] {
                let question = format!("mover{mover} PROJECT_READ acme/blue/{project}");
                questions.push(scene.world.question(&question));
            }
        }
        for who in ["ann", "ben"] {
            let question = format!("{who} PROJECT_READ acme/red/vault");
            questions.push(scene.world.question(&question));
        }
        let (project, mover) = (questions[0].resource, questions[0].principal);
        let odd = scene.expected(&questions, project, mover);
        scene.tell(&turn(false), whole);
        let even = scene.expected(&questions, project, mover);
        let asked = Asked {
            questions,
            project,
            mover,
            expected: [even, odd],
        };
        asked.check();
        (scene, asked)
    }

    /// Tells what happens in one change, and brings state and index there.
    fn tell(&mut self, text: &str, advance: impl FnOnce(&mut AccessWriter, &State, &[Touched])) {
        self.world.tell(text);
        let entry = Entry::from(OneOperation {
            revision: self.state.revision().next(),
            at: NOW,
            by: None,
            key: None,
            operation: String::new(),
            batch: 0,
            changes: self.world.take_told(),
        });
        let mut touched = Vec::new();
        self.state.advance_noting(&entry, &mut touched);
        advance(&mut self.access, &self.state, &touched);
    }

    fn expected(&self, questions: &[Question], project: Resource, mover: UserId) -> Expected {
        let state = &self.state;
        let decide = |question: &Question| state.decide(question, NOW);
        Expected {
            decisions: questions.iter().map(decide).collect(),
            users: state.users_of(ASKED, project, NOW),
            resources: state.resources_of(mover, ASKED, Level::Project, NOW),
        }
    }
}

impl Asked {
    fn at(&self, revision: Revision) -> &Expected {
        &self.expected[usize::from(!revision.0.is_multiple_of(2))]
    }

    /// Nothing is the same at both, but for ann and ben.
    fn check(&self) {
        let [even, odd] = &self.expected;
        let count = 2 * MOVERS;
        for place in 0..count {
            let [even, odd] = [even, odd].map(|at| at.decisions[place].is_allowed());
            assert!(even != odd, "question {place}");
        }
        for at in [even, odd] {
            let [ann, ben] = [count, count + 1].map(|place| at.decisions[place].is_allowed());
            assert_eq!((ann, ben), (false, true));
            assert_eq!(at.resources.len(), 1);
        }
        assert_eq!((even.users.len(), odd.users.len()), (MOVERS, 0));
        assert!(even.resources != odd.resources);
    }
}

/// One look at the index: the revision that it named, and whether it saw what the entities say there.
type Look = fn(&Asked, &AccessIndex) -> Option<(Revision, bool)>;

/// Ann, ben or one of the movers, who the turns change as well.
fn check(asked: &Asked, index: &AccessIndex) -> Option<(Revision, bool)> {
    let mut made = None;
    for place in [2 * MOVERS, 2 * MOVERS + 1, 0] {
        let (decision, at) = index.decide(&asked.questions[place], NOW)?;
        let is_whole = decision == asked.at(at).decisions[place];
        if !is_whole {
            return Some((at, false));
        }
        made = Some((at, true));
    }
    made
}

fn batch(asked: &Asked, index: &AccessIndex) -> Option<(Revision, bool)> {
    let mut decisions = Vec::new();
    let at = index
        .decide_many(&asked.questions, NOW, &mut decisions)?
        .revision;
    Some((at, decisions == asked.at(at).decisions))
}

fn users(asked: &Asked, index: &AccessIndex) -> Option<(Revision, bool)> {
    let mut users = Vec::new();
    let at = index.users_of(asked.project, ASKED, NOW, &mut users)?;
    users.sort_unstable();
    Some((at, users == asked.at(at).users))
}

fn resources(asked: &Asked, index: &AccessIndex) -> Option<(Revision, bool)> {
    let mut resources = Vec::new();
    let at = index.resources_of(asked.mover, ASKED, Level::Project, NOW, &mut resources)?;
    Some((at, resources == asked.at(at).resources))
}

/// How a change comes into the index; the last argument waits until every reader may have looked.
type Advance = fn(&mut AccessWriter, &State, &[Touched], &dyn Fn());

fn whole(writer: &mut AccessWriter, after: &State, touched: &[Touched]) {
    writer.advance(after, touched, || ());
}

/// What is planted: every other fact is late.
fn in_two_parts(
    writer: &mut AccessWriter,
    after: &State,
    touched: &[Touched],
    wait_for_readers: &dyn Fn(),
) {
    let is_late = |place: &usize| !place.is_multiple_of(2);
    let facts = |late: bool| {
        let those = (0..touched.len()).filter(|place| is_late(place) == late);
        those.map(|place| touched[place]).collect::<Vec<_>>()
    };
    writer.advance(after, &facts(false), || ());
    wait_for_readers();
    writer.advance(after, &facts(true), || ());
}

/// What readers saw.
#[derive(Default)]
struct Seen {
    /// At even revisions and at odd ones.
    looks: [AtomicU64; 2],
    torn: AtomicU64,
    /// A reader that panicked looks no more: the writer must not wait for it.
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
    fn look(&self, asked: &Asked, index: &AccessIndex, look: Look) {
        let Some((at, is_whole)) = look(asked, index) else {
            return;
        };
        let looks = &self.looks[usize::from(!at.0.is_multiple_of(2))];
        looks.fetch_add(1, Ordering::SeqCst);
        self.torn.fetch_add(u64::from(!is_whole), Ordering::SeqCst);
    }

    fn looks(&self) -> u64 {
        let [even, odd] = &self.looks;
        even.load(Ordering::SeqCst) + odd.load(Ordering::SeqCst)
    }

    /// Waits until so many more looks have come to an end that at least one of them began just now.
    fn wait(&self) {
        let looks = self.looks() + READERS as u64 + 1;
        while self.looks() < looks && !self.has_panicked.load(Ordering::SeqCst) {
            yield_now();
        }
    }
}

/// Readers look for as long as the world turns.
fn race(turns: usize, look: Look, advance: Advance) -> Seen {
    let (mut scene, asked) = Scene::new();
    let index = scene.access.index();
    let seen = Seen::default();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                let _on_panic = OnPanic(&seen);
                while !is_over.load(Ordering::SeqCst) {
                    seen.look(&asked, &index, look);
                }
            });
        }
        for number in 0..turns {
            let text = turn(number.is_multiple_of(2));
            scene.tell(&text, |writer, after, touched| {
                advance(writer, after, touched, &|| seen.wait());
            });
            seen.wait();
        }
        is_over.store(true, Ordering::SeqCst);
    });
    seen
}

#[track_caller]
fn assert_whole(look: Look) {
    let seen = race(TURNS, look, |writer, after, touched, _| {
        whole(writer, after, touched);
    });
    let [even, odd] = seen.looks.map(AtomicU64::into_inner);
    assert!(even > 0 && odd > 0, "{even} and {odd} looks");
    assert_eq!(seen.torn.into_inner(), 0, "torn of {even} and {odd} looks");
}

#[test]
fn a_check_sees_one_revision_while_the_writer_goes_on() {
    assert_whole(check);
}

#[test]
fn a_batch_of_a_thousand_questions_sees_one_revision_while_the_writer_goes_on() {
    assert_whole(batch);
}

#[test]
fn a_search_for_users_sees_one_revision_while_the_writer_goes_on() {
    assert_whole(users);
}

#[test]
fn a_search_for_resources_sees_one_revision_while_the_writer_goes_on() {
    assert_whole(resources);
}

#[test]
fn a_change_that_comes_in_two_parts_is_noticed_by_each_of_them() {
    for (name, look) in [
        ("a check", check as Look),
        ("a batch", batch),
        ("a search for users", users),
        ("a search for resources", resources),
    ] {
        let torn = race(4, look, in_two_parts).torn.into_inner();
        assert!(torn > 0, "{name} did not notice");
    }
}

/// Else whoever is sent from the index to the state would find an older one there, or a newer one and go back.
#[test]
fn the_state_is_exchanged_while_the_index_sends_its_readers_there() {
    let (mut scene, asked) = Scene::new();
    let index = scene.access.index();
    let ask = || {
        let decided = index.decide(&asked.questions[0], NOW);
        decided.map(|(_, revision)| revision)
    };
    assert_eq!(ask(), Some(Revision(2)));
    let mut during = Some(Revision(0));
    scene.tell(&turn(true), |writer, after, touched| {
        during = writer.advance(after, touched, ask);
    });
    assert_eq!((during, ask()), (None, Some(Revision(3))));
}

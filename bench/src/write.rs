//! Changes, and readers meanwhile.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use bindery_core::access::{AccessIndex, AccessWriter, Touched};
use bindery_core::change::OneOperation;
use bindery_core::change::{Change, Entry};
use bindery_core::id::{Id as _, ProjectId, RoleBindingId, RoleId, UserId};
use bindery_core::resource::Bindable;
use bindery_core::role::CUSTOM_FIRST;
use bindery_core::state::State;

use crate::changes::{NOW, binding};
use crate::questions::Asked;
use crate::random::Random;
use crate::row::{Goal, Row, Unit};
use crate::setting::Setting;
use crate::size::Size;
use crate::time::{Latencies, Samples, each, rounds};

const ROUNDS: usize = 40;
/// How long readers read in each round, with changes and without.
const SLICE: Duration = Duration::from_millis(150);
/// Between two changes.
const PACE: Duration = Duration::from_millis(1);
const FLAT_OUT: usize = 20_000;
/// Questions between two looks at the clock.
const CHUNK: usize = 1024;

/// What the writer is at.
const IDLE: u8 = 0;
const AT_WORK: u8 = 1;
const DONE: u8 = 2;

/// Takes the state and the index with it: they are others afterwards.
pub(crate) fn rows(setting: Setting) -> Result<Vec<Row>> {
    let size = setting.world.size;
    let Setting {
        state,
        writer,
        index,
        questions,
        ..
    } = setting;
    let mut account = Account::new(state, writer, size);
    let beside = beside_reader(&mut account, &index, &questions)?;
    let flat_out = (0..FLAT_OUT).map(|_| account.change()).collect();
    account.check(&questions)?;
    let Beside { quiet, busy, paced } = beside;
    Ok(vec![
        Row {
            what: "checks while 1,000 changes a second are applied, against none".to_owned(),
            measured: busy.over(&quiet),
            unit: Unit::Times,
            goal: size.at_large(Goal::AtMost(1.1)),
            from: format!("{:.1} ns against {:.1} ns", busy.median(), quiet.median()),
        },
        applied(
            "1,000 a second beside a reader",
            paced,
            size.at_large(Goal::AtMost(10.0)),
        ),
        applied("one after the other", flat_out, Goal::Open),
    ])
}

fn applied(what: &str, times: Vec<f64>, goal: Goal) -> Row {
    let count = times.len();
    let mut times = Latencies::from_nanos(times);
    Row {
        what: format!("one change in memory, state and index, {what}, p99"),
        measured: times.quantile(0.99) / 1e3,
        unit: Unit::Microseconds,
        goal,
        from: format!("p50 {:.1} us, of {count}", times.quantile(0.5) / 1e3),
    }
}

struct Beside {
    /// Nanoseconds a check while nobody writes.
    quiet: Samples,
    /// The same while somebody does.
    busy: Samples,
    /// Nanoseconds of each change.
    paced: Vec<f64>,
}

/// Reads without stopping, while another thread writes in every other slice of time.
fn beside_reader(
    account: &mut Account,
    index: &AccessIndex,
    questions: &[Asked],
) -> Result<Beside> {
    let signal = AtomicU8::new(IDLE);
    let (paced, read) = thread::scope(|scope| {
        let writing = scope.spawn(|| account.follow(&signal));
        let mut chunks = questions.chunks_exact(CHUNK).cycle();
        let read = rounds(ROUNDS, |_, contestant| {
            signal.store([IDLE, AT_WORK][contestant], Ordering::Relaxed);
            thread::sleep(2 * PACE);
            let (begun, mut nanos, mut count) = (Instant::now(), 0.0, 0.0);
            while begun.elapsed() < SLICE {
                let chunk = chunks.next().context("there are questions")?;
                nanos += each(CHUNK, || {
                    for asked in chunk {
                        black_box(index.decide(&asked.question, NOW));
                    }
                });
                count += 1.0;
            }
            Ok(nanos / count)
        });
        signal.store(DONE, Ordering::Relaxed);
        (writing.join(), read)
    });
    let [quiet, busy] = read?;
    let paced = paced.map_err(|_| anyhow!("the writer has panicked"))?;
    Ok(Beside { quiet, busy, paced })
}

/// State and index as the writer of an account keeps them: each change makes the next state, which is published.
struct Account {
    state: State,
    access: AccessWriter,
    published: Arc<State>,
    touched: Vec<Touched>,
    random: Random,
    size: Size,
    last_binding: u32,
}

impl Account {
    fn new(state: State, access: AccessWriter, size: Size) -> Self {
        let last = state
            .issued()
            .find(|(kind, _)| *kind == RoleBindingId::KIND);
        Self {
            published: Arc::new(state.clone()),
            state,
            access,
            touched: Vec::new(),
            random: Random::new(19),
            size,
            last_binding: last.map_or(0, |(_, number)| number),
        }
    }

    /// Makes changes at the pace while it is told to, and tells how long each took.
    fn follow(&mut self, signal: &AtomicU8) -> Vec<f64> {
        let mut times = Vec::new();
        let mut next = Instant::now();
        loop {
            match signal.load(Ordering::Relaxed) {
                DONE => return times,
                AT_WORK => times.push(self.change()),
                _ => {}
            }
            next = (next + PACE).max(Instant::now());
            thread::sleep(next - Instant::now());
        }
    }

    /// After all of it, the index says what the state says.
    fn check(&self, questions: &[Asked]) -> Result<()> {
        let index = self.access.index();
        for asked in questions {
            let by_index = index.decide(&asked.question, NOW);
            let by_state = self.state.decide(&asked.question, NOW);
            ensure!(
                by_index == Some((by_state, self.state.revision())),
                "the index says {by_index:?} to {asked:?}, the state {by_state:?}"
            );
        }
        Ok(())
    }

    /// A binding that is new, has another role, or is gone, applied and published; how long that took, in nanoseconds.
    fn change(&mut self) -> f64 {
        let entry = Entry::from(OneOperation {
            revision: self.state.revision().next(),
            at: NOW,
            by: None,
            key: None,
            operation: String::new(),
            batch: 0,
            changes: vec![self.next_change()],
        });
        let begun = Instant::now();
        self.touched.clear();
        self.state.advance_noting(&entry, &mut self.touched);
        let published = &mut self.published;
        let state = &self.state;
        self.access.advance(state, &self.touched, || {
            *published = Arc::new(state.clone());
        });
        begun.elapsed().as_nanos() as f64
    }

    fn next_change(&mut self) -> Change {
        let role = RoleId::new(CUSTOM_FIRST + self.random.below(50));
        let old = RoleBindingId::new(self.random.below(self.last_binding) + 1);
        match (self.random.below(4), self.state.role_binding(old)) {
            (0, Some(_)) => Change::DeleteRoleBinding(old),
            (1, Some(old)) => Change::PutRoleBinding(binding(old.id, old.user, old.resource, role)),
            _ => loop {
                let user = UserId::new(self.random.below(self.size.users()) + 1);
                let project = ProjectId::new(self.random.below(self.size.projects()) + 1);
                let resource = Bindable::Project(project);
                if self.state.role_binding_on(resource, user).is_none() {
                    self.last_binding += 1;
                    let id = RoleBindingId::new(self.last_binding);
                    break Change::PutRoleBinding(binding(id, user, resource, role));
                }
            },
        }
    }
}

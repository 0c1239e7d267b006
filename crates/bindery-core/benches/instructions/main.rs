//! The paths that `cargo xtask instructions` counts the instructions of: `KIND COUNT` makes so many decisions of one kind on
//! the small account of the lists' benchmark. Nothing is measured here.

#![expect(
    clippy::unwrap_used,
    reason = "the account is made of good texts, and a kind that is misspelt is a mistake"
)]

use std::hint::black_box;

use bindery_core::access::{AccessIndex, AccessWriter};
use bindery_core::decision::{CutGrant, Decision, Grant, Lack, Question};
use bindery_core::id::{ProjectId, UserId};
use bindery_core::permission::Permission;
use bindery_core::resource::{Bindable, Resource};

use world::{NOW, SMALL, build};

#[expect(dead_code, reason = "it is the world of another benchmark")]
#[path = "../lists/world.rs"]
mod world;

/// So many different questions of a kind take turns.
const QUESTIONS: usize = 64;
/// Questions of a batch.
const BATCH: usize = 100;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` adds a word of its own.
    let [kind, count, ..] = arguments.as_slice() else {
        return;
    };
    let count: usize = count.parse().unwrap();
    let state = build(SMALL);
    let index = AccessWriter::new(&state).index();
    match kind.as_str() {
        "batch" => {
            let batch: Vec<Question> = mixed(&index).into_iter().cycle().take(BATCH).collect();
            let mut decisions = Vec::with_capacity(BATCH);
            for _ in 0..count / BATCH {
                black_box(index.decide_many(black_box(&batch), NOW, &mut decisions));
            }
        }
        "batch_plain" => {
            let batch: Vec<Question> = mixed(&index).into_iter().cycle().take(BATCH).collect();
            let mut answers = Vec::with_capacity(BATCH);
            for _ in 0..count / BATCH {
                black_box(index.allows_many(black_box(&batch), NOW, &mut answers));
            }
        }
        "plain" => {
            let some = mixed(&index);
            for question in some.iter().cycle().take(count) {
                black_box(index.allows(black_box(question), NOW));
            }
        }
        "encoded" => {
            let ids = state.ids();
            let texts: Vec<[String; 2]> = mixed(&index)
                .iter()
                .map(|question| match question.resource {
                    Resource::Project(id) => [ids.encode(question.principal), ids.encode(id)],
                    other => unreachable!("{other:?}"),
                })
                .collect();
            for [user, project] in texts.iter().cycle().take(count) {
                let question = Question {
                    principal: ids.parse(black_box(user)).unwrap(),
                    permission: Permission::from_name(black_box("PROJECT_READ")).unwrap(),
                    resource: Resource::Project(ids.parse(black_box(project)).unwrap()),
                };
                black_box(index.allows(&question, NOW));
            }
        }
        "entities" => {
            let some = mixed(&index);
            for question in some.iter().cycle().take(count) {
                black_box(state.decide(black_box(question), NOW));
            }
        }
        kind => {
            let some = questions(&index, |decision| is_of(kind, decision));
            for question in some.iter().cycle().take(count) {
                black_box(index.decide(black_box(question), NOW));
            }
        }
    }
}

/// Of each kind in turn.
fn mixed(index: &AccessIndex) -> Vec<Question> {
    let of = |kind| questions(index, move |decision| is_of(kind, decision));
    let kinds = ["bound", "fallback", "restricted", "nothing"].map(of);
    (0..QUESTIONS)
        .map(|at| {
            let kind = &kinds[at % kinds.len()];
            kind[at % kind.len()]
        })
        .collect()
}

fn is_of(kind: &str, decision: &Decision) -> bool {
    match decision {
        Decision::Allowed(Grant::RoleBinding(Bindable::Project(_), _)) => kind == "bound",
        Decision::Allowed(Grant::PublicSpace(..)) => kind == "fallback",
        Decision::Denied(Lack::Restriction(_, CutGrant::RoleBinding(_))) => kind == "restricted",
        Decision::Denied(Lack::Grant) => kind == "nothing",
        _ => false,
    }
}

fn questions(index: &AccessIndex, wanted: impl Fn(&Decision) -> bool) -> Vec<Question> {
    let everyone = (1..=SMALL.users).map(UserId::new);
    let everything =
        everyone.flat_map(|user| (1..=SMALL.projects).map(move |project| (user, project)));
    let mut found = Vec::new();
    for (user, project) in everything {
        let question = Question {
            principal: user,
            permission: Permission::ProjectRead,
            resource: Resource::Project(ProjectId::new(project)),
        };
        let (decision, _) = index.decide(&question, NOW).unwrap();
        if wanted(&decision) {
            found.push(question);
        }
        if found.len() == QUESTIONS {
            return found;
        }
    }
    assert!(!found.is_empty(), "there is no question of this kind");
    found
}

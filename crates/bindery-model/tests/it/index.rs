//! The access index agrees with the entities: after every change, when bulk-built, on many questions, and in
//! searches.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use bindery_core::access::{AccessIndex, AccessWriter, Answered, Touched};
use bindery_core::decision::{Decision, Place, Question};
use bindery_core::id::Id as _;
use bindery_core::permission::Permission;
use bindery_core::resource::{Level, Resource};
use bindery_core::role::CUSTOM_FIRST;
use bindery_core::state::{Loading, State};
use bindery_core::time::Timestamp;
use bindery_model::history::History;
use proptest::prelude::{prop_assert, prop_assert_eq};
use proptest::test_runner::{TestCaseError, TestCaseResult};

use crate::planted::assert_caught;
use crate::play::Play;
use crate::questions::{ends_of_bots, every_question, permissions};
use crate::runner::{check, check_until};

/// A few of each kind of rule.
const ASKED: [Permission; 4] = [
    Permission::ProjectRead,
    Permission::ProjectRestrict,
    Permission::SpaceUpdate,
    Permission::OrganizationRead,
];

#[test]
fn the_index_says_what_the_entities_say_after_every_change() {
    check(48, 1..120, |history| {
        let mut play = Play::new(history);
        play.run(history, |play, turn| {
            if turn
                .engine
                .as_ref()
                .is_ok_and(|changes| !changes.is_empty())
            {
                let questions: Vec<Question> = every_question(&play.model, &ASKED).collect();
                compare(&play.access.index(), &play.state, &questions, play.now)?;
            }
            Ok(())
        })
    });
}

#[test]
fn an_index_built_at_once_says_what_one_says_that_came_along() {
    check(96, 1..200, |history| {
        let play = Play::of(history);
        let asked = permissions(history);
        let questions: Vec<Question> = every_question(&play.model, &asked).collect();
        let built = AccessWriter::new(&play.state).index();
        let mut moments = vec![play.now];
        moments.extend(ends_of_bots(&play.model).into_iter().map(|(_, end)| end));
        for now in moments {
            if now >= play.state.latest() {
                compare(&built, &play.state, &questions, now)?;
            }
        }
        Ok(())
    });
}

#[test]
fn an_index_that_gets_the_difference_of_two_states_agrees_with_the_second() {
    check(96, 1..200, |history| {
        let play = Play::of(history);
        let questions: Vec<Question> = every_question(&play.model, &ASKED).collect();
        let mut state = State::new(history.account());
        let mut before = Vec::new();
        for (count, entry) in play.entries.iter().enumerate() {
            if count % 16 == 0 {
                before.push(state.clone());
            }
            state.advance(entry);
        }
        // Loaded, so that it shares nothing with earlier states.
        let mut loading = Loading::new(state.account().clone());
        for record in play.records.values() {
            loading.put(record.clone());
        }
        let loaded = loading.finish(state.position(), state.latest(), state.issued());
        // Backwards as well: a log can be rolled back.
        for before in before {
            let mut access = AccessWriter::new(&before);
            for (from, to) in [(&before, &loaded), (&loaded, &before)] {
                access.advance(to, &Touched::between(from, to), || {});
                compare(&access.index(), to, &questions, play.now)?;
                // Searches must not find deleted things, which no question about existing things would
                // notice.
                compare_searches(&access.index(), to, &questions, play.now)?;
                prop_assert_eq!(access.index().disagreement(to), None);
            }
        }
        Ok(())
    });
}

#[test]
fn a_search_finds_what_checks_allow_and_nothing_else() {
    let found_ever = RefCell::new(0_usize);
    let seen_enough = || *found_ever.borrow() > 10_000;
    check_until(seen_enough, 96, 1..200, |history| {
        let play = Play::of(history);
        let mut asked = permissions(history);
        asked.truncate(12);
        let questions: Vec<Question> = every_question(&play.model, &asked).collect();
        let index = play.access.index();
        *found_ever.borrow_mut() += compare_searches(&index, &play.state, &questions, play.now)?;
        Ok(())
    });
}

#[test]
fn an_index_that_misses_a_restriction_is_caught() {
    assert_caught(|history| without(history, |one| matches!(one, Touched::Project(_))));
}

#[test]
fn an_index_that_misses_a_role_that_was_bound_is_caught() {
    assert_caught(|history| without(history, |one| matches!(one, Touched::BoundRole(..))));
}

/// The index gets all facts except these.
fn without(history: &History, is_missed: impl Fn(&Touched) -> bool) -> TestCaseResult {
    let play = Play::of(history);
    let mut state = State::new(history.account());
    let mut access = AccessWriter::new(&state);
    for entry in &play.entries {
        let mut touched = Vec::new();
        state.advance_noting(entry, &mut touched);
        touched.retain(|one| !is_missed(one));
        access.advance(&state, &touched, || {});
    }
    let questions: Vec<Question> = every_question(&play.model, &ASKED).collect();
    compare(&access.index(), &state, &questions, play.now)
}

/// Runs every search that covers these questions. Returns the number of results.
fn compare_searches(
    index: &AccessIndex,
    state: &State,
    questions: &[Question],
    now: Timestamp,
) -> Result<usize, TestCaseError> {
    let mut allowed = BTreeSet::new();
    let (mut users, mut resources, mut permissions) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for question in questions {
        let (user, resource) = (question.principal, question.resource);
        users.insert(user);
        resources.insert(resource);
        permissions.insert(question.permission);
        if state.decide(question, now).is_allowed() {
            allowed.insert((user, resource, question.permission));
        }
    }
    let levels = [
        Level::Account,
        Level::Organization,
        Level::Space,
        Level::Project,
    ];
    let (mut by_user, mut by_resource) = (BTreeSet::new(), BTreeSet::new());
    let (mut found, mut people) = (Vec::new(), Vec::new());
    for permission in permissions {
        for (user, level) in users
            .iter()
            .flat_map(|user| levels.map(|level| (*user, level)))
        {
            let at = index.resources_of(user, permission, level, now, &mut found);
            prop_assert_eq!(at, Some(state.revision()));
            for resource in &found {
                prop_assert!(by_user.insert((user, *resource, permission)), "twice");
            }
        }
        for resource in &resources {
            let at = index.users_of(*resource, permission, now, &mut people);
            prop_assert_eq!(at, Some(state.revision()));
            for user in &people {
                prop_assert!(by_resource.insert((*user, *resource, permission)), "twice");
            }
        }
    }
    prop_assert_eq!(&by_user, &allowed);
    prop_assert_eq!(&by_resource, &allowed);
    Ok(allowed.len())
}

/// One by one and all at once, including reasons.
fn compare(
    index: &AccessIndex,
    state: &State,
    questions: &[Question],
    now: Timestamp,
) -> TestCaseResult {
    let mut decisions = Vec::new();
    let at = index.decide_many(questions, now, &mut decisions);
    let all_at = Answered {
        revision: state.revision(),
        ask_state: Vec::new(),
    };
    prop_assert_eq!(at.as_ref(), Some(&all_at));
    prop_assert_eq!(decisions.len(), questions.len());
    let mut answers = Vec::new();
    let at = index.allows_many(questions, now, &mut answers);
    prop_assert_eq!(at, Some(all_at));
    let expected: Vec<bool> = decisions.iter().map(|one| one.is_allowed()).collect();
    prop_assert_eq!(answers, expected);
    for (question, decision) in questions.iter().zip(&decisions) {
        let by_entities = state.decide(question, now);
        prop_assert_eq!(*decision, by_entities, "{:?}", question);
        let alone = index.decide(question, now);
        prop_assert_eq!(
            alone,
            Some((by_entities, state.revision())),
            "{:?}",
            question
        );
        let without_reason = index.allows(question, now);
        let expected = (by_entities.is_allowed(), state.revision());
        prop_assert_eq!(without_reason, Some(expected), "{:?}", question);
    }
    Ok(())
}

/// An index with codes for too few custom roles asks the state about users who hold the others, and about no others.
#[test]
fn an_index_that_lacks_codes_asks_the_state_for_the_questions_that_need_them_alone() {
    let (asked, answered_beside) = (Cell::new(0_u64), Cell::new(0_u64));
    let has_seen_both = || asked.get() > 1_000 && answered_beside.get() > 1_000;
    check_until(has_seen_both, 64, 1..200, |history| {
        for custom_roles in [0, 1] {
            let mut state = State::new(history.account());
            let mut access = AccessWriter::with_custom_roles(&state, custom_roles);
            let play = Play::of(history);
            for entry in &play.entries {
                let mut touched = Vec::new();
                state.advance_noting(entry, &mut touched);
                access.advance(&state, &touched, || {});
            }
            let questions: Vec<Question> = every_question(&play.model, &ASKED).collect();
            let built = AccessWriter::with_custom_roles(&state, custom_roles);
            prop_assert_eq!(access.index().disagreement(&state), None);
            prop_assert_eq!(built.index().disagreement(&state), None);
            for index in [access.index(), built.index()] {
                let asks = compare_known(&index, &state, &questions, play.now)?;
                asked.set(asked.get() + asks);
                if asks > 0 {
                    answered_beside.set(answered_beside.get() + questions.len() as u64 - asks);
                }
            }
        }
        Ok(())
    });
}

/// What the index knows is right, alone and in a batch, and what it doesn't is left to the state; how many questions that are.
fn compare_known(
    index: &AccessIndex,
    state: &State,
    questions: &[Question],
    now: Timestamp,
) -> Result<u64, TestCaseError> {
    let (mut decisions, mut answers) = (Vec::new(), Vec::new());
    let decided = index
        .decide_many(questions, now, &mut decisions)
        .expect("it is open");
    let allowed = index
        .allows_many(questions, now, &mut answers)
        .expect("it is open");
    prop_assert_eq!(&decided, &allowed);
    prop_assert_eq!(decided.revision, state.revision());
    let held = |user, on| {
        state
            .bound_role(user, on)
            .is_some_and(|role| role.number() >= CUSTOM_FIRST)
    };
    for (place, question) in questions.iter().enumerate() {
        let asks = decided.ask_state.contains(&place);
        let expected = state.decide(question, now);
        let alone = index.decide(question, now).map(|(decision, _)| decision);
        let without_reason = index
            .allows(question, now)
            .map(|(is_allowed, _)| is_allowed);
        let known = (!asks).then_some(expected);
        prop_assert_eq!(alone, known, "{:?}", question);
        prop_assert_eq!(
            without_reason,
            known.map(Decision::is_allowed),
            "{:?}",
            question
        );
        if asks {
            let space = state.place(question.resource).and_then(Place::space);
            let user = question.principal;
            let is_on_space = space.is_some_and(|space| held(user, space.space.into()));
            let is_on_project = match question.resource {
                Resource::Project(project) => held(user, project.into()),
                _ => false,
            };
            prop_assert!(
                is_on_space || is_on_project,
                "{:?} needs no custom role",
                question
            );
        } else {
            prop_assert_eq!(decisions[place], expected, "{:?}", question);
            prop_assert_eq!(answers[place], expected.is_allowed(), "{:?}", question);
        }
    }
    Ok(decided.ask_state.len() as u64)
}

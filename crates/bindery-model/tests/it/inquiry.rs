//! Who may ask about which subject agrees with the model, and a search finds exactly what may be asked and is
//! allowed.

use std::cell::Cell;

use bindery_core::command::{Caller, Context};
use bindery_core::decision::Question;
use bindery_core::id::{ApiKeyId, UserId};
use bindery_core::inquiry::{Found, SubjectKind};
use bindery_core::permission::Permission;
use bindery_core::resource::{Level, Resource};
use bindery_core::state::State;
use bindery_core::user::Identity;
use bindery_model::history::History;
use bindery_model::model::Model;
use proptest::prelude::{prop_assert, prop_assert_eq};
use proptest::test_runner::TestCaseResult;

use crate::planted::assert_caught;
use crate::play::Play;
use crate::questions::{ever, permissions, resources};
use crate::runner::check_until;

const LEVELS: [Level; 4] = [
    Level::Account,
    Level::Organization,
    Level::Space,
    Level::Project,
];

/// Every possible caller: each key, the operator, and a person without a key.
pub(crate) fn callers(play: &Play) -> Vec<Context> {
    let keys = play.model.api_keys.iter().map(|key| Caller::Key {
        user: key.principal(),
        key: key.id,
    });
    let others = [Caller::Operator, Caller::Person(UserId::new(1))];
    keys.chain(others)
        .map(|caller| Context {
            caller,
            now: play.now,
        })
        .collect()
}

#[test]
fn who_may_ask_is_what_the_model_says() {
    let (asked, permitted, marked) = (Cell::new(0_u64), Cell::new(0_u64), Cell::new(0_u64));
    let seen_enough = || marked.get() > 20 && permitted.get() * 100 > asked.get();
    check_until(seen_enough, 192, 1..200, |history| {
        let play = Play::of(history);
        let subjects = ever::<UserId>(&play.model);
        for context in callers(&play) {
            for subject in &subjects {
                for resource in resources(&play.model) {
                    let by_engine = play.state.may_ask(&context, *subject, resource);
                    let by_model = play.model.may_ask(&context, *subject, resource);
                    prop_assert!(
                        by_engine == by_model,
                        "{context:?} about {subject:?} on {resource:?}: the engine says {by_engine}, after\n{}",
                        play.transcript
                    );
                    asked.set(asked.get() + 1);
                    permitted.set(permitted.get() + u64::from(by_engine));
                }
            }
            let is_marked_only = play.model.asks_about_everything(&context)
                && !play.model.is_account_admin(context.user(), context.now);
            marked.set(marked.get() + u64::from(is_marked_only));
        }
        Ok(())
    });
    println!(
        "{asked:?} pairs, {permitted:?} permitted, {marked:?} enforcement points that are no admins"
    );
}

#[test]
fn a_search_finds_exactly_what_is_allowed_and_may_be_asked() {
    let found = Cell::new(0);
    check_until(
        || found.get() > 10_000,
        96,
        1..160,
        |history| {
            let play = Play::of(history);
            found.set(found.get() + check_searches(&play, history, &search)?);
            Ok(())
        },
    );
    println!("{found:?} found");
}

#[test]
fn a_search_that_forgets_who_asks_is_caught() {
    assert_caught(|history| {
        let play = Play::of(history);
        let forgetful = |state: &State, context: &Context, wanted: &Wanted| {
            let operator = Context {
                caller: Caller::Key {
                    user: UserId::new(1),
                    key: ApiKeyId::new(1),
                },
                now: context.now,
            };
            search(state, &operator, wanted)
        };
        check_searches(&play, history, &forgetful).map(|_| ())
    });
}

/// A search of one of the three kinds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    Subjects(SubjectKind, Permission, Resource),
    Resources(UserId, Permission, Level),
    Permissions(UserId, Resource),
}

/// The results of the engine.
pub(crate) fn search(state: &State, context: &Context, wanted: &Wanted) -> Found {
    match *wanted {
        Wanted::Subjects(kind, permission, resource) => {
            let users = state.users_of(permission, resource, context.now);
            state.askable_subjects(context, kind, resource, users)
        }
        Wanted::Resources(subject, permission, level) => {
            let resources = state.resources_of(subject, permission, level, context.now);
            state.askable_resources(context, subject, resources)
        }
        Wanted::Permissions(subject, resource) => {
            state.askable_permissions(context, subject, resource)
        }
    }
}

/// The results of the model, one by one.
pub(crate) fn brute_force(model: &Model, context: &Context, wanted: &Wanted) -> Found {
    let holds = |principal, permission, resource| {
        let question = Question {
            principal,
            permission,
            resource,
        };
        model.may(&question, context.now) && model.may_ask(context, principal, resource)
    };
    match *wanted {
        Wanted::Subjects(SubjectKind::User, permission, resource) => Found::Users(
            ever(model)
                .into_iter()
                .filter(|user| holds(*user, permission, resource))
                .collect(),
        ),
        Wanted::Subjects(SubjectKind::ServiceKey, permission, resource) => Found::ServiceKeys(
            ever(model)
                .into_iter()
                .filter(|key| {
                    bot_of(model, *key).is_some_and(|bot| holds(bot, permission, resource))
                })
                .collect(),
        ),
        Wanted::Resources(subject, permission, level) => Found::Resources(
            resources(model)
                .into_iter()
                .filter(|resource| resource.level() == level)
                .filter(|resource| holds(subject, permission, *resource))
                .collect(),
        ),
        Wanted::Permissions(subject, resource) => Found::Permissions(
            Permission::ALL
                .into_iter()
                .filter(|permission| holds(subject, *permission, resource))
                .collect(),
        ),
    }
}

fn bot_of(model: &Model, key: ApiKeyId) -> Option<UserId> {
    let mut users = model.users.iter();
    let bot = users.find(|user| matches!(user.identity, Identity::Bot { key: of } if of == key));
    bot.map(|bot| bot.id)
}

/// Some searches of every kind after this history, by every caller.
pub(crate) fn searches(model: &Model, history: &History) -> Vec<Wanted> {
    let mut asked = permissions(history);
    asked.truncate(4);
    asked.push(Permission::ProjectRead);
    let mut wanted = Vec::new();
    for resource in resources(model) {
        for permission in &asked {
            wanted.push(Wanted::Subjects(SubjectKind::User, *permission, resource));
            wanted.push(Wanted::Subjects(
                SubjectKind::ServiceKey,
                *permission,
                resource,
            ));
        }
    }
    for subject in ever::<UserId>(model) {
        for level in LEVELS {
            let of = |permission: &Permission| Wanted::Resources(subject, *permission, level);
            wanted.extend(asked.iter().map(of));
        }
        let on = |resource: Resource| Wanted::Permissions(subject, resource);
        // Each subject on a few: each pair is asked 151 questions.
        let some = resources(model).into_iter().step_by(3);
        wanted.extend(some.map(on));
    }
    wanted
}

fn check_searches(
    play: &Play,
    history: &History,
    search: &dyn Fn(&State, &Context, &Wanted) -> Found,
) -> Result<usize, proptest::test_runner::TestCaseError> {
    let mut found = 0;
    let all = searches(&play.model, history);
    for (context, place) in callers(play).iter().zip(0..) {
        // Callers take turns: each of them runs each kind in some history.
        for wanted in all.iter().skip(place % 3).step_by(3) {
            let by_engine = search(&play.state, context, wanted);
            found += by_engine.len();
            check_one(play, context, wanted, &by_engine)?;
        }
    }
    Ok(found)
}

fn check_one(play: &Play, context: &Context, wanted: &Wanted, by_engine: &Found) -> TestCaseResult {
    let by_model = brute_force(&play.model, context, wanted);
    prop_assert_eq!(
        by_engine,
        &by_model,
        "{:?} asks for {:?}, after\n{}",
        context,
        wanted,
        play.transcript
    );
    Ok(())
}

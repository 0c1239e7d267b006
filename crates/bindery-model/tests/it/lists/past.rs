//! Lists of the past: exactly what was there then and today's rights show.

use std::cell::Cell;

use bindery_core::command::{Caller, Context};
use bindery_core::decision::Question;
use bindery_core::id::{ApiKeyId, Id, UserId};
use bindery_core::permission::Permission;
use bindery_core::query::Reader;
use bindery_core::resource::{BindableKind, Resource};
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_core::user::{Identity, Standing};
use bindery_model::model::Model;
use proptest::prelude::prop_assert_eq;

use super::list::List;
use crate::play::Play;
use crate::questions::ever;
use crate::runner::check_until;

/// A moment of a history that is asked about later.
struct Past {
    state: State,
    model: Model,
    moment: Timestamp,
}

/// How many moments of a history are asked about.
const PASTS: usize = 4;

#[test]
fn a_list_of_the_past_has_what_was_there_then_and_todays_rights_show() {
    let (listed, deleted) = (Cell::new(0_u64), Cell::new(0_u64));
    let has_met_deleted = || deleted.get() > 0;
    check_until(has_met_deleted, 64, 1..120, |history| {
        let (mut play, mut pasts) = (Play::new(history), Vec::new());
        let step = history.steps.len() / PASTS + 1;
        let mut turns = 0;
        play.run(history, |play, _| {
            if turns % step == 0 {
                pasts.push(Past {
                    state: play.state.clone(),
                    model: play.model.clone(),
                    moment: play.now,
                });
            }
            turns += 1;
            Ok(())
        })?;
        for past in &pasts {
            for context in contexts(&play) {
                let reader = Reader::past(context, &play.state, &past.state, past.moment);
                for (list, expected) in expected(past, &play.model, &context) {
                    let page = list.page(&reader, None, usize::MAX);
                    let found = page.map(|page| page.items).unwrap_or_default();
                    let of = (&list, context, past.moment);
                    prop_assert_eq!(&found, &expected, "{:?} after\n{}", of, play.transcript);
                    let is_gone = |number: &&u32| is_gone(&list, **number, &play.model);
                    listed.set(listed.get() + expected.len() as u64);
                    deleted.set(deleted.get() + expected.iter().filter(is_gone).count() as u64);
                }
            }
        }
        Ok(())
    });
    println!(
        "{} listed, {} of it deleted since",
        listed.get(),
        deleted.get()
    );
}

/// Everyone, without a key and with each that is an enforcement point.
fn contexts(play: &Play) -> Vec<Context> {
    let points = play.model.api_keys.iter();
    let points = points.filter(|key| key.is_enforcement_point);
    let points = points.map(|key| (key.principal(), key.id));
    let everyone = ever::<UserId>(&play.model).into_iter();
    let everyone = everyone.map(|user| (user, ApiKeyId::NOBODY));
    let callers = everyone.chain(points);
    let context = |(user, key)| Context {
        caller: Caller::Key { user, key },
        now: play.now,
    };
    callers.map(context).collect()
}

/// The lists, and what is in them: a look at everything that was there then.
fn expected(past: &Past, today: &Model, context: &Context) -> Vec<(List, Vec<u32>)> {
    let (then, user, now) = (&past.model, context.user(), context.now);
    let may = |permission, resource: Resource| {
        let question = Question {
            principal: user,
            permission,
            resource,
        };
        if is_there(today, resource) {
            today.may(&question, now)
        } else {
            sees_deleted(today, context)
        }
    };
    let organizations = then.organizations.iter().map(|one| one.id).filter(|id| {
        today.is_organization_visible(user, *id, now)
            || !is_there(today, (*id).into()) && sees_deleted(today, context)
    });
    let spaces = then.spaces.iter().map(|one| one.id).filter(|id| {
        today.is_space_visible(user, *id, now)
            || !is_there(today, (*id).into()) && sees_deleted(today, context)
    });
    let projects = then.projects.iter().map(|one| one.id);
    let projects = projects.filter(|id| may(Permission::ProjectRead, (*id).into()));
    let restrictions = then.restrictions.iter().map(|one| one.project);
    let restrictions = restrictions.filter(|id| may(Permission::ProjectRestrict, (*id).into()));
    let bindings = |kind: BindableKind| {
        let bindings = then.role_bindings.iter();
        let bindings = bindings.filter(move |one| one.resource.kind() == kind);
        bindings.filter(|one| may(Permission::RoleBindingRead, one.resource.into()))
    };
    let is_gone = |id| {
        today
            .user(id)
            .is_none_or(|one| one.standing == Standing::Inactive)
    };
    let people = then.users.iter().filter(|one| {
        matches!(one.identity, Identity::Human { .. })
            && one.standing != Standing::Inactive
            && may(Permission::UserRead, Resource::Account)
            && (!is_gone(one.id) || sees_deleted(today, context))
    });
    let all = |kind| sorted(bindings(kind).map(|one| one.id.number()));
    vec![
        (
            List::Organizations { name: "" },
            sorted(organizations.map(Id::number)),
        ),
        (
            List::Spaces { of: None, name: "" },
            sorted(spaces.map(Id::number)),
        ),
        (
            List::Projects {
                space: None,
                space_name: "",
                name: "",
            },
            sorted(projects.map(Id::number)),
        ),
        (List::Restrictions, sorted(restrictions.map(Id::number))),
        (
            List::RoleBindings(BindableKind::Space, None),
            all(BindableKind::Space),
        ),
        (
            List::RoleBindings(BindableKind::Project, None),
            all(BindableKind::Project),
        ),
        (
            List::Users {
                email: "",
                statuses: &[],
            },
            sorted(people.map(|one| one.id.number())),
        ),
    ]
}

fn sorted(numbers: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

fn is_there(model: &Model, resource: Resource) -> bool {
    match resource {
        Resource::Account => true,
        Resource::Organization(id) => model.organization(id).is_some(),
        Resource::Space(id) => model.space(id).is_some(),
        Resource::Project(id) => model.project(id).is_some(),
    }
}

/// Account admins, and enforcement points whose user may act.
fn sees_deleted(today: &Model, context: &Context) -> bool {
    today.asks_about_everything(context) && today.acts(context.user(), context.now)
}

/// Whether the thing with this number of a list isn't there any more.
fn is_gone(list: &List, number: u32, today: &Model) -> bool {
    match list {
        List::Organizations { .. } => {
            !is_there(today, Resource::Organization(Id::from_number(number)))
        }
        List::Spaces { .. } => !is_there(today, Resource::Space(Id::from_number(number))),
        List::Projects { .. } => !is_there(today, Resource::Project(Id::from_number(number))),
        _ => false,
    }
}

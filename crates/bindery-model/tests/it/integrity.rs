//! After any history nothing refers to deleted things, and deleted users hold nothing.

use bindery_core::api_key::KeyOwner;
use bindery_core::change::Change;
use bindery_core::id::{Id as _, UserId};
use bindery_core::resource::Bindable;
use bindery_core::role::AccountRole;
use bindery_core::user::{Identity, Standing};
use bindery_model::model::Model;
use proptest::prelude::prop_assert;
use proptest::test_runner::TestCaseResult;

use crate::play::Play;
use crate::runner::check;

#[test]
fn nothing_refers_to_what_is_gone() {
    check(96, 1..200, |history| {
        let play = Play::of(history);
        // Another test checks that the records of the engine are those of the model.
        check_references(&play)
    });
}

#[test]
fn a_deleted_user_holds_nothing() {
    check(96, 1..200, |history| {
        let play = Play::of(history);
        for user in &play.model.users {
            if user.standing == Standing::Inactive {
                check_empty_handed(&play, user.id)?;
            }
        }
        Ok(())
    });
}

/// No user can delete or switch off themselves, and no key can do that to the last person who is account
/// admin.
#[test]
fn an_account_never_loses_its_last_admin() {
    check(96, 1..200, |history| {
        let mut play = Play::new(history);
        play.run(history, |play, _| {
            let is_admin = |record: &Change| match record {
                Change::PutUser(user) => {
                    user.standing == Standing::Active
                        && user.account_role == AccountRole::Admin
                        && user.is_developer
                        && user.is_human()
                }
                _ => false,
            };
            let is_led = play.records.values().any(is_admin);
            prop_assert!(is_led, "it has no admin after\n{}", play.transcript);
            Ok(())
        })
    });
}

fn check_references(play: &Play) -> TestCaseResult {
    let model = &play.model;
    for space in &model.spaces {
        let is_there = model.organization(space.organization).is_some();
        prop_assert!(is_there, "{space:?} after\n{}", play.transcript);
    }
    for project in &model.projects {
        let is_there = model.space(project.space).is_some();
        prop_assert!(is_there, "{project:?} after\n{}", play.transcript);
    }
    for restriction in &model.restrictions {
        let is_there = model.project(restriction.project).is_some();
        prop_assert!(is_there, "{restriction:?} after\n{}", play.transcript);
    }
    for membership in &model.organization_memberships {
        let is_there = is_live(model, membership.user)
            && model.organization(membership.organization).is_some();
        prop_assert!(is_there, "{membership:?} after\n{}", play.transcript);
    }
    for membership in &model.space_memberships {
        let is_there = is_live(model, membership.user) && model.space(membership.space).is_some();
        prop_assert!(is_there, "{membership:?} after\n{}", play.transcript);
    }
    for binding in &model.role_bindings {
        let is_resource_there = match binding.resource {
            Bindable::Space(space) => model.space(space).is_some(),
            Bindable::Project(project) => model.project(project).is_some(),
        };
        let is_role_there =
            binding.role.number() <= 15 || model.custom_role(binding.role).is_some();
        prop_assert!(
            is_live(model, binding.user) && is_resource_there && is_role_there,
            "{binding:?} after\n{}",
            play.transcript
        );
    }
    Ok(())
}

fn check_empty_handed(play: &Play, user: UserId) -> TestCaseResult {
    let model = &play.model;
    let holds = model
        .organization_memberships
        .iter()
        .any(|one| one.user == user)
        || model.space_memberships.iter().any(|one| one.user == user)
        || model.role_bindings.iter().any(|one| one.user == user);
    prop_assert!(
        !holds,
        "{user:?} holds something after\n{}",
        play.transcript
    );
    for key in &model.api_keys {
        let is_theirs = match key.owner {
            KeyOwner::User(owner) | KeyOwner::Service(owner) => owner == user,
        };
        prop_assert!(
            !is_theirs || key.is_revoked,
            "{key:?} lives after\n{}",
            play.transcript
        );
    }
    Ok(())
}

fn is_live(model: &Model, user: UserId) -> bool {
    let Some(user) = model.user(user) else {
        return false;
    };
    let has_its_key = match user.identity {
        Identity::Human { .. } => true,
        Identity::Bot { key } => model.api_key(key).is_some_and(|key| !key.is_revoked),
    };
    user.standing != Standing::Inactive && has_its_key
}

//! Questions after a history: every user about everything, at the times when decisions may change.

use std::collections::BTreeSet;

use bindery_core::decision::Question;
use bindery_core::id::{Id, UserId};
use bindery_core::permission::Permission;
use bindery_core::resource::Resource;
use bindery_core::time::Timestamp;
use bindery_core::user::Identity;
use bindery_model::history::History;
use bindery_model::model::Model;

/// In every case: what commands and lists check, and one or two of each level and kind of rule.
const ALWAYS: [Permission; 16] = [
    Permission::ProjectRestrict,
    Permission::ProjectRead,
    Permission::ProjectCreate,
    Permission::ProjectDelete,
    Permission::SpaceRead,
    Permission::SpaceCreate,
    Permission::SpaceUpdate,
    Permission::RoleBindingCreate,
    Permission::RoleBindingRead,
    Permission::RoleBindingDelete,
    Permission::ServiceKeyCreate,
    Permission::ServiceKeyRead,
    Permission::OrganizationRead,
    Permission::UserRead,
    Permission::UserDelete,
    Permission::DatasetRead,
];

/// The permissions to ask about after a history: now and then all of them, else those above and some others.
pub(crate) fn permissions(history: &History) -> Vec<Permission> {
    let draw: usize = history
        .steps
        .iter()
        .map(|step| usize::from(step.caller.0))
        .sum();
    if draw.is_multiple_of(10) {
        return Permission::ALL.to_vec();
    }
    let others = (0..6).map(|place| Permission::ALL[(draw * 7 + place * 29) % Permission::COUNT]);
    let asked: BTreeSet<Permission> = ALWAYS.into_iter().chain(others).collect();
    asked.into_iter().collect()
}

/// Every user, everything that ever existed, these permissions; including unknown ids.
pub(crate) fn every_question(
    model: &Model,
    permissions: &[Permission],
) -> impl Iterator<Item = Question> {
    let users: Vec<UserId> = ever(model);
    let resources = resources(model);
    let asked = permissions.to_vec();
    users.into_iter().flat_map(move |principal| {
        let asked = asked.clone();
        resources.clone().into_iter().flat_map(move |resource| {
            asked.clone().into_iter().map(move |permission| Question {
                principal,
                permission,
                resource,
            })
        })
    })
}

/// Every id of a kind that was ever issued, the next one, and the one that nothing has.
pub(crate) fn ever<I: Id>(model: &Model) -> Vec<I> {
    (0..=model.issued(I::KIND) + 1)
        .map(I::from_number)
        .collect()
}

/// Times just before and at the expiry of a bot's key, with the bot.
pub(crate) fn ends_of_bots(model: &Model) -> Vec<(UserId, Timestamp)> {
    let mut moments = Vec::new();
    for user in &model.users {
        if let Identity::Bot { key } = user.identity
            && let Some(end) = model.api_key(key).and_then(|key| key.expires_at)
        {
            moments.push((user.id, Timestamp::from_millis(end.as_millis() - 1)));
            moments.push((user.id, end));
        }
    }
    moments
}

/// Everything that ever existed, the next of each kind, and the id that nothing has.
pub(crate) fn resources(model: &Model) -> Vec<Resource> {
    let mut resources = vec![Resource::Account];
    resources.extend(ever(model).into_iter().map(Resource::Organization));
    resources.extend(ever(model).into_iter().map(Resource::Space));
    resources.extend(ever(model).into_iter().map(Resource::Project));
    resources
}

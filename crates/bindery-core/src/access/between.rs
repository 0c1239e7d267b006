//! What has become otherwise between two states, however far they are apart: for an index whose account was loaded anew,
//! since the changes in between can't be told one by one any more.

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use itertools::EitherOrBoth;

use super::Touched;
use crate::api_key::KeyOwner;
use crate::role_binding::RoleBinding;
use crate::state::State;
use crate::user::{OrganizationMembership, SpaceMembership};

impl Touched {
    /// Every fact of decisions that is another in `after` than in `before`, in an order in which an index can be told: what
    /// is held goes before the place that it was held on, and comes after the place that it is held on. Takes as long as
    /// reading both states.
    pub fn between(before: &State, after: &State) -> Vec<Self> {
        let mut touched = Vec::new();
        for_each(&before.roles, &after.roles, |_, new| {
            touched.extend(new.map(|role| Self::Role(role.id)));
        });
        for_each(&before.users, &after.users, |old, new| {
            touched.extend(new.or(old).map(|user| Self::Principal(user.id)));
        });
        for_each(&before.api_keys, &after.api_keys, |old, new| {
            if let Some(KeyOwner::Service(bot)) = new.or(old).map(|key| key.owner) {
                touched.push(Self::Principal(bot));
            }
        });
        let mut gained = Vec::new();
        held(before, after, &mut touched, &mut gained);
        places(before, after, &mut touched);
        touched.append(&mut gained);
        for_each(&before.roles, &after.roles, |old, new| {
            let gone = old.filter(|_| new.is_none());
            touched.extend(gone.map(|role| Self::Role(role.id)));
        });
        touched
    }
}

/// What was held before, and what is held after.
fn held(before: &State, after: &State, lost: &mut Vec<Touched>, gained: &mut Vec<Touched>) {
    let (old, new) = (
        &before.organization_memberships,
        &after.organization_memberships,
    );
    for (old, new) in old.differences(new).map(EitherOrBoth::left_and_right) {
        let one = |of: &OrganizationMembership| Touched::OrganizationRole(of.user, of.organization);
        lost.extend(old.map(one));
        gained.extend(new.map(one));
    }
    let (old, new) = (&before.space_memberships, &after.space_memberships);
    for (old, new) in old.differences(new).map(EitherOrBoth::left_and_right) {
        let one = |of: &SpaceMembership| Touched::SpaceRole(of.user, of.space);
        lost.extend(old.map(one));
        gained.extend(new.map(one));
    }
    let on_spaces = before.space_bindings.differences(&after.space_bindings);
    let on_projects = before.project_bindings.differences(&after.project_bindings);
    for (old, new) in on_spaces.chain(on_projects) {
        let one = |of: RoleBinding| Touched::BoundRole(of.user, of.resource);
        lost.extend(old.map(one));
        gained.extend(new.map(one));
    }
}

/// Places that are gone from the inside out, then those that are there from the outside in.
fn places(before: &State, after: &State, touched: &mut Vec<Touched>) {
    let (mut gone, mut there) = (Vec::new(), Vec::new());
    let mut sort = |one: Touched, is_there: bool| {
        if is_there {
            there.push(one);
        } else {
            gone.push(one);
        }
    };
    for_each(&before.organizations, &after.organizations, |old, new| {
        if let Some(one) = new.or(old) {
            sort(Touched::Organization(one.id), new.is_some());
        }
    });
    for_each(&before.spaces, &after.spaces, |old, new| {
        if let Some(one) = new.or(old) {
            sort(Touched::Space(one.id), new.is_some());
        }
    });
    for_each(&before.projects, &after.projects, |old, new| {
        if let Some(one) = new.or(old) {
            sort(Touched::Project(one.id), new.is_some());
        }
    });
    for_each(&before.restrictions, &after.restrictions, |old, new| {
        let project = new.or(old).map(|one| one.project);
        // One that is gone with its restriction was noted as such.
        if let Some(project) = project.filter(|id| after.project(*id).is_some()) {
            sort(Touched::Project(project), true);
        }
    });
    touched.extend(gone.into_iter().rev());
    touched.append(&mut there);
}

/// Whatever is new, gone, or another.
fn for_each<'a, K: Ord, V: PartialEq>(
    before: &'a OrdMap<K, V>,
    after: &'a OrdMap<K, V>,
    mut with: impl FnMut(Option<&'a V>, Option<&'a V>),
) {
    for one in before.diff(after) {
        match one {
            DiffItem::Add(_, new) => with(None, Some(new)),
            DiffItem::Remove(_, old) => with(Some(old), None),
            DiffItem::Update {
                old: (_, old),
                new: (_, new),
            } => with(Some(old), Some(new)),
        }
    }
}

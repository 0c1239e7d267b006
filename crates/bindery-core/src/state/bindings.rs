//! Role bindings on one kind of resource, with all that finds and lists them: of most accounts, nearly everything there is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::given::Giver;
use crate::id::{Id, OrganizationId, RoleBindingId, RoleId, UserId};
use crate::resource::Bindable;
use crate::role_binding::RoleBinding;
use crate::time::PackedTime;
use crate::tree::{Dense, Filed, Growing, Keyed, Tree};

/// Role bindings on spaces, or on projects. What is derived from a binding never changes while it is there, except in which
/// organization it lies, which is known once its resource is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bindings<R: Id> {
    records: Tree<Record<R>>,
    /// The natural key, and with it the resources that a user holds something on.
    by_user: ByUser<R>,
    by_resource: Tree<(R, RoleBindingId)>,
    by_organization: Tree<(OrganizationId, RoleBindingId)>,
}

/// The binding of a user on a resource.
pub(super) type ByUser<R> = Tree<Filed<(UserId, R), RoleBindingId>>;

/// The bindings on each resource and in each organization.
pub(super) struct Lists<R: Id> {
    by_resource: Tree<(R, RoleBindingId)>,
    by_organization: Tree<(OrganizationId, RoleBindingId)>,
}

/// A [`RoleBinding`] in 32 bytes: it knows on which kind of resource it is, and its times are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<R> {
    id: RoleBindingId,
    user: UserId,
    on: R,
    role: RoleId,
    given_by: Giver,
    created_at: PackedTime,
    updated_at: PackedTime,
}

impl<R: Id> Keyed for Record<R> {
    type Key = RoleBindingId;

    fn key(&self) -> RoleBindingId {
        self.id
    }
}

impl<R> Record<R> {
    fn new(binding: &RoleBinding, on: R) -> Self {
        let RoleBinding {
            id,
            user,
            role,
            created_at,
            updated_at,
            given_by,
            ..
        } = *binding;
        Self {
            id,
            user,
            on,
            role,
            given_by,
            created_at: PackedTime::pack(created_at),
            updated_at: PackedTime::pack(updated_at),
        }
    }
}

impl<R: Copy + Into<Bindable>> From<&Record<R>> for RoleBinding {
    fn from(record: &Record<R>) -> Self {
        Self {
            id: record.id,
            user: record.user,
            resource: record.on.into(),
            role: record.role,
            created_at: record.created_at.unpack(),
            updated_at: record.updated_at.unpack(),
            given_by: record.given_by,
        }
    }
}

impl<R: Id> Default for Bindings<R> {
    fn default() -> Self {
        Self {
            records: Tree::default(),
            by_user: Tree::default(),
            by_resource: Tree::default(),
            by_organization: Tree::default(),
        }
    }
}

impl<R: Id + Into<Bindable>> Bindings<R> {
    /// The binding with this id.
    pub(crate) fn get(&self, id: RoleBindingId) -> Option<RoleBinding> {
        self.records.get(&id).map(RoleBinding::from)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// All of them, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = RoleBinding> {
        self.records.iter().map(RoleBinding::from)
    }

    /// Who holds which role on what, in the order of ids.
    pub(crate) fn each_held(&self, mut with: impl FnMut(UserId, R, RoleId)) {
        for one in self.records.iter() {
            with(one.user, one.on, one.role);
        }
    }

    /// Those behind an id, by id.
    pub(crate) fn behind(&self, id: RoleBindingId) -> impl Iterator<Item = RoleBinding> {
        self.records.behind(id).map(RoleBinding::from)
    }

    /// Whatever is not the same in both: old and new of each.
    pub(crate) fn differences<'a>(
        &'a self,
        after: &'a Self,
    ) -> impl Iterator<Item = (Option<RoleBinding>, Option<RoleBinding>)> {
        let differences = self.records.differences(&after.records);
        differences.map(|one| {
            let (old, new) = one.left_and_right();
            (old.map(RoleBinding::from), new.map(RoleBinding::from))
        })
    }

    /// The binding of a user on a resource.
    pub(crate) fn find(&self, user: UserId, on: R) -> Option<RoleBindingId> {
        self.by_user.get(&(user, on)).map(|filed| filed.value)
    }

    /// The role that a user has on a resource by a binding.
    pub(crate) fn role(&self, user: UserId, on: R) -> Option<RoleId> {
        let id = self.find(user, on)?;
        self.records.get(&id).map(|record| record.role)
    }

    /// The resources behind `after` that a user holds a binding on, by id.
    pub(crate) fn bound_by(&self, user: UserId, after: R) -> impl Iterator<Item = R> {
        self.of_user(user, after).map(|filed| filed.key.1)
    }

    /// A user's bindings behind `after`, by their ids. Beginning costs a look at all of them, going on a few comparisons.
    pub(crate) fn ids_of(
        &self,
        user: UserId,
        after: RoleBindingId,
    ) -> impl Iterator<Item = RoleBindingId> + use<R> {
        let all = self.of_user(user, R::NOBODY).map(|filed| filed.value);
        let mut rest: BinaryHeap<Reverse<RoleBindingId>> =
            all.filter(|id| *id > after).map(Reverse).collect();
        std::iter::from_fn(move || rest.pop().map(|Reverse(id)| id))
    }

    fn of_user(
        &self,
        user: UserId,
        after: R,
    ) -> impl Iterator<Item = &Filed<(UserId, R), RoleBindingId>> {
        self.by_user
            .behind((user, after))
            .take_while(move |filed| filed.key.0 == user)
    }

    /// The bindings on each resource, sorted.
    pub(crate) const fn by_resource(&self) -> &Tree<(R, RoleBindingId)> {
        &self.by_resource
    }

    /// The bindings in each organization, sorted.
    pub(crate) const fn by_organization(&self) -> &Tree<(OrganizationId, RoleBindingId)> {
        &self.by_organization
    }

    /// A binding comes or changes its role; returns what it was.
    pub(super) fn put(
        &mut self,
        binding: &RoleBinding,
        on: R,
        organization: Option<OrganizationId>,
    ) -> Option<RoleBinding> {
        let id = binding.id;
        let old = self.records.insert(Record::new(binding, on));
        debug_assert!(
            old.is_none_or(|old| (old.user, old.on) == (binding.user, on)),
            "a binding keeps its user and resource"
        );
        if old.is_none() {
            self.by_user.insert(Filed {
                key: (binding.user, on),
                value: id,
            });
            self.by_resource.insert((on, id));
            if let Some(organization) = organization {
                self.by_organization.insert((organization, id));
            }
        }
        old.as_ref().map(RoleBinding::from)
    }

    /// A binding goes; `organization_of` knows where its resource lies.
    pub(super) fn delete(
        &mut self,
        id: RoleBindingId,
        organization_of: impl FnOnce(R) -> Option<OrganizationId>,
    ) -> Option<RoleBinding> {
        let old = self.records.remove(&id)?;
        let filed = self.by_user.remove(&(old.user, old.on));
        debug_assert!(filed.is_some(), "each binding is found by its user");
        self.by_resource.remove(&(old.on, id));
        if let Some(organization) = organization_of(old.on) {
            self.by_organization.remove(&(organization, id));
        }
        Some(RoleBinding::from(&old))
    }

    /// A binding lies in another organization now, since its resource does.
    pub(super) fn move_one(
        &mut self,
        id: RoleBindingId,
        from: Option<OrganizationId>,
        to: Option<OrganizationId>,
    ) {
        let key = |organization| (organization, id);
        self.by_organization.replace(from.map(key), to.map(key));
    }
}

/// Bindings that are told one after the other and looked up in none of them until all are there.
pub(super) struct Loaded<R: Id>(Growing<Record<R>>);

impl<R: Id> Default for Loaded<R> {
    fn default() -> Self {
        Self(Growing::whole())
    }
}

impl<R: Id> Loaded<R> {
    /// Takes one more, with its resource.
    pub(super) fn put(&mut self, binding: &RoleBinding, on: R) {
        self.0.push(Record::new(binding, on));
    }

    /// All of them, and nothing that finds or lists them.
    pub(super) fn finish(self) -> Bindings<R> {
        Bindings {
            records: self.0.finish(),
            ..Bindings::default()
        }
    }
}

/// What finds and lists them, of those that were loaded.
impl<R: Id + Into<Bindable>> Bindings<R> {
    /// Takes what was made of them.
    pub(super) fn file(&mut self, by_user: ByUser<R>, lists: Lists<R>) {
        self.by_user = by_user;
        self.by_resource = lists.by_resource;
        self.by_organization = lists.by_organization;
    }

    /// How many there are, which takes a look at all.
    pub(super) fn count(&self) -> usize {
        self.records.iter().count()
    }

    /// What finds them, `count` of them.
    pub(super) fn found_by_user(&self, count: usize) -> ByUser<R> {
        let all = || self.records.iter().map(|one| (one.user, (one.on, one.id)));
        Tree::grouped(count, all, |user, (on, value)| Filed {
            key: (user, on),
            value,
        })
    }

    /// What lists them, `count` of them.
    pub(super) fn listed(
        &self,
        count: usize,
        organization_of: impl Fn(R) -> Option<OrganizationId>,
    ) -> Lists<R> {
        Lists {
            by_resource: Tree::grouped(count, || self.resources(), |on, id| (on, id)),
            by_organization: self.listed_by(count, organization_of),
        }
    }

    /// The bindings under what their resources are under, sorted.
    pub(super) fn listed_by<P: Dense + Ord>(
        &self,
        count: usize,
        above: impl Fn(R) -> Option<P>,
    ) -> Tree<(P, RoleBindingId)> {
        let all = || {
            self.resources()
                .filter_map(|(on, id)| Some((above(on)?, id)))
        };
        Tree::grouped(count, all, |above, id| (above, id))
    }

    /// Each of them behind the resource that it is on.
    fn resources(&self) -> impl Iterator<Item = (R, RoleBindingId)> {
        self.records.iter().map(|one| (one.on, one.id))
    }

    /// The role of each.
    pub(super) fn roles(&self) -> impl Iterator<Item = RoleId> {
        self.records.iter().map(|one| one.role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ProjectId, SpaceId};

    #[test]
    fn a_binding_takes_32_bytes() {
        assert_eq!(size_of::<Record<SpaceId>>(), 32);
        assert_eq!(size_of::<Record<ProjectId>>(), 32);
    }
}

//! What a caller's roles reach: the places among which lists look for what they may see.

use crate::command::Context;
use crate::decision::Grant;
use crate::id::{Id as _, OrganizationId, SpaceId};
use crate::listing::{Privacy, under};
use crate::permission::Permission;
use crate::role::OrganizationRole;
use crate::state::State;

/// Where a caller who isn't account admin has a permission, and on what lies below: what a list has to look through for them.
///
/// Rather too much than too little, since everything found there is decided one by one. Finding it costs a step for
/// each organization and space that the caller has a role in, and none for what they have nothing to do with.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// They are admin of these: nothing in them is kept from them.
    pub(super) whole_organizations: Vec<OrganizationId>,
    /// They may have it in the public spaces of these, by the fallback.
    pub(super) fallback_organizations: Vec<OrganizationId>,
    /// They are admin of these.
    pub(super) whole_spaces: Vec<SpaceId>,
    /// They have it on these by a role of their own, and below on what isn't restricted.
    pub(super) held_spaces: Vec<SpaceId>,
}

impl State {
    pub(super) fn reach(&self, context: &Context, permission: Permission) -> Reach {
        let mut reach = Reach::default();
        let user = context.user();
        let Some(principal) = self.principal(user) else {
            return reach;
        };
        if !principal.acts_at(context.now) {
            return reach;
        }
        for membership in self.organization_memberships_of(user) {
            let fallback = membership.role.in_public_spaces().permissions();
            if membership.role == OrganizationRole::Admin {
                reach.whole_organizations.push(membership.organization);
            } else if principal.is_human && fallback.contains(permission) {
                reach.fallback_organizations.push(membership.organization);
            }
        }
        for space in self.spaces_bound_to(user) {
            match self.admin_grant(context, space) {
                // It is found in the whole organization already.
                Some(Grant::OrganizationAdmin(_)) => {}
                Some(_) => reach.whole_spaces.push(space),
                None if self.allows(context, permission, space) => reach.held_spaces.push(space),
                None => {}
            }
        }
        reach
    }

    /// The public spaces of these organizations.
    pub(super) fn public_spaces_of(
        &self,
        organizations: &[OrganizationId],
    ) -> impl Iterator<Item = SpaceId> {
        let spaces = &self.listing.spaces_of_organization;
        let public = |id: &OrganizationId| under(spaces, (*id, Privacy::Public), SpaceId::NOBODY);
        organizations.iter().flat_map(public)
    }
}

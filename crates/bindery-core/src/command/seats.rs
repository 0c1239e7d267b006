//! What a change of a seat in a space takes from its user, or gives to them.
//!
//! A seat replaces what a member of the organization has in a public space by default (`docs/rules/authorization.md` §3). So a new seat
//! may take something away, and the end of a seat may give something. Either needs the right to do that too.

use super::Context;
use crate::id::{RoleId, SpaceId, UserId};
use crate::permission::{Permission, PermissionSet};
use crate::refusal::{Forbidden, Refusal};
use crate::resource::{Bindable, Level};
use crate::role::{AccountRole, OrganizationRole};
use crate::state::State;
use crate::user::User;

/// How a role comes to a seat in a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Beside a predefined role there.
    Add,
    /// In the place of every role there.
    Replace,
}

/// Whether a user holds something in the space that they lose by this role.
pub(super) fn takes_away(
    state: &State,
    user: &User,
    space: SpaceId,
    role: RoleId,
    way: Way,
) -> bool {
    let has_membership = state.space_membership(space, user.id).is_some();
    if has_membership {
        return way == Way::Replace;
    }
    if let Some(bound) = state.role_binding_on(Bindable::Space(space), user.id) {
        return bound.role != role;
    }
    let given = state.permissions(role);
    !fallback(state, user, space).difference(given).is_empty()
}

/// Refuses a caller who may not remove roles in the space.
pub(super) fn authorize_taking(
    state: &State,
    context: &Context,
    space: SpaceId,
) -> Result<(), Refusal> {
    if state.allows(context, Permission::RoleBindingDelete, space) {
        return Ok(());
    }
    Err(Refusal::Forbidden(Forbidden::TakesAway))
}

/// Whether a user who has a seat in the space would have something more there without it.
pub(super) fn gives_fallback(state: &State, user: UserId, space: SpaceId) -> bool {
    let Some(user) = state.user(user) else {
        return false;
    };
    let membership = state.space_membership(space, user.id);
    let binding = state.role_binding_on(Bindable::Space(space), user.id);
    let by_membership = membership.map_or(PermissionSet::EMPTY, |seat| seat.role.permissions());
    let by_binding = binding.map_or(PermissionSet::EMPTY, |binding| {
        state.permissions(binding.role)
    });
    let held = by_membership.union(by_binding);
    !fallback(state, user, space).difference(held).is_empty()
}

/// What a user has in a public space where they have no seat. Empty for admins above the space, who lose and gain nothing there.
fn fallback(state: &State, user: &User, space: SpaceId) -> PermissionSet {
    let none = PermissionSet::EMPTY;
    let Some(space) = state.space(space).filter(|space| !space.is_private) else {
        return none;
    };
    if !user.is_human() || user.account_role == AccountRole::Admin {
        return none;
    }
    match state.organization_membership(space.organization, user.id) {
        None => none,
        Some(seat) if seat.role == OrganizationRole::Admin => none,
        Some(seat) => {
            let role = seat.role.in_public_spaces();
            role.permissions()
                .intersection(PermissionSet::at_or_below(Level::Space))
        }
    }
}

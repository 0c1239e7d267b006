//! Role bindings: create, update, delete (`docs/rules/operations.md`, role bindings).

use super::{Command, Context, Decided, seats};
use crate::change::Change;
use crate::id::{Kind, RoleBindingId, RoleId, UserId};
use crate::permission::Permission;
use crate::refusal::{Conflict, Refusal};
use crate::resource::Bindable;
use crate::role_binding::RoleBinding;
use crate::state::State;

/// Binds a role to a user on a space or project.
#[derive(Clone, Debug)]
pub struct CreateRoleBinding {
    /// Who gets it.
    pub user: UserId,
    /// Which role.
    pub role: RoleId,
    /// On what.
    pub on: Bindable,
}

impl Command for CreateRoleBinding {
    type Outcome = RoleBinding;
    const OPERATION: &str = "create_role_binding";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<RoleBinding>, Refusal> {
        // Before anything is looked up, and the same for a resource that isn't there.
        state.authorize(context, Permission::RoleBindingCreate, self.on)?;
        let user = state.live_user(self.user)?;
        state.role(self.role).ok_or(Refusal::NotFound(Kind::Role))?;
        if state.role_binding_on(self.on, self.user).is_some() {
            return Err(Refusal::Conflict(Conflict::BindingExists));
        }
        if let Bindable::Space(space) = self.on
            && seats::takes_away(state, user, space, self.role, seats::Way::Add)
        {
            seats::authorize_taking(state, context, space)?;
        }
        let binding = RoleBinding {
            id: state.numbers().next(),
            user: self.user,
            resource: self.on,
            role: self.role,
            created_at: context.now,
            updated_at: context.now,
            given_by: context.giver(),
        };
        Ok(Decided {
            changes: vec![Change::PutRoleBinding(binding)],
            outcome: binding,
        })
    }
}

/// Gives a binding another role. The same role is no change, and leaves `updated_at` alone.
#[derive(Clone, Debug)]
pub struct UpdateRoleBinding {
    /// Which binding.
    pub binding: RoleBindingId,
    /// The role it shall have.
    pub role: RoleId,
}

impl Command for UpdateRoleBinding {
    type Outcome = RoleBinding;
    const OPERATION: &str = "update_role_binding";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<RoleBinding>, Refusal> {
        // To change a binding is to end one and make one: it takes both rights. Whoever lacks one learns nothing.
        let old = state
            .role_binding(self.binding)
            .filter(|binding| {
                state.allows(context, Permission::RoleBindingCreate, binding.resource)
            })
            .filter(|binding| {
                state.allows(context, Permission::RoleBindingDelete, binding.resource)
            })
            .ok_or(Refusal::NotFound(Kind::RoleBinding))?;
        state.role(self.role).ok_or(Refusal::NotFound(Kind::Role))?;
        if old.role == self.role {
            return Ok(Decided::unchanged(old));
        }
        let updated_at = context.now.max(old.updated_at.just_after());
        let binding = RoleBinding {
            role: self.role,
            updated_at,
            given_by: context.giver(),
            ..old
        };
        Ok(Decided {
            changes: vec![Change::PutRoleBinding(binding)],
            outcome: binding,
        })
    }
}

/// Deletes a binding. Where its user would have more without it, as a member of the organization in a public space, this takes the
/// right to give roles there too.
#[derive(Clone, Debug)]
pub struct DeleteRoleBinding {
    /// Which binding.
    pub binding: RoleBindingId,
}

impl Command for DeleteRoleBinding {
    type Outcome = ();
    const OPERATION: &str = "delete_role_binding";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<()>, Refusal> {
        state
            .role_binding(self.binding)
            .filter(|binding| {
                state.allows(context, Permission::RoleBindingDelete, binding.resource)
            })
            .filter(|binding| {
                let gives_fallback = match binding.resource {
                    Bindable::Space(space) => {
                        state.space_membership(space, binding.user).is_none()
                            && seats::gives_fallback(state, binding.user, space)
                    }
                    Bindable::Project(_) => false,
                };
                !gives_fallback
                    || state.allows(context, Permission::RoleBindingCreate, binding.resource)
            })
            .ok_or(Refusal::NotFound(Kind::RoleBinding))?;
        Ok(Decided {
            changes: vec![Change::DeleteRoleBinding(self.binding)],
            outcome: (),
        })
    }
}

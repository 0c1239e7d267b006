//! Custom roles: create, update, delete (`docs/rules/operations.md`, roles).

use super::{Command, Context, Decided};
use crate::change::Change;
use crate::id::{Kind, RoleId};
use crate::permission::{Permission, PermissionSet};
use crate::refusal::{Conflict, Forbidden, Refusal};
use crate::resource::Resource;
use crate::role::{AnyRole, PREDEFINED_ROLES, Role};
use crate::state::State;
use crate::text::{Description, RoleName};

/// Makes a custom role.
#[derive(Clone, Debug)]
pub struct CreateRole {
    /// Free among all roles, predefined ones included.
    pub name: RoleName,
    /// Empty for none.
    pub description: Description,
    /// At least one.
    pub permissions: PermissionSet,
}

impl Command for CreateRole {
    type Outcome = Role;
    const OPERATION: &str = "create_role";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<Role>, Refusal> {
        state.authorize(context, Permission::RoleCreate, Resource::Account)?;
        check_name(state, &self.name, None)?;
        let role = Role {
            id: state.numbers().next(),
            name: self.name.clone(),
            description: self.description.clone(),
            permissions: self.permissions,
            created_at: context.now,
            updated_at: context.now,
        };
        Ok(Decided {
            changes: vec![Change::PutRole(role.clone())],
            outcome: role,
        })
    }
}

/// Changes a custom role; everyone who holds it changes with it.
#[derive(Clone, Debug)]
pub struct UpdateRole {
    /// Which.
    pub role: RoleId,
    /// A new name.
    pub name: Option<RoleName>,
    /// A new description; empty clears it.
    pub description: Option<Description>,
    /// All that it grants from now on.
    pub permissions: Option<PermissionSet>,
}

impl Command for UpdateRole {
    type Outcome = Role;
    const OPERATION: &str = "update_role";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<Role>, Refusal> {
        state.authorize(context, Permission::RoleUpdate, Resource::Account)?;
        let old = custom_role(state, self.role)?;
        let mut role = Role {
            name: self.name.clone().unwrap_or_else(|| old.name.clone()),
            description: self
                .description
                .clone()
                .unwrap_or_else(|| old.description.clone()),
            permissions: self.permissions.unwrap_or(old.permissions),
            ..old.clone()
        };
        check_name(state, &role.name, Some(self.role))?;
        if role == *old {
            return Ok(Decided::unchanged(role));
        }
        role.updated_at = context.now.max(old.updated_at.just_after());
        Ok(Decided {
            changes: vec![Change::PutRole(role.clone())],
            outcome: role,
        })
    }
}

/// Deletes a custom role that no binding uses. Its id stays dead, its name becomes free.
#[derive(Clone, Debug)]
pub struct DeleteRole {
    /// Which.
    pub role: RoleId,
}

impl Command for DeleteRole {
    type Outcome = ();
    const OPERATION: &str = "delete_role";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<()>, Refusal> {
        state.authorize(context, Permission::RoleDelete, Resource::Account)?;
        custom_role(state, self.role)?;
        if state.uses_of_role.contains_key(&self.role) {
            return Err(Refusal::Conflict(Conflict::RoleInUse));
        }
        Ok(Decided {
            changes: vec![Change::DeleteRole(self.role)],
            outcome: (),
        })
    }
}

fn custom_role(state: &State, id: RoleId) -> Result<&Role, Refusal> {
    match state.role(id).ok_or(Refusal::NotFound(Kind::Role))? {
        AnyRole::Custom(role) => Ok(role),
        AnyRole::Predefined(..) => Err(Refusal::Forbidden(Forbidden::PredefinedRole)),
    }
}

/// Clients resolve roles by exact name, so no two may share one. The names of predefined roles that aren't listed are
/// kept too: one of them may be listed some day.
fn check_name(state: &State, name: &RoleName, own: Option<RoleId>) -> Result<(), Refusal> {
    let is_predefined = PREDEFINED_ROLES
        .iter()
        .any(|role| role.name == name.as_str());
    let holder = state.roles_by_name.get(name.as_str()).copied();
    if is_predefined || holder.is_some_and(|holder| Some(holder) != own) {
        return Err(Refusal::Conflict(Conflict::NameTaken(Kind::Role)));
    }
    Ok(())
}

//! Custom roles (`docs/rules/operations.md`).

use bindery_core::command::Context;
use bindery_core::command::roles::{CreateRole, DeleteRole, UpdateRole};
use bindery_core::id::{Kind, RoleId};
use bindery_core::permission::Permission;
use bindery_core::refusal::{Conflict, Forbidden, Refusal};
use bindery_core::resource::Resource;
use bindery_core::role::{PREDEFINED_ROLES, Role};
use bindery_core::text::RoleName;

use super::{Model, changed_at};

impl Model {
    pub(super) fn create_role(
        &mut self,
        context: &Context,
        command: &CreateRole,
    ) -> Result<(), Refusal> {
        self.require(context, Permission::RoleCreate, Resource::Account)?;
        self.check_role_name(&command.name, None)?;
        let id = self.next();
        self.roles.push(Role {
            id,
            name: command.name.clone(),
            description: command.description.clone(),
            permissions: command.permissions,
            created_at: context.now,
            updated_at: context.now,
        });
        Ok(())
    }

    pub(super) fn update_role(
        &mut self,
        context: &Context,
        command: &UpdateRole,
    ) -> Result<(), Refusal> {
        // 403 before the id is looked up, then unknown → 404, then predefined → 403.
        self.require(context, Permission::RoleUpdate, Resource::Account)?;
        self.find_custom_role(command.role)?;
        if let Some(name) = &command.name {
            self.check_role_name(name, Some(command.role))?;
        }
        for role in &mut self.roles {
            if role.id == command.role {
                let old = role.clone();
                if let Some(name) = &command.name {
                    role.name = name.clone();
                }
                if let Some(description) = &command.description {
                    role.description = description.clone();
                }
                if let Some(permissions) = command.permissions {
                    role.permissions = permissions;
                }
                if *role != old {
                    role.updated_at = changed_at(context.now, old.updated_at);
                }
            }
        }
        Ok(())
    }

    pub(super) fn delete_role(
        &mut self,
        context: &Context,
        command: &DeleteRole,
    ) -> Result<(), Refusal> {
        self.require(context, Permission::RoleDelete, Resource::Account)?;
        self.find_custom_role(command.role)?;
        if self
            .role_bindings
            .iter()
            .any(|binding| binding.role == command.role)
        {
            return Err(Refusal::Conflict(Conflict::RoleInUse));
        }
        self.roles.retain(|role| role.id != command.role);
        Ok(())
    }

    fn find_custom_role(&self, id: RoleId) -> Result<(), Refusal> {
        self.find_role(id)?;
        match self.custom_role(id) {
            Some(_) => Ok(()),
            None => Err(Refusal::Forbidden(Forbidden::PredefinedRole)),
        }
    }

    /// Unique in the account, including predefined names; one's own name is allowed.
    fn check_role_name(&self, name: &RoleName, own: Option<RoleId>) -> Result<(), Refusal> {
        let is_predefined = PREDEFINED_ROLES
            .iter()
            .any(|role| role.name == name.as_str());
        let is_taken = self
            .roles
            .iter()
            .any(|role| role.name == *name && Some(role.id) != own);
        if is_predefined || is_taken {
            return Err(Refusal::Conflict(Conflict::NameTaken(Kind::Role)));
        }
        Ok(())
    }
}

//! Role bindings (`docs/rules/operations.md`).

use bindery_core::command::Context;
use bindery_core::command::role_bindings::{
    CreateRoleBinding, DeleteRoleBinding, UpdateRoleBinding,
};
use bindery_core::given::Giver;
use bindery_core::id::{Kind, RoleBindingId, RoleId};
use bindery_core::permission::Permission;
use bindery_core::refusal::{Conflict, Refusal};
use bindery_core::resource::Bindable;
use bindery_core::role_binding::RoleBinding;
use bindery_core::time::Timestamp;

use super::{Model, changed_at};

impl Model {
    pub(super) fn create_role_binding(
        &mut self,
        context: &Context,
        command: &CreateRoleBinding,
    ) -> Result<(), Refusal> {
        self.require(context, Permission::RoleBindingCreate, command.on)?;
        self.live_user(command.user)?;
        self.find_role(command.role)?;
        if self.binding_on(command.user, command.on).is_some() {
            return Err(Refusal::Conflict(Conflict::BindingExists));
        }
        if let Bindable::Space(space) = command.on
            && self.loses_fallback(command.user, space, command.role)
        {
            self.require_removing(context, space)?;
        }
        let id = self.next();
        self.role_bindings.push(RoleBinding {
            id,
            user: command.user,
            resource: command.on,
            role: command.role,
            created_at: context.now,
            updated_at: context.now,
            given_by: Giver::UNKNOWN,
        });
        Ok(())
    }

    pub(super) fn update_role_binding(
        &mut self,
        context: &Context,
        command: &UpdateRoleBinding,
    ) -> Result<(), Refusal> {
        let Some(binding) = self.role_binding(command.binding).copied() else {
            return Err(Refusal::NotFound(Kind::RoleBinding));
        };
        if !self.can(context, Permission::RoleBindingCreate, binding.resource)
            || !self.can(context, Permission::RoleBindingDelete, binding.resource)
        {
            return Err(Refusal::NotFound(Kind::RoleBinding));
        }
        self.find_role(command.role)?;
        self.give_role(command.binding, command.role, context.now);
        Ok(())
    }

    pub(super) fn delete_role_binding(
        &mut self,
        context: &Context,
        command: &DeleteRoleBinding,
    ) -> Result<(), Refusal> {
        let Some(binding) = self.role_binding(command.binding).copied() else {
            return Err(Refusal::NotFound(Kind::RoleBinding));
        };
        if !self.can(context, Permission::RoleBindingDelete, binding.resource) {
            return Err(Refusal::NotFound(Kind::RoleBinding));
        }
        if let Bindable::Space(space) = binding.resource
            && self.space_membership(binding.user, space).is_none()
            && self.gains_fallback(binding.user, space)
            && !self.can(context, Permission::RoleBindingCreate, space)
        {
            return Err(Refusal::NotFound(Kind::RoleBinding));
        }
        self.role_bindings.retain(|one| one.id != binding.id);
        Ok(())
    }

    /// Another role for a binding; the same role changes nothing.
    pub(super) fn give_role(&mut self, id: RoleBindingId, role: RoleId, now: Timestamp) {
        for binding in &mut self.role_bindings {
            if binding.id == id && binding.role != role {
                binding.role = role;
                binding.updated_at = changed_at(now, binding.updated_at);
            }
        }
    }
}

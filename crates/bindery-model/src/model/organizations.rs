//! Organizations and their members (`docs/rules/operations.md`).

use bindery_core::command::organizations::{
    AddOrganizationUser, CreateOrganization, DeleteOrganization, RemoveOrganizationUser,
    UpdateOrganization,
};
use bindery_core::command::{Assignment, Context};
use bindery_core::given::{GivenAt, Giver};
use bindery_core::id::{Kind, OrganizationId};
use bindery_core::permission::Permission;
use bindery_core::place::Organization;
use bindery_core::refusal::{Conflict, Forbidden, Invalid, Refusal, Unprocessable};
use bindery_core::resource::{Level, Resource};
use bindery_core::role::{AccountRole, OrganizationRole};
use bindery_core::text::Name;
use bindery_core::user::OrganizationMembership;

use super::{Model, is_human};

impl Model {
    pub(super) fn create_organization(
        &mut self,
        context: &Context,
        command: &CreateOrganization,
    ) -> Result<(), Refusal> {
        self.require(context, Permission::OrganizationCreate, Resource::Account)?;
        self.check_organization_name(&command.name, None)?;
        let id = self.next();
        self.organizations.push(Organization {
            id,
            name: command.name.clone(),
            description: command.description.clone(),
            created_at: context.now,
        });
        Ok(())
    }

    pub(super) fn update_organization(
        &mut self,
        context: &Context,
        command: &UpdateOrganization,
    ) -> Result<(), Refusal> {
        let id = command.organization;
        self.see_organization(context, id)?;
        self.require(context, Permission::OrganizationUpdate, id)?;
        if let Some(name) = &command.name {
            self.check_organization_name(name, Some(id))?;
        }
        for organization in &mut self.organizations {
            if organization.id == id {
                if let Some(name) = &command.name {
                    organization.name = name.clone();
                }
                if let Some(description) = &command.description {
                    organization.description = description.clone();
                }
            }
        }
        Ok(())
    }

    pub(super) fn delete_organization(
        &mut self,
        context: &Context,
        command: &DeleteOrganization,
    ) -> Result<(), Refusal> {
        let id = command.organization;
        self.see_organization(context, id)?;
        self.require(context, Permission::OrganizationDelete, id)?;
        self.drop_organization(id);
        Ok(())
    }

    pub(super) fn add_organization_user(
        &mut self,
        context: &Context,
        command: &AddOrganizationUser,
    ) -> Result<(), Refusal> {
        self.require_organization_admin(context, command.organization)?;
        let user = self.live_user(command.user)?;
        if !is_human(&user) {
            return Err(Refusal::NotFound(Kind::User));
        }
        let role = match command.role {
            Assignment::Predefined(role) => role,
            Assignment::Custom(_) => {
                let reason = Unprocessable::CustomRole(Level::Organization);
                return Err(Refusal::Unprocessable(reason));
            }
        };
        check_annotator(user.account_role, role == OrganizationRole::Annotator)?;
        for membership in &mut self.organization_memberships {
            if membership.user == command.user && membership.organization == command.organization {
                membership.role = role;
                return Ok(());
            }
        }
        let id = self.next();
        self.organization_memberships.push(OrganizationMembership {
            id,
            user: command.user,
            organization: command.organization,
            role,
            given_by: Giver::UNKNOWN,
            given_at: GivenAt::UNKNOWN,
        });
        Ok(())
    }

    pub(super) fn remove_organization_user(
        &mut self,
        context: &Context,
        command: &RemoveOrganizationUser,
    ) -> Result<(), Refusal> {
        let RemoveOrganizationUser { organization, user } = *command;
        self.require_organization_admin(context, organization)?;
        self.live_user(user)?;
        if self.organization_membership(user, organization).is_none() {
            return Err(Refusal::NotFound(Kind::OrganizationMembership));
        }
        self.drop_member(user, organization);
        self.revoke_without_space(user);
        Ok(())
    }

    /// Organization not visible → 404.
    pub(super) fn see_organization(
        &self,
        context: &Context,
        id: OrganizationId,
    ) -> Result<(), Refusal> {
        if self.is_organization_visible(context.user(), id, context.now) {
            Ok(())
        } else {
            Err(Refusal::NotFound(Kind::Organization))
        }
    }

    fn require_organization_admin(
        &self,
        context: &Context,
        id: OrganizationId,
    ) -> Result<(), Refusal> {
        self.see_organization(context, id)?;
        if self.is_organization_admin(context.user(), id, context.now) {
            Ok(())
        } else {
            Err(Refusal::Forbidden(Forbidden::NotOrganizationAdmin))
        }
    }

    fn check_organization_name(
        &self,
        name: &Name,
        own: Option<OrganizationId>,
    ) -> Result<(), Refusal> {
        for organization in &self.organizations {
            if organization.name == *name && Some(organization.id) != own {
                return Err(Refusal::Conflict(Conflict::NameTaken(Kind::Organization)));
            }
        }
        Ok(())
    }
}

/// Account `ANNOTATOR` ⇔ organization or space role `ANNOTATOR` (§4).
pub(super) fn check_annotator(
    of_user: AccountRole,
    is_annotator_role: bool,
) -> Result<(), Refusal> {
    let is_annotator = of_user == AccountRole::Annotator;
    if is_annotator && !is_annotator_role {
        return Err(Refusal::Invalid(Invalid::AnnotatorWithOtherRole));
    }
    if !is_annotator && is_annotator_role {
        return Err(Refusal::Invalid(Invalid::AnnotatorRoleForOthers));
    }
    Ok(())
}

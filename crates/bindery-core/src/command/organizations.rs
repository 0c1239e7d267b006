//! Organizations and their members (`docs/rules/operations.md`, organizations).

use super::{Assignment, Command, Context, Decided, cascade};
use crate::change::Change;
use crate::id::{Kind, OrganizationId, UserId};
use crate::permission::Permission;
use crate::place::Organization;
use crate::refusal::{Conflict, Forbidden, Invalid, Refusal, Unprocessable};
use crate::resource::{Level, Resource};
use crate::role::{AccountRole, OrganizationRole};
use crate::state::State;
use crate::text::{Description, Name};
use crate::user::OrganizationMembership;

/// Makes an organization. Its creator gets no membership: an account admin needs none.
#[derive(Clone, Debug)]
pub struct CreateOrganization {
    /// Free in the account.
    pub name: Name,
    /// Empty for none.
    pub description: Description,
}

impl Command for CreateOrganization {
    type Outcome = Organization;
    const OPERATION: &str = "create_organization";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<Organization>, Refusal> {
        state.authorize(context, Permission::OrganizationCreate, Resource::Account)?;
        check_name(state, &self.name, None)?;
        let organization = Organization {
            id: state.numbers().next(),
            name: self.name.clone(),
            description: self.description.clone(),
            created_at: context.now,
        };
        let changes = vec![Change::PutOrganization(organization.clone())];
        Ok(Decided {
            changes,
            outcome: organization,
        })
    }
}

/// Renames or describes an organization.
#[derive(Clone, Debug)]
pub struct UpdateOrganization {
    /// Which.
    pub organization: OrganizationId,
    /// A new name.
    pub name: Option<Name>,
    /// A new description; empty clears it.
    pub description: Option<Description>,
}

impl Command for UpdateOrganization {
    type Outcome = Organization;
    const OPERATION: &str = "update_organization";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<Organization>, Refusal> {
        let old = state
            .reader(*context)
            .visible_organization(self.organization)?;
        state.authorize(context, Permission::OrganizationUpdate, self.organization)?;
        let organization = Organization {
            name: self.name.clone().unwrap_or_else(|| old.name.clone()),
            description: self
                .description
                .clone()
                .unwrap_or_else(|| old.description.clone()),
            ..old.clone()
        };
        check_name(state, &organization.name, Some(self.organization))?;
        if organization == *old {
            return Ok(Decided::unchanged(organization));
        }
        let changes = vec![Change::PutOrganization(organization.clone())];
        Ok(Decided {
            changes,
            outcome: organization,
        })
    }
}

/// Deletes an organization with everything in it.
#[derive(Clone, Debug)]
pub struct DeleteOrganization {
    /// Which.
    pub organization: OrganizationId,
}

impl Command for DeleteOrganization {
    type Outcome = ();
    const OPERATION: &str = "delete_organization";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<()>, Refusal> {
        state
            .reader(*context)
            .visible_organization(self.organization)?;
        state.authorize(context, Permission::OrganizationDelete, self.organization)?;
        let mut changes = Vec::new();
        cascade::organization(state, self.organization, &mut changes);
        Ok(Decided {
            changes,
            outcome: (),
        })
    }
}

/// Gives a person a role in an organization, or another one if they have one.
#[derive(Clone, Debug)]
pub struct AddOrganizationUser {
    /// Where.
    pub organization: OrganizationId,
    /// Whom.
    pub user: UserId,
    /// Which role.
    pub role: Assignment<OrganizationRole>,
}

impl Command for AddOrganizationUser {
    type Outcome = OrganizationMembership;
    const OPERATION: &str = "add_organization_user";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<Self::Outcome>, Refusal> {
        authorize_members(state, context, self.organization)?;
        let user = state.live_human(self.user)?;
        let Assignment::Predefined(role) = self.role else {
            return Err(Refusal::Unprocessable(Unprocessable::CustomRole(
                Level::Organization,
            )));
        };
        match_annotators(user.account_role, role == OrganizationRole::Annotator)?;
        let old = state.organization_membership(self.organization, self.user);
        if let Some(same) = old.filter(|old| old.role == role) {
            return Ok(Decided::unchanged(same));
        }
        let membership = OrganizationMembership {
            id: old.map_or_else(|| state.numbers().next(), |old| old.id),
            user: self.user,
            organization: self.organization,
            role,
            given_by: context.giver(),
            given_at: context.now.into(),
        };
        let changes = vec![Change::PutOrganizationMembership(membership)];
        Ok(Decided {
            changes,
            outcome: membership,
        })
    }
}

/// Takes a user out of an organization and out of everything below it: a person, or a bot whose key stays. Leaving by
/// oneself is as good.
#[derive(Clone, Debug)]
pub struct RemoveOrganizationUser {
    /// Where.
    pub organization: OrganizationId,
    /// Whom.
    pub user: UserId,
}

impl Command for RemoveOrganizationUser {
    type Outcome = ();
    const OPERATION: &str = "remove_organization_user";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<()>, Refusal> {
        authorize_members(state, context, self.organization)?;
        state.live_user(self.user)?;
        state
            .organization_membership(self.organization, self.user)
            .ok_or(Refusal::NotFound(Kind::OrganizationMembership))?;
        let mut changes = Vec::new();
        cascade::member(state, self.organization, self.user, &mut changes);
        cascade::bot_without_space(state, self.organization, self.user, &mut changes);
        Ok(Decided {
            changes,
            outcome: (),
        })
    }
}

fn authorize_members(
    state: &State,
    context: &Context,
    organization: OrganizationId,
) -> Result<(), Refusal> {
    state.reader(*context).visible_organization(organization)?;
    match state.admin_grant(context, organization) {
        Some(_) => Ok(()),
        None => Err(Refusal::Forbidden(Forbidden::NotOrganizationAdmin)),
    }
}

/// Account annotators hold the role `ANNOTATOR` below, and nobody else does (`docs/rules/authorization.md` §4).
pub(super) fn match_annotators(
    of_user: AccountRole,
    is_annotator_role: bool,
) -> Result<(), Refusal> {
    match (of_user == AccountRole::Annotator, is_annotator_role) {
        (true, false) => Err(Refusal::Invalid(Invalid::AnnotatorWithOtherRole)),
        (false, true) => Err(Refusal::Invalid(Invalid::AnnotatorRoleForOthers)),
        (true, true) | (false, false) => Ok(()),
    }
}

fn check_name(state: &State, name: &Name, own: Option<OrganizationId>) -> Result<(), Refusal> {
    match state.organizations_by_name.get(name) {
        Some(holder) if Some(*holder) != own => {
            Err(Refusal::Conflict(Conflict::NameTaken(Kind::Organization)))
        }
        Some(_) | None => Ok(()),
    }
}

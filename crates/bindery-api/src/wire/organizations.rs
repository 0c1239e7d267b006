//! Organizations and their members on the wire.

use bindery_core::command::organizations::{
    AddOrganizationUser, CreateOrganization, UpdateOrganization,
};
use bindery_core::id::{IdKey, OrganizationId, OrganizationMembershipId, UserId};
use bindery_core::place::Organization as Place;
use bindery_core::role::OrganizationRole;
use bindery_core::text::{Description, Name};
use bindery_core::user::OrganizationMembership as Membership;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::assignment::{AssignmentRequest, AssignmentResponse};
use super::schema::{Assigned, AssignedShown, IdText, Text};
use super::{Moment, description, name};
use crate::json::{Object, Patch, present};
use crate::page::Pagination;
use crate::problem::Problem;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrganizationCreate {
    #[schemars(with = "Text<Name>")]
    name: String,
    #[serde(default)]
    #[schemars(with = "Option<Text<Description>>")]
    description: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(crate) struct OrganizationUpdate {
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Text<Name>")]
    name: Option<String>,
    #[serde(default)]
    #[schemars(with = "Patch<Text<Description>>")]
    description: Patch<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrganizationUserAdd {
    #[schemars(with = "IdText<UserId>")]
    user_id: String,
    #[schemars(with = "Assigned<OrganizationRole>")]
    role: Object<AssignmentRequest>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Organization {
    #[schemars(with = "IdText<OrganizationId>")]
    id: String,
    #[schemars(with = "Text<Name>")]
    name: String,
    #[schemars(with = "Text<Description>")]
    description: String,
    created_at: Moment,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Organizations {
    pub(crate) organizations: Vec<Organization>,
    pub(crate) pagination: Pagination,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OrganizationMembership {
    #[schemars(with = "IdText<OrganizationMembershipId>")]
    id: String,
    #[schemars(with = "IdText<UserId>")]
    user_id: String,
    #[schemars(with = "IdText<OrganizationId>")]
    organization_id: String,
    #[schemars(with = "AssignedShown<OrganizationRole>")]
    role: AssignmentResponse,
}

impl OrganizationCreate {
    pub(crate) fn parse(&self) -> Result<CreateOrganization, Problem> {
        Ok(CreateOrganization {
            name: name(&self.name)?,
            description: description(self.description.as_deref().unwrap_or_default())?,
        })
    }
}

impl OrganizationUpdate {
    pub(crate) fn parse(
        &self,
        organization: OrganizationId,
    ) -> Result<UpdateOrganization, Problem> {
        if self.name.is_none() && self.description.is_keep() {
            return Err(Problem::changes_nothing("`name`, `description`"));
        }
        Ok(UpdateOrganization {
            organization,
            name: self.name.as_deref().map(name).transpose()?,
            description: self
                .description
                .resolve(Description::default, |text| description(text))?,
        })
    }
}

impl OrganizationUserAdd {
    pub(crate) fn parse(
        &self,
        organization: OrganizationId,
        ids: &IdKey,
    ) -> Result<AddOrganizationUser, Problem> {
        Ok(AddOrganizationUser {
            organization,
            user: ids
                .parse(&self.user_id)
                .map_err(|error| Problem::field("user_id", error))?,
            role: self.role.0.parse("role", ids)?,
        })
    }
}

impl Organization {
    pub(crate) fn new(organization: &Place, ids: &IdKey) -> Self {
        Self {
            id: ids.encode(organization.id),
            name: organization.name.to_string(),
            description: organization.description.to_string(),
            created_at: Moment(organization.created_at),
        }
    }
}

impl OrganizationMembership {
    pub(crate) fn new(membership: &Membership, ids: &IdKey) -> Self {
        Self {
            id: ids.encode(membership.id),
            user_id: ids.encode(membership.user),
            organization_id: ids.encode(membership.organization),
            role: AssignmentResponse::predefined(membership.role),
        }
    }
}

//! Organizations and their members on the wire.

use bindery_core::command::organizations::{AddOrganizationUser, CreateOrganization};
use bindery_core::id::{IdKey, OrganizationId};
use bindery_core::place::Organization as Place;
use bindery_core::text::{Description, Name};
use bindery_core::user::OrganizationMembership as Membership;
use serde::{Deserialize, Serialize};

use super::Moment;
use super::assignment::{AssignmentRequest, AssignmentResponse};
use crate::json::Object;
use crate::page::Pagination;
use crate::problem::Problem;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrganizationCreate {
    name: String,
    #[serde(default)]
    description: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrganizationUserAdd {
    user_id: String,
    role: Object<AssignmentRequest>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Organization {
    id: String,
    name: String,
    description: String,
    created_at: Moment,
}

#[derive(Debug, Serialize)]
pub(crate) struct Organizations {
    pub(crate) organizations: Vec<Organization>,
    pub(crate) pagination: Pagination,
}

#[derive(Debug, Serialize)]
pub(crate) struct OrganizationMembership {
    id: String,
    user_id: String,
    organization_id: String,
    role: AssignmentResponse,
}

impl OrganizationCreate {
    pub(crate) fn parse(&self) -> Result<CreateOrganization, Problem> {
        let description = self.description.as_deref().unwrap_or_default();
        Ok(CreateOrganization {
            name: Name::parse(&self.name).map_err(|error| Problem::field("name", error))?,
            description: Description::parse(description)
                .map_err(|error| Problem::field("description", error))?,
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

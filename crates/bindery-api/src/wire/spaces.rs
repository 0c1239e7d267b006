//! Spaces and their members on the wire.

use bindery_core::command::spaces::{AddSpaceUser, CreateSpace, SpaceSeat};
use bindery_core::id::{IdKey, SpaceId};
use bindery_core::place::Space as Place;
use bindery_core::state::State;
use bindery_core::text::{Description, Name};
use serde::{Deserialize, Serialize};

use super::Moment;
use super::assignment::{AssignmentRequest, AssignmentResponse};
use crate::json::{Object, present};
use crate::page::Pagination;
use crate::problem::Problem;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpaceCreate {
    name: String,
    organization_id: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default, deserialize_with = "present")]
    is_private: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpaceUserAdd {
    user_id: String,
    role: Object<AssignmentRequest>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Space {
    id: String,
    organization_id: String,
    name: String,
    description: String,
    created_at: Moment,
    is_private: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_llm_integration: Option<LlmIntegration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_agent_runtime: Option<AgentRuntime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ml_models_enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gradient_start_color: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gradient_end_color: Option<String>,
}

#[derive(Debug, Serialize)]
struct LlmIntegration {
    integration_id: String,
    model_name: String,
}

#[derive(Debug, Serialize)]
struct AgentRuntime {
    integration_id: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Spaces {
    pub(crate) spaces: Vec<Space>,
    pub(crate) pagination: Pagination,
}

#[derive(Debug, Serialize)]
pub(crate) struct SpaceMembership {
    id: String,
    user_id: String,
    space_id: String,
    role: AssignmentResponse,
}

impl SpaceCreate {
    pub(crate) fn parse(&self, ids: &IdKey) -> Result<CreateSpace, Problem> {
        let description = self.description.as_deref().unwrap_or_default();
        let organization = ids.parse(&self.organization_id);
        Ok(CreateSpace {
            name: Name::parse(&self.name).map_err(|error| Problem::field("name", error))?,
            organization: organization.map_err(|error| Problem::field("organization_id", error))?,
            description: Description::parse(description)
                .map_err(|error| Problem::field("description", error))?,
            is_private: self.is_private.unwrap_or(false),
        })
    }
}

impl SpaceUserAdd {
    pub(crate) fn parse(&self, space: SpaceId, ids: &IdKey) -> Result<AddSpaceUser, Problem> {
        Ok(AddSpaceUser {
            space,
            user: ids
                .parse(&self.user_id)
                .map_err(|error| Problem::field("user_id", error))?,
            role: self.role.0.parse("role", ids)?,
        })
    }
}

impl Space {
    pub(crate) fn new(space: &Place, ids: &IdKey) -> Self {
        let settings = &space.settings;
        Self {
            id: ids.encode(space.id),
            organization_id: ids.encode(space.organization),
            name: space.name.to_string(),
            description: space.description.to_string(),
            created_at: Moment(space.created_at),
            is_private: space.is_private,
            default_llm_integration: settings.default_llm_integration.as_ref().map(|one| {
                LlmIntegration {
                    integration_id: one.integration_id.clone(),
                    model_name: one.model_name.clone(),
                }
            }),
            default_agent_runtime: settings
                .default_agent_runtime
                .clone()
                .map(|integration_id| AgentRuntime { integration_id }),
            ml_models_enabled: settings.ml_models_enabled,
            gradient_start_color: settings.gradient_start_color.clone(),
            gradient_end_color: settings.gradient_end_color.clone(),
        }
    }
}

impl SpaceMembership {
    /// A custom space role is a role binding, and has that binding's id.
    pub(crate) fn new(seat: &SpaceSeat, state: &State) -> Self {
        let ids = state.ids();
        match seat {
            SpaceSeat::Membership(membership) => Self {
                id: ids.encode(membership.id),
                user_id: ids.encode(membership.user),
                space_id: ids.encode(membership.space),
                role: AssignmentResponse::predefined(membership.role),
            },
            SpaceSeat::Binding { binding, space } => Self {
                id: ids.encode(binding.id),
                user_id: ids.encode(binding.user),
                space_id: ids.encode(*space),
                role: AssignmentResponse::custom(state, binding.role),
            },
        }
    }
}

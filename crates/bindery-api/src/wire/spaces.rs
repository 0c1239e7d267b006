//! Spaces and their members on the wire.

use bindery_core::command::spaces::{AddSpaceUser, CreateSpace, SpaceSeat, UpdateSpace};
use bindery_core::id::{IdKey, OrganizationId, SpaceId, UserId};
use bindery_core::place::{self, Space as Place};
use bindery_core::role::SpaceRole;
use bindery_core::state::State;
use bindery_core::text::{Description, Label, Name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::assignment::{AssignmentRequest, AssignmentResponse};
use super::schema::{Assigned, AssignedShown, FilledDescription, IdText, SpaceSeatIdText, Text};
use super::{Moment, description, name};
use crate::json::{Object, Patch, present};
use crate::page::Pagination;
use crate::problem::Problem;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpaceCreate {
    #[schemars(with = "Text<Name>")]
    name: String,
    #[schemars(with = "IdText<OrganizationId>")]
    organization_id: String,
    #[serde(default)]
    #[schemars(with = "Option<Text<Description>>")]
    description: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "bool")]
    is_private: Option<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(crate) struct SpaceUpdate {
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Text<Name>")]
    name: Option<String>,
    #[serde(default)]
    #[schemars(with = "Patch<FilledDescription>")]
    description: Patch<String>,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "bool")]
    is_private: Option<bool>,
    #[serde(default)]
    default_llm_integration: Patch<Object<LlmIntegration>>,
    #[serde(default)]
    default_agent_runtime: Patch<Object<AgentRuntime>>,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "bool")]
    ml_models_enabled: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Text<Label>")]
    gradient_start_color: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Text<Label>")]
    gradient_end_color: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpaceUserAdd {
    #[schemars(with = "IdText<UserId>")]
    user_id: String,
    #[schemars(with = "Assigned<SpaceRole>")]
    role: Object<AssignmentRequest>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Space {
    #[schemars(with = "IdText<SpaceId>")]
    id: String,
    #[schemars(with = "IdText<OrganizationId>")]
    organization_id: String,
    #[schemars(with = "Text<Name>")]
    name: String,
    #[schemars(with = "Text<Description>")]
    description: String,
    created_at: Moment,
    is_private: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LlmIntegration")]
    default_llm_integration: Option<LlmIntegration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AgentRuntime")]
    default_agent_runtime: Option<AgentRuntime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    ml_models_enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Text<Label>")]
    gradient_start_color: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Text<Label>")]
    gradient_end_color: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LlmIntegration {
    #[schemars(with = "Text<Label>")]
    integration_id: String,
    #[schemars(with = "Text<Label>")]
    model_name: String,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AgentRuntime {
    #[schemars(with = "Text<Label>")]
    integration_id: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Spaces {
    pub(crate) spaces: Vec<Space>,
    pub(crate) pagination: Pagination,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SpaceMembership {
    #[schemars(with = "SpaceSeatIdText")]
    id: String,
    #[schemars(with = "IdText<UserId>")]
    user_id: String,
    #[schemars(with = "IdText<SpaceId>")]
    space_id: String,
    #[schemars(with = "AssignedShown<SpaceRole>")]
    role: AssignmentResponse,
}

impl SpaceCreate {
    pub(crate) fn parse(&self, ids: &IdKey) -> Result<CreateSpace, Problem> {
        let organization = ids.parse(&self.organization_id);
        Ok(CreateSpace {
            name: name(&self.name)?,
            organization: organization.map_err(|error| Problem::field("organization_id", error))?,
            description: description(self.description.as_deref().unwrap_or_default())?,
            is_private: self.is_private.unwrap_or(false),
        })
    }
}

fn label(field: &str, text: &str) -> Result<Label, Problem> {
    Label::parse(text).map_err(|error| Problem::field(field, error))
}

impl SpaceUpdate {
    pub(crate) fn parse(&self, space: SpaceId) -> Result<UpdateSpace, Problem> {
        let integration = |Object(one): &Object<LlmIntegration>| {
            Ok::<_, Problem>(Some(place::LlmIntegration {
                integration_id: label(
                    "default_llm_integration.integration_id",
                    &one.integration_id,
                )?,
                model_name: label("default_llm_integration.model_name", &one.model_name)?,
            }))
        };
        let color = |field, text: &Option<String>| {
            let text = text.as_deref();
            text.map(|text| label(field, text)).transpose()
        };
        let command = UpdateSpace {
            space,
            name: self.name.as_deref().map(name).transpose()?,
            description: self.description.resolve(Description::default, |text| {
                // `null` clears it; an empty text is refused, as in the compatible API.
                if text.is_empty() {
                    return Err(Problem::field(
                        "description",
                        "must not be empty; send null to clear it",
                    ));
                }
                description(text)
            })?,
            is_private: self.is_private,
            default_llm_integration: self.default_llm_integration.resolve(|| None, integration)?,
            default_agent_runtime: self.default_agent_runtime.resolve(
                || None,
                |Object(one)| {
                    let field = "default_agent_runtime.integration_id";
                    label(field, &one.integration_id).map(Some)
                },
            )?,
            ml_models_enabled: self.ml_models_enabled,
            gradient_start_color: color("gradient_start_color", &self.gradient_start_color)?,
            gradient_end_color: color("gradient_end_color", &self.gradient_end_color)?,
        };
        if command.is_empty() {
            return Err(Problem::changes_nothing(
                "`name`, `description`, `is_private`, `default_llm_integration`, `default_agent_runtime`, \
                 `ml_models_enabled`, `gradient_start_color`, `gradient_end_color`",
            ));
        }
        Ok(command)
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
                    integration_id: one.integration_id.to_string(),
                    model_name: one.model_name.to_string(),
                }
            }),
            default_agent_runtime: settings
                .default_agent_runtime
                .as_ref()
                .map(|id| AgentRuntime {
                    integration_id: id.to_string(),
                }),
            ml_models_enabled: settings.ml_models_enabled,
            gradient_start_color: settings.gradient_start_color.as_ref().map(Label::to_string),
            gradient_end_color: settings.gradient_end_color.as_ref().map(Label::to_string),
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

//! Role bindings on the wire.

use bindery_core::id::{IdKey, RoleBindingId, RoleId, UserId};
use bindery_core::resource::{Bindable, BindableKind};
use bindery_core::role_binding::RoleBinding as Binding;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Moment;
use super::schema::{IdText, ResourceIdText, choice_text};
use crate::page::Pagination;
use crate::problem::Problem;

/// The values of `resource_type`.
pub(crate) const RESOURCE_TYPES: [(&str, BindableKind); 2] = [
    ("SPACE", BindableKind::Space),
    ("PROJECT", BindableKind::Project),
];

choice_text! { ResourceTypeText of RESOURCE_TYPES }

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleBindingCreate {
    #[schemars(with = "IdText<RoleId>")]
    role_id: String,
    #[schemars(with = "IdText<UserId>")]
    user_id: String,
    #[schemars(with = "ResourceTypeText")]
    resource_type: String,
    #[schemars(with = "ResourceIdText")]
    resource_id: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleBindingUpdate {
    #[schemars(with = "IdText<RoleId>")]
    pub(crate) role_id: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RoleBinding {
    #[schemars(with = "IdText<RoleBindingId>")]
    id: String,
    #[schemars(with = "IdText<RoleId>")]
    role_id: String,
    #[schemars(with = "IdText<UserId>")]
    user_id: String,
    #[schemars(with = "ResourceTypeText")]
    resource_type: &'static str,
    #[schemars(with = "ResourceIdText")]
    resource_id: String,
    created_at: Moment,
    updated_at: Moment,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RoleBindings {
    pub(crate) role_bindings: Vec<RoleBinding>,
    pub(crate) pagination: Pagination,
}

impl RoleBindingCreate {
    pub(crate) fn parse(
        &self,
        ids: &IdKey,
    ) -> Result<bindery_core::command::role_bindings::CreateRoleBinding, Problem> {
        let kind = RESOURCE_TYPES
            .iter()
            .find(|(name, _)| *name == self.resource_type);
        let kind = kind.map(|(_, kind)| *kind).ok_or_else(|| {
            Problem::field(
                "resource_type",
                format!("`{}` is not one of SPACE, PROJECT", self.resource_type),
            )
        })?;
        let resource = |error| Problem::field("resource_id", error);
        Ok(bindery_core::command::role_bindings::CreateRoleBinding {
            role: ids
                .parse(&self.role_id)
                .map_err(|error| Problem::field("role_id", error))?,
            user: ids
                .parse(&self.user_id)
                .map_err(|error| Problem::field("user_id", error))?,
            on: match kind {
                BindableKind::Space => {
                    Bindable::Space(ids.parse(&self.resource_id).map_err(resource)?)
                }
                BindableKind::Project => {
                    Bindable::Project(ids.parse(&self.resource_id).map_err(resource)?)
                }
            },
        })
    }
}

impl RoleBinding {
    pub(crate) fn new(binding: &Binding, ids: &IdKey) -> Self {
        let (resource_type, resource_id) = match binding.resource {
            Bindable::Space(space) => ("SPACE", ids.encode(space)),
            Bindable::Project(project) => ("PROJECT", ids.encode(project)),
        };
        Self {
            id: ids.encode(binding.id),
            role_id: ids.encode(binding.role),
            user_id: ids.encode(binding.user),
            resource_type,
            resource_id,
            created_at: Moment(binding.created_at),
            updated_at: Moment(binding.updated_at),
        }
    }
}

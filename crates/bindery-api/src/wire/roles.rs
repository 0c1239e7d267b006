//! Roles on the wire.

use bindery_core::command::roles::{CreateRole, UpdateRole};
use bindery_core::id::RoleId;
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::role::AnyRole;
use bindery_core::state::State;
use bindery_core::text::{Description, RoleName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{IdText, Text};
use super::{Moment, description};
use crate::json::{Patch, present};
use crate::page::Pagination;
use crate::problem::Problem;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleCreate {
    #[schemars(with = "Text<RoleName>")]
    name: String,
    #[serde(default)]
    #[schemars(with = "Option<Text<Description>>")]
    description: Option<String>,
    #[schemars(with = "Vec<Text<Permission>>", length(min = 1))]
    permissions: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(crate) struct RoleUpdate {
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Text<RoleName>")]
    name: Option<String>,
    #[serde(default)]
    #[schemars(with = "Patch<Text<Description>>")]
    description: Patch<String>,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<Text<Permission>>", length(min = 1))]
    permissions: Option<Vec<String>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Role {
    #[schemars(with = "IdText<RoleId>")]
    id: String,
    #[schemars(with = "Text<RoleName>")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(with = "Text<Description>")]
    description: String,
    #[schemars(with = "Vec<Text<Permission>>")]
    permissions: Vec<&'static str>,
    is_predefined: bool,
    created_at: Moment,
    updated_at: Moment,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Roles {
    pub(crate) roles: Vec<Role>,
    pub(crate) pagination: Pagination,
}

impl RoleCreate {
    pub(crate) fn parse(&self) -> Result<CreateRole, Problem> {
        Ok(CreateRole {
            name: role_name(&self.name)?,
            description: description(self.description.as_deref().unwrap_or_default())?,
            permissions: permissions(&self.permissions)?,
        })
    }
}

impl RoleUpdate {
    pub(crate) fn parse(&self, role: RoleId) -> Result<UpdateRole, Problem> {
        if self.name.is_none() && self.description.is_keep() && self.permissions.is_none() {
            return Err(Problem::changes_nothing(
                "`name`, `description`, `permissions`",
            ));
        }
        Ok(UpdateRole {
            role,
            name: self.name.as_deref().map(role_name).transpose()?,
            description: self
                .description
                .resolve(Description::default, |text| description(text))?,
            permissions: self.permissions.as_deref().map(permissions).transpose()?,
        })
    }
}

fn role_name(text: &str) -> Result<RoleName, Problem> {
    RoleName::parse(text).map_err(|error| Problem::field("name", error))
}

/// At least one, each known; duplicates are merged.
fn permissions(names: &[String]) -> Result<PermissionSet, Problem> {
    if names.is_empty() {
        return Err(Problem::field(
            "permissions",
            "is empty; name at least one permission",
        ));
    }
    let mut set = PermissionSet::EMPTY;
    for (place, name) in names.iter().enumerate() {
        let permission = Permission::from_name(name).ok_or_else(|| {
            Problem::field(
                &format!("permissions[{place}]"),
                format!("`{name}` is not a permission; they are spelled like ROLE_BINDING_READ"),
            )
        })?;
        set = set.with(permission);
    }
    Ok(set)
}

impl Role {
    pub(crate) fn new(role: AnyRole<'_>, state: &State) -> Self {
        let since = state.account().created_at;
        let (description, is_predefined, created_at, updated_at) = match role {
            AnyRole::Predefined(..) => (String::new(), true, since, since),
            AnyRole::Custom(role) => (
                role.description.to_string(),
                false,
                role.created_at,
                role.updated_at,
            ),
        };
        Self {
            id: state.ids().encode(role.id()),
            name: role.name().to_owned(),
            description,
            permissions: role.permissions().iter().map(Permission::name).collect(),
            is_predefined,
            created_at: Moment(created_at),
            updated_at: Moment(updated_at),
        }
    }
}

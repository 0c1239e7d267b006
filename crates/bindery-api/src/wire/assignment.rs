//! Role assignments: `{"type":"PREDEFINED","name":…}` or `{"type":"CUSTOM","id":…}`.

use bindery_core::command::Assignment;
use bindery_core::id::{IdKey, RoleId};
use bindery_core::role::{AccountRole, OrganizationRole, SpaceRole};
use bindery_core::state::State;
use serde::{Deserialize, Serialize};

use crate::json::present;
use crate::problem::Problem;

/// In a request: `type`, and the one of the other two that belongs to it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssignmentRequest {
    r#type: String,
    #[serde(default, deserialize_with = "present")]
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    id: Option<String>,
}

/// In a response.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type")]
pub(crate) enum AssignmentResponse {
    #[serde(rename = "PREDEFINED")]
    Predefined { name: &'static str },
    #[serde(rename = "CUSTOM")]
    Custom { id: String, name: String },
}

impl AssignmentRequest {
    /// The assignment; `from_name` finds its name among `all`.
    pub(crate) fn parse<R: Named>(
        &self,
        field: &str,
        ids: &IdKey,
    ) -> Result<Assignment<R>, Problem> {
        let member = |member: &str| format!("{field}.{member}");
        match (self.r#type.as_str(), &self.name, &self.id) {
            ("PREDEFINED", Some(name), None) => {
                R::find(name).map(Assignment::Predefined).ok_or_else(|| {
                    let why = format!("`{name}` is not one of {}", R::names().join(", "));
                    Problem::field(&member("name"), why)
                })
            }
            ("CUSTOM", None, Some(id)) => ids
                .parse(id)
                .map(Assignment::Custom)
                .map_err(|error| Problem::field(&member("id"), error)),
            ("PREDEFINED", _, Some(_)) => Err(Problem::field(
                &member("id"),
                "belongs to the type CUSTOM; leave it out with PREDEFINED",
            )),
            ("PREDEFINED", None, None) => Err(Problem::field(
                &member("name"),
                format!("is missing; send one of {}", R::names().join(", ")),
            )),
            ("CUSTOM", Some(_), _) => Err(Problem::field(
                &member("name"),
                "belongs to the type PREDEFINED; leave it out with CUSTOM",
            )),
            ("CUSTOM", None, None) => Err(Problem::field(
                &member("id"),
                "is missing; send the id of a role",
            )),
            (other, ..) => Err(Problem::field(
                &member("type"),
                format!("`{other}` is not one of PREDEFINED, CUSTOM"),
            )),
        }
    }
}

impl AssignmentResponse {
    /// A predefined role.
    pub(crate) fn predefined(role: impl Named) -> Self {
        Self::Predefined { name: role.text() }
    }

    /// A role of the account by id.
    pub(crate) fn custom(state: &State, role: RoleId) -> Self {
        let name = state
            .role(role)
            .map(|role| role.name().to_owned())
            .unwrap_or_default();
        Self::Custom {
            id: state.ids().encode(role),
            name,
        }
    }
}

/// The roles that have an enum on the wire.
pub(crate) trait Named: Sized + Copy + 'static {
    /// The level of these roles, capitalized.
    const LEVEL: &'static str;
    fn find(name: &str) -> Option<Self>;
    fn text(self) -> &'static str;
    fn names() -> Vec<&'static str>;
}

macro_rules! named {
    ($($role:ident on $level:literal)*) => {$(
        impl Named for $role {
            const LEVEL: &'static str = $level;
            fn find(name: &str) -> Option<Self> {
                Self::from_name(name)
            }
            fn text(self) -> &'static str {
                self.name()
            }
            fn names() -> Vec<&'static str> {
                Self::ALL.iter().map(|role| role.name()).collect()
            }
        }
    )*};
}

named! { AccountRole on "Account" OrganizationRole on "Organization" SpaceRole on "Space" }

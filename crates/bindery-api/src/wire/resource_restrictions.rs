//! Resource restrictions on the wire.

use bindery_core::id::{IdKey, ProjectId};
use bindery_core::place::Restriction;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Moment;
use super::schema::{IdText, choice_text};
use crate::page::Pagination;

/// The kinds that a filter may name, and whether they can be restricted here.
pub(crate) const RESOURCE_TYPES: [(&str, bool); 3] =
    [("PROJECT", true), ("DASHBOARD", false), ("PROMPT", false)];

choice_text! { RestrictableText of RESOURCE_TYPES }

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResourceRestrictionCreate {
    #[schemars(with = "IdText<ProjectId>")]
    pub(crate) resource_id: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ResourceRestriction {
    #[schemars(with = "RestrictableText")]
    resource_type: &'static str,
    #[schemars(with = "IdText<ProjectId>")]
    resource_id: String,
    created_at: Moment,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ResourceRestrictions {
    pub(crate) resource_restrictions: Vec<ResourceRestriction>,
    pub(crate) pagination: Pagination,
}

impl ResourceRestriction {
    pub(crate) fn new(restriction: &Restriction, ids: &IdKey) -> Self {
        Self {
            resource_type: "PROJECT",
            resource_id: ids.encode(restriction.project),
            created_at: Moment(restriction.created_at),
        }
    }
}

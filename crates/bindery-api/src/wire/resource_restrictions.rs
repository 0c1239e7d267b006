//! Resource restrictions on the wire.

use bindery_core::id::IdKey;
use bindery_core::place::Restriction;
use serde::{Deserialize, Serialize};

use super::Moment;
use crate::page::Pagination;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResourceRestrictionCreate {
    pub(crate) resource_id: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct ResourceRestriction {
    resource_type: &'static str,
    resource_id: String,
    created_at: Moment,
}

#[derive(Debug, Serialize)]
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

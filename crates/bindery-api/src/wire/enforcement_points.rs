//! Enforcement points on the wire: API keys, as in lists of keys.

use schemars::JsonSchema;
use serde::Serialize;

use super::api_keys::ApiKeyListed;
use crate::page::Pagination;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EnforcementPoints {
    pub(crate) enforcement_points: Vec<ApiKeyListed>,
    pub(crate) pagination: Pagination,
}

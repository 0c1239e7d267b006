//! Audit log entries on the wire.

use std::borrow::Cow;

use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::id::{AuditLogId, IdKey, Kind, UserId};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::Moment;
use super::schema::{FreeText, IdText, choice_text};
use crate::page::Pagination;

/// The values of `operation_type`. Nothing here is a subscription, so a filter on those finds nothing.
pub(crate) const OPERATION_TYPES: [(&str, Option<AuditKind>); 3] = [
    ("QUERY", Some(AuditKind::Query)),
    ("MUTATION", Some(AuditKind::Mutation)),
    ("SUBSCRIPTION", None),
];

choice_text! { OperationTypeText of OPERATION_TYPES }

/// How many operations a filter may name.
pub(crate) const NAMES_MAX: usize = 20;
/// Characters of an operation's name.
pub(crate) const NAME_LENGTH_MAX: usize = 255;

/// The values of `operation_name`.
#[derive(Debug)]
pub(crate) enum OperationNames {}

impl JsonSchema for OperationNames {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "OperationNames".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array",
            "minItems": 1,
            "maxItems": NAMES_MAX,
            "items": {"type": "string", "minLength": 1, "maxLength": NAME_LENGTH_MAX},
        })
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AuditLog {
    #[schemars(with = "IdText<AuditLogId>")]
    id: String,
    #[schemars(with = "IdText<UserId>")]
    user_id: String,
    #[schemars(with = "FreeText")]
    ip: String,
    #[schemars(with = "OperationTypeText")]
    operation_type: &'static str,
    #[schemars(with = "FreeText")]
    operation_name: String,
    #[schemars(with = "Option<FreeText>")]
    operation_text: Option<String>,
    #[schemars(with = "Option<FreeText>")]
    variables: Option<String>,
    created_at: Moment,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AuditLogs {
    pub(crate) logs: Vec<AuditLog>,
    pub(crate) pagination: Pagination,
}

impl AuditLog {
    pub(crate) fn new(number: u64, entry: AuditEntry, ids: &IdKey) -> Self {
        Self {
            id: ids.encode_number(Kind::AuditLog, number),
            user_id: ids.encode(entry.user),
            ip: entry.address,
            operation_type: entry.kind.name(),
            operation_name: entry.operation,
            operation_text: entry.text,
            variables: entry.variables,
            created_at: Moment(entry.at),
        }
    }
}

//! Audit log entries on the wire.

use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::id::{IdKey, Kind};
use serde::Serialize;

use super::Moment;
use crate::page::Pagination;

/// The values of `operation_type`. Nothing here is a subscription, so asking for those finds nothing.
pub(crate) const OPERATION_TYPES: [(&str, Option<AuditKind>); 3] = [
    ("QUERY", Some(AuditKind::Query)),
    ("MUTATION", Some(AuditKind::Mutation)),
    ("SUBSCRIPTION", None),
];

#[derive(Debug, Serialize)]
pub(crate) struct AuditLog {
    id: String,
    user_id: String,
    ip: String,
    operation_type: &'static str,
    operation_name: String,
    operation_text: Option<String>,
    variables: Option<String>,
    created_at: Moment,
}

#[derive(Debug, Serialize)]
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

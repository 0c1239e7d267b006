//! Audit logs, described.

use bindery_core::id::UserId;

use crate::openapi::description::Described;
use crate::wire::audit_logs::{AuditLogs, OperationNames, OperationTypeText};
use crate::wire::schema::{IdText, MomentText};

pub(crate) fn list_audit_logs() -> Described {
    Described::new(
        "Read the audit log",
        "Every request with a key, newest first, including refused ones, with its body without secrets.",
    )
    .query::<MomentText>("start_time", "Not earlier than this; 30 days before `end_time` if absent.")
    .query::<MomentText>("end_time", "Not later than this; now if absent.")
    .query::<IdText<UserId>>("user_id", "Only requests of this user or bot.")
    .query::<OperationNames>("operation_name", "Only these operations; may be repeated.")
    .query::<OperationTypeText>("operation_type", "Only reads, or only changes.")
    .paged()
    .answers::<AuditLogs>("A page of the log.")
    .refuses(403, "The caller isn't account admin, or audit logging is off for the account.")
}

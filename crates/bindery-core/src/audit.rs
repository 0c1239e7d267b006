//! Entries of the audit log: who asked for what, from where, and how it ended. Written beside the change log, never read
//! by a decision.

use crate::id::{ApiKeyId, Revision, UserId};
use crate::text::RequestId;
use crate::time::Timestamp;

/// One request, as the audit log keeps it (`docs/rules/operations.md`, audit logs).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Who asked.
    pub user: UserId,
    /// The address they asked from.
    pub address: String,
    /// Whether the operation reads or changes.
    pub kind: AuditKind,
    /// The operation id.
    pub operation: String,
    /// The request body with its secrets removed.
    pub text: Option<String>,
    /// Path and query parameters, as JSON text.
    pub variables: Option<String>,
    /// The HTTP status of the answer.
    pub status: u16,
    /// Of a refusal: what its problem's type ends with, if that says more than the status.
    pub problem: Option<String>,
    /// The key that they asked with.
    pub key: Option<ApiKeyId>,
    /// What the request is called.
    pub request: Option<RequestId>,
    /// The revision that it was answered at: of a change, the one that it made.
    pub revision: Option<Revision>,
    /// When it was decided.
    pub at: Timestamp,
}

/// Whether an operation reads or changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuditKind {
    /// It reads.
    Query,
    /// It changes, or was refused a change.
    Mutation,
}

impl AuditKind {
    /// The value on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Query => "QUERY",
            Self::Mutation => "MUTATION",
        }
    }
}

//! An operation is a row of independent columns, which say what the frame does for it. The rows are in
//! `operations.rs`.

use std::any::TypeId;
use std::fmt;

use bindery_core::audit::AuditKind;
use hyper::Method;

use crate::answer::{Answer, Answering};
use crate::call::{Asking, Call, OpenCall, PublicCall};
use crate::openapi::description::Described;
use crate::problem::Problem;

/// One operation of the API (`docs/rules/operations.md`).
pub(crate) struct Operation {
    /// Its operation id.
    pub(crate) id: &'static str,
    pub(crate) method: Method,
    /// With `{name}` for each path parameter.
    pub(crate) path: &'static str,
    /// The known query parameters.
    pub(crate) query: &'static [&'static str],
    pub(crate) body: Body,
    /// The status of success.
    pub(crate) success: u16,
    /// Its request and response in the OpenAPI document: the function with the operation's id.
    pub(crate) described: fn() -> Described,
    /// Who may call it, and the function that handles it.
    pub(crate) handler: Handler,
    pub(crate) runs: Runs,
    pub(crate) audited: Audited,
    pub(crate) limits: BodyLimits,
    /// Handles plain requests directly from their bytes.
    pub(crate) hot_path: Option<HotPath>,
}

/// Who may call an operation, and its handler. Without a key, nothing is known of the caller, so the handler
/// gets another type of call.
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    /// For callers with a key.
    WithKey(fn(Call) -> Answering),
    /// For people who prove who they are with a link or a password in the request.
    WithProof(fn(OpenCall) -> Answering),
    /// For everyone: about this server, and nothing about its accounts.
    ForAnyone(fn(&PublicCall) -> Result<Answer, Problem>),
}

/// Where a handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    /// On the thread of the connection, since it reads little. With a large body it runs on a worker.
    OnConnection,
    /// On a worker, in a turn, since it reads much or waits for the store.
    OnWorker,
    /// In a task of its own that always finishes, e-mail included, even if the client hangs up.
    ToItsEnd,
}

/// Which answered requests the audit log keeps. It always keeps refused ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audited {
    /// Each request, if reads are audited at all.
    Reads,
    /// Explained ones, and those with a question that the caller may not ask. There are too many others.
    Questions,
    /// Each change, by the command itself.
    Changes,
}

/// Limits of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyLimits {
    /// Bytes, if fewer than the server accepts.
    pub(crate) bytes_max: usize,
    /// JSON values.
    pub(crate) values_max: usize,
}

impl BodyLimits {
    /// The default.
    pub(crate) const USUAL: Self = Self {
        bytes_max: usize::MAX,
        values_max: 4_096,
    };
    /// For one question or search, with the client's own context and properties.
    pub(crate) const QUESTION: Self = Self {
        values_max: 8_192,
        ..Self::USUAL
    };
    /// For 1,000 questions, and for a service key with 100 organizations of 100 spaces each, which has about
    /// 51,000 values.
    pub(crate) const MANY: Self = Self {
        values_max: 65_536,
        ..Self::USUAL
    };
    /// For a caller without a key.
    pub(crate) const STRANGER: Self = Self {
        bytes_max: 4 * 1024,
        ..Self::USUAL
    };
}

/// Handles a request without a query from the bytes of its body, or leaves it to the handler.
pub(crate) type HotPath = fn(&Asking<'_>, &[u8]) -> Option<Answer>;

/// Whether an operation reads a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// It is ignored: some clients send an empty object where nothing is expected.
    Empty,
    /// A JSON object.
    Json,
    /// A JSON object or nothing.
    Optional,
}

impl Operation {
    /// Whether it changes something.
    pub(crate) fn is_change(&self) -> bool {
        self.audited == Audited::Changes
    }

    /// Whether it reads a body.
    pub(crate) fn has_body(&self) -> bool {
        self.body != Body::Empty
    }

    /// Whether it is only for callers with a key.
    pub(crate) fn takes_key(&self) -> bool {
        matches!(self.handler, Handler::WithKey(_))
    }

    /// Its kind in the audit log.
    pub(crate) fn audit_kind(&self) -> AuditKind {
        if self.is_change() {
            AuditKind::Mutation
        } else {
            AuditKind::Query
        }
    }

    /// Asserts that a handler parses the described body.
    pub(crate) fn check_body<T: 'static>(&self) {
        debug_assert!(
            (self.described)().takes_type(TypeId::of::<T>()),
            "{self:?} reads its body as what is not described"
        );
    }

    /// Asserts that a handler returns the described body.
    pub(crate) fn check_answer(&self, answer: &Answer) {
        let status = answer.status.map(|status| status.as_u16());
        debug_assert!(
            (self.described)().answers_type(status, answer.of),
            "{self:?} answers what is not described: {answer:?}"
        );
        debug_assert_eq!(
            (self.described)().tells_revision(),
            answer.revision.is_some(),
            "{self:?}"
        );
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

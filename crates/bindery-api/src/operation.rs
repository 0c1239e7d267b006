//! What an operation is: a row whose columns say, each by itself, what the frame does for it. The rows are in `operations.rs`.

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
    /// The query parameters it knows.
    pub(crate) query: &'static [&'static str],
    pub(crate) body: Body,
    /// The status of success.
    pub(crate) success: u16,
    /// What it takes and answers, for the openapi document: the function with the name of the operation.
    pub(crate) described: fn() -> Described,
    /// Who may call it, and what answers.
    pub(crate) handler: Handler,
    pub(crate) runs: Runs,
    pub(crate) audited: Audited,
    pub(crate) limits: BodyLimits,
    /// Answers plain requests straight from their bytes.
    pub(crate) hot_path: Option<HotPath>,
}

/// Who may call an operation, and what answers them. Nothing about a caller without a key is known but what their request says, so
/// the type of the call is another.
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    /// For callers with a key.
    WithKey(fn(Call) -> Answering),
    /// For people who prove who they are in the request, with a link or a password.
    WithProof(fn(OpenCall) -> Answering),
    /// For everyone: about this server, and nothing about its accounts.
    ForAnyone(fn(&PublicCall) -> Result<Answer, Problem>),
}

/// Where the handler of a call with a key runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    /// On the thread of the connection: it looks at little. With a large body it runs on a worker.
    OnConnection,
    /// On a worker, in a turn: it looks at much, or waits for the store.
    OnWorker,
    /// In a task of its own: what is begun is brought to its end, letters included, also when the client hangs up.
    ToItsEnd,
}

/// What the audit log keeps of an answered request. A refused one is always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audited {
    /// Each request, if reads are kept at all.
    Reads,
    /// Those that asked for reasons, or for what is not the caller's to ask. There are too many others.
    Questions,
    /// Each change, by the command itself.
    Changes,
}

/// What a body may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyLimits {
    /// Bytes, if fewer than the server accepts.
    pub(crate) bytes_max: usize,
    /// JSON values.
    pub(crate) values_max: usize,
}

impl BodyLimits {
    /// Where nothing says otherwise.
    pub(crate) const USUAL: Self = Self {
        bytes_max: usize::MAX,
        values_max: 4_096,
    };
    /// Of one question or search, whose context and properties are the client's own.
    pub(crate) const QUESTION: Self = Self {
        values_max: 8_192,
        ..Self::USUAL
    };
    /// Of 1,000 questions, and of a service key for 100 organizations with 100 spaces each, which has about 51,000 values.
    pub(crate) const MANY: Self = Self {
        values_max: 65_536,
        ..Self::USUAL
    };
    /// Of someone without a key.
    pub(crate) const STRANGER: Self = Self {
        bytes_max: 4 * 1024,
        ..Self::USUAL
    };
}

/// Answers a request without a query from the bytes of its body, or leaves it to the handler.
pub(crate) type HotPath = fn(&Asking<'_>, &[u8]) -> Option<Answer>;

/// Whether an operation reads a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// What comes is thrown away: some clients send an empty object where nothing is expected.
    Empty,
    /// A JSON object.
    Json,
    /// A JSON object or nothing at all.
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

    /// Whether it is for callers with a key, and for nobody else.
    pub(crate) fn takes_key(&self) -> bool {
        matches!(self.handler, Handler::WithKey(_))
    }

    /// What the audit log says that it is.
    pub(crate) fn audit_kind(&self) -> AuditKind {
        if self.is_change() {
            AuditKind::Mutation
        } else {
            AuditKind::Query
        }
    }

    /// What a handler reads its body as must be what is described.
    pub(crate) fn check_body<T: 'static>(&self) {
        debug_assert!(
            (self.described)().takes_type(TypeId::of::<T>()),
            "{self:?} reads its body as what is not described"
        );
    }

    /// What a handler answers must be what is described.
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

//! What the clients have seen: besides the log, the only evidence of a run.

use crate::intent::Intent;

/// One request and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    /// The client; it sends one request at a time.
    pub(crate) client: usize,
    /// The server.
    pub(crate) node: usize,
    /// When it was sent, on the one clock of the run, before the first byte.
    pub(crate) invoked_ns: u64,
    /// When the whole response had arrived, or the client stopped waiting.
    pub(crate) returned_ns: u64,
    /// The lowest revision that it requested; 0 if none.
    pub(crate) at_least: u64,
    pub(crate) intent: Intent,
    pub(crate) answer: Answer,
    /// The revision of the response; 0 if it has none.
    pub(crate) revision: u64,
}

/// A result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is done, or read, with this content.
    Done(String),
    /// Refused with this status: 404 or 409.
    Refused(u16),
    /// The response says that nothing was changed, or the request was never sent.
    Nothing,
    /// No response, or one that says that the outcome is unknown.
    Unknown,
    /// A response that should not exist.
    Odd(String),
}

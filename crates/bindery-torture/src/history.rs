//! What the clients have seen: the only witness of a run beside the log.

use crate::wish::Wish;

/// One request and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    /// Who asked; one request at a time.
    pub(crate) client: usize,
    /// Which server was asked.
    pub(crate) node: usize,
    /// When, on the one clock of the run, before the first byte went out.
    pub(crate) invoked_ns: u64,
    /// When the whole answer was there, or was given up.
    pub(crate) returned_ns: u64,
    /// The revision that it was to be answered at, at least; 0 if it didn't say.
    pub(crate) at_least: u64,
    pub(crate) wish: Wish,
    pub(crate) answer: Answer,
    /// The revision that the answer named; 0 if it named none.
    pub(crate) revision: u64,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is done, or seen, and this is it.
    Done(String),
    /// No, with this status: 404 or 409.
    Refused(u16),
    /// In so many words that nothing was changed; or the request never went out.
    Nothing,
    /// No answer, or one that says that nobody knows.
    Unknown,
    /// What no answer should be.
    Odd(String),
}

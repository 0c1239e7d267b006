//! The outcome of a request, before it becomes a response.

use std::any::TypeId;
use std::future::Future;
use std::pin::Pin;

use bindery_core::id::Revision;
use hyper::StatusCode;
use serde::Serialize;

use crate::problem::Problem;

/// A running handler.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Answer, Problem>> + Send>>;

/// What the audit log keeps of answered decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Nothing: there are too many.
    #[default]
    Nothing,
    /// An entry like that of a read: the reasons were asked for.
    Read,
    /// An entry like that of a refusal: the caller may not ask one of the questions.
    Refusal,
}

/// The outcome of a handler. Its status is the operation's success unless it has one.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Option<StatusCode>,
    pub(crate) json: Option<Vec<u8>>,
    /// The type of the body, to compare with the description.
    pub(crate) of: Option<TypeId>,
    /// The revision of the data, if that need not be the snapshot's.
    pub(crate) revision: Option<Revision>,
    /// What the audit log keeps of it, if it has decisions.
    pub(crate) noted: Noted,
}

impl Answer {
    /// The operation's success with this body.
    pub(crate) fn json<T: Serialize + 'static>(body: &T) -> Result<Self, Problem> {
        let json = serde_json::to_vec(body).map_err(|error| {
            tracing::error!(%error, "a response can't be written as JSON");
            Problem::internal()
        })?;
        Ok(Self {
            status: None,
            json: Some(json),
            of: Some(TypeId::of::<T>()),
            revision: None,
            noted: Noted::Nothing,
        })
    }

    /// The operation's success with a body of type `T` that is already JSON, at this revision.
    pub(crate) fn written<T: 'static>(json: Vec<u8>, revision: Revision) -> Self {
        Self {
            status: None,
            json: Some(json),
            of: Some(TypeId::of::<T>()),
            revision: Some(revision),
            noted: Noted::Nothing,
        }
    }

    /// The operation's success without a body.
    pub(crate) const fn empty() -> Self {
        Self {
            status: None,
            json: None,
            of: None,
            revision: None,
            noted: Noted::Nothing,
        }
    }

    /// Puts this revision into the header of the response.
    pub(crate) fn at(self, revision: Revision) -> Self {
        Self {
            revision: Some(revision),
            ..self
        }
    }

    /// Sets what the audit log keeps.
    pub(crate) fn noted(self, noted: Noted) -> Self {
        Self { noted, ..self }
    }

    /// Sets another status of success.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self {
            status: Some(status),
            ..self
        }
    }
}

//! What is answered to a request, before it is a response.

use std::any::TypeId;
use std::future::Future;
use std::pin::Pin;

use bindery_core::id::Revision;
use hyper::StatusCode;
use serde::Serialize;

use crate::problem::Problem;

/// An answer under way.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Answer, Problem>> + Send>>;

/// What of an answered request for decisions is for the audit log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Nothing: there are too many of them.
    #[default]
    Nothing,
    /// Its reasons were asked for: as much as of any read.
    Read,
    /// In it, something was asked that is not the caller's to ask: as much as of any refusal.
    Refusal,
}

/// What is answered; the status is the operation's unless it says otherwise.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Option<StatusCode>,
    pub(crate) json: Option<Vec<u8>>,
    /// The type of the body, to compare with what is described.
    pub(crate) of: Option<TypeId>,
    /// The revision that it was answered at, where that need not be the snapshot's.
    pub(crate) revision: Option<Revision>,
    /// What of it the audit log has, if it is decisions.
    pub(crate) noted: Noted,
}

impl Answer {
    /// The operation's success with this body.
    pub(crate) fn json<T: Serialize + 'static>(body: &T) -> Result<Self, Problem> {
        let json = serde_json::to_vec(body).map_err(|error| {
            tracing::error!(%error, "an answer can't be written as JSON");
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

    /// The operation's success with a body of type `T` that is already written, at this revision.
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

    /// The same, with the revision that it was answered at in a header.
    pub(crate) fn at(self, revision: Revision) -> Self {
        Self {
            revision: Some(revision),
            ..self
        }
    }

    /// The same decisions, of which the audit log has this.
    pub(crate) fn noted(self, noted: Noted) -> Self {
        Self { noted, ..self }
    }

    /// The same with another status of success.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self {
            status: Some(status),
            ..self
        }
    }
}

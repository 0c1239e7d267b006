//! One request to one operation, authenticated: what a handler parses from, asks with, and answers through.

use std::any::TypeId;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bindery_core::command::{Caller, Command, Context};
use bindery_core::id::{Id, IdKey};
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_node::{Account, Audit};
use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::json;
use crate::operations::Operation;
use crate::page::Cursors;
use crate::problem::{self, Problem};
use crate::query::Query;

/// How long anyone waits for a commit.
const EXECUTE_TIMEOUT: Duration = Duration::from_secs(30);

/// A handler: from a call to its answer.
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    /// Answers from the snapshot at once.
    Reads(fn(&Call) -> Result<Answer, Problem>),
    /// Waits for a commit.
    Changes(fn(Call) -> Answering),
}

/// An answer under way.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Answer, Problem>> + Send>>;

/// One request.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) operation: &'static Operation,
    pub(crate) account: Arc<Account>,
    pub(crate) caller: Caller,
    pub(crate) state: Arc<State>,
    pub(crate) now: Timestamp,
    pub(crate) address: String,
    pub(crate) path: Vec<(&'static str, String)>,
    pub(crate) query: Query,
    pub(crate) body: Bytes,
}

/// What is answered; the status is the operation's unless it says otherwise.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Option<StatusCode>,
    pub(crate) json: Option<Vec<u8>>,
    /// The type of the body, to compare with what is described.
    of: Option<TypeId>,
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
        })
    }

    /// The operation's success without a body.
    pub(crate) const fn empty() -> Self {
        Self {
            status: None,
            json: None,
            of: None,
        }
    }

    /// The same with another status of success.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self {
            status: Some(status),
            ..self
        }
    }
}

impl Call {
    /// Has the operation's handler answer.
    pub(crate) async fn answer(self) -> Result<Answer, Problem> {
        let operation = self.operation;
        let answer = match operation.handler {
            Handler::Reads(handler) => handler(&self),
            Handler::Changes(handler) => handler(self).await,
        }?;
        debug_assert!(
            (operation.described)().answers_type(answer.status.map(|it| it.as_u16()), answer.of),
            "{operation:?} answers what is not described: {answer:?}"
        );
        Ok(answer)
    }

    /// On whose behalf, and when.
    pub(crate) fn context(&self) -> Context {
        Context {
            caller: self.caller,
            now: self.now,
        }
    }

    /// Reads and writes the account's ids.
    pub(crate) fn ids(&self) -> &IdKey {
        self.state.ids()
    }

    /// A parameter of the path, decoded.
    pub(crate) fn path_text(&self, name: &str) -> &str {
        let found = self.path.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// An id in the path.
    pub(crate) fn path_id<I: Id>(&self, name: &str) -> Result<I, Problem> {
        self.id(name, self.path_text(name))
    }

    /// An id in a field or parameter.
    pub(crate) fn id<I: Id>(&self, name: &str, text: &str) -> Result<I, Problem> {
        self.ids()
            .parse(text)
            .map_err(|error| Problem::field(name, error))
    }

    /// An id in a query parameter that may be absent.
    pub(crate) fn query_id<I: Id>(&self, name: &str) -> Result<Option<I>, Problem> {
        self.query
            .one(name)?
            .map(|text| self.id(name, text))
            .transpose()
    }

    /// The body.
    pub(crate) fn body<T: DeserializeOwned + 'static>(&self) -> Result<T, Problem> {
        debug_assert!(
            (self.operation.described)().takes_type(TypeId::of::<T>()),
            "{:?} reads its body as what is not described",
            self.operation
        );
        json::parse(&self.body)
    }

    /// The paging of a list.
    pub(crate) fn cursors(&self) -> Cursors<'_> {
        Cursors::new(self.ids(), self.operation.id, &self.query)
    }

    /// Lets the caller in to read; commands let them in by themselves.
    pub(crate) fn admit(&self) -> Result<Context, Problem> {
        let context = self.context();
        self.state.admit(&context)?;
        Ok(context)
    }

    /// Decides and commits a command; when this returns, it is durable and every reader sees it.
    pub(crate) async fn execute<C>(&self, command: C) -> Result<C::Outcome, Problem>
    where
        C: Command + Send + 'static,
        C::Outcome: Send,
    {
        let executed = self
            .account
            .execute(command, self.caller, Some(self.audit()));
        match tokio::time::timeout(EXECUTE_TIMEOUT, executed).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(Problem::outcome_unknown()),
        }
    }

    fn audit(&self) -> Audit {
        let path = self
            .path
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let variables: serde_json::Map<String, serde_json::Value> = path
            .chain(self.query.pairs())
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let text = String::from_utf8_lossy(&self.body).into_owned();
        Audit {
            address: self.address.clone(),
            // No request of these operations carries a secret; one that will must cut it out here.
            text: (!text.is_empty()).then_some(text),
            variables: (!variables.is_empty())
                .then(|| serde_json::Value::from(variables).to_string()),
            success: self.operation.success,
            refused: problem::status_of,
        }
    }
}

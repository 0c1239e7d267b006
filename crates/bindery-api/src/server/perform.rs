//! From a request to its response: the operation of its path, the caller, the body, the handler, and an audit
//! entry.

use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::command::{Caller, Context};
use bindery_core::state::State;
use bindery_core::text::RequestId;
use bindery_core::time::Timestamp;
use bindery_node::{Account, ClientNetwork};
use bytes::Bytes;
use futures_util::future::Either;
use http_body_util::Full;
use hyper::Response;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;

use super::Server;
use super::authentication::{Known, presented};
use crate::answer::{Answer, Answering, Noted};
use crate::audited::{audited_text, audited_variables, noted};
use crate::call::{Asking, Call, OpenCall, to_its_end};
use crate::client_address;
use crate::connection_table::Connection;
use crate::freshness::Frame;
use crate::memory_budget::Owner;
use crate::openapi::pages;
use crate::operation::{Audited, Handler, HotPath, Operation, Runs};
use crate::operations::Route;
use crate::problem::Problem;
use crate::query::Query;
use crate::request_stream::refusal;
use crate::turns::Lane;

/// Bytes of a body of plain questions that is handled on the thread of its connection: some 150 questions.
const INLINE_QUESTIONS_MAX: usize = 32 * 1024;

impl Server {
    /// Long or rare steps are boxed, so that each request holds only the memory of what it waits for.
    pub(super) async fn answer(
        &self,
        head: &mut Parts,
        body: Incoming,
        connection: &Connection,
        request_id: &str,
        frame: &Frame,
    ) -> Result<Response<Full<Bytes>>, Problem> {
        if let Some(refused) = refusal(&head.method, connection) {
            return Err(refused.problem());
        }
        let path = head.uri.path();
        if let Some(answer) = self.health.answer(&self.services.node, &head.method, path) {
            return answer;
        }
        if let Some(page) = pages::answer(&head.method, path, &head.headers) {
            return page;
        }
        self.health.check(&self.services.node)?;
        // Before anything else about the request: an unknown caller learns nothing, not even which paths
        // exist.
        let key = presented(&head.headers);
        let route = self.router.find(&head.method, path);
        let client =
            client_address::client(connection.peer(), &head.headers, &self.trusted_proxies);
        let known = self.identify(
            key.as_ref(),
            client,
            &route,
            &head.headers,
            connection,
            frame,
        );
        let known = known.await?;
        if let Some(known) = &known {
            connection.prove(known.lane);
        }
        let now = self.services.node.clock().now();
        let now = known
            .as_ref()
            .map_or(now, |known| self.now_after(&known.account.snapshot()));
        let (operation, parameters) = match route {
            _ if known.is_none() && is_walled(path) => return Err(Problem::unauthenticated()),
            Route::Found(operation, parameters) => (operation, parameters),
            Route::OtherMethods(methods) => return Err(Problem::method_not_allowed(&methods)),
            Route::Nothing => return Err(Problem::no_such_path()),
        };
        frame.reaches(operation);
        let asked = Asked {
            operation,
            parameters,
            now,
            client,
            address: client.to_string(),
            request_id,
            frame,
            connection,
            owner: known
                .as_ref()
                .map_or(Owner::Stranger, |known| Owner::Key(known.lane)),
        };
        let owner = asked.owner;
        let answer = match (operation.handler, known) {
            (Handler::WithProof(handler), _) => {
                Box::pin(self.answer_open(asked, handler, head, body)).await?
            }
            (Handler::ForAnyone(handler), _) => {
                Query::parse(head.uri.query().unwrap_or_default(), operation.query)?;
                let answer = handler(&self.public)?;
                operation.check_answer(&answer);
                answer
            }
            (Handler::WithKey(_), Some(known)) => {
                self.answer_known(asked, known, head, body).await?
            }
            (Handler::WithKey(_), None) => return Err(Problem::unauthenticated()),
        };
        self.render(operation, owner, answer)
    }

    async fn answer_open(
        &self,
        asked: Asked<'_>,
        handler: fn(OpenCall) -> Answering,
        head: &mut Parts,
        body: Incoming,
    ) -> Result<Answer, Problem> {
        Query::parse(head.uri.query().unwrap_or_default(), asked.operation.query)?;
        let path = decode_all(&asked.parameters)?;
        let body = self.read_body(&asked, head, body).await?;
        let operation = asked.operation;
        let answered_at = Arc::new(OnceLock::new());
        let answering = handler(OpenCall {
            operation,
            services: Arc::clone(&self.services),
            now: asked.now,
            client: asked.client,
            address: asked.address,
            request: RequestId::parse(asked.request_id),
            network: ClientNetwork::of(asked.client),
            path,
            body,
            answered_at: Arc::clone(&answered_at),
        });
        let answer = match operation.runs {
            Runs::ToItsEnd => to_its_end(answering).await,
            // Without a key there is no lane to take turns in: a handler that needs a worker asks for it.
            Runs::OnConnection | Runs::OnWorker => answering.await,
        };
        if let Some(revision) = answered_at.get() {
            asked.frame.answer_at(*revision);
        }
        let answer = answer?;
        operation.check_answer(&answer);
        Ok(answer)
    }

    /// Responds to a caller with a key, and adds an audit entry if no command has written one.
    async fn answer_known(
        &self,
        asked: Asked<'_>,
        known: Known,
        head: &mut Parts,
        body: Incoming,
    ) -> Result<Answer, Problem> {
        let Known {
            account,
            caller,
            lane,
        } = known;
        let sent = head.uri.query().unwrap_or_default().to_owned();
        let body = self.read_body(&asked, head, body);
        let body = if let (Some(hot_path), true) = (asked.operation.hot_path, sent.is_empty()) {
            let body = body.await;
            if let Ok(body) = &body
                && body.len() <= INLINE_QUESTIONS_MAX
                && let Some(answer) = self.answer_hot(&asked, hot_path, &account, caller, body)
            {
                return Ok(answer);
            }
            Either::Left(std::future::ready(body))
        } else {
            Either::Right(body)
        };
        let kind = asked.operation.audit_kind();
        let mut note = AuditEntry {
            user: Context {
                caller,
                now: asked.now,
            }
            .user(),
            address: asked.address.clone(),
            kind,
            operation: asked.operation.id.to_owned(),
            text: None,
            variables: None,
            status: asked.operation.success,
            problem: None,
            key: match caller {
                Caller::Key { key, .. } => Some(key),
                Caller::Operator | Caller::Person(_) => None,
            },
            request: None,
            revision: None,
            at: asked.now,
        };
        let (operation, frame) = (asked.operation, asked.frame);
        let answered = Box::pin(self.perform(
            &asked,
            Arc::clone(&account),
            (caller, lane),
            &sent,
            body,
            &mut note,
        ))
        .await;
        if operation.is_change() {
            // The revision at which it was made, or a later one.
            frame.answer_at(account.snapshot().revision());
        }
        if let Ok(Answer {
            revision: Some(revision),
            ..
        }) = &answered
        {
            frame.answer_at(*revision);
        }
        let (is_audited, is_refusal) = match (&answered, operation.audited) {
            (Ok(answer), Audited::Questions) => (
                answer.noted == Noted::Nothing,
                answer.noted == Noted::Refusal,
            ),
            (Ok(_), Audited::Changes) => (true, false),
            (Ok(_), Audited::Reads) => (false, false),
            (Err(problem), _) => {
                note.status = problem.status();
                note.problem = problem.type_suffix().map(ToOwned::to_owned);
                (problem.is_audited, true)
            }
        };
        let is_wanted = self.audits_reads || kind == AuditKind::Mutation || is_refusal;
        if is_wanted && !is_audited {
            note.text = noted(note.text);
            note.variables = noted(note.variables);
            note.request = RequestId::parse(asked.request_id);
            note.revision = frame.revision();
            account.note(note);
        }
        answered
    }

    /// The time, never earlier than the last change: setting the clock back must not revive anything that has
    /// expired.
    fn now_after(&self, state: &State) -> Timestamp {
        self.services.node.clock().now().max(state.latest())
    }

    fn answer_hot(
        &self,
        asked: &Asked<'_>,
        hot_path: HotPath,
        account: &Account,
        caller: Caller,
        body: &[u8],
    ) -> Option<Answer> {
        let state = account.snapshot();
        let asking = Asking {
            account,
            state: &state,
            aliases: &self.services.aliases,
            counts: &self.services.counts,
            context: Context {
                caller,
                now: self.now_after(&state),
            },
        };
        let answer = hot_path(&asking, body)?;
        asked.frame.answer_at(state.revision());
        Some(answer)
    }

    /// Parses the request and runs its handler; `note` gets what was parsed.
    async fn perform(
        &self,
        asked: &Asked<'_>,
        account: Arc<Account>,
        (caller, lane): (Caller, Lane),
        sent: &str,
        body: impl Future<Output = Result<Bytes, Problem>>,
        note: &mut AuditEntry,
    ) -> Result<Answer, Problem> {
        let path = decode_all(&asked.parameters)?;
        note.variables = audited_variables(&path, std::iter::empty());
        let query = Query::parse(sent, asked.operation.query)?;
        note.variables = audited_variables(&path, query.pairs());
        let body = body.await?;
        note.text = audited_text(&body);
        // After the body has arrived, which may have taken a while: the newest state, and the newest time for
        // expiries.
        let state = account.snapshot();
        let now = self.now_after(&state);
        asked.frame.answer_at(state.revision());
        let decided_at = Arc::new(OnceLock::new());
        let call = Call {
            operation: asked.operation,
            decided_at: Arc::clone(&decided_at),
            services: Arc::clone(&self.services),
            state,
            account,
            caller,
            lane,
            is_on_worker: false,
            now,
            address: asked.address.clone(),
            request: RequestId::parse(asked.request_id),
            path,
            query,
            body,
        };
        let answer = call.answer().await;
        if let Some(revision) = decided_at.get() {
            asked.frame.answer_at(*revision);
        }
        let answer = answer?;
        if let Some(revision) = answer.revision {
            asked.frame.answer_at(revision);
        }
        Ok(answer)
    }
}

/// Whether all paths below it need a key, so that callers without one don't even learn what exists.
fn is_walled(path: &str) -> bool {
    ["/v2", "/access"].into_iter().any(|wall| {
        let below = path.strip_prefix(wall);
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// A request with a known operation.
pub(super) struct Asked<'a> {
    pub(super) operation: &'static Operation,
    parameters: Vec<(&'static str, String)>,
    now: Timestamp,
    client: IpAddr,
    address: String,
    request_id: &'a str,
    frame: &'a Frame,
    pub(super) connection: &'a Connection,
    pub(super) owner: Owner,
}

impl Asked<'_> {
    pub(super) fn took(&self, body: Bytes) -> Bytes {
        self.frame.has_read_body();
        body
    }
}

fn decode_all(
    parameters: &[(&'static str, String)],
) -> Result<Vec<(&'static str, String)>, Problem> {
    parameters
        .iter()
        .map(|(name, value)| Ok((*name, decode(name, value)?)))
        .collect()
}

fn decode(name: &str, text: &str) -> Result<String, Problem> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(Into::into)
        .map_err(|_| Problem::field(name, "is not UTF-8"))
}

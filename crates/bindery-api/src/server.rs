//! The HTTP server: authentication, routing, and the frame around every answer. Its connections are in `connections`, its
//! options in `options`, reading bodies in `body`, and what it does beside answering in `chores`.

mod body;
mod chores;
mod connections;
mod options;

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

use bindery_core::api_key::SecretHash;
use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::command::{Caller, Context};
use bindery_core::state::State;
use bindery_core::text::RequestId;
use bindery_core::time::Timestamp;
use bindery_node::{Account, ClientNetwork, LogRetention, Node};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::Either;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;

use crate::attempts::Attempts;
use crate::authzen::Kept;
use crate::call::{
    Answer, Answering, Call, Handler, INLINE_QUESTIONS_MAX, Noted, OpenCall, PublicCall, Services,
    audited_text, audited_variables, noted,
};
use crate::client_address::{self, Network};
use crate::connection_table::{Connection, ConnectionTable, Leaving};
use crate::freshness::{self, Frame};
use crate::health::Health;
use crate::hot::{Asking, Form};
use crate::log_limit::{Line, LogLimits};
use crate::memory_budget::{MemoryBudget, Owner, Reserved};
use crate::metrics::Counts;
use crate::openapi::pages;
use crate::operations::{OPERATIONS, Operation, Route, Router};
use crate::password::Passwords;
use crate::problem::Problem;
use crate::query::Query;
use crate::rate::{Limited, Rates};
use crate::request_stream::refusal;
use crate::secret::KeyText;
use crate::turns::{Lane, Turnstile};
use crate::workers::Workers;
pub(crate) use connections::{Timeouts, first_request, http1};
pub use options::{Limits, Options, RateLimits};

/// Bytes of an answer that count as a part of its connection, not to the memory for answers.
const ANSWER_UNCOUNTED_BYTES: usize = 16 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Serves a node over HTTP.
#[derive(Debug)]
pub struct Server {
    services: Arc<Services>,
    router: Router,
    limits: Limits,
    rates: Rates,
    public: PublicCall,
    audits_reads: bool,
    audit_retention: Option<Duration>,
    log_retention: LogRetention,
    accounts_idle: Option<Duration>,
    metrics: Option<TcpListener>,
    connections: Arc<ConnectionTable>,
    /// For requests that are arriving.
    request_memory: Arc<MemoryBudget>,
    /// For answers that wait to be taken.
    answer_memory: Arc<MemoryBudget>,
    health: Health,
    trusted_proxies: Vec<Network>,
    log_limits: LogLimits,
}

impl Server {
    /// A server of this node.
    pub fn new(node: Arc<Node>, options: Options) -> Self {
        Self {
            services: Arc::new(Services {
                node,
                mailer: options.mailer,
                passwords: Passwords::new(),
                attempts: Attempts::new(),
                aliases: options.aliases,
                searches: Kept::default(),
                counts: Arc::new(Counts::new()),
                workers: Workers::for_requests(),
                bodies: Turnstile::new(body::turns()),
                revision_waits: freshness::waits(options.limits.connections_max),
            }),
            public: PublicCall {
                public_url: options.public_url,
            },
            router: Router::new(),
            limits: options.limits,
            rates: Rates::new(options.rate_limits),
            audits_reads: options.audits_reads,
            audit_retention: options.audit_retention,
            log_retention: options.log_retention,
            accounts_idle: options.accounts_idle,
            metrics: options.metrics,
            connections: ConnectionTable::new(
                options.limits.connections_max,
                options.limits.unproven_per_address_max,
            ),
            request_memory: MemoryBudget::new(options.limits.request_memory_max),
            answer_memory: MemoryBudget::new(options.limits.answer_memory_max),
            health: Health {
                staleness_max: options.staleness_max,
            },
            trusted_proxies: options.trusted_proxies,
            log_limits: LogLimits::default(),
        }
    }

    /// Answers one request; whatever happens inside, the client gets a whole answer with a request id.
    async fn respond(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
        room: Result<(), Leaving>,
    ) -> Response<Full<Bytes>> {
        let began = Instant::now();
        let method = request.method().clone();
        let uri = request.uri().clone();
        let request_id = request_id(request.headers());
        let has_body = !request.body().is_end_stream();
        let frame = Frame::default();
        let answered = match room {
            Ok(()) => AssertUnwindSafe(self.answer(request, connection, &request_id, &frame))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| Err(Problem::internal())),
            Err(leaving) => Err(Problem::leaving(leaving)),
        };
        let overload = answered.as_ref().err().and_then(Problem::overload_kind);
        let mut response =
            answered.unwrap_or_else(|problem| problem.render(&shown(uri.path()), &request_id));
        // What nobody reads would stand before the next request.
        let is_body_left = has_body && !frame.is_body_read();
        if is_body_left || connection.closes_after_answer() {
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.headers_mut().insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        frame.say(self.services.node.staleness(), response.headers_mut());
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        let took = began.elapsed();
        let counts = &self.services.counts;
        counts.answered(frame.place(), response.status(), took);
        let status = response.status().as_u16();
        let micros = || u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(overload) = overload {
            counts.overloaded(overload);
        }
        if let Some(line) = self.log_limits.of_request(status, overload) {
            let (path, micros) = (shown(uri.path()), micros());
            match line {
                Line::Error => {
                    tracing::error!(%method, path, status, micros, request_id, "request");
                }
                Line::Unavailable { left_out } => {
                    tracing::error!(%method, path, status, micros, request_id, left_out, "request");
                }
                Line::Overload { kind, left_out } => {
                    tracing::warn!(
                        %method, path, status, micros, request_id, kind, left_out,
                        "a request is refused: clients have used up what it needs"
                    );
                }
            }
        } else if tracing::enabled!(tracing::Level::DEBUG) {
            // Who did what stands in the audit log; this is for looking closely.
            let (path, micros) = (shown(uri.path()), micros());
            tracing::debug!(%method, path, status, micros, request_id, "request");
        }
        response
    }

    /// A connection was refused: requests are being worked on in all of them.
    fn refused_connection(&self) {
        self.services.counts.refused_connection();
        if let Some(left_out) = self.log_limits.connections.allow(Instant::now()) {
            tracing::warn!(
                left_out,
                "a connection is refused: requests are being worked on in all of them"
            );
        }
    }

    /// What takes long or is rare waits in a box of its own, so that each request holds only the memory of what it waits for.
    async fn answer(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
        request_id: &str,
        frame: &Frame,
    ) -> Result<Response<Full<Bytes>>, Problem> {
        if let Some(refused) = refusal(request.method(), connection) {
            return Err(refused.problem());
        }
        let path = request.uri().path();
        if let Some(answer) = self
            .health
            .answer(&self.services.node, request.method(), path)
        {
            return answer;
        }
        if let Some(page) = pages::answer(request.method(), path, request.headers()) {
            return page;
        }
        self.health.check(&self.services.node)?;
        // Before anything else about the request: a caller that isn't known learns nothing, not even which paths there are.
        let key = bearer(request.headers()).map(|key| key.hash());
        let route = self.router.find(request.method(), path);
        let client =
            client_address::client(connection.peer(), request.headers(), &self.trusted_proxies);
        let known = self.identify(
            key.as_ref(),
            client,
            &route,
            request.headers(),
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
            (Handler::Open(handler), _) => {
                Box::pin(self.answer_open(asked, handler, request)).await?
            }
            (Handler::Public(handler), _) => {
                Query::parse(request.uri().query().unwrap_or_default(), operation.query)?;
                let answer = handler(&self.public)?;
                operation.check_answer(&answer);
                answer
            }
            (_, Some(known)) => self.answer_known(asked, known, request).await?,
            (_, None) => return Err(Problem::unauthenticated()),
        };
        self.render(operation, owner, answer)
    }

    /// The response of an answer, which takes memory until its client has taken it.
    fn render(
        &self,
        operation: &Operation,
        owner: Owner,
        mut answer: Answer,
    ) -> Result<Response<Full<Bytes>>, Problem> {
        let json = answer.json.take();
        let has_body = json.is_some();
        let json = json.unwrap_or_default();
        let content = if json.len() > ANSWER_UNCOUNTED_BYTES {
            let mut reserved = Reserved::none(&self.answer_memory, owner);
            if matches!(operation.handler, Handler::Changes(_) | Handler::Open(_)) {
                // What was changed can't be refused any more.
                reserved.force_to(json.capacity());
            } else {
                reserved
                    .grow_to(json.capacity())
                    .map_err(Problem::no_memory_for_answer)?;
            }
            reserved.attach(json)
        } else {
            Bytes::from(json)
        };
        Ok(render(
            operation.success,
            &answer,
            has_body.then_some(content),
        ))
    }

    /// Whether connections from there are those of many clients.
    fn is_trusted_proxy(&self, peer: SocketAddr) -> bool {
        let peer = peer.ip().to_canonical();
        self.trusted_proxies
            .iter()
            .any(|network| network.contains(peer))
    }

    /// Who asks, if the key is good. Rate limits are taken first, before anything waits: those of a person and account as soon as
    /// they are known, and without a good key that of the client address.
    async fn identify(
        &self,
        key: Option<&SecretHash>,
        client: IpAddr,
        route: &Route,
        headers: &HeaderMap,
        connection: &Connection,
        frame: &Frame,
    ) -> Result<Option<Known>, Problem> {
        let node = &self.services.node;
        let is_change = matches!(route, Route::Found(operation, _) if operation.is_change());
        let took = |account: &Account, caller| {
            let state = account.snapshot();
            let context = Context {
                caller,
                now: Timestamp::from_millis(0),
            };
            let person = state.person_behind(context.user());
            let taken = self
                .rates
                .take(account.id(), person, is_change, Instant::now());
            taken.map(|()| person)
        };
        let limited = |limited: Limited| {
            self.services.counts.limited(limited.bucket);
            Problem::rate_limited(limited)
        };
        let network = ClientNetwork::of(client);
        let here = key.and_then(|key| node.authenticate(key, node.clock().now()));
        let mut person = None;
        match &here {
            Some((account, caller)) => person = Some(took(account, *caller).map_err(limited)?),
            None => self
                .rates
                .allow_lookup(client, Instant::now())
                .map_err(limited)?,
        }
        let wanted = freshness::wanted(headers);
        let mut known = here;
        if let Ok(Some(revision)) = wanted {
            let waits = &self.services.revision_waits;
            // It may be closed to make room for others, as one that is in the middle of a body.
            connection.begin_waiting();
            Box::pin(freshness::wait(node, waits, key, revision, network)).await?;
            connection.end_waiting().map_err(Problem::leaving)?;
            // What has come with that revision may have ended the key.
            known = None;
        }
        if let (Some(key), None) = (key, &known) {
            known = Box::pin(node.admit(key, node.clock().now(), network)).await?;
        }
        let Some((account, caller)) = known else {
            let taken = self.rates.take_address(client, Instant::now());
            taken.map_err(limited)?;
            return Ok(None);
        };
        // Not before the wait: an answer names no revision below the one that its request wants.
        frame.answer_at(account.snapshot().revision());
        let person = match person {
            Some(person) => person,
            None => took(&account, caller).map_err(limited)?,
        };
        wanted?;
        Ok(Some(Known {
            lane: Lane::of(account.id(), person, caller),
            account,
            caller,
        }))
    }

    async fn answer_open(
        &self,
        asked: Asked<'_>,
        handler: fn(OpenCall) -> Answering,
        request: Request<Incoming>,
    ) -> Result<Answer, Problem> {
        Query::parse(
            request.uri().query().unwrap_or_default(),
            asked.operation.query,
        )?;
        let path = decode_all(&asked.parameters)?;
        let body = self.read_body(&asked, request).await?;
        let operation = asked.operation;
        let answered_at = Arc::new(OnceLock::new());
        let answer = handler(OpenCall {
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
        })
        .await;
        if let Some(revision) = answered_at.get() {
            asked.frame.answer_at(*revision);
        }
        let answer = answer?;
        operation.check_answer(&answer);
        Ok(answer)
    }

    /// Answers whoever has a key, and notes for the audit log what no command has written there.
    async fn answer_known(
        &self,
        asked: Asked<'_>,
        known: Known,
        request: Request<Incoming>,
    ) -> Result<Answer, Problem> {
        let Known {
            account,
            caller,
            lane,
        } = known;
        let sent = request.uri().query().unwrap_or_default().to_owned();
        let body = self.read_body(&asked, request);
        let body =
            if let (Handler::Decides(form, _), true) = (asked.operation.handler, sent.is_empty()) {
                let body = body.await;
                if let Ok(body) = &body
                    && body.len() <= INLINE_QUESTIONS_MAX
                    && let Some(answer) = self.decide(&asked, form, &account, caller, body)
                {
                    return Ok(answer);
                }
                Either::Left(std::future::ready(body))
            } else {
                Either::Right(body)
            };
        let kind = match asked.operation.handler {
            Handler::Reads(_)
            | Handler::Decides(..)
            | Handler::Searches(_)
            | Handler::Waits(_)
            | Handler::Public(_) => AuditKind::Query,
            Handler::Changes(_) | Handler::Open(_) => AuditKind::Mutation,
        };
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
        if matches!(operation.handler, Handler::Changes(_)) {
            // The one at which it was made, or a later one.
            frame.answer_at(account.snapshot().revision());
        }
        if let Ok(Answer {
            revision: Some(revision),
            ..
        }) = &answered
        {
            frame.answer_at(*revision);
        }
        let (is_audited, is_refusal) = match (&answered, operation.handler) {
            (Ok(answer), Handler::Decides(..)) => (
                answer.noted == Noted::Nothing,
                answer.noted == Noted::Refusal,
            ),
            (Ok(_), handler) => (matches!(handler, Handler::Changes(_)), false),
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

    /// The moment, never earlier than the last change: a clock that was set back brings nothing back to life.
    fn now_after(&self, state: &State) -> Timestamp {
        self.services.node.clock().now().max(state.latest())
    }

    /// Answers on the hot path, if it can.
    fn decide(
        &self,
        asked: &Asked<'_>,
        form: Form,
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
        let json = asking.answer(form, body)?;
        asked.frame.answer_at(state.revision());
        Some(Answer::decisions(form, json, state.revision()))
    }

    /// Reads the request and has it answered; tells `note` what it said, as far as it was read.
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
        // After the body has come, which may have taken its time: what is read is as new as can be, and so is what has ended.
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

/// Whether nothing below the path is for those without a key, so that they don't even learn what is there.
fn is_walled(path: &str) -> bool {
    ["/v2", "/access"].into_iter().any(|wall| {
        let below = path.strip_prefix(wall);
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// A path as it may be told and logged: without the token of a link.
fn shown(path: &str) -> String {
    let with_token = OPERATIONS
        .iter()
        .filter_map(|one| one.path.strip_suffix("{token}"));
    match with_token
        .into_iter()
        .find(|prefix| path.starts_with(prefix))
    {
        Some(prefix) => format!("{prefix}…"),
        None => path.to_owned(),
    }
}

fn render(success: u16, answer: &Answer, content: Option<Bytes>) -> Response<Full<Bytes>> {
    let status = answer
        .status
        .or_else(|| StatusCode::from_u16(success).ok())
        .unwrap_or_default();
    let has_body = content.is_some();
    let mut response = Response::new(Full::new(content.unwrap_or_default()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if has_body {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
    }
    // Answers are about who may do what, and some carry a secret: no cache keeps them.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The key in `Authorization: Bearer <key>`, if it has the form of one.
fn bearer(headers: &HeaderMap) -> Option<KeyText> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("Bearer")
        .then(|| KeyText::parse(key.trim()).ok())?
}

/// The client's own request id if it can stand in a header and a log line, or a new one.
fn request_id(headers: &HeaderMap) -> String {
    let sent = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    sent.filter(|id| RequestId::is_one(id))
        .map_or_else(new_request_id, ToOwned::to_owned)
}

/// Tells requests apart, of this process and of others; nothing depends on its being hard to guess.
pub(crate) fn new_request_id() -> String {
    static PROCESS: LazyLock<u32> = LazyLock::new(|| getrandom::u32().unwrap_or_default());
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:08x}{number:08x}", *PROCESS)
}

/// Who asks, with a good key.
struct Known {
    account: Arc<Account>,
    caller: Caller,
    /// Of the key, of the person behind it, and of the account: their limits count.
    lane: Lane,
}

/// A request whose operation is known.
struct Asked<'a> {
    operation: &'static Operation,
    parameters: Vec<(&'static str, String)>,
    now: Timestamp,
    client: IpAddr,
    address: String,
    request_id: &'a str,
    frame: &'a Frame,
    connection: &'a Connection,
    owner: Owner,
}

impl Asked<'_> {
    fn took(&self, body: Bytes) -> Bytes {
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

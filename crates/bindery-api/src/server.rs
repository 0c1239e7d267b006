//! The HTTP server: connections, limits, authentication, routing, and the frame around every answer.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::command::{Caller, Context};
use bindery_core::id::AccountId;
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_node::{Account, LogRetention, Node, StoreCall};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::Either;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use percent_encoding::percent_decode_str;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::MissedTickBehavior;
use tokio_io_timeout::TimeoutStream;

use crate::authzen::{Aliases, Kept};
use crate::call::{
    Answer, Answering, Call, Handler, Noted, OpenCall, PublicCall, Services, audited_text,
    audited_variables, noted,
};
use crate::client_address::{self, Network};
use crate::freshness::{self, Frame};
use crate::health::Health;
use crate::hot::{Asking, Form};
use crate::mail::Mailer;
use crate::metrics::{self, Counts, Metrics};
use crate::openapi::pages;
use crate::operations::{Body, OPERATIONS, Operation, Route, Router};
use crate::password::Passwords;
use crate::problem::Problem;
use crate::public_url::PublicUrl;
use crate::query::Query;
use crate::rate::Rate;
use crate::secret::KeyText;
use crate::sign_in::Attempts;
use crate::unreadable::Explained;

/// Bytes of a body that comes without a key.
const OPEN_BODY_BYTES_MAX: usize = 4 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const REQUEST_ID_LENGTH_MAX: usize = 128;

/// What a client may use up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body.
    pub body_bytes_max: usize,
    /// How long the head of a request may take to arrive; also how long a connection may idle.
    pub header_timeout: Duration,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long a client may take nothing of an answer that it asked for.
    pub write_timeout: Duration,
    /// Connections at once; more wait to be accepted.
    pub connections_max: usize,
    /// How long requests under way may take when the server stops.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 1024 * 1024,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            connections_max: 10_000,
            drain_timeout: Duration::from_secs(20),
        }
    }
}

/// How a server behaves.
#[derive(Debug)]
pub struct Options {
    /// What a client may use up.
    pub limits: Limits,
    /// Requests a second that one key may make, and as many at once; no limit if absent.
    pub rate_limit: Option<NonZeroU32>,
    /// Whether the audit log has what only reads, too.
    pub audits_reads: bool,
    /// How long audit entries are kept; for good, if absent.
    pub audit_retention: Option<Duration>,
    /// How much of each log is kept; all of it by default.
    pub log_retention: LogRetention,
    /// How long the server may be cut off from its store before it stops answering from what it knows; for good, if absent.
    pub staleness_max: Option<Duration>,
    /// After how long an account that nobody uses is given up; never, if absent.
    pub accounts_idle: Option<Duration>,
    /// Where `GET /metrics` is answered, without a key; nowhere, if absent.
    pub metrics: Option<TcpListener>,
    /// How letters leave.
    pub mailer: Mailer,
    /// Where clients reach this server, for the metadata of its decision point; without it there are none.
    pub public_url: Option<PublicUrl>,
    /// Other names on the AuthZEN endpoints.
    pub aliases: Aliases,
    /// Whose `X-Forwarded-For` is believed; nobody's, if empty.
    pub trusted_proxies: Vec<Network>,
}

impl Options {
    /// The default limits, everything in the audit log, it and every other log for good, letters that are only mentioned in the
    /// log, no account given up, and neither metrics nor metadata, aliases or trusted proxies.
    pub fn new(mailer: Mailer) -> Self {
        Self {
            limits: Limits::default(),
            rate_limit: None,
            audits_reads: true,
            audit_retention: None,
            log_retention: LogRetention::default(),
            staleness_max: None,
            accounts_idle: None,
            metrics: None,
            mailer,
            public_url: None,
            aliases: Aliases::default(),
            trusted_proxies: Vec::new(),
        }
    }
}

/// How often entries that are too old are looked for.
const FORGET_INTERVAL: Duration = Duration::from_hours(1);
/// How many of them go in one transaction: changes wait that long.
const FORGET_AT_ONCE: usize = 2_000;
/// How long to rest before the next.
const FORGET_PAUSE: Duration = Duration::from_millis(20);

/// How often idle accounts are looked for, at the least.
const EVICT_INTERVAL_MAX: Duration = Duration::from_mins(1);

/// How often what is kept in memory about clients is tidied up.
const TIDY_INTERVAL: Duration = Duration::from_mins(1);

/// Serves a node over HTTP.
#[derive(Debug)]
pub struct Server {
    services: Arc<Services>,
    router: Router,
    limits: Limits,
    rate: Rate<(AccountId, Caller)>,
    public: PublicCall,
    audits_reads: bool,
    audit_retention: Option<Duration>,
    log_retention: LogRetention,
    accounts_idle: Option<Duration>,
    metrics: Option<TcpListener>,
    /// One for each connection that may be.
    places: Arc<Semaphore>,
    health: Health,
    trusted_proxies: Vec<Network>,
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
                searching: Arc::new(Semaphore::new(searches_at_once())),
            }),
            public: PublicCall {
                public_url: options.public_url,
            },
            router: Router::new(),
            limits: options.limits,
            rate: Rate::per_second(options.rate_limit),
            audits_reads: options.audits_reads,
            audit_retention: options.audit_retention,
            log_retention: options.log_retention,
            accounts_idle: options.accounts_idle,
            metrics: options.metrics,
            places: Arc::new(Semaphore::new(options.limits.connections_max)),
            health: Health {
                staleness_max: options.staleness_max,
            },
            trusted_proxies: options.trusted_proxies,
        }
    }

    /// Serves connections until `stop` resolves, then lets requests under way finish.
    pub async fn serve(mut self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let metrics = self.metrics.take();
        let server = Arc::new(self);
        let graceful = GracefulShutdown::new();
        let places = Arc::clone(&server.places);
        let chores = tokio::spawn({
            let server = Arc::clone(&server);
            async move {
                tokio::join!(
                    server.services.node.keep_notes(),
                    Arc::clone(&server.services.node).follow(),
                    server.keep_tidy(),
                    server.keep_audit_short(),
                    server.keep_logs_short(),
                    server.keep_accounts_few(),
                    server.tell_metrics(metrics),
                )
            }
        });
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &places) => accepted,
                () = &mut stop => break,
            };
            let (stream, peer, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file handles, most often: a short rest, and the backlog is still there.
                    tracing::warn!(%error, "a connection can't be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let one = Arc::clone(&server);
            let service = service_fn(move |request| {
                let server = Arc::clone(&one);
                async move { Ok::<_, Infallible>(server.respond(request, peer).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(server.limits.header_timeout)
                .serve_connection(
                    TokioIo::new(bounded_writes(stream, server.limits.write_timeout)),
                    service,
                );
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended early");
                }
                drop(place);
            });
        }
        drop(listener);
        if tokio::time::timeout(server.limits.drain_timeout, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("some connections did not finish in time and are cut");
        }
        chores.abort();
        // It holds accounts too, and whoever lets go of one last waits for its writer.
        let _ = chores.await;
        let letters = server.services.mailer.finish();
        if tokio::time::timeout(server.limits.drain_timeout, letters)
            .await
            .is_err()
        {
            tracing::warn!("some letters were not sent in time");
        }
    }

    async fn keep_tidy(&self) {
        let mut interval = tokio::time::interval(TIDY_INTERVAL);
        loop {
            interval.tick().await;
            self.rate.tidy();
            self.services.attempts.tidy();
            self.services
                .searches
                .tidy(self.services.node.clock().now());
        }
    }

    /// Gives up accounts that nobody uses, with the searches that are kept for them.
    async fn keep_accounts_few(&self) {
        let Some(idle) = self.accounts_idle else {
            return;
        };
        let mut interval = tokio::time::interval((idle / 4).min(EVICT_INTERVAL_MAX));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let evicted = self.services.node.evict_idle(idle).await;
            if !evicted.is_empty() {
                tracing::info!(
                    accounts = evicted.len(),
                    "accounts that nobody used are given up"
                );
            }
            self.services.searches.forget(&evicted);
        }
    }

    async fn tell_metrics(&self, listener: Option<TcpListener>) {
        let Some(listener) = listener else {
            return;
        };
        let metrics = Metrics {
            node: Arc::clone(&self.services.node),
            counts: Arc::clone(&self.services.counts),
            places: Arc::clone(&self.places),
            connections_max: self.limits.connections_max,
        };
        metrics::serve(listener, metrics).await;
    }

    async fn keep_audit_short(&self) {
        let Some(retention) = self.audit_retention else {
            return;
        };
        let mut interval = tokio::time::interval(FORGET_INTERVAL);
        loop {
            interval.tick().await;
            // In the store alone: nobody is put to work for it.
            let node = Arc::clone(&self.services.node);
            let heads = move || node.meters().watch(StoreCall::Heads, node.store().heads());
            match tokio::task::spawn_blocking(heads).await {
                Ok(Ok(accounts)) => {
                    for (account, _) in accounts {
                        self.forget(account, retention).await;
                    }
                }
                Ok(Err(error)) => tracing::error!(%error, "old audit entries were not forgotten"),
                Err(error) => tracing::error!(%error, "old audit entries were not forgotten"),
            }
        }
    }

    /// Forgets an account's audit entries that are older than `retention`: a few at a time, and stopping between any two.
    async fn forget(&self, account: AccountId, retention: Duration) {
        let node = &self.services.node;
        let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let before = node.clock().now().as_millis().saturating_sub(retention_ms);
        let before = Timestamp::from_millis(before);
        let mut forgotten = 0;
        loop {
            let node = Arc::clone(node);
            let some = move || {
                let some = node.store().forget_audit(account, before, FORGET_AT_ONCE);
                node.meters().watch(StoreCall::Audit, some)
            };
            match tokio::task::spawn_blocking(some).await {
                Ok(Ok(0)) => break,
                Ok(Ok(count)) => forgotten += count,
                Ok(Err(error)) => {
                    tracing::error!(%error, "old audit entries were not forgotten");
                    break;
                }
                Err(error) => {
                    tracing::error!(%error, "old audit entries were not forgotten");
                    break;
                }
            }
            // Changes that have waited go first.
            tokio::time::sleep(FORGET_PAUSE).await;
        }
        if forgotten > 0 {
            let AccountId(account) = account;
            tracing::info!(account, forgotten, "old audit entries are forgotten");
        }
    }

    async fn keep_logs_short(&self) {
        let retention = self.log_retention;
        if retention == LogRetention::default() {
            return;
        }
        let mut interval = tokio::time::interval(FORGET_INTERVAL);
        loop {
            interval.tick().await;
            let node = Arc::clone(&self.services.node);
            let forgetting = tokio::task::spawn_blocking(move || node.forget_logs(retention));
            if let Err(error) = forgetting.await {
                tracing::error!(%error, "old log entries were not forgotten");
            }
        }
    }

    /// Answers one request; whatever happens inside, the client gets a whole answer with a request id.
    async fn respond(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        let began = Instant::now();
        let method = request.method().clone();
        let uri = request.uri().clone();
        let request_id = request_id(request.headers());
        let has_body = !request.body().is_end_stream();
        let frame = Frame::default();
        let answered = AssertUnwindSafe(self.answer(request, peer, &frame))
            .catch_unwind()
            .await;
        let answered = answered.unwrap_or_else(|_| Err(Problem::internal()));
        let mut response =
            answered.unwrap_or_else(|problem| problem.render(&shown(uri.path()), &request_id));
        if has_body && !frame.is_body_read() {
            // What nobody reads would stand before the next request.
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        frame.say(self.services.node.staleness(), response.headers_mut());
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        let took = began.elapsed();
        let counts = &self.services.counts;
        counts.answered(frame.place(), response.status(), took);
        let status = response.status().as_u16();
        let micros = || u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if status >= 500 {
            let (path, micros) = (shown(uri.path()), micros());
            tracing::error!(%method, path, status, micros, request_id, "request");
        } else if tracing::enabled!(tracing::Level::DEBUG) {
            // Who did what stands in the audit log; this is for looking closely.
            let (path, micros) = (shown(uri.path()), micros());
            tracing::debug!(%method, path, status, micros, request_id, "request");
        }
        response
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        frame: &Frame,
    ) -> Result<Response<Full<Bytes>>, Problem> {
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
        // Before anything else about the request: whoever isn't known learns nothing, not even which paths there are.
        let key = bearer(request.headers()).map(|key| key.hash());
        let wanted = freshness::wanted(request.headers());
        if let Ok(Some(revision)) = wanted {
            freshness::wait(&self.services.node, key.as_ref(), revision).await?;
        }
        let now = self.services.node.clock().now();
        let known = match key {
            Some(key) => self.services.node.admit(&key, now).await?,
            None => None,
        };
        let now = known
            .as_ref()
            .map_or(now, |(account, _)| self.now_after(&account.snapshot()));
        if let Some((account, caller)) = &known {
            let key = (account.id(), *caller);
            frame.answer_at(account.snapshot().revision());
            self.rate.take(&key).map_err(Problem::rate_limited)?;
            wanted?;
        }
        let (operation, parameters) = match self.router.find(request.method(), path) {
            _ if known.is_none() && is_walled(path) => return Err(Problem::unauthenticated()),
            Route::Found(operation, parameters) => (operation, parameters),
            Route::OtherMethods(methods) => return Err(Problem::method_not_allowed(&methods)),
            Route::Nothing => return Err(Problem::no_such_path()),
        };
        frame.reaches(operation);
        let client = client_address::client(peer.ip(), request.headers(), &self.trusted_proxies);
        let asked = Asked {
            operation,
            parameters,
            now,
            client,
            address: client.to_string(),
            frame,
        };
        let answer = match (operation.handler, known) {
            (Handler::Open(handler), _) => self.answer_open(asked, handler, request).await?,
            (Handler::Public(handler), _) => {
                Query::parse(request.uri().query().unwrap_or_default(), operation.query)?;
                let answer = handler(&self.public)?;
                operation.check_answer(&answer);
                answer
            }
            (_, Some((account, caller))) => {
                self.answer_known(asked, account, caller, request).await?
            }
            (_, None) => return Err(Problem::unauthenticated()),
        };
        Ok(render(operation.success, answer))
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
        self.services.attempts.take_from(asked.client)?;
        let body = self.read_body(&asked, request).await?;
        let operation = asked.operation;
        let answered_at = Arc::new(OnceLock::new());
        let answer = handler(OpenCall {
            operation,
            services: Arc::clone(&self.services),
            now: asked.now,
            address: asked.address,
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
        account: Arc<Account>,
        caller: Caller,
        request: Request<Incoming>,
    ) -> Result<Answer, Problem> {
        let sent = request.uri().query().unwrap_or_default().to_owned();
        let body = self.read_body(&asked, request);
        let body =
            if let (Handler::Decides(form, _), true) = (asked.operation.handler, sent.is_empty()) {
                let body = body.await;
                if let Ok(body) = &body
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
            at: asked.now,
        };
        let (operation, frame) = (asked.operation, asked.frame);
        let answered = self
            .perform(&asked, Arc::clone(&account), caller, &sent, body, &mut note)
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
                (problem.is_audited, true)
            }
        };
        let is_wanted = self.audits_reads || kind == AuditKind::Mutation || is_refusal;
        if is_wanted && !is_audited {
            note.text = noted(note.text);
            note.variables = noted(note.variables);
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
        Some(Answer {
            status: None,
            json: Some(json),
            of: None,
            revision: Some(state.revision()),
            noted: Noted::Nothing,
        })
    }

    /// Reads the request and has it answered; tells `note` what it said, as far as it was read.
    async fn perform(
        &self,
        asked: &Asked<'_>,
        account: Arc<Account>,
        caller: Caller,
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
        let call = Call {
            operation: asked.operation,
            services: Arc::clone(&self.services),
            state,
            account,
            caller,
            now,
            address: asked.address.clone(),
            path,
            query,
            body,
        };
        let answer = call.answer().await?;
        if let Some(revision) = answer.revision {
            asked.frame.answer_at(revision);
        }
        Ok(answer)
    }

    async fn read_body(
        &self,
        asked: &Asked<'_>,
        request: Request<Incoming>,
    ) -> Result<Bytes, Problem> {
        let operation = asked.operation;
        let says_json = require_json(request.headers());
        if operation.body == Body::Json {
            says_json.clone()?;
        }
        let max = match operation.handler {
            // Nobody knows yet who it is.
            Handler::Open(_) => OPEN_BODY_BYTES_MAX,
            _ => self.limits.body_bytes_max,
        };
        // What is announced to be too large isn't even asked for.
        if request.body().size_hint().lower() > u64::try_from(max).unwrap_or(u64::MAX) {
            return Err(Problem::too_large(max));
        }
        let body = Limited::new(request.into_body(), max).collect();
        match tokio::time::timeout(self.limits.body_timeout, body).await {
            Err(_) => Err(Problem::too_slow()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::too_large(max)),
            Ok(Err(_)) => Err(Problem::invalid("the body broke off before its end")),
            Ok(Ok(body)) => match (operation.body, asked.took(body.to_bytes())) {
                (Body::Empty, _) => Ok(Bytes::new()),
                (Body::Json, body) => Ok(body),
                (Body::Optional, body) if body.is_empty() => Ok(body),
                (Body::Optional, body) => says_json.map(|()| body),
            },
        }
    }
}

fn searches_at_once() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
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

/// The same stream for as long as its client takes what it asked for, with a body in every refusal.
fn bounded_writes(
    stream: TcpStream,
    timeout: Duration,
) -> Explained<Pin<Box<TimeoutStream<TcpStream>>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(timeout));
    Explained::new(Box::pin(stream), new_request_id)
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // Small answers shall not wait for more to come.
    stream.set_nodelay(true)?;
    Ok((stream, peer, place))
}

fn render(success: u16, answer: Answer) -> Response<Full<Bytes>> {
    let status = answer
        .status
        .or_else(|| StatusCode::from_u16(success).ok())
        .unwrap_or_default();
    let has_body = answer.json.is_some();
    let mut response = Response::new(Full::from(answer.json.unwrap_or_default()));
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
    let is_good = |id: &&str| {
        (1..=REQUEST_ID_LENGTH_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    sent.filter(is_good)
        .map_or_else(new_request_id, ToOwned::to_owned)
}

/// Tells requests apart, of this process and of others; nothing depends on its being hard to guess.
fn new_request_id() -> String {
    static PROCESS: LazyLock<u32> = LazyLock::new(|| getrandom::u32().unwrap_or_default());
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:08x}{number:08x}", *PROCESS)
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let sent = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = sent.and_then(|sent| sent.split(';').next()).map(str::trim);
    match essence {
        Some(essence) if essence.eq_ignore_ascii_case("application/json") => Ok(()),
        _ => Err(Problem::invalid(
            "send the body as JSON, with `Content-Type: application/json`",
        )),
    }
}

/// A request whose operation is known.
struct Asked<'a> {
    operation: &'static Operation,
    parameters: Vec<(&'static str, String)>,
    now: Timestamp,
    client: IpAddr,
    address: String,
    frame: &'a Frame,
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

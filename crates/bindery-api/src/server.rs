//! The HTTP server, and the frame around every response: request id, revision headers, log line, counters.
//! `perform` produces the response, `authentication` finds the caller, `chores` has the background tasks.

mod authentication;
mod body;
mod chores;
mod connections;
mod options;
mod perform;
mod response;

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bindery_node::{LogRetention, Node};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::Full;
use hyper::Response;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use tokio::net::TcpListener;

use crate::attempts::Attempts;
use crate::call::PublicCall;
use crate::client_address::Network;
use crate::connection_table::{Connection, ConnectionTable, Leaving};
use crate::counts::Counts;
use crate::freshness::{self, Frame};
use crate::health::Health;
use crate::kept_searches::KeptSearches;
use crate::log_limit::{Line, LogLimits};
use crate::memory_budget::MemoryBudget;
use crate::operations::{OPERATIONS, Router, place_of};
use crate::password::Passwords;
use crate::problem::Problem;
use crate::rate::Rates;
use crate::request_id::{REQUEST_ID, request_id};
use crate::services::Services;
use crate::turns::Turnstile;
use crate::workers::Workers;
pub use options::{Limits, Options};

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
    /// For arriving requests.
    request_memory: Arc<MemoryBudget>,
    /// For unread responses.
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
                searches: KeptSearches::default(),
                counts: Arc::new(Counts::new(OPERATIONS.len())),
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

    /// Responds to one request. In all cases the client gets a complete response with a request id.
    async fn respond(
        &self,
        head: &mut Parts,
        body: Incoming,
        connection: &Connection,
        room: Result<(), Leaving>,
    ) -> Response<Full<Bytes>> {
        let began = Instant::now();
        let method = head.method.clone();
        // A copy: the head is released before the body arrives.
        let path: Box<str> = head.uri.path().into();
        let request_id = request_id(&head.headers);
        let has_body = !body.is_end_stream();
        let frame = Frame::default();
        let answered = match room {
            Ok(()) => AssertUnwindSafe(self.answer(head, body, connection, &request_id, &frame))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| Err(Problem::internal())),
            Err(leaving) => Err(Problem::leaving(leaving)),
        };
        let problem = answered.as_ref().err();
        let overload = problem.and_then(Problem::overload_kind);
        if problem.is_some_and(Problem::is_over_own_limit) {
            connection.note_refusal();
        }
        let mut response =
            answered.unwrap_or_else(|problem| problem.render(&shown(&path), &request_id));
        // An unread body would be parsed as the next request.
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
        let place = frame.operation().and_then(place_of);
        counts.answered(place, response.status(), took);
        let status = response.status().as_u16();
        let micros = || u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(overload) = overload {
            counts.overloaded(overload);
        }
        if let Some(line) = self.log_limits.of_request(status, overload) {
            let (path, micros) = (shown(&path), micros());
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
                        "a request is refused: clients have used up a shared resource"
                    );
                }
            }
        } else if tracing::enabled!(tracing::Level::DEBUG) {
            // The audit log has who did what; this is for debugging.
            let (path, micros) = (shown(&path), micros());
            tracing::debug!(%method, path, status, micros, request_id, "request");
        }
        response
    }

    /// A connection was refused: all others have running requests.
    fn refused_connection(&self) {
        self.services.counts.refused_connection();
        if let Some(left_out) = self.log_limits.connections.allow(Instant::now()) {
            tracing::warn!(
                left_out,
                "a connection is refused: all others have running requests"
            );
        }
    }

    /// Whether connections from there carry many clients.
    fn is_trusted_proxy(&self, peer: SocketAddr) -> bool {
        let peer = peer.ip().to_canonical();
        self.trusted_proxies
            .iter()
            .any(|network| network.contains(peer))
    }
}

/// A path as it may be shown and logged: without the token of a link.
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

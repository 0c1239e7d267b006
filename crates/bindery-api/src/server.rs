//! The HTTP server: connections, limits, authentication, routing, and the frame around every answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bindery_node::Node;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;

use crate::call::{Answer, Call};
use crate::openapi::pages;
use crate::operations::{Body, Operation, Route, Router};
use crate::problem::Problem;
use crate::query::Query;
use crate::secret::KeyText;

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
            connections_max: 10_000,
            drain_timeout: Duration::from_secs(20),
        }
    }
}

/// Serves a node over HTTP.
#[derive(Debug)]
pub struct Server {
    node: Arc<Node>,
    router: Router,
    limits: Limits,
}

impl Server {
    /// A server of this node.
    pub fn new(node: Arc<Node>, limits: Limits) -> Self {
        Self {
            node,
            router: Router::new(),
            limits,
        }
    }

    /// Serves connections until `stop` resolves, then lets requests under way finish.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let server = Arc::new(self);
        let graceful = GracefulShutdown::new();
        let places = Arc::new(tokio::sync::Semaphore::new(server.limits.connections_max));
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
                .serve_connection(TokioIo::new(stream), service);
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
    }

    /// Answers one request; whatever happens inside, the client gets a whole answer with a request id.
    async fn respond(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        let began = Instant::now();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let request_id = request_id(request.headers());
        let answered = AssertUnwindSafe(self.answer(request, peer))
            .catch_unwind()
            .await;
        let answered = answered.unwrap_or_else(|_| Err(Problem::internal()));
        let mut response = answered.unwrap_or_else(|problem| problem.render(&path, &request_id));
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        let status = response.status().as_u16();
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        if status >= 500 {
            tracing::error!(%method, path, status, micros, request_id, "request");
        } else {
            // Who did what stands in the audit log; this is for looking closely.
            tracing::debug!(%method, path, status, micros, request_id, "request");
        }
        response
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Full<Bytes>>, Problem> {
        let path = request.uri().path();
        let is_health = matches!(path, "/healthz" | "/readyz");
        if is_health {
            return match *request.method() {
                hyper::Method::GET => Ok(render(
                    200,
                    Answer::json(&serde_json::json!({ "status": "ok" }))?,
                )),
                _ => Err(Problem::method_not_allowed("GET")),
            };
        }
        if let Some(page) = pages::answer(request.method(), path, request.headers()) {
            return page;
        }
        // Before anything else about the request: whoever isn't known learns nothing, not even which paths there are.
        let now = self.node.clock().now();
        let bearer = bearer(request.headers());
        let known = bearer.and_then(|key| self.node.authenticate(&key.hash(), now));
        let is_open = !path.starts_with("/v2/") && path != "/v2";
        let (operation, parameters) = match self.router.find(request.method(), path) {
            _ if known.is_none() && !is_open => return Err(Problem::unauthenticated()),
            Route::Found(operation, parameters) => (operation, parameters),
            Route::OtherMethods(methods) => return Err(Problem::method_not_allowed(&methods)),
            Route::Nothing => return Err(Problem::no_such_path()),
        };
        let (account, caller) = known.ok_or_else(Problem::unauthenticated)?;
        let query = Query::parse(request.uri().query().unwrap_or_default(), operation.query)?;
        let path = parameters
            .into_iter()
            .map(|(name, value)| Ok((name, decode(name, &value)?)))
            .collect::<Result<_, Problem>>()?;
        let body = self.read_body(operation, request).await?;
        let state = account.snapshot();
        let address = peer.ip().to_string();
        let call = Call {
            operation,
            account,
            caller,
            state,
            now,
            address,
            path,
            query,
            body,
        };
        Ok(render(operation.success, call.answer().await?))
    }

    async fn read_body(
        &self,
        operation: &Operation,
        request: Request<Incoming>,
    ) -> Result<Bytes, Problem> {
        let says_json = require_json(request.headers());
        if operation.body == Body::Json {
            says_json.clone()?;
        }
        let max = self.limits.body_bytes_max;
        let body = Limited::new(request.into_body(), max).collect();
        match tokio::time::timeout(self.limits.body_timeout, body).await {
            Err(_) => Err(Problem::too_slow()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::too_large(max)),
            Ok(Err(_)) => Err(Problem::invalid("the body broke off before its end")),
            Ok(Ok(body)) => match (operation.body, body.to_bytes()) {
                (Body::Empty, _) => Ok(Bytes::new()),
                (Body::Json, body) => Ok(body),
                (Body::Optional, body) if body.is_empty() => Ok(body),
                (Body::Optional, body) => says_json.map(|()| body),
            },
        }
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<tokio::sync::Semaphore>,
) -> std::io::Result<(
    tokio::net::TcpStream,
    SocketAddr,
    tokio::sync::OwnedSemaphorePermit,
)> {
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
    sent.filter(is_good).map_or_else(
        || format!("{:016x}", getrandom::u64().unwrap_or_default()),
        ToOwned::to_owned,
    )
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

fn decode(name: &str, text: &str) -> Result<String, Problem> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(Into::into)
        .map_err(|_| Problem::field(name, "is not UTF-8"))
}

//! Reading the body of a request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::Request;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderMap};

use super::{Asked, Server};
use crate::call::Handler;
use crate::json::ValueCount;
use crate::operations::Body;
use crate::problem::Problem;
use crate::turns::{Bound, Bounds, Lane, Turn};

/// Bytes of a body that comes without a key.
const OPEN_BODY_BYTES_MAX: usize = 4 * 1024;

/// A body from here on needs a turn of its key before it is read, as does one that doesn't say how large it is.
const LARGE_BODY_BYTES: u64 = 64 * 1024;
/// How many large bodies of all clients, of an account, of a person and of a key are received or worked on at once.
const LARGE_BODIES_AT_ONCE: [usize; 4] = [64, 16, 8, 4];
/// How many of each wait to be received.
const LARGE_BODIES_WAITING: [usize; 4] = [4096, 1024, 256, 128];

/// The turns of large bodies. They are not read before it is their turn, so a flood of them waits in its clients.
pub(super) fn turns() -> Bounds {
    Bounds(std::array::from_fn(|level| Bound {
        running: LARGE_BODIES_AT_ONCE[level],
        waiting: LARGE_BODIES_WAITING[level],
    }))
}

impl Server {
    /// The turn that this body needs to be read, held until it is answered.
    pub(super) async fn turn_for(
        &self,
        body: &Incoming,
        lane: Lane,
    ) -> Result<Option<Turn>, Problem> {
        let is_large = body
            .size_hint()
            .upper()
            .is_none_or(|bytes| bytes > LARGE_BODY_BYTES);
        if !is_large {
            return Ok(None);
        }
        let turn = self.services.bodies.enter(lane).await;
        turn.map(Some).map_err(Problem::queue_full)
    }

    pub(super) async fn read_body(
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
        let body = Counted::new(request.into_body(), operation.values_max(), max);
        let body = Limited::new(body, max).collect();
        match tokio::time::timeout(self.limits.body_timeout, body).await {
            Err(_) => Err(Problem::too_slow()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::too_large(max)),
            Ok(Err(error)) if is_too_many_values(error.as_ref()) => {
                Err(Problem::too_many_values(operation.values_max()))
            }
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

/// A body that ends with an error if it has too many JSON values. What comes after them is thrown away as it arrives, so that the
/// client can read why.
struct Counted {
    body: Incoming,
    count: ValueCount,
    values_max: usize,
    /// Whether there are enough bytes for too many values.
    is_long: bool,
    /// Bytes that may still be thrown away.
    thrown_away_max: usize,
}

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
enum BodyError {
    #[error("the body has too many JSON values")]
    TooManyValues,
    #[error(transparent)]
    Connection(#[from] hyper::Error),
}

fn is_too_many_values(error: &(dyn std::error::Error + 'static)) -> bool {
    let error = error.downcast_ref::<BodyError>();
    error.is_some_and(|error| matches!(error, BodyError::TooManyValues))
}

impl Counted {
    fn new(body: Incoming, values_max: usize, thrown_away_max: usize) -> Self {
        let bytes_max = body.size_hint().upper().unwrap_or(u64::MAX);
        Self {
            // A value takes a byte at least.
            is_long: bytes_max > u64::try_from(values_max).unwrap_or(u64::MAX),
            body,
            count: ValueCount::default(),
            values_max,
            thrown_away_max,
        }
    }
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let polled = ready!(Pin::new(&mut self.body).poll_frame(context));
            let is_over = self.count.values() > self.values_max;
            let piece = match &polled {
                Some(Ok(frame)) if self.is_long => frame.data_ref(),
                None if is_over => return Poll::Ready(Some(Err(BodyError::TooManyValues))),
                _ => None,
            };
            let Some(piece) = piece else {
                return Poll::Ready(polled.map(|frame| frame.map_err(BodyError::from)));
            };
            if !is_over {
                self.count.read(piece);
                if self.count.values() <= self.values_max {
                    return Poll::Ready(polled.map(|frame| frame.map_err(BodyError::from)));
                }
            }
            match self.thrown_away_max.checked_sub(piece.len()) {
                Some(left) => self.thrown_away_max = left,
                None => return Poll::Ready(Some(Err(BodyError::TooManyValues))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
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

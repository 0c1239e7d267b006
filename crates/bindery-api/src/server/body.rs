//! Reading the body of a request: as much as it may have, as fast as it has to come, within the memory for requests.

use std::error::Error;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap};
use tokio::time::{Instant, timeout_at};

use super::{Asked, Server};
use crate::call::Handler;
use crate::connection_table::Stage;
use crate::memory_budget::{Exhausted, Reserved};
use crate::operations::Body;
use crate::problem::Problem;

/// Bytes of a body that comes without a key.
const OPEN_BODY_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a body that count as a part of its connection, not to the memory for requests.
const UNCOUNTED_BYTES: usize = 4 * 1024;
/// Room for a body that comes in pieces, to begin with.
const FIRST_BYTES: usize = 512;
/// How many bytes of a body have to come in each second, on average, once it had so much time.
const BYTES_PER_SECOND_MIN: u32 = 1024;
const RATE_GRACE: Duration = Duration::from_secs(10);

/// Why there is no body.
#[derive(Debug, PartialEq, Eq)]
enum Failed {
    TooLarge,
    TooSlow,
    NoMemory(Exhausted),
    BrokeOff,
}

impl Server {
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
        let reserved = Reserved::none(&self.request_memory, asked.owner);
        asked.connection.enter(Stage::Receiving);
        let body = collect(request.into_body(), max, self.limits.body_timeout, reserved).await;
        asked.connection.enter(Stage::Working);
        match body {
            Err(Failed::TooLarge) => Err(Problem::too_large(max)),
            Err(Failed::TooSlow) => Err(Problem::slow_body(
                self.limits.body_timeout,
                BYTES_PER_SECOND_MIN,
                RATE_GRACE,
            )),
            Err(Failed::NoMemory(exhausted)) => Err(Problem::no_memory_for_body(exhausted)),
            Err(Failed::BrokeOff) => Err(match asked.connection.refused() {
                Some(refused) => refused.problem(),
                None => Problem::invalid("the body broke off before its end"),
            }),
            Ok(body) => match (operation.body, asked.took(body)) {
                (Body::Empty, _) => Ok(Bytes::new()),
                (Body::Json, body) => Ok(body),
                (Body::Optional, body) if body.is_empty() => Ok(body),
                (Body::Optional, body) => says_json.map(|()| body),
            },
        }
    }
}

/// The whole body. It is copied together unless it came in one piece: hyper's pieces hold on to the buffers that they were read
/// into, which are larger than they are by any factor.
async fn collect<B>(
    mut body: B,
    max: usize,
    timeout: Duration,
    mut reserved: Reserved,
) -> Result<Bytes, Failed>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    // What is announced to be too large isn't even asked for.
    if announced > max {
        return Err(Failed::TooLarge);
    }
    let began = Instant::now();
    let mut content = Vec::new();
    loop {
        let deadline = deadline(began, content.len(), timeout);
        let piece = match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(Failed::TooSlow),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Failed::BrokeOff),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        };
        let length = content.len() + piece.remaining();
        if length > max {
            return Err(Failed::TooLarge);
        }
        if content.is_empty() && body.is_end_stream() {
            return Ok(piece);
        }
        if length > content.capacity() {
            let limit = if announced > 0 { announced } else { max };
            let capacity = (content.capacity() * 2)
                .max(FIRST_BYTES)
                .min(limit)
                .max(length);
            reserved
                .grow_to(capacity.saturating_sub(UNCOUNTED_BYTES))
                .map_err(Failed::NoMemory)?;
            content.reserve_exact(capacity - content.len());
        }
        content.extend_from_slice(&piece);
    }
    Ok(reserved.attach(content))
}

/// Until when more of a body has to come of which so much is there.
fn deadline(began: Instant, received: usize, timeout: Duration) -> Instant {
    let received = u32::try_from(received).unwrap_or(u32::MAX);
    let by_rate = RATE_GRACE + Duration::from_secs(1) * received / BYTES_PER_SECOND_MIN;
    began + by_rate.min(timeout)
}

/// Whether the body is said to be JSON, once and in UTF-8.
fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (first, None) = (values.next(), values.next()) else {
        return Err(Problem::invalid(
            "`Content-Type` is there more than once; send it once, as `application/json`",
        ));
    };
    let sent = first.and_then(|value| value.to_str().ok());
    let mut parts = sent.unwrap_or_default().split(';').map(str::trim);
    let is_json = parts
        .next()
        .is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    if !is_json {
        return Err(Problem::invalid(
            "send the body as JSON, with `Content-Type: application/json`",
        ));
    }
    for parameter in parts {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"');
        if name.trim().eq_ignore_ascii_case("charset") && !value.eq_ignore_ascii_case("utf-8") {
            return Err(Problem::invalid(
                "`Content-Type`: JSON is UTF-8; send no other `charset`",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use futures_util::{StreamExt as _, stream};
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use hyper::header::HeaderValue;

    use super::*;
    use crate::memory_budget::{MemoryBudget, Owner};

    const TIMEOUT: Duration = Duration::from_mins(1);

    /// A body that comes in these pieces, one a second.
    fn body(
        pieces: impl IntoIterator<Item = Bytes>,
    ) -> impl hyper::body::Body<Data = Bytes, Error = Infallible> + Unpin {
        let pieces: Vec<Bytes> = pieces.into_iter().collect();
        let pieces = stream::iter(pieces).then(|piece| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(Frame::data(piece))
        });
        StreamBody::new(Box::pin(pieces))
    }

    fn none(budget: &Arc<MemoryBudget>) -> Reserved {
        Reserved::none(budget, Owner::Known)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_below_the_least_rate_is_given_up_long_before_its_time_is_over() {
        let budget = MemoryBudget::new(usize::MAX);
        let bytes =
            |length: usize, count: usize| std::iter::repeat_n(Bytes::from(vec![0; length]), count);
        let began = Instant::now();
        let slow = collect(body(bytes(900, 600)), 1 << 20, TIMEOUT * 10, none(&budget)).await;
        // 10 s, and 900 / 1024 of a second for each piece of a second.
        assert_eq!(slow.unwrap_err(), Failed::TooSlow);
        assert!(
            began.elapsed() > Duration::from_mins(1),
            "{:?}",
            began.elapsed()
        );
        let began = Instant::now();
        let slower = collect(body(bytes(1, 600)), 1 << 20, TIMEOUT * 10, none(&budget)).await;
        assert_eq!(slower.unwrap_err(), Failed::TooSlow);
        assert!(
            began.elapsed() < Duration::from_secs(11),
            "{:?}",
            began.elapsed()
        );
        let steady = collect(body(bytes(1024, 50)), 1 << 20, TIMEOUT, none(&budget)).await;
        assert_eq!(steady.unwrap().len(), 50 * 1024);
        let late = collect(body(bytes(1024, 61)), 1 << 20, TIMEOUT, none(&budget)).await;
        assert_eq!(late.unwrap_err(), Failed::TooSlow);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_takes_memory_as_it_comes_and_holds_on_to_none_of_the_buffers_it_came_in() {
        let budget = MemoryBudget::new(64 * 1024);
        let big = Bytes::from(vec![7; 1 << 20]);
        let pieces = (0..10_000).map(|_| big.slice(..1));
        let whole = collect(body(pieces), 1 << 20, TIMEOUT * 1000, none(&budget)).await;
        assert_eq!(whole.as_ref().err(), Some(&Failed::TooSlow));
        let pieces = (0..40).map(|_| big.slice(..1024));
        let whole = collect(body(pieces), 1 << 20, TIMEOUT, none(&budget))
            .await
            .unwrap();
        assert!(big.is_unique(), "a piece is still there");
        assert!(
            (36 * 1024..=64 * 1024).contains(&budget.used()),
            "{}",
            budget.used()
        );
        drop(whole);
        assert_eq!(budget.used(), 0);
        let pieces = (0..50).map(|_| big.slice(..2048));
        let too_much = collect(body(pieces), 1 << 20, TIMEOUT, none(&budget)).await;
        assert_eq!(too_much.unwrap_err(), Failed::NoMemory(Exhausted::Whole));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn the_type_of_a_body_is_json_once_and_in_utf_8() {
        for (values, is_good) in [
            (&["application/json"][..], true),
            (&["Application/JSON ; Charset=UTF-8"], true),
            (&["application/json; charset=\"utf-8\"; x=y"], true),
            (&["application/json;"], true),
            (&[], false),
            (&["text/plain"], false),
            (&["application/jsonx"], false),
            (&["application/json; charset=utf-16"], false),
            (&["application/json; charset"], false),
            (&["application/json; charset=utf-8; charset=utf-7"], false),
            (&["application/json", "application/json"], false),
            (&["application/json", "text/plain"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_TYPE, HeaderValue::from_static(value));
            }
            assert_eq!(require_json(&headers).is_ok(), is_good, "{values:?}");
        }
    }
}

//! Reads the body of a request, within its limits of size, speed and memory.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderMap};
use hyper::http::Uri;
use hyper::http::request::Parts;
use tokio::time::{Instant, timeout, timeout_at};

use super::Server;
use super::perform::Asked;
use crate::json::ValueCount;
use crate::memory_budget::{Exhausted, Owner, Reserved};
use crate::operation::Body;
use crate::problem::Problem;
use crate::turns::{Bound, Bounds, Lane, QueueFull, Turn, Turnstile};

/// Bytes of a body that count as a part of its connection, not to the memory for requests.
const UNCOUNTED_BYTES: usize = 4 * 1024;
/// The first buffer for a body that arrives in pieces.
const FIRST_BYTES: usize = 512;
/// How many bytes of a body must arrive in each second, on average, after the grace period.
const BYTES_PER_SECOND_MIN: u32 = 1024;
const RATE_GRACE: Duration = Duration::from_secs(10);

/// Why there is no body.
#[derive(Debug, PartialEq, Eq)]
enum Failed {
    TooLarge,
    TooManyValues,
    TooSlow,
    NoMemory(Exhausted),
    QueueFull(QueueFull),
    NoTurn,
    BrokeOff,
}

/// A larger body needs a turn: from its first bytes if its length is known, else once this many have arrived.
const LARGE_BODY_BYTES: usize = 64 * 1024;
/// How many large bodies of all clients, of an account, of a person and of a key are received or processed at
/// once.
const LARGE_BODIES_AT_ONCE: [usize; 4] = [64, 16, 8, 4];
/// How many of each wait to be received.
const LARGE_BODIES_WAITING: [usize; 4] = [4096, 1024, 256, 128];

/// How long a body waits for turns, in all.
const TURN_WAIT_MAX: Duration = Duration::from_secs(10);
/// How many bytes of a body must arrive in each second of its turn, after the first moment. A slower body
/// gives its turn to others, and waits for another when more of it has arrived.
const TURN_BYTES_PER_SECOND_MIN: u32 = 256 * 1024;
const TURN_GRACE: Duration = Duration::from_millis(250);

/// The turns of large bodies. A body is not read before its turn, so a flood of them waits in the clients.
pub(super) fn turns() -> Bounds {
    Bounds(std::array::from_fn(|level| Bound {
        running: LARGE_BODIES_AT_ONCE[level],
        waiting: LARGE_BODIES_WAITING[level],
    }))
}

impl Server {
    /// Reads the body of a request, and releases its head. A large body keeps its turn until its last reader is dropped.
    pub(super) async fn read_body(
        &self,
        asked: &Asked<'_>,
        head: &mut Parts,
        body: Incoming,
    ) -> Result<Bytes, Problem> {
        let operation = asked.operation;
        let says_json = require_json(&head.headers);
        if operation.body == Body::Json {
            says_json.clone()?;
        }
        let limits = operation.limits;
        let max = limits.bytes_max.min(self.limits.body_bytes_max);
        let reserved = Reserved::none(&self.request_memory, asked.owner);
        asked.connection.begin_waiting();
        let body = Counted::new(body, limits.values_max, max);
        // Headers and URI keep the buffer of the head, of 8 KiB and more, and the body may take long.
        head.headers = HeaderMap::new();
        head.uri = Uri::default();
        let turns = match asked.owner {
            Owner::Key(lane) => Some(Turns::new(&self.services.bodies, lane)),
            Owner::Stranger => None,
        };
        let body = collect(body, max, self.limits.body_timeout, reserved, turns).await;
        asked.connection.end_waiting().map_err(Problem::leaving)?;
        match body {
            Err(Failed::TooLarge) => Err(Problem::too_large(max)),
            Err(Failed::TooManyValues) => Err(Problem::too_many_values(limits.values_max)),
            Err(Failed::TooSlow) => Err(Problem::slow_body(
                self.limits.body_timeout,
                BYTES_PER_SECOND_MIN,
                RATE_GRACE,
            )),
            Err(Failed::NoMemory(exhausted)) => Err(Problem::no_memory_for_body(exhausted)),
            Err(Failed::QueueFull(full)) => Err(Problem::queue_full(full)),
            Err(Failed::NoTurn) => Err(Problem::no_turn_for_body(TURN_WAIT_MAX)),
            Err(Failed::BrokeOff) => Err(match asked.connection.refused() {
                Some(refused) => refused.problem(),
                None => Problem::invalid("the body ended too early"),
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

/// The turns of one body.
struct Turns<'a> {
    turnstile: &'a Turnstile,
    lane: Lane,
    held: Option<Held>,
    /// Time spent waiting for turns so far.
    waited: Duration,
}

struct Held {
    turn: Turn,
    since: Instant,
    /// Bytes that had arrived by then.
    received: usize,
}

impl<'a> Turns<'a> {
    fn new(turnstile: &'a Turnstile, lane: Lane) -> Self {
        Self {
            turnstile,
            lane,
            held: None,
            waited: Duration::ZERO,
        }
    }

    /// Waits for a turn unless there is one. Returns how long that took.
    async fn take(&mut self, received: usize) -> Result<Duration, Failed> {
        if self.held.is_some() {
            return Ok(Duration::ZERO);
        }
        let began = Instant::now();
        let left = TURN_WAIT_MAX.saturating_sub(self.waited);
        let turn = timeout(left, self.turnstile.enter(self.lane)).await;
        let turn = turn
            .map_err(|_| Failed::NoTurn)?
            .map_err(Failed::QueueFull)?;
        let since = Instant::now();
        let waited = since - began;
        self.waited += waited;
        self.held = Some(Held {
            turn,
            since,
            received,
        });
        Ok(waited)
    }

    /// Until when more must arrive to keep the turn, if there is one.
    fn keeps_until(&self, received: usize) -> Option<Instant> {
        let held = self.held.as_ref()?;
        let came = u32::try_from(received - held.received).unwrap_or(u32::MAX);
        let by_rate = Duration::from_secs(1) * came / TURN_BYTES_PER_SECOND_MIN;
        Some(held.since + TURN_GRACE + by_rate)
    }
}

/// A body that has a turn while it is read.
struct InTurn {
    body: Bytes,
    _turn: Turn,
}

impl AsRef<[u8]> for InTurn {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// The next piece of a body, which must arrive before the deadline. While nothing arrives, others may have
/// its turn.
async fn next_piece<B>(
    body: &mut B,
    received: usize,
    deadline: Instant,
    turns: Option<&mut Turns<'_>>,
) -> Result<Option<Bytes>, Failed>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut frame = body.frame();
    let mut polled = None;
    if let Some(turns) = turns
        && let Some(until) = turns.keeps_until(received)
        && until < deadline
    {
        polled = timeout_at(until, &mut frame).await.ok();
        if polled.is_none() {
            turns.held = None;
        }
    }
    let polled = match polled {
        Some(polled) => polled,
        None => timeout_at(deadline, frame)
            .await
            .map_err(|_| Failed::TooSlow)?,
    };
    match polled {
        None => Ok(None),
        Some(Err(error)) => Err(if is_too_many_values(error.into().as_ref()) {
            Failed::TooManyValues
        } else {
            Failed::BrokeOff
        }),
        Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
    }
}

/// The whole body. It is copied unless it arrived in one piece: hyper's pieces keep the buffers that they
/// were read into, which may be much larger.
async fn collect<B>(
    mut body: B,
    max: usize,
    timeout: Duration,
    mut reserved: Reserved,
    mut turns: Option<Turns<'_>>,
) -> Result<Bytes, Failed>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    // A body that is announced as too large isn't read at all.
    if announced > max {
        return Err(Failed::TooLarge);
    }
    let mut began = Instant::now();
    let mut content = Vec::new();
    let whole = loop {
        let deadline = deadline(began, content.len(), timeout);
        let piece = next_piece(&mut body, content.len(), deadline, turns.as_mut()).await?;
        let length = content.len() + piece.as_ref().map_or(0, Buf::remaining);
        if length > max {
            return Err(Failed::TooLarge);
        }
        if announced.max(length) > LARGE_BODY_BYTES
            && let Some(turns) = &mut turns
        {
            // Its client can't send while it waits.
            began += turns.take(length).await?;
        }
        let Some(piece) = piece else {
            break reserved.attach(content);
        };
        if content.is_empty() && body.is_end_stream() {
            break piece;
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
    };
    Ok(match turns.and_then(|turns| turns.held) {
        Some(Held { turn, .. }) => Bytes::from_owner(InTurn {
            body: whole,
            _turn: turn,
        }),
        None => whole,
    })
}

/// When the next part of a body must arrive, of which this much has arrived.
fn deadline(began: Instant, received: usize, timeout: Duration) -> Instant {
    let received = u32::try_from(received).unwrap_or(u32::MAX);
    let by_rate = RATE_GRACE + Duration::from_secs(1) * received / BYTES_PER_SECOND_MIN;
    began + by_rate.min(timeout)
}

/// A body that ends with an error if it has too many JSON values. The rest is discarded as it arrives, so
/// that the client can read the error.
struct Counted {
    body: Incoming,
    count: ValueCount,
    values_max: usize,
    /// Whether there are enough bytes for too many values.
    is_long: bool,
    /// Bytes that may still be discarded.
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
            // A value takes at least one byte.
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

/// Whether the body is declared as JSON, once and in UTF-8.
fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (first, None) = (values.next(), values.next()) else {
        return Err(Problem::invalid(
            "`Content-Type` is sent more than once; send it once, as `application/json`",
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

    /// A body that arrives in these pieces, one a second.
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
        Reserved::none(budget, Owner::Stranger)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_below_the_least_rate_times_out_long_before_its_time_is_over() {
        let budget = MemoryBudget::new(usize::MAX);
        let bytes =
            |length: usize, count: usize| std::iter::repeat_n(Bytes::from(vec![0; length]), count);
        let began = Instant::now();
        let slow = collect(
            body(bytes(900, 600)),
            1 << 20,
            TIMEOUT * 10,
            none(&budget),
            None,
        )
        .await;
        // 10 s, and 900 / 1024 of a second for each piece of a second.
        assert_eq!(slow.unwrap_err(), Failed::TooSlow);
        assert!(
            began.elapsed() > Duration::from_mins(1),
            "{:?}",
            began.elapsed()
        );
        let began = Instant::now();
        let slower = collect(
            body(bytes(1, 600)),
            1 << 20,
            TIMEOUT * 10,
            none(&budget),
            None,
        )
        .await;
        assert_eq!(slower.unwrap_err(), Failed::TooSlow);
        assert!(
            began.elapsed() < Duration::from_secs(11),
            "{:?}",
            began.elapsed()
        );
        let steady = collect(body(bytes(1024, 50)), 1 << 20, TIMEOUT, none(&budget), None).await;
        assert_eq!(steady.unwrap().len(), 50 * 1024);
        let late = collect(body(bytes(1024, 61)), 1 << 20, TIMEOUT, none(&budget), None).await;
        assert_eq!(late.unwrap_err(), Failed::TooSlow);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_takes_memory_as_it_comes_and_holds_on_to_none_of_the_buffers_it_came_in() {
        // Strangers get a quarter of it.
        let budget = MemoryBudget::new(4 * 64 * 1024);
        let big = Bytes::from(vec![7; 1 << 20]);
        let pieces = (0..10_000).map(|_| big.slice(..1));
        let whole = collect(body(pieces), 1 << 20, TIMEOUT * 1000, none(&budget), None).await;
        assert_eq!(whole.as_ref().err(), Some(&Failed::TooSlow));
        let pieces = (0..40).map(|_| big.slice(..1024));
        let whole = collect(body(pieces), 1 << 20, TIMEOUT, none(&budget), None)
            .await
            .unwrap();
        assert!(big.is_unique(), "a piece is still in memory");
        assert!(
            (36 * 1024..=64 * 1024).contains(&budget.used()),
            "{}",
            budget.used()
        );
        drop(whole);
        assert_eq!(budget.used(), 0);
        let pieces = (0..50).map(|_| big.slice(..2048));
        let too_much = collect(body(pieces), 1 << 20, TIMEOUT, none(&budget), None).await;
        assert_eq!(too_much.unwrap_err(), Failed::NoMemory(Exhausted::Whole));
        assert_eq!(budget.used(), 0);
    }

    fn one_turn() -> Turnstile {
        let bound = Bound {
            running: 1,
            waiting: 8,
        };
        Turnstile::new(Bounds([bound; 4]))
    }

    /// Pieces of this many KiB, one a second.
    async fn collect_in(
        turnstile: &Turnstile,
        kibibytes: &[usize],
        timeout: Duration,
    ) -> Result<Bytes, Failed> {
        let budget = MemoryBudget::new(usize::MAX);
        let pieces = kibibytes
            .iter()
            .map(|count| Bytes::from(vec![0; count * 1024]));
        let turns = Turns::new(turnstile, Lane([1, 1, 1]));
        collect(body(pieces), 1 << 20, timeout, none(&budget), Some(turns)).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_a_turn_once_it_is_large_and_for_as_long_as_it_comes() {
        let turnstile = one_turn();
        let taken = turnstile.try_enter(Lane([1, 1, 1])).unwrap();
        let small = collect_in(&turnstile, &[16; 4], TIMEOUT).await;
        assert_eq!(small.unwrap().len(), LARGE_BODY_BYTES);
        drop(taken);
        let mut large = Box::pin(collect_in(&turnstile, &[40, 40, 1, 1], TIMEOUT));
        let began = Instant::now();
        for (millis, running) in [(1900, 0), (2100, 1), (2900, 0), (3100, 1), (3900, 0)] {
            let moment = began + Duration::from_millis(millis);
            let over = timeout_at(moment, &mut large).await;
            assert!(over.is_err());
            assert_eq!(turnstile.running(), running, "{millis}");
        }
        let large = large.await.unwrap();
        assert_eq!((large.len(), turnstile.running()), (82 * 1024, 1));
        let part = large.slice(1..);
        drop(large);
        assert_eq!(turnstile.running(), 1, "it is being processed");
        drop(part);
        assert_eq!((turnstile.running(), turnstile.waiting()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_body_waits_for_its_turn_for_a_while_that_is_not_its_clients() {
        let turnstile = one_turn();
        let taken = turnstile.try_enter(Lane([1, 1, 1])).unwrap();
        let began = Instant::now();
        let in_vain = collect_in(&turnstile, &[80, 1], TIMEOUT).await;
        assert_eq!(in_vain.unwrap_err(), Failed::NoTurn);
        assert_eq!(began.elapsed(), Duration::from_secs(1) + TURN_WAIT_MAX);
        assert_eq!(turnstile.waiting(), 0);
        let seconds = Duration::from_secs(5);
        let late = collect_in(&turnstile, &[80, 1], seconds);
        let free = async {
            tokio::time::sleep(TURN_WAIT_MAX).await;
            drop(taken);
        };
        let (late, ()) = tokio::join!(late, free);
        assert_eq!(late.unwrap().len(), 81 * 1024);
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

//! What the fuzz targets in `fuzz/` call: each takes any bytes, and panics if a promise is broken. The server
//! itself calls none of it.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bindery_core::id::IdKey;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection_table::ConnectionTable;
use crate::framing::{Framing, Verdict};
use crate::memory_budget::MemoryBudget;
use crate::request_stream::{RequestStream, refusal};
use crate::secret;

mod bodies;
mod tokens;

pub use bodies::bodies;
pub use tokens::tokens;

const KEY: IdKey = IdKey::new([7; 16]);

/// Nothing in it has the form of a key.
fn assert_without_keys(text: &str) {
    for (place, _) in text.match_indices(secret::PREFIX) {
        let letters = &text[place + secret::PREFIX.len()..];
        let end = letters.find(|c: char| !c.is_ascii_alphanumeric());
        let count = end.unwrap_or(letters.len());
        assert!(count < secret::LETTERS_MIN, "a key in {text}");
    }
}

/// The bytes of a connection; the first byte says how many of the others arrive at once.
///
/// # Panics
///
/// If the requests differ when they arrive in other pieces, or if hyper reads other requests than those that
/// were passed to it.
pub fn requests(bytes: &[u8]) {
    let Some((at_once, bytes)) = bytes.split_first() else {
        return;
    };
    let at_once = usize::from(*at_once).max(1);
    let whole = messages(bytes, bytes.len().max(1));
    assert_eq!(
        whole,
        messages(bytes, at_once),
        "the requests differ in other pieces"
    );
    let (messages, _) = whole;
    let seen = as_hyper_reads(bytes, at_once);
    assert!(
        seen.len() <= messages.len(),
        "hyper finds more requests: {seen:?} {messages:?}"
    );
    for (seen, Message { head, body }) in seen.iter().zip(&messages) {
        let is_same = head.trim_ascii_start().starts_with(seen.method.as_bytes());
        assert!(is_same, "hyper reads another request: {seen:?}");
        // The last body may be incomplete.
        if let Some(read) = &seen.body {
            let expected = decoded(head, body);
            assert_eq!(read, &expected, "hyper reads another body");
        }
    }
}

/// A request as it is delimited.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    head: Vec<u8>,
    body: Vec<u8>,
}

/// Heads and bodies as they are delimited, and whether the last request is refused.
fn messages(bytes: &[u8], at_once: usize) -> (Vec<Message>, bool) {
    let mut framing = Framing::new();
    let mut messages: Vec<Message> = Vec::new();
    let (mut passed, mut arrived) = (0, 0);
    while arrived < bytes.len() {
        arrived = (arrived + at_once).min(bytes.len());
        while passed < arrived {
            let is_head = framing.is_in_head();
            match framing.judge(&bytes[passed..arrived]) {
                Verdict::Pass(count) => {
                    let part = &bytes[passed..passed + count];
                    passed += count;
                    match messages.last_mut() {
                        Some(message) if !is_head => message.body.extend_from_slice(part),
                        _ => messages.push(Message {
                            head: part.to_vec(),
                            body: Vec::new(),
                        }),
                    }
                }
                Verdict::Incomplete => break,
                Verdict::Refuse(_) => return (messages, true),
            }
        }
    }
    (messages, false)
}

/// The content of a delimited body.
fn decoded(head: &[u8], body: &[u8]) -> Vec<u8> {
    let is_chunked = head
        .split(|byte| *byte == b'\n')
        .any(|line| line.len() > 17 && line[..17].eq_ignore_ascii_case(b"transfer-encoding"));
    if !is_chunked {
        return body.to_vec();
    }
    let (mut rest, mut content) = (body, Vec::new());
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let digits = rest[..end]
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default();
        let size = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let size = size.unwrap_or_default();
        if size == 0 {
            break;
        }
        let data = &rest[end + 2..];
        content.extend_from_slice(&data[..size.min(data.len())]);
        rest = data.get(size + 2..).unwrap_or_default();
    }
    content
}

#[derive(Debug)]
struct Seen {
    method: String,
    /// `None` if it is incomplete.
    body: Option<Vec<u8>>,
}

/// The requests that hyper reads behind the stream that checks them.
fn as_hyper_reads(bytes: &[u8], at_once: usize) -> Vec<Seen> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
    else {
        return Vec::new();
    };
    let table = ConnectionTable::new(1, 1);
    let Some(open) = table.open(IpAddr::V4(Ipv4Addr::LOCALHOST), false) else {
        return Vec::new();
    };
    let stream = Pieces {
        bytes: bytes.to_vec(),
        at: 0,
        at_once,
    };
    let stream = RequestStream::new(stream, Arc::clone(&open), &MemoryBudget::new(1 << 20));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let (seen, connection) = (Arc::clone(&seen), Arc::clone(&open));
        async move {
            let mut response = Response::new(Full::<Bytes>::default());
            if refusal(request.method(), &connection).is_none() {
                let method = request.method().to_string();
                let body = request.into_body().collect().await;
                let body = body.ok().map(|body| body.to_bytes().to_vec());
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.push(Seen { method, body });
            }
            if connection.closes_after_answer() {
                let close = hyper::header::HeaderValue::from_static("close");
                response
                    .headers_mut()
                    .insert(hyper::header::CONNECTION, close);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .max_buf_size(crate::framing::HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // Its result does not matter here.
    let _ = runtime.block_on(serving);
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *seen)
}

/// Bytes that arrive in pieces, and a sink for responses.
#[derive(Debug)]
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    at_once: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let end = (self.at + self.at_once.min(out.remaining())).min(self.bytes.len());
        out.put_slice(&self.bytes[self.at..end]);
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

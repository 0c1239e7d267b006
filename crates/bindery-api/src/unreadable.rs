//! Requests with an unreadable head. hyper responds by itself, with a status and no body, before our code
//! sees the request. Some clients take an error without a body for a success (`docs/rules/api.md` §2), so the
//! response gets its body on the way out.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, Collected};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::framing::HEAD_BYTES_MAX;
use crate::problem::Problem;

/// A stream that gives hyper's own refusals a problem as their body.
#[derive(Debug)]
pub(crate) struct Explained<S> {
    stream: S,
    /// Bytes that replace what hyper has written, and how many of them are sent.
    instead: Vec<u8>,
    written: usize,
    new_request_id: fn() -> String,
}

impl<S> Explained<S> {
    pub(crate) fn new(stream: S, new_request_id: fn() -> String) -> Self {
        Self {
            stream,
            instead: Vec::new(),
            written: 0,
            new_request_id,
        }
    }
}

/// The problem for a response that hyper made by itself. Only such a response is an error without a body.
fn problem(answer: &[u8]) -> Option<Problem> {
    let has_status_of_errors = answer.get(9) == Some(&b'4');
    if !has_status_of_errors || !answer.ends_with(b"\r\n\r\n") {
        return None;
    }
    let text = std::str::from_utf8(answer).ok()?;
    if !text.contains("\r\ncontent-length: 0\r\n") {
        return None;
    }
    match text.get(9..12)? {
        "400" => Some(Problem::unreadable_head()),
        "414" => Some(Problem::long_uri(HEAD_BYTES_MAX)),
        "431" => Some(Problem::large_head(HEAD_BYTES_MAX)),
        _ => None,
    }
}

/// The same response with its problem.
fn explained(answer: &[u8], problem: &Problem, request_id: &str) -> Vec<u8> {
    // The path could not be read.
    let (head, body) = problem.render("/", request_id).into_parts();
    let body = body.collect().now_or_never().and_then(Result::ok);
    let body = body.map(Collected::to_bytes).unwrap_or_default();
    let mut whole = Vec::with_capacity(1024);
    let is_replaced = |line: &[u8]| {
        let replaced: [&[u8]; 3] = [b"content-length:", b"connection:", b"\r\n"];
        replaced.iter().any(|start| line.starts_with(start))
    };
    for line in answer.split_inclusive(|byte| *byte == b'\n') {
        if !is_replaced(line) {
            whole.extend_from_slice(line);
        }
    }
    for (name, value) in &head.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            whole.extend_from_slice(part);
        }
    }
    let rest = format!(
        "x-content-type-options: nosniff\r\nx-request-id: {request_id}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    whole.extend_from_slice(rest.as_bytes());
    whole.extend_from_slice(&body);
    whole
}

impl<S: AsyncWrite + Unpin> Explained<S> {
    /// Writes the rest of a replaced response.
    fn poll_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left) = self.instead.get(self.written..)
            && !left.is_empty()
        {
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, left))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes a response that hyper made by itself; its replacement is written on flush.
    fn takes(&mut self, answer: &[u8]) -> bool {
        let Some(problem) = problem(answer) else {
            return false;
        };
        self.instead = explained(answer, &problem, &(self.new_request_id)());
        self.written = 0;
        true
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Explained<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Explained<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_instead(context))?;
        if self.takes(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_instead(context))?;
        if let [only] = slices
            && self.takes(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_refusal_is_given_a_body() {
        let answer = |status: &str, rest: &str| format!("HTTP/1.1 {status}\r\n{rest}\r\n");
        for (bytes, expected) in [
            (
                answer("400 Bad Request", "content-length: 0\r\n"),
                Some(400),
            ),
            (
                answer("414 URI Too Long", "content-length: 0\r\n"),
                Some(414),
            ),
            (
                answer(
                    "431 Request Header Fields Too Large",
                    "content-length: 0\r\n",
                ),
                Some(431),
            ),
            (answer("404 Not Found", "content-length: 0\r\n"), None),
            (answer("400 Bad Request", "content-length: 10\r\n"), None),
            (
                answer("400 Bad Request", "content-length: 10\r\n") + "0123456789",
                None,
            ),
            (answer("204 No Content", ""), None),
            (answer("200 OK", "content-length: 0\r\n"), None),
            ("400".to_owned(), None),
            (String::new(), None),
        ] {
            let found = problem(bytes.as_bytes()).map(|problem| problem.status());
            assert_eq!(found, expected, "{bytes}");
        }
    }
}

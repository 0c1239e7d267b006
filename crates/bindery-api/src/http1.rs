//! How hyper serves connections: the server's own and those of metrics.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;

use crate::connection_table::Connection;
use crate::framing::HEAD_BYTES_MAX;
use crate::memory_budget::MemoryBudget;
use crate::request_id::new_request_id;
use crate::request_stream::RequestStream;
use crate::unreadable::Explained;

/// Settings of a connection whose client has this long for the head of a request, and between two requests.
pub(crate) fn http1(header_timeout: Duration) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
}

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// For the head of a request, and between two requests.
    pub(crate) header: Duration,
    /// For a response that it does not read.
    pub(crate) write: Duration,
}

/// The stream that hyper gets.
pub(crate) type Guarded = Explained<RequestStream<Pin<Box<TimeoutStream<TcpStream>>>>>;

/// Waits for the first request of a connection; `None` if none comes. The stream passes whole heads with one
/// reading, within this memory. It times out a client that does not read, and gives every refusal a body.
/// hyper's buffers of 16 KiB are created only after that, so a connection without a whole head costs little
/// more than its bytes.
pub(crate) async fn first_request(
    stream: TcpStream,
    connection: &Arc<Connection>,
    budget: &Arc<MemoryBudget>,
    timeouts: Timeouts,
) -> Option<Guarded> {
    let first = async {
        stream.readable().await.ok()?;
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(timeouts.write));
        let mut stream = RequestStream::new(Box::pin(stream), Arc::clone(connection), budget);
        let is_there = stream.fill().await.ok()?;
        is_there.then(|| Explained::new(stream, new_request_id))
    };
    tokio::time::timeout(timeouts.header, first).await.ok()?
}

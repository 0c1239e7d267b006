//! The bytes of a connection on their way to hyper. hyper gets only whole heads with exactly one reading
//! ([`Framing`]). The start of a head waits here, where its memory is counted.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::Method;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::connection_table::Connection;
use crate::framing::{Framing, HEAD_BYTES_MAX, Refused, Verdict};
use crate::memory_budget::{MemoryBudget, Owner, Reserved};

/// Up to here, the waiting part of a head counts as a part of its connection.
const UNCOUNTED_BYTES: usize = 4 * 1024;
/// How many bytes of an incomplete head are read at once.
const READ_BYTES: usize = 4 * 1024;
/// How many bytes of a body or of a next head hyper reads at once while no request on the connection was authenticated. Its buffer has
/// 8 KiB, of which a head may have used some; pages that are never written need no memory.
const UNPROVEN_BYTES: u64 = 2 * 1024;
/// hyper copies a head, so this many times its size is reserved.
const COPIES: usize = 2;
/// After a larger head, its connection is closed, which frees its grown buffers.
const KEPT_HEAD_BYTES_MAX: usize = 8 * 1024;

/// How long a client that has sent more than was read may read its response; meanwhile its bytes are
/// discarded. If a connection is closed with unread bytes, the system discards what was sent.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Replaces a request that is refused before hyper parses it. Only valid together with
/// [`Connection::refused`].
const REFUSED_REQUEST: &[u8] = b"BINDERY-REFUSED / HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n";

/// The refusal that this request stands for.
pub(crate) fn refusal(method: &Method, connection: &Connection) -> Option<Refused> {
    connection
        .refused()
        .filter(|_| method.as_str() == "BINDERY-REFUSED")
}

/// The stream from which hyper reads requests.
#[derive(Debug)]
pub(crate) struct RequestStream<S> {
    stream: S,
    framing: Framing,
    connection: Arc<Connection>,
    reserved: Reserved,
    /// Bytes that were read and not passed on yet; the first few may be passed on.
    waiting: Vec<u8>,
    good: usize,
    end: End,
    linger: Option<Linger>,
}

/// The state of reading.
#[derive(Debug)]
enum End {
    /// More may arrive.
    Open,
    /// The client sends no more.
    Eof,
    /// Nothing more is passed on except the rest of [`REFUSED_REQUEST`].
    Refused(&'static [u8]),
    /// Nothing more is passed on; the body is incomplete.
    Broken,
    /// Nothing more is passed on after the current request.
    Last,
}

#[derive(Debug)]
struct Linger {
    deadline: Pin<Box<Sleep>>,
    discarded: usize,
}

impl<S> RequestStream<S> {
    pub(crate) fn new(stream: S, connection: Arc<Connection>, budget: &Arc<MemoryBudget>) -> Self {
        Self {
            stream,
            framing: Framing::new(),
            connection,
            reserved: Reserved::none(budget, Owner::Stranger),
            waiting: Vec::new(),
            good: 0,
            end: End::Open,
            linger: None,
        }
    }

    fn refuse(&mut self, refused: Refused, is_in_head: bool) {
        tracing::debug!(?refused, "a request is refused");
        self.connection.refuse(refused);
        self.end = if is_in_head {
            End::Refused(REFUSED_REQUEST)
        } else {
            End::Broken
        };
    }

    /// Judges bytes from the front: how many may be passed on.
    fn judge(&mut self, bytes: &[u8]) -> usize {
        let mut good = 0;
        while good < bytes.len() {
            if self.framing.is_between_requests() {
                self.begin();
            }
            let is_in_head = self.framing.is_in_head();
            match self.framing.judge(&bytes[good..]) {
                Verdict::Pass(count) => {
                    good += count;
                    if self.ends_with_this_request() {
                        break;
                    }
                }
                Verdict::Incomplete => break,
                Verdict::Refuse(refused) => {
                    self.refuse(refused, is_in_head);
                    break;
                }
            }
        }
        good
    }

    /// Whether nothing more is passed on, since the request that ends here had a large head.
    fn ends_with_this_request(&mut self) -> bool {
        if self.framing.last_head() <= KEPT_HEAD_BYTES_MAX {
            return false;
        }
        self.connection.close_after_answer();
        let is_last = self.framing.is_between_requests();
        if is_last {
            self.end = End::Last;
        }
        is_last
    }

    /// Passes on the good part of the waiting bytes.
    fn pass(&mut self, out: &mut ReadBuf<'_>) {
        let count = self.good.min(out.remaining());
        out.put_slice(&self.waiting[..count]);
        self.good -= count;
        if count == self.waiting.len() {
            self.waiting = Vec::new();
        } else {
            self.waiting.drain(..count);
        }
    }

    /// Makes room for more of a head.
    fn grow(&mut self) -> Result<(), Refused> {
        let capacity = self.waiting.capacity();
        if self.waiting.len() < capacity {
            return Ok(());
        }
        let wanted = (capacity * 2).clamp(1024, HEAD_BYTES_MAX + 1);
        self.count(wanted)?;
        self.waiting.reserve_exact(wanted - self.waiting.len());
        Ok(())
    }

    /// Counts bytes of a head.
    fn count(&mut self, bytes: usize) -> Result<(), Refused> {
        let counted = bytes.saturating_sub(UNCOUNTED_BYTES) * COPIES;
        self.reserved
            .grow_to(counted)
            .map_err(|_| Refused::NoMemory)
    }

    /// A request begins: frees what was reserved for the previous one.
    fn begin(&mut self) {
        let owner = self.connection.owner();
        let owner = owner.map_or(Owner::Stranger, Owner::Key);
        self.reserved.reset(owner);
    }
}

impl<S: AsyncRead + Unpin> RequestStream<S> {
    /// Reads directly into hyper's buffer, and takes back what hyper must not have yet.
    fn poll_direct(
        &mut self,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = out.filled().len();
        let max = if self.connection.owner().is_some() {
            u64::MAX
        } else {
            UNPROVEN_BYTES
        };
        let mut stream = (&mut self.stream).take(max);
        ready!(Pin::new(&mut stream).poll_read(context, out))?;
        let bytes = &out.filled()[before..];
        if bytes.is_empty() {
            self.end = End::Eof;
            return Poll::Ready(Ok(true));
        }
        let good = self.judge(bytes);
        let rest = &bytes[good..];
        if matches!(self.end, End::Open) && !rest.is_empty() {
            match self.count(rest.len()) {
                Ok(()) => self.waiting = rest.to_vec(),
                Err(refused) => self.refuse(refused, true),
            }
        }
        out.set_filled(before + good);
        Poll::Ready(Ok(good > 0))
    }

    /// Reads more of an incomplete head.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Err(refused) = self.grow() {
            self.refuse(refused, true);
            return Poll::Ready(Ok(()));
        }
        let length = self.waiting.len();
        let room = self.waiting.capacity() - length;
        self.waiting.resize(length + room.min(READ_BYTES), 0);
        let mut buffer = ReadBuf::new(&mut self.waiting[length..]);
        let read = Pin::new(&mut self.stream).poll_read(context, &mut buffer);
        let count = buffer.filled().len();
        self.waiting.truncate(length + count);
        ready!(read)?;
        if count == 0 {
            self.end = End::Eof;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until something can be passed on; false if nothing will be.
    pub(crate) async fn fill(&mut self) -> io::Result<bool> {
        poll_fn(|context| {
            while self.good == 0 && matches!(self.end, End::Open) {
                ready!(self.poll_more(context))?;
                self.judge_waiting();
            }
            Poll::Ready(Ok(!matches!(self.end, End::Eof)))
        })
        .await
    }

    /// Judges the waiting bytes that aren't judged yet.
    fn judge_waiting(&mut self) {
        if self.waiting.is_empty() || !matches!(self.end, End::Open) {
            return;
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        self.good = self.judge(&waiting);
        if !matches!(self.end, End::Open) {
            waiting.truncate(self.good);
        }
        self.waiting = waiting;
    }

    /// Discards what still arrives, until the client closes.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| Linger {
            deadline: Box::pin(sleep(LINGER_TIMEOUT)),
            discarded: 0,
        });
        let mut space = [0; 4096];
        loop {
            if linger.deadline.as_mut().poll(context).is_ready()
                || linger.discarded >= LINGER_BYTES_MAX
            {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => linger.discarded += buffer.filled().len(),
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for RequestStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.good > 0 {
                this.pass(out);
                return Poll::Ready(Ok(()));
            }
            match &mut this.end {
                End::Open => {}
                End::Eof | End::Broken => return Poll::Ready(Ok(())),
                End::Refused(rest) if !rest.is_empty() => {
                    let count = rest.len().min(out.remaining());
                    out.put_slice(&rest[..count]);
                    *rest = &rest[count..];
                    return Poll::Ready(Ok(()));
                }
                // hyper has all that it gets; it responds and closes.
                End::Refused(_) | End::Last => return Poll::Pending,
            }
            if this.waiting.is_empty() {
                if ready!(this.poll_direct(context, out))? {
                    return Poll::Ready(Ok(()));
                }
            } else {
                ready!(this.poll_more(context))?;
            }
            this.judge_waiting();
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for RequestStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        if !matches!(this.end, End::Eof) && !this.framing.is_between_requests() {
            ready!(this.poll_linger(context));
        }
        Poll::Ready(Ok(()))
    }
}

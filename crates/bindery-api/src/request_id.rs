//! Request ids: clients and operators find a request by them.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use bindery_core::text::RequestId;
use hyper::header::{HeaderMap, HeaderName};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The client's own request id if it fits in a header and a log line, or a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> String {
    let sent = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    sent.filter(|id| RequestId::is_one(id))
        .map_or_else(new_request_id, ToOwned::to_owned)
}

/// A unique id for this and other processes; it may be guessable.
pub(crate) fn new_request_id() -> String {
    static PROCESS: LazyLock<u32> = LazyLock::new(|| getrandom::u32().unwrap_or_default());
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:08x}{number:08x}", *PROCESS)
}

//! Health checks for monitoring: is the process running, can it do everything, and can it at least decide?
//! Without a key, and without any data of accounts.

use std::time::Duration;

use bindery_node::{Node, Obstacle};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;

use crate::freshness::STALE_AFTER;
use crate::problem::Problem;

/// The process is running.
const HEALTHZ: &str = "/healthz";
/// It reads and changes, and knows what other servers change.
const READYZ: &str = "/readyz";
/// It decides and reads, from memory.
const READYZ_READS: &str = "/readyz/reads";

/// The rules of health.
#[derive(Debug)]
pub(crate) struct Health {
    /// How long a server that can't reach its store goes on responding; forever, if absent.
    pub(crate) staleness_max: Option<Duration>,
}

#[derive(Serialize)]
struct Body {
    status: &'static str,
    /// Whether the last change could be stored.
    takes_writes: bool,
    /// Why no change can be written, if known: `store_moved` or `clock_ahead`.
    #[serde(skip_serializing_if = "Option::is_none")]
    obstacle: Option<&'static str>,
    /// Since this server last knew everything in the store.
    staleness_seconds: u64,
}

impl Health {
    /// The response, if this is a path of health.
    pub(crate) fn answer(
        &self,
        node: &Node,
        method: &Method,
        path: &str,
    ) -> Option<Result<Response<Full<Bytes>>, Problem>> {
        if ![HEALTHZ, READYZ, READYZ_READS].contains(&path) {
            return None;
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Some(Err(Problem::method_not_allowed("GET, HEAD")));
        }
        let staleness = node.staleness();
        let takes_writes = node.takes_writes();
        let is_good = match path {
            HEALTHZ => true,
            READYZ => takes_writes && staleness <= STALE_AFTER && self.allows(staleness),
            _ => self.allows(staleness),
        };
        let (status, word) = if is_good {
            (StatusCode::OK, "ok")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
        };
        let body = Body {
            status: word,
            takes_writes,
            obstacle: node.obstacle().map(|obstacle| match obstacle {
                Obstacle::StoreMoved => "store_moved",
                Obstacle::ClockAhead => "clock_ahead",
            }),
            staleness_seconds: staleness.as_secs(),
        };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Full::from(json));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(Ok(response))
    }

    /// Refuses if the data in memory is too old.
    pub(crate) fn check(&self, node: &Node) -> Result<(), Problem> {
        let staleness = node.staleness();
        if self.allows(staleness) {
            return Ok(());
        }
        Err(Problem::too_stale(staleness.as_secs()))
    }

    fn allows(&self, staleness: Duration) -> bool {
        self.staleness_max.is_none_or(|max| staleness <= max)
    }
}

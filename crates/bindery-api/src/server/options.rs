//! The options of a server, including its limits.

use std::time::Duration;

use bindery_node::LogRetention;
use tokio::net::TcpListener;

use crate::aliases::Aliases;
use crate::client_address::Network;
use crate::mail::Mailer;
use crate::public_url::PublicUrl;
use crate::rate::RateLimits;

/// Limits of what a client may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body.
    pub body_bytes_max: usize,
    /// How long the head of a request may take to arrive, and how long a connection may idle.
    pub header_timeout: Duration,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long a client may take without reading its response.
    pub write_timeout: Duration,
    /// Connections at once. Beyond that, the longest idle one makes room for another.
    pub connections_max: usize,
    /// Connections at once from one client address (IPv6: from one /64) without an authenticated request.
    /// Beyond that, the oldest of them makes room for another. Those of trusted proxies don't count.
    pub unproven_per_address_max: usize,
    /// Bytes of arriving requests, over all connections, beyond a few kibibytes of each. A key may have a
    /// quarter, a person a third, an account half, and all connections without an authenticated request a
    /// quarter; each less while others use memory, so that some is always left.
    pub request_memory_max: usize,
    /// Bytes of unread responses, over all connections, beyond the small ones. Shares as for requests.
    pub answer_memory_max: usize,
    /// How long running requests may take when the server stops.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 1024 * 1024,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            connections_max: 10_000,
            unproven_per_address_max: 1_000,
            request_memory_max: 128 * 1024 * 1024,
            answer_memory_max: 128 * 1024 * 1024,
            drain_timeout: Duration::from_secs(20),
        }
    }
}

/// The options of a server.
#[derive(Debug)]
pub struct Options {
    /// Limits of what a client may use.
    pub limits: Limits,
    /// Rate limits.
    pub rate_limits: RateLimits,
    /// Whether the audit log has reads, too.
    pub audits_reads: bool,
    /// How long audit entries are kept; forever, if absent.
    pub audit_retention: Option<Duration>,
    /// How much of each log is kept; all of it by default.
    pub log_retention: LogRetention,
    /// How long the store may be unreachable before the server stops responding from memory; never, if
    /// absent.
    pub staleness_max: Option<Duration>,
    /// Unload accounts that are idle for this long; never, if absent.
    pub accounts_idle: Option<Duration>,
    /// Where `GET /metrics` is served, without a key; nowhere, if absent.
    pub metrics: Option<TcpListener>,
    /// How e-mail is sent.
    pub mailer: Mailer,
    /// Where clients reach this server, for the metadata of its decision point; without it there are none.
    pub public_url: Option<PublicUrl>,
    /// Other names on the AuthZEN endpoints.
    pub aliases: Aliases,
    /// Proxies whose `X-Forwarded-For` is used; if empty, the header is ignored.
    pub trusted_proxies: Vec<Network>,
}

impl Options {
    /// The default limits. Everything is in the audit log, all logs are kept forever, accounts are never
    /// unloaded. No metrics, metadata, aliases or trusted proxies.
    pub fn new(mailer: Mailer) -> Self {
        Self {
            limits: Limits::default(),
            rate_limits: RateLimits::default(),
            audits_reads: true,
            audit_retention: None,
            log_retention: LogRetention::default(),
            staleness_max: None,
            accounts_idle: None,
            metrics: None,
            mailer,
            public_url: None,
            aliases: Aliases::default(),
            trusted_proxies: Vec::new(),
        }
    }
}

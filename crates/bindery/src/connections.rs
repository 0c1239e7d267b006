//! The options of `bindery serve` that limit what clients can use, and the file handles for connections.

use anyhow::{Result, ensure};
use bindery_api::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File handles that are reserved for everything except connections: the store (21 for PostgreSQL), its
/// files, the log, metrics, e-mail, and connections that are being closed.
const HANDLES_KEPT: u64 = 192;
const CONNECTIONS_MIN: u64 = 16;
const MIB: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct ConnectionArguments {
    /// Connections at once. Beyond that, the longest idle one is closed for the next, those without an
    /// authenticated request first. Each needs a file handle: the soft limit (`ulimit -n`) is raised if the
    /// hard limit allows it, otherwise there are fewer connections.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(CONNECTIONS_MIN..=1_000_000))]
    connections: u64,
    /// Connections at once from one client address (from one /64 for IPv6) without an authenticated request;
    /// the oldest is closed for the next. Connections of `--trusted-proxies` don't count.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    connections_per_address: u64,
    /// Memory for arriving requests, over all connections. A key may use a quarter of it, a person a third,
    /// an account half, each less while others use it; beyond that, requests get 429 or 503.
    #[arg(long, value_name = "MIB", default_value_t = 128, value_parser = clap::value_parser!(u32).range(16..=1_048_576))]
    request_memory_mib: u32,
    /// Memory for responses that clients have not read yet, over all connections. Shares as for requests.
    #[arg(long, value_name = "MIB", default_value_t = 128, value_parser = clap::value_parser!(u32).range(16..=1_048_576))]
    answer_memory_mib: u32,
}

impl ConnectionArguments {
    /// The limits of these options, with no more connections than there are file handles.
    pub(crate) fn limits(self) -> Result<Limits> {
        let handles = raise_handles(self.connections + HANDLES_KEPT);
        let connections = self.connections.min(handles.saturating_sub(HANDLES_KEPT));
        ensure!(
            connections >= CONNECTIONS_MIN,
            "the system allows this process {handles} file handles, and at least {} are needed; raise the limit (`ulimit -n`)",
            HANDLES_KEPT + CONNECTIONS_MIN
        );
        if connections < self.connections {
            tracing::warn!(
                handles,
                connections,
                wanted = self.connections,
                "fewer connections than --connections: the limit of file handles (`ulimit -n`) is low"
            );
        }
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let bytes = |mib: u32| {
            usize::try_from(mib)
                .unwrap_or(usize::MAX)
                .saturating_mul(MIB)
        };
        Ok(Limits {
            connections_max: number(connections),
            unproven_per_address_max: number(self.connections_per_address),
            request_memory_max: bytes(self.request_memory_mib),
            answer_memory_max: bytes(self.answer_memory_mib),
            ..Limits::default()
        })
    }
}

/// Raises the limit to this many file handles if possible, and returns the limit.
fn raise_handles(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let soft = limit.current.unwrap_or(u64::MAX);
    if soft >= wanted {
        return soft;
    }
    let raised = wanted.min(limit.maximum.unwrap_or(u64::MAX));
    let new = Rlimit {
        current: Some(raised),
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, new) {
        Ok(()) => raised,
        Err(error) => {
            tracing::warn!(%error, "the limit of file handles can't be raised");
            soft
        }
    }
}

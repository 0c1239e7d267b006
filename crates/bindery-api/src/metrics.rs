//! `GET /metrics`: the counters of this crate and of the node, for Prometheus. Without a key, on a listener
//! of its own that is off by default. Labels are names of this program (operations, calls of the store) and
//! numbers of accounts, never anything that a client sent. The text is built on request.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bindery_core::id::{AccountId, Revision};
use bindery_node::{Account, Counter, Histogram, Node, StoreCall};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::prometheus_text::{self, CONTENT_TYPE};
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use tokio::net::{TcpListener, TcpStream};

use crate::connection_table::{Connection, ConnectionTable};
use crate::counts::{CLASSES, Counts, REFUSED};
use crate::http1::{Timeouts, first_request, http1};
use crate::memory_budget::MemoryBudget;
use crate::operations::OPERATIONS;
use crate::problem::Overload;
use crate::rate::Bucket;
use crate::request_id::new_request_id;
use crate::request_stream::refusal;
use crate::services::Services;

const PATH: &str = "/metrics";
/// How many readers are served at once; the longest idle one makes room for another.
const CONNECTIONS_MAX: usize = 8;
/// How long a reader may take for the head of a request, and between two.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a reader may take without reading the response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes for arriving requests.
const MEMORY_MAX: usize = 1024 * 1024;
/// How many accounts, the oldest loaded ones, have rows of their own.
const ACCOUNTS_MAX: usize = 256;
/// Everything that the page shows.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) node: Arc<Node>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) connections: Arc<ConnectionTable>,
    pub(crate) request_memory: Arc<MemoryBudget>,
    pub(crate) answer_memory: Arc<MemoryBudget>,
    pub(crate) services: Arc<Services>,
}

/// Serves readers of metrics, for as long as it is polled.
pub(crate) async fn serve(listener: TcpListener, metrics: Metrics) {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(metrics));
    let registry = Arc::new(registry);
    let table = ConnectionTable::new(CONNECTIONS_MAX, CONNECTIONS_MAX);
    let memory = MemoryBudget::new(MEMORY_MAX);
    loop {
        table.room().await;
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a reader of metrics can't be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(open) = table.open(peer.ip(), false) else {
            continue;
        };
        let (registry, memory) = (Arc::clone(&registry), Arc::clone(&memory));
        tokio::spawn(async move {
            tokio::select! {
                () = serve_one(stream, &open, &memory, &registry) => {}
                () = open.evicted() => {}
            }
        });
    }
}

async fn serve_one(
    stream: TcpStream,
    connection: &Arc<Connection>,
    memory: &Arc<MemoryBudget>,
    registry: &Registry,
) {
    let timeouts = Timeouts {
        header: READ_TIMEOUT,
        write: WRITE_TIMEOUT,
    };
    let Some(stream) = first_request(stream, connection, memory, timeouts).await else {
        return;
    };
    let service = service_fn(|request| {
        let answer = answer(registry, &request, connection);
        async move { Ok::<_, Infallible>(answer) }
    });
    let serving = http1(READ_TIMEOUT).serve_connection(TokioIo::new(stream), service);
    if let Err(error) = serving.await {
        tracing::debug!(%error, "a reader of metrics ended early");
    }
}

fn answer(
    registry: &Registry,
    request: &Request<Incoming>,
    connection: &Connection,
) -> Response<Full<Bytes>> {
    if let Some(refused) = refusal(request.method(), connection) {
        return nosniff(refused.problem().render("/", &new_request_id()));
    }
    let mut text = String::new();
    let status = match (request.method(), request.uri().path()) {
        (&Method::GET, PATH) => match prometheus_text::encode(&mut text, registry) {
            Ok(()) => StatusCode::OK,
            Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR,
        },
        _ => StatusCode::NOT_FOUND,
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    if !request.body().is_end_stream() || connection.closes_after_answer() {
        // The body of such a request is not read.
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    nosniff(response)
}

fn nosniff<B>(mut response: Response<B>) -> Response<B> {
    response.headers_mut().insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.tell_of_process(&mut page)?;
        self.tell_of_requests(&mut page)?;
        self.tell_of_turns(&mut page)?;
        self.tell_of_commits(&mut page)?;
        self.tell_of_accounts(&mut page)
    }
}

impl Metrics {
    fn tell_of_process(&self, page: &mut Page<'_>) -> fmt::Result {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        page.gauges(
            "bindery_build_info",
            "The version of this server",
            [(version, 1.0)],
        )?;
        let started = self.counts.started.duration_since(UNIX_EPOCH);
        page.gauge(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970",
            started.unwrap_or_default().as_secs_f64(),
        )?;
        let connections = self.connections.len();
        page.gauge(
            "bindery_connections",
            "Connections of clients",
            float(connections),
        )?;
        page.counter(
            "bindery_connections_evicted",
            "Connections that were closed to make room for others",
            self.connections.evictions(),
        )?;
        page.counter(
            "bindery_connections_refused",
            "Connections that were refused because all others had running requests",
            &self.counts.refused_connections,
        )?;
        page.counter(
            "bindery_requests_held_back",
            "Requests that waited because earlier ones on the same connection were refused for a limit of their client",
            &self.counts.held_back,
        )?;
        page.gauges(
            "bindery_client_memory_bytes",
            "Memory that is reserved for arriving requests, and for responses that wait to be read",
            [
                ([("of", "requests")], float(self.request_memory.used())),
                ([("of", "answers")], float(self.answer_memory.used())),
            ],
        )?;
        page.gauge(
            "bindery_staleness_seconds",
            "Time since this server last knew everything in the store",
            self.node.staleness().as_secs_f64(),
        )?;
        page.gauge(
            "bindery_takes_writes",
            "1 if the last change of every loaded account could be stored, or else 0",
            f64::from(u8::from(self.node.takes_writes())),
        )?;
        let meters = self.node.meters();
        let errors =
            StoreCall::ALL.map(|call| ([("call", call.name())], meters.store_errors(call).get()));
        page.counters(
            "bindery_store_errors",
            "Failures of the store, by call",
            errors,
        )
    }

    fn tell_of_requests(&self, page: &mut Page<'_>) -> fmt::Result {
        let names = OPERATIONS.iter().map(|operation| operation.id);
        let rows = || names.clone().chain(["none"]).zip(&self.counts.of_operation);
        let classes = rows().flat_map(|(name, row)| {
            let counts = CLASSES.into_iter().zip(&row.classes);
            counts.map(move |(class, count)| ([("operation", name), ("class", class)], count.get()))
        });
        page.counters(
            "bindery_requests",
            "Answered requests, by operation (`none`: they reached none) and class of the status",
            classes.filter(|(_, count)| *count > 0),
        )?;
        page.durations(
            "bindery_request_duration",
            "Time from the head of a request to its response",
            rows().map(|(name, row)| ([("operation", name)], &row.micros)),
        )?;
        page.counters(
            "bindery_decisions",
            "Decisions by result",
            [
                ([("answer", "allowed")], self.counts.allowed.get()),
                ([("answer", "denied")], self.counts.denied.get()),
            ],
        )?;
        let limited = Bucket::ALL.into_iter().zip(&self.counts.limited);
        page.counters(
            "bindery_requests_limited",
            "Requests that a rate limit refused, by its bucket",
            limited.map(|(bucket, count)| ([("bucket", bucket.name())], count.get())),
        )?;
        let overloads = Overload::ALL.into_iter().zip(&self.counts.overloads);
        page.counters(
            "bindery_requests_overloaded",
            "Requests that were refused because clients had used up memory, the room in a queue, or the room to wait for a revision",
            overloads.map(|(overload, count)| ([("of", overload.name())], count.get())),
        )?;
        let refused = REFUSED.into_iter().zip(&self.counts.refused);
        page.counters(
            "bindery_commands_refused",
            "Changes that were decided and refused, by status",
            refused.map(|((_, status), count)| ([("status", status)], count.get())),
        )
    }

    fn tell_of_turns(&self, page: &mut Page<'_>) -> fmt::Result {
        let Services {
            workers,
            bodies,
            passwords,
            ..
        } = &*self.services;
        let of = [
            ("requests", workers.waiting(), workers.running()),
            ("bodies", bodies.waiting(), bodies.running()),
            ("passwords", passwords.waiting(), passwords.running()),
        ];
        page.gauges(
            "bindery_turns_waiting",
            "Requests that wait for a worker, large bodies that wait to be read, and passwords that wait to be hashed",
            of.map(|(what, waiting, _)| ([("of", what)], float(waiting))),
        )?;
        page.gauges(
            "bindery_turns_running",
            "The same, with a turn now",
            of.map(|(what, _, running)| ([("of", what)], float(running))),
        )?;
        page.counters(
            "bindery_password_hashes",
            "Computed password hashes",
            [([("operation", "all")], passwords.computed())],
        )
    }

    fn tell_of_commits(&self, page: &mut Page<'_>) -> fmt::Result {
        let meters = self.node.meters();
        page.counters(
            "bindery_batches",
            "Batches of changes and audit entries that were sent to the store, by outcome",
            [
                ([("outcome", "committed")], meters.committed.get()),
                ([("outcome", "not_committed")], meters.not_committed.get()),
            ],
        )?;
        page.duration(
            "bindery_append_duration",
            "Duration of transactions, including the decisions",
            &meters.append_micros,
        )?;
        page.sizes(
            "bindery_batch_commands",
            "Commands in a batch",
            &meters.append_commands,
        )?;
        page.counter(
            "bindery_clock_refusals",
            "Batches that were refused because the clock of this machine had run ahead since the last change",
            &meters.clock_refusals,
        )?;
        page.counter(
            "bindery_answers_lost",
            "Commits without a response, looked for in the log",
            &meters.lost,
        )?;
        page.counter(
            "bindery_answers_lost_committed",
            "Commits without a response that were found in the log",
            &meters.lost_and_found,
        )?;
        page.counter(
            "bindery_store_diverged",
            "Times that the log of an account was found to be rolled back, and the account was reloaded",
            &meters.diverged,
        )
    }

    fn tell_of_accounts(&self, page: &mut Page<'_>) -> fmt::Result {
        let (meters, accounts) = (self.node.meters(), self.node.accounts());
        page.gauge(
            "bindery_accounts_at_work",
            "Accounts in memory",
            float(accounts.len()),
        )?;
        page.counter(
            "bindery_accounts_loaded",
            "Accounts that were loaded",
            &meters.loads,
        )?;
        page.counter(
            "bindery_accounts_evicted",
            "Idle accounts that were unloaded",
            &meters.evictions,
        )?;
        page.duration(
            "bindery_account_load_duration",
            "Duration of loading an account",
            &meters.load_micros,
        )?;
        page.counters(
            "bindery_secrets_looked_up",
            "Secrets that no loaded account knew, by where they were looked up",
            [
                ([("asked", "store")], meters.looked_up.get()),
                ([("asked", "nobody")], meters.known_as_unknown.get()),
            ],
        )?;
        page.counter(
            "bindery_lookup_queries",
            "Queries that looked secrets up, many in each",
            &meters.lookups,
        )?;
        page.counter(
            "bindery_lookups_refused",
            "Requests with an unknown key that got 503 because too many were waiting",
            &meters.lookups_refused,
        )?;
        page.gauge(
            "bindery_queue_length",
            "Commands that wait for the writers of all accounts",
            float(accounts.iter().map(|account| account.waiting()).sum()),
        )?;
        page.gauge(
            "bindery_notes_waiting",
            "Audit entries of all accounts that wait to be written",
            float(accounts.iter().map(|account| account.notes()).sum()),
        )?;
        let each = |value: fn(&Account) -> f64| {
            let accounts = accounts.iter().take(ACCOUNTS_MAX);
            accounts.map(move |account| {
                let AccountId(number) = account.id();
                ([("account", number)], value(account))
            })
        };
        page.gauges(
            "bindery_account_revision",
            "Revision of a loaded account, of the first 256",
            each(|account| {
                let Revision(revision) = account.snapshot().revision();
                float(usize::try_from(revision).unwrap_or(usize::MAX))
            }),
        )?;
        page.gauges(
            "bindery_account_queue_length",
            "Commands that wait for an account's writer, of the first 256",
            each(|account| float(account.waiting())),
        )
    }
}

/// The page while it is written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counter(&mut self, name: &str, help: &str, counter: &Counter) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, u64, u64>(&counter.get(), None)
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in rows {
            let mut row = metric.encode_family(&labels)?;
            row.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// In seconds.
    fn duration(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        self.histogram(name, help, Some(&Unit::Seconds), &Read::micros(histogram))
    }

    fn sizes(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        self.histogram(name, help, None, &Read::new(histogram, 1.0))
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        read: &Read,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(read.sum, read.count, &read.buckets, None)
    }

    /// In seconds. Rows without any are left out.
    fn durations<'h, L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, &'h Histogram)>,
    ) -> fmt::Result {
        let unit = Unit::Seconds;
        let mut metric =
            self.0
                .encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
        for (labels, histogram) in rows {
            let read = Read::micros(histogram);
            if read.count > 0 {
                let mut row = metric.encode_family(&labels)?;
                row.encode_histogram::<NoLabelSet>(read.sum, read.count, &read.buckets, None)?;
            }
        }
        Ok(())
    }
}

/// A histogram as it is written.
struct Read {
    sum: f64,
    count: u64,
    buckets: Vec<(f64, u64)>,
}

impl Read {
    /// Microseconds, as seconds.
    fn micros(histogram: &Histogram) -> Self {
        Self::new(histogram, 1e6)
    }

    /// Converts each number into a larger unit.
    fn new(histogram: &Histogram, unit: f64) -> Self {
        let (counts, sum) = histogram.read();
        let bound = |bound: Option<u64>| bound.map_or(f64::INFINITY, |bound| scaled(bound, unit));
        let buckets: Vec<(f64, u64)> = counts.map(|(top, count)| (bound(top), count)).collect();
        Self {
            sum: scaled(sum, unit),
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "in a curve of numbers beyond 2^53 the difference does not show"
)]
fn scaled(number: u64, unit: f64) -> f64 {
    number as f64 / unit
}

fn float(number: usize) -> f64 {
    scaled(u64::try_from(number).unwrap_or(u64::MAX), 1.0)
}

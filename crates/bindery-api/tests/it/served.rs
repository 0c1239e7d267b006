//! A server on a copy of a data directory, and requests to it.

use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bindery_api::{Mailer, Options, Server};
use bindery_core::id::{AccountId, Revision};
use bindery_core::time::Timestamp;
use bindery_node::{Account, Clock, Node};
use bindery_store::Store;
use bindery_store::sqlite::SqliteStore;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// The time at which the test begins.
const START_MS: i64 = 1_767_225_600_000;

/// A server in this process.
pub(crate) struct Served {
    pub(crate) node: Arc<Node>,
    pub(crate) runtime: Runtime,
    pub(crate) directory: tempfile::TempDir,
    clock_ms: Arc<AtomicI64>,
    pub(crate) address: String,
    stop: Option<oneshot::Sender<()>>,
    stopped: Option<tokio::task::JoinHandle<()>>,
    agent: ureq::Agent,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl Served {
    /// On an empty directory.
    pub(crate) fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap(), START_MS)
    }

    /// The same data, served with other options.
    pub(crate) fn again(self, set: impl FnOnce(&mut Options)) -> Self {
        let clock_ms = self.now_ms();
        Self::with(self.stop(), clock_ms, set)
    }

    /// On a copy of the data of a server that has stopped.
    pub(crate) fn copy_of(template: &Path, clock_ms: i64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // The last server to stop has put everything into the one file.
        let name = "bindery.db";
        fs::copy(template.join(name), directory.path().join(name)).unwrap();
        Self::on(directory, clock_ms)
    }

    fn on(directory: tempfile::TempDir, clock_ms: i64) -> Self {
        Self::with(directory, clock_ms, |_| ())
    }

    fn with(directory: tempfile::TempDir, clock_ms: i64, set: impl FnOnce(&mut Options)) -> Self {
        let store = Arc::new(SqliteStore::open(directory.path()).unwrap());
        Self::over(store, directory, clock_ms, set)
    }

    /// With a store of the test.
    pub(crate) fn over(
        store: Arc<dyn Store>,
        directory: tempfile::TempDir,
        clock_ms: i64,
        set: impl FnOnce(&mut Options),
    ) -> Self {
        let clock_ms = Arc::new(AtomicI64::new(clock_ms));
        let hands = Arc::clone(&clock_ms);
        let clock = Clock::new(move || Timestamp::from_millis(hands.load(Ordering::SeqCst)));
        let node = Arc::new(Node::open(store, clock).unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let mut options = Options::new(Mailer::new(None, &address).unwrap());
        // Tests send more bad keys a second than any honest client.
        options.rate_limits.address = NonZeroU32::MAX;
        {
            // Listeners and timers are created in here.
            let _inside = runtime.enter();
            set(&mut options);
        }
        let server = Server::new(Arc::clone(&node), options);
        let (stop, stopping) = oneshot::channel::<()>();
        let stopped = runtime.spawn(server.serve(listener, async {
            let _ = stopping.await;
        }));
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_mins(2)));
        Self {
            node,
            runtime,
            directory,
            clock_ms,
            address,
            stop: Some(stop),
            stopped: Some(stopped),
            agent: config.build().into(),
        }
    }

    /// Advances the clock.
    pub(crate) fn wait_seconds(&self, seconds: i64) {
        self.clock_ms.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.clock_ms.load(Ordering::SeqCst)
    }

    pub(crate) fn account(&self, number: u32) -> Arc<Account> {
        self.node.load(AccountId(number)).unwrap()
    }

    pub(crate) fn revision(&self, account: u32) -> Revision {
        self.account(account).snapshot().revision()
    }

    /// One request with a key, or without; the status and body of its response.
    pub(crate) fn send(
        &self,
        key: Option<&str>,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> (u16, Value) {
        let mut request = self
            .request(method, path)
            .header("Content-Type", "application/json");
        if let Some(key) = key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let answer = self.run(request.body(body.unwrap_or_default().to_owned()).unwrap());
        (answer.status, answer.body)
    }

    /// Any request to a path of this server.
    pub(crate) fn request(&self, method: &str, path: &str) -> ureq::http::request::Builder {
        let uri = format!("{}{path}", self.address);
        ureq::http::Request::builder().method(method).uri(uri)
    }

    /// Sends it unchanged.
    pub(crate) fn run(&self, request: ureq::http::Request<impl ureq::AsSendBody>) -> Answered {
        let mut response = self.agent.run(request).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        Answered {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        }
    }

    /// Stops, and returns the directory with everything written.
    pub(crate) fn stop(mut self) -> tempfile::TempDir {
        drop(self.stop.take());
        self.runtime.block_on(self.stopped.take().unwrap()).unwrap();
        self.directory
    }
}

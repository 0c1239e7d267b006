//! Three `bindery serve` on one database, each with its own wires to both database servers.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::database::Cluster;
use crate::http::Http;
use crate::process::{Service, until};
use crate::proxy::Proxy;

/// How many servers there are.
pub(crate) const NODES: usize = 3;
/// The admin's key.
pub(crate) const ADMIN_KEY: &str = "ak-0123456789abcdefghijABCDEFGHIJ0123456789";

const READY_TIMEOUT: Duration = Duration::from_secs(90);
const ASK_TIMEOUT: Duration = Duration::from_mins(1);

/// One server.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) service: Service,
    /// To each server of the database.
    pub(crate) wires: [Proxy; 2],
    log: PathBuf,
}

impl Node {
    pub(crate) fn new(
        number: usize,
        binary: &Path,
        cluster: &Cluster,
        home: &Path,
    ) -> Result<Self> {
        let [first, second] = &cluster.servers;
        let wires = [Proxy::to(first.port)?, Proxy::to(second.port)?];
        let [one, other] = [wires[0].port, wires[1].port];
        let store = format!(
            "postgres://postgres@127.0.0.1:{one},127.0.0.1:{other}/postgres?target_session_attrs=read-write"
        );
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = home.join(format!("node-{number}.log"));
        let (binary, shown) = (binary.to_owned(), log.clone());
        let service = Service::new(move || {
            let log = fs::File::options().create(true).append(true).open(&shown)?;
            let mut command = Command::new(&binary);
            command
                .args(["serve", "--audit-reads", "false", "--listen"])
                .arg(address.to_string())
                .env("BINDERY_STORE", &store)
                .env("BINDERY_ADMIN_KEY", ADMIN_KEY)
                .env("RUST_LOG", "info")
                .stdout(Stdio::null())
                .stderr(log);
            Ok(command)
        });
        Ok(Self {
            address,
            service,
            wires,
            log,
        })
    }

    /// Waits until it can do everything.
    pub(crate) fn wait_until_ready(&self) -> Result<()> {
        let mut http = Http::new(self.address, "", ASK_TIMEOUT);
        until("a server is ready", READY_TIMEOUT, || {
            self.service.tend()?;
            let reply = http.send("GET", "/readyz", None, 0);
            Ok(reply.is_ok_and(|reply| reply.status == 200))
        })
    }

    pub(crate) fn mend_wires(&self) {
        for wire in &self.wires {
            wire.mend();
        }
    }

    /// How often its log has this text.
    pub(crate) fn said(&self, text: &str) -> usize {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.matches(text).count()
    }

    /// Sends a request as the admin.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let mut http = Http::new(self.address, ADMIN_KEY, ASK_TIMEOUT);
        let reply = http.send("POST", path, Some(body), 0);
        let reply = reply.map_err(|lost| anyhow::anyhow!("{path}: {lost:?}"))?;
        anyhow::ensure!(reply.status == 201, "{path}: {reply:?}");
        Ok(reply.body)
    }
}

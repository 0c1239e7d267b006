//! A running `bindery serve` and a client that keeps its connection.

use std::io::{BufRead as _, BufReader};
use std::ops::Deref;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use bindery_store::sqlite::SqliteStore;
use serde_json::Value;

/// The admin's key in every test.
pub(crate) const ADMIN_KEY: &str = "ak-0123456789abcdefghijABCDEFGHIJ0123456789";

pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: String,
}

impl Server {
    /// Starts it on any free port and waits for its one line.
    pub(crate) fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, &[])
    }

    /// The same with more arguments.
    pub(crate) fn start_with(data_dir: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bindery"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .args(arguments);
        Self::start_command(&mut command)
    }

    /// The same with all arguments said, `--listen 127.0.0.1:0` among them.
    pub(crate) fn start_command(command: &mut Command) -> Self {
        command.env("BINDERY_ADMIN_KEY", ADMIN_KEY);
        let mut child = spawn(command.stdout(Stdio::piped()));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim_end()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned();
        Self { child, address }
    }

    /// A client with the admin's key.
    pub(crate) fn client(&self) -> Client {
        self.client_with(ADMIN_KEY)
    }

    pub(crate) fn client_with(&self, key: &str) -> Client {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_mins(2)));
        Client {
            agent: config.build().into(),
            address: self.address.clone(),
            key: key.to_owned(),
        }
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(mut self) {
        let id = self.child.id().to_string();
        let mut signalled = spawn(Command::new("kill").args(["-TERM", &id]));
        assert!(signalled.wait().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }

    /// kill -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    /// What a failed test has left running ends with it.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Client {
    agent: ureq::Agent,
    address: String,
    key: String,
}

impl Client {
    /// The status and body of the answer, or nothing if the connection broke.
    pub(crate) fn try_send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Option<(u16, Value)> {
        let (status, body, _) = self.try_send_at(method, path, body, None)?;
        Some((status, body))
    }

    /// The same at this revision at least; the revision of the answer is its last part.
    pub(crate) fn try_send_at(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        at_least: Option<u64>,
    ) -> Option<(u16, Value, Option<u64>)> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address))
            .header("Authorization", format!("Bearer {}", self.key))
            .header("Content-Type", "application/json");
        let request = match at_least {
            Some(revision) => request.header("Bindery-At-Least", revision),
            None => request,
        };
        let text = body.map(ToString::to_string).unwrap_or_default();
        let mut response = self.agent.run(request.body(text).unwrap()).ok()?;
        let text = response.body_mut().read_to_string().ok()?;
        let revision = response.headers().get("Bindery-Revision");
        Some((
            response.status().as_u16(),
            serde_json::from_str(&text).unwrap_or(Value::Null),
            revision.and_then(|revision| revision.to_str().ok()?.parse().ok()),
        ))
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, body) = self.try_send("GET", path, None).unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        let (status, body) = self.try_send("POST", path, Some(body)).unwrap();
        assert_eq!(status, 201, "{path}: {body}");
        body
    }
}

/// Held while a process is started, and shared while a store is open in this one: between fork and exec a new process holds
/// whatever files are open here, the lock of a store too.
static FORKS: RwLock<()> = RwLock::new(());

/// Keeps processes from being started while a store is open here.
pub(crate) fn no_forks() -> RwLockReadGuard<'static, ()> {
    FORKS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a process.
pub(crate) fn spawn(command: &mut Command) -> Child {
    let _alone = FORKS.write().unwrap_or_else(PoisonError::into_inner);
    command.spawn().unwrap()
}

/// The store of a directory without a server.
pub(crate) struct OpenStore {
    store: SqliteStore,
    // Declared last: released after the store is closed.
    _no_forks: RwLockReadGuard<'static, ()>,
}

impl OpenStore {
    pub(crate) fn new(data_dir: &Path) -> Self {
        let no_forks = no_forks();
        Self {
            store: SqliteStore::open(data_dir).unwrap(),
            _no_forks: no_forks,
        }
    }
}

impl Deref for OpenStore {
    type Target = SqliteStore;

    fn deref(&self) -> &SqliteStore {
        &self.store
    }
}

/// A member of an answer that is text.
pub(crate) fn text(body: &Value, member: &str) -> String {
    body[member].as_str().unwrap().to_owned()
}

//! Servers on a shared database and on a file: durable changes a second, how soon another server decides by them, and how soon a
//! server is back. Measured from outside, over HTTP, on the binary that is shipped.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use postgres::{Client, NoTls};
use serde_json::{Value, json};

use crate::http::Server;
use crate::row::{Goal, Row, Unit};
use crate::say;
use crate::size::Size;
use crate::time::{Latencies, Samples, rounds};

mod deaf;
mod load;
mod raw;
mod restart;

use deaf::Deaf;
use load::Lane;

/// Clients change as fast as they can, with one key, which no honest client does.
const SERVE: [&str; 3] = ["serve", "--rate-limit-changes", "1000000"];
const ADMIN_KEY: &str = "ak-0123456789abcdefghijABCDEFGHIJ0123456789";
/// Where `cargo xtask bench` has its PostgreSQL.
const POSTGRES: &str = "BINDERY_TEST_POSTGRES";

const ROUNDS: usize = 7;
/// On a file.
const CONNECTIONS: usize = 64;
/// On a database, over three servers.
const SERVERS: usize = 3;
const CONNECTIONS_EACH: usize = 16;
/// Changes of each connection in a round; even, so that each round begins alike.
const CHANGES: usize = 100;
/// Changes that another server is asked about.
const SEEN: usize = 210;
const SEEN_DEAF: usize = 42;

/// Writes are the same at every size; what a restart takes is measured where a million roles are held.
pub(crate) fn rows(size: Size) -> Result<Vec<Row>> {
    let binary = std::env::var_os("BINDERY_BIN").map(PathBuf::from);
    let binary =
        binary.context("BINDERY_BIN names no bindery to ask; `cargo xtask bench` builds one")?;
    match size {
        Size::S => {
            let mut rows = on_a_file(&binary)?;
            rows.extend(on_a_database(&binary)?);
            Ok(rows)
        }
        Size::M => restart::rows(&binary, size),
        Size::L => Ok(Vec::new()),
    }
}

fn on_a_file(binary: &Path) -> Result<Vec<Row>> {
    let directory = tempfile::tempdir()?;
    let server = serve(
        Command::new(binary)
            .args(SERVE)
            .arg("--data-dir")
            .arg(directory.path()),
    )?;
    let scene = Scene::make(&server.address, CONNECTIONS)?;
    let lanes = scene.lanes(&[&server.address]);
    let floor = raw::File::new(directory.path(), CONNECTIONS)?;
    load::patch(&lanes, CHANGES)?;
    let mut latencies = Vec::new();
    let [rate, single, grouped] = rounds::<3>(ROUNDS, |_, contestant| match contestant {
        0 => {
            let (rate, times) = load::patch(&lanes, CHANGES)?;
            latencies.extend(times);
            Ok(rate)
        }
        1 => floor.each_by_itself(CHANGES),
        _ => floor.in_groups(CHANGES),
    })?;
    let mut latencies = Latencies::from_nanos(latencies);
    let against = |floor: &Samples, how: &str, goal| Row {
        what: format!(
            "durable PATCHes over HTTP on SQLite, {CONNECTIONS} connections, against as many clients that append and fdatasync, {how}"
        ),
        measured: rate.over(floor),
        unit: Unit::Times,
        goal,
        from: format!(
            "{:.0} against {:.0} a second",
            rate.median(),
            floor.median()
        ),
    };
    Ok(vec![
        against(&single, "each by itself", Goal::AtLeast(0.5)),
        against(&grouped, "in groups by one thread", Goal::Open),
        slowest("on SQLite", &mut latencies),
    ])
}

fn slowest(what: &str, latencies: &mut Latencies) -> Row {
    let (half, most) = (latencies.quantile(0.5), latencies.quantile(0.99));
    Row {
        what: format!("the slowest of a hundred of these PATCHes {what}, against the median"),
        measured: most / half,
        unit: Unit::Times,
        goal: Goal::AtMost(20.0),
        from: format!("p99 {:.2} ms, p50 {:.2} ms", most / 1e6, half / 1e6),
    }
}

fn on_a_database(binary: &Path) -> Result<Vec<Row>> {
    let url = new_database()?;
    let servers = (0..SERVERS)
        .map(|_| serve(Command::new(binary).args(SERVE).env("BINDERY_STORE", &url)))
        .collect::<Result<Vec<_>>>()?;
    let addresses: Vec<&str> = servers.iter().map(|one| one.address.as_str()).collect();
    let connections = SERVERS * CONNECTIONS_EACH;
    let scene = Scene::make(addresses[0], connections)?;
    let lanes = scene.lanes(&addresses);
    let single = raw::Transactions::new(&new_database()?, connections)?;
    load::patch(&lanes, CHANGES)?;
    let mut latencies = Vec::new();
    let [rate, floor] = rounds::<2>(ROUNDS, |_, contestant| {
        if contestant == 0 {
            // A change that is refused ends the run: none may be because another server was first.
            let (rate, times) = load::patch(&lanes, CHANGES)?;
            latencies.extend(times);
            Ok(rate)
        } else {
            single.one_each(CHANGES)
        }
    })?;
    let mut rows = vec![
        Row {
            what: format!(
                "durable PATCHes over HTTP on PostgreSQL, {SERVERS} servers, {connections} connections, one account, against one \
                transaction for each"
            ),
            measured: rate.over(&floor),
            unit: Unit::Times,
            goal: Goal::AtLeast(3.0),
            from: format!(
                "{:.0} against {:.0} a second",
                rate.median(),
                floor.median()
            ),
        },
        slowest("on PostgreSQL", &mut Latencies::from_nanos(latencies)),
    ];
    rows.push(seen(
        "a change on one server until another decides by it",
        Goal::AtMost(5_000.0),
        scene.seen_by(addresses[0], addresses[1], SEEN)?,
    ));
    let deaf = Deaf::to(&url)?;
    let other = serve(
        Command::new(binary)
            .args(SERVE)
            .env("BINDERY_STORE", &deaf.url),
    )?;
    rows.push(seen(
        "the same where the other server isn't woken, and finds out by asking",
        // It asks twice a second.
        Goal::AtMost(500_000.0),
        scene.seen_by(addresses[0], &other.address, SEEN_DEAF)?,
    ));
    Ok(rows)
}

fn seen(what: &str, goal: Goal, times: Vec<f64>) -> Row {
    let count = times.len();
    let mut times = Latencies::from_nanos(times);
    Row {
        what: format!("{what}, median"),
        measured: times.quantile(0.5) / 1e3,
        unit: Unit::Microseconds,
        goal,
        from: format!("p99 {:.1} ms, of {count}", times.quantile(0.99) / 1e6),
    }
}

fn serve(command: &mut Command) -> Result<Server> {
    Server::start(
        command
            .args(["--listen", "127.0.0.1:0"])
            .env("BINDERY_ADMIN_KEY", ADMIN_KEY),
    )
}

/// The URL of an empty database on the server of the benchmarks.
fn new_database() -> Result<String> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let server = std::env::var(POSTGRES).with_context(|| {
        format!("{POSTGRES} names no PostgreSQL; `cargo xtask bench` starts one")
    })?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("bench_{}_{number}", std::process::id());
    Client::connect(&server, NoTls)?.batch_execute(&format!("CREATE DATABASE {name}"))?;
    let (base, _) = server
        .rsplit_once('/')
        .context("a URL without a database")?;
    Ok(format!("{base}/{name}"))
}

/// People with a role on one space each, and two roles to change between.
struct Scene {
    roles: [String; 2],
    bindings: Vec<String>,
    user: Value,
    project: Value,
}

impl Scene {
    fn make(address: &str, people: usize) -> Result<Self> {
        let post = |path: &str, body: Value| ask(address, "POST", path, &body);
        let organization = post("/v2/organizations", json!({"name": "acme"}))?;
        let organization = organization["id"].clone();
        let space = post(
            "/v2/spaces",
            json!({"name": "red", "organization_id": organization}),
        )?;
        let project = json!({"name": "sonar", "space_id": space["id"]});
        let project = post("/v2/projects", project)?["id"].clone();
        let mut roles = Vec::new();
        for permission in ["PROJECT_READ", "USER_READ"] {
            let role = post(
                "/v2/roles",
                json!({"name": permission, "permissions": [permission]}),
            )?;
            roles.push(text(&role)?);
        }
        let (mut bindings, mut users) = (Vec::new(), Vec::new());
        for number in 0..people {
            let user = post(
                "/v2/users",
                json!({
                    "name": "User", "email": format!("user-{number}@acme.example"),
                    "role": {"type": "PREDEFINED", "name": "MEMBER"}, "invite_mode": "NONE",
                }),
            )?;
            let binding = json!({
                "user_id": user["id"], "role_id": roles[0],
                "resource_type": "SPACE", "resource_id": space["id"],
            });
            bindings.push(text(&post("/v2/role-bindings", binding)?)?);
            users.push(user["id"].clone());
        }
        Ok(Self {
            roles: [roles[0].clone(), roles[1].clone()],
            bindings,
            user: users[0].clone(),
            project,
        })
    }

    /// A connection for each binding, in turns to the servers.
    fn lanes(&self, addresses: &[&str]) -> Vec<Lane> {
        let numbered = self.bindings.iter().enumerate();
        numbered
            .map(|(number, binding)| {
                let address = addresses[number % addresses.len()];
                let request = |role: &String| {
                    let path = format!("/v2/role-bindings/{binding}");
                    request(address, "PATCH", &path, &json!({"role_id": role}))
                };
                let [first, second] = &self.roles;
                // The one that it hasn't comes first.
                Lane::new(address, [request(second), request(first)])
            })
            .collect()
    }

    /// Nanoseconds from the answer of one server that a role is changed to the first decision of another by it.
    fn seen_by(&self, changed: &str, asked: &str, count: usize) -> Result<Vec<f64>> {
        let path = format!("/v2/role-bindings/{}", self.bindings[0]);
        let question = json!({
            "subject": {"type": "user", "id": self.user}, "action": {"name": "PROJECT_READ"},
            "resource": {"type": "project", "id": self.project},
        });
        let question = request(asked, "POST", "/access/v1/evaluation", &question);
        let mut asking = Blocking::connect(asked)?;
        let mut changing = Blocking::connect(changed)?;
        let mut times = Vec::new();
        for (turn, pause_ms) in (0..count).zip(PAUSES_MS.iter().cycle()) {
            // Else every change would come just after the other server had asked.
            std::thread::sleep(Duration::from_millis(*pause_ms));
            let may = turn % 2 == 1;
            let role = &self.roles[usize::from(!may)];
            let change = request(changed, "PATCH", &path, &json!({"role_id": role}));
            changing.send(&change)?;
            let begun = Instant::now();
            while asking.send(&question)?["decision"] != may {
                ensure!(begun.elapsed() < SEEN_TIMEOUT, "a change never came");
            }
            times.push(begun.elapsed().as_nanos() as f64);
        }
        say(&format!("{count} changes seen"));
        // As it was, for whoever measures next.
        if count % 2 == 1 {
            bail!("an even number of changes leaves everything as it was");
        }
        Ok(times)
    }
}

/// Between two changes; together they have nothing in common with how often a server asks.
const PAUSES_MS: [u64; 7] = [0, 71, 142, 213, 284, 355, 426];
const SEEN_TIMEOUT: Duration = Duration::from_secs(10);

fn text(made: &Value) -> Result<String> {
    let id = made["id"].as_str();
    Ok(id.with_context(|| format!("no id in {made}"))?.to_owned())
}

/// A whole request.
fn request(address: &str, method: &str, path: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {ADMIN_KEY}\r\n\
        content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn ask(address: &str, method: &str, path: &str, body: &Value) -> Result<Value> {
    Blocking::connect(address)?.send(&request(address, method, path, body))
}

/// A connection that waits.
struct Blocking(TcpStream);

impl Blocking {
    fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// The body of the answer, which says that it went well.
    fn send(&mut self, request: &[u8]) -> Result<Value> {
        self.0.write_all(request)?;
        let mut answer = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = self.0.read(&mut buffer)?;
            ensure!(read > 0, "the connection ended");
            answer.extend_from_slice(&buffer[..read]);
            if let Some(body) = load::whole(&answer)? {
                return Ok(serde_json::from_str(body)?);
            }
        }
    }
}

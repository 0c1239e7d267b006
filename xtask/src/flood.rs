//! `cargo xtask flood`: hostile connections of every shape against a real server, and their cost: resident
//! memory, and how long a normal client's check takes meanwhile. Bounded in connections, bytes and time; on
//! loopback only.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::run::{cargo, run, say};
use crate::suites::target;

/// By how much resident memory may grow beyond the loaded state while no connection has a key: 300 MB.
const GROWTH_MAX_KIB: u64 = 300_000_000 / 1024;
/// By how much for each connection of a key, whose unread responses may wait (docs/operations.md, *Memory for connections*).
const GROWTH_MAX_KIB_WITH_KEY: u64 = 32;
/// The largest median time of the normal client's checks.
const MEDIAN_MAX: Duration = Duration::from_millis(5);
/// The key of the server's admin, for the normal client.
const KEY: &str = "ak-0123456789abcdefghijABCDEFGHIJ0123456789";
/// Replaced by the key of a bot, in shapes that have a key.
const HOSTILE_KEY: &str = "{key}";
/// How many spaces there are to list: the list is large enough to count as response memory.
const SPACES: usize = 100;
/// How long the normal client pauses between two checks.
const CHECK_PAUSE: Duration = Duration::from_millis(5);

/// How many connections are opened in a round, and the pause before the next: at most 5,000 a second.
const OPENED_AT_ONCE: usize = 250;
const ROUND_PAUSE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_mins(2);

/// The behavior of each hostile connection.
struct Shape {
    name: &'static str,
    /// From how many addresses of 127.0.0.0/8.
    addresses: u32,
    /// What it sends first.
    first: Vec<u8>,
    /// What it sends again and again, without reading.
    again: Vec<u8>,
    has_key: bool,
}

/// Every shape of connection: first those without a key, then those of one key.
fn shapes() -> Vec<Shape> {
    let mut shapes = shapes_without_key();
    shapes.extend(shapes_of_one_key());
    shapes
}

const SIGN_IN: &str =
    "POST /bindery/v1/sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";

fn unfinished_head(length: usize) -> String {
    format!("{SIGN_IN}X: {}", "x".repeat(length - SIGN_IN.len() - 3))
}

fn shape(name: &'static str, first: String) -> Shape {
    Shape {
        name,
        addresses: 200,
        first: first.into_bytes(),
        again: Vec::new(),
        has_key: false,
    }
}

fn shapes_without_key() -> Vec<Shape> {
    let many = format!("{SIGN_IN}{}", "A: b\r\n".repeat(95));
    let get = "GET /v2/roles HTTP/1.1\r\nHost: x\r\n\r\n";
    vec![
        Shape {
            addresses: 1,
            ..shape("idle, one address", String::new())
        },
        shape("idle", String::new()),
        shape("unfinished head, 1 B", "G".to_owned()),
        shape("unfinished head, 1 KiB", unfinished_head(1024)),
        shape("unfinished head, 4 KiB", unfinished_head(4096)),
        shape("unfinished head, 8 KiB", unfinished_head(8192)),
        shape("unfinished head, 16 KiB", unfinished_head(16 * 1024)),
        shape("unfinished head, 32 KiB", unfinished_head(32 * 1024 - 1)),
        shape("head of 380 KiB", unfinished_head(380 * 1024)),
        Shape {
            again: b"x".to_vec(),
            ..shape("head byte by byte", unfinished_head(3000))
        },
        shape("answered, then idle", get.to_owned()),
        shape("95 headers, then idle", format!("{many}\r\n")),
        shape(
            "unfinished body, 95 headers",
            format!("{many}Content-Length: 4096\r\n\r\n{}", " ".repeat(4000)),
        ),
        Shape {
            again: b" ".to_vec(),
            ..shape(
                "body byte by byte",
                format!("{SIGN_IN}Content-Length: 4096\r\n\r\n"),
            )
        },
        shape(
            "unfinished body behind 30 KiB",
            format!(
                "{}\r\nContent-Length: 4096\r\n\r\n ",
                unfinished_head(30 * 1024)
            ),
        ),
        Shape {
            again: get.repeat(200).into_bytes(),
            ..shape("pipelined, answers unread", String::new())
        },
        Shape {
            again: "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
                .repeat(100)
                .into_bytes(),
            ..shape("documents, answers unread", String::new())
        },
        shape("TLS greeting", "\u{16}\u{3}\u{1}\u{2}\u{0}".to_owned()),
    ]
}

fn shapes_of_one_key() -> Vec<Shape> {
    let known = format!("Authorization: Bearer {HOSTILE_KEY}\r\n");
    let list = format!("GET /v2/spaces?limit={SPACES} HTTP/1.1\r\nHost: x\r\n{known}\r\n");
    let proven = format!("GET /v2/roles HTTP/1.1\r\nHost: x\r\n{known}\r\n");
    let chunked = "POST /v2/roles HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    let body = "POST /v2/roles HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1048576\r\n";
    let shapes = vec![
        shape(
            "one key, unfinished bodies of 1 MiB",
            format!("{body}{known}\r\n{}", " ".repeat(1024 * 1024 - 1)),
        ),
        shape("one key, idle", proven.clone()),
        shape(
            "one key, unfinished heads of 16 KiB",
            format!("{proven}{}", unfinished_head(16 * 1024)),
        ),
        shape(
            "one key, chunked bodies that do not come",
            format!("{chunked}{known}\r\n"),
        ),
        shape(
            "one key, waiting for a revision",
            format!(
                "GET /v2/roles HTTP/1.1\r\nHost: x\r\n{known}Bindery-At-Least: 18446744073709551615\r\n\r\n"
            ),
        ),
        Shape {
            again: list.repeat(50).into_bytes(),
            ..shape("one key, lists, answers unread", String::new())
        },
    ];
    let keyed = shapes.into_iter().map(|shape| Shape {
        has_key: true,
        ..shape
    });
    keyed.collect()
}

impl Shape {
    /// The same with this key.
    fn with_key(mut self, key: &str) -> Self {
        for bytes in [&mut self.first, &mut self.again] {
            let text = String::from_utf8_lossy(bytes).replace(HOSTILE_KEY, key);
            *bytes = text.into_bytes();
        }
        self
    }
}

/// The result of one shape.
struct Outcome {
    open: usize,
    loaded_kib: u64,
    worst_kib: u64,
    median: Duration,
    p99: Duration,
    checks: usize,
}

/// Runs every shape against a new server. Fails if the server grows too much, or a normal client's checks
/// take too long.
pub(crate) fn run_all(
    root: &Path,
    connections: usize,
    seconds: u64,
    only: Option<&str>,
) -> Result<()> {
    let binary = if let Some(binary) = std::env::var_os("BINDERY_BIN") {
        binary.into()
    } else {
        run(&mut cargo(
            root,
            &[
                "build",
                "--quiet",
                "--release",
                "--locked",
                "--package",
                "bindery",
            ],
        ))?;
        target(root).join("release/bindery")
    };
    raise_handles(connections)?;
    say(
        "| connections | open at the end | loaded MiB | worst MiB | growth MiB | check p50 ms | check p99 ms | checks |",
    );
    say("|---|---:|---:|---:|---:|---:|---:|---:|");
    let mut failed = Vec::new();
    for shape in shapes() {
        if only.is_some_and(|only| !shape.name.contains(only)) {
            continue;
        }
        let server = Server::start(&binary)?;
        let shape = if shape.has_key {
            let key = server.hostile_key()?;
            shape.with_key(&key)
        } else {
            shape
        };
        let outcome = attack(&server, &shape, connections, Duration::from_secs(seconds))?;
        let growth = outcome.worst_kib.saturating_sub(outcome.loaded_kib);
        say(&format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            shape.name,
            outcome.open,
            outcome.loaded_kib / 1024,
            outcome.worst_kib / 1024,
            growth / 1024,
            millis(outcome.median),
            millis(outcome.p99),
            outcome.checks,
        ));
        let growth_max = if shape.has_key {
            GROWTH_MAX_KIB_WITH_KEY * u64::try_from(connections)?
        } else {
            GROWTH_MAX_KIB
        };
        if growth > growth_max || outcome.median > MEDIAN_MAX {
            failed.push(shape.name);
        }
    }
    ensure!(
        failed.is_empty(),
        "memory grew by more than {} MiB ({GROWTH_MAX_KIB_WITH_KEY} KiB for each connection of a key), or the median check took more \
        than {} ms: {failed:?}",
        GROWTH_MAX_KIB / 1024,
        MEDIAN_MAX.as_millis()
    );
    Ok(())
}

fn millis(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1000.0)
}

fn raise_handles(connections: usize) -> Result<()> {
    let wanted = u64::try_from(connections)? + 256;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|soft| soft < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            ..limit
        };
        setrlimit(Resource::Nofile, raised)
            .context("`ulimit -n` is too low for so many connections")?;
    }
    Ok(())
}

struct Server {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start(binary: &Path) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut child = Command::new(binary)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(directory.path())
            .env("BINDERY_ADMIN_KEY", KEY)
            .env("RUST_LOG", "off")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("the server can't be started")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("stdout is piped")?).read_line(&mut line)?;
        let address = line
            .trim_end()
            .strip_prefix("listening on http://")
            .context("no address")?;
        Ok(Self {
            address: address.parse()?,
            child,
            _directory: directory,
        })
    }

    /// Creates the key of a bot, and spaces for it to list.
    fn hostile_key(&self) -> Result<String> {
        let organization = self.make("/v2/organizations", r#"{"name":"acme"}"#, "id")?;
        let mut space = String::new();
        for number in 0..SPACES {
            let name = format!("a space with a long name for a long list {number}");
            let body = format!(r#"{{"name":"{name}","organization_id":"{organization}"}}"#);
            space = self.make("/v2/spaces", &body, "id")?;
        }
        let admin = r#"{"type":"PREDEFINED","name":"ADMIN"}"#;
        let body = format!(
            r#"{{"key_type":"SERVICE","name":"hostile","account_role":{admin},"organizations":[{{"org_id":"{organization}","role":{admin},"spaces":[{{"space_id":"{space}","role":{admin}}}]}}]}}"#
        );
        self.make("/v2/api-keys", &body, "key")
    }

    /// Creates something as the admin, and returns a member of the response.
    fn make(&self, path: &str, body: &str, member: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(
            answer.starts_with("HTTP/1.1 201"),
            "POST {path} was answered with {answer}"
        );
        let body = answer.split_once("\r\n\r\n").context("no body")?.1;
        let body: serde_json::Value = serde_json::from_str(body)?;
        let value = body.get(member).and_then(serde_json::Value::as_str);
        Ok(value.context("no such member")?.to_owned())
    }

    fn resident_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.context("no VmRSS")?.parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn attack(server: &Server, shape: &Shape, connections: usize, time: Duration) -> Result<Outcome> {
    let address = server.address;
    let mut client = Checks::connect(address)?;
    for _ in 0..500 {
        client.check()?;
    }
    client.took.clear();
    let loaded_kib = server.resident_kib()?;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let checking = scope.spawn(|| -> Result<Checks> {
            while !is_over.load(Ordering::Relaxed) {
                client.check()?;
                std::thread::sleep(CHECK_PAUSE);
            }
            Ok(client)
        });
        let hostile = scope.spawn(|| hold(address, shape, connections, time));
        let mut worst_kib = loaded_kib;
        while !hostile.is_finished() {
            worst_kib = worst_kib.max(server.resident_kib()?);
            std::thread::sleep(Duration::from_millis(20));
        }
        is_over.store(true, Ordering::Relaxed);
        let open = hostile
            .join()
            .map_err(|_| anyhow::anyhow!("the attacker broke"))?;
        let client = checking
            .join()
            .map_err(|_| anyhow::anyhow!("the client broke"))??;
        let mut took = client.took;
        took.sort_unstable();
        let at = |percent: usize| {
            took.get(took.len() * percent / 100)
                .copied()
                .unwrap_or_default()
        };
        Ok(Outcome {
            open,
            loaded_kib,
            worst_kib,
            median: at(50),
            p99: at(99),
            checks: took.len(),
        })
    })
}

/// Opens the connections and holds them for this time; closed ones are opened again. Returns how many were
/// open at the end.
fn hold(address: SocketAddr, shape: &Shape, connections: usize, time: Duration) -> usize {
    let mut held: Vec<Hostile> = Vec::with_capacity(connections);
    let (mut number, mut all_opened) = (0, None);
    // On any machine.
    let patience = Instant::now() + PATIENCE;
    loop {
        for _ in held.len()..connections.min(held.len() + OPENED_AT_ONCE) {
            number += 1;
            if let Some(mut hostile) = Hostile::open(address, number % shape.addresses) {
                hostile.go_on(shape);
                held.push(hostile);
            }
        }
        let is_first_round = usize::try_from(number).is_ok_and(|number| number < connections);
        if !is_first_round || !shape.again.is_empty() {
            for hostile in &mut held {
                hostile.go_on(shape);
            }
            held.retain(|hostile| hostile.is_open);
        }
        let now = Instant::now();
        if !is_first_round && all_opened.is_none() {
            all_opened = Some(now);
        }
        if now > patience || all_opened.is_some_and(|opened| now > opened + time) {
            return held.len();
        }
        std::thread::sleep(ROUND_PAUSE);
    }
}

struct Hostile {
    stream: TcpStream,
    sent: usize,
    is_open: bool,
}

impl Hostile {
    fn open(address: SocketAddr, from: u32) -> Option<Self> {
        let [_, _, high, low] = from.to_be_bytes();
        let own = SocketAddrV4::new(Ipv4Addr::new(127, 1 + high, low, 1), 0);
        let socket = socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .ok()?;
        bind(&socket, &own).ok()?;
        connect(&socket, &address).ok()?;
        let stream = TcpStream::from(socket);
        stream.set_nonblocking(true).ok()?;
        Some(Self {
            stream,
            sent: 0,
            is_open: true,
        })
    }

    /// Sends what can be sent, and checks whether the server has closed. Responses stay unread except for a
    /// byte.
    fn go_on(&mut self, shape: &Shape) {
        loop {
            let rest = shape.first.get(self.sent..).unwrap_or_default();
            let is_again = rest.is_empty();
            let rest = if is_again { &shape.again } else { rest };
            if rest.is_empty() {
                break;
            }
            match self.stream.write(rest) {
                Ok(count) if !is_again => self.sent += count,
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.is_open = false;
                    return;
                }
            }
        }
        let mut byte = [0];
        match self.stream.peek(&mut byte) {
            Ok(0) => self.is_open = false,
            Ok(_) => {}
            Err(error) => self.is_open = error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// A normal client, which keeps its connection.
struct Checks {
    stream: TcpStream,
    took: Vec<Duration>,
}

impl Checks {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self {
            stream,
            took: Vec::new(),
        })
    }

    fn check(&mut self) -> Result<()> {
        let body = r#"{"subject":{"type":"user","id":"admin@bindery.localhost"},"action":{"name":"ORGANIZATION_READ"},"resource":{"type":"organization","id":"x"}}"#;
        let request = format!(
            "POST /access/v1/evaluation HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let began = Instant::now();
        self.stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let count = self.stream.read(&mut piece)?;
            ensure!(count > 0, "the connection of the normal client was closed");
            answer.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&answer);
            if let Some((head, rest)) = text.split_once("\r\n\r\n") {
                ensure!(
                    head.starts_with("HTTP/1.1 200"),
                    "a check was answered with {text}"
                );
                let length = head.split("content-length: ").nth(1).context("no length")?;
                let length: usize = length.split("\r\n").next().unwrap_or_default().parse()?;
                if rest.len() >= length {
                    break;
                }
            }
        }
        self.took.push(began.elapsed());
        Ok(())
    }
}

//! What one key feels of another's load: the latency of a victim's check beside 16 hostile connections, for each kind of
//! expensive request, against the same check undisturbed. Both are measured in one run, in rounds that alternate.
//!
//! The hostile connections are in a process of their own that gives way to the victim's client and to the server's connection
//! threads: a real attacker is on other machines, and its processor time is not what is measured. It still goes before the
//! server's workers, so the server is never short of work.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::http::Server;
use crate::row::{Goal, Row, Unit};
use crate::say;
use crate::size::Size;
use crate::time::Latencies;

const ADMIN_KEY: &str = "ak-FairnessFairnessFairnessFairness00";
const PASSWORD: &str = "correct horse battery";
/// Hostile connections.
const CONNECTIONS: usize = 16;
/// Spaces of the hostile member.
const SPACES: usize = 20_000;
/// Connections that make them.
const MAKERS: usize = 32;
const ROUNDS: usize = 3;
/// How long the victim is measured alone, and how long beside each attack, in each round.
const ALONE: Duration = Duration::from_millis(1500);
const BESIDE: Duration = Duration::from_millis(2500);
/// How long an attack runs before the victim is measured.
const LEAD: Duration = Duration::from_millis(500);
/// Client addresses that a flood without a key comes from, as a trusted proxy would say.
const ADDRESSES: usize = 512;
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// One kind of expensive request.
struct Attack {
    name: &'static str,
    /// They take turns.
    requests: Vec<Vec<u8>>,
    /// What the victim asks meanwhile, if that is no small check.
    check: Option<Vec<u8>>,
}

pub(crate) fn rows(size: Size) -> Result<Vec<Row>> {
    if size != Size::S {
        // It has a company of its own.
        return Ok(Vec::new());
    }
    let binary = std::env::var_os("BINDERY_BIN").map(PathBuf::from);
    let binary =
        binary.context("BINDERY_BIN names no bindery to ask; `cargo xtask bench` builds one")?;
    let directory = tempfile::tempdir()?;
    let scene = Scene::furnish(&binary, directory.path())?;
    // With the default limits.
    let server = start(&binary, directory.path(), &[])?;
    let check = scene.check();
    let victim = || Victim::connect(&server.address);
    // Once without counting.
    victim()?.measure(&check, ALONE)?;
    let mut rows = Vec::new();
    for attack in scene.attacks()? {
        let check = attack.check.as_ref().unwrap_or(&check);
        let file = directory.path().join("attack");
        fs::write(&file, pack(&attack.requests))?;
        let (mut alone, mut beside, mut told) = (Vec::new(), Vec::new(), String::new());
        for _ in 0..ROUNDS {
            alone.extend(victim()?.measure(check, ALONE)?);
            let seconds = (LEAD + BESIDE + LEAD).as_secs_f64();
            let hostile = Command::new("nice")
                .args(["-n", "5"])
                .arg(std::env::current_exe()?)
                .args(["--hostile", &server.address, "--seconds"])
                .arg(seconds.to_string())
                .arg("--requests")
                .arg(&file)
                .stdout(Stdio::piped())
                .spawn()?;
            thread::sleep(LEAD);
            let measured = victim().and_then(|mut victim| victim.measure(check, BESIDE));
            let output = hostile.wait_with_output()?;
            beside.extend(measured?);
            String::from_utf8_lossy(&output.stdout)
                .trim()
                .clone_into(&mut told);
        }
        say(&format!("{}: hostile answers {told}", attack.name));
        let (mut alone, mut beside) = (Latencies::from_nanos(alone), Latencies::from_nanos(beside));
        for (which, share, goal) in [("median", 0.5, 3.0), ("p99", 0.99, 10.0)] {
            let (quiet, loud) = (alone.quantile(share), beside.quantile(share));
            rows.push(Row {
                what: format!("a check beside 16 connections of {}: {which}", attack.name),
                measured: loud / quiet,
                unit: Unit::Times,
                goal: Goal::AtMost(goal),
                from: format!(
                    "{:.0} us against {:.0} us; the last round answered {told}",
                    loud / 1e3,
                    quiet / 1e3
                ),
            });
        }
    }
    Ok(rows)
}

fn start(binary: &Path, directory: &Path, options: &[&str]) -> Result<Server> {
    let mut command = Command::new(binary);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(directory)
        .args(["--trusted-proxies", "127.0.0.1"])
        .args(options)
        .env("BINDERY_ADMIN_KEY", ADMIN_KEY);
    Server::start(&mut command)
}

/// The company: a victim with a role in a space, and a plain member with many spaces of their own.
struct Scene {
    hostile_key: String,
    /// Of a second hostile person.
    accomplice_key: String,
    victim_key: String,
    hostile: String,
    victim: String,
    space: String,
    own_space: String,
}

impl Scene {
    fn furnish(binary: &Path, directory: &Path) -> Result<Self> {
        let server = start(binary, directory, &["--rate-limit-changes", "1000000"])?;
        let mut admin = Client::connect(&server.address, ADMIN_KEY)?;
        let (victim, victim_key) = admin.person("victim")?;
        let (hostile, hostile_key) = admin.person("hostile")?;
        let (_, accomplice_key) = admin.person("accomplice")?;
        let role = json!({"type": "PREDEFINED", "name": "MEMBER"});
        let admin_role = json!({"type": "PREDEFINED", "name": "ADMIN"});
        let theirs = admin.make("/v2/organizations", &json!({"name": "victims"}))?;
        let space = json!({"name": "theirs", "organization_id": theirs});
        let space = admin.make("/v2/spaces", &space)?;
        admin.join("organizations", &theirs, &victim, &role)?;
        admin.join("spaces", &space, &victim, &role)?;
        let own = admin.make("/v2/organizations", &json!({"name": "hostile"}))?;
        admin.join("organizations", &own, &hostile, &admin_role)?;
        let next = AtomicUsize::new(0);
        let begun = Instant::now();
        let made: Result<Vec<Option<String>>> = thread::scope(|scope| {
            let make = || -> Result<Option<String>> {
                let mut client = Client::connect(&server.address, &hostile_key)?;
                let mut last = None;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= SPACES {
                        return Ok(last);
                    }
                    let space = json!({"name": format!("space {number}"), "organization_id": own});
                    last = Some(client.make("/v2/spaces", &space)?);
                }
            };
            let threads: Vec<_> = (0..MAKERS).map(|_| scope.spawn(make)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a maker panicked"))
                .collect()
        });
        let own_space = made?
            .into_iter()
            .flatten()
            .next()
            .context("no space was made")?;
        say(&format!(
            "{SPACES} spaces: {:.1} s",
            begun.elapsed().as_secs_f64()
        ));
        Ok(Self {
            hostile_key,
            accomplice_key,
            victim_key,
            hostile,
            victim,
            space,
            own_space,
        })
    }

    /// May the victim read their space?
    fn check(&self) -> Vec<u8> {
        let body = question(&self.victim, &self.space);
        request(
            "POST",
            "/access/v1/evaluation",
            &self.victim_key,
            "",
            &body.to_string(),
        )
    }

    /// The same question in a body that is large enough for a turn.
    fn large_check(&self) -> Vec<u8> {
        let mut body = question(&self.victim, &self.space);
        body["context"] = json!({"x": "x".repeat(70_000)});
        let path = "/access/v1/evaluation";
        request("POST", path, &self.victim_key, "", &body.to_string())
    }

    /// Bodies of two people that begin and never go on: some in pieces, some of an announced length.
    fn idle_bodies(&self) -> Vec<Vec<u8>> {
        let begun = |key: &str, length: &str| {
            let path = "/access/v1/evaluation";
            format!(
                "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
                 content-type: application/json\r\n{length}"
            )
            .into_bytes()
        };
        let lengths = [
            "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
            "content-length: 100000\r\n\r\n{",
        ];
        let keys = [&self.hostile_key, &self.accomplice_key];
        let of = |key: &String| lengths.map(|length| begun(key, length));
        keys.into_iter().flat_map(of).collect()
    }

    #[expect(clippy::too_many_lines, reason = "a list of attacks")]
    fn attacks(&self) -> Result<Vec<Attack>> {
        let key = &self.hostile_key;
        let asked = question(&self.hostile, &self.own_space);
        let with_context = |context: &str| {
            let mut text = asked.to_string();
            ensure!(text.pop() == Some('}'), "a question is an object");
            Ok(format!("{text},\"context\":{{\"x\":{context}}}}}"))
        };
        let post = |path: &str, body: &str| vec![request("POST", path, key, "", body)];
        let one = |name, requests| Attack {
            name,
            requests,
            check: None,
        };
        let evaluation = "/access/v1/evaluation";
        let search = json!({
            "subject": {"type": "user", "id": self.hostile},
            "action": {"name": "SPACE_READ"},
            "resource": {"type": "space"},
        });
        let batch = json!({"evaluations": vec![asked.clone(); 1000]});
        let forwarded = |number: usize| {
            format!(
                "x-forwarded-for: 10.9.{}.{}\r\n",
                number / 256,
                number % 256
            )
        };
        let changes = (0..ADDRESSES).map(|number| {
            let body = json!({"description": format!("change {number}")}).to_string();
            request(
                "PATCH",
                &format!("/v2/spaces/{}", escaped(&self.own_space)),
                key,
                "",
                &body,
            )
        });
        let unknown = (0..ADDRESSES).map(|number| {
            let key = format!("ak-{number:0>36}");
            request("GET", "/v2/roles", &key, &forwarded(number), "")
        });
        let sign_ins = (0..ADDRESSES).map(|number| {
            let body =
                json!({"email": format!("p{number}@example.com"), "password": "a wrong guess"});
            let path = "/bindery/v1/sign-in";
            request("POST", path, "none", &forwarded(number), &body.to_string())
        });
        Ok(vec![
            one(
                "240,000 arrays in a context of 1 MB",
                post(
                    evaluation,
                    &with_context(&format!("[{}[0]]", "[0],".repeat(240_000)))?,
                ),
            ),
            one(
                "500,000 numbers in a context of 1 MB",
                post(
                    evaluation,
                    &with_context(&format!("[{}0]", "0,".repeat(500_000)))?,
                ),
            ),
            one(
                "1 MB of text in a context",
                post(
                    evaluation,
                    &with_context(&format!("\"{}\"", "x".repeat(1_000_000)))?,
                ),
            ),
            one(
                "60,000 numbers in a batch",
                post(
                    "/access/v1/evaluations",
                    &json!({"evaluations": [asked], "context": {"x": vec![0; 60_000]}}).to_string(),
                ),
            ),
            one(
                "filters over 20,000 spaces",
                vec![request("GET", "/v2/spaces?name=zzz", key, "", "")],
            ),
            one(
                "explanations",
                post("/bindery/v1/explain", &asked.to_string()),
            ),
            one(
                "searches that find 20,000",
                post("/access/v1/search/resource", &search.to_string()),
            ),
            one(
                "batches of 1,000",
                post("/access/v1/evaluations", &batch.to_string()),
            ),
            one(
                "audit queries",
                vec![request(
                    "GET",
                    "/v2/audit-logs?limit=100",
                    ADMIN_KEY,
                    "",
                    "",
                )],
            ),
            one("sign-ins from 512 addresses", sign_ins.collect()),
            one("unknown keys from 512 addresses", unknown.collect()),
            one("changes", changes.collect()),
            Attack {
                name: "bodies of two people that never go on, a large check",
                requests: self.idle_bodies(),
                check: Some(self.large_check()),
            },
        ])
    }
}

fn question(user: &str, space: &str) -> Value {
    json!({
        "subject": {"type": "user", "id": user},
        "action": {"name": "SPACE_READ"},
        "resource": {"type": "space", "id": space},
    })
}

fn request(method: &str, path: &str, key: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n{headers}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn escaped(id: &str) -> String {
    id.replace('=', "%3D")
        .replace('+', "%2B")
        .replace('/', "%2F")
}

/// One connection that waits for each answer.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

struct Answer {
    status: u16,
    body: Vec<u8>,
    closes: bool,
}

impl Connection {
    fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(64 * 1024),
        })
    }

    fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        // A server may refuse a body before it has read it, and close.
        let written = self.stream.write_all(request);
        let answer = self.read();
        match (written, answer) {
            (_, Ok(answer)) => Ok(answer),
            (Err(error), _) => Err(error.into()),
            (_, Err(error)) => Err(error),
        }
    }

    fn read(&mut self) -> Result<Answer> {
        self.buffer.clear();
        let mut chunk = [0; 16 * 1024];
        let mut head = None;
        loop {
            if let Some((end, length, status, closes)) = head
                && self.buffer.len() >= end + length
            {
                let body = self.buffer[end..end + length].to_vec();
                return Ok(Answer {
                    status,
                    body,
                    closes,
                });
            }
            let count = self.stream.read(&mut chunk)?;
            ensure!(count > 0, "the connection ended");
            self.buffer.extend_from_slice(&chunk[..count]);
            if head.is_none()
                && let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n")
            {
                let text = std::str::from_utf8(&self.buffer[..end])?.to_ascii_lowercase();
                let value = |name: &str| {
                    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
                    Some(line.trim().to_owned())
                };
                let length = value("content-length:").map_or(Ok(0), |length| length.parse())?;
                let status = text.get(9..12).context("no status")?.parse()?;
                let closes = value("connection:").is_some_and(|value| value == "close");
                head = Some((end + 4, length, status, closes));
            }
        }
    }
}

/// Asks one question after the other.
struct Victim(Connection);

impl Victim {
    fn connect(address: &str) -> Result<Self> {
        Ok(Self(Connection::open(address)?))
    }

    /// Nanoseconds of each check.
    fn measure(&mut self, check: &[u8], time: Duration) -> Result<Vec<f64>> {
        let begun = Instant::now();
        let mut taken = Vec::new();
        while begun.elapsed() < time {
            let asked = Instant::now();
            let answer = self.0.exchange(check)?;
            taken.push(asked.elapsed().as_nanos() as f64);
            let body = String::from_utf8_lossy(&answer.body);
            ensure!(
                answer.status == 200 && body == r#"{"decision":true}"#,
                "the victim got {} {body}",
                answer.status
            );
        }
        Ok(taken)
    }
}

/// Sets the scene.
struct Client {
    connection: Connection,
    key: String,
}

impl Client {
    fn connect(address: &str, key: &str) -> Result<Self> {
        Ok(Self {
            connection: Connection::open(address)?,
            key: key.to_owned(),
        })
    }

    fn send(&mut self, path: &str, body: &Value) -> Result<Value> {
        let request = request("POST", path, &self.key, "", &body.to_string());
        let answer = self.connection.exchange(&request)?;
        let text = String::from_utf8_lossy(&answer.body);
        ensure!((200..300).contains(&answer.status), "{path}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    fn make(&mut self, path: &str, body: &Value) -> Result<String> {
        let made = self.send(path, body)?;
        Ok(made["id"]
            .as_str()
            .context("what is made has an id")?
            .to_owned())
    }

    fn join(&mut self, kind: &str, id: &str, user: &str, role: &Value) -> Result<()> {
        let body = json!({"user_id": user, "role": role});
        self.send(&format!("/v2/{kind}/{}/users", escaped(id)), &body)?;
        Ok(())
    }

    /// The id and key of a new person.
    fn person(&mut self, name: &str) -> Result<(String, String)> {
        let email = format!("{name}@example.com");
        let invited = self.send(
            "/v2/users",
            &json!({
                "name": name, "email": email, "invite_mode": "TEMPORARY_PASSWORD",
                "role": {"type": "PREDEFINED", "name": "MEMBER"},
            }),
        )?;
        let body = json!({
            "email": email, "password": invited["temporary_password"], "new_password": PASSWORD,
        });
        let inside = self.send("/bindery/v1/sign-in", &body)?;
        let key = inside["api_key"]["key"]
            .as_str()
            .context("a key")?
            .to_owned();
        let id = invited["id"].as_str().context("an id")?.to_owned();
        Ok((id, key))
    }
}

fn pack(requests: &[Vec<u8>]) -> Vec<u8> {
    let mut packed = Vec::new();
    for request in requests {
        packed.extend_from_slice(&(request.len() as u64).to_be_bytes());
        packed.extend_from_slice(request);
    }
    packed
}

fn unpack(mut packed: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut requests = Vec::new();
    while let Some((length, rest)) = packed.split_first_chunk::<8>() {
        let length = usize::try_from(u64::from_be_bytes(*length))?;
        let (request, rest) = rest.split_at_checked(length).context("a request is cut")?;
        requests.push(request.to_vec());
        packed = rest;
    }
    Ok(requests)
}

/// Sends requests on all connections, each as soon as the one before it is answered, until the time is over. Prints how many
/// answers there were of each status.
pub(crate) fn attack(address: &str, file: &Path, seconds: f64) -> Result<()> {
    let requests = unpack(&fs::read(file)?)?;
    let end = Instant::now() + Duration::from_secs_f64(seconds.min(60.0));
    let counts: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|scope| {
        for client in 0..CONNECTIONS {
            let (requests, counts) = (&requests, &counts);
            scope.spawn(move || {
                let mut connection = None;
                let mut turn = client * 31;
                while Instant::now() < end {
                    turn += 1;
                    let open = match connection.take() {
                        Some(open) => Ok(open),
                        None => Connection::open(address),
                    };
                    let Ok(mut open) = open else {
                        thread::sleep(Duration::from_millis(1));
                        continue;
                    };
                    // 0: the connection broke.
                    let mut status = 0;
                    match open.exchange(&requests[turn % requests.len()]) {
                        Ok(answer) => {
                            status = usize::from(answer.status);
                            connection = (!answer.closes).then_some(open);
                        }
                        Err(error) => {
                            let error = error
                                .downcast_ref::<std::io::Error>()
                                .map(std::io::Error::kind);
                            if error == Some(ErrorKind::WouldBlock) {
                                status = 999;
                            }
                        }
                    }
                    if let Some(count) = counts.get(status) {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let counted = counts.iter().enumerate().filter_map(|(status, count)| {
        let count = count.load(Ordering::Relaxed);
        (count > 0).then(|| format!("{count} x {status}"))
    });
    crate::print(&counted.collect::<Vec<_>>().join(", "))
}

//! What a question costs a server over HTTP, against an endpoint that reads the same body and answers a constant: both on the
//! same libraries, in processes of their own, asked by the same client over the loopback. Processor time of the server counts,
//! not how fast the client is.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use bindery_core::id::IdKey;
use bindery_core::resource::Resource;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::questions::Asked;
use crate::row::{Goal, Row, Unit};
use crate::say;
use crate::setting::Setting;
use crate::size::Size;
use crate::time::{Samples, rounds};
use crate::world::World;

const CONNECTIONS: usize = 32;
const BATCH: usize = 100;
const ROUNDS: usize = 7;
/// Requests of a round, on all connections together.
const SINGLES: usize = 64_000;
const BATCHES: usize = 6_400;
/// Different requests that take turns.
const KINDS: usize = 512;

pub(crate) fn rows(size: Size) -> Result<Vec<Row>> {
    let binary = std::env::var_os("BINDERY_BIN").map(PathBuf::from);
    let binary =
        binary.context("BINDERY_BIN names no bindery to ask; `cargo xtask bench` builds one")?;
    let setting = Setting::new(World::new(size))?;
    let directory = tempfile::tempdir()?;
    let made = Command::new(std::env::current_exe()?)
        .args(["--size", size.name(), "--make-store"])
        .arg(directory.path())
        .status()?;
    ensure!(made.success(), "the store could not be made");
    let key = issue_key(&binary, directory.path())?;
    let bindery = Server::start(
        Command::new(&binary)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(directory.path()),
    )?;
    let raw = Server::start(Command::new(std::env::current_exe()?).arg("--raw-endpoint"))?;
    let servers = [&bindery, &raw];
    let singles = Exchange::of(&setting, "/access/v1/evaluation", &key, 1);
    let batches = Exchange::of(&setting, "/access/v1/evaluations", &key, BATCH);
    let mut rows = Vec::new();
    let one = measure(&servers, &singles, SINGLES)?;
    rows.push(one.row(
        "HTTP, one evaluation, the caller's authentication included: server time against reading the body alone",
        Goal::AtMost(1.25),
    ));
    let hundred = measure(&servers, &batches, BATCHES)?;
    rows.push(hundred.row(
        "HTTP, a batch of 100: server time against reading the body alone",
        Goal::AtMost(1.5),
    ));
    let (single, batch) = (one.rate.median(), hundred.rate.median() * BATCH as f64);
    rows.push(Row {
        what: "HTTP, evaluations a second in batches of 100, against one by one".to_owned(),
        measured: batch / single,
        unit: Unit::Times,
        goal: Goal::AtLeast(20.0),
        from: format!("{batch:.0} against {single:.0} a second"),
    });
    Ok(rows)
}

/// Server time a request, of Bindery and of the raw endpoint, and what Bindery answered a second.
struct Measured {
    cost: [Samples; 2],
    rate: Samples,
}

impl Measured {
    fn row(&self, what: &str, goal: Goal) -> Row {
        let [bindery, raw] = &self.cost;
        Row {
            what: what.to_owned(),
            measured: bindery.over(raw),
            unit: Unit::Times,
            goal,
            from: format!(
                "{:.2} us against {:.2} us",
                bindery.median() * 1e6,
                raw.median() * 1e6
            ),
        }
    }
}

fn measure(servers: &[&Server; 2], exchanges: &Arc<[Exchange]>, count: usize) -> Result<Measured> {
    let mut rate = Samples::default();
    // Once without counting.
    for server in servers {
        ask(server, exchanges, count / 10, server.is_right)?;
    }
    let cost = rounds::<2>(ROUNDS, |_, contestant| {
        let server = servers[contestant];
        let before = server.processor_seconds()?;
        let begun = Instant::now();
        ask(server, exchanges, count, server.is_right)?;
        if contestant == 0 {
            rate.push(count as f64 / begun.elapsed().as_secs_f64());
        }
        Ok((server.processor_seconds()? - before) / count as f64)
    })?;
    Ok(Measured { cost, rate })
}

/// A request as it goes out, and the body that must come back.
struct Exchange {
    request: Vec<u8>,
    answer: String,
}

impl Exchange {
    fn of(setting: &Setting, path: &str, key: &str, length: usize) -> Arc<[Self]> {
        let ids = setting.state.ids();
        let exchange = |number: usize| {
            let asked = setting.window(number, length);
            let items: Vec<_> = asked.iter().map(|one| question(ids, one)).collect();
            let answers: Vec<_> = asked
                .iter()
                .map(|one| json!({"decision": one.is_allowed}))
                .collect();
            let (body, answer) = if length == 1 {
                (items[0].to_string(), answers[0].to_string())
            } else {
                (
                    json!({"evaluations": items}).to_string(),
                    json!({"evaluations": answers}).to_string(),
                )
            };
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
                content-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            Self {
                request: [head.as_bytes(), body.as_bytes()].concat(),
                answer,
            }
        };
        (0..KINDS).map(exchange).collect()
    }
}

fn question(ids: &IdKey, asked: &Asked) -> serde_json::Value {
    let (kind, id) = match asked.question.resource {
        Resource::Account => ("account", "account".to_owned()),
        Resource::Organization(id) => ("organization", ids.encode(id)),
        Resource::Space(id) => ("space", ids.encode(id)),
        Resource::Project(id) => ("project", ids.encode(id)),
    };
    json!({
        "subject": {"type": "user", "id": ids.encode(asked.question.principal)},
        "action": {"name": asked.question.permission.name()},
        "resource": {"type": kind, "id": id},
    })
}

/// Sends so many requests on all connections, each as soon as the one before it is answered.
fn ask(
    server: &Server,
    exchanges: &Arc<[Exchange]>,
    count: usize,
    is_right: fn(&str, &str) -> bool,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CONNECTIONS {
            let (exchanges, address) = (Arc::clone(exchanges), server.address.clone());
            clients.spawn(async move {
                let mut stream = TcpStream::connect(&address).await?;
                stream.set_nodelay(true)?;
                let mut buffer = Vec::with_capacity(64 * 1024);
                for turn in 0..count / CONNECTIONS {
                    let exchange = &exchanges[(client * 31 + turn) % exchanges.len()];
                    stream.write_all(&exchange.request).await?;
                    let body = read_answer(&mut stream, &mut buffer).await?;
                    ensure!(
                        is_right(body, &exchange.answer),
                        "a wrong answer: {body}, and not {}",
                        exchange.answer
                    );
                }
                Ok(())
            });
        }
        while let Some(done) = clients.join_next().await {
            done??;
        }
        Ok(())
    })
}

/// Reads one answer whole; its body, if it is a 200.
async fn read_answer<'a>(stream: &mut TcpStream, buffer: &'a mut Vec<u8>) -> Result<&'a str> {
    buffer.clear();
    loop {
        ensure!(stream.read_buf(buffer).await? > 0, "the connection ended");
        let Some(head) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let text = std::str::from_utf8(&buffer[..head])?;
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok())?
        });
        let length = length.context("an answer without its length")?;
        let is_good = text.starts_with("HTTP/1.1 200");
        if buffer.len() >= head + 4 + length {
            let body = std::str::from_utf8(&buffer[head + 4..head + 4 + length])?;
            if !is_good {
                bail!("refused: {body}");
            }
            return Ok(body);
        }
    }
}

/// A server in a process of its own, ended when it is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: String,
    /// Whether an answer is what it should be.
    is_right: fn(&str, &str) -> bool,
}

impl Server {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let is_raw = command.get_args().any(|word| word == "--raw-endpoint");
        let mut process = command
            .env("RUST_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = process.stdout.take().context("stdout is piped")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim_end().strip_prefix("listening on http://");
        let address = address.context("a server that does not say where it listens")?;
        say(&format!("listening on {address}"));
        Ok(Self {
            address: address.to_owned(),
            process,
            // The raw endpoint decides nothing.
            is_right: if is_raw {
                |_, _| true
            } else {
                |body, expected| body == expected
            },
        })
    }

    /// What all of its threads have used.
    fn processor_seconds(&self) -> Result<f64> {
        let mut nanoseconds = 0_u64;
        for thread in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let told = fs::read_to_string(thread?.path().join("schedstat"))?;
            let used = told.split_whitespace().next().context("no time is told")?;
            nanoseconds += used.parse::<u64>()?;
        }
        Ok(nanoseconds as f64 / 1e9)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A key of an account admin, who may ask about everything.
fn issue_key(binary: &Path, directory: &Path) -> Result<String> {
    let output = Command::new(binary)
        .args([
            "key",
            "issue",
            "--email",
            "person.1@example.com",
            "--enforcement-point",
            "--data-dir",
        ])
        .arg(directory)
        .output()?;
    ensure!(
        output.status.success(),
        "no key: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "what is read is all that counts")]
struct Entity<'a> {
    #[serde(borrow)]
    r#type: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    id: std::borrow::Cow<'a, str>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "what is read is all that counts")]
struct Action<'a> {
    #[serde(borrow)]
    name: std::borrow::Cow<'a, str>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "what is read is all that counts")]
struct One<'a> {
    #[serde(borrow)]
    subject: Entity<'a>,
    #[serde(borrow)]
    action: Action<'a>,
    #[serde(borrow)]
    resource: Entity<'a>,
}

#[derive(Deserialize)]
struct Many<'a> {
    #[serde(borrow)]
    evaluations: Vec<One<'a>>,
}

/// The endpoint that the other is compared with: it reads a body as fast as the libraries do, and says a constant.
pub(crate) fn serve_raw() -> Result<()> {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};
    use hyper::body::Incoming;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use hyper_util::rt::TokioIo;

    async fn respond(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let is_batch = request.uri().path() == "/access/v1/evaluations";
        let body = request.into_body().collect().await;
        let body = body
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        // Whether it is UTF-8 is found out once, and not for each of its strings.
        let text = std::str::from_utf8(&body).unwrap_or_default();
        let answer = if is_batch {
            let count =
                serde_json::from_str::<Many<'_>>(text).map_or(0, |many| many.evaluations.len());
            let items = vec![r#"{"decision":true}"#; count].join(",");
            Bytes::from(format!("{{\"evaluations\":[{items}]}}"))
        } else if serde_json::from_str::<One<'_>>(text).is_ok() {
            Bytes::from_static(br#"{"decision":true}"#)
        } else {
            Bytes::new()
        };
        let mut response = Response::new(Full::new(answer));
        response.headers_mut().insert(
            hyper::header::CONTENT_TYPE,
            hyper::header::HeaderValue::from_static("application/json"),
        );
        Ok(response)
    }

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        crate::print(&format!("listening on http://{}", listener.local_addr()?))?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                // A client that goes away ends it.
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(respond))
                    .await;
            });
        }
    })
}

//! What clients can't do to a server with connections: use up its memory, its file handles, or the place of
//! others; and what is not accepted as a request.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{ADMIN_KEY, Server, text};

/// No timeout of the server ends anything below.
const PATIENT: [&str; 2] = ["--request-timeout", "3600"];
const JSON: &str = "Content-Type: application/json\r\n";

fn connect(server: &Server) -> TcpStream {
    let address = server.address.trim_start_matches("http://");
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_mins(2)))
        .unwrap();
    stream
}

fn send(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(server);
    // The server may respond and close before it has read everything.
    let _ = stream.write_all(bytes);
    stream
}

/// Reads until the server closes, which it must do by itself.
fn read_all(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert!(read.is_ok(), "the server doesn't close: {read:?} {text}");
    text
}

fn status(answer: &str) -> u16 {
    let second = answer.split(' ').nth(1);
    second.and_then(|status| status.parse().ok()).unwrap_or(0)
}

fn problem(answer: &str) -> Value {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    for header in [
        "content-type: application/problem+json",
        "x-content-type-options: nosniff",
        "connection: close",
        "x-request-id: ",
    ] {
        assert_eq!(head.matches(header).count(), 1, "{header}: {head}");
    }
    serde_json::from_str(body).unwrap()
}

/// A request for one role, with these lines between `Host` and the key.
fn get(lines: &str) -> String {
    format!(
        "GET /v2/roles?limit=1 HTTP/1.1\r\nHost: x\r\n{lines}Authorization: Bearer {ADMIN_KEY}\r\n"
    )
}

fn assert_answers(server: &Server) {
    let client = server.client();
    client.get("/v2/roles");
    client.get("/v2/audit-logs");
}

#[test]
fn a_request_that_can_be_read_in_two_ways_is_refused_with_a_problem() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start_with(directory.path(), &PATIENT);
    let post = |lines: &str, body: &str| {
        let request = get(lines).replace("GET /v2/roles?limit=1", "POST /v2/roles");
        format!("{request}{JSON}\r\n{body}")
    };
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (bytes, named) in [
        (
            get("").replace("Host: x\r\n", "") + "\r\n",
            "`Host` is missing",
        ),
        (
            get("Host: x\r\n") + "\r\n",
            "`Host` is there more than once",
        ),
        (
            get("host: y\r\n") + "\r\n",
            "`Host` is there more than once",
        ),
        (
            get("").replace("Host: x", "Host: x, y") + "\r\n",
            "`Host` is neither",
        ),
        (get("A: b\n") + "\r\n", "CR LF"),
        (get("") + "\n", "CR LF"),
        (get("").replacen("\r\n", "\n", 1) + "\r\n", "CR LF"),
        (get("A: b\rc: d\r\n") + "\r\n", "CR LF"),
        (get("A: b\r\n c: d\r\n") + "\r\n", "one header a line"),
        (get("A : b\r\n") + "\r\n", "one header a line"),
        (
            get("Content-Length: 0\r\nContent-Length: 0\r\n") + "\r\n",
            "`Content-Length` is there",
        ),
        (
            get("Content-Length: +0\r\n") + "\r\n",
            "`Content-Length` is not",
        ),
        (
            post(&format!("{chunked}Content-Length: 2\r\n"), "0\r\n\r\n"),
            "not both",
        ),
        (
            post(&format!("Content-Length: 2\r\n{chunked}"), "0\r\n\r\n"),
            "not both",
        ),
        (
            post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
            "`Transfer-Encoding`",
        ),
        (
            post(&format!("{chunked}{chunked}"), "0\r\n\r\n"),
            "`Transfer-Encoding`",
        ),
        (post(chunked, "2\n{}\r\n0\r\n\r\n"), "CR LF"),
        (
            post(chunked, "2\r\n{}\n0\r\n\r\n"),
            "a chunk of the body is malformed",
        ),
        (post(chunked, "2;a\nb\r\n{}\r\n0\r\n\r\n"), "CR LF"),
        (
            post(chunked, "2\r\n{}\r\n0\r\nHost: y\r\n\r\n"),
            "headers behind",
        ),
    ] {
        let answer = read_all(send(&server, bytes.as_bytes()));
        assert_eq!(status(&answer), 400, "{bytes:?}: {answer}");
        let detail = text(&problem(&answer), "detail");
        assert!(detail.contains(named), "{bytes:?}: {detail}");
    }
    for lines in ["", "A: \r\n", "A:b\r\n"] {
        let answer = read_all(send(
            &server,
            (get(&format!("{lines}Connection: close\r\n")) + "\r\n").as_bytes(),
        ));
        assert_eq!(status(&answer), 200, "{lines:?}: {answer}");
        assert!(
            answer.contains("x-content-type-options: nosniff"),
            "{answer}"
        );
    }
    server.kill();
}

#[test]
fn requests_before_one_that_is_refused_are_answered_and_none_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start_with(directory.path(), &PATIENT);
    let good = get("") + "\r\n";
    let body = r#"{"name":"made","permissions":["ROLE_READ"]}"#;
    let whole = format!(
        "POST /v2/roles HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_KEY}\r\n{JSON}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let bad = get("Host: y\r\n") + "\r\n";
    let bytes = format!("{good}{good}{bad}{whole}{good}");
    for at_once in [1, 50, bytes.len()] {
        let mut stream = connect(&server);
        stream.set_nodelay(true).unwrap();
        for part in bytes.as_bytes().chunks(at_once) {
            let _ = stream.write_all(part);
        }
        let answers = read_all(stream);
        let statuses: Vec<&str> = answers
            .match_indices("HTTP/1.1 ")
            .map(|(place, _)| &answers[place + 9..place + 12])
            .collect();
        assert_eq!(statuses, ["200", "200", "400"], "{at_once}: {answers}");
    }
    let roles = server.client().get("/v2/roles");
    assert!(!roles.to_string().contains("\"made\""), "{roles}");
    server.kill();
}

#[test]
fn a_head_of_more_than_32_kib_is_refused_before_it_ends_and_its_client_reads_why() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start_with(directory.path(), &PATIENT);
    let filled = |length: usize| get(&format!("X: {}\r\n", "x".repeat(length)));
    let bytes = filled(31 * 1024) + "\r\n";
    // After a large head the connection is closed.
    let answer = read_all(send(&server, (bytes.clone() + &bytes).as_bytes()));
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    for (bytes, expected) in [
        (filled(33 * 1024), 431),
        (filled(380 * 1024), 431),
        (format!("GET /{} HTTP/1.1\r\n", "x".repeat(40_000)), 414),
    ] {
        let answer = read_all(send(&server, bytes.as_bytes()));
        assert_eq!(status(&answer), expected, "{}: {answer}", bytes.len());
        let detail = text(&problem(&answer), "detail");
        assert!(detail.contains("32768"), "{detail}");
    }
    server.kill();
}

#[test]
fn unfinished_heads_of_strangers_take_no_more_than_their_share_of_memory() {
    let directory = tempfile::tempdir().unwrap();
    let memory = ["--request-memory-mib", "16"];
    let server = Server::start_with(directory.path(), &[&PATIENT[..], &memory].concat());
    // A quarter of 16 MiB, and twice of each head except its first 4 KiB: 73 of them.
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(31 * 1024));
    let streams: Vec<TcpStream> = (0..90).map(|_| send(&server, head.as_bytes())).collect();
    // Some are refused, depending on what the server reads last.
    let (say, refused) = mpsc::channel();
    for stream in &streams {
        let (mut stream, say) = (stream.try_clone().unwrap(), say.clone());
        thread::spawn(move || {
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            let _ = say.send(String::from_utf8_lossy(&answer).into_owned());
        });
    }
    let refused = refused.recv().unwrap();
    assert_eq!(status(&refused), 503, "{refused}");
    assert!(refused.contains("retry-after: 1"), "{refused}");
    let detail = text(&problem(&refused), "detail");
    assert!(detail.contains("`--request-memory-mib`"), "{detail}");
    assert_answers(&server);
    drop(streams);
    server.kill();
}

#[test]
fn unfinished_bodies_of_one_key_leave_room_for_those_of_another() {
    let directory = tempfile::tempdir().unwrap();
    let memory = ["--request-memory-mib", "16"];
    let server = Server::start_with(directory.path(), &[&PATIENT[..], &memory].concat());
    let named = json!({"key_type": "USER", "name": "second"});
    let second = text(&server.client().post("/v2/api-keys", &named), "key");
    let length = 1024 * 1024;
    let head = |key: &str| {
        format!(
            "POST /v2/roles HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n{JSON}Content-Length: {length}\r\n\r\n"
        )
    };
    let unfinished = |key: &str| {
        let mut stream = send(&server, head(key).as_bytes());
        let _ = stream.write_all(&vec![b' '; length - 1]);
        stream
    };
    // Four of them are read, and more wait for their turn.
    let streams: Vec<TcpStream> = (0..4).map(|_| unfinished(ADMIN_KEY)).collect();
    let waiting: Vec<TcpStream> = (0..8)
        .map(|_| send(&server, head(ADMIN_KEY).as_bytes()))
        .collect();
    // The other key's body is read to its end.
    let mut stream = unfinished(&second);
    stream.write_all(b"{").unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 400");
    assert_answers(&server);
    drop((streams, waiting));
    server.kill();
}

#[test]
fn with_few_file_handles_new_clients_take_the_place_of_idle_connections() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 300 && exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_bindery"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(directory.path())
        .args(PATIENT);
    let server = Server::start_command(&mut command);
    let idle: Vec<TcpStream> = (0..400).map(|_| connect(&server)).collect();
    assert_answers(&server);
    let more: Vec<TcpStream> = (0..400)
        .map(|_| send(&server, b"GET / HTTP/1.1\r\n"))
        .collect();
    assert_answers(&server);
    // Used connections don't keep others out either.
    let mut used = Vec::new();
    for _ in 0..400 {
        let mut stream = send(&server, (get("") + "\r\n").as_bytes());
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        used.push(stream);
    }
    assert_answers(&server);
    drop((idle, more, used));
    server.stop();
}

#[test]
fn connections_of_strangers_from_one_address_only_replace_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let share = ["--connections-per-address", "4"];
    let server = Server::start_with(directory.path(), &[&PATIENT[..], &share].concat());
    let ask = |stream: &mut TcpStream| {
        stream.write_all((get("") + "\r\n").as_bytes()).unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        // The rest of the response: its length is known.
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.split("content-length: ").nth(1).unwrap();
        let length = length.split("\r\n").next().unwrap().parse().unwrap();
        stream.read_exact(&mut vec![0; length]).unwrap();
    };
    let mut proven: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = connect(&server);
            ask(&mut stream);
            stream
        })
        .collect();
    let mut strangers: Vec<TcpStream> = (0..12).map(|_| connect(&server)).collect();
    let last = strangers.split_off(8);
    for stream in strangers {
        assert_eq!(read_all(stream), "");
    }
    for mut stream in last {
        ask(&mut stream);
    }
    for stream in &mut proven {
        ask(stream);
    }
    server.kill();
}

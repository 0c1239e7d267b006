//! What a client can't do to the server: too much, too slow, malformed.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::support::{ADMIN_KEY, Server};

/// Sends bytes unchanged and reads until the server closes.
fn exchange(server: &Server, bytes: &[u8]) -> String {
    let address = server.address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_mins(2)))
        .unwrap();
    // The server may respond and close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {ADMIN_KEY}\r\n\
         {headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0)
}

fn problem(answer: &str) -> Value {
    assert!(
        answer.contains("content-type: application/problem+json"),
        "{answer}"
    );
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["status"], status(answer));
    for member in ["type", "title", "detail", "instance", "request_id"] {
        assert!(
            problem[member]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{member}: {problem}"
        );
    }
    problem
}

#[test]
fn only_the_exact_path_reaches_anything() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    assert_eq!(
        status(&exchange(
            &server,
            request("GET", "/v2/roles", "", "").as_bytes()
        )),
        200
    );
    for path in [
        "/v2/roles/",
        "//v2/roles",
        "/v2//roles",
        "/v2/./roles",
        "/v2/x/../roles",
        "/v2%2froles",
        "/v2/%72oles",
        "/V2/roles",
        "/v2/roles/x/y",
        "/v2",
        "/v2/",
        "/",
        "/v2/roles%00",
    ] {
        let answer = exchange(&server, request("GET", path, "", "").as_bytes());
        assert_eq!(status(&answer), 404, "{path}: {answer}");
        problem(&answer);
    }
    let override_header = "X-HTTP-Method-Override: DELETE\r\n";
    let answer = exchange(
        &server,
        request("GET", "/v2/roles", override_header, "").as_bytes(),
    );
    assert_eq!(status(&answer), 200);
    let answer = exchange(&server, request("DELETE", "/v2/roles", "", "").as_bytes());
    assert!(
        status(&answer) == 405 && answer.contains("allow: GET, POST"),
        "{answer}"
    );
    problem(&answer);
    server.kill();
}

#[test]
fn without_a_key_every_path_of_the_api_answers_401_first() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    for (method, path) in [
        ("GET", "/v2/roles"),
        ("POST", "/v2/roles"),
        ("BREW", "/v2/roles"),
        ("GET", "/v2/nothing"),
        ("PATCH", "/v2/role-bindings/x"),
        ("GET", "/v2/roles?limit=0"),
    ] {
        for header in [
            "",
            "Authorization: Bearer\r\n",
            "Authorization: Basic eDp4\r\n",
            "Authorization: Bearer ak-x\r\n",
        ] {
            let bytes =
                format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n");
            let answer = exchange(&server, bytes.as_bytes());
            assert_eq!(status(&answer), 401, "{method} {path} {header}: {answer}");
            assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
            problem(&answer);
        }
    }
    server.kill();
}

#[test]
fn a_body_over_one_mebibyte_is_refused_however_it_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let json = "Content-Type: application/json\r\n";
    let body = "x".repeat(1024 * 1024 + 1);
    let answer = exchange(
        &server,
        request("POST", "/v2/roles", json, &body).as_bytes(),
    );
    assert_eq!(status(&answer), 413, "{answer}");
    problem(&answer);
    let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let chunked = format!(
        "POST /v2/roles HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {ADMIN_KEY}\r\n\
         {json}Transfer-Encoding: chunked\r\n\r\n{chunk}"
    );
    let answer = exchange(&server, chunked.as_bytes());
    assert_eq!(status(&answer), 413, "{answer}");
    let within = "x".repeat(1024 * 1024);
    let answer = exchange(
        &server,
        request("POST", "/v2/roles", json, &within).as_bytes(),
    );
    assert_eq!(status(&answer), 400, "{answer}");
    server.kill();
}

#[test]
fn an_answer_that_comes_before_the_body_was_read_ends_its_connection_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    // `exchange` returns when the server has closed, which it does by itself.
    let unknown = exchange(
        &server,
        b"POST /v2/roles HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
    );
    assert_eq!(status(&unknown), 401);
    assert!(unknown.contains("connection: close"), "{unknown}");
    server.kill();
}

#[test]
fn a_client_that_does_not_finish_its_request_is_disconnected() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start_with(directory.path(), &["--request-timeout", "1"]);
    // `exchange` returns when the server has closed.
    let head = exchange(&server, b"GET /v2/roles HTTP/1.1\r\nHost: x\r\n");
    assert!(matches!(status(&head), 0 | 408), "{head}");
    let json = "Content-Type: application/json\r\n";
    let whole = request(
        "POST",
        "/v2/roles",
        json,
        r#"{"name":"x","permissions":[]}"#,
    );
    let body = exchange(&server, &whole.as_bytes()[..whole.len() - 1]);
    assert_eq!(status(&body), 408, "{body}");
    problem(&body);
    let idle = exchange(&server, b"");
    assert_eq!(idle, "");
    let next = request("GET", "/v2/roles", "", "");
    assert_eq!(status(&exchange(&server, next.as_bytes())), 200);
    server.kill();
}

#[test]
fn what_cannot_be_read_as_a_request_is_refused_with_a_problem_like_everything_else() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let many = "X-Y: z\r\n".repeat(101);
    let long = "x".repeat(70_000);
    for (head, expected) in [
        ("GET /v2/roles HTTP/9.9\r\n\r\n".to_owned(), 400),
        ("what is this\r\n\r\n".to_owned(), 400),
        ("GET /v2/roles HTTP/1.1\r\nno colon\r\n\r\n".to_owned(), 400),
        (
            format!("GET /v2/roles HTTP/1.1\r\nHost: x\r\n{many}\r\n"),
            431,
        ),
        (
            format!("GET /v2/roles?name={long} HTTP/1.1\r\nHost: x\r\n\r\n"),
            414,
        ),
    ] {
        let shown = &head[..head.len().min(60)];
        // `exchange` returns when the server has closed, which it does by itself.
        let answer = exchange(&server, head.as_bytes());
        assert_eq!(status(&answer), expected, "{shown}: {answer}");
        problem(&answer);
        let head = answer.split("\r\n\r\n").next().unwrap();
        for header in ["content-length: ", "connection: close", "x-request-id: "] {
            assert_eq!(head.matches(header).count(), 1, "{shown}: {head}");
        }
    }
    // Also after a valid request on the same connection.
    let good = format!(
        "GET /v2/roles?limit=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_KEY}\r\n\r\n"
    );
    let answers = exchange(&server, format!("{good}nonsense\r\n\r\n").as_bytes());
    assert_eq!(status(&answers), 200, "{answers}");
    let second = answers.find("HTTP/1.1 400").expect("a second answer");
    problem(&answers[second..]);
    server.kill();
}

//! The counters, as monitoring reads them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use bindery_api::Options;
use serde_json::json;

use crate::personas::Builder;
use crate::served::Served;

/// A server with metrics, and their address.
pub(crate) fn watched(served: Served) -> (Served, SocketAddr) {
    watched_with(served, |_| {})
}

/// The same with other options too.
pub(crate) fn watched_with(served: Served, set: impl FnOnce(&mut Options)) -> (Served, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let served = served.again(|options| {
        options.metrics = Some(tokio::net::TcpListener::from_std(listener).unwrap());
        set(options);
    });
    (served, address)
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Every line with its number. Panics on a malformed line.
pub(crate) fn read(address: SocketAddr) -> (String, BTreeMap<String, f64>) {
    let answer = get(address, "/metrics");
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let numbers = lines.map(|line| {
        let (name, number) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), number.parse().unwrap())
    });
    (text.to_owned(), numbers.collect())
}

#[test]
fn what_a_server_does_is_counted_and_nothing_that_a_client_sent_is_shown() {
    let mut builder = Builder::new();
    let acme = builder.make("acme", "/v2/organizations", &json!({"name": "acme hush"}));
    let key = builder.admin_key.clone();
    let (served, address) = watched(builder.served);
    let ask = |resource: &str| {
        let body = json!({
            "subject": {"type": "user", "id": "root@example.com"}, "action": {"name": "ORGANIZATION_READ"},
            "resource": {"type": "organization", "id": resource},
        });
        let (status, _) = served.send(
            Some(&key),
            "POST",
            "/access/v1/evaluation",
            Some(&body.to_string()),
        );
        assert_eq!(status, 200);
    };
    ask(&acme);
    ask(&acme);
    ask("nothing");
    let send = |key: Option<&str>, method: &str, path: &str, body: Option<&str>| {
        served.send(key, method, path, body).0
    };
    let again = Some(r#"{"name":"acme hush"}"#);
    assert_eq!(send(Some(&key), "POST", "/v2/organizations", again), 409);
    assert_eq!(send(None, "GET", "/v2/roles", None), 401);
    assert_eq!(
        send(Some(&format!("{key}x")), "GET", "/v2/roles", None),
        401
    );
    assert_eq!(send(Some(&key), "GET", "/v2/nothing/hush", None), 404);
    let (text, numbers) = read(address);
    for (name, expected) in [
        (
            "bindery_requests_total{operation=\"access_evaluation\",class=\"2xx\"}",
            3.0,
        ),
        (
            "bindery_request_duration_seconds_count{operation=\"access_evaluation\"}",
            3.0,
        ),
        (
            "bindery_request_duration_seconds_bucket{operation=\"access_evaluation\",le=\"+Inf\"}",
            3.0,
        ),
        (
            "bindery_requests_total{operation=\"create_organization\",class=\"4xx\"}",
            1.0,
        ),
        (
            "bindery_requests_total{operation=\"none\",class=\"4xx\"}",
            3.0,
        ),
        ("bindery_decisions_total{answer=\"allowed\"}", 2.0),
        ("bindery_decisions_total{answer=\"denied\"}", 1.0),
        ("bindery_commands_refused_total{status=\"409\"}", 1.0),
        ("bindery_batches_total{outcome=\"not_committed\"}", 0.0),
        ("bindery_accounts_at_work", 1.0),
        ("bindery_accounts_loaded_total", 1.0),
        ("bindery_secrets_looked_up_total{asked=\"store\"}", 2.0),
        ("bindery_store_errors_total{call=\"append\"}", 0.0),
        ("bindery_staleness_seconds", 0.0),
        ("bindery_takes_writes", 1.0),
        ("bindery_queue_length", 0.0),
    ] {
        assert_eq!(numbers.get(name), Some(&expected), "{name}\n{text}");
    }
    assert!(numbers["bindery_batches_total{outcome=\"committed\"}"] >= 1.0);
    assert!(numbers["bindery_batch_commands_count"] >= 1.0);
    assert!(numbers["bindery_account_revision{account=\"1\"}"] > 1.0);
    assert!(text.contains("bindery_build_info{version=\""), "{text}");
    for secret in ["hush", "root@", &key, &key[..10], &acme] {
        assert!(!text.contains(secret), "`{secret}` is told:\n{text}");
    }
}

#[test]
fn metrics_are_on_their_own_listener_alone_and_nothing_else_is_there() {
    let (served, address) = watched(Builder::new().served);
    assert_eq!(served.send(None, "GET", "/metrics", None).0, 404);
    for path in ["/", "/v2/roles", "/metrics/", "/healthz"] {
        let answer = get(address, path);
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
}

#[test]
fn each_name_is_described_once_and_each_row_stands_once() {
    let (_served, address) = watched(Builder::new().served);
    let (text, numbers) = read(address);
    let rows = text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(rows, numbers.len());
    let mut described: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    let all = described.len();
    described.sort_unstable();
    described.dedup();
    assert_eq!(described.len(), all);
}

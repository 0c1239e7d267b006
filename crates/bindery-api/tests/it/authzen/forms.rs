//! The form of requests and responses.

use serde_json::{Value, json};

use super::certification::scenario;
use super::{Scenario, post, question};

const SEARCHES: [&str; 3] = ["subject", "resource", "action"];

/// A valid question, without the member at this pointer or with another value there.
fn without(pointer: &str) -> Value {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let mut body = question("alice", "read", "record-1");
    let parent = body.pointer_mut(parent).unwrap();
    parent.as_object_mut().unwrap().remove(member).unwrap();
    body
}

fn with(pointer: &str, value: Value) -> Value {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let mut body = question("alice", "read", "record-1");
    body.pointer_mut(parent).unwrap()[member] = value;
    body
}

fn assert_refused(scenario: &Scenario, path: &str, body: &Value, named: &str) {
    let answer = scenario.ask(path, body);
    assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(
        detail.starts_with(&format!("`{named}`: ")),
        "{path} {body}: {detail}"
    );
}

#[test]
fn what_is_missing_is_400_and_is_named() {
    let scenario = scenario();
    for pointer in [
        "/subject",
        "/action",
        "/resource",
        "/subject/type",
        "/subject/id",
        "/action/name",
        "/resource/type",
        "/resource/id",
    ] {
        let name = pointer.trim_start_matches('/').replace('/', ".");
        for path in ["/access/v1/evaluation", "/access/v1/evaluations"] {
            assert_refused(&scenario, path, &without(pointer), &name);
        }
        for search in SEARCHES {
            let is_ignored = match search {
                "subject" => pointer == "/subject/id",
                "resource" => pointer == "/resource/id",
                _ => pointer.starts_with("/action"),
            };
            if !is_ignored {
                // For a missing part, the error names its first required member.
                let named = match pointer {
                    "/subject" | "/resource" => format!("{name}.type"),
                    "/action" => "action.name".to_owned(),
                    _ => name.clone(),
                };
                let path = format!("/access/v1/search/{search}");
                assert_refused(&scenario, &path, &without(pointer), &named);
            }
        }
    }
}

#[test]
fn what_has_another_type_is_400_and_is_named() {
    let scenario = scenario();
    for (pointer, value) in [
        ("/subject", json!("alice")),
        ("/subject", json!(["user", "alice"])),
        ("/subject", Value::Null),
        ("/subject/type", json!(1)),
        ("/subject/id", json!(1)),
        ("/subject/id", Value::Null),
        ("/subject/properties", json!([])),
        ("/action", json!("read")),
        ("/action/name", json!(1)),
        ("/action/properties", json!("soft")),
        ("/resource", json!(true)),
        ("/resource/id", json!({})),
        ("/resource/properties", Value::Null),
        ("/context", json!("time")),
        ("/context", Value::Null),
        ("/options", json!([])),
        ("/options", json!({"explain": "yes"})),
    ] {
        let mut named = pointer.trim_start_matches('/').replace('/', ".");
        if value.get("explain").is_some() {
            named.push_str(".explain");
        }
        for path in ["/access/v1/evaluation", "/access/v1/evaluations"] {
            assert_refused(&scenario, path, &with(pointer, value.clone()), &named);
        }
    }
    for value in [json!({}), Value::Null] {
        let body = with("/evaluations", value);
        assert_refused(&scenario, "/access/v1/evaluations", &body, "evaluations");
    }
    for path in SEARCHES.map(|search| format!("/access/v1/search/{search}")) {
        assert_refused(&scenario, &path, &with("/context", json!(1)), "context");
        assert_refused(&scenario, &path, &with("/page", json!(1)), "page");
        for (member, value) in [
            ("token", json!(1)),
            ("token", json!("")),
            ("properties", json!(1)),
            ("limit", json!(-1)),
            ("limit", json!(0.5)),
            ("limit", json!("1")),
            ("limit", Value::Null),
            ("limit", json!([])),
        ] {
            let body = with("/page", json!({member: value}));
            assert_refused(&scenario, &path, &body, &format!("page.{member}"));
        }
    }
}

#[test]
fn a_body_that_is_no_json_object_is_400() {
    let scenario = scenario();
    let good = question("alice", "read", "record-1").to_string();
    let deep = format!(
        "{{\"context\":{{\"a\":{}{}}}}}",
        "[".repeat(500),
        "]".repeat(500)
    );
    let twice = good.replacen('{', r#"{"subject":{"type":"user","id":"bob"},"#, 1);
    let twice_within = good.replacen(r#""id":"alice""#, r#""id":"alice","id":"bob""#, 1);
    let twice_unknown = good.replacen('{', r#"{"x":1,"x":2,"#, 1);
    let twice_in_properties = good.replacen('{', r#"{"context":{"x":{"y":1,"y":2}},"#, 1);
    let spelled_otherwise = good.replacen('{', r#"{"\u0073ubject":{},"#, 1);
    let paths = [
        "evaluation",
        "evaluations",
        "search/subject",
        "search/resource",
        "search/action",
    ];
    for path in paths.map(|path| format!("/access/v1/{path}")) {
        for body in [
            "",
            "{",
            "null",
            "[]",
            "\"x\"",
            "7",
            "{} {}",
            &deep,
            &twice,
            &twice_within,
            &twice_unknown,
            &twice_in_properties,
            &spelled_otherwise,
            &good.replace('"', "'"),
            &format!("[{good}]"),
        ] {
            let answer = post(&scenario.served, &scenario.key, &path, body);
            assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text);
        }
        let send = |content_type: Option<&str>, body: Vec<u8>| {
            let mut request = scenario.served.request("POST", &path);
            request = request.header("Authorization", format!("Bearer {}", scenario.key));
            if let Some(content_type) = content_type {
                request = request.header("Content-Type", content_type);
            }
            scenario.served.run(request.body(body).unwrap()).status
        };
        let not_utf8 = good.replace("alice", "al\u{1}ce").into_bytes();
        let not_utf8: Vec<u8> = not_utf8
            .into_iter()
            .map(|byte| if byte == 1 { 0xff } else { byte })
            .collect();
        assert_eq!(send(Some("application/json"), not_utf8), 400, "{path}");
        assert_eq!(send(None, good.clone().into_bytes()), 400, "{path}");
        for other in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "application/problem+json",
        ] {
            assert_eq!(
                send(Some(other), good.clone().into_bytes()),
                400,
                "{path} {other}"
            );
        }
        for json in [
            "application/json",
            "application/json; charset=utf-8",
            "Application/JSON",
        ] {
            assert_eq!(
                send(Some(json), good.clone().into_bytes()),
                200,
                "{path} {json}"
            );
        }
    }
}

#[test]
fn only_keys_are_let_in_and_only_by_post() {
    let scenario = scenario();
    let good = question("alice", "read", "record-1").to_string();
    let paths = [
        "evaluation",
        "evaluations",
        "search/subject",
        "search/resource",
        "search/action",
    ];
    for path in paths.map(|path| format!("/access/v1/{path}")) {
        for credential in [
            None,
            Some("Bearer"),
            Some("Bearer nonsense"),
            Some("Basic YWxpY2U6eA=="),
        ] {
            let mut request = scenario
                .served
                .request("POST", &path)
                .header("Content-Type", "application/json");
            if let Some(credential) = credential {
                request = request.header("Authorization", credential);
            }
            let answer = scenario.served.run(request.body(good.clone()).unwrap());
            assert_eq!(answer.status, 401, "{path} {credential:?}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
        for method in ["GET", "PUT", "DELETE", "PATCH"] {
            let (status, _) = scenario
                .served
                .send(Some(&scenario.key), method, &path, Some(&good));
            assert_eq!(status, 405, "{method} {path}");
            let (status, _) = scenario.served.send(None, method, &path, Some(&good));
            assert_eq!(status, 401, "{method} {path}");
        }
        for other in [
            format!("{path}/"),
            path.replace("v1", "V1"),
            path.replace("/v1", "//v1"),
            path.replace('e', "%65"),
        ] {
            let (status, _) =
                scenario
                    .served
                    .send(Some(&scenario.key), "POST", &other, Some(&good));
            assert_eq!(status, 404, "{other}");
        }
    }
    for path in ["/access", "/access/", "/access/v2/evaluation"] {
        let (status, _) = scenario.served.send(None, "POST", path, Some(&good));
        assert_eq!(status, 401, "{path}");
    }
}

#[test]
fn every_answer_carries_the_id_of_its_request() {
    let scenario = scenario();
    let good = question("alice", "read", "record-1").to_string();
    let send = |path: &str, body: &str, id: &[u8]| {
        let request = scenario
            .served
            .request("POST", path)
            .header("Content-Type", "application/json")
            .header("Authorization", format!("Bearer {}", scenario.key))
            .header("X-Request-ID", id);
        scenario.served.run(request.body(body.to_owned()).unwrap())
    };
    for path in [
        "/access/v1/evaluation",
        "/access/v1/search/subject",
        "/access/v1/nowhere",
    ] {
        for body in [good.as_str(), "{", "{}"] {
            let answer = send(path, body, b"bfe9eb29-ab87-4ca3-be83-a1d5d8305716");
            assert_eq!(
                answer.headers["x-request-id"],
                "bfe9eb29-ab87-4ca3-be83-a1d5d8305716"
            );
        }
    }
    // A text that does not fit in a log line, or is too long, is replaced by a new id.
    for bad in [&b"two words"[..], b"\xe4", &[b'x'; 129]] {
        let answer = send("/access/v1/evaluation", &good, bad);
        assert_eq!(answer.status, 200);
        let id = &answer.headers["x-request-id"];
        assert!(id.as_bytes() != bad && id.len() == 16, "{id:?}");
    }
}

#[test]
fn the_same_request_has_the_same_body_and_the_revision_stands_in_a_header() {
    let scenario = scenario();
    let good = question("alice", "read", "record-1");
    let mut bodies = Vec::new();
    let mut revisions = Vec::new();
    for _ in 0..2 {
        for path in [
            "evaluation",
            "evaluations",
            "search/subject",
            "search/resource",
            "search/action",
        ] {
            let answer = scenario.ask(&format!("/access/v1/{path}"), &good);
            bodies.push((path, answer.text));
            revisions.push(super::revision_of(&answer.headers));
        }
        let name = format!("role {}", bodies.len());
        let body = json!({"name": name, "permissions": ["PROJECT_READ"]}).to_string();
        let (status, _) =
            scenario
                .served
                .send(Some(&scenario.admin_key), "POST", "/v2/roles", Some(&body));
        assert_eq!(status, 201);
    }
    let (first, second) = bodies.split_at(5);
    assert_eq!(first, second);
    assert_eq!(revisions[9], revisions[0] + 1);
    for (path, body) in first.iter().skip(2) {
        assert!(body.starts_with(r#"{"page":"#), "{path}: {body}");
    }
}

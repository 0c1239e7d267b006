//! Who may ask about which subject: enforcement points, and refusals that reveal nothing.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::post;
use crate::personas::{Builder, issue};
use crate::served::Served;

/// An account with a private space that has one project, a reader of it, and a user without any relation to
/// it.
struct Office {
    served: Served,
    admin_key: String,
    outsider_key: String,
    reader: String,
    outsider: String,
    project: String,
}

impl Office {
    fn found() -> Self {
        let mut builder = Builder::new();
        let acme = builder.make("acme", "/v2/organizations", &json!({"name": "acme"}));
        let space = json!({"name": "red", "organization_id": acme, "is_private": true});
        let space = builder.make("red", "/v2/spaces", &space);
        let project = builder.make(
            "sonar",
            "/v2/projects",
            &json!({"name": "sonar", "space_id": space}),
        );
        let role = builder.make(
            "reads",
            "/v2/roles",
            &json!({"name": "reads", "permissions": ["PROJECT_READ"]}),
        );
        let reader = builder.person("reader", "MEMBER", true);
        let outsider = builder.person("outsider", "MEMBER", true);
        let body = json!({
            "user_id": reader, "role_id": role, "resource_type": "PROJECT", "resource_id": project,
        });
        builder.ask("POST", "/v2/role-bindings", &body);
        Self {
            admin_key: builder.admin_key.clone(),
            outsider_key: issue(&builder.served, 1, "outsider@example.com", false),
            served: builder.served,
            reader,
            outsider,
            project,
        }
    }

    fn key_id(&self, key: &str) -> String {
        let (_, keys) = self.served.send(Some(key), "GET", "/v2/api-keys", None);
        keys["api_keys"][0]["id"].as_str().unwrap().to_owned()
    }

    fn mark(&self, method: &str, id: &str) -> u16 {
        let path = format!("/bindery/v1/enforcement-points/{id}");
        self.served
            .send(Some(&self.admin_key), method, &path, None)
            .0
    }

    fn question(&self) -> Value {
        json!({
            "subject": {"type": "user", "id": self.reader},
            "action": {"name": "PROJECT_READ"},
            "resource": {"type": "project", "id": self.project},
        })
    }
}

#[test]
fn a_refusal_is_identical_whatever_exists() {
    let office = Office::found();
    let (_, foreign) = office.served.send(
        Some(&issue(&office.served, 2, "stranger@example.com", false)),
        "GET",
        "/v2/users",
        None,
    );
    let foreign = foreign["users"][0]["id"].as_str().unwrap().to_owned();
    let subjects = [
        json!({"type": "user", "id": office.reader}),
        json!({"type": "user", "id": "reader@example.com"}),
        json!({"type": "user", "id": "nobody@example.com"}),
        json!({"type": "user", "id": "nonsense"}),
        json!({"type": "user", "id": foreign}),
        json!({"type": "service_key", "id": office.key_id(&office.admin_key)}),
        json!({"type": "robot", "id": "x"}),
    ];
    let resources = [
        json!({"type": "project", "id": office.project}),
        json!({"type": "project", "id": "TW9kZWw6OTphYmNk"}),
        json!({"type": "space", "id": "nonsense"}),
        json!({"type": "account", "id": "account"}),
        json!({"type": "planet", "id": "x"}),
    ];
    let actions = ["PROJECT_READ", "SPACE_DELETE", "FLY"];
    let mut told = std::collections::BTreeSet::new();
    let mut told_in_batches = std::collections::BTreeSet::new();
    for subject in &subjects {
        for resource in &resources {
            for action in actions {
                let body =
                    json!({"subject": subject, "action": {"name": action}, "resource": resource});
                let request = office
                    .served
                    .request("POST", "/access/v1/evaluation")
                    .header("Content-Type", "application/json")
                    .header("X-Request-ID", "one")
                    .header("Authorization", format!("Bearer {}", office.outsider_key));
                let answer = office.served.run(request.body(body.to_string()).unwrap());
                assert_eq!(answer.status, 403, "{body}");
                told.insert(answer.text);
                let batch = json!({"evaluations": [body]}).to_string();
                let answer = post(
                    &office.served,
                    &office.outsider_key,
                    "/access/v1/evaluations",
                    &batch,
                );
                assert_eq!(answer.status, 200);
                assert_eq!(answer.body["evaluations"][0]["decision"], false);
                assert_eq!(
                    answer.body["evaluations"][0]["context"]["error"]["status"],
                    403
                );
                told_in_batches.insert(answer.text);
                for search in ["subject", "resource", "action"] {
                    let path = format!("/access/v1/search/{search}");
                    let answer = post(
                        &office.served,
                        &office.outsider_key,
                        &path,
                        &body.to_string(),
                    );
                    assert_eq!(
                        answer.body["page"]["total"], 0,
                        "{search} {body}: {}",
                        answer.text
                    );
                }
            }
        }
    }
    assert_eq!(
        (told.len(), told_in_batches.len()),
        (1, 1),
        "{told:?} {told_in_batches:?}"
    );
}

#[test]
fn about_oneself_there_is_always_an_answer() {
    let office = Office::found();
    for subject in [
        office.outsider.as_str(),
        "outsider@example.com",
        "OUTSIDER@EXAMPLE.COM",
    ] {
        for (kind, id) in [
            ("project", office.project.as_str()),
            ("project", "nonsense"),
            ("account", "account"),
        ] {
            let body = json!({
                "subject": {"type": "user", "id": subject},
                "action": {"name": "USER_READ"},
                "resource": {"type": kind, "id": id},
            });
            let answer = post(
                &office.served,
                &office.outsider_key,
                "/access/v1/evaluation",
                &body.to_string(),
            );
            assert_eq!(
                (answer.status, &answer.body),
                (200, &json!({"decision": kind == "account"})),
                "{body}"
            );
        }
    }
}

#[test]
fn a_service_key_asks_about_itself_and_a_user_key_is_no_subject() {
    let office = Office::found();
    let (_, made) = office
        .served
        .send(Some(&office.admin_key), "GET", "/v2/spaces", None);
    let space = made["spaces"][0]["id"].as_str().unwrap();
    let (_, made) = office
        .served
        .send(Some(&office.admin_key), "GET", "/v2/organizations", None);
    let organization = made["organizations"][0]["id"].as_str().unwrap();
    let body = json!({
        "key_type": "SERVICE", "name": "machine",
        "organizations": [{"org_id": organization, "spaces": [{"space_id": space}]}],
    });
    let (_, made) = office.served.send(
        Some(&office.admin_key),
        "POST",
        "/v2/api-keys",
        Some(&body.to_string()),
    );
    let (key, id, bot) = (
        made["key"].as_str().unwrap(),
        made["id"].as_str().unwrap(),
        made["bot_user"]["id"].as_str().unwrap(),
    );
    let ask = |key: &str, kind: &str, id: &str| {
        let body = json!({
            "subject": {"type": kind, "id": id},
            "action": {"name": "PROJECT_READ"},
            "resource": {"type": "project", "id": office.project},
        });
        let answer = post(
            &office.served,
            key,
            "/access/v1/evaluation",
            &body.to_string(),
        );
        (answer.status, answer.body["decision"].as_bool())
    };
    assert_eq!(ask(key, "service_key", id), (200, Some(true)));
    assert_eq!(ask(key, "user", bot), (200, Some(true)));
    assert_eq!(ask(key, "user", id), (403, None), "an id of another kind");
    assert_eq!(
        ask(key, "service_key", bot),
        (403, None),
        "an id of another kind"
    );
    assert_eq!(ask(key, "user", &office.reader), (403, None));
    assert_eq!(ask(&office.admin_key, "service_key", id), (200, Some(true)));
    let own = office.key_id(&office.admin_key);
    assert_eq!(
        ask(&office.admin_key, "service_key", &own),
        (200, Some(false))
    );
    let revoke = format!("/v2/api-keys/{id}/revoke");
    office
        .served
        .send(Some(&office.admin_key), "PUT", &revoke, None);
    assert_eq!(
        ask(&office.admin_key, "service_key", id),
        (200, Some(false))
    );
}

#[test]
fn an_enforcement_point_asks_about_everyone_until_the_mark_is_gone() {
    let office = Office::found();
    let id = office.key_id(&office.outsider_key);
    let question = office.question().to_string();
    let ask = |key: &str| post(&office.served, key, "/access/v1/evaluation", &question).status;
    let key = office.outsider_key.as_str();
    assert_eq!(ask(key), 403);
    let listed = || {
        let (status, listed) = office.served.send(
            Some(&office.admin_key),
            "GET",
            "/bindery/v1/enforcement-points?limit=1",
            None,
        );
        assert_eq!(status, 200);
        let keys = listed["enforcement_points"].as_array().unwrap().clone();
        keys.iter()
            .map(|key| key["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(listed().is_empty());
    let before = office.served.revision(1);
    assert_eq!(
        (office.mark("PUT", &id), office.mark("PUT", &id)),
        (204, 204)
    );
    assert_eq!(
        office.served.revision(1).0,
        before.0 + 1,
        "the second changes nothing"
    );
    assert_eq!(listed(), std::slice::from_ref(&id));
    assert_eq!(ask(key), 200);
    // It may ask, and do no more than before.
    let project = format!("/v2/projects/{}", office.project);
    assert_eq!(office.served.send(Some(key), "GET", &project, None).0, 404);
    assert_eq!(
        office
            .served
            .send(Some(key), "GET", "/bindery/v1/enforcement-points", None)
            .0,
        403
    );
    // The mark belongs to the key, not to its user.
    let second = issue(&office.served, 1, "outsider@example.com", false);
    assert_eq!(ask(&second), 403);
    // Another key of the same person can't get a secret with the mark. The key itself can, and the mark
    // stays.
    let refresh = format!("/v2/api-keys/{id}/refresh");
    assert_eq!(
        office.served.send(Some(&second), "POST", &refresh, None).0,
        403
    );
    let (status, refreshed) = office.served.send(Some(key), "POST", &refresh, None);
    assert_eq!(status, 200, "{refreshed}");
    let key = refreshed["key"].as_str().unwrap();
    assert_eq!(ask(key), 200);
    assert_eq!(
        (office.mark("DELETE", &id), office.mark("DELETE", &id)),
        (204, 204)
    );
    assert_eq!((ask(key), listed()), (403, Vec::new()));
    let entries = |operation: &str| {
        let path = format!("/v2/audit-logs?operation_name={operation}");
        let (_, log) = office
            .served
            .send(Some(&office.admin_key), "GET", &path, None);
        log["logs"].as_array().unwrap().clone()
    };
    assert_eq!(entries("mark_enforcement_point").len(), 2);
    assert_eq!(entries("unmark_enforcement_point").len(), 2);
    // The decisions are not in it; the refused ones are.
    let asked = entries("access_evaluation");
    assert_eq!(asked.len(), 3);
    for entry in asked {
        assert_eq!(entry["operation_type"], "QUERY", "{entry}");
        assert_eq!(entry["operation_text"], question);
    }
}

#[test]
fn what_is_refused_in_a_batch_or_asked_for_with_reasons_is_in_the_audit_log() {
    let office = Office::found();
    let ask = |key: &str, path: &str, body: &Value| {
        let answer = post(&office.served, key, path, &body.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text);
    };
    let logged = || {
        let path = "/v2/audit-logs?operation_type=QUERY&limit=100";
        let (_, log) = office
            .served
            .send(Some(&office.admin_key), "GET", path, None);
        let entries = log["logs"].as_array().unwrap().iter();
        let entries = entries.map(|entry| entry["operation_name"].as_str().unwrap().to_owned());
        entries
            .filter(|name| name.starts_with("access_"))
            .collect::<Vec<String>>()
    };
    let question = office.question();
    let batch = json!({"evaluations": [question, {"subject": 7}]});
    for (key, is_refused) in [(&office.admin_key, false), (&office.outsider_key, true)] {
        let before = logged().len();
        ask(key, "/access/v1/evaluations", &batch);
        assert_eq!(logged().len() - before, usize::from(is_refused));
        // The cut leaves the other items visible.
        let mut cut = batch.clone();
        cut["options"] = json!({"evaluations_semantic": "deny_on_first_deny"});
        ask(key, "/access/v1/evaluations", &cut);
        assert_eq!(logged().len() - before, 2 * usize::from(is_refused));
    }
    let before = logged().len();
    ask(&office.admin_key, "/access/v1/evaluation", &question);
    assert_eq!(logged().len(), before, "a decision changes nothing");
    let mut explained = question;
    explained["options"] = json!({"explain": true});
    ask(&office.admin_key, "/access/v1/evaluation", &explained);
    ask(&office.admin_key, "/access/v1/evaluations", &explained);
    assert_eq!(logged()[..2], ["access_evaluations", "access_evaluation"]);
    assert_eq!(logged().len(), before + 2);
}

/// A caller who is valid at the head of a request may be invalid at its end, on the hot path and off it.
#[test]
fn a_key_that_ends_while_its_request_comes_in_is_good_for_nothing() {
    let office = Office::found();
    let end = "2026-01-01T01:00:00Z";
    let made = json!({"key_type": "USER", "name": "short", "expires_at": end}).to_string();
    let admin = Some(office.admin_key.as_str());
    let (status, made) = office
        .served
        .send(admin, "POST", "/v2/api-keys", Some(&made));
    assert_eq!(status, 201, "{made}");
    let key = made["key"].as_str().unwrap();
    let plain = office.question();
    let mut cold = plain.clone();
    cold["options"] = json!({});
    let requests = [&plain, &cold].map(|body| {
        let begun = Begun::new(
            &office.served,
            key,
            "/access/v1/evaluation",
            &body.to_string(),
        );
        (begun, body)
    });
    office.served.wait_seconds(3600);
    for (begun, body) in requests {
        assert_eq!(begun.finish(), 401, "{body}");
    }
}

/// A request whose head the server has read.
struct Begun {
    stream: BufReader<TcpStream>,
    body: String,
}

impl Begun {
    fn new(served: &Served, key: &str, path: &str, body: &str) -> Self {
        let uri = served.request("POST", path);
        let address = uri.uri_ref().unwrap().authority().unwrap().to_string();
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut begun = Self {
            stream: BufReader::new(stream),
            body: body.to_owned(),
        };
        // It asks for the body, so it knows the caller.
        assert_eq!(begun.status(), 100);
        begun
    }

    fn finish(mut self) -> u16 {
        let body = std::mem::take(&mut self.body);
        self.stream.get_mut().write_all(body.as_bytes()).unwrap();
        self.status()
    }

    /// Reads a head.
    fn status(&mut self) -> u16 {
        let mut status = String::new();
        self.stream.read_line(&mut status).unwrap();
        let mut line = String::new();
        while self.stream.read_line(&mut line).unwrap() > 2 {
            line.clear();
        }
        status.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

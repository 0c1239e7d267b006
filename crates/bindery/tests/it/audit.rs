//! The audit log, and what is counted about keys.

use std::fs;

use serde_json::{Value, json};

use crate::support::{ADMIN_KEY, Client, Server, text};

fn names(client: &Client, query: &str) -> Vec<String> {
    let page = client.get(&format!("/v2/audit-logs?{query}"));
    let logs = page["logs"].as_array().unwrap().iter();
    logs.map(|log| text(log, "operation_name")).collect()
}

#[test]
fn everything_that_a_key_asks_for_is_in_the_log_newest_first_and_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let admin = server.client();
    let red = json!({"name": "red", "description": format!("not for {ADMIN_KEY}")});
    admin.post("/v2/organizations", &red);
    let refused = admin.try_send("POST", "/v2/organizations", Some(&red));
    assert_eq!(refused.unwrap().0, 409);
    let malformed = admin.try_send("PATCH", "/v2/users/x", Some(&json!({"name": 7})));
    assert_eq!(malformed.unwrap().0, 400);
    admin.get("/v2/users?status=ACTIVE&status=INVITED");
    let page = admin.get("/v2/audit-logs");
    let logs = page["logs"].as_array().unwrap();
    let told: Vec<(&str, &str)> = logs
        .iter()
        .map(|log| {
            let of = |member: &str| log[member].as_str().unwrap();
            (of("operation_type"), of("operation_name"))
        })
        .collect();
    assert_eq!(
        told,
        [
            ("QUERY", "list_users"),
            ("MUTATION", "update_user"),
            ("MUTATION", "create_organization"),
            ("MUTATION", "create_organization"),
        ]
    );
    assert_eq!(logs[0]["variables"], r#"{"status":["ACTIVE","INVITED"]}"#);
    assert_eq!(logs[1]["variables"], r#"{"user_id":"x"}"#);
    assert_eq!(logs[1]["operation_text"], r#"{"name":7}"#);
    assert_eq!(logs[3]["ip"], "127.0.0.1");
    let kept = r#"{"description":"not for ak-...","name":"red"}"#;
    assert_eq!(logs[3]["operation_text"], kept);

    let of = |query: &str| names(&admin, query);
    assert_eq!(of("operation_type=MUTATION").len(), 3);
    assert_eq!(of("operation_type=SUBSCRIPTION"), [""; 0]);
    assert_eq!(
        of("operation_name=update_user&operation_name=list_users"),
        ["list_users", "update_user"]
    );
    assert_eq!(of("end_time=2020-01-01T00:00:00Z"), [""; 0]);
    let (status, refused) = admin
        .try_send(
            "GET",
            "/v2/audit-logs?start_time=2100-01-01T00:00:00+0000&end_time=2099-01-01T00:00:00Z",
            None,
        )
        .unwrap();
    assert_eq!(status, 400, "{refused}");
    let first = admin.get("/v2/audit-logs?operation_type=MUTATION&limit=2");
    let cursor = text(&first["pagination"], "next_cursor");
    let rest = format!("operation_type=MUTATION&limit=2&cursor={cursor}");
    assert_eq!(names(&admin, &rest), ["create_organization"]);
    server.kill();
}

#[test]
fn what_was_read_just_before_a_stop_is_in_the_log_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    server.client().get("/v2/roles");
    server.stop();
    let server = Server::start(directory.path());
    assert_eq!(names(&server.client(), "")[0], "list_roles");
    server.kill();
}

#[test]
fn reads_are_left_out_of_the_log_when_that_is_asked_for_but_refused_ones_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start_with(directory.path(), &["--audit-reads", "false"]);
    let admin = server.client();
    admin.get("/v2/roles");
    assert_eq!(
        admin.try_send("GET", "/v2/spaces?limit=0", None).unwrap().0,
        400
    );
    assert_eq!(names(&admin, ""), ["list_spaces"]);
    server.kill();
}

#[test]
fn a_key_tells_when_it_was_last_used_even_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let admin = server.client();
    let made = admin.post(
        "/v2/api-keys",
        &json!({"key_type": "USER", "name": "second"}),
    );
    assert_eq!(made.get("last_used_at"), None);
    let listed = |client: &Client, name: &str| -> Value {
        let keys = client.get("/v2/api-keys");
        let mut keys = keys["api_keys"].as_array().unwrap().iter();
        keys.find(|key| key["name"] == name).unwrap().clone()
    };
    assert_eq!(listed(&admin, "second").get("last_used_at"), None);
    server.client_with(&text(&made, "key")).get("/v2/roles");
    let used = text(&listed(&admin, "second"), "last_used_at");
    assert!(used >= text(&made, "created_at"), "{used}");
    // Reading the log first writes all pending entries.
    admin.get("/v2/audit-logs");
    server.kill();
    let server = Server::start(directory.path());
    assert_eq!(listed(&server.client(), "second")["last_used_at"], used);
    server.kill();
}

#[test]
fn a_key_over_its_rate_limit_learns_when_to_retry() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start_with(directory.path(), &["--rate-limit", "1"]);
    let admin = server.client();
    let (mut refused, mut answered) = (None, 0);
    for _ in 0..50 {
        match admin.try_send("GET", "/v2/roles", None).unwrap() {
            (200, _) => answered += 1,
            other => refused = Some(other),
        }
        if refused.is_some() {
            break;
        }
    }
    let (status, problem) = refused.expect("more than one request a second");
    assert_eq!((status, problem["status"].as_u64()), (429, Some(429)));
    assert!(answered > 0 && text(&problem, "detail").contains("try again in 1 s"));
    server.kill();
}

#[test]
fn no_secret_of_a_person_or_key_is_on_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let admin = server.client();
    let body = json!({
        "name": "Ada",
        "email": "ada@example.com",
        "role": {"type": "PREDEFINED", "name": "MEMBER"},
        "invite_mode": "TEMPORARY_PASSWORD",
    });
    let temporary = text(&admin.post("/v2/users", &body), "temporary_password");
    let chosen = "correct horse battery";
    let body = json!({"email": "ada@example.com", "password": temporary, "new_password": chosen});
    let (status, inside) = admin
        .try_send("POST", "/bindery/v1/sign-in", Some(&body))
        .unwrap();
    assert_eq!(status, 200, "{inside}");
    let key = text(&inside["api_key"], "key");
    admin.get("/v2/audit-logs");
    server.stop();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        for secret in [ADMIN_KEY, &temporary, chosen, &key] {
            let is_there = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!is_there, "a secret is in {}", path.display());
        }
    }
}

#[test]
fn the_address_in_the_log_is_the_clients_own_if_a_trusted_proxy_says_so_and_the_peers_if_not() {
    for (arguments, expected) in [
        (&[][..], "127.0.0.1"),
        (&["--trusted-proxies", "10.0.0.0/8"], "127.0.0.1"),
        (
            &["--trusted-proxies", "10.0.0.0/8,127.0.0.1"],
            "198.51.100.7",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start_with(directory.path(), arguments);
        let asked = ureq::get(format!("{}/v2/roles", server.address))
            .header("Authorization", format!("Bearer {ADMIN_KEY}"))
            .header("X-Forwarded-For", "203.0.113.9, 198.51.100.7")
            .call();
        assert_eq!(asked.unwrap().status(), 200);
        let page = server.client().get("/v2/audit-logs");
        assert_eq!(page["logs"][0]["ip"], expected, "{arguments:?}");
        server.kill();
    }
}

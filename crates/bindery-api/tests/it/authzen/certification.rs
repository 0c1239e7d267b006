//! The certification scenario of the OpenID work group: the Core levels Basic, Batch and Search, and Discovery.

use serde_json::{Value, json};

use super::{PUBLIC_URL, Scenario, Words, question};

/// Records are projects: alice reads and writes record-1, bob reads it and writes record-2.
pub(crate) fn scenario() -> Scenario {
    let words = Words {
        subject_types: json!({}),
        resource_types: json!({"record": "project"}),
        actions: json!({"read": "PROJECT_READ", "write": "PROJECT_UPDATE", "delete": "PROJECT_DELETE"}),
    };
    Scenario::found(
        &words,
        &[
            ("reader", &["PROJECT_READ"]),
            ("writer", &["PROJECT_READ", "PROJECT_UPDATE"]),
        ],
        &["record-1", "record-2"],
        &["alice", "bob"],
        &[
            ("alice", "writer", "record-1"),
            ("bob", "reader", "record-1"),
            ("bob", "writer", "record-2"),
        ],
        &Value::Null,
    )
}

#[test]
fn the_basic_core_rules_hold() {
    let scenario = scenario();
    for (subject, action, resource, expected) in [
        ("alice", "read", "record-1", true),
        ("alice", "write", "record-1", true),
        ("bob", "read", "record-1", true),
        ("bob", "write", "record-1", false),
        ("carol", "read", "record-1", false),
        ("alice", "read", "record-9", false),
        ("alice", "fly", "record-1", false),
    ] {
        let mut body = question(subject, action, resource);
        let plain = scenario.told("/access/v1/evaluation", &body);
        assert_eq!(plain, json!({"decision": expected}), "{body}");
        // Other members never change the result, and neither does a repetition.
        body["context"] = json!({"time": "2026-01-01T00:00:00Z", "deep": {"list": [1, 2.5, null]}});
        for part in ["subject", "action", "resource"] {
            body[part]["properties"] = json!({"role": "admin", "soft": true});
            body[part]["unheard"] = json!("of");
        }
        body["unheard"] = json!({"of": true});
        for _ in 0..3 {
            assert_eq!(
                scenario.told("/access/v1/evaluation", &body),
                plain,
                "{body}"
            );
        }
        let single = scenario.told("/access/v1/evaluations", &body);
        assert_eq!(single, plain);
        body["evaluations"] = json!([]);
        assert_eq!(scenario.told("/access/v1/evaluations", &body), plain);
    }
}

#[test]
fn a_batch_answers_in_order_with_defaults_and_its_semantic() {
    let scenario = scenario();
    let decisions = |body: &Value| -> Vec<bool> {
        let told = scenario.told("/access/v1/evaluations", body);
        assert_eq!(told, scenario.told("/access/v1/evaluations", body));
        assert!(told.get("decision").is_none(), "{told}");
        let items = told["evaluations"].as_array().unwrap();
        items
            .iter()
            .map(|one| one["decision"].as_bool().unwrap())
            .collect()
    };
    let mut body = json!({
        "subject": {"type": "user", "id": "bob"},
        "action": {"name": "write"},
        "context": {"anything": 1},
        "evaluations": [
            {"resource": {"type": "record", "id": "record-2"}},
            {"resource": {"type": "record", "id": "record-1"}},
            {"resource": {"type": "record", "id": "record-2"}, "context": {}},
            {"subject": {"type": "user", "id": "alice"}, "resource": {"type": "record", "id": "record-1"}},
            {"action": {"name": "read"}, "resource": {"type": "record", "id": "record-1"}, "unheard": "of"},
        ],
    });
    assert_eq!(decisions(&body), [true, false, true, true, true]);
    for (semantic, expected) in [
        ("execute_all", &[true, false, true, true, true][..]),
        ("deny_on_first_deny", &[true, false]),
        ("permit_on_first_permit", &[true]),
    ] {
        body["options"] = json!({"evaluations_semantic": semantic, "unheard": "of"});
        assert_eq!(decisions(&body), expected, "{semantic}");
    }
    body["evaluations"].as_array_mut().unwrap().rotate_left(1);
    assert_eq!(decisions(&body), [false, true]);
    body["options"] = json!({"evaluations_semantic": "whatever"});
    let refused = scenario.ask("/access/v1/evaluations", &body);
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(refused.text.contains("permit_on_first_permit"));
}

#[test]
fn an_item_replaces_a_default_whole_and_takes_only_its_name_from_it() {
    let scenario = scenario();
    let body = json!({
        "subject": {"type": "user", "id": "alice"},
        "action": {"name": "read", "properties": {"soft": true}},
        "resource": {"type": "record", "id": "record-1", "properties": {"status": "active"}},
        "evaluations": [
            {},
            {"resource": {"id": "record-1"}},
            {"resource": {"id": "record-2"}},
            {"resource": {"type": "record"}},
            {"resource": {"type": "space"}},
            {"action": {"properties": {}}},
            {"subject": {"id": "bob"}, "action": {"name": "write"}},
        ],
    });
    let told = scenario.told("/access/v1/evaluations", &body);
    let expected = [true, true, false, true, false, true, false];
    let expected: Vec<Value> = expected
        .map(|decision| json!({"decision": decision}))
        .to_vec();
    assert_eq!(told["evaluations"], json!(expected));
}

#[test]
fn an_item_that_is_wrong_fails_alone() {
    let scenario = scenario();
    let good = question("alice", "read", "record-1");
    let without = |part: &str| {
        let mut item = good.clone();
        item.as_object_mut().unwrap().remove(part);
        item
    };
    let with = |pointer: &str, value: Value| {
        let mut item = good.clone();
        *item.pointer_mut(pointer).unwrap() = value;
        item
    };
    let items = [
        good.clone(),
        without("resource"),
        without("subject"),
        without("action"),
        with("/subject", json!("alice")),
        with("/subject", Value::Null),
        with("/action/name", json!(7)),
        with("/resource", json!({"type": "record"})),
        with("/resource/id", Value::Null),
        json!("an item"),
        json!(["an item"]),
        good.clone(),
    ];
    let body = json!({"evaluations": items});
    let told = scenario.told("/access/v1/evaluations", &body);
    let told = told["evaluations"].as_array().unwrap();
    assert_eq!(told.len(), items.len());
    for (item, answer) in items.iter().zip(told) {
        if *item == good {
            assert_eq!(*answer, json!({"decision": true}));
            continue;
        }
        assert_eq!(answer["decision"], false, "{item}");
        let error = &answer["context"]["error"];
        assert_eq!(error["status"], 400, "{item}: {answer}");
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
    assert_eq!(
        told[1],
        json!({"decision": false, "context": {"error": {"status": 400, "message": "`resource`: is missing"}}})
    );
    // A failure stops the batch like a deny, and is not an allow.
    for (semantic, expected) in [("deny_on_first_deny", 2), ("permit_on_first_permit", 1)] {
        let body = json!({"evaluations": items, "options": {"evaluations_semantic": semantic}});
        let told = scenario.told("/access/v1/evaluations", &body);
        assert_eq!(
            told["evaluations"].as_array().unwrap().len(),
            expected,
            "{semantic}"
        );
    }
}

#[test]
fn a_batch_has_a_bound() {
    let scenario = scenario();
    let body = |items: usize| json!({"subject": {"type": "user", "id": "alice"}, "evaluations": vec![json!({}); items]});
    let told = scenario.told("/access/v1/evaluations", &body(1000));
    assert_eq!(told["evaluations"].as_array().unwrap().len(), 1000);
    let refused = scenario.ask("/access/v1/evaluations", &body(1001));
    assert_eq!(refused.status, 400);
    assert!(
        refused.text.contains("`evaluations`: has 1001 items"),
        "{}",
        refused.text
    );
}

fn names(told: &Value, member: &str) -> Vec<String> {
    assert!(told["page"]["next_token"].is_string(), "{told}");
    let results = told["results"].as_array().unwrap();
    assert_eq!(told["page"]["count"], results.len());
    results
        .iter()
        .map(|one| one[member].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_search_rules_hold() {
    let scenario = scenario();
    let user = |id: &str| json!({"type": "user", "id": id});
    let record = |id: &str| json!({"type": "record", "id": id});
    let subjects = |action: &str, resource: &str| {
        let mut body = json!({
            "subject": {"type": "user", "id": "ignored"}, "action": {"name": action}, "resource": record(resource),
        });
        let with_id = scenario.told("/access/v1/search/subject", &body);
        body["subject"]["id"] = json!(7);
        assert_eq!(scenario.told("/access/v1/search/subject", &body), with_id);
        body["subject"] = json!({"type": "user"});
        body["context"] = json!({});
        assert_eq!(scenario.told("/access/v1/search/subject", &body), with_id);
        let told = names(&with_id, "id");
        assert!(
            with_id["results"]
                .as_array()
                .unwrap()
                .iter()
                .all(|one| one["type"] == "user")
        );
        told
    };
    let admin = subjects("read", "record-2").remove(0);
    // The founder, who may do everything, has no alias.
    assert!(!["alice", "bob"].contains(&admin.as_str()));
    assert_eq!(
        subjects("read", "record-1"),
        [admin.as_str(), "alice", "bob"]
    );
    assert_eq!(subjects("write", "record-1"), [admin.as_str(), "alice"]);
    assert_eq!(subjects("write", "record-2"), [admin.as_str(), "bob"]);
    let resources = |subject: &str, action: &str| {
        let mut body = json!({
            "subject": user(subject), "action": {"name": action}, "resource": {"type": "record"},
        });
        let told = scenario.told("/access/v1/search/resource", &body);
        body["resource"]["id"] = json!("ignored");
        assert_eq!(scenario.told("/access/v1/search/resource", &body), told);
        names(&told, "id")
    };
    assert_eq!(resources("alice", "read"), ["record-1"]);
    assert_eq!(resources("bob", "read"), ["record-1", "record-2"]);
    assert_eq!(resources("bob", "write"), ["record-2"]);
    let actions = |subject: &str, resource: &str| {
        let mut body = json!({"subject": user(subject), "resource": record(resource)});
        let told = scenario.told("/access/v1/search/action", &body);
        body["action"] = json!(7);
        assert_eq!(scenario.told("/access/v1/search/action", &body), told);
        names(&told, "name")
    };
    assert_eq!(actions("alice", "record-1"), ["read", "write"]);
    assert_eq!(actions("bob", "record-1"), ["read"]);
    assert_eq!(actions("bob", "record-2"), ["read", "write"]);
}

#[test]
fn every_result_of_a_search_is_allowed_and_found_the_other_ways_round() {
    let scenario = scenario();
    let body = json!({"subject": {"type": "user"}, "action": {"name": "write"}, "resource": {"type": "record", "id": "record-2"}});
    for subject in names(&scenario.told("/access/v1/search/subject", &body), "id") {
        let one = question(&subject, "write", "record-2");
        assert_eq!(
            scenario.told("/access/v1/evaluation", &one)["decision"],
            true
        );
        let mut other = one.clone();
        other["resource"].as_object_mut().unwrap().remove("id");
        let resources = scenario.told("/access/v1/search/resource", &other);
        assert!(names(&resources, "id").contains(&"record-2".to_owned()));
        let actions = scenario.told("/access/v1/search/action", &one);
        assert!(names(&actions, "name").contains(&"write".to_owned()));
    }
}

#[test]
fn an_unknown_name_is_found_nowhere() {
    let scenario = scenario();
    let empty = json!({"page": {"next_token": "", "count": 0, "total": 0}, "results": []});
    let good = question("alice", "read", "record-1");
    for (pointer, value) in [
        ("/subject/type", "robot"),
        ("/subject/id", "carol"),
        ("/subject/id", ""),
        ("/subject/id", "carol@example.com"),
        ("/action/name", "fly"),
        ("/action/name", "project_read"),
        ("/resource/type", "planet"),
        ("/resource/id", "record-9"),
    ] {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = json!(value);
        let told = scenario.told("/access/v1/evaluation", &body);
        assert_eq!(told, json!({"decision": false}), "{body}");
        for (kind, ignored) in [
            ("subject", "/subject/id"),
            ("resource", "/resource/id"),
            ("action", "/action/name"),
        ] {
            if ignored != pointer {
                let told = scenario.told(&format!("/access/v1/search/{kind}"), &body);
                assert_eq!(told, empty, "{kind} {body}");
            }
        }
    }
}

#[test]
fn discovery_says_where_everything_is_whatever_host_was_asked() {
    let scenario = scenario();
    let path = "/.well-known/authzen-configuration";
    let expected = json!({
        "policy_decision_point": PUBLIC_URL,
        "access_evaluation_endpoint": format!("{PUBLIC_URL}/access/v1/evaluation"),
        "access_evaluations_endpoint": format!("{PUBLIC_URL}/access/v1/evaluations"),
        "search_subject_endpoint": format!("{PUBLIC_URL}/access/v1/search/subject"),
        "search_resource_endpoint": format!("{PUBLIC_URL}/access/v1/search/resource"),
        "search_action_endpoint": format!("{PUBLIC_URL}/access/v1/search/action"),
    });
    for (name, value) in [
        ("Accept", "application/json"),
        ("Host", "evil.example.com"),
        ("X-Forwarded-Host", "evil.example.com"),
        ("Forwarded", "host=evil.example.com;proto=http"),
        ("Authorization", "Bearer nonsense"),
    ] {
        let request = scenario.served.request("GET", path).header(name, value);
        let answer = scenario.served.run(request.body(()).unwrap());
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.body, expected, "{name}");
    }
    for (method, path, status) in [
        ("POST", path.to_owned(), 405),
        ("GET", format!("{path}/"), 404),
        ("GET", format!("{path}/tenant"), 404),
        ("GET", format!("{path}?x=1"), 400),
    ] {
        let (answered, _) = scenario.served.send(None, method, &path, None);
        assert_eq!(answered, status, "{method} {path}");
    }
    for url in [
        None,
        Some("http://pdp.example.com"),
        Some("https://example.com/pdp"),
    ] {
        let served = crate::personas::Builder::new().served;
        let served = served.again(|options| {
            options.public_url = url.map(|url| bindery_api::PublicUrl::parse(url).unwrap());
        });
        let (status, body) = served.send(None, "GET", path, None);
        assert_eq!(status, 404, "{url:?}");
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.contains("--public-url"), "{detail}");
    }
}

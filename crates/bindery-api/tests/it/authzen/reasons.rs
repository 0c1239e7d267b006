//! Reasons of decisions and explanations, over HTTP.

use serde_json::{Value, json};

use super::certification::scenario;
use super::question;

#[test]
fn reasons_come_when_they_are_asked_for_with_ids_and_a_sentence() {
    let scenario = scenario();
    let mut body = question("alice", "read", "record-1");
    body["options"] = json!({"explain": true});
    let told = scenario.told("/access/v1/evaluation", &body);
    assert_eq!(told, scenario.told("/access/v1/evaluations", &body));
    assert_eq!(told["decision"], true);
    let reason = &told["context"]["reason"];
    let (_, bindings) = scenario.served.send(
        Some(&scenario.admin_key),
        "GET",
        &format!(
            "/v2/role-bindings?resource_type=PROJECT&user_id={}",
            scenario.ids["alice"]
        ),
        None,
    );
    let binding = &bindings["role_bindings"][0];
    assert_eq!(
        *reason,
        json!({
            "code": "project_binding",
            "text": "the role `writer`, bound to alice@example.com on the project `record-1`, grants PROJECT_READ",
            "held_on": {"type": "project", "id": scenario.ids["record-1"]},
            "role_name": "writer",
            "role_id": binding["role_id"],
            "role_binding_id": binding["id"],
        })
    );
    assert!(told["context"].get("smallest_grants").is_none(), "{told}");
    for off in [json!({"explain": false}), json!({})] {
        body["options"] = off;
        assert_eq!(
            scenario.told("/access/v1/evaluation", &body),
            json!({"decision": true})
        );
    }
}

#[test]
fn what_is_said_to_be_enough_is_an_operation_and_is_enough() {
    let scenario = scenario();
    let mut body = question("bob", "write", "record-1");
    body["options"] = json!({"explain": true});
    let told = scenario.told("/access/v1/evaluation", &body);
    assert_eq!(told["context"]["reason"]["code"], "nothing_held");
    let grants = told["context"]["smallest_grants"].as_array().unwrap();
    // `writer` and nothing more: each predefined role with the permission has more.
    assert_eq!(grants.len(), 1, "{told}");
    let grant = &grants[0];
    assert_eq!(grant["operation"], "update_role_binding");
    assert_eq!(grant["role_name"], "writer");
    assert_eq!(grant["permissions_gained"], 1);
    assert_eq!(
        grant["text"],
        "give bob@example.com the role `writer` instead of the role `reader` in the binding on the project `record-1`: \
         that brings PROJECT_UPDATE and nothing else"
    );
    let path = format!(
        "/v2/role-bindings/{}",
        grant["role_binding_id"].as_str().unwrap()
    );
    let body_of_patch = json!({"role_id": grant["role_id"]}).to_string();
    let (status, _) = scenario.served.send(
        Some(&scenario.admin_key),
        "PATCH",
        &path,
        Some(&body_of_patch),
    );
    assert_eq!(status, 200);
    assert_eq!(
        scenario.told("/access/v1/evaluation", &body)["decision"],
        true
    );
}

#[test]
fn items_of_a_batch_carry_reasons_or_errors_and_have_a_bound() {
    let scenario = scenario();
    let body = json!({
        "subject": {"type": "user", "id": "alice"},
        "action": {"name": "read"},
        "options": {"explain": true},
        "evaluations": [
            {"resource": {"type": "record", "id": "record-1"}},
            {"resource": {"type": "record", "id": "record-2"}},
            {"resource": {"type": "record", "id": "record-9"}},
            {"resource": {"type": "record", "id": "record-1"}, "action": {"name": "fly"}},
            {"resource": {"type": "record", "id": "record-1"}, "subject": {"id": "carol"}},
            {},
        ],
    });
    let told = scenario.told("/access/v1/evaluations", &body);
    let codes: Vec<&Value> = told["evaluations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["context"]["reason"]["code"])
        .collect();
    let expected = [
        json!("project_binding"),
        json!("nothing_held"),
        json!("unknown_resource"),
        json!("unknown_action"),
        json!("unknown_subject"),
        Value::Null,
    ];
    assert_eq!(codes, expected.iter().collect::<Vec<_>>());
    assert_eq!(told["evaluations"][5]["context"]["error"]["status"], 400);
    let mut body = body;
    body["options"]["evaluations_semantic"] = json!("deny_on_first_deny");
    let cut = scenario.told("/access/v1/evaluations", &body);
    assert_eq!(cut["evaluations"].as_array().unwrap().len(), 2);
    let items =
        |count: usize| vec![json!({"resource": {"type": "record", "id": "record-1"}}); count];
    body["evaluations"] = json!(items(100));
    assert_eq!(scenario.ask("/access/v1/evaluations", &body).status, 200);
    body["evaluations"] = json!(items(101));
    let refused = scenario.ask("/access/v1/evaluations", &body);
    assert_eq!(refused.status, 400);
    assert!(
        refused
            .text
            .contains("at most 100 are accepted with `options.explain`")
    );
}

#[test]
fn an_explanation_shows_every_way() {
    let scenario = scenario();
    let ids = |mut told: Value| -> Value {
        // Ids have a check keyed by the account; the test above covers them.
        fn blank(value: &mut Value) {
            match value {
                Value::Object(members) => {
                    for (name, member) in members {
                        if name == "id" || name.ends_with("_id") {
                            *member = json!("…");
                        } else {
                            blank(member);
                        }
                    }
                }
                Value::Array(items) => items.iter_mut().for_each(blank),
                _ => {}
            }
        }
        blank(&mut told);
        told
    };
    let told = scenario.told("/bindery/v1/explain", &question("bob", "write", "record-1"));
    insta::assert_json_snapshot!("explanation", ids(told));
    let told = scenario.told("/bindery/v1/explain", &question("bob", "fly", "record-1"));
    insta::assert_json_snapshot!("explanation_of_no_action", ids(told));
    let account = json!({
        "subject": {"type": "user", "id": "bob"},
        "action": {"name": "USER_DELETE"},
        "resource": {"type": "account", "id": "account"},
    });
    let told = scenario.told("/bindery/v1/explain", &account);
    insta::assert_json_snapshot!("explanation_on_the_account", ids(told));
}

#[test]
fn a_caller_who_asks_about_themselves_reads_nothing_that_they_cannot_see() {
    let scenario = scenario();
    let key = crate::personas::issue(&scenario.served, 1, "alice@example.com", false);
    let ask = |resource: &str| {
        let body = question("alice", "read", resource).to_string();
        let answer = super::post(&scenario.served, &key, "/bindery/v1/explain", &body);
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.text
    };
    assert_eq!(ask("record-2"), ask("record-9"));
    assert_ne!(ask("record-1"), ask("record-9"));
    // She can't see the parents either, by name or id.
    let told = ask("record-1");
    for name in ["space", "organization"] {
        assert!(!told.contains(&scenario.ids[name]), "{told}");
    }
    assert!(
        !told.contains("`records`") && !told.contains("`acme`"),
        "{told}"
    );
    let other = question("bob", "read", "record-1").to_string();
    let refused = super::post(&scenario.served, &key, "/bindery/v1/explain", &other);
    assert_eq!(refused.status, 403);
}

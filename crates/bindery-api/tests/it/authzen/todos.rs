//! The todo interop scenario, as far as it needs no properties: five people with the roles viewer, editor,
//! admin and `evil_genius`. Editors change their own todos; only `resource.properties.ownerID` says which, so
//! that part is left out.

use serde_json::{Value, json};

use super::{Scenario, Words};

fn scenario() -> Scenario {
    let words = Words {
        subject_types: json!({}),
        resource_types: json!({"todo": "project", "user": "account"}),
        actions: json!({
            "can_read_user": "USER_READ",
            "can_read_todos": "PROJECT_READ",
            "can_create_todo": "PROJECT_SPAN_CREATE",
            "can_update_todo": "PROJECT_UPDATE",
            "can_delete_todo": "PROJECT_DELETE",
        }),
    };
    Scenario::found(
        &words,
        &[
            ("viewer", &["PROJECT_READ"]),
            ("editor", &["PROJECT_READ", "PROJECT_SPAN_CREATE"]),
            (
                "admin",
                &["PROJECT_READ", "PROJECT_SPAN_CREATE", "PROJECT_DELETE"],
            ),
            (
                "evil_genius",
                &["PROJECT_READ", "PROJECT_SPAN_CREATE", "PROJECT_UPDATE"],
            ),
        ],
        &["todo-1"],
        &["rick", "morty", "summer", "beth", "jerry"],
        &[
            // Rick has two roles: their union counts.
            ("rick", "admin", "space"),
            ("rick", "evil_genius", "todo-1"),
            ("morty", "editor", "space"),
            ("summer", "editor", "todo-1"),
            ("beth", "viewer", "space"),
            ("jerry", "viewer", "todo-1"),
        ],
        &json!({"account": {"beth@the-smiths.com": "account"}}),
    )
}

const PEOPLE: [&str; 5] = ["rick", "morty", "summer", "beth", "jerry"];

/// The action, the type and id of its resource, and who may.
const RULES: [(&str, &str, &str, &[&str]); 3] = [
    ("can_read_user", "user", "beth@the-smiths.com", &PEOPLE),
    ("can_read_todos", "todo", "todo-1", &PEOPLE),
    (
        "can_create_todo",
        "todo",
        "todo-1",
        &["rick", "morty", "summer"],
    ),
];

/// Actions whose result does not depend on the owner of the todo.
const CHANGES: [&str; 2] = ["can_update_todo", "can_delete_todo"];

fn expected() -> Vec<(Value, bool)> {
    let ask = |subject: &str, action: &str, kind: &str, id: &str| {
        json!({
            "subject": {"type": "user", "id": subject},
            "action": {"name": action},
            "resource": {"type": kind, "id": id, "properties": {"ownerID": "somebody@the-citadel.com"}},
        })
    };
    let mut cases = Vec::new();
    for (action, kind, id, who) in RULES {
        for person in PEOPLE {
            cases.push((ask(person, action, kind, id), who.contains(&person)));
        }
    }
    for action in CHANGES {
        for person in ["rick", "beth", "jerry"] {
            cases.push((ask(person, action, "todo", "todo-1"), person == "rick"));
        }
    }
    cases
}

#[test]
fn every_evaluation_that_needs_no_properties_is_as_expected() {
    let scenario = scenario();
    let cases = expected();
    assert_eq!(cases.len(), 21);
    for (body, decision) in &cases {
        let told = scenario.told("/access/v1/evaluation", body);
        assert_eq!(told, json!({"decision": decision}), "{body}");
    }
    let items: Vec<&Value> = cases.iter().map(|(body, _)| body).collect();
    let told = scenario.told("/access/v1/evaluations", &json!({"evaluations": items}));
    let decisions: Vec<Value> = cases
        .iter()
        .map(|(_, yes)| json!({"decision": yes}))
        .collect();
    assert_eq!(told, json!({"evaluations": decisions}));
}

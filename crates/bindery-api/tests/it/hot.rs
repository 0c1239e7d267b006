//! The hot path and the handlers give the same response.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use crate::personas::Company;
use crate::served::Served;

const ACTIONS: [&str; 4] = [
    "PROJECT_READ",
    "PROJECT_RESTRICT",
    "SPACE_UPDATE",
    "nothing",
];

fn kind_of(id: &str) -> Option<String> {
    let bytes = STANDARD_NO_PAD.decode(id.trim_end_matches('=')).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    Some(text.split_once(':')?.0.to_owned())
}

/// Type and id of existing things, two of each kind, and of unknown ones.
fn entities(company: &Company, kinds: [(&str, &str); 3]) -> Vec<Value> {
    let mut entities = vec![
        json!({"type": "user", "id": "nobody@example.com"}),
        json!({"type": "project", "id": "x"}),
        json!({"type": "thing", "id": "y"}),
    ];
    for (tag, name) in kinds {
        let ids = company
            .ids
            .values()
            .filter(|id| kind_of(id).as_deref() == Some(tag));
        entities.extend(ids.take(2).map(|id| json!({"type": name, "id": id})));
    }
    entities
}

/// The whole response, except its time.
#[derive(Debug, PartialEq)]
struct Whole {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

fn send(served: &Served, key: Option<&str>, path: &str, body: &Value) -> Whole {
    let mut request = served
        .request("POST", path)
        .header("Content-Type", "application/json")
        .header("X-Request-ID", "the-same");
    if let Some(key) = key {
        request = request.header("Authorization", format!("Bearer {key}"));
    }
    let answer = served.run(request.body(body.to_string()).unwrap());
    let headers = answer.headers.iter().filter(|(name, _)| *name != "date");
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    Whole {
        status: answer.status,
        headers: headers.collect(),
        body: answer.text,
    }
}

/// Empty options keep a request off the hot path.
fn cold(mut body: Value) -> Value {
    body["options"] = json!({});
    body
}

#[test]
fn the_hot_path_and_the_handlers_give_every_caller_the_same_response() {
    let company = Company::found();
    let served = Served::copy_of(company.directory.path(), company.now_ms);
    let subjects = entities(
        &company,
        [
            ("User", "user"),
            ("ApiKey", "service_key"),
            ("Role", "user"),
        ],
    );
    let resources = entities(
        &company,
        [
            ("Organization", "organization"),
            ("Space", "space"),
            ("Model", "project"),
        ],
    );
    let mut statuses = BTreeSet::new();
    let mut decisions = BTreeSet::new();
    for key in &company.keys {
        let key = key.as_deref();
        let mut items = Vec::new();
        for subject in &subjects {
            let asked = resources
                .iter()
                .flat_map(|resource| ACTIONS.map(|action| (resource, action)));
            for (resource, action) in asked {
                let one =
                    json!({"subject": subject, "action": {"name": action}, "resource": resource});
                let hot = send(&served, key, "/access/v1/evaluation", &one);
                assert_eq!(
                    hot,
                    send(&served, key, "/access/v1/evaluation", &cold(one.clone())),
                    "{one}"
                );
                statuses.insert(hot.status);
                let told: Value = serde_json::from_str(&hot.body).unwrap();
                decisions.insert(told["decision"].as_bool());
                items.push(one);
            }
        }
        for items in [&items[..], &items[..1], &[]] {
            let batch = json!({
                "subject": subjects[0], "action": {"name": "PROJECT_READ"}, "resource": resources[0], "evaluations": items,
            });
            let hot = send(&served, key, "/access/v1/evaluations", &batch);
            assert_eq!(
                hot,
                send(&served, key, "/access/v1/evaluations", &cold(batch))
            );
        }
        let bare: Vec<Value> = resources
            .iter()
            .map(|resource| json!({"resource": resource}))
            .collect();
        for subject in &subjects {
            let batch = json!({"subject": subject, "action": {"name": "PROJECT_READ"}, "evaluations": bare});
            let hot = send(&served, key, "/access/v1/evaluations", &batch);
            assert_eq!(
                hot,
                send(&served, key, "/access/v1/evaluations", &cold(batch))
            );
        }
    }
    assert_eq!(statuses, BTreeSet::from([200, 401, 403]));
    assert_eq!(
        decisions,
        BTreeSet::from([None, Some(false), Some(true)]),
        "there was something to compare"
    );
}

//! AuthZEN over HTTP: the certification scenario and other cases, the todo scenario, who may ask, and pages.

use bindery_api::{Aliases, PublicUrl};
use serde_json::{Value, json};
use ureq::http::HeaderMap;

use crate::personas::{Builder, issue};
use crate::served::{Answered, Served};

mod asking;
mod certification;
mod forms;
mod pages;
mod reasons;
mod todos;

pub(crate) const PUBLIC_URL: &str = "https://pdp.example.com";

/// Records in a space `records`, people with roles on them, and a program that asks about everyone with its
/// own names.
pub(crate) struct Scenario {
    pub(crate) served: Served,
    pub(crate) admin_key: String,
    /// The key of the program.
    pub(crate) key: String,
    /// The ids of the names: people, roles, records, `space` and `organization`.
    pub(crate) ids: std::collections::BTreeMap<String, String>,
}

/// The names that the program uses.
pub(crate) struct Words {
    pub(crate) subject_types: Value,
    pub(crate) resource_types: Value,
    pub(crate) actions: Value,
}

impl Scenario {
    /// Creates people with a role bound on a record or on the space: `(person, role, where)`.
    pub(crate) fn found(
        words: &Words,
        roles: &[(&str, &[&str])],
        records: &[&str],
        people: &[&str],
        held: &[(&str, &str, &str)],
        further: &Value,
    ) -> Self {
        let mut builder = Builder::new();
        let organization = builder.make("org", "/v2/organizations", &json!({"name": "acme"}));
        let space = json!({"name": "records", "organization_id": organization, "is_private": true});
        let space = builder.make("space", "/v2/spaces", &space);
        let mut ids = std::collections::BTreeMap::from([
            ("organization".to_owned(), organization),
            ("space".to_owned(), space.clone()),
        ]);
        for record in records {
            let body = json!({"name": record, "space_id": space});
            ids.insert(
                (*record).to_owned(),
                builder.make(record, "/v2/projects", &body),
            );
        }
        for (role, permissions) in roles {
            let body = json!({"name": role, "permissions": permissions});
            ids.insert((*role).to_owned(), builder.make(role, "/v2/roles", &body));
        }
        for person in people {
            let id = builder.person(person, "MEMBER", true);
            ids.insert((*person).to_owned(), id);
        }
        for (person, role, place) in held {
            let kind = if *place == "space" {
                "SPACE"
            } else {
                "PROJECT"
            };
            let body = json!({
                "user_id": ids[*person], "role_id": ids[*role], "resource_type": kind, "resource_id": ids[*place],
            });
            builder.ask("POST", "/v2/role-bindings", &body);
        }
        builder.person("program", "MEMBER", true);
        let key = issue(&builder.served, 1, "program@example.com", true);
        let named = |names: &[&str]| -> Value {
            let named = names
                .iter()
                .map(|name| ((*name).to_owned(), json!(ids[*name])));
            Value::Object(named.collect())
        };
        let mut aliases = json!({
            "subject_types": words.subject_types,
            "resource_types": words.resource_types,
            "actions": words.actions,
            "subjects": {"user": named(people)},
            "resources": {"project": named(records)},
        });
        if let Some(further) = further.as_object() {
            for (kind, names) in further {
                aliases["resources"][kind] = names.clone();
            }
        }
        let aliases = Aliases::parse(&aliases.to_string()).unwrap();
        let Builder {
            served, admin_key, ..
        } = builder;
        let served = served.again(|options| {
            options.aliases = aliases;
            options.public_url = Some(PublicUrl::parse(PUBLIC_URL).unwrap());
        });
        Self {
            served,
            admin_key,
            key,
            ids,
        }
    }

    /// Sends a request with the program's key.
    pub(crate) fn ask(&self, path: &str, body: &Value) -> Answered {
        post(&self.served, &self.key, path, &body.to_string())
    }

    /// Sends a request with the program's key, and expects success.
    pub(crate) fn told(&self, path: &str, body: &Value) -> Value {
        let answer = self.ask(path, body);
        assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text);
        assert_eq!(answer.headers["content-type"], "application/json");
        assert!(revision_of(&answer.headers) > 0);
        answer.body
    }
}

pub(crate) fn post(served: &Served, key: &str, path: &str, body: &str) -> Answered {
    let request = served
        .request("POST", path)
        .header("Content-Type", "application/json")
        .header("Authorization", format!("Bearer {key}"));
    served.run(request.body(body.to_owned()).unwrap())
}

pub(crate) fn revision_of(headers: &HeaderMap) -> u64 {
    let revision = headers["bindery-revision"].to_str().unwrap();
    revision.parse().unwrap()
}

pub(crate) fn question(subject: &str, action: &str, resource: &str) -> Value {
    json!({
        "subject": {"type": "user", "id": subject},
        "action": {"name": action},
        "resource": {"type": "record", "id": resource},
    })
}

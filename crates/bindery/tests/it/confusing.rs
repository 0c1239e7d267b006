//! `bindery explain` and `POST /bindery/v1/explain` on confusing cases in one company: the first line alone
//! must be clear to a reader who doesn't know the rules.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::ask::bindery;
use crate::support::{ADMIN_KEY, Client, Server, text};

/// The question, and why it is confusing; as `who PERMISSION where`.
const WONDERS: [(&str, &str); 12] = [
    (
        "all members read the public space, and ann, who was given a small role there, doesn't",
        "ann PROJECT_READ blue/sonar",
    ),
    (
        "ben's role on the space has it, and the project is restricted",
        "ben PROJECT_READ red/vault",
    ),
    (
        "ben, whom the restriction keeps out, may lift it",
        "ben PROJECT_RESTRICT red/vault",
    ),
    (
        "the crawler is member of the organization, and the space is public",
        "crawler PROJECT_READ blue/sonar",
    ),
    (
        "cat is admin of an organization, but of another one",
        "cat PROJECT_READ red/sonar",
    ),
    (
        "dan has a role with USER_DELETE, on a space",
        "dan USER_DELETE account",
    ),
    (
        "eve is annotator in the account and the organization, and the space is public",
        "eve PROJECT_READ blue/sonar",
    ),
    (
        "fay works on a project, and can't open the space that it is in",
        "fay SPACE_READ red",
    ),
    (
        "gus is member of the organization, and the space is private",
        "gus PROJECT_READ red/sonar",
    ),
    (
        "ida was made admin of the organization, and can't do anything",
        "ida PROJECT_READ red/sonar",
    ),
    (
        "joe was admin of everything yesterday",
        "joe PROJECT_READ red/sonar",
    ),
    (
        "the miner's key was revoked",
        "miner PROJECT_READ red/sonar",
    ),
];

struct Company {
    admin: Client,
    ids: BTreeMap<String, String>,
}

impl Company {
    fn make(&mut self, name: &str, path: &str, body: &Value) {
        let made = self.admin.post(path, body);
        self.ids.insert(name.to_owned(), text(&made, "id"));
    }

    fn put(&self, method: &str, path: &str, body: Option<&Value>) {
        let (status, told) = self.admin.try_send(method, path, body).unwrap();
        assert!((200..300).contains(&status), "{method} {path}: {told}");
    }

    fn person(&mut self, name: &str, role: &str, invite_mode: &str) {
        let body = json!({
            "name": name, "email": format!("{name}@example.com"), "invite_mode": invite_mode,
            "role": {"type": "PREDEFINED", "name": role},
        });
        self.make(name, "/v2/users", &body);
    }

    fn seat(&self, name: &str, organization: &str, role: &str) {
        let path = format!("/v2/organizations/{}/users", self.ids[organization]);
        let role = json!({"type": "PREDEFINED", "name": role});
        let body = json!({"user_id": self.ids[name], "role": role});
        self.put("POST", &path, Some(&body));
    }

    fn bind(&self, name: &str, role: &str, place: &str) {
        let kind = if place.contains('/') {
            "PROJECT"
        } else {
            "SPACE"
        };
        let body = json!({
            "user_id": self.ids[name], "role_id": self.ids[role], "resource_type": kind, "resource_id": self.ids[place],
        });
        self.admin.post("/v2/role-bindings", &body);
    }

    fn machine(&mut self, name: &str) {
        let member = json!({"type": "PREDEFINED", "name": "MEMBER"});
        let spaces = json!([{"space_id": self.ids["red"], "role": member}]);
        let body = json!({
            "key_type": "SERVICE", "name": name,
            "organizations": [{"org_id": self.ids["acme"], "role": member, "spaces": spaces}],
        });
        self.make(name, "/v2/api-keys", &body);
    }

    fn found(admin: Client) -> Self {
        let mut company = Self {
            admin,
            ids: BTreeMap::from([("account".to_owned(), "account".to_owned())]),
        };
        for organization in ["acme", "globex"] {
            company.make(
                organization,
                "/v2/organizations",
                &json!({"name": organization}),
            );
        }
        for (space, is_private) in [("red", true), ("blue", false)] {
            let acme = &company.ids["acme"];
            let body = json!({"name": space, "organization_id": acme, "is_private": is_private});
            company.make(space, "/v2/spaces", &body);
            for project in ["sonar", "vault"] {
                let body = json!({"name": project, "space_id": company.ids[space]});
                company.make(&format!("{space}/{project}"), "/v2/projects", &body);
            }
            let vault = &company.ids[&format!("{space}/vault")];
            let body = json!({"resource_id": vault});
            company.put("POST", "/v2/resource-restrictions", Some(&body));
        }
        for (role, permissions) in [
            ("Counter", &["DATASET_READ"][..]),
            ("Guard", &["PROJECT_READ", "PROJECT_RESTRICT"]),
            ("Everything", &["USER_DELETE", "SPACE_UPDATE"]),
        ] {
            let body = json!({"name": role, "permissions": permissions});
            company.make(role, "/v2/roles", &body);
        }
        let roles = company.admin.get("/v2/roles?is_predefined=true");
        for role in roles["roles"].as_array().unwrap() {
            company.ids.insert(text(role, "name"), text(role, "id"));
        }
        for name in ["ann", "ben", "cat", "dan", "fay", "gus"] {
            company.person(name, "MEMBER", "NONE");
        }
        company.person("eve", "ANNOTATOR", "NONE");
        company.person("ida", "MEMBER", "EMAIL_LINK");
        company.person("joe", "ADMIN", "NONE");
        company.seat("ann", "acme", "MEMBER");
        company.bind("ann", "Counter", "blue");
        company.bind("ben", "Guard", "red");
        company.seat("cat", "globex", "ADMIN");
        company.bind("dan", "Everything", "red");
        company.seat("eve", "acme", "ANNOTATOR");
        company.bind("fay", "Project Viewer", "red/sonar");
        company.seat("gus", "acme", "MEMBER");
        company.seat("ida", "acme", "ADMIN");
        company.put("DELETE", &format!("/v2/users/{}", company.ids["joe"]), None);
        company.machine("crawler");
        company.machine("miner");
        let revoke = format!("/v2/api-keys/{}/revoke", company.ids["miner"]);
        company.put("PUT", &revoke, None);
        company
    }
}

#[test]
fn what_people_wonder_about_is_explained_in_a_terminal_as_over_http() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let company = Company::found(server.client());
    let mut told = String::new();
    for (wonder, question) in WONDERS {
        let words: Vec<&str> = question.split(' ').collect();
        let [who, permission, place] = words[..] else {
            unreachable!("who, what, where");
        };
        let (who, place) = (&company.ids[who], &company.ids[place]);
        let ask = |command: &str, more: &[&str]| {
            let arguments = [&[command, who, permission, place], more].concat();
            let (code, told, error) = bindery(&arguments, Some(ADMIN_KEY), Some(&server.address));
            assert!(code < 2, "{question}: {error}");
            (code, told)
        };
        let (code, explained) = ask("explain", &[]);
        let (first, _) = explained.split_once('\n').unwrap();
        assert_eq!(
            ask("check", &[]),
            (code, format!("{first}\n")),
            "{question}"
        );
        let (_, answer) = ask("explain", &["--json"]);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let word = if answer["decision"] == true {
            "yes"
        } else {
            "no"
        };
        assert_eq!(
            first,
            format!("{word}: {}", text(&answer["reason"], "text"))
        );
        let _ = writeln!(told, "# {wonder}\n{question}\n{explained}");
    }
    assert_snapshot!("confusing", told);
    server.stop();
}

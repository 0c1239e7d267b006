//! A small company with a persona for every kind of caller, and the ids that the tests use.
//!
//! `acme` has a private space `red` and a public one `blue`, each with an open project `sonar`, a restricted
//! one `vault`, and tess: a member of both spaces with a binding on each space and each open project.

use std::collections::BTreeMap;

use bindery_api::KeyText;
use bindery_core::command::Caller;
use bindery_core::command::operator::{Bootstrap, IssueUserKey};
use bindery_core::id::{AccountId, IdKey};
use bindery_core::place::{Account, AccountSettings};
use bindery_core::text::{Email, KeyName, Name};
use serde_json::{Value, json};

use crate::served::Served;

/// A caller, and the space of their requests.
pub(crate) struct Persona {
    /// The head of their column.
    pub(crate) short: &'static str,
    /// Their description.
    pub(crate) long: &'static str,
    /// The space of their requests.
    pub(crate) space: &'static str,
    /// Their rights in the company, and their key.
    standing: Standing,
}

/// The rights of a persona.
#[derive(Clone, Copy)]
enum Standing {
    /// A person: account role, organization role, role in red by name or id, role bound on red's projects.
    Person(Person),
    /// A service key with these roles in the organization and in red.
    Bot(&'static str, &'static str),
    /// The admin of another account.
    Stranger,
    /// A person whose key is no longer valid.
    Ended { is_revoked: bool },
    /// No key at all.
    Nobody,
}

#[derive(Clone, Copy)]
struct Person {
    account: &'static str,
    is_developer: bool,
    /// Whether their key is an enforcement point.
    is_marked: bool,
    organization: Option<&'static str>,
    space: Option<&'static str>,
    project: Option<&'static str>,
}

const MEMBER: Person = Person {
    account: "MEMBER",
    is_developer: true,
    is_marked: false,
    organization: None,
    space: None,
    project: None,
};

const ORG_MEMBER: Person = Person {
    organization: Some("MEMBER"),
    ..MEMBER
};

const fn persona(
    short: &'static str,
    long: &'static str,
    space: &'static str,
    standing: Standing,
) -> Persona {
    Persona {
        short,
        long,
        space,
        standing,
    }
}

const fn in_space(role: &'static str) -> Standing {
    Standing::Person(Person {
        space: Some(role),
        ..ORG_MEMBER
    })
}

const fn on_projects(role: &'static str) -> Standing {
    Standing::Person(Person {
        project: Some(role),
        ..ORG_MEMBER
    })
}

#[rustfmt::skip]
pub(crate) const PERSONAS: [Persona; 24] = [
    persona("admin", "account admin", "red", Standing::Person(Person { account: "ADMIN", ..MEMBER })),
    persona("member", "account member, nowhere else", "red", Standing::Person(MEMBER)),
    persona("ui", "UI-only member with developer access, nowhere else", "red", Standing::Person(Person { account: "MEMBER_UI_ONLY", ..MEMBER })),
    persona("annot", "annotator of account, organization and space, with developer access", "red", Standing::Person(Person { account: "ANNOTATOR", organization: Some("ANNOTATOR"), space: Some("ANNOTATOR"), ..MEMBER })),
    persona("o-adm", "organization admin", "red", Standing::Person(Person { organization: Some("ADMIN"), ..MEMBER })),
    persona("o-mem", "organization member, outside of the private space", "red", Standing::Person(ORG_MEMBER)),
    persona("o-read", "organization read-only, outside of the private space", "red", Standing::Person(Person { organization: Some("READ_ONLY"), ..MEMBER })),
    persona("s-adm", "space admin", "red", in_space("ADMIN")),
    persona("s-mem", "space member", "red", in_space("MEMBER")),
    persona("s-read", "space read-only", "red", in_space("READ_ONLY")),
    persona("binder", "holder of a custom role on the space: reads, binds, makes service keys", "red", in_space("binder")),
    persona("guard", "holder of a custom role on the space: reads and restricts projects", "red", in_space("guard")),
    persona("p-adm", "project admin by bindings", "red", on_projects("Project Admin")),
    persona("p-edit", "project editor by bindings", "red", on_projects("Project Editor")),
    persona("p-view", "project viewer by bindings", "red", on_projects("Project Viewer")),
    persona("f-mem", "organization member in a public space, by the fallback", "blue", Standing::Person(ORG_MEMBER)),
    persona("f-read", "organization read-only in a public space, by the fallback", "blue", Standing::Person(Person { organization: Some("READ_ONLY"), ..MEMBER })),
    persona("bot", "service key, member of organization and space", "red", Standing::Bot("MEMBER", "MEMBER")),
    persona("pep", "account member with the key of an enforcement point, nowhere else", "red", Standing::Person(Person { is_marked: true, ..MEMBER })),
    persona("no-dev", "space admin without developer access", "red", Standing::Person(Person { is_developer: false, space: Some("ADMIN"), ..ORG_MEMBER })),
    persona("other", "admin of another account", "red", Standing::Stranger),
    persona("revkd", "account admin with a revoked key", "red", Standing::Ended { is_revoked: true }),
    persona("expird", "account admin with an expired key", "red", Standing::Ended { is_revoked: false }),
    persona("nobody", "no key", "red", Standing::Nobody),
];

/// The company on the disk.
pub(crate) struct Company {
    pub(crate) directory: tempfile::TempDir,
    /// The time of the requests.
    pub(crate) now_ms: i64,
    /// Each persona's key.
    pub(crate) keys: Vec<Option<String>>,
    /// Ids by name; those that depend on the space are `red.…` and `blue.…`.
    pub(crate) ids: BTreeMap<String, String>,
}

impl Company {
    pub(crate) fn found() -> Self {
        let mut builder = Builder::new();
        builder.build_places();
        builder.build_targets();
        let keys = PERSONAS
            .iter()
            .map(|persona| builder.admit(persona))
            .collect();
        // Past the expiry of the expired key.
        builder.served.wait_seconds(2 * 3600);
        Self {
            now_ms: builder.served.now_ms(),
            directory: builder.served.stop(),
            keys,
            ids: builder.ids,
        }
    }
}

/// Creates a company, as the founder of the first of two accounts.
pub(crate) struct Builder {
    pub(crate) served: Served,
    pub(crate) admin_key: String,
    pub(crate) ids: BTreeMap<String, String>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        let served = Served::new();
        let admin_key = found_account(&served, 1, "root@example.com");
        found_account(&served, 2, "stranger@example.com");
        Self {
            served,
            admin_key,
            ids: BTreeMap::new(),
        }
    }

    /// A key of the admin of the other account.
    pub(crate) fn other_account(&self) -> String {
        issue(&self.served, 2, "stranger@example.com", false)
    }

    /// Sends a request as the founder, who may do everything.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let (status, answer) = self
            .served
            .send(Some(&self.admin_key), method, path, Some(&body));
        assert!(
            (200..300).contains(&status),
            "{method} {path} {body}: {answer}"
        );
        answer
    }

    pub(crate) fn make(&mut self, name: &str, path: &str, body: &Value) -> String {
        let made = self.ask("POST", path, body);
        let id = made["id"].as_str().unwrap().to_owned();
        self.ids.insert(name.to_owned(), id.clone());
        id
    }

    /// The id of the thing with this name.
    pub(crate) fn id(&self, name: &str) -> &str {
        &self.ids[name]
    }

    fn build_places(&mut self) {
        let acme = self.make("acme", "/v2/organizations", &json!({"name": "acme"}));
        self.make("spare_org", "/v2/organizations", &json!({"name": "spare"}));
        for (space, is_private) in [("red", true), ("blue", false)] {
            let body = json!({"name": space, "organization_id": acme, "is_private": is_private});
            let id = self.make(space, "/v2/spaces", &body);
            self.ids.insert(format!("{space}.space"), id.clone());
            for project in ["sonar", "vault"] {
                let body = json!({"name": project, "space_id": id});
                self.make(&format!("{space}.{project}"), "/v2/projects", &body);
            }
            let vault = self.id(&format!("{space}.vault")).to_owned();
            self.ask(
                "POST",
                "/v2/resource-restrictions",
                &json!({"resource_id": vault}),
            );
        }
        let binder = [
            "SPACE_READ",
            "PROJECT_READ",
            "ROLE_BINDING_READ",
            "ROLE_BINDING_CREATE",
            "ROLE_BINDING_DELETE",
            "SERVICE_KEY_READ",
            "SERVICE_KEY_CREATE",
            "SERVICE_KEY_REVOKE",
        ];
        let guard = ["SPACE_READ", "PROJECT_READ", "PROJECT_RESTRICT"];
        self.make(
            "binder",
            "/v2/roles",
            &json!({"name": "binder", "permissions": binder}),
        );
        self.make(
            "guard",
            "/v2/roles",
            &json!({"name": "guard", "permissions": guard}),
        );
        self.make(
            "spare_role",
            "/v2/roles",
            &json!({"name": "spare", "permissions": ["PROJECT_READ"]}),
        );
        let roles = self.ask("GET", "/v2/roles?is_predefined=true", &Value::Null);
        for role in roles["roles"].as_array().unwrap() {
            let (name, id) = (role["name"].as_str().unwrap(), role["id"].as_str().unwrap());
            self.ids.insert(name.to_owned(), id.to_owned());
        }
    }

    /// The people and keys that requests are about.
    fn build_targets(&mut self) {
        let tess = self.person("tess", "MEMBER", true);
        let uma = self.person("uma", "MEMBER", true);
        let email = json!({
            "name": "ivy", "email": "ivy@example.com", "invite_mode": "EMAIL_LINK",
            "role": {"type": "PREDEFINED", "name": "MEMBER"},
        });
        self.make("ivy", "/v2/users", &email);
        for (name, user) in [("tess", &tess), ("uma", &uma)] {
            self.seat_in_organization(user, "MEMBER");
            self.ids.insert(name.to_owned(), user.clone());
        }
        for space in ["red", "blue"] {
            self.seat_in_space(&tess, space, "MEMBER");
            for (name, kind, resource) in
                [("space", "SPACE", "space"), ("project", "PROJECT", "sonar")]
            {
                let body = json!({
                    "user_id": tess, "role_id": self.id("binder"), "resource_type": kind,
                    "resource_id": self.id(&format!("{space}.{resource}")),
                });
                self.make(
                    &format!("{space}.{name}_binding"),
                    "/v2/role-bindings",
                    &body,
                );
            }
            let body = service_key(self.id("acme"), "READ_ONLY", self.id(space), "MEMBER");
            self.make(&format!("{space}.service_key"), "/v2/api-keys", &body);
        }
        for space in ["red", "blue"] {
            let body = service_key(self.id("acme"), "READ_ONLY", self.id(space), "READ_ONLY");
            let id = self.make(&format!("{space}.marked_key"), "/v2/api-keys", &body);
            self.mark(&id);
        }
        let body = service_key(self.id("acme"), "READ_ONLY", self.id("red"), "MEMBER");
        let id = self.make("dead_key", "/v2/api-keys", &body);
        self.ask("PUT", &format!("/v2/api-keys/{id}/revoke"), &Value::Null);
        let id = self.id("red.marked_key").to_owned();
        self.ids.insert("pep_key".to_owned(), id);
        let key = self.issue("tess@example.com");
        let (_, keys) = self.served.send(Some(&key), "GET", "/v2/api-keys", None);
        let id = keys["api_keys"][0]["id"].as_str().unwrap().to_owned();
        self.ids.insert("tess_key".to_owned(), id);
    }

    fn mark(&self, key: &str) {
        let path = format!("/bindery/v1/enforcement-points/{key}");
        self.ask("PUT", &path, &Value::Null);
    }

    /// Adds a persona, and gives them their key.
    fn admit(&mut self, persona: &Persona) -> Option<String> {
        let email = format!("{}@example.com", persona.short);
        match persona.standing {
            Standing::Person(person) => {
                let user = self.person(persona.short, person.account, person.is_developer);
                if let Some(role) = person.organization {
                    self.seat_in_organization(&user, role);
                }
                if let Some(role) = person.space {
                    self.seat_in_space(&user, persona.space, role);
                }
                for project in ["sonar", "vault"] {
                    if let Some(role) = person.project {
                        let body = json!({
                            "user_id": user, "role_id": self.id(role), "resource_type": "PROJECT",
                            "resource_id": self.id(&format!("{}.{project}", persona.space)),
                        });
                        self.ask("POST", "/v2/role-bindings", &body);
                    }
                }
                let key = issue(&self.served, 1, &email, person.is_marked);
                if !person.is_developer {
                    // With an earlier key: the operator's comes with developer access.
                    let off = json!({"is_developer": false});
                    self.ask("PATCH", &format!("/v2/users/{user}"), &off);
                }
                Some(key)
            }
            Standing::Bot(organization, space) => {
                let space_id = self.id(persona.space);
                let body = service_key(self.id("acme"), organization, space_id, space);
                let made = self.ask("POST", "/v2/api-keys", &body);
                Some(made["key"].as_str().unwrap().to_owned())
            }
            Standing::Stranger => Some(issue(&self.served, 2, "stranger@example.com", false)),
            Standing::Ended { is_revoked } => {
                self.person(persona.short, "ADMIN", true);
                let first = self.issue(&email);
                let body = if is_revoked {
                    r#"{"key_type":"USER","name":"to be revoked"}"#
                } else {
                    r#"{"key_type":"USER","name":"short","expires_at":"2026-01-01T01:00:00Z"}"#
                };
                let (status, made) =
                    self.served
                        .send(Some(&first), "POST", "/v2/api-keys", Some(body));
                assert_eq!(status, 201, "{made}");
                if is_revoked {
                    let id = made["id"].as_str().unwrap();
                    self.ask("PUT", &format!("/v2/api-keys/{id}/revoke"), &Value::Null);
                }
                Some(made["key"].as_str().unwrap().to_owned())
            }
            Standing::Nobody => None,
        }
    }

    pub(crate) fn person(&mut self, name: &str, role: &str, is_developer: bool) -> String {
        let body = json!({
            "name": name, "email": format!("{name}@example.com"), "invite_mode": "NONE",
            "role": {"type": "PREDEFINED", "name": role}, "is_developer": is_developer,
        });
        self.make(&format!("user {name}"), "/v2/users", &body)
    }

    pub(crate) fn seat_in_organization(&self, user: &str, role: &str) {
        let path = format!("/v2/organizations/{}/users", self.id("acme"));
        let role = json!({"type": "PREDEFINED", "name": role});
        self.ask("POST", &path, &json!({"user_id": user, "role": role}));
    }

    /// With a predefined role, or a custom one by its name.
    pub(crate) fn seat_in_space(&self, user: &str, space: &str, role: &str) {
        let path = format!("/v2/spaces/{}/users", self.id(space));
        let role = match self.ids.get(role) {
            Some(id) => json!({"type": "CUSTOM", "id": id}),
            None => json!({"type": "PREDEFINED", "name": role}),
        };
        self.ask("POST", &path, &json!({"user_id": user, "role": role}));
    }

    pub(crate) fn issue(&self, email: &str) -> String {
        issue(&self.served, 1, email, false)
    }
}

pub(crate) fn service_key(organization: &str, role: &str, space: &str, space_role: &str) -> Value {
    let predefined = |name: &str| json!({"type": "PREDEFINED", "name": name});
    let spaces = [json!({"space_id": space, "role": predefined(space_role)})];
    let place = json!({"org_id": organization, "role": predefined(role), "spaces": spaces});
    json!({"key_type": "SERVICE", "name": "machine", "organizations": [place]})
}

fn found_account(served: &Served, number: u32, email: &str) -> String {
    found_account_with(served, number, email, AccountSettings::default())
}

/// Another account, and the key of its admin.
pub(crate) fn found_account_with(
    served: &Served,
    number: u32,
    email: &str,
    settings: AccountSettings,
) -> String {
    let key = KeyText::generate().unwrap();
    let account = served
        .node
        .create_account(&Account {
            id: AccountId(number),
            name: Name::parse("main").unwrap(),
            id_key: IdKey::new([u8::try_from(number).unwrap(); 16]),
            created_at: served.node.clock().now(),
            settings,
        })
        .unwrap();
    let bootstrap = Bootstrap {
        name: Name::parse("Root").unwrap(),
        email: Email::parse(email).unwrap(),
        key_name: KeyName::parse("first").unwrap(),
        secret: key.secret(),
    };
    let executed = account.execute(bootstrap, Caller::Operator, None);
    served.runtime.block_on(executed).unwrap();
    key.reveal().to_owned()
}

pub(crate) fn issue(
    served: &Served,
    account: u32,
    email: &str,
    is_enforcement_point: bool,
) -> String {
    let key = KeyText::generate().unwrap();
    let issue = IssueUserKey {
        email: Email::parse(email).unwrap(),
        key_name: KeyName::parse("issued").unwrap(),
        secret: key.secret(),
        is_enforcement_point,
    };
    let account = served.account(account);
    let executed = account.execute(issue, Caller::Operator, None);
    served.runtime.block_on(executed).unwrap();
    key.reveal().to_owned()
}

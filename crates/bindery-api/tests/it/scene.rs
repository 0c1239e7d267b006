//! A company in which mallory, a plain member, tries to get more than mallory was given.

use serde_json::{Value, json};

use crate::personas::Builder;

/// A chosen password.
pub(crate) const CHOSEN: &str = "correct horse battery";
/// Another one.
pub(crate) const OTHER: &str = "another horse battery";

pub(crate) fn role(name: &str) -> Value {
    json!({"type": "PREDEFINED", "name": name})
}

/// The company, with the key of mallory.
pub(crate) struct Scene {
    pub(crate) builder: Builder,
    pub(crate) acme: String,
    pub(crate) mallory: String,
}

/// Gives something to a person.
type Gift = fn(&Scene, &Value);

impl Scene {
    pub(crate) fn new() -> Self {
        let mut builder = Builder::new();
        let acme = builder.make("acme", "/v2/organizations", &json!({"name": "acme"}));
        for (space, is_private) in [("red", true), ("blue", false)] {
            let body = json!({"name": space, "organization_id": acme, "is_private": is_private});
            let id = builder.make(space, "/v2/spaces", &body);
            let body = json!({"name": "sonar", "space_id": id});
            builder.make(&format!("{space}.sonar"), "/v2/projects", &body);
        }
        let roles = builder.ask("GET", "/v2/roles?is_predefined=true", &Value::Null);
        for role in roles["roles"].as_array().unwrap() {
            let (name, id) = (role["name"].as_str().unwrap(), role["id"].as_str().unwrap());
            builder.ids.insert(name.to_owned(), id.to_owned());
        }
        builder.person("mallory", "MEMBER", true);
        let mallory = builder.issue("mallory@example.com");
        Self {
            builder,
            acme,
            mallory,
        }
    }

    pub(crate) fn send(&self, key: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let body = (method != "GET").then_some(body.as_str());
        self.builder.served.send(Some(key), method, path, body)
    }

    pub(crate) fn invite(&self, key: &str, name: &str, mode: &str) -> Value {
        let body = json!({
            "name": name, "email": format!("{name}@example.com"), "invite_mode": mode, "role": role("MEMBER"),
        });
        let (status, invited) = self.send(key, "POST", "/v2/users", &body);
        assert_eq!(status, 201, "{invited}");
        invited
    }

    /// The status, and the key if there is one.
    pub(crate) fn sign_in(&self, name: &str, password: &str, new: Option<&str>) -> (u16, String) {
        let mut body = json!({"email": format!("{name}@example.com"), "password": password});
        if let Some(new) = new {
            body["new_password"] = new.into();
        }
        let (status, answer) =
            self.builder
                .served
                .send(None, "POST", "/bindery/v1/sign-in", Some(&body.to_string()));
        let key = answer["api_key"]["key"].as_str().unwrap_or_default();
        (status, key.to_owned())
    }

    pub(crate) fn is_let_in(&self, key: &str) -> bool {
        self.builder
            .served
            .send(Some(key), "GET", "/v2/spaces", None)
            .0
            != 401
    }

    pub(crate) fn user_key(&self, key: &str) -> String {
        let body = json!({"key_type": "USER", "name": "endless"});
        let (status, made) = self.send(key, "POST", "/v2/api-keys", &body);
        assert_eq!(status, 201, "{made}");
        made["key"].as_str().unwrap().to_owned()
    }

    pub(crate) fn seat_in_organization(&self, key: &str, user: &Value, name: &str) {
        let body = json!({"user_id": user["id"], "role": role(name)});
        let path = format!("/v2/organizations/{}/users", self.acme);
        let (status, answer) = self.send(key, "POST", &path, &body);
        assert_eq!(status, 200, "{answer}");
    }

    pub(crate) fn seat_in_space(&self, key: &str, space: &str, user: &Value, role: &Value) -> u16 {
        let body = json!({"user_id": user["id"], "role": role});
        let path = format!("/v2/spaces/{}/users", self.builder.id(space));
        self.send(key, "POST", &path, &body).0
    }

    pub(crate) fn bind(
        &self,
        key: &str,
        user: &Value,
        role: &str,
        kind: &str,
        on: &str,
    ) -> (u16, Value) {
        let body = json!({
            "user_id": user["id"], "role_id": self.builder.id(role), "resource_type": kind,
            "resource_id": self.builder.id(on),
        });
        self.send(key, "POST", "/v2/role-bindings", &body)
    }

    /// Each way to give a person something that a plain member can't give.
    pub(crate) fn gifts() -> [(&'static str, Gift); 3] {
        [
            ("a role in an organization", |company, user| {
                company.seat_in_organization(&company.builder.admin_key, user, "ADMIN");
            }),
            ("a role bound on a space", |company, user| {
                let key = &company.builder.admin_key;
                assert_eq!(company.bind(key, user, "Admin", "SPACE", "red").0, 201);
            }),
            ("a role bound on a project", |company, user| {
                let (key, role) = (&company.builder.admin_key, "Project Admin");
                assert_eq!(company.bind(key, user, role, "PROJECT", "red.sonar").0, 201);
            }),
        ]
    }
}

//! A server without any settings: every default that opens something is tested here, and nothing else is
//! open.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Server, spawn, text};

/// A new server with an organization, a space and a project that have only a name, and a member.
struct Fresh {
    server: Server,
    organization: String,
    space: Value,
    project: Value,
    member: Value,
    // Dropped last.
    _directory: tempfile::TempDir,
}

impl Fresh {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(directory.path());
        let admin = server.client();
        let organization = admin.post("/v2/organizations", &json!({"name": "acme"}));
        let organization = text(&organization, "id");
        let space = json!({"name": "red", "organization_id": organization});
        let space = admin.post("/v2/spaces", &space);
        let project = json!({"name": "sonar", "space_id": space["id"]});
        let project = admin.post("/v2/projects", &project);
        let member = json!({
            "name": "Ada", "email": "ada@example.com", "invite_mode": "NONE",
            "role": {"type": "PREDEFINED", "name": "MEMBER"},
        });
        let member = admin.post("/v2/users", &member);
        Self {
            server,
            organization,
            space,
            project,
            member,
            _directory: directory,
        }
    }

    /// Everything that the subject may do there.
    fn allowed(&self, subject: &Value, kind: &str, id: &str) -> Vec<String> {
        let body = json!({"subject": subject, "resource": {"type": kind, "id": id}});
        let admin = self.server.client();
        let (status, found) = admin
            .try_send("POST", "/access/v1/search/action", Some(&body))
            .unwrap();
        assert_eq!(status, 200, "{found}");
        let found = found["results"].as_array().unwrap().iter();
        found.map(|action| text(action, "name")).collect()
    }
}

#[test]
fn it_listens_on_loopback_and_admits_no_one_without_a_key() {
    let mut help = Command::new(env!("CARGO_BIN_EXE_bindery"));
    let help = spawn(help.args(["serve", "--help"]).stdout(Stdio::piped()));
    let help = String::from_utf8(help.wait_with_output().unwrap().stdout).unwrap();
    assert!(help.contains("[default: 127.0.0.1:8080]"), "{help}");
    let fresh = Fresh::new();
    let nobody = fresh.server.client_with("");
    // Every operation that the server lists.
    let (_, document) = nobody.try_send("GET", "/openapi.json", None).unwrap();
    let mut open = BTreeSet::new();
    let mut count = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            if ["parameters", "summary", "description"].contains(&method.as_str()) {
                continue;
            }
            let method = method.to_uppercase();
            let (status, _) = nobody.try_send(&method, path, Some(&json!({}))).unwrap();
            count += 1;
            if status != 401 {
                open.insert(format!("{method} {path}"));
            }
        }
    }
    assert!(count > 50, "{count} operations");
    let by_link_or_password = [
        "GET /.well-known/authzen-configuration",
        "POST /bindery/v1/invitations/{token}",
        "POST /bindery/v1/password-resets/{token}",
        "POST /bindery/v1/sign-in",
    ];
    assert_eq!(open, by_link_or_password.map(ToOwned::to_owned).into());
    // There are no metadata without a public URL, and no page of another site may ask.
    let metadata = "/.well-known/authzen-configuration";
    assert_eq!(nobody.try_send("GET", metadata, None).unwrap().0, 404);
    fresh.server.stop();
}

#[test]
fn who_and_what_is_new_is_given_nothing_that_was_not_said() {
    let fresh = Fresh::new();
    let admin = fresh.server.client();
    let ada = json!({"type": "user", "id": "ada@example.com"});
    let (space, project) = (text(&fresh.space, "id"), text(&fresh.project, "id"));
    // Members read users and roles, and nothing else until they get a place.
    assert_eq!(
        fresh.allowed(&ada, "account", "account"),
        ["ROLE_READ", "USER_READ"]
    );
    for (kind, id) in [
        ("organization", fresh.organization.as_str()),
        ("space", &space),
        ("project", &project),
    ] {
        assert_eq!(fresh.allowed(&ada, kind, id), [""; 0], "{kind}");
    }
    // No key asks about everyone, and no project is restricted.
    let marked = admin.get("/bindery/v1/enforcement-points");
    assert_eq!(marked["enforcement_points"], json!([]));
    let restricted = admin.get("/v2/resource-restrictions");
    assert_eq!(restricted["resource_restrictions"], json!([]));
    // Spaces are open to members of their organization, and to no one else.
    assert_eq!(fresh.space["is_private"], false);
    // A person has no key until they make one; a service key gets the least rights except in its own space.
    let made = json!({
        "key_type": "SERVICE", "name": "machine",
        "organizations": [{"org_id": fresh.organization, "spaces": [{"space_id": space}]}],
    });
    let made = admin.post("/v2/api-keys", &made);
    let machine = json!({"type": "service_key", "id": made["id"]});
    assert_eq!(
        fresh.allowed(&machine, "account", "account"),
        ["ROLE_READ", "USER_READ"]
    );
    assert_eq!(
        fresh.allowed(&machine, "organization", &fresh.organization),
        ["COST_CONFIG_READ", "ORGANIZATION_READ"]
    );
    let on_space = fresh.allowed(&machine, "space", &space);
    for more in [
        "ROLE_BINDING_CREATE",
        "SPACE_DELETE",
        "PROJECT_DELETE",
        "PROJECT_RESTRICT",
    ] {
        assert!(!on_space.contains(&more.to_owned()), "{more}");
    }
    assert_eq!(fresh.member["is_developer"], true);
    // The audit log has everything that was done.
    let log = admin.get("/v2/audit-logs?operation_type=MUTATION");
    assert_eq!(log["logs"].as_array().unwrap().len(), 5);
    fresh.server.stop();
}

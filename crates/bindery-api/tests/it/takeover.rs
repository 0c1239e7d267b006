//! Ways to get more than one was given, or to lose what one has. Each was open once.

use serde_json::{Value, json};

use crate::personas::Builder;

const DAY: i64 = 24 * 3600;

fn role(name: &str) -> Value {
    json!({"type": "PREDEFINED", "name": name})
}

fn invite(mode: &str) -> String {
    json!({
        "name": "Boss", "email": "boss@example.com", "invite_mode": mode, "role": role("MEMBER"),
    })
    .to_string()
}

#[test]
fn a_member_can_not_sign_in_as_a_person_whose_invitation_lapsed() {
    let mut builder = Builder::new();
    let acme = builder.make("acme", "/v2/organizations", &json!({"name": "acme"}));
    let boss = builder.ask("POST", "/v2/users", &invite("EMAIL_LINK").parse().unwrap());
    let seat = json!({"user_id": boss["id"], "role": role("ADMIN")});
    builder.ask("POST", &format!("/v2/organizations/{acme}/users"), &seat);
    builder.person("mallory", "MEMBER", true);
    let mallory = builder.issue("mallory@example.com");
    builder.served.wait_seconds(8 * DAY);
    for mode in ["TEMPORARY_PASSWORD", "EMAIL_LINK", "NONE"] {
        let again = builder
            .served
            .send(Some(&mallory), "POST", "/v2/users", Some(&invite(mode)));
        assert_eq!(again.0, 403, "{mode}: {}", again.1);
    }
    let again = builder.ask("POST", "/v2/users", &invite("EMAIL_LINK").parse().unwrap());
    assert_eq!(
        again["id"], boss["id"],
        "an admin can, and the person keeps what they were given"
    );
}

#[test]
fn an_admin_can_not_switch_themselves_off() {
    let builder = Builder::new();
    let key = Some(builder.admin_key.as_str());
    let (_, users) = builder.served.send(key, "GET", "/v2/users", None);
    let me = users["users"][0]["id"].as_str().unwrap();
    let off = Some(r#"{"is_developer":false}"#);
    let (status, refused) = builder
        .served
        .send(key, "PATCH", &format!("/v2/users/{me}"), off);
    assert_eq!(status, 400, "{refused}");
    builder.ask("GET", "/v2/roles", &Value::Null);
}

#[test]
fn a_service_key_that_is_admin_can_not_take_the_last_person_out_who_leads_the_account() {
    let mut builder = Builder::new();
    let acme = builder.make("acme", "/v2/organizations", &json!({"name": "acme"}));
    let space = json!({"name": "red", "organization_id": acme});
    let red = builder.make("red", "/v2/spaces", &space);
    let places = json!([{"org_id": acme, "spaces": [{"space_id": red}]}]);
    let body = json!({
        "key_type": "SERVICE", "name": "machine", "account_role": {"type": "PREDEFINED", "name": "ADMIN"},
        "organizations": places,
    });
    let made = builder.ask("POST", "/v2/api-keys", &body);
    let machine = made["key"].as_str();
    let (_, users) = builder.served.send(machine, "GET", "/v2/users", None);
    let ada = format!("/v2/users/{}", users["users"][0]["id"].as_str().unwrap());
    let off = Some(r#"{"is_developer":false}"#);
    for (method, body) in [("PATCH", off), ("DELETE", None)] {
        let (status, refused) = builder.served.send(machine, method, &ada, body);
        assert_eq!(status, 400, "{method}: {refused}");
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains("make another one first"), "{detail}");
    }
    let second = json!({
        "name": "Bob", "email": "bob@example.com", "invite_mode": "NONE",
        "role": {"type": "PREDEFINED", "name": "ADMIN"},
    });
    builder.ask("POST", "/v2/users", &second);
    assert_eq!(builder.served.send(machine, "PATCH", &ada, off).0, 200);
    assert_eq!(builder.served.send(machine, "DELETE", &ada, None).0, 204);
}

#[test]
fn a_service_key_does_not_outlive_the_last_of_its_places() {
    let mut builder = Builder::new();
    let acme = builder.make("acme", "/v2/organizations", &json!({"name": "acme"}));
    let space = json!({"name": "red", "organization_id": acme});
    let red = builder.make("red", "/v2/spaces", &space);
    let places = json!([{"org_id": acme, "spaces": [{"space_id": red}]}]);
    let body = json!({"key_type": "SERVICE", "name": "machine", "organizations": places});
    let made = builder.ask("POST", "/v2/api-keys", &body);
    let machine = made["key"].as_str();
    builder.ask("DELETE", &format!("/v2/spaces/{red}"), &Value::Null);
    assert_eq!(
        builder.served.send(machine, "GET", "/v2/users", None).0,
        200
    );
    builder.ask("DELETE", &format!("/v2/organizations/{acme}"), &Value::Null);
    assert_eq!(
        builder.served.send(machine, "GET", "/v2/users", None).0,
        401
    );
}

/// Numbers are never assigned twice, so an old binding, key or link says nothing about a new thing with the
/// old name.
#[test]
fn what_comes_again_under_an_old_name_has_nothing_of_the_old() {
    let mut builder = Builder::new();
    let reads = json!({"name": "reads", "permissions": ["SPACE_READ", "PROJECT_READ"]});
    let reads = builder.make("reads", "/v2/roles", &reads);
    let ada = builder.person("ada", "MEMBER", true);
    let key = builder.issue("ada@example.com");
    let bind = |builder: &Builder, kind: &str, resource: &str| {
        let body = json!({"user_id": ada, "role_id": reads, "resource_type": kind, "resource_id": resource});
        builder.ask("POST", "/v2/role-bindings", &body);
    };
    let may = |builder: &Builder, user: &str, action: &str, kind: &str, id: &str| {
        let body = json!({
            "subject": {"type": "user", "id": user}, "action": {"name": action}, "resource": {"type": kind, "id": id},
        });
        builder.ask("POST", "/access/v1/evaluation", &body)["decision"] == true
    };
    let make = |builder: &mut Builder| {
        let acme = builder.make("acme", "/v2/organizations", &json!({"name": "acme"}));
        let red = json!({"name": "red", "organization_id": acme, "is_private": true});
        let red = builder.make("red", "/v2/spaces", &red);
        let sonar = json!({"name": "sonar", "space_id": red});
        let sonar = builder.make("sonar", "/v2/projects", &sonar);
        (acme, red, sonar)
    };
    // A project, then a space, then an organization.
    let (acme, red, sonar) = make(&mut builder);
    bind(&builder, "PROJECT", &sonar);
    assert!(may(&builder, &ada, "PROJECT_READ", "project", &sonar));
    builder.ask("DELETE", &format!("/v2/projects/{sonar}"), &Value::Null);
    let body = json!({"name": "sonar", "space_id": red});
    let again = builder.make("sonar", "/v2/projects", &body);
    assert_ne!(sonar, again);
    for project in [&sonar, &again] {
        assert!(!may(&builder, &ada, "PROJECT_READ", "project", project));
    }
    bind(&builder, "SPACE", &red);
    assert!(may(&builder, &ada, "PROJECT_READ", "project", &again));
    builder.ask("DELETE", &format!("/v2/spaces/{red}"), &Value::Null);
    let body = json!({"name": "red", "organization_id": acme, "is_private": true});
    let again = builder.make("red", "/v2/spaces", &body);
    assert_ne!(red, again);
    for space in [&red, &again] {
        assert!(!may(&builder, &ada, "SPACE_READ", "space", space));
    }
    let seat = json!({"user_id": ada, "role": role("ADMIN")});
    builder.ask("POST", &format!("/v2/organizations/{acme}/users"), &seat);
    assert!(may(&builder, &ada, "SPACE_READ", "space", &again));
    builder.ask("DELETE", &format!("/v2/organizations/{acme}"), &Value::Null);
    let (again, red, sonar) = make(&mut builder);
    assert_ne!(acme, again);
    for organization in [&acme, &again] {
        let action = "ORGANIZATION_READ";
        assert!(!may(&builder, &ada, action, "organization", organization));
    }
    // A person, who doesn't come back at all.
    builder.ask("POST", &format!("/v2/organizations/{again}/users"), &seat);
    bind(&builder, "SPACE", &red);
    bind(&builder, "PROJECT", &sonar);
    assert!(may(
        &builder,
        "ada@example.com",
        "PROJECT_READ",
        "project",
        &sonar
    ));
    builder.ask("DELETE", &format!("/v2/users/{ada}"), &Value::Null);
    for user in [&ada, "ada@example.com"] {
        assert!(
            !may(&builder, user, "PROJECT_READ", "project", &sonar),
            "{user}"
        );
        assert!(
            !may(&builder, user, "ORGANIZATION_READ", "organization", &again),
            "{user}"
        );
    }
    assert_eq!(
        builder.served.send(Some(&key), "GET", "/v2/users", None).0,
        401
    );
    let body = json!({"name": "Ada", "email": "ADA@example.com", "invite_mode": "NONE", "role": role("MEMBER")});
    let admin = Some(builder.admin_key.as_str());
    let back = builder
        .served
        .send(admin, "POST", "/v2/users", Some(&body.to_string()));
    assert_eq!(
        back.0, 409,
        "the address of a deleted user is not free: {}",
        back.1
    );
    // A role.
    builder.ask("DELETE", &format!("/v2/roles/{reads}"), &Value::Null);
    let body = json!({"name": "reads", "permissions": ["PROJECT_DELETE"]});
    assert_ne!(builder.make("reads", "/v2/roles", &body), reads);
    let path = format!("/v2/roles/{reads}");
    let (status, _) = builder
        .served
        .send(Some(&builder.admin_key), "GET", &path, None);
    assert_eq!(status, 404);
}

#[test]
fn errors_in_nested_bodies_name_their_field() {
    let builder = Builder::new();
    let key = Some(builder.admin_key.as_str());
    for (path, body, named) in [
        ("/v2/api-keys", r#"{"key_type":"USER","name":5}"#, "`name`"),
        (
            "/v2/api-keys",
            r#"{"key_type":"OTHER","name":"x"}"#,
            "`key_type`",
        ),
        ("/v2/api-keys", r#"{"name":"x"}"#, "key_type"),
        (
            "/v2/api-keys",
            r#"{"key_type":"SERVICE","name":"x","organizations":[{"org_id":"x","spaces":[{"space_id":7}]}]}"#,
            "`organizations[0].spaces[0].space_id`",
        ),
        (
            "/v2/users",
            r#"{"name":"x","email":"a@x.io","invite_mode":"NONE","role":{"type":"CUSTOM","id":3}}"#,
            "`role.id`",
        ),
        (
            "/v2/users",
            r#"{"name":"x","email":"a@x.io","invite_mode":"NONE","role":{"type":"CUSTOM","name":"x"}}"#,
            "`role.name`",
        ),
        (
            "/v2/users",
            r#"{"name":"x","email":"a@x.io","invite_mode":"NONE","role":"MEMBER"}"#,
            "`role`",
        ),
    ] {
        let (status, problem) = builder.served.send(key, "POST", path, Some(body));
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(status, 400, "{body}: {detail}");
        assert!(detail.contains(named), "{body}: {detail}");
    }
    let long = format!(r#"{{"{}":1}}"#, "x".repeat(500_000));
    let (_, problem) = builder.served.send(key, "POST", "/v2/roles", Some(&long));
    assert!(
        problem.to_string().len() < 2_000,
        "what was sent comes back cut"
    );
}

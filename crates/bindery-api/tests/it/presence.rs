//! Accounts that aren't in memory: clients notice nothing.

use std::time::Duration;

use bindery_core::api_key::SecretHash;
use bindery_core::command::users::{CreateUser, Invitation};
use bindery_core::command::{Assignment, Caller};
use bindery_core::id::{ApiKeyId, UserId};
use bindery_core::role::AccountRole;
use bindery_core::text::{Email, Name};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::personas::Builder;
use crate::served::Served;

const IDLE: Duration = Duration::from_secs(1);

fn at_work(served: &Served) -> usize {
    served.node.accounts().len()
}

/// Waits until the account can be unloaded.
fn rest(served: &Served) {
    served.wait_seconds(2);
    let is_given_up = (0..6_000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        at_work(served) == 0
    });
    assert!(is_given_up);
}

fn page(served: &Served, key: &str, token: Option<&str>) -> (u16, Value) {
    let mut page = json!({"limit": 2});
    if let Some(token) = token {
        page["token"] = token.into();
    }
    let body = json!({
        "subject": {"type": "user", "id": "root@example.com"}, "action": {"name": "PROJECT_READ"},
        "resource": {"type": "project"}, "page": page,
    });
    let path = "/access/v1/search/resource";
    served.send(Some(key), "POST", path, Some(&body.to_string()))
}

#[test]
fn pages_of_an_unloaded_account_go_on_or_have_to_start_again() {
    let mut builder = Builder::new();
    let acme = builder.make("acme", "/v2/organizations", &json!({"name": "acme"}));
    let space = json!({"name": "red", "organization_id": acme});
    let red = builder.make("red", "/v2/spaces", &space);
    for name in ["a", "b", "c", "d", "e"] {
        builder.make(
            name,
            "/v2/projects",
            &json!({"name": name, "space_id": red}),
        );
    }
    let key = builder.admin_key.clone();
    let served = builder
        .served
        .again(|options| options.accounts_idle = Some(IDLE));
    let (status, first) = page(&served, &key, None);
    assert_eq!(
        (status, &first["page"]["total"]),
        (200, &json!(5)),
        "{first}"
    );
    let token = first["page"]["next_token"].as_str().unwrap();
    rest(&served);
    let (status, second) = page(&served, &key, Some(token));
    assert_eq!(
        (status, &second["page"]["count"]),
        (200, &json!(2)),
        "{second}"
    );
    // A kept page survives a change, but not if its account was unloaded.
    let change = |name: &str| {
        let body = json!({"name": name, "space_id": red}).to_string();
        assert_eq!(
            served
                .send(Some(&key), "POST", "/v2/projects", Some(&body))
                .0,
            201
        );
    };
    change("f");
    assert_eq!(page(&served, &key, Some(token)).0, 200);
    rest(&served);
    let (status, refused) = page(&served, &key, Some(token));
    assert_eq!(status, 400, "{refused}");
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("start the search again"),
        "{refused}"
    );
    let (_, anew) = page(&served, &key, None);
    assert_eq!(anew["page"]["total"], 6);
}

#[test]
fn only_a_person_who_proves_who_they_are_makes_their_account_load() {
    let builder = Builder::new();
    let person = |email: &str, mode: &str| {
        let role = json!({"type": "PREDEFINED", "name": "MEMBER"});
        let body = json!({"name": "x", "email": email, "invite_mode": mode, "role": role});
        builder.ask("POST", "/v2/users", &body)
    };
    let made = person("ada@example.com", "TEMPORARY_PASSWORD");
    let password = made["temporary_password"].as_str().unwrap().to_owned();
    let token = "x".repeat(40);
    invite(&builder, "bob@example.com", &token);
    let served = builder
        .served
        .again(|options| options.accounts_idle = Some(IDLE));
    let sign_in = |email: &str, password: &str| {
        let body =
            json!({"email": email, "password": password, "new_password": "a much longer one"});
        served.send(None, "POST", "/bindery/v1/sign-in", Some(&body.to_string()))
    };
    for (email, password) in [
        ("ada@example.com", "a wrong one"),
        ("nobody@example.com", &password),
        ("root@example.com", &password),
    ] {
        assert_eq!(sign_in(email, password).0, 401, "{email}");
    }
    let accept = |token: &str| {
        let path = format!("/bindery/v1/invitations/{token}");
        let request = served
            .request("POST", &path)
            .header("Content-Type", "application/json");
        let body = r#"{"password":"a much longer one"}"#;
        served.run(request.body(body).unwrap())
    };
    assert_eq!(accept(&"y".repeat(40)).status, 404);
    assert_eq!(
        at_work(&served),
        0,
        "no person proved that they belong there"
    );
    let (status, signed_in) = sign_in("Ada@example.com", &password);
    assert_eq!(status, 200, "{signed_in}");
    rest(&served);
    let accepted = accept(&token);
    assert_eq!(accepted.status, 200, "{}", accepted.text);
    let revision = accepted.headers["Bindery-Revision"].to_str().unwrap();
    let reached = served.revision(1).0;
    assert_eq!(revision, reached.to_string(), "as for any other change");
    assert_eq!(accept(&token).status, 404, "a link works once");
    rest(&served);
    let key = signed_in["api_key"]["key"].as_str();
    assert_eq!(
        served.send(key, "GET", "/v2/roles", None).0,
        200,
        "{signed_in}"
    );
}

/// Invites a person with a link that has this token.
fn invite(builder: &Builder, email: &str, token: &str) {
    let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    let create = CreateUser {
        name: Name::parse("Bob").unwrap(),
        email: Email::parse(email).unwrap(),
        role: Assignment::Predefined(AccountRole::Member),
        is_developer: None,
        invitation: Invitation::Link(SecretHash(digest)),
    };
    let account = builder.served.account(1);
    let admin = Caller::Key {
        user: UserId::new(1),
        key: ApiKeyId::new(1),
    };
    let created = account.execute(create, admin, None);
    builder.served.runtime.block_on(created).unwrap();
}

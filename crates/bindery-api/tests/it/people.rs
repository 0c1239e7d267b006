//! Links and passwords: how long each works, how often, and what ends with it.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use bindery_api::KeyText;
use bindery_core::api_key::SecretHash;
use bindery_core::command::Command;
use bindery_core::command::credentials::{ResendInvitation, ResetPassword};
use bindery_core::id::{ApiKeyId, UserId};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::personas::Builder;

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 3600;
const CHOSEN: &str = "correct horse battery";
const OTHER: &str = "another horse battery";

/// The token of a link, and its stored hash.
pub(crate) fn token(letter: char) -> (String, SecretHash) {
    let text = letter.to_string().repeat(40);
    let hash = SecretHash(Sha256::digest(text.as_bytes()).into());
    (text, hash)
}

fn invite(builder: &Builder, name: &str, mode: &str) -> Value {
    let body = json!({
        "name": name, "email": format!("{name}@example.com"), "invite_mode": mode,
        "role": {"type": "PREDEFINED", "name": "MEMBER"},
    });
    builder.ask("POST", "/v2/users", &body)
}

pub(crate) fn user_id(builder: &Builder, user: &Value) -> UserId {
    let account = builder.served.account(1);
    let id = user["id"].as_str().unwrap();
    account.snapshot().ids().parse(id).unwrap()
}

/// Sends a link as the admin; the test knows its token.
pub(crate) fn send<C>(builder: &Builder, command: C)
where
    C: Command + Send + 'static,
    C::Outcome: Send + std::fmt::Debug,
{
    let key = KeyText::parse(&builder.admin_key).unwrap().hash();
    let (account, caller) = builder
        .served
        .node
        .authenticate(&key, builder.served.node.clock().now())
        .unwrap();
    let sent = account.execute(command, caller, None);
    builder.served.runtime.block_on(sent).unwrap();
}

fn post(builder: &Builder, path: &str, body: &Value) -> (u16, Value) {
    builder
        .served
        .send(None, "POST", path, Some(&body.to_string()))
}

fn sign_in(builder: &Builder, name: &str, password: &str, new: Option<&str>) -> (u16, Value) {
    let mut body = json!({"email": format!("{name}@example.com"), "password": password});
    if let Some(new) = new {
        body["new_password"] = new.into();
    }
    post(builder, "/bindery/v1/sign-in", &body)
}

fn use_link(builder: &Builder, kind: &str, token: &str) -> u16 {
    let path = format!("/bindery/v1/{kind}/{token}");
    post(builder, &path, &json!({"password": CHOSEN})).0
}

fn key_of(answer: &(u16, Value)) -> String {
    assert_eq!(answer.0, 200, "{}", answer.1);
    answer.1["api_key"]["key"].as_str().unwrap().to_owned()
}

fn status_with(builder: &Builder, key: &str) -> u16 {
    builder.served.send(Some(key), "GET", "/v2/roles", None).0
}

#[test]
fn a_sign_in_completes_though_its_client_hangs_up() {
    let builder = Builder::new();
    let user = invite(&builder, "ada", "TEMPORARY_PASSWORD");
    let body = json!({
        "email": "ada@example.com", "password": user["temporary_password"], "new_password": CHOSEN,
    });
    let body = body.to_string();
    let address = builder.served.address.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /bindery/v1/sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all(format!("{head}{body}").as_bytes())
        .unwrap();
    drop(stream);
    let path = format!("/v2/users/{}", user["id"].as_str().unwrap());
    let deadline = Instant::now() + Duration::from_mins(2);
    let is_active = || builder.ask("GET", &path, &Value::Null)["status"] == "ACTIVE";
    while !is_active() {
        assert!(Instant::now() < deadline, "it was dropped");
    }
}

#[test]
fn a_new_password_ends_what_the_old_one_was_good_for_and_no_other_key() {
    let builder = Builder::new();
    let user = invite(&builder, "ada", "TEMPORARY_PASSWORD");
    let temporary = user["temporary_password"].as_str().unwrap();
    let first = key_of(&sign_in(&builder, "ada", temporary, Some(CHOSEN)));
    let second = key_of(&sign_in(&builder, "ada", CHOSEN, None));
    let body = r#"{"key_type":"USER","name":"for my script"}"#;
    let made = builder
        .served
        .send(Some(&second), "POST", "/v2/api-keys", Some(body));
    let own = made.1["key"].as_str().unwrap().to_owned();

    let third = key_of(&sign_in(&builder, "ada", CHOSEN, Some(OTHER)));
    let statuses = [&first, &second, &own, &third].map(|key| status_with(&builder, key));
    assert_eq!(statuses, [401, 401, 200, 200], "chosen when signing in");

    let (link, hash) = token('r');
    let user = user_id(&builder, &user);
    send(&builder, ResetPassword { user, token: hash });
    assert_eq!(status_with(&builder, &third), 200, "until the link is used");
    assert_eq!(use_link(&builder, "password-resets", &link), 200);
    let statuses = [&own, &third].map(|key| status_with(&builder, key));
    assert_eq!(statuses, [200, 401], "chosen by a link");
    let fourth = key_of(&sign_in(&builder, "ada", CHOSEN, None));
    assert_eq!(status_with(&builder, &fourth), 200);
    assert_eq!(
        status_with(&builder, &third),
        401,
        "the key has another secret now"
    );
}

#[test]
fn signing_in_makes_no_key_good_again_that_a_person_made_themselves() {
    let mut builder = Builder::new();
    let id = builder.person("ada", "MEMBER", true);
    let own = builder.issue("ada@example.com");
    let body = r#"{"key_type":"USER","name":"sign-in","description":"mine","expires_at":"2026-01-01T01:00:00Z"}"#;
    let made = builder
        .served
        .send(Some(&own), "POST", "/v2/api-keys", Some(body));
    assert_eq!(made.0, 201, "{}", made.1);
    let (link, hash) = token('r');
    let user = user_id(&builder, &json!({"id": id}));
    send(&builder, ResetPassword { user, token: hash });
    assert_eq!(use_link(&builder, "password-resets", &link), 200);
    builder.served.wait_seconds(2 * DAY);
    let signed_in = sign_in(&builder, "ada", CHOSEN, None);
    assert_ne!(signed_in.1["api_key"]["id"], made.1["id"]);
    key_of(&signed_in);
    // It has expired, so no list shows it.
    let state = builder.served.account(1).snapshot();
    let id: ApiKeyId = state.ids().parse(made.1["id"].as_str().unwrap()).unwrap();
    let kept = state.api_key(id).unwrap();
    assert_eq!(kept.description.to_string(), "mine");
    assert!(!kept.is_alive(builder.served.node.clock().now()));
}

#[test]
fn of_many_who_use_one_link_at_once_one_comes_in() {
    let builder = Builder::new();
    let user = invite(&builder, "ada", "EMAIL_LINK");
    let (link, hash) = token('i');
    let user = user_id(&builder, &user);
    send(&builder, ResendInvitation { user, token: hash });
    let statuses: Vec<u16> = thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| use_link(&builder, "invitations", &link)))
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|one| **one == status).count();
    assert_eq!((count(200), count(404)), (1, 7), "{statuses:?}");
}

#[test]
fn a_link_works_to_the_last_moment_for_what_it_was_sent_for_and_the_newest_alone() {
    let mut builder = Builder::new();
    let id = builder.person("ada", "MEMBER", true);
    let user = user_id(&builder, &json!({"id": id}));
    let (first, hash) = token('1');
    send(&builder, ResetPassword { user, token: hash });
    let (second, hash) = token('2');
    send(&builder, ResetPassword { user, token: hash });
    assert_eq!(
        use_link(&builder, "password-resets", &first),
        404,
        "replaced"
    );
    assert_eq!(
        use_link(&builder, "invitations", &second),
        404,
        "for something else"
    );
    builder.served.wait_seconds(30 * MINUTE - 1);
    assert_eq!(use_link(&builder, "password-resets", &second), 200);
    let (third, hash) = token('3');
    send(&builder, ResetPassword { user, token: hash });
    builder.served.wait_seconds(30 * MINUTE);
    assert_eq!(use_link(&builder, "password-resets", &third), 404, "over");
}

#[test]
fn an_expired_invitation_admits_no_one_by_link_or_by_temporary_password() {
    let builder = Builder::new();
    let ada = invite(&builder, "ada", "TEMPORARY_PASSWORD");
    let bob = invite(&builder, "bob", "EMAIL_LINK");
    let temporary = ada["temporary_password"].as_str().unwrap().to_owned();
    let again = json!({
        "name": "Eve", "email": "ADA@example.com", "invite_mode": "TEMPORARY_PASSWORD",
        "role": {"type": "PREDEFINED", "name": "ADMIN"},
    });
    let key = Some(builder.admin_key.as_str());
    let (status, same) = builder
        .served
        .send(key, "POST", "/v2/users", Some(&again.to_string()));
    assert_eq!(status, 200, "{same}");
    for member in ["name", "role", "id"] {
        assert_eq!(
            same[member], ada[member],
            "an open invitation does not change"
        );
    }
    assert_eq!(
        (same.get("temporary_password"), same.get("invite_mode")),
        (None, None)
    );
    builder.served.wait_seconds(6 * DAY);
    let (link, hash) = token('i');
    let user = user_id(&builder, &bob);
    send(&builder, ResendInvitation { user, token: hash });
    builder.served.wait_seconds(DAY);
    let late = sign_in(&builder, "ada", &temporary, Some(CHOSEN));
    assert_eq!(late.0, 401, "{}", late.1);
    let (_, ada) = builder.served.send(
        key,
        "GET",
        &format!("/v2/users/{}", ada["id"].as_str().unwrap()),
        None,
    );
    assert_eq!(ada["status"], "EXPIRED");
    let path = format!(
        "/v2/users/{}/resend-invitation",
        ada["id"].as_str().unwrap()
    );
    let sent = builder.served.send(key, "POST", &path, None);
    assert_eq!(sent.0, 400, "an expired one is not sent again: {}", sent.1);
    assert_eq!(
        use_link(&builder, "invitations", &link),
        200,
        "sent again, with its full time"
    );
}

#[test]
fn a_deleted_person_has_no_way_to_sign_in_left() {
    let builder = Builder::new();
    let user = invite(&builder, "ada", "TEMPORARY_PASSWORD");
    let temporary = user["temporary_password"].as_str().unwrap();
    let signed_in = key_of(&sign_in(&builder, "ada", temporary, Some(CHOSEN)));
    let (link, hash) = token('r');
    let id = user_id(&builder, &user);
    send(
        &builder,
        ResetPassword {
            user: id,
            token: hash,
        },
    );
    let path = format!("/v2/users/{}", user["id"].as_str().unwrap());
    builder.ask("DELETE", &path, &Value::Null);
    assert_eq!(status_with(&builder, &signed_in), 401);
    assert_eq!(use_link(&builder, "password-resets", &link), 404);
    let gone = sign_in(&builder, "ada", CHOSEN, None);
    let never = sign_in(&builder, "nobody", CHOSEN, None);
    assert_eq!((gone.0, &gone.1["detail"]), (401, &never.1["detail"]));
}

#[test]
fn a_temporary_password_does_not_become_a_persons_own() {
    let builder = Builder::new();
    let user = invite(&builder, "ada", "TEMPORARY_PASSWORD");
    let temporary = user["temporary_password"].as_str().unwrap();
    let same = sign_in(&builder, "ada", temporary, Some(temporary));
    assert_eq!(same.0, 400, "{}", same.1);
    assert!(
        same.1["detail"]
            .as_str()
            .unwrap()
            .contains("`new_password`")
    );
    key_of(&sign_in(&builder, "ada", temporary, Some(CHOSEN)));
}

//! How people without a key get in: temporary passwords, their own passwords, and what is refused.

use serde_json::{Value, json};

use crate::support::{Client, Server, text};

pub(crate) fn invite(admin: &Client, email: &str, role: &str) -> Value {
    let body = json!({
        "name": "Ada",
        "email": email,
        "role": {"type": "PREDEFINED", "name": role},
        "invite_mode": "TEMPORARY_PASSWORD",
    });
    admin.post("/v2/users", &body)
}

pub(crate) fn sign_in(
    client: &Client,
    email: &str,
    password: &str,
    new: Option<&str>,
) -> (u16, Value) {
    let mut body = json!({"email": email, "password": password});
    if let Some(new) = new {
        body["new_password"] = new.into();
    }
    client
        .try_send("POST", "/bindery/v1/sign-in", Some(&body))
        .unwrap()
}

#[test]
fn a_temporary_password_lets_a_person_in_once_with_a_password_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let (admin, nobody) = (server.client(), server.client_with("none"));
    let invited = invite(&admin, "Ada@example.com", "MEMBER");
    assert_eq!(invited["status"], "INVITED");
    assert_eq!(invited["invite_mode"], "TEMPORARY_PASSWORD");
    let temporary = text(&invited, "temporary_password");
    let chosen = "correct horse battery";

    let (status, refused) = sign_in(&nobody, "ada@example.com", &temporary, None);
    assert_eq!(status, 400, "{refused}");
    assert!(text(&refused, "detail").contains("new_password"));
    let (status, refused) = sign_in(&nobody, "ada@example.com", &temporary, Some("short"));
    assert_eq!(status, 400, "{refused}");
    let (wrong, one) = sign_in(&nobody, "ada@example.com", "not the password", Some(chosen));
    let (unknown, other) = sign_in(&nobody, "bob@example.com", &temporary, Some(chosen));
    assert_eq!((wrong, unknown), (401, 401));
    assert_eq!(
        one["detail"], other["detail"],
        "an unknown address looks no different"
    );

    let (status, inside) = sign_in(&nobody, "ada@example.com", &temporary, Some(chosen));
    assert_eq!(status, 200, "{inside}");
    assert_eq!(inside["user"]["status"], "ACTIVE");
    let key = text(&inside["api_key"], "key");
    assert_eq!(
        server.client_with(&key).get("/v2/organizations")["organizations"],
        json!([])
    );
    let (status, _) = sign_in(&nobody, "ada@example.com", &temporary, Some(chosen));
    assert_eq!(status, 401, "the temporary password is used up");
    let (status, again) = sign_in(&nobody, "ada@example.com", chosen, None);
    assert_eq!(status, 200, "{again}");
    assert!(again["api_key"]["expires_at"].is_string());
    server.stop();

    let server = Server::start(directory.path());
    let (status, _) = sign_in(&server.client_with("none"), "ada@example.com", chosen, None);
    assert_eq!(status, 200, "and it is still good after a restart");
    server.kill();
}

#[test]
fn a_person_who_may_not_use_the_api_signs_in_without_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let (admin, nobody) = (server.client(), server.client_with("none"));
    let invited = invite(&admin, "ann@example.com", "ANNOTATOR");
    let temporary = text(&invited, "temporary_password");
    let chosen = "correct horse battery";
    let (status, inside) = sign_in(&nobody, "ann@example.com", &temporary, Some(chosen));
    assert_eq!((status, inside.get("api_key")), (200, None), "{inside}");
    let (status, refused) = sign_in(&nobody, "ann@example.com", chosen, None);
    assert_eq!(status, 403, "{refused}");
    server.kill();
}

#[test]
fn an_address_that_is_tried_too_often_has_to_wait_and_others_have_not() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let nobody = server.client_with("none");
    let tried: Vec<u16> = (0..11)
        .map(|_| sign_in(&nobody, "eve@example.com", "a guess", None).0)
        .collect();
    assert_eq!(tried[..10], [401; 10]);
    assert_eq!(tried[10], 429);
    assert_eq!(sign_in(&nobody, "ada@example.com", "a guess", None).0, 401);
    server.kill();
}

#[test]
fn invitations_and_resets_are_sent_only_to_users_in_the_right_state() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let admin = server.client();
    let invited = text(&invite(&admin, "ada@example.com", "MEMBER"), "id");
    let me = text(&admin.get("/v2/users")["users"][0], "id");
    let send = |user: &str, what: &str| {
        let path = format!("/v2/users/{user}/{what}");
        admin.try_send("POST", &path, None).unwrap()
    };
    assert_eq!(send(&invited, "resend-invitation"), (204, Value::Null));
    assert_eq!(send(&invited, "reset-password").0, 400);
    assert_eq!(send(&me, "reset-password"), (204, Value::Null));
    assert_eq!(send(&me, "resend-invitation").0, 400);
    for path in [
        "/bindery/v1/invitations/x",
        "/bindery/v1/invitations/0123456789012345678901234567890123456789",
        "/bindery/v1/password-resets/0123456789012345678901234567890123456789",
    ] {
        let body = json!({"password": "correct horse battery"});
        let (status, refused) = admin.try_send("POST", path, Some(&body)).unwrap();
        assert_eq!(status, 404, "{path}: {refused}");
    }
    server.kill();
}

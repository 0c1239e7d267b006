//! What one person can make the account store: keys, invitations, texts; and the release of addresses.

use bindery_api::KeyText;
use bindery_core::command::api_keys::CreateUserKey;
use bindery_core::text::{Description, KeyName};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::personas::Builder;

fn invitation(email: &str, mode: &str) -> String {
    json!({
        "name": "New", "email": email, "invite_mode": mode,
        "role": {"type": "PREDEFINED", "name": "MEMBER"},
    })
    .to_string()
}

#[test]
fn a_member_can_not_send_invitations_without_end_and_an_admin_still_can() {
    let mut builder = Builder::new();
    builder.person("mia", "MEMBER", true);
    let mia = builder.issue("mia@example.com");
    let mut last = (0, Value::Null);
    let mut sent = 0;
    for number in 0..300 {
        let body = invitation(&format!("new{number}@example.com"), "EMAIL_LINK");
        last = builder
            .served
            .send(Some(&mia), "POST", "/v2/users", Some(&body));
        if last.0 != 201 {
            break;
        }
        sent += 1;
    }
    assert_eq!((sent, last.0), (100, 429), "{}", last.1);
    let detail = last.1["detail"].as_str().unwrap();
    assert!(
        detail.contains("`invitations_per_day_of_member`"),
        "{detail}"
    );
    let body: Value = serde_json::from_str(&invitation("x@example.com", "NONE")).unwrap();
    builder.ask("POST", "/v2/users", &body);
    builder.served.wait_seconds(24 * 3600);
    let body = invitation("late@example.com", "EMAIL_LINK");
    let next_day = builder
        .served
        .send(Some(&mia), "POST", "/v2/users", Some(&body));
    assert_eq!(next_day.0, 201, "{}", next_day.1);
}

#[test]
fn a_person_can_not_hold_keys_without_end() {
    let mut builder = Builder::new();
    builder.person("mia", "MEMBER", true);
    let mia = KeyText::parse(&builder.issue("mia@example.com")).unwrap();
    let node = &builder.served.node;
    let (account, caller) = node.authenticate(&mia.hash(), node.clock().now()).unwrap();
    let one_more = |_| {
        let command = CreateUserKey {
            name: KeyName::parse("one more").unwrap(),
            description: Description::default(),
            expires_at: None,
            secret: KeyText::generate().unwrap().secret(),
        };
        account.execute(command, caller, None)
    };
    // Fewer at once than may wait for one key.
    let made = (0..1001_usize).step_by(91).flat_map(|first| {
        let some = join_all((first..first + 91).map(one_more));
        builder.served.runtime.block_on(some)
    });
    // She had one before.
    assert_eq!(made.flatten().count(), 999);
}

#[test]
fn the_audit_log_keeps_little_of_what_is_refused() {
    let mut builder = Builder::new();
    builder.person("mia", "MEMBER", true);
    let mia = builder.issue("mia@example.com");
    let long = "x".repeat(1000);
    let permissions = vec!["PROJECT_READ"; 4_000];
    let body = json!({"name": "big", "description": long, "permissions": permissions});
    let (status, _) = builder
        .served
        .send(Some(&mia), "POST", "/v2/roles", Some(&body.to_string()));
    assert_eq!(status, 403);
    let logs = builder.ask(
        "GET",
        "/v2/audit-logs?operation_name=create_role",
        &Value::Null,
    );
    let text = logs["logs"][0]["operation_text"].as_str().unwrap();
    assert!(text.len() <= 2 * 1024 + 3, "{} bytes", text.len());
}

#[test]
fn an_account_admin_releases_the_address_of_a_deleted_person_for_a_new_one() {
    let mut builder = Builder::new();
    let gone = builder.person("gone", "MEMBER", true);
    let key = builder.issue("gone@example.com");
    builder.ask("DELETE", &format!("/v2/users/{gone}"), &Value::Null);
    let send = |key: &str, path: &str, body: &str| {
        builder.served.send(Some(key), "POST", path, Some(body))
    };
    let again = invitation("Gone@example.com", "NONE");
    assert_eq!(send(&builder.admin_key, "/v2/users", &again).0, 409);
    let address = r#"{"email":"gone@example.com"}"#;
    let path = "/bindery/v1/released-addresses";
    let released = send(&builder.admin_key, path, address);
    assert_eq!((released.0, &released.1["user_id"]), (200, &json!(gone)));
    let new = send(&builder.admin_key, "/v2/users", &again);
    assert_eq!(new.0, 201, "{}", new.1);
    assert_ne!(new.1["id"], json!(gone));
    assert_eq!(
        send(&key, "/v2/roles", "{}").0,
        401,
        "the old key stays invalid"
    );
    let once_more = send(&builder.admin_key, path, address);
    assert_eq!(once_more.0, 409, "it is in use: {}", once_more.1);
}

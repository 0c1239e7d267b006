//! People whose password somebody else may know, after they have come in with it.

use bindery_core::command::credentials::ResetPassword;
use serde_json::{Value, json};

use crate::people;
use crate::scene::{CHOSEN, OTHER, Scene, role};

/// A person whom mallory invited, and mallory's key as that person.
fn puppet(company: &Scene, name: &str) -> (Value, String) {
    let invited = company.invite(&company.mallory, name, "TEMPORARY_PASSWORD");
    let password = invited["temporary_password"].as_str().unwrap();
    let (status, key) = company.sign_in(name, password, Some(CHOSEN));
    assert_eq!(status, 200);
    (invited, key)
}

/// The person uses a mailed link, which proves the address.
fn reset(company: &Scene, person: &Value) {
    let (link, hash) = people::token('k');
    let user = people::user_id(&company.builder, person);
    people::send(&company.builder, ResetPassword { user, token: hash });
    let path = format!("/bindery/v1/password-resets/{link}");
    let body = json!({"password": OTHER}).to_string();
    let (status, answer) = company
        .builder
        .served
        .send(None, "POST", &path, Some(&body));
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn a_person_whose_password_a_member_knows_counts_for_the_quotas_of_that_member() {
    let company = Scene::new();
    let (one, as_one) = puppet(&company, "one");
    let (_, as_two) = puppet(&company, "two");
    let keys = [&company.mallory, &as_one, &as_two];
    let invite = |key: &str, number: usize| {
        let body = json!({
            "name": "n", "email": format!("new{number}@example.com"), "invite_mode": "EMAIL_LINK",
            "role": role("MEMBER"),
        });
        company.send(key, "POST", "/v2/users", &body).0
    };
    // Two are counted already.
    for number in 0..98 {
        assert_eq!(invite(keys[number % 3], number), 201, "{number}");
    }
    let refused = keys.map(|key| invite(key, 98));
    assert_eq!(refused, [429, 429, 429]);
    reset(&company, &one);
    let (_, as_one) = company.sign_in("one", OTHER, None);
    assert_eq!(invite(&as_one, 99), 201, "now they are somebody else");
}

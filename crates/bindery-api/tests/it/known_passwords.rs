//! People whose password another user may know, after they have signed in with it.

use bindery_core::command::credentials::ResetPassword;
use serde_json::{Value, json};

use crate::people;
use crate::personas::service_key;
use crate::scene::{CHOSEN, OTHER, Scene, role};

/// A person that mallory invited, and mallory's key as that person.
fn puppet(company: &Scene, name: &str) -> (Value, String) {
    let invited = company.invite(&company.mallory, name, "TEMPORARY_PASSWORD");
    let password = invited["temporary_password"].as_str().unwrap();
    let (status, key) = company.sign_in(name, password, Some(CHOSEN));
    assert_eq!(status, 200);
    (invited, key)
}

fn mallory(company: &Scene) -> Value {
    json!({"id": company.builder.id("user mallory")})
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

fn make_service_key(company: &Scene, key: &str) -> String {
    let body = service_key(
        &company.acme,
        "READ_ONLY",
        company.builder.id("red"),
        "ADMIN",
    );
    let (status, made) = company.send(key, "POST", "/v2/api-keys", &body);
    assert_eq!(status, 201, "{made}");
    made["key"].as_str().unwrap().to_owned()
}

#[test]
fn a_known_password_is_good_only_while_those_who_know_it_could_give_what_the_person_holds() {
    let company = Scene::new();
    let admin = &company.builder.admin_key;
    company.seat_in_organization(admin, &mallory(&company), "ADMIN");
    let (boss, _) = puppet(&company, "boss");
    company.seat_in_organization(&company.mallory, &boss, "ADMIN");
    assert_eq!(company.sign_in("boss", CHOSEN, None).0, 200);
    company.seat_in_organization(admin, &mallory(&company), "READ_ONLY");
    assert_eq!(company.sign_in("boss", CHOSEN, None).0, 401);
    assert_eq!(company.sign_in("boss", CHOSEN, Some(OTHER)).0, 401);
    reset(&company, &boss);
    assert_eq!(company.sign_in("boss", OTHER, None).0, 200);
}

#[test]
fn a_role_that_gains_permissions_ends_known_passwords_of_its_holders() {
    for is_still_giver in [true, false] {
        let mut company = Scene::new();
        let admin = company.builder.admin_key.clone();
        let permissions = json!(["SPACE_READ", "ROLE_BINDING_CREATE"]);
        let body = json!({"name": "giver", "permissions": permissions});
        company.builder.make("giver", "/v2/roles", &body);
        let body = json!({"name": "small", "permissions": ["SPACE_READ"]});
        let small = company.builder.make("small", "/v2/roles", &body);
        let mallory = mallory(&company);
        company.seat_in_organization(&admin, &mallory, "READ_ONLY");
        let (_, given) = company.bind(&admin, &mallory, "giver", "SPACE", "red");
        let (boss, key) = puppet(&company, "boss");
        let (status, bound) = company.bind(&company.mallory, &boss, "small", "SPACE", "red");
        assert_eq!(status, 201, "{bound}");
        if !is_still_giver {
            let path = format!("/v2/role-bindings/{}", given["id"].as_str().unwrap());
            company.builder.ask("DELETE", &path, &Value::Null);
        }
        let path = format!("/v2/roles/{small}");
        let update = |permissions: Value| {
            let body = json!({"permissions": permissions});
            company.builder.ask("PATCH", &path, &body);
        };
        update(json!(["PROJECT_READ"]));
        assert_eq!(company.is_let_in(&key), is_still_giver);
        assert_eq!(
            company.sign_in("boss", CHOSEN, None).0 == 200,
            is_still_giver
        );
    }
}

#[test]
fn a_role_that_loses_permissions_ends_no_password() {
    let mut company = Scene::new();
    let admin = company.builder.admin_key.clone();
    let body = json!({"name": "giver", "permissions": ["SPACE_READ", "ROLE_BINDING_CREATE"]});
    company.builder.make("giver", "/v2/roles", &body);
    let body = json!({"name": "small", "permissions": ["SPACE_READ", "PROJECT_READ"]});
    let small = company.builder.make("small", "/v2/roles", &body);
    let mallory = mallory(&company);
    company.seat_in_organization(&admin, &mallory, "READ_ONLY");
    let (_, given) = company.bind(&admin, &mallory, "giver", "SPACE", "red");
    let (boss, key) = puppet(&company, "boss");
    let (status, bound) = company.bind(&company.mallory, &boss, "small", "SPACE", "red");
    assert_eq!(status, 201, "{bound}");
    let path = format!("/v2/role-bindings/{}", given["id"].as_str().unwrap());
    company.builder.ask("DELETE", &path, &Value::Null);
    let body = json!({"permissions": ["PROJECT_READ"]});
    company
        .builder
        .ask("PATCH", &format!("/v2/roles/{small}"), &body);
    assert!(company.is_let_in(&key));
}

#[test]
fn the_key_of_a_person_whose_password_others_know_does_not_become_an_enforcement_point() {
    let company = Scene::new();
    let admin = &company.builder.admin_key;
    let mark = |person: &Value, by: &str| {
        let (status, key) = company.send(
            by,
            "POST",
            "/v2/api-keys",
            &json!({"key_type": "USER", "name": "asks"}),
        );
        assert_eq!(status, 201, "{person}: {key}");
        let path = format!(
            "/bindery/v1/enforcement-points/{}",
            key["id"].as_str().unwrap()
        );
        company.send(admin, "PUT", &path, &Value::Null)
    };
    let (boss, key) = puppet(&company, "boss");
    let (status, refused) = mark(&boss, &key);
    assert_eq!(status, 409, "{refused}");
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.contains("mailed link") && detail.contains("service key"),
        "{detail}"
    );
    reset(&company, &boss);
    let (_, key) = company.sign_in("boss", OTHER, None);
    let (status, answer) = mark(&boss, &key);
    assert_eq!(status / 100, 2, "{answer}");
    // An account admin may mark any key of their own in any case.
    let carol = company.invite(admin, "carol", "TEMPORARY_PASSWORD");
    let password = carol["temporary_password"].as_str().unwrap();
    let (_, key) = company.sign_in("carol", password, Some(CHOSEN));
    let (status, answer) = mark(&carol, &key);
    assert_eq!(status / 100, 2, "{answer}");
}

#[test]
fn service_keys_that_an_inviter_made_as_the_invited_person_end_with_the_password() {
    for is_reset in [false, true] {
        let mut company = Scene::new();
        let admin = company.builder.admin_key.clone();
        let other = json!({"name": "other"});
        let other = company.builder.make("other", "/v2/organizations", &other);
        company.seat_in_organization(&admin, &mallory(&company), "ADMIN");
        let (boss, key) = puppet(&company, "boss");
        company.seat_in_organization(&company.mallory, &boss, "ADMIN");
        let machine = make_service_key(&company, &key);
        assert!(company.is_let_in(&machine));
        if is_reset {
            reset(&company, &boss);
        } else {
            let seat = json!({"user_id": boss["id"], "role": role("ADMIN")});
            let path = format!("/v2/organizations/{other}/users");
            company.builder.ask("POST", &path, &seat);
        }
        assert!(!company.is_let_in(&key), "by reset: {is_reset}");
        assert!(!company.is_let_in(&machine), "by reset: {is_reset}");
    }
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
    assert_eq!(invite(&as_one, 99), 201, "now they count separately");
}

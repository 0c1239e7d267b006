//! What an inviter may know gives no access to what another user grants the invited person.

use serde_json::{Value, json};

use crate::scene::{CHOSEN, Scene, role};

const DAY: i64 = 24 * 3600;

#[test]
fn a_temporary_password_dies_once_its_person_holds_what_the_inviter_could_not_give() {
    for (gift, give) in Scene::gifts() {
        let company = Scene::new();
        let boss = company.invite(&company.mallory, "boss", "TEMPORARY_PASSWORD");
        let password = boss["temporary_password"].as_str().unwrap();
        give(&company, &boss);
        let (status, _) = company.sign_in("boss", password, Some(CHOSEN));
        assert_eq!(status, 401, "{gift}");
    }
}

#[test]
fn who_came_in_by_a_password_that_the_inviter_knows_is_out_once_the_person_is_given_more() {
    for (gift, give) in Scene::gifts() {
        let company = Scene::new();
        let boss = company.invite(&company.mallory, "boss", "TEMPORARY_PASSWORD");
        let password = boss["temporary_password"].as_str().unwrap();
        let (_, signed_in) = company.sign_in("boss", password, Some(CHOSEN));
        let endless = company.user_key(&signed_in);
        assert!(company.is_let_in(&endless), "{gift}");
        give(&company, &boss);
        let statuses = [&signed_in, &endless].map(|key| company.is_let_in(key));
        assert_eq!(statuses, [false, false], "{gift}");
        assert_eq!(company.sign_in("boss", CHOSEN, None).0, 401, "{gift}");
    }
}

#[test]
fn who_was_invited_by_someone_that_an_inviter_can_pass_for_is_no_way_around() {
    let company = Scene::new();
    let first = company.invite(&company.mallory, "first", "TEMPORARY_PASSWORD");
    let password = first["temporary_password"].as_str().unwrap();
    let (_, as_first) = company.sign_in("first", password, Some(CHOSEN));
    let second = company.invite(&as_first, "second", "TEMPORARY_PASSWORD");
    let password = second["temporary_password"].as_str().unwrap();
    company.seat_in_organization(&company.builder.admin_key, &first, "ADMIN");
    // Now the first could give this, and mallory still couldn't.
    company.seat_in_organization(&company.builder.admin_key, &second, "ADMIN");
    assert_eq!(company.sign_in("second", password, Some(CHOSEN)).0, 401);
}

#[test]
fn what_the_inviter_could_give_leaves_the_way_in_as_it_is() {
    let company = Scene::new();
    let admin = &company.builder.admin_key;
    let mallory = json!({"id": company.builder.id("user mallory")});
    company.seat_in_organization(admin, &mallory, "ADMIN");
    let boss = company.invite(&company.mallory, "boss", "TEMPORARY_PASSWORD");
    let password = boss["temporary_password"].as_str().unwrap();
    company.seat_in_organization(admin, &boss, "ADMIN");
    assert_eq!(company.sign_in("boss", password, Some(CHOSEN)).0, 200);
    // Anything that an admin of the account gives.
    let carol = company.invite(admin, "carol", "TEMPORARY_PASSWORD");
    let password = carol["temporary_password"].as_str().unwrap();
    company.seat_in_organization(admin, &carol, "ADMIN");
    let (status, key) = company.sign_in("carol", password, Some(CHOSEN));
    assert_eq!(status, 200);
    let path = format!("/v2/spaces/{}", company.builder.id("red"));
    assert_eq!(company.send(&key, "GET", &path, &Value::Null).0, 200);
    assert_eq!(
        company
            .bind(admin, &carol, "Project Admin", "PROJECT", "red.sonar")
            .0,
        201
    );
    assert!(company.is_let_in(&key));
}

#[test]
fn an_invitation_works_no_longer_once_its_inviter_could_not_give_what_it_comes_with() {
    let company = Scene::new();
    let admin = &company.builder.admin_key;
    let mallory = company.builder.id("user mallory").to_owned();
    let boss = company.invite(&company.mallory, "boss", "TEMPORARY_PASSWORD");
    company
        .builder
        .ask("DELETE", &format!("/v2/users/{mallory}"), &Value::Null);
    let password = boss["temporary_password"].as_str().unwrap();
    assert_eq!(company.sign_in("boss", password, Some(CHOSEN)).0, 401);
    let path = format!(
        "/v2/users/{}/resend-invitation",
        boss["id"].as_str().unwrap()
    );
    assert_eq!(company.send(admin, "POST", &path, &Value::Null).0, 204);
}

#[test]
fn resending_an_invitation_ends_every_way_in_from_before() {
    let company = Scene::new();
    for inviter in [&company.mallory, &company.builder.admin_key] {
        let name = format!(
            "boss{}",
            inviter.len() + usize::from(inviter == &company.mallory)
        );
        let boss = company.invite(inviter, &name, "TEMPORARY_PASSWORD");
        let password = boss["temporary_password"].as_str().unwrap();
        let path = format!(
            "/v2/users/{}/resend-invitation",
            boss["id"].as_str().unwrap()
        );
        company.builder.ask("POST", &path, &Value::Null);
        assert_eq!(company.sign_in(&name, password, Some(CHOSEN)).0, 401);
    }
}

#[test]
fn a_new_invitation_by_a_member_brings_nothing_back_that_an_admin_took() {
    let company = Scene::new();
    let boss = company.invite(&company.mallory, "boss", "EMAIL_LINK");
    let path = format!("/v2/users/{}", boss["id"].as_str().unwrap());
    company
        .builder
        .ask("PATCH", &path, &json!({"is_developer": false}));
    company.builder.served.wait_seconds(8 * DAY);
    let body = json!({
        "name": "boss", "email": "boss@example.com", "invite_mode": "TEMPORARY_PASSWORD", "role": role("MEMBER"),
    });
    assert_eq!(
        company.send(&company.mallory, "POST", "/v2/users", &body).0,
        403
    );
}

#[test]
fn without_mail_an_admin_gets_an_invited_person_in_again_by_a_new_temporary_password() {
    let company = Scene::new();
    let admin = &company.builder.admin_key;
    let boss = company.invite(&company.mallory, "boss", "TEMPORARY_PASSWORD");
    company.seat_in_organization(admin, &boss, "ADMIN");
    let old = boss["temporary_password"].as_str().unwrap();
    let path = format!(
        "/bindery/v1/users/{}/temporary-password",
        boss["id"].as_str().unwrap()
    );
    assert_eq!(
        company
            .send(&company.mallory, "POST", &path, &Value::Null)
            .0,
        403
    );
    let (status, renewed) = company.send(admin, "POST", &path, &Value::Null);
    assert_eq!(status, 200, "{renewed}");
    assert_eq!(company.sign_in("boss", old, Some(CHOSEN)).0, 401);
    let new = renewed["temporary_password"].as_str().unwrap();
    let (status, key) = company.sign_in("boss", new, Some(CHOSEN));
    assert_eq!(status, 200);
    assert!(company.is_let_in(&key));
    assert_eq!(
        company.send(admin, "POST", &path, &Value::Null).0,
        400,
        "the person is in"
    );
}

//! Only users with the right to remove roles take them away, and what a key or user makes never outlives or
//! exceeds its maker.

use bindery_core::command::credentials::ResetPassword;
use serde_json::{Value, json};

use crate::people;
use crate::personas::service_key;
use crate::scene::{CHOSEN, OTHER, Scene, role};

/// A time, as requests have it.
fn moment(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis)
        .unwrap()
        .to_string()
}

#[test]
fn the_right_to_bind_roles_replaces_nothing_that_a_user_holds() {
    let mut company = Scene::new();
    for (name, permissions) in [
        ("giver", json!(["SPACE_READ", "ROLE_BINDING_CREATE"])),
        (
            "changer",
            json!(["SPACE_READ", "ROLE_BINDING_CREATE", "ROLE_BINDING_DELETE"]),
        ),
        ("small", json!(["PROJECT_READ"])),
    ] {
        let body = json!({"name": name, "permissions": permissions});
        company.builder.make(name, "/v2/roles", &body);
    }
    let admin = company.builder.admin_key.clone();
    let mallory = json!({"id": company.builder.id("user mallory")});
    company.seat_in_organization(&admin, &mallory, "READ_ONLY");
    let small = json!({"type": "CUSTOM", "id": company.builder.id("small")});
    let mut people = Vec::new();
    for name in [
        "by_membership",
        "by_binding",
        "by_small_binding",
        "by_fallback",
        "by_nothing",
    ] {
        let id = company.builder.person(name, "MEMBER", true);
        let person = json!({"id": id});
        company.seat_in_organization(&admin, &person, "MEMBER");
        people.push(person);
    }
    for space in ["red", "blue"] {
        assert_eq!(
            company.bind(&admin, &mallory, "giver", "SPACE", space).0,
            201
        );
        assert_eq!(
            company.seat_in_space(&admin, space, &people[0], &role("ADMIN")),
            200
        );
        assert_eq!(
            company.bind(&admin, &people[1], "Admin", "SPACE", space).0,
            201
        );
        assert_eq!(
            company.bind(&admin, &people[2], "small", "SPACE", space).0,
            201
        );
    }
    let give = |space: &str, person: &Value| {
        company.seat_in_space(&company.mallory, space, person, &small)
    };
    let statuses: Vec<u16> = people.iter().map(|person| give("red", person)).collect();
    // The third keeps what they have; red is private, so the last two had nothing there.
    assert_eq!(statuses, [403, 403, 200, 200, 200]);
    let statuses: Vec<u16> = people.iter().map(|person| give("blue", person)).collect();
    assert_eq!(
        statuses,
        [403, 403, 200, 403, 403],
        "a default role of a public space counts as held"
    );
    let (status, refused) = company.bind(&company.mallory, &people[3], "small", "SPACE", "blue");
    assert_eq!(status, 403, "{refused}");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("ROLE_BINDING_DELETE"), "{detail}");
    let (status, refused) = company.bind(&company.mallory, &people[1], "small", "SPACE", "red");
    assert_eq!(status, 409, "it would replace nothing: {refused}");
    let (status, _) = company.bind(&company.mallory, &people[3], "Member", "SPACE", "blue");
    assert_eq!(status, 201, "it takes nothing away");
    // With the right to remove as well, it is a change like that of a binding.
    let changer = company.builder.person("changer", "MEMBER", true);
    let changer = json!({"id": changer});
    let key = company.builder.issue("changer@example.com");
    company.seat_in_organization(&admin, &changer, "READ_ONLY");
    assert_eq!(
        company.bind(&admin, &changer, "changer", "SPACE", "red").0,
        201
    );
    assert_eq!(company.seat_in_space(&key, "red", &people[0], &small), 200);
}

fn key_in(company: &Scene, space: &str, space_role: &str) -> Value {
    service_key(
        &company.acme,
        "READ_ONLY",
        company.builder.id(space),
        space_role,
    )
}

#[test]
fn what_a_service_key_makes_ends_with_it() {
    let company = Scene::new();
    let admin = company.builder.admin_key.clone();
    for is_revoked in [true, false] {
        let mut body = key_in(&company, "red", "ADMIN");
        let now = company.builder.served.node.clock().now();
        body["expires_at"] = json!(moment(now.as_millis() + 3_600_000));
        let parent = company.builder.ask("POST", "/v2/api-keys", &body);
        let mut keys = vec![parent["key"].as_str().unwrap().to_owned()];
        // A child, and a child of the child.
        for _ in 0..2 {
            let body = key_in(&company, "red", "ADMIN");
            let (status, made) = company.send(keys.last().unwrap(), "POST", "/v2/api-keys", &body);
            assert_eq!(status, 201, "{made}");
            assert_eq!(made["expires_at"], parent["expires_at"]);
            keys.push(made["key"].as_str().unwrap().to_owned());
        }
        let mut body = key_in(&company, "red", "ADMIN");
        body["expires_at"] = json!(moment(now.as_millis() + 3_601_000));
        let (status, refused) = company.send(&keys[0], "POST", "/v2/api-keys", &body);
        assert_eq!(status, 422, "{refused}");
        if is_revoked {
            let path = format!("/v2/api-keys/{}/revoke", parent["id"].as_str().unwrap());
            company.builder.ask("PUT", &path, &Value::Null);
        } else {
            // A refresh with an earlier expiry.
            let path = format!("/v2/api-keys/{}/refresh", parent["id"].as_str().unwrap());
            let body = json!({"expires_at": moment(now.as_millis() + 60_000)});
            let (status, answer) = company.send(&admin, "POST", &path, &body);
            assert_eq!(status, 200, "{answer}");
            assert!(keys[1..].iter().all(|key| company.is_let_in(key)));
            company.builder.served.wait_seconds(61);
        }
        let is_out = keys.iter().all(|key| !company.is_let_in(key));
        assert!(is_out, "revoked {is_revoked}");
    }
}

#[test]
fn a_service_key_refreshes_no_key_to_a_later_end_than_its_own() {
    let company = Scene::new();
    let now = company.builder.served.node.clock().now();
    let endless = company
        .builder
        .ask("POST", "/v2/api-keys", &key_in(&company, "red", "MEMBER"));
    let path = format!("/v2/api-keys/{}/refresh", endless["id"].as_str().unwrap());
    let mut body = key_in(&company, "red", "ADMIN");
    body["expires_at"] = json!(moment(now.as_millis() + 60_000));
    let short = company.builder.ask("POST", "/v2/api-keys", &body);
    let short = short["key"].as_str().unwrap();
    for body in [
        json!({}),
        json!({"expires_at": moment(now.as_millis() + 61_000)}),
    ] {
        let (status, refused) = company.send(short, "POST", &path, &body);
        assert_eq!(status, 422, "{refused}");
    }
    let body = json!({"expires_at": moment(now.as_millis() + 60_000)});
    let (status, answer) = company.send(short, "POST", &path, &body);
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn a_secret_that_a_service_key_learned_ends_with_it() {
    let company = Scene::new();
    let admin = company.builder.admin_key.clone();
    let new_key = || {
        company
            .builder
            .ask("POST", "/v2/api-keys", &key_in(&company, "red", "ADMIN"))
    };
    let refresh = |by: &str, of: &Value| {
        let path = format!("/v2/api-keys/{}/refresh", of["id"].as_str().unwrap());
        let (status, answer) = company.send(by, "POST", &path, &json!({}));
        assert_eq!(status, 200, "{answer}");
        answer["key"].as_str().unwrap().to_owned()
    };
    let revoke = |key: &Value| {
        let path = format!("/v2/api-keys/{}/revoke", key["id"].as_str().unwrap());
        company.builder.ask("PUT", &path, &Value::Null);
    };
    let text = |key: &Value| key["key"].as_str().unwrap().to_owned();

    let (thief, other) = (new_key(), new_key());
    let learned = refresh(&text(&thief), &other);
    let body = key_in(&company, "red", "ADMIN");
    let (status, made) = company.send(&learned, "POST", "/v2/api-keys", &body);
    assert_eq!(status, 201, "{made}");
    // Neither the key itself nor the key that it made can end the tie to the key that learned its secret.
    let learned = refresh(&learned, &other);
    let learned_again = refresh(&text(&made), &other);
    assert!(!company.is_let_in(&learned));
    revoke(&thief);
    assert!(!company.is_let_in(&learned_again));
    assert!(!company.is_let_in(&text(&made)));

    // Only the person who refreshes the key knows its secret.
    let (thief, other) = (new_key(), new_key());
    refresh(&text(&thief), &other);
    let mended = refresh(&admin, &other);
    revoke(&thief);
    assert!(company.is_let_in(&mended));

    // The secret of a person's key, and a key made with it.
    let mut body = key_in(&company, "red", "ADMIN");
    body["account_role"] = json!({"type": "PREDEFINED", "name": "ADMIN"});
    let thief = company.builder.ask("POST", "/v2/api-keys", &body);
    let own = company.builder.ask(
        "POST",
        "/v2/api-keys",
        &json!({"name": "own", "key_type": "USER"}),
    );
    let learned = refresh(&text(&thief), &own);
    let (status, made) = company.send(
        &learned,
        "POST",
        "/v2/api-keys",
        &json!({"name": "more", "key_type": "USER"}),
    );
    assert_eq!(status, 201, "{made}");
    assert!(company.is_let_in(&text(&made)));
    revoke(&thief);
    assert!(!company.is_let_in(&learned));
    assert!(!company.is_let_in(&text(&made)));
    assert!(company.is_let_in(&admin));
}

#[test]
fn a_service_key_that_loses_its_last_place_takes_along_what_it_made() {
    let mut company = Scene::new();
    let admin = company.builder.admin_key.clone();
    let other = json!({"name": "other"});
    let other = company.builder.make("other", "/v2/organizations", &other);
    let space = json!({"name": "green", "organization_id": other});
    let green = company.builder.make("green", "/v2/spaces", &space);
    // Both keys have a seat in each organization.
    let mut body = key_in(&company, "red", "ADMIN");
    let more = service_key(&other, "READ_ONLY", &green, "ADMIN");
    body["organizations"]
        .as_array_mut()
        .unwrap()
        .push(more["organizations"][0].clone());
    let make = |key: &str| {
        let (status, made) = company.send(key, "POST", "/v2/api-keys", &body);
        assert_eq!(status, 201, "{made}");
        made
    };
    let parent = make(&admin);
    let child = make(parent["key"].as_str().unwrap());
    // The parent leaves one organization, the other is deleted: the child still has a seat in the first.
    let path = format!(
        "/v2/organizations/{other}/users/{}",
        parent["bot_user"]["id"].as_str().unwrap()
    );
    company.builder.ask("DELETE", &path, &Value::Null);
    let is_let_in = |made: &Value| company.is_let_in(made["key"].as_str().unwrap());
    assert!(is_let_in(&parent) && is_let_in(&child));
    let path = format!("/v2/organizations/{}", company.acme);
    company.builder.ask("DELETE", &path, &Value::Null);
    assert!(!is_let_in(&parent));
    assert!(!is_let_in(&child));
    // The seats that the child had decide who may read it.
    let path = format!("/v2/api-keys?space_id={green}&key_type=SERVICE&status=REVOKED");
    let (status, list) = company.send(&admin, "GET", &path, &Value::Null);
    assert_eq!(status, 200, "{list}");
    let ids: Vec<&Value> = list["api_keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["id"])
        .collect();
    assert_eq!(ids, [&child["id"]]);
}

#[test]
fn a_service_key_makes_people_only_as_account_admin_and_gets_no_password_of_theirs() {
    let company = Scene::new();
    let body = key_in(&company, "red", "ADMIN");
    let member = company.builder.ask("POST", "/v2/api-keys", &body);
    let mut body = key_in(&company, "red", "ADMIN");
    body["account_role"] = role("ADMIN");
    let admin = company.builder.ask("POST", "/v2/api-keys", &body);
    for (mode, of_member, of_admin) in [
        ("NONE", 403, 201),
        ("EMAIL_LINK", 403, 201),
        ("TEMPORARY_PASSWORD", 403, 403),
    ] {
        let name = mode.to_lowercase();
        let body = json!({
            "name": name, "email": format!("{name}@example.com"), "invite_mode": mode, "role": role("MEMBER"),
        });
        for (key, expected) in [(&member, of_member), (&admin, of_admin)] {
            let (status, answer) =
                company.send(key["key"].as_str().unwrap(), "POST", "/v2/users", &body);
            assert_eq!(status, expected, "{mode}: {answer}");
        }
    }
}

#[test]
fn a_seat_that_replaces_more_is_not_left_by_who_could_not_give_that() {
    let mut company = Scene::new();
    let admin = company.builder.admin_key.clone();
    for (name, permissions) in [
        (
            "leaver",
            json!(["SPACE_READ", "ROLE_BINDING_READ", "ROLE_BINDING_DELETE"]),
        ),
        (
            "giver",
            json!(["SPACE_READ", "ROLE_BINDING_CREATE", "ROLE_BINDING_DELETE"]),
        ),
    ] {
        let body = json!({"name": name, "permissions": permissions});
        company.builder.make(name, "/v2/roles", &body);
    }
    let mallory = json!({"id": company.builder.id("user mallory")});
    company.seat_in_organization(&admin, &mallory, "MEMBER");
    let may = |company: &Scene| {
        let body = json!({
            "subject": {"type": "user", "id": mallory["id"]}, "action": {"name": "DATASET_CREATE"},
            "resource": {"type": "space", "id": company.builder.id("blue")},
        });
        company.builder.ask("POST", "/access/v1/evaluation", &body)["decision"] == true
    };
    assert!(
        may(&company),
        "as a member of the organization in a public space"
    );
    let (_, bound) = company.bind(&admin, &mallory, "leaver", "SPACE", "blue");
    assert!(!may(&company));
    let seat = format!(
        "/v2/spaces/{}/users/{}",
        company.builder.id("blue"),
        mallory["id"].as_str().unwrap()
    );
    let (status, refused) = company.send(&company.mallory, "DELETE", &seat, &Value::Null);
    assert_eq!(status, 403, "{refused}");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("ROLE_BINDING_CREATE"), "{detail}");
    let binding = format!("/v2/role-bindings/{}", bound["id"].as_str().unwrap());
    let (status, refused) = company.send(&company.mallory, "DELETE", &binding, &Value::Null);
    assert_eq!(status, 404, "{refused}");
    assert!(!may(&company));
    // Where it gives no more than before, and for users who could give it.
    let role = json!({"role_id": company.builder.id("giver")});
    company.builder.ask("PATCH", &binding, &role);
    assert_eq!(
        company
            .send(&company.mallory, "DELETE", &seat, &Value::Null)
            .0,
        204
    );
    assert!(may(&company));
}

#[test]
fn a_reset_of_the_password_shows_the_keys_that_live_on_and_ends_them_on_demand() {
    let company = Scene::new();
    let admin = company.builder.admin_key.clone();
    let mallory = json!({"id": company.builder.id("user mallory")});
    company.seat_in_organization(&admin, &mallory, "ADMIN");
    let second = company.user_key(&company.mallory);
    let (status, machine) = company.send(
        &company.mallory,
        "POST",
        "/v2/api-keys",
        &key_in(&company, "red", "ADMIN"),
    );
    assert_eq!(status, 201, "{machine}");
    let machine = machine["key"].as_str().unwrap();
    let (_, child) = company.send(
        machine,
        "POST",
        "/v2/api-keys",
        &key_in(&company, "red", "MEMBER"),
    );
    let child = child["key"].as_str().unwrap();
    let reset = |letter: char, more: &Value| {
        let (link, hash) = people::token(letter);
        let user = people::user_id(&company.builder, &mallory);
        people::send(&company.builder, ResetPassword { user, token: hash });
        let path = format!("/bindery/v1/password-resets/{link}");
        let mut body = json!({"password": CHOSEN});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let (status, answer) =
            company
                .builder
                .served
                .send(None, "POST", &path, Some(&body.to_string()));
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let answer = reset('a', &json!({}));
    assert_eq!(
        answer["living_keys"],
        json!({"user_keys": 2, "service_keys": 1})
    );
    assert!(
        [&second, machine, child]
            .iter()
            .all(|key| company.is_let_in(key))
    );
    let answer = reset('b', &json!({"end_keys": true}));
    assert_eq!(
        answer["living_keys"],
        json!({"user_keys": 0, "service_keys": 0})
    );
    let keys = [company.mallory.as_str(), &second, machine, child];
    assert!(keys.iter().all(|key| !company.is_let_in(key)));
    // The same when signing in with a new password.
    let (_, key) = company.sign_in("mallory", CHOSEN, None);
    let own = company.user_key(&key);
    let sign_in = |password: &str, new: &str, end_keys: bool| {
        let body = json!({
            "email": "mallory@example.com", "password": password, "new_password": new, "end_keys": end_keys,
        });
        let path = "/bindery/v1/sign-in";
        company
            .builder
            .served
            .send(None, "POST", path, Some(&body.to_string()))
            .1
    };
    let answer = sign_in(CHOSEN, OTHER, false);
    assert_eq!(
        answer["living_keys"],
        json!({"user_keys": 1, "service_keys": 0})
    );
    assert!(company.is_let_in(&own));
    let answer = sign_in(OTHER, CHOSEN, true);
    assert_eq!(
        answer["living_keys"],
        json!({"user_keys": 0, "service_keys": 0})
    );
    assert!(!company.is_let_in(&own));
    assert!(
        company.is_let_in(answer["api_key"]["key"].as_str().unwrap()),
        "the new one"
    );
}

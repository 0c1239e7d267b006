//! Sentences of the rules that are easily overlooked, tested literally over HTTP. The access matrix, the
//! model's properties and the suites of the clients cover much else; these tests need time to pass, settings
//! of an account, or several steps.

use bindery_core::place::AccountSettings;
use serde_json::{Value, json};

use crate::personas::{Builder, found_account_with, service_key};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn predefined(name: &str) -> Value {
    json!({"type": "PREDEFINED", "name": name})
}

fn send(builder: &Builder, key: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    builder.served.send(Some(key), method, path, Some(&text))
}

fn status(builder: &Builder, key: &str, method: &str, path: &str, body: &Value) -> u16 {
    send(builder, key, method, path, body).0
}

/// Whether the key is accepted.
fn lets_in(builder: &Builder, key: &str) -> bool {
    status(builder, key, "GET", "/v2/organizations", &Value::Null) != 401
}

fn text<'a>(answer: &'a Value, member: &str) -> &'a str {
    answer[member].as_str().unwrap()
}

/// The members `name` of the items of a list.
fn all(builder: &Builder, key: &str, path: &str, list: &str, member: &str) -> Vec<String> {
    let (status, page) = send(builder, key, "GET", path, &Value::Null);
    assert_eq!(status, 200, "{path}: {page}");
    let things = page[list].as_array().unwrap().iter();
    things.map(|one| text(one, member).to_owned()).collect()
}

/// An organization with a private space and a project in it: `acme`, `red`, `sonar`.
fn furnished() -> Builder {
    let mut builder = Builder::new();
    let acme = builder.make("acme", "/v2/organizations", &json!({"name": "acme"}));
    let space = json!({"name": "red", "organization_id": acme, "is_private": true});
    let red = builder.make("red", "/v2/spaces", &space);
    let project = json!({"name": "sonar", "space_id": red});
    builder.make("sonar", "/v2/projects", &project);
    builder
}

fn role(builder: &mut Builder, name: &str, permissions: &[&str]) -> String {
    let body = json!({"name": name, "permissions": permissions});
    builder.make(name, "/v2/roles", &body)
}

fn bind(builder: &Builder, user: &str, role: &str, kind: &str, resource: &str) -> Value {
    let body = json!({
        "user_id": user, "role_id": role, "resource_type": kind, "resource_id": resource,
    });
    builder.ask("POST", "/v2/role-bindings", &body)
}

/// operations.md, `create_user`: the table of states of an address, in both columns.
#[test]
fn what_becomes_of_an_invitation_is_decided_by_who_has_the_address() {
    let builder = Builder::new();
    let key = builder.admin_key.clone();
    let create = |email: &str, mode: &str| {
        let body = json!({
            "name": "One", "email": format!("{email}@example.com"), "invite_mode": mode,
            "role": predefined("MEMBER"),
        });
        send(&builder, &key, "POST", "/v2/users", &body)
    };
    let first = |email: &str, mode: &str| {
        let (status, made) = create(email, mode);
        assert_eq!(status, 201, "{made}");
        text(&made, "id").to_owned()
    };
    let mut lapsed = Vec::new();
    for mode in ["EMAIL_LINK", "TEMPORARY_PASSWORD", "NONE"] {
        lapsed.push((mode, first(&format!("lapsed-{mode}"), "EMAIL_LINK")));
    }
    builder.served.wait_seconds(7 * DAY);
    first("invited", "EMAIL_LINK");
    first("active", "NONE");
    let gone = first("gone", "NONE");
    let path = format!("/v2/users/{gone}");
    builder.ask("DELETE", &path, &Value::Null);
    for (mode, expected) in [
        ("EMAIL_LINK", [201, 200, 201, 409, 409]),
        ("TEMPORARY_PASSWORD", [201, 200, 201, 409, 409]),
        ("NONE", [201, 409, 201, 409, 409]),
    ] {
        let lapsed_email = format!("lapsed-{mode}");
        let unknown = format!("unknown-{mode}");
        let emails = [&unknown, "INVITED", &lapsed_email, "Active", "GONE"];
        let answers = emails.map(|email| create(email, mode));
        assert_eq!(
            answers.each_ref().map(|(status, _)| *status),
            expected,
            "{mode}"
        );
        let is_invited = mode != "NONE";
        for (status, answer) in &answers {
            let is_new = *status == 201;
            assert_eq!(answer.get("invite_mode").is_some(), is_new, "{answer}");
            let has_password = is_new && mode == "TEMPORARY_PASSWORD";
            assert_eq!(
                answer.get("temporary_password").is_some(),
                has_password,
                "{answer}"
            );
            if is_new {
                let standing = if is_invited { "INVITED" } else { "ACTIVE" };
                assert_eq!(answer["status"], standing, "{answer}");
            }
        }
        let same = lapsed.iter().find(|(of, _)| *of == mode).unwrap();
        assert_eq!(answers[2].1["id"], same.1, "{mode}: the same user");
    }
}

/// operations.md, `refresh_api_key`: the table, without a longest lifetime and with one.
#[test]
fn a_refreshed_key_never_outlives_what_it_had() {
    let builder = Builder::new();
    let longest = AccountSettings {
        key_lifetime_max_seconds: Some(10 * 24 * 3600),
        ..AccountSettings::default()
    };
    let bounded = found_account_with(&builder.served, 3, "bounded@example.com", longest);
    let unbounded = builder.admin_key.clone();
    let new_key = |key: &str, end: Value| {
        let mut body = json!({"key_type": "USER", "name": "k"});
        if !end.is_null() {
            body["expires_at"] = end;
        }
        send(&builder, key, "POST", "/v2/api-keys", &body)
    };
    let refresh = |key: &str, id: &Value, body: &Value| {
        let path = format!("/v2/api-keys/{}/refresh", id.as_str().unwrap());
        let (status, answer) = send(&builder, key, "POST", &path, body);
        let end = answer.get("expires_at").and_then(Value::as_str);
        (status, end.unwrap_or("never").to_owned())
    };
    // It is 2026-01-01T00:00:00Z.
    let (_, expiring) = new_key(&unbounded, json!("2026-01-05T00:00:00Z"));
    for (body, expected) in [
        (Value::Null, (422, "never")),
        (json!({}), (422, "never")),
        (json!({"expires_at": null}), (422, "never")),
        (
            json!({"expires_at": "2026-01-05T00:00:00.001Z"}),
            (422, "never"),
        ),
        (
            json!({"expires_at": "2026-01-01T00:00:00Z"}),
            (422, "never"),
        ),
        (
            json!({"expires_at": "2026-01-05T00:00:00Z"}),
            (200, "2026-01-05T00:00:00.000Z"),
        ),
        (
            json!({"expires_at": "2026-01-03T00:00:00Z"}),
            (200, "2026-01-03T00:00:00.000Z"),
        ),
        (
            json!({"expires_at": "2026-01-05T00:00:00Z"}),
            (422, "never"),
        ),
    ] {
        let (status, end) = refresh(&unbounded, &expiring["id"], &body);
        assert_eq!((status, &*end), expected, "{body}");
    }
    let (_, open) = new_key(&unbounded, Value::Null);
    for (body, expected) in [
        (Value::Null, (200, "never")),
        (
            json!({"expires_at": "2025-12-31T23:59:59Z"}),
            (422, "never"),
        ),
        (
            json!({"expires_at": "2036-01-01T00:00:00Z"}),
            (200, "2036-01-01T00:00:00.000Z"),
        ),
        (Value::Null, (422, "never")),
    ] {
        let (status, end) = refresh(&unbounded, &open["id"], &body);
        assert_eq!((status, &*end), expected, "{body}");
    }
    // With a longest lifetime of ten days. The admin's first key is older than any such rule, and does not
    // expire.
    assert_eq!(new_key(&bounded, json!("2026-01-11T00:00:00.001Z")).0, 422);
    let (status, made) = new_key(&bounded, Value::Null);
    assert_eq!(
        (status, text(&made, "expires_at")),
        (201, "2026-01-11T00:00:00.000Z")
    );
    let (_, keys) = send(&builder, &bounded, "GET", "/v2/api-keys", &Value::Null);
    let first = &keys["api_keys"][0];
    assert_eq!(first.get("expires_at"), None);
    let late = json!({"expires_at": "2026-01-11T00:00:00.001Z"});
    assert_eq!(refresh(&bounded, &first["id"], &late).0, 422);
    let (status, end) = refresh(&bounded, &first["id"], &json!({"grace_period_seconds": 60}));
    assert_eq!((status, &*end), (200, "2026-01-11T00:00:00.000Z"));
    assert!(lets_in(&builder, &bounded), "in its grace period");
}

/// operations.md, `refresh_api_key`: "the old secret works until min(now + grace, its own expiry)", "keeps only the latest old
/// secret", "revoking the key kills both".
#[test]
fn an_old_secret_lives_through_its_grace_time_and_not_a_moment_longer() {
    let builder = Builder::new();
    let admin = builder.admin_key.clone();
    let body = json!({"key_type": "USER", "name": "k", "expires_at": "2026-01-01T02:00:00Z"});
    let (_, made) = send(&builder, &admin, "POST", "/v2/api-keys", &body);
    let refresh = |grace: i64| {
        let path = format!("/v2/api-keys/{}/refresh", text(&made, "id"));
        let body = json!({"expires_at": "2026-01-01T02:00:00Z", "grace_period_seconds": grace});
        let (status, fresh) = send(&builder, &admin, "POST", &path, &body);
        assert_eq!((status, fresh.get("bot_user")), (200, None), "{fresh}");
        text(&fresh, "key").to_owned()
    };
    let first = text(&made, "key").to_owned();
    let second = refresh(HOUR);
    builder.served.wait_seconds(HOUR - 1);
    assert!(lets_in(&builder, &first) && lets_in(&builder, &second));
    builder.served.wait_seconds(1);
    assert!(!lets_in(&builder, &first) && lets_in(&builder, &second));
    let third = refresh(DAY);
    let fourth = refresh(DAY);
    let alive = [&second, &third, &fourth].map(|key| lets_in(&builder, key));
    assert_eq!(alive, [false, true, true], "only the latest old secret");
    builder.served.wait_seconds(HOUR);
    let alive = [&third, &fourth].map(|key| lets_in(&builder, key));
    assert_eq!(alive, [false, false], "both end with the key");
    let statuses = all(
        &builder,
        &admin,
        "/v2/api-keys?status=ACTIVE",
        "api_keys",
        "name",
    );
    assert_eq!(statuses, ["first"], "ACTIVE lists what is valid for use");
    let path = format!("/v2/api-keys/{}/refresh", text(&made, "id"));
    let body = json!({"expires_at": "2026-01-02T00:00:00Z"});
    assert_eq!(status(&builder, &admin, "POST", &path, &body), 422);
}

/// docs/rules/authorization.md §2: "When it is switched off for a whole account, creating and refreshing any key answers 403 and existing
/// service keys keep working with their roles."
#[test]
fn without_developer_access_in_the_account_no_secret_is_handed_out_and_keys_go_on() {
    let builder = Builder::new();
    let off = AccountSettings {
        developer_access: false,
        ..AccountSettings::default()
    };
    let admin = found_account_with(&builder.served, 3, "off@example.com", off);
    let body = json!({"key_type": "USER", "name": "k"});
    assert_eq!(status(&builder, &admin, "POST", "/v2/api-keys", &body), 403);
    let (_, org) = send(
        &builder,
        &admin,
        "POST",
        "/v2/organizations",
        &json!({"name": "acme"}),
    );
    let space = json!({"name": "red", "organization_id": org["id"]});
    let (_, space) = send(&builder, &admin, "POST", "/v2/spaces", &space);
    let body = service_key(text(&org, "id"), "READ_ONLY", text(&space, "id"), "MEMBER");
    assert_eq!(status(&builder, &admin, "POST", "/v2/api-keys", &body), 403);
    let (_, keys) = send(&builder, &admin, "GET", "/v2/api-keys", &Value::Null);
    let id = text(&keys["api_keys"][0], "id");
    let path = format!("/v2/api-keys/{id}/refresh");
    assert_eq!(status(&builder, &admin, "POST", &path, &Value::Null), 403);
    assert!(lets_in(&builder, &admin));
    assert_eq!(
        status(&builder, &admin, "GET", "/v2/roles", &Value::Null),
        200
    );
}

/// docs/rules/authorization.md §4: one slot for the membership and one for the binding.
#[test]
fn a_role_given_in_a_space_is_what_the_answer_says_and_a_binding_only_adds() {
    let mut builder = furnished();
    let ada = builder.person("ada", "MEMBER", true);
    builder.seat_in_organization(&ada, "MEMBER");
    let reader = role(&mut builder, "reader", &["PROJECT_READ"]);
    let (red, key) = (builder.id("red").to_owned(), builder.admin_key.clone());
    let seat = |role: &Value| {
        let path = format!("/v2/spaces/{red}/users");
        let body = json!({"user_id": ada, "role": role});
        let (status, seat) = send(&builder, &key, "POST", &path, &body);
        assert_eq!(status, 200, "{seat}");
        seat
    };
    let bindings = || {
        let path = format!("/v2/role-bindings?resource_type=SPACE&user_id={ada}");
        all(&builder, &key, &path, "role_bindings", "role_id")
    };
    let first = seat(&predefined("READ_ONLY"));
    bind(&builder, &ada, &reader, "SPACE", &red);
    assert_eq!(bindings(), [reader.as_str()], "besides the membership");
    let second = seat(&predefined("MEMBER"));
    assert_eq!(bindings(), [""; 0], "a predefined role ends the binding");
    assert_eq!(second["id"], first["id"], "the membership keeps its id");
    let third = seat(&json!({"type": "CUSTOM", "id": reader}));
    assert_eq!(bindings(), [reader.as_str()]);
    assert_eq!(
        third["role"],
        json!({"type": "CUSTOM", "id": reader, "name": "reader"})
    );
    // Only the binding is left: once it is deleted, nothing is left.
    let path = format!("/v2/role-bindings?resource_type=SPACE&user_id={ada}");
    let binding = all(&builder, &key, &path, "role_bindings", "id").remove(0);
    builder.ask(
        "DELETE",
        &format!("/v2/role-bindings/{binding}"),
        &Value::Null,
    );
    let path = format!("/v2/spaces/{red}/users/{ada}");
    assert_eq!(status(&builder, &key, "DELETE", &path, &Value::Null), 404);
}

/// docs/rules/authorization.md §11, `remove_space_user` and `remove_organization_user`.
#[test]
fn leaving_a_space_leaves_project_bindings_and_leaving_the_organization_leaves_nothing() {
    let mut builder = furnished();
    let ada = builder.person("ada", "MEMBER", true);
    builder.seat_in_organization(&ada, "READ_ONLY");
    let reader = role(&mut builder, "reader", &["PROJECT_READ"]);
    let [acme, red, sonar] = ["acme", "red", "sonar"].map(|name| builder.id(name).to_owned());
    builder.seat_in_space(&ada, "red", "MEMBER");
    bind(&builder, &ada, &reader, "SPACE", &red);
    bind(&builder, &ada, &reader, "PROJECT", &sonar);
    let count = |kind: &str| {
        let path = format!("/v2/role-bindings?resource_type={kind}&user_id={ada}");
        all(&builder, &builder.admin_key, &path, "role_bindings", "id").len()
    };
    let from_space = format!("/v2/spaces/{red}/users/{ada}");
    builder.ask("DELETE", &from_space, &Value::Null);
    assert_eq!((count("SPACE"), count("PROJECT")), (0, 1));
    let again = status(
        &builder,
        &builder.admin_key,
        "DELETE",
        &from_space,
        &Value::Null,
    );
    assert_eq!(again, 404);
    builder.seat_in_space(&ada, "red", "MEMBER");
    bind(&builder, &ada, &reader, "SPACE", &red);
    let from_organization = format!("/v2/organizations/{acme}/users/{ada}");
    builder.ask("DELETE", &from_organization, &Value::Null);
    assert_eq!((count("SPACE"), count("PROJECT")), (0, 0));
    let path = format!("/v2/spaces/{red}/users");
    let body = json!({"user_id": ada, "role": predefined("MEMBER")});
    let outside = status(&builder, &builder.admin_key, "POST", &path, &body);
    assert_eq!(
        outside, 400,
        "no user is added to the organization implicitly"
    );
}

/// operations.md, `remove_space_user`: "A user who has access only by fallback or as an admin above is not a member".
#[test]
fn a_user_with_access_but_no_seat_can_not_be_removed_from_a_space() {
    let mut builder = furnished();
    let acme = builder.id("acme").to_owned();
    let space = json!({"name": "blue", "organization_id": acme});
    let blue = builder.make("blue", "/v2/spaces", &space);
    for (name, role) in [("ada", "MEMBER"), ("bob", "ADMIN")] {
        let user = builder.person(name, "MEMBER", true);
        builder.seat_in_organization(&user, role);
        let key = builder.issue(&format!("{name}@example.com"));
        let seen = status(
            &builder,
            &key,
            "GET",
            &format!("/v2/spaces/{blue}"),
            &Value::Null,
        );
        assert_eq!(seen, 200, "{name}");
        let path = format!("/v2/spaces/{blue}/users/{user}");
        let removed = status(&builder, &builder.admin_key, "DELETE", &path, &Value::Null);
        assert_eq!(removed, 404, "{name}");
    }
}

/// docs/rules/authorization.md §11, `delete_organization`; operations.md, `list_api_keys`.
#[test]
fn a_service_key_ends_with_its_last_space_and_lives_on_in_another_organization() {
    let mut builder = furnished();
    let other = builder.make("other", "/v2/organizations", &json!({"name": "other"}));
    let space = json!({"name": "blue", "organization_id": other});
    let blue = builder.make("blue", "/v2/spaces", &space);
    let [acme, red] = ["acme", "red"].map(|name| builder.id(name).to_owned());
    let one = builder.ask(
        "POST",
        "/v2/api-keys",
        &service_key(&acme, "READ_ONLY", &red, "MEMBER"),
    );
    let mut both = service_key(&acme, "READ_ONLY", &red, "MEMBER");
    let second = service_key(&other, "READ_ONLY", &blue, "READ_ONLY");
    let places = both["organizations"].as_array_mut().unwrap();
    places.push(second["organizations"][0].clone());
    let both = builder.ask("POST", "/v2/api-keys", &both);
    let path = format!("/v2/api-keys?space_id={red}");
    let (_, keys) = send(&builder, &builder.admin_key, "GET", &path, &Value::Null);
    for key in keys["api_keys"].as_array().unwrap() {
        assert_eq!(
            key["bot_user"]["organizations"],
            json!([]),
            "other places stay hidden"
        );
    }
    assert_eq!(keys["api_keys"].as_array().unwrap().len(), 2);
    builder.ask("DELETE", &format!("/v2/organizations/{acme}"), &Value::Null);
    let alive = [&one, &both].map(|made| lets_in(&builder, text(made, "key")));
    assert_eq!(alive, [false, true]);
    let revoked = all(
        &builder,
        &builder.admin_key,
        "/v2/api-keys?key_type=SERVICE&status=REVOKED",
        "api_keys",
        "id",
    );
    assert_eq!(
        revoked,
        [text(&one, "id")],
        "found without a space, by its creator"
    );
}

/// operations.md, `create_space`: "The creator becomes space member with role `ADMIN`, unless account or org admin", and
/// docs/rules/authorization.md §11: "service keys they created live on".
#[test]
fn a_maker_is_admin_of_their_space_and_what_they_made_stays_when_they_go() {
    let mut builder = furnished();
    let acme = builder.id("acme").to_owned();
    let mut spaces = Vec::new();
    for (name, role) in [("ada", "MEMBER"), ("bob", "ADMIN")] {
        let user = builder.person(name, "MEMBER", true);
        builder.seat_in_organization(&user, role);
        let key = builder.issue(&format!("{name}@example.com"));
        let body = json!({"name": name, "organization_id": acme, "is_private": true});
        let (made, space) = send(&builder, &key, "POST", "/v2/spaces", &body);
        assert_eq!(made, 201, "{space}");
        let space = text(&space, "id").to_owned();
        let path = format!("/v2/spaces/{space}");
        let renamed = status(
            &builder,
            &key,
            "PATCH",
            &path,
            &json!({"description": "mine"}),
        );
        assert_eq!(renamed, 200, "{name}");
        spaces.push((user, space, key));
    }
    for ((user, space, _), expected) in spaces.iter().zip([204, 404]) {
        let path = format!("/v2/spaces/{space}/users/{user}");
        let left = status(&builder, &builder.admin_key, "DELETE", &path, &Value::Null);
        assert_eq!(left, expected, "an admin above has no seat to leave");
    }
    let (ada, red, key) = &spaces[0];
    let seat = json!({"user_id": ada, "role": predefined("ADMIN")});
    builder.ask("POST", &format!("/v2/spaces/{red}/users"), &seat);
    let body = service_key(&acme, "READ_ONLY", red, "ADMIN");
    let (made, machine) = send(&builder, key, "POST", "/v2/api-keys", &body);
    assert_eq!(made, 201, "{machine}");
    builder.ask("DELETE", &format!("/v2/users/{ada}"), &Value::Null);
    assert!(!lets_in(&builder, key));
    let path = format!("/v2/spaces/{red}");
    assert_eq!(
        status(&builder, text(&machine, "key"), "GET", &path, &Value::Null),
        200
    );
}

/// operations.md, `revoke_api_key`: "already revoked → 204"; `list_api_keys` with `status=REVOKED` and `space_id`.
#[test]
fn a_user_who_has_revoked_a_service_key_still_finds_it_and_may_revoke_it_again() {
    let mut builder = furnished();
    let [acme, red] = ["acme", "red"].map(|name| builder.id(name).to_owned());
    for (name, role) in [("ada", "ADMIN"), ("bob", "MEMBER"), ("eve", "READ_ONLY")] {
        let user = builder.person(name, "MEMBER", true);
        builder.seat_in_organization(&user, "READ_ONLY");
        builder.seat_in_space(&user, "red", role);
    }
    let [ada, bob, eve] =
        ["ada", "bob", "eve"].map(|name| builder.issue(&format!("{name}@example.com")));
    let made = builder.ask(
        "POST",
        "/v2/api-keys",
        &service_key(&acme, "READ_ONLY", &red, "MEMBER"),
    );
    let id = text(&made, "id");
    let revoke = format!("/v2/api-keys/{id}/revoke");
    let refresh = format!("/v2/api-keys/{id}/refresh");
    let asked = |key: &str| {
        let revoked = status(&builder, key, "PUT", &revoke, &Value::Null);
        (
            revoked,
            status(&builder, key, "POST", &refresh, &Value::Null),
        )
    };
    assert_eq!(asked(&eve), (404, 404), "not readable");
    assert_eq!(asked(&bob), (403, 403), "readable, but not theirs");
    assert_eq!(asked(&ada), (204, 422), "an admin of its only space");
    assert_eq!(asked(&ada), (204, 422), "once more");
    assert_eq!(
        (asked(&bob), asked(&eve)),
        ((403, 403), (404, 404)),
        "as before"
    );
    let list = |status: &str| format!("/v2/api-keys?space_id={red}&status={status}");
    for key in [&ada, &bob] {
        assert_eq!(all(&builder, key, &list("REVOKED"), "api_keys", "id"), [id]);
        assert_eq!(
            all(&builder, key, &list("ACTIVE"), "api_keys", "id"),
            [""; 0]
        );
    }
    assert_eq!(
        status(&builder, &eve, "GET", &list("REVOKED"), &Value::Null),
        403
    );
}

/// docs/rules/authorization.md §8: "The defaults (`MEMBER` / `READ_ONLY` / `MEMBER`) are tested like explicit values."
#[test]
fn what_a_service_key_is_given_by_default_is_within_the_ceiling_too() {
    let mut builder = furnished();
    let ada = builder.person("ada", "MEMBER", true);
    builder.seat_in_organization(&ada, "READ_ONLY");
    let permissions = [
        "SPACE_READ",
        "SERVICE_KEY_CREATE",
        "SERVICE_KEY_READ",
        "SERVICE_KEY_REVOKE",
    ];
    let maker = role(&mut builder, "maker", &permissions);
    let [acme, red] = ["acme", "red"].map(|name| builder.id(name).to_owned());
    bind(&builder, &ada, &maker, "SPACE", &red);
    let key = builder.issue("ada@example.com");
    let new_key = |role: Option<Value>| {
        let mut space = json!({"space_id": red});
        if let Some(role) = role {
            space["role"] = role;
        }
        let place = json!({"org_id": acme, "spaces": [space]});
        let body = json!({"key_type": "SERVICE", "name": "k", "organizations": [place]});
        send(&builder, &key, "POST", "/v2/api-keys", &body)
    };
    assert_eq!(
        new_key(None).0,
        422,
        "space role MEMBER is more than they have"
    );
    assert_eq!(new_key(Some(predefined("READ_ONLY"))).0, 422);
    let (status_of_own, made) = new_key(Some(json!({"type": "CUSTOM", "id": maker})));
    assert_eq!(status_of_own, 201, "{made}");
    // A key may revoke itself, without any right to revoke others.
    let bot = text(&made, "key");
    let path = format!("/v2/api-keys/{}/revoke", text(&made, "id"));
    assert_eq!(status(&builder, bot, "PUT", &path, &Value::Null), 204);
    assert!(!lets_in(&builder, bot));
    assert_eq!(
        status(&builder, &key, "PUT", &path, &Value::Null),
        204,
        "a repetition changes nothing"
    );
}

/// docs/rules/authorization.md §6 and §10, restrictions: who may switch on, confirm and switch off.
#[test]
fn a_project_admin_confirms_and_lifts_a_restriction_but_can_not_switch_it_on() {
    let mut builder = furnished();
    let [red, sonar] = ["red", "sonar"].map(|name| builder.id(name).to_owned());
    let roles = builder.ask("GET", "/v2/roles?is_predefined=true", &Value::Null);
    let mut roles = roles["roles"].as_array().unwrap().iter();
    let project_admin = roles.find(|role| role["name"] == "Project Admin");
    let project_admin = text(project_admin.unwrap(), "id");
    let ada = builder.person("ada", "MEMBER", true);
    bind(&builder, &ada, project_admin, "PROJECT", &sonar);
    let gate = builder.person("gate", "MEMBER", true);
    builder.seat_in_organization(&gate, "READ_ONLY");
    let keeper = role(&mut builder, "keeper", &["PROJECT_RESTRICT", "SPACE_READ"]);
    bind(&builder, &gate, &keeper, "SPACE", &red);
    let (ada, gate) = (
        builder.issue("ada@example.com"),
        builder.issue("gate@example.com"),
    );
    let body = json!({"resource_id": sonar});
    let restrict = |key: &str| send(&builder, key, "POST", "/v2/resource-restrictions", &body);
    let path = format!("/v2/resource-restrictions/{sonar}");
    let lift = |key: &str| status(&builder, key, "DELETE", &path, &Value::Null);
    assert_eq!(
        restrict(&ada).0,
        403,
        "readable, but they may not switch it on"
    );
    assert_eq!(lift(&ada), 404, "not restricted");
    let (on, made) = restrict(&gate);
    assert_eq!(on, 200, "{made}");
    let seen = status(
        &builder,
        &gate,
        "GET",
        &format!("/v2/projects/{sonar}"),
        &Value::Null,
    );
    assert_eq!(
        seen, 404,
        "the holder of the restriction does not see the project"
    );
    builder.served.wait_seconds(HOUR);
    assert_eq!(restrict(&ada), (200, made), "confirmed with its first time");
    let listed = "/v2/resource-restrictions";
    let ids = |key: &str| {
        all(
            &builder,
            key,
            listed,
            "resource_restrictions",
            "resource_id",
        )
    };
    assert_eq!(
        (ids(&ada), ids(&gate)),
        (vec![sonar.clone()], vec![sonar.clone()])
    );
    assert_eq!(lift(&gate), 204);
    assert_eq!(lift(&gate), 404);
}

/// docs/rules/api.md §5 and docs/rules/operations.md, filters: case is ignored, an empty one is none, and
/// they combine.
#[test]
fn a_filter_by_name_ignores_case_and_an_empty_one_leaves_nothing_out() {
    let mut builder = furnished();
    let red = builder.id("red").to_owned();
    for name in ["Straße Ä", "UPPER"] {
        builder.make(
            name,
            "/v2/projects",
            &json!({"name": name, "space_id": red}),
        );
    }
    let key = builder.admin_key.clone();
    for (query, expected) in [
        ("name=", &["sonar", "Straße Ä", "UPPER"][..]),
        ("name=stra%C3%9Fe%20%C3%A4", &["Straße Ä"]),
        ("name=upp&space_name=RE", &["UPPER"]),
        ("name=upp&space_name=blue", &[]),
        ("space_name=&name=S", &["sonar", "Straße Ä"]),
    ] {
        let path = format!("/v2/projects?{query}");
        assert_eq!(
            all(&builder, &key, &path, "projects", "name"),
            expected,
            "{query}"
        );
    }
    let long = "x".repeat(256);
    for path in [
        "projects?name=",
        "spaces?name=",
        "organizations?name=",
        "users?email=",
        "projects?space_name=",
    ] {
        let refused = status(
            &builder,
            &key,
            "GET",
            &format!("/v2/{path}{long}"),
            &Value::Null,
        );
        assert_eq!(refused, 400, "{path}");
        let good = &long[1..];
        let found = status(
            &builder,
            &key,
            "GET",
            &format!("/v2/{path}{good}"),
            &Value::Null,
        );
        assert_eq!(found, 200, "{path}");
    }
}

/// operations.md, `list_audit_logs`: both ends of the period belong to it, and without a start it is thirty
/// days long.
#[test]
fn the_span_of_an_audit_log_has_both_its_ends() {
    let mut builder = Builder::new();
    builder.make("a", "/v2/organizations", &json!({"name": "a"}));
    builder.served.wait_seconds(30 * DAY);
    builder.make("b", "/v2/organizations", &json!({"name": "b"}));
    let key = builder.admin_key.clone();
    let found = |query: &str| {
        let path = format!("/v2/audit-logs?operation_name=create_organization&{query}");
        let mut texts = all(&builder, &key, &path, "logs", "operation_text");
        texts
            .iter_mut()
            .map(|text| text.remove(9))
            .collect::<String>()
    };
    assert_eq!(found(""), "ba");
    assert_eq!(
        found("start_time=2026-01-01T00:00:00Z&end_time=2026-01-31T00:00:00Z"),
        "ba"
    );
    assert_eq!(found("start_time=2026-01-01T00:00:00.001Z"), "b");
    assert_eq!(found("end_time=2026-01-30T23:59:59.999Z"), "a");
    assert_eq!(
        found("end_time=2026-01-31T00:00:00.001Z"),
        "b",
        "thirty days before the end"
    );
    builder.served.wait_seconds(1);
    assert_eq!(found(""), "b");
}

//! Pages of searches over HTTP.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::certification::scenario;
use super::{Scenario, post, revision_of};

const PATH: &str = "/access/v1/search/subject";

fn readers() -> Value {
    json!({
        "subject": {"type": "user"},
        "action": {"name": "read"},
        "resource": {"type": "record", "id": "record-1"},
    })
}

fn with_page(mut body: Value, page: Value) -> Value {
    body["page"] = page;
    body
}

fn ids(body: &Value) -> Vec<String> {
    let results = body["results"].as_array().unwrap();
    results
        .iter()
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect()
}

/// A space full of readers, so that there are several pages.
fn crowd() -> Scenario {
    let scenario = scenario();
    for number in 0..7 {
        add_reader(&scenario, number);
    }
    scenario
}

fn add_reader(scenario: &Scenario, number: usize) -> String {
    let send = |path: &str, body: &Value| {
        let (status, made) = scenario.served.send(
            Some(&scenario.admin_key),
            "POST",
            path,
            Some(&body.to_string()),
        );
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().unwrap().to_owned()
    };
    let user = send(
        "/v2/users",
        &json!({
            "name": "reader", "email": format!("reader{number}@example.com"), "invite_mode": "NONE",
            "role": {"type": "PREDEFINED", "name": "MEMBER"},
        }),
    );
    let body = json!({
        "user_id": user, "role_id": scenario.ids["reader"],
        "resource_type": "PROJECT", "resource_id": scenario.ids["record-1"],
    });
    send("/v2/role-bindings", &body);
    user
}

#[test]
fn pages_go_on_at_their_revision_while_changes_go_on() {
    let scenario = crowd();
    let whole = scenario.told(PATH, &readers());
    assert_eq!(
        whole["page"],
        json!({"next_token": "", "count": 10, "total": 10})
    );
    for limit in [1, 2, 3, 5, 9, 10, 11] {
        let mut found = Vec::new();
        let expected = scenario.told(PATH, &readers());
        let first = scenario.ask(PATH, &with_page(readers(), json!({"limit": limit})));
        let revision = revision_of(&first.headers);
        let mut body = first.body;
        let mut pages = 1;
        loop {
            let page = body["page"].clone();
            assert_eq!(page["total"], expected["page"]["total"]);
            assert!(page["count"].as_u64().unwrap() <= limit);
            found.extend(ids(&body));
            // A user is added, and a found user is deleted.
            let user = add_reader(
                &scenario,
                found.len() + usize::try_from(limit).unwrap() * 100,
            );
            let delete = format!("/v2/users/{user}");
            scenario
                .served
                .send(Some(&scenario.admin_key), "DELETE", &delete, None);
            let token = page["next_token"].as_str().unwrap();
            if token.is_empty() {
                break;
            }
            let next = with_page(readers(), json!({"token": token, "limit": limit}));
            let answer = scenario.ask(PATH, &next);
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_eq!(revision_of(&answer.headers), revision);
            body = answer.body;
            pages += 1;
        }
        assert_eq!(found, ids(&expected), "limit {limit}");
        assert_eq!(pages, 10_u64.div_ceil(limit));
        // All again, for the next size.
        assert_eq!(scenario.told(PATH, &readers())["page"]["total"], 10);
    }
}

#[test]
fn a_token_is_good_for_its_search_and_its_caller_alone() {
    let scenario = crowd();
    let first = scenario.told(PATH, &with_page(readers(), json!({"limit": 2})));
    let token = first["page"]["next_token"].as_str().unwrap();
    let go_on = |key: &str, path: &str, body: Value, token: &str| {
        let body = with_page(body, json!({"token": token, "limit": 2}));
        let answer = post(&scenario.served, key, path, &body.to_string());
        (answer.status, answer.body)
    };
    let (status, second) = go_on(&scenario.key, PATH, readers(), token);
    assert_eq!(status, 200);
    assert_eq!(
        go_on(&scenario.key, PATH, readers(), token).1,
        second,
        "once more, the same"
    );
    let refused = |key: &str, path: &str, body: Value, token: &str| {
        let (status, told) = go_on(key, path, body, token);
        assert_eq!(status, 400, "{token}: {told}");
        let detail = told["detail"].as_str().unwrap();
        assert!(
            detail.starts_with("`page.token`: is not a token of this search"),
            "{detail}"
        );
    };
    refused(&scenario.admin_key, PATH, readers(), token);
    let other = crate::personas::issue(&scenario.served, 1, "program@example.com", true);
    refused(&other, PATH, readers(), token);
    let stranger = crate::personas::issue(&scenario.served, 2, "stranger@example.com", false);
    refused(&stranger, PATH, readers(), token);
    // A body that both searches accept.
    let mut both = readers();
    both["subject"]["id"] = json!("alice");
    let told = scenario.told(PATH, &with_page(both.clone(), json!({"limit": 2})));
    let token_of_both = told["page"]["next_token"].as_str().unwrap();
    assert_eq!(
        go_on(&scenario.key, PATH, both.clone(), token_of_both).0,
        200
    );
    let path = "/access/v1/search/resource";
    refused(&scenario.key, path, both, token_of_both);
    for (pointer, value) in [
        ("/action/name", json!("write")),
        ("/resource/id", json!("record-2")),
        ("/subject/id", json!("alice")),
    ] {
        let mut body = readers();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[member] = value;
        refused(&scenario.key, PATH, body, token);
    }
    let mut body = readers();
    body["context"] = json!({});
    refused(&scenario.key, PATH, body, token);
    for place in 0..token.len() {
        let mut forged: Vec<u8> = token.bytes().collect();
        forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
        refused(
            &scenario.key,
            PATH,
            readers(),
            std::str::from_utf8(&forged).unwrap(),
        );
        refused(&scenario.key, PATH, readers(), &token[..place]);
    }
    for other in [
        format!("{token}="),
        format!("{token}AAAA"),
        "\u{0}".to_owned(),
        "x".repeat(10_000),
    ] {
        refused(&scenario.key, PATH, readers(), &other);
    }
}

#[test]
fn a_search_that_is_no_longer_kept_says_to_start_again() {
    let scenario = crowd();
    let first = scenario.told(PATH, &with_page(readers(), json!({"limit": 2})));
    let token = first["page"]["next_token"].as_str().unwrap().to_owned();
    let next = with_page(readers(), json!({"token": token, "limit": 2}));
    let is_gone = |answer: &crate::served::Answered| {
        let detail = answer.body["detail"].as_str().unwrap_or_default();
        answer.status == 400 && detail.contains("start the search again, without `page.token`")
    };
    let change = |number: usize| {
        let user = add_reader(&scenario, number);
        let path = format!("/v2/users/{user}");
        let deleted = scenario
            .served
            .send(Some(&scenario.admin_key), "DELETE", &path, None);
        assert_eq!(deleted.0, 204);
    };
    // It runs again while nothing has changed, and is kept otherwise.
    change(100);
    assert_eq!(scenario.ask(PATH, &next).status, 200);
    scenario.served.wait_seconds(599);
    assert_eq!(
        scenario.ask(PATH, &next).status,
        200,
        "and is kept for the same time again"
    );
    scenario.served.wait_seconds(599);
    assert_eq!(scenario.ask(PATH, &next).status, 200);
    scenario.served.wait_seconds(600);
    assert!(is_gone(&scenario.ask(PATH, &next)));
    // The least recently used search of a caller makes room.
    let begin = || {
        let told = scenario.told(PATH, &with_page(readers(), json!({"limit": 2})));
        let token = told["page"]["next_token"].as_str().unwrap();
        with_page(readers(), json!({"token": token, "limit": 2}))
    };
    let next = begin();
    change(101);
    assert_eq!(scenario.ask(PATH, &next).status, 200);
    for number in 0..16 {
        let mut other = readers();
        other["context"] = json!({"number": number});
        scenario.told(PATH, &with_page(other, json!({"limit": 2})));
    }
    assert!(is_gone(&scenario.ask(PATH, &next)));
    // A caller who may now ask about less starts again.
    let next = begin();
    let mark = |method: &str| {
        let (_, keys) = scenario
            .served
            .send(Some(&scenario.key), "GET", "/v2/api-keys", None);
        let id = keys["api_keys"][0]["id"].as_str().unwrap();
        let path = format!("/bindery/v1/enforcement-points/{id}");
        scenario
            .served
            .send(Some(&scenario.admin_key), method, &path, None)
            .0
    };
    assert_eq!(mark("DELETE"), 204);
    assert!(is_gone(&scenario.ask(PATH, &next)));
    assert_eq!(scenario.told(PATH, &readers())["page"]["total"], 0);
    assert_eq!(mark("PUT"), 204);
}

#[test]
fn another_process_goes_on_with_a_search_while_nothing_has_changed() {
    let scenario = crowd();
    let whole = scenario.told(PATH, &readers());
    let first = scenario.told(PATH, &with_page(readers(), json!({"limit": 4})));
    let token = first["page"]["next_token"].as_str().unwrap();
    let next = with_page(readers(), json!({"token": token, "limit": 100})).to_string();
    let Scenario {
        served,
        key,
        ids,
        admin_key,
    } = scenario;
    let aliases = json!({
        "resource_types": {"record": "project"},
        "actions": {"read": "PROJECT_READ"},
        "resources": {"project": {"record-1": ids["record-1"]}},
        "subjects": {"user": {"alice": ids["alice"], "bob": ids["bob"]}},
    });
    let aliases = bindery_api::Aliases::parse(&aliases.to_string()).unwrap();
    let served = served.again(|options| options.aliases = aliases);
    let answer = post(&served, &key, PATH, &next);
    assert_eq!(answer.status, 200, "{}", answer.text);
    let mut both = self::ids(&first);
    both.extend(self::ids(&answer.body));
    assert_eq!(both, self::ids(&whole));
    let body = json!({"name": "another", "permissions": ["PROJECT_READ"]}).to_string();
    assert_eq!(
        served
            .send(Some(&admin_key), "POST", "/v2/roles", Some(&body))
            .0,
        201
    );
    let answer = post(&served, &key, PATH, &next);
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(
        answer.text.contains("start the search again"),
        "{}",
        answer.text
    );
}

/// Between pages, time passes as well as changes.
#[test]
fn a_key_that_ends_between_two_pages_is_in_its_search_to_the_end_and_in_no_other() {
    let scenario = scenario();
    let admin = Some(scenario.admin_key.as_str());
    for (name, end) in [
        ("short", json!("2026-01-01T01:00:00Z")),
        ("long", json!("2027-01-01T00:00:00Z")),
    ] {
        let spaces = json!([{"space_id": scenario.ids["space"]}]);
        let body = json!({
            "key_type": "SERVICE", "name": name, "expires_at": end,
            "organizations": [{"org_id": scenario.ids["organization"], "spaces": spaces}],
        });
        let (status, made) =
            scenario
                .served
                .send(admin, "POST", "/v2/api-keys", Some(&body.to_string()));
        assert_eq!(status, 201, "{made}");
    }
    let mut keys = readers();
    keys["subject"] = json!({"type": "service_key"});
    // Just before, nothing has expired; then all results are returned, and a new search finds one less.
    scenario.served.wait_seconds(3599);
    let whole = scenario.told(PATH, &keys);
    assert_eq!(whole["page"]["total"], 2);
    let first = scenario.told(PATH, &with_page(keys.clone(), json!({"limit": 1})));
    let token = &first["page"]["next_token"];
    let next = with_page(keys.clone(), json!({"limit": 1, "token": token}));
    scenario.served.wait_seconds(1);
    assert_eq!(scenario.told(PATH, &keys)["page"]["total"], 1);
    let second = scenario.told(PATH, &next);
    assert_eq!(second["page"]["total"], 2);
    assert_eq!([ids(&first), ids(&second)].concat(), ids(&whole));
    // It isn't kept, and only the time has changed; that is enough.
    scenario.served.wait_seconds(600);
    let gone = scenario.ask(PATH, &next);
    assert_eq!(gone.status, 400);
    assert!(
        gone.text.contains("start the search again"),
        "{}",
        gone.text
    );
}

#[test]
fn every_limit_has_a_meaning() {
    let scenario = crowd();
    let page = |limit: Value| {
        let told = scenario.told(PATH, &with_page(readers(), json!({"limit": limit})));
        (
            ids(&told).len(),
            told["page"]["next_token"].as_str().unwrap().to_owned(),
        )
    };
    let (count, token) = page(json!(0));
    assert_eq!((count, token.is_empty()), (0, false));
    let all = with_page(readers(), json!({"token": token}));
    assert_eq!(
        ids(&scenario.told(PATH, &all)).len(),
        10,
        "0 returns the total; its token leads to the results"
    );
    for limit in [
        json!(10),
        json!(10.0),
        json!(1000),
        json!(1001),
        json!(u64::MAX),
        json!(1e300),
    ] {
        assert_eq!(page(limit.clone()), (10, String::new()), "{limit}");
    }
    let nobody = json!({"subject": {"type": "user"}, "action": {"name": "fly"}, "resource": {"type": "record", "id": "record-1"}});
    let told = scenario.told(PATH, &with_page(nobody, json!({"limit": 0})));
    assert_eq!(
        told["page"],
        json!({"next_token": "", "count": 0, "total": 0})
    );
}

#[test]
fn each_result_is_met_once() {
    let scenario = crowd();
    let mut body = with_page(readers(), json!({"limit": 3}));
    let mut seen = BTreeSet::new();
    loop {
        let told = scenario.told(PATH, &body);
        for id in ids(&told) {
            assert!(seen.insert(id));
        }
        let token = told["page"]["next_token"].as_str().unwrap();
        if token.is_empty() {
            break;
        }
        // Also without a limit, which is not a part of the search.
        body = with_page(readers(), json!({"token": token}));
    }
    assert_eq!(seen.len(), 10);
    assert!(seen.contains("alice") && seen.contains("bob"));
}

#[test]
fn who_may_no_longer_read_what_a_search_names_reads_no_further_page_of_it() {
    let scenario = crowd();
    let manager = add_reader(&scenario, 77);
    let key = crate::personas::issue(&scenario.served, 1, "reader77@example.com", false);
    let admin = Some(scenario.admin_key.as_str());
    let space = &scenario.ids["space"];
    let member = json!({
        "user_id": manager, "role": {"type": "PREDEFINED", "name": "MEMBER"},
    });
    let organization = format!("/v2/organizations/{}/users", scenario.ids["organization"]);
    let (status, told) =
        scenario
            .served
            .send(admin, "POST", &organization, Some(&member.to_string()));
    assert!(status < 300, "{told}");
    let mut lead = member;
    lead["role"]["name"] = json!("ADMIN");
    let path = format!("/v2/spaces/{space}/users");
    let (status, told) = scenario
        .served
        .send(admin, "POST", &path, Some(&lead.to_string()));
    assert!(status < 300, "{told}");

    let (reader, gone) = (add_reader(&scenario, 78), add_reader(&scenario, 79));
    let resources = json!({
        "subject": {"type": "user", "id": reader},
        "action": {"name": "read"},
        "resource": {"type": "record"},
    });
    let bound = json!({
        "user_id": reader, "role_id": scenario.ids["reader"],
        "resource_type": "PROJECT", "resource_id": scenario.ids["record-2"],
    });
    let bound = bound.to_string();
    let (status, told) = scenario
        .served
        .send(admin, "POST", "/v2/role-bindings", Some(&bound));
    assert_eq!(status, 201, "{told}");
    let page = |path: &str, body: Value, token: Option<&str>| {
        let mut page = json!({"limit": 1});
        if let Some(token) = token {
            page["token"] = json!(token);
        }
        let body = with_page(body, page).to_string();
        post(&scenario.served, &key, path, &body)
    };
    let searches = [(PATH, readers()), ("/access/v1/search/resource", resources)];
    let begun = searches.map(|(path, body)| {
        let first = page(path, body.clone(), None);
        assert_eq!(first.status, 200, "{}", first.body);
        let token = first.body["page"]["next_token"].as_str().unwrap();
        assert!(!token.is_empty(), "{}", first.body);
        (path, body, token.to_owned())
    });
    // A found user who is deleted since then does not reduce a right.
    let gone = format!("/v2/users/{gone}");
    assert_eq!(scenario.served.send(admin, "DELETE", &gone, None).0, 204);
    for (path, body, token) in &begun {
        let next = page(path, body.clone(), Some(token));
        assert_eq!(next.status, 200, "{path}: {}", next.body);
    }
    let (status, told) = scenario
        .served
        .send(admin, "DELETE", &format!("{path}/{manager}"), None);
    assert_eq!(status, 204, "{told}");
    for (path, body, token) in &begun {
        let refused = page(path, body.clone(), Some(token));
        assert_eq!(refused.status, 400, "{path}: {}", refused.body);
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains("start the search again"), "{detail}");
    }
}

//! What one client may use: rate limits by person, account and address, JSON values of a body, attempts to
//! sign in.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use bindery_api::RateLimits;
use bindery_core::place::AccountSettings;
use serde_json::{Value, json};

use crate::metrics::{read, watched, watched_with};
use crate::personas::{Builder, found_account_with};
use crate::scene::{CHOSEN, Scene};
use crate::served::{Answered, Served};

fn limited(set: impl FnOnce(&mut RateLimits)) -> impl FnOnce(&mut bindery_api::Options) {
    |options| {
        set(&mut options.rate_limits);
        // No bucket refills during a test, on any machine.
        options.rate_limits.refill = Duration::from_hours(24);
    }
}

fn few(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

fn roles(served: &Served, key: &str) -> Answered {
    ask_for_roles(served, key, &[])
}

fn ask_for_roles(served: &Served, key: &str, headers: &[(&str, &str)]) -> Answered {
    let mut request = served
        .request("GET", "/v2/roles")
        .header("Authorization", format!("Bearer {key}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    served.run(request.body("").unwrap())
}

fn detail(answer: &Answered) -> &str {
    answer.body["detail"].as_str().unwrap_or_default()
}

/// More requests than the buckets below hold.
const FLOOD: usize = 10;

fn first_refused(mut ask: impl FnMut() -> Answered) -> Answered {
    let refused = (0..FLOOD)
        .map(|_| ask())
        .find(|answer| answer.status == 429);
    refused.expect("more than the limit")
}

/// Keys of the admin, of a service key of theirs, and of a service key that this one made.
fn family(builder: &mut Builder) -> [String; 4] {
    let acme = builder.make("acme", "/v2/organizations", &json!({"name": "acme"}));
    let red = json!({"name": "red", "organization_id": acme});
    let red = builder.make("red", "/v2/spaces", &red);
    let role = json!({"type": "PREDEFINED", "name": "ADMIN"});
    let service = json!({
        "key_type": "SERVICE", "name": "bot", "account_role": {"type": "PREDEFINED", "name": "ADMIN"},
        "organizations": [{"org_id": acme, "role": role, "spaces": [{"space_id": red, "role": role}]}],
    });
    let user = json!({"key_type": "USER", "name": "second"});
    let make = |key: &str, body: &Value| {
        let body = body.to_string();
        let (status, made) = builder
            .served
            .send(Some(key), "POST", "/v2/api-keys", Some(&body));
        assert_eq!(status, 201, "{made}");
        made["key"].as_str().unwrap().to_owned()
    };
    let admin = builder.admin_key.clone();
    let second = make(&admin, &user);
    let bot = make(&second, &service);
    let bots_bot = make(&bot, &service);
    [admin, second, bot, bots_bot]
}

#[test]
fn all_keys_of_a_person_and_of_bots_down_the_line_share_one_rate_limit() {
    let mut builder = Builder::new();
    let keys = family(&mut builder);
    let served = builder
        .served
        .again(limited(|limits| limits.person = few(2)));
    let mut turn = 0;
    let refused = first_refused(|| {
        turn += 1;
        roles(&served, &keys[turn % keys.len()])
    });
    assert_eq!(turn, 3, "four keys are not four limits");
    assert!(
        detail(&refused).contains("`person`"),
        "{}",
        detail(&refused)
    );
    assert!(refused.headers.contains_key("retry-after"));
}

#[test]
fn people_whose_password_a_member_knows_share_the_rate_limit_of_that_member() {
    let company = Scene::new();
    let mut keys = vec![company.mallory.clone()];
    for number in 0..6 {
        let name = format!("puppet{number}");
        let invited = company.invite(&company.mallory, &name, "TEMPORARY_PASSWORD");
        let password = invited["temporary_password"].as_str().unwrap();
        keys.push(company.sign_in(&name, password, Some(CHOSEN)).1);
    }
    let served = company
        .builder
        .served
        .again(limited(|limits| limits.person = few(1)));
    let began = Instant::now();
    let statuses = keys.iter().map(|key| roles(&served, key).status);
    let allowed = statuses.filter(|status| *status == 200).count();
    // One at once, and then one a second.
    let refilled = usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(allowed <= 2 + refilled, "{allowed} of {}", keys.len());
}

#[test]
fn a_rate_limit_is_taken_before_a_request_waits_for_a_revision() {
    let builder = Builder::new();
    let key = builder.admin_key.clone();
    let served = builder
        .served
        .again(limited(|limits| limits.person = few(1)));
    first_refused(|| roles(&served, &key));
    let refused = ask_for_roles(&served, &key, &[("Bindery-At-Least", "999999")]);
    assert_eq!(refused.status, 429);
    assert!(
        detail(&refused).contains("`person`"),
        "{}",
        detail(&refused)
    );
}

#[test]
fn changes_have_a_limit_apart_from_reads_and_an_account_has_one_for_all() {
    let builder = Builder::new();
    let key = builder.admin_key.clone();
    let served = builder
        .served
        .again(limited(|limits| limits.changes = few(1)));
    let change = || {
        let request = served
            .request("POST", "/v2/organizations")
            .header("Authorization", format!("Bearer {key}"))
            .header("Content-Type", "application/json");
        served.run(request.body("{}").unwrap())
    };
    let refused = first_refused(change);
    assert!(
        detail(&refused).contains("`changes`"),
        "{}",
        detail(&refused)
    );
    assert_eq!(roles(&served, &key).status, 200);
    let served = served.again(limited(|limits| limits.account = few(1)));
    let refused = first_refused(|| roles(&served, &key));
    assert!(
        detail(&refused).contains("`account`"),
        "{}",
        detail(&refused)
    );
}

#[test]
fn requests_without_a_good_key_are_limited_by_address_and_good_keys_are_not() {
    let builder = Builder::new();
    let key = builder.admin_key.clone();
    let served = builder
        .served
        .again(limited(|limits| limits.address = few(2)));
    let unknown = format!("ak-{}", "x".repeat(40));
    let mut statuses = Vec::new();
    let refused = first_refused(|| {
        let answer = roles(&served, &unknown);
        statuses.push(answer.status);
        answer
    });
    assert_eq!(statuses[..2], [401, 401]);
    assert!(
        detail(&refused).contains("`address`"),
        "{}",
        detail(&refused)
    );
    for _ in 0..10 {
        assert_eq!(roles(&served, &key).status, 200);
    }
}

#[test]
fn a_body_has_no_more_values_than_its_operation_takes() {
    let mut builder = Builder::new();
    let acme = builder.make("acme", "/v2/organizations", &json!({"name": "acme"}));
    let key = builder.admin_key.clone();
    let send = |path: &str, body: &str| builder.served.send(Some(&key), "POST", path, Some(body));
    let numbers = |count: usize| "0,".repeat(count - 1) + "0";
    let question = |count: usize| {
        format!(
            r#"{{"subject":{{"type":"user","id":"root@example.com"}},"action":{{"name":"ORGANIZATION_READ"}},
            "resource":{{"type":"organization","id":"{acme}"}},"context":{{"x":[{}]}}}}"#,
            numbers(count)
        )
    };
    assert_eq!(send("/access/v1/evaluation", &question(8_000)).0, 200);
    for path in ["/access/v1/evaluation", "/bindery/v1/explain"] {
        let (status, problem) = send(path, &question(8_192));
        assert_eq!(status, 400, "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("at most 8192"), "{detail}");
    }
    // Nested, with each value as short as possible.
    let nested = question(1).replace("[0]", &format!("[{}[0]]", "[0],".repeat(240_000)));
    assert_eq!(send("/access/v1/evaluation", &nested).0, 400);
    let batch = |count: usize| {
        let item = question(1);
        format!(
            r#"{{"evaluations":[{item}],"context":{{"x":[{}]}}}}"#,
            numbers(count)
        )
    };
    assert_eq!(send("/access/v1/evaluations", &batch(60_000)).0, 200);
    assert_eq!(send("/access/v1/evaluations", &batch(66_000)).0, 400);
    let (status, problem) = send("/v2/roles", &format!(r#"{{"name":[{}]}}"#, numbers(5_000)));
    assert_eq!(status, 400);
    assert!(
        problem["detail"].as_str().unwrap().contains("at most 4096"),
        "{problem}"
    );
    // The largest possible service key: 100 organizations with 100 spaces each.
    let role = json!({"type": "PREDEFINED", "name": "MEMBER"});
    let spaces = vec![json!({"space_id": acme, "role": role}); 100];
    let organizations = vec![json!({"org_id": acme, "role": role, "spaces": spaces}); 100];
    let service = json!({"key_type": "SERVICE", "name": "bot", "organizations": organizations});
    let (status, problem) = send("/v2/api-keys", &service.to_string());
    assert!((400..500).contains(&status), "{problem}");
    assert!(!problem.to_string().contains("JSON values"), "{problem}");
}

#[test]
fn signing_in_computes_as_many_hashes_whatever_there_is_and_whatever_is_right() {
    let builder = Builder::new();
    let person = |builder: &Builder, key: &str, name: &str| {
        let body = json!({
            "name": name, "email": format!("{name}@example.com"), "invite_mode": "TEMPORARY_PASSWORD",
            "role": {"type": "PREDEFINED", "name": "MEMBER"},
        });
        let (status, made) =
            builder
                .served
                .send(Some(key), "POST", "/v2/users", Some(&body.to_string()));
        assert_eq!(status, 201, "{made}");
        made["temporary_password"].as_str().unwrap().to_owned()
    };
    let other_key = builder.other_account();
    let key = builder.admin_key.clone();
    let once = person(&builder, &key, "once");
    let first = person(&builder, &key, "twice");
    let second = person(&builder, &other_key, "twice");
    let (served, address) = watched(builder.served);
    let computed = || {
        let (_, numbers) = read(address);
        numbers[r#"bindery_password_hashes_total{operation="all"}"#]
    };
    for (name, password) in [
        ("nobody", "a wrong guess"),
        ("once", "a wrong guess"),
        ("twice", "a wrong guess"),
        // Correct, but the person must choose their own: refused without another hash.
        ("once", &once),
        ("twice", &first),
        ("twice", &second),
    ] {
        let before = computed();
        let body = json!({"email": format!("{name}@example.com"), "password": password});
        let path = "/bindery/v1/sign-in";
        let (status, answer) = served.send(None, "POST", path, Some(&body.to_string()));
        assert!((400..500).contains(&status), "{answer}");
        let of_two_accounts = 2.0;
        assert!(
            (computed() - before - of_two_accounts).abs() < 0.5,
            "{name} {password}: {}",
            computed() - before
        );
    }
}

#[test]
fn a_person_who_returns_signs_in_while_strangers_try_their_address() {
    let builder = Builder::new();
    let body = json!({
        "name": "ada", "email": "ada@example.com", "invite_mode": "TEMPORARY_PASSWORD",
        "role": {"type": "PREDEFINED", "name": "MEMBER"},
    });
    let made = builder.ask("POST", "/v2/users", &body);
    let served = builder
        .served
        .again(|options| options.trusted_proxies = vec!["127.0.0.1".parse().unwrap()]);
    let sign_in = |from: &str, body: &Value| {
        let request = served
            .request("POST", "/bindery/v1/sign-in")
            .header("Content-Type", "application/json")
            .header("X-Forwarded-For", from);
        served.run(request.body(body.to_string()).unwrap()).status
    };
    let chosen = "correct horse battery";
    let first = json!({
        "email": "ada@example.com", "password": made["temporary_password"], "new_password": chosen,
    });
    assert_eq!(sign_in("198.51.100.7", &first), 200);
    let began = Instant::now();
    let guess = json!({"email": "ada@example.com", "password": "a wrong guess"});
    let statuses = (0..200).map(|number| sign_in(&format!("203.0.113.{number}"), &guess));
    let refused = statuses.filter(|status| *status == 429).count();
    let refilled = usize::try_from(began.elapsed().as_secs() / 30).unwrap();
    assert!(refused >= 190 - refilled, "{refused}");
    let right = json!({"email": "ada@example.com", "password": chosen});
    assert_eq!(sign_in("198.51.100.7", &right), 200);
}

/// Signs in from these addresses, as reported by a trusted proxy.
fn sign_in_from(served: &Served, from: &str, password: &Value, new: Option<&str>) -> u16 {
    let mut body = json!({"email": "boss@example.com", "password": password});
    if let Some(new) = new {
        body["new_password"] = new.into();
    }
    let request = served
        .request("POST", "/bindery/v1/sign-in")
        .header("Content-Type", "application/json")
        .header("X-Forwarded-For", from);
    served.run(request.body(body.to_string()).unwrap()).status
}

#[test]
fn who_signs_in_as_the_same_address_in_another_account_is_a_stranger_in_this_one() {
    let builder = Builder::new();
    let other_key = builder.other_account();
    let key = builder.admin_key.clone();
    let body = json!({
        "name": "boss", "email": "boss@example.com", "invite_mode": "TEMPORARY_PASSWORD",
        "role": {"type": "PREDEFINED", "name": "MEMBER"},
    });
    let [of_boss, of_impostor] = [&key, &other_key].map(|key| {
        let (status, made) =
            builder
                .served
                .send(Some(key), "POST", "/v2/users", Some(&body.to_string()));
        assert_eq!(status, 201, "{made}");
        made["temporary_password"].clone()
    });
    let served = builder
        .served
        .again(|options| options.trusted_proxies = vec!["127.0.0.1".parse().unwrap()]);
    let (chosen, impostors) = ("correct horse battery", "another horse battery");
    let home = "2001:db8:1::1";
    assert_eq!(sign_in_from(&served, home, &of_boss, Some(chosen)), 200);
    let network = |number: u32| format!("2001:db8:2:{number:x}::1");
    let first = sign_in_from(&served, &network(0), &of_impostor, Some(impostors));
    assert_eq!(first, 200);
    let elsewhere = "2001:db8:3::1";
    let guess: Value = "a wrong guess".into();
    let guessed = loop {
        while sign_in_from(&served, elsewhere, &guess, None) != 429 {}
        let refused_at = Instant::now();
        // Only the password of the other account was correct, so for this one it counts as a guess.
        let guessed = sign_in_from(&served, &network(0), &chosen.into(), None);
        // Before strangers have another attempt.
        if refused_at.elapsed() < Duration::from_secs(25) {
            break guessed;
        }
    };
    assert_eq!(guessed, 401);
    let own = sign_in_from(&served, &network(0), &impostors.into(), None);
    assert_eq!(own, 200);
    assert_eq!(sign_in_from(&served, home, &chosen.into(), None), 200);
}

#[test]
fn members_of_other_accounts_lock_no_person_out_by_inviting_their_address() {
    let builder = Builder::new();
    let admins: Vec<String> = (3..=7)
        .map(|number| {
            let email = format!("admin{number}@example.com");
            found_account_with(&builder.served, number, &email, AccountSettings::default())
        })
        .collect();
    let invite = |admin: &str| {
        let body = json!({
            "name": "ada", "email": "ada@example.com", "invite_mode": "TEMPORARY_PASSWORD",
            "role": {"type": "PREDEFINED", "name": "MEMBER"},
        });
        let (status, made) =
            builder
                .served
                .send(Some(admin), "POST", "/v2/users", Some(&body.to_string()));
        assert_eq!(status, 201, "{made}");
        made["temporary_password"].as_str().unwrap().to_owned()
    };
    let sign_in = |body: &Value| {
        let path = "/bindery/v1/sign-in";
        builder
            .served
            .send(None, "POST", path, Some(&body.to_string()))
    };
    let of_ada = |password: &str| json!({"email": "ada@example.com", "password": password});
    let (others, last) = admins.split_at(4);
    let mut first = of_ada(&invite(&last[0]));
    first["new_password"] = json!(CHOSEN);
    assert_eq!(sign_in(&first).0, 200);
    let passwords: Vec<String> = others.iter().map(|admin| invite(admin)).collect();
    let (status, answer) = sign_in(&of_ada(CHOSEN));
    assert_eq!(status, 200, "active before invited: {answer}");
    // They sign in to all others, as the members who invited them could.
    for (number, password) in (3..).zip(&passwords) {
        let mut body = of_ada(password);
        body["new_password"] = json!(format!("another password {number}"));
        body["account"] = json!(number);
        let (status, answer) = sign_in(&body);
        assert_eq!(status, 200, "{answer}");
    }
    let mut named = of_ada(CHOSEN);
    named["account"] = json!(7);
    let (status, answer) = sign_in(&named);
    assert_eq!(status, 200, "in the account that is named: {answer}");
    named["account"] = json!(3);
    assert_eq!(sign_in(&named).0, 401, "and in no other account");
}

#[test]
fn a_connection_that_goes_on_after_a_refusal_is_held_back_but_not_that_of_a_trusted_proxy() {
    for is_trusted in [false, true] {
        let builder = Builder::new();
        let key = builder.admin_key.clone();
        let (served, address) = watched_with(builder.served, |options| {
            limited(|limits| limits.person = few(1))(options);
            if is_trusted {
                options.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
            }
        });
        let refused = (0..FLOOD).filter(|_| roles(&served, &key).status == 429);
        assert!(refused.count() >= FLOOD - 2);
        let (_, numbers) = read(address);
        let held_back = numbers["bindery_requests_held_back_total"];
        assert_eq!(held_back > 0.0, !is_trusted, "{held_back}");
    }
}

//! Several servers on one database: any of them serves anything, and none responds with older data than
//! requested.

use std::time::Duration;

use serde_json::{Value, json};

use crate::postgres::{bindery, new_database, serve};
use crate::proxy::Proxy;
use crate::support::{Client, Server, text};

fn three() -> [Server; 3] {
    let url = new_database();
    [(); 3].map(|()| Server::start_command(&mut serve(&url)))
}

/// The status, the body's `name`, and the revision of the response.
fn get(client: &Client, path: &str, at_least: Option<u64>) -> (u16, String, u64) {
    let (status, body, revision) = client.try_send_at("GET", path, None, at_least).unwrap();
    let name = body["name"].as_str().unwrap_or_default().to_owned();
    (status, name, revision.unwrap())
}

#[test]
fn a_change_on_one_server_is_in_the_answer_of_any_that_is_asked_for_its_revision() {
    let servers = three();
    let clients = servers.each_ref().map(Server::client);
    let (_, made, _) = clients[0]
        .try_send_at(
            "POST",
            "/v2/organizations",
            Some(&json!({"name": "0"})),
            None,
        )
        .unwrap();
    let path = format!("/v2/organizations/{}", text(&made, "id"));
    let mut last = 0;
    for turn in 1..=60_usize {
        let name = turn.to_string();
        let (status, body, revision) = clients[turn % 3]
            .try_send_at("PATCH", &path, Some(&json!({"name": name})), None)
            .unwrap();
        assert_eq!(status, 200, "{body}");
        let revision = revision.unwrap();
        assert!(revision > last, "revisions go up from server to server");
        last = revision;
        for client in &clients {
            let (status, found, at) = get(client, &path, Some(revision));
            assert_eq!((status, found), (200, name.clone()));
            assert!(at >= revision);
        }
    }
    for server in servers {
        server.stop();
    }
}

#[test]
fn a_key_that_one_server_has_just_made_is_good_on_all_that_are_asked_for_its_revision() {
    let servers = three();
    for turn in 0..9_usize {
        let asked = json!({"key_type": "USER", "name": format!("key {turn}")});
        let (status, made, revision) = servers[turn % 3]
            .client()
            .try_send_at("POST", "/v2/api-keys", Some(&asked), None)
            .unwrap();
        assert_eq!(status, 201, "{made}");
        let other = servers[(turn + 1) % 3].client_with(&text(&made, "key"));
        let (status, ..) = other
            .try_send_at("GET", "/v2/roles", None, revision)
            .unwrap();
        assert_eq!(status, 200);
        let id = text(&made, "id");
        let (status, _, revision) = servers[turn % 3]
            .client()
            .try_send_at("PUT", &format!("/v2/api-keys/{id}/revoke"), None, None)
            .unwrap();
        assert_eq!(status, 204);
        let (status, ..) = other
            .try_send_at("GET", "/v2/roles", None, revision)
            .unwrap();
        assert_eq!(status, 401, "revoked there, and so here");
    }
    for server in servers {
        server.stop();
    }
}

#[test]
fn of_two_servers_that_are_shown_one_temporary_password_at_once_one_lets_the_person_in() {
    let servers = three();
    let body = json!({
        "name": "Ada", "email": "ada@example.com", "invite_mode": "TEMPORARY_PASSWORD",
        "role": {"type": "PREDEFINED", "name": "MEMBER"},
    });
    let (_, invited, revision) = servers[0]
        .client()
        .try_send_at("POST", "/v2/users", Some(&body), None)
        .unwrap();
    let path = format!("/v2/users/{}", text(&invited, "id"));
    for server in &servers {
        let (status, ..) = get(&server.client(), &path, revision);
        assert_eq!(status, 200, "each knows of the invitation");
    }
    let sign_in = |server: &Server, password: &str, new: Option<&str>| {
        let mut body = json!({"email": "ada@example.com", "password": password});
        if let Some(new) = new {
            body["new_password"] = new.into();
        }
        let nobody = server.client_with("none");
        let sent = nobody.try_send("POST", "/bindery/v1/sign-in", Some(&body));
        sent.unwrap().0
    };
    let temporary = text(&invited, "temporary_password");
    let chosen = ["correct horse battery", "another horse battery"];
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let tries = [0, 1].map(|one| {
            let (server, temporary) = (&servers[one + 1], &temporary);
            scope.spawn(move || sign_in(server, temporary, Some(chosen[one])))
        });
        tries.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut sorted = statuses.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [200, 401]);
    let inside = statuses.iter().position(|status| *status == 200).unwrap();
    until(&servers[0].client(), &path, |_, user| {
        user["status"] == "ACTIVE"
    });
    let then = [chosen[inside], chosen[1 - inside], &temporary];
    let then = then.map(|password| sign_in(&servers[0], password, None));
    assert_eq!(then, [200, 401, 401]);
    for server in servers {
        server.stop();
    }
}

#[test]
fn a_key_that_one_server_has_just_made_is_good_on_the_others_at_once() {
    let servers = three();
    for server in &servers {
        server.client().get("/v2/roles");
    }
    for turn in 0..30_usize {
        let asked = json!({"key_type": "USER", "name": format!("key {turn}")});
        let made = servers[turn % 3].client().post("/v2/api-keys", &asked);
        for server in &servers {
            server.client_with(&text(&made, "key")).get("/v2/roles");
        }
    }
    for server in servers {
        server.stop();
    }
}

#[test]
fn accounts_that_no_server_has_loaded_accept_their_keys() {
    let url = new_database();
    let create = |name: &str| {
        let made = bindery(&["account", "create", "--store", &url, "--name", name]);
        let told = String::from_utf8(made.stdout).unwrap();
        told.rsplit_once(' ').unwrap().1.trim().to_owned()
    };
    let keys = ["one", "two", "three"].map(create);
    let servers = [(); 2].map(|()| {
        let mut command = serve(&url);
        Server::start_command(command.args(["--accounts-preloaded", "0"]))
    });
    for (number, key) in keys.iter().enumerate() {
        let name = format!("of {number}");
        let client = servers[number % 2].client_with(key);
        client.post("/v2/organizations", &json!({"name": name}));
        for server in &servers {
            let found = server.client_with(key).get("/v2/organizations");
            let names = found["organizations"].as_array().unwrap();
            assert_eq!(names.len(), 1, "{found}");
        }
    }
    for server in servers {
        until(&server.client(), "/readyz", |status, _| status == 200);
        server.stop();
    }
}

#[test]
fn a_revision_that_is_not_there_is_said_in_time() {
    let url = new_database();
    let server = Server::start_command(&mut serve(&url));
    let client = server.client();
    let (status, body, revision) = client
        .try_send_at("GET", "/v2/roles", None, Some(1_000_000))
        .unwrap();
    assert_eq!(status, 503, "{body}");
    assert_eq!(
        revision, None,
        "it names a revision below the one asked for"
    );
    assert!(
        text(&body, "detail").contains("`Bindery-At-Least`"),
        "{body}"
    );
    server.stop();
}

/// What operators do after a disk failure: another database replaces the current one.
fn replace(url: &str, by: &str) {
    let name = |url: &str| url.rsplit_once('/').unwrap().1.to_owned();
    let (old, new) = (name(url), name(by));
    let server = std::env::var("BINDERY_TEST_POSTGRES").unwrap();
    let mut client = postgres::Client::connect(&server, postgres::NoTls).unwrap();
    // No one connects until the names are exchanged.
    client
        .batch_execute(&format!("ALTER DATABASE {old} ALLOW_CONNECTIONS false"))
        .unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
    let is_renamed = (0..1_200).any(|_| {
        client.execute(end, &[&old]).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let renamed = client.batch_execute(&format!("ALTER DATABASE {old} RENAME TO {old}_gone"));
        renamed.is_ok()
    });
    assert!(is_renamed);
    client
        .batch_execute(&format!("ALTER DATABASE {new} RENAME TO {old}"))
        .unwrap();
}

#[test]
fn servers_under_which_an_older_store_is_put_go_on_with_what_that_has_and_with_nothing_else() {
    let (url, restored) = (new_database(), new_database());
    let directory = tempfile::tempdir().unwrap();
    let backup = directory.path().join("backup");
    let backup = backup.to_str().unwrap();
    let servers = [(); 3].map(|()| Server::start_command(&mut serve(&url)));
    let clients = servers.each_ref().map(Server::client);
    let create = |client: &Client, name: &str| {
        let body = json!({"name": name});
        let sent = client.try_send_at("POST", "/v2/organizations", Some(&body), None);
        let (status, made, revision) = sent.unwrap();
        assert_eq!(status, 201, "{made}");
        revision.unwrap()
    };
    create(&clients[0], "kept");
    let succeeds = |arguments: &[&str]| {
        let done = bindery(arguments);
        assert!(done.status.success(), "{done:?}");
    };
    succeeds(&["backup", "--store", &url, "--to", backup]);
    let lost: Vec<u64> = ["lost 1", "lost 2", "lost 3"]
        .iter()
        .map(|name| create(&clients[1], name))
        .collect();
    for client in &clients {
        let (status, ..) = get(client, "/v2/organizations", lost.last().copied());
        assert_eq!(status, 200, "each has heard of them");
    }
    // An account that the backup doesn't have.
    let made = bindery(&[
        "account",
        "create",
        "--store",
        &url,
        "--name",
        "lost",
        "--admin-email",
        "ann@lost.example",
    ]);
    let made = String::from_utf8(made.stdout).unwrap();
    let (_, key) = made.trim().rsplit_once(' ').unwrap();
    let of_the_lost = servers.each_ref().map(|server| server.client_with(key));
    for client in &of_the_lost {
        assert_eq!(get(client, "/v2/organizations", None).0, 200);
    }
    succeeds(&["restore", "--store", &restored, "--from", backup]);
    // As many as were lost, before any other server is there: the revisions alone are the same as before.
    let first = Server::start_command(&mut serve(&restored));
    let again: Vec<u64> = ["new 1", "new 2", "new 3"]
        .iter()
        .map(|name| create(&first.client(), name))
        .collect();
    assert_eq!(again, lost);
    first.stop();
    replace(&url, &restored);
    let late = Server::start_command(&mut serve(&url));
    let names = |body: &Value| -> Vec<String> {
        let organizations = body["organizations"].as_array().unwrap();
        let mut names: Vec<_> = organizations.iter().map(|one| text(one, "name")).collect();
        names.sort_unstable();
        names
    };
    let expected = ["kept", "new 1", "new 2", "new 3"];
    for client in &clients {
        until(client, "/v2/organizations", |status, body| {
            status == 200 && names(body) == expected
        });
        until(client, "/readyz", |status, _| status == 200);
    }
    create(&clients[2], "newest");
    for client in clients.iter().chain([&late.client()]) {
        until(client, "/v2/organizations", |_, body| {
            names(body) == ["kept", "new 1", "new 2", "new 3", "newest"]
        });
    }
    for client in &of_the_lost {
        until(client, "/v2/organizations", |status, _| status == 401);
    }
    for server in servers.into_iter().chain([late]) {
        server.stop();
    }
    succeeds(&["verify", "--store", &url]);
}

/// Repeats a request until the response is as expected.
fn until(client: &Client, path: &str, is_so: impl Fn(u16, &Value) -> bool) {
    let comes_to_it = (0..1_200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        let (status, body) = client.try_send("GET", path, None).unwrap();
        is_so(status, &body)
    });
    assert!(comes_to_it, "{path} never came to it");
}

#[test]
fn a_partitioned_server_goes_on_deciding_says_so_refuses_changes_and_recovers() {
    let url = new_database();
    let (login, rest) = url.split_once('@').unwrap();
    let (target, database) = rest.split_once('/').unwrap();
    let proxy = Proxy::to(target);
    let through = format!("{login}@{}/{database}", proxy.address);
    let server = Server::start_command(&mut serve(&through));
    let strict = Server::start_command(serve(&through).args(["--staleness-limit", "3"]));
    let other = Server::start_command(&mut serve(&url));
    let client = server.client();
    let made = client.post("/v2/organizations", &json!({"name": "before"}));
    let path = format!("/v2/organizations/{}", text(&made, "id"));
    until(&client, "/readyz", |status, _| status == 200);
    proxy.cut();
    let elsewhere = other
        .client()
        .try_send("PATCH", &path, Some(&json!({"name": "after"})));
    assert_eq!(elsewhere.unwrap().0, 200);
    let (status, body) = client
        .try_send("PATCH", &path, Some(&json!({"name": "here"})))
        .unwrap();
    assert_eq!(status, 503, "{body}");
    until(&client, "/readyz", |status, body| {
        let is_stale = body["staleness_seconds"].as_u64() > Some(2);
        status == 503 && is_stale && body["takes_writes"] == false
    });
    assert_eq!(text(&client.get(&path), "name"), "before");
    assert_eq!(client.get("/healthz")["status"], "ok");
    assert_eq!(client.get("/readyz/reads")["status"], "ok");
    let strict_client = strict.client();
    until(&strict_client, &path, |status, body| {
        status == 503 && text(body, "detail").contains("has not reached its store")
    });
    until(&strict_client, "/readyz/reads", |status, _| status == 503);
    proxy.mend();
    until(&client, &path, |_, body| body["name"] == "after");
    until(&strict_client, &path, |_, body| body["name"] == "after");
    let (status, body) = client
        .try_send("PATCH", &path, Some(&json!({"name": "here"})))
        .unwrap();
    assert_eq!(status, 200, "{body}");
    until(&client, "/readyz", |status, _| status == 200);
    for server in [server, strict, other] {
        server.stop();
    }
}

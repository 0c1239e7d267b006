//! A server on a database: starting, restarting, and keeping the login secret.

use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use postgres::{Client, NoTls};
use serde_json::json;

use crate::support::{ADMIN_KEY, Server, spawn};

/// The server of the tests asks for no password, so any is valid.
pub(crate) const PASSWORD: &str = "pass-never-shown";

/// The URL of a new database on the server that `cargo xtask test` starts.
pub(crate) fn new_database() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let server = std::env::var("BINDERY_TEST_POSTGRES").expect(
        "BINDERY_TEST_POSTGRES names no PostgreSQL server to test with: `cargo xtask test` starts one, and so does \
        `cargo xtask postgres cargo test -p bindery`",
    );
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("served_{}_{number}", std::process::id());
    let mut client = Client::connect(&server, NoTls).unwrap();
    client
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .unwrap();
    let (base, _) = server.rsplit_once('/').unwrap();
    format!("{base}/{name}").replacen('@', &format!(":{PASSWORD}@"), 1)
}

pub(crate) fn serve(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bindery"));
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("BINDERY_STORE", url);
    command
}

/// Runs a command to its end.
pub(crate) fn bindery(arguments: &[&str]) -> Output {
    let started = spawn(
        Command::new(env!("CARGO_BIN_EXE_bindery"))
            .args(arguments)
            .env("BINDERY_ADMIN_KEY", ADMIN_KEY)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    started.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill_and_the_log_has_no_password() {
    let url = new_database();
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let started = || {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log);
        Server::start_command(serve(&url).env("RUST_LOG", "trace").stderr(file.unwrap()))
    };
    let server = started();
    let made = server
        .client()
        .post("/v2/organizations", &json!({"name": "acme"}));
    server.kill();
    let server = started();
    let id = made["id"].as_str().unwrap();
    let found = server.client().get(&format!("/v2/organizations/{id}"));
    assert_eq!(found["name"], "acme");
    server.stop();
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("stopped") && !log.contains(PASSWORD));
}

#[test]
fn an_operator_looks_after_a_database_as_after_a_directory() {
    let url = new_database();
    let created = bindery(&["account", "create", "--store", &url, "--name", "acme"]);
    assert!(
        text(&created.stdout).starts_with("account 1\n"),
        "{created:?}"
    );
    let listed = bindery(&["account", "list", "--store", &url]);
    assert_eq!(text(&listed.stdout), "1\t1\tacme\n", "{listed:?}");
    let email = "admin@bindery.localhost";
    let issue = || {
        let issued = bindery(&["key", "issue", "--store", &url, "--email", email]);
        text(&issued.stdout).trim().to_owned()
    };
    let before = issue();
    let server = Server::start_command(&mut serve(&url));
    // Also beside a server.
    for key in [before, issue()] {
        let client = server.client_with(&key);
        let (status, users) = client.try_send("GET", "/v2/users", None).unwrap();
        assert_eq!(status, 200, "{users}");
    }
    server.stop();
}

#[test]
fn a_command_that_looks_after_a_store_does_not_upgrade_it_and_makes_none() {
    let (url, email) = (new_database(), "admin@bindery.localhost");
    let commands: [&[&str]; 2] = [
        &["account", "list", "--store", &url],
        &["key", "issue", "--email", email, "--store", &url],
    ];
    let refused = |why: &str| {
        for command in commands {
            let refused = bindery(command);
            assert!(!refused.status.success(), "{refused:?}");
            assert!(text(&refused.stderr).contains(why), "{refused:?}");
        }
    };
    refused("no tables of bindery");
    bindery(&["account", "create", "--store", &url, "--name", "acme"]);
    let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
    client
        .batch_execute("UPDATE bindery_format SET format = format - 1")
        .unwrap();
    let format = "SELECT format FROM bindery_format";
    let old: i64 = client.query_one(format, &[]).unwrap().get(0);
    refused("format");
    let left: i64 = client.query_one(format, &[]).unwrap().get(0);
    assert_eq!(old, left);
    let version = bindery(&["--version"]);
    let newest = format!("(store format {})", old + 1);
    assert!(text(&version.stdout).contains(&newest), "{version:?}");
}

#[test]
fn servers_that_start_at_once_on_a_new_database_share_one_account_and_one_admin() {
    let url = new_database();
    let servers: Vec<Server> = std::thread::scope(|scope| {
        let starting: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| Server::start_command(&mut serve(&url))))
            .collect();
        starting
            .into_iter()
            .map(|server| server.join().unwrap())
            .collect()
    });
    for server in servers {
        let users = server.client().get("/v2/users");
        assert_eq!(users["users"].as_array().unwrap().len(), 1, "{users}");
        server.stop();
    }
    let listed = bindery(&["account", "list", "--store", &url]);
    assert_eq!(text(&listed.stdout).lines().count(), 1, "{listed:?}");
}

#[test]
fn what_keeps_it_from_a_database_is_said_in_one_line_without_the_password() {
    let url = new_database();
    let secret = format!("ada:{PASSWORD}");
    for (store, named) in [
        (
            format!("postgres://{secret}@127.0.0.1:1/acl"),
            "`127.0.0.1:1`",
        ),
        (
            format!("postgres://{secret}@127.0.0.1"),
            "names no database",
        ),
        (
            format!("postgres://{secret}@127.0.0.1/acl?sslmode=allow"),
            "sslmode",
        ),
        (format!("postgres://{secret}@127.0.0.1:x/acl"), "no URL"),
        (format!("{url}_that_is_not_there"), "does not exist"),
        (url.replacen("postgres:", "mysql:", 1), "sqlite:DIR"),
        ("sqlite:".to_owned(), "sqlite:DIR"),
    ] {
        let refused = bindery(&["serve", "--listen", "127.0.0.1:0", "--store", &store]);
        let stderr = text(&refused.stderr);
        assert!(!refused.status.success(), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(
            stderr.starts_with("bindery: ") && stderr.contains(named) && !stderr.contains(PASSWORD),
            "{stderr}"
        );
    }
    for both in [
        &["serve"][..],
        &["serve", "--store", &url, "--data-dir", "directory"],
    ] {
        let refused = bindery(both);
        let stderr = text(&refused.stderr);
        assert!(
            !refused.status.success() && stderr.contains("--data-dir"),
            "{stderr}"
        );
        assert!(!stderr.contains(PASSWORD), "{stderr}");
    }
}

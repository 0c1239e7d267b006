//! Options as people type them: defaults, mistakes, and the messages about them.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::ask::bindery;
use crate::support::{Server, spawn, text};

/// Runs it with the store in an environment variable.
fn with_store(variable: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bindery"));
    command
        .args(arguments)
        .env("BINDERY_STORE", variable)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = spawn(&mut command).wait_with_output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(told).unwrap())
}

#[test]
fn a_directory_that_is_named_wins_over_an_exported_store() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    Server::start(&data).stop();
    let data = data.to_str().unwrap();
    let nowhere = "postgres://nobody@127.0.0.1:1/nowhere";
    for arguments in [
        &["account", "list", "--data-dir", data][..],
        &["verify", "--data-dir", data],
    ] {
        let (is_done, told) = with_store(nowhere, arguments);
        assert!(is_done, "{told}");
    }
    let (is_done, told) = with_store(&format!("sqlite:{data}"), &["account", "list"]);
    assert!(is_done && told.starts_with("1\t"), "{told}");
    let (is_done, told) = with_store("nonsense", &["account", "list"]);
    assert!(!is_done && told.contains("BINDERY_STORE takes"), "{told}");
    let (is_done, told) = with_store("", &["account", "list"]);
    assert!(!is_done && told.contains("--data-dir"), "{told}");
}

#[test]
fn a_port_alone_is_one_of_this_machine_only() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bindery"));
    command
        .args(["serve", "--listen", ":0", "--data-dir"])
        .arg(directory.path().join("data"));
    let server = Server::start_command(&mut command);
    assert!(
        server.address.starts_with("http://127.0.0.1:"),
        "{}",
        server.address
    );
    server.stop();
}

#[test]
fn a_rate_limit_of_nothing_is_refused_in_plain_words() {
    let (code, _, error) = bindery(&["serve", "--rate-limit", "0"], None, None);
    assert_eq!(code, 2);
    assert!(
        error.contains("leave the option out for the default"),
        "{error}"
    );
}

#[test]
fn a_public_url_that_metadata_can_not_be_made_of_is_warned_about() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bindery"));
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(directory.path().join("data"))
        .args(["--public-url", "http://pdp.example.com"])
        .stderr(Stdio::piped());
    let mut server = Server::start_command(&mut command);
    let mut log = BufReader::new(server.child.stderr.take().unwrap());
    // Written before the line on stdout, which was read already.
    let mut lines = String::new();
    while !lines.contains("AuthZEN metadata is not served") {
        assert_ne!(log.read_line(&mut lines).unwrap(), 0, "{lines}");
    }
    server.kill();
}

#[test]
fn the_directory_of_the_demo_is_for_its_user_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bindery"));
    command
        .args(["demo", "--listen", "127.0.0.1:0"])
        .env("TMPDIR", directory.path());
    let server = Server::start_command(&mut command);
    let made = std::fs::read_dir(directory.path()).unwrap();
    let modes: Vec<u32> = made
        .map(|one| one.unwrap().metadata().unwrap().permissions().mode() & 0o777)
        .collect();
    assert_eq!(modes, [0o700]);
    server.stop();
}

#[test]
fn an_operator_sets_a_quota_and_the_server_holds_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    Server::start(&data).stop();
    let path = data.to_str().unwrap();
    let quota = |arguments: &[&str]| {
        let arguments = [&["account", "quota"], arguments, &["--data-dir", path]].concat();
        bindery(&arguments, None, None)
    };
    let (code, told, error) = quota(&["set", "organizations", "1"]);
    assert_eq!(
        (code, told.as_str()),
        (0, "organizations\t1 (default 100000)\n"),
        "{error}"
    );
    let (code, _, error) = quota(&["set", "nonsense", "1"]);
    assert!(
        code != 0 && error.contains("there is no quota `nonsense`"),
        "{error}"
    );
    let server = Server::start(&data);
    let admin = server.client();
    admin.post("/v2/organizations", &json!({"name": "one"}));
    let second = json!({"name": "two"});
    let (status, refused) = admin
        .try_send("POST", "/v2/organizations", Some(&second))
        .unwrap();
    assert_eq!(status, 409, "{refused}");
    let detail = text(&refused, "detail");
    assert!(detail.contains("`organizations` is 1"), "{detail}");
    let quotas = admin.get("/bindery/v1/quotas");
    let shown = &quotas["quotas"][1];
    assert_eq!(
        (
            &shown["name"],
            &shown["limit"],
            &shown["used"],
            &shown["is_set"]
        ),
        (&json!("organizations"), &json!(1), &json!(1), &json!(true))
    );
    server.stop();
    let (code, told, error) = quota(&["reset", "organizations"]);
    assert_eq!(
        (code, told.as_str()),
        (0, "organizations\t100000\n"),
        "{error}"
    );
    let (_, listed, _) = quota(&["list"]);
    assert!(
        listed.contains("organizations\t100000\tused 1\t"),
        "{listed}"
    );
    let server = Server::start(&data);
    server.client().post("/v2/organizations", &second);
    server.stop();
}

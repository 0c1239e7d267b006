//! A data directory that is deleted, renamed, replaced or restored under a running server, and one that belongs to another user.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::backup::{fails, succeeds};
use crate::support::{Client, Server, spawn};

/// A user who owns nothing, and exists on every system.
const NOBODY: u32 = 65_534;

fn create(client: &Client, name: &str) -> u16 {
    let body = json!({ "name": name });
    let created = client.try_send("POST", "/v2/organizations", Some(&body));
    created.unwrap().0
}

fn names(client: &Client) -> Vec<String> {
    let listed = client.get("/v2/organizations");
    let listed = listed["organizations"].as_array().unwrap();
    let name = |one: &Value| one["name"].as_str().unwrap().to_owned();
    listed.iter().map(name).collect()
}

/// Refuses changes, says why on `/readyz`, and responds from memory.
fn assert_moved(client: &Client, known: &[&str]) {
    let body = json!({ "name": "refused" });
    let (status, problem) = client
        .try_send("POST", "/v2/organizations", Some(&body))
        .unwrap();
    assert_eq!(status, 503, "{problem}");
    let (status, health) = client.try_send("GET", "/readyz", None).unwrap();
    assert_eq!(
        (status, &health["obstacle"]),
        (503, &json!("store_moved")),
        "{health}"
    );
    assert_eq!(names(client), known);
}

fn assert_ready(client: &Client) {
    let (status, health) = client.try_send("GET", "/readyz", None).unwrap();
    assert_eq!(
        (status, &health["obstacle"]),
        (200, &Value::Null),
        "{health}"
    );
}

#[test]
fn a_second_process_stays_out_though_the_lock_file_is_deleted() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("data");
    let server = Server::start(&directory);
    fs::remove_file(directory.join("bindery.lock")).unwrap();
    let data_dir = directory.to_str().unwrap();
    let refused = fails(&[
        "account",
        "create",
        "--data-dir",
        data_dir,
        "--name",
        "second",
    ]);
    assert!(
        refused.contains("is in use by another process"),
        "{refused}"
    );
    assert_eq!(create(&server.client(), "first"), 201);
    server.stop();
    // The refused process has left it unchanged.
    succeeds(&["verify", "--data-dir", data_dir]);
}

#[test]
fn a_renamed_directory_takes_no_change_until_it_is_back_and_then_has_all_that_was_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    let (directory, elsewhere) = (home.path().join("data"), home.path().join("elsewhere"));
    let log = home.path().join("log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bindery"));
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&directory)
        .stderr(fs::File::create(&log).unwrap());
    let server = Server::start_command(&mut command);
    let client = server.client();
    assert_eq!(create(&client, "before"), 201);
    assert_ready(&client);
    fs::rename(&directory, &elsewhere).unwrap();
    assert_moved(&client, &["before"]);
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("was deleted, renamed or replaced"), "{log}");
    assert!(log.contains("Put back what was there"), "{log}");
    fs::rename(&elsewhere, &directory).unwrap();
    // The next change, or audit entry, that can be stored ends this state.
    assert_eq!(create(&client, "after"), 201);
    assert_ready(&client);
    server.kill();
    let server = Server::start(&directory);
    assert_eq!(names(&server.client()), ["before", "after"]);
    server.stop();
    succeeds(&["verify", "--data-dir", directory.to_str().unwrap()]);
}

#[test]
fn no_change_is_acknowledged_once_the_directory_or_one_of_its_files_is_gone_or_another() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 4] = [
        ("the directory is deleted", |directory| {
            fs::remove_dir_all(directory).unwrap();
        }),
        ("the database is deleted", |directory| {
            fs::remove_file(directory.join("bindery.db")).unwrap();
        }),
        ("the database is replaced by a copy", |directory| {
            let copy = directory.join("copy");
            fs::copy(directory.join("bindery.db"), &copy).unwrap();
            fs::rename(&copy, directory.join("bindery.db")).unwrap();
        }),
        ("the WAL is deleted", |directory| {
            fs::remove_file(directory.join("bindery.db-wal")).unwrap();
        }),
    ];
    for (what, harm) in harms {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("data");
        let server = Server::start(&directory);
        let client = server.client();
        assert_eq!(create(&client, "before"), 201);
        harm(&directory);
        println!("{what}");
        assert_moved(&client, &["before"]);
        server.kill();
    }
}

#[test]
fn a_backup_restored_in_the_place_of_a_used_directory_is_not_written_by_the_old_server() {
    let home = tempfile::tempdir().unwrap();
    let (directory, elsewhere) = (home.path().join("data"), home.path().join("elsewhere"));
    let backup = home.path().join("backup");
    let (data_dir, file) = (directory.to_str().unwrap(), backup.to_str().unwrap());
    let old = Server::start(&directory);
    assert_eq!(create(&old.client(), "in the backup"), 201);
    succeeds(&["backup", "--data-dir", data_dir, "--to", file]);
    assert_eq!(create(&old.client(), "not in it"), 201);
    fs::rename(&directory, elsewhere).unwrap();
    succeeds(&["restore", "--data-dir", data_dir, "--from", file]);
    assert_moved(&old.client(), &["in the backup", "not in it"]);
    let new = Server::start(&directory);
    assert_eq!(create(&new.client(), "new"), 201);
    assert_moved(&old.client(), &["in the backup", "not in it"]);
    old.kill();
    assert_eq!(names(&new.client()), ["in the backup", "new"]);
    new.stop();
    succeeds(&["verify", "--data-dir", data_dir]);
}

#[test]
fn a_command_on_the_directory_of_another_user_says_that_permission_is_denied_and_names_the_user() {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let directory = home.path().join("data");
    Server::start(&directory).stop();
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let (mode, user) = if is_root {
        (0o700, NOBODY)
    } else {
        (0o000, fs::metadata(home.path()).unwrap().uid())
    };
    fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
    // A place where the other user may run it.
    let binary = home.path().join("bindery");
    fs::copy(env!("CARGO_BIN_EXE_bindery"), &binary).unwrap();
    let data_dir = directory.to_str().unwrap();
    let url = format!("sqlite:{data_dir}");
    let elsewhere = format!("sqlite:{}", home.path().join("elsewhere").display());
    for arguments in [
        &["backup", "--data-dir", data_dir, "--to", "nowhere"][..],
        &["verify", "--data-dir", data_dir],
        &["account", "list", "--data-dir", data_dir],
        &[
            "key",
            "issue",
            "--data-dir",
            data_dir,
            "--email",
            "a@b.example",
        ],
        &["migrate", "--from", &url, "--to", &elsewhere],
        &["serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir],
    ] {
        let mut command = Command::new(&binary);
        command
            .args(arguments)
            .current_dir(home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if is_root {
            command.uid(user).gid(user);
        }
        let done = spawn(&mut command).wait_with_output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(1), "{arguments:?}: {said}");
        let denied = format!("permission denied for user {user}");
        assert!(said.contains(&denied), "{arguments:?}: {said}");
        assert!(
            said.contains(&format!("mode {mode:04o}")),
            "{arguments:?}: {said}"
        );
        assert!(!said.contains("restore it"), "{arguments:?}: {said}");
    }
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
}

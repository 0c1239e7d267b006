//! How the server starts and stops, and what it says when it can't.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{ADMIN_KEY, Server, spawn};

fn serve(data_dir: &Path, listen: &str, admin_key: &str) -> Output {
    let started = spawn(
        Command::new(env!("CARGO_BIN_EXE_bindery"))
            .args(["serve", "--listen", listen, "--data-dir"])
            .arg(data_dir)
            .env("BINDERY_ADMIN_KEY", admin_key)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    started.wait_with_output().unwrap()
}

/// One clear line, nothing on stdout, a failing status.
fn assert_refused(output: &Output, named: &str) {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(!output.status.success(), "{stderr}");
    assert_eq!(stdout, "");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.starts_with("bindery: ") && stderr.contains(named),
        "{stderr}"
    );
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn what_keeps_it_from_starting_is_said_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start(&data);
    let taken = server.address.trim_start_matches("http://").to_owned();
    assert_refused(
        &serve(&data, "127.0.0.1:0", ADMIN_KEY),
        "in use by another process",
    );
    assert_refused(
        &serve(&directory.path().join("other"), &taken, ADMIN_KEY),
        "is taken",
    );
    server.kill();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    assert_refused(
        &serve(&file.join("below"), "127.0.0.1:0", ADMIN_KEY),
        "file",
    );
    assert_refused(&serve(&data, "nowhere", ADMIN_KEY), "--listen");
    let garbage = directory.path().join("garbage");
    fs::create_dir(&garbage).unwrap();
    fs::write(garbage.join("bindery.db"), [7; 8192]).unwrap();
    assert_refused(&serve(&garbage, "127.0.0.1:0", ADMIN_KEY), "bindery.db");
    assert_eq!(
        fs::read(garbage.join("bindery.db")).unwrap(),
        [7; 8192],
        "and left as it was"
    );
}

#[test]
fn a_badly_formed_admin_key_is_refused_and_not_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    for bad in [
        "",
        "secret-value",
        "ak-tooshortsecret",
        "ak-0123456789abcdefghijABCDEFGHIJ-012345678",
    ] {
        let refused = serve(&data, "127.0.0.1:0", bad);
        assert_refused(&refused, "BINDERY_ADMIN_KEY");
        assert!(bad.is_empty() || !text(&refused.stderr).contains(bad));
    }
    assert!(!data.exists(), "and nothing was made");
}

//! A store with a damaged row of one account: the other accounts are listed, verified, backed up and served,
//! and the damaged one is named.

use std::fs;
use std::process::Output;

use postgres::{Client, NoTls};

use crate::backup::succeeds;
use crate::postgres::{bindery, new_database, serve};
use crate::support::{ADMIN_KEY, Server};

/// The name of the damaged account, which nothing else in the store has.
const NAME: &str = "name of the damaged account";

/// Alters the row of the second account, without the store.
fn damage(url: &str) {
    let Some(directory) = url.strip_prefix("sqlite:") else {
        let mut client = Client::connect(url, NoTls).unwrap();
        let sql = "UPDATE account SET latest = latest + 1 WHERE id = 2";
        assert_eq!(client.execute(sql, &[]).unwrap(), 1);
        return;
    };
    let path = std::path::Path::new(directory).join("bindery.db");
    let mut bytes = fs::read(&path).unwrap();
    let places = bytes.windows(NAME.len()).enumerate();
    let places = places.filter(|(_, some)| *some == NAME.as_bytes());
    let places: Vec<usize> = places.map(|(place, _)| place).collect();
    assert!(!places.is_empty());
    for place in places {
        bytes[place] ^= 1;
    }
    fs::write(&path, bytes).unwrap();
}

/// Does what it can, names the damaged account on stderr, and exits with 1.
fn warns(arguments: &[&str]) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = bindery(arguments);
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{arguments:?}: {said}");
    assert!(
        said.contains("the row of account 2 in table `account` was altered"),
        "{said}"
    );
    assert!(!said.contains("of account 1"), "{said}");
    String::from_utf8(stdout).unwrap()
}

#[test]
fn one_damaged_account_keeps_no_other_from_being_listed_verified_saved_and_served() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: String| home.path().join(name).display().to_string();
    for (number, url) in [
        format!("sqlite:{}", path("store".to_owned())),
        new_database(),
    ]
    .iter()
    .enumerate()
    {
        let server = Server::start_command(&mut serve(url));
        server.stop();
        for name in [NAME, "third"] {
            succeeds(&["account", "create", "--store", url, "--name", name]);
        }
        let listed = succeeds(&["account", "list", "--store", url]);
        assert_eq!(listed.lines().count(), 3, "{listed}");
        let verified = succeeds(&["verify", "--store", url]);
        damage(url);

        let whole = |said: &str, all: &str| {
            let lines = all.lines().enumerate();
            let left = lines.filter(|(place, _)| *place != 1);
            let left: Vec<&str> = left.map(|(_, line)| line).collect();
            assert_eq!(said.lines().collect::<Vec<_>>(), left);
        };
        whole(&warns(&["account", "list", "--store", url]), &listed);
        whole(&warns(&["verify", "--store", url]), &verified);
        let file = path(format!("backup {number}"));
        let saved = warns(&["backup", "--store", url, "--to", &file]);
        assert!(saved.contains(" rows in "), "{saved}");
        whole(&succeeds(&["verify", "--backup", &file]), &verified);
        let restored = path(format!("restored {number}"));
        succeeds(&["restore", "--data-dir", &restored, "--from", &file]);
        whole(&succeeds(&["verify", "--data-dir", &restored]), &verified);
        // Alone it makes no backup.
        let alone = path(format!("alone {number}"));
        let arguments = ["backup", "--store", url, "--to", &alone, "--account", "2"];
        assert_eq!(warns(&arguments), "");
        assert!(!std::path::Path::new(&alone).exists());

        let log = path(format!("log {number}"));
        let server = Server::start_command(serve(url).stderr(fs::File::create(&log).unwrap()));
        let users = server.client_with(ADMIN_KEY).get("/v2/users");
        assert_eq!(users["users"].as_array().unwrap().len(), 1, "{users}");
        server.stop();
        let said = fs::read_to_string(log).unwrap();
        assert!(
            said.contains("the row of account 2 in table `account` was altered"),
            "{said}"
        );
    }
}

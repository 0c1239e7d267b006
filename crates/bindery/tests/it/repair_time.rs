//! An account whose time ran ahead by fifty years, repaired as an operator does it, on both stores.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bindery_api::KeyText;
use bindery_core::api_key::ApiKey;
use bindery_core::change::{Change, Entry, OneOperation};
use bindery_core::id::{AccountId, ApiKeyId, Id as _, Revision};
use bindery_core::time::Timestamp;
use bindery_store::{Batch, Store};
use serde_json::{Value, json};

use crate::backup::{fails, succeeds, with_store};
use crate::interrupted::{SIGNALS, interrupt_after};
use crate::people::{invite, sign_in};
use crate::postgres::{new_database, serve};
use crate::support::{Client, Server, text};

const ACCOUNT: AccountId = AccountId(1);
const FIFTY_YEARS: u64 = 50 * 365 * 86_400;
const PASSWORD: &str = "correct horse battery";
/// Made while the clock was ahead, with twelve hours to live.
const KEY_FROM_AHEAD: &str = "ak-9876543210abcdefghijABCDEFGHIJ9876543210";
const HOURS_12_MS: i64 = 12 * 3_600_000;

/// Servers on one store; a person with a password, a key that is good for five years, and then a change in fifty years' time.
struct Scene {
    home: tempfile::TempDir,
    url: String,
    servers: Vec<Server>,
    /// Good for five years.
    key: String,
    /// The revision of the change that is ahead.
    ahead: u64,
}

impl Scene {
    fn each() -> [Self; 2] {
        let home = || tempfile::tempdir().unwrap();
        let directory = home();
        let url = format!("sqlite:{}", directory.path().join("data").display());
        [
            Self::new(directory, url, 1),
            Self::new(home(), new_database(), 2),
        ]
    }

    fn new(home: tempfile::TempDir, url: String, servers: usize) -> Self {
        let start = || Server::start_command(&mut serve(&url));
        let mut servers: Vec<Server> = (0..servers).map(|_| start()).collect();
        let admin = servers[0].client();
        let temporary = text(
            &invite(&admin, "ada@example.com", "MEMBER"),
            "temporary_password",
        );
        let stranger = servers[0].client_with("none");
        let (status, inside) = sign_in(&stranger, "ada@example.com", &temporary, Some(PASSWORD));
        assert_eq!(status, 200, "{inside}");
        let soon = json!({"key_type": "USER", "name": "five years", "expires_at": in_seconds(5 * 365 * 86_400)});
        let key = text(&admin.post("/v2/api-keys", &soon), "key");
        if url.starts_with("sqlite:") {
            servers.drain(..).for_each(Server::stop);
        }
        let ahead = with_store(&url, run_ahead);
        if url.starts_with("sqlite:") {
            servers.push(start());
        }
        Self {
            home,
            url,
            servers,
            key,
            ahead,
        }
    }

    fn is_directory(&self) -> bool {
        self.url.starts_with("sqlite:")
    }

    fn stop(&mut self) {
        self.servers.drain(..).for_each(Server::stop);
    }

    fn start(&mut self) {
        self.servers
            .push(Server::start_command(&mut serve(&self.url)));
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).to_str().unwrap().to_owned()
    }

    /// Every file of the directory with its bytes, but for the shared memory and the empty log that SQLite's readers leave; what the
    /// database says in a backup.
    fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        if self.is_directory() {
            let files = fs::read_dir(self.home.path().join("data")).unwrap();
            let file = |path: &Path| (path.display().to_string(), fs::read(path).unwrap());
            return files
                .map(|found| file(&found.unwrap().path()))
                .filter(|(name, bytes)| !name.ends_with("-shm") && !bytes.is_empty())
                .collect();
        }
        let file = self.path("contents");
        succeeds(&["backup", "--store", &self.url, "--to", &file]);
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(file).unwrap();
        [(String::new(), bytes)].into()
    }

    fn repair(&self) -> [&str; 6] {
        [
            "account",
            "repair-time",
            "--account",
            "1",
            "--store",
            &self.url,
        ]
    }

    fn dry_run(&self) -> String {
        succeeds(&[&self.repair()[..], &["--dry-run"]].concat())
    }
}

/// A change by a server whose clock is ahead: another key of the first one's owner. Returns its revision.
fn run_ahead(store: &dyn Store) -> u64 {
    let state = store.load(ACCOUNT).unwrap();
    let at = state.latest().plus_seconds(FIFTY_YEARS);
    let last = state.api_keys().last().unwrap();
    let first = state.api_keys().next().unwrap();
    let key = ApiKey {
        id: ApiKeyId::from_number(last.id.number() + 1),
        created_at: at,
        expires_at: Some(Timestamp::from_millis(at.as_millis() + HOURS_12_MS)),
        secret: KeyText::parse(KEY_FROM_AHEAD).unwrap().secret(),
        ..first.clone()
    };
    let Revision(revision) = state.revision();
    let entry = Entry::from(OneOperation {
        revision: Revision(revision + 1),
        at,
        by: None,
        key: None,
        operation: "create_api_key".to_owned(),
        batch: 7,
        changes: vec![Change::PutApiKey(key)],
    });
    let batch = Batch {
        entries: vec![entry],
        ..Batch::default()
    };
    let appended = store.append(ACCOUNT, state.position(), &mut |_| batch.clone());
    appended.unwrap().0
}

fn in_seconds(seconds: i64) -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    at.to_string()
}

fn status(client: &Client, at_least: u64) -> u16 {
    let answer = client.try_send_at("GET", "/v2/roles", None, Some(at_least));
    answer.unwrap().0
}

fn create_key_for_an_hour(client: &Client) -> (u16, Value) {
    let body = json!({"key_type": "USER", "name": "an hour", "expires_at": in_seconds(3600)});
    client
        .try_send("POST", "/v2/api-keys", Some(&body))
        .unwrap()
}

fn instant(body: &Value, member: &str) -> jiff::Timestamp {
    text(body, member).parse().unwrap()
}

#[test]
fn after_a_repair_of_its_time_an_account_is_served_as_before_the_clock_ran_ahead() {
    for mut scene in Scene::each() {
        let ahead = scene.ahead;
        for server in &scene.servers {
            let client = server.client();
            assert_eq!(status(&client, ahead), 200);
            let (refused, problem) = create_key_for_an_hour(&client);
            assert_eq!(refused, 422, "{problem}");
            assert_eq!(status(&server.client_with(&scene.key), ahead), 401);
        }
        // Looking is possible beside a server; a directory is repaired without one.
        let planned = scene.dry_run();
        assert!(planned.contains("dry run: nothing is changed"), "{planned}");
        if !scene.is_directory() {
            // As on a standby.
            let url = format!("{}?options=-cdefault_transaction_read_only%3Don", scene.url);
            let store = ["--account", "1", "--store", &url, "--dry-run"];
            let planned = succeeds(&[&["account", "repair-time"][..], &store].concat());
            assert!(planned.contains("dry run: nothing is changed"), "{planned}");
        }
        if scene.is_directory() {
            let refused = fails(&scene.repair());
            assert!(
                refused.contains("is in use by another process; stop it"),
                "{refused}"
            );
            scene.stop();
        }
        let said = succeeds(&scene.repair());
        assert!(
            said.contains("counted as expired, and works again until"),
            "{said}"
        );
        let moved = "\"first admin key\"";
        assert!(
            said.lines()
                .any(|line| line.contains(moved) && line.contains("\texpired 20")),
            "{said}"
        );
        let revision = ahead + 1;
        assert!(
            said.contains(&format!("done: revision {revision} records it")),
            "{said}"
        );
        if scene.is_directory() {
            scene.start();
        }

        for server in &scene.servers {
            let client = server.client();
            assert_eq!(status(&client, revision), 200);
            assert_eq!(status(&server.client_with(&scene.key), revision), 200);
            assert_eq!(status(&server.client_with(KEY_FROM_AHEAD), revision), 200);
            let (created, key) = create_key_for_an_hour(&client);
            assert_eq!(created, 201, "{key}");
            let stranger = server.client_with("none");
            let (inside, signed_in) = sign_in(&stranger, "ada@example.com", PASSWORD, None);
            assert_eq!(inside, 200, "{signed_in}");
            let (made, ends) = (
                instant(&signed_in["api_key"], "created_at"),
                instant(&signed_in["api_key"], "expires_at"),
            );
            assert_eq!(
                ends.duration_since(made),
                jiff::SignedDuration::from_hours(12)
            );
            assert!(made <= jiff::Timestamp::now(), "{made}");
        }
        scene.stop();
        let verified = succeeds(&["verify", "--store", &scene.url]);
        let file = scene.path("backup");
        succeeds(&["backup", "--store", &scene.url, "--to", &file]);
        for elsewhere in [format!("sqlite:{}", scene.path("restored")), new_database()] {
            succeeds(&["restore", "--store", &elsewhere, "--from", &file]);
            assert_eq!(succeeds(&["verify", "--store", &elsewhere]), verified);
        }
        let again = succeeds(&scene.repair());
        assert!(again.contains("nothing is later than"), "{again}");
    }
}

#[test]
fn a_dry_run_of_a_repair_changes_no_byte() {
    for mut scene in Scene::each() {
        scene.stop();
        let before = scene.contents();
        let planned = scene.dry_run();
        assert!(scene.contents() == before);
        // And says what is done then.
        let said = succeeds(&scene.repair());
        let counts = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| line.contains('\t'));
            let name = |line: &str| line.split("\texpired").next().unwrap().to_owned();
            lines.map(name).collect()
        };
        assert_eq!(counts(&planned), counts(&said));
        assert!(scene.contents() != before);
    }
}

#[test]
fn a_repair_that_is_killed_in_the_middle_leaves_the_store_as_it_was() {
    for mut scene in Scene::each() {
        scene.stop();
        let verified = succeeds(&["verify", "--store", &scene.url]);
        let told = |scene: &Scene| {
            let file = scene.path("told");
            succeeds(&["backup", "--store", &scene.url, "--to", &file]);
            let bytes = fs::read(&file).unwrap();
            fs::remove_file(file).unwrap();
            bytes
        };
        let before = told(&scene);
        // The entry, its record and the account's row are written one by one.
        for (rows, signal) in [(1, SIGNALS[0]), (2, SIGNALS[1]), (3, SIGNALS[0])] {
            interrupt_after(rows, &scene.repair(), signal);
            assert!(told(&scene) == before, "after {rows} rows");
            assert_eq!(succeeds(&["verify", "--store", &scene.url]), verified);
        }
        succeeds(&scene.repair());
        assert!(told(&scene) != before);
        scene.start();
        let client = scene.servers[0].client();
        assert_eq!(create_key_for_an_hour(&client).0, 201);
    }
}

#[test]
fn a_latest_instant_that_can_not_be_meant_is_refused() {
    let [mut scene, _] = Scene::each();
    scene.stop();
    let with = |latest: &str| fails(&[&scene.repair()[..], &["--latest", latest]].concat());
    let refused = with("2999-01-01T00:00:00Z");
    assert!(refused.contains("--latest is in the future"), "{refused}");
    let refused = with("2001-01-01T00:00:00Z");
    assert!(
        refused.contains("before the account was created"),
        "{refused}"
    );
    let missing = fails(&[
        "account",
        "repair-time",
        "--account",
        "7",
        "--store",
        &scene.url,
    ]);
    assert!(missing.contains("there is no account 7"), "{missing}");
}

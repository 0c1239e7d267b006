//! Backup, restore, migration and verification, as an operator runs them, on both stores.

use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bindery_api::KeyText;
use bindery_core::change::{Change, Entry, OneOperation};
use bindery_core::command::operator::Bootstrap;
use bindery_core::command::{Caller, Context};
use bindery_core::id::{AccountId, IdKey, OrganizationId, Revision};
use bindery_core::place::{Account, AccountSettings, Organization};
use bindery_core::state::State;
use bindery_core::text::{Description, Email, KeyName, Name};
use bindery_core::time::Timestamp;
use bindery_store::postgres::PostgresStore;
use bindery_store::sqlite::SqliteStore;
use bindery_store::{Batch, Store};
use serde_json::json;

use crate::crash::{Scene, make_scene};
use crate::postgres::{PASSWORD, bindery, new_database, serve};
use crate::support::{ADMIN_KEY, Client, OpenStore, Server, no_forks, text};

const ACCOUNT: AccountId = AccountId(1);

pub(crate) fn succeeds(arguments: &[&str]) -> String {
    let done = bindery(arguments);
    assert!(done.status.success(), "{arguments:?}: {done:?}");
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(!said.contains(PASSWORD), "{said}");
    said
}

/// Exits with 1, and says why in one line.
pub(crate) fn fails(arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = bindery(arguments);
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{arguments:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!said.contains(PASSWORD), "{said}");
    said
}

/// The revision of the one account, from the output of `bindery verify`.
fn revision(verified: &str) -> u64 {
    let (_, rest) = verified.split_once("account 1: revision ").unwrap();
    let (number, _) = rest.split_once(',').unwrap();
    number.parse().unwrap()
}

pub(crate) fn with_store<T>(url: &str, work: impl FnOnce(&dyn Store) -> T) -> T {
    match url.strip_prefix("sqlite:") {
        Some(directory) => work(&*OpenStore::new(Path::new(directory))),
        None => work(&PostgresStore::open(url).unwrap()),
    }
}

/// The state of the account at a revision, replayed from the log.
fn replayed(store: &dyn Store, until: u64) -> State {
    let mut state = store.base(ACCOUNT).unwrap();
    let log = store.changes_since(ACCOUNT, state.position(), usize::MAX);
    for entry in log.unwrap() {
        if entry.revision <= Revision(until) {
            state.advance(&entry);
        }
    }
    state
}

/// Gives a binding role after role until it must stop, and records the last acknowledged revision.
fn patch_until(
    stop: &AtomicBool,
    client: &Client,
    scene: &Scene,
    binding: &str,
    newest: &AtomicU64,
) {
    for role in scene.roles.iter().cycle() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let path = format!("/v2/role-bindings/{binding}");
        let body = json!({ "role_id": role });
        let answer = client.try_send_at("PATCH", &path, Some(&body), None);
        let (status, body, revision) = answer.unwrap();
        assert_eq!(status, 200, "{body}");
        newest.fetch_max(revision.unwrap(), Ordering::SeqCst);
    }
}

fn wait_for(newest: &AtomicU64, revision: u64) {
    let comes_to_it = (0..60_000).any(|_| {
        std::thread::sleep(Duration::from_millis(1));
        newest.load(Ordering::SeqCst) >= revision
    });
    assert!(comes_to_it, "nothing is acknowledged any more");
}

/// Stops the waiting threads, even if a test fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_backup_under_load_is_the_store_at_one_revision_wherever_it_is_restored() {
    let home = tempfile::tempdir().unwrap();
    let directory = |name: &str| format!("sqlite:{}", home.path().join(name).display());
    for (kind, origin) in [("file", directory("origin")), ("database", new_database())] {
        let file = |number: usize| {
            let path = home.path().join(format!("{kind} {number}"));
            path.to_str().unwrap().to_owned()
        };
        let server = Server::start_command(&mut serve(&origin));
        let scene = make_scene(&server.client());
        let (stop, newest) = (AtomicBool::new(false), AtomicU64::new(0));
        let backups: Vec<u64> = std::thread::scope(|threads| {
            let _stop = StopAtEnd(&stop);
            for binding in &scene.bindings {
                let client = server.client();
                threads.spawn({
                    let (stop, newest, scene) = (&stop, &newest, &scene);
                    move || patch_until(stop, &client, scene, binding, newest)
                });
            }
            let taken = (0..3).map(|number| {
                let before = newest.load(Ordering::SeqCst);
                wait_for(&newest, before + 50);
                let acknowledged = newest.load(Ordering::SeqCst);
                succeeds(&["backup", "--store", &origin, "--to", &file(number)]);
                let verified = succeeds(&["verify", "--backup", &file(number)]);
                let revision = revision(&verified);
                assert!(
                    revision >= acknowledged,
                    "{revision} lacks what was acknowledged at {acknowledged}"
                );
                // Also of the store itself while it is being written.
                succeeds(&["verify", "--store", &origin]);
                revision
            });
            taken.collect()
        });
        server.stop();
        assert!(backups.is_sorted_by(|one, next| one < next), "{backups:?}");
        for (number, revision) in backups.into_iter().enumerate() {
            let name = format!("{kind} {number} restored");
            for elsewhere in [directory(&name), new_database()] {
                succeeds(&["restore", "--store", &elsewhere, "--from", &file(number)]);
                let verified = succeeds(&["verify", "--store", &elsewhere]);
                assert_eq!(verified, succeeds(&["verify", "--backup", &file(number)]));
                let state = with_store(&elsewhere, |store| store.load(ACCOUNT).unwrap());
                assert_eq!(state.revision(), Revision(revision));
                let expected = with_store(&origin, |store| replayed(store, revision));
                assert!(state == expected, "{name} differs from the log");
                let server = Server::start_command(&mut serve(&elsewhere));
                let path = format!("/v2/role-bindings/{}", scene.bindings[0]);
                let binding = server.client().get(&path);
                assert!(scene.roles.contains(&text(&binding, "role_id")));
                server.stop();
            }
        }
    }
}

#[test]
fn a_store_that_is_migrated_there_and_back_is_the_same_and_serves() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (first, second, third) = (
        format!("sqlite:{}", path("first")),
        new_database(),
        format!("sqlite:{}", path("third")),
    );
    let server = Server::start_command(&mut serve(&first));
    make_scene(&server.client());
    server.stop();
    for (from, to) in [(&first, &second), (&second, &third)] {
        succeeds(&["migrate", "--from", from, "--to", to]);
        let again = fails(&["migrate", "--from", from, "--to", to]);
        assert!(again.contains("has accounts in it"), "{again}");
    }
    let stores = [("a", &first), ("b", &second), ("c", &third)];
    let backups = stores.map(|(name, store)| {
        succeeds(&["backup", "--store", store, "--to", &path(name)]);
        std::fs::read(path(name)).unwrap()
    });
    assert!(backups[0] == backups[1] && backups[1] == backups[2]);
    let server = Server::start_command(&mut serve(&third));
    let roles = server.client().get("/v2/roles");
    assert!(
        roles["roles"]
            .as_array()
            .is_some_and(|roles| roles.len() > 5)
    );
    server.stop();
}

#[test]
fn what_can_not_be_restored_is_refused_with_the_reason_before_anything_is_made() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (origin, target, file) = (path("origin"), path("target"), path("backup"));
    let server = Server::start(Path::new(&origin));
    // The server keeps running: neither a backup nor a read needs it to stop.
    succeeds(&["backup", "--data-dir", &origin, "--to", &file]);
    succeeds(&["verify", "--data-dir", &origin]);
    let into = |target: &str| fails(&["restore", "--data-dir", target, "--from", &file]);
    let refused = into(&origin);
    assert!(refused.contains("in use"), "{refused}");
    server.stop();
    let refused = into(&origin);
    assert!(refused.contains("has accounts in it"), "{refused}");
    let whole = std::fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for bytes in [&flipped, &whole[..whole.len() - 1]] {
        std::fs::write(&file, bytes).unwrap();
        for refused in [into(&target), fails(&["verify", "--backup", &file])] {
            assert!(refused.contains("is damaged"), "{refused}");
        }
        assert!(!Path::new(&target).exists());
    }
    std::fs::write(&file, &whole).unwrap();
    // An interrupted restore: no server takes it for a store, and it can be started again.
    {
        let _alone = no_forks();
        drop(SqliteStore::import(Path::new(&target)).unwrap());
    }
    for refused in [
        fails(&["serve", "--listen", "127.0.0.1:0", "--data-dir", &target]),
        fails(&["account", "list", "--data-dir", &target]),
        fails(&["verify", "--data-dir", &target]),
    ] {
        assert!(refused.contains("run `bindery restore` again"), "{refused}");
    }
    succeeds(&["restore", "--data-dir", &target, "--from", &file]);
    assert_eq!(
        succeeds(&["verify", "--data-dir", &target]),
        succeeds(&["verify", "--data-dir", &origin])
    );
    let again = fails(&["backup", "--data-dir", &target, "--to", &file]);
    assert!(again.contains("is there already"), "{again}");
    let missing = fails(&[
        "backup",
        "--data-dir",
        &target,
        "--to",
        &path("other"),
        "--account",
        "7",
    ]);
    assert!(missing.contains("no account 7"), "{missing}");
}

/// How many organizations exist at the end; each is changed many times.
const ORGANIZATIONS: u32 = 500;

/// An account with its admin, and with this many changes from 1970.
pub(crate) fn old_account(directory: &Path, changes: u32) {
    let store = OpenStore::new(directory);
    let created_at = Timestamp::from_millis(0);
    let account = Account {
        id: ACCOUNT,
        name: Name::parse("old").unwrap(),
        id_key: IdKey::new([7; 16]),
        created_at,
        settings: AccountSettings::default(),
    };
    store.create_account(&account).unwrap();
    let bootstrap = Bootstrap {
        name: Name::parse("Ada").unwrap(),
        email: Email::parse("ada@example.com").unwrap(),
        key_name: KeyName::parse("first").unwrap(),
        secret: KeyText::parse(ADMIN_KEY).unwrap().secret(),
    };
    let context = Context {
        caller: Caller::Operator,
        now: created_at,
    };
    let founded = State::new(account).execute(&bootstrap, &context).unwrap();
    let organization = |number: u32| {
        Change::PutOrganization(Organization {
            id: OrganizationId::new(number % ORGANIZATIONS),
            name: Name::parse(&format!("organization {number}")).unwrap(),
            description: Description::default(),
            created_at,
        })
    };
    let entry = |number: u32| {
        Entry::from(OneOperation {
            revision: Revision(number.into()),
            at: created_at,
            by: None,
            key: None,
            operation: "create_organization".to_owned(),
            batch: 1,
            changes: match number {
                1 => founded.changes.clone(),
                _ => vec![organization(number)],
            },
        })
    };
    let entries: Vec<Entry> = (1..=changes).map(entry).collect();
    let mut known = Revision(0);
    for some in entries.chunks(1000) {
        let batch = Batch {
            entries: some.to_vec(),
            ..Batch::default()
        };
        let appended = store.append(ACCOUNT, known.into(), &mut |_| batch.clone());
        known = appended.unwrap();
    }
    assert_eq!(known, Revision(changes.into()));
}

#[test]
fn a_server_forgets_what_its_log_need_not_keep_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    old_account(directory.path(), 3);
    let data_dir = directory.path().to_str().unwrap();
    let log_begins_after = |number: u32| {
        succeeds(&["verify", "--data-dir", data_dir]).contains(&format!("a log after {number},"))
    };
    // By default it keeps everything.
    let server = Server::start(directory.path());
    server.client().get("/v2/organizations");
    assert!(log_begins_after(0));
    server.stop();
    let server = Server::start_with(directory.path(), &["--log-retention-days", "1"]);
    let client = server.client();
    assert!((0..1000).any(|_| log_begins_after(3)));
    let listed = client.get("/v2/organizations");
    assert_eq!(listed["organizations"].as_array().unwrap().len(), 2);
    server.stop();
    let server = Server::start(directory.path());
    assert_eq!(server.client().get("/v2/organizations"), listed);
    server.stop();
    assert!(log_begins_after(3));
}

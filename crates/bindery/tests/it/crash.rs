//! After a kill every acknowledged change is there, complete, and the log replays to the state.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bindery_core::id::{AccountId, Revision};
use bindery_core::state::State;
use bindery_store::Store as _;
use serde_json::json;

use crate::support::{Client, OpenStore, Server, text};

const ROUNDS: u64 = 20;
const CONNECTIONS: usize = 8;
const ROLES: usize = 10;

/// The roles to use, and a binding for each connection.
pub(crate) struct Scene {
    pub(crate) roles: Vec<String>,
    pub(crate) bindings: Vec<String>,
}

/// What one connection knows when the server dies.
struct Witness {
    /// The role that was last acknowledged.
    acknowledged: usize,
    /// The role without a response.
    in_flight: usize,
    count: u64,
}

pub(crate) fn make_scene(client: &Client) -> Scene {
    let organization = client.post("/v2/organizations", &json!({ "name": "Acme" }));
    let space = client.post(
        "/v2/spaces",
        &json!({ "name": "Production", "organization_id": organization["id"] }),
    );
    let roles: Vec<String> = (0..ROLES)
        .map(|number| {
            let role = json!({ "name": format!("Role {number}"), "permissions": ["PROJECT_READ"] });
            text(&client.post("/v2/roles", &role), "id")
        })
        .collect();
    let bindings = (0..CONNECTIONS)
        .map(|number| {
            let email = format!("user-{number}@acme.example");
            let role = json!({ "type": "PREDEFINED", "name": "MEMBER" });
            let user =
                json!({ "name": "User", "email": email, "role": role, "invite_mode": "NONE" });
            let user = client.post("/v2/users", &user);
            let binding = json!({
                "user_id": user["id"], "role_id": roles[0],
                "resource_type": "SPACE", "resource_id": space["id"],
            });
            text(&client.post("/v2/role-bindings", &binding), "id")
        })
        .collect();
    Scene { roles, bindings }
}

/// Gives one binding role after role until the connection breaks.
fn patch_without_pause(
    client: &Client,
    scene: &Scene,
    binding: &str,
    first: usize,
    sum: &AtomicU64,
) -> Witness {
    let mut witness = Witness {
        acknowledged: first,
        in_flight: first,
        count: 0,
    };
    loop {
        witness.in_flight = (witness.acknowledged + 1) % ROLES;
        let body = json!({ "role_id": scene.roles[witness.in_flight] });
        let path = format!("/v2/role-bindings/{binding}");
        let Some((status, answer)) = client.try_send("PATCH", &path, Some(&body)) else {
            return witness;
        };
        assert_eq!(status, 200, "{answer}");
        witness.acknowledged = witness.in_flight;
        witness.count += 1;
        sum.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) fn assert_log_replays_to_the_state(data_dir: &Path) -> usize {
    let store = OpenStore::new(data_dir);
    let account = store.accounts().unwrap().remove(0);
    let mut replayed = State::new(account);
    let mut entries = 0;
    loop {
        let page = store
            .changes_since(AccountId(1), replayed.position(), 1000)
            .unwrap();
        if page.is_empty() {
            break;
        }
        for entry in &page {
            assert_eq!(entry.revision, replayed.revision().next());
            replayed.advance(entry);
        }
        entries += page.len();
    }
    assert_eq!(
        replayed.revision(),
        Revision(u64::try_from(entries).unwrap())
    );
    assert!(
        replayed == store.load(AccountId(1)).unwrap(),
        "the log and the records disagree"
    );
    entries
}

#[test]
fn a_killed_server_keeps_every_acknowledged_change() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start(directory.path());
    let scene = make_scene(&server.client());
    let mut roles = [0; CONNECTIONS];
    let acknowledged = AtomicU64::new(0);
    for round in 0..ROUNDS {
        // A time that differs from round to round, without a clock or a seed to keep.
        let moment = Duration::from_millis(20 + (round * 7919) % 180);
        let witnesses: Vec<Witness> = std::thread::scope(|threads| {
            let running: Vec<_> = (0..CONNECTIONS)
                .map(|number| {
                    let (client, scene, sum) = (server.client(), &scene, &acknowledged);
                    let first = roles[number];
                    threads.spawn(move || {
                        patch_without_pause(&client, scene, &scene.bindings[number], first, sum)
                    })
                })
                .collect();
            let before = acknowledged.load(Ordering::Relaxed);
            // A busy machine may take longer than that for the first of them.
            while acknowledged.load(Ordering::Relaxed) == before
                && running.iter().any(|thread| !thread.is_finished())
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(moment);
            server.kill();
            running
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let entries = assert_log_replays_to_the_state(directory.path());
        assert!(u64::try_from(entries).unwrap() >= acknowledged.load(Ordering::Relaxed));
        server = Server::start(directory.path());
        let client = server.client();
        for (number, witness) in witnesses.iter().enumerate() {
            let binding = client.get(&format!("/v2/role-bindings/{}", scene.bindings[number]));
            let role = text(&binding, "role_id");
            let found = scene.roles.iter().position(|one| *one == role).unwrap();
            assert!(
                found == witness.acknowledged || found == witness.in_flight,
                "round {round}, binding {number}: role {found}, acknowledged {}, in flight {}",
                witness.acknowledged,
                witness.in_flight
            );
            roles[number] = found;
        }
        assert!(
            witnesses.iter().any(|witness| witness.count > 0),
            "round {round} did nothing"
        );
    }
    server.kill();
    println!(
        "{ROUNDS} kills, {} acknowledged changes, none lost",
        acknowledged.into_inner()
    );
}

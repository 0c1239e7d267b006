//! A flood of unknown keys beside accounts that must be loaded. Prints how long each load took; a release
//! build on an idle machine gives figures: `BINDERY_FLOOD=1000 cargo test --release -p bindery --test it --
//! lookups --nocapture`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bindery_api::KeyText;

use crate::backup::succeeds;
use crate::support::Server;

const ACCOUNTS: usize = 5;
/// Connections of the flood, unless `BINDERY_FLOOD` is set: below the usual limit of 1,024 open files.
const CONNECTIONS: usize = 400;
/// Unknown keys to choose from; the flood uses those whose hashes sort first.
const KEYS: usize = 100_000;

/// An account, and the key of its admin.
fn account(directory: &Path, number: usize) -> String {
    let name = format!("account {number}");
    let data_dir = directory.to_str().unwrap();
    let said = succeeds(&["account", "create", "--data-dir", data_dir, "--name", &name]);
    let (_, key) = said.trim_end().rsplit_once(' ').unwrap();
    key.to_owned()
}

/// Unknown keys, those first whose hashes sort first.
fn unknown_keys() -> Vec<String> {
    let mut keys: Vec<_> = (0..KEYS)
        .map(|number| {
            let text = format!("ak-{number:040}");
            (KeyText::parse(&text).unwrap().hash(), text)
        })
        .collect();
    keys.sort_unstable();
    keys.truncate(KEYS / 4);
    keys.into_iter().map(|(_, text)| text).collect()
}

/// Sends one key after the other until it is over, each over a new connection, as the server demands.
fn flood(address: &str, keys: &[String], next: &AtomicUsize, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        let key = &keys[next.fetch_add(1, Ordering::Relaxed) % keys.len()];
        let Ok(mut stream) = TcpStream::connect(address) else {
            continue;
        };
        let request =
            format!("GET /v2/roles HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n");
        let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

#[test]
fn every_unloaded_account_loads_beside_a_flood_of_unknown_keys() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("data");
    let admins: Vec<_> = (0..ACCOUNTS)
        .map(|number| account(&directory, number))
        .collect();
    let server = Server::start_with(&directory, &["--accounts-preloaded", "0"]);
    let address = server.address.trim_start_matches("http://");
    let keys = unknown_keys();
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let given = std::env::var("BINDERY_FLOOD").ok();
    let connections = given.map_or(CONNECTIONS, |given| given.parse().unwrap());
    let begin = Barrier::new(connections + 1);
    let took: Vec<(u16, Duration)> = std::thread::scope(|scope| {
        for _ in 0..connections {
            let flooder = std::thread::Builder::new().stack_size(128 * 1024);
            let running = flooder.spawn_scoped(scope, || {
                begin.wait();
                flood(address, &keys, &next, &is_over);
            });
            running.unwrap();
        }
        begin.wait();
        // Once the flood is running.
        while next.load(Ordering::Relaxed) < 2 * connections {
            std::thread::yield_now();
        }
        let took = admins.iter().map(|key| {
            let asked = Instant::now();
            let answer = server.client_with(key).try_send("GET", "/v2/roles", None);
            (answer.map_or(0, |(status, _)| status), asked.elapsed())
        });
        let took = took.collect();
        is_over.store(true, Ordering::Relaxed);
        took
    });
    println!(
        "{connections} connections, {} unknown keys; first answers of {ACCOUNTS} unloaded accounts: {took:.1?}",
        next.load(Ordering::Relaxed)
    );
    for (status, _) in took {
        assert_eq!(status, 200);
    }
    server.kill();
}

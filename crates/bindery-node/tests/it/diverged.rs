//! Rolled back logs: an older store replaces the current one.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use std::sync::atomic::Ordering;

use bindery_core::change::LogPosition;
use bindery_core::command::Caller;
use bindery_core::id::Revision;
use bindery_node::ExecuteError;
use bindery_store::sqlite::SqliteStore;
use bindery_store::{Batch, Store as _};
use tempfile::TempDir;

use crate::faulty::Fault;
use crate::follow::{ACCOUNT, NOW};
use crate::promises::{World, secret, world};

/// Replaces the store with one whose log ends at this revision.
fn go_back(world: &World, until: Revision) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let older = SqliteStore::open(directory.path()).unwrap();
    let newer = &world.store.inner;
    for account in newer.accounts().unwrap() {
        older.create_account(&account).unwrap();
    }
    let all = newer
        .changes_since(ACCOUNT, LogPosition::default(), usize::MAX)
        .unwrap();
    let mut known = LogPosition::default();
    for entry in all.into_iter().filter(|entry| entry.revision <= until) {
        let batch = || Batch {
            entries: vec![entry.clone()],
            ..Batch::default()
        };
        older.append(ACCOUNT, known, &mut |_| batch()).unwrap();
        known = entry.position();
    }
    world.store.instead.set(older).unwrap();
    directory
}

fn assert_one_truth(world: &World) {
    let snapshot = world.account.snapshot();
    assert_eq!(*snapshot, world.store.there().load(ACCOUNT).unwrap());
    assert_eq!(world.account.access().disagreement(&snapshot), None);
}

#[tokio::test]
async fn a_command_from_before_a_rollback_is_refused_and_the_next_one_is_served() {
    let world = world().await;
    let begin = world.account.snapshot().revision();
    world.create("red").await.unwrap();
    world.create("green").await.unwrap();
    let _directory = go_back(&world, begin);
    // The caller's id may belong to another user now.
    let turned_away = world.create("blue").await;
    assert_eq!(turned_away, Err(ExecuteError::Unavailable));
    assert_eq!(world.names(), [""; 0], "what the store has lost is lost");
    assert_one_truth(&world);
    assert_eq!(world.account.divergences(), 1);
    world.create("blue").await.unwrap();
    assert_eq!(world.names(), ["blue"]);
    assert_one_truth(&world);
    assert_eq!(world.account.divergences(), 1);
    assert_eq!(world.node.meters().diverged.get(), 1);
}

#[tokio::test]
async fn no_client_gets_an_acknowledgement_of_a_change_that_was_rolled_back() {
    let world = world().await;
    let begin = world.account.snapshot().revision();
    world.create("red").await.unwrap();
    world.store.next(Fault::LostAndCutOff);
    let (told, _directory) = tokio::join!(world.create("green"), async {
        while !world.store.is_cut_off.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        let directory = go_back(&world, begin);
        world.store.cut_off(false);
        directory
    });
    assert!(told.is_err(), "{told:?}");
    assert_eq!(world.names(), [""; 0]);
    assert_one_truth(&world);
}

#[tokio::test]
async fn last_uses_of_keys_are_those_in_the_store_after_a_rollback() {
    let world = world().await;
    let begin = world.account.snapshot().revision();
    world.create("red").await.unwrap();
    let shown = world.node.authenticate(&secret(1).hash, NOW);
    let Some((_, Caller::Key { key, .. })) = shown else {
        unreachable!("it is the key of the world's caller");
    };
    assert!(world.account.last_use(key).is_some());
    let _directory = go_back(&world, begin);
    let turned_away = world.create("blue").await;
    assert_eq!(turned_away, Err(ExecuteError::Unavailable));
    // The older store has no last use.
    assert_eq!(world.account.last_use(key), None);
    world.account.flush().await.unwrap();
    assert_eq!(world.store.there().key_uses(ACCOUNT).unwrap(), []);
}

//! Truncated logs: how much is kept, and what a node does that is behind.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bindery_core::change::{Change, Entry, OneOperation};
use bindery_core::command::Caller;
use bindery_core::command::operator::IssueUserKey;
use bindery_core::id::{Kind, OrganizationId, Revision};
use bindery_core::place::Organization;
use bindery_core::refusal::{Conflict, Refusal};
use bindery_core::text::{Description, Email, KeyName, Name};
use bindery_core::time::Timestamp;
use bindery_node::{Account, ExecuteError, LOG_AGE_MIN, LogRetention, Node};
use bindery_store::sqlite::SqliteStore;
use bindery_store::{Batch, Store as _};

use crate::faulty::{Fault, FaultyStore};
use crate::follow::{ACCOUNT, LONG, NOW, two};
use crate::promises::{secret, world};

fn forget_everything(store: &SqliteStore) {
    let late = Timestamp::from_millis(i64::MAX);
    let all = Revision(u64::MAX);
    store.forget_log(ACCOUNT, all, late, usize::MAX).unwrap();
}

/// Memory, records and index agree.
fn assert_one_truth(account: &Account, store: &SqliteStore) {
    let snapshot = account.snapshot();
    assert_eq!(*snapshot, store.load(ACCOUNT).unwrap());
    assert_eq!(account.access().disagreement(&snapshot), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_for_longer_than_the_log_is_kept_catches_up() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = two(&directory).await;
    second.node.load(ACCOUNT).unwrap();
    second
        .until(|node| node.authenticate(&secret(1).hash, NOW).is_some())
        .await;
    second.store.cut_off(true);
    for name in ["red", "green", "blue"] {
        first.create(name).await.unwrap();
    }
    let issue = IssueUserKey {
        email: Email::parse("ada@example.com").unwrap(),
        key_name: KeyName::parse("second").unwrap(),
        secret: secret(2),
        is_enforcement_point: false,
    };
    let account = first.account();
    account
        .execute(issue, Caller::Operator, None)
        .await
        .unwrap();
    let known = second.revision();
    forget_everything(&first.store.inner);
    assert_eq!(second.revision(), known);
    second.store.cut_off(false);
    let account = second.account();
    tokio::time::timeout(LONG, account.reach(first.revision()))
        .await
        .unwrap();
    assert_one_truth(&account, &first.store.inner);
    assert!(second.node.authenticate(&secret(2).hash, NOW).is_some());
    second.create("yellow").await.unwrap();
    assert_one_truth(&account, &first.store.inner);
}

#[tokio::test]
async fn a_command_is_decided_on_the_newest_state_though_the_log_does_not_lead_to_it() {
    let world = world().await;
    let red = Organization {
        id: OrganizationId::new(1),
        name: Name::parse("red").unwrap(),
        description: Description::default(),
        created_at: Timestamp::from_millis(2_000),
    };
    let theirs = Batch {
        entries: vec![Entry::from(OneOperation {
            revision: Revision(2),
            at: Timestamp::from_millis(2_000),
            by: None,
            key: None,
            operation: "create_organization".to_owned(),
            batch: 7,
            changes: vec![Change::PutOrganization(red)],
        })],
        ..Batch::default()
    };
    let store = &world.store.inner;
    store
        .append(ACCOUNT, Revision(1).into(), &mut |_| theirs.clone())
        .unwrap();
    forget_everything(store);
    let taken = Refusal::Conflict(Conflict::NameTaken(Kind::Organization));
    assert_eq!(world.create("red").await, Err(ExecuteError::Refused(taken)));
    assert_eq!(world.names(), ["red"]);
    assert_one_truth(&world.account, store);
    world.create("blue").await.unwrap();
    assert_eq!(world.names(), ["red", "blue"]);
    assert_one_truth(&world.account, store);
}

#[tokio::test]
async fn no_client_gets_a_guess_about_a_commit_that_the_log_no_longer_has() {
    let world = world().await;
    world.store.next(Fault::LostAndForgotten);
    assert_eq!(world.create("red").await, Err(ExecuteError::Unknown));
    assert_eq!(world.names(), ["red"], "it was made, and can be read");
    assert_one_truth(&world.account, &world.store.inner);
    world.create("blue").await.unwrap();
    assert_one_truth(&world.account, &world.store.inner);
}

#[tokio::test]
async fn entries_are_removed_if_no_setting_keeps_them() {
    const HOUR_MS: i64 = 3_600_000;
    let hours = |hours| Some(Duration::from_hours(hours));
    let world = world().await;
    // The account's first revision is an hour before these.
    for (hour, name) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        world.clock.store(hour * HOUR_MS, Ordering::SeqCst);
        world.create(name).await.unwrap();
    }
    world.clock.store(5 * HOUR_MS, Ordering::SeqCst);
    let node: &Node = &world.node;
    let begins_after = |age, revisions| {
        node.forget_logs(LogRetention { age, revisions });
        world.store.inner.base(ACCOUNT).unwrap().revision().0
    };
    assert_eq!(LOG_AGE_MIN, Duration::from_hours(1));
    for (age, revisions, expected) in [
        (None, None, 0),
        (hours(5), Some(1), 0),
        (hours(4), None, 1),
        (None, Some(4), 1),
        (None, Some(3), 2),
        (hours(1), Some(2), 3),
        (hours(2), Some(0), 3),
        // Entries of the last hour are always kept; the one of four o'clock is an hour old.
        (Some(Duration::ZERO), None, 4),
        (None, Some(0), 4),
    ] {
        assert_eq!(
            begins_after(age, revisions),
            expected,
            "{age:?} {revisions:?}"
        );
    }
    assert_one_truth(&world.account, &world.store.inner);
    let shared: Arc<FaultyStore> = Arc::clone(&world.store);
    let restarted = Node::open(shared, node.clock().clone()).unwrap();
    assert_eq!(
        *restarted.load(ACCOUNT).unwrap().snapshot(),
        *world.account.snapshot()
    );
}

//! Which accounts are loaded: those in use, each loaded once, and unloaded when idle.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bindery_core::api_key::{Secret, SecretHash};
use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::command::Caller;
use bindery_core::command::operator::Bootstrap;
use bindery_core::id::{AccountId, ApiKeyId, IdKey, UserId};
use bindery_core::place::{Account as AccountRecord, AccountSettings};
use bindery_core::text::{Email, KeyName, Name};
use bindery_core::time::Timestamp;
use bindery_node::{Account, Clock, Node, Unavailable};
use bindery_store::sqlite::SqliteStore;
use bindery_store::{AuditQuery, Store as _};

use crate::faulty::FaultyStore;
use crate::follow::client;

const START_MS: i64 = 1_000_000;
const IDLE: Duration = Duration::from_mins(10);

struct World {
    store: Arc<FaultyStore>,
    clock_ms: Arc<AtomicI64>,
    _directory: tempfile::TempDir,
}

/// A store with three accounts; the key of each is its number.
async fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let world = World {
        store: Arc::new(FaultyStore::new(store)),
        clock_ms: Arc::new(AtomicI64::new(START_MS)),
        _directory: directory,
    };
    let node = world.node();
    for number in 1..=3 {
        let account = node
            .create_account(&AccountRecord {
                id: AccountId(number.into()),
                name: Name::parse("an account").unwrap(),
                id_key: IdKey::new([number; 16]),
                created_at: Timestamp::from_millis(500),
                settings: AccountSettings::default(),
            })
            .unwrap();
        let bootstrap = Bootstrap {
            name: Name::parse("Ada").unwrap(),
            email: Email::parse("ada@example.com").unwrap(),
            key_name: KeyName::parse("first").unwrap(),
            secret: Secret {
                hash: key(number),
                redacted: "ak-abc...xyz".to_owned(),
            },
        };
        let founded = account.execute(bootstrap, Caller::Operator, None);
        founded.await.unwrap();
    }
    world
}

const fn key(number: u8) -> SecretHash {
    SecretHash([number; 32])
}

/// An unknown key with this number.
fn nobodys(number: u32) -> SecretHash {
    let mut hash = [0xff; 32];
    hash[..4].copy_from_slice(&number.to_be_bytes());
    SecretHash(hash)
}

impl World {
    /// Another process on the store.
    fn node(&self) -> Arc<Node> {
        let store: Arc<FaultyStore> = Arc::clone(&self.store);
        let hands = Arc::clone(&self.clock_ms);
        let clock = Clock::new(move || Timestamp::from_millis(hands.load(Ordering::SeqCst)));
        let node = Arc::new(Node::open(store, clock).unwrap());
        self.store.loads.store(0, Ordering::SeqCst);
        self.store.lookups.store(0, Ordering::SeqCst);
        node
    }

    fn pass(&self, time: Duration) {
        let ms = i64::try_from(time.as_millis()).unwrap();
        self.clock_ms.fetch_add(ms, Ordering::SeqCst);
    }

    fn loads(&self) -> usize {
        self.store.loads.load(Ordering::SeqCst)
    }

    fn lookups(&self) -> usize {
        self.store.lookups.load(Ordering::SeqCst)
    }
}

async fn admit(node: &Arc<Node>, key: SecretHash) -> Result<Option<Arc<Account>>, Unavailable> {
    let now = node.clock().now();
    let admitted = node.admit(&key, now, client(1)).await?;
    Ok(admitted.map(|(account, _)| account))
}

/// Admits all at once.
async fn admit_all(
    node: &Arc<Node>,
    keys: impl Iterator<Item = SecretHash>,
) -> Vec<Result<Option<AccountId>, Unavailable>> {
    let tasks: Vec<_> = keys
        .map(|key| {
            let node = Arc::clone(node);
            tokio::spawn(async move { Ok(admit(&node, key).await?.map(|account| account.id())) })
        })
        .collect();
    let mut admitted = Vec::new();
    for task in tasks {
        admitted.push(task.await.unwrap());
    }
    admitted
}

fn at_work(node: &Node) -> Vec<u32> {
    let accounts = node.accounts().into_iter();
    accounts.map(|account| account.id().0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_loaded_before_it_is_needed_and_then_once() {
    let world = world().await;
    let node = world.node();
    assert_eq!((world.loads(), at_work(&node)), (0, vec![]));
    let keys = std::iter::repeat_n(key(2), 500);
    for admitted in admit_all(&node, keys).await {
        assert_eq!(admitted, Ok(Some(AccountId(2))));
    }
    assert_eq!((world.loads(), at_work(&node)), (1, vec![2]));
    let lookups = world.lookups();
    assert_eq!(admit(&node, key(2)).await.unwrap().unwrap().id().0, 2);
    assert_eq!(world.lookups(), lookups, "a known key isn't looked up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_bad_keys_is_a_few_queries_and_keeps_no_good_one_out() {
    const FLOOD: u32 = 2_000;
    let world = world().await;
    let node = world.node();
    for _ in 0..2 {
        let flood = (0..FLOOD).map(nobodys).chain([key(1), key(3)]);
        let admitted = admit_all(&node, flood).await;
        let good: Vec<_> = admitted
            .into_iter()
            .filter(|one| *one != Ok(None))
            .collect();
        let expected = [AccountId(1), AccountId(3)].map(|id| Ok(Some(id)));
        assert_eq!(good, expected);
    }
    // Again, unless a slow machine has dropped the unknown keys by then.
    let lookups = world.lookups();
    assert!(lookups < 1_000, "{lookups} for 4,000 keys");
    assert_eq!(world.loads(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bad_key_again_causes_no_query() {
    let world = world().await;
    let node = world.node();
    for _ in 0..1_000 {
        assert!(admit(&node, nobodys(1)).await.unwrap().is_none());
    }
    // Once a second, however long these take.
    let counted = node.meters().known_as_unknown.get();
    assert!(counted > 900, "{counted}");
    assert_eq!(world.loads(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_loaded_accounts_go_on_and_keys_of_others_are_not_called_unknown() {
    let world = world().await;
    let node = world.node();
    admit(&node, key(1)).await.unwrap().unwrap();
    world.store.cut_off(true);
    assert!(admit(&node, key(1)).await.unwrap().is_some());
    for key in [key(2), nobodys(1)] {
        assert_eq!(admit(&node, key).await.err(), Some(Unavailable));
    }
    world.store.cut_off(false);
    assert!(admit(&node, key(2)).await.unwrap().is_some());
    assert!(admit(&node, nobodys(1)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_can_not_be_loaded_is_not_tried_for_each_request() {
    let world = world().await;
    let node = world.node();
    let now = node.clock().now();
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let node = Arc::clone(&node);
            tokio::spawn(async move { node.wake(AccountId(9), now).await.err() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Some(Unavailable));
    }
    assert!(world.loads() < 20, "{}", world.loads());
    assert!(admit(&node, key(1)).await.unwrap().is_some());
}

fn read(operation: &str, now: Timestamp) -> AuditEntry {
    AuditEntry {
        user: UserId::new(1),
        address: "127.0.0.1".to_owned(),
        kind: AuditKind::Query,
        operation: operation.to_owned(),
        text: None,
        variables: None,
        status: 200,
        problem: None,
        key: None,
        request: None,
        revision: None,
        at: now,
    }
}

fn audited(store: &FaultyStore, account: u32) -> Vec<String> {
    let query = AuditQuery {
        from: Timestamp::from_millis(0),
        to: Timestamp::from_millis(i64::MAX),
        user: None,
        operations: Vec::new(),
        kind: None,
        before: None,
        limit: 100,
    };
    let found = store.inner.audit(AccountId(account), &query).unwrap();
    found
        .into_iter()
        .map(|(_, entry)| entry.operation)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_account_is_unloaded_with_everything_written_and_loaded_again() {
    let world = world().await;
    let node = world.node();
    for number in 1..=3 {
        admit(&node, key(number)).await.unwrap().unwrap();
    }
    world.pass(IDLE / 2);
    let held = admit(&node, key(1)).await.unwrap().unwrap();
    held.note(read("of the one that is used", node.clock().now()));
    drop(held);
    let used = admit(&node, key(2)).await.unwrap().unwrap();
    used.note(read("of the idle one", node.clock().now()));
    drop(used);
    let held = admit(&node, key(3)).await.unwrap().unwrap();
    assert_eq!(node.evict_idle(IDLE).await, BTreeSet::new(), "not yet");
    world.pass(IDLE / 2);
    admit(&node, key(1)).await.unwrap().unwrap();
    world.pass(IDLE / 2);
    // The first was used since, the third has an open handle.
    let evicted = node.evict_idle(IDLE).await;
    assert_eq!(evicted, BTreeSet::from([AccountId(2)]));
    assert_eq!(at_work(&node), [1, 3]);
    assert_eq!(audited(&world.store, 2), ["of the idle one"]);
    drop(held);
    assert_eq!(node.evict_idle(IDLE).await, BTreeSet::from([AccountId(3)]));
    let loads = world.loads();
    let again = admit(&node, key(2)).await.unwrap().unwrap();
    assert_eq!(world.loads(), loads + 1);
    let last_use = again.last_use(ApiKeyId::new(1)).unwrap();
    assert_eq!(last_use, node.clock().now(), "this use");
    assert_eq!(node.meters().evictions.get(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_account_is_unloaded_while_the_store_could_not_load_it_again() {
    let world = world().await;
    let node = world.node();
    let account = admit(&node, key(1)).await.unwrap().unwrap();
    account.note(read("a read", node.clock().now()));
    drop(account);
    world.pass(IDLE * 2);
    world.store.cut_off(true);
    assert_eq!(node.evict_idle(IDLE).await, BTreeSet::new());
    assert!(admit(&node, key(1)).await.unwrap().is_some());
    world.store.cut_off(false);
    world.pass(IDLE * 2);
    assert_eq!(node.evict_idle(IDLE).await, BTreeSet::from([AccountId(1)]));
    assert_eq!(audited(&world.store, 1), ["a read"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_loaded_once_while_it_is_unloaded_and_requested_at_the_same_time() {
    let world = world().await;
    let node = world.node();
    for _ in 0..200 {
        admit(&node, key(1)).await.unwrap().unwrap();
        world.pass(IDLE);
        let evicting = tokio::spawn({
            let node = Arc::clone(&node);
            async move { node.evict_idle(IDLE).await }
        });
        for admitted in admit_all(&node, std::iter::repeat_n(key(1), 4)).await {
            assert_eq!(admitted, Ok(Some(AccountId(1))));
        }
        evicting.await.unwrap();
    }
    // The unloaded account is not in the directory any more, and the loaded one is.
    let account = admit(&node, key(1)).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&account, &node.account(AccountId(1)).unwrap()));
}

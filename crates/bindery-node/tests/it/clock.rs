//! A clock that jumps ahead doesn't get into the log.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::command::organizations::CreateOrganization;
use bindery_core::id::{AccountId, UserId};
use bindery_core::text::{Description, Name};
use bindery_core::time::Timestamp;
use bindery_node::{Account, Clock, ExecuteError, Node, Obstacle};
use bindery_store::{AuditQuery, Store as _};

use crate::faulty::FaultyStore;
use crate::promises::{World, world};

const ACCOUNT: AccountId = AccountId(1);
const START_MS: i64 = 1_000_000;
const DAY_MS: i64 = 86_400_000;
const FIFTY_YEARS_MS: i64 = 50 * 365 * DAY_MS;

/// Another process on the store, on a machine with clocks that the test sets.
struct Machine {
    world: World,
    node: Node,
    account: Arc<Account>,
    wall_ms: Arc<AtomicI64>,
    boottime_ms: Arc<AtomicU64>,
}

impl Machine {
    async fn new() -> Self {
        let world = world().await;
        let wall_ms = Arc::new(AtomicI64::new(START_MS));
        let boottime_ms = Arc::new(AtomicU64::new(0));
        let (wall, boottime) = (Arc::clone(&wall_ms), Arc::clone(&boottime_ms));
        let clock = Clock::new(move || Timestamp::from_millis(wall.load(Ordering::SeqCst)))
            .with_boottime(move || Duration::from_millis(boottime.load(Ordering::SeqCst)));
        let store: Arc<FaultyStore> = Arc::clone(&world.store);
        let node = Node::open(store, clock).unwrap();
        let account = node.load(ACCOUNT).unwrap();
        Self {
            world,
            node,
            account,
            wall_ms,
            boottime_ms,
        }
    }

    fn set(&self, ms: i64) {
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
    }

    fn pass(&self, ms: i64) {
        self.set(ms);
        self.boottime_ms
            .fetch_add(ms.unsigned_abs(), Ordering::SeqCst);
    }

    /// Makes an organization, and returns its time.
    async fn create(&self, name: &str) -> Result<i64, ExecuteError> {
        let create = CreateOrganization {
            name: Name::parse(name).unwrap(),
            description: Description::default(),
        };
        let made = self
            .account
            .execute(create, self.world.caller, None)
            .await?;
        Ok(made.created_at.as_millis())
    }
}

#[tokio::test]
async fn a_change_while_the_clock_has_run_ahead_is_refused_and_time_goes_on_once_it_is_set_back() {
    let machine = Machine::new().await;
    assert_eq!(machine.create("red").await, Ok(START_MS));
    machine.set(FIFTY_YEARS_MS);
    assert_eq!(
        machine.create("green").await,
        Err(ExecuteError::Unavailable)
    );
    assert_eq!(machine.node.obstacle(), Some(Obstacle::ClockAhead));
    assert!(!machine.node.takes_writes());
    assert_eq!(machine.node.meters().clock_refusals.get(), 1);
    machine.set(-FIFTY_YEARS_MS);
    assert_eq!(machine.node.obstacle(), None);
    machine.pass(1_000);
    assert_eq!(machine.create("green").await, Ok(START_MS + 1_000));
    assert!(machine.node.takes_writes());
}

#[tokio::test]
async fn time_that_a_machine_was_suspended_for_is_no_jump() {
    let machine = Machine::new().await;
    machine.pass(FIFTY_YEARS_MS);
    assert_eq!(machine.create("red").await, Ok(START_MS + FIFTY_YEARS_MS));
}

#[tokio::test]
async fn the_clock_of_the_database_says_that_a_machine_was_paused() {
    let machine = Machine::new().await;
    machine.set(DAY_MS);
    assert_eq!(machine.create("red").await, Err(ExecuteError::Unavailable));
    let time = Timestamp::from_millis(START_MS + DAY_MS);
    *machine.world.store.database_time.lock().unwrap() = Some(time);
    assert_eq!(machine.create("red").await, Ok(START_MS + DAY_MS));
    machine.set(FIFTY_YEARS_MS);
    assert_eq!(
        machine.create("green").await,
        Err(ExecuteError::Unavailable)
    );
}

#[tokio::test]
async fn audit_entries_noted_while_the_clock_was_ahead_are_written_with_a_moment_that_has_come() {
    let machine = Machine::new().await;
    machine.account.note(AuditEntry {
        user: UserId::new(1),
        address: "192.0.2.1".to_owned(),
        kind: AuditKind::Query,
        operation: "list_roles".to_owned(),
        text: None,
        variables: None,
        status: 200,
        problem: None,
        key: None,
        request: None,
        revision: None,
        at: Timestamp::from_millis(START_MS + FIFTY_YEARS_MS),
    });
    machine.account.flush().await.unwrap();
    let query = AuditQuery {
        from: Timestamp::from_millis(0),
        to: Timestamp::from_millis(i64::MAX),
        user: None,
        operations: vec!["list_roles".to_owned()],
        kind: None,
        before: None,
        limit: 10,
    };
    let entries = machine.world.store.inner.audit(ACCOUNT, &query).unwrap();
    let times: Vec<_> = entries.iter().map(|(_, one)| one.at.as_millis()).collect();
    assert_eq!(times, [START_MS]);
}

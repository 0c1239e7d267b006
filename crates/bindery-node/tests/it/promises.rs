//! What a caller of `Account::execute` can rely on.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bindery_core::api_key::{Secret, SecretHash};
use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::change::{Change, Entry, OneOperation, Origin, Part};
use bindery_core::command::Caller;
use bindery_core::command::operator::{Bootstrap, IssueUserKey};
use bindery_core::command::organizations::{CreateOrganization, UpdateOrganization};
use bindery_core::decision::Question;
use bindery_core::id::{AccountId, ApiKeyId, IdKey, Kind, OrganizationId, Revision, UserId};
use bindery_core::permission::Permission;
use bindery_core::place::{Account as AccountRecord, AccountSettings, Organization};
use bindery_core::refusal::{Conflict, Refusal};
use bindery_core::rules::RulesVersion;
use bindery_core::state::State;
use bindery_core::text::{Description, Email, KeyName, Name, RequestId};
use bindery_core::time::Timestamp;
use bindery_node::drive::{Desk, Random, Turn};
use bindery_node::{
    Account, Audit, Clock, ExecuteError, KEY_COMMANDS_MAX, Node, PERSON_COMMANDS_MAX, RefusedAs,
};
use bindery_store::sqlite::SqliteStore;
use bindery_store::{AuditQuery, Batch, Store as _};
use futures_util::FutureExt as _;

use crate::faulty::{Fault, FaultyStore, REFUSED};
use crate::follow::client;

pub(crate) const ACCOUNT: AccountId = AccountId(1);

pub(crate) struct World {
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) node: Node,
    pub(crate) account: Arc<Account>,
    pub(crate) caller: Caller,
    pub(crate) clock: Arc<AtomicI64>,
    _directory: tempfile::TempDir,
}

pub(crate) fn secret(byte: u8) -> Secret {
    Secret {
        hash: SecretHash([byte; 32]),
        redacted: "ak-abc...xyz".to_owned(),
    }
}

pub(crate) async fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(FaultyStore::new(
        SqliteStore::open(directory.path()).unwrap(),
    ));
    let clock = Arc::new(AtomicI64::new(1_000));
    let hands = Arc::clone(&clock);
    let tells = Clock::new(move || Timestamp::from_millis(hands.load(Ordering::SeqCst)));
    let shared: Arc<FaultyStore> = Arc::clone(&store);
    let node = Node::open(shared, tells).unwrap();
    let account = node
        .create_account(&AccountRecord {
            id: ACCOUNT,
            name: Name::parse("main").unwrap(),
            id_key: IdKey::new([3; 16]),
            created_at: Timestamp::from_millis(500),
            settings: AccountSettings::default(),
        })
        .unwrap();
    let bootstrap = Bootstrap {
        name: Name::parse("Ada").unwrap(),
        email: Email::parse("ada@example.com").unwrap(),
        key_name: KeyName::parse("first").unwrap(),
        secret: secret(1),
    };
    let (user, key) = account
        .execute(bootstrap, Caller::Operator, None)
        .await
        .unwrap();
    let caller = Caller::Key {
        user: user.id,
        key: key.id,
    };
    World {
        store,
        node,
        account,
        caller,
        clock,
        _directory: directory,
    }
}

impl World {
    pub(crate) async fn create(&self, name: &str) -> Result<Organization, ExecuteError> {
        self.account.execute(create(name), self.caller, None).await
    }

    fn log(&self) -> Vec<Entry> {
        self.store
            .inner
            .changes_since(ACCOUNT, Revision(0).into(), 1000)
            .unwrap()
    }

    /// Memory, records, log and index agree, whatever happened.
    fn assert_one_truth(&self) {
        let snapshot = self.account.snapshot();
        assert_eq!(*snapshot, self.store.inner.load(ACCOUNT).unwrap());
        let mut replayed = State::new(self.store.inner.accounts().unwrap().remove(0));
        for entry in self.log() {
            replayed.advance(&entry);
        }
        assert_eq!(*snapshot, replayed);
        let index = self.account.access();
        for organization in (1..20).map(OrganizationId::new) {
            let question = Question {
                principal: UserId::new(1),
                permission: Permission::OrganizationRead,
                resource: organization.into(),
            };
            let decision = snapshot.decide(&question, snapshot.latest());
            assert_eq!(
                index.decide(&question, snapshot.latest()),
                Some((decision, snapshot.revision()))
            );
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let snapshot = self.account.snapshot();
        let ids = (1..20).map(OrganizationId::new);
        ids.filter_map(|id| Some(snapshot.organization(id)?.name.to_string()))
            .collect()
    }
}

fn create(name: &str) -> CreateOrganization {
    CreateOrganization {
        name: Name::parse(name).unwrap(),
        description: Description::default(),
    }
}

#[tokio::test]
async fn a_node_that_could_not_store_a_change_takes_writes_again_before_anyone_sends_one() {
    let world = world().await;
    world.store.next(Fault::Unavailable);
    assert_eq!(world.create("a").await, Err(ExecuteError::Unavailable));
    assert!(!world.node.takes_writes());
    world.store.next(Fault::Unavailable);
    assert_eq!(world.account.flush().await, Err(ExecuteError::Unavailable));
    assert!(!world.node.takes_writes());
    // As the server does every second.
    assert_eq!(world.account.flush().await, Ok(()));
    assert!(world.node.takes_writes());
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_after_the_commit_is_acknowledged_and_made_once() {
    let world = world().await;
    world.store.next(Fault::LostAfterCommit);
    assert_eq!(world.create("red").await.unwrap().name.as_str(), "red");
    assert_eq!(world.names(), ["red"]);
    world.assert_one_truth();
    world.create("blue").await.unwrap();
    world.assert_one_truth();
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_before_the_commit_is_not_acknowledged_and_not_made() {
    let world = world().await;
    world.store.next(Fault::LostBeforeCommit);
    assert_eq!(world.create("red").await, Err(ExecuteError::Unavailable));
    assert_eq!(world.names(), [""; 0]);
    assert_eq!(
        world.create("red").await.unwrap().id,
        OrganizationId::new(1)
    );
    world.assert_one_truth();
}

#[tokio::test]
async fn a_store_out_of_reach_changes_nothing_and_the_next_command_works() {
    let world = world().await;
    let before = world.account.snapshot();
    world.store.next(Fault::Unavailable);
    assert_eq!(world.create("red").await, Err(ExecuteError::Unavailable));
    assert_eq!(*world.account.snapshot(), *before);
    world.create("red").await.unwrap();
    world.assert_one_truth();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reader_sees_a_change_before_its_commit_and_what_queued_meanwhile_goes_into_one_batch() {
    let world = Arc::new(world().await);
    let appends_before = world.store.appends.load(Ordering::SeqCst);
    world.store.next(Fault::HeldBeforeCommit);
    let spawn = |name: String| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.create(&name).await })
    };
    let first = spawn("first".to_owned());
    let holding = Arc::clone(&world);
    tokio::task::spawn_blocking(move || holding.store.gate.wait_until_held())
        .await
        .unwrap();
    assert_eq!(
        world.names(),
        [""; 0],
        "decided, not committed, and so not visible"
    );
    let later: Vec<_> = (0..10)
        .map(|number| spawn(format!("later {number}")))
        .collect();
    // Each is queued after its first poll; the held commit keeps them in the queue.
    while world.account.waiting() < 10 {
        tokio::task::yield_now().await;
    }
    world.store.gate.open();
    first.await.unwrap().unwrap();
    for one in later {
        one.await.unwrap().unwrap();
    }
    assert_eq!(world.names().len(), 11);
    assert_eq!(
        world.store.appends.load(Ordering::SeqCst) - appends_before,
        2
    );
    world.assert_one_truth();
}

#[tokio::test]
async fn a_command_is_decided_on_what_another_node_appended() {
    let world = world().await;
    let organization = Organization {
        id: OrganizationId::new(1),
        name: Name::parse("red").unwrap(),
        description: Description::default(),
        created_at: Timestamp::from_millis(2_000),
    };
    let theirs = Entry::from(OneOperation {
        revision: Revision(2),
        at: Timestamp::from_millis(2_000),
        by: None,
        key: None,
        operation: "create_organization".to_owned(),
        batch: 7,
        changes: vec![Change::PutOrganization(organization)],
    });
    let batch = Batch {
        entries: vec![theirs],
        audit: Vec::new(),
        ..Batch::default()
    };
    world
        .store
        .inner
        .append(ACCOUNT, Revision(1).into(), &mut |_| batch.clone())
        .unwrap();
    let refused = world.create("red").await;
    let taken = Refusal::Conflict(Conflict::NameTaken(Kind::Organization));
    assert_eq!(refused, Err(ExecuteError::Refused(taken)));
    assert_eq!(
        world.names(),
        ["red"],
        "and what was read from the log is visible"
    );
    world.assert_one_truth();
}

#[tokio::test]
async fn time_in_the_log_never_goes_back() {
    let world = world().await;
    world.clock.store(5_000, Ordering::SeqCst);
    world.create("red").await.unwrap();
    world.clock.store(2_000, Ordering::SeqCst);
    world.create("blue").await.unwrap();
    let times: Vec<i64> = world
        .log()
        .iter()
        .map(|entry| entry.at.as_millis())
        .collect();
    assert_eq!(times, [1_000, 5_000, 5_000]);
}

#[tokio::test]
async fn a_refused_command_leaves_an_audit_entry_and_no_revision() {
    let world = world().await;
    world.create("red").await.unwrap();
    let audit = Audit {
        address: "127.0.0.1".to_owned(),
        text: Some("{}".to_owned()),
        variables: None,
        request: RequestId::parse("r-1"),
        success: 201,
        refused: |_| RefusedAs {
            status: 409,
            problem: Some("resource-conflict"),
        },
    };
    let refused = world
        .account
        .execute(create("red"), world.caller, Some(audit))
        .await;
    assert!(matches!(refused, Err(ExecuteError::Refused(_))));
    assert_eq!(world.account.snapshot().revision(), Revision(2));
    let query = AuditQuery {
        from: Timestamp::from_millis(0),
        to: Timestamp::from_millis(i64::MAX),
        user: None,
        operations: Vec::new(),
        kind: None,
        before: None,
        limit: 10,
    };
    let entries = world.store.inner.audit(ACCOUNT, &query).unwrap();
    let told: Vec<_> = entries
        .iter()
        .map(|(_, one)| (one.operation.as_str(), one.status))
        .collect();
    assert_eq!(told, [("create_organization", 409)]);
}

#[tokio::test]
async fn an_entry_says_which_request_made_it_and_what_was_there_before() {
    let world = world().await;
    let red = world.create("red").await.unwrap();
    let rename = UpdateOrganization {
        organization: red.id,
        name: Some(Name::parse("crimson").unwrap()),
        description: None,
    };
    let audit = Audit {
        address: String::new(),
        text: None,
        variables: None,
        request: RequestId::parse("r-1"),
        success: 200,
        refused: |_| RefusedAs {
            status: 409,
            problem: None,
        },
    };
    let renamed = world.account.execute(rename, world.caller, Some(audit));
    renamed.await.unwrap();
    let log = world.log();
    let entry = log.last().unwrap();
    let part = Part {
        request: RequestId::parse("r-1"),
        ..Part::of("update_organization", &entry.changes)
    };
    assert_eq!(entry.parts, [part]);
    assert_eq!(entry.before, [Change::PutOrganization(red)]);
    assert_eq!(entry.origin, Origin::API);
    assert_eq!(entry.rules, RulesVersion::CURRENT);
}

#[tokio::test]
async fn a_new_key_is_good_when_its_making_is_answered_and_after_a_restart() {
    let world = world().await;
    let issue = IssueUserKey {
        email: Email::parse("ADA@example.com").unwrap(),
        key_name: KeyName::parse("second").unwrap(),
        secret: secret(2),
        is_enforcement_point: false,
    };
    let now = Timestamp::from_millis(1_000);
    assert!(world.node.authenticate(&secret(2).hash, now).is_none());
    world
        .account
        .execute(issue, Caller::Operator, None)
        .await
        .unwrap();
    assert!(world.node.authenticate(&secret(2).hash, now).is_some());
    let again: Arc<FaultyStore> = Arc::clone(&world.store);
    let restarted = Node::open(again, Clock::new(move || now)).unwrap();
    let restarted = Arc::new(restarted);
    for (byte, is_good) in [(1, true), (2, true), (3, false)] {
        let admitted = restarted
            .admit(&secret(byte).hash, now, client(1))
            .await
            .unwrap();
        assert_eq!(admitted.is_some(), is_good, "{byte}");
    }
}

fn read(operation: &str) -> AuditEntry {
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
        at: Timestamp::from_millis(1_000),
    }
}

fn audited(store: &SqliteStore) -> Vec<String> {
    let query = AuditQuery {
        from: Timestamp::from_millis(0),
        to: Timestamp::from_millis(i64::MAX),
        user: None,
        operations: Vec::new(),
        kind: None,
        before: None,
        limit: 10_000,
    };
    let found = store.audit(ACCOUNT, &query).unwrap().into_iter().rev();
    found.map(|(_, entry)| entry.operation).collect()
}

#[tokio::test]
async fn what_was_noted_is_written_once_and_in_order_however_often_the_store_fails() {
    let world = world().await;
    world.account.note(read("one"));
    world.account.note(read("two"));
    for fault in [Fault::Unavailable, Fault::LostBeforeCommit] {
        world.store.next(fault);
        assert_eq!(world.account.flush().await, Err(ExecuteError::Unavailable));
    }
    world.account.note(read("three"));
    assert_eq!(audited(&world.store.inner), [""; 0]);
    world.create("red").await.unwrap();
    assert_eq!(audited(&world.store.inner), ["one", "two", "three"]);
    world.account.flush().await.unwrap();
    assert_eq!(audited(&world.store.inner), ["one", "two", "three"]);
    world.assert_one_truth();
}

#[tokio::test]
async fn a_pending_entry_that_the_store_refuses_is_dropped_and_blocks_nothing() {
    let world = world().await;
    for name in ["red", "green"] {
        world.account.note(read(REFUSED));
        world.create(name).await.unwrap();
    }
    world.account.note(read(REFUSED));
    world.account.flush().await.unwrap();
    world.account.note(read("sound"));
    world.account.flush().await.unwrap();
    assert_eq!(world.names(), ["red", "green"]);
    assert_eq!(audited(&world.store.inner), ["sound"]);
    world.assert_one_truth();
}

#[tokio::test]
async fn many_notes_wake_the_writer_and_the_last_ones_are_written_at_the_end() {
    let world = world().await;
    for _ in 0..1024 {
        world.account.note(read("read"));
    }
    // Its batch comes after the one that the pending entries caused.
    let before = world.store.appends.load(Ordering::SeqCst);
    world.create("red").await.unwrap();
    assert_eq!(audited(&world.store.inner).len(), 1024);
    assert!(world.store.appends.load(Ordering::SeqCst) > before);
    world.account.note(read("last"));
    let World {
        store,
        node,
        account,
        ..
    } = world;
    drop((node, account));
    assert_eq!(audited(&store.inner).pop().as_deref(), Some("last"));
}

#[tokio::test]
async fn the_last_use_of_a_key_outlives_the_process_and_moves_in_steps_of_a_minute() {
    let world = world().await;
    let hash = secret(1).hash;
    let key = ApiKeyId::new(1);
    let uses = |at| {
        let now = Timestamp::from_millis(at);
        world.node.authenticate(&hash, now).unwrap();
        world.account.last_use(key).unwrap().as_millis()
    };
    assert_eq!(world.account.last_use(key), None);
    assert_eq!(uses(5_000), 5_000);
    assert_eq!(uses(64_999), 5_000);
    assert_eq!(uses(65_000), 65_000);
    assert_eq!(uses(64_000), 65_000);
    // The store never gets a time later than the clock.
    world.clock.store(65_000, Ordering::SeqCst);
    world.account.flush().await.unwrap();
    let shared: Arc<FaultyStore> = Arc::clone(&world.store);
    let restarted = Node::open(shared, world.node.clock().clone()).unwrap();
    let account = restarted.load(ACCOUNT).unwrap();
    assert_eq!(account.last_use(key), Some(Timestamp::from_millis(65_000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_ends_although_the_store_that_lost_a_response_never_comes_back() {
    let world = world().await;
    world.store.next(Fault::LostAndCutOff);
    let asked = tokio::time::timeout(Duration::from_millis(300), world.create("red"));
    assert!(asked.await.is_err(), "no client gets a guess");
    let World { node, account, .. } = world;
    let (say, ended) = std::sync::mpsc::channel();
    // Not joined: if it fails, this never ends.
    std::thread::spawn(move || {
        drop((account, node));
        let _ = say.send(());
    });
    ended.recv_timeout(Duration::from_mins(2)).expect("it ends");
}

/// Desks whose turns the test runs.
type Desks = Arc<std::sync::Mutex<Vec<Desk>>>;

#[tokio::test]
async fn a_flood_of_commands_of_one_key_leaves_room_for_others() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(directory.path()).unwrap());
    let desks = Desks::default();
    let (taken, number) = (Arc::clone(&desks), AtomicI64::new(1));
    let random = Random::new(move || Ok(number.fetch_add(1, Ordering::SeqCst).unsigned_abs()));
    let take = move |desk| taken.lock().unwrap().push(desk);
    let node = Node::by_hand(store, Clock::system(), random, take).unwrap();
    let account = node
        .create_account(&AccountRecord {
            id: ACCOUNT,
            name: Name::parse("main").unwrap(),
            id_key: IdKey::new([3; 16]),
            created_at: Timestamp::from_millis(500),
            settings: AccountSettings::default(),
        })
        .unwrap();
    let send = |user, key| {
        let caller = Caller::Key {
            user: UserId::new(user),
            key: ApiKeyId::new(key),
        };
        // Hundreds are polled without a pause, more than tokio lets one task do.
        Box::pin(tokio::task::unconstrained(account.execute(
            create("acme"),
            caller,
            None,
        )))
    };
    let mut flood: Vec<_> = (0..KEY_COMMANDS_MAX).map(|_| send(1, 1)).collect();
    for one in &mut flood {
        assert!(one.now_or_never().is_none());
    }
    assert_eq!(send(1, 1).now_or_never(), Some(Err(ExecuteError::Crowded)));
    let mut other = send(2, 2);
    assert!((&mut other).now_or_never().is_none());
    // The same person has room for some of their other keys, but not for any number of them.
    let mut more: Vec<_> = (0..PERSON_COMMANDS_MAX)
        .map(|key| send(1, 3 + u32::try_from(key).unwrap()))
        .collect();
    let refused = more
        .iter_mut()
        .filter_map(futures_util::FutureExt::now_or_never)
        .count();
    assert_eq!(refused, KEY_COMMANDS_MAX);
    assert_eq!(desks.lock().unwrap()[0].turn(), Turn::Done);
    let answered = Some(Err(ExecuteError::Refused(Refusal::Unauthenticated)));
    assert_eq!(other.now_or_never(), answered);
    for one in flood {
        assert_eq!(one.now_or_never(), answered);
    }
    assert!(send(1, 1).now_or_never().is_none(), "there is room again");
}

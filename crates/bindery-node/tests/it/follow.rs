//! Several nodes on one store: each sees changes of the others, and knows how far it may be behind.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bindery_core::api_key::{Secret, SecretHash};
use bindery_core::change::{Change, Entry, OneOperation};
use bindery_core::command::Caller;
use bindery_core::command::operator::Bootstrap;
use bindery_core::command::organizations::CreateOrganization;
use bindery_core::id::{AccountId, IdKey, Kind, OrganizationId, Revision};
use bindery_core::place::{Account as AccountRecord, AccountSettings, Organization};
use bindery_core::refusal::{Conflict, Refusal};
use bindery_core::text::{Description, Email, KeyName, Name};
use bindery_core::time::Timestamp;
use bindery_node::{
    Account, ClientNetwork, Clock, ExecuteError, FOLLOW_INTERVAL, Node, Unavailable,
};
use bindery_store::sqlite::SqliteStore;
use bindery_store::{Batch, Store as _};

use crate::faulty::FaultyStore;

pub(crate) const ACCOUNT: AccountId = AccountId(1);
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_000);
/// The network of a client.
pub(crate) fn client(number: u8) -> ClientNetwork {
    ClientNetwork::of([192, 0, 2, number].into())
}

pub(crate) const LONG: Duration = Duration::from_mins(1);

/// One of the nodes.
pub(crate) struct One {
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) node: Arc<Node>,
    following: tokio::task::JoinHandle<()>,
}

impl Drop for One {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl One {
    fn new(shared: &Arc<SqliteStore>) -> Self {
        let store = Arc::new(FaultyStore::share(shared));
        let gate: Arc<FaultyStore> = Arc::clone(&store);
        let node = Arc::new(Node::open(gate, Clock::new(|| NOW)).unwrap());
        let following = tokio::spawn(Arc::clone(&node).follow());
        Self {
            store,
            node,
            following,
        }
    }

    pub(crate) fn account(&self) -> Arc<Account> {
        self.node.account(ACCOUNT).unwrap()
    }

    pub(crate) fn revision(&self) -> Revision {
        self.account().snapshot().revision()
    }

    pub(crate) async fn create(&self, name: &str) -> Result<Organization, ExecuteError> {
        let (account, caller) = self.admit().await.unwrap().unwrap();
        let create = CreateOrganization {
            name: Name::parse(name).unwrap(),
            description: Description::default(),
        };
        account.execute(create, caller, None).await
    }

    async fn admit(&self) -> Result<Option<(Arc<Account>, Caller)>, Unavailable> {
        self.node.admit(&SecretHash([1; 32]), NOW, client(1)).await
    }

    pub(crate) async fn until(&self, is_so: impl Fn(&Node) -> bool) {
        let waited = async {
            while !is_so(&self.node) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, waited).await.unwrap();
    }
}

/// Two nodes, and an account that the first has made.
pub(crate) async fn two(directory: &tempfile::TempDir) -> (One, One) {
    let shared = Arc::new(SqliteStore::open(directory.path()).unwrap());
    let (first, second) = (One::new(&shared), One::new(&shared));
    let account = first
        .node
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
        secret: Secret {
            hash: SecretHash([1; 32]),
            redacted: "ak-abc...xyz".to_owned(),
        },
    };
    account
        .execute(bootstrap, Caller::Operator, None)
        .await
        .unwrap();
    (first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_another_node_makes_accepts_its_key_here() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = two(&directory).await;
    second.create("red").await.unwrap();
    first.create("green").await.unwrap();
    assert_eq!(
        second.node.account(ACCOUNT).map(|account| account.id()),
        Some(ACCOUNT)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_node_changes_is_seen_without_being_told() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = two(&directory).await;
    second.admit().await.unwrap().unwrap();
    for name in ["red", "green"] {
        let made = first.create(name).await.unwrap();
        let revision = first.revision();
        let account = second.account();
        tokio::time::timeout(LONG, account.reach(revision))
            .await
            .unwrap();
        assert_eq!(
            account.snapshot().organization(made.id).map(Arc::as_ref),
            Some(&made)
        );
        assert_eq!(*account.snapshot(), *first.account().snapshot());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_decided_on_what_another_node_changed_just_before() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = two(&directory).await;
    second.admit().await.unwrap().unwrap();
    first.create("red").await.unwrap();
    // At once, whether or not it had a wake-up.
    let again = second.create("red").await;
    let conflict = Conflict::NameTaken(Kind::Organization);
    assert_eq!(
        again,
        Err(ExecuteError::Refused(Refusal::Conflict(conflict)))
    );
    assert_eq!(second.revision(), first.revision());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_node_goes_on_reading_says_so_and_catches_up() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = two(&directory).await;
    second.admit().await.unwrap().unwrap();
    second.store.cut_off(true);
    let before = second.node.staleness();
    let made = first.create("red").await.unwrap();
    assert_eq!(
        second.create("blue").await,
        Err(ExecuteError::Unavailable),
        "no change is taken"
    );
    assert!(!second.node.takes_writes());
    second
        .until(|node| node.staleness() > before + Duration::from_secs(2))
        .await;
    let known = second.account().snapshot();
    assert_eq!(known.organization(made.id), None);
    assert!(second.admit().await.unwrap().is_some());
    second.store.cut_off(false);
    second
        .until(|node| node.staleness() < Duration::from_secs(2))
        .await;
    assert_eq!(second.revision(), first.revision());
    second.create("blue").await.unwrap();
    assert!(second.node.takes_writes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_never_comes_is_waited_for_as_long_as_the_caller_likes() {
    let directory = tempfile::tempdir().unwrap();
    let (first, _second) = two(&directory).await;
    let account = first.account();
    let beyond = Revision(first.revision().0 + 1);
    let waited = tokio::time::timeout(Duration::from_millis(700), account.reach(beyond)).await;
    assert!(waited.is_err());
    first.create("red").await.unwrap();
    account.reach(beyond).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unused_account_is_not_loaded_because_other_nodes_change_it() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = two(&directory).await;
    for name in ["red", "green"] {
        first.create(name).await.unwrap();
        let asked = second.node.staleness();
        second
            .until(|node| node.staleness() < asked.max(FOLLOW_INTERVAL * 2))
            .await;
    }
    assert!(second.node.accounts().is_empty());
    assert_eq!(second.store.loads.load(Ordering::SeqCst), 0);
    // It is up to date when it is loaded.
    second.admit().await.unwrap().unwrap();
    assert_eq!(second.revision(), first.revision());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_while_an_account_is_loading_is_known_once_it_is_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = two(&directory).await;
    let revision = first.revision();
    *second.store.meanwhile.0.lock().unwrap() = Some(Box::new(move |store| {
        let red = Organization {
            id: OrganizationId::new(1),
            name: Name::parse("red").unwrap(),
            description: Description::default(),
            created_at: NOW,
        };
        let theirs = Batch {
            entries: vec![Entry::from(OneOperation {
                revision: revision.next(),
                at: NOW,
                by: None,
                key: None,
                operation: "create_organization".to_owned(),
                batch: 7,
                changes: vec![Change::PutOrganization(red)],
            })],
            ..Batch::default()
        };
        let appended = store.append(ACCOUNT, revision.into(), &mut |_| theirs.clone());
        assert_eq!(appended.unwrap(), revision.next());
    }));
    let woken = second.node.wake(ACCOUNT, NOW).await.unwrap();
    // A poll from before the load would have left this account out.
    assert_eq!(woken.snapshot().revision(), revision.next());
}

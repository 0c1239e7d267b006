//! Durable changes a second through an account's writer, on each store, compared with a file that is appended
//! to and synced: `cargo xtask postgres cargo bench -p bindery-node --bench appends` (without `cargo xtask
//! postgres`, SQLite alone).
//!
//! Each client waits for its response before the next change, on one account or on as many as there are
//! clients. It only reports.

#![expect(clippy::print_stdout, reason = "a bench reports")]
#![expect(clippy::unwrap_used, reason = "the account is made of good texts")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bindery_core::api_key::{Secret, SecretHash};
use bindery_core::command::Caller;
use bindery_core::command::operator::Bootstrap;
use bindery_core::command::organizations::{CreateOrganization, UpdateOrganization};
use bindery_core::id::{AccountId, IdKey, OrganizationId};
use bindery_core::place::{Account as AccountRecord, AccountSettings};
use bindery_core::text::{Description, Email, KeyName, Name};
use bindery_core::time::Timestamp;
use bindery_node::{Account, Clock, Node};
use bindery_store::Store;
use bindery_store::postgres::PostgresStore;
use bindery_store::sqlite::SqliteStore;
use futures_util::future::join_all;
use tokio::runtime::Runtime;

const SPAN: Duration = Duration::from_secs(3);
const CLIENTS: [usize; 3] = [1, 16, 64];
/// How many accounts are written in parallel, by one client each.
const ACCOUNTS: usize = 8;
/// About what one of our changes adds to a log.
const FLOOR_BYTES: usize = 512;

fn main() {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    println!(
        "{:<10} {:>8} {:>7} {:>10} {:>9} {:>9}",
        "store", "accounts", "clients", "a second", "p50 ms", "p99 ms"
    );
    report("file", 0, 1, floor(&directory.path().join("floor")));
    let mut stores: Vec<(&str, Arc<dyn Store>)> = vec![(
        "sqlite",
        Arc::new(SqliteStore::open(&directory.path().join("data")).unwrap()),
    )];
    if let Ok(url) = std::env::var("BINDERY_TEST_POSTGRES") {
        stores.push(("postgres", Arc::new(PostgresStore::open(&url).unwrap())));
    }
    for (name, store) in stores {
        let node = Node::open(store, Clock::system()).unwrap();
        let accounts: Vec<_> = (1..=ACCOUNTS)
            .map(|number| empty(&node, u32::try_from(number).unwrap()))
            .map(|account| (runtime.block_on(furnish(&account)), account))
            .collect();
        let (caller, first) = &accounts[0];
        for clients in CLIENTS {
            let taken = runtime.block_on(load(first, *caller, clients));
            report(name, 1, clients, taken);
        }
        let beside = accounts
            .iter()
            .map(|(caller, account)| load(account, *caller, 1));
        let taken = runtime.block_on(join_all(beside)).concat();
        report(name, ACCOUNTS, ACCOUNTS, taken);
    }
}

fn report(store: &str, accounts: usize, clients: usize, mut taken: Vec<Duration>) {
    taken.sort_unstable();
    let rate = u32::try_from(taken.len()).map_or(0.0, f64::from) / SPAN.as_secs_f64();
    let quantile =
        |percent: usize| taken[(taken.len() - 1) * percent / 100].as_secs_f64() * 1_000.0;
    println!(
        "{store:<10} {accounts:>8} {clients:>7} {rate:>10.0} {:>9.2} {:>9.2}",
        quantile(50),
        quantile(99)
    );
}

/// What the disk allows without Bindery.
fn floor(path: &Path) -> Vec<Duration> {
    let mut file = File::create(path).unwrap();
    let mut taken = Vec::new();
    let until = Instant::now() + SPAN;
    while Instant::now() < until {
        let begun = Instant::now();
        file.write_all(&[7; FLOOR_BYTES]).unwrap();
        file.sync_data().unwrap();
        taken.push(begun.elapsed());
    }
    taken
}

async fn load(account: &Arc<Account>, caller: Caller, clients: usize) -> Vec<Duration> {
    let until = Instant::now() + SPAN;
    let clients: Vec<_> = (1..=clients)
        .map(|client| {
            let account = Arc::clone(account);
            let id = OrganizationId::new(u32::try_from(client).unwrap());
            tokio::spawn(async move {
                let mut taken = Vec::new();
                while Instant::now() < until {
                    let begun = Instant::now();
                    let described = format!("{}", taken.len());
                    let update = UpdateOrganization {
                        organization: id,
                        name: None,
                        description: Some(Description::parse(&described).unwrap()),
                    };
                    account.execute(update, caller, None).await.unwrap();
                    taken.push(begun.elapsed());
                }
                taken
            })
        })
        .collect();
    let mut taken = Vec::new();
    for client in clients {
        taken.extend(client.await.unwrap());
    }
    taken
}

fn empty(node: &Node, number: u32) -> Arc<Account> {
    node.create_account(&AccountRecord {
        id: AccountId(number),
        name: Name::parse("main").unwrap(),
        id_key: IdKey::new([3; 16]),
        created_at: Timestamp::from_millis(500),
        settings: AccountSettings::default(),
    })
    .unwrap()
}

/// Makes an organization for each client.
async fn furnish(account: &Account) -> Caller {
    let bootstrap = Bootstrap {
        name: Name::parse("Ada").unwrap(),
        email: Email::parse("ada@example.com").unwrap(),
        key_name: KeyName::parse("first").unwrap(),
        secret: Secret {
            hash: SecretHash([1; 32]),
            redacted: "ak-abc...xyz".to_owned(),
        },
    };
    let (user, key) = account
        .execute(bootstrap, Caller::Operator, None)
        .await
        .unwrap();
    let caller = Caller::Key {
        user: user.id,
        key: key.id,
    };
    for client in 1..=CLIENTS.iter().copied().max().unwrap() {
        let create = CreateOrganization {
            name: Name::parse(&format!("organization {client}")).unwrap(),
            description: Description::default(),
        };
        account.execute(create, caller, None).await.unwrap();
    }
    caller
}

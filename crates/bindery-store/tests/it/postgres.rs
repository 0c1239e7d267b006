//! PostgreSQL: the suite of all stores, and tests with many nodes and connections that break. Each test has
//! its own database on the server that `cargo xtask test` starts.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bindery_conformance::{conformance, forgetting};
use bindery_core::change::{Change, Entry};
use bindery_core::id::{AccountId, Revision};
use bindery_core::state::State;
use bindery_store::postgres::{OpenError, PostgresStore};
use bindery_store::{AppendError, Batch, Store, StoreError, Wake};
use postgres::error::SqlState;
use postgres::{Client, NoTls};

use crate::copy::everything;
use crate::entries::{ACCOUNT, TO_FORMAT_5, account, append_key, entry, owner_of_key, with};

mod tls;

const VARIABLE: &str = "BINDERY_TEST_POSTGRES";

/// A database of a test.
pub(crate) struct Database {
    pub(crate) url: String,
    name: String,
}

impl Database {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let server = server();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        let mut client = Client::connect(&server, NoTls).expect("the server of the tests");
        client
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .expect("a new name");
        let (base, _) = server.rsplit_once('/').expect("the URL names a database");
        Self {
            url: format!("{base}/{name}"),
            name,
        }
    }

    pub(crate) fn open(&self) -> PostgresStore {
        PostgresStore::open(&self.url).expect("a store")
    }

    /// A store with an account at revision 0.
    fn founded(&self) -> PostgresStore {
        let store = self.open();
        store.create_account(&account()).expect("a new account");
        store
    }

    fn client(&self) -> Client {
        Client::connect(&self.url, NoTls).expect("the database of the test")
    }

    pub(crate) fn run(&self, sql: &str) {
        self.client().batch_execute(sql).expect("SQL");
    }

    /// Whether the database accepts a statement.
    pub(crate) fn accepts(&self, sql: &str) -> bool {
        self.client().prepare(sql).is_ok()
    }

    /// Whether a connection to this database waits for another one.
    pub(crate) fn has_waiting_locks(&self) -> bool {
        let sql = "SELECT 1 FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'";
        let waiting = self.client().query(sql, &[&self.name]).expect("SQL");
        !waiting.is_empty()
    }

    /// Ends all other connections to this database.
    fn cut(&self) {
        let mut client = Client::connect(&server(), NoTls).expect("the server of the tests");
        let sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1";
        client.execute(sql, &[&self.name]).expect("SQL");
    }

    /// Ends the connections that run a statement with this beginning.
    fn cut_those_with(&self, statement: &str) {
        let mut client = Client::connect(&server(), NoTls).expect("the server of the tests");
        let sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
            WHERE datname = $1 AND state = 'active' AND query LIKE $2 || '%'";
        client.execute(sql, &[&self.name, &statement]).expect("SQL");
    }

    /// Every table of the database with its rows, as text.
    fn contents(&self) -> Vec<String> {
        let mut client = self.client();
        let tables = client.query(
            "SELECT tablename::TEXT FROM pg_tables WHERE schemaname = 'public' ORDER BY 1",
            &[],
        );
        let mut contents = Vec::new();
        for table in tables.expect("SQL") {
            let table: String = table.get(0);
            let sql = format!("SELECT t::TEXT FROM {table} AS t ORDER BY 1");
            let rows = client.query(&sql, &[]).expect("SQL");
            let rows = rows.iter().map(|row| row.get::<_, String>(0));
            contents.push(format!("{table}: {:?}", rows.collect::<Vec<_>>()));
        }
        contents
    }
}

pub(super) fn server() -> String {
    // A missing server is a failure, never a reason to skip a test.
    std::env::var(VARIABLE).expect(
        "BINDERY_TEST_POSTGRES names no PostgreSQL server to test with: `cargo xtask test` starts one, and so does \
        `cargo xtask postgres cargo test -p bindery-store`",
    )
}

fn batch(entries: Vec<Entry>) -> Batch {
    Batch {
        entries,
        ..Batch::default()
    }
}

fn append(store: &dyn Store, number: u32) -> Result<Revision, AppendError> {
    store.append(ACCOUNT, Revision(u64::from(number) - 1).into(), &mut |_| {
        batch(vec![entry(number)])
    })
}

fn revisions(store: &dyn Store) -> Vec<u64> {
    let log = store.changes_since(ACCOUNT, Revision(0).into(), usize::MAX);
    let log = log.expect("the account is there");
    log.iter().map(|entry| entry.revision.0).collect()
}

fn assert_log_makes_the_state(store: &dyn Store) {
    let mut state = State::new(account());
    let log = store.changes_since(ACCOUNT, Revision(0).into(), usize::MAX);
    for entry in &log.expect("the account is there") {
        state.advance(entry);
    }
    assert_eq!(store.load(ACCOUNT).expect("the account is there"), state);
}

#[test]
fn postgres_keeps_to_what_every_store_promises() {
    conformance(|| Database::new().open());
}

#[test]
fn postgres_forgets_as_every_store_that_forgets() {
    forgetting(|| Database::new().open());
}

#[test]
fn stores_that_append_at_once_make_one_order_and_lose_nothing() {
    const NODES: usize = 2;
    const WRITERS: usize = 4;
    const APPENDS: usize = 25;
    let database = Database::new();
    let first = database.founded();
    let second = database.open();
    let acknowledged: Vec<(u64, u64)> = thread::scope(|scope| {
        let threads: Vec<_> = [&first, &second]
            .into_iter()
            .flat_map(|store| (0..WRITERS).map(move |_| store))
            .zip(0..)
            .map(|(store, writer)| scope.spawn(move || append_many(store, writer, APPENDS)))
            .collect();
        let done = threads.into_iter().map(|thread| thread.join().unwrap());
        done.flatten().collect()
    });
    let total = u64::try_from(NODES * WRITERS * APPENDS).unwrap();
    assert_eq!(revisions(&first), (1..=total).collect::<Vec<_>>());
    let log = second.changes_since(ACCOUNT, Revision(0).into(), usize::MAX);
    let logged: BTreeSet<(u64, u64)> = log
        .unwrap()
        .iter()
        .map(|entry| (entry.revision.0, entry.batch))
        .collect();
    assert_eq!(acknowledged.into_iter().collect::<BTreeSet<_>>(), logged);
    assert_log_makes_the_state(&first);
    assert_log_makes_the_state(&second);
}

/// Appends after whatever others appended, and returns the revision of each batch.
fn append_many(store: &dyn Store, writer: u64, appends: usize) -> Vec<(u64, u64)> {
    let mut state = State::new(account());
    let mut done = Vec::new();
    for (count, _) in (0..).zip(0..appends) {
        let number = writer * 1_000 + count;
        let appended = store.append(ACCOUNT, state.position(), &mut |missed| {
            for entry in missed {
                state.advance(entry);
            }
            let mut next = entry(u32::try_from(state.revision().0 + 1).expect("a small number"));
            next.batch = number;
            batch(vec![next])
        });
        let Revision(revision) = appended.expect("nobody is refused for what others do");
        done.push((revision, number));
    }
    done
}

#[test]
fn a_connection_that_broke_while_idle_is_replaced() {
    let database = Database::new();
    let store = database.founded();
    append(&store, 1).unwrap();
    database.cut();
    assert_eq!(append(&store, 2).unwrap(), Revision(2));
    database.cut();
    assert_eq!(store.load(ACCOUNT).unwrap().revision(), Revision(2));
    database.cut();
    assert_eq!(revisions(&store), [1, 2]);
}

#[test]
fn an_append_that_breaks_before_its_commit_was_sent_has_written_nothing_and_says_so() {
    let database = Database::new();
    let store = database.founded();
    append(&store, 1).unwrap();
    let mut times = 0;
    let behind = database.open();
    let cut_off = store.append(ACCOUNT, Revision(1).into(), &mut |_| {
        times += 1;
        database.cut();
        batch(vec![entry(2)])
    });
    assert_eq!(times, 1, "a decision is never repeated");
    assert!(
        matches!(cut_off, Err(AppendError::Unavailable(_))),
        "{cut_off:?}"
    );
    assert_eq!(revisions(&store), [1]);
    assert_eq!(append(&behind, 2).unwrap(), Revision(2));
    assert_log_makes_the_state(&store);
}

#[test]
fn a_commit_that_breaks_is_unknown_until_the_log_is_read() {
    let database = Database::new();
    let store = database.founded();
    append(&store, 1).unwrap();
    // The commit waits for a lock that this test holds until the connection is cut.
    let mut holder = Client::connect(&database.url, NoTls).unwrap();
    holder.execute("SELECT pg_advisory_lock(1)", &[]).unwrap();
    database.run(
        "CREATE FUNCTION wait() RETURNS TRIGGER LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON log DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION wait();",
    );
    let cut_off = thread::scope(|scope| {
        scope.spawn(|| {
            wait_for_activity(&database, "COMMIT");
            // Not the one that holds the lock: without it, the commit would happen.
            database.cut_those_with("COMMIT");
        });
        append(&store, 2)
    });
    drop(holder);
    assert!(
        matches!(cut_off, Err(AppendError::Unknown(_))),
        "{cut_off:?}"
    );
    let log = revisions(&store);
    assert_eq!(log, [1], "the server had not committed yet");
    assert_eq!(append(&store, 2).unwrap(), Revision(2));
    assert_log_makes_the_state(&store);
}

/// Waits until a connection to this database runs a statement with this beginning.
fn wait_for_activity(database: &Database, statement: &str) {
    let mut client = Client::connect(&server(), NoTls).expect("the server of the tests");
    let sql = "SELECT 1 FROM pg_stat_activity
        WHERE datname = $1 AND state = 'active' AND query LIKE $2 || '%'";
    let is_running = (0..6_000).any(|_| {
        thread::sleep(Duration::from_millis(10));
        let found = client.query(sql, &[&database.name, &statement]);
        !found.expect("SQL").is_empty()
    });
    assert!(is_running, "nobody ran `{statement}`");
}

#[test]
fn what_the_database_refuses_is_a_contradiction_and_written_nowhere() {
    let database = Database::new();
    let store = database.founded();
    append(&store, 1).unwrap();
    database.run("ALTER TABLE log ADD CONSTRAINT small CHECK (revision < 3)");
    assert_eq!(append(&store, 2).unwrap(), Revision(2));
    let before = database.contents();
    let refused = append(&store, 3);
    assert!(
        matches!(refused, Err(AppendError::Contradiction(_))),
        "{refused:?}"
    );
    assert_eq!(database.contents(), before);
    // A row that has moved although it was taken: the second check.
    database.run(
        "CREATE FUNCTION meddle() RETURNS TRIGGER LANGUAGE plpgsql AS
            $$ BEGIN UPDATE account SET revision = revision + 1; RETURN NULL; END $$;
        CREATE TRIGGER meddles AFTER INSERT ON issued EXECUTE FUNCTION meddle();
        ALTER TABLE log DROP CONSTRAINT small;",
    );
    let before = database.contents();
    let refused = append(&store, 3);
    assert!(
        matches!(refused, Err(AppendError::Contradiction(_))),
        "{refused:?}"
    );
    assert_eq!(database.contents(), before);
}

#[test]
fn names_that_change_places_are_put_at_once() {
    let database = Database::new();
    let store = database.founded();
    let put = |number: u32, called: u32| {
        let Change::PutOrganization(mut put) = entry(number).changes.remove(0) else {
            panic!("an organization");
        };
        let Change::PutOrganization(other) = entry(called).changes.remove(0) else {
            panic!("an organization");
        };
        put.name = other.name;
        Change::PutOrganization(put)
    };
    let entries = [
        with(entry(1), vec![put(1, 1), put(2, 2)]),
        with(entry(2), vec![put(1, 3), put(2, 1), put(1, 2)]),
    ];
    store
        .append(ACCOUNT, Revision(0).into(), &mut |_| {
            batch(vec![entries[0].clone()])
        })
        .unwrap();
    store
        .append(ACCOUNT, Revision(1).into(), &mut |_| {
            batch(vec![entries[1].clone()])
        })
        .unwrap();
    assert_log_makes_the_state(&store);
}

#[test]
fn a_thousand_commands_are_one_transaction() {
    let database = Database::new();
    let store = database.founded();
    let many: Vec<Entry> = (1..=1000).map(entry).collect();
    store
        .append(ACCOUNT, Revision(0).into(), &mut |_| batch(many.clone()))
        .unwrap();
    let sql = "SELECT count(*), count(DISTINCT xmin::text) FROM log WHERE revision > 0";
    let rows = database.client().query_one(sql, &[]).expect("SQL");
    assert_eq!((rows.get(0), rows.get(1)), (1000_i64, 1_i64));
    assert_log_makes_the_state(&store);
}

#[test]
fn nodes_that_start_at_once_make_the_tables_once() {
    let database = Database::new();
    thread::scope(|scope| {
        let opened: Vec<_> = (0..8).map(|_| scope.spawn(|| database.open())).collect();
        for store in opened {
            assert_eq!(store.join().unwrap().accounts().unwrap(), []);
        }
    });
    assert!(
        database
            .contents()
            .contains(&"bindery_format: [\"(6)\"]".to_owned()),
        "{:?}",
        database.contents()
    );
}

#[test]
fn an_older_format_is_brought_up_to_date_with_what_is_in_it() {
    let database = Database::new();
    append(&database.founded(), 1).unwrap();
    append_key(&database.open(), 2);
    // The migration to format 5.
    let batches = "ALTER TABLE account DROP COLUMN batch;
        ALTER TABLE account RENAME COLUMN latest_audit TO audit_latest";
    for (format, undone) in [
        (
            1,
            "DROP TABLE key_use, secret, base, base_record, base_issued; DROP INDEX record_of_person",
        ),
        (
            2,
            "DROP TABLE secret, base, base_record, base_issued; DROP INDEX record_of_person",
        ),
        (3, "DROP TABLE base, base_record, base_issued"),
        (
            4,
            "ALTER TABLE base DROP COLUMN batch; ALTER TABLE base RENAME COLUMN latest_change TO latest",
        ),
    ] {
        database.run(&format!(
            "{TO_FORMAT_5} {undone}; {batches}; UPDATE bindery_format SET format = {format}"
        ));
        // Several servers of the new version may start on it at once.
        thread::scope(|scope| {
            let opened: Vec<_> = (0..4).map(|_| scope.spawn(|| database.open())).collect();
            for store in opened {
                let store = store.join().unwrap();
                assert_eq!(store.key_uses(ACCOUNT).unwrap(), []);
                assert_eq!(revisions(&store), [1, 2]);
                assert_eq!(owner_of_key(&store), Some(Revision(2)));
                let last = store.changes_since(ACCOUNT, Revision(1).into(), 1);
                let last = last.unwrap().pop().unwrap().position();
                assert_eq!(store.heads().unwrap(), [(ACCOUNT, last)]);
                assert_eq!(store.base(ACCOUNT).unwrap().revision(), Revision(0));
            }
        });
    }
}

#[test]
fn a_server_of_an_older_version_that_still_runs_can_not_write() {
    let database = Database::new();
    append(&database.founded(), 1).unwrap();
    let mut client = Client::connect(&database.url, NoTls).unwrap();
    // As in format 4: an append, and a base that takes entries in.
    for written in [
        "UPDATE account SET revision = 2, latest = 2, audit_head = 0, audit_latest = 0 WHERE id = 1",
        "UPDATE base SET revision = 1, latest = 1, body = '' WHERE account = 1 AND revision = 0",
    ] {
        let refused = client
            .execute(written, &[])
            .map_err(|error| error.code().cloned());
        assert_eq!(refused, Err(Some(SqlState::UNDEFINED_COLUMN)), "{written}");
    }
    assert_eq!(revisions(&database.open()), [1]);
}

#[test]
fn reading_audit_logs_or_loading_accounts_delays_no_short_read() {
    const MANY: usize = 8;
    let database = Database::new();
    let store = database.founded();
    append(&store, 1).unwrap();
    let mut holder = Client::connect(&database.url, NoTls).unwrap();
    let mut holding = holder.transaction().unwrap();
    holding
        .batch_execute("LOCK TABLE audit, record IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    thread::scope(|scope| {
        for _ in 0..MANY {
            scope.spawn(|| store.audit(ACCOUNT, &everything()));
            scope.spawn(|| store.load(ACCOUNT));
        }
        // Until as many of them wait for the tables as can.
        let waiting = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND database =
            (SELECT oid FROM pg_database WHERE datname = current_database())";
        let all_wait = (0..6_000).any(|_| {
            thread::sleep(Duration::from_millis(10));
            holding.query_one(waiting, &[]).unwrap().get::<_, i64>(0) == 8
        });
        assert!(all_wait, "four of each");
        assert_eq!(store.heads().unwrap().len(), 1);
        assert_eq!(revisions(&store), [1]);
        holding.rollback().unwrap();
    });
}

#[test]
fn what_a_newer_version_or_another_application_made_is_refused_and_left_as_it_is() {
    let newer = Database::new();
    append(&newer.founded(), 1).unwrap();
    newer.run("UPDATE bindery_format SET format = 99");
    let other = Database::new();
    other.run("CREATE TABLE account (name TEXT); INSERT INTO account VALUES ('ada')");
    for database in [newer, other] {
        let before = database.contents();
        let refused = PostgresStore::open(&database.url).map_err(|error| error.to_string());
        let refused = refused.unwrap_err();
        assert!(
            refused.contains("has format 99") || refused.contains("tables of another application"),
            "{refused}"
        );
        assert!(
            refused.contains(&format!("/{}`", database.name)),
            "{refused}"
        );
        assert_eq!(database.contents(), before);
    }
}

#[test]
fn a_login_that_may_not_make_tables_is_enough_once_they_are_there() {
    let database = Database::new();
    database.founded();
    let role = format!("{}_login", database.name);
    database.run(&format!(
        "CREATE ROLE {role} LOGIN;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
    ));
    let url = database.url.replace("//postgres@", &format!("//{role}@"));
    let store = PostgresStore::open(&url).unwrap();
    assert_eq!(append(&store, 1).unwrap(), Revision(1));
}

#[test]
fn others_are_heard_and_our_own_appends_are_not() {
    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(50);
    let database = Database::new();
    let (first, second) = (database.founded(), database.open());
    assert_eq!(
        first.watch(LONG),
        Wake::Missed,
        "nothing was heard until now"
    );
    assert_eq!(first.watch(SHORT), Wake::Quiet);
    append(&first, 1).unwrap();
    assert_eq!(first.watch(SHORT), Wake::Quiet);
    append(&second, 2).unwrap();
    assert_eq!(first.watch(LONG), Wake::Appended(BTreeSet::from([ACCOUNT])));
    database.run("NOTIFY bindery, 'nonsense'; NOTIFY bindery, '7 0'");
    assert_eq!(
        first.watch(LONG),
        Wake::Appended(BTreeSet::from([AccountId(7)]))
    );
    database.cut();
    assert_eq!(first.watch(LONG), Wake::Missed);
    append(&second, 3).unwrap();
    assert_eq!(first.watch(LONG), Wake::Appended(BTreeSet::from([ACCOUNT])));
}

#[test]
fn a_host_that_is_not_there_is_passed_over() {
    let database = Database::new();
    database.founded();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let url = database
        .url
        .replacen('@', &format!("@127.0.0.1:{port},"), 1);
    let store = PostgresStore::open(&url).unwrap();
    assert_eq!(append(&store, 1).unwrap(), Revision(1));
    // A server that takes no writes is skipped, too; without another one, that is the error.
    let read_only = format!(
        "{}?options=-cdefault_transaction_read_only%3Don",
        database.url
    );
    let refused = PostgresStore::open(&read_only).unwrap_err();
    assert!(
        matches!(refused, OpenError::Store(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    // Read-only access does not need one: a copy, and the clock.
    PostgresStore::snapshot(&read_only).unwrap();
    let of_standby = PostgresStore::clock(&read_only).unwrap();
    assert!(of_standby <= store.database_time().unwrap().unwrap());
}

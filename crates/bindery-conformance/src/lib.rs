//! Tests only: what every store promises, as checks that run on any of them: SQLite, PostgreSQL, the simulated one.
//!
//! Each check gets an empty store. Features of one store (files, connections, faults) are tested in its own
//! tests.

use std::path::Path;

use bindery_core::audit::AuditKind;
use bindery_core::change::Entry;
use bindery_core::id::{AccountId, ApiKeyId, Revision};
use bindery_core::state::State;

use self::world::{account, moment};
use bindery_store::sqlite::SqliteStore;
use bindery_store::{AppendError, AuditQuery, Batch, Store};

mod audit;
mod forgetting;
mod log;
mod refusals;
mod secrets;
mod world;

/// The account of most checks.
const FIRST: AccountId = AccountId(1);
/// The second account of checks that need two; otherwise it does not exist.
const SECOND: AccountId = AccountId(2);

/// Every check; its name is the promise.
const CHECKS: [fn(&dyn Store); 30] = [
    log::accounts_are_made_once_and_listed_by_number,
    log::what_is_appended_is_loaded,
    log::the_revision_of_each_account_is_listed,
    log::a_batch_of_many_entries_is_loaded,
    log::the_log_is_read_in_order_and_in_pages,
    log::decide_is_handed_what_it_missed,
    log::an_empty_batch_commits_nothing,
    log::changes_of_one_batch_follow_each_other,
    log::numbers_of_what_is_gone_stay_issued,
    log::accounts_do_not_mix,
    log::writers_at_once_make_one_order,
    refusals::a_gap_is_refused_whole,
    refusals::another_accounts_entity_is_refused,
    refusals::a_taken_natural_key_is_refused_whole,
    refusals::a_revision_that_never_was_is_refused,
    refusals::a_log_that_has_come_as_far_by_other_entries_is_refused,
    refusals::nothing_is_known_of_an_unknown_account,
    secrets::a_secret_leads_to_its_account_and_how_far_that_has_come,
    secrets::a_secret_that_was_replaced_or_removed_leads_nowhere,
    secrets::any_number_of_secrets_is_looked_up_at_once,
    secrets::what_was_refused_leads_nowhere,
    secrets::people_are_found_by_their_address_in_every_account,
    audit::audit_alone_leaves_the_revision,
    audit::audit_entries_are_found_newest_first,
    audit::audit_entries_are_found_by_every_filter,
    audit::no_text_keeps_an_audit_entry_out,
    audit::audit_entries_are_found_page_by_page,
    audit::audit_entries_are_found_whatever_the_clock_did,
    audit::old_audit_entries_are_forgotten_and_the_numbers_go_on,
    audit::the_last_use_of_a_key_is_kept_beside_the_log,
];

/// Runs every check, each on a new empty store from `make`.
///
/// # Panics
///
/// If the store breaks a promise; the message says which.
pub fn conformance<S: Store>(make: impl Fn() -> S) {
    for check in CHECKS {
        check(&make());
    }
}

/// Promises of stores that truncate their logs.
const FORGETTING: [fn(&dyn Store); 5] = [
    forgetting::what_is_forgotten_becomes_the_base,
    forgetting::what_is_young_is_not_forgotten,
    forgetting::a_position_before_the_base_is_an_error,
    forgetting::only_the_log_of_the_account_is_forgotten,
    forgetting::forgetting_at_once_and_beside_a_writer_loses_nothing,
];

/// Runs the checks for a store that truncates its logs, as [`conformance`] does.
///
/// # Panics
///
/// If the store breaks a promise; the message says which.
pub fn forgetting<S: Store>(make: impl Fn() -> S) {
    for check in FORGETTING {
        check(&make());
    }
}

/// Fills an empty store: one account has a full history, audit entries, uses of keys, and a truncated log if
/// the store can truncate. Another account has little.
///
/// # Panics
///
/// If the store breaks a promise.
pub fn furnish(store: &dyn Store) {
    found(store);
    let entries = world::history();
    commit(store, 0, &entries[..9]);
    let late = world::moment(1_000_000);
    let forgotten = store.forget_log(FIRST, Revision(6), late, usize::MAX);
    forgotten.expect("the account is there");
    let requests = (1..=40).map(|at| {
        let mut entry = world::audit(at, 1, AuditKind::Query, "list_roles");
        entry.variables = None;
        entry
    });
    let beside = Batch {
        entries: entries[9..].to_vec(),
        audit: requests.collect(),
        uses: vec![(ApiKeyId::new(1), late), (ApiKeyId::new(2), late)],
    };
    append(store, 9, &beside).expect("nothing is wrong");
    let forgotten = store.forget_audit(FIRST, world::moment(5), usize::MAX);
    forgotten.expect("the account is there");
    store
        .create_account(&account(2))
        .expect("the number is free");
    let other = world::entry(1, vec![world::organization(1, "acme")]);
    let appended = store.append(SECOND, Revision(0).into(), &mut |_| {
        batch(std::slice::from_ref(&other))
    });
    appended.expect("nothing is wrong");
}

/// [`furnish`], for a SQLite store in this empty directory. Unit tests of `bindery-store` need this one: their `Store` is of another
/// build of the crate.
///
/// # Panics
///
/// When the store can't be opened or breaks a promise.
pub fn furnish_sqlite(directory: &Path) {
    let store = SqliteStore::open(directory).expect("the directory is empty");
    furnish(&store);
}

/// Creates [`FIRST`].
fn found(store: &dyn Store) {
    store
        .create_account(&account(1))
        .expect("the number is free");
}

/// A batch with only these entries.
fn batch(entries: &[Entry]) -> Batch {
    Batch {
        entries: entries.to_vec(),
        ..Batch::default()
    }
}

fn append(store: &dyn Store, known: u64, batch: &Batch) -> Result<Revision, AppendError> {
    store.append(FIRST, Revision(known).into(), &mut |_| batch.clone())
}

/// Appends entries that continue the log of [`FIRST`].
fn commit(store: &dyn Store, known: u64, entries: &[Entry]) {
    let newest = append(store, known, &batch(entries)).expect("the entries continue the log");
    assert_eq!(Some(newest), entries.last().map(|entry| entry.revision));
}

/// The state of [`FIRST`], replayed from the log.
fn advanced(entries: &[Entry]) -> State {
    let mut state = State::new(account(1));
    for entry in entries {
        state.advance(entry);
    }
    state
}

fn load(store: &dyn Store) -> State {
    store.load(FIRST).expect("the account is there")
}

fn entries_of(store: &dyn Store) -> Vec<Entry> {
    store
        .changes_since(FIRST, Revision(0).into(), usize::MAX)
        .expect("the account is there")
}

/// A query for every audit entry of [`FIRST`].
fn everything() -> AuditQuery {
    AuditQuery {
        from: moment(-1_000_000),
        to: moment(1_000_000),
        user: None,
        operations: Vec::new(),
        kind: None,
        before: None,
        limit: usize::MAX,
    }
}

fn audit_numbers(store: &dyn Store, query: &AuditQuery) -> Vec<u64> {
    let found = store.audit(FIRST, query).expect("the account is there");
    found.into_iter().map(|(number, _)| number).collect()
}

//! What every store has to keep to, as checks that run on any of them: SQLite, PostgreSQL, the simulated one.
//!
//! Each check gets an empty store. What only one store can do (files, connections, faults) is tested where it is.

use std::thread;

use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::change::{Change, Entry};
use bindery_core::id::{AccountId, Kind, Revision, RoleId, UserId};
use bindery_core::state::State;

use self::world::{account, audit, entry, history, moment, organization, role, user};
use crate::{AppendError, AuditQuery, Batch, Store, StoreError};

mod world;

const FIRST: AccountId = AccountId(1);
const SECOND: AccountId = AccountId(2);

/// Runs every check, each on a store of its own that `make` opens empty.
///
/// # Panics
///
/// When the store breaks a promise; the message says which.
pub fn conformance<S: Store>(make: impl Fn() -> S) {
    let checks: [fn(&dyn Store); 18] = [
        accounts_are_made_once_and_listed_by_number,
        what_is_appended_is_loaded,
        a_batch_of_many_entries_is_loaded,
        the_log_is_read_in_order_and_in_pages,
        decide_is_handed_what_it_missed,
        an_empty_batch_commits_nothing,
        audit_alone_leaves_the_revision,
        a_gap_is_refused_whole,
        a_revision_that_never_was_is_refused,
        another_accounts_entity_is_refused,
        a_taken_natural_key_is_refused_whole,
        changes_of_one_batch_follow_each_other,
        numbers_of_what_is_gone_stay_issued,
        accounts_do_not_mix,
        writers_at_once_make_one_order,
        nothing_is_known_of_an_unknown_account,
        audit_entries_are_found_newest_first,
        audit_entries_are_found_whatever_the_clock_did,
    ];
    for check in checks {
        check(&make());
    }
}

/// Makes the first account.
fn found(store: &dyn Store) {
    store
        .create_account(&account(1))
        .expect("the number is free");
}

fn append(store: &dyn Store, known: u64, batch: &Batch) -> Result<Revision, AppendError> {
    store.append(FIRST, Revision(known), &mut |_| batch.clone())
}

/// Appends entries that continue the first account's log.
fn commit(store: &dyn Store, known: u64, entries: &[Entry]) {
    let batch = Batch {
        entries: entries.to_vec(),
        audit: Vec::new(),
    };
    let newest = append(store, known, &batch).expect("the entries continue the log");
    assert_eq!(Some(newest), entries.last().map(|entry| entry.revision));
}

/// What the log makes of the first account.
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

fn log(store: &dyn Store) -> Vec<Entry> {
    store
        .changes_since(FIRST, Revision(0), usize::MAX)
        .expect("the account is there")
}

/// Every audit entry of the first account.
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

/// Appending the batch at revision 15 of [`history`] is a contradiction that names `expected`, and leaves no trace.
fn refused(store: &dyn Store, batch: Batch, expected: &str) {
    let kept = history();
    found(store);
    commit(store, 0, &kept);
    let batch = Batch {
        audit: vec![audit(1, 1, AuditKind::Mutation, "create_role")],
        ..batch
    };
    let outcome = append(store, 15, &batch);
    let Err(AppendError::Contradiction(message)) = &outcome else {
        assert!(outcome.is_err(), "the batch was committed: {batch:?}");
        return assert_eq!(format!("{outcome:?}"), "a contradiction");
    };
    assert!(message.contains(expected), "`{message}` names `{expected}`");
    assert_eq!(load(store), advanced(&kept));
    assert_eq!(log(store), kept);
    assert_eq!(audit_numbers(store, &everything()), [0; 0]);
}

fn accounts_are_made_once_and_listed_by_number(store: &dyn Store) {
    assert_eq!(store.accounts().expect("nothing is wrong"), []);
    for number in [2, 1] {
        store
            .create_account(&account(number))
            .expect("the number is free");
    }
    assert_eq!(
        store.accounts().expect("nothing is wrong"),
        [account(1), account(2)]
    );
    let again = store.create_account(&account(2));
    assert!(
        matches!(again, Err(StoreError::AccountExists(SECOND))),
        "{again:?}"
    );
    assert_eq!(load(store), State::new(account(1)));
}

fn what_is_appended_is_loaded(store: &dyn Store) {
    found(store);
    let mut expected = State::new(account(1));
    for (known, entry) in (0..).zip(history()) {
        commit(store, known, std::slice::from_ref(&entry));
        expected.advance(&entry);
        assert_eq!(load(store), expected, "after revision {}", entry.revision);
    }
    let listed = store.accounts().expect("nothing is wrong");
    assert_eq!(
        listed,
        [expected.account().clone()],
        "the account itself can change"
    );
}

fn a_batch_of_many_entries_is_loaded(store: &dyn Store) {
    found(store);
    let mut entries = history();
    let users = (16..=1015).zip(100..);
    entries.extend(users.map(|(revision, number)| {
        entry(
            revision,
            vec![user(number, &format!("{number}@example.com"))],
        )
    }));
    commit(store, 0, &entries);
    assert_eq!(load(store), advanced(&entries));
    assert_eq!(log(store), entries);
}

fn the_log_is_read_in_order_and_in_pages(store: &dyn Store) {
    found(store);
    let entries = history();
    commit(store, 0, &entries);
    for (after, limit, expected) in [
        (0, 4, &entries[..4]),
        (4, 1, &entries[4..5]),
        (10, 100, &entries[10..]),
        (0, 0, &[]),
        (15, 100, &[]),
        (u64::MAX, usize::MAX, &[]),
    ] {
        let page = store
            .changes_since(FIRST, Revision(after), limit)
            .expect("it is there");
        assert_eq!(page, expected, "after {after}, at most {limit}");
    }
}

fn decide_is_handed_what_it_missed(store: &dyn Store) {
    found(store);
    let entries = history();
    commit(store, 0, &entries[..5]);
    for known in [0, 3, 5] {
        let mut handed = Vec::new();
        let newest = store.append(FIRST, Revision(known), &mut |missed| {
            handed.push(missed.to_vec());
            Batch::default()
        });
        assert_eq!(newest.expect("nothing is wrong"), Revision(5));
        let missed = log(store)
            .into_iter()
            .filter(|entry| entry.revision > Revision(known));
        assert_eq!(
            handed,
            [missed.collect::<Vec<_>>()],
            "once, after revision {known}"
        );
    }
    commit(store, 2, &entries[5..7]);
    assert_eq!(load(store), advanced(&entries[..7]));
}

fn an_empty_batch_commits_nothing(store: &dyn Store) {
    found(store);
    for (known, committed) in [(0, 0), (0, 15), (15, 15)] {
        if committed > 0 && known == 0 {
            commit(store, 0, &history());
        }
        let before = load(store);
        let newest = append(store, known, &Batch::default()).expect("nothing is wrong");
        assert_eq!(newest, Revision(committed));
        assert_eq!(load(store), before);
    }
}

fn audit_alone_leaves_the_revision(store: &dyn Store) {
    found(store);
    commit(store, 0, &history());
    let before = load(store);
    let denied = audit(20, 2, AuditKind::Mutation, "delete_role");
    let batch = Batch {
        entries: Vec::new(),
        audit: vec![denied.clone()],
    };
    assert_eq!(
        append(store, 3, &batch).expect("nothing is wrong"),
        Revision(15)
    );
    assert_eq!(load(store), before);
    assert_eq!(
        store.audit(FIRST, &everything()).expect("it is there"),
        [(1, denied)]
    );
}

fn a_gap_is_refused_whole(store: &dyn Store) {
    let entry = |revision| entry(revision, vec![role(70, "Late")]);
    let entries = vec![entry(16), entry(18)];
    refused(
        store,
        Batch {
            entries,
            audit: Vec::new(),
        },
        "18 can't follow 16",
    );
    for (revision, expected) in [(15, "15 can't follow 15"), (17, "17 can't follow 15")] {
        let batch = Batch {
            entries: vec![entry(revision)],
            audit: Vec::new(),
        };
        let outcome = append(store, 15, &batch).map_err(|error| error.to_string());
        assert!(
            outcome
                .as_ref()
                .is_err_and(|message| message.contains(expected)),
            "{outcome:?}"
        );
    }
    assert_eq!(log(store), history());
}

fn a_revision_that_never_was_is_refused(store: &dyn Store) {
    found(store);
    commit(store, 0, &history());
    for known in [16, u64::MAX] {
        let mut has_run = false;
        let outcome = store.append(FIRST, Revision(known), &mut |_| {
            has_run = true;
            Batch::default()
        });
        assert!(
            matches!(outcome, Err(AppendError::Contradiction(_))),
            "{outcome:?}"
        );
        assert!(!has_run, "nothing can be decided on a state that never was");
    }
}

fn another_accounts_entity_is_refused(store: &dyn Store) {
    let entries = vec![entry(16, vec![Change::PutAccount(account(2))])];
    refused(
        store,
        Batch {
            entries,
            audit: Vec::new(),
        },
        "account 2",
    );
}

fn a_taken_natural_key_is_refused_whole(store: &dyn Store) {
    let entries = vec![
        entry(16, vec![role(70, "Unheard of")]),
        entry(17, vec![organization(9, "fresh"), role(71, "Writer")]),
    ];
    refused(
        store,
        Batch {
            entries,
            audit: Vec::new(),
        },
        "Writer",
    );
    // The same name for another kind of thing, or after this failure for this kind, is as good as any.
    commit(
        store,
        15,
        &[entry(
            16,
            vec![organization(9, "Writer"), role(70, "Unheard of")],
        )],
    );
}

fn changes_of_one_batch_follow_each_other(store: &dyn Store) {
    found(store);
    let entries = [
        entry(1, vec![role(64, "first"), role(65, "second")]),
        // Two names change places by way of a third.
        entry(
            2,
            vec![role(64, "between"), role(65, "first"), role(64, "second")],
        ),
        entry(
            3,
            vec![Change::DeleteRole(RoleId::new(64)), role(66, "second")],
        ),
        entry(
            4,
            vec![role(67, "passing"), Change::DeleteRole(RoleId::new(67))],
        ),
    ];
    commit(store, 0, &entries);
    assert_eq!(load(store), advanced(&entries));
}

fn numbers_of_what_is_gone_stay_issued(store: &dyn Store) {
    found(store);
    let entries = [
        entry(1, vec![role(64, "stays"), role(65, "goes")]),
        entry(2, vec![Change::DeleteRole(RoleId::new(65))]),
        entry(3, vec![role(64, "still stays")]),
    ];
    for (known, entry) in (0..).zip(&entries) {
        commit(store, known, std::slice::from_ref(entry));
    }
    let state = load(store);
    assert_eq!(state.issued().collect::<Vec<_>>(), [(Kind::Role, 65)]);
    assert_eq!(state, advanced(&entries));
}

fn accounts_do_not_mix(store: &dyn Store) {
    found(store);
    store
        .create_account(&account(2))
        .expect("the number is free");
    commit(store, 0, &history());
    let other = entry(1, vec![user(1, "ada@example.org"), role(64, "Auditor")]);
    let batch = Batch {
        entries: vec![other.clone()],
        audit: vec![audit(1, 1, AuditKind::Mutation, "bootstrap")],
    };
    let newest = store.append(SECOND, Revision(0), &mut |_| batch.clone());
    assert_eq!(newest.expect("its log is its own"), Revision(1));
    assert_eq!(load(store), advanced(&history()));
    assert_eq!(audit_numbers(store, &everything()), [0; 0]);
    let mut expected = State::new(account(2));
    expected.advance(&other);
    assert_eq!(store.load(SECOND).expect("it is there"), expected);
    let log = store
        .changes_since(SECOND, Revision(0), 10)
        .expect("it is there");
    assert_eq!(log, [other]);
}

fn writers_at_once_make_one_order(store: &dyn Store) {
    const WRITERS: u64 = 4;
    const APPENDS: u64 = 25;
    found(store);
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                let mut known = 0;
                for _ in 0..APPENDS {
                    known = append_next(store, known);
                }
            });
        }
    });
    let log = log(store);
    let revisions: Vec<u64> = log.iter().map(|entry| entry.revision.0).collect();
    assert_eq!(revisions, (1..=WRITERS * APPENDS).collect::<Vec<_>>());
    assert_eq!(load(store), advanced(&log));
}

/// Appends an organization after whatever others have appended since `known`, as a writer does.
fn append_next(store: &dyn Store, known: u64) -> u64 {
    let appended = store.append(FIRST, Revision(known), &mut |missed| {
        let newest = missed.last().map_or(known, |entry| entry.revision.0);
        let number = u32::try_from(newest + 1).expect("a small number");
        let change = organization(number, &format!("organization {number}"));
        Batch {
            entries: vec![entry(newest + 1, vec![change])],
            audit: Vec::new(),
        }
    });
    let Revision(newest) = appended.expect("an append waits for the one before it");
    newest
}

fn nothing_is_known_of_an_unknown_account(store: &dyn Store) {
    found(store);
    let unknown = |outcome: Option<StoreError>| {
        assert!(
            matches!(outcome, Some(StoreError::NoAccount(SECOND))),
            "{outcome:?}"
        );
    };
    unknown(store.load(SECOND).err());
    unknown(store.changes_since(SECOND, Revision(0), 1).err());
    unknown(store.audit(SECOND, &everything()).err());
    let mut has_run = false;
    let outcome = store.append(SECOND, Revision(0), &mut |_| {
        has_run = true;
        Batch::default()
    });
    assert!(
        matches!(outcome, Err(AppendError::Contradiction(_))) && !has_run,
        "{outcome:?}"
    );
}

/// Six audit entries over three batches, one of them beside a change; the numbers in the comments.
fn audited(store: &dyn Store) -> Vec<AuditEntry> {
    use AuditKind::{Mutation, Query};
    let mut entries = vec![
        audit(10, 1, Mutation, "create_role"), // 1
        audit(20, 2, Query, "list_roles"),     // 2
        audit(20, 1, Query, "list_users"),     // 3
        audit(30, 2, Mutation, "delete_role"), // 4
        audit(40, 1, Mutation, "create_role"), // 5
        audit(50, 3, Query, "list_roles"),     // 6
    ];
    entries[3] = AuditEntry {
        text: None,
        variables: None,
        status: 403,
        ..entries[3].clone()
    };
    found(store);
    for (from, to, changes) in [(0, 1, 1), (1, 4, 0), (4, 6, 0)] {
        let batch = Batch {
            entries: history()[..changes].to_vec(),
            audit: entries[from..to].to_vec(),
        };
        append(store, u64::from(from > 0), &batch).expect("nothing is wrong");
    }
    entries
}

fn audit_entries_are_found_newest_first(store: &dyn Store) {
    let entries = audited(store);
    let found = store.audit(FIRST, &everything()).expect("it is there");
    let expected: Vec<_> = (1..).zip(entries).collect();
    assert_eq!(found, expected.into_iter().rev().collect::<Vec<_>>());

    let all = everything;
    let operations = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let user = |number| Some(UserId::new(number));
    let cases: [(AuditQuery, &[u64]); 17] = [
        (
            AuditQuery {
                from: moment(20),
                ..all()
            },
            &[6, 5, 4, 3, 2],
        ),
        (
            AuditQuery {
                from: moment(21),
                ..all()
            },
            &[6, 5, 4],
        ),
        (
            AuditQuery {
                from: moment(51),
                ..all()
            },
            &[],
        ),
        (
            AuditQuery {
                to: moment(20),
                ..all()
            },
            &[3, 2, 1],
        ),
        (
            AuditQuery {
                to: moment(9),
                ..all()
            },
            &[],
        ),
        (
            AuditQuery {
                from: moment(20),
                to: moment(30),
                ..all()
            },
            &[4, 3, 2],
        ),
        (
            AuditQuery {
                from: moment(30),
                to: moment(20),
                ..all()
            },
            &[],
        ),
        (
            AuditQuery {
                user: user(1),
                ..all()
            },
            &[5, 3, 1],
        ),
        (
            AuditQuery {
                user: user(9),
                ..all()
            },
            &[],
        ),
        (
            AuditQuery {
                operations: operations(&["list_roles"]),
                ..all()
            },
            &[6, 2],
        ),
        (
            AuditQuery {
                operations: operations(&["list_users", "delete_role", "x"]),
                ..all()
            },
            &[4, 3],
        ),
        (
            AuditQuery {
                operations: operations(&["LIST_ROLES"]),
                ..all()
            },
            &[],
        ),
        (
            AuditQuery {
                kind: Some(AuditKind::Mutation),
                ..all()
            },
            &[5, 4, 1],
        ),
        (
            AuditQuery {
                kind: Some(AuditKind::Query),
                user: user(2),
                ..all()
            },
            &[2],
        ),
        (AuditQuery { limit: 0, ..all() }, &[]),
        (
            AuditQuery {
                before: Some(u64::MAX),
                limit: 2,
                ..all()
            },
            &[6, 5],
        ),
        (
            AuditQuery {
                from: moment(10),
                to: moment(40),
                user: user(1),
                operations: operations(&["create_role"]),
                kind: Some(AuditKind::Mutation),
                before: Some(5),
                limit: 1,
            },
            &[1],
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(audit_numbers(store, &query), expected, "{query:?}");
    }
    let mut before = None;
    for page in [[6, 5], [4, 3], [2, 1]] {
        let query = AuditQuery {
            before,
            limit: 2,
            ..all()
        };
        assert_eq!(audit_numbers(store, &query), page);
        before = page.last().copied();
    }
    assert_eq!(
        audit_numbers(store, &AuditQuery { before, ..all() }),
        [0; 0]
    );
}

fn audit_entries_are_found_whatever_the_clock_did(store: &dyn Store) {
    found(store);
    for at in [10, 50, 20, 30, 60] {
        let entry = audit(at, 1, AuditKind::Query, "list_roles");
        let batch = Batch {
            entries: Vec::new(),
            audit: vec![entry],
        };
        append(store, 0, &batch).expect("nothing is wrong");
    }
    for (from, to, expected) in [
        (10, 30, vec![4, 3, 1]),
        (15, 25, vec![3]),
        (30, 50, vec![4, 2]),
        (25, 60, vec![5, 4, 2]),
        (55, 60, vec![5]),
    ] {
        let query = AuditQuery {
            from: moment(from),
            to: moment(to),
            ..everything()
        };
        assert_eq!(
            audit_numbers(store, &query),
            expected,
            "from {from} to {to}"
        );
    }
}

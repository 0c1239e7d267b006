//! Accounts and appends: loading, reading back, and one order.

use std::thread;

use bindery_core::audit::AuditKind;
use bindery_core::change::{Change, LogPosition};
use bindery_core::id::{Kind, Revision, RoleId};
use bindery_core::state::State;

use crate::world::{account, audit, entry, history, organization, role, user};
use crate::{
    FIRST, SECOND, advanced, append, audit_numbers, batch, commit, entries_of, everything, found,
    load,
};
use bindery_store::{Batch, Store, StoreError};

pub(crate) fn accounts_are_made_once_and_listed_by_number(store: &dyn Store) {
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

pub(crate) fn what_is_appended_is_loaded(store: &dyn Store) {
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

pub(crate) fn the_revision_of_each_account_is_listed(store: &dyn Store) {
    assert_eq!(store.heads().expect("nothing is wrong"), []);
    store
        .create_account(&account(2))
        .expect("the number is free");
    found(store);
    commit(store, 0, &history());
    let newest = history().last().expect("it has entries").position();
    assert_eq!(
        store.heads().expect("nothing is wrong"),
        [(FIRST, newest), (SECOND, LogPosition::default())]
    );
}

pub(crate) fn a_batch_of_many_entries_is_loaded(store: &dyn Store) {
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
    assert_eq!(entries_of(store), entries);
}

pub(crate) fn the_log_is_read_in_order_and_in_pages(store: &dyn Store) {
    found(store);
    let entries = history();
    commit(store, 0, &entries);
    for (after, limit, expected) in [
        (0, 4, &entries[..4]),
        (4, 1, &entries[4..5]),
        (10, 100, &entries[10..]),
        (0, 0, &[]),
        (15, 100, &[]),
    ] {
        let page = store
            .changes_since(FIRST, Revision(after).into(), limit)
            .expect("it is there");
        assert_eq!(page, expected, "after {after}, at most {limit}");
    }
}

pub(crate) fn decide_is_handed_what_it_missed(store: &dyn Store) {
    found(store);
    let entries = history();
    commit(store, 0, &entries[..5]);
    for known in [0, 3, 5] {
        let mut handed = Vec::new();
        let newest = store.append(FIRST, Revision(known).into(), &mut |missed| {
            handed.push(missed.to_vec());
            Batch::default()
        });
        assert_eq!(newest.expect("nothing is wrong"), Revision(5));
        let missed = entries_of(store)
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

pub(crate) fn an_empty_batch_commits_nothing(store: &dyn Store) {
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

pub(crate) fn changes_of_one_batch_follow_each_other(store: &dyn Store) {
    found(store);
    let entries = [
        entry(1, vec![role(64, "first"), role(65, "second")]),
        // Two names are exchanged through a third one.
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

pub(crate) fn numbers_of_what_is_gone_stay_issued(store: &dyn Store) {
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

pub(crate) fn accounts_do_not_mix(store: &dyn Store) {
    found(store);
    let second = store.create_account(&account(2));
    second.expect("the number is free");
    let other = entry(1, vec![user(1, "ada@example.org"), role(64, "Auditor")]);
    let audited = |operation| vec![audit(1, 1, AuditKind::Mutation, operation)];
    for (account, entries, audit) in [
        (FIRST, history(), audited("create_role")),
        (SECOND, vec![other.clone()], audited("bootstrap")),
    ] {
        let newest = entries.last().map(|entry| entry.revision);
        let batch = Batch {
            entries,
            audit,
            ..Batch::default()
        };
        let appended = store.append(account, Revision(0).into(), &mut |_| batch.clone());
        assert_eq!(appended.ok(), newest, "each log is its own");
        let found = store.audit(account, &everything()).expect("it is there");
        assert_eq!(found, [(1, batch.audit[0].clone())]);
    }
    assert_eq!(load(store), advanced(&history()));
    assert_eq!(audit_numbers(store, &everything()), [1]);
    let mut expected = State::new(account(2));
    expected.advance(&other);
    assert_eq!(store.load(SECOND).expect("it is there"), expected);
    let log = store.changes_since(SECOND, Revision(0).into(), 10);
    assert_eq!(log.expect("it is there"), [other]);
}

pub(crate) fn writers_at_once_make_one_order(store: &dyn Store) {
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
    let log = entries_of(store);
    let revisions: Vec<u64> = log.iter().map(|entry| entry.revision.0).collect();
    assert_eq!(revisions, (1..=WRITERS * APPENDS).collect::<Vec<_>>());
    assert_eq!(load(store), advanced(&log));
}

/// Appends an organization after whatever others have appended since `known`, as a writer does.
fn append_next(store: &dyn Store, known: u64) -> u64 {
    let appended = store.append(FIRST, Revision(known).into(), &mut |missed| {
        let newest = missed.last().map_or(known, |entry| entry.revision.0);
        let number = u32::try_from(newest + 1).expect("a small number");
        let change = organization(number, &format!("organization {number}"));
        batch(&[entry(newest + 1, vec![change])])
    });
    let Revision(newest) = appended.expect("an append waits for the one before it");
    newest
}

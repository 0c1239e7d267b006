//! Truncating a log, and that nothing else is lost by it.

use std::thread;

use bindery_core::change::Entry;
use bindery_core::id::{AccountId, Revision};
use bindery_core::state::State;

use crate::world::{account, entry, history, moment, organization};
use crate::{FIRST, SECOND, advanced, append, batch, commit, found, load};
use bindery_store::{AppendError, Batch, Store, StoreError};

/// Later than every entry.
const LATE: i64 = 1_000_000;

fn forget(store: &dyn Store, until: u64, before: i64, limit: usize) -> usize {
    store
        .forget_log(FIRST, Revision(until), moment(before), limit)
        .expect("the account is there")
}

fn base(store: &dyn Store) -> State {
    store.base(FIRST).expect("the account is there")
}

/// The base is what the entries up to this revision give, the log has the others, and together they give the
/// state.
fn begins_after(store: &dyn Store, entries: &[Entry], count: usize) {
    let mut state = base(store);
    assert_eq!(
        state.revision().0,
        u64::try_from(count).expect("a small number")
    );
    // The stored account is the current one, but it never changes.
    let mut made = State::new(load(store).account().clone());
    for entry in &entries[..count] {
        made.advance(entry);
    }
    assert_eq!(state, made);
    let rest = store.changes_since(FIRST, state.position(), usize::MAX);
    assert_eq!(rest.expect("nothing of it is forgotten"), entries[count..]);
    for entry in &entries[count..] {
        state.advance(entry);
    }
    assert_eq!(state, advanced(entries));
    assert_eq!(load(store), state);
}

pub(crate) fn what_is_forgotten_becomes_the_base(store: &dyn Store) {
    found(store);
    let entries = history();
    assert_eq!(base(store), State::new(account(1)));
    commit(store, 0, &entries);
    begins_after(store, &entries, 0);
    // First a part of what may be removed, then the rest, then nothing.
    for (until, limit, gone, left_after) in [
        (10, 4, 4, 4),
        (10, 4, 4, 8),
        (10, 4, 2, 10),
        (10, 4, 0, 10),
        (3, 4, 0, 10),
        (14, 100, 4, 14),
        (u64::MAX, 100, 1, 15),
        (u64::MAX, 100, 0, 15),
    ] {
        assert_eq!(forget(store, until, LATE, limit), gone, "until {until}");
        begins_after(store, &entries, left_after);
    }
    let more = entry(16, vec![organization(9, "late")]);
    commit(store, 15, std::slice::from_ref(&more));
    let entries = [entries, vec![more]].concat();
    begins_after(store, &entries, 15);
    assert_eq!(forget(store, 16, LATE, 1), 1);
    begins_after(store, &entries, 16);
}

pub(crate) fn what_is_young_is_not_forgotten(store: &dyn Store) {
    found(store);
    let entries = history();
    commit(store, 0, &entries);
    assert_eq!(forget(store, 15, 1, 100), 0, "the first has this time");
    assert_eq!(forget(store, 15, 8, 100), 7);
    begins_after(store, &entries, 7);
}

pub(crate) fn a_position_before_the_base_is_an_error(store: &dyn Store) {
    found(store);
    let entries = history();
    commit(store, 0, &entries);
    for (until, behind, beside) in [(6, [0, 3, 5], [6, 9, 15]), (15, [0, 6, 14], [15; 3])] {
        forget(store, until, LATE, 100);
        for known in behind {
            let read = store.changes_since(FIRST, Revision(known).into(), 100);
            let is_told = matches!(
                read,
                Err(StoreError::Forgotten { account: FIRST, until: Revision(told) }) if told == until
            );
            assert!(is_told, "{known} of {until}: {read:?}");
            let mut has_run = false;
            let appended = store.append(FIRST, Revision(known).into(), &mut |_| {
                has_run = true;
                Batch::default()
            });
            let is_told = matches!(
                appended,
                Err(AppendError::Forgotten { until: Revision(told) }) if told == until
            );
            assert!(is_told && !has_run, "{known} of {until}: {appended:?}");
        }
        for known in beside {
            let read = store.changes_since(FIRST, Revision(known).into(), 100);
            let expected = entries.iter().filter(|entry| entry.revision.0 > known);
            assert_eq!(
                read.expect("it is there"),
                expected.cloned().collect::<Vec<_>>()
            );
            let appended = append(store, known, &Batch::default());
            assert_eq!(appended.expect("it is there"), Revision(15));
        }
    }
}

pub(crate) fn only_the_log_of_the_account_is_forgotten(store: &dyn Store) {
    found(store);
    let second = store.create_account(&account(2));
    second.expect("the number is free");
    commit(store, 0, &history());
    let other = vec![entry(1, vec![organization(1, "acme")])];
    let appended = store.append(SECOND, Revision(0).into(), &mut |_| batch(&other));
    assert_eq!(appended.expect("nothing is wrong"), Revision(1));
    assert_eq!(forget(store, 15, LATE, 100), 15);
    let base = store.base(SECOND).expect("it is there");
    assert_eq!(base, State::new(account(2)));
    let log = store.changes_since(SECOND, Revision(0).into(), 10);
    assert_eq!(log.expect("it is there"), other);
    let missing = AccountId(9);
    let forgotten = store.forget_log(missing, Revision(1), moment(LATE), 1);
    assert!(
        matches!(forgotten, Err(StoreError::NoAccount(of)) if of == missing),
        "{forgotten:?}"
    );
    let base = store.base(missing);
    assert!(
        matches!(base, Err(StoreError::NoAccount(of)) if of == missing),
        "{base:?}"
    );
}

pub(crate) fn forgetting_at_once_and_beside_a_writer_loses_nothing(store: &dyn Store) {
    const APPENDS: u64 = 100;
    found(store);
    let made = |number: u64| {
        let number = u32::try_from(number).expect("a small number");
        organization(number, &format!("organization {number}"))
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=APPENDS {
                commit(store, number - 1, &[entry(number, vec![made(number)])]);
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while base(store).revision() < Revision(APPENDS / 2) {
                    forget(store, APPENDS / 2, LATE, 3);
                }
            });
        }
    });
    let mut state = base(store);
    assert_eq!(state.revision(), Revision(APPENDS / 2));
    let rest = store.changes_since(FIRST, state.position(), usize::MAX);
    for entry in &rest.expect("it is there") {
        state.advance(entry);
    }
    assert_eq!(state.revision(), Revision(APPENDS));
    assert_eq!(load(store), state);
}

//! Refused appends, and that nothing of them is written.

use bindery_core::audit::AuditKind;
use std::num::NonZeroU64;

use bindery_core::change::{Change, Entry, LogPosition};
use bindery_core::id::Revision;

use crate::world::{account, audit, entry, history, moment, organization, role};
use crate::{
    FIRST, SECOND, advanced, append, audit_numbers, batch, commit, entries_of, everything, found,
    load,
};
use bindery_store::{AppendError, Batch, Store, StoreError};

/// Appending the batch at revision 15 of [`history`] is a contradiction that names `expected`, and changes
/// nothing.
fn refused(store: &dyn Store, batch: Batch, expected: &str) {
    let kept = history();
    found(store);
    commit(store, 0, &kept);
    let batch = Batch {
        audit: vec![audit(1, 1, AuditKind::Mutation, "create_role")],
        ..batch
    };
    let outcome = append(store, 15, &batch);
    let message = match &outcome {
        Err(AppendError::Contradiction(message)) => message,
        _ => "no contradiction",
    };
    assert!(message.contains(expected), "{outcome:?} names `{expected}`");
    assert_eq!(load(store), advanced(&kept));
    assert_eq!(entries_of(store), kept);
    assert_eq!(audit_numbers(store, &everything()), [0; 0]);
}

pub(crate) fn a_gap_is_refused_whole(store: &dyn Store) {
    let entry = |revision| entry(revision, vec![role(70, "Late")]);
    let entries = vec![entry(16), entry(18)];
    refused(store, batch(&entries), "18 can't follow 16");
    for (revision, expected) in [(15, "15 can't follow 15"), (17, "17 can't follow 15")] {
        let batch = batch(&[entry(revision)]);
        let outcome = append(store, 15, &batch).map_err(|error| error.to_string());
        assert!(
            outcome
                .as_ref()
                .is_err_and(|message| message.contains(expected)),
            "{outcome:?}"
        );
    }
    assert_eq!(entries_of(store), history());
}

pub(crate) fn another_accounts_entity_is_refused(store: &dyn Store) {
    let entries = vec![entry(16, vec![Change::PutAccount(account(2))])];
    refused(store, batch(&entries), "account 2");
}

pub(crate) fn a_taken_natural_key_is_refused_whole(store: &dyn Store) {
    let entries = vec![
        entry(16, vec![role(70, "Unheard of")]),
        entry(17, vec![organization(9, "fresh"), role(71, "Writer")]),
    ];
    refused(store, batch(&entries), "Writer");
    // The same name is valid for another kind of thing, and for this kind after the failure.
    let changes = vec![organization(9, "Writer"), role(70, "Unheard of")];
    commit(store, 15, &[entry(16, changes)]);
}

/// Nothing can be read or decided from there.
fn has_diverged(store: &dyn Store, known: LogPosition) {
    let Revision(expected) = known.revision;
    let read = store.changes_since(FIRST, known, 100);
    let is_told = matches!(
        read,
        Err(StoreError::Diverged { account: FIRST, known: Revision(told) }) if told == expected
    );
    assert!(is_told, "{known:?}: {read:?}");
    let mut has_run = false;
    let outcome = store.append(FIRST, known, &mut |_| {
        has_run = true;
        Batch::default()
    });
    let is_told = matches!(
        outcome,
        Err(AppendError::Diverged { known: Revision(told) }) if told == expected
    );
    assert!(is_told && !has_run, "{known:?}: {outcome:?}");
}

pub(crate) fn a_revision_that_never_was_is_refused(store: &dyn Store) {
    found(store);
    commit(store, 0, &history());
    for known in [16, u64::MAX] {
        has_diverged(store, Revision(known).into());
    }
}

pub(crate) fn a_log_that_has_come_as_far_by_other_entries_is_refused(store: &dyn Store) {
    found(store);
    let entries = history();
    commit(store, 0, &entries);
    let other = |entry: &Entry| LogPosition {
        revision: entry.revision,
        batch: NonZeroU64::new(u64::MAX),
    };
    for entry in &entries {
        has_diverged(store, other(entry));
        let read = store.changes_since(FIRST, entry.position(), usize::MAX);
        let rest = read.expect("it is there");
        assert_eq!(
            rest.first().map_or(15, |next| next.revision.0 - 1),
            entry.revision.0
        );
        let appended = store.append(FIRST, entry.position(), &mut |missed| {
            assert_eq!(missed, rest);
            Batch::default()
        });
        assert_eq!(appended.expect("it is there"), Revision(15));
    }
    // A truncating store must also check the position at which the log begins.
    let late = moment(1_000_000);
    for until in [6, 15] {
        let forgotten = store.forget_log(FIRST, Revision(until), late, 100);
        forgotten.expect("the account is there");
        for entry in &entries[usize::try_from(until).expect("a small number") - 1..] {
            has_diverged(store, other(entry));
            let read = store.changes_since(FIRST, entry.position(), usize::MAX);
            assert_eq!(
                read.expect("it is there").len() as u64,
                15 - entry.revision.0
            );
        }
    }
}

pub(crate) fn nothing_is_known_of_an_unknown_account(store: &dyn Store) {
    found(store);
    let unknown = |outcome: Option<StoreError>| {
        assert!(
            matches!(outcome, Some(StoreError::NoAccount(SECOND))),
            "{outcome:?}"
        );
    };
    unknown(store.load(SECOND).err());
    unknown(store.changes_since(SECOND, Revision(0).into(), 1).err());
    unknown(store.audit(SECOND, &everything()).err());
    let mut has_run = false;
    let outcome = store.append(SECOND, Revision(0).into(), &mut |_| {
        has_run = true;
        Batch::default()
    });
    assert!(
        matches!(outcome, Err(AppendError::Contradiction(_))) && !has_run,
        "{outcome:?}"
    );
}

//! The audit log: numbered by the store, read newest first.

use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::id::{AccountId, ApiKeyId, Revision, UserId};

use crate::world::{audit, history, moment};
use crate::{FIRST, append, audit_numbers, commit, everything, found, load};
use bindery_store::{AuditQuery, Batch, Store, StoreError};

/// Narrows a query.
type Narrow = fn(&mut AuditQuery);

/// Six audit entries over three batches, one of them beside a change; the numbers are in the comments.
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
        problem: None,
        key: None,
        request: None,
        revision: None,
        ..entries[3].clone()
    };
    found(store);
    for (from, to, changes) in [(0, 1, 1), (1, 4, 0), (4, 6, 0)] {
        let batch = Batch {
            entries: history()[..changes].to_vec(),
            audit: entries[from..to].to_vec(),
            ..Batch::default()
        };
        append(store, u64::from(from > 0), &batch).expect("nothing is wrong");
    }
    entries
}

pub(crate) fn audit_alone_leaves_the_revision(store: &dyn Store) {
    found(store);
    commit(store, 0, &history());
    let before = load(store);
    let denied = audit(20, 2, AuditKind::Mutation, "delete_role");
    let batch = Batch {
        audit: vec![denied.clone()],
        ..Batch::default()
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

pub(crate) fn audit_entries_are_found_newest_first(store: &dyn Store) {
    let entries = audited(store);
    let found = store.audit(FIRST, &everything()).expect("it is there");
    let expected: Vec<_> = (1..).zip(entries).collect();
    assert_eq!(found, expected.into_iter().rev().collect::<Vec<_>>());
}

pub(crate) fn audit_entries_are_found_by_every_filter(store: &dyn Store) {
    audited(store);
    let cases: [(Narrow, &[u64]); 16] = [
        (|query| query.from = moment(20), &[6, 5, 4, 3, 2]),
        (|query| query.from = moment(21), &[6, 5, 4]),
        (|query| query.from = moment(51), &[]),
        (|query| query.to = moment(20), &[3, 2, 1]),
        (|query| query.to = moment(9), &[]),
        (
            |query| (query.from, query.to) = (moment(20), moment(30)),
            &[4, 3, 2],
        ),
        (
            |query| (query.from, query.to) = (moment(30), moment(20)),
            &[],
        ),
        (|query| query.user = Some(UserId::new(1)), &[5, 3, 1]),
        (|query| query.user = Some(UserId::new(9)), &[]),
        (|query| query.kind = Some(AuditKind::Mutation), &[5, 4, 1]),
        (|query| query.operations = names(&["list_roles"]), &[6, 2]),
        (
            |query| query.operations = names(&["list_users", "delete_role", "x"]),
            &[4, 3],
        ),
        (|query| query.operations = names(&["LIST_ROLES"]), &[]),
        (|query| query.limit = 0, &[]),
        (
            |query| (query.before, query.limit) = (Some(u64::MAX), 2),
            &[6, 5],
        ),
        (|query| *query = strict(), &[1]),
    ];
    for (narrow, expected) in cases {
        let mut query = everything();
        narrow(&mut query);
        assert_eq!(audit_numbers(store, &query), expected, "{query:?}");
    }
}

pub(crate) fn no_text_keeps_an_audit_entry_out(store: &dyn Store) {
    found(store);
    let odd = "\0a\u{1}\n\r\t\"\\{}\u{fffd}\u{feff}\u{10ffff}é\0";
    let entry = AuditEntry {
        address: odd.to_owned(),
        text: Some(odd.to_owned()),
        variables: Some(odd.to_owned()),
        ..audit(10, 1, AuditKind::Query, odd)
    };
    let batch = Batch {
        entries: history(),
        audit: vec![entry.clone()],
        ..Batch::default()
    };
    append(store, 0, &batch).expect("no text is refused");
    // PostgreSQL can't store NUL, so no store keeps one.
    let kept = odd.replace('\0', "\u{fffd}");
    let expected = AuditEntry {
        address: kept.clone(),
        text: Some(kept.clone()),
        variables: Some(kept.clone()),
        operation: kept,
        ..entry
    };
    let query = everything();
    assert_eq!(
        store.audit(FIRST, &query).expect("it is there"),
        [(1, expected)]
    );
    let asked = AuditQuery {
        operations: vec!["\0".to_owned(), "a\0".to_owned()],
        ..query
    };
    assert_eq!(store.audit(FIRST, &asked).expect("it can be asked"), []);
}

pub(crate) fn audit_entries_are_found_page_by_page(store: &dyn Store) {
    audited(store);
    let mut before = None;
    for page in [[6, 5], [4, 3], [2, 1]] {
        let query = AuditQuery {
            before,
            limit: 2,
            ..everything()
        };
        assert_eq!(audit_numbers(store, &query), page);
        before = page.last().copied();
    }
    let query = AuditQuery {
        before,
        ..everything()
    };
    assert_eq!(audit_numbers(store, &query), [0; 0]);
}

pub(crate) fn audit_entries_are_found_whatever_the_clock_did(store: &dyn Store) {
    found(store);
    for at in [10, 50, 20, 30, 60] {
        let entry = audit(at, 1, AuditKind::Query, "list_roles");
        let batch = Batch {
            entries: Vec::new(),
            audit: vec![entry],
            ..Batch::default()
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

pub(crate) fn old_audit_entries_are_forgotten_and_the_numbers_go_on(store: &dyn Store) {
    audited(store);
    let forget = |before, limit| {
        store
            .forget_audit(FIRST, moment(before), limit)
            .expect("it is there")
    };
    assert_eq!(forget(10, 100), 0);
    assert_eq!(forget(30, 2), 2);
    assert_eq!(audit_numbers(store, &everything()), [6, 5, 4, 3]);
    assert_eq!(forget(30, 100), 1);
    assert_eq!(forget(60, 100), 3);
    assert_eq!(audit_numbers(store, &everything()), []);
    let batch = Batch {
        audit: vec![audit(70, 1, AuditKind::Query, "list_roles")],
        ..Batch::default()
    };
    append(store, 1, &batch).expect("nothing is wrong");
    assert_eq!(audit_numbers(store, &everything()), [7]);
    let missing = store.forget_audit(AccountId(9), moment(60), 1);
    assert!(
        matches!(missing, Err(StoreError::NoAccount(AccountId(9)))),
        "{missing:?}"
    );
}

pub(crate) fn the_last_use_of_a_key_is_kept_beside_the_log(store: &dyn Store) {
    found(store);
    let key = ApiKeyId::new;
    let uses = |pairs: &[(u32, i64)]| -> Vec<_> {
        let pairs = pairs.iter();
        pairs.map(|(id, at)| (key(*id), moment(*at))).collect()
    };
    let commit = |pairs| {
        let batch = Batch {
            uses: uses(pairs),
            ..Batch::default()
        };
        append(store, 0, &batch).expect("nothing is wrong")
    };
    assert_eq!(commit(&[(2, 20), (1, 10)]), Revision(0));
    // Never back in time.
    commit(&[(1, 30), (2, 15)]);
    let kept = store.key_uses(FIRST).expect("it is there");
    assert_eq!(kept, uses(&[(1, 30), (2, 20)]));
    let missing = store.key_uses(AccountId(9));
    assert!(
        matches!(missing, Err(StoreError::NoAccount(AccountId(9)))),
        "{missing:?}"
    );
}

fn names(operations: &[&str]) -> Vec<String> {
    operations.iter().map(|name| (*name).to_owned()).collect()
}

/// A query with every condition.
fn strict() -> AuditQuery {
    AuditQuery {
        from: moment(10),
        to: moment(40),
        user: Some(UserId::new(1)),
        operations: names(&["create_role"]),
        kind: Some(AuditKind::Mutation),
        before: Some(5),
        limit: 1,
    }
}

//! Owners of secrets and addresses: they lead an outside request to the right account.

use bindery_core::api_key::SecretHash;
use bindery_core::change::{Change, Entry};
use bindery_core::id::{AccountId, Revision, UserId};
use bindery_core::text::Email;

use crate::world::{account, credential, entry, invited, key_with, role, user};
use crate::{FIRST, SECOND, append, batch, commit, found};
use bindery_store::{Owner, Store};

const fn secret(byte: u8) -> SecretHash {
    SecretHash([byte; 32])
}

/// The owners: the account and its revision.
fn owners(store: &dyn Store, secrets: &[SecretHash]) -> Vec<Option<(AccountId, u64)>> {
    let found = store.owners(secrets).expect("nothing is wrong");
    found
        .into_iter()
        .map(|owner| {
            owner.map(|Owner { account, revision }| {
                let Revision(revision) = revision;
                (account, revision)
            })
        })
        .collect()
}

fn append_to_second(store: &dyn Store, entries: &[Entry]) {
    let appended = store.append(SECOND, Revision(0).into(), &mut |_| batch(entries));
    appended.expect("the entries begin the log");
}

pub(crate) fn a_secret_leads_to_its_account_and_how_far_that_has_come(store: &dyn Store) {
    found(store);
    let second = store.create_account(&account(2));
    second.expect("the number is free");
    let link = credential(1, "a hash", Some(secret(3)));
    let entries = [
        entry(1, vec![user(1, "ada@example.com")]),
        entry(2, vec![key_with(1, secret(1), Some(secret(2)))]),
        entry(3, vec![Change::PutCredential(link)]),
    ];
    commit(store, 0, &entries);
    append_to_second(store, &[entry(1, vec![key_with(1, secret(4), None)])]);
    let wanted = [4, 1, 9, 2, 3].map(secret);
    let expected = [
        Some((SECOND, 1)),
        Some((FIRST, 3)),
        None,
        Some((FIRST, 3)),
        Some((FIRST, 3)),
    ];
    assert_eq!(owners(store, &wanted), expected);
    commit(store, 3, &[entry(4, vec![role(64, "Reader")])]);
    assert_eq!(owners(store, &[secret(1)]), [Some((FIRST, 4))]);
}

pub(crate) fn a_secret_that_was_replaced_or_removed_leads_nowhere(store: &dyn Store) {
    found(store);
    let link = |hash| Change::PutCredential(credential(1, "a hash", Some(hash)));
    let entries = [
        entry(1, vec![key_with(1, secret(1), None), link(secret(11))]),
        entry(
            2,
            vec![
                key_with(1, secret(2), Some(secret(1))),
                key_with(2, secret(5), None),
            ],
        ),
        entry(3, vec![link(secret(12))]),
    ];
    commit(store, 0, &entries);
    let all = [1, 2, 3, 5, 11, 12, 13].map(secret);
    let here = |revision| Some((FIRST, revision));
    assert_eq!(
        owners(store, &all),
        [here(3), here(3), None, here(3), None, here(3), None]
    );
    // In one batch, and more than once in it.
    let entries = [
        entry(4, vec![key_with(1, secret(3), Some(secret(2)))]),
        entry(5, vec![link(secret(13)), key_with(1, secret(3), None)]),
        entry(6, vec![Change::DeleteCredential(UserId::new(1))]),
    ];
    commit(store, 3, &entries);
    assert_eq!(
        owners(store, &all),
        [None, None, here(6), here(6), None, None, None]
    );
}

pub(crate) fn any_number_of_secrets_is_looked_up_at_once(store: &dyn Store) {
    found(store);
    assert_eq!(owners(store, &[]), []);
    let keys = (1..=200).map(|number| key_with(number, secret(number.to_le_bytes()[0]), None));
    commit(store, 0, &[entry(1, keys.collect())]);
    for count in [1, 63, 64, 65, 128, 256] {
        let wanted: Vec<SecretHash> = (0..=u8::MAX).rev().take(count).map(secret).collect();
        let expected: Vec<_> = (0..=u8::MAX)
            .rev()
            .take(count)
            .map(|byte| (1..=200).contains(&byte).then_some((FIRST, 1)))
            .collect();
        assert_eq!(owners(store, &wanted), expected, "{count}");
    }
}

pub(crate) fn what_was_refused_leads_nowhere(store: &dyn Store) {
    found(store);
    let clash = vec![
        key_with(1, secret(1), None),
        role(64, "Reader"),
        role(65, "Reader"),
    ];
    let refused = append(store, 0, &batch(&[entry(1, clash)]));
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(owners(store, &[secret(1)]), [None]);
}

pub(crate) fn people_are_found_by_their_address_in_every_account(store: &dyn Store) {
    found(store);
    let second = store.create_account(&account(2));
    second.expect("the number is free");
    let ada = Email::parse("ADA@example.com").expect("an address");
    let known = |limit| {
        store
            .credentials(&ada, None, limit)
            .expect("nothing is wrong")
    };
    assert_eq!(known(10), []);
    let (first, other) = (
        credential(2, "one", None),
        credential(1, "two", Some(secret(1))),
    );
    let bob = credential(1, "of bob", None);
    commit(
        store,
        0,
        &[entry(
            1,
            vec![
                user(1, "bob@example.com"),
                user(2, "Ada@example.com"),
                // A role with the name of a person is not a person.
                role(64, "ada@example.com"),
                Change::PutCredential(bob),
                Change::PutCredential(first.clone()),
            ],
        )],
    );
    let put = Change::PutCredential(other.clone());
    append_to_second(store, &[entry(1, vec![user(1, "ada@EXAMPLE.com"), put])]);
    assert_eq!(known(10), [(FIRST, first.clone()), (SECOND, other.clone())]);
    assert_eq!(known(1), [(FIRST, first.clone())]);
    let only = store.credentials(&ada, Some(SECOND), 10);
    assert_eq!(only.expect("nothing is wrong"), [(SECOND, other.clone())]);
    // Invited people come after active ones, and the invitation that expires first comes last.
    commit(
        store,
        1,
        &[entry(2, vec![invited(2, "ada@example.com", 9)])],
    );
    assert_eq!(known(10), [(SECOND, other.clone()), (FIRST, first.clone())]);
    let later = entry(2, vec![invited(1, "ada@example.com", 10)]);
    append_to_second(store, &[later]);
    assert_eq!(known(10), [(SECOND, other), (FIRST, first.clone())]);
    // A person with a changed address is found by the new one.
    let moved = entry(3, vec![user(2, "lovelace@example.com")]);
    commit(store, 2, &[moved]);
    assert_eq!(known(10).len(), 1);
    let lovelace = Email::parse("lovelace@example.com").expect("an address");
    let found = store
        .credentials(&lovelace, None, 10)
        .expect("nothing is wrong");
    assert_eq!(found, [(FIRST, first)]);
    // A person without a credential isn't found.
    let gone = entry(4, vec![Change::DeleteCredential(UserId::new(2))]);
    commit(store, 3, &[gone]);
    let found = store
        .credentials(&lovelace, None, 10)
        .expect("nothing is wrong");
    assert_eq!(found, []);
}

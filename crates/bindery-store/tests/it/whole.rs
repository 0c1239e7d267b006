//! Rows that are whole by themselves and still wrong: missing, out of date, or absent from an index. Each is refused, and what is
//! healthy is not. On both databases where both can have it.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use std::thread;

use bindery_core::api_key::SecretHash;
use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::change::{Change, LogPosition};
use bindery_core::id::{ApiKeyId, Revision, UserId};
use bindery_core::time::Timestamp;
use bindery_store::copy::Part;
use bindery_store::sqlite::SqliteStore;
use bindery_store::{AuditQuery, Batch, Store, StoreError};

use crate::copy::{Place, directory, everything, places};
use crate::entries::{ACCOUNT, account, append_key, entry, with};

fn append(store: &dyn Store, known: u64, batch: &Batch) {
    let known = if known == 0 {
        Revision(0).into()
    } else {
        store.load(ACCOUNT).unwrap().position()
    };
    let appended = store.append(ACCOUNT, known, &mut |_| batch.clone());
    appended.unwrap();
}

fn founded(place: &Place) -> Box<dyn Store> {
    let store = place.open().unwrap();
    store.create_account(&account()).unwrap();
    store
}

/// Says what is damaged, or panics.
fn damage<T>(answer: Result<T, StoreError>) -> String {
    match answer.map(drop) {
        Err(StoreError::Corrupt { why, .. }) => why,
        other => unreachable!("no damage: {other:?}"),
    }
}

#[test]
fn key_uses_that_are_committed_meanwhile_are_no_damage() {
    for place in places() {
        let store = founded(&place);
        let other = matches!(place, Place::Database(_)).then(|| place.open().unwrap());
        let writer = other.as_deref().unwrap_or(&*store);
        thread::scope(|scope| {
            let writing = scope.spawn(|| {
                for at in 1..300 {
                    let uses = (1..20).map(|key| (ApiKeyId::new(key), Timestamp::from_millis(at)));
                    let batch = Batch {
                        uses: uses.collect(),
                        ..Batch::default()
                    };
                    append(writer, 0, &batch);
                }
            });
            while !writing.is_finished() {
                store.key_uses(ACCOUNT).unwrap();
            }
            writing.join().unwrap();
        });
    }
}

//! The time of an account that ran ahead, set back on both stores.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use std::num::NonZeroU64;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bindery_core::change::{Entry, LogPosition};
use bindery_core::id::{ApiKeyId, Revision};
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_core::time_repair::{End, EndOf, TimeRepair};
use bindery_store::copy::Part;
use bindery_store::{AppendError, Batch, RepairedTime, Store, StoreError, TimeRepairOrder};

use crate::copy::{Site, assert_same, everything, places};
use crate::entries::ACCOUNT;

/// The time with this number in the furnished store: its entries have those of their revisions, 1 to 15, its
/// audit entries those up to 40, and its base is at revision 6.
const fn moment(number: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + number)
}

/// With `latest` in the base, between entries, after them and before the account; and what is ahead of it.
const CASES: [(i64, Ahead); 4] = [
    (
        10,
        Ahead {
            first: Some(11),
            entries: 5,
            base: false,
        },
    ),
    (
        3,
        Ahead {
            first: Some(7),
            entries: 9,
            base: true,
        },
    ),
    (
        15,
        Ahead {
            first: None,
            entries: 0,
            base: false,
        },
    ),
    (
        -5,
        Ahead {
            first: Some(7),
            entries: 9,
            base: true,
        },
    ),
];

struct Ahead {
    first: Option<u64>,
    entries: u64,
    base: bool,
}

fn repair(place: &Site, latest: i64) -> RepairedTime {
    repair_until(place, latest, u64::MAX).unwrap()
}

/// Fails once this many rows are written.
fn repair_until(place: &Site, latest: i64, rows: u64) -> Result<RepairedTime, StoreError> {
    let order = TimeRepairOrder {
        latest: moment(latest),
        batch: NonZeroU64::new(0xba7c4).unwrap(),
        written: &mut |written| {
            if written < rows {
                Ok(())
            } else {
                Err("ended in the middle".into())
            }
        },
    };
    place.repair_time(ACCOUNT, order)
}

fn log(store: &dyn Store, known: LogPosition) -> Vec<Entry> {
    store.changes_since(ACCOUNT, known, usize::MAX).unwrap()
}

fn of_others(parts: Vec<Part>) -> Vec<Part> {
    let text = |part: &Part| format!("{part:?}");
    let is_other = |part: &Part| text(part).contains("account: AccountId(2)");
    parts.into_iter().filter(is_other).collect()
}

/// Nothing that happened is later than this, in any table.
fn assert_nothing_later(store: &dyn Store, latest: Timestamp) {
    let (state, base) = (store.load(ACCOUNT).unwrap(), store.base(ACCOUNT).unwrap());
    assert!(state.latest() <= latest && base.latest() <= latest);
    assert!(state.account().created_at <= latest);
    for entry in log(store, base.position()) {
        assert!(!TimeRepair::is_entry_ahead(&entry, latest), "{entry:?}");
    }
    let audit = store.audit(ACCOUNT, &everything()).unwrap();
    assert!(audit.iter().all(|(_, entry)| entry.at <= latest));
    let uses = store.key_uses(ACCOUNT).unwrap();
    assert!(!uses.is_empty() && uses.iter().all(|(_, at)| *at <= latest));
}

#[test]
fn a_repair_sets_everything_that_is_later_back_and_the_log_still_makes_the_state() {
    for (latest, ahead) in CASES {
        for place in places() {
            let place = place.furnished();
            let before = place.parts();
            let others = of_others(before.clone());
            assert!(!others.is_empty());

            let mut snapshot = place.snapshot().unwrap();
            let planned = snapshot.plan_time_repair(ACCOUNT, moment(latest)).unwrap();
            drop(snapshot);
            assert_eq!(place.parts(), before, "a plan changes nothing");

            let repaired = repair(&place, latest);
            let told = |repaired: &RepairedTime| {
                (
                    (
                        repaired.first_entry,
                        repaired.entries,
                        repaired.entries_total,
                    ),
                    (repaired.records, repaired.base_records),
                    (repaired.audit, repaired.key_uses),
                    (repaired.ends.clone(), repaired.revision, repaired.newest),
                )
            };
            assert_eq!(told(&planned), told(&repaired));
            assert_eq!(repaired.first_entry, ahead.first.map(Revision));
            assert_eq!(
                (repaired.entries, repaired.entries_total),
                (ahead.entries, 9)
            );
            assert_eq!(repaired.base_records > 0, ahead.base, "{latest}");
            assert_eq!(repaired.revision, Some(Revision(16)));
            // Audit entries 1 to 4 are removed.
            let audit = 40 - latest.max(4);
            assert_eq!(repaired.audit, u64::try_from(audit).unwrap());
            assert_eq!(repaired.key_uses, 2);
            assert_eq!(!repaired.ends.is_empty(), ahead.base);

            place.verify().unwrap();
            assert_eq!(of_others(place.parts()), others);
            let store = place.open().unwrap();
            assert_nothing_later(&*store, moment(latest));
            let state = store.load(ACCOUNT).unwrap();
            assert_eq!(state.difference(&repaired.state), None);
            let last = log(&*store, Revision(15).into()).pop().unwrap();
            assert_eq!(last.operation(), TimeRepair::OPERATION);
            assert_eq!(last.at, moment(latest));
            drop(store);

            // Once is enough, and a copy that is restored elsewhere is the same.
            let after = place.parts();
            assert_eq!(repair(&place, latest).revision, None);
            assert_eq!(place.parts(), after);
            for other in places() {
                other.fill(&after);
                other.verify().unwrap();
                assert_same(&*place.open().unwrap(), &*other.open().unwrap());
            }
        }
    }
}

#[test]
fn an_end_of_a_base_that_is_ahead_keeps_what_was_left_of_it() {
    for place in places() {
        let repaired = repair(&place.furnished(), 3);
        // The keys expire at 1,000,000 and their old secrets at 1,000; the last entry was at 15.
        for number in [1, 2] {
            let key = ApiKeyId::new(number);
            let end = |of, before, after| End {
                of,
                before: Some(moment(before)),
                after: moment(after),
            };
            for expected in [
                end(EndOf::Key(key), 1_000_000, 999_988),
                end(EndOf::PreviousSecret(key), 1000, 988),
            ] {
                assert!(repaired.ends.contains(&expected), "{:?}", repaired.ends);
            }
        }
    }
}

#[test]
fn a_server_that_knows_the_old_log_diverges_and_one_from_before_goes_on() {
    for (latest, ahead) in CASES {
        for place in places() {
            let place = place.furnished();
            let (base, entries) = {
                let store = place.open().unwrap();
                let base = store.base(ACCOUNT).unwrap();
                let entries = log(&*store, base.position());
                (base, entries)
            };
            repair(&place, latest);
            let store = place.open().unwrap();
            let state = store.load(ACCOUNT).unwrap();
            let mut server = base;
            let is_from_before = |known: Revision| match ahead.first {
                Some(first) => known < Revision(first) && !(ahead.base && known == Revision(6)),
                // The last entry gets another batch in any case.
                None => known < Revision(15),
            };
            for entry in entries {
                assert_goes_on(&*store, &server, &state, is_from_before(server.revision()));
                server.advance(&entry);
            }
            assert_goes_on(&*store, &server, &state, is_from_before(server.revision()));
        }
    }
}

fn assert_goes_on(store: &dyn Store, server: &State, newest: &State, is_from_before: bool) {
    let known = server.position();
    let read = store.changes_since(ACCOUNT, known, usize::MAX);
    let appended = store.append(ACCOUNT, known, &mut |_| Batch::default());
    if !is_from_before {
        assert!(
            matches!(read, Err(StoreError::Diverged { .. })),
            "{known:?}: {read:?}"
        );
        assert!(
            matches!(appended, Err(AppendError::Diverged { .. })),
            "{known:?}"
        );
        return;
    }
    let mut server = server.clone();
    for entry in read.unwrap() {
        server.advance(&entry);
    }
    assert_eq!(server.difference(newest), None, "{known:?}");
    assert_eq!(appended.unwrap(), newest.revision());
}

#[test]
fn a_server_at_a_base_of_a_restored_store_hears_what_was_set_back_in_it() {
    for (origin, place) in places().into_iter().zip(places()) {
        // The batch of a base is not part of a backup.
        place.fill(&origin.furnished().parts());
        let mut server = place.open().unwrap().base(ACCOUNT).unwrap();
        assert_eq!(server.position().batch, None);
        repair(&place, -5);
        let store = place.open().unwrap();
        for entry in log(&*store, server.position()) {
            server.advance(&entry);
        }
        let newest = store.load(ACCOUNT).unwrap();
        assert_eq!(server.difference(&newest), None);
    }
}

#[test]
fn a_repair_that_ends_in_the_middle_changes_nothing() {
    for place in places() {
        let place = place.furnished();
        let before = place.parts();
        let heads = place.open().unwrap().heads().unwrap();
        let mut ended = 0;
        for rows in 1.. {
            match repair_until(&place, 3, rows) {
                Err(StoreError::Unavailable(_)) => ended += 1,
                repaired => {
                    repaired.unwrap();
                    break;
                }
            }
            assert_eq!(place.parts(), before, "after {rows} rows");
            assert_eq!(place.open().unwrap().heads().unwrap(), heads);
            place.verify().unwrap();
        }
        assert!(ended > 20, "{ended}");
        place.verify().unwrap();
    }
}

#[test]
fn an_account_that_is_damaged_is_not_repaired() {
    for place in places() {
        let place = place.furnished();
        place.meddle("DELETE FROM record WHERE account = 1 AND kind = 2 AND number = 1");
        let heads = place.open().unwrap().heads().unwrap();
        let refused = repair_until(&place, 10, u64::MAX);
        assert!(
            matches!(refused, Err(StoreError::Corrupt { .. })),
            "{refused:?}"
        );
        let mut snapshot = place.snapshot().unwrap();
        let refused = snapshot.plan_time_repair(ACCOUNT, moment(10));
        assert!(
            matches!(refused, Err(StoreError::Corrupt { .. })),
            "{refused:?}"
        );
        assert_eq!(place.open().unwrap().heads().unwrap(), heads);
    }
}

#[test]
fn a_crash_between_a_repair_and_its_note_of_the_position_leaves_a_store_that_opens() {
    for place in places() {
        let place = place.furnished();
        let Site::Directory(directory) = &place else {
            continue;
        };
        let notes = directory.path().join("bindery.positions");
        let before = std::fs::read(&notes).unwrap();
        repair(&place, 3);
        assert_ne!(std::fs::read(&notes).unwrap(), before);
        std::fs::write(&notes, before).unwrap();
        place.open().unwrap();
    }
}

#[test]
fn what_a_server_forgets_of_a_log_waits_for_a_repair_of_it() {
    for place in places() {
        let place = place.furnished();
        let Site::Database(database) = &place else {
            continue;
        };
        let server = Arc::new(database.open());
        let mut forgetting = None;
        let order = TimeRepairOrder {
            latest: moment(3),
            batch: NonZeroU64::new(7).unwrap(),
            written: &mut |_| {
                if forgetting.is_none() {
                    let server = Arc::clone(&server);
                    forgetting = Some(thread::spawn(move || {
                        server.forget_log(ACCOUNT, Revision(9), moment(1_000_000), 100)
                    }));
                    let waits = (0..4000).any(|_| {
                        thread::sleep(Duration::from_millis(1));
                        database.has_waiting_locks()
                    });
                    assert!(waits, "it neither waits nor ends");
                }
                Ok(())
            },
        };
        database.open().repair_time(ACCOUNT, order).unwrap();
        let forgotten = forgetting.unwrap().join().unwrap();
        assert_eq!(forgotten.unwrap(), 3);
        place.verify().unwrap();
        assert_nothing_later(&*place.open().unwrap(), moment(3));
    }
}

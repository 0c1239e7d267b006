//! The log and the current records both give exactly the same state, with everything that is derived from it.

use std::cell::Cell;
use std::collections::BTreeMap;

use bindery_core::change::{Change, Entry};
use bindery_core::id::Kind;
use bindery_core::state::State;
use proptest::prelude::prop_assert_eq;
use proptest::test_runner::TestCaseError;

use crate::play::Play;
use crate::runner::check;

#[test]
fn replaying_the_log_gives_the_same_state() {
    let entries = Cell::new(0);
    check(96, 1..200, |history| {
        let play = Play::of(history);
        let mut replayed = State::new(history.account());
        for entry in &play.entries {
            let decoded = Entry::decode(&entry.encode());
            let decoded = decoded.map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(&decoded, entry);
            replayed.advance(&decoded);
        }
        prop_assert_eq!(&replayed, &play.state, "\n{}", play.transcript);
        entries.set(entries.get() + play.entries.len());
        Ok(())
    });
    println!("{} entries replayed", entries.get());
}

#[test]
fn current_records_give_the_same_state_in_any_order() {
    check(96, 1..200, |history| {
        let play = Play::of(history);
        let mut records = Vec::new();
        for record in play.records.values() {
            let decoded = Change::decode(&record.encode());
            records.push(decoded.map_err(|error| TestCaseError::fail(error.to_string()))?);
        }
        let load = |issued: Vec<(Kind, u32)>, records: &[Change]| {
            State::load(
                history.account(),
                play.state.position(),
                play.state.latest(),
                issued,
                records.to_vec(),
            )
        };
        let issued: Vec<_> = play.state.issued().collect();
        let loaded = load(issued.clone(), &records);
        prop_assert_eq!(&loaded, &play.state, "\n{}", play.transcript);
        // An existing thing has its number, whatever the record of issued numbers says.
        let mut highest = BTreeMap::new();
        for (kind, number) in records.iter().map(Change::key) {
            let known = highest.entry(kind).or_insert(number);
            *known = number.max(*known);
        }
        let low = issued.iter().map(|(kind, _)| (*kind, 0));
        for said in [Vec::new(), low.collect()] {
            let loaded: BTreeMap<Kind, u32> = load(said, &records).issued().collect();
            for (kind, number) in &highest {
                prop_assert_eq!(loaded.get(kind), Some(number), "\n{}", play.transcript);
            }
        }
        records.reverse();
        prop_assert_eq!(
            &load(issued, &records),
            &play.state,
            "\n{}",
            play.transcript
        );
        Ok(())
    });
}

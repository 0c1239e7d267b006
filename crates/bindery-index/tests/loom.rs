//! The sequence lock in a model of the memory: every order of its loads and stores that the language allows, and every value
//! that they may see. It is the very file that ships, over loom's atomics; `cargo test -p bindery-index --test loom`.

mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
}

#[path = "../src/sequence.rs"]
mod sequence;

use atomic::{AtomicU64, Ordering};
use loom::sync::Arc;
use sequence::Sequence;

struct Lock {
    sequence: Sequence,
    cells: [AtomicU64; 2],
}

/// A writer makes `sections` sections, in which both cells get the same number; one reader tries twice.
fn model(sections: u64, check: impl Fn(&Lock) + Send + Sync + Copy + 'static) {
    loom::model(move || {
        let lock = Arc::new(Lock {
            sequence: Sequence::new(),
            cells: [AtomicU64::new(0), AtomicU64::new(0)],
        });
        let shared = Arc::clone(&lock);
        let writer = loom::thread::spawn(move || {
            for number in 1..=sections {
                shared.sequence.begin_write();
                for cell in &shared.cells {
                    cell.store(number, Ordering::Relaxed);
                }
                shared.sequence.end_write();
            }
        });
        check(&lock);
        check(&lock);
        writer.join().expect("the writer ends");
    });
}

fn read(lock: &Lock) -> [u64; 2] {
    [0, 1].map(|at: usize| lock.cells[at].load(Ordering::Relaxed))
}

#[test]
fn a_read_that_is_whole_saw_one_section_in_every_order_of_the_memory() {
    model(2, |lock| {
        if let Some(begun) = lock.sequence.begin_read() {
            let [one, other] = read(lock);
            if lock.sequence.is_whole(begun) {
                assert_eq!(one, other);
            }
        }
    });
}

#[test]
#[should_panic(expected = "left == right")]
fn the_model_finds_a_reader_that_only_asks_at_the_beginning() {
    model(1, |lock| {
        if lock.sequence.begin_read().is_some() {
            let [one, other] = read(lock);
            assert_eq!(one, other);
        }
    });
}

#[test]
#[should_panic(expected = "left == right")]
fn the_model_finds_a_reader_that_only_asks_at_the_end() {
    model(1, |lock| {
        let [one, other] = read(lock);
        if let Some(begun) = lock.sequence.begin_read()
            && lock.sequence.is_whole(begun)
        {
            assert_eq!(one, other);
        }
    });
}

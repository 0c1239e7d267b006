//! A sequence lock: one writer changes cells in place, readers find out whether it was at work while they read.
//!
//! Safe Rust throughout, since every cell is an atomic: a torn read is a wrong value and nothing worse, and the sequence
//! tells it from a right one. `tests/loom.rs` runs this very file through a model of the memory.

use crate::atomic::{AtomicU64, Ordering, fence};

/// Even while nobody writes, odd while the writer is at work.
#[derive(Debug, Default)]
pub(crate) struct Sequence(AtomicU64);

/// Where a read began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun(u64);

impl Sequence {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Begins a read; `None` while the writer is at work.
    #[inline]
    pub(crate) fn begin_read(&self) -> Option<Begun> {
        // Acquire: what is read next is at least as new as this number.
        let at = self.0.load(Ordering::Acquire);
        (at & 1 == 0).then_some(Begun(at))
    }

    /// Whether everything that was read since then belongs together.
    #[inline]
    pub(crate) fn is_whole(&self, begun: Begun) -> bool {
        // The fence keeps the reads above this load: one that saw a cell of a later section also sees its odd number.
        fence(Ordering::Acquire);
        self.0.load(Ordering::Relaxed) == begun.0
    }

    /// Begins a section of changes. Only the one writer calls this.
    pub(crate) fn begin_write(&self) {
        let at = self.0.load(Ordering::Relaxed);
        self.0.store(at | 1, Ordering::Relaxed);
        // The fence keeps the stores of the section below the odd number.
        fence(Ordering::Release);
    }

    /// Ends the section: whoever reads the even number reads all of its changes.
    pub(crate) fn end_write(&self) {
        let at = self.0.load(Ordering::Relaxed);
        debug_assert!(at & 1 == 1, "a section ends that has begun");
        self.0.store((at | 1).wrapping_add(1), Ordering::Release);
    }
}

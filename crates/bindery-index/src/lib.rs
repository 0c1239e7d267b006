//! The access index: everything that a decision is made from, as dense integers in cache lines, changed in place by one
//! writer while any number of readers go on.
//!
//! A read is a closure over a [`View`]; [`Index::read`] tells what it came to together with the one revision that it saw, or
//! `None` if the writer was always quicker. What is asked then is up to the caller (`bindery-core` asks its state).
//!
//! What is held is a code of 16 bits, with a table of up to 192 bits for each code. The caller gives codes their meaning. One code,
//! [`ASK`], never has a table: the caller must know the answer from elsewhere.
//!
//! Deliberately absent: what a role or a permission is, any rule about who may do what, and `unsafe`. Cells are atomics
//! that never move, so a reader that is overtaken reads a wrong number, finds out by the sequence, and reads again.

mod atomic {
    //! The only place that names them, so that the model in `tests/loom.rs` can put its own instead.
    pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};
}

mod build;
mod compare;
mod free;
mod index;
mod pool;
mod record;
mod sequence;
mod slab;
#[cfg(test)]
mod tests;
mod writer;

pub use build::{Room, Source};
pub use index::{Bytes, Index, View};
pub use record::{
    ASK, Brief, CODE_MAX, Held, Holding, Kind, Principal, Project, Space, User, Where,
};
pub use writer::{Changes, Writer};

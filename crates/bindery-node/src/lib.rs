//! Accounts at work. Readers take an immutable snapshot and never wait; writes go through one writer an account, which
//! commits everything that queued while the last commit ran as one batch.
//!
//! What deliberately isn't here: HTTP, SQL, and any rule about who may do what.

mod account;
mod clock;
mod follow;
mod node;
mod notes;
mod retention;
mod submission;
mod writer;

pub use account::{Account, ExecuteError};
pub use clock::Clock;
pub use follow::FOLLOW_INTERVAL;
pub use node::{NOTES_INTERVAL, Node, OpenError};
pub use retention::{LOG_AGE_MIN, LogRetention};
pub use submission::Audit;

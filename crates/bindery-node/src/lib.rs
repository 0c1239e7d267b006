//! Loaded accounts. Readers take an immutable snapshot and never wait. Each account has one writer, which
//! commits the commands that queued during the last commit as one batch.
//!
//! Deliberately absent: HTTP, SQL, and any rule about who may do what.

mod account;
mod clock;
mod desk;
mod directory;
mod follow;
mod in_flight;
mod lookup;
mod meters;
mod node;
mod notes;
mod presence;
mod random;
mod retention;
mod submission;
mod usage;
mod writer;

pub use account::{Account, ExecuteError};
pub use clock::{CLOCK_AHEAD_MAX, Clock};
pub use follow::FOLLOW_INTERVAL;
pub use in_flight::{KEY_COMMANDS_MAX, PERSON_COMMANDS_MAX};
pub use lookup::ClientNetwork;
pub use meters::{Counter, Histogram, MICROS, Meters, StoreCall};
pub use node::{NOTES_INTERVAL, Node, Obstacle, OpenError, Unavailable};
pub use retention::{LOG_AGE_MIN, LogRetention};
pub use submission::{Audit, NOTED_TEXT_MAX, RefusedAs};
pub use usage::Today;

/// Runs the steps of a node by hand instead of on threads. The simulation uses this to decide from a seed
/// what happens between two steps. Start with [`Node::by_hand`].
pub mod drive {
    pub use crate::desk::{Desk, Turn};
    pub use crate::follow::Follower;
    pub use crate::presence::Idle;
    pub use crate::random::Random;
}

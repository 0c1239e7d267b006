//! Tests only: the naive model of the contract, generated histories to compare it with the engine, and the
//! random walk of an attacker.
//!
//! The model shares the types of the core and none of its logic: its rules are the plainest possible reading
//! of `docs/rules/authorization.md` and `docs/rules/operations.md`. Nothing that ships depends on this crate.

pub mod dice;
pub mod effect;
pub mod history;
pub mod model;
pub mod walk;

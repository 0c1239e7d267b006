//! Tests only: the naive model of the contract, generated histories to compare it with the engine, and the random walk of an attacker.
//!
//! The model shares the types of the core and none of its logic: what it says comes from `docs/rules/authorization.md` and
//! `docs/rules/operations.md`, read as plainly as they can be read. Nothing that ships depends on this crate.

pub mod dice;
pub mod effect;
pub mod history;
pub mod model;
pub mod walk;

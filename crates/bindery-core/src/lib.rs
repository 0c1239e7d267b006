//! The domain of Bindery, pure: entities, commands that become changes, and decisions with their reasons.
//!
//! Everything here is a function of (state, request, clock value): no IO, no async, no global, no clock inside. So the same
//! code is replayed, simulated, fuzzed, asked about the past, and asked about changes that were never made.
//! What deliberately isn't here: HTTP, SQL, files, time of day, randomness.

#![warn(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::wildcard_enum_match_arm,
    clippy::iter_over_hash_type
)]

pub mod access;
pub mod api_key;
pub mod attribute;
pub mod audit;
pub mod change;
pub mod command;
pub mod credential;
pub mod decision;
pub mod effect;
pub mod explain;
#[doc(hidden)]
pub mod fuzzing;
pub mod given;
pub mod id;
pub mod inquiry;
mod listing;
pub mod permission;
pub mod place;
pub mod position;
pub mod query;
pub mod quota;
pub mod refusal;
pub mod resource;
pub mod role;
pub mod role_binding;
pub mod rules;
pub mod state;
pub mod text;
pub mod time;
pub mod time_repair;
mod tree;
pub mod user;

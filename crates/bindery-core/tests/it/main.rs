//! The promises of the core, at its boundary.

mod decisions;
mod deletion;
mod explanations;
mod world;

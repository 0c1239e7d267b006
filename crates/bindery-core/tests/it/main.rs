//! The promises of the core, at its boundary.

mod codes;
mod decisions;
mod deletion;
mod entries;
mod example;
mod explanations;
mod fuzzing;
mod one_revision;
mod past;
mod persons;
mod searches;
mod time_repair;
mod world;

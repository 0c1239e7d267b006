//! The real binary, from outside: how it starts and stops, and what is left after a kill.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

mod ask;
mod audit;
mod backup;
mod confusing;
mod connections;
mod crash;
mod damaged;
mod data_directory;
mod defaults;
mod deletion;
mod documented;
mod interrupted;
mod limits;
mod lookups;
mod nodes;
mod options;
mod people;
mod postgres;
mod proxy;
mod repair_time;
mod start;
mod support;

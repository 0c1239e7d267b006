//! The API over a socket, in this process.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

mod authzen;
mod contract;
mod forgetting;
mod fuzzing;
mod given_rights;
mod hot;
mod invited_people;
mod known_passwords;
mod limits;
mod matrix;
mod metrics;
mod people;
mod personas;
mod presence;
mod quotas;
mod scene;
mod sentences;
mod served;
mod takeover;

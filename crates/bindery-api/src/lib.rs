//! Bindery over HTTP: parse, ask, render. Every operation is a row of one table; no rule about who may do what lives here,
//! and no SQL.

mod attempts;
mod authzen;
mod call;
mod client_address;
mod connection_table;
mod enforcement_points;
mod framing;
mod freshness;
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod hot;
mod json;
mod log_limit;
mod mail;
mod memory_budget;
mod metrics;
mod openapi;
mod operations;
mod page;
mod password;
mod problem;
mod public_url;
mod query;
mod quotas;
mod rate;
mod request_stream;
mod secret;
mod server;
mod sign_in;
mod turns;
mod unreadable;
mod v2;
mod wire;
mod workers;

pub use authzen::{Aliases, AliasesError};
pub use client_address::{Network, NetworkError};
pub use mail::{MailSettings, MailSettingsError, Mailer};
pub use openapi::openapi_json;
pub use operations::operation_ids;
pub use public_url::{PublicUrl, PublicUrlError};
pub use secret::{KeyText, KeyTextError};
pub use server::{Limits, Options, RateLimits, Server};

//! Bindery over HTTP: parse, run, render. Every operation is a row of one table. There is no SQL here, and no
//! rule about who may do what.

mod aliases;
mod answer;
mod attempts;
mod audited;
mod authzen;
mod backoff;
mod call;
mod change;
mod client_address;
mod connection_table;
mod counts;
mod decisions;
mod enforcement_points;
mod framing;
mod freshness;
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod http1;
mod json;
mod kept_searches;
mod log_limit;
mod mail;
mod memory_budget;
mod metrics;
mod openapi;
mod operation;
mod operations;
mod page;
mod password;
mod problem;
mod public_url;
mod query;
mod quotas;
mod rate;
mod request_id;
mod request_stream;
mod secret;
mod server;
mod services;
mod sign_in;
mod turns;
mod unreadable;
mod v2;
mod wire;
mod workers;

pub use aliases::{Aliases, AliasesError};
pub use client_address::{Network, NetworkError};
pub use mail::{MailSettings, MailSettingsError, Mailer};
pub use openapi::openapi_json;
pub use operations::operation_ids;
pub use public_url::{PublicUrl, PublicUrlError};
pub use rate::RateLimits;
pub use secret::{KeyText, KeyTextError};
pub use server::{Limits, Options, Server};

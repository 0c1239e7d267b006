//! Bindery over HTTP: parse, ask, render. Every operation is a row of one table; no rule about who may do what lives here,
//! and no SQL.

mod call;
mod freshness;
mod health;
mod json;
mod mail;
mod openapi;
mod operations;
mod page;
mod password;
mod problem;
mod query;
mod rate;
mod secret;
mod server;
mod sign_in;
mod v2;
mod wire;

pub use mail::{MailSettings, MailSettingsError, Mailer};
pub use openapi::openapi_json;
pub use operations::operation_ids;
pub use secret::{KeyText, KeyTextError};
pub use server::{Limits, Options, Server};

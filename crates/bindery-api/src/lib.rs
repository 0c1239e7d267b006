//! Bindery over HTTP: parse, ask, render. Every operation is a row of one table; no rule about who may do what lives here,
//! and no SQL.

mod call;
mod json;
mod openapi;
mod operations;
mod page;
mod problem;
mod query;
mod secret;
mod server;
mod v2;
mod wire;

pub use openapi::openapi_json;
pub use secret::{KeyText, KeyTextError};
pub use server::{Limits, Server};

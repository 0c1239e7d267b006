//! What each operation takes and answers, for people and machines: the OpenAPI 3.1 document and the page that shows it.
//!
//! The operations table names a function of its row's own name here ([`described`]), so an operation that isn't described
//! doesn't compile, nor does a description of nothing. What is described is what is served: names of parameters are compared
//! with the row by a test, and the types of bodies and answers with the ones that handlers use by debug assertions, whenever
//! anything calls them.

pub(crate) mod described;
pub(crate) mod description;
mod document;
pub(crate) mod pages;

pub use document::openapi_json;

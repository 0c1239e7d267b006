//! Describes the requests and responses of each operation: the OpenAPI 3.1 document, and the page that shows
//! it.
//!
//! Each row of the operations table names a function here ([`described`]). So an operation without a
//! description does not compile, and neither does a description without an operation. A test compares the
//! parameters with the row. Debug assertions compare the types of bodies and responses with those that
//! handlers use, on every call.

pub(crate) mod described;
pub(crate) mod description;
mod document;
pub(crate) mod pages;

pub use document::openapi_json;

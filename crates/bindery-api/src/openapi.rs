//! What each operation takes and answers, for people and machines: the OpenAPI 3.1 document and the page that shows it.
//!
//! The operations table names a function of its row's own name here ([`described`]), so an operation that isn't described
//! doesn't compile, nor does a description of nothing. What is described is what is served: names of parameters are compared
//! with the row by a test, and the types of bodies and answers with the ones that handlers use by debug assertions, whenever
//! anything calls them.

use std::any::TypeId;

use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};

pub(crate) mod described;
mod document;
pub(crate) mod pages;

pub use document::openapi_json;

/// A type of the wire: who it is, and its schema.
#[derive(Clone, Copy)]
pub(crate) struct WireType {
    pub(crate) id: TypeId,
    name: &'static str,
    schema: fn(&mut SchemaGenerator) -> Schema,
}

impl WireType {
    fn of<T: JsonSchema + 'static>() -> Self {
        Self {
            id: TypeId::of::<T>(),
            name: std::any::type_name::<T>(),
            schema: SchemaGenerator::subschema_for::<T>,
        }
    }
}

impl std::fmt::Debug for WireType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What an operation takes and answers, beside its row.
#[derive(Debug)]
pub(crate) struct Described {
    summary: &'static str,
    detail: &'static str,
    query: Vec<Parameter>,
    request: Option<WireType>,
    request_example: Option<serde_json::Value>,
    answers: Vec<Success>,
    refusals: Vec<(u16, &'static str)>,
    tells_revision: bool,
}

/// A query parameter.
#[derive(Debug)]
struct Parameter {
    name: &'static str,
    about: &'static str,
    of: WireType,
    is_required: bool,
}

/// One way to succeed.
#[derive(Debug)]
struct Success {
    /// The row's, if it isn't said.
    status: Option<u16>,
    about: &'static str,
    /// Nothing for an empty body.
    body: Option<WireType>,
}

impl Described {
    fn new(summary: &'static str, detail: &'static str) -> Self {
        Self {
            summary,
            detail,
            query: Vec::new(),
            request: None,
            request_example: None,
            answers: Vec::new(),
            refusals: Vec::new(),
            tells_revision: false,
        }
    }

    /// A query parameter that may be absent.
    fn query<T: JsonSchema + 'static>(mut self, name: &'static str, about: &'static str) -> Self {
        self.query.push(Parameter {
            name,
            about,
            of: WireType::of::<T>(),
            is_required: false,
        });
        self
    }

    /// The last query parameter must be there.
    fn required(mut self) -> Self {
        if let Some(last) = self.query.last_mut() {
            last.is_required = true;
        }
        self
    }

    /// The paging that every list has.
    fn paged(self) -> Self {
        self.query::<document::Limit>("limit", "How many things a page holds at most.")
            .query::<crate::page::CursorText>(
                "cursor",
                "Where to go on: `pagination.next_cursor` of the page before, with the same filters.",
            )
    }

    /// The body.
    fn takes<T: JsonSchema + 'static>(mut self) -> Self {
        self.request = Some(WireType::of::<T>());
        self
    }

    /// A body to start from.
    fn example(mut self, body: serde_json::Value) -> Self {
        self.request_example = Some(body);
        self
    }

    /// Success with this body.
    fn answers<T: JsonSchema + 'static>(mut self, about: &'static str) -> Self {
        self.answers.push(Success {
            status: None,
            about,
            body: Some(WireType::of::<T>()),
        });
        self
    }

    /// Another success than the row's.
    fn or_answers<T: JsonSchema + 'static>(mut self, status: u16, about: &'static str) -> Self {
        self.answers.push(Success {
            status: Some(status),
            about,
            body: Some(WireType::of::<T>()),
        });
        self
    }

    /// Success without a body.
    fn answers_nothing(mut self, about: &'static str) -> Self {
        self.answers.push(Success {
            status: None,
            about,
            body: None,
        });
        self
    }

    /// A refusal that this operation has of its own.
    fn refuses(mut self, status: u16, why: &'static str) -> Self {
        self.refusals.push((status, why));
        self
    }

    /// Success says at which revision.
    fn at_revision(mut self) -> Self {
        self.tells_revision = true;
        self
    }

    /// Whether success says at which revision.
    pub(crate) fn tells_revision(&self) -> bool {
        self.tells_revision
    }

    /// Whether a handler may read its body as this type.
    pub(crate) fn takes_type(&self, id: TypeId) -> bool {
        self.request.is_some_and(|request| request.id == id)
    }

    /// Whether a handler may answer this status, nothing meaning the row's, with this type of body.
    pub(crate) fn answers_type(&self, status: Option<u16>, body: Option<TypeId>) -> bool {
        self.answers
            .iter()
            .any(|one| one.status == status && one.body.map(|body| body.id) == body)
    }
}

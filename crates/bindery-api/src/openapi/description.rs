//! What an operation takes and answers, as it stands in the OpenAPI document.

use std::any::TypeId;

use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};

/// A status that the official API declares.
pub(super) const UNUSED: &str = "Declared by the official API; this server doesn't answer it.";
/// Only a total is in the way.
pub(super) const QUOTA: &str =
    "A quota of the account or of its creator is reached; the detail names it and its limit.";

/// A type of the wire: who it is, and its schema.
#[derive(Clone, Copy)]
pub(crate) struct WireType {
    pub(crate) id: TypeId,
    pub(super) name: &'static str,
    pub(super) schema: fn(&mut SchemaGenerator) -> Schema,
}

impl WireType {
    pub(super) fn of<T: JsonSchema + 'static>() -> Self {
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
    pub(super) summary: &'static str,
    pub(super) detail: &'static str,
    pub(super) query: Vec<Parameter>,
    pub(super) request: Option<WireType>,
    pub(super) request_example: Option<serde_json::Value>,
    pub(super) answers: Vec<Success>,
    pub(super) refusals: Vec<(u16, &'static str)>,
    tells_revision: bool,
}

/// A query parameter.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) of: WireType,
    pub(super) is_required: bool,
}

/// One way to succeed.
#[derive(Debug)]
pub(super) struct Success {
    /// The row's, if it isn't said.
    pub(super) status: Option<u16>,
    pub(super) about: &'static str,
    /// Nothing for an empty body.
    pub(super) body: Option<WireType>,
}

impl Described {
    pub(super) fn new(summary: &'static str, detail: &'static str) -> Self {
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
    pub(super) fn query<T: JsonSchema + 'static>(
        mut self,
        name: &'static str,
        about: &'static str,
    ) -> Self {
        self.query.push(Parameter {
            name,
            about,
            of: WireType::of::<T>(),
            is_required: false,
        });
        self
    }

    /// The last query parameter must be there.
    pub(super) fn required(mut self) -> Self {
        if let Some(last) = self.query.last_mut() {
            last.is_required = true;
        }
        self
    }

    /// The paging that every list has.
    pub(super) fn paged(self) -> Self {
        self.query::<crate::page::LimitText>("limit", "How many things a page holds at most.")
            .query::<crate::page::CursorText>(
                "cursor",
                "Where to go on: `pagination.next_cursor` of the page before, with the same filters.",
            )
    }

    /// The body.
    pub(super) fn takes<T: JsonSchema + 'static>(mut self) -> Self {
        self.request = Some(WireType::of::<T>());
        self
    }

    /// A body to start from.
    pub(super) fn example(mut self, body: serde_json::Value) -> Self {
        self.request_example = Some(body);
        self
    }

    /// Success with this body.
    pub(super) fn answers<T: JsonSchema + 'static>(mut self, about: &'static str) -> Self {
        self.answers.push(Success {
            status: None,
            about,
            body: Some(WireType::of::<T>()),
        });
        self
    }

    /// Another success than the row's.
    pub(super) fn or_answers<T: JsonSchema + 'static>(
        mut self,
        status: u16,
        about: &'static str,
    ) -> Self {
        self.answers.push(Success {
            status: Some(status),
            about,
            body: Some(WireType::of::<T>()),
        });
        self
    }

    /// Success without a body.
    pub(super) fn answers_nothing(mut self, about: &'static str) -> Self {
        self.answers.push(Success {
            status: None,
            about,
            body: None,
        });
        self
    }

    /// A refusal that this operation has of its own.
    pub(super) fn refuses(mut self, status: u16, why: &'static str) -> Self {
        self.refusals.push((status, why));
        self
    }

    /// Success says at which revision.
    pub(super) fn at_revision(mut self) -> Self {
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

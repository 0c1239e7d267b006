//! The request and responses of an operation, for the OpenAPI document.

use std::any::TypeId;

use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};

/// A status that the official API declares.
pub(super) const UNUSED: &str = "Declared by the official API; this server never sends it.";
/// A conflict with a total only.
pub(super) const QUOTA: &str =
    "A quota of the account or of its creator is reached; the detail names it and its limit.";

/// A type of the wire: its identity and its schema.
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

/// The request and responses of an operation, besides its row.
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

/// One successful response.
#[derive(Debug)]
pub(super) struct Success {
    /// The row's, if absent.
    pub(super) status: Option<u16>,
    pub(super) about: &'static str,
    /// `None` for an empty body.
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

    /// Adds an optional query parameter.
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

    /// Makes the last query parameter required.
    pub(super) fn required(mut self) -> Self {
        if let Some(last) = self.query.last_mut() {
            last.is_required = true;
        }
        self
    }

    /// Adds the paging of every list.
    pub(super) fn paged(self) -> Self {
        self.query::<crate::page::LimitText>("limit", "The most items of a page.")
            .query::<crate::page::CursorText>(
                "cursor",
                "`pagination.next_cursor` of the previous page, with the same filters.",
            )
    }

    /// Sets the body.
    pub(super) fn takes<T: JsonSchema + 'static>(mut self) -> Self {
        self.request = Some(WireType::of::<T>());
        self
    }

    /// Sets an example of the body.
    pub(super) fn example(mut self, body: serde_json::Value) -> Self {
        self.request_example = Some(body);
        self
    }

    /// Adds a success with this body.
    pub(super) fn answers<T: JsonSchema + 'static>(mut self, about: &'static str) -> Self {
        self.answers.push(Success {
            status: None,
            about,
            body: Some(WireType::of::<T>()),
        });
        self
    }

    /// Adds a success with another status than the row's.
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

    /// Adds a success without a body.
    pub(super) fn answers_nothing(mut self, about: &'static str) -> Self {
        self.answers.push(Success {
            status: None,
            about,
            body: None,
        });
        self
    }

    /// Adds a refusal of this operation.
    pub(super) fn refuses(mut self, status: u16, why: &'static str) -> Self {
        self.refusals.push((status, why));
        self
    }

    /// Declares that success has a revision.
    pub(super) fn at_revision(mut self) -> Self {
        self.tells_revision = true;
        self
    }

    /// Whether success has a revision.
    pub(crate) fn tells_revision(&self) -> bool {
        self.tells_revision
    }

    /// Whether a handler may parse its body as this type.
    pub(crate) fn takes_type(&self, id: TypeId) -> bool {
        self.request.is_some_and(|request| request.id == id)
    }

    /// Whether a handler may send this type of body with this status; `None` is the row's.
    pub(crate) fn answers_type(&self, status: Option<u16>, body: Option<TypeId>) -> bool {
        self.answers
            .iter()
            .any(|one| one.status == status && one.body.map(|body| body.id) == body)
    }
}

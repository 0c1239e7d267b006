//! OpenID AuthZEN 1.0 on the wire. Requests are open: unknown members are ignored. A known member must have
//! its type, and `null` is refused.

use bindery_core::attribute::{Attribute, Members};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::json;

use super::explanations::Reasons;
use super::schema::FreeText;
use crate::json;
use crate::problem::Problem;

/// The most items of a batch.
pub(crate) const EVALUATIONS_MAX: usize = 1000;
/// The most items of an explained batch: each reads every role.
const EXPLAINED_MAX: usize = 100;

/// `{subject, action, resource, context?, options?}`.
#[derive(Debug)]
pub(crate) struct EvaluationRequest(Members);

/// The same as defaults, and the items.
#[derive(Debug)]
pub(crate) struct EvaluationsRequest(Members);

/// A search; its parts depend on what is searched.
#[derive(Debug)]
pub(crate) struct SearchRequest(Members);

/// When a batch stops early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Semantic {
    #[default]
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

const SEMANTICS: [(&str, Semantic); 3] = [
    ("execute_all", Semantic::ExecuteAll),
    ("deny_on_first_deny", Semantic::DenyOnFirstDeny),
    ("permit_on_first_permit", Semantic::PermitOnFirstPermit),
];

/// A subject or resource, as far as it was sent.
#[derive(Clone, Copy, Debug, Default)]
struct Entity<'a> {
    kind: Option<&'a str>,
    id: Option<&'a str>,
    properties: Option<&'a Members>,
}

/// An action, as far as it was sent.
#[derive(Clone, Copy, Debug, Default)]
struct Action<'a> {
    name: Option<&'a str>,
    properties: Option<&'a Members>,
}

/// The parts of a question, as far as they were sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts<'a> {
    subject: Option<Entity<'a>>,
    action: Option<Action<'a>>,
    resource: Option<Entity<'a>>,
    context: Option<&'a Members>,
}

/// A complete subject or resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    pub(crate) kind: &'a str,
    pub(crate) id: &'a str,
    pub(crate) properties: Option<&'a Members>,
}

/// A complete action.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NamedAction<'a> {
    pub(crate) name: &'a str,
    pub(crate) properties: Option<&'a Members>,
}

/// A complete question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) subject: Named<'a>,
    pub(crate) action: NamedAction<'a>,
    pub(crate) resource: Named<'a>,
    pub(crate) context: Option<&'a Members>,
}

impl EvaluationRequest {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Problem> {
        json::parse_open(bytes).map(Self)
    }

    pub(crate) fn asked(&self) -> Result<Asked<'_>, Problem> {
        Parts::read(&self.0)?.whole()
    }

    /// Whether reasons are requested.
    pub(crate) fn explains(&self) -> Result<bool, Problem> {
        explains(&self.0)
    }
}

impl EvaluationsRequest {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Problem> {
        json::parse_open(bytes).map(Self)
    }

    pub(crate) fn defaults(&self) -> Result<Parts<'_>, Problem> {
        Parts::read(&self.0)
    }

    pub(crate) fn explains(&self) -> Result<bool, Problem> {
        explains(&self.0)
    }

    pub(crate) fn semantic(&self) -> Result<Semantic, Problem> {
        let Some(sent) = options(&self.0)?.and_then(|options| options.get("evaluations_semantic"))
        else {
            return Ok(Semantic::default());
        };
        let known = SEMANTICS.iter().find(|(name, _)| is_text(sent, name));
        known.map(|(_, semantic)| *semantic).ok_or_else(|| {
            let names = SEMANTICS.map(|(name, _)| name).join(", ");
            Problem::field(
                "options.evaluations_semantic",
                format!("is not one of {names}"),
            )
        })
    }

    /// The items, each to be parsed separately; none means a single question.
    pub(crate) fn items(&self) -> Result<&[Attribute], Problem> {
        let items = match self.0.get("evaluations") {
            None => return Ok(&[]),
            Some(Attribute::List(items)) => items,
            Some(_) => return Err(Problem::field("evaluations", "an array is expected")),
        };
        let (max, with) = if self.explains()? {
            (EXPLAINED_MAX, " with `options.explain`")
        } else {
            (EVALUATIONS_MAX, "")
        };
        if items.len() > max {
            let why = format!(
                "has {} items; at most {max} are accepted{with}",
                items.len()
            );
            return Err(Problem::field("evaluations", why));
        }
        Ok(items)
    }
}

impl SearchRequest {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Problem> {
        json::parse_open(bytes).map(Self)
    }

    /// All members, to identify the request.
    pub(crate) fn members(&self) -> &Members {
        &self.0
    }

    pub(crate) fn subject(&self) -> Result<Named<'_>, Problem> {
        entity(&self.0, "subject")?
            .unwrap_or_default()
            .named("subject")
    }

    pub(crate) fn resource(&self) -> Result<Named<'_>, Problem> {
        entity(&self.0, "resource")?
            .unwrap_or_default()
            .named("resource")
    }

    pub(crate) fn action(&self) -> Result<NamedAction<'_>, Problem> {
        action(&self.0)?.unwrap_or_default().named()
    }

    pub(crate) fn context(&self) -> Result<Option<&Members>, Problem> {
        object(&self.0, "context", "context")
    }

    /// The type to search for, with its assumed properties; an id is ignored.
    pub(crate) fn searched<'a>(
        &'a self,
        name: &str,
    ) -> Result<(&'a str, Option<&'a Members>), Problem> {
        let members = object(&self.0, name, name)?;
        let kind = members
            .map(|members| text(members, name, "type"))
            .transpose()?;
        let kind = kind
            .flatten()
            .ok_or_else(|| missing(&format!("{name}.type")))?;
        let properties = members
            .map(|members| properties(members, name))
            .transpose()?;
        Ok((kind, properties.flatten()))
    }

    /// `page`, if it was sent.
    pub(crate) fn page(&self) -> Result<PageRequest<'_>, Problem> {
        let Some(page) = object(&self.0, "page", "page")? else {
            return Ok(PageRequest::default());
        };
        properties(page, "page")?;
        let limit = page.get("limit").map(|limit| {
            whole_number(limit)
                .ok_or_else(|| Problem::field("page.limit", "a whole number from 0 on is expected"))
        });
        Ok(PageRequest {
            token: text(page, "page", "token")?,
            limit: limit.transpose()?,
        })
    }
}

/// The requested page of a search.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PageRequest<'a> {
    pub(crate) token: Option<&'a str>,
    /// Capped at the largest `usize`.
    pub(crate) limit: Option<usize>,
}

/// In any spelling: JSON has one kind of number.
fn whole_number(value: &Attribute) -> Option<usize> {
    match value {
        Attribute::Integer(number @ 0..) => Some(usize::try_from(*number).unwrap_or(usize::MAX)),
        Attribute::Float(number) if *number >= 0.0 && number.fract() == 0.0 => {
            // A float of this size is above the largest page; smaller ones are exact.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates"
            )]
            Some(*number as usize)
        }
        _ => None,
    }
}

impl<'a> Parts<'a> {
    fn read(members: &'a Members) -> Result<Self, Problem> {
        Ok(Self {
            subject: entity(members, "subject")?,
            action: action(members)?,
            resource: entity(members, "resource")?,
            context: object(members, "context", "context")?,
        })
    }

    /// An item of a batch over the defaults: a member of the item replaces the default completely. Then only
    /// an absent `type`, `id` or `name` is taken from the default. Properties are never merged.
    pub(crate) fn of_item(item: &'a Attribute, defaults: &Self) -> Result<Self, Problem> {
        let Attribute::Members(members) = item else {
            return Err(Problem::invalid("an object is expected"));
        };
        let own = Self::read(members)?;
        let entity = |own: Option<Entity<'a>>, default: Option<Entity<'a>>| match (own, default) {
            (Some(own), Some(default)) => Some(Entity {
                kind: own.kind.or(default.kind),
                id: own.id.or(default.id),
                properties: own.properties,
            }),
            (own, default) => own.or(default),
        };
        let action = match (own.action, defaults.action) {
            (Some(own), Some(default)) => Some(Action {
                name: own.name.or(default.name),
                properties: own.properties,
            }),
            (own, default) => own.or(default),
        };
        Ok(Self {
            subject: entity(own.subject, defaults.subject),
            action,
            resource: entity(own.resource, defaults.resource),
            context: own.context.or(defaults.context),
        })
    }

    /// The question, if nothing is missing.
    pub(crate) fn whole(self) -> Result<Asked<'a>, Problem> {
        Ok(Asked {
            subject: self
                .subject
                .ok_or_else(|| missing("subject"))?
                .named("subject")?,
            action: self.action.ok_or_else(|| missing("action"))?.named()?,
            resource: self
                .resource
                .ok_or_else(|| missing("resource"))?
                .named("resource")?,
            context: self.context,
        })
    }
}

impl<'a> Entity<'a> {
    fn named(self, name: &str) -> Result<Named<'a>, Problem> {
        Ok(Named {
            kind: self.kind.ok_or_else(|| missing(&format!("{name}.type")))?,
            id: self.id.ok_or_else(|| missing(&format!("{name}.id")))?,
            properties: self.properties,
        })
    }
}

impl<'a> Action<'a> {
    fn named(self) -> Result<NamedAction<'a>, Problem> {
        Ok(NamedAction {
            name: self.name.ok_or_else(|| missing("action.name"))?,
            properties: self.properties,
        })
    }
}

fn entity<'a>(members: &'a Members, name: &str) -> Result<Option<Entity<'a>>, Problem> {
    let Some(members) = object(members, name, name)? else {
        return Ok(None);
    };
    Ok(Some(Entity {
        kind: text(members, name, "type")?,
        id: text(members, name, "id")?,
        properties: properties(members, name)?,
    }))
}

fn action(members: &Members) -> Result<Option<Action<'_>>, Problem> {
    let Some(members) = object(members, "action", "action")? else {
        return Ok(None);
    };
    Ok(Some(Action {
        name: text(members, "action", "name")?,
        properties: properties(members, "action")?,
    }))
}

fn properties<'a>(members: &'a Members, of: &str) -> Result<Option<&'a Members>, Problem> {
    object(members, "properties", &format!("{of}.properties"))
}

fn options(members: &Members) -> Result<Option<&Members>, Problem> {
    object(members, "options", "options")
}

fn explains(members: &Members) -> Result<bool, Problem> {
    match options(members)?.and_then(|options| options.get("explain")) {
        None => Ok(false),
        Some(Attribute::Bool(wanted)) => Ok(*wanted),
        Some(_) => Err(Problem::field(
            "options.explain",
            "`true` or `false` is expected",
        )),
    }
}

fn object<'a>(
    members: &'a Members,
    name: &str,
    path: &str,
) -> Result<Option<&'a Members>, Problem> {
    match members.get(name) {
        None => Ok(None),
        Some(Attribute::Members(members)) => Ok(Some(members)),
        Some(_) => Err(Problem::field(path, "an object is expected")),
    }
}

fn text<'a>(members: &'a Members, of: &str, name: &str) -> Result<Option<&'a str>, Problem> {
    match members.get(name) {
        None => Ok(None),
        Some(Attribute::Text(text)) => Ok(Some(text)),
        Some(_) => Err(Problem::field(
            &format!("{of}.{name}"),
            "a string is expected",
        )),
    }
}

fn is_text(value: &Attribute, text: &str) -> bool {
    matches!(value, Attribute::Text(found) if found == text)
}

fn missing(name: &str) -> Problem {
    Problem::field(name, "is missing")
}

/// The answer to one question.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Evaluated {
    pub(crate) decision: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "EvaluatedContext")]
    pub(crate) context: Option<Box<EvaluatedContext>>,
}

/// What is sent beside a decision.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EvaluatedContext {
    /// Why this item of a batch could not be decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ItemError")]
    error: Option<ItemError>,
    /// The reason, if it was requested.
    #[serde(flatten)]
    #[schemars(with = "Option<Reasons>")]
    reasons: Option<Reasons>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ItemError {
    /// The status that the item would have had as a request.
    status: u16,
    #[schemars(with = "FreeText")]
    message: String,
}

/// The answers to a batch, or the one to a question without items.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum EvaluationsAnswer {
    Single(Evaluated),
    Batch { evaluations: Vec<Evaluated> },
}

impl Evaluated {
    /// A decision without reasons.
    pub(crate) const fn plain(decision: bool) -> Self {
        Self {
            decision,
            context: None,
        }
    }

    /// An item that could not be decided: a deny.
    pub(crate) fn failed(problem: &Problem) -> Self {
        let error = ItemError {
            status: problem.status(),
            message: problem.detail().to_owned(),
        };
        Self {
            decision: false,
            context: Some(Box::new(EvaluatedContext {
                error: Some(error),
                reasons: None,
            })),
        }
    }

    /// Whether the caller may not ask it.
    pub(crate) fn is_refused(&self) -> bool {
        let error = self
            .context
            .as_ref()
            .and_then(|context| context.error.as_ref());
        error.is_some_and(|error| error.status == 403)
    }

    /// A decision with its reasons.
    pub(crate) fn explained(decision: bool, reasons: Reasons) -> Self {
        Self {
            decision,
            context: Some(Box::new(EvaluatedContext {
                error: None,
                reasons: Some(reasons),
            })),
        }
    }
}

/// One page of a search. `page` comes first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}SearchAnswer")]
pub(crate) struct SearchAnswer<T> {
    pub(crate) page: PageAnswer,
    pub(crate) results: Vec<T>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PageAnswer {
    /// Send it as `page.token` for the next page; empty at the end.
    #[schemars(with = "FreeText")]
    pub(crate) next_token: String,
    /// How many results this page has.
    pub(crate) count: usize,
    /// How many results all pages have together.
    pub(crate) total: usize,
}

/// A found subject or resource.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EntityFound {
    #[schemars(with = "FreeText")]
    pub(crate) r#type: String,
    #[schemars(with = "FreeText")]
    pub(crate) id: String,
}

/// A found action.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ActionFound {
    #[schemars(with = "FreeText")]
    pub(crate) name: String,
}

/// The URLs of the decision point.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Configuration {
    #[schemars(with = "UrlText")]
    pub(crate) policy_decision_point: String,
    #[schemars(with = "UrlText")]
    pub(crate) access_evaluation_endpoint: String,
    #[schemars(with = "UrlText")]
    pub(crate) access_evaluations_endpoint: String,
    #[schemars(with = "UrlText")]
    pub(crate) search_subject_endpoint: String,
    #[schemars(with = "UrlText")]
    pub(crate) search_resource_endpoint: String,
    #[schemars(with = "UrlText")]
    pub(crate) search_action_endpoint: String,
}

/// A URL.
#[derive(Debug)]
pub(crate) enum UrlText {}

impl JsonSchema for UrlText {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Url".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "uri"})
    }
}

/// The schemas of requests: open objects, with the members that are read.
macro_rules! described {
    ($type:ty, $name:literal, $schema:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema.try_into().unwrap_or_default()
            }
        }
    };
}

/// Any text is accepted: an unknown name is not an error.
fn string_schema() -> serde_json::Value {
    json!({"type": "string", "pattern": "^"})
}

fn entity_schema(about: &str, required: &[&str]) -> serde_json::Value {
    json!({
        "type": "object",
        "description": about,
        "required": required,
        "properties": {
            "type": string_schema(),
            "id": string_schema(),
            "properties": {"type": "object", "description": "Reserved for conditions; no decision depends on it yet."},
        },
    })
}

fn subject_schema(required: &[&str]) -> serde_json::Value {
    let about = "`user` by id or e-mail address, or `service_key` by key id.";
    entity_schema(about, required)
}

fn resource_schema(required: &[&str]) -> serde_json::Value {
    let about = "`account` (its id is `account`), `organization`, `space` or `project`, by id.";
    entity_schema(about, required)
}

fn action_schema(required: &[&str]) -> serde_json::Value {
    json!({
        "type": "object",
        "description": "A permission by its name, like `PROJECT_READ`.",
        "required": required,
        "properties": {
            "name": string_schema(),
            "properties": {"type": "object", "description": "Reserved for conditions; no decision depends on it yet."},
        },
    })
}

fn context_schema() -> serde_json::Value {
    json!({"type": "object", "description": "Reserved for conditions; no decision depends on it yet."})
}

fn options_schema() -> serde_json::Value {
    json!({
        "type": "object",
        "properties": {"explain": {"type": "boolean", "default": false, "description": "Whether results have their reason."}},
    })
}

fn page_schema() -> serde_json::Value {
    json!({
        "type": "object",
        "description": "Which part of the results.",
        "properties": {
            "token": {
                "type": "string",
                "format": "search-token",
                "description": "`page.next_token` of the previous page. Everything except `page.limit` must be unchanged.",
            },
            "limit": {
                "type": "integer",
                "minimum": 0,
                "description": "The most results of the page. A larger number means the maximum; 0 returns `total` only.",
            },
        },
    })
}

const ENTITY: [&str; 2] = ["type", "id"];

described!(
    EvaluationRequest,
    "AccessEvaluationRequest",
    json!({
        "type": "object",
        "required": ["subject", "action", "resource"],
        "properties": {
            "subject": subject_schema(&ENTITY),
            "action": action_schema(&["name"]),
            "resource": resource_schema(&ENTITY),
            "context": context_schema(),
            "options": options_schema(),
        },
    })
);

described!(EvaluationsRequest, "AccessEvaluationsRequest", {
    let mut options = options_schema();
    options["properties"]["evaluations_semantic"] = json!({
        "type": "string",
        "enum": SEMANTICS.map(|(name, _)| name),
        "default": "execute_all",
        "description": "Whether the batch stops at the first item that is denied or fails, or at the first that is allowed.",
    });
    json!({
        "type": "object",
        "properties": {
            "subject": subject_schema(&[]),
            "action": action_schema(&[]),
            "resource": resource_schema(&[]),
            "context": context_schema(),
            "evaluations": {
                "type": "array",
                "maxItems": EVALUATIONS_MAX,
                "description": "Questions, at most 100 if reasons are requested. A member of an item replaces the default beside `evaluations`; only an absent `type`, `id` or `name` of it is taken from the default. Without items the defaults are the question.",
                "items": {
                    "type": "object",
                    "properties": {
                        "subject": subject_schema(&[]),
                        "action": action_schema(&[]),
                        "resource": resource_schema(&[]),
                        "context": context_schema(),
                    },
                },
            },
            "options": options,
        },
    })
});

macro_rules! search_requests {
    ($($(#[$doc:meta])* $type:ident $name:literal [$subject:expr] [$action:expr] [$resource:expr])*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $type(pub(crate) SearchRequest);

        described!($type, $name, {
            let mut properties = serde_json::Map::new();
            let mut required: Vec<&str> = Vec::new();
            let parts: [(&str, Option<serde_json::Value>); 3] =
                [("subject", $subject), ("action", $action), ("resource", $resource)];
            for (part, schema) in parts {
                if let Some(schema) = schema {
                    properties.insert(part.to_owned(), schema);
                    required.push(part);
                }
            }
            properties.insert("context".to_owned(), context_schema());
            properties.insert("page".to_owned(), page_schema());
            json!({"type": "object", "required": required, "properties": properties})
        });
    )*};
}

search_requests! {
    /// Searches subjects.
    SubjectSearch "SubjectSearchRequest" [Some(subject_schema(&["type"]))] [Some(action_schema(&["name"]))] [Some(resource_schema(&ENTITY))]
    /// Searches resources.
    ResourceSearch "ResourceSearchRequest" [Some(subject_schema(&ENTITY))] [Some(action_schema(&["name"]))] [Some(resource_schema(&["type"]))]
    /// Searches actions.
    ActionSearch "ActionSearchRequest" [Some(subject_schema(&ENTITY))] [None] [Some(resource_schema(&ENTITY))]
}

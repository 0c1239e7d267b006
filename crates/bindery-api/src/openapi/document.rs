//! Builds the document from the operations table, the descriptions, and the schemas of the wire types.

use std::sync::LazyLock;

use bindery_core::id::{
    ApiKeyId, OrganizationId, ProjectId, RoleBindingId, RoleId, SpaceId, UserId,
};
use bindery_core::text::RequestId;
use schemars::Schema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::transform::RecursiveTransform;
use serde_json::{Map, Value, json};

use super::description::{Described, Parameter, Success, WireType};
use crate::operation::{Body, Handler, Operation};
use crate::operations::{OPERATIONS, names};
use crate::problem::Problem;
use crate::secret::LinkToken;
use crate::wire::schema::{IdText, Text};

/// The OpenAPI document of this server, as indented JSON: the body of `GET /openapi.json`.
pub fn openapi_json() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut text = format!("{:#}", document());
        text.push('\n');
        text
    });
    &TEXT
}

/// Refusals of every operation, and why.
const EVERYWHERE: [(u16, &str); 5] = [
    (
        400,
        "The request is malformed; the detail names the field and what it takes.",
    ),
    (
        401,
        "No key, or one that is unknown, revoked or expired, or whose user is not active.",
    ),
    (
        403,
        "The person of the key may not use the API: their developer access is switched off.",
    ),
    (
        429,
        "Too many requests with this key, where a limit is configured; or a daily quota is reached.",
    ),
    (
        503,
        "Not available now: a change can't be stored, or this server's data is older than `Bindery-At-Least` or its operator \
         allows. Try again. If a change may have been made, the detail says so.",
    ),
];

/// More refusals of operations with a body.
const WITH_BODY: [(u16, &str); 2] = [
    (408, "The body did not arrive in time."),
    (413, "The body is larger than 1 MiB."),
];

const ABOUT: &str = "Users, organizations, spaces, projects, roles, role bindings, restrictions and API keys of one account, and who \
may do what with them. Compatible with the access-control part of the Arize AX REST API v2; an independent project.\n\n\
Send an API key as `Authorization: Bearer <key>`. Request bodies are closed: an unknown member is refused, except in \
AuthZEN, which ignores it. Ids are \
opaque. What is absent, deleted, not visible to the caller or in another account gets the same 404. Errors are problem \
details (RFC 9457) with the status in the body. Every response has the id of the request.\n\n\
Every response to a key has the revision of the account in `Bindery-Revision`. Sent back as \
`Bindery-At-Least`, it makes any server of the same store respond from that revision or a later one, or with 503 within five seconds.";

/// Schemas of requests, and of responses: the same type can differ, since a member may be optional in one
/// direction only.
struct Schemas {
    requests: SchemaGenerator,
    responses: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self {
            requests: settings.clone().for_deserialize().into_generator(),
            responses: settings.for_serialize().into_generator(),
        }
    }

    fn request(&mut self, of: &WireType) -> Value {
        (of.schema)(&mut self.requests).to_value()
    }

    fn response(&mut self, of: &WireType) -> Value {
        (of.schema)(&mut self.responses).to_value()
    }

    /// All schemas that were referred to by name.
    fn named(mut self) -> Map<String, Value> {
        let mut named = self.requests.take_definitions(true);
        for (name, schema) in self.responses.take_definitions(true) {
            debug_assert!(
                named.get(&name).is_none_or(|other| *other == schema),
                "two schemas are called {name}"
            );
            named.insert(name, schema);
        }
        named
    }
}

fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths: Map<String, Value> = Map::new();
    let mut statuses: Vec<u16> = Vec::new();
    for operation in &OPERATIONS {
        let described = (operation.described)();
        let all = refusals(operation, &described);
        statuses.extend(all.iter().map(|(status, _)| *status));
        let value = one(operation, &described, &all, &mut schemas);
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method.as_str().to_lowercase()] = value;
    }
    statuses.sort_unstable();
    statuses.dedup();
    let problems: Vec<(String, Value)> = statuses
        .iter()
        .map(|status| {
            (
                problem_name(*status),
                Problem::schema(*status, &mut schemas.responses),
            )
        })
        .collect();
    let mut named = schemas.named();
    named.extend(problems);
    let mut tags: Vec<&str> = Vec::new();
    for operation in &OPERATIONS {
        if !tags.contains(&tag(operation)) {
            tags.push(tag(operation));
        }
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Bindery",
            "summary": "Who may do what",
            "description": ABOUT,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": tags.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": named,
            "responses": shared_refusals(),
            "headers": headers(),
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, of a user or of a service.",
                },
            },
        },
    });
    without_null_defaults(&mut document);
    document
}

fn one(
    operation: &Operation,
    described: &Described,
    refusals: &[(u16, &str)],
    schemas: &mut Schemas,
) -> Value {
    let in_path = names(operation.path).map(|name| {
        let of = path_parameter(name).expect("every name in a path has a type");
        json!({"name": name, "in": "path", "required": true, "schema": schemas.request(&of)})
    });
    let mut parameters: Vec<Value> = in_path.collect();
    parameters.extend(
        described
            .query
            .iter()
            .map(|parameter| query_parameter(parameter, schemas)),
    );
    let mut responses = Map::new();
    for success in &described.answers {
        let status = success.status.unwrap_or(operation.success);
        let mut answered = answered(success, schemas);
        if operation.takes_key() {
            answered["headers"]["bindery-revision"] =
                json!({"$ref": "#/components/headers/Revision"});
        }
        responses.insert(status.to_string(), answered);
    }
    for (status, why) in refusals {
        let is_own = described.refusals.iter().any(|(own, _)| own == status);
        let response = if is_own {
            refused(*status, why)
        } else {
            json!({"$ref": format!("#/components/responses/{}", problem_name(*status))})
        };
        responses.insert(status.to_string(), response);
    }
    let mut value = json!({
        "operationId": operation.id,
        "tags": [tag(operation)],
        "summary": described.summary,
        "responses": responses,
    });
    if !operation.takes_key() {
        value["security"] = json!([]);
    }
    if !described.detail.is_empty() {
        value["description"] = described.detail.into();
    }
    if !parameters.is_empty() {
        value["parameters"] = parameters.into();
    }
    if let Some(body) = &described.request {
        let mut content = json!({"schema": schemas.request(body)});
        if let Some(example) = &described.request_example {
            content["example"] = example.clone();
        }
        value["requestBody"] = json!({
            "required": operation.body == Body::Json,
            "content": {"application/json": content},
        });
    }
    value
}

fn query_parameter(parameter: &Parameter, schemas: &mut Schemas) -> Value {
    let schema = schemas.request(&parameter.of);
    let mut value = json!({
        "name": parameter.name,
        "in": "query",
        "required": parameter.is_required,
        "description": parameter.about,
    });
    if schema["type"] == "array" {
        value["style"] = "form".into();
        value["explode"] = true.into();
    }
    value["schema"] = schema;
    value
}

fn answered(success: &Success, schemas: &mut Schemas) -> Value {
    let mut value = json!({
        "description": success.about,
        "headers": {"x-request-id": {"$ref": "#/components/headers/RequestId"}},
    });
    if let Some(body) = &success.body {
        value["content"] = json!({"application/json": {"schema": schemas.response(body)}});
    }
    value
}

/// The refusals that operations share.
fn shared_refusals() -> Map<String, Value> {
    let shared = EVERYWHERE.iter().chain(&WITH_BODY);
    shared
        .map(|(status, why)| (problem_name(*status), refused(*status, why)))
        .collect()
}

fn refused(status: u16, why: &str) -> Value {
    let schema = json!({"$ref": format!("#/components/schemas/{}", problem_name(status))});
    let mut headers = json!({"x-request-id": {"$ref": "#/components/headers/RequestId"}});
    match status {
        401 => {
            headers["www-authenticate"] = json!({"$ref": "#/components/headers/WwwAuthenticate"});
        }
        429 | 503 => headers["retry-after"] = json!({"$ref": "#/components/headers/RetryAfter"}),
        _ => {}
    }
    json!({
        "description": why,
        "headers": headers,
        "content": {"application/problem+json": {"schema": schema}},
    })
}

/// Each refusal of the operation, and why.
fn refusals(operation: &Operation, described: &Described) -> Vec<(u16, &'static str)> {
    let mut shared = EVERYWHERE.to_vec();
    if described.request.is_some() {
        shared.extend(WITH_BODY);
    }
    if !operation.takes_key() {
        shared.retain(|(status, _)| ![401, 403].contains(status));
    }
    let own = &described.refusals;
    shared.retain(|(status, _)| own.iter().all(|(own, _)| own != status));
    own.iter().copied().chain(shared).collect()
}

fn problem_name(status: u16) -> String {
    format!("Problem{status}")
}

/// The family of an operation: the word after `/v2/` or `/bindery/v1/`, one for people without a key, and
/// AuthZEN.
fn tag(operation: &Operation) -> &'static str {
    let mut words = operation.path.split('/').skip(1);
    match (operation.handler, words.next()) {
        (Handler::WithProof(_), _) => "sign-in",
        (_, Some("access" | ".well-known")) => "authzen",
        (_, Some("v2")) => words.next().unwrap_or_default(),
        _ => words.nth(1).unwrap_or_default(),
    }
}

/// The type of a path parameter.
fn path_parameter(name: &str) -> Option<WireType> {
    Some(match name {
        "binding_id" => WireType::of::<IdText<RoleBindingId>>(),
        "role_id" => WireType::of::<IdText<RoleId>>(),
        "user_id" => WireType::of::<IdText<UserId>>(),
        "org_id" => WireType::of::<IdText<OrganizationId>>(),
        "space_id" => WireType::of::<IdText<SpaceId>>(),
        // A restriction has no id: the path has its project's.
        "project_id" | "resource_id" => WireType::of::<IdText<ProjectId>>(),
        "api_key_id" => WireType::of::<IdText<ApiKeyId>>(),
        "token" => WireType::of::<Text<LinkToken>>(),
        _ => return None,
    })
}

fn headers() -> Value {
    json!({
        "RequestId": {
            "description": "The request's own `x-request-id` if it sent one of printable ASCII characters, or a new one. The log has it.",
            "required": true,
            "schema": {"type": "string", "minLength": 1, "maxLength": RequestId::LENGTH_MAX, "pattern": "^[!-~]+$"},
        },
        "Revision": {
            "description": "The revision of the account that the response is based on.",
            "required": true,
            "schema": {"type": "integer", "minimum": 0},
        },
        "RetryAfter": {
            "description": "Seconds after which to try again.",
            "required": true,
            "schema": {"type": "integer", "minimum": 0},
        },
        "WwwAuthenticate": {
            "description": "The authentication scheme.",
            "required": true,
            "schema": {"type": "string", "const": "Bearer"},
        },
    })
}

/// An absent member has no value; `null`, where it is accepted, is a value.
fn without_null_defaults(document: &mut Value) {
    let Some(Value::Object(named)) = document.pointer_mut("/components/schemas") else {
        return;
    };
    let mut transform = RecursiveTransform(|schema: &mut Schema| {
        if schema.get("default") == Some(&Value::Null) {
            schema.remove("default");
        }
    });
    for value in named.values_mut() {
        if let Ok(schema) = value.try_into() {
            let schema: &mut Schema = schema;
            schemars::transform::Transform::transform(&mut transform, schema);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_committed_document_is_the_served_one() {
        let committed = include_str!("../../../../contract/openapi.json");
        assert!(
            committed == openapi_json(),
            "contract/openapi.json is stale: run `cargo xtask codegen` and commit"
        );
    }

    #[test]
    fn the_document_has_every_operation_of_the_table_and_no_other() {
        let document = document();
        let mut found = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, one) in methods.as_object().unwrap() {
                let id = one["operationId"].as_str().unwrap().to_owned();
                assert!(found.insert((id, method.to_uppercase(), path.clone())));
            }
        }
        let table: BTreeSet<_> = OPERATIONS
            .iter()
            .map(|one| {
                (
                    one.id.to_owned(),
                    one.method.to_string(),
                    one.path.to_owned(),
                )
            })
            .collect();
        assert_eq!(found, table);
    }

    #[test]
    fn what_is_described_is_what_the_row_says() {
        for operation in &OPERATIONS {
            let described = (operation.described)();
            let query: Vec<&str> = described.query.iter().map(|one| one.name).collect();
            assert_eq!(query, operation.query, "{operation:?}");
            assert_eq!(
                described.request.is_some(),
                operation.body != Body::Empty,
                "{operation:?}"
            );
            let says_nothing = described.answers.iter().all(|one| one.body.is_none());
            assert_eq!(says_nothing, operation.success == 204, "{operation:?}");
            assert!(
                described.answers.iter().any(|one| one.status.is_none()),
                "{operation:?}"
            );
            let mut statuses: Vec<u16> = refusals(operation, &described)
                .iter()
                .map(|(status, _)| *status)
                .collect();
            let count = statuses.len();
            statuses.sort_unstable();
            statuses.dedup();
            assert_eq!(
                statuses.len(),
                count,
                "{operation:?} gives two reasons for one status"
            );
        }
    }

    #[test]
    fn what_any_key_may_be_answered_is_described_everywhere() {
        for operation in OPERATIONS.iter().filter(|one| one.takes_key()) {
            let described = (operation.described)();
            let statuses = refusals(operation, &described);
            for expected in [400, 401, 403, 429, 503] {
                assert!(
                    statuses.iter().any(|(status, _)| *status == expected),
                    "{operation:?} {expected}"
                );
            }
        }
    }

    /// Collects the strings without a description of their content.
    fn walk(value: &Value, path: &str, found: &mut Vec<String>) {
        let said = ["format", "pattern", "enum", "const", "maxLength"];
        let is_text = value["type"] == "string" || value["type"] == json!(["string", "null"]);
        if is_text && said.iter().all(|key| value.get(key).is_none()) {
            found.push(path.to_owned());
        }
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    walk(member, &format!("{path}/{name}"), found);
                }
            }
            Value::Array(items) => {
                for (place, item) in items.iter().enumerate() {
                    walk(item, &format!("{path}/{place}"), found);
                }
            }
            _ => {}
        }
    }
    /// Collects the objects of a request that accept other members than the described ones.
    fn open(value: &Value, document: &Value, path: &str, found: &mut Vec<String>) {
        if let Some(name) = value["$ref"].as_str() {
            open(
                document.pointer(name.trim_start_matches('#')).unwrap(),
                document,
                name,
                found,
            );
        }
        for one in value["oneOf"].as_array().into_iter().flatten() {
            open(one, document, path, found);
        }
        let Some(properties) = value["properties"].as_object() else {
            return;
        };
        if value["additionalProperties"] != false {
            found.push(path.to_owned());
        }
        for (name, property) in properties {
            open(property, document, &format!("{path}.{name}"), found);
            open(
                &property["items"],
                document,
                &format!("{path}.{name}"),
                found,
            );
        }
    }
    /// A string without a description of its content was forgotten.
    #[test]
    fn every_string_says_what_it_takes_and_every_request_is_closed() {
        let document = document();
        let mut found = Vec::new();
        walk(&document["paths"], "paths", &mut found);
        walk(&document["components"]["schemas"], "schemas", &mut found);
        found.retain(|path| !path.contains("Problem"));
        assert!(found.is_empty(), "{found:#?}");

        let mut found = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for one in methods.as_object().unwrap().values() {
                // AuthZEN ignores unknown members; explanations use the same requests.
                if path.starts_with("/access/") || path == "/bindery/v1/explain" {
                    continue;
                }
                let body = &one["requestBody"]["content"]["application/json"]["schema"];
                open(body, &document, path, &mut found);
            }
        }
        assert!(found.is_empty(), "{found:#?}");
    }
}

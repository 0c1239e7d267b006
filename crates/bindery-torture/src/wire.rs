//! Intents as requests, and responses as they are compared.

use bindery_core::id::{
    Id, IdKey, OrganizationId, ProjectId, RoleBindingId, RoleId, SpaceId, UserId,
};
use bindery_core::resource::BindableKind;
use serde_json::{Value, json};

use crate::history::Answer;
use crate::http::{Lost, Reply};
use crate::intent::{
    Intent, LIST_MAX, ShownBinding, ShownRole, gone, shown_list, shown_organization,
};

/// The response to a change that may still be made.
const MAY_STILL: &str = "may still be made";

/// A request: its method, its path and its body.
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
}

impl Request {
    pub(crate) fn of(intent: &Intent, ids: &IdKey) -> Self {
        let list = |path: &str, rest: &str| format!("{path}?limit={LIST_MAX}{rest}");
        let binding = |id: RoleBindingId| format!("/v2/role-bindings/{}", ids.encode(id));
        let (method, path, body) = match intent {
            Intent::GiveRole { binding: id, role } => (
                "PATCH",
                binding(*id),
                Some(json!({"role_id": ids.encode(*role)})),
            ),
            Intent::Bind {
                user,
                project,
                role,
            } => {
                let body = json!({
                    "role_id": ids.encode(*role), "user_id": ids.encode(*user),
                    "resource_type": "PROJECT", "resource_id": ids.encode(*project),
                });
                ("POST", "/v2/role-bindings".to_owned(), Some(body))
            }
            Intent::Unbind(id) => ("DELETE", binding(*id), None),
            Intent::MakeRole {
                name,
                tag,
                permission,
            } => {
                let body = json!({
                    "name": name, "description": tag, "permissions": [permission.name()],
                });
                ("POST", "/v2/roles".to_owned(), Some(body))
            }
            Intent::ChangeRole {
                role,
                tag,
                permission,
            } => {
                let body = json!({"description": tag, "permissions": [permission.name()]});
                (
                    "PATCH",
                    format!("/v2/roles/{}", ids.encode(*role)),
                    Some(body),
                )
            }
            Intent::DropRole(role) => ("DELETE", format!("/v2/roles/{}", ids.encode(*role)), None),
            Intent::MakeOrganization { name, tag } => {
                let body = json!({"name": name, "description": tag});
                ("POST", "/v2/organizations".to_owned(), Some(body))
            }
            Intent::MakeSpace { organization, name } => {
                let organization = ids.encode(*organization);
                let body = json!({"name": name, "organization_id": organization});
                ("POST", "/v2/spaces".to_owned(), Some(body))
            }
            Intent::DropOrganization(organization) => {
                let path = format!("/v2/organizations/{}", ids.encode(*organization));
                ("DELETE", path, None)
            }
            Intent::SeeBinding(id) => ("GET", binding(*id), None),
            Intent::ListBindings(kind) => {
                let kind = match kind {
                    BindableKind::Space => "&resource_type=SPACE",
                    BindableKind::Project => "&resource_type=PROJECT",
                };
                ("GET", list("/v2/role-bindings", kind), None)
            }
            Intent::ListRoles => ("GET", list("/v2/roles", "&is_predefined=false"), None),
            Intent::ListOrganizations => ("GET", list("/v2/organizations", ""), None),
            Intent::May {
                user,
                permission,
                project,
            } => {
                let body = json!({
                    "subject": {"type": "user", "id": ids.encode(*user)},
                    "action": {"name": permission.name()},
                    "resource": {"type": "project", "id": ids.encode(*project)},
                });
                ("POST", "/access/v1/evaluation".to_owned(), Some(body))
            }
        };
        Self { method, path, body }
    }
}

/// The result of a request.
pub(crate) fn answer(intent: &Intent, ids: &IdKey, reply: &Result<Reply, Lost>) -> Answer {
    let reply = match reply {
        Err(Lost::NotSent) => return Answer::Nothing,
        Err(Lost::Unknown) => return Answer::Unknown,
        Ok(reply) => reply,
    };
    match reply.status {
        200..=299 => told(intent, ids, &reply.body)
            .map_or_else(|| Answer::Odd(format!("{reply:?}")), Answer::Done),
        404 | 409 => Answer::Refused(reply.status),
        503 if reply.body["detail"]
            .as_str()
            .is_some_and(|said| said.contains(MAY_STILL)) =>
        {
            Answer::Unknown
        }
        503 => Answer::Nothing,
        _ => Answer::Odd(format!("{reply:?}")),
    }
}

fn told(intent: &Intent, ids: &IdKey, body: &Value) -> Option<String> {
    let lines = |member: &str, line: &dyn Fn(&Value) -> Option<String>| {
        let items = body[member].as_array()?.iter().map(line);
        Some(shown_list(items.collect::<Option<Vec<_>>>()?.into_iter()))
    };
    match intent {
        Intent::GiveRole { .. } | Intent::Bind { .. } | Intent::SeeBinding(_) => binding(ids, body),
        Intent::Unbind(_) | Intent::DropRole(_) | Intent::DropOrganization(_) => Some(gone()),
        Intent::MakeRole { .. } | Intent::ChangeRole { .. } => role(ids, body),
        Intent::MakeOrganization { .. } => organization(ids, body),
        Intent::MakeSpace { .. } => {
            let id: SpaceId = id(ids, body, "id")?;
            Some(format!("space {} {}", id.number(), body["name"].as_str()?))
        }
        Intent::ListBindings(_) => lines("role_bindings", &|item| binding(ids, item)),
        Intent::ListRoles => lines("roles", &|item| role(ids, item)),
        Intent::ListOrganizations => lines("organizations", &|item| organization(ids, item)),
        Intent::May { .. } => Some(body["decision"].as_bool()?.to_string()),
    }
}

fn binding(ids: &IdKey, body: &Value) -> Option<String> {
    let kind = body["resource_type"].as_str()?;
    let resource = match kind {
        "SPACE" => id::<SpaceId>(ids, body, "resource_id")?.number(),
        _ => id::<ProjectId>(ids, body, "resource_id")?.number(),
    };
    let shown = ShownBinding {
        id: id::<RoleBindingId>(ids, body, "id")?,
        role: id::<RoleId>(ids, body, "role_id")?,
        user: id::<UserId>(ids, body, "user_id")?,
        kind,
        resource,
        updated_at_ms: moment(body)?,
    };
    Some(shown.to_string())
}

fn role(ids: &IdKey, body: &Value) -> Option<String> {
    let permissions = body["permissions"].as_array()?.iter().map(Value::as_str);
    let shown = ShownRole {
        id: id::<RoleId>(ids, body, "id")?,
        name: body["name"].as_str()?,
        description: body["description"].as_str().unwrap_or_default(),
        permissions: &permissions.collect::<Option<Vec<_>>>()?,
        updated_at_ms: moment(body)?,
    };
    Some(shown.to_string())
}

fn organization(ids: &IdKey, body: &Value) -> Option<String> {
    let id: OrganizationId = id(ids, body, "id")?;
    let description = body["description"].as_str().unwrap_or_default();
    Some(shown_organization(id, body["name"].as_str()?, description))
}

pub(crate) fn id<I: Id>(ids: &IdKey, body: &Value, member: &str) -> Option<I> {
    ids.parse(body[member].as_str()?).ok()
}

fn moment(body: &Value) -> Option<i64> {
    let moment: jiff::Timestamp = body["updated_at"].as_str()?.parse().ok()?;
    Some(moment.as_millisecond())
}

/// The ids of a list, to choose from.
pub(crate) fn ids_of<I: Id>(ids: &IdKey, body: &Value, member: &str) -> Vec<I> {
    let items = body[member]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    items
        .iter()
        .filter_map(|item| id(ids, item, "id"))
        .collect()
}

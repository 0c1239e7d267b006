//! Bodies of requests, through the functions with which handlers parse them.

use std::fmt::Debug;

use bindery_core::attribute::{Attribute, Members};
use bindery_core::command::Caller;
use bindery_core::command::users::Invitation;
use bindery_core::id::{ApiKeyId, IdKey, OrganizationId, ProjectId, RoleId, SpaceId, UserId};
use bindery_core::text::Email;
use serde_json::{Number, Value};

use crate::audited::{AUDITED_TEXT_MAX, audited_text};
use crate::authzen::hot::{self, Many, One};
use crate::json::{self, Object, ValueCount};
use crate::kept_searches::SearchKey;
use crate::operations::OPERATIONS;
use crate::password::Password;
use crate::problem::{DETAIL_MAX, Problem};
use crate::secret::KeyText;
use crate::wire;
use crate::wire::api_keys::{ApiKeyCreate, ApiKeyRefresh};
use crate::wire::authzen::{
    EVALUATIONS_MAX, EvaluationRequest, EvaluationsRequest, Parts, SearchRequest, Semantic,
};
use crate::wire::organizations::{OrganizationCreate, OrganizationUpdate, OrganizationUserAdd};
use crate::wire::projects::{ProjectCreate, ProjectUpdate};
use crate::wire::quotas::AddressRelease;
use crate::wire::resource_restrictions::ResourceRestrictionCreate;
use crate::wire::role_bindings::{RoleBindingCreate, RoleBindingUpdate};
use crate::wire::roles::{RoleCreate, RoleUpdate};
use crate::wire::sign_in::{PasswordChoice, PasswordReset, SignInRequest};
use crate::wire::spaces::{SpaceCreate, SpaceUpdate, SpaceUserAdd};
use crate::wire::users::{UserCreate, UserUpdate};

use super::{KEY, assert_without_keys};

/// The id of an operation, a line end, and its body.
///
/// # Panics
///
/// If a body is parsed that the open parser refuses, or if it has another meaning in another spelling. If the
/// hot path reads other questions than the handlers, or if the audit log would keep a key.
pub fn bodies(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let operation = parts.next().unwrap_or_default();
    let body = parts.next().unwrap_or_default();
    kept_by_the_audit_log(body);
    let values = values_counted(body);
    let open = json::parse_open(body);
    if let Ok(members) = &open {
        assert!(count_members(members) <= values);
    }
    let id = OPERATIONS.iter().map(|operation| operation.id);
    let Some(id) = id.into_iter().find(|id| id.as_bytes() == operation) else {
        return;
    };
    match (read(id, body), open) {
        (Ok(read_as), Ok(members)) => {
            let again = written(&members);
            let again = read(id, again.as_bytes());
            assert_eq!(again.ok().as_ref(), Some(&read_as), "{members:?}");
        }
        (Ok(read_as), Err(_)) => {
            // The one body that may be absent.
            assert!(body.is_empty(), "{id}: {read_as}");
        }
        (Err(problem), _) => {
            let length = problem.detail().len();
            assert!(
                (1..=DETAIL_MAX + "…".len()).contains(&length),
                "{problem:?}"
            );
            assert_eq!(problem.status(), 400, "{problem:?}");
        }
    }
}

/// What a handler reads, as text.
///
/// # Panics
///
/// If the operation has a body and is missing here.
fn read(operation: &str, body: &[u8]) -> Result<String, Problem> {
    match operation {
        "access_evaluation" => evaluation(body),
        "access_evaluations" => evaluations(body),
        "explain_access" => {
            let request = EvaluationRequest::read(body)?;
            Ok(format!("{:?} {}", request.asked()?, request.explains()?))
        }
        "search_subject" | "search_resource" | "search_action" => search(operation, body),
        "accept_invitation" | "complete_password_reset" | "sign_in" => person(operation, body),
        _ => command(operation, body),
    }
}

fn shown(read: &impl Debug) -> String {
    format!("{read:?}")
}

fn field<T>(name: &str, parsed: Result<T, impl std::fmt::Display>) -> Result<T, Problem> {
    parsed.map_err(|error| Problem::field(name, error))
}

fn command(operation: &str, body: &[u8]) -> Result<String, Problem> {
    let ids: &IdKey = &KEY;
    let secret = || {
        let text = KeyText::parse(&format!("ak-{}", "x".repeat(40)));
        text.expect("it is a key").secret()
    };
    Ok(match operation {
        "create_role_binding" => shown(&json::parse::<RoleBindingCreate>(body)?.parse(ids)?),
        "update_role_binding" => {
            let body: RoleBindingUpdate = json::parse(body)?;
            shown(&field("role_id", ids.parse::<RoleId>(&body.role_id))?)
        }
        "create_role" => shown(&json::parse::<RoleCreate>(body)?.parse()?),
        "update_role" => shown(&json::parse::<RoleUpdate>(body)?.parse(RoleId::new(64))?),
        "create_resource_restriction" => {
            let body: ResourceRestrictionCreate = json::parse(body)?;
            let project = ids.parse::<ProjectId>(&body.resource_id);
            shown(&field("resource_id", project)?)
        }
        "create_user" => {
            let body: UserCreate = json::parse(body)?;
            let mode = body.invite_mode()?;
            shown(&(mode, body.parse(Invitation::None, ids)?))
        }
        "update_user" => shown(&json::parse::<UserUpdate>(body)?.parse(UserId::new(1))?),
        "create_organization" => shown(&json::parse::<OrganizationCreate>(body)?.parse()?),
        "update_organization" => {
            let body: OrganizationUpdate = json::parse(body)?;
            shown(&body.parse(OrganizationId::new(1))?)
        }
        "add_organization_user" => {
            let body: OrganizationUserAdd = json::parse(body)?;
            shown(&body.parse(OrganizationId::new(1), ids)?)
        }
        "create_space" => shown(&json::parse::<SpaceCreate>(body)?.parse(ids)?),
        "update_space" => shown(&json::parse::<SpaceUpdate>(body)?.parse(SpaceId::new(1))?),
        "add_space_user" => {
            let body: SpaceUserAdd = json::parse(body)?;
            shown(&body.parse(SpaceId::new(1), ids)?)
        }
        "create_project" => shown(&json::parse::<ProjectCreate>(body)?.parse(ids)?),
        "update_project" => shown(&wire::name(&json::parse::<ProjectUpdate>(body)?.name)?),
        "create_api_key" => shown(&ApiKeyCreate::read(body)?.parse(secret(), ids)?),
        "refresh_api_key" => {
            let body = if body.is_empty() {
                ApiKeyRefresh::default()
            } else {
                json::parse(body)?
            };
            shown(&body.parse(ApiKeyId::new(1), secret())?)
        }
        "release_address" => shown(&json::parse::<AddressRelease>(body)?.parse()?),
        other => {
            let mut operations = OPERATIONS.iter();
            let has_body = operations.any(|one| one.id == other && one.has_body());
            assert!(!has_body, "{other} reads a body, and isn't fuzzed");
            String::new()
        }
    })
}

fn person(operation: &str, body: &[u8]) -> Result<String, Problem> {
    let choose = |name: &str, text: &str| -> Result<String, Problem> {
        let chosen = Password::choose(name, text)?;
        assert_eq!(chosen.reveal(), text);
        Ok(chosen.reveal().to_owned())
    };
    Ok(match operation {
        "accept_invitation" => {
            let body: PasswordChoice = json::parse(body)?;
            choose("password", &body.password)?
        }
        "complete_password_reset" => {
            let body: PasswordReset = json::parse(body)?;
            shown(&(choose("password", &body.password)?, body.end_keys))
        }
        _ => {
            let body: SignInRequest = json::parse(body)?;
            let email = field("email", Email::parse(&body.email))?;
            let new_password = body.new_password.as_deref();
            let new_password = new_password.map(|text| choose("new_password", text));
            let offered = Password::offered(&body.password);
            let offered = offered.map(|password| password.reveal().to_owned());
            shown(&(email, offered, new_password.transpose()?, body.end_keys))
        }
    })
}

fn evaluation(body: &[u8]) -> Result<String, Problem> {
    let request = EvaluationRequest::read(body);
    let hot = hot::read::<Object<One<'_>>>(body);
    if let Some(Object(hot)) = &hot {
        let request = request.as_ref().expect("the hot path has read it");
        let asked = request.asked().expect("the hot path has a question");
        assert_eq!(shown(&asked), shown(&hot.asked()));
        assert_eq!(request.explains().ok(), Some(false));
    }
    let request = request?;
    Ok(format!("{:?} {}", request.asked()?, request.explains()?))
}

fn evaluations(body: &[u8]) -> Result<String, Problem> {
    let request = EvaluationsRequest::read(body);
    if let Some(Object(hot)) = hot::read::<Object<Many<'_>>>(body)
        && (1..=EVALUATIONS_MAX).contains(&hot.asked().len())
    {
        let request = request.as_ref().expect("the hot path has read it");
        let defaults = request.defaults().expect("the hot path has read them");
        let items = request.items().expect("the hot path has read them");
        let asked = items.iter().map(|item| {
            let parts = Parts::of_item(item, &defaults).expect("the hot path has read it");
            parts.whole().ok().map(|asked| shown(&asked))
        });
        let hot = hot.asked().map(|asked| asked.map(|asked| shown(&asked)));
        assert!(asked.eq(hot), "{request:?}");
        assert_eq!(request.explains().ok(), Some(false));
        assert_eq!(request.semantic().ok(), Some(Semantic::ExecuteAll));
    }
    let request = request?;
    let defaults = request.defaults()?;
    let (semantic, explains) = (request.semantic()?, request.explains()?);
    let items = request.items()?.iter().map(|item| {
        let asked = Parts::of_item(item, &defaults).and_then(Parts::whole);
        asked.map_or_else(|problem| problem.detail().to_owned(), |asked| shown(&asked))
    });
    let items: Vec<String> = items.collect();
    Ok(format!("{defaults:?} {semantic:?} {explains} {items:?}"))
}

fn search(operation: &str, body: &[u8]) -> Result<String, Problem> {
    let request = SearchRequest::read(body)?;
    let (what, id) = match operation {
        "search_subject" => (request.searched("subject")?, "search_subject"),
        "search_resource" => (request.searched("resource")?, "search_resource"),
        _ => (("", None), "search_action"),
    };
    let subject = (id != "search_subject").then(|| request.subject());
    let action = (id != "search_action").then(|| request.action());
    let resource = (id != "search_resource").then(|| request.resource());
    let (context, page) = (request.context()?, request.page()?);
    let key = SearchKey::new(Caller::Operator, id, request.members());
    Ok(format!(
        "{what:?} {:?} {:?} {:?} {context:?} {page:?} {key:?}",
        subject.transpose()?,
        action.transpose()?,
        resource.transpose()?,
    ))
}

/// The members in another order and spelling.
fn written(members: &Members) -> String {
    format!(" {} ", value_of_members(members))
}

fn value_of_members(members: &Members) -> Value {
    let members = members.iter();
    Value::Object(
        members
            .map(|(name, value)| (name.clone(), value_of(value)))
            .collect(),
    )
}

fn value_of(attribute: &Attribute) -> Value {
    match attribute {
        Attribute::Null => Value::Null,
        Attribute::Bool(value) => (*value).into(),
        Attribute::Integer(value) => {
            let number = Number::from_i128(*value);
            number.expect("it was read from JSON").into()
        }
        Attribute::Float(value) => {
            let number = Number::from_f64(*value);
            number.expect("it was read from JSON").into()
        }
        Attribute::Text(text) => text.as_str().into(),
        Attribute::List(items) => items.iter().map(value_of).collect(),
        Attribute::Members(members) => value_of_members(members),
    }
}

/// The number of values, as the server counts them while the body arrives, in any pieces.
fn values_counted(body: &[u8]) -> usize {
    let mut whole = ValueCount::default();
    whole.read(body);
    let mut pieces = ValueCount::default();
    for piece in body.chunks(3) {
        pieces.read(piece);
    }
    assert_eq!(whole.values(), pieces.values());
    whole.values()
}

fn count_members(members: &Members) -> usize {
    members.values().map(count).sum::<usize>() + 1
}

fn count(attribute: &Attribute) -> usize {
    match attribute {
        Attribute::List(items) => items.iter().map(count).sum::<usize>() + 1,
        Attribute::Members(members) => count_members(members),
        _ => 1,
    }
}

fn kept_by_the_audit_log(body: &[u8]) {
    let Some(kept) = audited_text(body) else {
        assert!(body.is_empty());
        return;
    };
    assert!(kept.len() <= AUDITED_TEXT_MAX + "…".len());
    assert_without_keys(&kept);
    if let Ok(value) = serde_json::from_str(&kept) {
        assert_value_without_keys(&value);
    }
}

/// Also checks texts after their escapes are resolved.
fn assert_value_without_keys(value: &Value) {
    match value {
        Value::String(text) => assert_without_keys(text),
        Value::Array(items) => items.iter().for_each(assert_value_without_keys),
        Value::Object(members) => {
            for (name, value) in members {
                assert_without_keys(name);
                assert_value_without_keys(value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_with_a_body_is_fuzzed() {
        for operation in OPERATIONS.iter().filter(|one| one.has_body()) {
            let refused = read(operation.id, b"[]");
            assert!(refused.is_err(), "{operation:?}");
        }
    }
}

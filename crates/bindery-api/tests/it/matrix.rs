//! The access matrix: every operation by every persona, in one snapshot. A changed rule is a changed line in
//! review.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use crate::personas::{Company, PERSONAS, Persona};
use crate::served::Served;

/// Operations, what is special about the request, and the request. `{name}` is an id; `{.name}` is one that
/// depends on the persona's space.
#[rustfmt::skip]
const REQUESTS: &[(&str, &str, &str)] = &[
    ("list_role_bindings", "space", "GET /v2/role-bindings?resource_type=SPACE"),
    ("list_role_bindings", "project", "GET /v2/role-bindings?resource_type=PROJECT"),
    ("list_role_bindings", "of a user", "GET /v2/role-bindings?resource_type=SPACE&user_id={tess}"),
    ("create_role_binding", "space", r#"POST /v2/role-bindings {"user_id":"{uma}","role_id":"{spare_role}","resource_type":"SPACE","resource_id":"{.space}"}"#),
    ("create_role_binding", "project", r#"POST /v2/role-bindings {"user_id":"{uma}","role_id":"{spare_role}","resource_type":"PROJECT","resource_id":"{.sonar}"}"#),
    ("create_role_binding", "restricted", r#"POST /v2/role-bindings {"user_id":"{uma}","role_id":"{spare_role}","resource_type":"PROJECT","resource_id":"{.vault}"}"#),
    ("get_role_binding", "space", "GET /v2/role-bindings/{.space_binding}"),
    ("get_role_binding", "project", "GET /v2/role-bindings/{.project_binding}"),
    ("update_role_binding", "space", r#"PATCH /v2/role-bindings/{.space_binding} {"role_id":"{spare_role}"}"#),
    ("update_role_binding", "project", r#"PATCH /v2/role-bindings/{.project_binding} {"role_id":"{spare_role}"}"#),
    ("delete_role_binding", "space", "DELETE /v2/role-bindings/{.space_binding}"),
    ("delete_role_binding", "project", "DELETE /v2/role-bindings/{.project_binding}"),
    ("list_roles", "", "GET /v2/roles"),
    ("create_role", "", r#"POST /v2/roles {"name":"new","permissions":["PROJECT_READ"]}"#),
    ("get_role", "", "GET /v2/roles/{spare_role}"),
    ("update_role", "", r#"PATCH /v2/roles/{spare_role} {"name":"new"}"#),
    ("update_role", "predefined", r#"PATCH /v2/roles/{Project Admin} {"name":"new"}"#),
    ("delete_role", "", "DELETE /v2/roles/{spare_role}"),
    ("list_resource_restrictions", "", "GET /v2/resource-restrictions"),
    ("create_resource_restriction", "", r#"POST /v2/resource-restrictions {"resource_id":"{.sonar}"}"#),
    ("create_resource_restriction", "again", r#"POST /v2/resource-restrictions {"resource_id":"{.vault}"}"#),
    ("delete_resource_restriction", "", "DELETE /v2/resource-restrictions/{.vault}"),
    ("list_users", "", "GET /v2/users?email=tess"),
    ("create_user", "ADMIN", r#"POST /v2/users {"name":"New","email":"new@example.com","role":{"type":"PREDEFINED","name":"ADMIN"},"invite_mode":"NONE"}"#),
    ("create_user", "MEMBER", r#"POST /v2/users {"name":"New","email":"new@example.com","role":{"type":"PREDEFINED","name":"MEMBER"},"invite_mode":"EMAIL_LINK"}"#),
    ("create_user", "developer", r#"POST /v2/users {"name":"New","email":"new@example.com","role":{"type":"PREDEFINED","name":"MEMBER"},"invite_mode":"NONE","is_developer":true}"#),
    ("get_user", "", "GET /v2/users/{tess}"),
    ("update_user", "name", r#"PATCH /v2/users/{tess} {"name":"Tessa"}"#),
    ("update_user", "developer", r#"PATCH /v2/users/{tess} {"is_developer":false}"#),
    ("delete_user", "", "DELETE /v2/users/{tess}"),
    ("resend_user_invitation", "", "POST /v2/users/{ivy}/resend-invitation"),
    ("reset_user_password", "", "POST /v2/users/{tess}/reset-password"),
    ("list_organizations", "", "GET /v2/organizations"),
    ("create_organization", "", r#"POST /v2/organizations {"name":"new"}"#),
    ("get_organization", "", "GET /v2/organizations/{acme}"),
    ("update_organization", "", r#"PATCH /v2/organizations/{acme} {"name":"new"}"#),
    ("delete_organization", "", "DELETE /v2/organizations/{acme}"),
    ("add_organization_user", "", r#"POST /v2/organizations/{acme}/users {"user_id":"{uma}","role":{"type":"PREDEFINED","name":"ADMIN"}}"#),
    ("remove_organization_user", "", "DELETE /v2/organizations/{acme}/users/{tess}"),
    ("list_spaces", "", "GET /v2/spaces"),
    ("list_spaces", "of acme", "GET /v2/spaces?org_id={acme}"),
    ("create_space", "", r#"POST /v2/spaces {"name":"new","organization_id":"{acme}"}"#),
    ("get_space", "", "GET /v2/spaces/{.space}"),
    ("update_space", "", r#"PATCH /v2/spaces/{.space} {"name":"new"}"#),
    ("delete_space", "", "DELETE /v2/spaces/{.space}"),
    ("add_space_user", "predefined", r#"POST /v2/spaces/{.space}/users {"user_id":"{uma}","role":{"type":"PREDEFINED","name":"ADMIN"}}"#),
    ("add_space_user", "custom", r#"POST /v2/spaces/{.space}/users {"user_id":"{uma}","role":{"type":"CUSTOM","id":"{spare_role}"}}"#),
    ("remove_space_user", "", "DELETE /v2/spaces/{.space}/users/{tess}"),
    ("list_projects", "", "GET /v2/projects"),
    ("list_projects", "of the space", "GET /v2/projects?space_id={.space}"),
    ("create_project", "", r#"POST /v2/projects {"name":"new","space_id":"{.space}"}"#),
    ("get_project", "", "GET /v2/projects/{.sonar}"),
    ("get_project", "restricted", "GET /v2/projects/{.vault}"),
    ("update_project", "", r#"PATCH /v2/projects/{.sonar} {"name":"new"}"#),
    ("delete_project", "", "DELETE /v2/projects/{.sonar}"),
    ("delete_project", "restricted", "DELETE /v2/projects/{.vault}"),
    ("list_api_keys", "own", "GET /v2/api-keys"),
    ("list_api_keys", "another's", "GET /v2/api-keys?user_id={tess}"),
    ("list_api_keys", "of the space", "GET /v2/api-keys?space_id={.space}"),
    ("create_api_key", "user", r#"POST /v2/api-keys {"key_type":"USER","name":"new"}"#),
    ("create_api_key", "service", r#"POST /v2/api-keys {"key_type":"SERVICE","name":"new","organizations":[{"org_id":"{acme}","role":{"type":"PREDEFINED","name":"READ_ONLY"},"spaces":[{"space_id":"{.space}","role":{"type":"PREDEFINED","name":"READ_ONLY"}}]}]}"#),
    ("create_api_key", "service admin", r#"POST /v2/api-keys {"key_type":"SERVICE","name":"new","organizations":[{"org_id":"{acme}","role":{"type":"PREDEFINED","name":"READ_ONLY"},"spaces":[{"space_id":"{.space}","role":{"type":"PREDEFINED","name":"ADMIN"}}]}]}"#),
    ("refresh_api_key", "user", "POST /v2/api-keys/{tess_key}/refresh"),
    ("refresh_api_key", "service", "POST /v2/api-keys/{.service_key}/refresh"),
    ("revoke_api_key", "user", "PUT /v2/api-keys/{tess_key}/revoke"),
    ("revoke_api_key", "service", "PUT /v2/api-keys/{.service_key}/revoke"),
    ("list_audit_logs", "", "GET /v2/audit-logs?operation_name=none"),
    ("list_enforcement_points", "", "GET /bindery/v1/enforcement-points"),
    ("mark_enforcement_point", "service", "PUT /bindery/v1/enforcement-points/{.service_key}"),
    ("mark_enforcement_point", "user", "PUT /bindery/v1/enforcement-points/{tess_key}"),
    ("mark_enforcement_point", "revoked", "PUT /bindery/v1/enforcement-points/{dead_key}"),
    ("unmark_enforcement_point", "marked", "DELETE /bindery/v1/enforcement-points/{pep_key}"),
    ("unmark_enforcement_point", "unmarked", "DELETE /bindery/v1/enforcement-points/{tess_key}"),
    ("list_quotas", "", "GET /bindery/v1/quotas"),
    ("list_quotas", "of a user", "GET /bindery/v1/quotas?user_id={tess}"),
    ("release_address", "nobody's", r#"POST /bindery/v1/released-addresses {"email":"nobody@example.com"}"#),
    ("release_address", "tess's", r#"POST /bindery/v1/released-addresses {"email":"tess@example.com"}"#),
    ("refresh_api_key", "enforcement point", "POST /v2/api-keys/{.marked_key}/refresh"),
    ("renew_temporary_password", "invited", "POST /bindery/v1/users/{ivy}/temporary-password"),
    ("renew_temporary_password", "active", "POST /bindery/v1/users/{tess}/temporary-password"),
    ("create_user", "temporary", r#"POST /v2/users {"name":"New","email":"new@example.com","role":{"type":"PREDEFINED","name":"MEMBER"},"invite_mode":"TEMPORARY_PASSWORD"}"#),
    ("access_evaluation", "oneself", r#"POST /access/v1/evaluation {"subject":{"type":"user","id":"{me}@example.com"},"action":{"name":"PROJECT_READ"},"resource":{"type":"project","id":"{.sonar}"}}"#),
    ("access_evaluation", "project", r#"POST /access/v1/evaluation {"subject":{"type":"user","id":"{tess}"},"action":{"name":"PROJECT_READ"},"resource":{"type":"project","id":"{.sonar}"}}"#),
    ("access_evaluation", "restricted", r#"POST /access/v1/evaluation {"subject":{"type":"user","id":"{tess}"},"action":{"name":"PROJECT_READ"},"resource":{"type":"project","id":"{.vault}"}}"#),
    ("access_evaluation", "space", r#"POST /access/v1/evaluation {"subject":{"type":"user","id":"{tess}"},"action":{"name":"SPACE_READ"},"resource":{"type":"space","id":"{.space}"}}"#),
    ("access_evaluation", "organization", r#"POST /access/v1/evaluation {"subject":{"type":"user","id":"{tess}"},"action":{"name":"ORGANIZATION_READ"},"resource":{"type":"organization","id":"{acme}"}}"#),
    ("access_evaluation", "account", r#"POST /access/v1/evaluation {"subject":{"type":"user","id":"{tess}"},"action":{"name":"USER_READ"},"resource":{"type":"account","id":"account"}}"#),
    ("access_evaluation", "service key", r#"POST /access/v1/evaluation {"subject":{"type":"service_key","id":"{.service_key}"},"action":{"name":"PROJECT_READ"},"resource":{"type":"project","id":"{.sonar}"}}"#),
    ("access_evaluation", "no such user", r#"POST /access/v1/evaluation {"subject":{"type":"user","id":"nobody@example.com"},"action":{"name":"PROJECT_READ"},"resource":{"type":"project","id":"{.sonar}"}}"#),
    ("access_evaluation", "no such project", r#"POST /access/v1/evaluation {"subject":{"type":"user","id":"{tess}"},"action":{"name":"PROJECT_READ"},"resource":{"type":"project","id":"nothing"}}"#),
    ("explain_access", "oneself", r#"POST /bindery/v1/explain {"subject":{"type":"user","id":"{me}@example.com"},"action":{"name":"PROJECT_READ"},"resource":{"type":"project","id":"{.sonar}"}}"#),
    ("explain_access", "project", r#"POST /bindery/v1/explain {"subject":{"type":"user","id":"{tess}"},"action":{"name":"PROJECT_READ"},"resource":{"type":"project","id":"{.sonar}"}}"#),
    ("explain_access", "no such user", r#"POST /bindery/v1/explain {"subject":{"type":"user","id":"nobody@example.com"},"action":{"name":"PROJECT_READ"},"resource":{"type":"project","id":"{.sonar}"}}"#),
    ("access_evaluations", "", r#"POST /access/v1/evaluations {"subject":{"type":"user","id":"{tess}"},"action":{"name":"PROJECT_READ"},"resource":{"type":"project"},"evaluations":[{"resource":{"id":"{.sonar}"}},{"resource":{"id":"{.vault}"}}]}"#),
    ("access_evaluations", "single", r#"POST /access/v1/evaluations {"subject":{"type":"user","id":"{tess}"},"action":{"name":"PROJECT_READ"},"resource":{"type":"project","id":"{.sonar}"}}"#),
    ("search_subject", "people", r#"POST /access/v1/search/subject {"subject":{"type":"user"},"action":{"name":"PROJECT_READ"},"resource":{"type":"project","id":"{.sonar}"}}"#),
    ("search_subject", "keys", r#"POST /access/v1/search/subject {"subject":{"type":"service_key"},"action":{"name":"PROJECT_READ"},"resource":{"type":"project","id":"{.sonar}"}}"#),
    ("search_resource", "oneself", r#"POST /access/v1/search/resource {"subject":{"type":"user","id":"{me}@example.com"},"action":{"name":"PROJECT_READ"},"resource":{"type":"project"}}"#),
    ("search_resource", "another", r#"POST /access/v1/search/resource {"subject":{"type":"user","id":"{tess}"},"action":{"name":"PROJECT_READ"},"resource":{"type":"project"}}"#),
    ("search_action", "oneself", r#"POST /access/v1/search/action {"subject":{"type":"user","id":"{me}@example.com"},"resource":{"type":"project","id":"{.sonar}"}}"#),
    ("search_action", "another", r#"POST /access/v1/search/action {"subject":{"type":"user","id":"{tess}"},"resource":{"type":"project","id":"{.sonar}"}}"#),
    ("authzen_configuration", "not configured", "GET /.well-known/authzen-configuration"),
    ("accept_invitation", "bad link", r#"POST /bindery/v1/invitations/x {"password":"correct horse battery"}"#),
    ("complete_password_reset", "bad link", r#"POST /bindery/v1/password-resets/x {"password":"correct horse battery"}"#),
    ("sign_in", "wrong", r#"POST /bindery/v1/sign-in {"email":"{me}@example.com","password":"wrong"}"#),
];

#[test]
fn every_operation_answers_every_persona_as_in_the_matrix() {
    let company = Company::found();
    let mut matrix = String::new();
    for persona in &PERSONAS {
        let _ = writeln!(matrix, "{:>7}  {}", persona.short, persona.long);
    }
    let _ = write!(matrix, "\n{:44}", "");
    for persona in &PERSONAS {
        let _ = write!(matrix, " {:>6}", persona.short);
    }
    matrix.push('\n');
    let mut served = None;
    for (operation, variant, request) in REQUESTS {
        let name = format!("{operation} {variant}");
        let _ = write!(matrix, "{:44}", name.trim_end());
        for (persona, key) in PERSONAS.iter().zip(&company.keys) {
            let cell = ask(&company, &mut served, persona, key.as_deref(), request);
            let _ = write!(matrix, " {cell:>6}");
        }
        matrix.push('\n');
    }
    insta::assert_snapshot!("access_matrix", matrix);
}

/// The status, and how many items a list has. A fresh copy for the next request undoes every change; a
/// refused request must have changed nothing.
fn ask(
    company: &Company,
    served: &mut Option<Served>,
    persona: &Persona,
    key: Option<&str>,
    request: &str,
) -> String {
    let request = fill_in(company, persona, request);
    let mut parts = request.splitn(3, ' ');
    let (method, path) = (parts.next().unwrap(), parts.next().unwrap());
    let asked = served
        .take()
        .unwrap_or_else(|| Served::copy_of(company.directory.path(), company.now_ms));
    let before = [asked.revision(1), asked.revision(2)];
    let (status, body) = asked.send(key, method, path, parts.next());
    let after = [asked.revision(1), asked.revision(2)];
    if status >= 300 {
        assert_eq!(after, before, "{request} as {} was refused", persona.short);
    }
    if after == before {
        *served = Some(asked);
    } else {
        let walled_off = usize::from(persona.short != "other");
        assert_eq!(
            after[walled_off], before[walled_off],
            "the other account does not change"
        );
    }
    if let Some(told) = decided(&body) {
        return format!("{status}:{told}");
    }
    match list_of(&body) {
        Some(things) if method == "GET" => format!("{status}:{}", things.len()),
        _ => status.to_string(),
    }
}

/// For an evaluation the decisions, for failed items the status; for a search the number of results.
fn decided(body: &Value) -> Option<String> {
    let one = |body: &Value| match (&body["context"]["error"]["status"], &body["decision"]) {
        (Value::Null, Value::Bool(true)) => Some("y".to_owned()),
        (Value::Null, Value::Bool(false)) => Some("n".to_owned()),
        (status, _) => status.as_u64().map(|status| status.to_string()),
    };
    if let Some(items) = body["evaluations"].as_array() {
        let items: BTreeSet<String> = items.iter().filter_map(one).collect();
        return Some(items.into_iter().collect());
    }
    let found = body["results"].as_array();
    let found = found.map(|found| {
        assert_eq!(body["page"]["total"], found.len(), "{body}");
        found.len().to_string()
    });
    found.or_else(|| one(body))
}

fn list_of(body: &Value) -> Option<&Vec<Value>> {
    body.get("pagination")?;
    body.as_object()?.values().find_map(Value::as_array)
}

fn fill_in(company: &Company, persona: &Persona, request: &str) -> String {
    let mut filled = request.replace("{me}", persona.short);
    for (name, id) in &company.ids {
        filled = filled.replace(&format!("{{{name}}}"), id);
        if let Some(name) = name.strip_prefix(&format!("{}.", persona.space)) {
            filled = filled.replace(&format!("{{.{name}}}"), id);
        }
    }
    assert!(!filled.contains("{.") && !filled.contains("/{"), "{filled}");
    filled
}

#[test]
fn no_operation_is_missing_from_the_matrix_and_none_is_made_up() {
    let served: BTreeSet<&str> = bindery_api::operation_ids().collect();
    let asked: BTreeSet<&str> = REQUESTS.iter().map(|(operation, ..)| *operation).collect();
    assert_eq!(asked, served);
    let columns: BTreeSet<&str> = PERSONAS.iter().map(|persona| persona.short).collect();
    assert_eq!(
        columns.len(),
        PERSONAS.len(),
        "each persona has a column of their own"
    );
}

//! Rules of the contract about lists and the OpenAPI document that no other suite tests.

use serde_json::{Value, json};

use crate::personas::Builder;

fn document() -> Value {
    serde_json::from_str(bindery_api::openapi_json()).unwrap()
}

/// The names of the keys in a list.
fn listed(builder: &Builder, query: &str) -> Vec<String> {
    let path = format!("/v2/api-keys?{query}");
    let page = builder.ask("GET", &path, &Value::Null);
    let keys = page["api_keys"].as_array().unwrap().iter();
    keys.map(|key| key["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn an_expired_key_is_neither_active_nor_revoked_in_a_list() {
    let builder = Builder::new();
    let body = json!({"key_type": "USER", "name": "brief", "expires_at": "2026-01-01T00:01:00Z"});
    let made = builder.ask("POST", "/v2/api-keys", &body);
    assert_eq!(listed(&builder, "status=ACTIVE"), ["first", "brief"]);
    builder.served.wait_seconds(59);
    assert_eq!(listed(&builder, "status=ACTIVE"), ["first", "brief"]);
    builder.served.wait_seconds(1);
    assert_eq!(listed(&builder, "status=ACTIVE"), ["first"], "expired");
    assert_eq!(listed(&builder, ""), ["first"], "ACTIVE is the default");
    assert!(listed(&builder, "status=REVOKED").is_empty());
    // It can still be revoked, and then the list of revoked keys has it.
    let path = format!("/v2/api-keys/{}/revoke", made["id"].as_str().unwrap());
    builder.ask("PUT", &path, &Value::Null);
    assert_eq!(listed(&builder, "status=REVOKED"), ["brief"]);
}

/// Statuses that the official description declares for single operations, with a known trigger or not.
#[rustfmt::skip]
const DECLARED: &[(&str, &[u16])] = &[
    ("list_role_bindings", &[404]),
    ("create_role_binding", &[403, 404, 409, 422]),
    ("get_role_binding", &[404]),
    ("update_role_binding", &[404, 409, 422]),
    ("delete_role_binding", &[404]),
    ("list_roles", &[403]),
    ("create_role", &[403, 404, 409, 422]),
    ("get_role", &[403, 404]),
    ("update_role", &[403, 404, 409]),
    ("delete_role", &[403, 404, 409]),
    ("create_resource_restriction", &[403, 404, 422]),
    ("delete_resource_restriction", &[403, 404]),
    ("list_users", &[403]),
    ("create_user", &[200, 403, 404, 409, 422]),
    ("get_user", &[404]),
    ("update_user", &[403, 404]),
    ("delete_user", &[403, 404]),
    ("resend_user_invitation", &[403, 404]),
    ("reset_user_password", &[403, 404]),
    ("list_organizations", &[403]),
    ("create_organization", &[403, 409]),
    ("get_organization", &[404]),
    ("update_organization", &[403, 404, 409]),
    ("delete_organization", &[403, 404]),
    ("add_organization_user", &[403, 404, 422]),
    ("remove_organization_user", &[403, 404]),
    ("list_spaces", &[404]),
    ("create_space", &[403, 404, 409]),
    ("get_space", &[404]),
    ("update_space", &[403, 404, 409]),
    ("delete_space", &[403, 404]),
    ("add_space_user", &[403, 404, 422]),
    ("remove_space_user", &[403, 404]),
    ("list_projects", &[403, 404]),
    ("create_project", &[403, 409]),
    ("get_project", &[404]),
    ("update_project", &[403, 404, 409]),
    ("delete_project", &[403, 404]),
    ("list_api_keys", &[403, 404]),
    ("create_api_key", &[403, 404, 422]),
    ("refresh_api_key", &[403, 404, 422]),
    ("revoke_api_key", &[403, 404]),
    ("list_audit_logs", &[403]),
];

#[test]
fn the_document_declares_every_status_that_the_official_api_lists() {
    let document = document();
    let mut missing = Vec::new();
    for methods in document["paths"].as_object().unwrap().values() {
        for one in methods.as_object().unwrap().values() {
            let id = one["operationId"].as_str().unwrap();
            let declared = DECLARED.iter().find(|(name, _)| *name == id);
            for status in declared.into_iter().flat_map(|(_, statuses)| *statuses) {
                if one["responses"].get(status.to_string()).is_none() {
                    missing.push(format!("{id} {status}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_document_describes_keys_and_memberships_as_they_are_answered() {
    let document = document();
    let refresh = &document["paths"]["/v2/api-keys/{api_key_id}/refresh"]["post"];
    let answer = &refresh["responses"]["200"]["content"]["application/json"]["schema"];
    let name = answer["$ref"].as_str().unwrap().trim_start_matches('#');
    let refreshed = &document.pointer(name).unwrap()["properties"];
    assert!(refreshed["bot_user"].is_null(), "{refreshed}");
    assert!(refreshed["key"].is_object(), "{refreshed}");
    let schemas = &document["components"]["schemas"];
    for key in ["ApiKeyCreated", "ApiKeyListed"] {
        let last_used_at = &schemas[key]["properties"]["last_used_at"];
        assert_eq!(last_used_at["$ref"], "#/components/schemas/Moment", "{key}");
    }
    // A custom role in a space is a role binding, and the membership has the binding's id.
    let id = schemas["SpaceMembership"]["properties"]["id"].to_string();
    assert!(
        id.contains("space-membership-id") && id.contains("role-binding-id"),
        "{id}"
    );
}

//! The company that the clients compete for, and the clients.

use anyhow::{Context as _, Result};
use bindery_core::id::{ApiKeyId, Id, IdKey, ProjectId, RoleBindingId, RoleId, UserId};
use bindery_core::permission::Permission;
use serde_json::{Value, json};

use crate::nodes::Node;
use crate::wire::id;

const USERS: usize = 4;
const PROJECTS: usize = 3;
/// The permissions of the roles that stay.
pub(crate) const PERMISSIONS: [Permission; 4] = [
    Permission::ProjectRead,
    Permission::SpaceRead,
    Permission::RoleBindingRead,
    Permission::UserRead,
];

/// What stays permanently.
pub(crate) struct Scene {
    pub(crate) ids: IdKey,
    /// The admin, for whom every client acts.
    pub(crate) admin: UserId,
    pub(crate) users: Vec<UserId>,
    pub(crate) projects: Vec<ProjectId>,
    pub(crate) roles: Vec<RoleId>,
    /// Of each user on the one space: their role changes all the time.
    pub(crate) bindings: Vec<RoleBindingId>,
    /// A key for each client, with its number.
    pub(crate) keys: Vec<(ApiKeyId, String)>,
}

impl Scene {
    pub(crate) fn make(node: &Node, ids: IdKey, admin: UserId, clients: usize) -> Result<Self> {
        let organization = node.post("/v2/organizations", &json!({"name": "acme"}))?;
        let space = node.post(
            "/v2/spaces",
            &json!({"name": "red", "organization_id": organization["id"]}),
        )?;
        let mut projects = Vec::new();
        for number in 0..PROJECTS {
            let project = json!({"name": format!("project {number}"), "space_id": space["id"]});
            projects.push(made(&ids, &node.post("/v2/projects", &project)?)?);
        }
        let mut roles = Vec::new();
        let mut last_role = Value::Null;
        for (number, permission) in PERMISSIONS.iter().enumerate() {
            let name = format!("role {number}");
            let role = json!({"name": name, "permissions": [permission.name()]});
            last_role = node.post("/v2/roles", &role)?;
            roles.push(made(&ids, &last_role)?);
        }
        let (mut users, mut bindings) = (Vec::new(), Vec::new());
        for number in 0..USERS {
            let user = node.post(
                "/v2/users",
                &json!({
                    "name": "User", "email": format!("user-{number}@acme.example"),
                    "role": {"type": "PREDEFINED", "name": "MEMBER"}, "invite_mode": "NONE",
                }),
            )?;
            users.push(made(&ids, &user)?);
            let binding = json!({
                "user_id": user["id"], "role_id": last_role["id"],
                "resource_type": "SPACE", "resource_id": space["id"],
            });
            bindings.push(made(&ids, &node.post("/v2/role-bindings", &binding)?)?);
        }
        let mut keys = Vec::new();
        for number in 0..clients {
            let key = json!({"key_type": "USER", "name": format!("client {number}")});
            let key = node.post("/v2/api-keys", &key)?;
            let text = key["key"].as_str().context("a key that isn't shown")?;
            keys.push((made(&ids, &key)?, text.to_owned()));
        }
        Ok(Self {
            ids,
            admin,
            users,
            projects,
            roles,
            bindings,
            keys,
        })
    }
}

fn made<I: Id>(ids: &IdKey, body: &Value) -> Result<I> {
    id(ids, body, "id").with_context(|| format!("no id in {body}"))
}

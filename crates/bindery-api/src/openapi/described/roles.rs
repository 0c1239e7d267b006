//! Roles, described.

use serde_json::json;

use crate::openapi::description::{Described, UNUSED};
use crate::wire::roles::{Role, RoleCreate, RoleUpdate, Roles};

pub(crate) fn list_roles() -> Described {
    Described::new(
        "List roles",
        "Predefined roles first, then the account's own, oldest first, each with all its permissions.",
    )
    .query::<bool>("is_predefined", "Only predefined roles, or only the account's own.")
    .paged()
    .answers::<Roles>("A page of roles.")
    .refuses(403, "The caller lacks `ROLE_READ`.")
}

pub(crate) fn create_role() -> Described {
    Described::new(
        "Create a role",
        "A named set of permissions, which can be bound to users on spaces and projects.",
    )
    .takes::<RoleCreate>()
    .example(json!({
        "name": "Trace Auditor",
        "description": "Reads traces and evaluations",
        "permissions": ["PROJECT_READ", "PROJECT_SPAN_READ"],
    }))
    .answers::<Role>("The new role.")
    .refuses(403, "The caller lacks `ROLE_CREATE`.")
    .refuses(404, UNUSED)
    .refuses(
        409,
        "A role of the account, or a predefined one, has the name, or a quota is reached.",
    )
    .refuses(422, UNUSED)
}

pub(crate) fn get_role() -> Described {
    Described::new("Read a role", "")
        .answers::<Role>("The role.")
        .refuses(403, "The caller lacks `ROLE_READ`.")
        .refuses(404, "There is no such role.")
}

pub(crate) fn update_role() -> Described {
    Described::new(
        "Change a role",
        "`permissions` replaces the whole set, for all who hold the role, at once. `null` clears the description.",
    )
    .takes::<RoleUpdate>()
    .example(json!({"permissions": ["PROJECT_READ", "PROJECT_SPAN_READ", "PROJECT_SPAN_ANNOTATE"]}))
    .answers::<Role>("The changed role.")
    .refuses(403, "The caller lacks `ROLE_UPDATE`, or the role is predefined.")
    .refuses(404, "There is no such role.")
    .refuses(409, "Another role has the name.")
}

pub(crate) fn delete_role() -> Described {
    Described::new(
        "Delete a role",
        "Its name becomes free; its id is never used again.",
    )
    .answers_nothing("The role is deleted.")
    .refuses(
        403,
        "The caller lacks `ROLE_DELETE`, or the role is predefined.",
    )
    .refuses(404, "There is no such role.")
    .refuses(
        409,
        "Role bindings use the role, including custom roles of space members.",
    )
}

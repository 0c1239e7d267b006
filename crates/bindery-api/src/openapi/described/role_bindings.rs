//! Role bindings, described.

use bindery_core::id::UserId;
use serde_json::json;

use crate::openapi::description::{Described, UNUSED};
use crate::wire::role_bindings::{
    ResourceTypeText, RoleBinding, RoleBindingCreate, RoleBindingUpdate, RoleBindings,
};
use crate::wire::schema::IdText;

pub(crate) fn list_role_bindings() -> Described {
    Described::new(
        "List role bindings",
        "The bindings on spaces or on projects that the caller may read, oldest first. A caller who may read none gets an empty list.",
    )
    .query::<ResourceTypeText>("resource_type", "The kind of resource.")
    .required()
    .query::<IdText<UserId>>("user_id", "Only those of this user, who may be the bot of a service key.")
    .paged()
    .answers::<RoleBindings>("A page of role bindings.")
    .refuses(404, "`user_id` names no user of the account.")
}

pub(crate) fn create_role_binding() -> Described {
    Described::new(
        "Bind a role to a user",
        "Gives a user a predefined or custom role on a space or project. It is in effect when the response arrives. \
         A user has at most one binding on a resource.",
    )
    .takes::<RoleBindingCreate>()
    .answers::<RoleBinding>("The new binding.")
    .refuses(403, "The caller lacks `ROLE_BINDING_CREATE` on the resource, or there is no such resource.")
    .refuses(404, "There is no such user or role in the account.")
    .refuses(409, "The user has a binding on the resource already, or a quota is reached.")
    .refuses(422, UNUSED)
}

pub(crate) fn get_role_binding() -> Described {
    Described::new("Read a role binding", "")
        .answers::<RoleBinding>("The binding.")
        .refuses(
            404,
            "There is no such binding, or the caller lacks `ROLE_BINDING_READ` on its resource.",
        )
}

pub(crate) fn update_role_binding() -> Described {
    Described::new(
        "Change the role of a binding",
        "Only the role changes, at once; user and resource stay. Binding the same role again changes nothing.",
    )
    .takes::<RoleBindingUpdate>()
    .example(json!({"role_id": "Um9sZToyOmRLMjQ="}))
    .answers::<RoleBinding>("The changed binding.")
    .refuses(
        404,
        "There is no such binding or role, or the caller lacks `ROLE_BINDING_CREATE` or `ROLE_BINDING_DELETE` on its resource.",
    )
    .refuses(409, UNUSED)
    .refuses(422, UNUSED)
}

pub(crate) fn delete_role_binding() -> Described {
    Described::new("Delete a role binding", "What it granted ends at once.")
        .answers_nothing("The binding is deleted.")
        .refuses(
            404,
            "There is no such binding, or the caller lacks `ROLE_BINDING_DELETE` on its resource.",
        )
}

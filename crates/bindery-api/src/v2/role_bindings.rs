//! `/v2/role-bindings`.

use bindery_core::command::role_bindings::{DeleteRoleBinding, UpdateRoleBinding};

use crate::call::{Answer, Call};
use crate::problem::Problem;
use crate::wire::role_bindings::{
    RESOURCE_TYPES, RoleBinding, RoleBindingCreate, RoleBindingUpdate, RoleBindings,
};

pub(crate) fn list(call: &Call) -> Result<Answer, Problem> {
    let kind = call
        .query
        .choice("resource_type", &RESOURCE_TYPES)?
        .ok_or_else(|| {
            Problem::field(
                "resource_type",
                "is required in the query; it is SPACE or PROJECT",
            )
        })?;
    let user = call.query_id("user_id")?;
    let cursors = call.cursors();
    let slice = cursors.slice()?;
    let page = call
        .state
        .role_bindings(&call.admit()?, kind, user, slice)?;
    Answer::json(&RoleBindings {
        pagination: cursors.pagination(&page, |binding| binding.id),
        role_bindings: page
            .items
            .iter()
            .map(|one| RoleBinding::new(one, call.ids()))
            .collect(),
    })
}

pub(crate) async fn create(call: Call) -> Result<Answer, Problem> {
    let command = call.body::<RoleBindingCreate>()?.parse(call.ids())?;
    let binding = call.execute(command).await?;
    Answer::json(&RoleBinding::new(&binding, call.ids()))
}

pub(crate) fn get(call: &Call) -> Result<Answer, Problem> {
    let id = call.path_id("binding_id")?;
    let binding = call.state.visible_role_binding(&call.admit()?, id)?;
    Answer::json(&RoleBinding::new(&binding, call.ids()))
}

pub(crate) async fn update(call: Call) -> Result<Answer, Problem> {
    let binding = call.path_id("binding_id")?;
    let body: RoleBindingUpdate = call.body()?;
    let role = call.id("role_id", &body.role_id)?;
    let binding = call.execute(UpdateRoleBinding { binding, role }).await?;
    Answer::json(&RoleBinding::new(&binding, call.ids()))
}

pub(crate) async fn delete(call: Call) -> Result<Answer, Problem> {
    let binding = call.path_id("binding_id")?;
    call.execute(DeleteRoleBinding { binding }).await?;
    Ok(Answer::empty())
}

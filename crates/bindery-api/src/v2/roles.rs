//! `/v2/roles`.

use bindery_core::command::roles::DeleteRole;
use bindery_core::role::AnyRole;

use crate::call::{Answer, Call};
use crate::problem::Problem;
use crate::wire::roles::{Role, RoleCreate, RoleUpdate, Roles};

pub(crate) fn list(call: &Call) -> Result<Answer, Problem> {
    let is_predefined = call.query.flag("is_predefined")?;
    let cursors = call.cursors();
    let slice = cursors.slice()?;
    let page = call.state.roles(&call.admit()?, is_predefined, slice)?;
    Answer::json(&Roles {
        pagination: cursors.pagination(&page, |role| role.id()),
        roles: page
            .items
            .iter()
            .map(|role| Role::new(*role, &call.state))
            .collect(),
    })
}

pub(crate) async fn create(call: Call) -> Result<Answer, Problem> {
    let command = call.body::<RoleCreate>()?.parse()?;
    let role = call.execute(command).await?;
    Answer::json(&Role::new(AnyRole::Custom(&role), &call.state))
}

pub(crate) async fn update(call: Call) -> Result<Answer, Problem> {
    let role = call.path_id("role_id")?;
    let command = call.body::<RoleUpdate>()?.parse(role)?;
    let role = call.execute(command).await?;
    Answer::json(&Role::new(AnyRole::Custom(&role), &call.state))
}

pub(crate) async fn delete(call: Call) -> Result<Answer, Problem> {
    let role = call.path_id("role_id")?;
    call.execute(DeleteRole { role }).await?;
    Ok(Answer::empty())
}

pub(crate) fn get(call: &Call) -> Result<Answer, Problem> {
    let id = call.path_id("role_id")?;
    let role = call.state.visible_role(&call.admit()?, id)?;
    Answer::json(&Role::new(role, &call.state))
}

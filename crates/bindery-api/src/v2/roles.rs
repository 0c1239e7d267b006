//! `/v2/roles`.

use bindery_core::command::roles::{CreateRole, DeleteRole, UpdateRole};
use bindery_core::role::AnyRole;

use crate::answer::Answer;
use crate::call::Call;
use crate::change::Change;
use crate::problem::Problem;
use crate::wire::roles::{Role, RoleCreate, RoleUpdate, Roles};

pub(crate) fn list(call: &Call) -> Result<Answer, Problem> {
    let is_predefined = call.query.flag("is_predefined")?;
    let cursors = call.cursors();
    let slice = cursors.slice()?;
    let page = call
        .state
        .reader(call.admit()?)
        .roles(is_predefined, slice)?;
    Answer::json(&Roles {
        pagination: cursors.pagination(&page, |role| role.id()),
        roles: page
            .items
            .iter()
            .map(|role| Role::new(*role, &call.state))
            .collect(),
    })
}

pub(crate) fn get(call: &Call) -> Result<Answer, Problem> {
    let id = call.path_id("role_id")?;
    let role = call.state.reader(call.admit()?).visible_role(id)?;
    Answer::json(&Role::new(role, &call.state))
}

impl Change for CreateRole {
    fn parse(call: &Call) -> Result<Self, Problem> {
        call.body::<RoleCreate>()?.parse()
    }

    fn render(call: &Call, role: &Self::Outcome) -> Result<Answer, Problem> {
        Answer::json(&Role::new(AnyRole::Custom(role), &call.state))
    }
}

impl Change for UpdateRole {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let role = call.path_id("role_id")?;
        call.body::<RoleUpdate>()?.parse(role)
    }

    fn render(call: &Call, role: &Self::Outcome) -> Result<Answer, Problem> {
        Answer::json(&Role::new(AnyRole::Custom(role), &call.state))
    }
}

impl Change for DeleteRole {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let role = call.path_id("role_id")?;
        Ok(Self { role })
    }
}

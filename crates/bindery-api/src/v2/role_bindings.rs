//! `/v2/role-bindings`.

use bindery_core::command::role_bindings::{
    CreateRoleBinding, DeleteRoleBinding, UpdateRoleBinding,
};

use crate::answer::Answer;
use crate::call::Call;
use crate::change::Change;
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
        .reader(call.admit()?)
        .role_bindings(kind, user, slice)?;
    Answer::json(&RoleBindings {
        pagination: cursors.pagination(&page, |binding| binding.id),
        role_bindings: page
            .items
            .iter()
            .map(|one| RoleBinding::new(one, call.ids()))
            .collect(),
    })
}

pub(crate) fn get(call: &Call) -> Result<Answer, Problem> {
    let id = call.path_id("binding_id")?;
    let binding = call.state.reader(call.admit()?).visible_role_binding(id)?;
    Answer::json(&RoleBinding::new(&binding, call.ids()))
}

impl Change for CreateRoleBinding {
    fn parse(call: &Call) -> Result<Self, Problem> {
        call.body::<RoleBindingCreate>()?.parse(call.ids())
    }

    fn render(call: &Call, binding: &Self::Outcome) -> Result<Answer, Problem> {
        Answer::json(&RoleBinding::new(binding, call.ids()))
    }
}

impl Change for UpdateRoleBinding {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let binding = call.path_id("binding_id")?;
        let body: RoleBindingUpdate = call.body()?;
        let role = call.id("role_id", &body.role_id)?;
        Ok(Self { binding, role })
    }

    fn render(call: &Call, binding: &Self::Outcome) -> Result<Answer, Problem> {
        Answer::json(&RoleBinding::new(binding, call.ids()))
    }
}

impl Change for DeleteRoleBinding {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let binding = call.path_id("binding_id")?;
        Ok(Self { binding })
    }
}

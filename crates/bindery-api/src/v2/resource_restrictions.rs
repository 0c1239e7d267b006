//! `/v2/resource-restrictions`.

use bindery_core::command::resource_restrictions::{
    CreateResourceRestriction, DeleteResourceRestriction,
};
use bindery_core::id::{Id as _, Kind, ProjectId};
use bindery_core::query::Page;
use bindery_core::refusal::Refusal;

use crate::answer::Answer;
use crate::call::Call;
use crate::change::Change;
use crate::problem::Problem;
use crate::wire::resource_restrictions::{
    RESOURCE_TYPES, ResourceRestriction, ResourceRestrictionCreate, ResourceRestrictions,
};

pub(crate) fn list(call: &Call) -> Result<Answer, Problem> {
    let exists_here = call
        .query
        .choice("resource_type", &RESOURCE_TYPES)?
        .unwrap_or(true);
    let cursors = call.cursors();
    let slice = cursors.slice()?;
    let context = call.admit()?;
    let page = if exists_here {
        call.state.reader(context).restrictions(slice)
    } else {
        Page {
            items: Vec::new(),
            has_more: false,
        }
    };
    Answer::json(&ResourceRestrictions {
        pagination: cursors.pagination(&page, |restriction| restriction.project),
        resource_restrictions: page
            .items
            .iter()
            .map(|restriction| ResourceRestriction::new(restriction, call.ids()))
            .collect(),
    })
}

/// The project of an id. Dashboards and prompts are valid kinds, but none exist here.
fn restrictable(call: &Call, text: &str) -> Result<ProjectId, Problem> {
    match call.ids().parse_any(text) {
        Some(Ok(id)) if matches!(id.kind, Kind::Dashboard | Kind::Prompt) => {
            call.admit()?;
            Err(Refusal::NotFound(id.kind).into())
        }
        Some(Ok(id)) if id.kind == Kind::Project => Ok(ProjectId::from_number(id.number)),
        _ => call.id("resource_id", text),
    }
}

impl Change for CreateResourceRestriction {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let body: ResourceRestrictionCreate = call.body()?;
        let project = restrictable(call, &body.resource_id)?;
        Ok(Self { project })
    }

    fn render(call: &Call, restriction: &Self::Outcome) -> Result<Answer, Problem> {
        Answer::json(&ResourceRestriction::new(restriction, call.ids()))
    }
}

impl Change for DeleteResourceRestriction {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let project = restrictable(call, call.path_text("resource_id"))?;
        Ok(Self { project })
    }
}

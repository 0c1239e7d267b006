//! `/v2/projects`.

use bindery_core::command::projects::{CreateProject, DeleteProject, UpdateProject};
use bindery_core::query::{Page, ProjectFilter};

use crate::answer::Answer;
use crate::call::Call;
use crate::change::Change;
use crate::problem::Problem;
use crate::wire;
use crate::wire::projects::{PROJECT_TYPES, Project, ProjectCreate, ProjectUpdate, Projects};

pub(crate) fn list(call: &Call) -> Result<Answer, Problem> {
    let filter = ProjectFilter {
        space: call.query_id("space_id")?,
        space_name: call.query.substring("space_name")?,
        name: call.query.substring("name")?,
    };
    let exists_here = call
        .query
        .choice("project_type", &PROJECT_TYPES)?
        .unwrap_or(true);
    let cursors = call.cursors();
    let slice = cursors.slice()?;
    let mut page = call.state.reader(call.admit()?).projects(&filter, slice)?;
    if !exists_here {
        page = Page {
            items: Vec::new(),
            has_more: false,
        };
    }
    Answer::json(&Projects {
        pagination: cursors.pagination(&page, |project| project.id),
        projects: page
            .items
            .iter()
            .map(|project| Project::new(project, call.ids()))
            .collect(),
    })
}

pub(crate) fn get(call: &Call) -> Result<Answer, Problem> {
    let id = call.path_id("project_id")?;
    let project = call.state.reader(call.admit()?).visible_project(id)?;
    Answer::json(&Project::new(project, call.ids()))
}

impl Change for CreateProject {
    fn parse(call: &Call) -> Result<Self, Problem> {
        call.body::<ProjectCreate>()?.parse(call.ids())
    }

    fn render(call: &Call, project: &Self::Outcome) -> Result<Answer, Problem> {
        Answer::json(&Project::new(project, call.ids()))
    }
}

impl Change for UpdateProject {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let project = call.path_id("project_id")?;
        let body: ProjectUpdate = call.body()?;
        let name = wire::name(&body.name)?;
        Ok(Self { project, name })
    }

    fn render(call: &Call, project: &Self::Outcome) -> Result<Answer, Problem> {
        Answer::json(&Project::new(project, call.ids()))
    }
}

impl Change for DeleteProject {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let project = call.path_id("project_id")?;
        Ok(Self { project })
    }
}

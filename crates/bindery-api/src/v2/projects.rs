//! `/v2/projects`.

use bindery_core::command::projects::{CreateProject, DeleteProject, UpdateProject};
use bindery_core::query::{Page, ProjectFilter};

use crate::call::{Answer, Call};
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
    let mut page = call.state.projects(&call.admit()?, &filter, slice)?;
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

pub(crate) async fn create(call: Call) -> Result<Answer, Problem> {
    let command: CreateProject = call.body::<ProjectCreate>()?.parse(call.ids())?;
    let project = call.execute(command).await?;
    Answer::json(&Project::new(&project, call.ids()))
}

pub(crate) fn get(call: &Call) -> Result<Answer, Problem> {
    let id = call.path_id("project_id")?;
    let project = call.state.visible_project(&call.admit()?, id)?;
    Answer::json(&Project::new(project, call.ids()))
}

pub(crate) async fn update(call: Call) -> Result<Answer, Problem> {
    let project = call.path_id("project_id")?;
    let body: ProjectUpdate = call.body()?;
    let command = UpdateProject {
        project,
        name: wire::name(&body.name)?,
    };
    let project = call.execute(command).await?;
    Answer::json(&Project::new(&project, call.ids()))
}

pub(crate) async fn delete(call: Call) -> Result<Answer, Problem> {
    let project = call.path_id("project_id")?;
    call.execute(DeleteProject { project }).await?;
    Ok(Answer::empty())
}

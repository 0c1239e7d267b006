//! Projects on the wire.

use bindery_core::command::projects::CreateProject;
use bindery_core::id::IdKey;
use bindery_core::place::Project as Place;
use serde::{Deserialize, Serialize};

use super::{Moment, name};
use crate::page::Pagination;
use crate::problem::Problem;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProjectCreate {
    name: String,
    space_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProjectUpdate {
    pub(crate) name: String,
}

#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the wire's own names")]
pub(crate) struct Project {
    id: String,
    name: String,
    space_id: String,
    created_at: Moment,
    project_type: &'static str,
}

#[derive(Debug, Serialize)]
pub(crate) struct Projects {
    pub(crate) projects: Vec<Project>,
    pub(crate) pagination: Pagination,
}

impl ProjectCreate {
    pub(crate) fn parse(&self, ids: &IdKey) -> Result<CreateProject, Problem> {
        Ok(CreateProject {
            name: name(&self.name)?,
            space: ids
                .parse(&self.space_id)
                .map_err(|error| Problem::field("space_id", error))?,
        })
    }
}

impl Project {
    pub(crate) fn new(project: &Place, ids: &IdKey) -> Self {
        Self {
            id: ids.encode(project.id),
            name: project.name.to_string(),
            space_id: ids.encode(project.space),
            created_at: Moment(project.created_at),
            project_type: "APPLICATION",
        }
    }
}

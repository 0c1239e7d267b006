//! Projects on the wire.

use bindery_core::command::projects::CreateProject;
use bindery_core::id::{IdKey, ProjectId, SpaceId};
use bindery_core::place::Project as Place;
use bindery_core::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{IdText, Text, choice_text};
use super::{Moment, name};
use crate::page::Pagination;
use crate::problem::Problem;

/// The types that a filter may name; every project here is an application.
pub(crate) const PROJECT_TYPES: [(&str, bool); 3] = [
    ("APPLICATION", true),
    ("HARNESS", false),
    ("EXPERIMENT", false),
];

choice_text! { ProjectTypeText of PROJECT_TYPES }

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProjectCreate {
    #[schemars(with = "Text<Name>")]
    name: String,
    #[schemars(with = "IdText<SpaceId>")]
    space_id: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProjectUpdate {
    #[schemars(with = "Text<Name>")]
    pub(crate) name: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[expect(clippy::struct_field_names, reason = "the wire's own names")]
pub(crate) struct Project {
    #[schemars(with = "IdText<ProjectId>")]
    id: String,
    #[schemars(with = "Text<Name>")]
    name: String,
    #[schemars(with = "IdText<SpaceId>")]
    space_id: String,
    created_at: Moment,
    #[schemars(with = "ProjectTypeText")]
    project_type: &'static str,
}

#[derive(Debug, Serialize, JsonSchema)]
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

//! Projects: create, rename, delete (`docs/rules/operations.md`, projects).

use super::{Command, Context, Decided, cascade};
use crate::change::Change;
use crate::id::{Kind, ProjectId, SpaceId};
use crate::permission::Permission;
use crate::place::Project;
use crate::refusal::{Conflict, Refusal};
use crate::state::State;
use crate::text::Name;

/// Makes a project in a space.
#[derive(Clone, Debug)]
pub struct CreateProject {
    /// Free in the space.
    pub name: Name,
    /// Where.
    pub space: SpaceId,
}

impl Command for CreateProject {
    type Outcome = Project;
    const OPERATION: &str = "create_project";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<Project>, Refusal> {
        // 403 for an unknown space too: the operation lists no 404.
        state.authorize(context, Permission::ProjectCreate, self.space)?;
        check_name(state, self.space, &self.name, None)?;
        let project = Project {
            id: state.numbers().next(),
            space: self.space,
            name: self.name.clone(),
            created_at: context.now,
        };
        Ok(Decided {
            changes: vec![Change::PutProject(project.clone())],
            outcome: project,
        })
    }
}

/// Renames a project.
#[derive(Clone, Debug)]
pub struct UpdateProject {
    /// Which.
    pub project: ProjectId,
    /// Free in its space.
    pub name: Name,
}

impl Command for UpdateProject {
    type Outcome = Project;
    const OPERATION: &str = "update_project";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<Project>, Refusal> {
        let old = state.reader(*context).visible_project(self.project)?;
        state.authorize(context, Permission::ProjectUpdate, self.project)?;
        check_name(state, old.space, &self.name, Some(self.project))?;
        if old.name == self.name {
            return Ok(Decided::unchanged(old.clone()));
        }
        let project = Project {
            name: self.name.clone(),
            ..old.clone()
        };
        Ok(Decided {
            changes: vec![Change::PutProject(project.clone())],
            outcome: project,
        })
    }
}

/// Deletes a project with its bindings and its restriction.
#[derive(Clone, Debug)]
pub struct DeleteProject {
    /// Which.
    pub project: ProjectId,
}

impl Command for DeleteProject {
    type Outcome = ();
    const OPERATION: &str = "delete_project";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<()>, Refusal> {
        state.reader(*context).visible_project(self.project)?;
        state.authorize(context, Permission::ProjectDelete, self.project)?;
        let mut changes = Vec::new();
        cascade::project(state, self.project, &mut changes);
        Ok(Decided {
            changes,
            outcome: (),
        })
    }
}

fn check_name(
    state: &State,
    space: SpaceId,
    name: &Name,
    own: Option<ProjectId>,
) -> Result<(), Refusal> {
    match state.projects_by_name.get(&(space, name.clone())) {
        Some(holder) if Some(*holder) != own => {
            Err(Refusal::Conflict(Conflict::NameTaken(Kind::Project)))
        }
        Some(_) | None => Ok(()),
    }
}

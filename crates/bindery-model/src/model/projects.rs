//! Projects (`docs/rules/operations.md`).

use bindery_core::command::Context;
use bindery_core::command::projects::{CreateProject, DeleteProject, UpdateProject};
use bindery_core::id::{Kind, ProjectId, SpaceId};
use bindery_core::permission::Permission;
use bindery_core::place::Project;
use bindery_core::refusal::{Conflict, Refusal};
use bindery_core::text::Name;

use super::Model;

impl Model {
    pub(super) fn create_project(
        &mut self,
        context: &Context,
        command: &CreateProject,
    ) -> Result<(), Refusal> {
        // 403 always, also for an unknown or invisible space.
        self.require(context, Permission::ProjectCreate, command.space)?;
        self.check_project_name(command.space, &command.name, None)?;
        let id = self.next();
        self.projects.push(Project {
            id,
            space: command.space,
            name: command.name.clone(),
            created_at: context.now,
        });
        Ok(())
    }

    pub(super) fn update_project(
        &mut self,
        context: &Context,
        command: &UpdateProject,
    ) -> Result<(), Refusal> {
        self.see_project(context, command.project)?;
        self.require(context, Permission::ProjectUpdate, command.project)?;
        if let Some(space) = self.project(command.project).map(|project| project.space) {
            self.check_project_name(space, &command.name, Some(command.project))?;
        }
        for project in &mut self.projects {
            if project.id == command.project {
                project.name = command.name.clone();
            }
        }
        Ok(())
    }

    pub(super) fn delete_project(
        &mut self,
        context: &Context,
        command: &DeleteProject,
    ) -> Result<(), Refusal> {
        self.see_project(context, command.project)?;
        self.require(context, Permission::ProjectDelete, command.project)?;
        self.drop_project(command.project);
        Ok(())
    }

    /// Project not visible → 404.
    fn see_project(&self, context: &Context, id: ProjectId) -> Result<(), Refusal> {
        if self.is_project_visible(context.user(), id, context.now) {
            Ok(())
        } else {
            Err(Refusal::NotFound(Kind::Project))
        }
    }

    fn check_project_name(
        &self,
        space: SpaceId,
        name: &Name,
        own: Option<ProjectId>,
    ) -> Result<(), Refusal> {
        for project in &self.projects {
            if project.space == space && project.name == *name && Some(project.id) != own {
                return Err(Refusal::Conflict(Conflict::NameTaken(Kind::Project)));
            }
        }
        Ok(())
    }
}

//! Restrictions (`docs/rules/operations.md`, `docs/rules/authorization.md` §6).

use bindery_core::command::Context;
use bindery_core::command::resource_restrictions::{
    CreateResourceRestriction, DeleteResourceRestriction,
};
use bindery_core::id::{Kind, ProjectId};
use bindery_core::permission::Permission;
use bindery_core::place::Restriction;
use bindery_core::refusal::{Forbidden, Refusal};
use bindery_core::resource::Level;

use super::Model;

impl Model {
    pub(super) fn create_resource_restriction(
        &mut self,
        context: &Context,
        command: &CreateResourceRestriction,
    ) -> Result<(), Refusal> {
        let Some(project) = self.project(command.project) else {
            return Err(Refusal::NotFound(Kind::Project));
        };
        // Already restricted: the right on the project is enough, and nothing changes.
        if self.is_restricted(command.project) {
            if self.can(context, Permission::ProjectRestrict, command.project) {
                return Ok(());
            }
            return Err(self.hide_or_forbid(context, command.project, Level::Project));
        }
        if !self.can(context, Permission::ProjectRestrict, project.space) {
            return Err(self.hide_or_forbid(context, command.project, Level::Space));
        }
        self.restrictions.push(Restriction {
            project: command.project,
            created_at: context.now,
        });
        Ok(())
    }

    pub(super) fn delete_resource_restriction(
        &mut self,
        context: &Context,
        command: &DeleteResourceRestriction,
    ) -> Result<(), Refusal> {
        if !self.can(context, Permission::ProjectRestrict, command.project) {
            return Err(self.hide_or_forbid(context, command.project, Level::Project));
        }
        if !self.is_restricted(command.project) {
            return Err(Refusal::NotFound(Kind::Restriction));
        }
        self.restrictions
            .retain(|one| one.project != command.project);
        Ok(())
    }

    /// Project not visible → 404; visible → 403.
    fn hide_or_forbid(&self, context: &Context, project: ProjectId, level: Level) -> Refusal {
        if self.is_project_visible(context.user(), project, context.now) {
            Refusal::Forbidden(Forbidden::Permission(Permission::ProjectRestrict, level))
        } else {
            Refusal::NotFound(Kind::Project)
        }
    }
}

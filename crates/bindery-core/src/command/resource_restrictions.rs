//! Restrictions of projects: switch on, switch off (`docs/rules/authorization.md` §6, §10).

use super::{Command, Context, Decided};
use crate::change::Change;
use crate::id::{Kind, ProjectId};
use crate::permission::Permission;
use crate::place::Restriction;
use crate::refusal::{Forbidden, Refusal};
use crate::resource::{Level, Resource};
use crate::state::State;

/// Cuts what a project inherits. Already cut: nothing changes.
#[derive(Clone, Debug)]
pub struct CreateResourceRestriction {
    /// Which project.
    pub project: ProjectId,
}

impl Command for CreateResourceRestriction {
    type Outcome = Restriction;
    const OPERATION: &str = "create_resource_restriction";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<Restriction>, Refusal> {
        let project = state
            .project(self.project)
            .ok_or(Refusal::NotFound(Kind::Project))?;
        let existing = state.restriction(self.project);
        // Switching on takes the right on the space, so that a project admin alone can't; confirming it does not.
        let place = match existing {
            Some(_) => Resource::Project(self.project),
            None => Resource::Space(project.space),
        };
        if !state.allows(context, Permission::ProjectRestrict, place) {
            return Err(refuse(state, context, self.project, place.level()));
        }
        if let Some(restriction) = existing {
            return Ok(Decided::unchanged(restriction));
        }
        let restriction = Restriction {
            project: self.project,
            created_at: context.now,
        };
        Ok(Decided {
            changes: vec![Change::PutRestriction(restriction)],
            outcome: restriction,
        })
    }
}

/// Lets a project inherit again.
#[derive(Clone, Debug)]
pub struct DeleteResourceRestriction {
    /// Which project.
    pub project: ProjectId,
}

impl Command for DeleteResourceRestriction {
    type Outcome = ();
    const OPERATION: &str = "delete_resource_restriction";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<()>, Refusal> {
        if !state.allows(context, Permission::ProjectRestrict, self.project) {
            return Err(refuse(state, context, self.project, Level::Project));
        }
        state
            .restriction(self.project)
            .ok_or(Refusal::NotFound(Kind::Restriction))?;
        Ok(Decided {
            changes: vec![Change::DeleteRestriction(self.project)],
            outcome: (),
        })
    }
}

fn refuse(state: &State, context: &Context, project: ProjectId, level: Level) -> Refusal {
    if state.allows(context, Permission::ProjectRead, project) {
        Refusal::Forbidden(Forbidden::Permission(Permission::ProjectRestrict, level))
    } else {
        Refusal::NotFound(Kind::Project)
    }
}

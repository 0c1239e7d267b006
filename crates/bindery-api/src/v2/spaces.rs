//! `/v2/spaces` and their members.

use bindery_core::command::spaces::{
    AddSpaceUser, CreateSpace, DeleteSpace, RemoveSpaceUser, UpdateSpace,
};

use crate::answer::Answer;
use crate::call::Call;
use crate::change::Change;
use crate::problem::Problem;
use crate::wire::spaces::{Space, SpaceCreate, SpaceMembership, SpaceUpdate, SpaceUserAdd, Spaces};

pub(crate) fn list(call: &Call) -> Result<Answer, Problem> {
    let organization = call.query_id("org_id")?;
    let name = call.query.substring("name")?;
    let cursors = call.cursors();
    let slice = cursors.slice()?;
    let page = call
        .state
        .reader(call.admit()?)
        .spaces(organization, &name, slice)?;
    Answer::json(&Spaces {
        pagination: cursors.pagination(&page, |space| space.id),
        spaces: page
            .items
            .iter()
            .map(|space| Space::new(space, call.ids()))
            .collect(),
    })
}

pub(crate) fn get(call: &Call) -> Result<Answer, Problem> {
    let id = call.path_id("space_id")?;
    let space = call.state.reader(call.admit()?).visible_space(id)?;
    Answer::json(&Space::new(space, call.ids()))
}

impl Change for CreateSpace {
    fn parse(call: &Call) -> Result<Self, Problem> {
        call.body::<SpaceCreate>()?.parse(call.ids())
    }

    fn render(call: &Call, space: &Self::Outcome) -> Result<Answer, Problem> {
        Answer::json(&Space::new(space, call.ids()))
    }
}

impl Change for UpdateSpace {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let space = call.path_id("space_id")?;
        call.body::<SpaceUpdate>()?.parse(space)
    }

    fn render(call: &Call, space: &Self::Outcome) -> Result<Answer, Problem> {
        Answer::json(&Space::new(space, call.ids()))
    }
}

impl Change for DeleteSpace {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let space = call.path_id("space_id")?;
        Ok(Self { space })
    }
}

impl Change for AddSpaceUser {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let space = call.path_id("space_id")?;
        call.body::<SpaceUserAdd>()?.parse(space, call.ids())
    }

    fn render(call: &Call, seat: &Self::Outcome) -> Result<Answer, Problem> {
        Answer::json(&SpaceMembership::new(seat, &call.account.snapshot()))
    }
}

impl Change for RemoveSpaceUser {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let space = call.path_id("space_id")?;
        let user = call.path_id("user_id")?;
        Ok(Self { space, user })
    }
}

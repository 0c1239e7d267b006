//! `/v2/spaces` and the members below.

use bindery_core::command::spaces::{DeleteSpace, RemoveSpaceUser};

use crate::call::{Answer, Call};
use crate::problem::Problem;
use crate::wire::spaces::{Space, SpaceCreate, SpaceMembership, SpaceUpdate, SpaceUserAdd, Spaces};

pub(crate) fn list(call: &Call) -> Result<Answer, Problem> {
    let organization = call.query_id("org_id")?;
    let name = call.query.substring("name")?;
    let cursors = call.cursors();
    let slice = cursors.slice()?;
    let page = call
        .state
        .spaces(&call.admit()?, organization, &name, slice)?;
    Answer::json(&Spaces {
        pagination: cursors.pagination(&page, |space| space.id),
        spaces: page
            .items
            .iter()
            .map(|space| Space::new(space, call.ids()))
            .collect(),
    })
}

pub(crate) async fn create(call: Call) -> Result<Answer, Problem> {
    let command = call.body::<SpaceCreate>()?.parse(call.ids())?;
    let space = call.execute(command).await?;
    Answer::json(&Space::new(&space, call.ids()))
}

pub(crate) async fn update(call: Call) -> Result<Answer, Problem> {
    let space = call.path_id("space_id")?;
    let command = call.body::<SpaceUpdate>()?.parse(space)?;
    let space = call.execute(command).await?;
    Answer::json(&Space::new(&space, call.ids()))
}

pub(crate) async fn delete(call: Call) -> Result<Answer, Problem> {
    let space = call.path_id("space_id")?;
    call.execute(DeleteSpace { space }).await?;
    Ok(Answer::empty())
}

pub(crate) async fn remove_user(call: Call) -> Result<Answer, Problem> {
    let space = call.path_id("space_id")?;
    let user = call.path_id("user_id")?;
    call.execute(RemoveSpaceUser { space, user }).await?;
    Ok(Answer::empty())
}

pub(crate) fn get(call: &Call) -> Result<Answer, Problem> {
    let id = call.path_id("space_id")?;
    let space = call.state.visible_space(&call.admit()?, id)?;
    Answer::json(&Space::new(space, call.ids()))
}

pub(crate) async fn add_user(call: Call) -> Result<Answer, Problem> {
    let space = call.path_id("space_id")?;
    let command = call.body::<SpaceUserAdd>()?.parse(space, call.ids())?;
    let seat = call.execute(command).await?;
    Answer::json(&SpaceMembership::new(&seat, &call.account.snapshot()))
}

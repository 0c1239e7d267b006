//! `/v2/organizations` and the members below.

use bindery_core::command::organizations::{DeleteOrganization, RemoveOrganizationUser};

use crate::call::{Answer, Call};
use crate::problem::Problem;
use crate::wire::organizations::{
    Organization, OrganizationCreate, OrganizationMembership, OrganizationUpdate,
    OrganizationUserAdd, Organizations,
};

pub(crate) fn list(call: &Call) -> Result<Answer, Problem> {
    let name = call.query.substring("name")?;
    let cursors = call.cursors();
    let slice = cursors.slice()?;
    let page = call.state.organizations(&call.admit()?, &name, slice);
    Answer::json(&Organizations {
        pagination: cursors.pagination(&page, |organization| organization.id),
        organizations: page
            .items
            .iter()
            .map(|one| Organization::new(one, call.ids()))
            .collect(),
    })
}

pub(crate) async fn create(call: Call) -> Result<Answer, Problem> {
    let command = call.body::<OrganizationCreate>()?.parse()?;
    let organization = call.execute(command).await?;
    Answer::json(&Organization::new(&organization, call.ids()))
}

pub(crate) async fn update(call: Call) -> Result<Answer, Problem> {
    let organization = call.path_id("org_id")?;
    let command = call.body::<OrganizationUpdate>()?.parse(organization)?;
    let organization = call.execute(command).await?;
    Answer::json(&Organization::new(&organization, call.ids()))
}

pub(crate) async fn delete(call: Call) -> Result<Answer, Problem> {
    let organization = call.path_id("org_id")?;
    call.execute(DeleteOrganization { organization }).await?;
    Ok(Answer::empty())
}

pub(crate) async fn remove_user(call: Call) -> Result<Answer, Problem> {
    let organization = call.path_id("org_id")?;
    let user = call.path_id("user_id")?;
    call.execute(RemoveOrganizationUser { organization, user })
        .await?;
    Ok(Answer::empty())
}

pub(crate) fn get(call: &Call) -> Result<Answer, Problem> {
    let id = call.path_id("org_id")?;
    let organization = call.state.visible_organization(&call.admit()?, id)?;
    Answer::json(&Organization::new(organization, call.ids()))
}

pub(crate) async fn add_user(call: Call) -> Result<Answer, Problem> {
    let organization = call.path_id("org_id")?;
    let command = call
        .body::<OrganizationUserAdd>()?
        .parse(organization, call.ids())?;
    let membership = call.execute(command).await?;
    Answer::json(&OrganizationMembership::new(&membership, call.ids()))
}

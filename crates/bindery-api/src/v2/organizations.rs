//! `/v2/organizations` and their members.

use bindery_core::command::organizations::{
    AddOrganizationUser, CreateOrganization, DeleteOrganization, RemoveOrganizationUser,
    UpdateOrganization,
};

use crate::answer::Answer;
use crate::call::Call;
use crate::change::Change;
use crate::problem::Problem;
use crate::wire::organizations::{
    Organization, OrganizationCreate, OrganizationMembership, OrganizationUpdate,
    OrganizationUserAdd, Organizations,
};

pub(crate) fn list(call: &Call) -> Result<Answer, Problem> {
    let name = call.query.substring("name")?;
    let cursors = call.cursors();
    let slice = cursors.slice()?;
    let page = call.state.reader(call.admit()?).organizations(&name, slice);
    Answer::json(&Organizations {
        pagination: cursors.pagination(&page, |organization| organization.id),
        organizations: page
            .items
            .iter()
            .map(|one| Organization::new(one, call.ids()))
            .collect(),
    })
}

pub(crate) fn get(call: &Call) -> Result<Answer, Problem> {
    let id = call.path_id("org_id")?;
    let organization = call.state.reader(call.admit()?).visible_organization(id)?;
    Answer::json(&Organization::new(organization, call.ids()))
}

impl Change for CreateOrganization {
    fn parse(call: &Call) -> Result<Self, Problem> {
        call.body::<OrganizationCreate>()?.parse()
    }

    fn render(call: &Call, organization: &Self::Outcome) -> Result<Answer, Problem> {
        Answer::json(&Organization::new(organization, call.ids()))
    }
}

impl Change for UpdateOrganization {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let organization = call.path_id("org_id")?;
        call.body::<OrganizationUpdate>()?.parse(organization)
    }

    fn render(call: &Call, organization: &Self::Outcome) -> Result<Answer, Problem> {
        Answer::json(&Organization::new(organization, call.ids()))
    }
}

impl Change for DeleteOrganization {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let organization = call.path_id("org_id")?;
        Ok(Self { organization })
    }
}

impl Change for AddOrganizationUser {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let organization = call.path_id("org_id")?;
        call.body::<OrganizationUserAdd>()?
            .parse(organization, call.ids())
    }

    fn render(call: &Call, membership: &Self::Outcome) -> Result<Answer, Problem> {
        Answer::json(&OrganizationMembership::new(membership, call.ids()))
    }
}

impl Change for RemoveOrganizationUser {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let organization = call.path_id("org_id")?;
        let user = call.path_id("user_id")?;
        Ok(Self { organization, user })
    }
}

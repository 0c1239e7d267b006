//! `/bindery/v1/enforcement-points`: keys that may ask for decisions about everyone.

use bindery_core::command::enforcement_points::{MarkEnforcementPoint, UnmarkEnforcementPoint};

use crate::answer::Answer;
use crate::call::Call;
use crate::change::Change;
use crate::problem::Problem;
use crate::wire::api_keys::ApiKeyListed;
use crate::wire::enforcement_points::EnforcementPoints;

pub(crate) fn list(call: &Call) -> Result<Answer, Problem> {
    let cursors = call.cursors();
    let slice = cursors.slice()?;
    let page = call.state.reader(call.admit()?).enforcement_points(slice)?;
    let listed = |key: &&bindery_core::api_key::ApiKey| {
        ApiKeyListed::new(key, call.account.last_use(key.id), &call.state, true)
    };
    Answer::json(&EnforcementPoints {
        pagination: cursors.pagination(&page, |key| key.id),
        enforcement_points: page.items.iter().map(listed).collect(),
    })
}

impl Change for MarkEnforcementPoint {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let key = call.path_id("api_key_id")?;
        Ok(Self { key })
    }
}

impl Change for UnmarkEnforcementPoint {
    fn parse(call: &Call) -> Result<Self, Problem> {
        let key = call.path_id("api_key_id")?;
        Ok(Self { key })
    }
}

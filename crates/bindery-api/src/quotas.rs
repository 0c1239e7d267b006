//! `/bindery/v1/quotas` and `/bindery/v1/released-addresses`: quotas of an account, and the release of
//! addresses of deleted users.

use bindery_core::command::users::ReleaseAddress;
use bindery_core::quota::QUOTAS;

use crate::answer::Answer;
use crate::call::Call;
use crate::change::Change;
use crate::problem::Problem;
use crate::wire::quotas::{AddressRelease, AddressReleased, Quota, Quotas};

pub(crate) fn list(call: &Call) -> Result<Answer, Problem> {
    let user = call.query_id("user_id")?;
    let context = call.admit()?;
    let state = &call.state;
    let user = state.quota_subject(&context, user)?;
    let today = call.account.today(state.person_behind(user), call.now);
    let told = QUOTAS.iter().map(|info| {
        let quota = info.quota;
        let limits = &state.account().settings.quotas;
        let total = state.quota_use(quota, user, call.now);
        let count = total.or_else(|| today.of(quota)).unwrap_or(0);
        Quota::new(info, limits.limit(quota), limits.is_set(quota), count)
    });
    Answer::json(&Quotas {
        quotas: told.collect(),
    })
}

impl Change for ReleaseAddress {
    fn parse(call: &Call) -> Result<Self, Problem> {
        call.body::<AddressRelease>()?.parse()
    }

    fn render(call: &Call, user: &Self::Outcome) -> Result<Answer, Problem> {
        Answer::json(&AddressReleased::new(user, call.ids()))
    }
}

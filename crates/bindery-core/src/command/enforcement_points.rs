//! Enforcement points: marking the keys of programs that ask on behalf of everybody, and taking the mark away.
//!
//! A mark changes nothing about what its key may do, only about whom it may ask ([`crate::inquiry`]). Account admins give it;
//! nobody else learns which keys there are.

use super::{Command, Context, Decided, proofs};
use crate::api_key::ApiKey;
use crate::change::Change;
use crate::id::{ApiKeyId, Kind};
use crate::refusal::{Conflict, Forbidden, Refusal, Unprocessable};
use crate::state::State;

/// Marks a key, unless somebody who isn't account admin may have made it as another person. Once more is no change. It keeps the mark when it is refreshed, and loses it when it is revoked.
#[derive(Clone, Debug)]
pub struct MarkEnforcementPoint {
    /// Which.
    pub key: ApiKeyId,
}

impl Command for MarkEnforcementPoint {
    type Outcome = ();
    const OPERATION: &str = "mark_enforcement_point";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<()>, Refusal> {
        let key = find(state, context, self.key)?;
        if key.is_revoked {
            return Err(Refusal::Unprocessable(Unprocessable::KeyRevoked));
        }
        if !key.is_alive(context.now) {
            return Err(Refusal::Unprocessable(Unprocessable::KeyExpired));
        }
        if !key.is_enforcement_point && proofs::may_be_known(state, key, context.now) {
            return Err(Refusal::Conflict(Conflict::KeyMayBeKnown));
        }
        Ok(marked(key, true))
    }
}

/// Takes the mark from a key; from one that has none is no change.
#[derive(Clone, Debug)]
pub struct UnmarkEnforcementPoint {
    /// Which.
    pub key: ApiKeyId,
}

impl Command for UnmarkEnforcementPoint {
    type Outcome = ();
    const OPERATION: &str = "unmark_enforcement_point";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<()>, Refusal> {
        Ok(marked(find(state, context, self.key)?, false))
    }
}

/// The key, for account admins; others are refused before it is looked up.
fn find<'a>(state: &'a State, context: &Context, id: ApiKeyId) -> Result<&'a ApiKey, Refusal> {
    if !state.is_account_admin(context) {
        return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
    }
    let key = state.api_key(id).ok_or(Refusal::NotFound(Kind::ApiKey))?;
    Ok(key)
}

fn marked(key: &ApiKey, is_enforcement_point: bool) -> Decided<()> {
    if key.is_enforcement_point == is_enforcement_point {
        return Decided::unchanged(());
    }
    let key = ApiKey {
        is_enforcement_point,
        ..key.clone()
    };
    Decided {
        changes: vec![Change::PutApiKey(key)],
        outcome: (),
    }
}

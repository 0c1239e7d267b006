//! Quotas: totals of the account and keys of one creator. The model leaves out daily quotas.

use bindery_core::api_key::{ApiKey, KeyOwner};
use bindery_core::command::operator::SetQuota;
use bindery_core::command::{Caller, Context};
use bindery_core::id::UserId;
use bindery_core::quota::Quota;
use bindery_core::refusal::{Forbidden, QuotaReached, Refusal};

use super::{Model, is_human};

const TOTALS: [Quota; 9] = [
    Quota::Users,
    Quota::Organizations,
    Quota::Spaces,
    Quota::Projects,
    Quota::Roles,
    Quota::RoleBindings,
    Quota::Memberships,
    Quota::Restrictions,
    Quota::ApiKeys,
];

impl Model {
    pub(super) fn set_quota(
        &mut self,
        context: &Context,
        command: &SetQuota,
    ) -> Result<(), Refusal> {
        if context.caller != Caller::Operator {
            return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
        }
        let quotas = &mut self.account.settings.quotas;
        quotas.set(command.quota, command.limit);
        Ok(())
    }

    /// A caller with a key can't increase a total beyond its quota; a total that falls or stays may be above
    /// it.
    pub(super) fn check_quotas(&self, before: &Self, context: &Context) -> Result<(), Refusal> {
        if !matches!(context.caller, Caller::Key { .. }) {
            return Ok(());
        }
        for quota in TOTALS {
            self.check_quota(quota, before.total(quota), self.total(quota))?;
        }
        let mut creators: Vec<UserId> = self.api_keys.iter().map(|key| key.created_by).collect();
        creators.sort();
        creators.dedup();
        for creator in creators {
            for quota in [Quota::UserKeysOfPerson, Quota::ServiceKeysOfCreator] {
                let had = before.valid_keys(quota, creator, context);
                let has = self.valid_keys(quota, creator, context);
                self.check_quota(quota, had, has)?;
            }
        }
        Ok(())
    }

    fn check_quota(&self, quota: Quota, before: usize, after: usize) -> Result<(), Refusal> {
        let limit = self.account.settings.quotas.limit(quota);
        if after > before && after as u64 > limit {
            return Err(Refusal::Quota(QuotaReached {
                quota,
                limit,
                retry_after_seconds: None,
            }));
        }
        Ok(())
    }

    fn total(&self, quota: Quota) -> usize {
        match quota {
            Quota::Users => {
                let people = self.users.iter().filter(|user| is_human(user));
                people
                    .filter(|user| user.address_released_at.is_none())
                    .count()
            }
            Quota::Organizations => self.organizations.len(),
            Quota::Spaces => self.spaces.len(),
            Quota::Projects => self.projects.len(),
            Quota::Roles => self.roles.len(),
            Quota::RoleBindings => self.role_bindings.len(),
            Quota::Memberships => {
                self.organization_memberships.len() + self.space_memberships.len()
            }
            Quota::Restrictions => self.restrictions.len(),
            Quota::ApiKeys => self.api_keys.len(),
            // Not a total of the account.
            _ => 0,
        }
    }

    /// Keys that this user created and that are valid now; signing in does not create keys.
    fn valid_keys(&self, quota: Quota, creator: UserId, context: &Context) -> usize {
        let is_kind = |key: &ApiKey| match key.owner {
            KeyOwner::User(_) => quota == Quota::UserKeysOfPerson,
            KeyOwner::Service(_) => quota == Quota::ServiceKeysOfCreator,
        };
        let mut count = 0;
        for key in &self.api_keys {
            let is_theirs = key.created_by == creator && is_kind(key) && !key.is_sign_in;
            if is_theirs && self.is_key_alive(key.id, context.now) {
                count += 1;
            }
        }
        count
    }
}

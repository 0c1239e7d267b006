//! What the owner of the data directory may do, and nobody else: found an account with its first admin, give a person a key
//! where no key of theirs is left to ask with, and set quotas.

use super::{Caller, Command, Context, Decided};
use crate::api_key::{ApiKey, KeyOwner, Secret};
use crate::change::Change;
use crate::id::{ApiKeyId, Kind, UserId};
use crate::quota::Quota;
use crate::refusal::{Forbidden, Refusal};
use crate::role::AccountRole;
use crate::state::State;
use crate::text::{Description, Email, KeyName, Name};
use crate::time::Timestamp;
use crate::user::{Identity, Standing, User};

/// Founds an account that nobody is in yet. The operator's, and only once.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The admin's name.
    pub name: Name,
    /// The admin's address.
    pub email: Email,
    /// What the key is called.
    pub key_name: KeyName,
    /// The key's secret, hashed.
    pub secret: Secret,
}

impl Command for Bootstrap {
    type Outcome = (User, ApiKey);
    const OPERATION: &str = "bootstrap";

    fn admit(&self, state: &State, context: &Context) -> Result<(), Refusal> {
        match context.caller {
            Caller::Operator if state.users.is_empty() => Ok(()),
            Caller::Operator | Caller::Person(_) | Caller::Key { .. } => {
                Err(Refusal::Forbidden(Forbidden::NotAccountAdmin))
            }
        }
    }

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<Self::Outcome>, Refusal> {
        let mut numbers = state.numbers();
        let user = User {
            id: numbers.next(),
            name: self.name.clone(),
            identity: Identity::Human {
                email: self.email.clone(),
            },
            account_role: AccountRole::Admin,
            is_developer: true,
            standing: Standing::Active,
            created_at: context.now,
            address_released_at: None,
        };
        let key = user_key(
            user.id,
            numbers.next(),
            &self.key_name,
            &self.secret,
            context.now,
        );
        let changes = vec![
            Change::PutUser(user.clone()),
            Change::PutApiKey(key.clone()),
        ];
        Ok(Decided {
            changes,
            outcome: (user, key),
        })
    }
}

/// Gives a person a user key, and developer access if they had none: the key would be good for nothing. Other keys of theirs
/// stay.
#[derive(Clone, Debug)]
pub struct IssueUserKey {
    /// Whose.
    pub email: Email,
    /// What the key is called.
    pub key_name: KeyName,
    /// The key's secret, hashed.
    pub secret: Secret,
    /// Whether the key is marked as an enforcement point.
    pub is_enforcement_point: bool,
}

impl Command for IssueUserKey {
    type Outcome = ApiKey;
    const OPERATION: &str = "issue_user_key";

    fn admit(&self, _: &State, context: &Context) -> Result<(), Refusal> {
        match context.caller {
            Caller::Operator => Ok(()),
            Caller::Person(_) | Caller::Key { .. } => {
                Err(Refusal::Forbidden(Forbidden::NotAccountAdmin))
            }
        }
    }

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<ApiKey>, Refusal> {
        let user = state
            .users_by_email
            .get(self.email.folded().as_str())
            .and_then(|id| state.user(*id))
            .filter(|user| user.standing == Standing::Active)
            .ok_or(Refusal::NotFound(Kind::User))?;
        let key = ApiKey {
            is_enforcement_point: self.is_enforcement_point,
            ..user_key(
                user.id,
                state.numbers().next(),
                &self.key_name,
                &self.secret,
                context.now,
            )
        };
        let mut changes = vec![Change::PutApiKey(key.clone())];
        if !user.is_developer {
            changes.push(Change::PutUser(User {
                is_developer: true,
                ..user.as_ref().clone()
            }));
        }
        Ok(Decided {
            changes,
            outcome: key,
        })
    }
}

/// Sets a quota of the account, or goes back to its default. It counts from the next command on; what is above it stays.
#[derive(Clone, Debug)]
pub struct SetQuota {
    /// Which.
    pub quota: Quota,
    /// The limit; the default, if absent.
    pub limit: Option<u64>,
}

impl Command for SetQuota {
    type Outcome = ();
    const OPERATION: &str = "set_quota";

    fn admit(&self, _: &State, context: &Context) -> Result<(), Refusal> {
        match context.caller {
            Caller::Operator => Ok(()),
            Caller::Person(_) | Caller::Key { .. } => {
                Err(Refusal::Forbidden(Forbidden::NotAccountAdmin))
            }
        }
    }

    fn execute(&self, state: &State, _: &Context) -> Result<Decided<()>, Refusal> {
        let mut account = state.account().clone();
        account.settings.quotas.set(self.quota, self.limit);
        if account == *state.account() {
            return Ok(Decided::unchanged(()));
        }
        Ok(Decided {
            changes: vec![Change::PutAccount(account)],
            outcome: (),
        })
    }
}

/// A key that acts as this person and has no end.
pub(super) fn user_key(
    user: UserId,
    id: ApiKeyId,
    name: &KeyName,
    secret: &Secret,
    now: Timestamp,
) -> ApiKey {
    ApiKey {
        id,
        name: name.clone(),
        description: Description::default(),
        owner: KeyOwner::User(user),
        created_by: user,
        created_at: now,
        expires_at: None,
        is_revoked: false,
        secret: secret.clone(),
        previous: None,
        is_enforcement_point: false,
        is_sign_in: false,
        last_spaces: Vec::new(),
        ends_with: None,
    }
}

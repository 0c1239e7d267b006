//! The first change of an account: an admin, and the key they start with.

use super::{Caller, Command, Context, Decided};
use crate::api_key::{ApiKey, KeyOwner, Secret};
use crate::change::Change;
use crate::refusal::{Forbidden, Refusal};
use crate::role::AccountRole;
use crate::state::State;
use crate::text::{Description, Email, KeyName, Name};
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
            Caller::Operator | Caller::Key { .. } => {
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
        };
        let key = ApiKey {
            id: numbers.next(),
            name: self.key_name.clone(),
            description: Description::default(),
            owner: KeyOwner::User(user.id),
            created_by: user.id,
            created_at: context.now,
            expires_at: None,
            is_revoked: false,
            secret: self.secret.clone(),
            previous: None,
        };
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

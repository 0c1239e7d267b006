//! Commands of the operator only: found the account, and give a person a key.

use bindery_core::api_key::{ApiKey, KeyOwner, Secret};
use bindery_core::command::operator::{Bootstrap, IssueUserKey};
use bindery_core::command::{Caller, Context};
use bindery_core::id::{Kind, UserId};
use bindery_core::refusal::{Forbidden, Refusal};
use bindery_core::role::AccountRole;
use bindery_core::text::{Description, Email, KeyName};
use bindery_core::time::Timestamp;
use bindery_core::user::{Identity, Standing, User};

use super::Model;

impl Model {
    pub(super) fn bootstrap(
        &mut self,
        context: &Context,
        command: &Bootstrap,
    ) -> Result<(), Refusal> {
        if context.caller != Caller::Operator || !self.users.is_empty() {
            return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
        }
        let id = self.next();
        self.users.push(User {
            id,
            name: command.name.clone(),
            identity: Identity::Human {
                email: command.email.clone(),
            },
            account_role: AccountRole::Admin,
            is_developer: true,
            standing: Standing::Active,
            created_at: context.now,
            address_released_at: None,
        });
        self.give_key(id, &command.key_name, &command.secret, context.now);
        Ok(())
    }

    pub(super) fn issue_user_key(
        &mut self,
        context: &Context,
        command: &IssueUserKey,
    ) -> Result<(), Refusal> {
        if context.caller != Caller::Operator {
            return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
        }
        let user = match self.user_with(&command.email) {
            Some(user) if user.standing == Standing::Active => user.id,
            _ => return Err(Refusal::NotFound(Kind::User)),
        };
        self.give_key(user, &command.key_name, &command.secret, context.now);
        if let Some(key) = self.api_keys.last_mut() {
            key.is_enforcement_point = command.is_enforcement_point;
        }
        for one in self.users.iter_mut().filter(|one| one.id == user) {
            one.is_developer = true;
        }
        Ok(())
    }

    /// The human with this address, ignoring case.
    pub(super) fn user_with(&self, email: &Email) -> Option<&User> {
        let wanted = email.as_str().to_lowercase();
        self.users.iter().find(|user| match &user.identity {
            Identity::Human { email } => {
                user.address_released_at.is_none() && email.as_str().to_lowercase() == wanted
            }
            Identity::Bot { .. } => false,
        })
    }

    pub(super) fn give_key(
        &mut self,
        user: UserId,
        name: &KeyName,
        secret: &Secret,
        now: Timestamp,
    ) {
        let id = self.next();
        self.api_keys.push(ApiKey {
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
        });
    }
}

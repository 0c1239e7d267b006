//! Users (`docs/rules/operations.md`).

use bindery_core::api_key::KeyOwner;
use bindery_core::command::users::{
    CreateUser, DeleteUser, Invitation, ReleaseAddress, UpdateUser,
};
use bindery_core::command::{Assignment, Context};
use bindery_core::credential::{Credential, Link, LinkPurpose};
use bindery_core::id::{ApiKeyId, Kind, UserId};
use bindery_core::permission::Permission;
use bindery_core::refusal::{Conflict, Forbidden, Invalid, Refusal, Unprocessable};
use bindery_core::resource::{Level, Resource};
use bindery_core::role::AccountRole;
use bindery_core::time::Timestamp;
use bindery_core::user::{Identity, Standing, User};

use super::{Model, is_human};

const SEVEN_DAYS_MS: i64 = 7 * 24 * 60 * 60 * 1000;

impl Model {
    pub(super) fn create_user(
        &mut self,
        context: &Context,
        command: &CreateUser,
    ) -> Result<(), Refusal> {
        let role = self.authorize_create_user(context, command)?;
        let old = self.user_with(&command.email).cloned();
        match old.as_ref().map(|user| user.standing) {
            Some(Standing::Inactive) => {
                return Err(Refusal::Conflict(Conflict::EmailInactive));
            }
            Some(Standing::Active) => return Err(Refusal::Conflict(Conflict::EmailActive)),
            // INVITED.
            Some(Standing::Invited { until }) if context.now < until => {
                return match command.invitation {
                    Invitation::Link(_) | Invitation::TemporaryPassword(_) => Ok(()),
                    Invitation::None => Err(Refusal::Conflict(Conflict::EmailInvited)),
                };
            }
            // Expired, and invited again under the same id: by a member only if the person holds nothing that
            // an admin gave.
            Some(Standing::Invited { .. }) => {
                let is_admin = self.is_account_admin(context.user(), context.now);
                if !is_admin
                    && old
                        .as_ref()
                        .is_some_and(|old| self.was_given_something(old))
                {
                    return Err(Refusal::Forbidden(Forbidden::NotYourInvitation));
                }
            }
            None => {}
        }
        let (id, created_at) = match old {
            Some(old) => (old.id, old.created_at),
            None => (self.next(), context.now),
        };
        let until = Timestamp::from_millis(context.now.as_millis() + SEVEN_DAYS_MS);
        let (standing, password, link) = match &command.invitation {
            Invitation::None => (Standing::Active, None, None),
            Invitation::Link(token) => {
                let link = Link {
                    token: *token,
                    purpose: LinkPurpose::Invitation,
                    until,
                };
                (Standing::Invited { until }, None, Some(link))
            }
            Invitation::TemporaryPassword(hash) => {
                (Standing::Invited { until }, Some(hash.clone()), None)
            }
        };
        let known_to = self.known_to_inviter(context, link.is_some());
        self.credentials.retain(|one| one.user != id);
        if standing != Standing::Active {
            self.put_credential(Credential {
                user: id,
                password,
                link,
                known_to,
            });
        }
        let by_role = match role {
            AccountRole::Admin | AccountRole::Member => true,
            AccountRole::MemberUiOnly | AccountRole::Annotator => false,
        };
        let user = User {
            id,
            name: command.name.clone(),
            identity: Identity::Human {
                email: command.email.clone(),
            },
            account_role: role,
            is_developer: command.is_developer.unwrap_or(by_role),
            standing,
            created_at,
            address_released_at: None,
        };
        let turns = |old: &User| {
            (old.account_role == AccountRole::Annotator) != (role == AccountRole::Annotator)
        };
        if self.users.iter().any(|old| old.id == id && turns(old)) {
            self.drop_holdings(id);
        }
        match self.users.iter_mut().find(|old| old.id == id) {
            Some(old) => *old = user,
            None => self.users.push(user),
        }
        Ok(())
    }

    fn was_given_something(&self, user: &User) -> bool {
        user.account_role == AccountRole::Admin
            || user.account_role == AccountRole::MemberUiOnly
            || user.is_developer != (user.account_role == AccountRole::Member)
            || self
                .organization_memberships
                .iter()
                .any(|one| one.user == user.id)
            || self.space_memberships.iter().any(|one| one.user == user.id)
            || self.role_bindings.iter().any(|one| one.user == user.id)
    }

    /// Account admins: any role. Members and UI-only members: `MEMBER` and `ANNOTATOR`. `is_developer`:
    /// account admins. A custom role: 422 for callers who may create users at all.
    fn authorize_create_user(
        &self,
        context: &Context,
        command: &CreateUser,
    ) -> Result<AccountRole, Refusal> {
        let is_admin = self.is_account_admin(context.user(), context.now);
        let caller = self.user(context.user()).map(|user| user.account_role);
        let is_member = matches!(
            caller,
            Some(AccountRole::Member | AccountRole::MemberUiOnly)
        );
        if !is_admin && !is_member {
            return Err(Refusal::Forbidden(Forbidden::NotYourRoleToGive));
        }
        // What a service key makes doesn't outlive it.
        if !self.user(context.user()).is_some_and(is_human) {
            if !is_admin {
                return Err(Refusal::Forbidden(Forbidden::BotMakesPeople));
            }
            if let Invitation::TemporaryPassword(_) = command.invitation {
                return Err(Refusal::Forbidden(Forbidden::BotGetsPassword));
            }
        }
        if !is_admin && command.is_developer.is_some() {
            return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
        }
        let role = match command.role {
            Assignment::Predefined(role) => role,
            Assignment::Custom(_) => {
                let reason = Unprocessable::CustomRole(Level::Account);
                return Err(Refusal::Unprocessable(reason));
            }
        };
        let is_for_members = role == AccountRole::Member || role == AccountRole::Annotator;
        if !is_admin && !is_for_members {
            return Err(Refusal::Forbidden(Forbidden::NotYourRoleToGive));
        }
        Ok(role)
    }

    pub(super) fn update_user(
        &mut self,
        context: &Context,
        command: &UpdateUser,
    ) -> Result<(), Refusal> {
        if !self.is_user_visible(context.user(), command.user, context.now) {
            return Err(Refusal::NotFound(Kind::User));
        }
        if command.name.is_some() {
            self.require(context, Permission::UserUpdate, Resource::Account)?;
        }
        if command.is_developer.is_some() && !self.is_account_admin(context.user(), context.now) {
            return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
        }
        if command.is_developer == Some(false) && command.user == context.user() {
            return Err(Refusal::Invalid(Invalid::SwitchesOneselfOff));
        }
        if command.is_developer == Some(false) && self.is_last_admin(command.user) {
            return Err(Refusal::Invalid(Invalid::LastAdmin));
        }
        for user in &mut self.users {
            if user.id == command.user {
                if let Some(name) = &command.name {
                    user.name = name.clone();
                }
                if let Some(is_developer) = command.is_developer {
                    user.is_developer = is_developer;
                }
            }
        }
        Ok(())
    }

    /// Whether this is the only person left who is account admin and may use the API.
    fn is_last_admin(&self, id: UserId) -> bool {
        let leaders: Vec<UserId> = self
            .users
            .iter()
            .filter(|user| is_human(user) && user.is_developer)
            .filter(|user| user.standing == Standing::Active)
            .filter(|user| user.account_role == AccountRole::Admin)
            .map(|user| user.id)
            .collect();
        leaders == [id]
    }

    pub(super) fn delete_user(
        &mut self,
        context: &Context,
        command: &DeleteUser,
    ) -> Result<(), Refusal> {
        if !self.can(context, Permission::UserDelete, Resource::Account) {
            if !self.is_user_visible(context.user(), command.user, context.now) {
                return Err(Refusal::NotFound(Kind::User));
            }
            return self.require(context, Permission::UserDelete, Resource::Account);
        }
        let standing = match self.user(command.user) {
            Some(user) if is_human(user) => user.standing,
            _ => return Err(Refusal::NotFound(Kind::User)),
        };
        if command.user == context.user() {
            return Err(Refusal::Invalid(Invalid::DeletesOneself));
        }
        if standing == Standing::Inactive {
            return Ok(());
        }
        if self.is_last_admin(command.user) {
            return Err(Refusal::Invalid(Invalid::LastAdmin));
        }
        self.drop_holdings(command.user);
        let of_user: Vec<ApiKeyId> = self
            .api_keys
            .iter()
            .filter(|key| key.owner == KeyOwner::User(command.user))
            .map(|key| key.id)
            .collect();
        for key in of_user {
            self.revoke(key);
        }
        self.make_inactive(command.user);
        Ok(())
    }

    /// The address of a deleted person becomes free; everything else about them is kept.
    pub(super) fn release_address(
        &mut self,
        context: &Context,
        command: &ReleaseAddress,
    ) -> Result<(), Refusal> {
        if !self.is_account_admin(context.user(), context.now) {
            return Err(Refusal::Forbidden(Forbidden::NotAccountAdmin));
        }
        let holder = self.user_with(&command.email);
        let id = match holder.map(|user| (user.id, user.standing)) {
            None => return Err(Refusal::NotFound(Kind::User)),
            Some((id, Standing::Inactive)) => id,
            Some(_) => return Err(Refusal::Conflict(Conflict::EmailHeld)),
        };
        for user in &mut self.users {
            if user.id == id {
                user.address_released_at = Some(context.now);
            }
        }
        Ok(())
    }
}

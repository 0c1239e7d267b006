//! Invitations, passwords and signing in (`docs/rules/operations.md`, users; open points are explained at the
//! commands).

use bindery_core::api_key::{ApiKey, KeyOwner, Secret, SecretHash};
use bindery_core::command::credentials::{
    AcceptInvitation, CompletePasswordReset, RenewTemporaryPassword, ResendInvitation,
    ResetPassword, SignIn,
};
use bindery_core::command::{Caller, Context};
use bindery_core::credential::{Credential, KnownTo, Link, LinkPurpose, PasswordHash};
use bindery_core::id::{ApiKeyId, Kind, UserId};
use bindery_core::permission::Permission;
use bindery_core::refusal::{Forbidden, Invalid, Refusal};
use bindery_core::resource::Resource;
use bindery_core::role::AccountRole;
use bindery_core::text::{Description, KeyName};
use bindery_core::time::Timestamp;
use bindery_core::user::{Standing, User};

use super::{Model, is_human};

const SEVEN_DAYS_MS: i64 = 7 * 24 * 60 * 60 * 1000;
const THIRTY_MINUTES_MS: i64 = 30 * 60 * 1000;
const TWELVE_HOURS_MS: i64 = 12 * 60 * 60 * 1000;

fn later(now: Timestamp, millis: i64) -> Timestamp {
    Timestamp::from_millis(now.as_millis() + millis)
}

fn proved(context: &Context) -> Result<UserId, Refusal> {
    match context.caller {
        Caller::Person(user) => Ok(user),
        Caller::Operator | Caller::Key { .. } => Err(Refusal::Unauthenticated),
    }
}

impl Model {
    pub(super) fn resend_invitation(
        &mut self,
        context: &Context,
        command: &ResendInvitation,
    ) -> Result<(), Refusal> {
        self.require_visible(context, command.user)?;
        self.require(context, Permission::UserCreate, Resource::Account)?;
        match self.user(command.user).map(|user| user.standing) {
            Some(Standing::Invited { until }) if context.now < until => {}
            _ => return Err(Refusal::Invalid(Invalid::NotInvited)),
        }
        let until = later(context.now, SEVEN_DAYS_MS);
        self.stand(command.user, Standing::Invited { until });
        let link = Link {
            token: command.token,
            purpose: LinkPurpose::Invitation,
            until,
        };
        let known_to = self.known_to_inviter(context, true);
        self.put_credential(Credential {
            user: command.user,
            password: None,
            link: Some(link),
            known_to,
        });
        Ok(())
    }

    pub(super) fn renew_temporary_password(
        &mut self,
        context: &Context,
        command: &RenewTemporaryPassword,
    ) -> Result<(), Refusal> {
        self.require_visible(context, command.user)?;
        self.require(context, Permission::UserCreate, Resource::Account)?;
        if !self.user(context.user()).is_some_and(is_human) {
            return Err(Refusal::Forbidden(Forbidden::BotGetsPassword));
        }
        match self.user(command.user).map(|user| user.standing) {
            Some(Standing::Invited { until }) if context.now < until => {}
            _ => return Err(Refusal::Invalid(Invalid::NotInvited)),
        }
        let until = later(context.now, SEVEN_DAYS_MS);
        self.stand(command.user, Standing::Invited { until });
        let known_to = self.known_to_inviter(context, false);
        self.put_credential(Credential {
            user: command.user,
            password: Some(command.password.clone()),
            link: None,
            known_to,
        });
        Ok(())
    }

    pub(super) fn reset_password(
        &mut self,
        context: &Context,
        command: &ResetPassword,
    ) -> Result<(), Refusal> {
        self.require_visible(context, command.user)?;
        self.require(context, Permission::UserUpdate, Resource::Account)?;
        if self.user(command.user).map(|user| user.standing) != Some(Standing::Active) {
            return Err(Refusal::Invalid(Invalid::NotActive));
        }
        let link = Link {
            token: command.token,
            purpose: LinkPurpose::PasswordReset,
            until: later(context.now, THIRTY_MINUTES_MS),
        };
        self.send(command.user, link);
        Ok(())
    }

    pub(super) fn accept_invitation(
        &mut self,
        context: &Context,
        command: &AcceptInvitation,
    ) -> Result<(), Refusal> {
        let user = self.follow(context, &command.token, LinkPurpose::Invitation)?;
        match user.standing {
            Standing::Invited { until } if context.now < until => {}
            _ => return Err(Refusal::NotFound(Kind::Credential)),
        }
        if !self.is_invitation_good(&user, context) {
            return Err(Refusal::NotFound(Kind::Credential));
        }
        let known_to = KnownTo::Owner;
        self.let_in(context, &user, &command.password, known_to, &command.secret);
        Ok(())
    }

    pub(super) fn complete_password_reset(
        &mut self,
        context: &Context,
        command: &CompletePasswordReset,
    ) -> Result<(), Refusal> {
        let user = self.follow(context, &command.token, LinkPurpose::PasswordReset)?;
        if user.standing != Standing::Active {
            return Err(Refusal::NotFound(Kind::Credential));
        }
        let was_known = match self.credential(user.id).map(|one| &one.known_to) {
            Some(KnownTo::Users(_) | KnownTo::Anyone) => true,
            Some(KnownTo::Owner | KnownTo::Unrecorded) | None => false,
        };
        self.choose_password(user.id, &command.password, KnownTo::Owner);
        self.put_out(context, user.id, None);
        if was_known || command.end_keys {
            self.end_own_keys(user.id);
            self.end_made_keys(user.id);
        }
        Ok(())
    }

    pub(super) fn sign_in(&mut self, context: &Context, command: &SignIn) -> Result<(), Refusal> {
        let user = proved(context)?;
        let right = self.credential(user).and_then(|one| one.password.clone());
        let user = match self.user(user) {
            Some(user) if is_human(user) && right.as_ref() == Some(&command.verified) => {
                user.clone()
            }
            _ => return Err(Refusal::Unauthenticated),
        };
        match user.standing {
            Standing::Inactive => Err(Refusal::Unauthenticated),
            Standing::Invited { until } if context.now >= until => Err(Refusal::Unauthenticated),
            Standing::Invited { .. } => match &command.new_password {
                None => Err(Refusal::Invalid(Invalid::TemporaryPassword)),
                Some(_) if !self.is_invitation_good(&user, context) => {
                    Err(Refusal::Unauthenticated)
                }
                Some(password) => {
                    let known_to = self.known_to_later(user.id, context);
                    self.let_in(context, &user, password, known_to, &command.secret);
                    Ok(())
                }
            },
            Standing::Active if !self.is_password_good(&user, context) => {
                Err(Refusal::Unauthenticated)
            }
            Standing::Active => {
                if !self.gets_a_key(&user) {
                    return Err(Refusal::Forbidden(Forbidden::NoDeveloperAccess));
                }
                let known_to = self.credential(user.id).map(|one| one.known_to.clone());
                let key = self.give_short_key(context, user.id, &command.secret);
                if let Some(password) = &command.new_password {
                    self.choose_password(user.id, password, known_to.unwrap_or(KnownTo::Owner));
                    self.put_out(context, user.id, key);
                    if command.end_keys {
                        self.end_own_keys(user.id);
                        self.end_made_keys(user.id);
                    }
                }
                Ok(())
            }
        }
    }

    /// The credential of this person.
    pub fn credential(&self, user: UserId) -> Option<&Credential> {
        self.credentials.iter().find(|one| one.user == user)
    }

    /// Invites: sets a link, or a temporary password, or neither.
    pub(super) fn put_credential(&mut self, credential: Credential) {
        self.credentials.retain(|one| one.user != credential.user);
        self.credentials.push(credential);
    }

    fn require_visible(&self, context: &Context, user: UserId) -> Result<(), Refusal> {
        if self.is_user_visible(context.user(), user, context.now) {
            Ok(())
        } else {
            Err(Refusal::NotFound(Kind::User))
        }
    }

    /// The person of a link with this purpose that has not expired.
    fn follow(
        &self,
        context: &Context,
        token: &SecretHash,
        purpose: LinkPurpose,
    ) -> Result<User, Refusal> {
        let user = proved(context)?;
        let dead = Refusal::NotFound(Kind::Credential);
        let link = self.credential(user).and_then(|one| one.link).ok_or(dead)?;
        let is_good = link.token == *token && link.purpose == purpose && context.now < link.until;
        match self.user(user) {
            Some(user) if is_good && user.standing != Standing::Inactive => Ok(user.clone()),
            _ => Err(dead),
        }
    }

    /// A new link replaces the previous one, and keeps the password.
    fn send(&mut self, user: UserId, link: Link) {
        let old = self.credential(user);
        let password = old.and_then(|one| one.password.clone());
        let known_to = old.map_or(KnownTo::Owner, |one| one.known_to.clone());
        self.put_credential(Credential {
            user,
            password,
            link: Some(link),
            known_to,
        });
    }

    fn choose_password(&mut self, user: UserId, password: &PasswordHash, known_to: KnownTo) {
        self.put_credential(Credential {
            user,
            password: Some(password.clone()),
            link: None,
            known_to,
        });
    }

    /// Who may know the password that replaces a temporary one. Account admins are trusted with what they
    /// know.
    fn known_to_later(&self, user: UserId, context: &Context) -> KnownTo {
        match self.credential(user).map(|one| one.known_to.clone()) {
            Some(KnownTo::Users(users)) => {
                for user in &users {
                    if !self.is_account_admin(*user, context.now) {
                        return KnownTo::Users(users);
                    }
                }
                KnownTo::Owner
            }
            // Who invited them isn't recorded: if it may have been any member, any member may know it.
            Some(KnownTo::Unrecorded) => match self.user(user).map(|user| user.account_role) {
                Some(AccountRole::Member | AccountRole::Annotator) => KnownTo::Anyone,
                _ => KnownTo::Owner,
            },
            Some(KnownTo::Anyone) => KnownTo::Anyone,
            Some(KnownTo::Owner) | None => KnownTo::Owner,
        }
    }

    /// Ends the user keys of a person, except those from signing in: they end with the password.
    fn end_own_keys(&mut self, user: UserId) {
        for key in self.api_keys.clone() {
            if key.owner == KeyOwner::User(user) && !key.is_sign_in && !key.is_revoked {
                self.revoke(key.id);
            }
        }
    }

    /// Ends the service keys that a person made.
    fn end_made_keys(&mut self, user: UserId) {
        for key in self.api_keys.clone() {
            if key.created_by == user && key.owner != KeyOwner::User(user) && !key.is_revoked {
                self.revoke_by_hand(key.id);
            }
        }
    }

    /// Ends all access by the old password, except for the key that was just given.
    fn put_out(&mut self, context: &Context, user: UserId, but: Option<ApiKeyId>) {
        for key in &mut self.api_keys {
            let is_alive = !key.is_revoked && key.expires_at.is_none_or(|end| context.now < end);
            if key.owner == KeyOwner::User(user)
                && key.is_sign_in
                && is_alive
                && Some(key.id) != but
            {
                key.expires_at = Some(context.now);
                key.previous = None;
            }
        }
    }

    fn let_in(
        &mut self,
        context: &Context,
        user: &User,
        password: &PasswordHash,
        known_to: KnownTo,
        secret: &Secret,
    ) {
        self.stand(user.id, Standing::Active);
        self.choose_password(user.id, password, known_to);
        if self.gets_a_key(user) {
            self.give_short_key(context, user.id, secret);
        }
    }

    fn gets_a_key(&self, user: &User) -> bool {
        user.is_developer && self.account.settings.developer_access
    }

    fn give_short_key(
        &mut self,
        context: &Context,
        user: UserId,
        secret: &Secret,
    ) -> Option<ApiKeyId> {
        let longest = self.account.settings.key_lifetime_max_seconds;
        let longest = longest.map_or(i64::MAX, |seconds| seconds.cast_signed() * 1000);
        let name = KeyName::parse("sign-in").expect("a short name");
        let ended = self.api_keys.iter().find(|key| {
            key.owner == KeyOwner::User(user)
                && key.is_sign_in
                && !key.is_revoked
                && key.expires_at.is_some_and(|end| end <= context.now)
        });
        // A hundred at once; then the oldest ends.
        let mut mine: Vec<&ApiKey> = Vec::new();
        for key in &self.api_keys {
            if key.owner == KeyOwner::User(user) && key.is_sign_in && !key.is_revoked {
                mine.push(key);
            }
        }
        mine.sort_by_key(|key| (key.created_at, key.id));
        let oldest = mine.first().copied().filter(|_| mine.len() >= 100);
        let expires_at = Some(later(context.now, TWELVE_HOURS_MS.min(longest)));
        if let Some(id) = ended.or(oldest).map(|key| key.id) {
            // The same id is used again, as if it were new.
            for key in self.api_keys.iter_mut().filter(|key| key.id == id) {
                key.secret = secret.clone();
                key.previous = None;
                key.is_enforcement_point = false;
                key.description = Description::default();
                key.created_at = context.now;
                key.expires_at = expires_at;
            }
            return Some(id);
        }
        self.give_key(user, &name, secret, context.now);
        let key = self.api_keys.last_mut()?;
        key.expires_at = expires_at;
        key.is_sign_in = true;
        Some(key.id)
    }

    fn stand(&mut self, id: UserId, standing: Standing) {
        for user in &mut self.users {
            if user.id == id {
                user.standing = standing;
            }
        }
    }
}

//! Credentials that others than their person may know: each of them must be able to give what the person is
//! given, or the credentials end.

use bindery_core::api_key::KeyOwner;
use bindery_core::command::Context;
use bindery_core::credential::{Credential, KnownTo, LinkPurpose};
use bindery_core::id::{ApiKeyId, OrganizationId, SpaceId, UserId};
use bindery_core::permission::Permission;
use bindery_core::resource::Bindable;
use bindery_core::role::AccountRole;
use bindery_core::time::Timestamp;
use bindery_core::user::{Standing, User};

use super::{Model, is_human};

/// The longest chain of inviters that is recorded.
const INVITERS_MAX: usize = 8;

/// A thing that a person holds.
#[derive(Clone, Copy)]
enum Holding {
    AccountRole(AccountRole, bool),
    InOrganization(OrganizationId),
    InSpace(SpaceId),
    Bound(Bindable),
}

impl Model {
    /// Compares what each person holds with what they held before. If someone else gave it, and the others
    /// who may know the credential could not, the credential ends.
    pub(super) fn end_known_credentials(&mut self, before: &Self, context: &Context) {
        for credential in &before.credentials {
            let user = credential.user;
            if user == context.user() {
                continue;
            }
            let gifts = self.new_holdings(before, user);
            let is_giveable = |gift: &Holding| before.all_could_give(credential, *gift, context);
            let is_outgrown = match before.user(user) {
                Some(user) if self.has_grown_role(before, user.id) && is_known(credential) => {
                    !before.is_invitation_good(user, context)
                }
                _ => false,
            };
            if is_outgrown || !gifts.iter().all(is_giveable) {
                self.end_credential(before, user);
            }
        }
    }

    /// Whether a person holds a role that grants more than before.
    fn has_grown_role(&self, before: &Self, user: UserId) -> bool {
        for binding in &before.role_bindings {
            let of = |model: &Self| {
                let role = model.roles.iter().find(|role| role.id == binding.role);
                role.map(|role| role.permissions)
            };
            if binding.user == user
                && let (Some(then), Some(now)) = (of(before), of(self))
                && !now.difference(then).is_empty()
            {
                return true;
            }
        }
        false
    }

    /// Whether an active person may sign in again.
    pub(super) fn is_password_good(&self, user: &User, context: &Context) -> bool {
        match self.credential(user.id) {
            Some(credential) if is_known(credential) => self.is_invitation_good(user, context),
            _ => true,
        }
    }

    /// Whether an inviter who isn't account admin may have made this key, acting as the person that they
    /// invited.
    pub(super) fn is_key_known(&self, id: ApiKeyId, now: Timestamp) -> bool {
        let Some(key) = self.api_key(id) else {
            return false;
        };
        let mut maker = key.created_by;
        let mut steps = 0;
        while let Some(above) = self
            .api_keys
            .iter()
            .find(|key| key.owner == KeyOwner::Service(maker))
            && steps < 64
        {
            maker = above.created_by;
            steps += 1;
        }
        match self.credential(maker).map(|one| &one.known_to) {
            Some(KnownTo::Anyone) => true,
            Some(KnownTo::Users(users)) => {
                (users.iter()).any(|user| !self.is_account_admin(*user, now))
            }
            Some(KnownTo::Owner | KnownTo::Unrecorded) | None => false,
        }
    }

    fn new_holdings(&self, before: &Self, id: UserId) -> Vec<Holding> {
        let mut gifts = Vec::new();
        let access = |model: &Self| {
            let user = model.user(id)?;
            Some((user.account_role, user.is_developer))
        };
        if let (Some(now), Some(then)) = (access(self), access(before))
            && now != then
        {
            gifts.push(Holding::AccountRole(now.0, now.1));
        }
        for one in &self.organization_memberships {
            if one.user == id && !before.organization_memberships.contains(one) {
                gifts.push(Holding::InOrganization(one.organization));
            }
        }
        for one in &self.space_memberships {
            if one.user == id && !before.space_memberships.contains(one) {
                gifts.push(Holding::InSpace(one.space));
            }
        }
        for one in &self.role_bindings {
            if one.user == id && !before.role_bindings.contains(one) {
                gifts.push(Holding::Bound(one.resource));
            }
        }
        gifts
    }

    /// Whether an invited person may still use the invitation.
    pub(super) fn is_invitation_good(&self, user: &User, context: &Context) -> bool {
        let Some(credential) = self.credential(user.id) else {
            return false;
        };
        let mut held = vec![Holding::AccountRole(user.account_role, user.is_developer)];
        for one in &self.organization_memberships {
            if one.user == user.id {
                held.push(Holding::InOrganization(one.organization));
            }
        }
        for one in &self.space_memberships {
            if one.user == user.id {
                held.push(Holding::InSpace(one.space));
            }
        }
        for one in &self.role_bindings {
            if one.user == user.id {
                held.push(Holding::Bound(one.resource));
            }
        }
        held.iter()
            .all(|holding| self.all_could_give(credential, *holding, context))
    }

    fn all_could_give(&self, credential: &Credential, gift: Holding, context: &Context) -> bool {
        match &credential.known_to {
            KnownTo::Owner => true,
            KnownTo::Users(users) => users
                .iter()
                .all(|giver| self.could_give(*giver, gift, context.now)),
            KnownTo::Anyone => is_for_every_member(gift),
            KnownTo::Unrecorded => match self.user(credential.user) {
                Some(user) if user.standing == Standing::Active => true,
                Some(user)
                    if user.account_role == AccountRole::Admin
                        || user.account_role == AccountRole::MemberUiOnly =>
                {
                    true
                }
                _ => is_for_every_member(gift),
            },
        }
    }

    fn could_give(&self, giver: UserId, gift: Holding, now: Timestamp) -> bool {
        if self.is_account_admin(giver, now) {
            return true;
        }
        match gift {
            Holding::AccountRole(..) => {
                let role = self.user(giver).map(|user| user.account_role);
                let is_member =
                    role == Some(AccountRole::Member) || role == Some(AccountRole::MemberUiOnly);
                self.acts(giver, now) && is_member && is_for_every_member(gift)
            }
            Holding::InOrganization(organization) => {
                self.is_organization_admin(giver, organization, now)
            }
            Holding::InSpace(space) => self.is_space_admin(giver, space, now),
            Holding::Bound(on) => {
                let question = bindery_core::decision::Question {
                    principal: giver,
                    permission: Permission::RoleBindingCreate,
                    resource: on.into(),
                };
                self.may(&question, now)
            }
        }
    }

    /// Ends password, invitation, and keys made by or as this person. A link to choose a new password stays:
    /// an admin had it mailed.
    fn end_credential(&mut self, before: &Self, user: UserId) {
        let old = before.credential(user);
        if self.credential(user) == old {
            let link = old.and_then(|old| old.link);
            let link = link.filter(|link| link.purpose == LinkPurpose::PasswordReset);
            self.credentials.retain(|one| one.user != user);
            if link.is_some() {
                self.credentials.push(Credential {
                    user,
                    password: None,
                    link,
                    known_to: KnownTo::Owner,
                });
            }
        }
        for key in &before.api_keys {
            let is_untouched = self.api_keys.contains(key);
            if key.is_revoked || !is_untouched {
                continue;
            }
            if key.owner == KeyOwner::User(user) {
                self.revoke(key.id);
            } else if key.created_by == user {
                self.revoke_by_hand(key.id);
            }
        }
    }

    /// Who may know an invitation of this caller.
    pub(super) fn known_to_inviter(&self, context: &Context, is_link: bool) -> KnownTo {
        let inviter = context.user();
        let is_person = self.user(inviter).is_some_and(is_human);
        if is_link && is_person && self.is_account_admin(inviter, context.now) {
            return KnownTo::Owner;
        }
        let mut users = vec![inviter];
        match self.credential(inviter).map(|own| &own.known_to) {
            Some(KnownTo::Anyone) => return KnownTo::Anyone,
            Some(KnownTo::Users(others)) => users.extend(others),
            Some(KnownTo::Owner | KnownTo::Unrecorded) | None => {}
        }
        if users.len() > INVITERS_MAX {
            return KnownTo::Anyone;
        }
        KnownTo::Users(users)
    }
}

/// Whether others are recorded to know it.
fn is_known(credential: &Credential) -> bool {
    matches!(credential.known_to, KnownTo::Users(_) | KnownTo::Anyone)
}

/// Every member of the account may give the roles `MEMBER` and `ANNOTATOR`, with their developer access.
fn is_for_every_member(gift: Holding) -> bool {
    match gift {
        Holding::AccountRole(AccountRole::Member, _) => true,
        Holding::AccountRole(AccountRole::Annotator, is_developer) => !is_developer,
        Holding::AccountRole(AccountRole::Admin | AccountRole::MemberUiOnly, _)
        | Holding::InOrganization(_)
        | Holding::InSpace(_)
        | Holding::Bound(_) => false,
    }
}

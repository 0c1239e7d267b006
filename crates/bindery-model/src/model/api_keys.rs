//! API keys (`docs/rules/operations.md`; `docs/rules/authorization.md` §8, §10).

use bindery_core::api_key::{ApiKey, KeyOwner, PreviousSecret};
use bindery_core::command::api_keys::{
    CreateServiceKey, CreateUserKey, KeyOrganization, KeySpace, RefreshApiKey, RevokeApiKey,
};
use bindery_core::command::{Assignment, Caller, Context};
use bindery_core::given::{GivenAt, Giver};
use bindery_core::id::{Id as _, Kind, OrganizationId, SpaceId, UserId};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::refusal::{Forbidden, Invalid, Refusal, Unprocessable};
use bindery_core::resource::{Bindable, Level, Resource};
use bindery_core::role::{AccountRole, OrganizationRole, SpaceRole};
use bindery_core::role_binding::RoleBinding;
use bindery_core::text::Name;
use bindery_core::time::Timestamp;
use bindery_core::user::{Identity, OrganizationMembership, SpaceMembership, Standing, User};

use super::decision::named;
use super::{Model, is_human};

impl Model {
    pub(super) fn create_user_key(
        &mut self,
        context: &Context,
        command: &CreateUserKey,
    ) -> Result<(), Refusal> {
        let caller = self.live_user(context.user())?;
        if !is_human(&caller) {
            return Err(Refusal::Forbidden(Forbidden::BotMakesUserKey));
        }
        self.require_developer_access(&caller)?;
        let behind = self.bot_behind(context);
        let expires_at = self.first_expiry(context.now, behind, command.expires_at)?;
        let id = self.next();
        self.api_keys.push(ApiKey {
            id,
            name: command.name.clone(),
            description: command.description.clone(),
            owner: KeyOwner::User(caller.id),
            created_by: caller.id,
            created_at: context.now,
            expires_at,
            is_revoked: false,
            secret: command.secret.clone(),
            previous: None,
            is_enforcement_point: false,
            is_sign_in: false,
            last_spaces: Vec::new(),
            ends_with: behind,
        });
        Ok(())
    }

    pub(super) fn create_service_key(
        &mut self,
        context: &Context,
        command: &CreateServiceKey,
    ) -> Result<(), Refusal> {
        check_form(command)?;
        let caller = self.live_user(context.user())?;
        self.require_developer_access(&caller)?;

        // An organization or space not visible → 404; else 403.
        for place in &command.organizations {
            self.see_organization(context, place.organization)?;
            for seat in &place.spaces {
                self.see_space(context, seat.space)?;
            }
        }
        for place in &command.organizations {
            for seat in &place.spaces {
                self.require(context, Permission::ServiceKeyCreate, seat.space)?;
            }
        }
        // Unknown role → 404.
        for place in &command.organizations {
            for seat in &place.spaces {
                if let Assignment::Custom(role) = seat.role {
                    self.find_role(role)?;
                }
            }
        }
        // A value that is not possible → 422.
        let account_role = self.check_account_role(context, command.account_role)?;
        for place in &command.organizations {
            self.check_organization_role(context, place)?;
            for seat in &place.spaces {
                self.check_key_space(context, place.organization, seat)?;
            }
        }
        let behind = self.bot_behind(context);
        let expires_at = self.first_expiry(context.now, behind, command.expires_at)?;
        // A key that a bot makes has the bot as its creator.
        let behind = behind.filter(|bot| *bot != context.user());
        self.make_service_key(context, command, account_role, expires_at, behind);
        Ok(())
    }

    fn check_account_role(
        &self,
        context: &Context,
        role: Assignment<AccountRole>,
    ) -> Result<AccountRole, Refusal> {
        let Assignment::Predefined(role) = role else {
            return Err(unprocessable(Unprocessable::CustomRole(Level::Account)));
        };
        let permissions = named("ACCOUNT", role.name());
        self.check_ceiling(context, permissions, Resource::Account)?;
        Ok(role)
    }

    fn check_organization_role(
        &self,
        context: &Context,
        place: &KeyOrganization,
    ) -> Result<(), Refusal> {
        match place.role {
            Assignment::Custom(_) => {
                let level = Level::Organization;
                Err(unprocessable(Unprocessable::CustomRole(level)))
            }
            Assignment::Predefined(OrganizationRole::Annotator) => {
                let level = Level::Organization;
                Err(unprocessable(Unprocessable::AnnotatorKey(level)))
            }
            Assignment::Predefined(role) => {
                let permissions = named("ORGANIZATION", role.name());
                self.check_ceiling(context, permissions, place.organization.into())
            }
        }
    }

    fn check_key_space(
        &self,
        context: &Context,
        organization: OrganizationId,
        seat: &KeySpace,
    ) -> Result<(), Refusal> {
        let lies_in = self.space(seat.space).map(|space| space.organization);
        if lies_in != Some(organization) {
            return Err(unprocessable(Unprocessable::SpaceElsewhere));
        }
        let annotator = SpaceRole::Annotator;
        if seat.role == Assignment::Predefined(annotator)
            || seat.role == Assignment::Custom(annotator.role())
        {
            return Err(unprocessable(Unprocessable::AnnotatorKey(Level::Space)));
        }
        let permissions = match seat.role {
            Assignment::Predefined(role) => named("SPACE", role.name()),
            Assignment::Custom(role) => self.permissions_of(role),
        };
        self.check_ceiling(context, permissions, seat.space.into())
    }

    /// §8: for each permission of the assigned role that can match there, the caller must be allowed it at
    /// that place.
    fn check_ceiling(
        &self,
        context: &Context,
        assigned: PermissionSet,
        place: Resource,
    ) -> Result<(), Refusal> {
        for permission in Permission::ALL {
            let can_match_there = permission.lowest_level() <= place.level();
            if assigned.contains(permission)
                && can_match_there
                && !self.can(context, permission, place)
            {
                return Err(unprocessable(Unprocessable::AboveCaller(place.level())));
            }
        }
        Ok(())
    }

    /// Refreshing returns the secret, so the ceiling applies to everything that the bot holds now.
    fn check_bot_within(&self, context: &Context, bot: UserId) -> Result<(), Refusal> {
        let mut held = Vec::new();
        for user in self.users.iter().filter(|user| user.id == bot) {
            held.push((
                named("ACCOUNT", user.account_role.name()),
                Resource::Account,
            ));
        }
        for one in self
            .organization_memberships
            .iter()
            .filter(|one| one.user == bot)
        {
            held.push((
                named("ORGANIZATION", one.role.name()),
                one.organization.into(),
            ));
        }
        for one in self.space_memberships.iter().filter(|one| one.user == bot) {
            held.push((named("SPACE", one.role.name()), one.space.into()));
        }
        for one in self.role_bindings.iter().filter(|one| one.user == bot) {
            held.push((self.permissions_of(one.role), one.resource.into()));
        }
        let is_gone = self.live_user(bot).is_err();
        let is_above = held
            .into_iter()
            .any(|(set, place)| self.check_ceiling(context, set, place).is_err());
        if is_gone || is_above {
            return Err(Refusal::Forbidden(Forbidden::KeyHoldsMore));
        }
        Ok(())
    }

    /// A new bot user, its organization and space memberships; custom space roles become bindings.
    fn make_service_key(
        &mut self,
        context: &Context,
        command: &CreateServiceKey,
        account_role: AccountRole,
        expires_at: Option<Timestamp>,
        ends_with: Option<UserId>,
    ) {
        let (bot, key) = (self.next(), self.next());
        self.users.push(User {
            id: bot,
            name: cut(command.name.as_str()),
            identity: Identity::Bot { key },
            account_role,
            is_developer: true,
            standing: Standing::Active,
            created_at: context.now,
            address_released_at: None,
        });
        self.api_keys.push(ApiKey {
            id: key,
            name: command.name.clone(),
            description: command.description.clone(),
            owner: KeyOwner::Service(bot),
            created_by: context.user(),
            created_at: context.now,
            expires_at,
            is_revoked: false,
            secret: command.secret.clone(),
            previous: None,
            is_enforcement_point: false,
            is_sign_in: false,
            last_spaces: Vec::new(),
            ends_with,
        });
        for place in &command.organizations {
            if let Assignment::Predefined(role) = place.role {
                let id = self.next();
                self.organization_memberships.push(OrganizationMembership {
                    id,
                    user: bot,
                    organization: place.organization,
                    role,
                    given_by: Giver::UNKNOWN,
                    given_at: GivenAt::UNKNOWN,
                });
            }
            for seat in &place.spaces {
                self.seat_bot(bot, seat, context.now);
            }
        }
    }

    fn seat_bot(&mut self, bot: UserId, seat: &KeySpace, now: Timestamp) {
        match seat.role {
            Assignment::Predefined(role) => {
                let id = self.next();
                self.space_memberships.push(SpaceMembership {
                    id,
                    user: bot,
                    space: seat.space,
                    role,
                    given_by: Giver::UNKNOWN,
                    given_at: GivenAt::UNKNOWN,
                });
            }
            Assignment::Custom(role) => {
                let id = self.next();
                self.role_bindings.push(RoleBinding {
                    id,
                    user: bot,
                    resource: Bindable::Space(seat.space),
                    role,
                    created_at: now,
                    updated_at: now,
                    given_by: Giver::UNKNOWN,
                });
            }
        }
    }

    pub(super) fn refresh_api_key(
        &mut self,
        context: &Context,
        command: &RefreshApiKey,
    ) -> Result<(), Refusal> {
        let Some(old) = self.api_key(command.key).cloned() else {
            return Err(Refusal::NotFound(Kind::ApiKey));
        };
        self.authorize_key(context, &old, Permission::ServiceKeyCreate)?;
        if let KeyOwner::Service(bot) = old.owner
            && !old.is_revoked
        {
            self.check_bot_within(context, bot)?;
        }
        if old.is_enforcement_point && !self.asks_about_everything(context) {
            return Err(Refusal::Forbidden(Forbidden::KeyHoldsMore));
        }
        let caller = self.live_user(context.user())?;
        self.require_developer_access(&caller)?;
        if old.is_revoked {
            return Err(unprocessable(Unprocessable::KeyRevoked));
        }
        if !self.is_key_alive(old.id, context.now) {
            return Err(unprocessable(Unprocessable::KeyExpired));
        }
        let expires_at = match (old.expires_at, command.expires_at) {
            // With an expiry: must be at or before the old expiry and in the future.
            (Some(_), None) => return Err(unprocessable(Unprocessable::ExpiryMissing)),
            (Some(end), Some(wanted)) if wanted > end => {
                return Err(unprocessable(Unprocessable::ExpiryExtended));
            }
            (Some(_), Some(wanted)) if wanted <= context.now => {
                return Err(unprocessable(Unprocessable::ExpiryPast));
            }
            (Some(_), Some(wanted)) => {
                self.end_of_bot(context.now, Some(old.created_by), Some(wanted))?;
                Some(wanted)
            }
            // Without an expiry: as at creation.
            (None, wanted) => self.first_expiry(context.now, Some(old.created_by), wanted)?,
        };
        // A service key that expires can't give itself a secret that expires later.
        let behind = self.bot_behind(context);
        let own_end = self.end_of_bot(context.now, behind, expires_at)?;
        if let (Some(_), None) = (own_end, expires_at) {
            return Err(unprocessable(Unprocessable::ExpiryBeyondMaker));
        }
        let grace_end = later(context.now, command.grace_seconds);
        let previous = PreviousSecret {
            hash: old.secret.hash,
            until: match old.expires_at {
                Some(end) if end < grace_end => end,
                _ => grace_end,
            },
        };
        let ends_with = match behind {
            Some(bot) if self.ends_by(bot, &old) => old.ends_with,
            behind => behind,
        };
        for key in &mut self.api_keys {
            if key.id == command.key {
                key.ends_with = ends_with;
                key.expires_at = expires_at;
                key.secret = command.secret.clone();
                key.previous = if command.grace_seconds > 0 {
                    Some(previous)
                } else {
                    None
                };
            }
        }
        if let (KeyOwner::Service(bot), Some(end)) = (old.owner, expires_at) {
            self.shorten_what_ends_with(bot, end);
        }
        Ok(())
    }

    /// What a service key made or learned ends no later than it.
    fn shorten_what_ends_with(&mut self, bot: UserId, end: Timestamp) {
        let mut bots = vec![bot];
        let mut seen = Vec::new();
        while let Some(bot) = bots.pop() {
            if seen.contains(&bot) {
                continue;
            }
            seen.push(bot);
            let ids = self.ending_with(bot);
            for key in &mut self.api_keys {
                if ids.contains(&key.id) {
                    key.expires_at = Some(key.expires_at.map_or(end, |own| own.min(end)));
                    if let KeyOwner::Service(bot) = key.owner {
                        bots.push(bot);
                    }
                }
            }
        }
    }

    pub(super) fn revoke_api_key(
        &mut self,
        context: &Context,
        command: &RevokeApiKey,
    ) -> Result<(), Refusal> {
        let Some(key) = self.api_key(command.key).cloned() else {
            return Err(Refusal::NotFound(Kind::ApiKey));
        };
        // A key may revoke itself.
        let is_itself = match context.caller {
            Caller::Key { key, .. } => key == command.key,
            Caller::Operator | Caller::Person(_) => false,
        };
        if !is_itself {
            self.authorize_key(context, &key, Permission::ServiceKeyRevoke)?;
        }
        if !key.is_revoked {
            self.revoke_by_hand(key.id);
        }
        Ok(())
    }

    /// Who may refresh or revoke (§10). A user key: creator or account admin, others get 404. A service key:
    /// account admin, space admin in all bound spaces, or its creator with the permission in every bound
    /// space; else readable → 403, else 404.
    fn authorize_key(
        &self,
        context: &Context,
        key: &ApiKey,
        permission: Permission,
    ) -> Result<(), Refusal> {
        let is_creator = key.created_by == context.user();
        if self.is_account_admin(context.user(), context.now) {
            return Ok(());
        }
        match key.owner {
            KeyOwner::User(_) if is_creator => return Ok(()),
            KeyOwner::User(_) => return Err(Refusal::NotFound(Kind::ApiKey)),
            KeyOwner::Service(_) => {}
        }
        let bound = self.spaces_of_key(key);
        // Without spaces, no one is admin in all of them.
        let is_admin_in_all = !bound.is_empty()
            && bound
                .iter()
                .all(|space| self.is_space_admin(context.user(), *space, context.now));
        let has_it_in_all = bound
            .iter()
            .all(|space| self.can(context, permission, *space));
        if is_admin_in_all || (is_creator && has_it_in_all) {
            return Ok(());
        }
        if self.reads_key(context, key) {
            Err(Refusal::Forbidden(Forbidden::NotYourServiceKey))
        } else {
            Err(Refusal::NotFound(Kind::ApiKey))
        }
    }

    /// A service key is readable by account admins, its creator, and holders of `SERVICE_KEY_READ` on any
    /// bound space (§10).
    pub(super) fn reads_key(&self, context: &Context, key: &ApiKey) -> bool {
        let bound = self.spaces_of_key(key);
        self.is_account_admin(context.user(), context.now)
            || key.created_by == context.user()
            || bound
                .iter()
                .any(|space| self.can(context, Permission::ServiceKeyRead, *space))
    }

    /// Where a service key is bound, or was when it was revoked, as far as those spaces still exist.
    pub(super) fn spaces_of_key(&self, key: &ApiKey) -> Vec<SpaceId> {
        if key.is_revoked {
            let mut there = key.last_spaces.clone();
            there.retain(|space| self.space(*space).is_some());
            there
        } else {
            self.spaces_bound_to(key.principal())
        }
    }

    /// Developer access of the caller, and of the whole account (§2).
    fn require_developer_access(&self, caller: &User) -> Result<(), Refusal> {
        if self.account.settings.developer_access && caller.is_developer {
            Ok(())
        } else {
            Err(Refusal::Forbidden(Forbidden::NoDeveloperAccess))
        }
    }

    /// Absent: the account's maximum, or the expiry of the service key that makes it, or never. Past → 422;
    /// beyond either → 422.
    fn first_expiry(
        &self,
        now: Timestamp,
        maker: Option<UserId>,
        wanted: Option<Timestamp>,
    ) -> Result<Option<Timestamp>, Refusal> {
        let makers_end = self.end_of_bot(now, maker, wanted)?;
        let max_seconds = self.account.settings.key_lifetime_max_seconds;
        let max = max_seconds.map(|seconds| later(now, seconds));
        match (wanted, max, makers_end) {
            (None, Some(max), Some(end)) if end < max => Ok(Some(end)),
            (None, Some(max), _) => Ok(Some(max)),
            (None, None, end) => Ok(end),
            (Some(wanted), ..) if wanted <= now => Err(unprocessable(Unprocessable::ExpiryPast)),
            (Some(wanted), max, _) => {
                if let (Some(max), Some(max_seconds)) = (max, max_seconds)
                    && wanted > max
                {
                    let reason = Unprocessable::ExpiryTooLate { max_seconds };
                    return Err(unprocessable(reason));
                }
                Ok(Some(wanted))
            }
        }
    }

    /// The bot whose end also ends what this caller makes or learns: the caller, or the bot that learned the
    /// secret of its key.
    fn bot_behind(&self, context: &Context) -> Option<UserId> {
        let Caller::Key { user, key } = context.caller else {
            return None;
        };
        for one in &self.api_keys {
            if one.owner == KeyOwner::Service(user) {
                return Some(user);
            }
        }
        self.api_key(key)?.ends_with
    }

    /// Whether a bot's key would end if this key were revoked: it is this key, or was made or learned by
    /// something that ends then.
    fn ends_by(&self, bot: UserId, key: &ApiKey) -> bool {
        let mut without = self.clone();
        without.revoke(key.id);
        without
            .api_keys
            .iter()
            .any(|one| one.owner == KeyOwner::Service(bot) && one.is_revoked)
    }

    /// The expiry of the key of a bot that makes, made or learned another key. It must be valid, and last as
    /// long as that key.
    fn end_of_bot(
        &self,
        now: Timestamp,
        bot: Option<UserId>,
        wanted: Option<Timestamp>,
    ) -> Result<Option<Timestamp>, Refusal> {
        for key in &self.api_keys {
            if bot.map(KeyOwner::Service) == Some(key.owner) {
                let is_shorter = match (key.expires_at, wanted) {
                    (Some(end), Some(wanted)) => end < wanted,
                    _ => false,
                };
                if is_shorter || !self.is_key_alive(key.id, now) {
                    return Err(unprocessable(Unprocessable::ExpiryBeyondMaker));
                }
                return Ok(key.expires_at);
            }
        }
        Ok(None)
    }
}

/// What is wrong with the request itself → 400.
fn check_form(command: &CreateServiceKey) -> Result<(), Refusal> {
    if command.account_role == Assignment::Predefined(AccountRole::MemberUiOnly)
        || command.account_role == Assignment::Predefined(AccountRole::Annotator)
    {
        return Err(Refusal::Invalid(Invalid::AccountRoleOfKey));
    }
    let mut organizations = Vec::new();
    for place in &command.organizations {
        // Two unknown ids are not the same thing twice: they are not found.
        if place.organization != OrganizationId::NOBODY
            && organizations.contains(&place.organization)
        {
            return Err(Refusal::Invalid(Invalid::OrganizationTwice));
        }
        organizations.push(place.organization);
        let mut spaces = Vec::new();
        for seat in &place.spaces {
            if seat.space != SpaceId::NOBODY && spaces.contains(&seat.space) {
                return Err(Refusal::Invalid(Invalid::SpaceTwice));
            }
            spaces.push(seat.space);
        }
    }
    Ok(())
}

fn unprocessable(reason: Unprocessable) -> Refusal {
    Refusal::Unprocessable(reason)
}

fn later(now: Timestamp, seconds: u64) -> Timestamp {
    let millis = i64::try_from(seconds * 1000).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_add(millis))
}

/// A key's name may be one character longer than a user's.
fn cut(name: &str) -> Name {
    let fitting: String = name.chars().take(Name::LENGTH_MAX).collect();
    Name::parse(&fitting).expect("the name of a key, cut to the length of a name")
}

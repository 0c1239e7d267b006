//! API keys: create, refresh, revoke (`docs/rules/operations.md`, API keys; `docs/rules/authorization.md` §8).

use std::collections::BTreeSet;

use super::{Assignment, Caller, Command, Context, Counts, Decided, cascade};
use crate::api_key::{ApiKey, KeyOwner, PreviousSecret, Secret};
use crate::change::Change;
use crate::id::{ApiKeyId, Id, Kind, OrganizationId, RoleId, SpaceId, UserId};
use crate::permission::{Permission, PermissionSet};
use crate::refusal::{Forbidden, Invalid, Refusal, Unprocessable};
use crate::resource::{Bindable, Level, Resource};
use crate::role::{AccountRole, OrganizationRole, SpaceRole};
use crate::role_binding::RoleBinding;
use crate::state::State;
use crate::text::{Description, KeyName, Name};
use crate::time::Timestamp;
use crate::user::{Identity, OrganizationMembership, SpaceMembership, Standing, User};

/// Makes a key that acts as the person who makes it.
#[derive(Clone, Debug)]
pub struct CreateUserKey {
    /// Need not be unique.
    pub name: KeyName,
    /// Empty for none.
    pub description: Description,
    /// Absent: as long as the account allows.
    pub expires_at: Option<Timestamp>,
    /// The secret, hashed.
    pub secret: Secret,
}

impl Command for CreateUserKey {
    type Outcome = ApiKey;
    const OPERATION: &str = "create_api_key";
    const COUNTS: Counts = Counts::Key;

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<ApiKey>, Refusal> {
        let user = state.live_user(context.user())?;
        if !user.is_human() {
            return Err(Refusal::Forbidden(Forbidden::BotMakesUserKey));
        }
        require_developer_access(state, context)?;
        let key = ApiKey {
            id: state.numbers().next(),
            name: self.name.clone(),
            description: self.description.clone(),
            owner: KeyOwner::User(context.user()),
            created_by: context.user(),
            created_at: context.now,
            expires_at: first_expiry(state, context, bot_behind(state, context), self.expires_at)?,
            is_revoked: false,
            secret: self.secret.clone(),
            previous: None,
            is_enforcement_point: false,
            is_sign_in: false,
            last_spaces: Vec::new(),
            ends_with: bot_behind(state, context),
        };
        Ok(Decided {
            changes: vec![Change::PutApiKey(key.clone())],
            outcome: key,
        })
    }
}

/// Makes a key with a bot user of its own, and gives the bot its places. All or nothing.
#[derive(Clone, Debug)]
pub struct CreateServiceKey {
    /// Need not be unique; the bot is called so too.
    pub name: KeyName,
    /// Empty for none.
    pub description: Description,
    /// Absent: as long as the account allows.
    pub expires_at: Option<Timestamp>,
    /// The bot's role in the account.
    pub account_role: Assignment<AccountRole>,
    /// The bot's places; at least one.
    pub organizations: Vec<KeyOrganization>,
    /// The secret, hashed.
    pub secret: Secret,
}

/// A bot's place in an organization.
#[derive(Clone, Debug)]
pub struct KeyOrganization {
    /// Where.
    pub organization: OrganizationId,
    /// Its role there.
    pub role: Assignment<OrganizationRole>,
    /// Its places below; at least one.
    pub spaces: Vec<KeySpace>,
}

/// A bot's place in a space.
#[derive(Clone, Copy, Debug)]
pub struct KeySpace {
    /// Where.
    pub space: SpaceId,
    /// Its role there.
    pub role: Assignment<SpaceRole>,
}

/// A bot's place in an organization, with a role that was found good.
struct Seat {
    organization: OrganizationId,
    role: OrganizationRole,
    spaces: Vec<KeySpace>,
}

impl Command for CreateServiceKey {
    type Outcome = (ApiKey, User);
    const OPERATION: &str = "create_api_key";
    const COUNTS: Counts = Counts::Key;

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<Self::Outcome>, Refusal> {
        self.check_form()?;
        require_developer_access(state, context)?;
        self.authorize(state, context)?;
        self.check_roles_exist(state)?;
        let (account_role, seats) = self.check_roles(state, context)?;
        let expires_at = first_expiry(state, context, bot_behind(state, context), self.expires_at)?;
        Ok(self.make(state, context, account_role, &seats, expires_at))
    }
}

/// Whether it was there before. Ids that name nothing are not the same thing twice: they are not found.
fn is_again<I: Id>(seen: &mut BTreeSet<I>, id: I) -> bool {
    !seen.insert(id) && id != I::NOBODY
}

impl CreateServiceKey {
    /// The account roles that a service key takes.
    pub const ACCOUNT_ROLES: [AccountRole; 2] = [AccountRole::Admin, AccountRole::Member];

    /// What the request alone shows to be wrong.
    fn check_form(&self) -> Result<(), Refusal> {
        if let Assignment::Predefined(role) = self.account_role
            && !Self::ACCOUNT_ROLES.contains(&role)
        {
            return Err(Refusal::Invalid(Invalid::AccountRoleOfKey));
        }
        let mut organizations = BTreeSet::new();
        for place in &self.organizations {
            if is_again(&mut organizations, place.organization) {
                return Err(Refusal::Invalid(Invalid::OrganizationTwice));
            }
            let mut spaces = BTreeSet::new();
            if (place.spaces.iter()).any(|seat| is_again(&mut spaces, seat.space)) {
                return Err(Refusal::Invalid(Invalid::SpaceTwice));
            }
        }
        Ok(())
    }

    fn authorize(&self, state: &State, context: &Context) -> Result<(), Refusal> {
        for place in &self.organizations {
            state
                .reader(*context)
                .visible_organization(place.organization)?;
            for seat in &place.spaces {
                state.reader(*context).visible_space(seat.space)?;
            }
        }
        for seat in self.organizations.iter().flat_map(|place| &place.spaces) {
            state.authorize(context, Permission::ServiceKeyCreate, seat.space)?;
        }
        Ok(())
    }

    fn check_roles_exist(&self, state: &State) -> Result<(), Refusal> {
        for seat in self.organizations.iter().flat_map(|place| &place.spaces) {
            if let Assignment::Custom(role) = seat.role {
                state.role(role).ok_or(Refusal::NotFound(Kind::Role))?;
            }
        }
        Ok(())
    }

    /// Every role must be one that keys can have, and within what the caller has at that very place.
    fn check_roles(
        &self,
        state: &State,
        context: &Context,
    ) -> Result<(AccountRole, Vec<Seat>), Refusal> {
        let refuse = |reason| Err(Refusal::Unprocessable(reason));
        let Assignment::Predefined(account_role) = self.account_role else {
            return refuse(Unprocessable::CustomRole(Level::Account));
        };
        within_caller(
            state,
            context,
            account_role.permissions(),
            Resource::Account,
        )?;
        let mut seats = Vec::new();
        for place in &self.organizations {
            let role = match place.role {
                Assignment::Custom(_) => {
                    return refuse(Unprocessable::CustomRole(Level::Organization));
                }
                Assignment::Predefined(OrganizationRole::Annotator) => {
                    return refuse(Unprocessable::AnnotatorKey(Level::Organization));
                }
                Assignment::Predefined(role) => role,
            };
            within_caller(
                state,
                context,
                role.permissions(),
                place.organization.into(),
            )?;
            for seat in &place.spaces {
                check_space(state, context, place.organization, seat)?;
            }
            seats.push(Seat {
                organization: place.organization,
                role,
                spaces: place.spaces.clone(),
            });
        }
        Ok((account_role, seats))
    }

    fn make(
        &self,
        state: &State,
        context: &Context,
        account_role: AccountRole,
        seats: &[Seat],
        expires_at: Option<Timestamp>,
    ) -> Decided<(ApiKey, User)> {
        let mut numbers = state.numbers();
        let (bot, key_id): (UserId, ApiKeyId) = (numbers.next(), numbers.next());
        let user = User {
            id: bot,
            name: Name::cut(self.name.as_str()),
            identity: Identity::Bot { key: key_id },
            account_role,
            is_developer: true,
            standing: Standing::Active,
            created_at: context.now,
            address_released_at: None,
        };
        let key = ApiKey {
            id: key_id,
            name: self.name.clone(),
            description: self.description.clone(),
            owner: KeyOwner::Service(bot),
            created_by: context.user(),
            created_at: context.now,
            expires_at,
            is_revoked: false,
            secret: self.secret.clone(),
            previous: None,
            is_enforcement_point: false,
            is_sign_in: false,
            last_spaces: Vec::new(),
            // The creator of what a bot makes says it already.
            ends_with: bot_behind(state, context).filter(|bot| *bot != context.user()),
        };
        let mut changes = vec![
            Change::PutUser(user.clone()),
            Change::PutApiKey(key.clone()),
        ];
        for Seat {
            organization,
            role,
            spaces,
        } in seats
        {
            changes.push(Change::PutOrganizationMembership(OrganizationMembership {
                id: numbers.next(),
                user: bot,
                organization: *organization,
                role: *role,
                given_by: context.giver(),
                given_at: context.now.into(),
            }));
            changes.extend(spaces.iter().map(|seat| match seat.role {
                Assignment::Predefined(role) => Change::PutSpaceMembership(SpaceMembership {
                    id: numbers.next(),
                    user: bot,
                    space: seat.space,
                    role,
                    given_by: context.giver(),
                    given_at: context.now.into(),
                }),
                Assignment::Custom(role) => Change::PutRoleBinding(RoleBinding {
                    id: numbers.next(),
                    user: bot,
                    resource: Bindable::Space(seat.space),
                    role,
                    created_at: context.now,
                    updated_at: context.now,
                    given_by: context.giver(),
                }),
            }));
        }
        Decided {
            changes,
            outcome: (key, user),
        }
    }
}

fn check_space(
    state: &State,
    context: &Context,
    organization: OrganizationId,
    seat: &KeySpace,
) -> Result<(), Refusal> {
    if state
        .space(seat.space)
        .is_none_or(|space| space.organization != organization)
    {
        return Err(Refusal::Unprocessable(Unprocessable::SpaceElsewhere));
    }
    if seat.role == Assignment::Predefined(SpaceRole::Annotator)
        || seat.role == Assignment::Custom(SpaceRole::Annotator.role())
    {
        return Err(Refusal::Unprocessable(Unprocessable::AnnotatorKey(
            Level::Space,
        )));
    }
    let permissions = match seat.role {
        Assignment::Predefined(SpaceRole::Annotator) => {
            return Err(Refusal::Unprocessable(Unprocessable::AnnotatorKey(
                Level::Space,
            )));
        }
        Assignment::Predefined(role) => role.permissions(),
        Assignment::Custom(role) => permissions_of(state, role)?,
    };
    within_caller(state, context, permissions, seat.space.into())
}

fn permissions_of(state: &State, role: RoleId) -> Result<PermissionSet, Refusal> {
    Ok(state
        .role(role)
        .ok_or(Refusal::NotFound(Kind::Role))?
        .permissions())
}

/// The ceiling: nobody gives a key what they don't have at that very place (§8).
fn within_caller(
    state: &State,
    context: &Context,
    permissions: PermissionSet,
    place: Resource,
) -> Result<(), Refusal> {
    let level = place.level();
    let mut matching = permissions
        .intersection(PermissionSet::at_or_below(level))
        .iter();
    if matching.all(|permission| state.allows(context, permission, place)) {
        return Ok(());
    }
    Err(Refusal::Unprocessable(Unprocessable::AboveCaller(level)))
}

/// The ceiling for a bot that is there already: every role it holds must be within what the caller has at that very place.
fn check_within_caller(state: &State, context: &Context, bot: UserId) -> Result<(), Refusal> {
    let within = |permissions, place| within_caller(state, context, permissions, place);
    let check = || {
        let user = state.live_user(bot)?;
        within(user.account_role.permissions(), Resource::Account)?;
        for membership in state.organization_memberships_of(bot) {
            within(
                membership.role.permissions(),
                membership.organization.into(),
            )?;
        }
        for space in state.spaces_bound_to(bot) {
            if let Some(membership) = state.space_membership(space, bot) {
                within(membership.role.permissions(), space.into())?;
            }
        }
        for binding in state.role_bindings_of(bot) {
            within(
                permissions_of(state, binding.role)?,
                binding.resource.into(),
            )?;
        }
        Ok(())
    };
    check().map_err(|_: Refusal| Refusal::Forbidden(Forbidden::KeyHoldsMore))
}

/// Keys are made by people with developer access, and by bots; by nobody when the account has it off (§2).
fn require_developer_access(state: &State, context: &Context) -> Result<(), Refusal> {
    let user = state.live_user(context.user())?;
    if state.account().settings.developer_access && user.is_developer {
        return Ok(());
    }
    Err(Refusal::Forbidden(Forbidden::NoDeveloperAccess))
}

/// The end of a new key: in the future, within what the account allows, and no later than that of the service key that makes it.
fn first_expiry(
    state: &State,
    context: &Context,
    maker: Option<UserId>,
    wanted: Option<Timestamp>,
) -> Result<Option<Timestamp>, Refusal> {
    let max_seconds = state.account().settings.key_lifetime_max_seconds;
    let longest = max_seconds.map(|seconds| context.now.plus_seconds(seconds));
    let makers_end = end_of_bot(state, context, maker, wanted)?;
    let Some(wanted) = wanted else {
        return Ok(longest.into_iter().chain(makers_end).min());
    };
    if wanted <= context.now {
        return Err(Refusal::Unprocessable(Unprocessable::ExpiryPast));
    }
    match max_seconds {
        Some(max_seconds) if longest.is_some_and(|longest| wanted > longest) => {
            Err(Refusal::Unprocessable(Unprocessable::ExpiryTooLate {
                max_seconds,
            }))
        }
        Some(_) | None => Ok(Some(wanted)),
    }
}

/// The bot whose end is the end of all that this caller makes or learns: itself, or the one that learned the secret of its key.
fn bot_behind(state: &State, context: &Context) -> Option<UserId> {
    let Caller::Key { user, key } = context.caller else {
        return None;
    };
    if state.key_of_bot(user).is_some() {
        return Some(user);
    }
    state.api_key(key)?.ends_with
}

/// The bot that a key ends with once the caller has refreshed it.
///
/// A caller that ends with this very key changes nothing here: it would only shake off the bot that learned the secret before.
fn bot_behind_refreshed(state: &State, context: &Context, old: &ApiKey) -> Option<UserId> {
    let bot = bot_behind(state, context);
    let mut waiting: Vec<UserId> = bot.into_iter().collect();
    let mut seen = BTreeSet::new();
    while let Some(bot) = waiting.pop() {
        let Some(key) = state.key_of_bot(bot).filter(|key| seen.insert(*key)) else {
            continue;
        };
        if key == old.id {
            return old.ends_with;
        }
        if let Some(key) = state.api_key(key) {
            waiting.push(key.created_by);
            waiting.extend(key.ends_with);
        }
    }
    bot
}

/// The end of a bot's key: nothing that the bot makes or learns ends later.
fn end_of_bot(
    state: &State,
    context: &Context,
    bot: Option<UserId>,
    wanted: Option<Timestamp>,
) -> Result<Option<Timestamp>, Refusal> {
    let key = bot.and_then(|bot| state.key_of_bot(bot));
    let Some(key) = key.and_then(|key| state.api_key(key)) else {
        return Ok(None);
    };
    let is_beyond = wanted.is_some_and(|wanted| key.expires_at.is_some_and(|end| end < wanted));
    if is_beyond || !key.is_alive(context.now) {
        return Err(Refusal::Unprocessable(Unprocessable::ExpiryBeyondMaker));
    }
    Ok(key.expires_at)
}

/// Whoever refreshes a key learns its secret. If that is a bot, the secret ends no later than the bot's key.
fn check_refresher(
    state: &State,
    context: &Context,
    expires_at: Option<Timestamp>,
) -> Result<(), Refusal> {
    let own_end = end_of_bot(state, context, bot_behind(state, context), expires_at)?;
    if own_end.is_some() && expires_at.is_none() {
        return Err(Refusal::Unprocessable(Unprocessable::ExpiryBeyondMaker));
    }
    Ok(())
}

/// Gives a key a new secret, in one step; the old one may live on for a grace time.
#[derive(Clone, Debug)]
pub struct RefreshApiKey {
    /// Which.
    pub key: ApiKeyId,
    /// The new end.
    pub expires_at: Option<Timestamp>,
    /// How long the old secret still works.
    pub grace_seconds: u64,
    /// The new secret, hashed.
    pub secret: Secret,
}

impl RefreshApiKey {
    /// The longest grace time, in seconds.
    pub const GRACE_SECONDS_MAX: u64 = 86_400;
}

impl Command for RefreshApiKey {
    type Outcome = ApiKey;
    const OPERATION: &str = "refresh_api_key";
    const COUNTS: Counts = Counts::Key;

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<ApiKey>, Refusal> {
        let old = state
            .api_key(self.key)
            .ok_or(Refusal::NotFound(Kind::ApiKey))?;
        authorize_key(state, context, old, Permission::ServiceKeyCreate)?;
        if let KeyOwner::Service(bot) = old.owner
            && !old.is_revoked
        {
            // The new secret is handed to the caller: nobody gets to act as more than they are that way.
            check_within_caller(state, context, bot)?;
        }
        if old.is_enforcement_point && !state.asks_about_everything(context) {
            // So it is with what the mark lets them ask.
            return Err(Refusal::Forbidden(Forbidden::KeyHoldsMore));
        }
        require_developer_access(state, context)?;
        let refuse = |reason| Err(Refusal::Unprocessable(reason));
        if old.is_revoked {
            return refuse(Unprocessable::KeyRevoked);
        }
        if !old.is_alive(context.now) {
            return refuse(Unprocessable::KeyExpired);
        }
        let expires_at = match (old.expires_at, self.expires_at) {
            (Some(_), None) => return refuse(Unprocessable::ExpiryMissing),
            (Some(end), Some(wanted)) if wanted > end => {
                return refuse(Unprocessable::ExpiryExtended);
            }
            (Some(_), Some(wanted)) if wanted <= context.now => {
                return refuse(Unprocessable::ExpiryPast);
            }
            (Some(_), Some(wanted)) => {
                end_of_bot(state, context, Some(old.created_by), Some(wanted))?;
                Some(wanted)
            }
            (None, wanted) => first_expiry(state, context, Some(old.created_by), wanted)?,
        };
        check_refresher(state, context, expires_at)?;
        let grace_end = context.now.plus_seconds(self.grace_seconds);
        let until = old.expires_at.map_or(grace_end, |end| end.min(grace_end));
        let previous = PreviousSecret {
            hash: old.secret.hash,
            until,
        };
        let key = ApiKey {
            expires_at,
            secret: self.secret.clone(),
            previous: (self.grace_seconds > 0).then_some(previous),
            ends_with: bot_behind_refreshed(state, context, old),
            ..old.as_ref().clone()
        };
        let mut changes = vec![Change::PutApiKey(key.clone())];
        if let (KeyOwner::Service(bot), Some(end)) = (key.owner, key.expires_at) {
            cascade::shorten_what_ends_with(state, bot, end, &mut changes);
        }
        Ok(Decided {
            changes,
            outcome: key,
        })
    }
}

/// Ends a key for good, with what it made and what it learned the secret of. Once more is no change.
#[derive(Clone, Debug)]
pub struct RevokeApiKey {
    /// Which.
    pub key: ApiKeyId,
}

impl Command for RevokeApiKey {
    type Outcome = ();
    const OPERATION: &str = "revoke_api_key";

    fn execute(&self, state: &State, context: &Context) -> Result<Decided<()>, Refusal> {
        let key = state
            .api_key(self.key)
            .ok_or(Refusal::NotFound(Kind::ApiKey))?;
        let revokes_itself = matches!(context.caller, Caller::Key { key, .. } if key == self.key);
        if !revokes_itself {
            authorize_key(state, context, key, Permission::ServiceKeyRevoke)?;
        }
        if key.is_revoked {
            return Ok(Decided::unchanged(()));
        }
        let mut changes = Vec::new();
        match key.owner {
            KeyOwner::Service(_) => cascade::revoke_service_key(state, key, &mut changes),
            KeyOwner::User(_) => cascade::revoke(key, &mut changes),
        }
        Ok(Decided {
            changes,
            outcome: (),
        })
    }
}

/// Who may refresh or revoke a key: of a user key its creator; of a service key whoever is admin of all spaces it is bound to,
/// or its creator with `permission` in every one; account admins both (`docs/rules/authorization.md` §10).
fn authorize_key(
    state: &State,
    context: &Context,
    key: &ApiKey,
    permission: Permission,
) -> Result<(), Refusal> {
    let is_creator = key.created_by == context.user();
    if state.is_account_admin(context) {
        return Ok(());
    }
    let KeyOwner::Service(_) = key.owner else {
        return if is_creator {
            Ok(())
        } else {
            Err(Refusal::NotFound(Kind::ApiKey))
        };
    };
    let spaces = state.spaces_of_key(key);
    // Readable first: a key that is bound to no space has nobody but its creator and account admins.
    if !state.reads_service_key(context, key) {
        return Err(Refusal::NotFound(Kind::ApiKey));
    }
    let is_admin_of_all = !spaces.is_empty()
        && spaces
            .iter()
            .all(|space| state.admin_grant(context, *space).is_some());
    let has_the_right = || {
        spaces
            .iter()
            .all(|space| state.allows(context, permission, *space))
    };
    if is_admin_of_all || (is_creator && has_the_right()) {
        return Ok(());
    }
    Err(Refusal::Forbidden(Forbidden::NotYourServiceKey))
}

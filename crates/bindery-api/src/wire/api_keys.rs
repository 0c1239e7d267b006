//! API keys on the wire. The secret is in the response that made it, and nowhere else.

use bindery_core::api_key::{ApiKey as Key, KeyOwner, Secret};
use bindery_core::command::Assignment;
use bindery_core::command::api_keys::{
    CreateServiceKey, CreateUserKey, KeyOrganization, KeySpace, RefreshApiKey,
};
use bindery_core::id::{ApiKeyId, IdKey, OrganizationId, SpaceId, UserId};
use bindery_core::query::KeyKind;
use bindery_core::resource::Bindable;
use bindery_core::role::{AccountRole, OrganizationRole, SpaceRole};
use bindery_core::state::State;
use bindery_core::text::{Description, KeyName, Name};
use bindery_core::time::Timestamp;
use bindery_core::user::OrganizationMembership;
use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::assignment::{AssignmentRequest, AssignmentResponse};
use super::schema::{
    Assigned, AssignedShown, AssignedToKey, IdText, MomentText, RedactedText, Text, choice_text,
};
use super::{Moment, moment};
use crate::json::{self, Object, present, present_whole};
use crate::page::Pagination;
use crate::problem::Problem;
use crate::secret::KeyText;
use crate::wire;

/// The values of `key_type`.
pub(crate) const KEY_TYPES: [(&str, KeyKind); 2] =
    [("USER", KeyKind::User), ("SERVICE", KeyKind::Service)];

choice_text! { KeyTypeText of KEY_TYPES }

/// The values of `status`, and whether it means revoked.
pub(crate) const STATUSES: [(&str, bool); 2] = [("ACTIVE", false), ("REVOKED", true)];

choice_text! { KeyStatusText of STATUSES }

/// The most organizations of a key, and the most spaces of each.
const PLACES_MAX: usize = 100;

/// A key to make. `key_type` is parsed first and the rest by it, so that an error names its field.
#[derive(Debug, JsonSchema)]
#[serde(tag = "key_type")]
pub(crate) enum ApiKeyCreate {
    #[serde(rename = "USER")]
    User(UserKeyCreate),
    #[serde(rename = "SERVICE")]
    Service(ServiceKeyCreate),
}

/// The kind of a key to make.
#[derive(Debug, Deserialize)]
struct KeyTypeOnly {
    key_type: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(crate) struct UserKeyCreate {
    #[serde(rename = "key_type")]
    #[schemars(skip)]
    _key_type: IgnoredAny,
    #[schemars(with = "Text<KeyName>")]
    name: String,
    #[serde(default)]
    #[schemars(with = "Option<Text<Description>>")]
    description: Option<String>,
    #[serde(default)]
    #[schemars(with = "Option<MomentText>")]
    expires_at: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(crate) struct ServiceKeyCreate {
    #[serde(rename = "key_type")]
    #[schemars(skip)]
    _key_type: IgnoredAny,
    #[schemars(with = "Text<KeyName>")]
    name: String,
    #[serde(default)]
    #[schemars(with = "Option<Text<Description>>")]
    description: Option<String>,
    #[serde(default)]
    #[schemars(with = "Option<MomentText>")]
    expires_at: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "AssignedToKey")]
    account_role: Option<Object<AssignmentRequest>>,
    #[schemars(with = "Vec<OrganizationOfKey>", length(min = 1, max = PLACES_MAX))]
    organizations: Vec<Object<OrganizationOfKey>>,
}

impl ApiKeyCreate {
    /// Parses a body.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Problem> {
        let KeyTypeOnly { key_type } = json::parse(bytes)?;
        match key_type.as_str() {
            "USER" => json::parse(bytes).map(Self::User),
            "SERVICE" => json::parse(bytes).map(Self::Service),
            other => Err(Problem::field(
                "key_type",
                format!("`{other}` is not one of USER, SERVICE"),
            )),
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrganizationOfKey {
    #[schemars(with = "IdText<OrganizationId>")]
    org_id: String,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Assigned<OrganizationRole>")]
    role: Option<Object<AssignmentRequest>>,
    #[schemars(with = "Vec<SpaceOfKey>", length(min = 1, max = PLACES_MAX))]
    spaces: Vec<Object<SpaceOfKey>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpaceOfKey {
    #[schemars(with = "IdText<SpaceId>")]
    space_id: String,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Assigned<SpaceRole>")]
    role: Option<Object<AssignmentRequest>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ApiKeyRefresh {
    #[schemars(with = "Option<MomentText>")]
    expires_at: Option<String>,
    #[serde(deserialize_with = "present_whole")]
    #[schemars(with = "u64", range(max = RefreshApiKey::GRACE_SECONDS_MAX))]
    grace_period_seconds: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ApiKeys {
    pub(crate) api_keys: Vec<ApiKeyListed>,
    pub(crate) pagination: Pagination,
}

/// A key in a list; a service key comes with its bot.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ApiKeyListed {
    #[serde(flatten)]
    api_key: ApiKey,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "BotUser")]
    bot_user: Option<BotUser>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ApiKey {
    #[schemars(with = "IdText<ApiKeyId>")]
    id: String,
    #[schemars(with = "Text<KeyName>")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(with = "Text<Description>")]
    description: String,
    #[schemars(with = "KeyTypeText")]
    key_type: &'static str,
    #[schemars(with = "KeyStatusText")]
    status: &'static str,
    #[schemars(with = "RedactedText")]
    redacted_key: String,
    created_at: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Moment")]
    expires_at: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Moment")]
    last_used_at: Option<Moment>,
    #[schemars(with = "IdText<UserId>")]
    created_by_user_id: String,
}

/// A new key: the only time its secret is shown.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ApiKeyCreated {
    #[serde(flatten)]
    api_key: ApiKey,
    #[schemars(with = "Text<KeyText>")]
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "BotUser")]
    bot_user: Option<BotUser>,
}

/// A key with a new secret: the only time the secret is shown. It never carries `bot_user`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ApiKeyRefreshed {
    #[serde(flatten)]
    api_key: ApiKey,
    #[schemars(with = "Text<KeyText>")]
    key: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BotUser {
    #[schemars(with = "IdText<UserId>")]
    id: String,
    #[schemars(with = "String", length(max = Name::LENGTH_MAX))]
    name: String,
    #[schemars(with = "AssignedShown<AccountRole>")]
    account_role: AssignmentResponse,
    organizations: Vec<BotOrganization>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct BotOrganization {
    #[schemars(with = "IdText<OrganizationId>")]
    org_id: String,
    #[schemars(with = "AssignedShown<OrganizationRole>")]
    role: AssignmentResponse,
    spaces: Vec<BotSpace>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct BotSpace {
    #[schemars(with = "IdText<SpaceId>")]
    space_id: String,
    #[schemars(with = "AssignedShown<SpaceRole>")]
    role: AssignmentResponse,
}

/// A parsed request for either kind of key.
#[derive(Debug)]
pub(crate) enum NewKey {
    User(CreateUserKey),
    Service(CreateServiceKey),
}

impl ApiKeyCreate {
    pub(crate) fn parse(&self, secret: Secret, ids: &IdKey) -> Result<NewKey, Problem> {
        match self {
            Self::User(UserKeyCreate {
                name,
                description,
                expires_at,
                ..
            }) => Ok(NewKey::User(CreateUserKey {
                name: key_name(name)?,
                description: wire::description(description.as_deref().unwrap_or_default())?,
                expires_at: expires_at
                    .as_deref()
                    .map(|text| moment("expires_at", text))
                    .transpose()?,
                secret,
            })),
            Self::Service(ServiceKeyCreate {
                name,
                description,
                expires_at,
                account_role,
                organizations,
                ..
            }) => Ok(NewKey::Service(CreateServiceKey {
                name: key_name(name)?,
                description: wire::description(description.as_deref().unwrap_or_default())?,
                expires_at: expires_at
                    .as_deref()
                    .map(|text| moment("expires_at", text))
                    .transpose()?,
                account_role: match account_role {
                    Some(Object(role)) => role.parse("account_role", ids)?,
                    None => Assignment::Predefined(AccountRole::Member),
                },
                organizations: bounded("organizations", organizations)?
                    .enumerate()
                    .map(|(place, one)| one.parse(&format!("organizations[{place}]"), ids))
                    .collect::<Result<_, _>>()?,
                secret,
            })),
        }
    }
}

impl ApiKeyRefresh {
    pub(crate) fn parse(&self, key: ApiKeyId, secret: Secret) -> Result<RefreshApiKey, Problem> {
        let grace_seconds = self.grace_period_seconds.unwrap_or(0);
        if grace_seconds > RefreshApiKey::GRACE_SECONDS_MAX {
            let why = format!(
                "is {grace_seconds}; 0 to {} are accepted",
                RefreshApiKey::GRACE_SECONDS_MAX
            );
            return Err(Problem::field("grace_period_seconds", why));
        }
        let expires_at = self
            .expires_at
            .as_deref()
            .map(|text| moment("expires_at", text));
        Ok(RefreshApiKey {
            key,
            expires_at: expires_at.transpose()?,
            grace_seconds,
            secret,
        })
    }
}

impl ApiKeyListed {
    /// A key of a list; the places of a bot are left out where they would reveal others.
    pub(crate) fn new(
        key: &Key,
        last_used_at: Option<Timestamp>,
        state: &State,
        shows_places: bool,
    ) -> Self {
        let bot_user = match key.owner {
            KeyOwner::User(_) => None,
            KeyOwner::Service(bot) => Some(BotUser::listed(bot, state, shows_places)),
        };
        Self {
            api_key: ApiKey::new(key, last_used_at, state.ids()),
            bot_user,
        }
    }
}

impl OrganizationOfKey {
    fn parse(&self, field: &str, ids: &IdKey) -> Result<KeyOrganization, Problem> {
        let organization = ids.parse(&self.org_id);
        let spaces = format!("{field}.spaces");
        Ok(KeyOrganization {
            organization: organization
                .map_err(|error| Problem::field(&format!("{field}.org_id"), error))?,
            role: match &self.role {
                Some(Object(role)) => role.parse(&format!("{field}.role"), ids)?,
                None => Assignment::Predefined(OrganizationRole::ReadOnly),
            },
            spaces: bounded(&spaces, &self.spaces)?
                .enumerate()
                .map(|(place, one)| one.parse(&format!("{spaces}[{place}]"), ids))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl SpaceOfKey {
    fn parse(&self, field: &str, ids: &IdKey) -> Result<KeySpace, Problem> {
        let space = ids.parse(&self.space_id);
        Ok(KeySpace {
            space: space.map_err(|error| Problem::field(&format!("{field}.space_id"), error))?,
            role: match &self.role {
                Some(Object(role)) => role.parse(&format!("{field}.role"), ids)?,
                None => Assignment::Predefined(SpaceRole::Member),
            },
        })
    }
}

fn bounded<'a, T>(
    field: &str,
    places: &'a [Object<T>],
) -> Result<impl Iterator<Item = &'a T>, Problem> {
    if (1..=PLACES_MAX).contains(&places.len()) {
        return Ok(places.iter().map(|Object(place)| place));
    }
    let why = format!("has {} items; 1 to {PLACES_MAX} are accepted", places.len());
    Err(Problem::field(field, why))
}

fn key_name(text: &str) -> Result<KeyName, Problem> {
    KeyName::parse(text).map_err(|error| Problem::field("name", error))
}

impl ApiKey {
    pub(crate) fn new(key: &Key, last_used_at: Option<Timestamp>, ids: &IdKey) -> Self {
        Self {
            id: ids.encode(key.id),
            name: key.name.to_string(),
            description: key.description.to_string(),
            key_type: match key.owner {
                KeyOwner::User(_) => "USER",
                KeyOwner::Service(_) => "SERVICE",
            },
            status: if key.is_revoked { "REVOKED" } else { "ACTIVE" },
            redacted_key: key.secret.redacted.clone(),
            created_at: Moment(key.created_at),
            expires_at: key.expires_at.map(Moment),
            last_used_at: last_used_at.map(Moment),
            created_by_user_id: ids.encode(key.created_by),
        }
    }
}

impl ApiKeyCreated {
    pub(crate) fn new(key: &Key, text: &KeyText, bot_user: Option<BotUser>, ids: &IdKey) -> Self {
        Self {
            api_key: ApiKey::new(key, None, ids),
            key: text.reveal().to_owned(),
            bot_user,
        }
    }
}

impl ApiKeyRefreshed {
    pub(crate) fn new(
        key: &Key,
        last_used_at: Option<Timestamp>,
        text: &KeyText,
        ids: &IdKey,
    ) -> Self {
        Self {
            api_key: ApiKey::new(key, last_used_at, ids),
            key: text.reveal().to_owned(),
        }
    }
}

impl BotUser {
    fn listed(bot: UserId, state: &State, shows_places: bool) -> Self {
        let user = state.user(bot);
        let places = if shows_places {
            places_of(bot, state)
        } else {
            Vec::new()
        };
        let account_role = user.map_or(AccountRole::Member, |user| user.account_role);
        Self::new(
            bot,
            user.map_or("", |user| user.name.as_str()),
            account_role,
            &places,
            state,
        )
    }

    /// A bot with the places that this request gave it.
    pub(crate) fn new(
        bot: UserId,
        name: &str,
        account_role: AccountRole,
        places: &[KeyOrganization],
        state: &State,
    ) -> Self {
        let ids = state.ids();
        let spaces = |place: &KeyOrganization| {
            let seat = |seat: &KeySpace| BotSpace {
                space_id: ids.encode(seat.space),
                role: response(seat.role, state),
            };
            place.spaces.iter().map(seat).collect()
        };
        let organization = |place: &KeyOrganization| BotOrganization {
            org_id: ids.encode(place.organization),
            role: response(place.role, state),
            spaces: spaces(place),
        };
        Self {
            id: ids.encode(bot),
            name: name.to_owned(),
            account_role: AssignmentResponse::predefined(account_role),
            organizations: places.iter().map(organization).collect(),
        }
    }
}

/// The current places of a bot.
fn places_of(bot: UserId, state: &State) -> Vec<KeyOrganization> {
    let seat = |space: SpaceId| {
        let membership = state.space_membership(space, bot);
        let role = match (
            membership,
            state.role_binding_on(Bindable::Space(space), bot),
        ) {
            (Some(membership), _) => Assignment::Predefined(membership.role),
            (None, Some(binding)) => Assignment::Custom(binding.role),
            (None, None) => return None,
        };
        Some(KeySpace { space, role })
    };
    let spaces_in = |organization: OrganizationId| {
        let is_inside = |space: &SpaceId| {
            state
                .space(*space)
                .is_some_and(|space| space.organization == organization)
        };
        state
            .spaces_bound_to(bot)
            .filter(is_inside)
            .filter_map(seat)
            .collect()
    };
    let place = |membership: OrganizationMembership| KeyOrganization {
        organization: membership.organization,
        role: Assignment::Predefined(membership.role),
        spaces: spaces_in(membership.organization),
    };
    state.organization_memberships_of(bot).map(place).collect()
}

fn response<R: super::assignment::Named>(role: Assignment<R>, state: &State) -> AssignmentResponse {
    match role {
        Assignment::Predefined(role) => AssignmentResponse::predefined(role),
        Assignment::Custom(role) => AssignmentResponse::custom(state, role),
    }
}

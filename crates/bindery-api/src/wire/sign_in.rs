//! Accepting invitations, choosing passwords and signing in, on the wire. The bodies carry passwords: nothing here is printed.

use bindery_core::api_key::ApiKey as Key;
use bindery_core::command::credentials::LivingKeys as Living;
use bindery_core::id::IdKey;
use bindery_core::text::Email;
use bindery_core::time::Timestamp;
use bindery_core::user::User as Person;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::api_keys::ApiKeyCreated;
use super::schema::{FreeText, Text};
use super::users::User;
use crate::json::present;
use crate::password::Password;
use crate::secret::KeyText;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordChoice {
    #[schemars(with = "Text<Password>")]
    pub(crate) password: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordReset {
    #[schemars(with = "Text<Password>")]
    pub(crate) password: String,
    /// Ends all keys of the person, and the service keys that they made.
    #[serde(default)]
    pub(crate) end_keys: bool,
}

/// Keys that still work after a person has chosen a new password.
#[derive(Serialize, JsonSchema)]
pub(crate) struct LivingKeys {
    /// User keys, without the one in this response.
    user_keys: usize,
    /// Service keys that the person made.
    service_keys: usize,
}

impl From<Living> for LivingKeys {
    fn from(living: Living) -> Self {
        Self {
            user_keys: living.user_keys,
            service_keys: living.service_keys,
        }
    }
}

/// A changed password.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PasswordChanged {
    pub(crate) living_keys: LivingKeys,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignInRequest {
    #[schemars(with = "Text<Email>")]
    pub(crate) email: String,
    #[schemars(with = "FreeText")]
    pub(crate) password: String,
    /// The number of the account, as `bindery account list` shows it. Without it, at most four accounts with
    /// this address are tried, those first where the person is active.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "u32", range(min = 1))]
    pub(crate) account: Option<u32>,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Text<Password>")]
    pub(crate) new_password: Option<String>,
    /// With `new_password`: ends all keys of the person, and the service keys that they made.
    #[serde(default)]
    pub(crate) end_keys: bool,
}

/// A signed-in person, and a key if they may use the API.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SignedIn {
    user: User,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<ApiKeyCreated>,
    /// Present if the password is a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    living_keys: Option<LivingKeys>,
}

impl SignedIn {
    pub(crate) fn new(
        user: &Person,
        key: Option<&Key>,
        living: Option<Living>,
        text: &KeyText,
        ids: &IdKey,
        now: Timestamp,
    ) -> Self {
        Self {
            user: User::new(user, ids, now),
            api_key: key.map(|key| ApiKeyCreated::new(key, text, None, ids)),
            living_keys: living.map(LivingKeys::from),
        }
    }
}

/// An invited person, and the temporary password to sign in with.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TemporaryPassword {
    pub(crate) user: User,
    /// Shown only once.
    #[schemars(with = "Text<Password>")]
    pub(crate) temporary_password: String,
}

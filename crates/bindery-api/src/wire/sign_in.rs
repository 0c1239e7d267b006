//! Accepting invitations, choosing passwords and signing in, on the wire. The bodies carry passwords: nothing here is printed.

use bindery_core::api_key::ApiKey as Key;
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
pub(crate) struct SignInRequest {
    #[schemars(with = "Text<Email>")]
    pub(crate) email: String,
    #[schemars(with = "FreeText")]
    pub(crate) password: String,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Text<Password>")]
    pub(crate) new_password: Option<String>,
}

/// A person who is in, and a key to go on with if they may use the API.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SignedIn {
    user: User,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<ApiKeyCreated>,
}

impl SignedIn {
    pub(crate) fn new(
        user: &Person,
        key: Option<&Key>,
        text: &KeyText,
        ids: &IdKey,
        now: Timestamp,
    ) -> Self {
        Self {
            user: User::new(user, ids, now),
            api_key: key.map(|key| ApiKeyCreated::new(key, text, None, ids)),
        }
    }
}

//! Accepting invitations, choosing passwords and signing in, on the wire. The bodies carry passwords: nothing here is printed.

use bindery_core::api_key::ApiKey as Key;
use bindery_core::id::IdKey;
use bindery_core::time::Timestamp;
use bindery_core::user::User as Person;
use serde::{Deserialize, Serialize};

use super::api_keys::ApiKeyCreated;
use super::users::User;
use crate::json::present;
use crate::secret::KeyText;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordChoice {
    pub(crate) password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignInRequest {
    pub(crate) email: String,
    pub(crate) password: String,
    #[serde(default, deserialize_with = "present")]
    pub(crate) new_password: Option<String>,
}

/// A person who is in, and a key to go on with if they may use the API.
#[derive(Serialize)]
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
            api_key: key.map(|key| ApiKeyCreated::new(key, None, text, None, ids)),
        }
    }
}

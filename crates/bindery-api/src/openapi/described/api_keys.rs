//! API keys, described.

use bindery_core::id::{SpaceId, UserId};

use crate::openapi::description::{Described, QUOTA};
use crate::wire::api_keys::{
    ApiKeyCreate, ApiKeyCreated, ApiKeyRefresh, ApiKeyRefreshed, ApiKeys, KeyStatusText,
    KeyTypeText,
};
use crate::wire::schema::IdText;

pub(crate) fn list_api_keys() -> Described {
    Described::new(
        "List API keys",
        "The caller's own user keys, or with `space_id` the service keys that reach that space. Secrets are never included. \
         ACTIVE lists the keys that are valid now: an expired key is in neither list. A revoked service key is found in the spaces \
         that it reached when it ended, and without `space_id` by its creator.",
    )
    .query::<KeyTypeText>("key_type", "USER if neither this nor `space_id` is given. USER and `space_id` exclude each other.")
    .query::<KeyStatusText>("status", "The default is ACTIVE.")
    .query::<IdText<SpaceId>>("space_id", "Only service keys that reach this space.")
    .query::<IdText<UserId>>("user_id", "Only keys of this owner; with `space_id`, only those that this user made.")
    .paged()
    .answers::<ApiKeys>("A page of keys.")
    .refuses(403, "Only account admins list the keys of others.")
    .refuses(404, "There is no such space or user, or the caller can't see it.")
}

pub(crate) fn create_api_key() -> Described {
    Described::new(
        "Create an API key",
        "A user key acts for its user. A service key acts for its own bot, which gets the roles in the request, \
         none above the caller's.",
    )
    .takes::<ApiKeyCreate>()
    .answers::<ApiKeyCreated>("The new key with its secret, which is shown only once.")
    .refuses(403, "The caller has no developer access, or lacks `SERVICE_KEY_CREATE` on one of the spaces.")
    .refuses(404, "There is no such organization, space or role, or the caller can't see it.")
    .refuses(409, QUOTA)
    .refuses(
        422,
        "The expiry is in the past or too late, a role is not possible on its level or above the caller's, or a space is in \
         another organization.",
    )
}

pub(crate) fn refresh_api_key() -> Described {
    Described::new(
        "Give a key a new secret",
        "Everything else about the key stays, including its id: revoking it ends the new secret and the old one. The old \
         secret works for another `grace_period_seconds`. A key that expires needs `expires_at`, and can't get a later one.",
    )
    .takes::<ApiKeyRefresh>()
    .answers::<ApiKeyRefreshed>("The key with its new secret, which is shown only once.")
    .refuses(403, "The caller may see the key, but not refresh it, or has no developer access.")
    .refuses(404, "There is no such key, or the caller can't see it.")
    .refuses(422, "The key is revoked or has expired, or the requested expiry is not possible.")
}

pub(crate) fn revoke_api_key() -> Described {
    Described::new(
        "Revoke a key",
        "At once and permanently, with all its secrets: a refreshed key has kept its id. Revoking it again changes nothing.",
    )
    .answers_nothing("The key is revoked.")
    .refuses(403, "The caller may see the key, but not revoke it.")
    .refuses(404, "There is no such key, or the caller can't see it.")
}

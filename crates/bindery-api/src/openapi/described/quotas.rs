//! Quotas and released addresses, described.

use bindery_core::id::UserId;

use crate::openapi::description::Described;
use crate::wire::quotas::{AddressRelease, AddressReleased, Quotas};
use crate::wire::schema::IdText;

pub(crate) fn list_quotas() -> Described {
    Described::new(
        "List quotas",
        "How much the account, and one person in it, can make the server store: each quota with its limit and its use. A request that \
         would exceed a total gets 409; one that would exceed a daily quota gets 429. The operator of the server sets limits. \
         Daily quotas reset at 00:00 UTC. Each server counts them separately, and resets them when it starts.",
    )
    .query::<IdText<UserId>>(
        "user_id",
        "The person whose use is shown for quotas of one person; the caller by default. A bot shows the daily quotas of \
         the person behind it.",
    )
    .answers::<Quotas>("All quotas.")
    .refuses(403, "The caller isn't account admin.")
    .refuses(404, "There is no such user.")
}

pub(crate) fn release_address() -> Described {
    Described::new(
        "Release the address of a deleted user",
        "A new user can be added with it, and inherits nothing. The deleted user keeps their id in the audit log.",
    )
    .takes::<AddressRelease>()
    .answers::<AddressReleased>("The address is free.")
    .refuses(403, "The caller isn't account admin.")
    .refuses(404, "No deleted user has the address.")
    .refuses(409, "A user who is not deleted has the address.")
}

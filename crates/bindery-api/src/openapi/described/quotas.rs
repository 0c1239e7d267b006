//! Quotas and released addresses, described.

use bindery_core::id::UserId;

use crate::openapi::description::Described;
use crate::wire::quotas::{AddressRelease, AddressReleased, Quotas};
use crate::wire::schema::IdText;

pub(crate) fn list_quotas() -> Described {
    Described::new(
        "List quotas",
        "How much the account, and one person in it, can make the server keep: each quota with its limit and its use. What adds to a \
         total above its limit is refused with 409, what would exceed a quota of a day with 429. The operator of the server sets limits. \
         Quotas of a day begin anew at 00:00 UTC; each server counts them by itself, and begins anew when it starts.",
    )
    .query::<IdText<UserId>>(
        "user_id",
        "Whose use is shown where a quota counts one person's; the caller's if it is absent. For a bot, quotas of a day are those of \
         the person behind it.",
    )
    .answers::<Quotas>("All quotas.")
    .refuses(403, "The caller isn't account admin.")
    .refuses(404, "There is no such user.")
}

pub(crate) fn release_address() -> Described {
    Described::new(
        "Release the address of a deleted user",
        "A new user can be added with it, who inherits nothing. The deleted user keeps their id in the audit log.",
    )
    .takes::<AddressRelease>()
    .answers::<AddressReleased>("The address is free.")
    .refuses(403, "The caller isn't account admin.")
    .refuses(404, "No deleted user has the address.")
    .refuses(409, "A user who is not deleted has the address.")
}

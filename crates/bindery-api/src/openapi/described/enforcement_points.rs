//! Enforcement points, described.

use crate::openapi::description::Described;
use crate::wire::enforcement_points::EnforcementPoints;

pub(crate) fn list_enforcement_points() -> Described {
    Described::new(
        "List enforcement points",
        "The API keys that may ask about everyone and everything in the account, oldest first.",
    )
    .paged()
    .answers::<EnforcementPoints>("A page of keys.")
    .refuses(403, "The caller isn't account admin.")
}

pub(crate) fn mark_enforcement_point() -> Described {
    Described::new(
        "Mark a key as an enforcement point",
        "It may then use `/access/v1` and explanations about everyone and everything in the account. What the key may do \
         does not change. The mark survives a refresh and ends with a revocation. Marking it again changes nothing.",
    )
    .answers_nothing("The key is an enforcement point.")
    .refuses(403, "The caller isn't account admin.")
    .refuses(404, "There is no such key.")
    .refuses(409, "An inviter who isn't account admin may know the key, since they may know the password of the person who made it.")
    .refuses(422, "The key is revoked or has expired.")
}

pub(crate) fn unmark_enforcement_point() -> Described {
    Described::new(
        "Remove the mark from an enforcement point",
        "At once. For a key without the mark, nothing changes.",
    )
    .answers_nothing("The key is not an enforcement point.")
    .refuses(403, "The caller isn't account admin.")
    .refuses(404, "There is no such key.")
}

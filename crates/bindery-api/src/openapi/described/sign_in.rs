//! Accepting invitations, choosing passwords and signing in, described.

use crate::openapi::Described;
use crate::wire::sign_in::{PasswordChoice, SignInRequest, SignedIn};

pub(crate) fn accept_invitation() -> Described {
    Described::new(
        "Accept an invitation",
        "By the link of the mail, which works once. The person is active from here on, and gets a first key if they may use the API.",
    )
    .takes::<PasswordChoice>()
    .answers::<SignedIn>("They are in.")
    .refuses(404, "The link is used up, replaced, or has ended.")
}

pub(crate) fn complete_password_reset() -> Described {
    Described::new(
        "Choose a new password",
        "By the link of the mail, which works once, for 30 minutes. Keys that were given for signing in end; others stay as they are.",
    )
    .takes::<PasswordChoice>()
    .answers_nothing("The password is the new one.")
    .refuses(404, "The link is used up, replaced, or has ended.")
}

pub(crate) fn sign_in() -> Described {
    Described::new(
        "Sign in",
        "For a key that works for 12 hours. Whoever was invited with a temporary password chooses their own in `new_password`, and is \
         active from here on. Whoever has one may choose another: keys that were given for signing in with the one before end.",
    )
    .takes::<SignInRequest>()
    .answers::<SignedIn>("They are in.")
    .refuses(401, "The address or the password is wrong, or the invitation has ended.")
    .refuses(403, "The password is right, but the person may not use the API.")
}

//! Accepting invitations, choosing passwords and signing in, described.

use crate::openapi::description::Described;
use crate::wire::sign_in::{
    PasswordChanged, PasswordChoice, PasswordReset, SignInRequest, SignedIn, TemporaryPassword,
};

pub(crate) fn accept_invitation() -> Described {
    Described::new(
        "Accept an invitation",
        "With the link of the e-mail, which works once. The person becomes active, and gets a first key if they may use the API.",
    )
    .takes::<PasswordChoice>()
    .answers::<SignedIn>("The person is signed in.")
    .refuses(404, "The link is used up, replaced, or expired, or its inviter could not give what the person holds.")
}

pub(crate) fn complete_password_reset() -> Described {
    Described::new(
        "Choose a new password",
        "With the link of the e-mail, which works once, for 30 minutes. Keys from signing in with the old password end. The \
         response counts the keys that live on; `end_keys` ends them too, with the service keys that the person made. They always end \
         if someone else may know the old password, as an inviter does.",
    )
    .takes::<PasswordReset>()
    .answers::<PasswordChanged>("The password is changed.")
    .refuses(404, "The link is used up, replaced, or expired.")
}

pub(crate) fn sign_in() -> Described {
    Described::new(
        "Sign in",
        "Returns a key that works for 12 hours. A person who was invited with a temporary password chooses their own in `new_password`, and is \
         active from then on. A person with a password may choose another: keys from signing in with the old one end. The response counts \
         the keys that stay valid, and `end_keys` ends them too.",
    )
    .takes::<SignInRequest>()
    .answers::<SignedIn>("The person is signed in.")
    .refuses(401, "The address or the password is wrong, the invitation has expired, or someone who may know the password, as an inviter does, could not give what the person holds.")
    .refuses(403, "The password is correct, but the person may not use the API.")
}

pub(crate) fn renew_temporary_password() -> Described {
    Described::new(
        "Give an invited person a temporary password",
        "For servers without e-mail. It is shown once, works for 7 days, and replaces the previous link or temporary password.",
    )
    .answers::<TemporaryPassword>("The person signs in with it and chooses their own.")
    .refuses(400, "The invitation was accepted, or has expired: invite the person again.")
    .refuses(403, "The caller isn't account admin, or is a service key.")
    .refuses(404, "There is no such person.")
}

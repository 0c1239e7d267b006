//! Users, described.

use crate::openapi::description::{Described, UNUSED};
use crate::wire::schema::Fragment;
use crate::wire::users::{User, UserCreate, UserCreated, UserStatusText, UserUpdate, Users};

pub(crate) fn list_users() -> Described {
    Described::new(
        "List users",
        "The people of the account, oldest first, without deleted ones and bots of service keys.",
    )
    .query::<Fragment>(
        "email",
        "Only those whose address contains this text, ignoring case.",
    )
    .query::<Vec<UserStatusText>>("status", "Only those with one of these; may be repeated.")
    .paged()
    .answers::<Users>("A page of users.")
    .refuses(403, "The caller lacks `USER_READ`.")
}

pub(crate) fn create_user() -> Described {
    Described::new(
        "Add a user",
        "`invite_mode` NONE makes the user active at once. EMAIL_LINK sends them a link to accept with. TEMPORARY_PASSWORD shows a \
         password once, to hand over: the user signs in with it and chooses their own. Invitations expire after 7 days. The address \
         of a deleted user is taken until an account admin releases it. The new user belongs to no organization.",
    )
    .takes::<UserCreate>()
    .answers::<UserCreated>("The new user. Only this response has `invite_mode`.")
    .or_answers::<User>(
        200,
        "An invitation to the address is open; nothing was changed.",
    )
    .refuses(
        403,
        "The caller may not add users, or not with this role or with `is_developer`.",
    )
    .refuses(404, UNUSED)
    .refuses(
        409,
        "The address belongs to a user who is active or was deleted, or to an open invitation, or a quota is reached.",
    )
    .refuses(
        422,
        "Custom roles can't be assigned on the level of the account.",
    )
}

pub(crate) fn get_user() -> Described {
    Described::new("Read a user", "")
        .answers::<User>("The user.")
        .refuses(
            404,
            "There is no such user, or the caller lacks `USER_READ`.",
        )
}

pub(crate) fn update_user() -> Described {
    Described::new("Change a user", "Name or developer access; role and address stay.")
        .takes::<UserUpdate>()
        .answers::<User>("The changed user.")
        .refuses(403, "The caller may see the user, but lacks `USER_UPDATE`, or isn't account admin, as `is_developer` needs.")
        .refuses(404, "There is no such user, or the caller may not see them.")
}

pub(crate) fn delete_user() -> Described {
    Described::new(
        "Delete a user",
        "Permanently: memberships, role bindings and user keys end with them, and the address can't be invited again before an \
         account admin releases it. \
         Deleting them once more changes nothing.",
    )
    .answers_nothing("The user is deleted.")
    .refuses(403, "The caller may not delete users.")
    .refuses(404, "No such user ever existed.")
}

pub(crate) fn resend_user_invitation() -> Described {
    Described::new(
        "Send an invitation again",
        "With a new link, and 7 days from now to accept it. Earlier links stop working.",
    )
    .answers_nothing("The e-mail is being sent, if the server can send e-mail.")
    .refuses(403, "The caller may see the user, but lacks `USER_CREATE`.")
    .refuses(
        404,
        "There is no such user, or the caller may not see them.",
    )
}

pub(crate) fn reset_user_password() -> Described {
    Described::new(
        "Reset a password",
        "Sends them a link that works for 30 minutes. Until they use it, their password still works.",
    )
    .answers_nothing("The e-mail is being sent, if the server can send e-mail.")
    .refuses(403, "The caller may see the user, but lacks `USER_UPDATE`.")
    .refuses(
        404,
        "There is no such user, or the caller may not see them.",
    )
}

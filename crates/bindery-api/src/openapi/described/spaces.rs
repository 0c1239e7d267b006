//! Spaces and their members, described.

use bindery_core::id::OrganizationId;

use crate::openapi::description::{Described, QUOTA, UNUSED};
use crate::wire::schema::{Fragment, IdText};
use crate::wire::spaces::{Space, SpaceCreate, SpaceMembership, SpaceUpdate, SpaceUserAdd, Spaces};

pub(crate) fn list_spaces() -> Described {
    Described::new(
        "List spaces",
        "Those that the caller can see, oldest first.",
    )
    .query::<IdText<OrganizationId>>("org_id", "Only those of this organization.")
    .query::<Fragment>(
        "name",
        "Only those whose name contains this text, ignoring case.",
    )
    .paged()
    .answers::<Spaces>("A page of spaces.")
    .refuses(
        404,
        "There is no such organization, or the caller can't see it.",
    )
}

pub(crate) fn create_space() -> Described {
    Described::new(
        "Create a space",
        "Its creator becomes its admin, unless they are already admin of the organization or account. Its name is unique in the \
         organization, so a 409 shows that a space has it, even one that the caller can't see.",
    )
    .takes::<SpaceCreate>()
    .answers::<Space>("The new space.")
    .refuses(403, "The caller lacks `SPACE_CREATE`.")
    .refuses(
        404,
        "There is no such organization, or the caller can't see it.",
    )
    .refuses(409, "Another space of the organization has the name, or a quota is reached.")
}

pub(crate) fn get_space() -> Described {
    Described::new("Read a space", "")
        .answers::<Space>("The space.")
        .refuses(404, "There is no such space, or the caller can't see it.")
}

pub(crate) fn update_space() -> Described {
    Described::new(
        "Change a space",
        "Making it private or public changes who reaches it at once. `null` clears the description and the two defaults.",
    )
    .takes::<SpaceUpdate>()
    .answers::<Space>("The changed space.")
    .refuses(403, "The caller can see it, but not change it.")
    .refuses(404, "There is no such space, or the caller can't see it.")
    .refuses(409, "Another space of the organization has the name.")
}

pub(crate) fn delete_space() -> Described {
    Described::new(
        "Delete a space",
        "Permanently, with everything in it: memberships, projects, bindings and restrictions.",
    )
    .answers_nothing("The space is deleted.")
    .refuses(403, "The caller can see it, but not delete it.")
    .refuses(404, "There is no such space, or the caller can't see it.")
}

pub(crate) fn add_space_user() -> Described {
    Described::new(
        "Add a user to a space",
        "With a predefined or a custom role. A member gets it instead of the previous one. The user must be a member of the \
         space's organization.",
    )
    .takes::<SpaceUserAdd>()
    .answers::<SpaceMembership>("The membership, new or changed. With a custom role it is a role binding, and has its id.")
    .refuses(403, "The caller is not admin of the space; for a custom role, they lack `ROLE_BINDING_CREATE` on it.")
    .refuses(404, "There is no such space, user or role, or the caller can't see it.")
    .refuses(409, QUOTA)
    .refuses(422, UNUSED)
}

pub(crate) fn remove_space_user() -> Described {
    Described::new(
        "Remove a user from a space",
        "Membership and role binding on the space both end.",
    )
    .answers_nothing("The user is not a member any more.")
    .refuses(
        403,
        "The caller is not admin of the space, and lacks `ROLE_BINDING_DELETE` on it.",
    )
    .refuses(
        404,
        "There is no such space or member, or the caller can't see it.",
    )
}

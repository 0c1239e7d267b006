//! Organizations and their members, described.

use crate::openapi::description::{Described, QUOTA};
use crate::wire::organizations::{
    Organization, OrganizationCreate, OrganizationMembership, OrganizationUpdate,
    OrganizationUserAdd, Organizations,
};
use crate::wire::schema::Fragment;

pub(crate) fn list_organizations() -> Described {
    Described::new(
        "List organizations",
        "Those that the caller can see, oldest first.",
    )
    .query::<Fragment>(
        "name",
        "Only those whose name contains this text, ignoring case.",
    )
    .paged()
    .answers::<Organizations>("A page of organizations.")
}

pub(crate) fn create_organization() -> Described {
    Described::new(
        "Create an organization",
        "Its creator does not become a member.",
    )
    .takes::<OrganizationCreate>()
    .answers::<Organization>("The new organization.")
    .refuses(403, "The caller may not create organizations.")
    .refuses(
        409,
        "Another organization has the name, or a quota is reached.",
    )
}

pub(crate) fn get_organization() -> Described {
    Described::new("Read an organization", "")
        .answers::<Organization>("The organization.")
        .refuses(
            404,
            "There is no such organization, or the caller can't see it.",
        )
}

pub(crate) fn update_organization() -> Described {
    Described::new("Change an organization", "`null` clears the description.")
        .takes::<OrganizationUpdate>()
        .answers::<Organization>("The changed organization.")
        .refuses(403, "The caller can see it, but not change it.")
        .refuses(
            404,
            "There is no such organization, or the caller can't see it.",
        )
        .refuses(409, "Another organization has the name.")
}

pub(crate) fn delete_organization() -> Described {
    Described::new(
        "Delete an organization",
        "Permanently, with everything in it: memberships, spaces, projects, bindings and restrictions. Service keys \
         without another space are revoked.",
    )
    .answers_nothing("The organization is deleted.")
    .refuses(403, "The caller can see it, but not delete it.")
    .refuses(404, "There is no such organization, or the caller can't see it.")
}

pub(crate) fn add_organization_user() -> Described {
    Described::new(
        "Add a user to an organization",
        "A member gets this role instead of the previous one.",
    )
    .takes::<OrganizationUserAdd>()
    .answers::<OrganizationMembership>("The membership, new or changed.")
    .refuses(403, "The caller is not admin of the organization.")
    .refuses(
        404,
        "There is no such organization or user, or the caller can't see it.",
    )
    .refuses(409, QUOTA)
    .refuses(
        422,
        "Custom roles can't be assigned on the level of an organization.",
    )
}

pub(crate) fn remove_organization_user() -> Described {
    Described::new(
        "Remove a user from an organization",
        "This also removes memberships of its spaces, and bindings on its spaces and projects.",
    )
    .answers_nothing("The user is not a member any more.")
    .refuses(403, "The caller is not admin of the organization.")
    .refuses(
        404,
        "There is no such organization or member, or the caller can't see it.",
    )
}

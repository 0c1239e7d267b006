//! Resource restrictions, described.

use crate::openapi::description::{Described, QUOTA, UNUSED};
use crate::wire::resource_restrictions::{
    ResourceRestriction, ResourceRestrictionCreate, ResourceRestrictions, RestrictableText,
};

pub(crate) fn list_resource_restrictions() -> Described {
    Described::new(
        "List restrictions",
        "Those that the caller may manage. A page may be short although there are more.",
    )
    .query::<RestrictableText>(
        "resource_type",
        "Only those of this kind. Dashboards and prompts have none here.",
    )
    .paged()
    .answers::<ResourceRestrictions>("A page of restrictions.")
}

pub(crate) fn create_resource_restriction() -> Described {
    Described::new(
        "Restrict a project",
        "Then only bindings on the project itself, and admins, reach it; roles on its space no longer do. \
         Restricting it again changes nothing.",
    )
    .takes::<ResourceRestrictionCreate>()
    .answers::<ResourceRestriction>("The restriction, new or existing.")
    .refuses(403, "The caller may read the project, but not restrict it.")
    .refuses(404, "There is no such project, or the caller may not read it.")
    .refuses(409, QUOTA)
    .refuses(422, UNUSED)
}

pub(crate) fn delete_resource_restriction() -> Described {
    Described::new(
        "Lift a restriction",
        "Roles on the project's space reach the project again.",
    )
    .answers_nothing("The project is not restricted any more.")
    .refuses(
        403,
        "The caller may read the project, but not manage its restriction.",
    )
    .refuses(
        404,
        "The project is not restricted, or the caller may neither read nor manage it.",
    )
}

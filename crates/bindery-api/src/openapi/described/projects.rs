//! Projects, described.

use bindery_core::id::SpaceId;

use crate::openapi::description::Described;
use crate::wire::projects::{Project, ProjectCreate, ProjectTypeText, ProjectUpdate, Projects};
use crate::wire::schema::{Fragment, IdText};

pub(crate) fn list_projects() -> Described {
    Described::new(
        "List projects",
        "Those that the caller may read, oldest first. All given filters must match.",
    )
    .query::<IdText<SpaceId>>("space_id", "Only those of this space.")
    .query::<Fragment>(
        "space_name",
        "Only those of spaces whose name contains this text, ignoring case.",
    )
    .query::<Fragment>(
        "name",
        "Only those whose name contains this text, ignoring case.",
    )
    .query::<ProjectTypeText>(
        "project_type",
        "Only those of this type. All projects here are applications.",
    )
    .paged()
    .answers::<Projects>("A page of projects.")
    .refuses(404, "There is no such space, or the caller can't see it.")
}

pub(crate) fn create_project() -> Described {
    Described::new(
        "Create a project",
        "Its name is unique in the space, so a 409 shows that a project has it, even a restricted one that the caller can't see.",
    )
        .takes::<ProjectCreate>()
        .answers::<Project>("The new project.")
        .refuses(
            403,
            "The caller lacks `PROJECT_CREATE` on the space, or there is no such space.",
        )
        .refuses(409, "Another project of the space has the name, or a quota is reached.")
}

pub(crate) fn get_project() -> Described {
    Described::new("Read a project", "")
        .answers::<Project>("The project.")
        .refuses(
            404,
            "There is no such project, or the caller may not read it.",
        )
}

pub(crate) fn update_project() -> Described {
    Described::new("Rename a project", "")
        .takes::<ProjectUpdate>()
        .answers::<Project>("The changed project.")
        .refuses(403, "The caller may read it, but not change it.")
        .refuses(
            404,
            "There is no such project, or the caller may not read it.",
        )
        .refuses(409, "Another project of the space has the name.")
}

pub(crate) fn delete_project() -> Described {
    Described::new(
        "Delete a project",
        "Permanently, with its bindings and its restriction. Its name becomes free.",
    )
    .answers_nothing("The project is deleted.")
    .refuses(403, "The caller may read it, but not delete it.")
    .refuses(
        404,
        "There is no such project, or the caller may not read it.",
    )
}

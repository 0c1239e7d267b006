//! Describes requests and responses, one file per family; each function has the name of its operation.

mod api_keys;
mod audit_logs;
mod authzen;
mod enforcement_points;
mod organizations;
mod projects;
mod quotas;
mod resource_restrictions;
mod role_bindings;
mod roles;
mod sign_in;
mod spaces;
mod users;

pub(crate) use api_keys::*;
pub(crate) use audit_logs::*;
pub(crate) use authzen::*;
pub(crate) use enforcement_points::*;
pub(crate) use organizations::*;
pub(crate) use projects::*;
pub(crate) use quotas::*;
pub(crate) use resource_restrictions::*;
pub(crate) use role_bindings::*;
pub(crate) use roles::*;
pub(crate) use sign_in::*;
pub(crate) use spaces::*;
pub(crate) use users::*;

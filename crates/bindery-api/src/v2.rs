//! The handlers of `/v2`, one file per family. Thin: parse, run, render.

pub(crate) mod api_keys;
pub(crate) mod audit_logs;
pub(crate) mod organizations;
pub(crate) mod projects;
pub(crate) mod resource_restrictions;
pub(crate) mod role_bindings;
pub(crate) mod roles;
pub(crate) mod spaces;
pub(crate) mod users;

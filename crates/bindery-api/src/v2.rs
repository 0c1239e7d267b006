//! The handlers of `/v2`, a file a family. Thin: parse, ask, render.

pub(crate) mod api_keys;
pub(crate) mod audit_logs;
pub(crate) mod organizations;
pub(crate) mod projects;
pub(crate) mod resource_restrictions;
pub(crate) mod role_bindings;
pub(crate) mod roles;
pub(crate) mod spaces;
pub(crate) mod users;

//! All operations, one row each. The router, the `Allow` header, metric labels and audit names read this
//! table; no other code has paths.

use hyper::Method;

use bindery_core::command::Command;
use bindery_core::command::api_keys::{
    CreateServiceKey, CreateUserKey, RefreshApiKey, RevokeApiKey,
};
use bindery_core::command::credentials::{RenewTemporaryPassword, ResendInvitation, ResetPassword};
use bindery_core::command::enforcement_points::{MarkEnforcementPoint, UnmarkEnforcementPoint};
use bindery_core::command::organizations::{
    AddOrganizationUser, CreateOrganization, DeleteOrganization, RemoveOrganizationUser,
    UpdateOrganization,
};
use bindery_core::command::projects::{CreateProject, DeleteProject, UpdateProject};
use bindery_core::command::resource_restrictions::{
    CreateResourceRestriction, DeleteResourceRestriction,
};
use bindery_core::command::role_bindings::{
    CreateRoleBinding, DeleteRoleBinding, UpdateRoleBinding,
};
use bindery_core::command::roles::{CreateRole, DeleteRole, UpdateRole};
use bindery_core::command::spaces::{
    AddSpaceUser, CreateSpace, DeleteSpace, RemoveSpaceUser, UpdateSpace,
};
use bindery_core::command::users::{CreateUser, DeleteUser, ReleaseAddress, UpdateUser};

use crate::authzen::hot;
use crate::change;
use crate::openapi::described;
use crate::operation::{Audited, Body, BodyLimits, Handler, HotPath, Operation, Runs};
use crate::v2::{
    api_keys, audit_logs, organizations, projects, resource_restrictions, role_bindings, roles,
    spaces, users,
};
use crate::{authzen, enforcement_points, quotas, sign_in};

/// Columns that many rows share. A row overrides those that differ.
#[derive(Clone, Copy)]
struct Shared {
    runs: Runs,
    audited: Audited,
    limits: BodyLimits,
    hot_path: Option<HotPath>,
}

/// Reads one thing.
const READ: Shared = Shared {
    runs: Runs::OnConnection,
    audited: Audited::Reads,
    limits: BodyLimits::USUAL,
    hot_path: None,
};
/// Reads many things.
const LIST: Shared = Shared {
    runs: Runs::OnWorker,
    ..READ
};
/// Reads many things for one question.
const SEARCH: Shared = Shared {
    limits: BodyLimits::QUESTION,
    ..LIST
};
/// Decides one question.
const DECIDE: Shared = Shared {
    audited: Audited::Questions,
    limits: BodyLimits::QUESTION,
    hot_path: Some(hot::evaluation),
    ..READ
};
/// Decides many questions.
const DECIDE_MANY: Shared = Shared {
    limits: BodyLimits::MANY,
    hot_path: Some(hot::evaluations),
    ..DECIDE
};
/// Changes something.
const CHANGE: Shared = Shared {
    runs: Runs::ToItsEnd,
    audited: Audited::Changes,
    ..READ
};
/// Changes something, and may name many places.
const CHANGE_MANY: Shared = Shared {
    limits: BodyLimits::MANY,
    ..CHANGE
};
/// Admits a person without a key.
const SIGN_IN: Shared = Shared {
    limits: BodyLimits::STRANGER,
    ..CHANGE
};

/// Whether a command has the operation's id in the log.
const fn is_of<C: Command>(id: &str) -> bool {
    let (mut place, one, other) = (0, C::OPERATION.as_bytes(), id.as_bytes());
    while place < one.len() && place < other.len() && one[place] == other[place] {
        place += 1;
    }
    place == one.len() && place == other.len()
}

// The one operation of two commands.
const _: () = assert!(
    is_of::<CreateUserKey>("create_api_key") && is_of::<CreateServiceKey>("create_api_key"),
    "the log has another name for it"
);

macro_rules! handler {
    // A command that is rendered by `Change`.
    ($id:ident changes $command:ident) => {{
        const {
            assert!(
                is_of::<$command>(stringify!($id)),
                "the log has another name for it"
            )
        };
        Handler::WithKey(change::perform::<$command>)
    }};
    // A command with a secret that is rendered by `ChangeWithSecret`.
    ($id:ident issues $command:ident) => {{
        const {
            assert!(
                is_of::<$command>(stringify!($id)),
                "the log has another name for it"
            )
        };
        Handler::WithKey(change::perform_with_secret::<$command>)
    }};
    // A function of the call and its state.
    ($id:ident reads $family:ident::$handler:ident) => {
        Handler::WithKey(|call| Box::pin(async move { $family::$handler(&call) }))
    };
    // An async function that takes its own turn.
    ($id:ident waits $family:ident::$handler:ident) => {
        Handler::WithKey(|call| Box::pin($family::$handler(call)))
    };
    ($id:ident proves $family:ident::$handler:ident) => {
        Handler::WithProof(|call| Box::pin($family::$handler(call)))
    };
    ($id:ident tells $family:ident::$handler:ident) => {
        Handler::ForAnyone($family::$handler)
    };
}

macro_rules! operation {
    ($method:ident $path:literal $id:ident: $shared:ident, $does:ident $($handler:ident)::+, $success:literal, query $query:expr, body $body:ident) => {
        Operation {
            id: stringify!($id),
            method: Method::$method,
            path: $path,
            query: &$query,
            body: Body::$body,
            success: $success,
            described: described::$id,
            handler: handler!($id $does $($handler)::+),
            runs: $shared.runs,
            audited: $shared.audited,
            limits: $shared.limits,
            hot_path: $shared.hot_path,
        }
    };
}

/// Every operation of `/v2`, of `/access/v1` with its metadata, and of `/bindery/v1`.
#[rustfmt::skip]
pub(crate) static OPERATIONS: [Operation; 60] = [
    operation!(GET "/v2/role-bindings" list_role_bindings: LIST, reads role_bindings::list, 200, query ["resource_type", "user_id", "limit", "cursor"], body Empty),
    operation!(POST "/v2/role-bindings" create_role_binding: CHANGE, changes CreateRoleBinding, 201, query [], body Json),
    operation!(GET "/v2/role-bindings/{binding_id}" get_role_binding: READ, reads role_bindings::get, 200, query [], body Empty),
    operation!(PATCH "/v2/role-bindings/{binding_id}" update_role_binding: CHANGE, changes UpdateRoleBinding, 200, query [], body Json),
    operation!(DELETE "/v2/role-bindings/{binding_id}" delete_role_binding: CHANGE, changes DeleteRoleBinding, 204, query [], body Empty),
    operation!(GET "/v2/roles" list_roles: LIST, reads roles::list, 200, query ["is_predefined", "limit", "cursor"], body Empty),
    operation!(POST "/v2/roles" create_role: CHANGE, changes CreateRole, 201, query [], body Json),
    operation!(GET "/v2/roles/{role_id}" get_role: READ, reads roles::get, 200, query [], body Empty),
    operation!(PATCH "/v2/roles/{role_id}" update_role: CHANGE, changes UpdateRole, 200, query [], body Json),
    operation!(DELETE "/v2/roles/{role_id}" delete_role: CHANGE, changes DeleteRole, 204, query [], body Empty),
    operation!(GET "/v2/resource-restrictions" list_resource_restrictions: LIST, reads resource_restrictions::list, 200, query ["resource_type", "limit", "cursor"], body Empty),
    operation!(POST "/v2/resource-restrictions" create_resource_restriction: CHANGE, changes CreateResourceRestriction, 200, query [], body Json),
    operation!(DELETE "/v2/resource-restrictions/{resource_id}" delete_resource_restriction: CHANGE, changes DeleteResourceRestriction, 204, query [], body Empty),
    operation!(GET "/v2/users" list_users: LIST, reads users::list, 200, query ["email", "status", "limit", "cursor"], body Empty),
    operation!(POST "/v2/users" create_user: CHANGE, issues CreateUser, 201, query [], body Json),
    operation!(GET "/v2/users/{user_id}" get_user: READ, reads users::get, 200, query [], body Empty),
    operation!(PATCH "/v2/users/{user_id}" update_user: CHANGE, changes UpdateUser, 200, query [], body Json),
    operation!(DELETE "/v2/users/{user_id}" delete_user: CHANGE, changes DeleteUser, 204, query [], body Empty),
    operation!(POST "/v2/users/{user_id}/resend-invitation" resend_user_invitation: CHANGE, issues ResendInvitation, 204, query [], body Empty),
    operation!(POST "/v2/users/{user_id}/reset-password" reset_user_password: CHANGE, issues ResetPassword, 204, query [], body Empty),
    operation!(GET "/v2/organizations" list_organizations: LIST, reads organizations::list, 200, query ["name", "limit", "cursor"], body Empty),
    operation!(POST "/v2/organizations" create_organization: CHANGE, changes CreateOrganization, 201, query [], body Json),
    operation!(GET "/v2/organizations/{org_id}" get_organization: READ, reads organizations::get, 200, query [], body Empty),
    operation!(PATCH "/v2/organizations/{org_id}" update_organization: CHANGE, changes UpdateOrganization, 200, query [], body Json),
    operation!(DELETE "/v2/organizations/{org_id}" delete_organization: CHANGE, changes DeleteOrganization, 204, query [], body Empty),
    operation!(POST "/v2/organizations/{org_id}/users" add_organization_user: CHANGE, changes AddOrganizationUser, 200, query [], body Json),
    operation!(DELETE "/v2/organizations/{org_id}/users/{user_id}" remove_organization_user: CHANGE, changes RemoveOrganizationUser, 204, query [], body Empty),
    operation!(GET "/v2/spaces" list_spaces: LIST, reads spaces::list, 200, query ["org_id", "name", "limit", "cursor"], body Empty),
    operation!(POST "/v2/spaces" create_space: CHANGE, changes CreateSpace, 201, query [], body Json),
    operation!(GET "/v2/spaces/{space_id}" get_space: READ, reads spaces::get, 200, query [], body Empty),
    operation!(PATCH "/v2/spaces/{space_id}" update_space: CHANGE, changes UpdateSpace, 200, query [], body Json),
    operation!(DELETE "/v2/spaces/{space_id}" delete_space: CHANGE, changes DeleteSpace, 204, query [], body Empty),
    operation!(POST "/v2/spaces/{space_id}/users" add_space_user: CHANGE, changes AddSpaceUser, 200, query [], body Json),
    operation!(DELETE "/v2/spaces/{space_id}/users/{user_id}" remove_space_user: CHANGE, changes RemoveSpaceUser, 204, query [], body Empty),
    operation!(GET "/v2/projects" list_projects: LIST, reads projects::list, 200, query ["space_id", "space_name", "name", "project_type", "limit", "cursor"], body Empty),
    operation!(POST "/v2/projects" create_project: CHANGE, changes CreateProject, 201, query [], body Json),
    operation!(GET "/v2/projects/{project_id}" get_project: READ, reads projects::get, 200, query [], body Empty),
    operation!(PATCH "/v2/projects/{project_id}" update_project: CHANGE, changes UpdateProject, 200, query [], body Json),
    operation!(DELETE "/v2/projects/{project_id}" delete_project: CHANGE, changes DeleteProject, 204, query [], body Empty),
    operation!(GET "/v2/api-keys" list_api_keys: LIST, reads api_keys::list, 200, query ["key_type", "status", "space_id", "user_id", "limit", "cursor"], body Empty),
    operation!(POST "/v2/api-keys" create_api_key: CHANGE_MANY, waits api_keys::create, 201, query [], body Json),
    operation!(POST "/v2/api-keys/{api_key_id}/refresh" refresh_api_key: CHANGE, issues RefreshApiKey, 200, query [], body Optional),
    operation!(PUT "/v2/api-keys/{api_key_id}/revoke" revoke_api_key: CHANGE, changes RevokeApiKey, 204, query [], body Empty),
    operation!(GET "/v2/audit-logs" list_audit_logs: READ, waits audit_logs::list, 200, query ["start_time", "end_time", "user_id", "operation_name", "operation_type", "limit", "cursor"], body Empty),
    operation!(POST "/bindery/v1/invitations/{token}" accept_invitation: SIGN_IN, proves sign_in::accept_invitation, 200, query [], body Json),
    operation!(POST "/bindery/v1/password-resets/{token}" complete_password_reset: SIGN_IN, proves sign_in::complete_password_reset, 200, query [], body Json),
    operation!(POST "/bindery/v1/sign-in" sign_in: SIGN_IN, proves sign_in::sign_in, 200, query [], body Json),
    operation!(POST "/bindery/v1/users/{user_id}/temporary-password" renew_temporary_password: CHANGE, issues RenewTemporaryPassword, 200, query [], body Empty),
    operation!(GET "/bindery/v1/enforcement-points" list_enforcement_points: LIST, reads enforcement_points::list, 200, query ["limit", "cursor"], body Empty),
    operation!(PUT "/bindery/v1/enforcement-points/{api_key_id}" mark_enforcement_point: CHANGE, changes MarkEnforcementPoint, 204, query [], body Empty),
    operation!(DELETE "/bindery/v1/enforcement-points/{api_key_id}" unmark_enforcement_point: CHANGE, changes UnmarkEnforcementPoint, 204, query [], body Empty),
    operation!(GET "/bindery/v1/quotas" list_quotas: READ, reads quotas::list, 200, query ["user_id"], body Empty),
    operation!(POST "/bindery/v1/released-addresses" release_address: CHANGE, changes ReleaseAddress, 200, query [], body Json),
    operation!(POST "/bindery/v1/explain" explain_access: SEARCH, reads authzen::explain, 200, query [], body Json),
    operation!(POST "/access/v1/evaluation" access_evaluation: DECIDE, waits authzen::evaluation, 200, query [], body Json),
    operation!(POST "/access/v1/evaluations" access_evaluations: DECIDE_MANY, waits authzen::evaluations, 200, query [], body Json),
    operation!(POST "/access/v1/search/subject" search_subject: SEARCH, reads authzen::search_subject, 200, query [], body Json),
    operation!(POST "/access/v1/search/resource" search_resource: SEARCH, reads authzen::search_resource, 200, query [], body Json),
    operation!(POST "/access/v1/search/action" search_action: SEARCH, reads authzen::search_action, 200, query [], body Json),
    operation!(GET "/.well-known/authzen-configuration" authzen_configuration: READ, tells authzen::configuration, 200, query [], body Empty),
];

/// The ids of all operations, for tests that must leave none out.
pub fn operation_ids() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|operation| operation.id)
}

/// The index of an operation in the table.
pub(crate) fn place_of(operation: &'static Operation) -> Option<usize> {
    OPERATIONS.element_offset(operation)
}

/// Finds the operation of a method and path.
#[derive(Debug)]
pub(crate) struct Router(matchit::Router<Vec<&'static Operation>>);

/// The result for a path.
#[derive(Debug)]
pub(crate) enum Route {
    /// This operation, with its path parameters, still percent-encoded.
    Found(&'static Operation, Vec<(&'static str, String)>),
    /// Operations with these other methods.
    OtherMethods(String),
    /// No operation.
    Nothing,
}

impl Router {
    /// A router over [`OPERATIONS`].
    pub(crate) fn new() -> Self {
        let mut paths: Vec<(&'static str, Vec<&'static Operation>)> = Vec::new();
        for operation in &OPERATIONS {
            match paths.iter_mut().find(|(path, _)| *path == operation.path) {
                Some((_, operations)) => operations.push(operation),
                None => paths.push((operation.path, vec![operation])),
            }
        }
        let mut router = matchit::Router::new();
        for (path, operations) in paths {
            router
                .insert(path, operations)
                .expect("the paths of the table don't contradict each other");
        }
        Self(router)
    }

    /// Finds the operation at `path` for `method`. The path is matched exactly as sent: no other spelling
    /// reaches an operation.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Route {
        let Ok(found) = self.0.at(path) else {
            return Route::Nothing;
        };
        let Some(operation) = found.value.iter().find(|one| one.method == *method) else {
            let methods: Vec<&str> = found.value.iter().map(|one| one.method.as_str()).collect();
            return Route::OtherMethods(methods.join(", "));
        };
        let parameters = names(operation.path)
            .filter_map(|name| Some((name, found.params.get(name)?.to_owned())))
            .collect();
        Route::Found(operation, parameters)
    }
}

/// The names of a path's parameters.
pub(crate) fn names(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

#[cfg(test)]
mod tests {
    use bindery_core::command::AnyCommand;

    use super::*;

    fn find(method: &Method, path: &str) -> String {
        match Router::new().find(method, path) {
            Route::Found(operation, parameters) => format!("{operation:?} {parameters:?}"),
            Route::OtherMethods(methods) => format!("takes {methods}"),
            Route::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn only_the_exact_path_reaches_an_operation() {
        assert_eq!(
            find(&Method::PATCH, "/v2/role-bindings/x%3D"),
            r#"update_role_binding [("binding_id", "x%3D")]"#
        );
        assert_eq!(
            find(&Method::PUT, "/v2/role-bindings/x"),
            "takes GET, PATCH, DELETE"
        );
        for path in [
            "/",
            "/v2",
            "/v2/",
            "/v2/role-bindings/",
            "/v2//role-bindings",
            "/V2/role-bindings",
            "/v2/role%2Dbindings",
            "/v2/role-bindings/x/",
            "/v2/role-bindings/x/y",
            "/v2/./role-bindings",
            "//v2/role-bindings",
        ] {
            assert_eq!(find(&Method::GET, path), "nothing", "{path}");
        }
    }

    #[test]
    fn every_operation_has_an_id_and_place_of_its_own() {
        for (place, one) in OPERATIONS.iter().enumerate() {
            for other in &OPERATIONS[place + 1..] {
                assert_ne!(one.id, other.id);
                assert!(
                    one.path != other.path || one.method != other.method,
                    "{one:?} {other:?}"
                );
            }
            if matches!(one.method, Method::DELETE | Method::PUT) {
                assert_eq!(one.success, 204, "{one:?}");
            }
        }
    }

    #[test]
    fn every_change_is_a_command_of_the_core() {
        for operation in OPERATIONS.iter().filter(|one| one.is_change()) {
            assert!(
                AnyCommand::OPERATIONS.contains(&operation.id),
                "{operation:?} is missing in the list of commands"
            );
        }
    }
}

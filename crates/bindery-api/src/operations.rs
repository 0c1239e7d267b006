//! The operations served, one row each. The router, the Allow header, metric labels and audit names read this table;
//! nothing else spells a path.

use std::any::TypeId;
use std::fmt;

use hyper::Method;

use crate::call::{Answer, Handler};
use crate::hot::Form;
use crate::openapi::{Described, described};
use crate::v2::{
    api_keys, audit_logs, organizations, projects, resource_restrictions, role_bindings, roles,
    spaces, users,
};
use crate::{authzen, enforcement_points, quotas, sign_in};

/// One operation of the API (`docs/rules/operations.md`).
pub(crate) struct Operation {
    /// Its operation id.
    pub(crate) id: &'static str,
    pub(crate) method: Method,
    /// With `{name}` for each path parameter.
    pub(crate) path: &'static str,
    /// The query parameters it knows.
    pub(crate) query: &'static [&'static str],
    pub(crate) body: Body,
    /// The status of success.
    pub(crate) success: u16,
    pub(crate) handler: Handler,
    /// What it takes and answers, for the openapi document: the function with the name of the operation.
    pub(crate) described: fn() -> Described,
}

/// Whether an operation reads a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// What comes is thrown away: some clients send an empty object where nothing is expected.
    Empty,
    /// A JSON object.
    Json,
    /// A JSON object or nothing at all.
    Optional,
}

/// JSON values that a body may have, where nothing says otherwise.
const VALUES_MAX: usize = 4_096;
/// The same of one question or search, whose context and properties are the client's own.
const QUESTION_VALUES_MAX: usize = 8_192;
/// The same of 1,000 questions, and of a service key for 100 organizations with 100 spaces each, which has about 51,000.
const MANY_VALUES_MAX: usize = 65_536;

impl Operation {
    /// Whether it changes something for a caller with a key.
    pub(crate) const fn is_change(&self) -> bool {
        matches!(self.handler, Handler::Changes(_))
    }

    /// Whether it reads a body.
    pub(crate) fn has_body(&self) -> bool {
        self.body != Body::Empty
    }

    /// How many JSON values its body may have.
    pub(crate) fn values_max(&self) -> usize {
        match self.id {
            "access_evaluations" | "create_api_key" => MANY_VALUES_MAX,
            "access_evaluation" | "explain_access" | "search_subject" | "search_resource"
            | "search_action" => QUESTION_VALUES_MAX,
            _ => VALUES_MAX,
        }
    }

    /// What a handler reads its body as must be what is described.
    pub(crate) fn check_body<T: 'static>(&self) {
        debug_assert!(
            (self.described)().takes_type(TypeId::of::<T>()),
            "{self:?} reads its body as what is not described"
        );
    }

    /// What a handler answers must be what is described.
    pub(crate) fn check_answer(&self, answer: &Answer) {
        let status = answer.status.map(|status| status.as_u16());
        debug_assert!(
            (self.described)().answers_type(status, answer.of),
            "{self:?} answers what is not described: {answer:?}"
        );
        debug_assert_eq!(
            (self.described)().tells_revision(),
            answer.revision.is_some(),
            "{self:?}"
        );
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

macro_rules! operation {
    ($method:ident $path:literal $id:ident: reads $family:ident::$handler:ident, $success:literal, query $query:expr, body $body:ident) => {
        operation!(@ $method $path $id, $success, $query, $body, Handler::Reads($family::$handler))
    };
    ($method:ident $path:literal $id:ident: lists $family:ident::$handler:ident, $success:literal, query $query:expr, body $body:ident) => {
        operation!(@ $method $path $id, $success, $query, $body, Handler::Searches($family::$handler))
    };
    ($method:ident $path:literal $id:ident: decides $form:ident $family:ident::$handler:ident, $success:literal, query $query:expr, body $body:ident) => {
        operation!(@ $method $path $id, $success, $query, $body, Handler::Decides(Form::$form, $family::$handler))
    };
    ($method:ident $path:literal $id:ident: searches $family:ident::$handler:ident, $success:literal, query $query:expr, body $body:ident) => {
        operation!(@ $method $path $id, $success, $query, $body, Handler::Searches($family::$handler))
    };
    ($method:ident $path:literal $id:ident: waits $family:ident::$handler:ident, $success:literal, query $query:expr, body $body:ident) => {
        operation!(@ $method $path $id, $success, $query, $body, Handler::Waits(|call| Box::pin($family::$handler(call))))
    };
    ($method:ident $path:literal $id:ident: open $family:ident::$handler:ident, $success:literal, query $query:expr, body $body:ident) => {
        operation!(@ $method $path $id, $success, $query, $body, Handler::Open(|call| Box::pin($family::$handler(call))))
    };
    ($method:ident $path:literal $id:ident: public $family:ident::$handler:ident, $success:literal, query $query:expr, body $body:ident) => {
        operation!(@ $method $path $id, $success, $query, $body, Handler::Public($family::$handler))
    };
    ($method:ident $path:literal $id:ident: $family:ident::$handler:ident, $success:literal, query $query:expr, body $body:ident) => {
        operation!(@ $method $path $id, $success, $query, $body, Handler::Changes(|call| Box::pin($family::$handler(call))))
    };
    (@ $method:ident $path:literal $id:ident, $success:literal, $query:expr, $body:ident, $handler:expr) => {
        Operation {
            id: stringify!($id),
            method: Method::$method,
            path: $path,
            query: &$query,
            body: Body::$body,
            success: $success,
            handler: $handler,
            described: described::$id,
        }
    };
}

/// Every operation of `/v2`, of `/access/v1` with its metadata, and of `/bindery/v1`.
#[rustfmt::skip]
pub(crate) static OPERATIONS: [Operation; 60] = [
    operation!(GET "/v2/role-bindings" list_role_bindings: lists role_bindings::list, 200, query ["resource_type", "user_id", "limit", "cursor"], body Empty),
    operation!(POST "/v2/role-bindings" create_role_binding: role_bindings::create, 201, query [], body Json),
    operation!(GET "/v2/role-bindings/{binding_id}" get_role_binding: reads role_bindings::get, 200, query [], body Empty),
    operation!(PATCH "/v2/role-bindings/{binding_id}" update_role_binding: role_bindings::update, 200, query [], body Json),
    operation!(DELETE "/v2/role-bindings/{binding_id}" delete_role_binding: role_bindings::delete, 204, query [], body Empty),
    operation!(GET "/v2/roles" list_roles: lists roles::list, 200, query ["is_predefined", "limit", "cursor"], body Empty),
    operation!(POST "/v2/roles" create_role: roles::create, 201, query [], body Json),
    operation!(GET "/v2/roles/{role_id}" get_role: reads roles::get, 200, query [], body Empty),
    operation!(PATCH "/v2/roles/{role_id}" update_role: roles::update, 200, query [], body Json),
    operation!(DELETE "/v2/roles/{role_id}" delete_role: roles::delete, 204, query [], body Empty),
    operation!(GET "/v2/resource-restrictions" list_resource_restrictions: lists resource_restrictions::list, 200, query ["resource_type", "limit", "cursor"], body Empty),
    operation!(POST "/v2/resource-restrictions" create_resource_restriction: resource_restrictions::create, 200, query [], body Json),
    operation!(DELETE "/v2/resource-restrictions/{resource_id}" delete_resource_restriction: resource_restrictions::delete, 204, query [], body Empty),
    operation!(GET "/v2/users" list_users: lists users::list, 200, query ["email", "status", "limit", "cursor"], body Empty),
    operation!(POST "/v2/users" create_user: users::create, 201, query [], body Json),
    operation!(GET "/v2/users/{user_id}" get_user: reads users::get, 200, query [], body Empty),
    operation!(PATCH "/v2/users/{user_id}" update_user: users::update, 200, query [], body Json),
    operation!(DELETE "/v2/users/{user_id}" delete_user: users::delete, 204, query [], body Empty),
    operation!(POST "/v2/users/{user_id}/resend-invitation" resend_user_invitation: users::resend_invitation, 204, query [], body Empty),
    operation!(POST "/v2/users/{user_id}/reset-password" reset_user_password: users::reset_password, 204, query [], body Empty),
    operation!(GET "/v2/organizations" list_organizations: lists organizations::list, 200, query ["name", "limit", "cursor"], body Empty),
    operation!(POST "/v2/organizations" create_organization: organizations::create, 201, query [], body Json),
    operation!(GET "/v2/organizations/{org_id}" get_organization: reads organizations::get, 200, query [], body Empty),
    operation!(PATCH "/v2/organizations/{org_id}" update_organization: organizations::update, 200, query [], body Json),
    operation!(DELETE "/v2/organizations/{org_id}" delete_organization: organizations::delete, 204, query [], body Empty),
    operation!(POST "/v2/organizations/{org_id}/users" add_organization_user: organizations::add_user, 200, query [], body Json),
    operation!(DELETE "/v2/organizations/{org_id}/users/{user_id}" remove_organization_user: organizations::remove_user, 204, query [], body Empty),
    operation!(GET "/v2/spaces" list_spaces: lists spaces::list, 200, query ["org_id", "name", "limit", "cursor"], body Empty),
    operation!(POST "/v2/spaces" create_space: spaces::create, 201, query [], body Json),
    operation!(GET "/v2/spaces/{space_id}" get_space: reads spaces::get, 200, query [], body Empty),
    operation!(PATCH "/v2/spaces/{space_id}" update_space: spaces::update, 200, query [], body Json),
    operation!(DELETE "/v2/spaces/{space_id}" delete_space: spaces::delete, 204, query [], body Empty),
    operation!(POST "/v2/spaces/{space_id}/users" add_space_user: spaces::add_user, 200, query [], body Json),
    operation!(DELETE "/v2/spaces/{space_id}/users/{user_id}" remove_space_user: spaces::remove_user, 204, query [], body Empty),
    operation!(GET "/v2/projects" list_projects: lists projects::list, 200, query ["space_id", "space_name", "name", "project_type", "limit", "cursor"], body Empty),
    operation!(POST "/v2/projects" create_project: projects::create, 201, query [], body Json),
    operation!(GET "/v2/projects/{project_id}" get_project: reads projects::get, 200, query [], body Empty),
    operation!(PATCH "/v2/projects/{project_id}" update_project: projects::update, 200, query [], body Json),
    operation!(DELETE "/v2/projects/{project_id}" delete_project: projects::delete, 204, query [], body Empty),
    operation!(GET "/v2/api-keys" list_api_keys: lists api_keys::list, 200, query ["key_type", "status", "space_id", "user_id", "limit", "cursor"], body Empty),
    operation!(POST "/v2/api-keys" create_api_key: api_keys::create, 201, query [], body Json),
    operation!(POST "/v2/api-keys/{api_key_id}/refresh" refresh_api_key: api_keys::refresh, 200, query [], body Optional),
    operation!(PUT "/v2/api-keys/{api_key_id}/revoke" revoke_api_key: api_keys::revoke, 204, query [], body Empty),
    operation!(GET "/v2/audit-logs" list_audit_logs: waits audit_logs::list, 200, query ["start_time", "end_time", "user_id", "operation_name", "operation_type", "limit", "cursor"], body Empty),
    operation!(POST "/bindery/v1/invitations/{token}" accept_invitation: open sign_in::accept_invitation, 200, query [], body Json),
    operation!(POST "/bindery/v1/password-resets/{token}" complete_password_reset: open sign_in::complete_password_reset, 200, query [], body Json),
    operation!(POST "/bindery/v1/sign-in" sign_in: open sign_in::sign_in, 200, query [], body Json),
    operation!(POST "/bindery/v1/users/{user_id}/temporary-password" renew_temporary_password: users::renew_temporary_password, 200, query [], body Empty),
    operation!(GET "/bindery/v1/enforcement-points" list_enforcement_points: lists enforcement_points::list, 200, query ["limit", "cursor"], body Empty),
    operation!(PUT "/bindery/v1/enforcement-points/{api_key_id}" mark_enforcement_point: enforcement_points::mark, 204, query [], body Empty),
    operation!(DELETE "/bindery/v1/enforcement-points/{api_key_id}" unmark_enforcement_point: enforcement_points::unmark, 204, query [], body Empty),
    operation!(GET "/bindery/v1/quotas" list_quotas: reads quotas::list, 200, query ["user_id"], body Empty),
    operation!(POST "/bindery/v1/released-addresses" release_address: quotas::release_address, 200, query [], body Json),
    operation!(POST "/bindery/v1/explain" explain_access: searches authzen::explain, 200, query [], body Json),
    operation!(POST "/access/v1/evaluation" access_evaluation: decides Evaluation authzen::evaluation, 200, query [], body Json),
    operation!(POST "/access/v1/evaluations" access_evaluations: decides Evaluations authzen::evaluations, 200, query [], body Json),
    operation!(POST "/access/v1/search/subject" search_subject: searches authzen::search_subject, 200, query [], body Json),
    operation!(POST "/access/v1/search/resource" search_resource: searches authzen::search_resource, 200, query [], body Json),
    operation!(POST "/access/v1/search/action" search_action: searches authzen::search_action, 200, query [], body Json),
    operation!(GET "/.well-known/authzen-configuration" authzen_configuration: public authzen::configuration, 200, query [], body Empty),
];

/// The id of every operation that is served, for tests that must leave none out.
pub fn operation_ids() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|operation| operation.id)
}

/// Finds the operation behind a method and path.
#[derive(Debug)]
pub(crate) struct Router(matchit::Router<Vec<&'static Operation>>);

/// What stands at a path.
#[derive(Debug)]
pub(crate) enum Route {
    /// This operation, with its path parameters, still percent-encoded.
    Found(&'static Operation, Vec<(&'static str, String)>),
    /// Others, that take these methods.
    OtherMethods(String),
    /// Nothing.
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

    /// What stands at `path` for `method`. The path is matched as it was sent: no other spelling reaches an operation.
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
}

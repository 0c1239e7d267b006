//! The response to a refused request: RFC 9457 problem+json (`docs/rules/api.md` §6). The one place that
//! turns a refusal into a status and a sentence.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

use bindery_core::id::{Kind, Revision};
use bindery_core::quota::QuotaScope;
use bindery_core::refusal::{Conflict, Forbidden, Invalid, QuotaReached, Refusal, Unprocessable};

use bindery_node::{ExecuteError, KEY_COMMANDS_MAX, PERSON_COMMANDS_MAX, RefusedAs, Unavailable};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;

use crate::connection_table::Leaving;
use crate::memory_budget::Exhausted;
use crate::rate::{Bucket, Limited};
use crate::turns::{Level, QueueFull};

const TYPE_BASE: &str = "https://arize.com/docs/ax/rest-reference/errors";

/// Seconds after which a client may try again if something is unavailable only briefly.
const RETRY_AFTER_SECONDS: u64 = 1;

/// A refused request, not rendered yet: the frame adds the path and the request id.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    allow: Option<String>,
    retry_after_seconds: Option<u64>,
    /// Whether its type says no more than the status.
    is_untyped: bool,
    /// Whether the audit log has it already: a command that was decided and refused.
    pub(crate) is_audited: bool,
    /// Whether the caller's own key, person or client address is over a limit, so that the connection is
    /// slowed down.
    is_over_own_limit: bool,
    /// What clients have used up, if that is the reason.
    overload: Option<Overload>,
}

/// What clients can use up by sending too much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overload {
    /// Memory for requests or responses.
    Memory,
    /// Room in a queue.
    Queue,
    /// Room to wait for a revision, or the time for it.
    Revision,
    /// Connections.
    Connections,
}

impl Overload {
    pub(crate) const ALL: [Self; 4] =
        [Self::Memory, Self::Queue, Self::Revision, Self::Connections];

    /// Its name in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Queue => "queue",
            Self::Revision => "revision",
            Self::Connections => "connections",
        }
    }
}

/// The status for a used up share of memory, and whose share it is, and how large.
const fn share(exhausted: Exhausted) -> (StatusCode, Option<(&'static str, &'static str)>) {
    match exhausted {
        Exhausted::Key => (StatusCode::TOO_MANY_REQUESTS, Some(("key", "a quarter"))),
        Exhausted::Person => (StatusCode::TOO_MANY_REQUESTS, Some(("person", "a third"))),
        Exhausted::Account => (StatusCode::SERVICE_UNAVAILABLE, Some(("account", "half"))),
        Exhausted::Whole => (StatusCode::SERVICE_UNAVAILABLE, None),
    }
}

/// A refused request (RFC 9457).
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    request_id: &'a str,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: shorten(detail.into()),
            allow: None,
            is_untyped: false,
            retry_after_seconds: None,
            is_audited: false,
            is_over_own_limit: false,
            overload: None,
        }
    }

    /// 400: the request itself is wrong; `detail` says where, and what is accepted.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 400 about one field of the body, path or query.
    pub(crate) fn field(name: &str, why: impl std::fmt::Display) -> Self {
        Self::invalid(format!("`{name}`: {why}"))
    }

    /// 400 for a PATCH without any of its fields.
    pub(crate) fn changes_nothing(fields: &str) -> Self {
        Self::invalid(format!(
            "the body changes nothing; send at least one of {fields}"
        ))
    }

    /// 401, the same for every cause.
    pub(crate) fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "send `Authorization: Bearer <key>` with a key that is known, not revoked, not expired, and whose user is active",
        )
    }

    /// 404 for a path without operations.
    pub(crate) fn no_such_path() -> Self {
        Self {
            is_untyped: true,
            ..Self::new(
                StatusCode::NOT_FOUND,
                "nothing is served at this path; check its spelling, slashes included",
            )
        }
    }

    /// 404 for what the operator has not configured.
    pub(crate) fn not_configured(detail: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 405, with the methods of the path.
    pub(crate) fn method_not_allowed(allowed: &str) -> Self {
        let detail = format!("this path takes {allowed}");
        Self {
            allow: Some(allowed.to_owned()),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, detail)
        }
    }

    /// 408: a body arrived too slowly.
    pub(crate) fn slow_body(timeout: Duration, rate: u32, grace: Duration) -> Self {
        let (timeout, grace) = (timeout.as_secs(), grace.as_secs());
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            format!(
                "the body did not arrive in time: it has {timeout} s, and comes with at least {rate} bytes a second after \
                {grace} s; send the request again"
            ),
        )
    }

    /// 413: the body is too large.
    pub(crate) fn too_large(max_bytes: usize) -> Self {
        let detail = format!("the body is larger than {max_bytes} bytes; send less at once");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// 400: the head is not an HTTP request.
    pub(crate) fn unreadable_head() -> Self {
        Self::invalid(
            "the head of the request can't be read; send a request line and headers as HTTP/1.1 has them",
        )
    }

    /// 414: the request line alone is larger than a head may be.
    pub(crate) fn long_uri(max_bytes: usize) -> Self {
        let detail = format!(
            "the path and query are longer than {max_bytes} bytes, the limit for the whole head of a request; send less at once"
        );
        Self::new(StatusCode::URI_TOO_LONG, detail)
    }

    /// 431: the head of the request is too large.
    pub(crate) fn large_head(max_bytes: usize) -> Self {
        let detail = format!(
            "the request has more than 100 headers, or more than {max_bytes} bytes before its body; send less of them"
        );
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
    }

    fn retry(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            retry_after_seconds: Some(RETRY_AFTER_SECONDS),
            ..Self::new(status, detail)
        }
    }

    /// 429 or 503 that clients cause by what they send; not a fault of the server.
    fn overload(overload: Overload, status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            is_over_own_limit: status == StatusCode::TOO_MANY_REQUESTS,
            overload: Some(overload),
            ..Self::retry(status, detail)
        }
    }

    /// 503: too many large heads of requests are arriving.
    pub(crate) fn no_memory_for_heads() -> Self {
        Self::overload(
            Overload::Memory,
            StatusCode::SERVICE_UNAVAILABLE,
            "the memory for arriving requests (`--request-memory-mib`) is used up; send a smaller head, or try again",
        )
    }

    /// 503: the connection was closed to make room for another one before the work on this request began.
    pub(crate) fn leaving(_: Leaving) -> Self {
        Self::overload(
            Overload::Connections,
            StatusCode::SERVICE_UNAVAILABLE,
            "there are more connections than the server takes (`--connections`), and this one makes room; nothing was done, so send \
            the request again on a new connection",
        )
    }

    /// 429 or 503: a body needs more memory than is left for arriving requests.
    pub(crate) fn no_memory_for_body(exhausted: Exhausted) -> Self {
        const OPTION: &str = "`--request-memory-mib`";
        let (status, whose) = share(exhausted);
        let detail = match whose {
            Some((whose, share)) => format!(
                "arriving requests of this {whose} take {share} of the memory for requests ({OPTION}); send fewer large \
                bodies at once"
            ),
            None => format!("the memory for arriving requests ({OPTION}) is used up; try again"),
        };
        Self::overload(Overload::Memory, status, detail)
    }

    /// 429 or 503: a response needs more memory than is left for unread responses.
    pub(crate) fn no_memory_for_answer(exhausted: Exhausted) -> Self {
        const OPTION: &str = "`--answer-memory-mib`";
        let (status, whose) = share(exhausted);
        let detail = match whose {
            Some((whose, share)) => format!(
                "unread responses to this {whose} take {share} of the memory for responses ({OPTION}); read them, or ask \
                for less at once"
            ),
            None => format!("the memory for unread responses ({OPTION}) is used up; try again"),
        };
        Self::overload(Overload::Memory, status, detail)
    }

    /// 404 for an invalid or expired link.
    pub(crate) fn expired_link() -> Self {
        Refusal::NotFound(Kind::Credential).into()
    }

    /// 503: this server does not have a requested revision yet.
    pub(crate) fn revision_not_reached(wanted: Revision, reached: Revision) -> Self {
        let detail = format!(
            "`Bindery-At-Least`: this server is at revision {reached} and has waited too long for {wanted}; try again, or ask \
            without it"
        );
        Self::overload(Overload::Revision, StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// 503: too many requests wait for a revision.
    pub(crate) fn too_many_wait_for_revisions(full: QueueFull) -> Self {
        let whose = match full.level {
            Level::Key => "of this key",
            Level::Person => "of this person",
            Level::Account => "of this account",
            Level::All => "to this server",
        };
        let detail = format!(
            "`Bindery-At-Least`: too many requests {whose} wait for a revision that this server does not have yet; try again, or ask without it"
        );
        Self::overload(Overload::Revision, StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// 503: the data in memory is too old.
    pub(crate) fn too_stale(seconds: u64) -> Self {
        let detail = format!(
            "this server has not reached its store for {seconds} s, longer than it may answer from memory; \
            ask another server, or try again"
        );
        Self {
            retry_after_seconds: Some(RETRY_AFTER_SECONDS),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }

    /// 503: the data can't be read now.
    pub(crate) fn unreadable() -> Self {
        Self {
            retry_after_seconds: Some(RETRY_AFTER_SECONDS),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the store can't be read now; try again",
            )
        }
    }

    /// 429: more requests than a bucket allows.
    pub(crate) fn rate_limited(limited: Limited) -> Self {
        let Limited {
            bucket,
            per_second,
            seconds,
        } = limited;
        let whose = match bucket {
            Bucket::Person => {
                "requests by one person, with all their keys and service keys together"
            }
            Bucket::Changes => {
                "changes by one person, with all their keys and service keys together"
            }
            Bucket::Account => "requests to one account",
            Bucket::Address => "requests without a valid key from one client address",
        };
        let detail = format!(
            "rate limit `{}`: at most {per_second} {whose} are answered a second; try again in {seconds} s",
            bucket.name()
        );
        Self {
            retry_after_seconds: Some(seconds),
            is_over_own_limit: bucket != Bucket::Account,
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
        }
    }

    /// 429 or 503: too many requests wait for a worker. 429 if the caller's own fill the queue.
    pub(crate) fn queue_full(full: QueueFull) -> Self {
        let (status, whose) = match full.level {
            Level::Key => (StatusCode::TOO_MANY_REQUESTS, "of this key"),
            Level::Person => (StatusCode::TOO_MANY_REQUESTS, "of this person"),
            Level::Account => (StatusCode::SERVICE_UNAVAILABLE, "of this account"),
            Level::All => (StatusCode::SERVICE_UNAVAILABLE, "to this server"),
        };
        let detail = format!(
            "too many large requests {whose} wait for their turn; send fewer at once, or try again in \
            {RETRY_AFTER_SECONDS} s"
        );
        Self::overload(Overload::Queue, status, detail)
    }

    /// 503: a large body has waited too long for its turn.
    pub(crate) fn no_turn_for_body(waited: Duration) -> Self {
        let detail = format!(
            "a large body waited {} s and got no turn; send smaller ones, fewer at once, or try again",
            waited.as_secs()
        );
        Self::overload(Overload::Queue, StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// 400: more JSON values than the operation takes.
    pub(crate) fn too_many_values(max: usize) -> Self {
        Self::invalid(format!(
            "the body has more than {max} JSON values, and this operation takes at most {max}; send less at once"
        ))
    }

    /// 429: too many attempts to sign in.
    pub(crate) fn too_many_sign_ins(seconds: u64) -> Self {
        let detail = format!("too many attempts; try again in {seconds} s");
        Self {
            retry_after_seconds: Some(seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
        }
    }

    /// 401 for a failed sign-in: never says which part was wrong.
    pub(crate) fn sign_in_refused() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "the address or the password is wrong, or the invitation has expired",
        )
    }

    /// 500: a bug. The log has the cause.
    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "an internal error; the server's log has the cause, with this request id",
        )
    }

    /// 503: the store is unavailable, and nothing was changed.
    pub(crate) fn unavailable() -> Self {
        Self {
            retry_after_seconds: Some(RETRY_AFTER_SECONDS),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the change could not be stored now, and nothing was changed; try again",
            )
        }
    }

    /// 429: too many changes of the same key or person wait for a commit.
    pub(crate) fn too_many_changes() -> Self {
        let detail = format!(
            "too many changes of this key or person wait to be stored, and nothing was changed; wait for answers before you send \
            more: at most {KEY_COMMANDS_MAX} of a key and {PERSON_COMMANDS_MAX} of a person may wait at once"
        );
        Self {
            retry_after_seconds: Some(RETRY_AFTER_SECONDS),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
        }
    }

    /// 503: the commit takes too long, and may still succeed.
    pub(crate) fn outcome_unknown() -> Self {
        Self {
            is_audited: true,
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the change takes too long to store, and may still be made; read the resource before you try again",
            )
        }
    }

    /// The status of the response.
    pub(crate) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// What clients have used up, if that is the reason.
    pub(crate) fn overload_kind(&self) -> Option<Overload> {
        self.overload
    }

    /// Whether it is refused because of the caller's own requests, and not those of others.
    pub(crate) fn is_over_own_limit(&self) -> bool {
        self.is_over_own_limit
    }

    /// The end of its type, if that says more than the status.
    pub(crate) fn type_suffix(&self) -> Option<&'static str> {
        self.title_and_anchor().1.filter(|_| !self.is_untyped)
    }

    /// What was wrong, and how to correct it.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    const fn title_and_anchor(&self) -> (&'static str, Option<&'static str>) {
        match self.status.as_u16() {
            400 => ("Invalid request parameters", Some("invalid-request")),
            401 => ("Authentication required", Some("authentication-required")),
            403 => ("Access forbidden", Some("access-forbidden")),
            404 => ("Resource not found", Some("resource-not-found")),
            405 => ("Method not allowed", None),
            408 => ("Request timeout", None),
            409 => ("Resource conflict", Some("resource-conflict")),
            413 => ("Payload too large", None),
            414 => ("URI too long", None),
            422 => ("Unprocessable Entity", Some("unprocessable-entity")),
            429 => ("Rate limit exceeded", Some("rate-limit-exceeded")),
            431 => ("Request header fields too large", None),
            503 => ("Service Unavailable", Some("service-unavailable")),
            _ => ("Internal server error", None),
        }
    }

    /// The schema of a problem with this status.
    pub(crate) fn schema(status: u16, generator: &mut SchemaGenerator) -> serde_json::Value {
        let known = StatusCode::from_u16(status).unwrap_or_default();
        let (title, anchor) = Self::new(known, "").title_and_anchor();
        serde_json::json!({
            "allOf": [generator.subschema_for::<Body<'_>>()],
            "properties": {
                "status": {"const": status},
                "title": {"const": title},
                "type": {"const": type_of(anchor)},
            },
        })
    }

    /// The whole response.
    pub(crate) fn render(&self, instance: &str, request_id: &str) -> Response<Full<Bytes>> {
        let (title, _) = self.title_and_anchor();
        let body = Body {
            r#type: type_of(self.type_suffix()),
            title,
            status: self.status.as_u16(),
            detail: &self.detail,
            instance,
            request_id,
        };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Full::from(json));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // No more is read from a client that is too slow or sends too much.
            StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self
            .allow
            .as_deref()
            .and_then(|allow| HeaderValue::from_str(allow).ok())
        {
            headers.insert(header::ALLOW, allow);
        }
        response
    }
}

fn type_of(anchor: Option<&str>) -> String {
    anchor.map_or_else(
        || "about:blank".to_owned(),
        |anchor| format!("{TYPE_BASE}#{anchor}"),
    )
}

impl From<Unavailable> for Problem {
    /// 503: it is unknown which account the key belongs to, so it isn't called unknown.
    fn from(_: Unavailable) -> Self {
        Self {
            retry_after_seconds: Some(RETRY_AFTER_SECONDS),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the account of this key or link can't be read now; try again",
            )
        }
    }
}

impl From<ExecuteError> for Problem {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Refused(refusal) => Self {
                is_audited: true,
                ..refusal.into()
            },
            ExecuteError::Unavailable => Self::unavailable(),
            ExecuteError::Crowded => Self::too_many_changes(),
            ExecuteError::Unknown => Self::outcome_unknown(),
            ExecuteError::Contradiction => Self::internal(),
        }
    }
}

/// Bytes of a detail: a long name is cut when it is repeated.
pub(crate) const DETAIL_MAX: usize = 1000;

fn shorten(mut detail: String) -> String {
    if detail.len() > DETAIL_MAX {
        detail.truncate(detail.floor_char_boundary(DETAIL_MAX));
        detail.push('…');
    }
    detail
}

/// The status and type for a refusal.
pub(crate) fn refused_as(refusal: &Refusal) -> RefusedAs {
    let problem = Problem::from(*refusal);
    RefusedAs {
        status: problem.status(),
        problem: problem.type_suffix(),
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, detail) = match refusal {
            Refusal::Unauthenticated => return Self::unauthenticated(),
            Refusal::Forbidden(lack) => (StatusCode::FORBIDDEN, forbidden(lack)),
            Refusal::NotFound(kind) => (StatusCode::NOT_FOUND, not_found(kind)),
            Refusal::Invalid(rule) => (StatusCode::BAD_REQUEST, invalid(rule).to_owned()),
            Refusal::Conflict(conflict) => (StatusCode::CONFLICT, self::conflict(conflict)),
            Refusal::Unprocessable(reason) => {
                (StatusCode::UNPROCESSABLE_ENTITY, unprocessable(reason))
            }
            Refusal::Quota(reached) => return quota(reached),
        };
        Self::new(status, detail)
    }
}

/// 409 for a total, 429 for a daily quota.
fn quota(reached: QuotaReached) -> Problem {
    let QuotaReached {
        quota,
        limit,
        retry_after_seconds,
    } = reached;
    let info = quota.info();
    let (name, counts) = (info.name, info.counts);
    let whose = match info.scope {
        QuotaScope::Account => "the account",
        QuotaScope::Members => "all people together who are not account admins",
        QuotaScope::Person | QuotaScope::Member => "you, with the service keys you have created,",
    };
    let mend = match info.scope {
        QuotaScope::Account | QuotaScope::Person => "",
        QuotaScope::Members | QuotaScope::Member => "ask an account admin to do it, ",
    };
    let (status, detail) = if info.is_daily {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let detail = format!(
            "the quota `{name}` is {limit} a day for {whose} and this would exceed it (it counts {counts}); go on after \
             00:00 UTC, {mend}or ask the operator of this server for more (`bindery account quota set`)"
        );
        (status, detail)
    } else {
        let detail = format!(
            "the quota `{name}` is {limit} for {whose} and this would exceed it (it counts {counts}); delete or revoke some, \
             {mend}or ask the operator of this server for more (`bindery account quota set`)"
        );
        (StatusCode::CONFLICT, detail)
    };
    Problem {
        retry_after_seconds,
        ..Problem::new(status, detail)
    }
}

fn forbidden(lack: Forbidden) -> String {
    let sentence = match lack {
        Forbidden::Permission(permission, level) => {
            return format!(
                "this takes the permission {} on the {}; ask one of its admins for a role that has it",
                permission.name(),
                level.noun()
            );
        }
        Forbidden::NotAccountAdmin => "only account admins may do this",
        Forbidden::NotOrganizationAdmin => {
            "only admins of the organization, or of the account, may do this"
        }
        Forbidden::NotSpaceAdmin => {
            "only admins of the space, its organization or the account may do this; to give a custom role, \
             the permission ROLE_BINDING_CREATE on the space is enough"
        }
        Forbidden::NotYourRoleToGive => {
            "account admins add users with any role, members with the roles MEMBER and ANNOTATOR, others none"
        }
        Forbidden::PredefinedRole => {
            "predefined roles can't be changed or deleted; make a custom role instead"
        }
        Forbidden::NoDeveloperAccess => {
            "developer access is switched off for this user or account; an account admin can switch it on \
             with PATCH /v2/users/{user_id} and `is_developer`"
        }
        Forbidden::NotYourInvitation => {
            "the invitation to this address has expired, and came with more than you can give; ask an account admin to invite them again"
        }
        Forbidden::KeyHoldsMore => {
            "refreshing returns the new secret, and this key has more access than you do at one of its places, or may ask \
             about more; ask a user with at least this access, or an account admin"
        }
        Forbidden::NotYoursToAsk => {
            "to ask about others, you need to be able to read the subject, and ROLE_BINDING_READ on the resource; a program that asks for \
             everyone needs a key that an account admin has marked with PUT /bindery/v1/enforcement-points/{api_key_id}"
        }
        Forbidden::AuditLogsOff => "audit logging is switched off for this account",
        Forbidden::BotMakesPeople => {
            "only a service key of an account admin adds people, since they would outlive the key; use a user's own key"
        }
        Forbidden::BotGetsPassword => {
            "a service key can't have a temporary password: a person who signs in with it would outlive the key; choose the \
             `invite_mode` EMAIL_LINK or NONE, or use a user's own key"
        }
        Forbidden::TakesAway => {
            "this role would take away something that the user holds in the space, so you also need the permission \
             ROLE_BINDING_DELETE on the space; ask an admin of the space"
        }
        Forbidden::GivesFallback => {
            "the space is public, and without this role the user would have more there as a member of the organization, \
             so you also need the permission ROLE_BINDING_CREATE on the space; ask an admin of the space"
        }
        Forbidden::BotMakesUserKey => "a service key can't make user keys; use a user's own key",
        Forbidden::NotYourServiceKey => {
            "you must be admin of all spaces that the key is bound to, or have made it and hold \
             the permission in each of them"
        }
    };
    sentence.to_owned()
}

/// The same sentence if it is absent, hidden or in another account.
fn not_found(kind: Kind) -> String {
    match kind {
        Kind::Restriction => "the project is not restricted".to_owned(),
        Kind::Credential => {
            "the link is used up, replaced by a newer one, or expired; ask for a new one".to_owned()
        }
        Kind::OrganizationMembership => "the user is not a member of the organization".to_owned(),
        Kind::SpaceMembership => "the user is not a member of the space".to_owned(),
        Kind::User
        | Kind::Role
        | Kind::RoleBinding
        | Kind::Space
        | Kind::Project
        | Kind::Organization
        | Kind::ApiKey
        | Kind::AuditLog
        | Kind::Dashboard
        | Kind::Prompt
        | Kind::Account => {
            format!(
                "there is no {} with this id, or it is not visible to this key",
                kind.noun()
            )
        }
    }
}

const fn invalid(rule: Invalid) -> &'static str {
    match rule {
        Invalid::AnnotatorWithOtherRole => {
            "`role`: the user is an annotator of the account, and annotators take the role ANNOTATOR only"
        }
        Invalid::AnnotatorRoleForOthers => {
            "`role`: ANNOTATOR is for users who are annotators of the account; choose another role"
        }
        Invalid::NotInOrganization => {
            "`user_id`: the user is not a member of the space's organization; add them there first with \
             POST /v2/organizations/{org_id}/users"
        }
        Invalid::NotInvited => {
            "`user_id`: the user has no open invitation; only one with the status INVITED can be sent again"
        }
        Invalid::NotActive => {
            "`user_id`: only a user with the status ACTIVE can choose a new password"
        }
        Invalid::TemporaryPassword => {
            "`new_password`: the password is a temporary one; choose your own here"
        }
        Invalid::SwitchesOneselfOff => {
            "`is_developer`: users can't switch off their own access, since they could not switch it on again; another account \
             admin can"
        }
        Invalid::DeletesOneself => {
            "`user_id`: users can't delete themselves; another account admin can"
        }
        Invalid::LastAdmin => {
            "`user_id`: this is the last person who is account admin and may use the API, and the account needs one; \
             make another one first"
        }
        Invalid::AccountRoleOfKey => "`account_role`: a service key takes ADMIN or MEMBER",
        Invalid::OrganizationTwice => {
            "`organizations`: the same organization is in it twice; list it once"
        }
        Invalid::SpaceTwice => "`organizations`: the same space is in it twice; list it once",
    }
}

fn conflict(conflict: Conflict) -> String {
    let sentence = match conflict {
        Conflict::NameTaken(kind) => {
            return format!(
                "`name`: another {} has this name; choose one that is free",
                kind.noun()
            );
        }
        Conflict::BindingExists => {
            "the user has a role binding on this resource already; change its role with \
             PATCH /v2/role-bindings/{binding_id}"
        }
        Conflict::RoleInUse => {
            "role bindings use this role; give their users another role, or delete the bindings, first"
        }
        Conflict::EmailActive => "`email`: a user with this address exists already",
        Conflict::EmailInvited => {
            "`email`: an invitation to this address is open; wait until it is accepted, or delete the user"
        }
        Conflict::EmailInactive => {
            "`email`: a user with this address was deleted; an account admin can release it for a new user with \
             POST /bindery/v1/released-addresses"
        }
        Conflict::EmailHeld => {
            "`email`: a user with this address is not deleted; delete them first, or choose another address"
        }
        Conflict::KeyMayBeKnown => {
            "someone else may know this key: an inviter may know the password of the person who made it. Have the person choose a \
             password by a mailed link first (POST /v2/users/{user_id}/reset-password) and make a new key, or make a service key \
             yourself"
        }
    };
    sentence.to_owned()
}

fn unprocessable(reason: Unprocessable) -> String {
    match reason {
        Unprocessable::CustomRole(level) => {
            format!("custom roles can't be assigned on the level of the {}; choose a predefined one", level.noun())
        }
        Unprocessable::AnnotatorKey(level) => {
            format!("a service key can't have the role ANNOTATOR in a {}; choose another role", level.noun())
        }
        Unprocessable::AboveCaller(level) => format!(
            "a role of this key is above what you have in that {} yourself; choose a lower one",
            level.noun()
        ),
        Unprocessable::SpaceElsewhere => {
            "`organizations`: a space is listed under an organization that it does not belong to".to_owned()
        }
        Unprocessable::ExpiryPast => "`expires_at`: must be in the future".to_owned(),
        Unprocessable::ExpiryTooLate { max_seconds } => format!(
            "`expires_at`: keys of this account expire after at most {max_seconds} seconds; choose an earlier time"
        ),
        Unprocessable::ExpiryBeyondMaker => {
            "`expires_at`: a key that a service key makes or refreshes expires no later than that service key, which must be valid itself; \
             choose an earlier time"
                .to_owned()
        }
        Unprocessable::ExpiryExtended => {
            "`expires_at`: a refresh can't extend the life of a key; choose its present expiry or an earlier time"
                .to_owned()
        }
        Unprocessable::ExpiryMissing => {
            "`expires_at`: this key expires, so a refresh must name an expiry that is not later".to_owned()
        }
        Unprocessable::KeyRevoked => "the key is revoked; make a new one".to_owned(),
        Unprocessable::KeyExpired => "the key has expired; make a new one".to_owned(),
    }
}

//! What a client sees when something is refused: RFC 9457 problem+json (`docs/rules/api.md` §6). The one place that
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

/// Seconds after which a client may try again when something is only briefly out of reach.
const RETRY_AFTER_SECONDS: u64 = 1;

/// A refused request, not yet rendered: the frame adds the path and the request id.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    allow: Option<String>,
    retry_after_seconds: Option<u64>,
    /// Whether its type says nothing beyond the status.
    is_untyped: bool,
    /// Whether the audit log has it already: a command that was decided and refused.
    pub(crate) is_audited: bool,
    /// Whether the caller's own key, person or client address is over a limit, so that the connection is slowed down.
    is_over_own_limit: bool,
    /// What clients have used up, if that is the reason.
    overload: Option<Overload>,
}

/// What clients can use up by what they send at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overload {
    /// Memory for requests or answers.
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

    /// As metrics name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Queue => "queue",
            Self::Revision => "revision",
            Self::Connections => "connections",
        }
    }
}

/// The status for a used up share of memory; whose it is, and how large.
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

    /// 400: the request itself is wrong; `detail` says where and what is accepted.
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

    /// 404 for a path that isn't served.
    pub(crate) fn no_such_path() -> Self {
        Self {
            is_untyped: true,
            ..Self::new(
                StatusCode::NOT_FOUND,
                "nothing is served at this path; check its spelling, slashes included",
            )
        }
    }

    /// 404 for what this server would serve if its operator had set it up.
    pub(crate) fn not_configured(detail: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 405, with what the path does take.
    pub(crate) fn method_not_allowed(allowed: &str) -> Self {
        let detail = format!("this path takes {allowed}");
        Self {
            allow: Some(allowed.to_owned()),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, detail)
        }
    }

    /// 408: a body came too slowly.
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

    /// 413: more than a body may hold.
    pub(crate) fn too_large(max_bytes: usize) -> Self {
        let detail = format!("the body is larger than {max_bytes} bytes; send less at once");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// 400: no request can be made out.
    pub(crate) fn unreadable_head() -> Self {
        Self::invalid(
            "the head of the request can't be read; send a request line and headers as HTTP/1.1 has them",
        )
    }

    /// 414: the request line alone is more than a head may hold.
    pub(crate) fn long_uri(max_bytes: usize) -> Self {
        let detail = format!(
            "the path and query are longer than {max_bytes} bytes, the limit for the whole head of a request; send less at once"
        );
        Self::new(StatusCode::URI_TOO_LONG, detail)
    }

    /// 431: more than the head of a request may hold.
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

    /// 429 or 503 that clients cause by what they send, and no fault of the server.
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
            "the memory for requests that are arriving (`--request-memory-mib`) is used up; send a smaller head, or try again",
        )
    }

    /// 503: the connection was chosen to make room for another one before the work on this request began.
    pub(crate) fn leaving(_: Leaving) -> Self {
        Self::overload(
            Overload::Connections,
            StatusCode::SERVICE_UNAVAILABLE,
            "there are more connections than the server takes (`--connections`), and this one makes room; nothing was done, so send \
            the request again on a new connection",
        )
    }

    /// 429 or 503: a body needs more memory than there is for requests that are arriving.
    pub(crate) fn no_memory_for_body(exhausted: Exhausted) -> Self {
        const OPTION: &str = "`--request-memory-mib`";
        let (status, whose) = share(exhausted);
        let detail = match whose {
            Some((whose, share)) => format!(
                "requests of this {whose} that are arriving take {share} of the memory for requests ({OPTION}); send fewer large \
                bodies at once"
            ),
            None => format!(
                "the memory for requests that are arriving ({OPTION}) is used up; try again"
            ),
        };
        Self::overload(Overload::Memory, status, detail)
    }

    /// 429 or 503: an answer needs more memory than there is for answers that wait to be taken.
    pub(crate) fn no_memory_for_answer(exhausted: Exhausted) -> Self {
        const OPTION: &str = "`--answer-memory-mib`";
        let (status, whose) = share(exhausted);
        let detail = match whose {
            Some((whose, share)) => format!(
                "answers to this {whose} that wait to be taken have {share} of the memory for answers ({OPTION}); read them, or ask \
                for less at once"
            ),
            None => format!(
                "the memory for answers that wait to be taken ({OPTION}) is used up; try again"
            ),
        };
        Self::overload(Overload::Memory, status, detail)
    }

    /// 404 for a link that is good for nothing.
    pub(crate) fn dead_link() -> Self {
        Refusal::NotFound(Kind::Credential).into()
    }

    /// 503: a revision that was asked for hasn't come here yet.
    pub(crate) fn not_reached(wanted: Revision, reached: Revision) -> Self {
        let detail = format!(
            "`Bindery-At-Least`: this server is at revision {reached} and has waited in vain for {wanted}; try again, or ask \
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
            "`Bindery-At-Least`: too many requests {whose} wait for a revision that has not come here; try again, or ask without it"
        );
        Self::overload(Overload::Revision, StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// 503: what is known here is older than it may be.
    pub(crate) fn too_stale(seconds: u64) -> Self {
        let detail = format!(
            "this server has been cut off from its store for {seconds} s, longer than it may answer from what it knows; \
            ask another server, or try again"
        );
        Self {
            retry_after_seconds: Some(RETRY_AFTER_SECONDS),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }

    /// 503: what was asked for can't be read now.
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
            Bucket::Address => "requests without a good key from one client address",
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
            "a large body waited {} s for its turn in vain; send smaller ones, fewer at once, or try again",
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

    /// 401 for whoever signs in: never which half of it was wrong.
    pub(crate) fn sign_in_refused() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "the address or the password is wrong, or the invitation has ended",
        )
    }

    /// 500: a mistake of ours. The log has the cause.
    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "something went wrong here; the server's log has the cause beside this request id",
        )
    }

    /// 503: out of reach for now, and nothing was changed.
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

    /// 503: the commit takes longer than anyone waits, and may still succeed.
    pub(crate) fn outcome_unknown() -> Self {
        Self {
            is_audited: true,
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the change takes too long to store, and may still be made; read the resource before you try again",
            )
        }
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// What clients have used up, if that is the reason.
    pub(crate) fn overload_kind(&self) -> Option<Overload> {
        self.overload
    }

    /// Whether it is refused for what the caller itself has sent or waits for, and not for what others have.
    pub(crate) fn is_over_own_limit(&self) -> bool {
        self.is_over_own_limit
    }

    /// What its type ends with, if that says more than the status.
    pub(crate) fn type_suffix(&self) -> Option<&'static str> {
        self.title_and_anchor().1.filter(|_| !self.is_untyped)
    }

    /// What was wrong, and how to mend it.
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

    /// What the body of a problem with this status looks like.
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
            // Whoever was too slow, or sends too much, is not read any further.
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
    /// 503: whose key it is can't be told now, so it isn't called unknown.
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

/// Bytes of a detail: whoever sends a long name gets it back cut.
pub(crate) const DETAIL_MAX: usize = 1000;

fn shorten(mut detail: String) -> String {
    if detail.len() > DETAIL_MAX {
        detail.truncate(detail.floor_char_boundary(DETAIL_MAX));
        detail.push('…');
    }
    detail
}

/// What a refusal is answered with.
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
            Refusal::Conflict(reason) => (StatusCode::CONFLICT, conflict(reason)),
            Refusal::Unprocessable(reason) => {
                (StatusCode::UNPROCESSABLE_ENTITY, unprocessable(reason))
            }
            Refusal::Quota(reached) => return quota(reached),
        };
        Self::new(status, detail)
    }
}

/// 409 for a total, 429 for a quota of a day.
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
        QuotaScope::Members => "everyone together who is not account admin",
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
                "this takes the permission {} on the {}; ask whoever administers it for a role that has it",
                permission.name(),
                level.noun()
            );
        }
        Forbidden::NotAccountAdmin => "only account admins may do this",
        Forbidden::NotOrganizationAdmin => {
            "only admins of the organization, or of the account, may do this"
        }
        Forbidden::NotSpaceAdmin => {
            "only admins of the space, or of what is above it, may do this; to give a custom role, \
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
            "the invitation to this address lapsed, and came with more than you can give; ask an account admin to invite them again"
        }
        Forbidden::KeyHoldsMore => {
            "a new secret is handed to whoever asks for it, and the key holds more than you do at one of its places, or may ask \
             about more; ask someone who holds as much, or an account admin"
        }
        Forbidden::NotYoursToAsk => {
            "asking about others takes reading the subject, and ROLE_BINDING_READ on the resource; a program that asks on behalf \
             of everybody takes a key that an account admin has marked with PUT /bindery/v1/enforcement-points/{api_key_id}"
        }
        Forbidden::AuditLogsOff => "audit logging is switched off for this account",
        Forbidden::BotMakesPeople => {
            "a service key adds people only if it is an account admin's: they would outlive it; use a user's own key"
        }
        Forbidden::BotGetsPassword => {
            "a service key can't have a temporary password: who signs in with it would outlive the key; choose the \
             `invite_mode` EMAIL_LINK or NONE, or use a user's own key"
        }
        Forbidden::TakesAway => {
            "the user holds something in the space that this role would take away, which takes the permission \
             ROLE_BINDING_DELETE on the space too; ask an admin of the space"
        }
        Forbidden::GivesFallback => {
            "the space is public, and without this role the user would have more there as a member of the organization: \
             that takes the permission ROLE_BINDING_CREATE on the space too; ask an admin of the space"
        }
        Forbidden::BotMakesUserKey => "a service key can't make user keys; use a user's own key",
        Forbidden::NotYourServiceKey => {
            "this takes being admin of all spaces that the key is bound to, or having made it and holding \
             the permission in each of them"
        }
    };
    sentence.to_owned()
}

/// One sentence whether it is absent, hidden or somebody else's.
fn not_found(kind: Kind) -> String {
    match kind {
        Kind::Restriction => "the project is not restricted".to_owned(),
        Kind::Credential => {
            "the link is used up, replaced by a newer one, or has ended; ask for a new one"
                .to_owned()
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
            "`is_developer`: nobody can switch off their own access, since they could not switch it on again; another account \
             admin can"
        }
        Invalid::DeletesOneself => {
            "`user_id`: users can't delete themselves; another account admin can"
        }
        Invalid::LastAdmin => {
            "`user_id`: this is the last person who is account admin and may use the API, and without one nobody could look after \
             the account; make another one first"
        }
        Invalid::AccountRoleOfKey => "`account_role`: a service key takes ADMIN or MEMBER",
        Invalid::OrganizationTwice => {
            "`organizations`: the same organization stands in it twice; list it once"
        }
        Invalid::SpaceTwice => "`organizations`: the same space stands in it twice; list it once",
    }
}

fn conflict(reason: Conflict) -> String {
    let sentence = match reason {
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
            "somebody else may know this key: an inviter may know the password of the person who made it. Have the person choose a \
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
            "`organizations`: a space stands under an organization that it doesn't lie in".to_owned()
        }
        Unprocessable::ExpiryPast => "`expires_at`: must lie in the future".to_owned(),
        Unprocessable::ExpiryTooLate { max_seconds } => format!(
            "`expires_at`: keys of this account live at most {max_seconds} seconds; choose an earlier end"
        ),
        Unprocessable::ExpiryBeyondMaker => {
            "`expires_at`: a key that a service key makes or refreshes ends no later than that one, which must be valid itself; \
             choose an earlier end"
                .to_owned()
        }
        Unprocessable::ExpiryExtended => {
            "`expires_at`: a refresh can't extend the life of a key; choose its present end or an earlier one"
                .to_owned()
        }
        Unprocessable::ExpiryMissing => {
            "`expires_at`: this key has an end, so a refresh must name one that is not later".to_owned()
        }
        Unprocessable::KeyRevoked => "the key is revoked; make a new one".to_owned(),
        Unprocessable::KeyExpired => "the key has ended; make a new one".to_owned(),
    }
}

//! OpenID AuthZEN Authorization API 1.0: evaluations, searches, and where to find them (`docs/authzen.md`).
//!
//! Handlers are thin here too: who may ask, and what is allowed, the core says. What names mean is in `names.rs`, other names for
//! them in `aliases.rs`, the pages of searches in `pages.rs`. A body says the same whenever it is made of the same: what moves, the
//! revision, stands in a header.

use bindery_core::command::Context;
use bindery_core::decision::Decision;
use bindery_core::id::Revision;
use bindery_core::inquiry::Found;

use crate::call::{Answer, Call, PublicCall};
use crate::problem::Problem;
use crate::wire::authzen::{
    ActionSearch, Configuration, Evaluated, EvaluationRequest, EvaluationsAnswer,
    EvaluationsRequest, PageAnswer, Parts, ResourceSearch, SearchAnswer, SearchRequest, Semantic,
    SubjectSearch,
};

mod aliases;
mod names;
mod pages;

pub use aliases::{Aliases, AliasesError};
pub(crate) use names::Names;
pub(crate) use pages::Kept;
use pages::{Search, SearchKey, SearchPage, Standing};

/// `POST /access/v1/evaluation`.
pub(crate) fn evaluation(call: &Call) -> Result<Answer, Problem> {
    let request = call.read_body(EvaluationRequest::read)?;
    let asked = request.asked()?;
    request.explains()?;
    let context = call.admit()?;
    let inquiry = call.names().inquiry(&asked);
    let decided = call.state.inquire(&context, &inquiry)?;
    Ok(Answer::json(&Evaluated::plain(is_allowed(decided)))?.at(call.state.revision()))
}

/// `POST /access/v1/evaluations`.
pub(crate) fn evaluations(call: &Call) -> Result<Answer, Problem> {
    let request = call.read_body(EvaluationsRequest::read)?;
    let defaults = request.defaults()?;
    let semantic = request.semantic()?;
    request.explains()?;
    let items = request.items()?;
    let context = call.admit()?;
    let answer = if items.is_empty() {
        EvaluationsAnswer::Single(evaluate(call, &context, defaults)?)
    } else {
        let mut evaluations = Vec::with_capacity(items.len());
        for item in items {
            let parts = Parts::of_item(item, &defaults);
            let evaluated = parts.and_then(|parts| evaluate(call, &context, parts));
            let evaluated = evaluated.unwrap_or_else(|problem| Evaluated::failed(&problem));
            let is_last = match semantic {
                Semantic::ExecuteAll => false,
                Semantic::DenyOnFirstDeny => !evaluated.decision,
                Semantic::PermitOnFirstPermit => evaluated.decision,
            };
            evaluations.push(evaluated);
            if is_last {
                break;
            }
        }
        EvaluationsAnswer::Batch { evaluations }
    };
    // All at one revision: that of the snapshot of this call.
    Ok(Answer::json(&answer)?.at(call.state.revision()))
}

fn evaluate(call: &Call, context: &Context, parts: Parts<'_>) -> Result<Evaluated, Problem> {
    let inquiry = call.names().inquiry(&parts.whole()?);
    let decided = call.state.inquire(context, &inquiry)?;
    Ok(Evaluated::plain(is_allowed(decided)))
}

fn is_allowed(decided: Option<Decision>) -> bool {
    decided.is_some_and(Decision::is_allowed)
}

/// `POST /access/v1/search/subject`.
pub(crate) fn search_subject(call: &Call) -> Result<Answer, Problem> {
    let SubjectSearch(request) =
        call.read_body(|bytes| SearchRequest::read(bytes).map(SubjectSearch))?;
    let (kind, _) = request.searched("subject")?;
    let (action, resource) = (request.action()?, request.resource()?);
    request.context()?;
    let page = turn(call, &request, |context| {
        let names = call.names();
        let permission = names.permission(action.name);
        let resource = names.resource(resource.kind, resource.id);
        match (names.subject_kind(kind), permission) {
            (Some(kind), Some(permission)) => {
                let users = call.state.users_of(permission, resource, context.now);
                call.state.askable_subjects(context, kind, resource, users)
            }
            _ => Found::Users(Vec::new()),
        }
    })?;
    let results = call
        .names()
        .entities(&page.search.found, kind, page.first, page.count);
    answer(&page, results)
}

/// `POST /access/v1/search/resource`.
pub(crate) fn search_resource(call: &Call) -> Result<Answer, Problem> {
    let ResourceSearch(request) =
        call.read_body(|bytes| SearchRequest::read(bytes).map(ResourceSearch))?;
    let (subject, action) = (request.subject()?, request.action()?);
    let (kind, _) = request.searched("resource")?;
    request.context()?;
    let page = turn(call, &request, |context| {
        let names = call.names();
        let subject = names.subject(subject.kind, subject.id);
        match (names.level(kind), names.permission(action.name)) {
            (Some(level), Some(permission)) => {
                let state = &call.state;
                let resources = state.resources_of(subject, permission, level, context.now);
                state.askable_resources(context, subject, resources)
            }
            _ => Found::Resources(Vec::new()),
        }
    })?;
    let results = call
        .names()
        .entities(&page.search.found, kind, page.first, page.count);
    answer(&page, results)
}

/// `POST /access/v1/search/action`.
pub(crate) fn search_action(call: &Call) -> Result<Answer, Problem> {
    let ActionSearch(request) =
        call.read_body(|bytes| SearchRequest::read(bytes).map(ActionSearch))?;
    let (subject, resource) = (request.subject()?, request.resource()?);
    request.context()?;
    let page = turn(call, &request, |context| {
        let names = call.names();
        let subject = names.subject(subject.kind, subject.id);
        let resource = names.resource(resource.kind, resource.id);
        call.state.askable_permissions(context, subject, resource)
    })?;
    let results = call
        .names()
        .actions(&page.search.found, page.first, page.count);
    answer(&page, results)
}

/// The page that is asked for: the first of what `search` finds, or one of a search that is kept.
fn turn(
    call: &Call,
    request: &SearchRequest,
    search: impl FnOnce(&Context) -> Found,
) -> Result<SearchPage, Problem> {
    let page = request.page()?;
    let context = call.admit()?;
    let key = SearchKey::new(call.caller, call.operation.id, request.members());
    let (kept, account, ids) = (&call.services.searches, call.account.id(), call.ids());
    let about_everything = call.state.asks_about_everything(&context);
    if let Some(token) = page.token {
        let standing = Standing {
            now: call.now,
            about_everything,
        };
        return kept.go_on(account, ids, key, token, page.limit, standing);
    }
    let search = Search {
        found: search(&context).into(),
        revision: call.state.revision(),
        about_everything,
    };
    Ok(kept.begin(account, ids, key, search, page.limit, call.now))
}

fn answer<T>(page: &SearchPage, results: Vec<T>) -> Result<Answer, Problem>
where
    SearchAnswer<T>: serde::Serialize + 'static,
{
    let revision: Revision = page.search.revision;
    let answer = SearchAnswer {
        page: PageAnswer {
            next_token: page.next_token.clone(),
            count: page.count,
            total: page.search.found.len(),
        },
        results,
    };
    Ok(Answer::json(&answer)?.at(revision))
}

/// `GET /.well-known/authzen-configuration`: from what the operator says where this server is, never from what a request says.
pub(crate) fn configuration(call: &PublicCall) -> Result<Answer, Problem> {
    let url = call.public_url.as_ref().ok_or_else(|| {
        Problem::not_configured(
            "this server does not know where it is reached; start it with --public-url https://HOST to have it say so here",
        )
    })?;
    let base = url.decision_point().ok_or_else(|| {
        Problem::not_configured(
            "clients take a decision point at https://HOST alone; start this server with such a --public-url to have it say so here",
        )
    })?;
    Answer::json(&Configuration {
        policy_decision_point: base.to_owned(),
        access_evaluation_endpoint: format!("{base}/access/v1/evaluation"),
        access_evaluations_endpoint: format!("{base}/access/v1/evaluations"),
        search_subject_endpoint: format!("{base}/access/v1/search/subject"),
        search_resource_endpoint: format!("{base}/access/v1/search/resource"),
        search_action_endpoint: format!("{base}/access/v1/search/action"),
    })
}

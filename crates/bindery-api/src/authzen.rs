//! OpenID AuthZEN Authorization API 1.0: evaluations, searches and metadata (`docs/authzen.md`). Also
//! explanations, which use the same requests.
//!
//! Handlers are thin: the core decides who may ask, and what is allowed. `names.rs` resolves names,
//! `aliases.rs` has other names for them, `pages.rs` the pages of searches. The same result always has the
//! same body; the revision is in a header.

use std::sync::Arc;

use bindery_core::command::Context;
use bindery_core::decision::Question;
use bindery_core::inquiry::Found;
use bindery_core::state::State;

use crate::answer::{Answer, Noted};
use crate::call::{Call, PublicCall};
use crate::kept_searches::{Keeper, Search, SearchKey, SearchPage};
use crate::problem::Problem;
use crate::wire::authzen::{
    ActionSearch, Asked, Configuration, Evaluated, EvaluationRequest, EvaluationsAnswer,
    EvaluationsRequest, PageAnswer, Parts, ResourceSearch, SearchAnswer, SearchRequest, Semantic,
    SubjectSearch,
};
use crate::wire::explanations::{Explained, Reasons, Teller};

pub(crate) mod hot;
mod names;

pub(crate) use names::Names;

/// `POST /access/v1/evaluation`.
pub(crate) async fn evaluation(call: Call) -> Result<Answer, Problem> {
    match plain_evaluation(&call)? {
        Some(answer) => Ok(answer),
        None => {
            call.on_worker(|call| async move { explained_evaluation(&call) })
                .await
        }
    }
}

/// The decision, or nothing if reasons are requested: they read much of the state.
fn plain_evaluation(call: &Call) -> Result<Option<Answer>, Problem> {
    let request = call.read_body(EvaluationRequest::read)?;
    let asked = request.asked()?;
    if request.explains()? {
        return Ok(None);
    }
    let context = call.admit()?;
    let evaluated = evaluate(call, &context, &asked)?;
    let answer = Answer::json(&evaluated)?;
    Ok(Some(answer.at(call.state.revision())))
}

fn explained_evaluation(call: &Call) -> Result<Answer, Problem> {
    let request = call.read_body(EvaluationRequest::read)?;
    let asked = request.asked()?;
    let explained = explain_one(call, &call.admit()?, &asked)?;
    let answer = Answer::json(&explained)?.at(call.state.revision());
    Ok(answer.noted(Noted::Read))
}

fn explain_one(call: &Call, context: &Context, asked: &Asked<'_>) -> Result<Evaluated, Problem> {
    let Some(question) = permitted(call, context, asked)? else {
        return Ok(Evaluated::explained(false, Reasons::unknown_action()));
    };
    let explanation = call.asking().explain(&question);
    let teller = Teller::new(&call.state, question, context);
    let reasons = Reasons::new(&explanation, &teller);
    Ok(Evaluated::explained(explanation.is_allowed(), reasons))
}

/// `POST /bindery/v1/explain`.
pub(crate) fn explain(call: &Call) -> Result<Answer, Problem> {
    let request = call.read_body(EvaluationRequest::read)?;
    let asked = request.asked()?;
    request.explains()?;
    let context = call.admit()?;
    let explained = match permitted(call, &context, &asked)? {
        None => Explained::unknown_action(),
        Some(question) => {
            let explanation = call.asking().explain(&question);
            let teller = Teller::new(&call.state, question, &context);
            Explained::new(&explanation, &teller)
        }
    };
    Ok(Answer::json(&explained)?.at(call.state.revision()))
}

fn evaluate(call: &Call, context: &Context, asked: &Asked<'_>) -> Result<Evaluated, Problem> {
    // No one has an unknown permission.
    let Some(question) = permitted(call, context, asked)? else {
        return Ok(Evaluated::plain(false));
    };
    Ok(Evaluated::plain(call.asking().allows(&question)))
}

/// The question, if the caller may ask it; nothing for an unknown permission.
fn permitted(
    call: &Call,
    context: &Context,
    asked: &Asked<'_>,
) -> Result<Option<Question>, Problem> {
    let inquiry = Names::of(call).inquiry(asked);
    call.state
        .authorize_inquiry(context, inquiry.subject, inquiry.resource)?;
    Ok(inquiry.question())
}

/// `POST /access/v1/evaluations`.
pub(crate) async fn evaluations(call: Call) -> Result<Answer, Problem> {
    match plain_evaluations(&call)? {
        Some(answer) => Ok(answer),
        None => {
            call.on_worker(|call| async move { explained_evaluations(&call) })
                .await
        }
    }
}

/// The decisions, or nothing if reasons are requested.
fn plain_evaluations(call: &Call) -> Result<Option<Answer>, Problem> {
    let request = call.read_body(EvaluationsRequest::read)?;
    let defaults = request.defaults()?;
    let semantic = request.semantic()?;
    let items = request.items()?;
    if request.explains()? {
        return Ok(None);
    }
    let context = call.admit()?;
    if items.is_empty() {
        let evaluated = evaluate(call, &context, &defaults.whole()?)?;
        let answer = Answer::json(&EvaluationsAnswer::Single(evaluated))?;
        return Ok(Some(answer.at(call.state.revision())));
    }
    let parts = items
        .iter()
        .map(|item| Parts::of_item(item, &defaults)?.whole());
    let questions = parts.map(|asked| permitted(call, &context, &asked?));
    let evaluations = decide_all(call, questions.collect(), semantic);
    let noted = noted(&evaluations, Noted::Nothing);
    let answer = Answer::json(&EvaluationsAnswer::Batch { evaluations })?;
    let answer = answer.at(call.state.revision());
    Ok(Some(answer.noted(noted)))
}

fn explained_evaluations(call: &Call) -> Result<Answer, Problem> {
    let request = call.read_body(EvaluationsRequest::read)?;
    let defaults = request.defaults()?;
    let semantic = request.semantic()?;
    let items = request.items()?;
    let context = call.admit()?;
    let (answer, noted) = if items.is_empty() {
        let explained = explain_one(call, &context, &defaults.whole()?)?;
        (EvaluationsAnswer::Single(explained), Noted::Read)
    } else {
        let explained = items.iter().map(|item| {
            let asked = Parts::of_item(item, &defaults)?.whole()?;
            explain_one(call, &context, &asked)
        });
        let explained = explained.map(|one| one.unwrap_or_else(|one| Evaluated::failed(&one)));
        let evaluations = up_to_the_last(explained, semantic);
        let noted = noted(&evaluations, Noted::Read);
        (EvaluationsAnswer::Batch { evaluations }, noted)
    };
    let answer = Answer::json(&answer)?.at(call.state.revision());
    Ok(answer.noted(noted))
}

/// A refused item makes the audit log keep the batch, as if the item had been a request.
fn noted(evaluations: &[Evaluated], otherwise: Noted) -> Noted {
    if evaluations.iter().any(Evaluated::is_refused) {
        Noted::Refusal
    } else {
        otherwise
    }
}

/// Decides all at one revision.
fn decide_all(
    call: &Call,
    items: Vec<Result<Option<Question>, Problem>>,
    semantic: Semantic,
) -> Vec<Evaluated> {
    let questions: Vec<Question> = items.iter().flatten().copied().flatten().collect();
    let mut answers = call.asking().allows_many(&questions).into_iter();
    let evaluated = items.into_iter().map(|item| match item {
        Ok(Some(_)) => Evaluated::plain(answers.next().unwrap_or_default()),
        Ok(None) => Evaluated::plain(false),
        Err(problem) => Evaluated::failed(&problem),
    });
    up_to_the_last(evaluated, semantic)
}

/// Applies the semantic: stops at the item that decides.
fn up_to_the_last(
    evaluated: impl Iterator<Item = Evaluated>,
    semantic: Semantic,
) -> Vec<Evaluated> {
    let mut told = Vec::new();
    for one in evaluated {
        let is_last = match semantic {
            Semantic::ExecuteAll => false,
            Semantic::DenyOnFirstDeny => !one.decision,
            Semantic::PermitOnFirstPermit => one.decision,
        };
        told.push(one);
        if is_last {
            break;
        }
    }
    told
}

/// `POST /access/v1/search/subject`.
pub(crate) fn search_subject(call: &Call) -> Result<Answer, Problem> {
    let SubjectSearch(request) =
        call.read_body(|bytes| SearchRequest::read(bytes).map(SubjectSearch))?;
    let (sent_kind, _) = request.searched("subject")?;
    let (action, resource) = (request.action()?, request.resource()?);
    request.context()?;
    let names = Names::of(call);
    let kind = names.subject_kind(sent_kind);
    let permission = names.permission(action.name);
    let resource = names.resource(resource.kind, resource.id);
    let may_ask = |context: &Context, found: &Found| {
        let state = &call.state;
        state.may_ask_about_subjects(context, resource, found)
    };
    let page = turn(call, &request, may_ask, |context| {
        let (Some(kind), Some(permission)) = (kind, permission) else {
            return nothing(call, Found::Users(Vec::new()));
        };
        let mut users = Vec::new();
        let (account, now) = (&call.account, call.now);
        let state = account.users_of(resource, permission, now, &mut users);
        let found = state.askable_subjects(context, kind, resource, users);
        (found, state)
    })?;
    let results = names.entities(&page.search.found, sent_kind, page.first, page.count);
    answer(&page, results)
}

/// `POST /access/v1/search/resource`.
pub(crate) fn search_resource(call: &Call) -> Result<Answer, Problem> {
    let ResourceSearch(request) =
        call.read_body(|bytes| SearchRequest::read(bytes).map(ResourceSearch))?;
    let (subject, action) = (request.subject()?, request.action()?);
    let (kind, _) = request.searched("resource")?;
    request.context()?;
    let names = Names::of(call);
    let subject = names.subject(subject.kind, subject.id);
    let (level, permission) = (names.level(kind), names.permission(action.name));
    let may_ask = |context: &Context, found: &Found| {
        let state = &call.state;
        state.may_ask_about_resources(context, subject, found)
    };
    let page = turn(call, &request, may_ask, |context| {
        let (Some(level), Some(permission)) = (level, permission) else {
            return nothing(call, Found::Resources(Vec::new()));
        };
        let mut resources = Vec::new();
        let (account, now) = (&call.account, call.now);
        let state = account.resources_of(subject, permission, level, now, &mut resources);
        let found = state.askable_resources(context, subject, resources);
        (found, state)
    })?;
    let results = names.entities(&page.search.found, kind, page.first, page.count);
    answer(&page, results)
}

/// `POST /access/v1/search/action`.
pub(crate) fn search_action(call: &Call) -> Result<Answer, Problem> {
    let ActionSearch(request) =
        call.read_body(|bytes| SearchRequest::read(bytes).map(ActionSearch))?;
    let (subject, resource) = (request.subject()?, request.resource()?);
    request.context()?;
    let names = Names::of(call);
    let subject = names.subject(subject.kind, subject.id);
    let resource = names.resource(resource.kind, resource.id);
    let may_ask = |context: &Context, _: &Found| call.state.may_ask(context, subject, resource);
    let page = turn(call, &request, may_ask, |context| {
        let state = Arc::clone(&call.state);
        (state.askable_permissions(context, subject, resource), state)
    })?;
    let results = names.actions(&page.search.found, page.first, page.count);
    answer(&page, results)
}

fn nothing(call: &Call, found: Found) -> (Found, Arc<State>) {
    (found, Arc::clone(&call.state))
}

/// The requested page: the first of what `search` finds, or one of a kept search. A search that isn't kept
/// here is run again if nothing has changed since. Another server, or this one before a restart, may have
/// begun it.
fn turn(
    call: &Call,
    request: &SearchRequest,
    may_ask: impl FnOnce(&Context, &Found) -> bool,
    search: impl FnOnce(&Context) -> (Found, Arc<State>),
) -> Result<SearchPage, Problem> {
    let page = request.page()?;
    let context = call.admit()?;
    // Read before the search, since its result may be rolled back at any time.
    let divergences = call.account.divergences();
    let key = SearchKey::new(call.caller, call.operation.id, request.members()).since(divergences);
    let kept = Keeper {
        kept: &call.services.searches,
        account: call.account.id(),
        ids: call.ids(),
        key,
        now: call.now,
    };
    let search = || {
        let (found, state) = search(&context);
        Search {
            found: found.into(),
            revision: state.revision(),
        }
    };
    match page.token {
        None => Ok(kept.begin(search(), page.limit)),
        Some(token) => {
            let may_still_ask = |found: &Found| may_ask(&context, found);
            kept.go_on(token, page.limit, may_still_ask, search)
        }
    }
}

fn answer<T>(page: &SearchPage, results: Vec<T>) -> Result<Answer, Problem>
where
    SearchAnswer<T>: serde::Serialize + 'static,
{
    let answer = SearchAnswer {
        page: PageAnswer {
            next_token: page.next_token.clone(),
            count: page.count,
            total: page.search.found.len(),
        },
        results,
    };
    Ok(Answer::json(&answer)?.at(page.search.revision))
}

/// `GET /.well-known/authzen-configuration`: built from the operator's public URL, never from a request.
pub(crate) fn configuration(call: &PublicCall) -> Result<Answer, Problem> {
    let url = call.public_url.as_ref().ok_or_else(|| {
        Problem::not_configured(
            "this server has no public URL; start it with --public-url https://HOST to serve its metadata",
        )
    })?;
    let base = url.decision_point().ok_or_else(|| {
        Problem::not_configured(
            "clients accept only a decision point at https://HOST; start this server with such a --public-url to serve its metadata",
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

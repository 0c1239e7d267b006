//! OpenID AuthZEN, described.

use serde_json::json;

use crate::openapi::description::Described;
use crate::wire::authzen::{
    ActionFound, ActionSearch, Configuration, EntityFound, Evaluated, EvaluationRequest,
    EvaluationsAnswer, EvaluationsRequest, ResourceSearch, SearchAnswer, SubjectSearch,
};
use crate::wire::explanations::Explained;

const WHO_MAY_ASK: &str = "Anyone asks about themselves, account admins and enforcement points about everything, others about \
whom they may read on resources whose role bindings they may read.";

fn question() -> serde_json::Value {
    json!({
        "subject": {"type": "user", "id": "ada@example.com"},
        "action": {"name": "PROJECT_READ"},
        "resource": {"type": "project", "id": "TW9kZWw6MTphYmNk"},
    })
}

pub(crate) fn explain_access() -> Described {
    Described::new(
        "Explain a decision",
        "Every way on which the permission could come to the subject, in the order in which they count, each with what became of \
         it; then the smallest grants that would be enough. What the caller may not read elsewhere is left out.",
    )
    .takes::<EvaluationRequest>()
    .example(question())
    .at_revision()
    .answers::<Explained>("The decision and how it came about.")
    .refuses(
        403,
        "The caller may not ask about this subject and resource, whether they are there or not.",
    )
}

pub(crate) fn access_evaluation() -> Described {
    Described::new("Decide", WHO_MAY_ASK)
        .takes::<EvaluationRequest>()
        .example(question())
        .at_revision()
        .answers::<Evaluated>("The decision; a no is a success too.")
        .refuses(
            403,
            "The caller may not ask about this subject and resource, whether they are there or not.",
        )
}

pub(crate) fn access_evaluations() -> Described {
    Described::new(
        "Decide many questions",
        "All at one revision. An item that can't be decided is a no with its error; without items, the defaults are the one question.",
    )
    .takes::<EvaluationsRequest>()
    .example(json!({
        "subject": {"type": "user", "id": "ada@example.com"},
        "action": {"name": "PROJECT_READ"},
        "evaluations": [
            {"resource": {"type": "project", "id": "TW9kZWw6MTphYmNk"}},
            {"resource": {"type": "project", "id": "TW9kZWw6MjphYmNk"}},
        ],
    }))
    .at_revision()
    .answers::<EvaluationsAnswer>("The decisions in the order of the items, or the one decision.")
    .refuses(403, "Without items: the caller may not ask this.")
}

pub(crate) fn search_subject() -> Described {
    Described::new(
        "Find who may",
        "Every subject of the type who may do this and about whom the caller may ask, by id.",
    )
    .takes::<SubjectSearch>()
    .at_revision()
    .answers::<SearchAnswer<EntityFound>>("A page of subjects.")
    .refuses(403, "The caller may not use the API.")
}

pub(crate) fn search_resource() -> Described {
    Described::new(
        "Find on what somebody may",
        "Every resource of the type on which the subject may do this and about which the caller may ask, by id.",
    )
    .takes::<ResourceSearch>()
    .at_revision()
    .answers::<SearchAnswer<EntityFound>>("A page of resources.")
    .refuses(403, "The caller may not use the API.")
}

pub(crate) fn search_action() -> Described {
    Described::new(
        "Find what somebody may",
        "Every action that the subject may take on the resource, by name; none if the caller may not ask about the two.",
    )
    .takes::<ActionSearch>()
    .at_revision()
    .answers::<SearchAnswer<ActionFound>>("A page of actions.")
    .refuses(403, "The caller may not use the API.")
}

pub(crate) fn authzen_configuration() -> Described {
    Described::new(
        "Find the decision point",
        "AuthZEN metadata. All URLs begin with what the operator says.",
    )
    .answers::<Configuration>("Where each part of it is.")
    .refuses(
        404,
        "The server was not told where it is reached (`--public-url`).",
    )
}

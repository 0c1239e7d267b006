//! OpenID AuthZEN, described.

use serde_json::json;

use crate::openapi::description::Described;
use crate::wire::authzen::{
    ActionFound, ActionSearch, Configuration, EntityFound, Evaluated, EvaluationRequest,
    EvaluationsAnswer, EvaluationsRequest, ResourceSearch, SearchAnswer, SubjectSearch,
};
use crate::wire::explanations::Explained;

const WHO_MAY_ASK: &str = "Callers may ask about themselves; account admins and enforcement points about everything; others about \
subjects that they may read, on resources whose role bindings they may read.";

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
        "Every way in which the subject could have the permission, in order of precedence, each with its result; \
         then the smallest grants that would be enough. What the caller may not read elsewhere is left out.",
    )
    .takes::<EvaluationRequest>()
    .example(question())
    .at_revision()
    .answers::<Explained>("The decision and its reasons.")
    .refuses(
        403,
        "The caller may not ask about this subject and resource, whether they exist or not.",
    )
}

pub(crate) fn access_evaluation() -> Described {
    Described::new("Decide", WHO_MAY_ASK)
        .takes::<EvaluationRequest>()
        .example(question())
        .at_revision()
        .answers::<Evaluated>("The decision; a deny is a success too.")
        .refuses(
            403,
            "The caller may not ask about this subject and resource, whether they exist or not.",
        )
}

pub(crate) fn access_evaluations() -> Described {
    Described::new(
        "Decide many questions",
        "All at one revision. An item that can't be decided is a deny with its error. Without items, the defaults are one question.",
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
        "Search subjects",
        "Every subject of the type that has the permission and that the caller may ask about, by id.",
    )
    .takes::<SubjectSearch>()
    .at_revision()
    .answers::<SearchAnswer<EntityFound>>("A page of subjects.")
    .refuses(403, "The caller may not use the API.")
}

pub(crate) fn search_resource() -> Described {
    Described::new(
        "Search resources",
        "Every resource of the type on which the subject has the permission and that the caller may ask about, by id.",
    )
    .takes::<ResourceSearch>()
    .at_revision()
    .answers::<SearchAnswer<EntityFound>>("A page of resources.")
    .refuses(403, "The caller may not use the API.")
}

pub(crate) fn search_action() -> Described {
    Described::new(
        "Search actions",
        "Every action that the subject may take on the resource, by name; none if the caller may not ask about these two.",
    )
    .takes::<ActionSearch>()
    .at_revision()
    .answers::<SearchAnswer<ActionFound>>("A page of actions.")
    .refuses(403, "The caller may not use the API.")
}

pub(crate) fn authzen_configuration() -> Described {
    Described::new(
        "Find the decision point",
        "AuthZEN metadata. All URLs begin with the public URL that the operator has set.",
    )
    .answers::<Configuration>("The URL of each part.")
    .refuses(404, "The server has no public URL (`--public-url`).")
}

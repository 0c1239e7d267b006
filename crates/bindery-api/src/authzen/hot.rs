//! The hot path: plain evaluations, read directly from their bytes and decided by the access index.
//!
//! It returns the response or `None`. Everything unusual (reasons, options, properties, a caller who may not
//! ask, any defect) is left to the handlers in `authzen.rs`. So errors are reported in one place, and a
//! correct request gets the same response on both paths.

use std::borrow::Cow;

use bindery_core::attribute::Attributes;
use bindery_core::decision::Question;
use bindery_core::inquiry::Inquiry;
use serde::Deserialize;

use super::Names;
use crate::answer::Answer;
use crate::call::Asking;
use crate::json::{self, Object};
use crate::wire::authzen::{
    Asked, EVALUATIONS_MAX, Evaluated, EvaluationsAnswer, Named, NamedAction,
};

const ALLOWED: &[u8] = br#"{"decision":true}"#;
const DENIED: &[u8] = br#"{"decision":false}"#;

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entity<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Action<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// One question.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct One<'a> {
    #[serde(borrow)]
    subject: Object<Entity<'a>>,
    #[serde(borrow)]
    action: Object<Action<'a>>,
    #[serde(borrow)]
    resource: Object<Entity<'a>>,
}

/// An item of a batch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item<'a> {
    #[serde(borrow, default, deserialize_with = "json::present")]
    subject: Option<Object<Entity<'a>>>,
    #[serde(borrow, default, deserialize_with = "json::present")]
    action: Option<Object<Action<'a>>>,
    #[serde(borrow, default, deserialize_with = "json::present")]
    resource: Option<Object<Entity<'a>>>,
}

/// A batch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Many<'a> {
    #[serde(borrow, default, deserialize_with = "json::present")]
    subject: Option<Object<Entity<'a>>>,
    #[serde(borrow, default, deserialize_with = "json::present")]
    action: Option<Object<Action<'a>>>,
    #[serde(borrow, default, deserialize_with = "json::present")]
    resource: Option<Object<Entity<'a>>>,
    #[serde(borrow)]
    evaluations: Vec<Object<Item<'a>>>,
}

impl One<'_> {
    pub(crate) fn asked(&self) -> Asked<'_> {
        asked(&self.subject, &self.action, &self.resource)
    }
}

impl Many<'_> {
    /// Each question; nothing for one that lacks a part.
    pub(crate) fn asked(&self) -> impl ExactSizeIterator<Item = Option<Asked<'_>>> {
        self.evaluations.iter().map(|Object(item)| {
            Some(asked(
                item.subject.as_ref().or(self.subject.as_ref())?,
                item.action.as_ref().or(self.action.as_ref())?,
                item.resource.as_ref().or(self.resource.as_ref())?,
            ))
        })
    }
}

/// Decides one question, if the hot path can.
pub(crate) fn evaluation(asking: &Asking<'_>, body: &[u8]) -> Option<Answer> {
    asking.state.admit(&asking.context).ok()?;
    let Object(one): Object<One<'_>> = read(body)?;
    let question = question(asking, &one.asked())?;
    let is_askable = asking
        .state
        .may_ask(&asking.context, question.principal, question.resource);
    if !is_askable {
        return None;
    }
    let json = if asking.allows(&question) {
        ALLOWED
    } else {
        DENIED
    };
    let revision = asking.state.revision();
    Some(Answer::written::<Evaluated>(json.to_vec(), revision))
}

/// Decides a batch, if the hot path can.
pub(crate) fn evaluations(asking: &Asking<'_>, body: &[u8]) -> Option<Answer> {
    asking.state.admit(&asking.context).ok()?;
    let Object(many): Object<Many<'_>> = read(body)?;
    if many.evaluations.is_empty() || many.evaluations.len() > EVALUATIONS_MAX {
        return None;
    }
    let asks_about_everything = asking.state.asks_about_everything(&asking.context);
    let mut questions = Vec::with_capacity(many.evaluations.len());
    for asked in many.asked() {
        let question = question(asking, &asked?)?;
        let is_askable = asks_about_everything
            || asking
                .state
                .may_ask(&asking.context, question.principal, question.resource);
        if !is_askable {
            return None;
        }
        questions.push(question);
    }
    let answers = asking.allows_many(&questions);
    let revision = asking.state.revision();
    Some(Answer::written::<EvaluationsAnswer>(
        written(&answers),
        revision,
    ))
}

fn written(answers: &[bool]) -> Vec<u8> {
    let mut json = Vec::with_capacity(20 + answers.len() * (DENIED.len() + 1));
    json.extend_from_slice(br#"{"evaluations":["#);
    for (place, is_allowed) in answers.iter().enumerate() {
        if place > 0 {
            json.push(b',');
        }
        json.extend_from_slice(if *is_allowed { ALLOWED } else { DENIED });
    }
    json.extend_from_slice(b"]}");
    json
}

/// `None` also for an unknown permission.
fn question(asking: &Asking<'_>, asked: &Asked<'_>) -> Option<Question> {
    let names = Names {
        aliases: asking.aliases,
        state: asking.state,
    };
    let inquiry: Inquiry<'_> = names.inquiry(asked);
    debug_assert_eq!(inquiry.attributes, Attributes::default());
    inquiry.question()
}

fn asked<'a>(
    Object(subject): &'a Object<Entity<'_>>,
    Object(action): &'a Object<Action<'_>>,
    Object(resource): &'a Object<Entity<'_>>,
) -> Asked<'a> {
    Asked {
        subject: named(subject),
        action: NamedAction {
            name: &action.name,
            properties: None,
        },
        resource: named(resource),
        context: None,
    }
}

fn named<'a>(entity: &'a Entity<'_>) -> Named<'a> {
    Named {
        kind: &entity.r#type,
        id: &entity.id,
        properties: None,
    }
}

/// Fails for anything that does not have exactly this form; the handlers find out why. Checks UTF-8 once for
/// the whole body: a check of each string takes a fifth of the reading time.
pub(crate) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    serde_json::from_str(std::str::from_utf8(body).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_requests_take_the_hot_path_and_others_do_not() {
        let subject = r#""subject":{"type":"user","id":"\u0061"}"#;
        let action = r#""action":{"name":"PROJECT_READ"}"#;
        let resource = r#""resource":{"id":"x","type":"project"}"#;
        let one = format!("{{{subject},{action},{resource}}}");
        assert!(read::<Object<One<'_>>>(one.as_bytes()).is_some());
        let many = format!("{{{subject},\"evaluations\":[{{{action},{resource}}}]}}");
        assert!(read::<Object<Many<'_>>>(many.as_bytes()).is_some());
        for other in [
            format!("{{{subject},{action},{resource},{resource}}}"),
            format!("{{{subject},{action},{resource},\"context\":{{}}}}"),
            format!("{{{subject},{action}}}"),
            format!("{one}{one}"),
            format!("[{one}]"),
            r#"[{"type":"user","id":"a"},{"name":"a"},{"type":"a","id":"a"}]"#.to_owned(),
            one.replace(r#"{"name":"PROJECT_READ"}"#, r#"["PROJECT_READ"]"#),
            one.replace("\"x\"", "7"),
            one.replace("\"x\"", "null"),
        ] {
            assert!(
                read::<Object<One<'_>>>(other.as_bytes()).is_none(),
                "{other}"
            );
        }
        let body = one.replace("\"x\"", "\"\u{e9}\"").into_bytes();
        assert!(read::<Object<One<'_>>>(&body).is_some());
        let cut: Vec<u8> = body.into_iter().filter(|octet| *octet != 0xa9).collect();
        assert!(read::<Object<One<'_>>>(&cut).is_none(), "it is not UTF-8");
        for item in ["null", "[]", r#"{"subject":null}"#, r#"{"action":[]}"#] {
            let other = format!("{{{subject},\"evaluations\":[{item}]}}");
            assert!(
                read::<Object<Many<'_>>>(other.as_bytes()).is_none(),
                "{other}"
            );
        }
    }
}

//! The hot path: evaluations as nearly everybody sends them, straight from their bytes to the access index.
//!
//! It answers or it doesn't. Whatever is out of the ordinary (reasons, options, properties, a caller who may not ask, a defect
//! anywhere) is left to the handlers in `authzen.rs`, so that what is wrong with a request is said in one place, and what a
//! right one is answered is the same on both ways.

use std::any::TypeId;
use std::borrow::Cow;

use bindery_core::attribute::Attributes;
use bindery_core::command::Context;
use bindery_core::decision::Question;
use bindery_core::inquiry::Inquiry;
use bindery_core::state::State;
use bindery_node::Account;
use serde::Deserialize;

use crate::authzen::{Aliases, Names};
use crate::json::{self, Object};
use crate::metrics::Counts;
use crate::wire::authzen::{
    Asked, EVALUATIONS_MAX, Evaluated, EvaluationsAnswer, Named, NamedAction,
};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One question.
    Evaluation,
    /// Many at once.
    Evaluations,
}

impl Form {
    /// The type that its answer is described as.
    pub(crate) fn answer_type(self) -> TypeId {
        match self {
            Self::Evaluation => TypeId::of::<Evaluated>(),
            Self::Evaluations => TypeId::of::<EvaluationsAnswer>(),
        }
    }
}

const ALLOWED: &[u8] = br#"{"decision":true}"#;
const DENIED: &[u8] = br#"{"decision":false}"#;

/// Who asks whom about what is known where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking<'a> {
    pub(crate) account: &'a Account,
    /// The account's newest state, that says who may ask.
    pub(crate) state: &'a State,
    pub(crate) aliases: &'a Aliases,
    pub(crate) counts: &'a Counts,
    pub(crate) context: Context,
}

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

/// A batch of them.
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

impl Asking<'_> {
    /// The body of the answer, which is the state's, if this is a request for the hot path.
    pub(crate) fn answer(&self, form: Form, body: &[u8]) -> Option<Vec<u8>> {
        self.state.admit(&self.context).ok()?;
        match form {
            Form::Evaluation => self.evaluate(body),
            Form::Evaluations => self.evaluate_all(body),
        }
    }

    fn evaluate(&self, body: &[u8]) -> Option<Vec<u8>> {
        let Object(one): Object<One<'_>> = read(body)?;
        let question = self.question(&one.asked())?;
        let is_askable = self
            .state
            .may_ask(&self.context, question.principal, question.resource);
        if !is_askable {
            return None;
        }
        let is_allowed = self.account.allows(self.state, &question, self.context.now);
        self.counts.decided(1, is_allowed.into());
        let answer = if is_allowed { ALLOWED } else { DENIED };
        Some(answer.to_vec())
    }

    fn evaluate_all(&self, body: &[u8]) -> Option<Vec<u8>> {
        let Object(many): Object<Many<'_>> = read(body)?;
        if many.evaluations.is_empty() || many.evaluations.len() > EVALUATIONS_MAX {
            return None;
        }
        let asks_about_everything = self.state.asks_about_everything(&self.context);
        let mut questions = Vec::with_capacity(many.evaluations.len());
        for asked in many.asked() {
            let question = self.question(&asked?)?;
            let is_askable = asks_about_everything
                || self
                    .state
                    .may_ask(&self.context, question.principal, question.resource);
            if !is_askable {
                return None;
            }
            questions.push(question);
        }
        let mut answers = Vec::with_capacity(questions.len());
        let now = self.context.now;
        self.account
            .allows_many(self.state, &questions, now, &mut answers);
        let mut answer = Vec::with_capacity(20 + answers.len() * (DENIED.len() + 1));
        answer.extend_from_slice(br#"{"evaluations":["#);
        let mut allowed = 0;
        for (place, is_allowed) in answers.iter().enumerate() {
            if place > 0 {
                answer.push(b',');
            }
            allowed += usize::from(*is_allowed);
            answer.extend_from_slice(if *is_allowed { ALLOWED } else { DENIED });
        }
        self.counts.decided(answers.len(), allowed);
        answer.extend_from_slice(b"]}");
        Some(answer)
    }

    /// `None` also for a permission that there isn't.
    fn question(&self, asked: &Asked<'_>) -> Option<Question> {
        let names = Names {
            aliases: self.aliases,
            state: self.state,
        };
        let inquiry: Inquiry<'_> = names.inquiry(asked);
        debug_assert_eq!(inquiry.attributes, Attributes::default());
        inquiry.question()
    }
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

/// Fails for anything that isn't exactly of this form; why, the handlers find out. That a body is UTF-8 is found out at once: for
/// each of its strings by itself it is a fifth of all that reading takes.
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

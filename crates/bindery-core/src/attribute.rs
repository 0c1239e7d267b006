//! What an inquiry tells beside its question: `properties` of the subject, the action and the resource, and the `context` of all
//! of it. Conditions on role bindings will read them; nothing does yet, so no decision depends on them.

use std::collections::BTreeMap;

/// A value as a caller sent it.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without a fraction, exactly.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Attribute>),
    /// An object.
    Members(Members),
}

/// The members of an object, each once.
pub type Members = BTreeMap<String, Attribute>;

/// All that came beside a question, borrowed from its request: defaults of a batch stand behind all of its questions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Attributes<'a> {
    /// `subject.properties`.
    pub subject: Option<&'a Members>,
    /// `action.properties`.
    pub action: Option<&'a Members>,
    /// `resource.properties`.
    pub resource: Option<&'a Members>,
    /// `context`.
    pub context: Option<&'a Members>,
}

//! Aliases: other names for types, ids and permissions on the AuthZEN endpoints, from a file of the operator.
//! Off by default.
//!
//! A client that sends its own terms (`record`, `record-1`, `read`) gets them back. An alias stands for one
//! thing, and a thing has one alias, so search results have one name. An alias never hides a name of Bindery.

use std::collections::BTreeMap;

use bindery_core::id::IdKey;
use bindery_core::inquiry::SubjectKind;
use bindery_core::permission::Permission;
use bindery_core::resource::Level;
use serde::Deserialize;

use crate::json;

/// The types of subjects.
pub(crate) const SUBJECT_TYPES: [(&str, SubjectKind); 2] = [
    ("user", SubjectKind::User),
    ("service_key", SubjectKind::ServiceKey),
];

/// The types of resources.
pub(crate) const RESOURCE_TYPES: [(&str, Level); 4] = [
    ("account", Level::Account),
    ("organization", Level::Organization),
    ("space", Level::Space),
    ("project", Level::Project),
];

/// The id of the caller's own account; accounts have no public id.
pub(crate) const ACCOUNT_ID: &str = "account";

/// The aliases of a server, for all its accounts: an id of one account has no meaning in another.
#[derive(Clone, Debug, Default)]
pub struct Aliases {
    subject_types: BTreeMap<String, String>,
    resource_types: BTreeMap<String, String>,
    actions: Names,
    subjects: BTreeMap<String, Names>,
    resources: BTreeMap<String, Names>,
}

/// Why a file of aliases is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AliasesError {
    /// Not a JSON object, or one with unknown members.
    #[error("{0}")]
    Form(String),
    /// The alias stands for something that does not exist.
    #[error("`{member}`: `{alias}` stands for `{name}`, which is not one of {known}")]
    Unknown {
        /// The member of the file.
        member: String,
        /// The alias.
        alias: String,
        /// What it stands for.
        name: String,
        /// The known names.
        known: String,
    },
    /// The alias would hide an existing name.
    #[error("`{member}`: `{alias}` is already a name; choose another alias")]
    Taken {
        /// The member of the file.
        member: String,
        /// The alias.
        alias: String,
    },
    /// One thing would have two aliases.
    #[error("`{member}`: both `{first}` and `{second}` stand for `{name}`; keep one of them")]
    Twice {
        /// The member of the file.
        member: String,
        /// One alias.
        first: String,
        /// The other.
        second: String,
        /// What both stand for.
        name: String,
    },
}

/// Aliases and names, in both directions.
#[derive(Clone, Debug, Default)]
struct Names {
    names: BTreeMap<String, String>,
    aliases: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    subject_types: BTreeMap<String, String>,
    resource_types: BTreeMap<String, String>,
    actions: BTreeMap<String, String>,
    subjects: BTreeMap<String, BTreeMap<String, String>>,
    resources: BTreeMap<String, BTreeMap<String, String>>,
}

impl Aliases {
    /// Parses a file: a JSON object with `subject_types`, `resource_types`, `actions`, and `subjects` and
    /// `resources` by type.
    pub fn parse(text: &str) -> Result<Self, AliasesError> {
        let form = |problem: crate::problem::Problem| AliasesError::Form(problem.detail().into());
        // Of two equal aliases the last would win without an error.
        json::parse_open(text.as_bytes()).map_err(form)?;
        let file: File = json::parse(text.as_bytes()).map_err(form)?;
        let subject_types = types("subject_types", file.subject_types, &SUBJECT_TYPES)?;
        let resource_types = types("resource_types", file.resource_types, &RESOURCE_TYPES)?;
        for (alias, name) in &file.actions {
            check_known("actions", alias, name, "the permissions", |name| {
                Permission::from_name(name).is_some()
            })?;
            check_free("actions", alias, |alias| {
                Permission::from_name(alias).is_some()
            })?;
        }
        Ok(Self {
            subject_types,
            resource_types,
            actions: Names::new("actions", file.actions)?,
            subjects: things("subjects", file.subjects, &SUBJECT_TYPES)?,
            resources: things("resources", file.resources, &RESOURCE_TYPES)?,
        })
    }

    pub(crate) fn subject_type<'a>(&'a self, sent: &'a str) -> &'a str {
        self.subject_types.get(sent).map_or(sent, String::as_str)
    }

    pub(crate) fn resource_type<'a>(&'a self, sent: &'a str) -> &'a str {
        self.resource_types.get(sent).map_or(sent, String::as_str)
    }

    pub(crate) fn action<'a>(&'a self, sent: &'a str) -> &'a str {
        self.actions.name(sent)
    }

    pub(crate) fn action_shown<'a>(&'a self, name: &'a str) -> &'a str {
        self.actions.alias(name).unwrap_or(name)
    }

    /// The id or address of a subject; `kind` is Bindery's name of the type.
    pub(crate) fn subject<'a>(&'a self, kind: &str, sent: &'a str) -> &'a str {
        self.subjects
            .get(kind)
            .map_or(sent, |names| names.name(sent))
    }

    pub(crate) fn resource<'a>(&'a self, kind: &str, sent: &'a str) -> &'a str {
        self.resources
            .get(kind)
            .map_or(sent, |names| names.name(sent))
    }

    /// The alias of a subject with this id or address.
    pub(crate) fn subject_shown(&self, kind: &str, id: &str) -> Option<&str> {
        self.subjects.get(kind)?.alias(id)
    }

    pub(crate) fn resource_shown(&self, kind: &str, id: &str) -> Option<&str> {
        self.resources.get(kind)?.alias(id)
    }
}

impl Names {
    fn new(member: &str, names: BTreeMap<String, String>) -> Result<Self, AliasesError> {
        let mut aliases = BTreeMap::new();
        for (alias, name) in &names {
            if let Some(first) = aliases.insert(comparable(name), alias.clone()) {
                return Err(AliasesError::Twice {
                    member: member.to_owned(),
                    first,
                    second: alias.clone(),
                    name: name.clone(),
                });
            }
        }
        Ok(Self { names, aliases })
    }

    fn name<'a>(&'a self, sent: &'a str) -> &'a str {
        self.names.get(sent).map_or(sent, String::as_str)
    }

    fn alias(&self, name: &str) -> Option<&str> {
        self.aliases.get(&comparable(name)).map(String::as_str)
    }
}

/// Addresses ignore case, and ids ignore padding.
fn comparable(name: &str) -> String {
    if name.contains('@') {
        name.to_lowercase()
    } else {
        name.trim_end_matches('=').to_owned()
    }
}

fn types<T>(
    member: &str,
    types: BTreeMap<String, String>,
    known: &[(&str, T)],
) -> Result<BTreeMap<String, String>, AliasesError> {
    let is_known = |name: &str| known.iter().any(|(one, _)| *one == name);
    for (alias, name) in &types {
        check_known(member, alias, name, &list(known), is_known)?;
        check_free(member, alias, is_known)?;
    }
    Ok(types)
}

fn things<T>(
    member: &str,
    things: BTreeMap<String, BTreeMap<String, String>>,
    known: &[(&str, T)],
) -> Result<BTreeMap<String, Names>, AliasesError> {
    let is_known = |name: &str| known.iter().any(|(one, _)| *one == name);
    // An address is already the name of a subject.
    let is_of_subjects = member == "subjects";
    let mut read = BTreeMap::new();
    for (kind, names) in things {
        check_known(member, &kind, &kind, &list(known), is_known)?;
        let member = format!("{member}.{kind}");
        for alias in names.keys() {
            check_free(&member, alias, |alias| {
                means_something(alias) || (is_of_subjects && alias.contains('@'))
            })?;
        }
        let names = Names::new(&member, names)?;
        read.insert(kind, names);
    }
    Ok(read)
}

/// Whether a text is an id of any account, or the account itself.
fn means_something(text: &str) -> bool {
    let reader = IdKey::new([0; 16]);
    text == ACCOUNT_ID || reader.parse_any(text).is_some()
}

fn list<T>(known: &[(&str, T)]) -> String {
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

fn check_known(
    member: &str,
    alias: &str,
    name: &str,
    known: &str,
    is_known: impl Fn(&str) -> bool,
) -> Result<(), AliasesError> {
    if is_known(name) {
        return Ok(());
    }
    Err(AliasesError::Unknown {
        member: member.to_owned(),
        alias: alias.to_owned(),
        name: name.to_owned(),
        known: known.to_owned(),
    })
}

fn check_free(
    member: &str,
    alias: &str,
    is_taken: impl Fn(&str) -> bool,
) -> Result<(), AliasesError> {
    if !is_taken(alias) {
        return Ok(());
    }
    Err(AliasesError::Taken {
        member: member.to_owned(),
        alias: alias.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_stands_for_one_thing_both_ways() {
        let aliases = Aliases::parse(
            r#"{
                "subject_types": {"identity": "user"},
                "resource_types": {"record": "project", "file": "project"},
                "actions": {"read": "PROJECT_READ"},
                "subjects": {"user": {"alice": "Alice@example.com"}},
                "resources": {"project": {"record-1": "TW9kZWw6MTphYmNk"}}
            }"#,
        )
        .unwrap();
        assert_eq!(aliases.subject_type("identity"), "user");
        assert_eq!(aliases.subject_type("user"), "user");
        assert_eq!(aliases.resource_type("file"), "project");
        assert_eq!(aliases.action("read"), "PROJECT_READ");
        assert_eq!(aliases.action("READ"), "READ");
        assert_eq!(aliases.action_shown("PROJECT_READ"), "read");
        assert_eq!(aliases.action_shown("SPACE_READ"), "SPACE_READ");
        assert_eq!(aliases.subject("user", "alice"), "Alice@example.com");
        assert_eq!(aliases.subject("service_key", "alice"), "alice");
        assert_eq!(
            aliases.subject_shown("user", "alice@EXAMPLE.com"),
            Some("alice")
        );
        assert_eq!(aliases.resource("project", "record-1"), "TW9kZWw6MTphYmNk");
        assert_eq!(aliases.resource("space", "record-1"), "record-1");
        assert_eq!(
            aliases.resource_shown("project", "TW9kZWw6MTphYmNk"),
            Some("record-1")
        );
    }

    #[test]
    fn a_file_that_could_mean_two_things_is_refused() {
        for (text, named) in [
            ("", "is empty"),
            ("[]", "an object"),
            (r#"{"action":{}}"#, "`action`: this field is not known here"),
            (r#"{"actions":{"read":7}}"#, "actions.read"),
            (
                r#"{"actions":{"read":"PROJECT_READ","read":"SPACE_READ"}}"#,
                "read`: this field appears twice",
            ),
            (r#"{"actions":{"read":"READ"}}"#, "stands for `READ`"),
            (
                r#"{"actions":{"SPACE_READ":"PROJECT_READ"}}"#,
                "is already a name",
            ),
            (
                r#"{"actions":{"read":"PROJECT_READ","get":"PROJECT_READ"}}"#,
                "both `get` and `read`",
            ),
            (r#"{"subject_types":{"x":"project"}}"#, "user, service_key"),
            (r#"{"subject_types":{"user":"service_key"}}"#, "already"),
            (r#"{"resource_types":{"space":"project"}}"#, "already"),
            (r#"{"subjects":{"identity":{}}}"#, "user, service_key"),
            (
                r#"{"subjects":{"user":{"bob@example.com":"eve@example.com"}}}"#,
                "already",
            ),
            (
                r#"{"resources":{"project":{"TW9kZWw6MTphYmNk":"TW9kZWw6MjphYmNk"}}}"#,
                "already",
            ),
            (
                r#"{"resources":{"project":{"a":"TW9kZWw6MTphYg==","b":"TW9kZWw6MTphYg"}}}"#,
                "both `a` and `b`",
            ),
        ] {
            let message = Aliases::parse(text).unwrap_err().to_string();
            assert!(message.contains(named), "{text}: {message}");
        }
    }
}

//! Schemas for what the wire has as plain text: ids, names, enums, times.
//!
//! The wire types hold strings and parse them by hand. The types here replace those strings where a schema is
//! derived (`#[schemars(with = "…")]`). No value of them is ever made. Bounds and values come from the code
//! that enforces them.

use std::borrow::Cow;
use std::marker::PhantomData;

use bindery_core::command::api_keys::CreateServiceKey;
use bindery_core::id::{Id, Kind, ProjectId, RoleBindingId, SpaceId, SpaceMembershipId};
use bindery_core::permission::Permission;
use bindery_core::query::Substring;
use bindery_core::role::AccountRole;
use bindery_core::text::{Description, Email, KeyName, Label, Name, RoleName};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::json::{Object, Patch};
use crate::password::Password;
use crate::secret::{KeyText, LinkToken};
use crate::wire::Moment;
use crate::wire::assignment::Named;

/// The text of an id.
#[derive(Debug)]
pub(crate) struct IdText<I>(PhantomData<I>);

/// A text that parses to `T`.
#[derive(Debug)]
pub(crate) struct Text<T>(PhantomData<T>);

/// Any text up to the length limit of filters.
#[derive(Debug)]
pub(crate) enum Fragment {}

/// The id of the resource that `resource_type` names.
#[derive(Debug)]
pub(crate) enum ResourceIdText {}

/// The id of a membership of a space.
#[derive(Debug)]
pub(crate) enum SpaceSeatIdText {}

/// A time in a request.
#[derive(Debug)]
pub(crate) enum MomentText {}

/// A description that is cleared with `null`, and not with an empty text.
#[derive(Debug)]
pub(crate) enum FilledDescription {}

/// The first and last characters of a key.
#[derive(Debug)]
pub(crate) enum RedactedText {}

/// A text that this API passes on unchanged.
#[derive(Debug)]
pub(crate) enum FreeText {}

/// A role assignment in a request, on the level of `R`.
#[derive(Debug)]
pub(crate) struct Assigned<R>(PhantomData<R>);

/// The account role of a service key, in a request.
#[derive(Debug)]
pub(crate) enum AssignedToKey {}

/// A role assignment in a response, on the level of `R`.
#[derive(Debug)]
pub(crate) struct AssignedShown<R>(PhantomData<R>);

/// A schema that the document has once, under its name.
macro_rules! named_schema {
    ($type:ty, $name:literal, $schema:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                Cow::from($name)
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

/// A schema that is repeated at each use.
macro_rules! inline_schema {
    ($type:ty, $name:expr, $schema:expr) => {
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                Cow::from($name)
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

/// `RoleBinding` as a format: `role-binding-id`.
fn id_format(kind: Kind) -> String {
    format!("{}-id", kind.noun().to_lowercase().replace(' ', "-"))
}

fn id_schema(kind: Kind) -> Schema {
    json_schema!({
        "type": "string",
        "format": id_format(kind),
        "description": "Opaque; as this API returned it.",
    })
}

impl<I: Id> JsonSchema for IdText<I> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        Cow::from(id_format(I::KIND))
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        id_schema(I::KIND)
    }
}

inline_schema!(
    ResourceIdText,
    "resource-id",
    json_schema!({
        "description": "The id of a space or project: of the kind that `resource_type` names.",
        "anyOf": [
            {"type": "string", "format": id_format(SpaceId::KIND)},
            {"type": "string", "format": id_format(ProjectId::KIND)},
        ],
    })
);

inline_schema!(
    SpaceSeatIdText,
    "space-seat-id",
    json_schema!({
        "description": "Opaque. With a custom role, the membership is a role binding and has its id.",
        "anyOf": [
            {"type": "string", "format": id_format(SpaceMembershipId::KIND)},
            {"type": "string", "format": id_format(RoleBindingId::KIND)},
        ],
    })
);

named_schema!(
    Text<Name>,
    "Name",
    json_schema!({
        "description": format!("White space around it is removed; the rest has at most {} characters. No control characters. Case counts.", Name::LENGTH_MAX),
        "type": "string",
        "minLength": 1,
        "pattern": Name::PATTERN,
    })
);

named_schema!(
    Text<Label>,
    "Label",
    json_schema!({
        "description": format!("White space around it is removed; the rest has at most {} characters.", Label::LENGTH_MAX),
        "type": "string",
        "minLength": 1,
        "pattern": Label::PATTERN,
    })
);

named_schema!(
    Text<RoleName>,
    "RoleName",
    json_schema!({
        "description": format!("White space around it is removed; the rest has at most {} characters. ASCII letters, digits, spaces and common punctuation.", RoleName::LENGTH_MAX),
        "type": "string",
        "minLength": 1,
        "pattern": RoleName::SENT_PATTERN,
    })
);

named_schema!(
    Text<KeyName>,
    "KeyName",
    json_schema!({
        "description": format!("White space around it is removed; the rest has at most {} characters. No control characters.", KeyName::LENGTH_MAX),
        "type": "string",
        "minLength": 1,
        "pattern": KeyName::PATTERN,
    })
);

named_schema!(
    Text<Description>,
    "Description",
    json_schema!({
        "description": "Line ends and tabs are allowed, other control characters are not.",
        "type": "string",
        "maxLength": Description::LENGTH_MAX,
        "pattern": Description::PATTERN,
    })
);

inline_schema!(
    FilledDescription,
    "FilledDescription",
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": Description::LENGTH_MAX,
        "pattern": Description::PATTERN,
    })
);

inline_schema!(
    Text<Email>,
    "Email",
    json_schema!({
        "type": "string",
        "format": "email",
        "maxLength": Email::LENGTH_MAX,
    })
);

inline_schema!(
    Text<Password>,
    "Password",
    json_schema!({
        "type": "string",
        "minLength": Password::LENGTH_MIN,
        "maxLength": Password::LENGTH_MAX,
    })
);

inline_schema!(
    Text<LinkToken>,
    "LinkToken",
    json_schema!({
        "type": "string",
        "format": "link-token",
        "description": "The end of the link in the e-mail.",
    })
);

inline_schema!(
    Text<KeyText>,
    "KeyText",
    json_schema!({
        "type": "string",
        "pattern": KeyText::PATTERN,
        "description": "The secret key. It is shown only once.",
    })
);

inline_schema!(
    RedactedText,
    "RedactedKey",
    json_schema!({
        "type": "string",
        "pattern": r"^ak-[0-9A-Za-z]{3}\.\.\.[0-9A-Za-z]{3}$",
        "description": "The first and last characters of the key, to recognize it.",
    })
);

inline_schema!(
    Fragment,
    "Fragment",
    json_schema!({
        "type": "string",
        "maxLength": Substring::LENGTH_MAX,
    })
);

inline_schema!(
    FreeText,
    "FreeText",
    json_schema!({
        "type": "string",
        "format": "opaque",
    })
);

inline_schema!(
    MomentText,
    "MomentText",
    json_schema!({
        "type": "string",
        "format": "date-time",
        "description": "RFC 3339. A time without a zone means UTC.",
    })
);

named_schema!(
    Moment,
    "Moment",
    json_schema!({
        "type": "string",
        "format": "date-time",
        "pattern": r"^-?\d{4,6}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$",
    })
);

impl JsonSchema for Text<Permission> {
    fn schema_name() -> Cow<'static, str> {
        Cow::from("Permission")
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A permission.",
            "enum": Permission::ALL.map(Permission::name).to_vec(),
        })
    }
}

impl<R: Named> JsonSchema for Assigned<R> {
    fn schema_name() -> Cow<'static, str> {
        Cow::from(format!("{}AssignmentRequest", R::LEVEL))
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        assigned(R::LEVEL, &R::names())
    }
}

impl JsonSchema for AssignedToKey {
    fn schema_name() -> Cow<'static, str> {
        Cow::from("KeyAssignmentRequest")
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        assigned(
            AccountRole::LEVEL,
            &CreateServiceKey::ACCOUNT_ROLES.map(AccountRole::name),
        )
    }
}

fn assigned(level: &str, names: &[&str]) -> Schema {
    let mut predefined = variant(
        "PREDEFINED",
        [("name", json!({"type": "string", "enum": names}))],
    );
    let role = json!({"type": "string", "format": id_format(Kind::Role)});
    let mut custom = variant("CUSTOM", [("id", role)]);
    for one in [&mut predefined, &mut custom] {
        one["additionalProperties"] = Value::Bool(false);
    }
    json_schema!({
        "description": format!("A role to give on the level of the {}.", level.to_lowercase()),
        "oneOf": [predefined, custom],
    })
}

impl<R: Named> JsonSchema for AssignedShown<R> {
    fn schema_name() -> Cow<'static, str> {
        Cow::from(format!("{}Assignment", R::LEVEL))
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": format!("A role given on the level of the {}.", R::LEVEL.to_lowercase()),
            "oneOf": [
                variant("PREDEFINED", [("name", json!({"type": "string", "enum": R::names()}))]),
                variant("CUSTOM", [
                    ("id", json!({"type": "string", "format": id_format(Kind::Role)})),
                    ("name", json!({"description": "White space around it is removed. ASCII letters, digits, spaces and common punctuation.", "type": "string", "minLength": 1, "maxLength": RoleName::LENGTH_MAX})),
                ]),
            ],
        })
    }
}

/// One form of a tagged object; all its members are required.
fn variant<'a>(tag: &str, members: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let mut properties = serde_json::Map::new();
    properties.insert("type".to_owned(), json!({"type": "string", "const": tag}));
    properties.extend(
        members
            .into_iter()
            .map(|(name, schema)| (name.to_owned(), schema)),
    );
    let required: Vec<&String> = properties.keys().collect();
    json!({"type": "object", "required": required, "properties": properties})
}

/// The values of an enum that the wire has as text.
pub(crate) fn choices<T>(choices: &[(&'static str, T)]) -> Schema {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    json_schema!({"type": "string", "enum": names})
}

/// Names a table of choices `("TEXT", value)` for schemas.
macro_rules! choice_text {
    ($(#[$doc:meta])* $name:ident of $table:path) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) enum $name {}

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $crate::wire::schema::choices(&$table)
            }
        }
    };
}
pub(crate) use choice_text;

/// An object has the schema of its content.
impl<T: JsonSchema> JsonSchema for Object<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A field that can be cleared accepts `null` as well.
impl<T: JsonSchema> JsonSchema for Patch<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        Option::<T>::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}

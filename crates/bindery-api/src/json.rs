//! Strict parsing of JSON bodies: one object, each field once, no unknown field; every error names the field.
//! Open parsing allows unknown members, each still once, at every depth.

use std::collections::btree_map::Entry;
use std::fmt;
use std::marker::PhantomData;

use bindery_core::attribute::{Attribute, Members};
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor,
};
use serde_json::Number;

use crate::problem::Problem;

/// Counts the values of a JSON text piece by piece, before it is parsed: every scalar, array and object.
///
/// An empty array or object counts twice. A text that is not JSON has at most as many values before its first
/// error as are counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct ValueCount {
    separators: usize,
    is_in_string: bool,
    is_escaped: bool,
}

impl ValueCount {
    /// Reads the next piece.
    pub(crate) fn read(&mut self, piece: &[u8]) {
        for byte in piece {
            if self.is_in_string {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => self.is_in_string = false,
                    _ => {}
                }
            } else {
                self.is_in_string = *byte == b'"';
                self.separators += usize::from(matches!(byte, b',' | b'[' | b'{'));
            }
        }
    }

    /// The number of values so far.
    pub(crate) const fn values(&self) -> usize {
        // One at the top, and one after each separator.
        self.separators + 1
    }
}

/// Parses a body of one JSON object.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if std::str::from_utf8(bytes).is_err() {
        return Err(Problem::invalid("the body is not UTF-8"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let Object(value) = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let inside = match path.as_str() {
            "." | "?" | "" => None,
            path => Some(path),
        };
        explain(inside, &error.into_inner())
    })?;
    reader.end().map_err(|_| {
        Problem::invalid("the body has more after its JSON object; send one object")
    })?;
    Ok(value)
}

/// The error for clients, instead of serde's words: which field, what is wrong with it, and what it takes.
fn explain(inside: Option<&str>, error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = message.strip_suffix(place.as_str()).unwrap_or(&message);
    if error.is_eof() {
        return match error.column() {
            0 => Problem::invalid("the body is empty; send a JSON object"),
            _ => Problem::invalid("the body ends in the middle of its JSON; send all of it"),
        };
    }
    if error.is_syntax() {
        let near = inside.map_or_else(String::new, |field| format!(" in or after `{field}`"));
        return Problem::invalid(format!("the body is not JSON{near}{place}: {message}"));
    }
    // `inside` is the object with a missing or unknown field, or the field itself.
    let of_object = |field: &str| match inside {
        Some(object) if object != field && !object.ends_with(&format!(".{field}")) => {
            format!("{object}.{field}")
        }
        Some(object) => object.to_owned(),
        None => field.to_owned(),
    };
    let quoted = |rest: &'_ str| rest.split('`').nth(1).unwrap_or_default().to_owned();
    if message.starts_with("missing field ") {
        return Problem::field(&of_object(&quoted(message)), "this field is required");
    }
    if message.starts_with("duplicate field ") {
        let why = "this field appears twice in the same object; send it once";
        return Problem::field(&of_object(&quoted(message)), why);
    }
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let known = rest.split_once(", ").map_or("", |(_, known)| known);
        let known = known
            .trim_start_matches("expected ")
            .trim_start_matches("one of ");
        let why = if known.is_empty() || known.starts_with("there are no") {
            "this field is not known here; leave it out".to_owned()
        } else {
            format!("this field is not known here; known are {known}")
        };
        return Problem::field(&of_object(&quoted(rest)), why);
    }
    let sent = message.strip_prefix("invalid type: ");
    let sent = sent.or_else(|| message.strip_prefix("invalid value: "));
    let why = match sent.and_then(|sent| sent.rsplit_once(", expected ")) {
        Some((sent, expected)) => format!(
            "{} was sent, and {} is expected",
            plain(sent),
            plain(expected)
        ),
        None => message.to_owned(),
    };
    match inside {
        Some(field) => Problem::field(field, why),
        None => Problem::invalid(format!("the body: {why}")),
    }
}

/// A type in JSON's terms.
fn plain(word: &str) -> String {
    let word = word.strip_prefix("a ").unwrap_or(word);
    match word {
        "map" => "an object".to_owned(),
        "sequence" => "an array".to_owned(),
        "null" | "unit" | "unit value" => "null".to_owned(),
        "boolean" => "true or false".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "i64" | "usize" => "a whole number".to_owned(),
        "string" => "a string".to_owned(),
        _ if word.starts_with("integer `") => word.replacen("integer", "the number", 1),
        _ if word.starts_with("floating point `") => {
            word.replacen("floating point", "the number", 1)
        }
        _ if word.starts_with("boolean `") => word.replacen("boolean ", "", 1),
        _ if word.starts_with("string \"") => word.replacen("string", "the string", 1),
        _ => word.to_owned(),
    }
}

/// Parses a body of one JSON object with any members. Nesting is limited as in all bodies.
pub(crate) fn parse_open(bytes: &[u8]) -> Result<Members, Problem> {
    let OnlyMembers(members) = parse(bytes)?;
    Ok(members)
}

/// An object with any members.
struct OnlyMembers(Members);

impl<'de> Deserialize<'de> for OnlyMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Any::deserialize(deserializer)? {
            Any(Attribute::Members(members)) => Ok(Self(members)),
            Any(_) => Err(Error::custom("an object is expected")),
        }
    }
}

/// Any value; each member of an object once.
struct Any(Attribute);

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor).map(Any)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Attribute;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Attribute, E> {
        Ok(Attribute::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Attribute, E> {
        Ok(Attribute::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Attribute, E> {
        Ok(Attribute::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Attribute, E> {
        Ok(Attribute::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Attribute, E> {
        Ok(Attribute::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Attribute, E> {
        Ok(Attribute::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Attribute, E> {
        Ok(Attribute::Text(value))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Attribute, S::Error> {
        let mut items = Vec::new();
        while let Some(Any(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Attribute::List(items))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Attribute, M::Error> {
        let mut members = Members::new();
        while let Some(name) = map.next_key::<String>()? {
            let Any(value) = map.next_value()?;
            match members.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(value);
                }
                Entry::Occupied(place) => {
                    return Err(Error::custom(format!("duplicate field `{}`", place.key())));
                }
            }
        }
        Ok(Attribute::Members(members))
    }
}

/// A JSON object. Serde alone would also accept an array of the fields in order.
#[derive(Clone, Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnlyMaps<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyMaps<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(OnlyMaps(PhantomData))
    }
}

/// For optional fields that take no `null`: absent, or a value.
pub(crate) fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// The same for whole numbers. JSON has one kind of number: `274.0` is as whole as `274`.
pub(crate) fn present_whole<'de, D>(deserializer: D) -> Result<Option<u64>, D::Error>
where
    D: Deserializer<'de>,
{
    /// The first whole number that a float can't hold exactly; no field takes one so large.
    const END: f64 = 9_007_199_254_740_992.0;
    let number = Number::deserialize(deserializer)?;
    let whole = number.as_u64().or_else(|| {
        let float = number.as_f64()?;
        let is_whole = (0.0..END).contains(&float) && float.fract() == 0.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, not negative, and small enough"
        )]
        is_whole.then_some(float as u64)
    });
    let refused = || Error::custom(format!("`{number}` is not a whole number from 0 on"));
    whole.map(Some).ok_or_else(refused)
}

/// A field of a PATCH that can be cleared: absent keeps, `null` clears.
#[derive(Clone, Debug, Default)]
pub(crate) enum Patch<T> {
    #[default]
    Keep,
    Clear,
    Set(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}

impl<T> Patch<T> {
    /// Whether the field was absent.
    pub(crate) const fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// The value to set: unchanged, or the result of `clear` or `set`.
    pub(crate) fn resolve<U, E>(
        &self,
        clear: impl FnOnce() -> U,
        set: impl FnOnce(&T) -> Result<U, E>,
    ) -> Result<Option<U>, E> {
        match self {
            Self::Keep => Ok(None),
            Self::Clear => Ok(Some(clear())),
            Self::Set(value) => set(value).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        role_id: String,
        #[serde(default, deserialize_with = "present")]
        note: Option<String>,
        #[serde(default)]
        inner: Option<Object<Inner>>,
        #[serde(default, deserialize_with = "present_whole")]
        count: Option<u64>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only read by serde")]
        deep: u8,
    }

    fn refused(body: impl AsRef<[u8]>) -> String {
        format!("{:?}", parse::<Sample>(body.as_ref()).unwrap_err())
    }

    #[test]
    fn values_are_counted_in_pieces_and_never_below_what_is_parsed() {
        fn values(value: &serde_json::Value) -> usize {
            1 + match value {
                serde_json::Value::Array(items) => items.iter().map(values).sum(),
                serde_json::Value::Object(members) => members.values().map(values).sum(),
                _ => 0,
            }
        }
        for (text, expected) in [
            ("7", 1),
            (r#""a,[{\\\",""#, 1),
            (r#"{"a":1,"b":[1,2,{"c":null}]}"#, 7),
            (r#"{"a":[[0],[0],[0]]}"#, 8),
            (r#"{"a\",":"]","b,":"\\"}"#, 3),
            ("[[],{}]", 5),
        ] {
            for split in 0..text.len() {
                let (first, second) = text.as_bytes().split_at(split);
                let mut count = ValueCount::default();
                count.read(first);
                count.read(second);
                assert_eq!(count.values(), expected, "{text} in two at {split}");
            }
            let parsed: serde_json::Value = serde_json::from_str(text).unwrap();
            assert!(values(&parsed) <= expected, "{text}");
        }
    }

    #[test]
    fn a_good_body_is_read() {
        let sample: Sample = parse(br#" {"role_id":"x","inner":{"deep":1}} "#).unwrap();
        assert_eq!((sample.role_id.as_str(), sample.note), ("x", None));
        assert!(sample.inner.is_some());
    }

    #[test]
    fn what_is_read_openly_has_any_members_each_once() {
        let body = br#" {"a":{"b":[1,-2,0.5,"x",null,true]},"c":18446744073709551615} "#;
        let members = parse_open(body).unwrap();
        let list = vec![
            Attribute::Integer(1),
            Attribute::Integer(-2),
            Attribute::Float(0.5),
            Attribute::Text("x".to_owned()),
            Attribute::Null,
            Attribute::Bool(true),
        ];
        let inner = Members::from([("b".to_owned(), Attribute::List(list))]);
        assert_eq!(members.get("a"), Some(&Attribute::Members(inner)));
        assert_eq!(members.get("c"), Some(&Attribute::Integer(u64::MAX.into())));
        // The object itself counts too.
        let deep = |lists: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(lists), "]".repeat(lists));
        assert!(parse_open(deep(126).as_bytes()).is_ok());
        let deep = deep(127);
        for (body, named) in [
            (&b""[..], "is empty"),
            (b"[]", "an object"),
            (b"null", "an object"),
            (br#"{"a":1,"a":1}"#, "`a`: this field appears twice"),
            (br#"{"a":1,"\u0061":1}"#, "`a`: this field appears twice"),
            (
                br#"{"a":[{"b":{"c":1,"c":2}}]}"#,
                "c`: this field appears twice",
            ),
            (br#"{"a":1}{}"#, "has more after"),
            (br#"{"a":1e400}"#, "`a`"),
            (br#"{"a":NaN}"#, "`a`"),
            (b"{\"a\":\"\xff\"}", "UTF-8"),
            (br#"{"a":"\ud800"}"#, "`a`"),
            (deep.as_bytes(), "recursion"),
        ] {
            let message = format!("{:?}", parse_open(body).unwrap_err());
            let body = String::from_utf8_lossy(body);
            assert!(message.contains(named), "{body}: {message}");
        }
    }

    #[test]
    fn a_whole_number_is_whole_however_it_is_written() {
        for (text, expected) in [
            ("274", Some(274)),
            ("274.0", Some(274)),
            ("2.74e2", Some(274)),
            ("0", Some(0)),
            ("-0.0", Some(0)),
            ("-1", None),
            ("0.5", None),
            ("1e300", None),
            ("\"7\"", None),
            ("null", None),
        ] {
            let body = format!(r#"{{"role_id":"x","count":{text}}}"#);
            let count = parse::<Sample>(body.as_bytes()).ok();
            assert_eq!(count.and_then(|sample| sample.count), expected, "{text}");
        }
    }

    #[test]
    fn every_way_to_be_wrong_is_refused_and_named() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let deep = format!(r#"{{"role_id":{deep}}}"#);
        for (body, named) in [
            (&b""[..], "is empty"),
            (b"null", "an object"),
            (b"[]", "an object"),
            (br#"["x"]"#, "an object"),
            (br#""x""#, "an object"),
            (br#"{"role_id":"x"} x"#, "has more after"),
            (br#"{"role_id":"x","#, "in the middle"),
            (b"{}", "`role_id`: this field is required"),
            (
                br#"{"role_id":null}"#,
                "`role_id`: null was sent, and a string is expected",
            ),
            (
                br#"{"role_id":7}"#,
                "`role_id`: the number `7` was sent, and a string is expected",
            ),
            (
                br#"{"role_id":["x"]}"#,
                "`role_id`: an array was sent, and a string is expected",
            ),
            (
                br#"{"role_id":"x","role_id":"y"}"#,
                "`role_id`: this field appears twice",
            ),
            (
                br#"{"role_id":"x","user_id":"y"}"#,
                "`user_id`: this field is not known here; known are `role_id`",
            ),
            (br#"{"role_id":"x","note":null}"#, "`note`"),
            (br#"{"role_id":"x","inner":[1]}"#, "`inner`"),
            (br#"{"role_id":"x","inner":{"deep":300}}"#, "`inner.deep`"),
            (
                br#"{"role_id":"x","inner":{"deep":1,"deep":1}}"#,
                "`inner.deep`: this field appears twice",
            ),
            (b"{\"role_id\":\"\xff\"}", "UTF-8"),
            (deep.as_bytes(), "role_id"),
        ] {
            let message = refused(body);
            assert!(
                message.contains(named),
                "{}: {message}",
                String::from_utf8_lossy(body)
            );
        }
    }
}

//! Texts that people give: names, descriptions, e-mail addresses. Parsed once, at the edge.
//!
//! Lengths count Unicode code points (`docs/rules/api.md` §4). Control characters, and characters that can't be seen, are refused
//! in names and addresses: each is a way to write two that look like one.

use std::fmt;
use std::ops::RangeInclusive;

use minicbor::{Decode, Decoder, Encode};

/// Why a text is refused; says what was seen and what is accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing but white space.
    #[error("must not be empty")]
    Empty,
    /// More characters than there is room for.
    #[error("has {actual} characters; at most {max} are accepted")]
    TooLong {
        /// Code points sent.
        actual: usize,
        /// Code points accepted.
        max: usize,
    },
    /// A character that the field does not take.
    #[error("contains {0:?}, which is not accepted here; accepted are {1}")]
    Character(char, &'static str),
    /// Not an e-mail address.
    #[error("`{0}` is not an e-mail address; expected one like `ada@example.com`")]
    NotAnEmail(String),
}

fn bounded(text: &str, max: usize) -> Result<(), TextError> {
    match text.chars().count() {
        actual if actual > max => Err(TextError::TooLong { actual, max }),
        _ => Ok(()),
    }
}

const PRINTABLE: &str = "all characters but control characters and ones that can't be seen";

/// Characters that aren't seen, or that turn the direction of what follows: with them two names look like one. The joiners that
/// some scripts and emoji need are not among them.
const UNSEEN: [RangeInclusive<char>; 9] = [
    '\u{ad}'..='\u{ad}',
    '\u{61c}'..='\u{61c}',
    '\u{180e}'..='\u{180e}',
    '\u{200b}'..='\u{200b}',
    '\u{200e}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{feff}'..='\u{feff}',
    '\u{fff9}'..='\u{fffb}',
];

/// [`UNSEEN`] in a class of a regular expression.
macro_rules! unseen {
    () => {
        r"\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    };
}

fn printable(text: &str) -> Result<(), TextError> {
    let is_unseen = |c: &char| c.is_control() || UNSEEN.iter().any(|range| range.contains(c));
    match text.chars().find(is_unseen) {
        Some(character) => Err(TextError::Character(character, PRINTABLE)),
        None => Ok(()),
    }
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_type! {
    /// The name of a user, organization, space or project. Compared exactly, case included.
    Name
}

/// What trimming takes away, in a class of a regular expression.
macro_rules! white {
    () => {
        r"\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
    };
}

/// What a printable text may be sent as. After trimming it has one character, or two with at most so many between them.
macro_rules! printable_pattern {
    ($more:literal) => {
        concat!(
            "^[",
            white!(),
            r"]*[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
            unseen!(),
            r"]([^\u0000-\u001f\u007f-\u009f",
            unseen!(),
            "]{0,",
            $more,
            r"}[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
            unseen!(),
            "])?[",
            white!(),
            "]*$",
        )
    };
}

impl Name {
    /// Code points, after trimming.
    pub const LENGTH_MAX: usize = 255;
    /// What may be sent, before trimming.
    pub const PATTERN: &str = printable_pattern!("253");

    /// Trims, then accepts 1 to [`Self::LENGTH_MAX`] characters.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(TextError::Empty);
        }
        bounded(trimmed, Self::LENGTH_MAX)?;
        printable(trimmed)?;
        Ok(Self(trimmed.to_owned()))
    }

    /// What filters compare: the name without its case.
    pub(crate) fn folded(&self) -> String {
        self.0.to_lowercase()
    }

    /// As much of a longer kind of name as fits.
    pub(crate) fn cut(name: &str) -> Self {
        Self(name.chars().take(Self::LENGTH_MAX).collect())
    }
}

text_type! {
    /// The name of a role; unique in the account, predefined ones included.
    RoleName
}

impl RoleName {
    /// Code points, after trimming.
    pub const LENGTH_MAX: usize = 255;
    /// What a role name may be made of (`docs/rules/operations.md`, `create_role`).
    pub const PATTERN: &str = r#"^[a-zA-Z0-9 \-_.,()[\]'"/:\\&@#$%!?+=]+$"#;
    /// The same for what may be sent, before trimming.
    pub const SENT_PATTERN: &str = concat!(
        "^[",
        white!(),
        r#"]*[a-zA-Z0-9\-_.,()\[\]'"/:\\&@#$%!?+=]"#,
        r#"([a-zA-Z0-9 \-_.,()\[\]'"/:\\&@#$%!?+=]{0,253}"#,
        r#"[a-zA-Z0-9\-_.,()\[\]'"/:\\&@#$%!?+=])?["#,
        white!(),
        "]*$",
    );
    const PUNCTUATION: &str = r#" -_.,()[]'"/:\&@#$%!?+="#;

    /// Trims, then accepts 1 to [`Self::LENGTH_MAX`] characters of [`Self::PATTERN`].
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(TextError::Empty);
        }
        bounded(trimmed, Self::LENGTH_MAX)?;
        let accepted = |c: char| c.is_ascii_alphanumeric() || Self::PUNCTUATION.contains(c);
        match trimmed.chars().find(|character| !accepted(*character)) {
            Some(other) => Err(TextError::Character(
                other,
                r#"letters a-z, digits, spaces and - _ . , ( ) [ ] ' " / : \ & @ # $ % ! ? + ="#,
            )),
            None => Ok(Self(trimmed.to_owned())),
        }
    }
}

text_type! {
    /// The name of an API key; need not be unique.
    KeyName
}

impl KeyName {
    /// Code points, after trimming.
    pub const LENGTH_MAX: usize = 256;
    /// What may be sent, before trimming.
    pub const PATTERN: &str = printable_pattern!("254");

    /// Trims, then accepts 1 to [`Self::LENGTH_MAX`] characters.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(TextError::Empty);
        }
        bounded(trimmed, Self::LENGTH_MAX)?;
        printable(trimmed)?;
        Ok(Self(trimmed.to_owned()))
    }
}

text_type! {
    /// A free text beside a name. Empty means that there is none.
    #[derive(Default)]
    Description
}

impl Description {
    /// Code points.
    pub const LENGTH_MAX: usize = 1000;
    /// No control characters but line ends and tabs.
    pub const PATTERN: &str = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$";

    /// Accepts 0 to [`Self::LENGTH_MAX`] characters; line ends and tabs are welcome.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        bounded(text, Self::LENGTH_MAX)?;
        let control = |c: &char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        match text.chars().find(control) {
            Some(control) => Err(TextError::Character(control, PRINTABLE)),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

text_type! {
    /// A short text that other programs read and Bindery only keeps: a colour, the name of a model, an id elsewhere.
    Label
}

impl Label {
    /// Code points.
    pub const LENGTH_MAX: usize = 255;
    /// What it may be made of.
    pub const PATTERN: &str = printable_pattern!("253");

    /// Trims, then accepts 1 to [`Self::LENGTH_MAX`] characters.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(TextError::Empty);
        }
        bounded(trimmed, Self::LENGTH_MAX)?;
        printable(trimmed)?;
        Ok(Self(trimmed.to_owned()))
    }
}

text_type! {
    /// A person's e-mail address: their identity, compared ignoring case.
    Email
}

impl Email {
    /// Code points, the longest address that SMTP can carry.
    pub const LENGTH_MAX: usize = 254;

    /// Accepts `local@domain` with neither part empty, no white space or control character, at most
    /// [`Self::LENGTH_MAX`] characters before trimming. Whether the mailbox exists, only a mail can tell.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        bounded(text, Self::LENGTH_MAX)?;
        let trimmed = text.trim();
        printable(trimmed)?;
        let not_an_email = || TextError::NotAnEmail(trimmed.to_owned());
        let (local, domain) = trimmed.rsplit_once('@').ok_or_else(not_an_email)?;
        let readable = |part: &str| {
            !part.is_empty()
                && !part
                    .chars()
                    .any(|c| c.is_control() || c.is_whitespace() || "<>()[],;:\"\\@".contains(c))
        };
        let dotted = |part: &str| !part.split('.').any(str::is_empty);
        if !readable(local) || !readable(domain) || !dotted(local) || !dotted(domain) {
            return Err(not_an_email());
        }
        Ok(Self(trimmed.to_owned()))
    }

    /// What two spellings of one address have in common.
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

/// What a client or the server calls one request by: printable ASCII, in headers, the log and the audit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode)]
#[cbor(transparent)]
pub struct RequestId(#[n(0)] Box<str>);

impl RequestId {
    /// Characters.
    pub const LENGTH_MAX: usize = 128;

    /// Accepts 1 to [`Self::LENGTH_MAX`] printable ASCII characters, none of them white space.
    pub fn parse(text: &str) -> Option<Self> {
        Self::is_one(text).then(|| Self(text.into()))
    }

    /// Whether [`Self::parse`] accepts it.
    pub fn is_one(text: &str) -> bool {
        (1..=Self::LENGTH_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'b, C> Decode<'b, C> for RequestId {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let found = Self::parse(d.str()?);
        found.ok_or_else(|| minicbor::decode::Error::message("not a request id"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_counted_in_characters() {
        assert_eq!(Name::parse("  Ada \u{2003}").unwrap().as_str(), "Ada");
        assert_eq!(Name::parse(" \t\u{a0}"), Err(TextError::Empty));
        assert!(Name::parse(&"é".repeat(255)).is_ok());
        let long = Name::parse(&"é".repeat(256));
        assert_eq!(
            long,
            Err(TextError::TooLong {
                actual: 256,
                max: 255
            })
        );
        for unseen in [
            "\u{200b}",
            "Perf\u{200b}",
            "\u{202e}Perf",
            "a\u{feff}b",
            "a\u{ad}b",
        ] {
            assert!(
                matches!(Name::parse(unseen), Err(TextError::Character(..))),
                "{unseen:?}"
            );
        }
        assert!(
            Name::parse("👩\u{200d}🔬").is_ok(),
            "a joiner is part of an emoji"
        );
        assert!(Email::parse("a@x.io\u{200b}").is_err());
        assert!(matches!(
            Name::parse("a\0b"),
            Err(TextError::Character('\0', _))
        ));
        assert!(KeyName::parse(&"k".repeat(256)).is_ok());
        assert!(KeyName::parse(&"k".repeat(257)).is_err());
    }

    #[test]
    fn a_role_name_takes_exactly_the_characters_of_its_pattern() {
        let all = format!("aZ9{}x", RoleName::PUNCTUATION);
        assert_eq!(RoleName::parse(&all).unwrap().as_str(), all);
        for name in [
            "role\u{e9}",
            "a;b",
            "a{b}",
            "a*b",
            "a\nb",
            "a`b",
            "a<b",
            "a~b",
            "a|b",
            "a^b",
        ] {
            assert!(
                matches!(RoleName::parse(name), Err(TextError::Character(..))),
                "{name}"
            );
        }
    }

    #[test]
    fn descriptions_may_be_empty_and_have_lines() {
        assert!(Description::parse("").unwrap().is_empty());
        assert!(Description::parse("one\ntwo\t").is_ok());
        assert!(Description::parse("\u{7}").is_err());
        assert!(Description::parse(&"d".repeat(1000)).is_ok());
        assert!(Description::parse(&"d".repeat(1001)).is_err());
    }

    #[test]
    fn an_email_has_two_parts_and_no_white_space() {
        for good in [
            "ada@example.com",
            "a+b@x",
            "ADA.L@sub.example.org",
            "é@exämple.com",
        ] {
            assert!(Email::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ada",
            "@x",
            "a@",
            "a b@x.com",
            "a@x..com",
            ".a@x.com",
            "a@b@c",
            "a\0@x",
            "a<b@x",
        ] {
            assert!(Email::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Email::parse("Ada@X.com").unwrap().folded(), "ada@x.com");
    }
}

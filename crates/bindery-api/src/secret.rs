//! Key texts: random letters, shown once, and stored as a hash (`docs/rules/api.md` §2).

use std::borrow::Cow;
use std::fmt;

use bindery_core::api_key::{Secret, SecretHash};
use sha2::{Digest as _, Sha256};

use crate::problem::Problem;

pub(crate) const PREFIX: &str = "ak-";
/// Letters after the prefix of a generated key: 238 random bits.
const LETTERS: usize = 40;
/// The fewest letters of a given key: 190 bits.
pub(crate) const LETTERS_MIN: usize = 32;
/// More than any key has; longer texts aren't hashed.
const LETTERS_MAX: usize = 256;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The text of a key. Never printed by `Debug`, never logged.
#[derive(Clone)]
pub struct KeyText(String);

/// Why a text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyTextError;

impl fmt::Display for KeyTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a key is `{PREFIX}` followed by {LETTERS_MIN} to {LETTERS_MAX} letters or digits (a-z, A-Z, 0-9)"
        )
    }
}

impl std::error::Error for KeyTextError {}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText(..)")
    }
}

impl KeyText {
    /// The form of a key.
    pub(crate) const PATTERN: &str = "^ak-[0-9A-Za-z]{32,256}$";

    /// A new key from the system's random numbers.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self(format!("{PREFIX}{}", letters(LETTERS)?)))
    }

    /// The same for a handler.
    pub(crate) fn new() -> Result<Self, Problem> {
        Self::generate().map_err(|error| {
            tracing::error!(%error, "the system returned no random numbers");
            Problem::internal()
        })
    }

    /// Accepts `ak-` and [`LETTERS_MIN`] to [`LETTERS_MAX`] letters and digits.
    pub fn parse(text: &str) -> Result<Self, KeyTextError> {
        let letters = text.strip_prefix(PREFIX).ok_or(KeyTextError)?;
        let is_good = (LETTERS_MIN..=LETTERS_MAX).contains(&letters.len())
            && letters.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_good {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyTextError)
        }
    }

    /// The text, for the one response that shows it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The part that is stored.
    pub fn secret(&self) -> Secret {
        let letters = &self.0[PREFIX.len()..];
        let redacted = format!(
            "{PREFIX}{}...{}",
            &letters[..3],
            &letters[letters.len() - 3..]
        );
        Secret {
            hash: hash(&self.0),
            redacted,
        }
    }

    /// The hash for look-ups.
    pub fn hash(&self) -> SecretHash {
        hash(&self.0)
    }
}

/// The token of a link that is sent by e-mail: used once, stored as a hash.
pub(crate) struct LinkToken(String);

impl fmt::Debug for LinkToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkToken(..)")
    }
}

impl LinkToken {
    /// A new token from the system's random numbers.
    pub(crate) fn generate() -> Result<Self, Problem> {
        Ok(Self(random_letters(LETTERS)?))
    }

    /// The hash for the look-up of a token in a link; `None` if it can't be a token.
    pub(crate) fn hash_of(text: &str) -> Option<SecretHash> {
        let is_good =
            text.len() == LETTERS && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_good.then(|| hash(text))
    }

    /// The text, for the one e-mail that shows it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// The hash that is stored.
    pub(crate) fn hash(&self) -> SecretHash {
        hash(&self.0)
    }
}

/// Replaces everything that looks like a key, so that a key in the wrong place isn't stored.
pub(crate) fn redact(text: &str) -> Cow<'_, str> {
    if !text.contains(PREFIX) {
        return text.into();
    }
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.find(PREFIX) {
        let (before, after) = rest.split_at(place + PREFIX.len());
        redacted.push_str(before);
        let is_letter = |c: char| c.is_ascii_alphanumeric();
        let end = after.find(|c| !is_letter(c)).unwrap_or(after.len());
        if end >= LETTERS_MIN {
            redacted.push_str("...");
            rest = &after[end..];
        } else {
            // A key may begin in what follows.
            rest = after;
        }
    }
    redacted.push_str(rest);
    redacted.into()
}

/// Letters and digits from the system's random numbers, just under 6 bits each.
pub(crate) fn random_letters(count: usize) -> Result<String, Problem> {
    letters(count).map_err(|error| {
        tracing::error!(%error, "the system returned no random numbers");
        Problem::internal()
    })
}

fn letters(count: usize) -> Result<String, getrandom::Error> {
    let mut text = String::with_capacity(count);
    let mut bytes = [0_u8; 64];
    while text.len() < count {
        getrandom::fill(&mut bytes)?;
        // Bytes from 248 on would favor the first letters.
        let fair = bytes.iter().filter(|byte| **byte < 248);
        let letters = fair.map(|byte| char::from(BASE62[usize::from(*byte) % BASE62.len()]));
        text.extend(letters.take(count - text.len()));
    }
    Ok(text)
}

fn hash(text: &str) -> SecretHash {
    SecretHash(Sha256::digest(text.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_key_is_good_and_says_nothing_of_itself() {
        let (one, other) = (KeyText::generate().unwrap(), KeyText::generate().unwrap());
        assert!(KeyText::parse(one.reveal()).is_ok());
        assert_ne!(one.reveal(), other.reveal());
        assert_eq!(
            format!("{one:?} {:?}", one.secret().hash),
            "KeyText(..) SecretHash(..)"
        );
        let redacted = one.secret().redacted;
        assert_eq!(
            (redacted.len(), &redacted[..3], &redacted[6..9]),
            (12, "ak-", "...")
        );
    }

    #[test]
    fn what_looks_like_a_key_is_redacted_wherever_it_stands() {
        let key = KeyText::generate().unwrap();
        let key = key.reveal();
        for (text, expected) in [
            ("ak-", "ak-".to_owned()),
            (
                "break-down of ak-short",
                "break-down of ak-short".to_owned(),
            ),
            (key, "ak-...".to_owned()),
            (
                &format!("{{\"a\":\"{key}\",\"b\":\"{key}x\"}}"),
                r#"{"a":"ak-...","b":"ak-..."}"#.to_owned(),
            ),
            (&format!("ak-{key}é"), "ak-ak-...é".to_owned()),
        ] {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn a_badly_formed_key_is_refused() {
        let letters = "a".repeat(32);
        assert!(KeyText::parse(&format!("ak-{letters}")).is_ok());
        for text in [
            "",
            "ak-",
            &letters,
            &format!("AK-{letters}"),
            &format!("ak-{}", &letters[1..]),
            &format!("ak-{letters}-"),
            &format!("ak-{letters}é"),
            &format!("ak-{}", letters.repeat(9)),
        ] {
            assert_eq!(KeyText::parse(text).err(), Some(KeyTextError), "{text}");
        }
    }
}

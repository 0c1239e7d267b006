//! Key texts: made from random letters, shown once, and kept as a hash (`contract/README.md` §2).

use std::fmt;

use bindery_core::api_key::{Secret, SecretHash};
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "ak-";
/// Letters after the prefix of a key made here: 238 random bits.
const LETTERS: usize = 40;
/// The fewest that a given key may have: 190 bits.
const LETTERS_MIN: usize = 32;
/// More than any key has; what is longer isn't hashed.
const LETTERS_MAX: usize = 256;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The text of a key. Never printed by `Debug`, never logged.
#[derive(Clone)]
pub struct KeyText(String);

/// Why a text is no key.
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
    /// What a key looks like.
    pub(crate) const PATTERN: &str = "^ak-[0-9A-Za-z]{32,256}$";

    /// A new key from the system's random numbers.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut text = String::from(PREFIX);
        let mut bytes = [0_u8; 64];
        while text.len() < PREFIX.len() + LETTERS {
            getrandom::fill(&mut bytes)?;
            // Bytes from 248 on would favour the first letters.
            let fair = bytes.iter().filter(|byte| **byte < 248);
            let letters = fair.map(|byte| char::from(BASE62[usize::from(*byte) % BASE62.len()]));
            text.extend(letters.take(PREFIX.len() + LETTERS - text.len()));
        }
        Ok(Self(text))
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

    /// The text, for the one answer that shows it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
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

    /// What it is found by.
    pub fn hash(&self) -> SecretHash {
        hash(&self.0)
    }
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

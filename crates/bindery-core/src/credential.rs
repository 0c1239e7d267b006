//! What people prove themselves with where they have no key: a password, and the one link that they were last sent. Neither
//! itself comes here, only hashes.

use std::fmt;

use minicbor::{Decode, Encode};

use crate::api_key::SecretHash;
use crate::change::known;
use crate::id::UserId;
use crate::time::Timestamp;

/// How long a link to choose a new password works.
pub const PASSWORD_RESET_SECONDS: u64 = 30 * 60;

/// How long a key works that was made by signing in.
pub const SIGN_IN_SECONDS: u64 = 12 * 60 * 60;

/// A person's password and link. One a person at the most.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Credential {
    /// Whose.
    #[n(0)]
    pub user: UserId,
    /// Absent until one is set.
    #[n(1)]
    pub password: Option<PasswordHash>,
    /// Absent when none was sent, or it was used. A newer one takes its place.
    #[cbor(n(2), decode_with = "known")]
    pub link: Option<Link>,
}

impl Credential {
    /// Nothing to prove oneself with.
    pub(crate) const fn none(user: UserId) -> Self {
        Self {
            user,
            password: None,
            link: None,
        }
    }
}

/// A link that was sent by mail; good once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Link {
    /// SHA-256 of its token.
    #[n(0)]
    pub token: SecretHash,
    /// What it is good for.
    #[n(1)]
    pub purpose: LinkPurpose,
    /// The first moment at which it is good for nothing any more.
    #[n(2)]
    pub until: Timestamp,
}

/// What a link is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum LinkPurpose {
    /// To accept an invitation.
    #[n(0)]
    Invitation,
    /// To choose a new password.
    #[n(1)]
    PasswordReset,
}

/// A password's argon2id hash with its salt and cost, in the PHC string format. Made and verified at the edge.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct PasswordHash(#[n(0)] String);

impl PasswordHash {
    /// Takes a hash as it was made.
    pub const fn new(phc: String) -> Self {
        Self(phc)
    }

    /// The PHC string, to verify a password against.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

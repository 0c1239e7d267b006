//! What people prove themselves with where they have no key: a password, and the one link that they were last sent. Neither
//! itself comes here, only hashes.

use std::fmt;

use minicbor::{Decode, Encode};

use crate::api_key::SecretHash;
use crate::change::known;
use crate::id::{Id as _, UserId};
use crate::time::Timestamp;

mod knowers;

pub use knowers::Knowers;

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
    /// Who may know the password or the link besides the person.
    #[cbor(n(3), decode_with = "known", skip_if = "KnownTo::is_unrecorded")]
    pub known_to: KnownTo,
}

impl Credential {
    /// Nothing to prove oneself with, and known to nobody else.
    pub(crate) const fn none(user: UserId) -> Self {
        Self {
            user,
            password: None,
            link: None,
            known_to: KnownTo::Owner,
        }
    }
}

/// Who may know a credential besides its person. A server returns a temporary password to the inviter, and the inviter chooses the
/// address that a link goes to. A password that replaced a known one is known as well: it may be the inviter who replaced it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub enum KnownTo {
    /// Not recorded: the credential was put before this field and before the log begins.
    #[n(0)]
    #[default]
    Unrecorded,
    /// Only the person: a link that was mailed on behalf of an account admin proved the address, or will.
    #[n(1)]
    Owner,
    /// These users too: the inviter, and those who may act as the inviter. At most [`KnownTo::USERS_MAX`].
    #[n(2)]
    Users(#[n(0)] Vec<UserId>),
    /// More users than are recorded.
    #[n(3)]
    Anyone,
}

impl KnownTo {
    /// It is not encoded then: a record of format 5 keeps its bytes.
    fn is_unrecorded(&self) -> bool {
        *self == Self::Unrecorded
    }

    /// Longest recorded chain of inviters.
    pub const USERS_MAX: usize = 8;

    /// What `inviter` makes known, where `inviters_own` says who may act as the inviter.
    pub(crate) fn by(inviter: UserId, inviters_own: Option<&Self>) -> Self {
        match inviters_own {
            None | Some(Self::Unrecorded | Self::Owner) => Self::Users(vec![inviter]),
            Some(Self::Users(users)) if users.len() < Self::USERS_MAX => Self::Users(
                std::iter::once(inviter)
                    .chain(users.iter().copied())
                    .collect(),
            ),
            Some(Self::Users(_) | Self::Anyone) => Self::Anyone,
        }
    }

    /// Those who may know a credential that has two parts. What isn't recorded of one part isn't of both.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unrecorded, _) | (_, Self::Unrecorded) => Self::Unrecorded,
            (Self::Anyone, _) | (_, Self::Anyone) => Self::Anyone,
            (Self::Owner, known_to) | (known_to, Self::Owner) => known_to,
            (Self::Users(mut users), Self::Users(others)) => {
                let more = others.into_iter().filter(|other| !users.contains(other));
                let more: Vec<UserId> = more.collect();
                users.extend(more);
                if users.len() > Self::USERS_MAX {
                    return Self::Anyone;
                }
                Self::Users(users)
            }
        }
    }

    /// The first user besides its person who may know it; [`UserId::NOBODY`] if it may be anyone.
    pub(crate) fn inviter(&self) -> Option<UserId> {
        match self {
            Self::Unrecorded | Self::Owner => None,
            Self::Users(users) => users.first().copied(),
            Self::Anyone => Some(UserId::NOBODY),
        }
    }

    /// Whether it is recorded that somebody else may know it.
    pub(crate) const fn is_known_to_others(&self) -> bool {
        matches!(self, Self::Users(_) | Self::Anyone)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Encode)]
    struct Before {
        #[n(0)]
        user: UserId,
        #[n(1)]
        password: Option<PasswordHash>,
        #[n(2)]
        link: Option<Link>,
    }

    #[test]
    fn a_credential_from_before_does_not_say_who_may_know_it() {
        let before = Before {
            user: UserId::new(7),
            password: Some(PasswordHash::new("hash".to_owned())),
            link: None,
        };
        let bytes = minicbor::to_vec(&before).unwrap();
        let credential: Credential = minicbor::decode(&bytes).unwrap();
        assert_eq!(credential.known_to, KnownTo::Unrecorded);
        for known_to in [
            KnownTo::Owner,
            KnownTo::Users(vec![UserId::new(1), UserId::new(2)]),
            KnownTo::Anyone,
        ] {
            let credential = Credential {
                known_to,
                ..credential.clone()
            };
            let bytes = minicbor::to_vec(&credential).unwrap();
            assert_eq!(minicbor::decode::<Credential>(&bytes).unwrap(), credential);
        }
    }

    #[test]
    fn a_chain_of_inviters_that_is_too_long_to_record_counts_as_known_to_anyone() {
        let mut known_to = KnownTo::Owner;
        for number in 1..=KnownTo::USERS_MAX {
            known_to = KnownTo::by(UserId::new(u32::try_from(number).unwrap()), Some(&known_to));
            assert!(matches!(&known_to, KnownTo::Users(users) if users.len() == number));
        }
        let known_to = KnownTo::by(UserId::new(99), Some(&known_to));
        assert_eq!(known_to, KnownTo::Anyone);
        assert_eq!(
            KnownTo::by(UserId::new(100), Some(&known_to)),
            KnownTo::Anyone
        );
    }
}

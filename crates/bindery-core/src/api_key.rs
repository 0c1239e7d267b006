//! API keys. The secret itself never comes here: only its hash, and a redacted form to recognise it by.

use minicbor::{Decode, Encode};

use crate::id::{ApiKeyId, SpaceId, UserId};
use crate::text::{Description, KeyName};
use crate::time::Timestamp;

/// SHA-256 of a key's text. The text has at least 190 random bits, so a plain hash can't be searched.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct SecretHash(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

impl std::fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// What is kept of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Secret {
    /// Finds the key that a request shows.
    #[n(0)]
    pub hash: SecretHash,
    /// `ak-` + first 3 + `...` + last 3.
    #[n(1)]
    pub redacted: String,
}

/// A key that programs authenticate with.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ApiKey {
    /// Its id; stays when the secret is refreshed.
    #[n(0)]
    pub id: ApiKeyId,
    /// What it is called.
    #[n(1)]
    pub name: KeyName,
    /// Empty if there is none.
    #[n(2)]
    pub description: Description,
    /// Whom it acts for.
    #[n(3)]
    pub owner: KeyOwner,
    /// Who made it.
    #[n(4)]
    pub created_by: UserId,
    /// When.
    #[n(5)]
    pub created_at: Timestamp,
    /// The first moment at which it doesn't authenticate any more; never, if absent.
    #[n(6)]
    pub expires_at: Option<Timestamp>,
    /// Revoked for good.
    #[n(7)]
    pub is_revoked: bool,
    /// The secret that counts.
    #[n(8)]
    pub secret: Secret,
    /// The one before it, in its grace time.
    #[n(9)]
    pub previous: Option<PreviousSecret>,
    /// Whether it asks on behalf of everybody: a decision about anyone and anything in its account is its to know
    /// ([`crate::inquiry`]). What it may *do* is its principal's, as of any key.
    #[n(10)]
    #[cbor(default)]
    pub is_enforcement_point: bool,
    /// Whether it was made by signing in with a password: it ends when that password does.
    #[n(11)]
    #[cbor(default)]
    pub is_sign_in: bool,
    /// The spaces that a service key reached when somebody revoked it: whoever could read it there still can. None of one that
    /// ended since its bot lost its last place: account admins and whoever made it find it.
    #[n(12)]
    #[cbor(default)]
    pub last_spaces: Vec<SpaceId>,
    /// The bot that learned the secret by refreshing this key, or that refreshed the key which made it. The key ends no later than
    /// that bot's key. Absent if a person learned the secret, or if a bot made the key: then the bot is its creator.
    #[n(13)]
    pub ends_with: Option<UserId>,
}

/// Whom a key acts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum KeyOwner {
    /// A user key: the human who made it.
    #[n(0)]
    User(#[n(0)] UserId),
    /// A service key: a bot user of its own.
    #[n(1)]
    Service(#[n(0)] UserId),
}

/// A refreshed key's old secret while it still works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PreviousSecret {
    /// Finds the key that a request shows.
    #[n(0)]
    pub hash: SecretHash,
    /// The first moment at which it doesn't work any more.
    #[n(1)]
    pub until: Timestamp,
}

impl ApiKey {
    /// The user that a request with this key acts as.
    pub fn principal(&self) -> UserId {
        match self.owner {
            KeyOwner::User(user) | KeyOwner::Service(user) => user,
        }
    }

    /// Whether its own lifetime allows its use at `now`.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        !self.is_revoked && self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether a request that shows the secret behind `hash` is authentic at `now`.
    pub fn accepts(&self, hash: &SecretHash, now: Timestamp) -> bool {
        let previous = self
            .previous
            .is_some_and(|old| old.hash == *hash && now < old.until);
        self.is_alive(now) && (self.secret.hash == *hash || previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Encode)]
    struct Before {
        #[n(0)]
        id: ApiKeyId,
        #[n(1)]
        name: KeyName,
        #[n(2)]
        description: Description,
        #[n(3)]
        owner: KeyOwner,
        #[n(4)]
        created_by: UserId,
        #[n(5)]
        created_at: Timestamp,
        #[n(6)]
        expires_at: Option<Timestamp>,
        #[n(7)]
        is_revoked: bool,
        #[n(8)]
        secret: Secret,
        #[n(9)]
        previous: Option<PreviousSecret>,
    }

    #[test]
    fn a_key_from_before_there_were_enforcement_points_is_none() {
        let before = Before {
            id: ApiKeyId::new(7),
            name: KeyName::parse("old").unwrap(),
            description: Description::default(),
            owner: KeyOwner::User(UserId::new(1)),
            created_by: UserId::new(1),
            created_at: Timestamp::from_millis(1),
            expires_at: None,
            is_revoked: false,
            secret: Secret {
                hash: SecretHash([7; 32]),
                redacted: "ak-abc...xyz".to_owned(),
            },
            previous: None,
        };
        let bytes = minicbor::to_vec(&before).unwrap();
        let key: ApiKey = minicbor::decode(&bytes).unwrap();
        assert_eq!((key.id, key.is_enforcement_point), (before.id, false));
        let marked = ApiKey {
            is_enforcement_point: true,
            ..key
        };
        let bytes = minicbor::to_vec(&marked).unwrap();
        assert_eq!(minicbor::decode::<ApiKey>(&bytes).unwrap(), marked);
    }
}

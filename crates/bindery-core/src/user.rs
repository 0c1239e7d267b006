//! Users: humans, who have an e-mail address, and bot users, each the identity of one service key.

use minicbor::{Decode, Encode};

use crate::given::{GivenAt, Giver};
use crate::id::{
    ApiKeyId, OrganizationId, OrganizationMembershipId, SpaceId, SpaceMembershipId, UserId,
};
use crate::role::{AccountRole, OrganizationRole, SpaceRole};
use crate::text::{Email, Name};
use crate::time::Timestamp;
use crate::tree::Keyed;

/// How long an invitation can be accepted.
pub const INVITATION_SECONDS: u64 = 7 * 24 * 60 * 60;

/// A user of the account.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct User {
    /// Their id.
    #[n(0)]
    pub id: UserId,
    /// What they are called.
    #[n(1)]
    pub name: Name,
    /// Human or bot.
    #[n(2)]
    pub identity: Identity,
    /// Their role in the account.
    #[n(3)]
    pub account_role: AccountRole,
    /// Whether they may use the API and make keys (`docs/rules/authorization.md` §2).
    #[n(4)]
    pub is_developer: bool,
    /// Whether they may act at all.
    #[n(5)]
    pub standing: Standing,
    /// When they came.
    #[n(6)]
    pub created_at: Timestamp,
    /// Since when the address of a deleted person is free for a new one. It still shows in the audit trail.
    #[n(7)]
    pub address_released_at: Option<Timestamp>,
}

/// Who a user is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Identity {
    /// A person.
    #[n(0)]
    Human {
        /// Their address; no two users hold the same one, whatever their standing.
        #[n(0)]
        email: Email,
    },
    /// The identity of a service key.
    #[n(1)]
    Bot {
        /// The key.
        #[n(0)]
        key: ApiKeyId,
    },
}

/// Whether a user may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Standing {
    /// May act.
    #[n(0)]
    Active,
    /// Has not accepted the invitation; from `until` on it has expired.
    #[n(1)]
    Invited {
        /// The first moment at which it can't be accepted any more.
        #[n(0)]
        until: Timestamp,
    },
    /// Gone for good; kept for the audit trail, and so that the address can't be invited again before it is released.
    #[n(2)]
    Inactive,
}

/// The standing as clients see it; an inactive user is never seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserStatus {
    /// May act.
    Active,
    /// May accept the invitation.
    Invited,
    /// The invitation has lapsed.
    Expired,
}

impl User {
    /// The status at `now`; `None` for an inactive user.
    pub fn status(&self, now: Timestamp) -> Option<UserStatus> {
        match self.standing {
            Standing::Active => Some(UserStatus::Active),
            Standing::Invited { until } if now < until => Some(UserStatus::Invited),
            Standing::Invited { .. } => Some(UserStatus::Expired),
            Standing::Inactive => None,
        }
    }

    /// The e-mail address of a human.
    pub fn email(&self) -> Option<&Email> {
        match &self.identity {
            Identity::Human { email } => Some(email),
            Identity::Bot { .. } => None,
        }
    }

    /// The address, unless it was released after the person was deleted.
    pub fn held_email(&self) -> Option<&Email> {
        self.email().filter(|_| self.address_released_at.is_none())
    }

    /// Whether lists of people show them: not once they have left for good.
    pub(crate) fn is_listed(&self) -> bool {
        self.email().is_some() && self.standing != Standing::Inactive
    }

    /// Whether this is a person.
    pub fn is_human(&self) -> bool {
        matches!(self.identity, Identity::Human { .. })
    }
}

/// A user's role in an organization; one a user and organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OrganizationMembership {
    /// Its id.
    #[n(0)]
    pub id: OrganizationMembershipId,
    /// Whose.
    #[n(1)]
    pub user: UserId,
    /// Where.
    #[n(2)]
    pub organization: OrganizationId,
    /// Which.
    #[n(3)]
    pub role: OrganizationRole,
    /// Who gave this role.
    #[n(4)]
    pub given_by: Giver,
    /// When.
    #[n(5)]
    pub given_at: GivenAt,
}

/// A user's predefined role in a space; one a user and space. A custom role there is a role binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SpaceMembership {
    /// Its id.
    #[n(0)]
    pub id: SpaceMembershipId,
    /// Whose.
    #[n(1)]
    pub user: UserId,
    /// Where.
    #[n(2)]
    pub space: SpaceId,
    /// Which.
    #[n(3)]
    pub role: SpaceRole,
    /// Who gave this role.
    #[n(4)]
    pub given_by: Giver,
    /// When.
    #[n(5)]
    pub given_at: GivenAt,
}

impl Keyed for OrganizationMembership {
    type Key = OrganizationMembershipId;

    fn key(&self) -> OrganizationMembershipId {
        self.id
    }
}

impl Keyed for SpaceMembership {
    type Key = SpaceMembershipId;

    fn key(&self) -> SpaceMembershipId {
        self.id
    }
}

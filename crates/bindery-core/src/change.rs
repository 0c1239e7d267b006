//! Changes: what a command does to the state, as whole entities put and deleted.
//!
//! A change is what the log keeps for good and what every node applies. Its encoding is CBOR with numbered members:
//! numbers are never reused, members are only added, and a reader skips what it doesn't know.

use std::num::NonZeroU64;

use minicbor::{Decode, Decoder, Encode};

use crate::api_key::ApiKey;
use crate::credential::Credential;
use crate::id::{
    AccountId, ApiKeyId, Id as _, Kind, OrganizationId, OrganizationMembershipId, ProjectId,
    Revision, RoleBindingId, RoleId, SpaceId, SpaceMembershipId, UserId,
};
use crate::place::{Account, Organization, Project, Restriction, Space};
use crate::resource::Bindable;
use crate::role::Role;
use crate::role_binding::RoleBinding;
use crate::time::Timestamp;
use crate::user::{Identity, OrganizationMembership, SpaceMembership, User};

/// One entity put (new or replaced, whole) or deleted. Applying it can't fail.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[expect(missing_docs, reason = "each variant is its entity put or deleted")]
pub enum Change {
    #[n(0)]
    PutAccount(#[n(0)] Account),
    #[n(1)]
    PutUser(#[n(0)] User),
    #[n(2)]
    PutOrganization(#[n(0)] Organization),
    #[n(3)]
    DeleteOrganization(#[n(0)] OrganizationId),
    #[n(4)]
    PutOrganizationMembership(#[n(0)] OrganizationMembership),
    #[n(5)]
    DeleteOrganizationMembership(#[n(0)] OrganizationMembershipId),
    #[n(6)]
    PutSpace(#[n(0)] Space),
    #[n(7)]
    DeleteSpace(#[n(0)] SpaceId),
    #[n(8)]
    PutSpaceMembership(#[n(0)] SpaceMembership),
    #[n(9)]
    DeleteSpaceMembership(#[n(0)] SpaceMembershipId),
    #[n(10)]
    PutProject(#[n(0)] Project),
    #[n(11)]
    DeleteProject(#[n(0)] ProjectId),
    #[n(12)]
    PutRestriction(#[n(0)] Restriction),
    #[n(13)]
    DeleteRestriction(#[n(0)] ProjectId),
    #[n(14)]
    PutRole(#[n(0)] Role),
    #[n(15)]
    DeleteRole(#[n(0)] RoleId),
    #[n(16)]
    PutRoleBinding(#[n(0)] RoleBinding),
    #[n(17)]
    DeleteRoleBinding(#[n(0)] RoleBindingId),
    #[n(18)]
    PutApiKey(#[n(0)] ApiKey),
    #[n(19)]
    PutCredential(#[n(0)] Credential),
    #[n(20)]
    DeleteCredential(#[n(0)] UserId),
}

impl Change {
    /// The kind and number of the entity that is put or deleted: its key among the current records.
    pub fn key(&self) -> (Kind, u32) {
        match self {
            Self::PutAccount(account) => {
                let AccountId(number) = account.id;
                (Kind::Account, number)
            }
            Self::PutUser(user) => (Kind::User, user.id.number()),
            Self::PutOrganization(organization) => (Kind::Organization, organization.id.number()),
            Self::DeleteOrganization(id) => (Kind::Organization, id.number()),
            Self::PutOrganizationMembership(membership) => {
                (Kind::OrganizationMembership, membership.id.number())
            }
            Self::DeleteOrganizationMembership(id) => (Kind::OrganizationMembership, id.number()),
            Self::PutSpace(space) => (Kind::Space, space.id.number()),
            Self::DeleteSpace(id) => (Kind::Space, id.number()),
            Self::PutSpaceMembership(membership) => (Kind::SpaceMembership, membership.id.number()),
            Self::DeleteSpaceMembership(id) => (Kind::SpaceMembership, id.number()),
            Self::PutProject(project) => (Kind::Project, project.id.number()),
            Self::DeleteProject(id) => (Kind::Project, id.number()),
            Self::PutRestriction(restriction) => (Kind::Restriction, restriction.project.number()),
            Self::DeleteRestriction(id) => (Kind::Restriction, id.number()),
            Self::PutRole(role) => (Kind::Role, role.id.number()),
            Self::DeleteRole(id) => (Kind::Role, id.number()),
            Self::PutRoleBinding(binding) => (Kind::RoleBinding, binding.id.number()),
            Self::DeleteRoleBinding(id) => (Kind::RoleBinding, id.number()),
            Self::PutApiKey(key) => (Kind::ApiKey, key.id.number()),
            Self::PutCredential(credential) => (Kind::Credential, credential.user.number()),
            Self::DeleteCredential(user) => (Kind::Credential, user.number()),
        }
    }

    /// Whether the entity is gone after this change.
    pub fn is_delete(&self) -> bool {
        match self {
            Self::DeleteOrganization(_)
            | Self::DeleteOrganizationMembership(_)
            | Self::DeleteSpace(_)
            | Self::DeleteSpaceMembership(_)
            | Self::DeleteProject(_)
            | Self::DeleteRestriction(_)
            | Self::DeleteRole(_)
            | Self::DeleteRoleBinding(_)
            | Self::DeleteCredential(_) => true,
            Self::PutAccount(_)
            | Self::PutUser(_)
            | Self::PutOrganization(_)
            | Self::PutOrganizationMembership(_)
            | Self::PutSpace(_)
            | Self::PutSpaceMembership(_)
            | Self::PutProject(_)
            | Self::PutRestriction(_)
            | Self::PutRole(_)
            | Self::PutRoleBinding(_)
            | Self::PutApiKey(_)
            | Self::PutCredential(_) => false,
        }
    }

    /// What no two current entities of one kind may have in common: a database's second line of defence behind the
    /// checks of the commands. `None` where the number alone is enough.
    pub fn natural_key(&self) -> Option<String> {
        match self {
            Self::PutUser(user) => match &user.identity {
                Identity::Human { email } => Some(email.folded()),
                Identity::Bot { .. } => None,
            },
            Self::PutOrganization(organization) => Some(organization.name.as_str().to_owned()),
            Self::PutSpace(space) => {
                Some(format!("{}/{}", space.organization.number(), space.name))
            }
            Self::PutProject(project) => {
                Some(format!("{}/{}", project.space.number(), project.name))
            }
            Self::PutRole(role) => Some(role.name.as_str().to_owned()),
            Self::PutOrganizationMembership(membership) => Some(format!(
                "{}/{}",
                membership.user.number(),
                membership.organization.number()
            )),
            Self::PutSpaceMembership(membership) => Some(format!(
                "{}/{}",
                membership.user.number(),
                membership.space.number()
            )),
            Self::PutRoleBinding(binding) => {
                let kind = match binding.resource {
                    Bindable::Space(_) => 'S',
                    Bindable::Project(_) => 'P',
                };
                Some(format!(
                    "{}/{kind}{}",
                    binding.user.number(),
                    binding.resource.number()
                ))
            }
            Self::PutAccount(_)
            | Self::PutRestriction(_)
            | Self::PutApiKey(_)
            | Self::PutCredential(_)
            | Self::DeleteCredential(_)
            | Self::DeleteOrganization(_)
            | Self::DeleteOrganizationMembership(_)
            | Self::DeleteSpace(_)
            | Self::DeleteSpaceMembership(_)
            | Self::DeleteProject(_)
            | Self::DeleteRestriction(_)
            | Self::DeleteRole(_)
            | Self::DeleteRoleBinding(_) => None,
        }
    }

    /// Its bytes, for the log and the current records.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads [`Self::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        minicbor::decode(bytes).map_err(DecodeError)
    }

    /// The one member of a change with this number, without the change around it, which is much larger. `None` where
    /// that isn't as [`Self::encode`] writes it: [`Self::decode`] knows then what it is.
    pub(crate) fn decode_member<'b, T: Decode<'b, ()>>(variant: u32, bytes: &'b [u8]) -> Option<T> {
        let mut decoder = Decoder::new(bytes);
        let is_it = decoder.array().ok()? == Some(2)
            && decoder.u32().ok()? == variant
            && decoder.array().ok()? == Some(1);
        is_it.then(|| decoder.decode().ok()).flatten()
    }
}

/// Everything that one command changed, at its place in the order.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// Its place.
    #[n(0)]
    pub revision: Revision,
    /// When it was decided. Never earlier than the entry before it.
    #[n(1)]
    pub at: Timestamp,
    /// On whose behalf; absent for the operator of the installation.
    #[n(2)]
    pub by: Option<UserId>,
    /// The key that was used.
    #[n(3)]
    pub key: Option<ApiKeyId>,
    /// The operation, by its operation id.
    #[n(4)]
    pub operation: String,
    /// A random number of the batch it was committed in: tells a writer whether a commit whose answer was lost was
    /// its own, and one log from another that has come as far.
    #[n(5)]
    pub batch: u64,
    /// What changed; never empty.
    #[n(6)]
    pub changes: Vec<Change>,
}

impl Entry {
    /// Its bytes, for the log.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads [`Self::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        minicbor::decode(bytes).map_err(DecodeError)
    }

    /// Where the log has come to with it.
    pub const fn position(&self) -> LogPosition {
        LogPosition {
            revision: self.revision,
            batch: NonZeroU64::new(self.batch),
        }
    }
}

/// How far a log has come, and by which entry. A log that has lost its end (its database was restored, or another server took
/// over that had not heard of everything) has other entries at the same revisions after a while: the revision alone can't tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPosition {
    /// The revision of the last entry; 0 before the first.
    pub revision: Revision,
    /// The batch of the last entry, where it is known.
    pub batch: Option<NonZeroU64>,
}

impl LogPosition {
    /// Whether a log that has come to the other position can be the one that has come to this one, at the same revision.
    pub fn is_met_by(self, other: Self) -> bool {
        let batches = self.batch.zip(other.batch);
        self.revision == other.revision && batches.is_none_or(|(one, other)| one == other)
    }
}

impl From<Revision> for LogPosition {
    /// There, by whichever entry.
    fn from(revision: Revision) -> Self {
        Self {
            revision,
            batch: None,
        }
    }
}

fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A Vec takes every write, and the entities' own encoders have no failing case.
    let _: Result<(), _> = minicbor::encode(value, &mut bytes);
    bytes
}

/// Bytes of the log or of a record that this version can't read.
#[derive(Debug, thiserror::Error)]
#[error("not a change that this version can read: {0}")]
pub struct DecodeError(minicbor::decode::Error);

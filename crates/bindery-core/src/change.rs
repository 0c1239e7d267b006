//! Changes: what a command does to the state, as whole entities put and deleted.
//!
//! A change is what the log keeps for good and what every node applies. Its encoding is CBOR with numbered members:
//! numbers are never reused, members are only added, and a reader skips what it doesn't know.

use std::num::NonZeroU64;

use minicbor::{Decode, Decoder, Encode};

use crate::api_key::ApiKey;
use crate::credential::Credential;
use crate::given::Giver;
use crate::id::{
    AccountId, ApiKeyId, Id as _, Kind, OrganizationId, OrganizationMembershipId, ProjectId,
    Revision, RoleBindingId, RoleId, SpaceId, SpaceMembershipId, UserId,
};
use crate::place::{Account, Organization, Project, Restriction, Space};
pub use crate::position::LogPosition;
use crate::resource::Bindable;
use crate::role::Role;
use crate::role_binding::RoleBinding;
use crate::rules::RulesVersion;
use crate::text::{Email, RequestId};
use crate::time::Timestamp;
use crate::user::{OrganizationMembership, SpaceMembership, User};

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
            Self::PutUser(user) => user.held_email().map(Email::folded),
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

    /// Says who gave the role that it puts, if it puts one and doesn't say.
    pub fn give(&mut self, by: Giver, at: Timestamp) {
        if let Self::PutOrganizationMembership(OrganizationMembership {
            given_by, given_at, ..
        })
        | Self::PutSpaceMembership(SpaceMembership {
            given_by, given_at, ..
        }) = self
            && *given_by == Giver::UNKNOWN
        {
            *given_by = by;
            *given_at = at.into();
        }
        if let Self::PutRoleBinding(RoleBinding { given_by, .. }) = self
            && *given_by == Giver::UNKNOWN
        {
            *given_by = by;
        }
    }

    /// Its bytes, for the log and the current records.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads [`Self::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode_whole(bytes)
    }

    /// The one member of a change with this number, without the change around it, which is much larger. `None` where
    /// that isn't as [`Self::encode`] writes it: [`Self::decode`] knows then what it is.
    pub(crate) fn decode_member<'b, T: Decode<'b, ()>>(variant: u32, bytes: &'b [u8]) -> Option<T> {
        let mut decoder = Decoder::new(bytes);
        let is_it = decoder.array().ok()? == Some(2)
            && decoder.u32().ok()? == variant
            && decoder.array().ok()? == Some(1);
        let member = is_it.then(|| decoder.decode().ok()).flatten()?;
        (decoder.position() == bytes.len()).then_some(member)
    }
}

/// Everything that one transaction of an account changed, at its place in the order: what one command did, or several parts that
/// take effect together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub revision: Revision,
    /// When it was decided. Never earlier than the entry before it.
    pub at: Timestamp,
    /// On whose behalf; absent for the operator of the installation.
    pub by: Option<UserId>,
    /// The key that was used.
    pub key: Option<ApiKeyId>,
    /// A random number of the batch it was committed in: tells a writer whether a commit whose answer was lost was
    /// its own, and one log from another that has come as far.
    pub batch: u64,
    /// What was asked for, in order; never empty. Each part made the next [`Part::changes`] of the changes.
    pub parts: Vec<Part>,
    /// What changed; never empty.
    pub changes: Vec<Change>,
    /// For each change that replaces or deletes an entity, in the order of the changes: the entity as it was, as the put of it.
    /// Empty in entries from before format 6.
    pub before: Vec<Change>,
    /// Through what it came.
    pub origin: Origin,
    /// The digest of the plan that it carries out, if it carries out one.
    pub plan: Option<PlanDigest>,
    /// The permission and predefined-role tables that it was decided by.
    pub rules: RulesVersion,
}

/// One operation of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    /// The operation, by its operation id.
    #[n(0)]
    pub operation: String,
    /// The request that asked for it.
    #[n(1)]
    pub request: Option<RequestId>,
    /// How many of the entry's changes it made.
    #[n(2)]
    pub changes: u32,
}

impl Part {
    /// The operation that made all these changes.
    pub fn of(operation: impl Into<String>, changes: &[Change]) -> Self {
        Self {
            operation: operation.into(),
            request: None,
            // An entry that doesn't fit into a database has fewer.
            changes: u32::try_from(changes.len()).unwrap_or(u32::MAX),
        }
    }
}

/// Through what an entry came. A number that this version has no name for is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Origin(#[n(0)] u32);

impl Origin {
    /// There is no record: the entry is from before format 6.
    pub const UNKNOWN: Self = Self(0);
    /// A request with a key, or of a person who proved who they are.
    pub const API: Self = Self(1);
    /// A command of the operator of the installation.
    pub const OPERATOR: Self = Self(2);
    /// An import of data from elsewhere.
    pub const IMPORT: Self = Self(3);

    /// The number that is stored.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// SHA-256 of a plan, which says what is to be changed before it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct PlanDigest(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

/// An [`Entry`] of one operation about which nothing else is recorded.
#[derive(Clone, Debug)]
#[expect(
    missing_docs,
    reason = "the members of `Entry`, and the operation of its one part"
)]
pub struct OneOperation {
    pub revision: Revision,
    pub at: Timestamp,
    pub by: Option<UserId>,
    pub key: Option<ApiKeyId>,
    pub operation: String,
    pub batch: u64,
    pub changes: Vec<Change>,
}

impl From<OneOperation> for Entry {
    fn from(made: OneOperation) -> Self {
        let OneOperation {
            revision,
            at,
            by,
            key,
            operation,
            batch,
            changes,
        } = made;
        Self {
            revision,
            at,
            by,
            key,
            batch,
            parts: vec![Part::of(operation, &changes)],
            changes,
            before: Vec::new(),
            origin: Origin::UNKNOWN,
            plan: None,
            rules: RulesVersion::UNKNOWN,
        }
    }
}

/// Why an entry of several parts is refused. An entry of one operation has no such limit: its cascade is as large as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartsError {
    /// Too many changes.
    #[error(
        "{actual} changes in one entry of several operations; at most {} are accepted: send fewer at once",
        Entry::CHANGES_OF_PARTS_MAX
    )]
    Changes {
        /// How many there are.
        actual: usize,
    },
    /// Too many bytes.
    #[error(
        "an entry of several operations takes {actual} bytes; at most {} are accepted: send fewer at once",
        Entry::BYTES_OF_PARTS_MAX
    )]
    Bytes {
        /// How many there are.
        actual: usize,
    },
    /// The parts don't tell whose each change is.
    #[error("the parts of an entry have {parts} changes and the entry has {changes}")]
    Count {
        /// Of all parts together.
        parts: u64,
        /// Of the entry.
        changes: usize,
    },
}

impl Entry {
    /// The most changes of an entry of several parts.
    pub const CHANGES_OF_PARTS_MAX: usize = 50_000;
    /// The most bytes of an entry of several parts, as it is stored.
    pub const BYTES_OF_PARTS_MAX: usize = 8 << 20;

    /// The operation, of its first part.
    pub fn operation(&self) -> &str {
        let first = self.parts.first();
        first.map_or("", |part| &part.operation)
    }

    /// Refuses parts that don't fit the changes, and several parts that are too much for one entry.
    pub fn check_parts(&self) -> Result<(), PartsError> {
        self.count_parts()?;
        let changes = self.changes.len();
        if self.parts.len() == 1 {
            return Ok(());
        }
        if changes > Self::CHANGES_OF_PARTS_MAX {
            return Err(PartsError::Changes { actual: changes });
        }
        match self.encode().len() {
            actual if actual > Self::BYTES_OF_PARTS_MAX => Err(PartsError::Bytes { actual }),
            _ => Ok(()),
        }
    }

    fn count_parts(&self) -> Result<(), PartsError> {
        let changes = self.changes.len();
        let counts = self.parts.iter().map(|part| u64::from(part.changes));
        let parts = counts.fold(0, u64::saturating_add);
        if self.parts.is_empty() || usize::try_from(parts) != Ok(changes) {
            return Err(PartsError::Count { parts, changes });
        }
        Ok(())
    }

    /// Its bytes, for the log.
    pub fn encode(&self) -> Vec<u8> {
        encode(&Written {
            revision: self.revision,
            at: self.at,
            by: self.by,
            key: self.key,
            batch: self.batch,
            changes: &self.changes,
            parts: &self.parts,
            before: &self.before,
            origin: self.origin,
            plan: self.plan,
            rules: self.rules,
        })
    }

    /// Reads [`Self::encode`]. An entry of a format before 6 has one part, made of its operation, and gives the roles that it puts:
    /// in those formats a binding or membership was only put with a new role, and without who gave it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut entry, is_before_parts) = Self::read_stored(bytes)?;
        if is_before_parts {
            let (by, at) = (Giver::by(entry.by), entry.at);
            for change in &mut entry.changes {
                change.give(by, at);
            }
        }
        Ok(entry)
    }

    /// The same, but nothing is added that an entry of a format before 6 doesn't have.
    pub fn decode_as_written(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read_stored(bytes).map(|(entry, _)| entry)
    }

    /// The entry, and whether it is of a format before 6.
    fn read_stored(bytes: &[u8]) -> Result<(Self, bool), DecodeError> {
        let read: Read = decode_whole(bytes)?;
        let is_before_parts = read.operation.is_some();
        let message = |text| DecodeError(minicbor::decode::Error::message(text));
        let parts = match (read.operation, read.parts) {
            (Some(operation), None) => vec![Part::of(operation, &read.changes)],
            (None, Some(parts)) => parts,
            _ => return Err(message("an entry has either one operation or parts")),
        };
        let entry = Self {
            revision: read.revision,
            at: read.at,
            by: read.by,
            key: read.key,
            batch: read.batch,
            parts,
            changes: read.changes,
            before: read.before.unwrap_or_default(),
            origin: read.origin.unwrap_or_default(),
            plan: read.plan,
            rules: read.rules.unwrap_or_default(),
        };
        // How much is accepted may change; what is stored stays readable.
        match entry.count_parts() {
            Err(_) => Err(message("the parts of an entry don't have its changes")),
            Ok(()) => Ok((entry, is_before_parts)),
        }
    }

    /// Where the log has come to with it.
    pub const fn position(&self) -> LogPosition {
        LogPosition {
            revision: self.revision,
            batch: NonZeroU64::new(self.batch),
        }
    }
}

/// An [`Entry`] as it is written. Member 4 was the operation, before there were parts.
#[derive(Encode)]
struct Written<'a> {
    #[n(0)]
    revision: Revision,
    #[n(1)]
    at: Timestamp,
    #[n(2)]
    by: Option<UserId>,
    #[n(3)]
    key: Option<ApiKeyId>,
    #[n(5)]
    batch: u64,
    #[n(6)]
    changes: &'a [Change],
    #[n(7)]
    parts: &'a [Part],
    #[n(8)]
    before: &'a [Change],
    #[n(9)]
    origin: Origin,
    #[n(10)]
    plan: Option<PlanDigest>,
    #[n(11)]
    rules: RulesVersion,
}

/// An [`Entry`] as it is read, of any format.
#[derive(Decode)]
struct Read {
    #[n(0)]
    revision: Revision,
    #[n(1)]
    at: Timestamp,
    #[n(2)]
    by: Option<UserId>,
    #[n(3)]
    key: Option<ApiKeyId>,
    #[n(4)]
    operation: Option<String>,
    #[n(5)]
    batch: u64,
    #[n(6)]
    changes: Vec<Change>,
    #[cbor(n(7), decode_with = "known")]
    parts: Option<Vec<Part>>,
    #[cbor(n(8), decode_with = "known")]
    before: Option<Vec<Change>>,
    #[n(9)]
    origin: Option<Origin>,
    #[n(10)]
    plan: Option<PlanDigest>,
    #[n(11)]
    rules: Option<RulesVersion>,
}

/// Decodes a member that may be absent, and refuses a kind of thing that this version doesn't know. What is derived takes that
/// for absent: something that somebody stored would be dropped in silence. Whatever has an enum in it and may be absent is to be
/// decoded with this.
pub(crate) fn known<'b, C, T: Decode<'b, C>>(
    d: &mut Decoder<'b>,
    context: &mut C,
) -> Result<T, minicbor::decode::Error> {
    let at = d.position();
    T::decode(d, context).map_err(|error| {
        if error.is_unknown_variant() {
            let why = "a kind of thing that this version doesn't know";
            minicbor::decode::Error::message(why).at(at)
        } else {
            error
        }
    })
}

fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A Vec takes every write, and the entities' own encoders have no failing case.
    let _: Result<(), _> = minicbor::encode(value, &mut bytes);
    bytes
}

/// Refuses what goes on behind its end: that is not what was written.
fn decode_whole<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let whole = decoder.decode().map_err(DecodeError)?;
    if decoder.position() == bytes.len() {
        return Ok(whole);
    }
    let message = "it goes on behind its end";
    let error = minicbor::decode::Error::message(message).at(decoder.position());
    Err(DecodeError(error))
}

/// Bytes of the log or of a record that this version can't read.
#[derive(Debug, thiserror::Error)]
#[error("not a change that this version can read: {0}")]
pub struct DecodeError(minicbor::decode::Error);

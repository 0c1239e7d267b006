//! Places: the account, organizations, spaces and projects, and the restriction that a project can carry.

use minicbor::{Decode, Encode};

use crate::id::{AccountId, IdKey, OrganizationId, ProjectId, SpaceId};
use crate::quota::QuotaLimits;
use crate::text::{Description, Label, Name};
use crate::time::Timestamp;

/// The outer wall: nothing of one account is ever visible in another.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Account {
    /// Its number in this installation.
    #[n(0)]
    pub id: AccountId,
    /// For the operator.
    #[n(1)]
    pub name: Name,
    /// What its ids are checked with.
    #[n(2)]
    pub id_key: IdKey,
    /// When it was made; predefined roles carry it as their own date.
    #[n(3)]
    pub created_at: Timestamp,
    /// What its operator has set.
    #[n(4)]
    pub settings: AccountSettings,
}

/// What an operator may set for a whole account.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AccountSettings {
    /// Off: no key can be made or refreshed; existing service keys go on.
    #[n(0)]
    pub developer_access: bool,
    /// Off: audit logs can't be read.
    #[n(1)]
    pub audit_logging: bool,
    /// The longest life of a new key in seconds; unlimited if absent.
    #[n(2)]
    pub key_lifetime_max_seconds: Option<u64>,
    /// How much the account, and one person in it, can make the store keep.
    #[n(3)]
    pub quotas: QuotaLimits,
}

impl Default for AccountSettings {
    fn default() -> Self {
        Self {
            developer_access: true,
            audit_logging: true,
            key_lifetime_max_seconds: None,
            quotas: QuotaLimits::default(),
        }
    }
}

/// An organization of the account.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Organization {
    /// Its id.
    #[n(0)]
    pub id: OrganizationId,
    /// Unique in the account.
    #[n(1)]
    pub name: Name,
    /// Empty if there is none.
    #[n(2)]
    pub description: Description,
    /// When it was made.
    #[n(3)]
    pub created_at: Timestamp,
}

/// A space of an organization.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Space {
    /// Its id.
    #[n(0)]
    pub id: SpaceId,
    /// Where it lies; for good.
    #[n(1)]
    pub organization: OrganizationId,
    /// Unique in the organization.
    #[n(2)]
    pub name: Name,
    /// Empty if there is none.
    #[n(3)]
    pub description: Description,
    /// Private: only members and admins; public: every member of the organization.
    #[n(4)]
    pub is_private: bool,
    /// When it was made.
    #[n(5)]
    pub created_at: Timestamp,
    /// What clients store with it and Bindery doesn't read.
    #[n(6)]
    pub settings: SpaceSettings,
}

/// Settings of a space that other programs read; kept and returned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct SpaceSettings {
    /// The model that new evaluations use.
    #[n(0)]
    pub default_llm_integration: Option<LlmIntegration>,
    /// The integration that agents run on.
    #[n(1)]
    pub default_agent_runtime: Option<Label>,
    /// Whether classic models are shown.
    #[n(2)]
    pub ml_models_enabled: Option<bool>,
    /// A colour.
    #[n(3)]
    pub gradient_start_color: Option<Label>,
    /// A colour.
    #[n(4)]
    pub gradient_end_color: Option<Label>,
}

/// A model of an integration.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LlmIntegration {
    /// The integration's id, unchecked.
    #[n(0)]
    pub integration_id: Label,
    /// The model's name, unchecked.
    #[n(1)]
    pub model_name: Label,
}

/// A project of a space.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Project {
    /// Its id.
    #[n(0)]
    pub id: ProjectId,
    /// Where it lies; for good.
    #[n(1)]
    pub space: SpaceId,
    /// Unique in the space.
    #[n(2)]
    pub name: Name,
    /// When it was made.
    #[n(3)]
    pub created_at: Timestamp,
}

/// A mark on a project that cuts what would be inherited (`docs/rules/authorization.md` §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Restriction {
    /// The project.
    #[n(0)]
    pub project: ProjectId,
    /// Since when.
    #[n(1)]
    pub created_at: Timestamp,
}

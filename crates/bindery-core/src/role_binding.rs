//! Role bindings: user + resource -> role, at most one a user and resource.

use minicbor::{Decode, Encode};

use crate::given::Giver;
use crate::id::{RoleBindingId, RoleId, UserId};
use crate::resource::Bindable;
use crate::time::Timestamp;

/// A role given to a user on a space or project (`docs/rules/operations.md`, role bindings).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RoleBinding {
    /// Its id; stays when the role changes.
    #[n(0)]
    pub id: RoleBindingId,
    /// Who has the role.
    #[n(1)]
    pub user: UserId,
    /// On what.
    #[n(2)]
    pub resource: Bindable,
    /// Which role: the only member that ever changes.
    #[n(3)]
    pub role: RoleId,
    /// When it was made.
    #[n(4)]
    pub created_at: Timestamp,
    /// When the role last changed; strictly later with each change.
    #[n(5)]
    pub updated_at: Timestamp,
    /// Who gave the role that it has now.
    #[n(6)]
    pub given_by: Giver,
}

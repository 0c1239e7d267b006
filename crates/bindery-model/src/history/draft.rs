//! Drafts: commands with picks instead of ids and names.

use bindery_core::permission::Permission;
use bindery_core::role::AccountRole;

use super::Pick;

/// A draft of a command, named like the core's command.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the core's commands document them")]
pub enum Draft {
    Bootstrap,
    IssueUserKey {
        user: Pick,
        is_enforcement_point: bool,
    },
    SetQuota {
        /// The index among the totals.
        quota: u8,
        /// `None` is the default.
        limit: Option<u64>,
    },
    CreateRoleBinding {
        user: Pick,
        role: Pick,
        on: OnPick,
    },
    UpdateRoleBinding {
        binding: Pick,
        role: Pick,
    },
    DeleteRoleBinding {
        binding: Pick,
    },
    CreateRole {
        name: NamePick,
        permissions: Vec<Permission>,
    },
    UpdateRole {
        role: Pick,
        name: Option<NamePick>,
        permissions: Option<Vec<Permission>>,
    },
    DeleteRole {
        role: Pick,
    },
    CreateResourceRestriction {
        project: Pick,
    },
    DeleteResourceRestriction {
        project: Pick,
    },
    CreateUser {
        email: EmailPick,
        /// `None` requests a custom role.
        role: Option<AccountRole>,
        invitation: InvitationPick,
        is_developer: Option<bool>,
    },
    UpdateUser {
        user: Pick,
        name: Option<NamePick>,
        is_developer: Option<bool>,
    },
    DeleteUser {
        user: Pick,
    },
    ReleaseAddress {
        user: Pick,
    },
    ResendInvitation {
        user: Pick,
    },
    RenewTemporaryPassword {
        user: Pick,
    },
    ResetPassword {
        user: Pick,
    },
    AcceptInvitation {
        link: LinkPick,
    },
    CompletePasswordReset {
        link: LinkPick,
        end_keys: bool,
    },
    SignIn {
        /// Whether the password is correct.
        is_right: bool,
        has_new_password: bool,
        end_keys: bool,
    },
    CreateOrganization {
        name: NamePick,
    },
    UpdateOrganization {
        organization: Pick,
        name: Option<NamePick>,
    },
    DeleteOrganization {
        organization: Pick,
    },
    AddOrganizationUser {
        organization: Pick,
        user: Pick,
        role: RolePick,
    },
    RemoveOrganizationUser {
        organization: Pick,
        user: UserPick,
    },
    CreateSpace {
        name: NamePick,
        organization: Pick,
        is_private: bool,
    },
    UpdateSpace {
        space: Pick,
        name: Option<NamePick>,
        change: SpaceChange,
    },
    DeleteSpace {
        space: Pick,
    },
    AddSpaceUser {
        space: Pick,
        user: UserPick,
        role: RolePick,
    },
    RemoveSpaceUser {
        space: Pick,
        user: UserPick,
    },
    CreateProject {
        name: NamePick,
        space: Pick,
    },
    UpdateProject {
        project: Pick,
        name: NamePick,
    },
    DeleteProject {
        project: Pick,
    },
    CreateUserKey {
        expiry: Expiry,
    },
    CreateServiceKey {
        /// `None` requests a custom role.
        account_role: Option<AccountRole>,
        places: Vec<KeyPlace>,
        expiry: Expiry,
    },
    RefreshApiKey {
        key: Pick,
        expiry: Expiry,
        grace_seconds: u64,
    },
    RevokeApiKey {
        key: Pick,
    },
    MarkEnforcementPoint {
        key: Pick,
    },
    UnmarkEnforcementPoint {
        key: Pick,
    },
}

/// How a user is invited.
#[derive(Clone, Copy, Debug)]
pub enum InvitationPick {
    /// Not at all: the user is active at once.
    None,
    /// By a link.
    Link,
    /// With a temporary password.
    TemporaryPassword,
}

/// Picks a link.
#[derive(Clone, Copy, Debug)]
pub enum LinkPick {
    /// The caller's own, if they have one.
    Own,
    /// Any user's, or an unknown one.
    Any(Pick),
}

/// Picks the resource of a binding.
#[derive(Clone, Copy, Debug)]
pub enum OnPick {
    /// A space.
    Space(Pick),
    /// A project.
    Project(Pick),
}

/// Picks a user for a place.
#[derive(Clone, Copy, Debug)]
pub enum UserPick {
    /// A user who is a member already, or a member of the space's organization, if there is one.
    Member(Pick),
    /// Any user.
    Any(Pick),
}

/// Picks a role for a user in an organization or space.
#[derive(Clone, Copy, Debug)]
pub enum RolePick {
    /// A predefined one that the user's account role allows.
    Fitting(u8),
    /// Any predefined one.
    Any(u8),
    /// A role by its id.
    Custom(Pick),
}

/// Picks a name.
#[derive(Clone, Copy, Debug)]
pub enum NamePick {
    /// An unused one.
    Fresh,
    /// One that something of the kind has or had, or for roles that of a predefined role.
    Taken(Pick),
}

/// Picks an address.
#[derive(Clone, Copy, Debug)]
pub enum EmailPick {
    /// An unused one.
    Fresh,
    /// A user's, in capitals.
    Taken(Pick),
}

/// Picks the expiry of a key.
#[derive(Clone, Copy, Debug)]
pub enum Expiry {
    /// None is sent.
    Absent,
    /// This many seconds from now.
    In(u64),
    /// This many seconds before the old expiry of the key that is refreshed.
    BeforeTheOld(u64),
    /// Now, which is too late.
    Now,
}

/// What to change about a space.
#[derive(Clone, Copy, Debug)]
pub enum SpaceChange {
    /// Private or public.
    Privacy(bool),
    /// A setting that no decision depends on.
    Color,
    /// Set or clear what other programs read.
    Integration(bool),
}

/// A bot's place in an organization.
#[derive(Clone, Debug)]
pub struct KeyPlace {
    /// The organization.
    pub organization: Pick,
    /// The role there.
    pub role: RolePick,
    /// Mostly spaces of it, and the roles there.
    pub spaces: Vec<(Pick, RolePick)>,
}

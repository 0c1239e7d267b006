//! Wishes: the commands, with picks in the place of ids and names.

use bindery_core::permission::Permission;
use bindery_core::role::AccountRole;

use super::Pick;

/// A command to be, named like the core's.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the core's commands document them")]
pub enum Wish {
    Bootstrap,
    IssueUserKey {
        user: Pick,
        is_enforcement_point: bool,
    },
    SetQuota {
        /// Which of the totals.
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
        /// `None` asks for a custom role.
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
        /// Whether the password is the right one.
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
        /// `None` asks for a custom role.
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

/// How somebody is invited.
#[derive(Clone, Copy, Debug)]
pub enum InvitationPick {
    /// Not at all: they are active at once.
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
    /// Anybody's, or one that nobody has.
    Any(Pick),
}

/// Picks what a role is bound on.
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
    /// Someone who is there already, or in the organization of the space they come to, if anyone is.
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
    /// One that nothing has.
    Fresh,
    /// One that something of the kind has or had, or for roles a predefined one's.
    Taken(Pick),
}

/// Picks an address.
#[derive(Clone, Copy, Debug)]
pub enum EmailPick {
    /// One that nobody has.
    Fresh,
    /// A user's, in capitals.
    Taken(Pick),
}

/// Picks the end of a key.
#[derive(Clone, Copy, Debug)]
pub enum Expiry {
    /// None is sent.
    Absent,
    /// So many seconds from now.
    In(u64),
    /// So many seconds before the old end of the key that is refreshed.
    BeforeTheOld(u64),
    /// This very moment, which is too late.
    Now,
}

/// What to change of a space.
#[derive(Clone, Copy, Debug)]
pub enum SpaceChange {
    /// Private or public.
    Privacy(bool),
    /// A setting that decides nothing.
    Color,
    /// Set or clear what other programs read.
    Integration(bool),
}

/// A bot's place in an organization.
#[derive(Clone, Debug)]
pub struct KeyPlace {
    /// Where.
    pub organization: Pick,
    /// The role there.
    pub role: RolePick,
    /// Spaces of it, mostly, and the roles there.
    pub spaces: Vec<(Pick, RolePick)>,
}

//! Roles: named sets of permissions, predefined ones as data and custom ones per account.

use minicbor::{Decode, Encode};

use crate::id::{Id as _, RoleId};
use crate::permission::PermissionSet;
use crate::resource::Level;
use crate::text::{Description, RoleName};
use crate::time::Timestamp;

mod table;
pub use table::PREDEFINED_ROLES;

/// The number of the first custom role; those below are kept for [`PREDEFINED_ROLES`], which may grow.
pub const CUSTOM_FIRST: u32 = 64;

/// A role that is the same in every account (`contract/predefined-roles.tsv`).
#[derive(Debug)]
pub struct PredefinedRole {
    /// The name that clients see.
    pub name: &'static str,
    /// The level it is made for.
    pub level: Level,
    /// Its value in role assignments of its level, if it can be assigned so.
    pub enum_value: Option<&'static str>,
    /// Whether it stands in `GET /v2/roles` and can be bound.
    pub listed: bool,
    /// What it grants.
    pub permissions: PermissionSet,
}

impl PredefinedRole {
    /// The predefined role with this id, if it is one.
    pub fn by_id(id: RoleId) -> Option<&'static Self> {
        let place = usize::try_from(id.number().checked_sub(1)?).ok()?;
        PREDEFINED_ROLES.get(place)
    }

    /// All of them with their ids.
    pub fn all() -> impl Iterator<Item = (RoleId, &'static Self)> {
        (1..).map(RoleId::new).zip(&PREDEFINED_ROLES)
    }
}

/// A role that this account made.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Role {
    /// Its id, [`CUSTOM_FIRST`] or above.
    #[n(0)]
    pub id: RoleId,
    /// Unique among all roles of the account.
    #[n(1)]
    pub name: RoleName,
    /// Empty if there is none.
    #[n(2)]
    pub description: Description,
    /// Never empty.
    #[n(3)]
    pub permissions: PermissionSet,
    /// When it was made.
    #[n(4)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[n(5)]
    pub updated_at: Timestamp,
}

/// A role of either sort, as it is shown.
#[derive(Clone, Copy, Debug)]
pub enum AnyRole<'a> {
    /// One that every account has.
    Predefined(RoleId, &'static PredefinedRole),
    /// One that this account made.
    Custom(&'a Role),
}

impl<'a> AnyRole<'a> {
    /// Its id.
    pub fn id(self) -> RoleId {
        match self {
            Self::Predefined(id, _) => id,
            Self::Custom(role) => role.id,
        }
    }

    /// Its name.
    pub fn name(self) -> &'a str {
        match self {
            Self::Predefined(_, role) => role.name,
            Self::Custom(role) => role.name.as_str(),
        }
    }

    /// What it grants.
    pub fn permissions(self) -> PermissionSet {
        match self {
            Self::Predefined(_, role) => role.permissions,
            Self::Custom(role) => role.permissions,
        }
    }
}

macro_rules! assignable {
    ($(#[$doc:meta])* $name:ident { $($(#[$row_doc:meta])* $variant:ident $value:literal $id:literal $tag:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(index_only)]
        pub enum $name {
            $($(#[$row_doc])* #[n($tag)] $variant,)*
        }

        impl $name {
            /// Every one of them.
            pub const ALL: [Self; 4] = [$(Self::$variant),*];

            /// The value on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $value,)* }
            }

            /// The role with this value on the wire.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|role| role.name() == name)
            }

            /// The predefined role behind it.
            pub const fn role(self) -> RoleId {
                match self { $(Self::$variant => RoleId::new($id),)* }
            }

            /// The one behind this predefined role, if it is one of these.
            #[inline]
            pub fn from_role(id: RoleId) -> Option<Self> {
                Self::ALL.into_iter().find(|role| role.role() == id)
            }

            /// What it grants on its own level.
            pub fn permissions(self) -> PermissionSet {
                PredefinedRole::by_id(self.role()).map(|role| role.permissions).unwrap_or_default()
            }
        }
    };
}

assignable! {
    /// What a user may do in the account as a whole (`docs/rules/authorization.md` §2).
    AccountRole {
        /// Everything.
        Admin "ADMIN" 1 0,
        /// Reads users and roles; the rest comes from other roles.
        Member "MEMBER" 2 1,
        /// A member without the API.
        MemberUiOnly "MEMBER_UI_ONLY" 3 2,
        /// Nothing at this level, and only annotation below.
        Annotator "ANNOTATOR" 4 3,
    }
}

assignable! {
    /// A user's role in an organization (`docs/rules/authorization.md` §3).
    OrganizationRole {
        /// Everything in the organization.
        Admin "ADMIN" 5 0,
        /// May make spaces; a member of public ones.
        Member "MEMBER" 6 1,
        /// A reader of public spaces.
        ReadOnly "READ_ONLY" 7 2,
        /// An annotator of public spaces.
        Annotator "ANNOTATOR" 8 3,
    }
}

assignable! {
    /// A user's predefined role in a space (`docs/rules/authorization.md` §4).
    SpaceRole {
        /// Everything in the space.
        Admin "ADMIN" 9 0,
        /// Standard work.
        Member "MEMBER" 10 1,
        /// Reading.
        ReadOnly "READ_ONLY" 11 2,
        /// Annotation only.
        Annotator "ANNOTATOR" 12 3,
    }
}

impl AccountRole {
    /// Whether a user of this role may use the API unless an admin says otherwise (§2).
    pub const fn is_developer_by_default(self) -> bool {
        matches!(self, Self::Admin | Self::Member)
    }
}

impl OrganizationRole {
    /// The space role that a member of the organization has in its public spaces (§3, fallback rule).
    pub const fn in_public_spaces(self) -> SpaceRole {
        match self {
            Self::Admin => SpaceRole::Admin,
            Self::Member => SpaceRole::Member,
            Self::ReadOnly => SpaceRole::ReadOnly,
            Self::Annotator => SpaceRole::Annotator,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_assignable_role_is_its_row_of_the_contract() {
        let value_and_level = |id| {
            let role = PredefinedRole::by_id(id).unwrap();
            (role.enum_value.unwrap(), role.level)
        };
        for role in AccountRole::ALL {
            assert_eq!(value_and_level(role.role()), (role.name(), Level::Account));
        }
        for role in OrganizationRole::ALL {
            assert_eq!(
                value_and_level(role.role()),
                (role.name(), Level::Organization)
            );
        }
        for role in SpaceRole::ALL {
            assert_eq!(value_and_level(role.role()), (role.name(), Level::Space));
            assert_eq!(SpaceRole::from_role(role.role()), Some(role));
        }
        assert!(PREDEFINED_ROLES.len() < usize::try_from(CUSTOM_FIRST).unwrap());
    }

    #[test]
    fn admin_roles_hold_all_that_means_something_at_their_level() {
        use crate::permission::Permission;
        assert_eq!(AccountRole::Admin.permissions().iter().count(), 151);
        assert!(
            OrganizationRole::Admin
                .permissions()
                .contains(Permission::SpaceCreate)
        );
        assert!(
            !OrganizationRole::Admin
                .permissions()
                .contains(Permission::UserDelete)
        );
        assert!(
            SpaceRole::Admin
                .permissions()
                .contains(Permission::ProjectCreate)
        );
        assert!(
            !SpaceRole::Admin
                .permissions()
                .contains(Permission::SpaceCreate)
        );
    }
}

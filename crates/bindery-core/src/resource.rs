//! What a question is asked about: the account, or something in it, and the four levels of the hierarchy.

use minicbor::{Decode, Encode};

use crate::id::{Id as _, OrganizationId, ProjectId, SpaceId};

/// A level of the hierarchy account > organization > space > project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The lowest: a project.
    Project,
    /// A space.
    Space,
    /// An organization.
    Organization,
    /// The highest: the account.
    Account,
}

impl Level {
    /// The level as `contract/permissions.tsv` writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Project => "PROJECT",
            Self::Space => "SPACE",
            Self::Organization => "ORGANIZATION",
            Self::Account => "ACCOUNT",
        }
    }

    /// The level in a sentence for people.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Space => "space",
            Self::Organization => "organization",
            Self::Account => "account",
        }
    }

    /// Whether a resource of this level is at or above `lowest`, so that a permission which goes no lower than
    /// `lowest` means something on it.
    pub const fn reaches(self, lowest: Self) -> bool {
        self.number() >= lowest.number()
    }

    /// Its place in the order, from 0.
    #[inline]
    #[expect(
        clippy::as_conversions,
        reason = "the order of a fieldless enum, in a const fn"
    )]
    pub(crate) const fn number(self) -> u32 {
        self as u32
    }
}

/// Something of an account that permissions are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// The account of the principal.
    Account,
    /// An organization.
    Organization(OrganizationId),
    /// A space.
    Space(SpaceId),
    /// A project.
    Project(ProjectId),
}

impl Resource {
    /// The level of this resource.
    pub const fn level(self) -> Level {
        match self {
            Self::Account => Level::Account,
            Self::Organization(_) => Level::Organization,
            Self::Space(_) => Level::Space,
            Self::Project(_) => Level::Project,
        }
    }
}

impl From<OrganizationId> for Resource {
    fn from(id: OrganizationId) -> Self {
        Self::Organization(id)
    }
}

impl From<SpaceId> for Resource {
    fn from(id: SpaceId) -> Self {
        Self::Space(id)
    }
}

impl From<ProjectId> for Resource {
    fn from(id: ProjectId) -> Self {
        Self::Project(id)
    }
}

impl From<Bindable> for Resource {
    fn from(bindable: Bindable) -> Self {
        match bindable {
            Bindable::Space(id) => Self::Space(id),
            Bindable::Project(id) => Self::Project(id),
        }
    }
}

/// A resource that roles can be bound on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Bindable {
    /// A space: the role reaches it and its projects.
    #[n(0)]
    Space(#[n(0)] SpaceId),
    /// A project.
    #[n(1)]
    Project(#[n(0)] ProjectId),
}

impl From<SpaceId> for Bindable {
    fn from(id: SpaceId) -> Self {
        Self::Space(id)
    }
}

impl From<ProjectId> for Bindable {
    fn from(id: ProjectId) -> Self {
        Self::Project(id)
    }
}

/// The kind of a [`Bindable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BindableKind {
    /// A space.
    Space,
    /// A project.
    Project,
}

impl Bindable {
    /// Which kind it is.
    pub const fn kind(self) -> BindableKind {
        match self {
            Self::Space(_) => BindableKind::Space,
            Self::Project(_) => BindableKind::Project,
        }
    }

    /// The number of its id.
    pub fn number(self) -> u32 {
        match self {
            Self::Space(id) => id.number(),
            Self::Project(id) => id.number(),
        }
    }
}

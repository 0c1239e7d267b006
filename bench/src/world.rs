//! The company that everyone is asked about: who holds what where. Numbers only; `changes` makes entities of it, and each
//! peer makes of it what it wants.

use bindery_core::id::{Id, OrganizationId, ProjectId, RoleId, SpaceId, UserId};
use bindery_core::permission::{Permission, PermissionSet};
#[cfg(feature = "peers")]
use bindery_core::role::PredefinedRole;
use bindery_core::role::{CUSTOM_FIRST, OrganizationRole, SpaceRole};

use crate::random::Random;
use crate::size::Size;

const SEED: u64 = 0x0062_696e_6465_7279;
const CUSTOM_ROLES: u32 = 50;
/// One account admin among so many users.
const USERS_PER_ADMIN: u32 = 2_000;
/// One among so many users holds as much as an organization has to offer.
const USERS_PER_COLLECTOR: u32 = 10_000;
const HELD_BY_COLLECTORS: u32 = 400;

/// Where a role is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// A role in an organization.
    Organization(OrganizationId),
    /// A predefined role in a space.
    Membership(SpaceId),
    /// A role bound on a space.
    Space(SpaceId),
    /// A role bound on a project.
    Project(ProjectId),
}

/// A role that a user holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) on: On,
    pub(crate) role: RoleId,
}

pub(crate) struct Space {
    pub(crate) organization: OrganizationId,
    pub(crate) is_public: bool,
    pub(crate) projects: Vec<ProjectId>,
}

pub(crate) struct Project {
    pub(crate) space: SpaceId,
    pub(crate) is_restricted: bool,
}

/// Users hold roles; places lie in places. Whatever is numbered from 1 stands here from 0.
pub(crate) struct World {
    pub(crate) size: Size,
    /// The custom roles; the first has the number [`CUSTOM_FIRST`].
    pub(crate) roles: Vec<PermissionSet>,
    /// The spaces of each organization.
    pub(crate) organizations: Vec<Vec<SpaceId>>,
    pub(crate) spaces: Vec<Space>,
    pub(crate) projects: Vec<Project>,
    /// Where in `held` each user's begin, and a last entry where all of them end.
    begins: Vec<u32>,
    /// By user.
    pub(crate) held: Vec<Held>,
}

impl World {
    pub(crate) fn new(size: Size) -> Self {
        let random = &mut Random::new(SEED);
        let mut world = Self {
            size,
            roles: (0..CUSTOM_ROLES).map(|_| custom_role(random)).collect(),
            organizations: vec![Vec::new(); size.organizations() as usize],
            spaces: Vec::new(),
            projects: Vec::new(),
            begins: vec![0],
            held: Vec::new(),
        };
        world.lay_out(random);
        for user in 1..=size.users() {
            world.equip(UserId::new(user), random);
            let end = u32::try_from(world.held.len()).expect("ten million fit into 32 bits");
            world.begins.push(end);
        }
        world
    }

    fn lay_out(&mut self, random: &mut Random) {
        for space in 1..=self.size.spaces() {
            // Every organization has some.
            let organization = (space - 1) % self.size.organizations() + 1;
            self.organizations[organization as usize - 1].push(SpaceId::new(space));
            self.spaces.push(Space {
                organization: OrganizationId::new(organization),
                is_public: random.percent(40),
                projects: Vec::new(),
            });
        }
        for project in 1..=self.size.projects() {
            let space = random.below(self.size.spaces()) + 1;
            let there = &mut self.spaces[space as usize - 1].projects;
            there.push(ProjectId::new(project));
            self.projects.push(Project {
                space: SpaceId::new(space),
                is_restricted: random.percent(5),
            });
        }
    }

    /// Gives a user their roles: one in an organization, and all others in it.
    fn equip(&mut self, user: UserId, random: &mut Random) {
        let begin = self.held.len();
        let count = if is_busy(user) && user.number() % USERS_PER_COLLECTOR == 5 {
            HELD_BY_COLLECTORS
        } else if is_busy(user) {
            21 + random.below(38)
        } else {
            1 + random.below(4)
        };
        let home = random.below(self.size.organizations());
        self.held.push(Held {
            on: On::Organization(OrganizationId::new(home + 1)),
            role: organization_role(random).role(),
        });
        while self.held.len() - begin < count as usize {
            let space = *random.pick(&self.organizations[home as usize]);
            let projects = &self.spaces[at(space)].projects;
            let one = match random.below(100) {
                0..15 => Held {
                    on: On::Membership(space),
                    role: space_role(random).role(),
                },
                15..40 => Held {
                    on: On::Space(space),
                    role: bound_role(random),
                },
                _ if projects.is_empty() => continue,
                _ => Held {
                    on: On::Project(*random.pick(projects)),
                    role: bound_role(random),
                },
            };
            if self.held[begin..].iter().all(|other| other.on != one.on) {
                self.held.push(one);
            }
        }
    }

    /// What a user holds.
    pub(crate) fn held_by(&self, user: UserId) -> &[Held] {
        let place = at(user);
        &self.held[self.begins[place] as usize..self.begins[place + 1] as usize]
    }

    /// Every user with what they hold.
    pub(crate) fn users(&self) -> impl Iterator<Item = (UserId, &[Held])> {
        (1..=self.size.users()).map(|number| {
            let user = UserId::new(number);
            (user, self.held_by(user))
        })
    }

    pub(crate) fn spaces_of(&self, id: OrganizationId) -> &[SpaceId] {
        &self.organizations[at(id)]
    }

    pub(crate) fn space(&self, id: SpaceId) -> &Space {
        &self.spaces[at(id)]
    }

    #[cfg(feature = "peers")]
    pub(crate) fn project(&self, id: ProjectId) -> &Project {
        &self.projects[at(id)]
    }

    /// Every role that is held somewhere, with what it grants.
    #[cfg(feature = "peers")]
    pub(crate) fn permissions(&self) -> impl Iterator<Item = (RoleId, PermissionSet)> {
        let custom = (CUSTOM_FIRST..).map(RoleId::new);
        PredefinedRole::all()
            .map(|(id, role)| (id, role.permissions))
            .chain(custom.zip(self.roles.iter().copied()))
    }
}

/// One of the fifth of users who hold four fifths of all roles, and ask four fifths of all questions.
pub(crate) fn is_busy(user: UserId) -> bool {
    user.number().is_multiple_of(5)
}

/// Whether they are admin of the whole account.
pub(crate) fn is_account_admin(user: UserId) -> bool {
    user.number() % USERS_PER_ADMIN == 1
}

/// Where the thing with this id stands among all of its kind.
fn at(id: impl Id) -> usize {
    id.number() as usize - 1
}

fn custom_role(random: &mut Random) -> PermissionSet {
    let share = 5 + random.below(60);
    let mut granted: PermissionSet = Permission::ALL
        .into_iter()
        .filter(|_| random.percent(share))
        .collect();
    // Whoever may do something in a project can see it, as a rule.
    if random.percent(80) {
        granted = granted.with(Permission::ProjectRead);
    }
    granted
}

fn organization_role(random: &mut Random) -> OrganizationRole {
    match random.below(100) {
        0 => OrganizationRole::Admin,
        1..61 => OrganizationRole::Member,
        61..96 => OrganizationRole::ReadOnly,
        _ => OrganizationRole::Annotator,
    }
}

fn space_role(random: &mut Random) -> SpaceRole {
    match random.below(100) {
        0..3 => SpaceRole::Admin,
        3..53 => SpaceRole::Member,
        53..95 => SpaceRole::ReadOnly,
        _ => SpaceRole::Annotator,
    }
}

fn bound_role(random: &mut Random) -> RoleId {
    match random.below(100) {
        0 => SpaceRole::Admin.role(),
        1..11 => SpaceRole::Member.role(),
        11..20 => SpaceRole::ReadOnly.role(),
        _ => RoleId::new(CUSTOM_FIRST + random.below(CUSTOM_ROLES)),
    }
}

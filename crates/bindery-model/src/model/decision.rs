//! The decision, in the steps of `docs/rules/authorization.md` §7, and the derived words below it.

use bindery_core::decision::Question;
use bindery_core::id::{Id as _, OrganizationId, ProjectId, RoleId, SpaceId, UserId};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::resource::{Bindable, Level, Resource};
use bindery_core::role::{AccountRole, OrganizationRole, PREDEFINED_ROLES, SpaceRole};
use bindery_core::time::Timestamp;
use bindery_core::user::{Identity, Standing};

use super::{Model, is_human};

impl Model {
    /// `allowed(u, p, r)`.
    #[expect(clippy::many_single_char_names, reason = "the contract's own names")]
    pub fn may(&self, question: &Question, now: Timestamp) -> bool {
        let Question {
            principal: u,
            permission: p,
            resource: r,
        } = *question;

        // 1  u unknown, inactive, INVITED/EXPIRED, or of another account    → no
        //    u a bot whose key is revoked or expired                        → no
        if !self.acts(u, now) {
            return false;
        }
        let Some(user) = self.user(u) else {
            return false;
        };
        //    r unknown, deleted, or of another account                      → no
        if !self.exists(r) {
            return false;
        }
        //    lowest_level(p) is above the level of r                        → no
        if p.lowest_level() > r.level() {
            return false;
        }

        // 2  u.account_role = ADMIN                                         → yes
        if user.account_role == AccountRole::Admin {
            return true;
        }

        // 3  A(r) := account grants, only if r is the account
        let a = if r == Resource::Account {
            named("ACCOUNT", user.account_role.name())
        } else {
            PermissionSet::EMPTY
        };

        // 4  o := organization of r (if r is an organization or below)
        let o = self.organization_of(r);
        let role_in_o = o
            .and_then(|o| self.organization_membership(u, o))
            .map(|membership| membership.role);
        //    if u is ADMIN of o                                             → yes
        if role_in_o == Some(OrganizationRole::Admin) {
            return true;
        }
        //    O(r) := permissions of u's role in o, only if r = o itself
        let o_permissions = match (r, role_in_o) {
            (Resource::Organization(_), Some(role)) => named("ORGANIZATION", role.name()),
            _ => PermissionSet::EMPTY,
        };

        // 5  s := space of r (if r is a space or project)
        let mut s_permissions = PermissionSet::EMPTY;
        if let Some(s) = self.space_of(r) {
            let membership = self.space_membership(u, s);
            let binding = self.binding_on(u, Bindable::Space(s));
            //    explicit := membership(u,s) or binding(u,s) exists
            let explicit = membership.is_some() || binding.is_some();
            //    S := permissions of membership(u,s) ∪ permissions of binding(u,s).role
            if let Some(membership) = membership {
                s_permissions = s_permissions.union(named("SPACE", membership.role.name()));
            }
            if let Some(binding) = binding {
                s_permissions = s_permissions.union(self.permissions_of(binding.role));
            }
            //    if not explicit and s is public and u is human and u is a member of o:
            //          S := permissions of the space role matching u's role in o
            let is_public = self.space(s).is_some_and(|space| !space.is_private);
            if !explicit
                && is_public
                && is_human(user)
                && let Some(role) = role_in_o
            {
                // The enums of the two levels have the same names (§3).
                s_permissions = named("SPACE", role.name());
            }
            //    spaceAdmin := membership(u,s)=ADMIN or binding(u,s).role = predefined `Admin`
            //    if spaceAdmin                                              → yes
            if self.holds_admin_of(u, s) {
                return true;
            }
        }

        // 6  if r is a project: B := permissions of binding(u,r).role
        let mut b = PermissionSet::EMPTY;
        if let Resource::Project(project) = r {
            if let Some(binding) = self.binding_on(u, Bindable::Project(project)) {
                b = self.permissions_of(binding.role);
            }
            //    if r is restricted and p ≠ PROJECT_RESTRICT: S := ∅
            if self.is_restricted(project) && p != Permission::ProjectRestrict {
                s_permissions = PermissionSet::EMPTY;
            }
        }

        // 7  answer p ∈ A ∪ O ∪ S ∪ B
        a.contains(p) || o_permissions.contains(p) || s_permissions.contains(p) || b.contains(p)
    }

    /// The first half of step 1: whether the principal may do anything at all.
    pub fn acts(&self, u: UserId, now: Timestamp) -> bool {
        let Some(user) = self.user(u) else {
            return false;
        };
        match user.identity {
            Identity::Human { .. } => user.standing == Standing::Active,
            Identity::Bot { key } => {
                user.standing == Standing::Active && self.is_key_alive(key, now)
            }
        }
    }

    fn exists(&self, r: Resource) -> bool {
        match r {
            Resource::Account => true,
            Resource::Organization(id) => self.organization(id).is_some(),
            Resource::Space(id) => self.space(id).is_some(),
            Resource::Project(id) => self.project(id).is_some(),
        }
    }

    fn organization_of(&self, r: Resource) -> Option<OrganizationId> {
        match r {
            Resource::Account => None,
            Resource::Organization(id) => Some(id),
            Resource::Space(_) | Resource::Project(_) => {
                Some(self.space(self.space_of(r)?)?.organization)
            }
        }
    }

    fn space_of(&self, r: Resource) -> Option<SpaceId> {
        match r {
            Resource::Account | Resource::Organization(_) => None,
            Resource::Space(id) => Some(id),
            Resource::Project(id) => Some(self.project(id)?.space),
        }
    }

    /// `spaceAdmin` of step 5.
    fn holds_admin_of(&self, u: UserId, s: SpaceId) -> bool {
        let by_membership = self
            .space_membership(u, s)
            .is_some_and(|membership| membership.role == SpaceRole::Admin);
        let by_binding = self
            .binding_on(u, Bindable::Space(s))
            .is_some_and(|binding| is_predefined_admin(binding.role));
        by_membership || by_binding
    }
}

/// Derived words.
impl Model {
    /// `account_role = ADMIN`.
    pub fn is_account_admin(&self, u: UserId, now: Timestamp) -> bool {
        self.acts(u, now)
            && self
                .user(u)
                .is_some_and(|user| user.account_role == AccountRole::Admin)
    }

    /// Account admin, or role ADMIN in o.
    pub fn is_organization_admin(&self, u: UserId, o: OrganizationId, now: Timestamp) -> bool {
        let has_the_role = self
            .organization_membership(u, o)
            .is_some_and(|membership| membership.role == OrganizationRole::Admin);
        self.acts(u, now)
            && self.organization(o).is_some()
            && (self.is_account_admin(u, now) || has_the_role)
    }

    /// Admin of the organization of s, or `spaceAdmin` of step 5.
    pub fn is_space_admin(&self, u: UserId, s: SpaceId, now: Timestamp) -> bool {
        let Some(space) = self.space(s) else {
            return false;
        };
        self.acts(u, now)
            && (self.is_organization_admin(u, space.organization, now) || self.holds_admin_of(u, s))
    }

    /// Account admin, or member of o with any role.
    pub fn is_organization_visible(&self, u: UserId, o: OrganizationId, now: Timestamp) -> bool {
        self.acts(u, now)
            && self.organization(o).is_some()
            && (self.is_account_admin(u, now) || self.organization_membership(u, o).is_some())
    }

    /// Organization admin, or member of s, or `SPACE_READ` on s.
    pub fn is_space_visible(&self, u: UserId, s: SpaceId, now: Timestamp) -> bool {
        let Some(space) = self.space(s) else {
            return false;
        };
        let is_member = self.space_membership(u, s).is_some()
            || self.binding_on(u, Bindable::Space(s)).is_some();
        let reads = Question {
            principal: u,
            permission: Permission::SpaceRead,
            resource: s.into(),
        };
        self.acts(u, now)
            && (self.is_organization_admin(u, space.organization, now)
                || is_member
                || self.may(&reads, now))
    }

    /// `PROJECT_READ` on p.
    pub fn is_project_visible(&self, u: UserId, p: ProjectId, now: Timestamp) -> bool {
        let reads = Question {
            principal: u,
            permission: Permission::ProjectRead,
            resource: p.into(),
        };
        self.may(&reads, now)
    }

    /// `USER_READ` on the account and the target is a human, not inactive.
    pub fn is_user_visible(&self, u: UserId, target: UserId, now: Timestamp) -> bool {
        let reads = Question {
            principal: u,
            permission: Permission::UserRead,
            resource: Resource::Account,
        };
        let is_there = self
            .user(target)
            .is_some_and(|user| is_human(user) && user.standing != Standing::Inactive);
        is_there && self.may(&reads, now)
    }
}

/// The permissions of the predefined role with this enum value on this level (`contract/predefined-roles.tsv`).
pub(super) fn named(level: &str, value: &str) -> PermissionSet {
    for role in &PREDEFINED_ROLES {
        if role.level.name() == level && role.enum_value == Some(value) {
            return role.permissions;
        }
    }
    PermissionSet::EMPTY
}

fn is_predefined_admin(id: RoleId) -> bool {
    PREDEFINED_ROLES.iter().zip(1..).any(|(role, number)| {
        role.name == "Admin" && role.level == Level::Space && number == id.number()
    })
}

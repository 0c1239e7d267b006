//! The naive model: one account as plain vectors, read and changed by linear scans.
//!
//! It is the plainest possible reading of `docs/rules/authorization.md` and `docs/rules/operations.md`, slow
//! and obvious. It shares types with the core and no logic: even derived properties of entities are written
//! again here. A command is a function that checks in the order of §9 and then changes the vectors.
//!
//! Where the contract leaves something open, these are the decisions:
//! - ids are dense within a kind, the next one is one above the highest ever issued, and custom roles begin
//!   at [`CUSTOM_FIRST`]; predefined roles have the ids 1 to 15, and a request finds only the listed ones;
//! - the names of all predefined roles are taken, including unlisted ones;
//! - a change to the current value changes nothing; `updated_at` is `now`, or a millisecond after the old one
//!   if that is later;
//! - revoking a service key makes its bot user inactive and removes everything that the bot holds;
//! - a new invitation after an expired one keeps `id` and `created_at`;
//! - of several reasons for one status, the first in the order of the request's members is reported.

use bindery_core::api_key::ApiKey;
use bindery_core::change::Change;
use bindery_core::command::{Caller, Context};
use bindery_core::credential::Credential;
use bindery_core::id::{
    ApiKeyId, Id, Kind, OrganizationId, ProjectId, RoleBindingId, RoleId, SpaceId, UserId,
};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::place::{Account, Organization, Project, Restriction, Space};
use bindery_core::refusal::{Forbidden, Refusal};
use bindery_core::resource::{Bindable, Resource};
use bindery_core::role::{CUSTOM_FIRST, PREDEFINED_ROLES, Role};
use bindery_core::role_binding::RoleBinding;
use bindery_core::time::Timestamp;
use bindery_core::user::{Identity, OrganizationMembership, SpaceMembership, Standing, User};

use bindery_core::command::AnyCommand;

mod api_keys;
mod cascade;
mod credentials;
mod decision;
mod inquiry;
mod known;
mod lists;
mod operator;
mod organizations;
mod projects;
mod quotas;
mod resource_restrictions;
mod role_bindings;
mod roles;
mod spaces;
mod users;

/// One whole account; each vector in the order of creation.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each vector is named after what it holds")]
pub struct Model {
    pub account: Account,
    pub users: Vec<User>,
    pub organizations: Vec<Organization>,
    pub organization_memberships: Vec<OrganizationMembership>,
    pub spaces: Vec<Space>,
    pub space_memberships: Vec<SpaceMembership>,
    pub projects: Vec<Project>,
    pub restrictions: Vec<Restriction>,
    pub roles: Vec<Role>,
    pub role_bindings: Vec<RoleBinding>,
    pub api_keys: Vec<ApiKey>,
    pub credentials: Vec<Credential>,
    /// The highest number ever issued to each kind.
    pub issued: Vec<(Kind, u32)>,
}

impl Model {
    /// An empty account.
    pub fn new(account: Account) -> Self {
        Self {
            account,
            users: Vec::new(),
            organizations: Vec::new(),
            organization_memberships: Vec::new(),
            spaces: Vec::new(),
            space_memberships: Vec::new(),
            projects: Vec::new(),
            restrictions: Vec::new(),
            roles: Vec::new(),
            role_bindings: Vec::new(),
            api_keys: Vec::new(),
            credentials: Vec::new(),
            issued: Vec::new(),
        }
    }

    /// Runs a command: all of it happens, or none and the refusal says why. Then credentials end that are
    /// known to someone who could not give what the command gave.
    pub fn run(&mut self, context: &Context, command: &AnyCommand) -> Result<(), Refusal> {
        if self.credentials.is_empty() {
            return self.run_alone(context, command);
        }
        let before = self.clone();
        self.run_alone(context, command)?;
        self.end_known_credentials(&before, context);
        Ok(())
    }

    fn run_alone(&mut self, context: &Context, command: &AnyCommand) -> Result<(), Refusal> {
        let organizations = self.organization_memberships.clone();
        let spaces = self.space_memberships.clone();
        let bindings = self.role_bindings.clone();
        let before = self.clone();
        self.decide(context, command)?;
        if let Err(refusal) = self.check_quotas(&before, context) {
            *self = before;
            return Err(refusal);
        }
        // The caller has given every role that is new or different.
        for one in &mut self.organization_memberships {
            if !organizations
                .iter()
                .any(|old| old.id == one.id && old.role == one.role)
            {
                one.given_by = context.caller.into();
                one.given_at = context.now.into();
            }
        }
        for one in &mut self.space_memberships {
            if !spaces
                .iter()
                .any(|old| old.id == one.id && old.role == one.role)
            {
                one.given_by = context.caller.into();
                one.given_at = context.now.into();
            }
        }
        for one in &mut self.role_bindings {
            if !bindings
                .iter()
                .any(|old| old.id == one.id && old.role == one.role)
            {
                one.given_by = context.caller.into();
            }
        }
        Ok(())
    }

    fn decide(&mut self, context: &Context, command: &AnyCommand) -> Result<(), Refusal> {
        // The operator's three commands admit only the operator, three admit people who prove who they are;
        // all others admit keys.
        match command {
            AnyCommand::Bootstrap(command) => return self.bootstrap(context, command),
            AnyCommand::IssueUserKey(command) => return self.issue_user_key(context, command),
            AnyCommand::SetQuota(command) => return self.set_quota(context, command),
            AnyCommand::AcceptInvitation(command) => {
                return self.accept_invitation(context, command);
            }
            AnyCommand::CompletePasswordReset(command) => {
                return self.complete_password_reset(context, command);
            }
            AnyCommand::SignIn(command) => return self.sign_in(context, command),
            _ => self.admit(context)?,
        }
        match command {
            AnyCommand::Bootstrap(_)
            | AnyCommand::IssueUserKey(_)
            | AnyCommand::SetQuota(_)
            | AnyCommand::AcceptInvitation(_)
            | AnyCommand::CompletePasswordReset(_)
            | AnyCommand::SignIn(_) => Ok(()),
            AnyCommand::ResendInvitation(command) => self.resend_invitation(context, command),
            AnyCommand::RenewTemporaryPassword(command) => {
                self.renew_temporary_password(context, command)
            }
            AnyCommand::ResetPassword(command) => self.reset_password(context, command),
            AnyCommand::CreateRoleBinding(command) => self.create_role_binding(context, command),
            AnyCommand::UpdateRoleBinding(command) => self.update_role_binding(context, command),
            AnyCommand::DeleteRoleBinding(command) => self.delete_role_binding(context, command),
            AnyCommand::CreateRole(command) => self.create_role(context, command),
            AnyCommand::UpdateRole(command) => self.update_role(context, command),
            AnyCommand::DeleteRole(command) => self.delete_role(context, command),
            AnyCommand::CreateResourceRestriction(command) => {
                self.create_resource_restriction(context, command)
            }
            AnyCommand::DeleteResourceRestriction(command) => {
                self.delete_resource_restriction(context, command)
            }
            AnyCommand::CreateUser(command) => self.create_user(context, command),
            AnyCommand::UpdateUser(command) => self.update_user(context, command),
            AnyCommand::DeleteUser(command) => self.delete_user(context, command),
            AnyCommand::ReleaseAddress(command) => self.release_address(context, command),
            AnyCommand::CreateOrganization(command) => self.create_organization(context, command),
            AnyCommand::UpdateOrganization(command) => self.update_organization(context, command),
            AnyCommand::DeleteOrganization(command) => self.delete_organization(context, command),
            AnyCommand::AddOrganizationUser(command) => {
                self.add_organization_user(context, command)
            }
            AnyCommand::RemoveOrganizationUser(command) => {
                self.remove_organization_user(context, command)
            }
            AnyCommand::CreateSpace(command) => self.create_space(context, command),
            AnyCommand::UpdateSpace(command) => self.update_space(context, command),
            AnyCommand::DeleteSpace(command) => self.delete_space(context, command),
            AnyCommand::AddSpaceUser(command) => self.add_space_user(context, command),
            AnyCommand::RemoveSpaceUser(command) => self.remove_space_user(context, command),
            AnyCommand::CreateProject(command) => self.create_project(context, command),
            AnyCommand::UpdateProject(command) => self.update_project(context, command),
            AnyCommand::DeleteProject(command) => self.delete_project(context, command),
            AnyCommand::CreateUserKey(command) => self.create_user_key(context, command),
            AnyCommand::CreateServiceKey(command) => self.create_service_key(context, command),
            AnyCommand::RefreshApiKey(command) => self.refresh_api_key(context, command),
            AnyCommand::RevokeApiKey(command) => self.revoke_api_key(context, command),
            AnyCommand::MarkEnforcementPoint(command) => {
                self.mark_enforcement_point(context, command)
            }
            AnyCommand::UnmarkEnforcementPoint(command) => {
                self.unmark_enforcement_point(context, command)
            }
        }
    }

    /// 401 for a key that is unknown, revoked or expired, or whose owner is not active (`docs/rules/api.md`
    /// §2); 403 for a person without developer access (`docs/rules/authorization.md` §2).
    fn admit(&self, context: &Context) -> Result<(), Refusal> {
        let Caller::Key { user, key } = context.caller else {
            return Err(Refusal::Unauthenticated);
        };
        if !self.is_key_alive(key, context.now) {
            return Err(Refusal::Unauthenticated);
        }
        match self.user(user) {
            Some(user) if user.standing == Standing::Active => {
                if is_human(user) && !user.is_developer {
                    return Err(Refusal::Forbidden(Forbidden::NoDeveloperAccess));
                }
                Ok(())
            }
            _ => Err(Refusal::Unauthenticated),
        }
    }

    /// Every existing record as a put, sorted by key: the current records of the account must equal this.
    pub fn records(&self) -> Vec<Change> {
        let mut records: Vec<Change> = Vec::new();
        records.extend(self.users.iter().cloned().map(Change::PutUser));
        records.extend(
            self.organizations
                .iter()
                .cloned()
                .map(Change::PutOrganization),
        );
        records.extend(
            self.organization_memberships
                .iter()
                .copied()
                .map(Change::PutOrganizationMembership),
        );
        records.extend(self.spaces.iter().cloned().map(Change::PutSpace));
        records.extend(
            self.space_memberships
                .iter()
                .copied()
                .map(Change::PutSpaceMembership),
        );
        records.extend(self.projects.iter().cloned().map(Change::PutProject));
        records.extend(
            self.restrictions
                .iter()
                .copied()
                .map(Change::PutRestriction),
        );
        records.extend(self.roles.iter().cloned().map(Change::PutRole));
        records.extend(
            self.role_bindings
                .iter()
                .copied()
                .map(Change::PutRoleBinding),
        );
        records.extend(self.api_keys.iter().cloned().map(Change::PutApiKey));
        records.extend(self.credentials.iter().cloned().map(Change::PutCredential));
        records.sort_by_key(Change::key);
        records
    }

    /// The highest number ever issued to this kind.
    pub fn issued(&self, kind: Kind) -> u32 {
        let given = self.issued.iter().find(|(of, _)| *of == kind);
        given.map_or(0, |(_, number)| *number)
    }

    fn next<I: Id>(&mut self) -> I {
        let first = if I::KIND == Kind::Role {
            CUSTOM_FIRST
        } else {
            1
        };
        let number = (self.issued(I::KIND) + 1).max(first);
        self.note_issued(I::KIND, number);
        I::from_number(number)
    }

    fn note_issued(&mut self, kind: Kind, number: u32) {
        match self.issued.iter_mut().find(|(of, _)| *of == kind) {
            Some((_, highest)) => *highest = number.max(*highest),
            None => self.issued.push((kind, number)),
        }
    }
}

/// Plain look-ups that ignore the caller.
#[expect(missing_docs, reason = "each finds what its name says")]
impl Model {
    pub fn user(&self, id: UserId) -> Option<&User> {
        self.users.iter().find(|user| user.id == id)
    }

    pub fn organization(&self, id: OrganizationId) -> Option<&Organization> {
        self.organizations.iter().find(|one| one.id == id)
    }

    pub fn space(&self, id: SpaceId) -> Option<&Space> {
        self.spaces.iter().find(|space| space.id == id)
    }

    pub fn project(&self, id: ProjectId) -> Option<&Project> {
        self.projects.iter().find(|project| project.id == id)
    }

    pub fn api_key(&self, id: ApiKeyId) -> Option<&ApiKey> {
        self.api_keys.iter().find(|key| key.id == id)
    }

    pub fn custom_role(&self, id: RoleId) -> Option<&Role> {
        self.roles.iter().find(|role| role.id == id)
    }

    pub fn role_binding(&self, id: RoleBindingId) -> Option<&RoleBinding> {
        self.role_bindings.iter().find(|binding| binding.id == id)
    }

    pub fn is_restricted(&self, project: ProjectId) -> bool {
        self.restrictions.iter().any(|one| one.project == project)
    }

    /// The membership (u, o).
    pub fn organization_membership(
        &self,
        user: UserId,
        organization: OrganizationId,
    ) -> Option<&OrganizationMembership> {
        self.organization_memberships
            .iter()
            .find(|one| one.user == user && one.organization == organization)
    }

    /// The membership (u, s).
    pub fn space_membership(&self, user: UserId, space: SpaceId) -> Option<&SpaceMembership> {
        self.space_memberships
            .iter()
            .find(|one| one.user == user && one.space == space)
    }

    /// The binding (u, r).
    pub fn binding_on(&self, user: UserId, on: Bindable) -> Option<&RoleBinding> {
        self.role_bindings
            .iter()
            .find(|one| one.user == user && one.resource == on)
    }
}

/// Derived words that several commands use.
impl Model {
    /// Whether the caller may use the permission on the resource.
    fn can(&self, context: &Context, permission: Permission, on: impl Into<Resource>) -> bool {
        let question = bindery_core::decision::Question {
            principal: context.user(),
            permission,
            resource: on.into(),
        };
        self.may(&question, context.now)
    }

    /// 403 unless the caller may use the permission on the resource.
    fn require(
        &self,
        context: &Context,
        permission: Permission,
        on: impl Into<Resource>,
    ) -> Result<(), Refusal> {
        let on = on.into();
        if self.can(context, permission, on) {
            Ok(())
        } else {
            Err(Refusal::Forbidden(Forbidden::Permission(
                permission,
                on.level(),
            )))
        }
    }

    /// A user who is not deleted, human or bot.
    fn live_user(&self, id: UserId) -> Result<User, Refusal> {
        match self.user(id) {
            Some(user) if user.standing != Standing::Inactive => Ok(user.clone()),
            _ => Err(Refusal::NotFound(Kind::User)),
        }
    }

    /// 404 unless it is a custom role or a listed predefined one.
    fn find_role(&self, id: RoleId) -> Result<(), Refusal> {
        let is_listed = PREDEFINED_ROLES
            .iter()
            .zip(1..)
            .any(|(role, number)| role.listed && number == id.number());
        if is_listed || self.custom_role(id).is_some() {
            Ok(())
        } else {
            Err(Refusal::NotFound(Kind::Role))
        }
    }

    /// The permissions of a role; none if it doesn't exist.
    fn permissions_of(&self, id: RoleId) -> PermissionSet {
        for (role, number) in PREDEFINED_ROLES.iter().zip(1..) {
            if number == id.number() {
                return role.permissions;
            }
        }
        match self.custom_role(id) {
            Some(role) => role.permissions,
            None => PermissionSet::EMPTY,
        }
    }

    fn is_key_alive(&self, id: ApiKeyId, now: Timestamp) -> bool {
        match self.api_key(id) {
            None => false,
            Some(key) if key.is_revoked => false,
            Some(key) => match key.expires_at {
                Some(end) => now < end,
                None => true,
            },
        }
    }
}

/// Whether this is a person, not a bot.
pub(crate) fn is_human(user: &User) -> bool {
    matches!(user.identity, Identity::Human { .. })
}

/// The new change time of something that was last changed at `old`: strictly later each time.
fn changed_at(now: Timestamp, old: Timestamp) -> Timestamp {
    now.max(Timestamp::from_millis(old.as_millis() + 1))
}

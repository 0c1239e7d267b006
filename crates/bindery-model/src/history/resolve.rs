//! Turns drafts into commands: picks are looked up in the current model.

use bindery_core::api_key::{ApiKey, SecretHash};
use bindery_core::command::api_keys::{
    CreateServiceKey, CreateUserKey, KeyOrganization, KeySpace, RefreshApiKey, RevokeApiKey,
};
use bindery_core::command::credentials::{
    AcceptInvitation, CompletePasswordReset, RenewTemporaryPassword, ResendInvitation,
    ResetPassword, SignIn,
};
use bindery_core::command::enforcement_points::{MarkEnforcementPoint, UnmarkEnforcementPoint};
use bindery_core::command::operator::{Bootstrap, IssueUserKey, SetQuota};
use bindery_core::command::organizations::{
    AddOrganizationUser, CreateOrganization, DeleteOrganization, RemoveOrganizationUser,
    UpdateOrganization,
};
use bindery_core::command::projects::{CreateProject, DeleteProject, UpdateProject};
use bindery_core::command::resource_restrictions::{
    CreateResourceRestriction, DeleteResourceRestriction,
};
use bindery_core::command::role_bindings::{
    CreateRoleBinding, DeleteRoleBinding, UpdateRoleBinding,
};
use bindery_core::command::roles::{CreateRole, DeleteRole, UpdateRole};
use bindery_core::command::spaces::{
    AddSpaceUser, CreateSpace, DeleteSpace, RemoveSpaceUser, UpdateSpace,
};
use bindery_core::command::users::{
    CreateUser, DeleteUser, Invitation, ReleaseAddress, UpdateUser,
};
use bindery_core::command::{Assignment, Caller, Context};
use bindery_core::credential::PasswordHash;
use bindery_core::id::{
    ApiKeyId, Id as _, Kind, OrganizationId, ProjectId, RoleBindingId, RoleId, SpaceId, UserId,
};
use bindery_core::place::LlmIntegration;
use bindery_core::quota::{QUOTAS, Quota};
use bindery_core::resource::Bindable;
use bindery_core::role::{
    AccountRole, CUSTOM_FIRST, OrganizationRole, PREDEFINED_ROLES, SpaceRole,
};
use bindery_core::text::{Description, Email, KeyName, Label, Name, RoleName};
use bindery_core::time::Timestamp;
use bindery_core::user::{Identity, Standing, User};

use super::{
    CallerPick, Draft, EmailPick, Expiry, InvitationPick, KeyPlace, LinkPick, NamePick, OnPick,
    Pick, RolePick, SpaceChange, Step, UserPick, secret,
};
use crate::model::{Model, is_human};
use bindery_core::command::AnyCommand;

pub(super) fn resolve(
    step: &Step,
    model: &Model,
    now: Timestamp,
    serial: u32,
) -> (Context, AnyCommand) {
    let world = Resolver { model, now, serial };
    let caller = world.caller(step.caller, &step.draft);
    let command = world.command(&step.draft, caller);
    (Context { caller, now }, command)
}

/// The context in which picks are looked up.
struct Resolver<'a> {
    model: &'a Model,
    now: Timestamp,
    serial: u32,
}

impl Resolver<'_> {
    fn caller(&self, pick: CallerPick, draft: &Draft) -> Caller {
        let is_operators = matches!(
            draft,
            Draft::Bootstrap | Draft::IssueUserKey { .. } | Draft::SetQuota { .. }
        );
        if is_operators != (pick.0 >= CallerPick::ANY) {
            return Caller::Operator;
        }
        let is_persons = matches!(
            draft,
            Draft::AcceptInvitation { .. }
                | Draft::CompletePasswordReset { .. }
                | Draft::SignIn { .. }
        );
        if is_persons != (pick.0 == CallerPick::ANY - 1) {
            let with_credential: Vec<UserId> =
                self.model.credentials.iter().map(|one| one.user).collect();
            let number = Pick(pick.0);
            return Caller::Person(number.of(&with_credential).unwrap_or(self.user(number)));
        }
        let keys = |wanted: &dyn Fn(&User, &ApiKey) -> bool| -> Vec<Caller> {
            let mut callers = Vec::new();
            for key in &self.model.api_keys {
                if let Some(user) = self.model.user(key.principal())
                    && wanted(user, key)
                {
                    let (user, key) = (user.id, key.id);
                    callers.push(Caller::Key { user, key });
                }
            }
            callers
        };
        let all = keys(&|_, _| true);
        let admitted = keys(&|user, key| self.is_admitted(user, key));
        let admins = keys(&|user, key| {
            user.account_role == AccountRole::Admin && self.is_admitted(user, key)
        });
        let wanted = match pick.0 {
            n if n < CallerPick::ADMIN => admins,
            n if n < CallerPick::ADMITTED => admitted,
            _ => all.clone(),
        };
        let pick = Pick(pick.0);
        pick.of(&wanted)
            .or_else(|| pick.of(&all))
            .unwrap_or(Caller::Operator)
    }

    fn is_admitted(&self, user: &User, key: &ApiKey) -> bool {
        key.is_alive(self.now)
            && user.standing == Standing::Active
            && (user.is_developer || !is_human(user))
    }

    #[expect(clippy::too_many_lines, reason = "one flat match, a draft an arm")]
    fn command(&self, draft: &Draft, caller: Caller) -> AnyCommand {
        match *draft {
            Draft::Bootstrap => AnyCommand::Bootstrap(Bootstrap {
                name: self.name(Kind::User, NamePick::Fresh),
                email: self.email(EmailPick::Fresh),
                key_name: self.key_name(),
                secret: secret(self.serial),
            }),
            Draft::SetQuota { quota, limit } => {
                let totals: Vec<Quota> = QUOTAS
                    .iter()
                    .filter(|info| !info.is_daily)
                    .map(|info| info.quota)
                    .collect();
                AnyCommand::SetQuota(SetQuota {
                    quota: Pick(quota).of(&totals).unwrap_or(Quota::Users),
                    limit,
                })
            }
            Draft::ReleaseAddress { user } => AnyCommand::ReleaseAddress(ReleaseAddress {
                email: self.email_of_deleted(user),
            }),
            Draft::IssueUserKey {
                user,
                is_enforcement_point,
            } => AnyCommand::IssueUserKey(IssueUserKey {
                email: self.email_without_key(user),
                key_name: self.key_name(),
                secret: secret(self.serial),
                is_enforcement_point,
            }),
            Draft::CreateRoleBinding { user, role, on } => {
                AnyCommand::CreateRoleBinding(CreateRoleBinding {
                    user: self.user(user),
                    role: self.role(role),
                    on: match on {
                        OnPick::Space(space) => Bindable::Space(self.space(space)),
                        OnPick::Project(project) => Bindable::Project(self.project(project)),
                    },
                })
            }
            Draft::UpdateRoleBinding { binding, role } => {
                AnyCommand::UpdateRoleBinding(UpdateRoleBinding {
                    binding: self.role_binding(binding),
                    role: self.role(role),
                })
            }
            Draft::DeleteRoleBinding { binding } => {
                let binding = self.role_binding(binding);
                AnyCommand::DeleteRoleBinding(DeleteRoleBinding { binding })
            }
            Draft::CreateRole {
                name,
                ref permissions,
            } => AnyCommand::CreateRole(CreateRole {
                name: self.role_name(name),
                description: self.description(),
                permissions: permissions.iter().copied().collect(),
            }),
            Draft::UpdateRole {
                role,
                name,
                ref permissions,
            } => AnyCommand::UpdateRole(UpdateRole {
                role: self.role(role),
                name: name.map(|name| self.role_name(name)),
                description: None,
                permissions: permissions
                    .as_ref()
                    .map(|permissions| permissions.iter().copied().collect()),
            }),
            Draft::DeleteRole { role } => AnyCommand::DeleteRole(DeleteRole {
                role: self.role(role),
            }),
            Draft::CreateResourceRestriction { project } => {
                let project = self.project(project);
                AnyCommand::CreateResourceRestriction(CreateResourceRestriction { project })
            }
            Draft::DeleteResourceRestriction { project } => {
                let project = self.restricted_project(project);
                AnyCommand::DeleteResourceRestriction(DeleteResourceRestriction { project })
            }
            Draft::CreateUser {
                email,
                role,
                invitation,
                is_developer,
            } => AnyCommand::CreateUser(CreateUser {
                name: self.name(Kind::User, NamePick::Fresh),
                email: self.email(email),
                role: account_role(role),
                invitation: self.invitation(invitation),
                is_developer,
            }),
            Draft::ResendInvitation { user } => AnyCommand::ResendInvitation(ResendInvitation {
                user: self.user_standing(user, |standing| {
                    matches!(standing, Standing::Invited { .. })
                }),
                token: secret(self.serial).hash,
            }),
            Draft::RenewTemporaryPassword { user } => {
                AnyCommand::RenewTemporaryPassword(RenewTemporaryPassword {
                    user: self.user_standing(user, |standing| {
                        matches!(standing, Standing::Invited { .. })
                    }),
                    password: self.password(),
                })
            }
            Draft::ResetPassword { user } => AnyCommand::ResetPassword(ResetPassword {
                user: self.user_standing(user, |standing| *standing == Standing::Active),
                token: secret(self.serial).hash,
            }),
            Draft::AcceptInvitation { link } => AnyCommand::AcceptInvitation(AcceptInvitation {
                token: self.token(link, caller),
                password: self.password(),
                secret: secret(self.serial),
            }),
            Draft::CompletePasswordReset { link, end_keys } => {
                AnyCommand::CompletePasswordReset(CompletePasswordReset {
                    token: self.token(link, caller),
                    password: self.password(),
                    end_keys,
                })
            }
            Draft::SignIn {
                is_right,
                has_new_password,
                end_keys,
            } => AnyCommand::SignIn(SignIn {
                verified: self
                    .password_of(caller)
                    .filter(|_| is_right)
                    .unwrap_or_else(|| PasswordHash::new("wrong".to_owned())),
                new_password: has_new_password.then(|| self.password()),
                end_keys,
                secret: secret(self.serial),
            }),
            Draft::UpdateUser {
                user,
                name,
                is_developer,
            } => AnyCommand::UpdateUser(UpdateUser {
                user: self.user(user),
                name: name.map(|name| self.name(Kind::User, name)),
                is_developer,
            }),
            Draft::DeleteUser { user } => AnyCommand::DeleteUser(DeleteUser {
                user: self.user(user),
            }),
            Draft::CreateOrganization { name } => {
                AnyCommand::CreateOrganization(CreateOrganization {
                    name: self.name(Kind::Organization, name),
                    description: self.description(),
                })
            }
            Draft::UpdateOrganization { organization, name } => {
                AnyCommand::UpdateOrganization(UpdateOrganization {
                    organization: self.organization(organization),
                    name: name.map(|name| self.name(Kind::Organization, name)),
                    description: Some(self.description()),
                })
            }
            Draft::DeleteOrganization { organization } => {
                let organization = self.organization(organization);
                AnyCommand::DeleteOrganization(DeleteOrganization { organization })
            }
            Draft::AddOrganizationUser {
                organization,
                user,
                role,
            } => {
                let user = self.user(user);
                AnyCommand::AddOrganizationUser(AddOrganizationUser {
                    organization: self.organization(organization),
                    user,
                    role: self.organization_role(role, self.account_role_of(user)),
                })
            }
            Draft::RemoveOrganizationUser { organization, user } => {
                let organization = self.organization(organization);
                AnyCommand::RemoveOrganizationUser(RemoveOrganizationUser {
                    organization,
                    user: self.user_in(user, Some(organization)),
                })
            }
            Draft::CreateSpace {
                name,
                organization,
                is_private,
            } => AnyCommand::CreateSpace(CreateSpace {
                name: self.name(Kind::Space, name),
                organization: self.organization(organization),
                description: self.description(),
                is_private,
            }),
            Draft::UpdateSpace {
                space,
                name,
                change,
            } => AnyCommand::UpdateSpace(UpdateSpace {
                name: name.map(|name| self.name(Kind::Space, name)),
                ..self.space_change(space, change)
            }),
            Draft::DeleteSpace { space } => AnyCommand::DeleteSpace(DeleteSpace {
                space: self.space(space),
            }),
            Draft::AddSpaceUser { space, user, role } => {
                let space = self.space(space);
                let user = self.user_in(user, self.organization_of(space));
                AnyCommand::AddSpaceUser(AddSpaceUser {
                    space,
                    user,
                    role: self.space_role(role, self.account_role_of(user)),
                })
            }
            Draft::RemoveSpaceUser { space, user } => {
                let space = self.space(space);
                let user = self.user_in_space(user, space);
                AnyCommand::RemoveSpaceUser(RemoveSpaceUser { space, user })
            }
            Draft::CreateProject { name, space } => AnyCommand::CreateProject(CreateProject {
                name: self.name(Kind::Project, name),
                space: self.space(space),
            }),
            Draft::UpdateProject { project, name } => AnyCommand::UpdateProject(UpdateProject {
                project: self.project(project),
                name: self.name(Kind::Project, name),
            }),
            Draft::DeleteProject { project } => AnyCommand::DeleteProject(DeleteProject {
                project: self.project(project),
            }),
            Draft::CreateUserKey { expiry } => AnyCommand::CreateUserKey(CreateUserKey {
                name: self.key_name(),
                description: self.description(),
                expires_at: self.expiry(expiry, None),
                secret: secret(self.serial),
            }),
            Draft::CreateServiceKey {
                account_role: role,
                ref places,
                expiry,
            } => AnyCommand::CreateServiceKey(CreateServiceKey {
                name: self.key_name(),
                description: self.description(),
                expires_at: self.expiry(expiry, None),
                account_role: account_role(role),
                organizations: places.iter().map(|place| self.key_place(place)).collect(),
                secret: secret(self.serial),
            }),
            Draft::RefreshApiKey {
                key,
                expiry,
                grace_seconds,
            } => {
                let key = self.api_key(key);
                let old = self.model.api_key(key).and_then(|key| key.expires_at);
                AnyCommand::RefreshApiKey(RefreshApiKey {
                    key,
                    expires_at: self.expiry(expiry, old),
                    grace_seconds,
                    secret: secret(self.serial),
                })
            }
            Draft::RevokeApiKey { key } => AnyCommand::RevokeApiKey(RevokeApiKey {
                key: self.api_key(key),
            }),
            Draft::MarkEnforcementPoint { key } => {
                AnyCommand::MarkEnforcementPoint(MarkEnforcementPoint {
                    key: self.api_key(key),
                })
            }
            Draft::UnmarkEnforcementPoint { key } => {
                let key = self.enforcement_point(key);
                AnyCommand::UnmarkEnforcementPoint(UnmarkEnforcementPoint { key })
            }
        }
    }
}

/// Ids.
impl Resolver<'_> {
    fn user(&self, pick: Pick) -> UserId {
        let there: Vec<UserId> = self
            .model
            .users
            .iter()
            .filter(|user| user.standing != Standing::Inactive)
            .map(|user| user.id)
            .collect();
        pick.among(&there, self.model.issued(Kind::User))
    }

    fn user_in(&self, pick: UserPick, organization: Option<OrganizationId>) -> UserId {
        let (UserPick::Member(number) | UserPick::Any(number)) = pick;
        let members: Vec<UserId> = self
            .model
            .organization_memberships
            .iter()
            .filter(|one| Some(one.organization) == organization)
            .map(|one| one.user)
            .collect();
        match (pick, number.of(&members)) {
            (UserPick::Member(_), Some(member)) => member,
            _ => self.user(number),
        }
    }

    fn user_in_space(&self, pick: UserPick, space: SpaceId) -> UserId {
        let (UserPick::Member(number) | UserPick::Any(number)) = pick;
        let seats = self.model.space_memberships.iter();
        let seats = seats.filter(|one| one.space == space).map(|one| one.user);
        let bindings = self.model.role_bindings.iter();
        let bindings = bindings
            .filter(|one| one.resource == Bindable::Space(space))
            .map(|one| one.user);
        let members: Vec<UserId> = seats.chain(bindings).collect();
        match (pick, number.of(&members)) {
            (UserPick::Member(_), Some(member)) => member,
            _ => self.user(number),
        }
    }

    fn role(&self, pick: Pick) -> RoleId {
        let custom = self.model.roles.iter().map(|role| role.id);
        let listed = (1..)
            .zip(&PREDEFINED_ROLES)
            .filter(|(_, role)| role.listed)
            .map(|(number, _)| RoleId::from_number(number));
        // Custom roles twice: most rules are about them.
        let there: Vec<RoleId> = custom.clone().chain(listed).chain(custom).collect();
        pick.among(&there, self.model.issued(Kind::Role).max(CUSTOM_FIRST))
    }

    fn role_binding(&self, pick: Pick) -> RoleBindingId {
        let there: Vec<RoleBindingId> = self.model.role_bindings.iter().map(|one| one.id).collect();
        pick.among(&there, self.model.issued(Kind::RoleBinding))
    }

    fn organization(&self, pick: Pick) -> OrganizationId {
        let there: Vec<OrganizationId> =
            self.model.organizations.iter().map(|one| one.id).collect();
        pick.among(&there, self.model.issued(Kind::Organization))
    }

    fn organization_of(&self, space: SpaceId) -> Option<OrganizationId> {
        self.model.space(space).map(|space| space.organization)
    }

    fn space(&self, pick: Pick) -> SpaceId {
        let there: Vec<SpaceId> = self.model.spaces.iter().map(|space| space.id).collect();
        pick.among(&there, self.model.issued(Kind::Space))
    }

    fn project(&self, pick: Pick) -> ProjectId {
        let there: Vec<ProjectId> = self.model.projects.iter().map(|one| one.id).collect();
        pick.among(&there, self.model.issued(Kind::Project))
    }

    /// A restricted one, if there is one and the pick is of something that exists.
    fn restricted_project(&self, pick: Pick) -> ProjectId {
        let restricted: Vec<ProjectId> = self
            .model
            .restrictions
            .iter()
            .map(|one| one.project)
            .collect();
        match pick.of(&restricted) {
            Some(project) if pick.0 < Pick::THERE => project,
            _ => self.project(pick),
        }
    }

    fn api_key(&self, pick: Pick) -> ApiKeyId {
        // All but the founder's, which histories need; its number picks it now and then.
        let mut there: Vec<ApiKeyId> = self
            .model
            .api_keys
            .iter()
            .skip(1)
            .map(|key| key.id)
            .collect();
        // Newest first: old ones are often revoked.
        there.reverse();
        pick.among(&there, self.model.issued(Kind::ApiKey))
    }

    /// One with the mark, if there is one and the pick is of something that exists.
    fn enforcement_point(&self, pick: Pick) -> ApiKeyId {
        let keys = self.model.api_keys.iter();
        let marked = keys.filter(|key| key.is_enforcement_point);
        let marked: Vec<ApiKeyId> = marked.map(|key| key.id).collect();
        match pick.of(&marked) {
            Some(key) if pick.0 < Pick::THERE => key,
            _ => self.api_key(pick),
        }
    }
}

/// Roles.
impl Resolver<'_> {
    fn account_role_of(&self, user: UserId) -> Option<AccountRole> {
        self.model.user(user).map(|user| user.account_role)
    }

    fn organization_role(
        &self,
        pick: RolePick,
        of_user: Option<AccountRole>,
    ) -> Assignment<OrganizationRole> {
        use OrganizationRole::{Admin, Annotator, Member, ReadOnly};
        let role = match pick {
            RolePick::Custom(role) => return Assignment::Custom(self.role(role)),
            RolePick::Fitting(_) if of_user == Some(AccountRole::Annotator) => Annotator,
            RolePick::Fitting(number) => [Member, ReadOnly, Admin][usize::from(number % 3)],
            RolePick::Any(number) => OrganizationRole::ALL[usize::from(number % 4)],
        };
        Assignment::Predefined(role)
    }

    fn space_role(&self, pick: RolePick, of_user: Option<AccountRole>) -> Assignment<SpaceRole> {
        use SpaceRole::{Admin, Annotator, Member, ReadOnly};
        let role = match pick {
            RolePick::Custom(role) => return Assignment::Custom(self.role(role)),
            RolePick::Fitting(_) if of_user == Some(AccountRole::Annotator) => Annotator,
            RolePick::Fitting(number) => [Member, ReadOnly, Admin][usize::from(number % 3)],
            RolePick::Any(number) => SpaceRole::ALL[usize::from(number % 4)],
        };
        Assignment::Predefined(role)
    }

    fn key_place(&self, place: &KeyPlace) -> KeyOrganization {
        // Mostly the organization of a space, so that there is a space to name.
        let of_spaces: Vec<OrganizationId> = self
            .model
            .spaces
            .iter()
            .map(|space| space.organization)
            .collect();
        let organization = match place.organization.of(&of_spaces) {
            Some(organization) if place.organization.0 < Pick::THERE => organization,
            _ => self.organization(place.organization),
        };
        let inside: Vec<SpaceId> = self
            .model
            .spaces
            .iter()
            .filter(|space| space.organization == organization)
            .map(|space| space.id)
            .collect();
        let seat = |(space, role): &(Pick, RolePick)| KeySpace {
            space: match space.of(&inside) {
                Some(inside) if space.0 < Pick::THERE => inside,
                _ => self.space(*space),
            },
            role: self.space_role(*role, None),
        };
        KeyOrganization {
            organization,
            role: self.organization_role(place.role, None),
            spaces: place.spaces.iter().map(seat).collect(),
        }
    }
}

/// Links and passwords.
impl Resolver<'_> {
    fn invitation(&self, pick: InvitationPick) -> Invitation {
        match pick {
            InvitationPick::None => Invitation::None,
            InvitationPick::Link => Invitation::Link(secret(self.serial).hash),
            InvitationPick::TemporaryPassword => Invitation::TemporaryPassword(self.password()),
        }
    }

    /// Mostly a user with this standing.
    fn user_standing(&self, pick: Pick, wanted: impl Fn(&Standing) -> bool) -> UserId {
        let users = self.model.users.iter();
        let wanted: Vec<UserId> = users
            .filter(|user| is_human(user) && wanted(&user.standing))
            .map(|user| user.id)
            .collect();
        match pick.of(&wanted) {
            Some(user) if pick.0 < Pick::THERE => user,
            _ => self.user(pick),
        }
    }

    fn token(&self, pick: LinkPick, caller: Caller) -> SecretHash {
        let token_of = |user| Some(self.model.credential(user)?.link?.token);
        let own = match caller {
            Caller::Person(user) => token_of(user),
            Caller::Operator | Caller::Key { .. } => None,
        };
        let all = self.model.credentials.iter();
        let all: Vec<SecretHash> = all.filter_map(|one| Some(one.link?.token)).collect();
        let picked = match pick {
            LinkPick::Own => own,
            LinkPick::Any(pick) => pick.of(&all),
        };
        picked.unwrap_or(secret(self.serial).hash)
    }

    /// A unique password in the history.
    fn password(&self) -> PasswordHash {
        PasswordHash::new(format!("password {}", self.serial))
    }

    fn password_of(&self, caller: Caller) -> Option<PasswordHash> {
        match caller {
            Caller::Person(user) => self.model.credential(user)?.password.clone(),
            Caller::Operator | Caller::Key { .. } => None,
        }
    }
}

/// Texts, times and settings.
impl Resolver<'_> {
    fn name(&self, kind: Kind, pick: NamePick) -> Name {
        let things: Vec<&Name> = match kind {
            Kind::Organization => self
                .model
                .organizations
                .iter()
                .map(|one| &one.name)
                .collect(),
            Kind::Space => self.model.spaces.iter().map(|one| &one.name).collect(),
            Kind::Project => self.model.projects.iter().map(|one| &one.name).collect(),
            _ => self.model.users.iter().map(|one| &one.name).collect(),
        };
        match pick {
            NamePick::Taken(pick) if !things.is_empty() => {
                things[usize::from(pick.0) % things.len()].clone()
            }
            _ => {
                let name = format!("{} {}", kind.noun(), self.serial);
                Name::parse(&self.spelled(name)).expect("a noun and a number")
            }
        }
    }

    /// Every other text in capitals, for filters that ignore case.
    fn spelled(&self, text: String) -> String {
        if self.serial.is_multiple_of(2) {
            text
        } else {
            text.to_uppercase()
        }
    }

    fn role_name(&self, pick: NamePick) -> RoleName {
        let custom = self.model.roles.iter().map(|role| role.name.as_str());
        let predefined = PREDEFINED_ROLES.iter().map(|role| role.name);
        let taken: Vec<&str> = custom.chain(predefined).collect();
        let fresh = format!("role {}", self.serial);
        let name = match pick {
            NamePick::Fresh => fresh.as_str(),
            NamePick::Taken(pick) => pick.of(&taken).unwrap_or(&fresh),
        };
        RoleName::parse(name).expect("the name of a role")
    }

    fn key_name(&self) -> KeyName {
        KeyName::parse(&format!("key {}", self.serial)).expect("a noun and a number")
    }

    /// One of three, so that updates without a change happen.
    fn description(&self) -> Description {
        let text = ["", "one", "two"][self.serial as usize % 3];
        Description::parse(text).expect("a short text")
    }

    fn email(&self, pick: EmailPick) -> Email {
        let taken: Vec<&Email> = self.model.users.iter().filter_map(email_of).collect();
        let fresh = self.spelled(format!("user-{}@example.com", self.serial));
        let text = match pick {
            EmailPick::Fresh => fresh,
            EmailPick::Taken(pick) => pick
                .of(&taken)
                .map_or(fresh, |email| email.as_str().to_uppercase()),
        };
        Email::parse(&text).expect("an address")
    }

    /// The address of a deleted user, if there is one; otherwise of any user.
    fn email_of_deleted(&self, pick: Pick) -> Email {
        let gone = self.model.users.iter();
        let gone = gone.filter(|user| user.standing == Standing::Inactive);
        let gone: Vec<&Email> = gone.filter_map(email_of).collect();
        match pick.of(&gone) {
            Some(email) if !pick.0.is_multiple_of(8) => email.clone(),
            _ => self.email(EmailPick::Taken(pick)),
        }
    }

    /// The address of an active user without a key, if there is one; otherwise of any user.
    fn email_without_key(&self, pick: Pick) -> Email {
        let waiting: Vec<&Email> = self
            .model
            .users
            .iter()
            .filter(|user| user.standing == Standing::Active)
            .filter(|user| {
                let mut keys = self.model.api_keys.iter();
                !keys.any(|key| key.principal() == user.id && key.is_alive(self.now))
            })
            .filter_map(email_of)
            .collect();
        match pick.of(&waiting) {
            Some(email) if pick.0 < Pick::THERE => email.clone(),
            _ => self.email(EmailPick::Taken(pick)),
        }
    }

    fn expiry(&self, pick: Expiry, old: Option<Timestamp>) -> Option<Timestamp> {
        match (pick, old) {
            (Expiry::Absent, _) | (Expiry::BeforeTheOld(_), None) => None,
            (Expiry::Now, _) => Some(self.now),
            (Expiry::In(seconds), _) => Some(self.now.plus_seconds(seconds)),
            (Expiry::BeforeTheOld(seconds), Some(old)) => {
                let millis = i64::try_from(seconds * 1000).expect("a few days");
                Some(Timestamp::from_millis(old.as_millis() - millis))
            }
        }
    }

    fn space_change(&self, space: Pick, change: SpaceChange) -> UpdateSpace {
        let nothing = UpdateSpace {
            space: self.space(space),
            name: None,
            description: None,
            is_private: None,
            default_llm_integration: None,
            default_agent_runtime: None,
            ml_models_enabled: None,
            gradient_start_color: None,
            gradient_end_color: None,
        };
        match change {
            SpaceChange::Privacy(is_private) => UpdateSpace {
                is_private: Some(is_private),
                ..nothing
            },
            SpaceChange::Color => UpdateSpace {
                description: Some(self.description()),
                ml_models_enabled: Some(true),
                gradient_start_color: Some(label("red")),
                gradient_end_color: Some(label("blue")),
                ..nothing
            },
            SpaceChange::Integration(is_set) => UpdateSpace {
                default_llm_integration: Some(is_set.then(|| LlmIntegration {
                    integration_id: label("integration"),
                    model_name: label("model"),
                })),
                default_agent_runtime: Some(is_set.then(|| label("runtime"))),
                ..nothing
            },
        }
    }
}

fn label(text: &str) -> Label {
    Label::parse(text).expect("a short text")
}

fn account_role(role: Option<AccountRole>) -> Assignment<AccountRole> {
    match role {
        Some(role) => Assignment::Predefined(role),
        None => Assignment::Custom(RoleId::from_number(CUSTOM_FIRST)),
    }
}

fn email_of(user: &User) -> Option<&Email> {
    match &user.identity {
        Identity::Human { email } => Some(email),
        Identity::Bot { .. } => None,
    }
}

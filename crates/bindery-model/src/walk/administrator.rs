//! The account before the walk, and the moves of its administrator and of people without any relation to the
//! attacker.

use bindery_core::change::Change;
use bindery_core::command::api_keys::RevokeApiKey;
use bindery_core::command::credentials::{
    AcceptInvitation, CompletePasswordReset, RenewTemporaryPassword, ResendInvitation,
    ResetPassword, SignIn,
};
use bindery_core::command::enforcement_points::MarkEnforcementPoint;
use bindery_core::command::operator::{Bootstrap, IssueUserKey};
use bindery_core::command::organizations::{
    AddOrganizationUser, CreateOrganization, DeleteOrganization, RemoveOrganizationUser,
};
use bindery_core::command::projects::CreateProject;
use bindery_core::command::resource_restrictions::{
    CreateResourceRestriction, DeleteResourceRestriction,
};
use bindery_core::command::role_bindings::{CreateRoleBinding, DeleteRoleBinding};
use bindery_core::command::roles::{CreateRole, UpdateRole};
use bindery_core::command::spaces::{AddSpaceUser, CreateSpace, DeleteSpace, RemoveSpaceUser};
use bindery_core::command::users::{CreateUser, DeleteUser, Invitation, UpdateUser};
use bindery_core::command::{Assignment, Caller};
use bindery_core::id::{OrganizationId, SpaceId, UserId};
use bindery_core::permission::Permission;
use bindery_core::resource::Bindable;
use bindery_core::role::{AccountRole, OrganizationRole, SpaceRole};
use bindery_core::text::{Description, Email, Name, RoleName};
use bindery_core::time::Timestamp;

use super::Walk;
use super::attacker::{Root, email, key_name};
use bindery_core::command::AnyCommand;

/// The first permissions of custom roles.
const ROLES: [&[Permission]; 5] = [
    &[Permission::SpaceRead, Permission::RoleBindingCreate],
    &[Permission::SpaceRead, Permission::RoleBindingDelete],
    &[
        Permission::SpaceRead,
        Permission::ProjectRead,
        Permission::ServiceKeyCreate,
        Permission::ServiceKeyRead,
    ],
    &[Permission::ProjectRead],
    &[
        Permission::SpaceRead,
        Permission::SpaceUpdate,
        Permission::ProjectRestrict,
    ],
];

impl Walk {
    /// Two organizations with spaces, projects, roles and people; mallory with few rights; and a service key
    /// that mallory stole.
    pub(super) fn found(&mut self) {
        let secret = self.secret();
        let founding = AnyCommand::Bootstrap(Bootstrap {
            name: Name::parse("Ada").expect("a name"),
            email: Email::parse("ada@example.com").expect("an address"),
            key_name: key_name(),
            secret,
        });
        for change in self.call(Caller::Operator, &founding).into_iter().flatten() {
            if let Change::PutApiKey(key) = change {
                self.admin = Caller::Key {
                    user: key.principal(),
                    key: key.id,
                };
            }
        }
        for permissions in ROLES {
            let name = format!("role {}", self.next_serial());
            self.build(&AnyCommand::CreateRole(CreateRole {
                name: RoleName::parse(&name).expect("a name"),
                description: Description::default(),
                permissions: permissions.iter().copied().collect(),
            }));
        }
        for _ in 0..2 {
            let name = self.place_name();
            self.build(&AnyCommand::CreateOrganization(CreateOrganization {
                name,
                description: Description::default(),
            }));
            let organization = self.newest_organization();
            for is_private in [true, false] {
                let name = self.place_name();
                self.build(&AnyCommand::CreateSpace(CreateSpace {
                    name,
                    organization,
                    description: Description::default(),
                    is_private,
                }));
                let space = self.things.spaces.last().copied();
                let name = self.place_name();
                self.build(&AnyCommand::CreateProject(CreateProject {
                    name,
                    space: space.expect("it was made"),
                }));
            }
        }
        let mallory = Email::parse("mallory@example.com").expect("an address");
        self.add_person(&mallory);
        let user = *self.things.users.last().expect("it was made");
        let secret = self.secret();
        let hash = secret.hash;
        self.build_by(
            Caller::Operator,
            &AnyCommand::IssueUserKey(IssueUserKey {
                email: mallory,
                key_name: key_name(),
                secret,
                is_enforcement_point: false,
            }),
        );
        let key = *self.things.keys.last().expect("it was made");
        self.steal(user, key, hash, Root::Person);
        let organization = self.things.organizations[0];
        if self.dice.per_mille(500) {
            // A small role in the public space, from before the default rights there: mallory never had
            // those.
            self.build(&AnyCommand::CreateRoleBinding(CreateRoleBinding {
                user,
                role: self.things.roles[1],
                on: Bindable::Space(self.things.spaces[1]),
            }));
        }
        self.build(&seat(organization, user, OrganizationRole::Member));
        for number in 0..2 {
            let bystander = Email::parse(&format!("bystander{number}@example.com"));
            self.add_person(&bystander.expect("an address"));
            let user = *self.things.users.last().expect("it was made");
            self.people.push(user);
            self.build(&seat(organization, user, OrganizationRole::Member));
            let space = self.things.spaces[number];
            let role = Assignment::Predefined(SpaceRole::Admin);
            self.build(&AnyCommand::AddSpaceUser(AddSpaceUser {
                space,
                user,
                role,
            }));
        }
        self.lose_a_key();
        self.counts.calls = 0;
    }

    fn newest_organization(&self) -> OrganizationId {
        *self.things.organizations.last().expect("it was made")
    }

    fn add_person(&mut self, email: &Email) {
        self.build(&AnyCommand::CreateUser(CreateUser {
            name: Name::parse("Person").expect("a name"),
            email: email.clone(),
            role: Assignment::Predefined(AccountRole::Member),
            invitation: Invitation::None,
            is_developer: None,
        }));
    }

    fn build(&mut self, command: &AnyCommand) {
        self.build_by(self.admin, command);
    }

    fn build_by(&mut self, caller: Caller, command: &AnyCommand) {
        let made = self.call(caller, command);
        assert!(made.is_some(), "{:?}", self.transcript.last());
    }

    /// A service key of the administrator that the attacker gets: it lasts some minutes, or does not expire.
    fn lose_a_key(&mut self) -> AnyCommand {
        let space = self.spaces_of_the_first()[self.dice.index(2)];
        let organization = self.things.organizations[0];
        let wait = self.dice.one(&[0, 600_000, 7_200_000]);
        let end = (wait > 0).then(|| Timestamp::from_millis(self.now.as_millis() + wait));
        let command = self.service_key_in(organization, space, end);
        let AnyCommand::CreateServiceKey(mut key) = command else {
            return command;
        };
        key.account_role = Assignment::Predefined(AccountRole::Member);
        let hash = key.secret.hash;
        let command = AnyCommand::CreateServiceKey(key);
        for change in self.call(self.admin, &command).into_iter().flatten() {
            if let Change::PutApiKey(key) = change {
                self.steal(key.principal(), key.id, hash, Root::Stolen(key.id));
            }
        }
        command
    }

    fn spaces_of_the_first(&self) -> [SpaceId; 2] {
        [self.things.spaces[0], self.things.spaces[1]]
    }

    /// A user to give something to: mostly a person who is not the attacker's.
    fn someone(&mut self) -> UserId {
        let people = self.people.clone();
        if self.dice.per_mille(750) {
            return self.any(&people);
        }
        let own: Vec<UserId> = self.attacker.own.iter().copied().collect();
        self.any(&own)
    }

    /// A move of the administrator, or of a person who uses a mailed link or the password that an
    /// administrator gave them.
    pub(super) fn administrators_move(&mut self) -> (Caller, AnyCommand) {
        if !self.mailed.is_empty() && self.dice.per_mille(150) {
            return self.use_mail();
        }
        if !self.handed.is_empty() && self.dice.per_mille(150) {
            return self.use_password();
        }
        let command = self.administrate();
        (self.admin, command)
    }

    fn use_mail(&mut self) -> (Caller, AnyCommand) {
        let (user, token) = self.mailed.remove(self.dice.index(self.mailed.len()));
        let (password, secret) = (self.password(), self.secret());
        let is_active = (self.state.user(user))
            .is_some_and(|user| user.standing == bindery_core::user::Standing::Active);
        let command = if is_active {
            AnyCommand::CompletePasswordReset(CompletePasswordReset {
                token,
                password,
                end_keys: false,
            })
        } else {
            AnyCommand::AcceptInvitation(AcceptInvitation {
                token,
                password,
                secret,
            })
        };
        (Caller::Person(user), command)
    }

    fn use_password(&mut self) -> (Caller, AnyCommand) {
        let (user, verified) = self.handed.remove(self.dice.index(self.handed.len()));
        let command = AnyCommand::SignIn(SignIn {
            verified,
            new_password: Some(self.password()),
            end_keys: false,
            secret: self.secret(),
        });
        (Caller::Person(user), command)
    }

    #[expect(clippy::too_many_lines, reason = "one flat match, a move an arm")]
    fn administrate(&mut self) -> AnyCommand {
        let user = self.someone();
        let is_own = self.attacker.own.contains(&user);
        match self.dice.below(30) {
            0..=4 => {
                // The attacker's own users are given little, and in one organization.
                let role = match self.any_organization_role() {
                    Assignment::Predefined(OrganizationRole::Admin) if is_own => {
                        OrganizationRole::ReadOnly
                    }
                    Assignment::Predefined(role) => role,
                    Assignment::Custom(_) => OrganizationRole::Member,
                };
                let organization = if is_own {
                    self.things.organizations[0]
                } else {
                    self.any_organization()
                };
                seat(organization, user, role)
            }
            5 => AnyCommand::RemoveOrganizationUser(RemoveOrganizationUser {
                organization: self.any_organization(),
                user,
            }),
            6..=8 => {
                let spaces = self.spaces_of_the_first();
                AnyCommand::AddSpaceUser(AddSpaceUser {
                    space: if is_own {
                        self.dice.one(&spaces)
                    } else {
                        self.any_space()
                    },
                    user,
                    role: self.any_space_role(),
                })
            }
            9 => AnyCommand::RemoveSpaceUser(RemoveSpaceUser {
                space: self.any_space(),
                user,
            }),
            10..=12 => {
                let spaces = self.spaces_of_the_first();
                AnyCommand::CreateRoleBinding(CreateRoleBinding {
                    user,
                    role: self.any_role(),
                    on: if is_own {
                        Bindable::Space(self.dice.one(&spaces))
                    } else {
                        self.any_bindable()
                    },
                })
            }
            13 => {
                let bindings = self.things.bindings.clone();
                AnyCommand::DeleteRoleBinding(DeleteRoleBinding {
                    binding: self.any(&bindings),
                })
            }
            14 | 15 => AnyCommand::ResendInvitation(ResendInvitation {
                user,
                token: self.secret().hash,
            }),
            16 => AnyCommand::ResetPassword(ResetPassword {
                user,
                token: self.secret().hash,
            }),
            17 => AnyCommand::DeleteUser(DeleteUser {
                user: if is_own { UserId::new(0) } else { user },
            }),
            18 => AnyCommand::UpdateUser(UpdateUser {
                user,
                name: None,
                is_developer: Some(self.dice.per_mille(700)),
            }),
            19 => {
                let keys = self.things.keys.clone();
                let key = self.any(&keys);
                let is_spared = self.state.api_key(key).is_none_or(|key| {
                    key.principal() == UserId::new(1) || key.principal() == self.mallory()
                });
                if is_spared {
                    self.privacy()
                } else {
                    AnyCommand::RevokeApiKey(RevokeApiKey { key })
                }
            }
            20 => self.lose_a_key(),
            21 => {
                let role = self.any_role();
                let permissions = ROLES[self.dice.index(ROLES.len())];
                AnyCommand::UpdateRole(UpdateRole {
                    role,
                    name: None,
                    description: None,
                    permissions: Some(permissions.iter().copied().collect()),
                })
            }
            22 => {
                let projects = self.things.projects.clone();
                AnyCommand::CreateResourceRestriction(CreateResourceRestriction {
                    project: self.any(&projects),
                })
            }
            23 => {
                let projects = self.things.projects.clone();
                AnyCommand::DeleteResourceRestriction(DeleteResourceRestriction {
                    project: self.any(&projects),
                })
            }
            24 => self.privacy(),
            25 => AnyCommand::RenewTemporaryPassword(RenewTemporaryPassword {
                user,
                password: self.password(),
            }),
            26 => {
                let keys = self.things.keys.clone();
                AnyCommand::MarkEnforcementPoint(MarkEnforcementPoint {
                    key: self.any(&keys),
                })
            }
            27 => self.delete_place(),
            _ => {
                let roles = [AccountRole::Admin, AccountRole::Member];
                let number = self.dice.below(5);
                let invitation = if self.dice.per_mille(500) {
                    Invitation::Link(self.secret().hash)
                } else {
                    Invitation::TemporaryPassword(self.password())
                };
                AnyCommand::CreateUser(CreateUser {
                    name: Name::parse("Boss").expect("a name"),
                    email: email(number),
                    role: Assignment::Predefined(self.dice.one(&roles)),
                    invitation,
                    is_developer: None,
                })
            }
        }
    }

    /// Rarely, and not the places that most moves are about.
    fn delete_place(&mut self) -> AnyCommand {
        let (spaces, organizations) = (
            self.things.spaces.clone(),
            self.things.organizations.clone(),
        );
        let (space, organization) = (self.any(&spaces), self.any(&organizations));
        let is_spared = self.spaces_of_the_first().contains(&space)
            || self.things.organizations.first() == Some(&organization);
        if is_spared || self.dice.per_mille(700) {
            return self.privacy();
        }
        if self.dice.per_mille(500) {
            AnyCommand::DeleteSpace(DeleteSpace { space })
        } else {
            AnyCommand::DeleteOrganization(DeleteOrganization { organization })
        }
    }

    /// The attacker's own person.
    fn mallory(&self) -> UserId {
        self.things.users.get(1).copied().unwrap_or(UserId::new(0))
    }

    /// Records people and links that result from calls other than the attacker's.
    pub(super) fn note_mail(&mut self, command: &AnyCommand, changes: &[Change]) {
        let is_sent = matches!(
            command,
            AnyCommand::CreateUser(_)
                | AnyCommand::ResendInvitation(_)
                | AnyCommand::ResetPassword(_)
        );
        let is_handed = matches!(
            command,
            AnyCommand::CreateUser(_) | AnyCommand::RenewTemporaryPassword(_)
        );
        for change in changes {
            if let Change::PutUser(user) = change {
                self.note_user(user);
            }
            if let Change::PutCredential(credential) = change
                && let Some(password) = credential.password.clone().filter(|_| is_handed)
            {
                self.hand(credential.user, password);
            }
            if let Change::PutCredential(credential) = change
                && let Some(link) = credential.link.filter(|_| is_sent)
            {
                self.mail(credential.user, link.token, Root::Person);
            }
        }
    }
}

fn seat(organization: OrganizationId, user: UserId, role: OrganizationRole) -> AnyCommand {
    AnyCommand::AddOrganizationUser(AddOrganizationUser {
        organization,
        user,
        role: Assignment::Predefined(role),
    })
}

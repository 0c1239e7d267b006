//! What the attacker knows, and its moves.

use std::collections::{BTreeMap, BTreeSet};

use bindery_core::api_key::SecretHash;
use bindery_core::change::Change;
use bindery_core::command::api_keys::{
    CreateServiceKey, CreateUserKey, KeyOrganization, KeySpace, RefreshApiKey, RevokeApiKey,
};
use bindery_core::command::credentials::{AcceptInvitation, CompletePasswordReset, SignIn};
use bindery_core::command::organizations::{AddOrganizationUser, RemoveOrganizationUser};
use bindery_core::command::projects::CreateProject;
use bindery_core::command::resource_restrictions::{
    CreateResourceRestriction, DeleteResourceRestriction,
};
use bindery_core::command::role_bindings::{
    CreateRoleBinding, DeleteRoleBinding, UpdateRoleBinding,
};
use bindery_core::command::spaces::{AddSpaceUser, CreateSpace, RemoveSpaceUser, UpdateSpace};
use bindery_core::command::users::{CreateUser, Invitation};
use bindery_core::command::{Assignment, Caller, Context};
use bindery_core::credential::PasswordHash;
use bindery_core::id::{ApiKeyId, Id, OrganizationId, RoleId, SpaceId, UserId};
use bindery_core::resource::Bindable;
use bindery_core::role::{AccountRole, OrganizationRole, SpaceRole};
use bindery_core::state::State;
use bindery_core::text::{Description, Email, KeyName, Name};
use bindery_core::time::Timestamp;
use bindery_core::user::User;

use super::Walk;
use bindery_core::command::AnyCommand;

/// What the attacker knows.
#[derive(Default)]
pub(super) struct Attacker {
    /// Users whose gifts belong to the attacker: mallory, people whose e-mail it reads, bots that it made or
    /// stole.
    pub(super) own: BTreeSet<UserId>,
    pub(super) keys: Vec<KnownKey>,
    pub(super) proofs: Vec<KnownProof>,
    /// The origin of each key that it ever knew.
    roots: BTreeMap<ApiKeyId, Root>,
    /// Spaces that existed before its last move.
    pub(super) seen_spaces: BTreeSet<SpaceId>,
}

/// The secret of a key.
#[derive(Clone, Copy)]
pub(super) struct KnownKey {
    pub(super) user: UserId,
    pub(super) id: ApiKeyId,
    secret: SecretHash,
    pub(super) root: Root,
}

/// A proof that lets a person sign in.
pub(super) struct KnownProof {
    pub(super) user: UserId,
    pub(super) proof: Proof,
    pub(super) root: Root,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Proof {
    Password(PasswordHash),
    Link(SecretHash),
}

/// The origin of a key or proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// The attacker's own person.
    Person,
    /// A service key that it stole.
    Stolen(ApiKeyId),
}

/// A principal that the attacker can act as.
pub(super) struct Principal {
    pub(super) user: UserId,
    /// The state in which it acts: after signing in, if it has to.
    pub(super) state: State,
    pub(super) root: Root,
    pub(super) is_victim: bool,
}

/// The attacker reads the e-mail of addresses from this number on.
const READ_BY_ATTACKER: u64 = 5;
const ADDRESSES: u64 = 8;

pub(super) fn email(number: u64) -> Email {
    Email::parse(&format!("person{number}@example.com")).expect("an address")
}

fn reads_mail_of(email: &Email) -> bool {
    (READ_BY_ATTACKER..ADDRESSES).any(|number| self::email(number) == *email)
}

pub(super) fn key_name() -> KeyName {
    KeyName::parse("key").expect("a name")
}

impl Walk {
    pub(super) fn is_usable(&self, known: &KnownKey) -> bool {
        let key = self.state.api_key(known.id);
        let context = Context {
            caller: Caller::Key {
                user: known.user,
                key: known.id,
            },
            now: self.now,
        };
        key.is_some_and(|key| key.accepts(&known.secret, self.now))
            && self.state.admit(&context).is_ok()
    }

    pub(super) fn any<I: Id>(&mut self, of: &[I]) -> I {
        if of.is_empty() {
            return I::NOBODY;
        }
        // The newest half of the time, where most changes happen.
        if self.dice.per_mille(300) {
            return of.last().copied().unwrap_or(I::NOBODY);
        }
        self.dice.one(of)
    }

    pub(super) fn any_user(&mut self) -> UserId {
        let users = self.things.users.clone();
        self.any(&users)
    }

    pub(super) fn any_space(&mut self) -> SpaceId {
        let spaces = self.things.spaces.clone();
        self.any(&spaces)
    }

    pub(super) fn any_organization(&mut self) -> OrganizationId {
        let organizations = self.things.organizations.clone();
        self.any(&organizations)
    }

    pub(super) fn any_role(&mut self) -> RoleId {
        let mut roles = self.things.roles.clone();
        roles.extend([SpaceRole::Admin.role(), SpaceRole::ReadOnly.role()]);
        self.dice.one(&roles)
    }

    pub(super) fn any_bindable(&mut self) -> Bindable {
        if self.dice.per_mille(600) {
            return Bindable::Space(self.any_space());
        }
        let projects = self.things.projects.clone();
        Bindable::Project(self.any(&projects))
    }

    pub(super) fn any_space_role(&mut self) -> Assignment<SpaceRole> {
        if self.dice.per_mille(500) {
            return Assignment::Custom(self.any_role());
        }
        let roles = [SpaceRole::Admin, SpaceRole::Member, SpaceRole::ReadOnly];
        Assignment::Predefined(self.dice.one(&roles))
    }

    pub(super) fn any_organization_role(&mut self) -> Assignment<OrganizationRole> {
        let roles = [
            OrganizationRole::Admin,
            OrganizationRole::Member,
            OrganizationRole::ReadOnly,
        ];
        Assignment::Predefined(self.dice.one(&roles))
    }

    fn any_end(&mut self) -> Option<Timestamp> {
        let wait = self.dice.one(&[0, 0, 60_000, 3_600_000, 864_000_000]);
        (wait > 0).then(|| Timestamp::from_millis(self.now.as_millis() + wait))
    }

    /// Signs in with a known proof, or does something with a known key.
    pub(super) fn attackers_move(&mut self) -> (Caller, AnyCommand) {
        if !self.attacker.proofs.is_empty() && self.dice.per_mille(200) {
            return self.come_in();
        }
        let usable: Vec<KnownKey> = self
            .attacker
            .keys
            .iter()
            .copied()
            .filter(|known| self.is_usable(known))
            .collect();
        let Some(&newest) = usable.last() else {
            return self.come_in();
        };
        // Often the newest: a stolen key may not last long.
        let known = if self.dice.per_mille(300) {
            newest
        } else {
            self.dice.one(&usable)
        };
        let caller = Caller::Key {
            user: known.user,
            key: known.id,
        };
        (caller, self.with_key())
    }

    fn come_in(&mut self) -> (Caller, AnyCommand) {
        let (password, secret) = (self.password(), self.secret());
        let place = self.dice.index(self.attacker.proofs.len());
        let Some(known) = self.attacker.proofs.get(place) else {
            return (Caller::Operator, self.invite());
        };
        let caller = Caller::Person(known.user);
        let proof = known.proof.clone();
        let command = match proof {
            Proof::Password(verified) => AnyCommand::SignIn(SignIn {
                verified,
                new_password: Some(password),
                end_keys: self.dice.per_mille(100),
                secret,
            }),
            Proof::Link(token) if self.dice.per_mille(500) => {
                AnyCommand::AcceptInvitation(AcceptInvitation {
                    token,
                    password,
                    secret,
                })
            }
            Proof::Link(token) => AnyCommand::CompletePasswordReset(CompletePasswordReset {
                token,
                password,
                end_keys: self.dice.per_mille(100),
            }),
        };
        (caller, command)
    }

    pub(super) fn invite(&mut self) -> AnyCommand {
        let number = self.dice.below(ADDRESSES);
        let invitation = match self.dice.below(5) {
            0 => Invitation::None,
            1 => Invitation::Link(self.secret().hash),
            _ => Invitation::TemporaryPassword(self.password()),
        };
        let roles = [
            AccountRole::Member,
            AccountRole::Member,
            AccountRole::Annotator,
        ];
        AnyCommand::CreateUser(CreateUser {
            name: Name::parse("Person").expect("a name"),
            email: email(number),
            role: Assignment::Predefined(self.dice.one(&roles)),
            invitation,
            is_developer: None,
        })
    }

    fn with_key(&mut self) -> AnyCommand {
        match self.dice.below(24) {
            0..=3 => self.invite(),
            4 | 5 => AnyCommand::CreateUserKey(CreateUserKey {
                name: key_name(),
                description: Description::default(),
                expires_at: self.any_end(),
                secret: self.secret(),
            }),
            6..=9 => self.service_key(),
            10 => {
                let keys = self.things.keys.clone();
                AnyCommand::RefreshApiKey(RefreshApiKey {
                    key: self.any(&keys),
                    expires_at: self.any_end(),
                    grace_seconds: self.dice.one(&[0, 3600]),
                    secret: self.secret(),
                })
            }
            11 => {
                let keys = self.things.keys.clone();
                AnyCommand::RevokeApiKey(RevokeApiKey {
                    key: self.any(&keys),
                })
            }
            12 => AnyCommand::AddOrganizationUser(AddOrganizationUser {
                organization: self.any_organization(),
                user: self.any_user(),
                role: self.any_organization_role(),
            }),
            13 => AnyCommand::RemoveOrganizationUser(RemoveOrganizationUser {
                organization: self.any_organization(),
                user: self.any_user(),
            }),
            14 | 15 => AnyCommand::AddSpaceUser(AddSpaceUser {
                space: self.any_space(),
                user: self.any_user(),
                role: self.any_space_role(),
            }),
            16 => AnyCommand::RemoveSpaceUser(RemoveSpaceUser {
                space: self.any_space(),
                user: self.any_user(),
            }),
            17 | 18 => AnyCommand::CreateRoleBinding(CreateRoleBinding {
                user: self.any_user(),
                role: self.any_role(),
                on: self.any_bindable(),
            }),
            19 => {
                let bindings = self.things.bindings.clone();
                AnyCommand::UpdateRoleBinding(UpdateRoleBinding {
                    binding: self.any(&bindings),
                    role: self.any_role(),
                })
            }
            20 => {
                let bindings = self.things.bindings.clone();
                AnyCommand::DeleteRoleBinding(DeleteRoleBinding {
                    binding: self.any(&bindings),
                })
            }
            21 => AnyCommand::CreateSpace(CreateSpace {
                name: self.place_name(),
                organization: self.any_organization(),
                description: Description::default(),
                is_private: self.dice.per_mille(500),
            }),
            22 => AnyCommand::CreateProject(CreateProject {
                name: self.place_name(),
                space: self.any_space(),
            }),
            _ => self.change_place(),
        }
    }

    fn change_place(&mut self) -> AnyCommand {
        let projects = self.things.projects.clone();
        match self.dice.below(3) {
            0 => AnyCommand::CreateResourceRestriction(CreateResourceRestriction {
                project: self.any(&projects),
            }),
            1 => AnyCommand::DeleteResourceRestriction(DeleteResourceRestriction {
                project: self.any(&projects),
            }),
            _ => self.privacy(),
        }
    }

    pub(super) fn privacy(&mut self) -> AnyCommand {
        AnyCommand::UpdateSpace(UpdateSpace {
            space: self.any_space(),
            name: None,
            description: None,
            is_private: Some(self.dice.per_mille(500)),
            default_llm_integration: None,
            default_agent_runtime: None,
            ml_models_enabled: None,
            gradient_start_color: None,
            gradient_end_color: None,
        })
    }

    pub(super) fn place_name(&mut self) -> Name {
        let text = format!("place {}", self.next_serial());
        Name::parse(&text).expect("a name")
    }

    fn service_key(&mut self) -> AnyCommand {
        let space = self.any_space();
        let organization = self.state.space(space).map(|space| space.organization);
        let expires_at = self.any_end();
        self.service_key_in(
            organization.unwrap_or(OrganizationId::NOBODY),
            space,
            expires_at,
        )
    }

    pub(super) fn service_key_in(
        &mut self,
        organization: OrganizationId,
        space: SpaceId,
        expires_at: Option<Timestamp>,
    ) -> AnyCommand {
        let account_role = if self.dice.per_mille(50) {
            AccountRole::Admin
        } else {
            AccountRole::Member
        };
        AnyCommand::CreateServiceKey(CreateServiceKey {
            name: key_name(),
            description: Description::default(),
            expires_at,
            account_role: Assignment::Predefined(account_role),
            organizations: vec![KeyOrganization {
                organization,
                role: Assignment::Predefined(OrganizationRole::ReadOnly),
                spaces: vec![KeySpace {
                    space,
                    role: self.any_space_role(),
                }],
            }],
            secret: self.secret(),
        })
    }

    /// What the attacker knows after its own call.
    pub(super) fn learn(&mut self, caller: Caller, command: &AnyCommand, changes: &[Change]) {
        let root = match caller {
            Caller::Key { key, .. } => self.attacker.roots.get(&key).copied(),
            Caller::Person(user) => {
                let known = self.attacker.proofs.iter().find(|known| known.user == user);
                known.map(|known| known.root)
            }
            Caller::Operator => None,
        };
        let root = root.unwrap_or(Root::Person);
        for change in changes {
            if let Change::PutUser(user) = change {
                self.note_user(user);
            }
            if let Change::PutCredential(credential) = change {
                let knows = matches!(command, AnyCommand::CreateUser(_))
                    || caller == Caller::Person(credential.user);
                if let Some(password) = credential.password.as_ref().filter(|_| knows) {
                    let proof = Proof::Password(password.clone());
                    self.know_proof(credential.user, proof, root);
                }
                if let Some(link) = credential.link {
                    self.mail(credential.user, link.token, root);
                }
            }
        }
        let secret = secret_of(command);
        for change in changes {
            if let Change::PutApiKey(key) = change
                && secret == Some(key.secret.hash)
            {
                let (id, user) = (key.id, key.principal());
                self.attacker.roots.insert(id, root);
                if self.state.user(user).is_some_and(|user| !user.is_human()) {
                    self.attacker.own.insert(user);
                }
                self.attacker.keys.push(KnownKey {
                    user,
                    id,
                    secret: key.secret.hash,
                    root,
                });
            }
        }
    }

    pub(super) fn know_proof(&mut self, user: UserId, proof: Proof, root: Root) {
        let proofs = &mut self.attacker.proofs;
        proofs.push(KnownProof { user, proof, root });
        // The newest are tried; older ones are mostly replaced.
        if proofs.len() > 12 {
            proofs.remove(0);
        }
    }

    /// A link arrives in a user's e-mail.
    pub(super) fn mail(&mut self, user: UserId, token: SecretHash, root: Root) {
        if self.attacker.own.contains(&user) {
            self.know_proof(user, Proof::Link(token), root);
        } else {
            self.mailed.push((user, token));
        }
    }

    /// An administrator gives a user a temporary password.
    pub(super) fn hand(&mut self, user: UserId, password: PasswordHash) {
        if self.attacker.own.contains(&user) {
            self.know_proof(user, Proof::Password(password), Root::Person);
        } else {
            self.handed.push((user, password));
        }
    }

    /// The attacker gets a key that another user made.
    pub(super) fn steal(&mut self, user: UserId, id: ApiKeyId, secret: SecretHash, root: Root) {
        self.attacker.own.insert(user);
        self.attacker.roots.insert(id, root);
        self.attacker.keys.push(KnownKey {
            user,
            id,
            secret,
            root,
        });
    }

    /// Records a user, who is the attacker's own if it reads their e-mail.
    pub(super) fn note_user(&mut self, user: &User) {
        if user.email().is_some_and(reads_mail_of) {
            self.attacker.own.insert(user.id);
        } else if user.is_human()
            && !self.attacker.own.contains(&user.id)
            && !self.people.contains(&user.id)
        {
            self.people.push(user.id);
        }
    }
}

/// The secret that the caller of a command learns.
fn secret_of(command: &AnyCommand) -> Option<SecretHash> {
    if let AnyCommand::CreateUserKey(command) = command {
        return Some(command.secret.hash);
    }
    if let AnyCommand::CreateServiceKey(command) = command {
        return Some(command.secret.hash);
    }
    if let AnyCommand::RefreshApiKey(command) = command {
        return Some(command.secret.hash);
    }
    if let AnyCommand::SignIn(command) = command {
        return Some(command.secret.hash);
    }
    if let AnyCommand::AcceptInvitation(command) = command {
        return Some(command.secret.hash);
    }
    None
}

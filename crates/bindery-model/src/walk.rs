//! A random walk of an attacker with few rights, while administrators act beside it.
//!
//! The attacker is mallory, a member of the account. It also acts as each user whose key, password or link it
//! knows: people whose e-mail it reads, bots that it made, service keys that it stole, and people that it
//! invited with a temporary password. An administrator invites, promotes, demotes, resends, resets, deletes
//! and revokes at random. After every call:
//!
//! - **No gain.** The attacker can do nothing that others didn't give it ([`closure`]).
//! - **No taking.** No other user loses a right by a change of seats whose caller may not remove roles there.
//! - **No asking.** No other user's key that the attacker knows is an enforcement point.
//! - **No outliving.** What a stolen service key made works only while that key does.
//!
//! A walk is a series of short episodes, each with its own account and seed: in one long episode an
//! administrator would have given the attacker everything.

use std::collections::BTreeSet;

use bindery_core::api_key::{Secret, SecretHash};
use bindery_core::change::Change;
use bindery_core::command::credentials::{AcceptInvitation, SignIn};
use bindery_core::command::{Caller, Context};
use bindery_core::credential::PasswordHash;
use bindery_core::decision::Question;
use bindery_core::id::{
    AccountId, ApiKeyId, Id, IdKey, OrganizationId, ProjectId, RoleBindingId, RoleId, SpaceId,
    UserId,
};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::place::{Account, AccountSettings};
use bindery_core::refusal::Refusal;
use bindery_core::resource::{Bindable, Resource};
use bindery_core::state::State;
use bindery_core::text::Name;
use bindery_core::time::Timestamp;
use bindery_core::user::{Standing, User};

use crate::dice::Dice;
use crate::history::START;
use bindery_core::command::AnyCommand;

mod administrator;
mod attacker;
pub mod closure;
mod planted;

pub use planted::Planted;

use closure::Closure;

/// Calls of an episode, including those of the administrators.
pub const EPISODE: u64 = 250;

/// The permissions that are compared: those that commands check, and one or two of each kind of rule.
const ASKED: [Permission; 22] = [
    Permission::UserRead,
    Permission::UserDelete,
    Permission::OrganizationRead,
    Permission::OrganizationUpdate,
    Permission::SpaceCreate,
    Permission::SpaceRead,
    Permission::SpaceUpdate,
    Permission::SpaceDelete,
    Permission::ServiceKeyCreate,
    Permission::ServiceKeyRead,
    Permission::ServiceKeyRevoke,
    Permission::RoleBindingCreate,
    Permission::RoleBindingRead,
    Permission::RoleBindingDelete,
    Permission::ProjectCreate,
    Permission::ProjectRead,
    Permission::ProjectUpdate,
    Permission::ProjectDelete,
    Permission::ProjectRestrict,
    Permission::DatasetRead,
    Permission::DatasetCreate,
    Permission::RoleRead,
];

/// The result of a walk.
#[derive(Debug, Default)]
pub struct Outcome {
    /// All calls.
    pub calls: u64,
    /// Those of the attacker.
    pub by_attacker: u64,
    /// Those of the attacker that changed something.
    pub changed: u64,
    /// How often the attacker could act as a user only because it knew a proof, summed over its calls.
    pub as_victims: u64,
    /// The first broken rule.
    pub broken: Option<Broken>,
}

/// A broken rule.
#[derive(Debug)]
pub struct Broken {
    /// The seed of the episode: a walk from it finds the same at once.
    pub seed: u64,
    /// Which rule, and how.
    pub what: String,
    /// The calls of the episode, in order.
    pub calls: Vec<String>,
}

/// Makes this many calls from a seed, with or without a planted mistake, and stops when a rule is broken.
pub fn run(seed: u64, calls: u64, planted: Option<Planted>) -> Outcome {
    let mut outcome = Outcome::default();
    for episode in 0.. {
        let left = calls.saturating_sub(outcome.calls);
        if left == 0 || outcome.broken.is_some() {
            break;
        }
        let seed = seed.wrapping_add(episode);
        let mut walk = Walk::new(seed, planted);
        let broken = walk.run(left.min(EPISODE));
        outcome.calls += walk.counts.calls;
        outcome.by_attacker += walk.counts.by_attacker;
        outcome.changed += walk.counts.changed;
        outcome.as_victims += walk.counts.as_victims;
        outcome.broken = broken.map(|what| Broken {
            seed,
            what,
            calls: walk.transcript,
        });
    }
    outcome
}

/// An episode.
struct Walk {
    dice: Dice,
    planted: Option<Planted>,
    state: State,
    now: Timestamp,
    /// Makes unique names, addresses and secrets.
    serial: u32,
    things: Things,
    /// The administrator's key.
    admin: Caller,
    /// The address number and id of each person whose e-mail the attacker doesn't read.
    people: Vec<UserId>,
    /// Links in the e-mail of such people.
    mailed: Vec<(UserId, SecretHash)>,
    /// Temporary passwords that an administrator gave to such people.
    handed: Vec<(UserId, PasswordHash)>,
    attacker: attacker::Attacker,
    closure: Closure,
    counts: Outcome,
    transcript: Vec<String>,
}

/// Everything that was ever made.
#[derive(Default)]
struct Things {
    users: Vec<UserId>,
    organizations: Vec<OrganizationId>,
    spaces: Vec<SpaceId>,
    projects: Vec<ProjectId>,
    roles: Vec<RoleId>,
    bindings: Vec<RoleBindingId>,
    keys: Vec<ApiKeyId>,
}

impl Things {
    fn note(&mut self, change: &Change) {
        fn add<I: Id>(to: &mut Vec<I>, id: I) {
            if !to.contains(&id) {
                to.push(id);
            }
        }
        if let Change::PutUser(user) = change {
            add(&mut self.users, user.id);
        }
        if let Change::PutOrganization(one) = change {
            add(&mut self.organizations, one.id);
        }
        if let Change::PutSpace(one) = change {
            add(&mut self.spaces, one.id);
        }
        if let Change::PutProject(one) = change {
            add(&mut self.projects, one.id);
        }
        if let Change::PutRole(one) = change {
            add(&mut self.roles, one.id);
        }
        if let Change::PutRoleBinding(one) = change {
            add(&mut self.bindings, one.id);
        }
        if let Change::PutApiKey(one) = change {
            add(&mut self.keys, one.id);
        }
    }

    /// The existing places.
    fn resources(&self, state: &State) -> Vec<Resource> {
        let organizations = self.organizations.iter().copied();
        let organizations = organizations.filter(|id| state.organization(*id).is_some());
        let spaces = self.spaces.iter().copied();
        let spaces = spaces.filter(|id| state.space(*id).is_some());
        let projects = self.projects.iter().copied();
        let projects = projects.filter(|id| state.project(*id).is_some());
        std::iter::once(Resource::Account)
            .chain(organizations.map(Resource::Organization))
            .chain(spaces.map(Resource::Space))
            .chain(projects.map(Resource::Project))
            .collect()
    }
}

/// The compared permissions that a user has on a place.
fn rights(state: &State, user: UserId, on: Resource, now: Timestamp) -> PermissionSet {
    let allowed = ASKED.into_iter().filter(|permission| {
        let question = Question {
            principal: user,
            permission: *permission,
            resource: on,
        };
        state.decide(&question, now).is_allowed()
    });
    allowed.collect()
}

/// The state after an invited person has signed in.
fn as_active(state: &State, id: UserId) -> State {
    let mut state = state.clone();
    if let Some(user) = state.user(id)
        && matches!(user.standing, Standing::Invited { .. })
    {
        let user = User {
            standing: Standing::Active,
            ..user.as_ref().clone()
        };
        state.apply(&Change::PutUser(user));
    }
    state
}

impl Walk {
    fn run(&mut self, calls: u64) -> Option<String> {
        self.found();
        self.absorb();
        while self.counts.calls < calls {
            let wait = self.dice.one(&[0, 0, 1_000, 60_000, 1_800_000]);
            self.now = Timestamp::from_millis(self.now.as_millis() + wait);
            if self.dice.per_mille(600) {
                let (caller, command) = self.attackers_move();
                let before = self.state.clone();
                let acted_as = self.acts_as();
                self.counts.by_attacker += 1;
                self.counts.as_victims += u64::from(acted_as.iter().any(|one| one.is_victim));
                let Some(changes) = self.call(caller, &command) else {
                    continue;
                };
                self.counts.changed += 1;
                self.learn(caller, &command, &changes);
                self.expand(&changes);
                if let Some(what) = self.taken(&before, caller, &command, &acted_as) {
                    return Some(what);
                }
            } else {
                let (caller, command) = self.administrators_move();
                if let Some(changes) = self.call(caller, &command) {
                    self.note_mail(&command, &changes);
                }
                self.absorb();
            }
            if let Some(what) = self.gained() {
                return Some(what);
            }
        }
        None
    }

    fn new(seed: u64, planted: Option<Planted>) -> Self {
        let account = Account {
            id: AccountId(1),
            name: Name::parse("walk").expect("a name"),
            id_key: IdKey::new([7; 16]),
            created_at: START,
            settings: AccountSettings::default(),
        };
        Self {
            dice: Dice::new(seed),
            planted,
            state: State::new(account),
            now: START,
            serial: 0,
            things: Things::default(),
            admin: Caller::Operator,
            people: Vec::new(),
            mailed: Vec::new(),
            handed: Vec::new(),
            attacker: attacker::Attacker::default(),
            closure: Closure::default(),
            counts: Outcome::default(),
            transcript: Vec::new(),
        }
    }

    /// Makes a call; `None` if it is refused or changes nothing.
    fn call(&mut self, caller: Caller, command: &AnyCommand) -> Option<Vec<Change>> {
        let context = Context {
            caller,
            now: self.now,
        };
        self.counts.calls += 1;
        let decided = self.decide(&context, command);
        let told = match &decided {
            Ok(changes) => format!("{} changes", changes.len()),
            Err(refusal) => format!("{refusal:?}"),
        };
        let at = self.now.as_millis() - START.as_millis();
        self.transcript
            .push(format!("{at} ms, {caller:?}: {command:?} => {told}"));
        let changes = decided.ok()?;
        for change in &changes {
            self.things.note(change);
            self.state.apply(change);
        }
        (!changes.is_empty()).then_some(changes)
    }

    fn decide(&self, context: &Context, command: &AnyCommand) -> Result<Vec<Change>, Refusal> {
        let decided = command.run_on(&self.state, context);
        match self.planted {
            None => decided,
            Some(planted) => planted.instead(&self.state, context, command, decided),
        }
    }

    fn next_serial(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    fn secret(&mut self) -> Secret {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&self.next_serial().to_be_bytes());
        Secret {
            hash: SecretHash(hash),
            redacted: "ak-000...000".to_owned(),
        }
    }

    fn password(&mut self) -> PasswordHash {
        PasswordHash::new(format!("password {}", self.next_serial()))
    }

    /// What the attacker gains without a gift, or keeps using after its end.
    fn gained(&self) -> Option<String> {
        for known in &self.attacker.keys {
            let key = self.state.api_key(known.id);
            if key.is_some_and(|key| key.is_enforcement_point)
                && self.is_usable(known)
                && !self.attacker.own.contains(&known.user)
            {
                return Some(format!("{:?} asks about everyone", known.id));
            }
        }
        for principal in self.acts_as() {
            let attacker::Principal {
                user, state, root, ..
            } = &principal;
            if let attacker::Root::Stolen(key) = root
                && !(self.state.api_key(*key)).is_some_and(|key| key.is_alive(self.now))
            {
                return Some(format!("{user:?} outlives the stolen {key:?}"));
            }
            for on in self.things.resources(state) {
                let beyond = rights(state, *user, on, self.now).difference(self.closure.on(on));
                if !beyond.is_empty() {
                    return Some(format!(
                        "as {user:?} the attacker gains {beyond:?} on {on:?}"
                    ));
                }
            }
        }
        None
    }

    /// What another user lost by a change of seats whose caller may not remove roles there.
    fn taken(
        &self,
        before: &State,
        caller: Caller,
        command: &AnyCommand,
        acted_as: &[attacker::Principal],
    ) -> Option<String> {
        let is_about_seats = matches!(
            command,
            AnyCommand::AddOrganizationUser(_)
                | AnyCommand::RemoveOrganizationUser(_)
                | AnyCommand::AddSpaceUser(_)
                | AnyCommand::RemoveSpaceUser(_)
                | AnyCommand::CreateRoleBinding(_)
                | AnyCommand::UpdateRoleBinding(_)
                | AnyCommand::DeleteRoleBinding(_)
                | AnyCommand::CreateUser(_)
                | AnyCommand::UpdateSpace(_)
        );
        if !is_about_seats {
            return None;
        }
        // `SPACE_UPDATE` alone takes the default rights of members of the organization.
        let has_default = |user: UserId, space: SpaceId| {
            let on = Bindable::Space(space);
            let has_seat = before.space_membership(space, user).is_some()
                || before.role_binding_on(on, user).is_some();
            matches!(command, AnyCommand::UpdateSpace(update) if update.space == space) && !has_seat
        };
        let context = Context {
            caller,
            now: self.now,
        };
        let own: BTreeSet<UserId> = acted_as.iter().map(|one| one.user).collect();
        for user in &self.things.users {
            if own.contains(user) || self.attacker.own.contains(user) {
                continue;
            }
            for on in self.things.resources(before) {
                let (then, now) = (
                    rights(&as_active(before, *user), *user, on, self.now),
                    rights(&as_active(&self.state, *user), *user, on, self.now),
                );
                let lost = then.difference(now);
                let removes_on = |resource| {
                    let removes = Question {
                        principal: context.user(),
                        permission: Permission::RoleBindingDelete,
                        resource,
                    };
                    before.decide(&removes, self.now).is_allowed()
                };
                // A seat in a space may reach a restricted project that its remover does not.
                let space = match on {
                    Resource::Project(project) => {
                        before.project(project).map(|project| project.space)
                    }
                    Resource::Account | Resource::Organization(_) | Resource::Space(_) => None,
                };
                let removes =
                    removes_on(on) || space.is_some_and(|space| removes_on(Resource::Space(space)));
                let place = match on {
                    Resource::Space(space) => Some(space),
                    Resource::Account | Resource::Organization(_) | Resource::Project(_) => space,
                };
                let is_default = place.is_some_and(|space| has_default(*user, space));
                if !lost.is_empty() && !removes && !is_default {
                    return Some(format!("{user:?} loses {lost:?} on {on:?}"));
                }
            }
        }
        None
    }

    /// Everyone that the attacker can act as, and the state in which it does.
    fn acts_as(&self) -> Vec<attacker::Principal> {
        let mut principals: Vec<attacker::Principal> = Vec::new();
        let mut add = |user: UserId, state: State, root| {
            if !principals
                .iter()
                .any(|one| one.user == user && one.root == root)
            {
                principals.push(attacker::Principal {
                    user,
                    state,
                    root,
                    is_victim: self.people.contains(&user),
                });
            }
        };
        for known in &self.attacker.keys {
            if self.is_usable(known) {
                add(known.user, self.state.clone(), known.root);
            }
        }
        for known in &self.attacker.proofs {
            let context = Context {
                caller: Caller::Person(known.user),
                now: self.now,
            };
            let secret = Secret {
                hash: SecretHash([255; 32]),
                redacted: String::new(),
            };
            let password = PasswordHash::new("tried".to_owned());
            let command = match &known.proof {
                attacker::Proof::Password(verified) => AnyCommand::SignIn(SignIn {
                    verified: verified.clone(),
                    new_password: Some(password),
                    end_keys: false,
                    secret,
                }),
                attacker::Proof::Link(token) => AnyCommand::AcceptInvitation(AcceptInvitation {
                    token: *token,
                    password,
                    secret,
                }),
            };
            if let Ok(changes) = self.decide(&context, &command) {
                let mut state = self.state.clone();
                for change in &changes {
                    state.apply(change);
                }
                add(known.user, state, known.root);
            }
        }
        principals
    }
}

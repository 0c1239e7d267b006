//! Inquiries from the other side: who may, on what, and what all? Exactly what single inquiries would allow, and the caller may
//! ask, sorted by id.

use super::is_about_oneself;
use crate::command::Context;
use crate::decision::Question;
use crate::id::{ApiKeyId, UserId};
use crate::permission::Permission;
use crate::resource::{Level, Resource};
use crate::state::State;
use crate::time::Timestamp;
use crate::user::Standing;

/// What was found, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Users, people and bots.
    Users(Vec<UserId>),
    /// Service keys.
    ServiceKeys(Vec<ApiKeyId>),
    /// Resources of one level.
    Resources(Vec<Resource>),
    /// Permissions, by name.
    Permissions(Vec<Permission>),
}

/// As what subjects are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectKind {
    /// Any user.
    User,
    /// The keys of bots.
    ServiceKey,
}

impl Found {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Users(found) => found.len(),
            Self::ServiceKeys(found) => found.len(),
            Self::Resources(found) => found.len(),
            Self::Permissions(found) => found.len(),
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What is allowed, from the entities. An account at work has an index that finds the same sooner.
impl State {
    /// Everyone who may use the permission on the resource.
    pub fn users_of(
        &self,
        permission: Permission,
        resource: Resource,
        now: Timestamp,
    ) -> Vec<UserId> {
        let may = |principal: &UserId| {
            let question = Question {
                principal: *principal,
                permission,
                resource,
            };
            self.decide(&question, now).is_allowed()
        };
        self.users.keys().copied().filter(may).collect()
    }

    /// Every resource of this level on which the user may use the permission.
    pub fn resources_of(
        &self,
        principal: UserId,
        permission: Permission,
        level: Level,
        now: Timestamp,
    ) -> Vec<Resource> {
        let may = |resource: &Resource| {
            let question = Question {
                principal,
                permission,
                resource: *resource,
            };
            self.decide(&question, now).is_allowed()
        };
        match level {
            Level::Account => [Resource::Account].into_iter().filter(may).collect(),
            Level::Organization => {
                let all = self.organizations.keys().copied();
                all.map(Resource::Organization).filter(may).collect()
            }
            Level::Space => {
                let all = self.spaces.keys().copied();
                all.map(Resource::Space).filter(may).collect()
            }
            Level::Project => {
                let all = self.projects.keys().copied();
                all.map(Resource::Project).filter(may).collect()
            }
        }
    }

    /// Everything that the user may do on the resource.
    pub fn permissions_of(
        &self,
        principal: UserId,
        resource: Resource,
        now: Timestamp,
    ) -> Vec<Permission> {
        let may = |permission: &Permission| {
            let question = Question {
                principal,
                permission: *permission,
                resource,
            };
            self.decide(&question, now).is_allowed()
        };
        Permission::ALL.into_iter().filter(may).collect()
    }
}

/// What of it the caller may ask about, in its order.
impl State {
    /// Of those who may do something on the resource.
    pub fn askable_subjects(
        &self,
        context: &Context,
        kind: SubjectKind,
        resource: Resource,
        mut users: Vec<UserId>,
    ) -> Found {
        if !self.asks_about_everything(context) {
            let reads_bindings = self.reads_bindings_on(context, resource);
            users.retain(|user| {
                is_about_oneself(context, *user)
                    || (reads_bindings && self.reads_subject(context, *user))
            });
        }
        match kind {
            SubjectKind::User => {
                users.sort_unstable();
                Found::Users(users)
            }
            SubjectKind::ServiceKey => {
                let keys = users.iter().filter_map(|user| self.key_of_bot(*user));
                let mut keys: Vec<ApiKeyId> = keys.collect();
                keys.sort_unstable();
                Found::ServiceKeys(keys)
            }
        }
    }

    /// Of the resources on which the subject may do something.
    pub fn askable_resources(
        &self,
        context: &Context,
        subject: UserId,
        mut resources: Vec<Resource>,
    ) -> Found {
        if !is_about_oneself(context, subject) && !self.asks_about_everything(context) {
            if self.reads_subject(context, subject) {
                resources.retain(|resource| self.reads_bindings_on(context, *resource));
            } else {
                resources.clear();
            }
        }
        resources.sort_unstable();
        Found::Resources(resources)
    }

    /// Whether the caller may ask about all these subjects on the resource, as [`State::askable_subjects`] found them once. Who is
    /// gone since then doesn't count.
    pub fn may_ask_about_subjects(
        &self,
        context: &Context,
        resource: Resource,
        found: &Found,
    ) -> bool {
        let is_there = |id: &UserId| {
            let user = self.user(*id);
            user.is_some_and(|user| user.standing != Standing::Inactive)
        };
        let users: Vec<UserId> = match found {
            Found::Users(users) => users.iter().copied().filter(is_there).collect(),
            Found::ServiceKeys(keys) => {
                let keys = keys.iter().filter_map(|key| self.api_key(*key));
                keys.map(|key| key.principal()).filter(is_there).collect()
            }
            Found::Resources(_) | Found::Permissions(_) => return false,
        };
        let count = users.len();
        let askable = self.askable_subjects(context, SubjectKind::User, resource, users);
        askable.len() == count
    }

    /// Whether the caller may ask about the subject on all these resources, as [`State::askable_resources`] found them once. What
    /// is gone since then doesn't count.
    pub fn may_ask_about_resources(
        &self,
        context: &Context,
        subject: UserId,
        found: &Found,
    ) -> bool {
        let Found::Resources(resources) = found else {
            return false;
        };
        let there = resources.iter().copied();
        let there = there.filter(|resource| self.place(*resource).is_some());
        let there: Vec<Resource> = there.collect();
        let count = there.len();
        self.askable_resources(context, subject, there).len() == count
    }

    /// What the subject may do on the resource: all of it, or nothing.
    pub fn askable_permissions(
        &self,
        context: &Context,
        subject: UserId,
        resource: Resource,
    ) -> Found {
        let permissions = if self.may_ask(context, subject, resource) {
            self.permissions_of(subject, resource, context.now)
        } else {
            Vec::new()
        };
        Found::Permissions(permissions)
    }
}

//! Resolves names on the wire in an account (types, ids, addresses, actions), and writes names of results.

use bindery_core::api_key::KeyOwner;
use bindery_core::attribute::Attributes;
use bindery_core::id::{Id, OrganizationId, ProjectId, SpaceId, UserId};
use bindery_core::inquiry::{Found, Inquiry, SubjectKind};
use bindery_core::permission::Permission;
use bindery_core::resource::{Level, Resource};
use bindery_core::state::State;
use bindery_core::text::Email;

use crate::aliases::{ACCOUNT_ID, Aliases, RESOURCE_TYPES, SUBJECT_TYPES};
use crate::call::Call;
use crate::wire::authzen::{ActionFound, Asked, EntityFound};

/// The meaning of a name of an unknown type.
const NOWHERE: Resource = Resource::Project(ProjectId::NOBODY);

/// The names of one account with the server's aliases.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    pub(crate) aliases: &'a Aliases,
    pub(crate) state: &'a State,
}

impl<'a> Names<'a> {
    /// The names for this call.
    pub(crate) fn of(call: &'a Call) -> Self {
        Self {
            aliases: &call.services.aliases,
            state: &call.state,
        }
    }
}

/// From the wire. An unknown name is an id that does not exist, or no permission; it is not an error.
impl Names<'_> {
    pub(crate) fn inquiry<'b>(&self, asked: &Asked<'b>) -> Inquiry<'b> {
        Inquiry {
            subject: self.subject(asked.subject.kind, asked.subject.id),
            permission: self.permission(asked.action.name),
            resource: self.resource(asked.resource.kind, asked.resource.id),
            attributes: Attributes {
                subject: asked.subject.properties,
                action: asked.action.properties,
                resource: asked.resource.properties,
                context: asked.context,
            },
        }
    }

    pub(super) fn subject_kind(&self, sent: &str) -> Option<SubjectKind> {
        find(&SUBJECT_TYPES, self.aliases.subject_type(sent))
    }

    pub(super) fn level(&self, sent: &str) -> Option<Level> {
        find(&RESOURCE_TYPES, self.aliases.resource_type(sent))
    }

    pub(super) fn permission(&self, sent: &str) -> Option<Permission> {
        Permission::from_name(self.aliases.action(sent))
    }

    pub(super) fn subject(&self, kind: &str, id: &str) -> UserId {
        let named = match self.subject_kind(kind) {
            Some(SubjectKind::User) => self.user(self.aliases.subject("user", id)),
            Some(SubjectKind::ServiceKey) => self.bot(self.aliases.subject("service_key", id)),
            None => None,
        };
        named.unwrap_or(UserId::NOBODY)
    }

    fn user(&self, text: &str) -> Option<UserId> {
        if text.contains('@') {
            let email = Email::parse(text).ok()?;
            return self.state.user_by_email(&email).map(|user| user.id);
        }
        self.id(text)
    }

    /// The bot of a service key; a user key is not a subject.
    fn bot(&self, text: &str) -> Option<UserId> {
        let key = self.state.api_key(self.id(text)?)?;
        match key.owner {
            KeyOwner::Service(bot) => Some(bot),
            KeyOwner::User(_) => None,
        }
    }

    pub(super) fn resource(&self, kind: &str, id: &str) -> Resource {
        let Some(level) = self.level(kind) else {
            return NOWHERE;
        };
        let id = self.aliases.resource(type_of(level), id);
        match level {
            Level::Account if id == ACCOUNT_ID => Resource::Account,
            Level::Account => NOWHERE,
            // An unknown id keeps its level, so that an explanation can name the level.
            Level::Organization => {
                Resource::Organization(self.id(id).unwrap_or(OrganizationId::NOBODY))
            }
            Level::Space => Resource::Space(self.id(id).unwrap_or(SpaceId::NOBODY)),
            Level::Project => Resource::Project(self.id(id).unwrap_or(ProjectId::NOBODY)),
        }
    }

    fn id<I: Id>(&self, text: &str) -> Option<I> {
        self.state.ids().parse(text).ok()
    }
}

/// To the wire.
impl Names<'_> {
    /// The results from `first` on, at most `count`, that are subjects or resources of this type.
    pub(super) fn entities(
        &self,
        found: &Found,
        kind: &str,
        first: usize,
        count: usize,
    ) -> Vec<EntityFound> {
        let ids: Vec<String> = match found {
            Found::Users(users) => part(users, first, count)
                .iter()
                .map(|user| self.user_shown(*user))
                .collect(),
            Found::ServiceKeys(keys) => part(keys, first, count)
                .iter()
                .map(|key| {
                    let id = self.state.ids().encode(*key);
                    let alias = self.aliases.subject_shown("service_key", &id);
                    alias.map_or(id.clone(), ToOwned::to_owned)
                })
                .collect(),
            Found::Resources(resources) => part(resources, first, count)
                .iter()
                .map(|resource| self.resource_shown(*resource))
                .collect(),
            Found::Permissions(_) => Vec::new(),
        };
        let r#type = kind.to_owned();
        ids.into_iter()
            .map(|id| EntityFound {
                r#type: r#type.clone(),
                id,
            })
            .collect()
    }

    pub(super) fn actions(&self, found: &Found, first: usize, count: usize) -> Vec<ActionFound> {
        let Found::Permissions(permissions) = found else {
            return Vec::new();
        };
        part(permissions, first, count)
            .iter()
            .map(|permission| ActionFound {
                name: self.aliases.action_shown(permission.name()).to_owned(),
            })
            .collect()
    }

    fn user_shown(&self, user: UserId) -> String {
        let id = self.state.ids().encode(user);
        let by_id = self.aliases.subject_shown("user", &id);
        let alias = by_id.or_else(|| {
            let email = self.state.user(user)?.email()?;
            self.aliases.subject_shown("user", email.as_str())
        });
        alias.map_or(id.clone(), ToOwned::to_owned)
    }

    fn resource_shown(&self, resource: Resource) -> String {
        let ids = self.state.ids();
        let id = match resource {
            Resource::Account => ACCOUNT_ID.to_owned(),
            Resource::Organization(id) => ids.encode(id),
            Resource::Space(id) => ids.encode(id),
            Resource::Project(id) => ids.encode(id),
        };
        let alias = self.aliases.resource_shown(type_of(resource.level()), &id);
        alias.map_or(id.clone(), ToOwned::to_owned)
    }
}

/// The type of resources at this level.
pub(super) fn type_of(level: Level) -> &'static str {
    let found = RESOURCE_TYPES.iter().find(|(_, one)| *one == level);
    found.map_or(ACCOUNT_ID, |(name, _)| name)
}

fn find<T: Copy>(known: &[(&str, T)], name: &str) -> Option<T> {
    let found = known.iter().find(|(one, _)| *one == name);
    found.map(|(_, meaning)| *meaning)
}

fn part<T>(all: &[T], first: usize, count: usize) -> &[T] {
    let rest = all.get(first..).unwrap_or_default();
    rest.get(..count).unwrap_or(rest)
}

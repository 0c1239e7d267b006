//! Cedar: roles are groups of actions, what a user holds are tags of the user, and one policy asks for at most four of them.
//! Of the encodings that were tried this one is the quickest by far: Cedar looks at every policy there is.

use std::collections::{HashMap, HashSet};
use std::str::FromStr as _;

use anyhow::Result;
use bindery_core::decision::Question;
use bindery_core::permission::Permission;
use bindery_core::resource::Resource;
use bindery_core::role::OrganizationRole;
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    PolicySet, Request, RestrictedExpression,
};

use super::{
    Names, ORGANIZATION_ADMIN, Peer, Place, SPACE_ADMIN, in_public_spaces, key_of, resource_name,
    role_name, user_name,
};
use crate::world::{On, World, is_account_admin};

/// The keys of a resource name where a role may be held on the way to it; `organization` is tagged with the group that the
/// role becomes in public spaces.
const POLICY: &str = r#"
permit(principal, action, resource) when {
    principal.isAccountAdmin ||
    (principal.hasTag(resource.project) && action in principal.getTag(resource.project)) ||
    (if resource.isRestricted && action != Action::"PROJECT_RESTRICT" then
        (principal.hasTag(resource.membership) && principal.getTag(resource.membership) == Action::"SPACE_ADMIN") ||
        (principal.hasTag(resource.binding) && principal.getTag(resource.binding) == Action::"SPACE_ADMIN") ||
        (principal.hasTag(resource.organization) && principal.getTag(resource.organization) == Action::"ORGANIZATION_ADMIN")
    else
        (principal.hasTag(resource.membership) && action in principal.getTag(resource.membership)) ||
        (principal.hasTag(resource.binding) && action in principal.getTag(resource.binding)) ||
        (principal.hasTag(resource.organization) &&
            (principal.getTag(resource.organization) == Action::"ORGANIZATION_ADMIN" ||
                (resource.isPublic && !principal.hasTag(resource.membership) && !principal.hasTag(resource.binding) &&
                    action in principal.getTag(resource.organization)))))
};
"#;

pub(crate) struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
    types: Types,
}

/// The names of types, which every text about an entity begins with.
struct Types {
    user: EntityTypeName,
    action: EntityTypeName,
    resource: EntityTypeName,
}

impl Types {
    fn new() -> Result<Self> {
        Ok(Self {
            user: EntityTypeName::from_str("User")?,
            action: EntityTypeName::from_str("Action")?,
            resource: EntityTypeName::from_str("Resource")?,
        })
    }
}

fn uid(of: &EntityTypeName, name: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(of.clone(), EntityId::new(name))
}

impl Peer for Cedar {
    const NAME: &'static str = "Cedar with tags";
    const WINDOW: usize = 1 << 12;
    type Handle = Request;

    fn new(world: &World) -> Result<Self> {
        let types = Types::new()?;
        let mut entities = actions(world, &types);
        for (user, held) in world.users() {
            let tags = held.iter().map(|held| {
                let group = match held.on {
                    On::Organization(_) => group(in_organization(held.role)),
                    _ => group(held.role),
                };
                let group = RestrictedExpression::new_entity_uid(uid(&types.action, &group));
                (key_of(held.on), group)
            });
            let is_admin = RestrictedExpression::new_bool(is_account_admin(user));
            entities.push(Entity::new_with_tags(
                uid(&types.user, &user_name(user)),
                [("isAccountAdmin".to_owned(), is_admin)],
                [],
                tags.collect::<Vec<_>>(),
            )?);
        }
        for (resource, place) in Place::all(world) {
            entities.push(Entity::new(
                uid(&types.resource, &resource_name(resource)),
                attributes(resource, place),
                HashSet::new(),
            )?);
        }
        Ok(Self {
            authorizer: Authorizer::new(),
            policies: PolicySet::from_str(POLICY)?,
            entities: Entities::from_entities(entities, None)?,
            types,
        })
    }

    fn handle(&self, question: &Question) -> Request {
        let names = Names::new(question);
        self.request(&names).expect("without a schema it fits any")
    }

    fn ask(&mut self, request: &Request) -> Result<bool> {
        Ok(self.allows(request))
    }

    fn ask_by_name(&mut self, names: &Names) -> Option<Result<bool>> {
        Some(self.request(names).map(|request| self.allows(&request)))
    }
}

impl Cedar {
    fn request(&self, names: &Names) -> Result<Request> {
        let user = uid(&self.types.user, &names.user);
        let action = uid(&self.types.action, names.permission);
        let resource = uid(&self.types.resource, &names.resource);
        Ok(Request::new(
            user,
            action,
            resource,
            Context::empty(),
            None,
        )?)
    }

    fn allows(&self, request: &Request) -> bool {
        let response = self
            .authorizer
            .is_authorized(request, &self.policies, &self.entities);
        response.decision() == Decision::Allow
    }
}

/// Every permission is an action, in the groups of the roles that have it.
fn actions(world: &World, types: &Types) -> Vec<Entity> {
    let mut groups: HashMap<Permission, HashSet<EntityUid>> = HashMap::new();
    let mut entities = Vec::new();
    for (role, permissions) in world.permissions() {
        // The other roles in organizations stand for space roles.
        if OrganizationRole::from_role(role).is_some() && role != ORGANIZATION_ADMIN {
            continue;
        }
        let group = uid(&types.action, &group(role));
        for permission in permissions.iter() {
            groups.entry(permission).or_default().insert(group.clone());
        }
        entities.push(Entity::with_uid(group));
    }
    for permission in Permission::ALL {
        let action = uid(&types.action, permission.name());
        let parents = groups.remove(&permission).unwrap_or_default();
        entities.push(Entity::new_no_attrs(action, parents));
    }
    entities
}

fn in_organization(role: bindery_core::id::RoleId) -> bindery_core::id::RoleId {
    if role == ORGANIZATION_ADMIN {
        role
    } else {
        in_public_spaces(role)
    }
}

fn group(role: bindery_core::id::RoleId) -> String {
    if role == ORGANIZATION_ADMIN {
        "ORGANIZATION_ADMIN".to_owned()
    } else if role == SPACE_ADMIN {
        "SPACE_ADMIN".to_owned()
    } else {
        role_name(role)
    }
}

fn attributes(resource: Resource, place: Place) -> HashMap<String, RestrictedExpression> {
    let project = match resource {
        Resource::Project(_) => resource_name(resource),
        // Nobody has a tag of this name.
        _ => "-".to_owned(),
    };
    let texts = [
        ("project", project),
        ("membership", key_of(On::Membership(place.space))),
        ("binding", key_of(On::Space(place.space))),
        ("organization", key_of(On::Organization(place.organization))),
    ];
    let marks = [
        ("isPublic", place.is_public),
        ("isRestricted", place.is_restricted),
    ];
    let texts = texts.map(|(name, text)| (name.to_owned(), RestrictedExpression::new_string(text)));
    let marks = marks.map(|(name, mark)| (name.to_owned(), RestrictedExpression::new_bool(mark)));
    texts.into_iter().chain(marks).collect()
}

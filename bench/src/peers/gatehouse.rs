//! gatehouse: it decides and keeps nothing, so the company is in a map of the standard library, as its users would do it.

use std::borrow::Cow;
use std::collections::HashMap;

use anyhow::Result;
use async_trait::async_trait;
use bindery_core::decision::Question;
use bindery_core::id::{Id as _, RoleId, UserId};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::resource::Resource;
use gatehouse::{EvalCtx, EvaluationSession, GrantResult, PermissionChecker, Policy, PolicyDomain};

use super::{Names, ORGANIZATION_ADMIN, Peer, Place, SPACE_ADMIN, in_public_spaces};
use crate::world::{On, World, is_account_admin};

struct Domain;

impl PolicyDomain for Domain {
    type Subject = UserId;
    type Action = Permission;
    type Resource = Place;
    type Context = ();
}

pub(crate) struct Gatehouse {
    checker: PermissionChecker<Domain>,
    session: EvaluationSession,
    places: HashMap<Resource, Place>,
}

impl Peer for Gatehouse {
    const NAME: &'static str = "gatehouse over a map of the standard library";
    const WINDOW: usize = 1 << 14;
    type Handle = Question;

    fn new(world: &World) -> Result<Self> {
        let mut held = HashMap::new();
        for (user, of_user) in world.users() {
            held.extend(of_user.iter().map(|one| ((user, key(one.on)), one.role)));
        }
        let mut checker = PermissionChecker::new();
        checker.add_policy(RolesHeld {
            held,
            roles: world.permissions().collect(),
        });
        Ok(Self {
            checker,
            session: EvaluationSession::empty(),
            places: Place::all(world).collect(),
        })
    }

    fn handle(&self, question: &Question) -> Question {
        *question
    }

    fn ask(&mut self, question: &Question) -> Result<bool> {
        let place = &self.places[&question.resource];
        let bound = self.checker.bind(
            &self.session,
            &question.principal,
            &question.permission,
            &(),
        );
        Ok(pollster::block_on(bound.check(place)).is_granted())
    }

    fn ask_by_name(&mut self, _: &Names) -> Option<Result<bool>> {
        None
    }
}

/// Kind and number of where a role is held.
type Key = (u8, u32);

fn key(on: On) -> Key {
    match on {
        On::Organization(id) => (0, id.number()),
        On::Membership(id) => (1, id.number()),
        On::Space(id) => (2, id.number()),
        On::Project(id) => (3, id.number()),
    }
}

struct RolesHeld {
    held: HashMap<(UserId, Key), RoleId>,
    roles: HashMap<RoleId, PermissionSet>,
}

impl RolesHeld {
    fn allows(&self, user: UserId, permission: Permission, place: &Place) -> bool {
        let role = |on: On| self.held.get(&(user, key(on))).copied();
        let grants = |role: Option<RoleId>| {
            let permissions = role.and_then(|role| self.roles.get(&role));
            permissions.is_some_and(|permissions| permissions.contains(permission))
        };
        let organization = role(On::Organization(place.organization));
        let membership = role(On::Membership(place.space));
        let binding = role(On::Space(place.space));
        let is_admin = organization == Some(ORGANIZATION_ADMIN)
            || membership == Some(SPACE_ADMIN)
            || binding == Some(SPACE_ADMIN)
            || is_account_admin(user);
        let is_cut = place.is_restricted && permission != Permission::ProjectRestrict;
        let falls_back = place.is_public && membership.is_none() && binding.is_none();
        is_admin
            || (!is_cut
                && (grants(membership)
                    || grants(binding)
                    || falls_back && grants(organization.map(in_public_spaces))))
            || grants(place.project.and_then(|id| role(On::Project(id))))
    }
}

#[async_trait]
impl Policy<Domain> for RolesHeld {
    async fn evaluate(&self, asked: &EvalCtx<'_, Domain>) -> GrantResult {
        if self.allows(*asked.subject, *asked.action, asked.resource) {
            asked.grant("a role that is held")
        } else {
            asked.not_applicable("no role that is held")
        }
    }

    fn policy_type(&self) -> Cow<'static, str> {
        Cow::Borrowed("roles held")
    }
}

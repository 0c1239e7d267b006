//! casbin: who has which role where are grouping rules by domain, and there is one policy rule for each role. It keeps no
//! places, so the host looks up where the resource lies, and says so in the request.

use std::collections::HashMap;
use std::sync::OnceLock;

use anyhow::Result;
use async_trait::async_trait;
use bindery_core::decision::Question;
use bindery_core::id::RoleId;
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::resource::Resource;
use bindery_core::role::OrganizationRole;
use casbin::function_map::OperatorFunction;
use casbin::rhai::{Dynamic, ImmutableString};
use casbin::{Adapter, CoreApi as _, DefaultModel, Enforcer, Filter, Model};

use super::{
    Names, ORGANIZATION_ADMIN, Peer, Place, SPACE_ADMIN, in_public_spaces, key_of, role_name,
    user_name,
};
use crate::world::{On, World, is_account_admin};

/// Cheap and selective first: most rules are of roles that don't have the permission at all. `space` stands for memberships
/// and bindings and `organization` for the fallback; either is `-` where it doesn't count. The domain of a rule is the
/// user: where it is the resource, casbin looks through everybody there for whoever holds nothing on it.
const MODEL: &str = r#"
[request_definition]
r = sub, act, project, space, organization, seat, home

[policy_definition]
p = role

[role_definition]
g = _, _, _

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = permits(p.role, r.act) && (g(r.project, p.role, r.sub) || g(r.space, p.role, r.sub) || (r.organization != "-" && g(r.organization, p.role, r.sub) && !g(r.seat, "seat", r.sub)) || (p.role == "admin" && (g(r.seat, "admin", r.sub) || g(r.home, "admin", r.sub) || g("account", "admin", r.sub))))
"#;

/// The rule of those whom nothing stops.
const ADMIN: &str = "admin";
/// What everyone has where they have a role of their own in a space.
const SEAT: &str = "seat";

pub(crate) struct Casbin {
    enforcer: Enforcer,
    places: HashMap<Resource, Place>,
}

/// What each role grants: casbin takes functions without an environment.
static ROLES: OnceLock<HashMap<String, PermissionSet>> = OnceLock::new();

fn permits(role: Dynamic, permission: Dynamic) -> bool {
    let text = |value: Dynamic| value.into_immutable_string().ok();
    let granted = text(role).and_then(|role| ROLES.get()?.get(role.as_str()).copied());
    let permission = text(permission).and_then(|name| Permission::from_name(&name));
    granted
        .zip(permission)
        .is_some_and(|(granted, permission)| granted.contains(permission))
}

impl Peer for Casbin {
    const NAME: &'static str = "casbin, a rule for each role";
    const WINDOW: usize = 1 << 9;
    type Handle = Vec<ImmutableString>;

    fn new(world: &World) -> Result<Self> {
        ROLES.get_or_init(|| {
            let all = (ADMIN.to_owned(), Permission::ALL.into_iter().collect());
            let roles = roles(world);
            roles
                .map(|(role, permissions)| (role_name(role), permissions))
                .chain([all])
                .collect()
        });
        let enforcer = pollster::block_on(async {
            let model = DefaultModel::from_str(MODEL).await?;
            let mut enforcer = Enforcer::new(model, Rules(rules(world))).await?;
            let permits = |role, permission| permits(role, permission).into();
            enforcer.add_function("permits", OperatorFunction::Arg2(permits));
            casbin::Result::Ok(enforcer)
        })?;
        Ok(Self {
            enforcer,
            places: Place::all(world).collect(),
        })
    }

    fn handle(&self, question: &Question) -> Vec<ImmutableString> {
        let place = self.places[&question.resource];
        let is_cut = place.is_restricted && question.permission != Permission::ProjectRestrict;
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let space = key_of(On::Space(place.space));
        let organization = key_of(On::Organization(place.organization));
        let words = [
            user_name(question.principal),
            question.permission.name().to_owned(),
            or_none(place.project.map(|id| key_of(On::Project(id)))),
            or_none((!is_cut).then(|| space.clone())),
            or_none((place.is_public && !is_cut).then(|| organization.clone())),
            space,
            organization,
        ];
        words.map(ImmutableString::from).to_vec()
    }

    fn ask(&mut self, words: &Vec<ImmutableString>) -> Result<bool> {
        Ok(self.enforcer.enforce(words.clone())?)
    }

    fn ask_by_name(&mut self, _: &Names) -> Option<Result<bool>> {
        None
    }
}

/// Roles that have a rule; those in organizations stand for space roles, or for the rule of admins.
fn roles(world: &World) -> impl Iterator<Item = (RoleId, PermissionSet)> {
    world
        .permissions()
        .filter(|(role, _)| OrganizationRole::from_role(*role).is_none())
}

/// Section, kind and words of every rule.
fn rules(world: &World) -> Vec<(&'static str, Vec<String>)> {
    let mut rules = vec![("p", vec![ADMIN.to_owned()])];
    rules.extend(roles(world).map(|(role, _)| ("p", vec![role_name(role)])));
    for (user, held) in world.users() {
        let user_name = user_name(user);
        let mut hold =
            |on: String, role: String| rules.push(("g", vec![on, role, user_name.clone()]));
        if is_account_admin(user) {
            hold("account".to_owned(), ADMIN.to_owned());
        }
        for held in held {
            match held.on {
                On::Project(_) => hold(key_of(held.on), role_name(held.role)),
                On::Organization(_) if held.role == ORGANIZATION_ADMIN => {
                    hold(key_of(held.on), ADMIN.to_owned());
                }
                On::Organization(_) => {
                    hold(key_of(held.on), role_name(in_public_spaces(held.role)));
                }
                On::Membership(space) | On::Space(space) => {
                    let space = key_of(On::Space(space));
                    hold(space.clone(), SEAT.to_owned());
                    if held.role == SPACE_ADMIN {
                        hold(space.clone(), ADMIN.to_owned());
                    }
                    hold(space, role_name(held.role));
                }
            }
        }
    }
    rules
}

/// Hands the rules over once, and keeps none.
struct Rules(Vec<(&'static str, Vec<String>)>);

#[async_trait]
impl Adapter for Rules {
    async fn load_policy(&mut self, model: &mut dyn Model) -> casbin::Result<()> {
        for (section, rule) in self.0.drain(..) {
            let known = model.get_mut_model().get_mut(section);
            if let Some(assertion) = known.and_then(|section_of| section_of.get_mut(section)) {
                assertion.get_mut_policy().insert(rule);
            }
        }
        self.0.shrink_to_fit();
        Ok(())
    }

    async fn load_filtered_policy<'a>(
        &mut self,
        model: &mut dyn Model,
        _: Filter<'a>,
    ) -> casbin::Result<()> {
        self.load_policy(model).await
    }

    async fn save_policy(&mut self, _: &mut dyn Model) -> casbin::Result<()> {
        Ok(())
    }

    async fn clear_policy(&mut self) -> casbin::Result<()> {
        Ok(())
    }

    fn is_filtered(&self) -> bool {
        false
    }

    async fn add_policy(&mut self, _: &str, _: &str, _: Vec<String>) -> casbin::Result<bool> {
        Ok(false)
    }

    async fn add_policies(
        &mut self,
        _: &str,
        _: &str,
        _: Vec<Vec<String>>,
    ) -> casbin::Result<bool> {
        Ok(false)
    }

    async fn remove_policy(&mut self, _: &str, _: &str, _: Vec<String>) -> casbin::Result<bool> {
        Ok(false)
    }

    async fn remove_policies(
        &mut self,
        _: &str,
        _: &str,
        _: Vec<Vec<String>>,
    ) -> casbin::Result<bool> {
        Ok(false)
    }

    async fn remove_filtered_policy(
        &mut self,
        _: &str,
        _: &str,
        _: usize,
        _: Vec<String>,
    ) -> casbin::Result<bool> {
        Ok(false)
    }
}

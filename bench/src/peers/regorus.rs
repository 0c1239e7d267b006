//! regorus: the company as data, the rules in Rego, compiled for its virtual machine.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use bindery_core::decision::Question;
use bindery_core::role::OrganizationRole;
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::vm::RegoVM;
use regorus::{Engine, Rc, Value};

use super::{Names, Peer, Place, in_public_spaces, key_of, resource_name, role_name, user_name};
use crate::world::{On, World, is_account_admin};

/// What a user holds stands under the keys that a place names; roles in organizations are those that they become in public
/// spaces, and whoever is admin has a mark there too.
const POLICY: &str = r#"
package bench

import rego.v1

default allow := false

held := data.users[input.user]
place := data.places[input.resource]

allow if data.roles[held[place.project]][input.permission]
allow if { not is_cut; data.roles[held[place.membership]][input.permission] }
allow if { not is_cut; data.roles[held[place.binding]][input.permission] }
allow if {
    place.is_public
    not is_cut
    not held[place.membership]
    not held[place.binding]
    data.roles[held[place.organization]][input.permission]
}
allow if held[place.membership] == "r9"
allow if held[place.binding] == "r9"
allow if held[place.organization] == "r9"
allow if held.is_account_admin

is_cut if { place.is_restricted; input.permission != "PROJECT_RESTRICT" }
"#;

const ENTRY: &str = "data.bench.allow";

pub(crate) struct Regorus(RegoVM);

impl Peer for Regorus {
    const NAME: &'static str = "regorus, compiled for its machine";
    const WINDOW: usize = 1 << 12;
    type Handle = Value;

    fn new(world: &World) -> Result<Self> {
        let mut engine = Engine::new();
        engine.add_policy("bench.rego".to_owned(), POLICY.to_owned())?;
        let policy = engine.compile_with_entrypoint(&Rc::from(ENTRY))?;
        let program =
            Compiler::compile_from_policy(&policy, &[ENTRY]).map_err(|error| anyhow!("{error}"))?;
        let mut machine = RegoVM::new_with_policy(policy);
        machine.load_program(program);
        machine
            .set_data(data(world))
            .map_err(|error| anyhow!("{error}"))?;
        Ok(Self(machine))
    }

    fn handle(&self, question: &Question) -> Value {
        input(
            user_name(question.principal),
            question.permission.name(),
            resource_name(question.resource),
        )
    }

    fn ask(&mut self, input: &Value) -> Result<bool> {
        self.0.set_input(input.clone());
        let answer = self.0.execute().map_err(|error| anyhow!("{error}"))?;
        Ok(answer == Value::Bool(true))
    }

    fn ask_by_name(&mut self, names: &Names) -> Option<Result<bool>> {
        Some(self.ask(&input(
            names.user.clone(),
            names.permission,
            names.resource.clone(),
        )))
    }
}

fn input(user: String, permission: &str, resource: String) -> Value {
    object([
        ("user".to_owned(), user.into()),
        ("permission".to_owned(), permission.into()),
        ("resource".to_owned(), resource.into()),
    ])
}

fn object(members: impl IntoIterator<Item = (String, Value)>) -> Value {
    let members = members.into_iter().map(|(key, value)| (key.into(), value));
    Value::from(members.collect::<BTreeMap<Value, Value>>())
}

fn data(world: &World) -> Value {
    let users = world.users().map(|(user, held)| {
        let held = held.iter().map(|held| {
            let role = match held.on {
                On::Organization(_) => in_public_spaces(held.role),
                _ => held.role,
            };
            (key_of(held.on), role_name(role).into())
        });
        let admin = is_account_admin(user).then(|| ("is_account_admin".to_owned(), true.into()));
        (user_name(user), object(held.chain(admin)))
    });
    let places = Place::all(world).map(|(resource, place)| {
        let project = place
            .project
            .map_or("-".to_owned(), |id| key_of(On::Project(id)));
        let members = [
            ("project", project.into()),
            ("membership", key_of(On::Membership(place.space)).into()),
            ("binding", key_of(On::Space(place.space)).into()),
            (
                "organization",
                key_of(On::Organization(place.organization)).into(),
            ),
            ("is_public", place.is_public.into()),
            ("is_restricted", place.is_restricted.into()),
        ];
        let members = members.map(|(name, value): (&str, Value)| (name.to_owned(), value));
        (resource_name(resource), object(members))
    });
    let roles = world
        .permissions()
        .filter(|(role, _)| OrganizationRole::from_role(*role).is_none())
        .map(|(role, permissions)| {
            let granted = permissions.iter();
            let granted = granted.map(|one| (one.name().to_owned(), true.into()));
            (role_name(role), object(granted))
        });
    object([
        ("users".to_owned(), object(users)),
        ("places".to_owned(), object(places)),
        ("roles".to_owned(), object(roles)),
    ])
}

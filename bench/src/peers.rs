//! Others that decide in process, told the same and asked the same: their answers must be ours.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, ensure};
use bindery_core::decision::Question;
use bindery_core::id::{Id as _, IdKey, OrganizationId, ProjectId, RoleId, SpaceId, UserId};
use bindery_core::permission::Permission;
use bindery_core::resource::Resource;
use bindery_core::role::{OrganizationRole, SpaceRole};

use crate::changes::NOW;
use crate::questions::Asked;
use crate::row::{Goal, Row, Unit};
use crate::say;
use crate::setting::Setting;
use crate::time::{each, rounds};
use crate::world::{On, World};

pub(crate) mod casbin;
pub(crate) mod cedar;
pub(crate) mod gatehouse;
pub(crate) mod regorus;

const ROUNDS: usize = 15;
/// Questions to us in a round: enough to get over what the other has left in the caches.
const WINDOW: usize = 1 << 15;

/// Somebody else's engine, told of the whole company.
pub(crate) trait Peer {
    const NAME: &'static str;
    /// How many questions take it some ten milliseconds.
    const WINDOW: usize;
    /// A question in the form that it answers quickest, made beforehand.
    type Handle;

    fn new(world: &World) -> Result<Self>
    where
        Self: Sized;
    fn handle(&self, question: &Question) -> Self::Handle;
    fn ask(&mut self, handle: &Self::Handle) -> Result<bool>;
    /// The same with texts as they arrive in a request; `None` if it takes nothing but texts, or none at all.
    fn ask_by_name(&mut self, names: &Names) -> Option<Result<bool>>;
}

/// A question as texts.
pub(crate) struct Names {
    pub(crate) user: String,
    pub(crate) permission: &'static str,
    pub(crate) resource: String,
}

impl Names {
    fn new(question: &Question) -> Self {
        Self {
            user: user_name(question.principal),
            permission: question.permission.name(),
            resource: resource_name(question.resource),
        }
    }

    /// With ids as Bindery's clients hold them.
    fn encoded(question: &Question, ids: &IdKey) -> Self {
        Self {
            user: ids.encode(question.principal),
            permission: question.permission.name(),
            resource: match question.resource {
                Resource::Project(id) => ids.encode(id),
                Resource::Space(id) => ids.encode(id),
                Resource::Organization(id) => ids.encode(id),
                Resource::Account => String::new(),
            },
        }
    }
}

pub(crate) fn user_name(id: UserId) -> String {
    format!("u{}", id.number())
}

pub(crate) fn resource_name(resource: Resource) -> String {
    match resource {
        Resource::Account => "account".to_owned(),
        Resource::Organization(id) => key_of(On::Organization(id)),
        Resource::Space(id) => key_of(On::Space(id)),
        Resource::Project(id) => key_of(On::Project(id)),
    }
}

/// What a role that is held stands under, of what kind it may be.
pub(crate) fn key_of(on: On) -> String {
    match on {
        On::Organization(id) => format!("o{}", id.number()),
        On::Membership(id) => format!("m{}", id.number()),
        On::Space(id) => format!("s{}", id.number()),
        On::Project(id) => format!("p{}", id.number()),
    }
}

pub(crate) fn role_name(id: RoleId) -> String {
    format!("r{}", id.number())
}

pub(crate) const ORGANIZATION_ADMIN: RoleId = OrganizationRole::Admin.role();
pub(crate) const SPACE_ADMIN: RoleId = SpaceRole::Admin.role();

/// The role in public spaces that a role in an organization stands for; admins are admins everywhere below.
pub(crate) fn in_public_spaces(role: RoleId) -> RoleId {
    OrganizationRole::from_role(role).map_or(role, |role| role.in_public_spaces().role())
}

/// Where a space or a project lies, and its marks.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) project: Option<ProjectId>,
    pub(crate) space: SpaceId,
    pub(crate) organization: OrganizationId,
    pub(crate) is_public: bool,
    pub(crate) is_restricted: bool,
}

impl Place {
    pub(crate) fn of_space(world: &World, id: SpaceId) -> Self {
        let space = world.space(id);
        Self {
            project: None,
            space: id,
            organization: space.organization,
            is_public: space.is_public,
            is_restricted: false,
        }
    }

    pub(crate) fn of_project(world: &World, id: ProjectId) -> Self {
        let project = world.project(id);
        Self {
            project: Some(id),
            is_restricted: project.is_restricted,
            ..Self::of_space(world, project.space)
        }
    }

    /// Every space and every project.
    pub(crate) fn all(world: &World) -> impl Iterator<Item = (Resource, Self)> {
        let spaces = (1..=world.size.spaces()).map(SpaceId::new);
        let projects = (1..=world.size.projects()).map(ProjectId::new);
        spaces
            .map(|id| (Resource::Space(id), Self::of_space(world, id)))
            .chain(projects.map(|id| (Resource::Project(id), Self::of_project(world, id))))
    }
}

/// What a peer has to come to.
#[derive(Clone, Copy)]
pub(crate) struct Goals {
    pub(crate) ids: Goal,
    pub(crate) names: Goal,
}

/// Tells a peer of the company, and asks both in turn.
pub(crate) fn compare<P: Peer>(setting: &Setting, goals: Goals) -> Result<Vec<Row>> {
    let begun = Instant::now();
    let mut peer = P::new(&setting.world)?;
    let took = begun.elapsed().as_secs_f64();
    say(&format!("{}: told in {took:.1} s", P::NAME));
    let [theirs, ours] = rounds(ROUNDS, |round, contestant| {
        let asked = setting.window(round, if contestant == 0 { P::WINDOW } else { WINDOW });
        if contestant == 1 {
            return ask(asked, asked, |asked| {
                let decided = setting.index.allows(&asked.question, NOW);
                Ok(decided.is_some_and(|(is_allowed, _)| is_allowed))
            });
        }
        let handles: Vec<_> = asked.iter().map(|one| peer.handle(&one.question)).collect();
        ask(asked, &handles, |handle| peer.ask(handle))
    })?;
    let row = |what: String, ratio: f64, goal: Goal, theirs: f64, ours: f64| Row {
        what,
        measured: ratio,
        unit: Unit::Times,
        goal,
        from: format!("{theirs:.0} ns against {ours:.1} ns"),
    };
    let mut by_ids = row(
        format!("{}, against one check, ids in", P::NAME),
        theirs.over(&ours),
        goals.ids,
        theirs.median(),
        ours.median(),
    );
    by_ids.from += &format!("; told in {took:.1} s");
    let first = Names::new(&setting.questions[0].question);
    if peer.ask_by_name(&first).is_none() {
        return Ok(vec![by_ids]);
    }
    let ids = *setting.state.ids();
    let [theirs, ours] = rounds(ROUNDS, |round, contestant| {
        let asked = setting.window(round, if contestant == 0 { P::WINDOW } else { WINDOW });
        let names: Vec<Names> = asked
            .iter()
            .map(|asked| match contestant {
                0 => Names::new(&asked.question),
                _ => Names::encoded(&asked.question, &ids),
            })
            .collect();
        ask(asked, &names, |names| match contestant {
            0 => peer.ask_by_name(names).unwrap_or(Ok(false)),
            _ => Ok(decide_encoded(setting, &ids, names).unwrap_or(false)),
        })
    })?;
    let by_names = row(
        format!("{}, names in, against one check, encoded ids in", P::NAME),
        theirs.over(&ours),
        goals.names,
        theirs.median(),
        ours.median(),
    );
    Ok(vec![by_ids, by_names])
}

/// Nanoseconds a question; a wrong answer is an error.
fn ask<T>(asked: &[Asked], handles: &[T], mut ask: impl FnMut(&T) -> Result<bool>) -> Result<f64> {
    let mut wrong = Ok(None);
    let nanos = each(asked.len(), || {
        for (asked, handle) in asked.iter().zip(handles) {
            match ask(black_box(handle)) {
                Ok(is_allowed) if is_allowed == asked.is_allowed => {}
                Ok(_) => wrong = Ok(Some(asked)),
                Err(error) => wrong = Err(error),
            }
        }
    });
    let wrong = wrong?;
    ensure!(wrong.is_none(), "the answers to {wrong:?} aren't the same");
    Ok(nanos)
}

/// What a server does with the texts of a request.
fn decide_encoded(setting: &Setting, ids: &IdKey, names: &Names) -> Option<bool> {
    let resource = ids.parse_any(&names.resource)?.ok()?;
    let question = Question {
        principal: ids.parse(&names.user).ok()?,
        permission: Permission::from_name(names.permission)?,
        resource: match resource.kind {
            ProjectId::KIND => Resource::Project(ProjectId::new(resource.number)),
            SpaceId::KIND => Resource::Space(SpaceId::new(resource.number)),
            _ => return None,
        },
    };
    let decided = setting.index.allows(&question, NOW);
    decided.map(|(is_allowed, _)| is_allowed)
}

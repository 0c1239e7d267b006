//! What is asked: by the busy fifth of users in four of five cases, allowed in one of two, and half of the denials near
//! misses. The state decides which is which; the index and every peer must answer the same.

use bindery_core::decision::{Decision, Lack, Question};
use bindery_core::id::{ProjectId, SpaceId, UserId};
use bindery_core::permission::Permission;
use bindery_core::resource::Resource;
use bindery_core::state::State;

use crate::changes::NOW;
use crate::random::Random;
use crate::world::{On, World, is_busy};

/// So many permissions are tried on one resource before another is taken.
const TRIES: u32 = 12;

/// A question with its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) question: Question,
    pub(crate) is_allowed: bool,
}

#[derive(Clone, Copy)]
enum Wanted {
    Allowed,
    /// Where the user holds something, which doesn't grant this, or is cut by a restriction.
    NearMiss,
    Denied,
}

pub(crate) fn questions(world: &World, state: &State) -> Vec<Asked> {
    let random = &mut Random::new(11);
    let mut asked = Vec::with_capacity(world.size.questions());
    while asked.len() < world.size.questions() {
        let wanted = match random.below(4) {
            0 | 1 => Wanted::Allowed,
            2 => Wanted::NearMiss,
            _ => Wanted::Denied,
        };
        // Drawn before anything else, so that who asks doesn't depend on who gets an answer that is wanted.
        let wants_busy = random.percent(80);
        asked.push(loop {
            if let Some(found) = find(world, state, wanted, wants_busy, random) {
                break found;
            }
        });
    }
    asked
}

fn find(
    world: &World,
    state: &State,
    wanted: Wanted,
    wants_busy: bool,
    random: &mut Random,
) -> Option<Asked> {
    let principal = asker(world, wants_busy, random);
    let resource = match wanted {
        Wanted::Allowed | Wanted::NearMiss => within_reach(world, principal, random),
        Wanted::Denied => anywhere(world, random),
    };
    (0..TRIES).find_map(|_| {
        let question = Question {
            principal,
            permission: permission(resource, random),
            resource,
        };
        let decision = state.decide(&question, NOW);
        let is_wanted = match wanted {
            Wanted::Allowed => decision.is_allowed(),
            Wanted::NearMiss => matches!(
                decision,
                Decision::Denied(Lack::Grant | Lack::Restriction(..))
            ),
            Wanted::Denied => !decision.is_allowed(),
        };
        is_wanted.then_some(Asked {
            question,
            is_allowed: decision.is_allowed(),
        })
    })
}

fn asker(world: &World, wants_busy: bool, random: &mut Random) -> UserId {
    loop {
        let user = UserId::new(random.below(world.size.users()) + 1);
        if is_busy(user) == wants_busy {
            return user;
        }
    }
}

/// A space or project where the user holds something, or below where they do.
fn within_reach(world: &World, user: UserId, random: &mut Random) -> Resource {
    let in_space = |space: SpaceId, random: &mut Random| {
        let projects = &world.space(space).projects;
        if projects.is_empty() || random.percent(20) {
            Resource::Space(space)
        } else {
            Resource::Project(*random.pick(projects))
        }
    };
    match random.pick(world.held_by(user)).on {
        On::Organization(id) => {
            let spaces = world.spaces_of(id);
            let space = *random.pick(spaces);
            in_space(space, random)
        }
        On::Membership(space) | On::Space(space) => in_space(space, random),
        On::Project(project) => Resource::Project(project),
    }
}

fn anywhere(world: &World, random: &mut Random) -> Resource {
    if random.percent(20) {
        Resource::Space(SpaceId::new(random.below(world.size.spaces()) + 1))
    } else {
        Resource::Project(ProjectId::new(random.below(world.size.projects()) + 1))
    }
}

/// One that is asked there.
fn permission(resource: Resource, random: &mut Random) -> Permission {
    loop {
        let permission = *random.pick(&Permission::ALL);
        // What is asked of a space is what concerns spaces; the rest is asked of the projects in it.
        if permission.lowest_level() == resource.level() {
            return permission;
        }
    }
}

//! Codes of custom roles in the index: given while a role is held, given again afterwards, and asked of the state where there is
//! none.

use bindery_core::access::{AccessWriter, Answered, Touched};
use bindery_core::decision::{Decision, Question};
use bindery_core::permission::Permission;
use bindery_core::resource::Level;
use bindery_core::time::Timestamp;

use crate::world::World;

const NOW: Timestamp = Timestamp::from_millis(0);
const PLACES: &str = "
    acme/red
    acme/red  private
    ada is Member of acme
    bob is Member of acme
    role One: PROJECT_READ, SPACE_READ
    role Two: SPACE_READ
";

/// An index with so many codes for custom roles, which has followed an account through these lines; and the account.
fn follow(custom_roles: usize, steps: &[&str]) -> (World, AccessWriter) {
    let mut world = World::parse(PLACES);
    let mut writer = AccessWriter::with_custom_roles(&world.state, custom_roles);
    for step in steps {
        let before = world.state.clone();
        world.tell(step);
        let touched = Touched::between(&before, &world.state);
        writer.advance(&world.state, &touched, || {});
    }
    (world, writer)
}

fn reads_red(world: &World, who: &str) -> Question {
    Question {
        principal: world.user(who),
        permission: Permission::SpaceRead,
        resource: world.place("acme/red"),
    }
}

/// What the index decides, and what the state does.
fn decide(world: &World, writer: &AccessWriter, who: &str) -> (Option<bool>, bool) {
    let question = reads_red(world, who);
    let decided = writer.index().decide(&question, NOW);
    let by_index = decided.map(|(decision, _)| decision.is_allowed());
    let by_state = world.state.decide(&question, NOW);
    (by_index, by_state.is_allowed())
}

#[test]
fn a_code_is_reused_and_never_for_a_role_that_a_user_has() {
    let (world, writer) = follow(
        1,
        &[
            "ada has One on acme/red",
            "ada has nothing on acme/red",
            "bob has Two on acme/red",
        ],
    );
    assert_eq!(decide(&world, &writer, "ada"), (Some(false), false));
    assert_eq!(decide(&world, &writer, "bob"), (Some(true), true));

    // A role that is gone while it is held grants nothing, and keeps its code.
    let (world, writer) = follow(
        1,
        &[
            "ada has One on acme/red",
            "role One deleted",
            "bob has Two on acme/red",
        ],
    );
    assert_eq!(decide(&world, &writer, "ada"), (Some(false), false));
    assert_eq!(decide(&world, &writer, "bob"), (None, true));
}

#[test]
fn a_role_that_changes_is_known_to_whoever_holds_it() {
    let (world, writer) = follow(1, &["ada has One on acme/red", "role One: PROJECT_READ"]);
    assert_eq!(decide(&world, &writer, "ada"), (Some(false), false));
}

#[test]
fn of_a_batch_only_the_questions_without_a_code_are_for_the_state() {
    let (world, writer) = follow(1, &["ada has One on acme/red", "bob has Two on acme/red"]);
    let index = writer.index();
    let questions = ["ada", "bob", "ada", "bob"].map(|who| reads_red(&world, who));
    let mut decisions = Vec::new();
    let answered = index.decide_many(&questions, NOW, &mut decisions);
    let expected = Answered {
        revision: world.state.revision(),
        ask_state: vec![1, 3],
    };
    assert_eq!(answered, Some(expected.clone()));
    let by_state = questions.map(|question| world.state.decide(&question, NOW));
    assert_eq!([decisions[0], decisions[2]], [by_state[0], by_state[2]]);
    let mut answers = Vec::new();
    let answered = index.allows_many(&questions, NOW, &mut answers);
    assert_eq!(answered, Some(expected));
    let by_state = by_state.map(Decision::is_allowed);
    assert_eq!([answers[0], answers[2]], [by_state[0], by_state[2]]);
}

#[test]
fn a_search_that_meets_a_role_without_a_code_is_for_the_state() {
    let (world, writer) = follow(1, &["ada has One on acme/red", "bob has Two on acme/red"]);
    let (index, red) = (writer.index(), world.place("acme/red"));
    let permission = Permission::SpaceRead;
    let (mut users, mut resources) = (Vec::new(), Vec::new());
    assert_eq!(index.users_of(red, permission, NOW, &mut users), None);
    let mut spaces_of = |who| {
        let user = world.user(who);
        index.resources_of(user, permission, Level::Space, NOW, &mut resources)
    };
    assert_eq!(spaces_of("ada"), Some(world.state.revision()));
    assert_eq!(spaces_of("bob"), None);
}

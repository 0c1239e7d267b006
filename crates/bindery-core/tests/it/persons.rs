//! Who is behind a user, for limits.

use bindery_core::id::{Id as _, UserId};
use bindery_core::quota::CREATORS_MAX;

use crate::world::World;

#[test]
fn the_person_behind_a_bot_is_the_human_at_the_end_of_those_who_made_it() {
    let mut world = World::parse("ada is Member");
    let mut creator = "ada".to_owned();
    let mut bots = Vec::new();
    for number in 0..=CREATORS_MAX {
        let bot = format!("bot{number}");
        world.tell(&format!("bot {bot} by {creator}"));
        bots.push(bot.clone());
        creator = bot;
    }
    let ada = world.user("ada");
    let behind = |name: &str| world.state.person_behind(world.user(name));
    assert_eq!(behind("ada"), ada);
    let (deepest, others) = bots.split_last().expect("there are bots");
    for bot in &others[..CREATORS_MAX - 1] {
        assert_eq!(behind(bot), ada, "{bot}");
    }
    assert_eq!(behind(deepest), UserId::NOBODY, "the walk is bounded");
}

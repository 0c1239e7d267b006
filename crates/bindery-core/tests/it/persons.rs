//! Who is behind a user, for limits.

use bindery_core::change::Change;
use bindery_core::credential::{Credential, KnownTo};
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

#[test]
fn a_person_whose_password_an_inviter_knows_counts_as_the_inviter() {
    let mut world = World::parse("ada is Member\nbob is Member\neve is Member");
    world.tell("bot machine by eve");
    let [ada, bob, eve, machine] = ["ada", "bob", "eve", "machine"].map(|name| world.user(name));
    let mut know = |user, known_to| {
        world.state.apply(&Change::PutCredential(Credential {
            user,
            password: None,
            link: None,
            known_to,
        }));
        [bob, eve, machine].map(|user| world.state.person_behind(user))
    };
    know(bob, KnownTo::Users(vec![ada]));
    let behind = know(eve, KnownTo::Users(vec![bob, ada]));
    assert_eq!(behind, [ada, ada, ada]);
    let behind = know(bob, KnownTo::Owner);
    assert_eq!(behind, [bob, bob, bob]);
    let behind = know(eve, KnownTo::Anyone);
    assert_eq!(behind, [bob, UserId::NOBODY, UserId::NOBODY]);
    let behind = know(eve, KnownTo::Unrecorded);
    assert_eq!(behind, [bob, eve, eve]);
}

//! Searches of the access index, where those of the entities say what must come of them.

use bindery_core::access::AccessWriter;
use bindery_core::change::{Entry, OneOperation};
use bindery_core::permission::Permission;
use bindery_core::resource::{Level, Resource};
use bindery_core::time::Timestamp;

use crate::world::World;

const NOW: Timestamp = Timestamp::from_millis(0);

/// Numbers are never given again: what is loaded after deletions has gaps, and what comes next is far behind the rest.
#[test]
fn a_search_finds_what_came_after_a_gap_that_deletions_left() {
    let mut world = World::parse("root is Admin");
    for number in 0..300 {
        world.tell(&format!("acme/red/old{number}"));
    }
    for number in 0..300 {
        world.tell(&format!("acme/red/old{number}  deleted"));
    }
    world.take_told();
    let mut state = world.state.clone();
    let mut access = AccessWriter::new(&state);
    world.tell("globex/blue/sonar");
    world.tell("ada is Member");
    let entry = Entry::from(OneOperation {
        revision: state.revision().next(),
        at: NOW,
        by: None,
        key: None,
        operation: String::new(),
        batch: 0,
        changes: world.take_told(),
    });
    let mut touched = Vec::new();
    state.advance_noting(&entry, &mut touched);
    access.advance(&state, &touched, || ());
    let (index, root) = (access.index(), world.user("root"));
    for (level, permission, count) in [
        (Level::Organization, Permission::OrganizationRead, 2),
        (Level::Space, Permission::SpaceRead, 2),
        (Level::Project, Permission::ProjectRead, 1),
    ] {
        let mut found = Vec::new();
        index.resources_of(root, permission, level, NOW, &mut found);
        found.sort_unstable();
        let expected = state.resources_of(root, permission, level, NOW);
        assert_eq!(found, expected);
        assert_eq!(found.len(), count);
    }
    let mut found = Vec::new();
    index.users_of(Resource::Account, Permission::UserRead, NOW, &mut found);
    found.sort_unstable();
    assert_eq!(found, [root, world.user("ada")]);
}

//! Data of the past, as today's rights show it.

use bindery_core::api_key::ApiKey;
use bindery_core::id::{
    ApiKeyId, OrganizationId, ProjectId, RoleBindingId, RoleId, SpaceId, UserId,
};
use bindery_core::place::{Organization, Project, Restriction, Space};
use bindery_core::query::{Data, ProjectFilter, Reader, Slice};
use bindery_core::resource::Resource;
use bindery_core::role::AnyRole;
use bindery_core::role_binding::RoleBinding;
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_core::user::User;

use crate::world::World;

const THEN: Timestamp = Timestamp::from_millis(0);

/// Founder is account admin; ada, bob and the bot crawler are not.
const PLACES: &str = "
    founder is Admin
    acme/red  private
    acme/red/sonar
    acme/red/vault
    ada is Read-only on acme/red
    bob is Member
    bot crawler
";

/// A world then, and what it has become.
struct Ages {
    then: State,
    today: World,
}

impl Ages {
    fn of(since: &str) -> Self {
        let mut world = World::parse(PLACES);
        let then = world.state.clone();
        world.tell(since);
        Self { then, today: world }
    }

    fn reader(&self, who: &str) -> Reader<'_> {
        let context = self.today.context(who);
        Reader::past(context, &self.today.state, &self.then, THEN)
    }

    fn sees(&self, who: &str, project: &str) -> bool {
        let sees = self
            .reader(who)
            .visible_project(self.project(project))
            .is_ok();
        // A page has what is seen one by one.
        let all = Slice {
            after: None,
            limit: 100,
        };
        let page = self.reader(who).projects(&ProjectFilter::default(), all);
        let listed = page.is_ok_and(|page| {
            let mut ids = page.items.iter().map(|one| one.id);
            ids.any(|id| id == self.project(project))
        });
        assert_eq!(sees, listed, "{who} {project}");
        sees
    }

    fn project(&self, path: &str) -> ProjectId {
        match self.today.place(path) {
            Resource::Project(id) => id,
            other => unreachable!("{path} is {other:?}"),
        }
    }
}

#[test]
fn a_right_that_was_lost_shows_nothing_of_the_past() {
    let ages = Ages::of("ada has nothing on acme/red");
    assert!(!ages.sees("ada", "acme/red/sonar"));
    assert!(ages.sees("founder", "acme/red/sonar"));
}

#[test]
fn a_right_that_came_since_shows_the_past() {
    let ages = Ages::of("bob is Read-only on acme/red");
    assert!(ages.sees("bob", "acme/red/sonar"));
}

#[test]
fn todays_restriction_counts_and_not_that_of_then() {
    let ages = Ages::of("acme/red/vault  restricted");
    assert!(!ages.sees("ada", "acme/red/vault"));
    let mut world = World::parse(PLACES);
    world.tell("acme/red/vault  restricted");
    let then = world.state.clone();
    world.tell("acme/red/vault  open");
    let ages = Ages { then, today: world };
    assert!(ages.sees("ada", "acme/red/vault"));
}

#[test]
fn what_was_deleted_since_is_for_account_admins() {
    let ages = Ages::of("acme/red/vault  deleted");
    assert!(!ages.sees("ada", "acme/red/vault"));
    assert!(!ages.sees("crawler", "acme/red/vault"));
    assert!(ages.sees("founder", "acme/red/vault"));
}

#[test]
fn what_came_since_is_not_in_the_past() {
    let ages = Ages::of("acme/red/radar");
    assert!(!ages.sees("founder", "acme/red/radar"));
}

/// A few things that were looked up one by one.
#[derive(Default)]
struct Few {
    projects: Vec<Project>,
}

impl Data for Few {
    fn user(&self, _: UserId) -> Option<&User> {
        None
    }

    fn organization(&self, _: OrganizationId) -> Option<&Organization> {
        None
    }

    fn space(&self, _: SpaceId) -> Option<&Space> {
        None
    }

    fn project(&self, id: ProjectId) -> Option<&Project> {
        self.projects.iter().find(|one| one.id == id)
    }

    fn restriction(&self, _: ProjectId) -> Option<Restriction> {
        None
    }

    fn role(&self, _: RoleId) -> Option<AnyRole<'_>> {
        None
    }

    fn role_binding(&self, _: RoleBindingId) -> Option<RoleBinding> {
        None
    }

    fn api_key(&self, _: ApiKeyId) -> Option<&ApiKey> {
        None
    }
}

#[test]
fn a_few_facts_of_the_past_are_read_without_a_state_of_it() {
    let ages = Ages::of("bob is Read-only on acme/red");
    let sonar = ages.project("acme/red/sonar");
    let project = ages.then.project(sonar).unwrap();
    let few = Few {
        projects: vec![Project::clone(project)],
    };
    let reads = |who| {
        let context = ages.today.context(who);
        let reader = Reader::past(context, &ages.today.state, &few, THEN);
        reader.visible_project(sonar).is_ok()
    };
    assert!(reads("bob") && reads("ada") && reads("founder"));
    assert!(!reads("crawler"));
}

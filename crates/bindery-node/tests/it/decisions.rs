//! Results at one revision while changes are made: of one question, of a batch, and of a search.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bindery_core::command::organizations::{AddOrganizationUser, CreateOrganization};
use bindery_core::command::projects::CreateProject;
use bindery_core::command::role_bindings::CreateRoleBinding;
use bindery_core::command::roles::{CreateRole, UpdateRole};
use bindery_core::command::spaces::CreateSpace;
use bindery_core::command::users::{CreateUser, CreatedUser, Invitation};
use bindery_core::command::{Assignment, Caller, Command};
use bindery_core::decision::Question;
use bindery_core::id::{ProjectId, Revision, RoleId, UserId};
use bindery_core::permission::{Permission, PermissionSet};
use bindery_core::resource::{Bindable, Level, Resource};
use bindery_core::role::{AccountRole, OrganizationRole};
use bindery_core::text::{Description, Email, Name, RoleName};
use bindery_core::time::Timestamp;
use bindery_node::Account;

use crate::promises::world;

const MEMBERS: usize = 40;
/// Changes during the reads.
const TURNS: u64 = 1_000;
const ASKED: Permission = Permission::ProjectRead;

/// Many people with the same role on one project. Each change lets all of them read it, or none.
pub(crate) struct Scene {
    pub(crate) account: Arc<Account>,
    caller: Caller,
    role: RoleId,
    project: ProjectId,
    people: Vec<UserId>,
    /// At this revision none of them may.
    start: Revision,
    pub(crate) now: Timestamp,
}

impl Scene {
    pub(crate) async fn new(account: Arc<Account>, caller: Caller) -> Self {
        let run = async |name: String| {
            let made = CreateOrganization {
                name: Name::parse(&name).unwrap(),
                description: Description::default(),
            };
            execute(&account, caller, made).await
        };
        let organization = run("acme".to_owned()).await;
        let space = CreateSpace {
            name: Name::parse("space").unwrap(),
            organization: organization.id,
            description: Description::default(),
            is_private: true,
        };
        let space = execute(&account, caller, space).await;
        let project = CreateProject {
            name: Name::parse("project").unwrap(),
            space: space.id,
        };
        let project = execute(&account, caller, project).await.id;
        let role = CreateRole {
            name: RoleName::parse("on and off").unwrap(),
            description: Description::default(),
            permissions: without(),
        };
        let role = execute(&account, caller, role).await.id;
        let mut people = Vec::new();
        for number in 0..MEMBERS {
            let user = CreateUser {
                name: Name::parse("someone").unwrap(),
                email: Email::parse(&format!("{number}@example.com")).unwrap(),
                role: Assignment::Predefined(AccountRole::Member),
                invitation: Invitation::None,
                is_developer: None,
            };
            let CreatedUser::Created(user) = execute(&account, caller, user).await else {
                continue;
            };
            let user = user.id;
            let member = AddOrganizationUser {
                organization: organization.id,
                user,
                role: Assignment::Predefined(OrganizationRole::Member),
            };
            execute(&account, caller, member).await;
            let binding = CreateRoleBinding {
                user,
                role,
                on: Bindable::Project(project),
            };
            execute(&account, caller, binding).await;
            people.push(user);
        }
        let start = account.snapshot().revision();
        let now = account.snapshot().latest();
        Self {
            account,
            caller,
            role,
            project,
            people,
            start,
            now,
        }
    }

    /// Switches whether they may.
    pub(crate) async fn turn(&self, may: bool) {
        let update = UpdateRole {
            role: self.role,
            name: None,
            description: None,
            permissions: Some(if may { with() } else { without() }),
        };
        execute(&self.account, self.caller, update).await;
    }

    /// The question of each person about themselves.
    pub(crate) fn questions(&self) -> Vec<Question> {
        let ask = |user: &UserId| Question {
            principal: *user,
            permission: ASKED,
            resource: Resource::Project(self.project),
        };
        self.people.iter().map(ask).collect()
    }

    /// Checks that both searches find what the revision says, and returns it.
    pub(crate) fn check_searches(&self) -> Revision {
        let (mut users, mut resources) = (Vec::new(), Vec::new());
        let project = Resource::Project(self.project);
        let at = self
            .account
            .users_of(project, ASKED, self.now, &mut users)
            .revision();
        users.sort_unstable();
        // The first user is the admin.
        let mut expected = vec![UserId::new(1)];
        if self.may(at) {
            expected.extend(&self.people);
        }
        assert_eq!(users, expected, "at {at}");
        let person = self.people[3];
        let at = self
            .account
            .resources_of(person, ASKED, Level::Project, self.now, &mut resources)
            .revision();
        let expected = if self.may(at) {
            vec![project]
        } else {
            Vec::new()
        };
        assert_eq!(resources, expected, "at {at}");
        at
    }

    /// Whether they may at this revision.
    pub(crate) fn may(&self, at: Revision) -> bool {
        (at.0 - self.start.0) % 2 == 1
    }
}

fn with() -> PermissionSet {
    [ASKED, Permission::SpaceRead].into_iter().collect()
}

fn without() -> PermissionSet {
    [Permission::SpaceRead].into_iter().collect()
}

async fn execute<C>(account: &Account, caller: Caller, command: C) -> C::Outcome
where
    C: Command + Send + 'static,
    C::Outcome: Send,
{
    account.execute(command, caller, None).await.unwrap()
}

/// Reads while the role is switched. Now and then the writer waits after a switch until every reader has read
/// again, so that each reader sees both states on any machine.
async fn watch(scene: Arc<Scene>, look: fn(&Scene) -> bool) {
    const READERS: usize = 2;
    /// The writer waits twice in this many turns: after one that allows, and after one that denies.
    const WAIT_EVERY: u64 = 100;
    let is_over = Arc::new(AtomicBool::new(false));
    let looks: Arc<[AtomicU64; READERS]> = Arc::default();
    let readers: Vec<_> = (0..READERS)
        .map(|number| {
            let (scene, is_over) = (Arc::clone(&scene), Arc::clone(&is_over));
            let looks = Arc::clone(&looks);
            std::thread::spawn(move || {
                let mut seen = [0_u32; 2];
                while !is_over.load(Ordering::Relaxed) {
                    seen[usize::from(look(&scene))] += 1;
                    looks[number].fetch_add(1, Ordering::SeqCst);
                }
                seen
            })
        })
        .collect();
    for turn in 1..=TURNS {
        scene.turn(turn % 2 == 1).await;
        if turn % WAIT_EVERY > 1 {
            continue;
        }
        for (reader, looks) in readers.iter().zip(&*looks) {
            // The second read that ends from here on began after the switch.
            let enough = looks.load(Ordering::SeqCst) + 2;
            // A reader that panicked is noticed below.
            while looks.load(Ordering::SeqCst) < enough && !reader.is_finished() {
                tokio::task::yield_now().await;
            }
        }
    }
    is_over.store(true, Ordering::Relaxed);
    for reader in readers {
        let [denied, allowed] = reader.join().unwrap();
        assert!(
            denied > 0 && allowed > 0,
            "it saw both: {denied} and {allowed}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_that_of_the_revision_it_names() {
    let world = world().await;
    let scene = Arc::new(Scene::new(Arc::clone(&world.account), world.caller).await);
    watch(scene, |scene| {
        let question = scene.questions()[7];
        let (decision, at) = scene.account.decide(&question, scene.now);
        assert_eq!(decision.is_allowed(), scene.may(at), "at {at}");
        decision.is_allowed()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_decisions_of_a_batch_are_those_of_one_revision() {
    let world = world().await;
    let scene = Arc::new(Scene::new(Arc::clone(&world.account), world.caller).await);
    watch(scene, |scene| {
        let mut decisions = Vec::new();
        let at = scene
            .account
            .decide_many(&scene.questions(), scene.now, &mut decisions);
        assert_eq!(decisions.len(), MEMBERS);
        for decision in decisions {
            assert_eq!(decision.is_allowed(), scene.may(at), "at {at}");
        }
        scene.may(at)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_is_that_of_one_revision() {
    let world = world().await;
    let scene = Arc::new(Scene::new(Arc::clone(&world.account), world.caller).await);
    watch(scene, |scene| {
        let at = scene.check_searches();
        scene.may(at)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reader_goes_back_whatever_it_asks_and_whatever_others_have_seen() {
    /// How often a reader alternates between index and snapshot before it pauses: the moment between the
    /// change of the one and of the other is short.
    const ROUNDS: usize = 200;
    static SEEN: AtomicU64 = AtomicU64::new(0);
    let world = world().await;
    let scene = Arc::new(Scene::new(Arc::clone(&world.account), world.caller).await);
    watch(scene, |scene| {
        let account = &scene.account;
        let asked = [scene.questions()[7]];
        let project = Resource::Project(scene.project);
        let mut last = Revision(SEEN.load(Ordering::Acquire));
        let mut next = |at: Revision| {
            assert!(at >= last, "{at} after {last}");
            last = at;
        };
        for _ in 0..ROUNDS {
            next(account.decide(&asked[0], scene.now).1);
            next(account.snapshot().revision());
        }
        let (mut decisions, mut users) = (Vec::new(), Vec::new());
        next(account.decide_many(&asked, scene.now, &mut decisions));
        next(
            account
                .users_of(project, ASKED, scene.now, &mut users)
                .revision(),
        );
        next(account.snapshot().revision());
        SEEN.fetch_max(last.0, Ordering::AcqRel);
        scene.may(last)
    })
    .await;
}

/// Shows why the tests above are needed: questions asked one by one mix revisions.
#[tokio::test(flavor = "multi_thread")]
async fn questions_asked_one_by_one_are_caught_mixing_revisions() {
    let world = world().await;
    let scene = Scene::new(Arc::clone(&world.account), world.caller).await;
    let questions = scene.questions();
    let (first, second) = questions.split_at(MEMBERS / 2);
    let allowed = |questions: &[Question]| {
        let decided = questions
            .iter()
            .map(|one| scene.account.decide(one, scene.now));
        decided
            .filter(|(decision, _)| decision.is_allowed())
            .count()
    };
    let before = allowed(first);
    scene.turn(true).await;
    let both = before + allowed(second);
    assert!((1..MEMBERS).contains(&both), "{both}");
}

/// A caller who has read names and rights from a state is answered by that state, even after later changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_a_state_was_read_for_is_answered_by_that_state() {
    let world = world().await;
    let scene = Scene::new(Arc::clone(&world.account), world.caller).await;
    let (asked, now) = (scene.questions(), scene.now);
    for may in [false, true, false] {
        let state = scene.account.snapshot();
        assert_eq!(scene.may(state.revision()), may);
        let check = || {
            assert_eq!(scene.account.allows(&state, &asked[0], now), may);
            let mut answers = vec![!may];
            scene.account.allows_many(&state, &asked, now, &mut answers);
            assert_eq!(answers, vec![may; asked.len()]);
        };
        check();
        scene.turn(!may).await;
        check();
    }
}

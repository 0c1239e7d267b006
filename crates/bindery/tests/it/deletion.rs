//! A kill in the middle of deleting a large organization: afterwards it is completely there or completely
//! deleted.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::Path;
use std::time::{Duration, Instant};

use bindery_core::change::{Change, Entry, OneOperation};
use bindery_core::given::{GivenAt, Giver};
use bindery_core::id::{
    AccountId, Id as _, OrganizationId, OrganizationMembershipId, ProjectId, RoleBindingId, RoleId,
    SpaceId, UserId,
};
use bindery_core::place::{Organization, Project, Space, SpaceSettings};
use bindery_core::resource::Bindable;
use bindery_core::role::{AccountRole, OrganizationRole};
use bindery_core::role_binding::RoleBinding;
use bindery_core::state::State;
use bindery_core::text::{Description, Email, Name};
use bindery_core::time::Timestamp;
use bindery_core::user::{Identity, OrganizationMembership, Standing, User};
use bindery_store::{Batch, Store as _};

use crate::crash::assert_log_replays_to_the_state;
use crate::support::{OpenStore, Server};

const ROUNDS: u32 = 10;
const ACCOUNT: AccountId = AccountId(1);

const GOES: OrganizationId = OrganizationId::new(1);
const STAYS: OrganizationId = OrganizationId::new(2);
const SPACES: u32 = 200;
const PROJECTS: u32 = 2000;
const BINDINGS: u32 = 50_000;
/// Each holds a role on every resource, until there are enough.
const USERS: u32 = 23;

#[test]
fn a_kill_in_the_middle_of_a_deletion_leaves_all_of_it_or_nothing() {
    let template = tempfile::tempdir().unwrap();
    Server::start(template.path()).kill();
    let before = fill(template.path());

    let undisturbed = copy(template.path());
    let whole = time_of_deletion(undisturbed.path(), &before);
    assert!(is_gone(undisturbed.path(), &before));

    let mut gone = 0;
    for round in 0..ROUNDS {
        let data_dir = copy(template.path());
        // A random time in each tenth, and beyond the end: the commit comes last.
        let moment = 1.25 * (f64::from(round) + random_part()) / f64::from(ROUNDS);
        let acknowledged = kill_amid(data_dir.path(), &before, whole.mul_f64(moment));
        let is_gone = is_gone(data_dir.path(), &before);
        assert!(is_gone || !acknowledged, "round {round}: it came back");
        assert_log_replays_to_the_state(data_dir.path());
        assert_served(data_dir.path(), &before, is_gone);
        gone += u32::from(is_gone);
    }
    println!(
        "{BINDINGS} bindings, {PROJECTS} projects and {SPACES} spaces deleted in {whole:.1?}; of {ROUNDS} kills {} left \
         all of it and {gone} nothing",
        ROUNDS - gone
    );
}

/// From the request to its response.
fn time_of_deletion(data_dir: &Path, before: &State) -> Duration {
    let server = Server::start(data_dir);
    let started = Instant::now();
    let (status, body) = server
        .client()
        .try_send("DELETE", &path(before), None)
        .unwrap();
    let whole = started.elapsed();
    assert_eq!(status, 204, "{body}");
    server.kill();
    whole
}

/// Kills the server this long after the request was sent. Returns whether the response came before.
fn kill_amid(data_dir: &Path, before: &State, moment: Duration) -> bool {
    let server = Server::start(data_dir);
    let client = server.client();
    std::thread::scope(|threads| {
        let deletion = threads.spawn(|| client.try_send("DELETE", &path(before), None));
        std::thread::sleep(moment);
        server.kill();
        let answer = deletion.join().unwrap();
        answer.is_some_and(|(status, _)| status == 204)
    })
}

/// Whether the organization is deleted with everything in it; if not, everything must be unchanged.
fn is_gone(data_dir: &Path, before: &State) -> bool {
    let store = OpenStore::new(data_dir);
    let state = store.load(ACCOUNT).unwrap();
    if state.organization(GOES).is_some() {
        assert!(state == *before, "a part is gone");
        return false;
    }
    assert_eq!(state.revision(), before.revision().next(), "one revision");
    let spaces = (1..=SPACES).map(SpaceId::new);
    let projects = (1..=PROJECTS).map(ProjectId::new);
    let bindings = (1..=BINDINGS).map(RoleBindingId::new);
    let left = spaces.filter(|id| state.space(*id).is_some()).count()
        + projects.filter(|id| state.project(*id).is_some()).count()
        + bindings
            .filter(|id| state.role_binding(*id).is_some())
            .count();
    assert_eq!(left, 0, "a part is left");
    assert!(state.organization(STAYS).is_some());
    assert!(state.space(SpaceId::new(SPACES + 1)).is_some());
    assert!(
        state
            .role_binding(RoleBindingId::new(BINDINGS + 1))
            .is_some()
    );
    true
}

/// The state that the binary serves after the kill.
fn assert_served(data_dir: &Path, before: &State, is_gone: bool) {
    let server = Server::start(data_dir);
    let client = server.client();
    let (status, _) = client.try_send("GET", &path(before), None).unwrap();
    assert_eq!(status, if is_gone { 404 } else { 200 });
    let list = client.get("/v2/role-bindings?resource_type=SPACE&limit=100");
    let bindings = list["role_bindings"].as_array().unwrap();
    assert_eq!(bindings.len(), if is_gone { 1 } else { 100 });
    server.kill();
}

fn path(before: &State) -> String {
    format!("/v2/organizations/{}", before.ids().encode(GOES))
}

/// A random number from 0 to 1.
fn random_part() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(random >> 32).unwrap()) / f64::from(u32::MAX)
}

fn copy(data_dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(data_dir).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

/// Appends the organizations to the log after the founder's entry: over HTTP it would take a minute.
fn fill(data_dir: &Path) -> State {
    let store = OpenStore::new(data_dir);
    for changes in world().chunks(10_000) {
        let state = store.load(ACCOUNT).unwrap();
        let revision = state.revision().next();
        let entry = Entry::from(OneOperation {
            revision,
            at: state.latest(),
            by: None,
            key: None,
            operation: "seed".to_owned(),
            batch: revision.0,
            changes: changes.to_vec(),
        });
        let mut batch = Some(Batch {
            entries: vec![entry],
            audit: Vec::new(),
            ..Batch::default()
        });
        store
            .append(ACCOUNT, state.position(), &mut |_| batch.take().unwrap())
            .unwrap();
    }
    store.load(ACCOUNT).unwrap()
}

fn world() -> Vec<Change> {
    let created_at = Timestamp::from_millis(0);
    let name = |noun: &str, number: u32| Name::parse(&format!("{noun} {number}")).unwrap();
    let organization = |id: OrganizationId| {
        Change::PutOrganization(Organization {
            id,
            name: name("organization", id.number()),
            description: Description::parse("").unwrap(),
            created_at,
        })
    };
    let space = |number, organization| {
        Change::PutSpace(Space {
            id: SpaceId::new(number),
            organization,
            name: name("space", number),
            description: Description::parse("").unwrap(),
            is_private: false,
            created_at,
            settings: SpaceSettings::default(),
        })
    };
    let project = |number| {
        Change::PutProject(Project {
            id: ProjectId::new(number),
            space: SpaceId::new(1 + number % SPACES),
            name: name("project", number),
            created_at,
        })
    };
    let binding = |number, user, resource| {
        let role = match resource {
            Bindable::Space(_) => RoleId::new(10),
            Bindable::Project(_) => RoleId::new(14),
        };
        Change::PutRoleBinding(RoleBinding {
            id: RoleBindingId::new(number),
            user: UserId::new(user),
            resource,
            role,
            created_at,
            updated_at: created_at,
            given_by: Giver::UNKNOWN,
        })
    };
    let mut changes = vec![organization(GOES), organization(STAYS)];
    // The founder is user 1.
    for number in 1..=USERS {
        let user = UserId::new(1 + number);
        changes.push(Change::PutUser(User {
            id: user,
            name: name("user", number),
            identity: Identity::Human {
                email: Email::parse(&format!("user-{number}@acme.example")).unwrap(),
            },
            account_role: AccountRole::Member,
            is_developer: true,
            standing: Standing::Active,
            created_at,
            address_released_at: None,
        }));
        changes.push(Change::PutOrganizationMembership(OrganizationMembership {
            id: OrganizationMembershipId::new(number),
            user,
            organization: GOES,
            role: OrganizationRole::Member,
            given_by: Giver::UNKNOWN,
            given_at: GivenAt::UNKNOWN,
        }));
    }
    changes.extend((1..=SPACES).map(|number| space(number, GOES)));
    changes.push(space(SPACES + 1, STAYS));
    changes.extend((1..=PROJECTS).map(project));
    let on_spaces = (1..=SPACES).map(|number| Bindable::Space(SpaceId::new(number)));
    let on_projects = (1..=PROJECTS).map(|number| Bindable::Project(ProjectId::new(number)));
    let resources: Vec<Bindable> = on_spaces.chain(on_projects).collect();
    let holders = resources
        .iter()
        .flat_map(|on| (2..2 + USERS).map(|user| (user, *on)));
    for ((user, on), number) in holders.zip(1..=BINDINGS) {
        changes.push(binding(number, user, on));
    }
    let stays = Bindable::Space(SpaceId::new(SPACES + 1));
    changes.push(binding(BINDINGS + 1, 2, stays));
    changes
}

//! Sixteen writers with conflicting commands, and readers beside them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bindery_core::id::{OrganizationId, RoleBindingId, RoleId};
use bindery_core::resource::BindableKind;

use crate::history::{Answer, Operation};
use crate::http::Http;
use crate::intent::Intent;
use crate::nodes::{NODES, Node};
use crate::random::Random;
use crate::scene::{PERMISSIONS, Scene};
use crate::wire::{Request, answer, ids_of};

/// How many clients change things.
pub(crate) const WRITERS: usize = 16;
/// How many only read.
pub(crate) const READERS: usize = 4;
/// All clients. The next number is the referee, who only reads.
pub(crate) const CLIENTS: usize = WRITERS + READERS;

/// Few names, so that new things compete for them.
const NAMES: usize = 5;
/// Longer than a server waits for a commit: it then responds that the outcome is unknown.
const PATIENCE: Duration = Duration::from_secs(40);
/// Shorter than that.
const IMPATIENCE: Duration = Duration::from_secs(4);
/// How long a client waits after a request without a response.
const RETRY_PAUSE_MS: (u64, u64) = (50, 250);

/// State that the clients share.
pub(crate) struct Arena<'a> {
    pub(crate) scene: &'a Scene,
    pub(crate) nodes: &'a [Node],
    pub(crate) begun: Instant,
    pub(crate) is_over: &'a AtomicBool,
    /// Held during a request; an exclusive holder stops all requests.
    pub(crate) gate: RwLock<()>,
    pub(crate) history: Mutex<Vec<Operation>>,
    /// The known things that can be changed and deleted.
    known: Mutex<Known>,
    /// Changes that were acknowledged.
    pub(crate) acknowledged: AtomicUsize,
}

#[derive(Default)]
struct Known {
    roles: Vec<RoleId>,
    organizations: Vec<OrganizationId>,
    bindings: Vec<RoleBindingId>,
}

impl<'a> Arena<'a> {
    pub(crate) fn new(scene: &'a Scene, nodes: &'a [Node], is_over: &'a AtomicBool) -> Self {
        Self {
            scene,
            nodes,
            begun: Instant::now(),
            is_over,
            gate: RwLock::default(),
            history: Mutex::default(),
            known: Mutex::default(),
            acknowledged: AtomicUsize::new(0),
        }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.ns_at(Instant::now())
    }

    /// A time on the clock of the history.
    pub(crate) fn ns_at(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.begun).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, Vec<Operation>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One client, with one request at a time.
pub(crate) struct Client<'a> {
    arena: &'a Arena<'a>,
    number: usize,
    random: Random,
    connections: Vec<Http>,
    node: usize,
    /// The highest revision that it has received.
    seen: u64,
    asked: usize,
}

impl<'a> Client<'a> {
    pub(crate) fn new(arena: &'a Arena<'a>, number: usize, seed: u64) -> Self {
        let timeout = if number.is_multiple_of(2) {
            PATIENCE
        } else {
            IMPATIENCE
        };
        let (_, key) = &arena.scene.keys[number];
        let connection = |node: &Node| Http::new(node.address, key, timeout);
        Self {
            arena,
            number,
            random: Random::new(seed, u64::try_from(number).unwrap_or(0) + 1),
            connections: arena.nodes.iter().map(connection).collect(),
            node: number % NODES,
            seen: 0,
            asked: 0,
        }
    }

    /// Sends requests until the run is over.
    pub(crate) fn run(mut self) {
        while !self.arena.is_over.load(Ordering::Acquire) {
            let is_answered = {
                let _under_way = self
                    .arena
                    .gate
                    .read()
                    .unwrap_or_else(PoisonError::into_inner);
                let intent = self.choose();
                let at_least = if self.passes_on() { self.seen } else { 0 };
                self.ask(intent, at_least)
            };
            let (least, most) = if is_answered {
                (10, 60)
            } else {
                RETRY_PAUSE_MS
            };
            let pause = self.random.between(least, most);
            std::thread::sleep(Duration::from_millis(pause));
            if self.moves() && (!is_answered || self.random.percent(30)) {
                self.node = self.random.below(NODES);
            }
        }
    }

    /// Two of the readers stay on one server and request no revision: even so, their reads must not go back.
    fn moves(&self) -> bool {
        self.number < WRITERS + READERS / 2
    }

    fn passes_on(&mut self) -> bool {
        self.moves() && !self.random.percent(15)
    }

    /// Sends a request to a server. Returns whether it responded.
    pub(crate) fn ask_at(&mut self, node: usize, intent: Intent, at_least: u64) -> bool {
        self.node = node;
        self.ask(intent, at_least)
    }

    fn ask(&mut self, intent: Intent, at_least: u64) -> bool {
        let ids = &self.arena.scene.ids;
        let request = Request::of(&intent, ids);
        let connection = &mut self.connections[self.node];
        let invoked_ns = self.arena.now_ns();
        let reply = connection.send(
            request.method,
            &request.path,
            request.body.as_ref(),
            at_least,
        );
        let returned_ns = self.arena.now_ns();
        let revision = reply.as_ref().map_or(0, |reply| reply.revision);
        let answer = answer(&intent, ids, &reply);
        self.seen = self.seen.max(revision);
        let is_answered = matches!(answer, Answer::Done(_) | Answer::Refused(_));
        if intent.is_change() && matches!(answer, Answer::Done(_)) {
            self.arena.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        if let (Answer::Done(_), Ok(reply)) = (&answer, &reply) {
            self.learn(&intent, &reply.body);
        }
        if is_answered {
            self.forget(&intent);
        }
        self.arena.history().push(Operation {
            client: self.number,
            node: self.node,
            invoked_ns,
            returned_ns,
            at_least,
            intent,
            answer,
            revision,
        });
        is_answered
    }

    /// All clients may change and delete what a list shows.
    fn learn(&self, intent: &Intent, body: &serde_json::Value) {
        let scene = self.arena.scene;
        let mut known = self.arena.known();
        match intent {
            Intent::ListRoles => {
                known.roles = ids_of(&scene.ids, body, "roles");
                known.roles.retain(|role| !scene.roles.contains(role));
            }
            Intent::ListOrganizations => {
                known.organizations = ids_of(&scene.ids, body, "organizations");
                // The first is the one that stays.
                known
                    .organizations
                    .retain(|one| *one != OrganizationId::new(1));
            }
            Intent::ListBindings(BindableKind::Project) => {
                known.bindings = ids_of(&scene.ids, body, "role_bindings");
            }
            _ => {}
        }
    }

    fn forget(&self, intent: &Intent) {
        let mut known = self.arena.known();
        match intent {
            Intent::DropRole(id) => known.roles.retain(|one| one != id),
            Intent::DropOrganization(id) => known.organizations.retain(|one| one != id),
            Intent::Unbind(id) => known.bindings.retain(|one| one != id),
            _ => {}
        }
    }

    fn choose(&mut self) -> Intent {
        self.asked += 1;
        if self.number >= WRITERS || self.random.percent(12) {
            return self.look();
        }
        // If there is nothing to change yet, another user gets another role.
        self.change().unwrap_or_else(|| self.give_role())
    }

    fn give_role(&mut self) -> Intent {
        let scene = self.arena.scene;
        Intent::GiveRole {
            binding: scene.bindings[self.random.below(scene.bindings.len())],
            role: scene.roles[self.random.below(scene.roles.len())],
        }
    }

    fn change(&mut self) -> Option<Intent> {
        let scene = self.arena.scene;
        let tag = format!("{}-{}", self.number, self.asked);
        let permission = self.random.pick(&PERMISSIONS)?;
        let contended = format!("contended {}", self.random.below(NAMES));
        let known = self.arena.known();
        let random = &mut self.random;
        Some(match random.below(100) {
            0..14 => {
                // Now and then a role that another client may be about to delete.
                let role = if random.percent(30) {
                    random.pick(&known.roles)?
                } else {
                    random.pick(&scene.roles)?
                };
                Intent::Bind {
                    user: random.pick(&scene.users)?,
                    project: random.pick(&scene.projects)?,
                    role,
                }
            }
            14..26 => Intent::Unbind(random.pick(&known.bindings)?),
            26..36 => Intent::MakeRole {
                name: contended,
                tag,
                permission,
            },
            36..42 => Intent::ChangeRole {
                role: random.pick(&known.roles)?,
                tag,
                permission,
            },
            42..50 => Intent::DropRole(random.pick(&known.roles)?),
            50..56 => Intent::MakeOrganization {
                name: contended,
                tag,
            },
            56..62 => Intent::MakeSpace {
                organization: random.pick(&known.organizations)?,
                name: contended,
            },
            62..66 => Intent::DropOrganization(random.pick(&known.organizations)?),
            _ => return None,
        })
    }

    fn look(&mut self) -> Intent {
        let scene = self.arena.scene;
        match self.random.below(6) {
            0 => Intent::ListRoles,
            1 => Intent::ListOrganizations,
            2 => Intent::ListBindings(BindableKind::Project),
            3 => Intent::SeeBinding(scene.bindings[self.random.below(scene.bindings.len())]),
            _ => Intent::May {
                user: scene.users[self.random.below(scene.users.len())],
                permission: PERMISSIONS[self.random.below(PERMISSIONS.len())],
                project: scene.projects[self.random.below(scene.projects.len())],
            },
        }
    }
}

/// Requests that compare servers in everything.
pub(crate) fn everything(scene: &Scene) -> Vec<Intent> {
    let mut all = vec![
        Intent::ListRoles,
        Intent::ListOrganizations,
        Intent::ListBindings(BindableKind::Space),
        Intent::ListBindings(BindableKind::Project),
    ];
    all.extend(scene.bindings.iter().map(|id| Intent::SeeBinding(*id)));
    for user in &scene.users {
        for project in &scene.projects {
            all.extend(PERMISSIONS.iter().map(|permission| Intent::May {
                user: *user,
                permission: *permission,
                project: *project,
            }));
        }
    }
    all
}

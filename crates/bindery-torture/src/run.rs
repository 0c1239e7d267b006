//! One run: starts everything, causes faults, stops in the middle to check everything, and checks it again at
//! the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use bindery_core::change::Entry;
use bindery_core::id::AccountId;
use bindery_core::state::State;
use bindery_core::text::Email;
use bindery_store::Store as _;
use bindery_store::postgres::PostgresStore;

use crate::check::{Evidence, Kind, Standstill, Verdict, check};
use crate::clients::{Arena, CLIENTS, Client, everything};
use crate::database::Cluster;
use crate::faults::{Fault, Stage};
use crate::nodes::{NODES, Node};
use crate::rehearsal::the_standby_is_waited_for;
use crate::report::{ACKNOWLEDGED_MIN, Report, acknowledged};
use crate::say;
use crate::scene::Scene;

/// How often everything is stopped and checked.
const ROUND: Duration = Duration::from_mins(2);
/// How many times as long as requested a run may last until it has seen enough changes.
const SLOWDOWN_MAX: u32 = 10;
/// How soon an ended process is noticed.
const TEND_PAUSE: Duration = Duration::from_millis(50);
/// How many entries of the log are read at once.
const LOG_PAGE: usize = 1000;
/// The account that the servers create on their first start.
const ACCOUNT: AccountId = AccountId(1);

/// What to do.
pub(crate) struct Settings {
    pub(crate) binary: PathBuf,
    pub(crate) packages: PathBuf,
    pub(crate) duration: Duration,
    pub(crate) seed: u64,
    pub(crate) is_short: bool,
}

pub(crate) fn run(settings: &Settings, home: &Path) -> Result<Report> {
    let cluster = Cluster::start(&settings.packages, home)?;
    let nodes = (0..NODES)
        .map(|number| Node::new(number, &settings.binary, &cluster, home))
        .collect::<Result<Vec<_>>>()?;
    nodes.iter().try_for_each(|node| node.service.want())?;
    nodes.iter().try_for_each(Node::wait_until_ready)?;
    let store = PostgresStore::open(&cluster.url())?;
    let founded = store.load(ACCOUNT)?;
    let email = Email::parse("admin@bindery.localhost").map_err(|error| anyhow!("{error}"))?;
    let admin = founded.user_by_email(&email).context("no admin")?.id;
    let scene = Scene::make(&nodes[0], *founded.ids(), admin, CLIENTS + 1)?;
    cluster.build_standby()?;
    let is_waited_for = the_standby_is_waited_for(&cluster, &nodes[0])?;
    let start = PostgresStore::open(&cluster.url())?.load(ACCOUNT)?;
    say(&format!(
        "{NODES} servers on a primary with a synchronous standby; disks: {}",
        if cluster.primary().disk.is_mounted {
            "file systems of their own"
        } else {
            "no file system can be mounted here, so a full disk is a limit on the size of files"
        }
    ));
    let is_over = AtomicBool::new(false);
    let run = Run {
        settings,
        cluster: &cluster,
        nodes: &nodes,
        start,
        log: Mutex::default(),
        arena: Arena::new(&scene, &nodes, &is_over),
        stage: Stage {
            cluster: &cluster,
            nodes: &nodes,
            is_ending: AtomicBool::new(false),
            is_over: &is_over,
            gate: RwLock::default(),
            counts: Mutex::default(),
            failovers: Mutex::default(),
            standstills: Mutex::default(),
            is_short: settings.is_short,
        },
    };
    let is_done = AtomicBool::new(false);
    let done = thread::scope(|scope| {
        // Until the end, even if something fails.
        scope.spawn(|| run.tend(&is_done));
        let done = run.in_rounds();
        is_over.store(true, Ordering::Release);
        let done = done.and_then(|verdict| run.after_a_restart(&verdict));
        is_done.store(true, Ordering::Release);
        done
    });
    let mut verdict = done?;
    if !is_waited_for {
        verdict.add(Kind::Early, "the change of the rehearsal");
    }
    Ok(run.report(verdict))
}

struct Run<'a> {
    settings: &'a Settings,
    cluster: &'a Cluster,
    nodes: &'a [Node],
    start: State,
    /// As last read: it only grows.
    log: Mutex<Vec<Entry>>,
    arena: Arena<'a>,
    stage: Stage<'a>,
}

impl Run<'_> {
    /// Restarts ended processes, as a service manager does.
    fn tend(&self, is_done: &AtomicBool) {
        while !is_done.load(Ordering::Acquire) {
            let tended = self.nodes.iter().try_for_each(|node| node.service.tend());
            if let Err(error) = tended.and_then(|()| self.cluster.tend()) {
                say(&format!("{error:#}"));
            }
            thread::sleep(TEND_PAUSE);
        }
    }

    /// Runs clients and faults, with a check of everything now and then and at the end.
    fn in_rounds(&self) -> Result<Verdict> {
        thread::scope(|scope| {
            let worked = self.work(scope);
            self.stage.is_ending.store(true, Ordering::Release);
            self.arena.is_over.store(true, Ordering::Release);
            worked
        })?;
        self.look()
    }

    fn work<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) -> Result<()> {
        let seed = self.settings.seed;
        for number in 0..CLIENTS {
            let client = Client::new(&self.arena, number, seed);
            scope.spawn(move || client.run());
        }
        let lanes = (0..Stage::LANES.len()).map(|lane| {
            scope.spawn(move || {
                self.stage
                    .run(lane, seed)
                    .inspect_err(|_| self.arena.is_over.store(true, Ordering::Release))
            })
        });
        let lanes: Vec<_> = lanes.collect();
        let begun = Instant::now();
        let mut looked = Instant::now();
        // A slow machine takes longer until there is enough to judge.
        let is_enough = || {
            let passed = begun.elapsed();
            let longest = self.settings.duration * SLOWDOWN_MAX;
            passed >= longest
                || passed >= self.settings.duration
                    && acknowledged(&self.arena.history()) >= ACKNOWLEDGED_MIN
        };
        while !is_enough() && !self.arena.is_over.load(Ordering::Acquire) {
            thread::sleep(TEND_PAUSE);
            if looked.elapsed() >= ROUND {
                let verdict = self.look()?;
                ensure_right(&verdict)?;
                looked = Instant::now();
            }
        }
        self.stage.is_ending.store(true, Ordering::Release);
        for lane in lanes {
            lane.join().map_err(|_| anyhow!("a lane has panicked"))??;
        }
        Ok(())
    }

    /// Ends all faults, pauses all clients, and checks everything.
    fn look(&self) -> Result<Verdict> {
        let _in_order = self
            .stage
            .gate
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        self.nodes.iter().for_each(Node::mend_wires);
        let _alone = self
            .arena
            .gate
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        self.cluster.wait_until_ready()?;
        self.nodes.iter().try_for_each(Node::wait_until_ready)?;
        self.examine()
    }

    /// Reads everything from every server at the newest revision, and compares all responses with the log.
    fn examine(&self) -> Result<Verdict> {
        let store = PostgresStore::open(&self.cluster.url())?;
        let log = read_log(&store, &self.start)?;
        let head = log
            .last()
            .map_or(self.start.revision(), |last| last.revision);
        let mut referee = Client::new(&self.arena, CLIENTS, self.settings.seed);
        for node in 0..NODES {
            for intent in everything(self.arena.scene) {
                let is_answered = referee.ask_at(node, intent.clone(), head.0);
                ensure!(is_answered, "server {node} doesn't answer {intent:?}");
            }
        }
        let standstills = self.stage.standstills.lock();
        let standstills = standstills.unwrap_or_else(PoisonError::into_inner);
        let standstills = standstills.iter().map(|(head, resumed)| Standstill {
            head: *head,
            resumed_ns: self.arena.ns_at(*resumed),
        });
        let operations = self.arena.history();
        let keys = self.arena.scene.keys.iter().map(|(key, _)| *key);
        let (mut verdict, replayed) = check(&Evidence {
            start: self.start.clone(),
            log: &log,
            operations: &operations,
            user: self.arena.scene.admin,
            keys: &keys.collect::<Vec<_>>(),
            standstills: &standstills.collect::<Vec<_>>(),
        });
        if replayed != store.load(ACCOUNT)? {
            verdict.add(Kind::Divergent, "the records differ from the replayed log");
        }
        let mut before = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if !log.starts_with(&before) {
            verdict.add(Kind::Divergent, "the log has changed");
        }
        *before = log;
        let asked = operations
            .iter()
            .rev()
            .take(NODES * everything(self.arena.scene).len());
        let revisions: Vec<u64> = asked.map(|one| one.revision).collect();
        if revisions.iter().any(|revision| *revision != head.0) {
            let what = format!("responses at {revisions:?}, but the log ends at {head}");
            verdict.add(Kind::Divergent, what);
        }
        say(&format!(
            "{:>4} s: revision {head}, {} requests, {} violations",
            self.arena.begun.elapsed().as_secs(),
            operations.len(),
            verdict.counts.values().sum::<usize>()
        ));
        Ok(verdict)
    }

    /// After everything was killed and restarted, the data is what was there before.
    fn after_a_restart(&self, verdict: &Verdict) -> Result<Verdict> {
        ensure_right(verdict)?;
        self.nodes.iter().for_each(|node| node.service.kill());
        let primary = &self.cluster.primary().service;
        primary.kill();
        primary.want()?;
        self.cluster.wait_until_ready()?;
        self.nodes.iter().try_for_each(|node| node.service.want())?;
        self.nodes.iter().try_for_each(Node::wait_until_ready)?;
        self.examine()
    }

    fn report(&self, verdict: Verdict) -> Report {
        let counts = self
            .stage
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let failovers = self.stage.failovers.lock();
        let failovers = failovers.unwrap_or_else(PoisonError::into_inner);
        let said = |text: &str| self.nodes.iter().map(|node| node.said(text)).sum();
        Report {
            seconds: self.arena.begun.elapsed().as_secs(),
            seed: self.settings.seed,
            faults: Fault::all()
                .map(|fault| (fault, counts.get(&fault).copied().unwrap_or(0)))
                .collect::<BTreeMap<_, _>>(),
            starts: self.nodes.iter().map(|node| node.service.starts()).sum(),
            failovers_ns: failovers
                .iter()
                .map(|killed| {
                    killed
                        .saturating_duration_since(self.arena.begun)
                        .as_nanos()
                })
                .map(|since| u64::try_from(since).unwrap_or(u64::MAX))
                .collect(),
            lost_answers: said("the response to a commit was lost"),
            cut_offs: said("the store can't be reached"),
            head: self
                .log
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .last()
                .map_or(0, |last| last.revision.0),
            operations: self.arena.history().clone(),
            verdict,
        }
    }
}

/// Once something is wrong, a longer history tells no more.
fn ensure_right(verdict: &Verdict) -> Result<()> {
    let told = verdict
        .told
        .iter()
        .map(|one| format!("{:?}: {}", one.kind, one.what));
    let told: Vec<String> = told.collect();
    ensure!(told.is_empty(), "violations:\n{}", told.join("\n"));
    Ok(())
}

fn read_log(store: &PostgresStore, start: &State) -> Result<Vec<Entry>> {
    let (mut log, mut last) = (Vec::new(), start.position());
    loop {
        let page = store.changes_since(ACCOUNT, last, LOG_PAGE)?;
        let Some(entry) = page.last() else {
            return Ok(log);
        };
        last = entry.position();
        log.extend(page);
    }
}

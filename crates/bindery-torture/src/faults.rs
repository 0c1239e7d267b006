//! Faults by seed: three lanes of faults, each with one after another, so that those of different lanes
//! overlap.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::database::{Cluster, Server};
use crate::nodes::{NODES, Node};
use crate::process::{is_stopped, signal, until};
use crate::proxy::{Proxy, Trap};
use crate::random::Random;
use crate::say;

/// How many bytes pass at most before a wire breaks.
const TRAP_BYTES_MAX: usize = 3_000;
/// How often a trap is set in its turn.
const TRAPS: usize = 4;
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time from the standby's confirmation of a commit until everyone sees it.
const CONFIRMED_PAUSE: Duration = Duration::from_millis(300);
const TRAP_PAUSE: Duration = Duration::from_millis(20);
/// How long a trap waits for its commit.
const TRAP_TIMEOUT: Duration = Duration::from_secs(4);
/// How often a disk is slow in one fault.
const PULSES: usize = 25;
/// Process titles of PostgreSQL: those that serve a connection,
const BACKENDS: &[&str] = &["postgres: postgres postgres"];
/// and those that write to the disk.
const WRITING: &[&str] = &[
    "postgres: postgres postgres",
    "walwriter",
    "checkpointer",
    "background writer",
    "io worker",
];

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    KillNode,
    KillTwoNodes,
    StopNode,
    PauseNode,
    PauseTwoNodes,

    KillDatabase,
    KillBackend,
    PauseBackends,
    PauseDatabase,
    SlowDisk,
    SlowFlush,
    FullDisk,
    FullStandbyDisk,
    KillStandby,
    PauseStandby,
    CrashWithoutStandby,
    Failover,

    CutWire,
    CutAllWires,
    DelayWires,
    HoldWire,
    CommitCutOff,
    CommitUnanswered,
    CommitSilent,
    CutAfterBytesUp,
    CutAfterBytesDown,
}

impl Fault {
    const OF_NODES: &[Self] = &[
        Self::KillNode,
        Self::KillTwoNodes,
        Self::StopNode,
        Self::PauseNode,
        Self::PauseTwoNodes,
    ];
    const OF_DATABASE: &[Self] = &[
        Self::KillDatabase,
        Self::KillBackend,
        Self::PauseBackends,
        Self::PauseDatabase,
        Self::SlowDisk,
        Self::SlowFlush,
        Self::FullDisk,
        Self::FullStandbyDisk,
        Self::KillStandby,
        Self::PauseStandby,
        Self::CrashWithoutStandby,
        Self::Failover,
    ];
    const OF_WIRES: &[Self] = &[
        Self::CutWire,
        Self::CutAllWires,
        Self::DelayWires,
        Self::HoldWire,
        Self::CommitCutOff,
        Self::CommitUnanswered,
        Self::CommitSilent,
        Self::CutAfterBytesUp,
        Self::CutAfterBytesDown,
    ];

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let lanes = [Self::OF_NODES, Self::OF_DATABASE, Self::OF_WIRES];
        lanes.into_iter().flatten().copied()
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::KillNode => "kill -9 of a server",
            Self::KillTwoNodes => "kill -9 of two servers",
            Self::StopNode => "SIGTERM of a server",
            Self::PauseNode => "SIGSTOP of a server for a while",
            Self::PauseTwoNodes => "SIGSTOP of two servers for a while",
            Self::KillDatabase => "kill -9 of PostgreSQL, all of it",
            Self::KillBackend => "kill -9 of one backend, which has PostgreSQL recover",
            Self::PauseBackends => "SIGSTOP of half of the backends",
            Self::PauseDatabase => "SIGSTOP of all of PostgreSQL",
            Self::SlowDisk => "whoever writes to the disk stopped in pulses",
            Self::SlowFlush => "each flush 100 ms late (commit_delay)",
            Self::FullDisk => "a full disk",
            Self::FullStandbyDisk => "a full disk of the standby",
            Self::KillStandby => "kill -9 of the synchronous standby",
            Self::PauseStandby => "SIGSTOP of the synchronous standby",
            Self::CrashWithoutStandby => "kill -9 of the primary, restarted without its standby",
            Self::Failover => "primary killed permanently, standby promoted",
            Self::CutWire => "a server partitioned from the database",
            Self::CutAllWires => "all servers partitioned",
            Self::DelayWires => "late wires",
            Self::HoldWire => "a wire that delays everything for a while",
            Self::CommitCutOff => "connections cut in the middle of a commit",
            Self::CommitUnanswered => "connections cut between a commit and its response",
            Self::CommitSilent => "responses to commits dropped on an open connection",
            Self::CutAfterBytesUp => "connections cut after so many bytes to the database",
            Self::CutAfterBytesDown => "connections cut after so many bytes of its responses",
        }
    }
}

/// Everything that the faults affect.
pub(crate) struct Stage<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) nodes: &'a [Node],
    /// Time is up: it is enough that every lane did each fault once.
    pub(crate) is_ending: AtomicBool,
    /// Something else has failed.
    pub(crate) is_over: &'a AtomicBool,
    /// Held during a fault; an exclusive holder has no fault.
    pub(crate) gate: RwLock<()>,
    pub(crate) counts: Mutex<BTreeMap<Fault, usize>>,
    /// When a primary was killed permanently, on the clock of the history.
    pub(crate) failovers: Mutex<Vec<Instant>>,
    /// What the standby had when it was stopped, and when it continued.
    pub(crate) standstills: Mutex<Vec<(u64, Instant)>>,
    /// Whether faults are as short as possible.
    pub(crate) is_short: bool,
}

impl Stage<'_> {
    /// The lanes.
    pub(crate) const LANES: [&'static [Fault]; 3] =
        [Fault::OF_NODES, Fault::OF_DATABASE, Fault::OF_WIRES];

    /// Runs the faults of a lane in a random order, again and again.
    pub(crate) fn run(&self, lane: usize, seed: u64) -> Result<()> {
        let mut hand = Hand {
            stage: self,
            random: Random::new(seed, 1_000 + u64::try_from(lane)?),
        };
        let mut faults = Self::LANES[lane].to_vec();
        loop {
            hand.random.shuffle(&mut faults);
            for fault in &faults {
                hand.pause(500, 4_000);
                if self.is_over.load(Ordering::Acquire) {
                    return Ok(());
                }
                let _amiss = self.gate.read().unwrap_or_else(PoisonError::into_inner);
                let count = hand.bring(*fault)?;
                let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
                *counts.entry(*fault).or_default() += count;
                if self.is_ending.load(Ordering::Acquire) && Self::is_complete(lane, &counts) {
                    return Ok(());
                }
            }
        }
    }

    fn is_complete(lane: usize, counts: &BTreeMap<Fault, usize>) -> bool {
        Self::LANES[lane]
            .iter()
            .all(|fault| counts.get(fault).is_some_and(|count| *count > 0))
    }
}

/// Runs the faults of one lane.
struct Hand<'a> {
    stage: &'a Stage<'a>,
    random: Random,
}

impl<'a> Hand<'a> {
    /// Waits between `least` and `most` milliseconds.
    fn pause(&mut self, least: u64, most: u64) {
        let most = if self.stage.is_short {
            least + (most - least) / 8
        } else {
            most
        };
        let pause = self.random.between(least, most);
        std::thread::sleep(Duration::from_millis(pause));
    }

    /// Causes a fault, and ends it. Returns how often.
    fn bring(&mut self, fault: Fault) -> Result<usize> {
        match fault {
            Fault::KillNode => self.kill_nodes(1)?,
            Fault::KillTwoNodes => self.kill_nodes(2)?,
            Fault::StopNode => {
                let nodes = self.some_nodes(1);
                let ids = nodes.iter().filter_map(|node| node.service.id());
                signal("TERM", &ids.collect::<Vec<_>>());
            }
            Fault::PauseNode => self.pause_nodes(1),
            Fault::PauseTwoNodes => self.pause_nodes(2),
            Fault::CutWire => self.cut(1),
            Fault::CutAllWires => self.cut(NODES),
            Fault::DelayWires => self.delay(),
            Fault::HoldWire => {
                let nodes = self.some_nodes(1);
                for node in &nodes {
                    node.wires.iter().for_each(Proxy::hold);
                }
                self.pause(1_000, 17_000);
                mend(&nodes);
            }
            Fault::CommitCutOff
            | Fault::CommitUnanswered
            | Fault::CommitSilent
            | Fault::CutAfterBytesUp
            | Fault::CutAfterBytesDown => return Ok(self.trap(fault)),
            of_database => {
                self.harm_database(of_database)?;
                self.stage.cluster.wait_until_ready()?;
                self.see_to_the_standby()?;
            }
        }
        Ok(1)
    }

    /// Some random servers.
    fn some_nodes(&mut self, count: usize) -> Vec<&'a Node> {
        let mut nodes: Vec<&Node> = self.stage.nodes.iter().collect();
        self.random.shuffle(&mut nodes);
        nodes.truncate(count);
        nodes
    }

    fn kill_nodes(&mut self, count: usize) -> Result<()> {
        let nodes = self.some_nodes(count);
        for node in &nodes {
            node.service.kill();
        }
        self.pause(0, 2_500);
        nodes.iter().try_for_each(|node| node.service.want())
    }

    fn pause_nodes(&mut self, count: usize) {
        let nodes = self.some_nodes(count);
        let ids: Vec<u32> = nodes.iter().filter_map(|node| node.service.id()).collect();
        self.stopped(&ids, 500, 13_000);
    }

    /// Stops processes for a while.
    fn stopped(&mut self, ids: &[u32], least: u64, most: u64) {
        signal("STOP", ids);
        self.pause(least, most);
        signal("CONT", ids);
    }

    fn cut(&mut self, count: usize) {
        let nodes = self.some_nodes(count);
        for node in &nodes {
            node.wires.iter().for_each(Proxy::cut);
        }
        self.pause(500, 8_000);
        mend(&nodes);
    }

    fn delay(&mut self) {
        let count = 1 + self.random.below(NODES);
        let nodes = self.some_nodes(count);
        for node in &nodes {
            let delay = Duration::from_millis(self.random.between(10, 150));
            node.wires.iter().for_each(|wire| wire.delay(delay));
        }
        self.pause(1_500, 8_000);
        mend(&nodes);
    }

    /// Sets traps until some have sprung, or for a while.
    fn trap(&mut self, fault: Fault) -> usize {
        let mut sprung = 0;
        for _ in 0..TRAPS {
            let nodes = self.some_nodes(1);
            let wires = || nodes.iter().flat_map(|node| &node.wires);
            let trap = match fault {
                Fault::CommitCutOff => Trap::BeforeCommit {
                    bytes: self.random.below(12),
                },
                Fault::CommitUnanswered => Trap::AfterCommit,
                Fault::CommitSilent => Trap::SilentCommit,
                _ => Trap::AfterBytes {
                    is_upward: fault == Fault::CutAfterBytesUp,
                    bytes: self.random.below(TRAP_BYTES_MAX),
                },
            };
            let count = || wires().map(Proxy::sprung).sum::<usize>();
            let before = count();
            wires().for_each(|wire| wire.set(trap));
            let begun = Instant::now();
            while count() == before && begun.elapsed() < TRAP_TIMEOUT {
                std::thread::sleep(TRAP_PAUSE);
            }
            mend(&nodes);
            sprung += count() - before;
            self.pause(100, 1_000);
        }
        sprung
    }

    fn harm_database(&mut self, fault: Fault) -> Result<()> {
        let cluster = self.stage.cluster;
        let (primary, standby) = (cluster.primary(), cluster.standby());
        match fault {
            Fault::KillDatabase => self.kill(primary)?,
            Fault::KillStandby => self.kill(standby)?,
            Fault::KillBackend => {
                let backends = primary.processes(BACKENDS)?;
                let one = self.random.pick(&backends);
                signal("KILL", &one.into_iter().collect::<Vec<_>>());
            }
            Fault::PauseBackends => {
                let mut backends = primary.processes(BACKENDS)?;
                self.random.shuffle(&mut backends);
                backends.truncate(backends.len().div_ceil(2));
                self.stopped(&backends, 500, 12_000);
            }
            Fault::PauseDatabase => {
                let all = primary.everything();
                self.stopped(&all, 1_000, 18_000);
            }
            Fault::PauseStandby => self.without_standby(|hand| {
                hand.pause(1_000, 18_000);
                Ok(())
            })?,
            // The primary comes back with changes that were on their way to the standby, and shows them. A
            // client that asks for the outcome of a commit must not get it before the standby has it.
            Fault::CrashWithoutStandby => self.without_standby(|hand| {
                hand.pause(300, 2_000);
                primary.service.kill();
                primary.service.want()?;
                cluster.wait_until_ready()?;
                // Longer than a server tries a host that does not respond.
                hand.pause(6_000, 9_000);
                Ok(())
            })?,
            Fault::SlowDisk => {
                for _ in 0..PULSES {
                    let writers = primary.processes(WRITING)?;
                    self.stopped(&writers, 60, 200);
                    self.pause(20, 100);
                }
            }
            Fault::SlowFlush => {
                for setting in ["commit_delay = 100000", "commit_siblings = 0"] {
                    primary.do_now(&[&format!("ALTER SYSTEM SET {setting}")])?;
                }
                primary.do_now(&["SELECT pg_reload_conf()"])?;
                self.pause(2_000, 9_000);
                for setting in ["commit_delay", "commit_siblings"] {
                    primary.do_now(&[&format!("ALTER SYSTEM RESET {setting}")])?;
                }
                primary.do_now(&["SELECT pg_reload_conf()"])?;
            }
            Fault::FullDisk => self.fill_disk(primary)?,
            Fault::FullStandbyDisk => self.fill_disk(standby)?,
            _ => self.fail_over()?,
        }
        Ok(())
    }

    fn kill(&mut self, server: &Server) -> Result<()> {
        server.service.kill();
        self.pause(0, 3_000);
        server.service.want()
    }

    /// Runs something while the standby is stopped.
    fn without_standby(&mut self, does: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let all = self.stage.cluster.standby().everything();
        signal("STOP", &all);
        // A signal arrives a little later than it is sent.
        until("the standby stands still", STOP_TIMEOUT, || {
            Ok(all.iter().all(|id| is_stopped(*id)))
        })?;
        // What the standby had confirmed by then is visible soon, and nothing after it.
        std::thread::sleep(CONFIRMED_PAUSE);
        let head = self.stage.cluster.primary().head();
        let done = does(self);
        let resumed = Instant::now();
        signal("CONT", &all);
        let standstills = self.stage.standstills.lock();
        let mut standstills = standstills.unwrap_or_else(PoisonError::into_inner);
        standstills.push((head?, resumed));
        done
    }

    fn fill_disk(&mut self, server: &Server) -> Result<()> {
        server.disk.fill(server.service.id())?;
        self.pause(1_500, 6_000);
        server.disk.free(server.service.id());
        Ok(())
    }

    /// The primary is dead, and the standby replaces it.
    fn fail_over(&mut self) -> Result<()> {
        let cluster = self.stage.cluster;
        cluster.wait_for_standby()?;
        let killed = Instant::now();
        cluster.primary().service.kill();
        self.pause(0, 1_500);
        cluster.promote_standby()?;
        let failovers = self.stage.failovers.lock();
        let mut failovers = failovers.unwrap_or_else(PoisonError::into_inner);
        failovers.push(killed);
        drop(failovers);
        self.pause(1_000, 6_000);
        cluster.build_standby()
    }

    /// Waits until every commit waits for the standby again, which comes back by itself or is created again.
    fn see_to_the_standby(&self) -> Result<()> {
        let cluster = self.stage.cluster;
        cluster.wait_for_standby().or_else(|error| {
            say(&format!("the standby is created again: {error:#}"));
            cluster.build_standby()
        })
    }
}

fn mend(nodes: &[&Node]) {
    for node in nodes {
        node.mend_wires();
    }
}

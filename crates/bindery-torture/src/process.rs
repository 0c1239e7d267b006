//! Processes that are kept running, and the signals to them: only to process ids that we started.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// How soon an ended process is restarted.
const RESTART_PAUSE: Duration = Duration::from_millis(300);

/// A process that is restarted when it ends, as by a service manager.
pub(crate) struct Service {
    command: Box<dyn Fn() -> Result<Command> + Send + Sync>,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    child: Option<Child>,
    is_wanted: bool,
    started: Option<Instant>,
    starts: usize,
}

impl Service {
    pub(crate) fn new(command: impl Fn() -> Result<Command> + Send + Sync + 'static) -> Self {
        Self {
            command: Box::new(command),
            running: Mutex::default(),
        }
    }

    /// Starts it, and keeps it running from now on.
    pub(crate) fn want(&self) -> Result<()> {
        self.running().is_wanted = true;
        self.tend()
    }

    /// Starts it if it should run and doesn't.
    pub(crate) fn tend(&self) -> Result<()> {
        let mut running = self.running();
        if let Some(child) = &mut running.child
            && child.try_wait()?.is_some()
        {
            running.child = None;
        }
        let is_soon = running
            .started
            .is_some_and(|at| at.elapsed() < RESTART_PAUSE);
        if running.is_wanted && running.child.is_none() && !is_soon {
            running.started = Some(Instant::now());
            running.starts += 1;
            let spawned = (self.command)()?.stdin(Stdio::null()).spawn();
            running.child = Some(spawned.context("a process can't be started")?);
        }
        Ok(())
    }

    /// kill -9 of it and all its children; it stays down until it is wanted again.
    pub(crate) fn kill(&self) {
        let mut running = self.running();
        running.is_wanted = false;
        if let Some(mut child) = running.child.take() {
            let main = child.id();
            // Stop it first, so that it starts nothing while its children are listed.
            signal("STOP", &[main]);
            let mut all = children_of(main);
            all.push(main);
            signal("KILL", &all);
            let _ = child.wait();
            wait_for_the_end_of(&all);
        }
    }

    /// Its process id, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.running().child.as_ref().map(Child::id)
    }

    /// How often it was started.
    pub(crate) fn starts(&self) -> usize {
        self.running().starts
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal to processes; ignores those that are gone.
pub(crate) fn signal(name: &str, ids: &[u32]) {
    if ids.is_empty() {
        return;
    }
    let ids = ids.iter().map(ToString::to_string);
    let mut command = Command::new("kill");
    command.arg(format!("-{name}")).args(ids);
    let _ = command.stderr(Stdio::null()).status();
}

/// Processes with this parent.
pub(crate) fn children_of(parent: u32) -> Vec<u32> {
    let Ok(all) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let ids = all.flatten().filter_map(|entry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        (parent_of(id)? == parent).then_some(id)
    });
    ids.collect()
}

fn parent_of(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name before it, in parentheses, may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// The title of a process: PostgreSQL writes there what each of its processes does.
pub(crate) fn title_of(id: u32) -> String {
    let title = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&title).replace('\0', " ")
}

/// Whether it is stopped, or gone.
pub(crate) fn is_stopped(id: u32) -> bool {
    state_of(id).is_none_or(|state| matches!(state, 'T' | 'Z'))
}

/// As `ps` shows it; `None` if there is no such process.
fn state_of(id: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.trim_start().chars().next()
}

fn wait_for_the_end_of(ids: &[u32]) {
    let begun = Instant::now();
    let is_there = |id: &u32| state_of(*id).is_some_and(|state| state != 'Z');
    while ids.iter().any(is_there) && begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the condition holds.
pub(crate) fn until(
    what: &str,
    timeout: Duration,
    mut is_so: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let begun = Instant::now();
    loop {
        let answer = is_so();
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        let seconds = timeout.as_secs();
        ensure!(
            begun.elapsed() < timeout,
            "{what}: not within {seconds} s ({answer:?})"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs a program to its end; a failure is an error with its output.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{command:?} can't be started"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}

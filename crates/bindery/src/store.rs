//! Which store a command works on: a directory, or a database that any number of servers share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use bindery_core::id::AccountId;
use bindery_core::time::Timestamp;
use bindery_store::copy::{Import, Snapshot};
use bindery_store::postgres::PostgresStore;
use bindery_store::sqlite::SqliteStore;
use bindery_store::{RepairedTime, Store, TimeRepairOrder};

const HELP: &str = "The store: sqlite:DIR, or a database for any number of servers at once, \
    postgres://USER[:PASSWORD]@HOST[:PORT][,HOST…]/DATABASE. A host that isn't this machine is reached over TLS, with \
    ?sslrootcert=FILE for your own certificate authority and ?sslmode=disable for none. If neither this nor --data-dir is \
    given, the environment variable BINDERY_STORE names it";

/// The store, unless an option names it: the variable keeps a password out of the list of processes.
const STORE_VARIABLE: &str = "BINDERY_STORE";

/// A directory or a database.
#[derive(Debug, clap::Args)]
#[group(id = "place", multiple = false)]
pub(crate) struct Arguments {
    #[arg(long, value_name = "URL", help = HELP)]
    store: Option<String>,
    /// Short for --store sqlite:DIR: a directory, created if it does not exist, for one process at a time.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Arguments {
    /// Opens the store; creates it if necessary.
    pub(crate) fn open(&self) -> Result<Arc<dyn Store>> {
        self.place()?.open()
    }

    /// The place, not opened.
    pub(crate) fn place(&self) -> Result<Place> {
        Place::of(self.store.as_deref(), self.data_dir.as_deref())
    }
}

/// An existing store. If it is a directory, no server may be using it.
#[derive(Debug, clap::Args)]
#[group(id = "existing_place", multiple = false)]
pub(crate) struct Existing {
    #[arg(long, value_name = "URL", help = HELP)]
    store: Option<String>,
    /// Short for --store sqlite:DIR: the directory of a server. Stop the server first.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Existing {
    /// Opens the store for a command that manages existing data. It creates no store, and migrates none,
    /// since servers of the old version may be using it.
    pub(crate) fn open(&self) -> Result<Arc<dyn Store>> {
        let place = self.place()?;
        drop(place.snapshot()?);
        place.open()
    }

    /// The place, not opened.
    pub(crate) fn place(&self) -> Result<Place> {
        Place::of(self.store.as_deref(), self.data_dir.as_deref())
    }
}

/// An existing store; servers may be using it.
#[derive(Debug, clap::Args)]
#[group(id = "place_in_use", multiple = false)]
pub(crate) struct InUse {
    #[arg(long, value_name = "URL", help = HELP)]
    store: Option<String>,
    /// Short for --store sqlite:DIR: the directory of a server, which keeps running.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl InUse {
    /// The place, not opened.
    pub(crate) fn place(&self) -> Result<Place> {
        Place::of(self.store.as_deref(), self.data_dir.as_deref())
    }
}

/// A store, or a backup of one.
#[derive(Debug, clap::Args)]
#[group(id = "place_or_backup", multiple = false)]
pub(crate) struct OrBackup {
    #[arg(long, value_name = "URL", help = HELP)]
    store: Option<String>,
    /// Short for --store sqlite:DIR; a server may be using it.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A file that `bindery backup` wrote.
    #[arg(long, value_name = "FILE")]
    backup: Option<PathBuf>,
}

impl OrBackup {
    pub(crate) fn backup(&self) -> Option<&Path> {
        self.backup.as_deref()
    }

    pub(crate) fn place(&self) -> Result<Place> {
        Place::of(self.store.as_deref(), self.data_dir.as_deref())
    }
}

/// Where a store is.
pub(crate) enum Place {
    Directory(PathBuf),
    /// The URL may contain a password, so no message repeats it.
    Database(String),
}

impl Place {
    fn of(store: Option<&str>, data_dir: Option<&Path>) -> Result<Self> {
        match (store, data_dir) {
            (_, Some(path)) => Ok(Self::Directory(path.to_owned())),
            (Some(url), None) => Self::parse(url)
                .context("--store takes sqlite:DIR or postgres://…, and this is neither"),
            (None, None) => match std::env::var(STORE_VARIABLE) {
                Ok(url) if !url.is_empty() => Self::parse(&url).with_context(|| {
                    format!(
                        "{STORE_VARIABLE} takes sqlite:DIR or postgres://…, and this is neither"
                    )
                }),
                Err(std::env::VarError::NotUnicode(_)) => bail!("{STORE_VARIABLE}: not text"),
                Ok(_) | Err(std::env::VarError::NotPresent) => {
                    bail!("--data-dir, --store or {STORE_VARIABLE} says where everything is kept")
                }
            },
        }
    }

    /// Opens the store; creates it if necessary.
    fn open(&self) -> Result<Arc<dyn Store>> {
        match self {
            Self::Directory(path) => Ok(Arc::new(SqliteStore::open(path)?)),
            Self::Database(url) => {
                let store = PostgresStore::open(url).context("the database of the store")?;
                Ok(Arc::new(store))
            }
        }
    }

    pub(crate) fn parse(url: &str) -> Option<Self> {
        match url.split_once(':')? {
            ("sqlite", path) if !path.is_empty() => Some(Self::Directory(path.into())),
            ("postgres" | "postgresql", _) => Some(Self::Database(url.to_owned())),
            _ => None,
        }
    }

    /// Reads the current content, while servers may be using it.
    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        match self {
            Self::Directory(path) => {
                is_directory(path)?;
                Ok(SqliteStore::snapshot(path)?)
            }
            Self::Database(url) => Ok(PostgresStore::snapshot(url)?),
        }
    }

    /// The time of the database's own clock, if it has one.
    pub(crate) fn database_time(&self) -> Result<Option<Timestamp>> {
        match self {
            Self::Directory(_) => Ok(None),
            Self::Database(url) => Ok(Some(PostgresStore::clock(url)?)),
        }
    }

    /// Sets an account's time back. No server may be using a directory.
    pub(crate) fn repair_time(
        &self,
        account: AccountId,
        order: TimeRepairOrder<'_>,
    ) -> Result<RepairedTime> {
        match self {
            Self::Directory(path) => Ok(SqliteStore::open(path)?.repair_time(account, order)?),
            Self::Database(url) => Ok(PostgresStore::open(url)?.repair_time(account, order)?),
        }
    }

    /// Begins a store there, where none may be yet.
    pub(crate) fn import(&self) -> Result<Import> {
        match self {
            Self::Directory(path) => Ok(SqliteStore::import(path)?),
            Self::Database(url) => Ok(PostgresStore::import(url)?),
        }
    }
}

/// A directory that this user may not look into is left to the store, which says so.
fn is_directory(path: &Path) -> Result<()> {
    let is_other = match std::fs::metadata(path) {
        Ok(found) => !found.is_dir(),
        Err(error) => error.kind() != std::io::ErrorKind::PermissionDenied,
    };
    if is_other {
        let path = path.display();
        bail!("`{path}` is not a directory; name the one that the server uses");
    }
    Ok(())
}

//! Which store a command works on: a directory, or a database that any number of servers share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use bindery_store::Store;
use bindery_store::postgres::PostgresStore;
use bindery_store::sqlite::SqliteStore;

const HELP: &str = "Where everything is kept: sqlite:DIR, or a database for any number of servers at once, \
    postgres://USER[:PASSWORD]@HOST[:PORT][,HOST…]/DATABASE. A host that isn't this machine is reached over TLS, with \
    ?sslrootcert=FILE for a certificate authority of your own and ?sslmode=disable for none";

/// One of both.
#[derive(Debug, clap::Args)]
#[group(id = "place", required = true, multiple = false)]
pub(crate) struct Arguments {
    #[arg(
        long,
        value_name = "URL",
        env = "BINDERY_STORE",
        hide_env_values = true,
        help = HELP
    )]
    store: Option<String>,
    /// Short for --store sqlite:DIR: a directory, made if it isn't there, for one process at a time.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Arguments {
    /// Opens the store; makes it, if nothing is there.
    pub(crate) fn open(&self) -> Result<Arc<dyn Store>> {
        match self.place()? {
            Place::Directory(path) => Ok(Arc::new(SqliteStore::open(path)?)),
            Place::Database(url) => {
                let store = PostgresStore::open(url).context("--store")?;
                Ok(Arc::new(store))
            }
        }
    }

    /// Opens the store for a command that only looks: it makes no directory.
    pub(crate) fn open_existing(&self) -> Result<Arc<dyn Store>> {
        if let Place::Directory(path) = self.place()?
            && !path.is_dir()
        {
            let path = path.display();
            bail!("`{path}` is not a directory; name the one that the server uses");
        }
        self.open()
    }

    /// The URL may hold a password, so no message repeats it.
    fn place(&self) -> Result<Place<'_>> {
        match (&self.store, &self.data_dir) {
            (_, Some(path)) => Ok(Place::Directory(path)),
            (Some(url), None) => match url.split_once(':') {
                Some(("sqlite", path)) if !path.is_empty() => Ok(Place::Directory(Path::new(path))),
                Some(("postgres" | "postgresql", _)) => Ok(Place::Database(url)),
                _ => bail!("--store takes sqlite:DIR or postgres://…, and this is neither"),
            },
            (None, None) => bail!("--store or --data-dir says where everything is kept"),
        }
    }
}

enum Place<'a> {
    Directory(&'a Path),
    Database(&'a str),
}

//! Opens the data directory: locks, checks of the file before SQLite may open it, and creating a new one.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::SqliteStore;
use super::positions::{Notes, POSITIONS, Positions};
use super::schema::{APPLICATION_ID, format_of, migrate};
use crate::tables::Failure;
use crate::tables::schema::FORMAT;
use crate::{Store as _, StoreError};

const DATABASE: &str = "bindery.db";
/// SQLite's write-ahead log.
const WAL: &str = "bindery.db-wal";
/// SQLite's shared memory for the WAL.
const SHM: &str = "bindery.db-shm";
/// A new database until it is complete.
const DRAFT: &str = "bindery.db.new";
/// A new database that is filled from a backup, until it is complete. Unlike a draft, it is never discarded
/// silently.
const RESTORE: &str = "bindery.db.restore";
const LOCK: &str = "bindery.lock";

/// The lock keeps other servers out; this is for a person who reads the file with another tool.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

const HEADER_LENGTH: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";

pub(super) fn open(data_dir: &Path) -> Result<SqliteStore, StoreError> {
    create_directory(data_dir).map_err(|error| unavailable(data_dir, &error))?;
    let lock = take_lock(data_dir)?;
    refuse_unfinished(data_dir)?;
    open_locked(data_dir, lock)
}

/// After an interrupted restore, no one expects an empty store.
pub(super) fn refuse_unfinished(data_dir: &Path) -> Result<(), StoreError> {
    let restore = data_dir.join(RESTORE);
    if restore.exists() {
        return Err(StoreError::Unfinished(restore.display().to_string()));
    }
    Ok(())
}

fn open_locked(data_dir: &Path, lock: File) -> Result<SqliteStore, StoreError> {
    let path = data_dir.join(DATABASE);
    match fs::metadata(&path) {
        Ok(found) if found.is_file() => check_header(&path)?,
        Ok(_) => return Err(corrupt(&path, "it is not a file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(data_dir, &path)?,
        Err(error) => return Err(unavailable(&path, &error)),
    }
    // Opened before SQLite opens the file, and closed after SQLite has closed it: closing any descriptor of a
    // file drops all POSIX locks of the process on it, including SQLite's.
    let held = lock_database(&path, data_dir)?;
    let writer = open_writer(&path)?;
    let read =
        || open_reader(&path).map_err(|error| Failure::from(error).at(&path.display().to_string()));
    let (reader, loader, auditor) = (read()?, read()?, read()?);
    let positions = Positions::open(data_dir, &private())
        .map_err(|error| unavailable(&data_dir.join(POSITIONS), &error))?;
    let notes = positions
        .read()
        .map_err(|error| unavailable(&data_dir.join(POSITIONS), &error))?;
    notes.check(&mut &reader, &path.display().to_string())?;
    let place = OpenFiles::of(&path, &held)?;
    Ok(SqliteStore {
        files: place,
        place: path.display().to_string(),
        writer: Mutex::new(writer),
        reader: Mutex::new(reader),
        loader: Mutex::new(loader),
        auditor: Mutex::new(auditor),
        positions,
        is_unsettled: AtomicBool::new(false),
        _held: held,
        _lock: lock,
    })
}

/// A second lock, on the database itself: without it, a second server could start once the lock file is
/// deleted.
fn lock_database(path: &Path, data_dir: &Path) -> Result<File, StoreError> {
    // For writing as well, as SQLite opens it: on an overlay file system, a file opened for reading may be
    // another one.
    let file = private().open(path);
    let file = file.map_err(|error| unavailable(path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(data_dir.display().to_string())),
        Err(TryLockError::Error(error)) => Err(unavailable(path, &error)),
    }
}

/// The open files of a store: SQLite writes to them even if their names are gone or lead elsewhere.
#[derive(Debug)]
pub(super) struct OpenFiles {
    files: Vec<(PathBuf, Identity)>,
}

/// Device and inode: no other file has both while this one is open.
type Identity = (u64, u64);

impl OpenFiles {
    fn of(path: &Path, held: &File) -> Result<Self, StoreError> {
        let at = |error: io::Error| unavailable(path, &error);
        let held = held.metadata().map_err(at)?;
        let mut files = vec![(path.to_owned(), identity(&held))];
        // The first statements create them. Checked by name only: see `lock_database`.
        for name in [WAL, SHM] {
            let path = path.with_file_name(name);
            if let Ok(found) = fs::metadata(&path) {
                files.push((path, identity(&found)));
            }
        }
        let place = Self { files };
        place.check()?;
        Ok(place)
    }

    /// Whether each name still leads to the open file.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        for (path, opened) in &self.files {
            match fs::metadata(path) {
                Ok(found) if identity(&found) == *opened => {}
                Ok(_) => return Err(StoreError::Moved(path.display().to_string())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(StoreError::Moved(path.display().to_string()));
                }
                Err(error) => return Err(unavailable(path, &error)),
            }
        }
        Ok(())
    }
}

#[cfg(unix)]
fn identity(found: &fs::Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt as _;
    (found.dev(), found.ino())
}

#[cfg(not(unix))]
fn identity(_found: &fs::Metadata) -> Identity {
    (0, 0)
}

fn create_directory(data_dir: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(data_dir)
}

/// Options for a file that only the user of this process may read. SQLite gives its own files the mode of the
/// database.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// The system releases the lock when the process ends in any way; the file stays.
fn take_lock(data_dir: &Path) -> Result<File, StoreError> {
    let path = data_dir.join(LOCK);
    let file = private().create(true).truncate(false).open(&path);
    let file = file.map_err(|error| unavailable(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(data_dir.display().to_string())),
        Err(TryLockError::Error(error)) => Err(unavailable(&path, &error)),
    }
}

/// Checks from the first bytes whether the file is ours to open: SQLite writes beside, and sometimes into, what it opens.
///
/// Only under the lock and before SQLite has the file open: closing a file releases all POSIX locks of the
/// process on it, including SQLite's.
fn check_header(path: &Path) -> Result<(), StoreError> {
    let mut bytes = Vec::with_capacity(HEADER_LENGTH);
    File::open(path)
        .and_then(|file| file.take(100).read_to_end(&mut bytes))
        .map_err(|error| unavailable(path, &error))?;
    if bytes.is_empty() {
        return Err(corrupt(path, "it is empty"));
    }
    if !bytes.starts_with(MAGIC) {
        return Err(corrupt(path, "it is not a SQLite database"));
    }
    let Some(header) = bytes.first_chunk::<HEADER_LENGTH>() else {
        return Err(corrupt(path, "it is cut short"));
    };
    if number_at(header, 68) != APPLICATION_ID {
        return Err(corrupt(path, "it is the database of another application"));
    }
    check_format(path, number_at(header, 60))?;
    check_length(path, header)
}

/// SQLite itself notices missing pages only once it has the file open. While there is a WAL, the file may be
/// shorter than its header says.
fn check_length(path: &Path, header: &[u8; HEADER_LENGTH]) -> Result<(), StoreError> {
    // The page size has two bytes, in which 65,536 is written as 1.
    let page_size = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let pages = u64::from(number_at(header, 28).cast_unsigned());
    let found = fs::metadata(path)
        .map_err(|error| unavailable(path, &error))?
        .len();
    if found < pages * page_size && !path.with_file_name(WAL).exists() {
        return Err(corrupt(path, "it is cut short"));
    }
    Ok(())
}

/// A big-endian number of the header, as the SQLite file format defines it.
fn number_at(header: &[u8; HEADER_LENGTH], offset: usize) -> i32 {
    header[offset..]
        .first_chunk()
        .copied()
        .map_or(0, i32::from_be_bytes)
}

fn check_format(path: &Path, found: i32) -> Result<(), StoreError> {
    match found {
        1..=FORMAT => Ok(()),
        ..1 => Err(corrupt(path, "it names no format")),
        _ => Err(StoreError::Newer {
            path: path.display().to_string(),
            found: found.into(),
            known: FORMAT.into(),
        }),
    }
}

/// A new database that is filled before it gets its name.
pub(super) struct Draft {
    pub(super) connection: Connection,
    path: PathBuf,
    data_dir: PathBuf,
    _lock: File,
}

impl Draft {
    /// Creates one where there is no store, or one without an account.
    pub(super) fn begin(data_dir: &Path) -> Result<Self, StoreError> {
        create_directory(data_dir).map_err(|error| unavailable(data_dir, &error))?;
        let mut lock = take_lock(data_dir)?;
        let database = data_dir.join(DATABASE);
        if database.exists() {
            let store = open_locked(data_dir, lock)?;
            if !store.heads()?.is_empty() || !store.damaged_accounts()?.is_empty() {
                return Err(StoreError::NotEmpty(data_dir.display().to_string()));
            }
            let SqliteStore {
                writer,
                reader,
                loader,
                auditor,
                _held: held,
                _lock: kept,
                ..
            } = store;
            drop((writer, reader, loader, auditor));
            drop(held);
            lock = kept;
        }
        refuse_wal(data_dir)?;
        let path = data_dir.join(RESTORE);
        let explain = |error| Failure::from(error).at(&path.display().to_string());
        make_file(&path)?;
        let mut connection = connect(&path).map_err(explain)?;
        prepare(&mut connection).map_err(|failure| failure.at(&path.display().to_string()))?;
        Ok(Self {
            connection,
            path,
            data_dir: data_dir.to_owned(),
            _lock: lock,
        })
    }

    /// Syncs it and gives it its name.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let closed = self.connection.close();
        closed.map_err(|(_, error)| Failure::from(error))?;
        Positions::remove(&self.data_dir)
            .and_then(|()| keep(&self.path, &self.data_dir.join(DATABASE)))
            .map_err(|error| Failure::Database(error.into()))
    }
}

/// A read-only connection, also beside a server. A store that is behind its positions is refused, as by a
/// server.
pub(super) fn open_to_look(data_dir: &Path) -> Result<(String, Connection), StoreError> {
    refuse_unfinished(data_dir)?;
    let path = data_dir.join(DATABASE);
    let place = path.display().to_string();
    match fs::metadata(&path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(corrupt(&path, "it is not a file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(corrupt(&path, "it is missing"));
        }
        Err(error) => return Err(unavailable(&path, &error)),
    }
    let notes =
        Notes::of(data_dir).map_err(|error| unavailable(&data_dir.join(POSITIONS), &error))?;
    // Not opened by our own checks: closing it would release the locks of a store in this process.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let look = || -> rusqlite::Result<_> {
        let connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.execute_batch("BEGIN")?;
        let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let format = format_of(&connection)?;
        Ok((connection, id, format))
    };
    let (connection, id, format) = look().map_err(|error| Failure::from(error).at(&place))?;
    if id != APPLICATION_ID {
        return Err(corrupt(&path, "it is the database of another application"));
    }
    check_format(&path, format)?;
    if format < FORMAT {
        return Err(StoreError::Older {
            path: place,
            found: format.into(),
            known: FORMAT.into(),
        });
    }
    notes.check(&mut &connection, &place)?;
    Ok((place, connection))
}

/// Creates the database under another name, and renames it when it is complete and synced. So a crash in
/// between leaves no partial one, and an empty or unfinished `bindery.db` is always damage.
fn create(data_dir: &Path, path: &Path) -> Result<(), StoreError> {
    refuse_wal(data_dir)?;
    let draft = data_dir.join(DRAFT);
    make_file(&draft)?;
    fill(&draft).map_err(|failure| failure.at(&draft.display().to_string()))?;
    keep(&draft, path).map_err(|error| unavailable(path, &error))
}

/// SQLite would apply the WAL of another database to a new one.
fn refuse_wal(data_dir: &Path) -> Result<(), StoreError> {
    if data_dir.join(WAL).exists() {
        return Err(corrupt(
            &data_dir.join(DATABASE),
            "it is missing, though there is a `bindery.db-wal`",
        ));
    }
    Ok(())
}

/// An empty file, replacing what a crash left.
fn make_file(draft: &Path) -> Result<(), StoreError> {
    let _ = fs::remove_file(draft);
    let made = private().create_new(true).open(draft);
    made.map(drop).map_err(|error| unavailable(draft, &error))
}

/// Renames a draft, once it is synced.
fn keep(draft: &Path, path: &Path) -> io::Result<()> {
    File::open(draft)?.sync_all()?;
    fs::rename(draft, path)?;
    sync_directory(path.parent().unwrap_or(path))
}

fn fill(draft: &Path) -> Result<(), Failure> {
    let mut connection = connect(draft)?;
    prepare(&mut connection)?;
    connection.close().map_err(|(_, error)| error.into())
}

fn prepare(connection: &mut Connection) -> Result<(), Failure> {
    // No journal on the disk: a draft is either finished or discarded.
    connection.pragma_update(None, "journal_mode", "MEMORY")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    migrate(connection)
}

/// Makes a rename durable, where a directory can be opened like a file.
fn sync_directory(data_dir: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(data_dir)?.sync_all()
    } else {
        Ok(())
    }
}

fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let at = |failure: Failure| failure.at(&path.display().to_string());
    let explain = |error: rusqlite::Error| at(error.into());
    let mut connection = connect(path).map_err(explain)?;
    // Again: the header in the file may be older than the one in the WAL.
    let found = format_of(&connection).map_err(explain)?;
    check_format(path, found)?;
    let mode = use_wal(&connection).map_err(explain)?;
    if mode != "wal" {
        let why = format!("`{}`: SQLite can't use a WAL here", path.display());
        return Err(StoreError::Unavailable(why.into()));
    }
    // Makes SQLite create the WAL, so that it can be identified from here on.
    format_of(&connection).map_err(explain)?;
    if found < FORMAT {
        migrate(&mut connection).map_err(at)?;
        // So that an older version finds the new format in the file's header, where it looks first.
        checkpoint(&connection).map_err(explain)?;
    }
    Ok(connection)
}

/// Uses a write-ahead log that is synced before a commit returns. Returns the resulting journal mode: without
/// shared memory SQLite keeps another one.
fn use_wal(connection: &Connection) -> rusqlite::Result<String> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
}

/// A commit without a change: writes the same format again.
pub(super) fn commit_something(connection: &Connection) -> Result<(), Failure> {
    Ok(connection.pragma_update(None, "user_version", FORMAT)?)
}

fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // Without OPEN_URI: a directory may be called `file:`. Without OPEN_CREATE: only `create` creates a file.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

fn corrupt(path: &Path, why: &str) -> StoreError {
    StoreError::Corrupt {
        path: path.display().to_string(),
        why: why.to_owned(),
    }
}

fn unavailable(path: &Path, error: &io::Error) -> StoreError {
    #[cfg(unix)]
    if error.kind() == io::ErrorKind::PermissionDenied {
        return denied(path);
    }
    let message = format!("`{}`: {error}", path.display());
    StoreError::Unavailable(io::Error::new(error.kind(), message).into())
}

/// The user who lacks permission, and the owner of the file or of the nearest directory that this user can
/// see.
#[cfg(unix)]
fn denied(path: &Path) -> StoreError {
    use std::os::unix::fs::MetadataExt as _;
    let seen = path
        .ancestors()
        .find_map(|above| Some((above, fs::metadata(above).ok()?)));
    let owner = seen.map(|(above, found)| {
        let (above, owner, mode) = (above.display(), found.uid(), found.mode() & 0o7777);
        format!(" (`{above}` belongs to user {owner} and has mode {mode:04o})")
    });
    StoreError::Denied {
        path: path.display().to_string(),
        user: rustix::process::geteuid().as_raw(),
        owner: owner.unwrap_or_default(),
    }
}

//! Parts in one file, with checks that notice every damage.
//!
//! The file is [`MAGIC`], the version as a number of 4 bytes, frames, and the SHA-256 of everything before. A
//! frame is a code (1 byte: a table, or [`END`]), a length (4 bytes), that many bytes of CBOR, and a check:
//! the first 8 bytes of the SHA-256 of the file up to there. So an altered byte, a missing, repeated or moved
//! part, and a missing end are found at the first frame that they affect. Numbers are big-endian.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bindery_core::id::AccountId;
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};
use sha2::{Digest as _, Sha256};

use super::{ACCOUNT, AUDIT, BASE, Cell, Column, Part, ROWS_MAX, Table, table_of};
use crate::StoreError;
use crate::tables::checksum::NO_REVISION;

const MAGIC: &[u8; 16] = b"bindery backup\r\n";
/// The version that this writes, and the newest that it reads. A backup of version 1 has tables of format 4.
const VERSION: u32 = 2;
/// The oldest that it reads.
const VERSION_MIN: u32 = 1;
/// The last frame; it has the number of frames.
const END: u8 = 0;
/// The largest frame: larger than any row of a database.
const FRAME_MAX: u32 = 1 << 30;
const CHECK: usize = 8;

/// Why a backup can't be written or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A system error.
    #[error("`{}`: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// The target exists.
    #[error("`{}` is there already; choose another name, or move it away", .0.display())]
    Exists(PathBuf),
    /// Another process writes the same backup.
    #[error("`{}` is being written by another process", .0.display())]
    InUse(PathBuf),
    /// Another kind of file.
    #[error("`{}` is not a backup that bindery made", .0.display())]
    NotABackup(PathBuf),
    /// A newer version of Bindery wrote it.
    #[error("`{}` is a backup of version {found}, and this bindery reads version {VERSION}; use a newer bindery", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// It isn't what was written.
    #[error("`{}` is damaged: {why} at byte {at}; use another backup", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
        /// Where it was noticed.
        at: u64,
    },
    /// The source or target store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A backup that is being written, under another name until it is complete. An unfinished one is removed, so
/// that a full disk has its room back; only a killed process leaves a file.
#[derive(Debug)]
pub struct BackupWriter {
    path: PathBuf,
    // Declared before the file, whose lock is held while the name is in use.
    draft: Draft,
    frames: FrameWriter<BufWriter<File>>,
    payload: Vec<u8>,
}

impl BackupWriter {
    /// Begins a backup at this path, which must not exist. It is written as `….unfinished` beside it, private
    /// to the user of this process.
    pub fn create(path: &Path) -> Result<Self, BackupError> {
        if path.exists() {
            return Err(BackupError::Exists(path.to_owned()));
        }
        let mut draft = path.as_os_str().to_owned();
        draft.push(".unfinished");
        let draft = PathBuf::from(draft);
        let mut options = OpenOptions::new();
        // Truncated only under the lock: the file may belong to another process.
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let io = |error| BackupError::Io {
            path: draft.clone(),
            error,
        };
        let file = options.open(&draft).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BackupError::InUse(draft)),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        if !is_file_at(&file, &draft).map_err(io)? {
            // Another process held the lock and has finished; the file is its backup now.
            return Err(BackupError::InUse(draft));
        }
        make_private(&file).map_err(io)?;
        file.set_len(0).map_err(io)?;
        let frames = FrameWriter::begin(BufWriter::new(file), VERSION).map_err(io)?;
        Ok(Self {
            path: path.to_owned(),
            draft: Draft {
                path: draft,
                is_kept: false,
            },
            frames,
            payload: Vec::new(),
        })
    }

    /// Writes one more part.
    pub fn take(&mut self, part: &Part) -> Result<(), BackupError> {
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        // Writing to a Vec can't fail.
        let _: Result<(), _> = encode(part, VERSION, &mut payload);
        let written = self.frames.put_part(part.table.code, &payload);
        written.map_err(|error| self.io(error))?;
        self.payload = payload;
        Ok(())
    }

    /// The current position, for [`BackupWriter::go_back`].
    pub fn mark(&mut self) -> Result<Mark, BackupError> {
        let mark = self.frames.mark();
        mark.map_err(|error| self.io(error))
    }

    /// Removes everything that was written after a mark: its source turned out to be damaged.
    pub fn go_back(&mut self, mark: Mark) -> Result<(), BackupError> {
        let gone = self.frames.go_back(mark);
        gone.map_err(|error| self.io(error))
    }

    /// Syncs the complete backup and gives it its name.
    pub fn finish(self) -> Result<(), BackupError> {
        let Self {
            path,
            mut draft,
            frames,
            ..
        } = self;
        let io = |error| BackupError::Io {
            path: path.clone(),
            error,
        };
        let file = frames.finish().map_err(io)?;
        let file = file.into_inner().map_err(|error| io(error.into_error()))?;
        file.sync_all().map_err(io)?;
        // It is complete from here on, even if the rename fails.
        draft.is_kept = true;
        if path.exists() {
            return Err(BackupError::Exists(path));
        }
        fs::rename(&draft.path, &path)
            .and_then(|()| sync_directory_of(&path))
            .map_err(io)
    }

    fn io(&self, error: io::Error) -> BackupError {
        BackupError::Io {
            path: self.draft.path.clone(),
            error,
        }
    }
}

/// Writes the frames of a backup, with their checks.
#[derive(Debug)]
pub(crate) struct FrameWriter<W> {
    to: W,
    hash: Sha256,
    parts: u64,
}

impl<W: Write> FrameWriter<W> {
    pub(crate) fn begin(to: W, version: u32) -> io::Result<Self> {
        let mut writer = Self {
            to,
            hash: Sha256::new(),
            parts: 0,
        };
        writer.put(MAGIC)?;
        writer.put(&version.to_be_bytes())?;
        Ok(writer)
    }

    pub(crate) fn put_part(&mut self, code: u8, payload: &[u8]) -> io::Result<()> {
        self.frame(code, payload)?;
        self.parts += 1;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        let parts = self.parts.to_be_bytes();
        self.frame(END, &parts)?;
        let digest = self.hash.clone().finalize();
        self.put(&digest)?;
        Ok(self.to)
    }

    fn frame(&mut self, code: u8, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        if length > FRAME_MAX {
            return Err(io::Error::other("a row is larger than a backup can hold"));
        }
        self.put(&[code])?;
        self.put(&length.to_be_bytes())?;
        self.put(payload)?;
        let check = self.hash.clone().finalize();
        self.put(&check[..CHECK])
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.to.write_all(bytes)
    }
}

impl FrameWriter<BufWriter<File>> {
    fn mark(&mut self) -> io::Result<Mark> {
        Ok(Mark {
            length: self.to.stream_position()?,
            hash: self.hash.clone(),
            parts: self.parts,
        })
    }

    fn go_back(&mut self, mark: Mark) -> io::Result<()> {
        self.to.seek(SeekFrom::Start(mark.length))?;
        self.to.get_ref().set_len(mark.length)?;
        self.hash = mark.hash;
        self.parts = mark.parts;
        Ok(())
    }
}

/// A position in a backup that is being written.
#[derive(Debug)]
pub struct Mark {
    length: u64,
    hash: Sha256,
    parts: u64,
}

/// The name of a backup before it is complete.
#[derive(Debug)]
struct Draft {
    path: PathBuf,
    is_kept: bool,
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether the name leads to this file.
#[cfg(unix)]
fn is_file_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let place = |found: &fs::Metadata| (found.dev(), found.ino());
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(found.is_file() && place(&found) == place(&file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn is_file_at(_file: &File, path: &Path) -> io::Result<bool> {
    Ok(fs::symlink_metadata(path)?.is_file())
}

/// Also for an existing file of any origin.
fn make_private(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    let _ = file;
    Ok(())
}

/// Makes a rename durable, where a directory can be opened like a file.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    if cfg!(unix) {
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    } else {
        Ok(())
    }
}

/// A backup that is being read, from its beginning.
#[derive(Debug)]
pub struct Backup<R = File> {
    path: PathBuf,
    file: BufReader<R>,
    hash: Sha256,
    /// How many bytes have been read.
    at: u64,
    version: u32,
}

impl Backup {
    /// Opens a file and checks whether it is a backup that this version can read. Its content is checked as
    /// it is read.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let file = File::open(path).map_err(|error| BackupError::Io {
            path: path.to_owned(),
            error,
        })?;
        Self::read(path, file)
    }

    /// The size in bytes.
    pub fn bytes(&self) -> Result<u64, BackupError> {
        let metadata = self.file.get_ref().metadata();
        Ok(metadata.map_err(|error| self.io(error))?.len())
    }
}

impl<R: Read> Backup<R> {
    /// Begins to read the file at this path.
    pub(crate) fn read(path: &Path, file: R) -> Result<Self, BackupError> {
        let mut backup = Self {
            path: path.to_owned(),
            file: BufReader::with_capacity(128 * 1024, file),
            hash: Sha256::new(),
            at: 0,
            version: VERSION,
        };
        let mut magic = Vec::new();
        let beginning = backup.file.by_ref().take(16).read_to_end(&mut magic);
        beginning.map_err(|error| backup.io(error))?;
        if magic != MAGIC {
            return Err(BackupError::NotABackup(backup.path));
        }
        backup.hash.update(&magic);
        backup.at = 16;
        match u32::from_be_bytes(backup.array()?) {
            version @ VERSION_MIN..=VERSION => {
                backup.version = version;
                Ok(backup)
            }
            0 => Err(BackupError::NotABackup(backup.path)),
            found => Err(BackupError::Newer {
                path: backup.path,
                found,
            }),
        }
    }

    /// Passes every part to `take`, with the number of bytes read so far. Each passed part is what was
    /// written. The backup is complete only if this returns without an error.
    pub fn each<E: From<BackupError>>(
        mut self,
        take: &mut dyn FnMut(&Part, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut frames = 0_u64;
        loop {
            let (code, payload) = self.frame()?;
            if code == END {
                return Ok(self.end(&payload, frames)?);
            }
            frames += 1;
            let part = decode(code, &payload, self.version)
                .ok_or_else(|| self.damaged("what no backup has"))?;
            take(&part, self.at)?;
        }
    }

    fn frame(&mut self) -> Result<(u8, Vec<u8>), BackupError> {
        let [code] = self.array()?;
        let length = u32::from_be_bytes(self.array()?);
        if length > FRAME_MAX {
            return Err(self.damaged("a length that can't be"));
        }
        let mut payload = Vec::new();
        // Not allocated before the bytes arrive: the length may be wrong.
        let read = self
            .file
            .by_ref()
            .take(length.into())
            .read_to_end(&mut payload);
        let read = read.map_err(|error| self.io(error))?;
        self.at += u64::try_from(read).unwrap_or(u64::MAX);
        if u32::try_from(read) != Ok(length) {
            return Err(self.damaged("its end is missing"));
        }
        self.hash.update(&payload);
        let check = self.hash.clone().finalize();
        if self.array::<CHECK>()? != check[..CHECK] {
            return Err(self.damaged("its check doesn't agree"));
        }
        Ok((code, payload))
    }

    fn end(mut self, payload: &[u8], frames: u64) -> Result<(), BackupError> {
        if payload != frames.to_be_bytes() {
            return Err(self.damaged("another number of parts"));
        }
        let digest = self.hash.clone().finalize();
        if self.array::<32>()? != digest[..] {
            return Err(self.damaged("its check doesn't agree"));
        }
        let mut more = [0];
        let read = self.file.read(&mut more).map_err(|error| self.io(error))?;
        if read > 0 {
            return Err(self.damaged("something after its end"));
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        match self.file.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.damaged("its end is missing"));
            }
            Err(error) => return Err(self.io(error)),
        }
        self.hash.update(bytes);
        self.at += u64::try_from(N).unwrap_or(u64::MAX);
        Ok(bytes)
    }

    fn damaged(&self, why: &'static str) -> BackupError {
        BackupError::Damaged {
            path: self.path.clone(),
            why,
            at: self.at,
        }
    }

    fn io(&self, error: io::Error) -> BackupError {
        BackupError::Io {
            path: self.path.clone(),
            error,
        }
    }
}

type EncodeError = minicbor::encode::Error<std::convert::Infallible>;

/// A sequence: the account, the number of rows, and all their cells, as in this version.
pub(crate) fn encode(part: &Part, version: u32, into: &mut Vec<u8>) -> Result<(), EncodeError> {
    let columns = columns(part.table, version);
    let mut encoder = Encoder::new(into);
    encoder.u32(part.account.0)?.u64(part.rows())?;
    for cell in part.rows.iter().flat_map(|row| row.iter().take(columns)) {
        match cell {
            Cell::Integer(number) => encoder.i64(*number)?,
            Cell::Text(Some(text)) => encoder.str(text)?,
            Cell::Text(None) => encoder.null()?,
            Cell::Bytes(bytes) => encoder.bytes(bytes)?,
        };
    }
    Ok(())
}

/// Decodes [`encode`]; `None` if it can't have written this.
fn decode(code: u8, payload: &[u8], version: u32) -> Option<Part> {
    let table = table_of(code)?;
    let added = added_after(code, version);
    let columns = columns(table, version);
    let mut decoder = Decoder::new(payload);
    let account = AccountId(decoder.u32().ok()?);
    let count = decoder.u64().ok()?;
    // A row takes some fifty times the room of its bytes.
    if count > u64::try_from(ROWS_MAX).ok()? {
        return None;
    }
    let mut rows = Vec::new();
    for _ in 0..count {
        let row: Option<Vec<Cell>> = table.columns[..columns]
            .iter()
            .map(|(_, column)| cell(*column, &mut decoder))
            .collect();
        let mut row = row?;
        row.extend_from_slice(added);
        rows.push(row);
    }
    let part = Part {
        account,
        table,
        rows,
        is_of_older_format: version < VERSION,
    };
    // CBOR has several encodings of one number.
    let mut written = Vec::with_capacity(payload.len());
    encode(&part, version, &mut written).ok()?;
    (written == payload).then_some(part)
}

/// How many of its columns this table had in this version, the first ones.
fn columns(table: &Table, version: u32) -> usize {
    table.columns.len() - added_after(table.code, version).len()
}

/// The cells of columns that a table got after this version.
fn added_after(code: u8, version: u32) -> &'static [Cell] {
    static ADDED_TO_AUDIT: [Cell; 4] = [
        Cell::Text(None),
        Cell::Integer(0),
        Cell::Text(None),
        Cell::Integer(NO_REVISION),
    ];
    static ADDED_TO_ACCOUNT: [Cell; 2] = [Cell::Integer(0), Cell::Integer(0)];
    static ADDED_TO_BASE: [Cell; 1] = [Cell::Integer(0)];
    if version >= 2 {
        return &[];
    }
    match code {
        AUDIT => &ADDED_TO_AUDIT,
        ACCOUNT => &ADDED_TO_ACCOUNT,
        BASE => &ADDED_TO_BASE,
        _ => &[],
    }
}

fn cell(column: Column, decoder: &mut Decoder<'_>) -> Option<Cell> {
    Some(match column {
        Column::Integer => Cell::Integer(decoder.i64().ok()?),
        Column::Bytes => Cell::Bytes(decoder.bytes().ok()?.to_vec()),
        Column::Text if decoder.datatype().ok()? == Type::Null => {
            decoder.null().ok()?;
            Cell::Text(None)
        }
        Column::Text => Cell::Text(Some(decoder.str().ok()?.to_owned())),
    })
}

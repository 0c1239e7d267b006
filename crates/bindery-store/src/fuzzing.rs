//! What the fuzz targets in `fuzz/` call: each takes any bytes, and panics if a promise is broken. The server
//! itself calls none of it.

use std::path::Path;

use crate::copy::{Backup, BackupError, FrameWriter, Part, Verifier, encode};

/// A backup. The first byte is the version. Frames follow: the code of a table, the length of the content in
/// two bytes, and the content; the checks are added here. The last two bytes say where the backup is cut, and
/// where a bit is flipped. With an `f` as the version, the rest is a file as it is.
///
/// # Panics
///
/// If a backup is accepted that no writer makes, or one that is cut or altered.
pub fn backups(bytes: &[u8]) {
    match bytes.split_first() {
        Some((b'f', file)) => {
            assert_writes_the_same(file);
        }
        Some((version, rest)) => {
            if let Some((frames, place)) = rest.split_last_chunk() {
                sealed(u32::from(version % 4), frames, u16::from_be_bytes(*place));
            }
        }
        None => {}
    }
}

fn sealed(version: u32, mut frames: &[u8], place: u16) {
    let mut writer = FrameWriter::begin(Vec::new(), version).expect("a Vec takes every write");
    while let Some(([code, high, low], rest)) = frames.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        frames = rest;
        let written = writer.put_part(*code, payload);
        written.expect("a Vec takes every write");
    }
    let file = writer.finish().expect("a Vec takes every write");
    let parts = assert_writes_the_same(&file);
    let place = usize::from(place) % file.len();
    let mut altered = file.clone();
    altered[place] ^= 1 << (place % 8);
    for (file, what) in [(&file[..place], "cut"), (&altered, "altered")] {
        let (found, ended) = read(file);
        assert!(ended.is_err(), "{what} at {place}, and accepted");
        // What was passed on before is what was written.
        assert!(parts.starts_with(&found), "{what} at {place}: {found:?}");
    }
}

/// The parts of the file up to its end, or to where it is refused. An accepted one has exactly the bytes that
/// its parts are written as.
fn assert_writes_the_same(file: &[u8]) -> Vec<Part> {
    let (parts, ended) = read(file);
    if ended.is_ok() {
        let version = u32::from(file[19]);
        let mut writer = FrameWriter::begin(Vec::new(), version).expect("a Vec takes every write");
        for part in &parts {
            let mut payload = Vec::new();
            encode(part, version, &mut payload).expect("a Vec takes every write");
            let written = writer.put_part(part.table.code, &payload);
            written.expect("a Vec takes every write");
        }
        let written = writer.finish().expect("a Vec takes every write");
        assert!(written == file, "accepted, and written as {written:02x?}");
    }
    parts
}

/// The parts up to the end, or to where the file is refused. They are checked as `bindery verify` does.
fn read(file: &[u8]) -> (Vec<Part>, Result<(), BackupError>) {
    let mut parts = Vec::new();
    let mut verifier = Some(Verifier::default());
    let read = Backup::read(Path::new("backup"), file).and_then(|backup| {
        backup.each(&mut |part, at| {
            assert!(at <= u64::try_from(file.len()).unwrap_or(u64::MAX));
            parts.push(part.clone());
            verifier = verifier
                .take()
                .and_then(|mut verifier| verifier.take(part).ok().map(|()| verifier));
            Ok::<_, BackupError>(())
        })
    });
    let agreeing = verifier.and_then(|verifier| verifier.finish().ok());
    let accounts = parts.iter().filter(|part| part.table.begins_account());
    let accounts: u64 = accounts.map(Part::rows).sum();
    if let Some(agreeing) = agreeing {
        let count = u64::try_from(agreeing.len()).unwrap_or(u64::MAX);
        assert!(count <= accounts, "more accounts than there are");
    }
    (parts, read)
}

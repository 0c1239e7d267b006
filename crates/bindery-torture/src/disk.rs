//! A small separate disk for a database, to be filled.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::process::{children_of, run};

/// Its size: enough for a run, and quickly full.
const SIZE: &str = "size=1g,mode=0755";
/// If no file system can be mounted, every file of the database gets this limit for a while: less than its
/// size.
const FILE_SIZE_MAX: usize = 64 * 1024;

/// A directory that can be full.
pub(crate) struct Disk {
    path: PathBuf,
    /// Whether it is a file system of its own; otherwise files are limited.
    pub(crate) is_mounted: bool,
}

impl Disk {
    pub(crate) fn new(path: PathBuf) -> Result<Self> {
        fs::create_dir(&path)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(&path);
        let is_mounted = run(&mut mount).is_ok();
        Ok(Self { path, is_mounted })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes all the remaining room, until [`Disk::free`]. `main` and its children write to it.
    pub(crate) fn fill(&self, main: Option<u32>) -> Result<()> {
        if !self.is_mounted {
            limit(main, &FILE_SIZE_MAX.to_string());
            return Ok(());
        }
        let mut filler = File::create(self.filler())?;
        let mut piece = vec![0; 1024 * 1024];
        while !piece.is_empty() {
            if filler.write_all(&piece).is_err() {
                piece.truncate(piece.len() / 4);
            }
        }
        Ok(())
    }

    pub(crate) fn free(&self, main: Option<u32>) {
        if self.is_mounted {
            let _ = fs::remove_file(self.filler());
        } else {
            limit(main, "unlimited");
        }
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = run(Command::new("umount").arg(&self.path));
        }
    }
}

/// Limits the size of files that these processes write.
fn limit(main: Option<u32>, size: &str) {
    let Some(main) = main else { return };
    let mut all = children_of(main);
    all.push(main);
    for id in all {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &id.to_string(), &format!("--fsize={size}:")]);
        let _ = run(&mut command);
    }
}

//! Backups, restores and migrations that end in the middle: by kill -9, by Ctrl-C, or on a full disk. What is
//! left is never taken for a backup or a store, and the same command completes it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use postgres::NoTls;

use crate::backup::{fails, old_account, succeeds};
use crate::postgres::new_database;
use crate::support::spawn;

/// More than a restore puts into one transaction.
const CHANGES: u32 = 40_000;

/// Where the commands are held: after their first commit, and before the last.
const HELD_AFTER_ROWS: u32 = 20_000;

/// With their numbers on every system.
pub(crate) const SIGNALS: [(&str, i32); 2] = [("-KILL", 9), ("-INT", 2)];

/// Runs a command until it stops in the middle by itself, and ends it there with this signal.
fn interrupt(arguments: &[&str], signal: (&str, i32)) {
    interrupt_after(HELD_AFTER_ROWS, arguments, signal);
}

/// The same after this many rows.
pub(crate) fn interrupt_after(rows: u32, arguments: &[&str], signal: (&str, i32)) {
    let mut running = spawn(
        Command::new(env!("CARGO_BIN_EXE_bindery"))
            .args(arguments)
            .env("BINDERY_TEST_HOLD_AFTER_ROWS", rows.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped()),
    );
    let mut line = String::new();
    let mut stdout = BufReader::new(running.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert!(line.starts_with("held after "), "{arguments:?}: {line}");
    let id = running.id().to_string();
    let mut kill = Command::new("kill");
    let mut signalled = spawn(kill.args([signal.0, &id]));
    assert!(signalled.wait().unwrap().success());
    // Held open until here: the command continues when its stdin ends.
    let stdin = running.stdin.take();
    let ended = running.wait().unwrap();
    drop(stdin);
    assert_eq!(ended.signal(), Some(signal.1), "{arguments:?}: {ended}");
}

/// The same command with a limit for files of this many blocks of 512 bytes.
fn with_little_room(arguments: &[&str], blocks: u32) -> String {
    let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let started = spawn(
        Command::new("sh")
            .args(["-c", &limited, env!("CARGO_BIN_EXE_bindery")])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    let Output { status, stderr, .. } = started.wait_with_output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{arguments:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

fn is_larger(file: &Path, bytes: u64) -> bool {
    std::fs::metadata(file).is_ok_and(|found| found.len() > bytes)
}

/// Whether rows of a restore are committed there.
fn has_rows(url: &str) -> bool {
    let mut client = postgres::Client::connect(url, NoTls).unwrap();
    let found = client.query("SELECT 1 FROM log LIMIT 1", &[]);
    // Without tables there are none.
    found.is_ok_and(|rows| !rows.is_empty())
}

/// The target of a restore, and how to tell that it has begun.
enum Target {
    Directory(PathBuf),
    Database(String),
}

impl Target {
    fn each(home: &Path) -> [Self; 2] {
        [
            Self::Directory(home.join("target")),
            Self::Database(new_database()),
        ]
    }

    fn url(&self) -> String {
        match self {
            Self::Directory(path) => format!("sqlite:{}", path.display()),
            Self::Database(url) => url.clone(),
        }
    }

    fn is_begun(&self) -> bool {
        match self {
            Self::Directory(path) => is_larger(&path.join("bindery.db.restore"), 512 * 1024),
            Self::Database(url) => has_rows(url),
        }
    }

    /// It is not taken for a store, and errors say what it is.
    fn assert_unfinished(&self, home: &Path) {
        let url = self.url();
        let file = home.join("of what is unfinished");
        let file = file.to_str().unwrap();
        let elsewhere = format!("sqlite:{}", home.join("elsewhere").display());
        for arguments in [
            &["serve", "--listen", "127.0.0.1:0", "--store", &url][..],
            &["account", "list", "--store", &url],
            &["account", "create", "--store", &url, "--name", "acme"],
            &["verify", "--store", &url],
            &["backup", "--store", &url, "--to", file],
            &["migrate", "--from", &url, "--to", &elsewhere],
        ] {
            let refused = fails(arguments);
            assert!(refused.contains("was not finished"), "{refused}");
        }
        assert!(!Path::new(file).exists());
    }
}

/// A large store, and the output of `verify` on it.
fn origin(home: &Path) -> (String, String) {
    let directory = home.join("origin");
    old_account(&directory, CHANGES);
    let url = format!("sqlite:{}", directory.display());
    let verified = succeeds(&["verify", "--store", &url]);
    (url, verified)
}

#[test]
fn a_backup_that_ends_in_the_middle_is_none_and_the_next_one_is_whole() {
    let home = tempfile::tempdir().unwrap();
    let (origin, verified) = origin(home.path());
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let target = path("target");
    for signal in SIGNALS {
        let file = path(signal.0.trim_start_matches('-'));
        let unfinished = format!("{file}.unfinished");
        let backup = ["backup", "--store", &origin, "--to", &file];
        interrupt(&backup, signal);
        assert!(is_larger(Path::new(&unfinished), 128 * 1024));
        assert!(!Path::new(&file).exists());
        for refused in [
            fails(&["verify", "--backup", &unfinished]),
            fails(&["restore", "--data-dir", &target, "--from", &unfinished]),
        ] {
            assert!(refused.contains("its end is missing"), "{refused}");
        }
        assert!(!Path::new(&target).exists());
        assert_eq!(succeeds(&["verify", "--store", &origin]), verified);
        succeeds(&backup);
        assert_eq!(succeeds(&["verify", "--backup", &file]), verified);
        assert!(!Path::new(&unfinished).exists());
    }
    let file = path("full");
    let backup = ["backup", "--store", &origin, "--to", &file];
    let refused = with_little_room(&backup, 1024);
    assert!(refused.contains("File too large"), "{refused}");
    // Its room is freed: it may be the store's.
    assert!(!Path::new(&file).exists() && !Path::new(&format!("{file}.unfinished")).exists());
    succeeds(&backup);
    assert_eq!(succeeds(&["verify", "--backup", &file]), verified);
}

#[test]
fn a_restore_or_migration_that_ends_in_the_middle_is_no_store_and_is_done_again() {
    let home = tempfile::tempdir().unwrap();
    let (origin, verified) = origin(home.path());
    let file = home.path().join("backup");
    let file = file.to_str().unwrap();
    succeeds(&["backup", "--store", &origin, "--to", file]);
    for (number, signal) in SIGNALS.into_iter().enumerate() {
        for verb in ["restore", "migrate"] {
            let home = home.path().join(format!("{verb} {number}"));
            for target in Target::each(&home) {
                let url = target.url();
                let arguments = match verb {
                    "restore" => ["restore", "--store", &url, "--from", file],
                    _ => ["migrate", "--from", &origin, "--to", &url],
                };
                interrupt(&arguments, signal);
                assert!(target.is_begun());
                target.assert_unfinished(&home);
                // Also if it was started again and ended again.
                interrupt(&arguments, signal);
                assert!(target.is_begun());
                target.assert_unfinished(&home);
                succeeds(&arguments);
                assert_eq!(succeeds(&["verify", "--store", &url]), verified);
                let again = fails(&arguments);
                assert!(again.contains("has accounts in it"), "{again}");
            }
        }
    }
    assert_eq!(succeeds(&["verify", "--store", &origin]), verified);
}

#[test]
fn a_disk_that_is_full_leaves_no_store_and_a_larger_one_takes_it() {
    let home = tempfile::tempdir().unwrap();
    let (origin, verified) = origin(home.path());
    let file = home.path().join("backup");
    let file = file.to_str().unwrap();
    succeeds(&["backup", "--store", &origin, "--to", file]);
    for verb in ["restore", "migrate"] {
        let home = home.path().join(verb);
        let target = Target::Directory(home.join("target"));
        let url = target.url();
        let arguments = match verb {
            "restore" => ["restore", "--store", &url, "--from", file],
            _ => ["migrate", "--from", &origin, "--to", &url],
        };
        let refused = with_little_room(&arguments, 2048);
        assert!(
            refused.contains("full") || refused.contains("I/O"),
            "{refused}"
        );
        target.assert_unfinished(&home);
        succeeds(&arguments);
        assert_eq!(succeeds(&["verify", "--store", &url]), verified);
    }
}

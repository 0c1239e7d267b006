//! Lets a test stop `backup`, `restore`, `migrate` or `account repair-time` in the middle and keep it there.
//!
//! With `BINDERY_TEST_HOLD_AFTER_ROWS=N` the command writes one line to stdout after N rows, and then blocks
//! until its stdin ends. The test reads that line, so it knows where the command is on any machine. Only
//! builds with debug assertions read the variable.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, Result};

/// The environment variable with the number of rows.
const VARIABLE: &str = "BINDERY_TEST_HOLD_AFTER_ROWS";

/// Where the command stops, if it does.
#[derive(Debug)]
pub(crate) struct Hold {
    after_rows: Option<u64>,
}

impl Hold {
    pub(crate) fn from_environment() -> Self {
        let given = cfg!(debug_assertions).then(|| std::env::var(VARIABLE).ok());
        Self {
            after_rows: given.flatten().and_then(|rows| rows.parse().ok()),
        }
    }

    /// Blocks the first time that at least this many rows have been written.
    pub(crate) fn at(&mut self, rows: u64) -> Result<()> {
        if self.after_rows.take_if(|after| rows >= *after).is_none() {
            return Ok(());
        }
        writeln!(std::io::stdout(), "held after {rows} rows").context("stdout is closed")?;
        let read = std::io::stdin().read_to_end(&mut Vec::new());
        read.map(drop).context("stdin can't be read")
    }
}

//! Progress bars of long commands, on stderr if it is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that disappears when it is dropped.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Of about this many rows.
    pub(crate) fn of_rows(what: &'static str, rows: u64) -> Self {
        Self::new(what, rows, "{pos} rows, {per_sec}")
    }

    /// Of this many bytes.
    pub(crate) fn of_bytes(what: &'static str, bytes: u64) -> Self {
        Self::new(what, bytes, "{bytes} of {total_bytes}, {bytes_per_sec}")
    }

    fn new(what: &'static str, length: u64, told: &str) -> Self {
        // Draws nothing if stderr is not a terminal.
        let bar = ProgressBar::new(length);
        let template = format!("{{msg:10}} {{wide_bar}} {told}, {{elapsed}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.inc(count);
    }

    pub(crate) fn reach(&self, position: u64) {
        self.0.set_position(position);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

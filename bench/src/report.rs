//! The tables, for the screen and between the markers of `docs/performance.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::row::Row;
use crate::size::Size;
use crate::world::World;

/// What stands between the markers of a size.
pub(crate) fn table(size: Size, machine: &str, rows: &[Row]) -> String {
    let mut text = format!(
        "{} roles held by {} users in {} spaces and {} projects.\n`cargo xtask bench --size {}` on {machine}.\n\n",
        World::new(size).held.len(),
        size.users(),
        size.spaces(),
        size.projects(),
        size.name().to_lowercase(),
    );
    let heads = ["what", "measured", "goal", "reached", "medians"];
    let mut line = |cells: [&str; 5]| {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    };
    line(heads);
    line(["---"; 5]);
    for row in rows {
        let cells = row.cells();
        line(cells.each_ref().map(String::as_str));
    }
    text
}

/// Puts the table where the last one of this size was.
pub(crate) fn write(path: &Path, size: Size, table: &str) -> Result<()> {
    let report =
        fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    let (begin, end) = (
        format!("<!-- bench {} -->\n", size.name()),
        format!("<!-- /bench {} -->", size.name()),
    );
    let (before, rest) = report
        .split_once(&begin)
        .with_context(|| format!("{} has no {begin}", path.display()))?;
    let (_, after) = rest
        .split_once(&end)
        .with_context(|| format!("{} has no {end}", path.display()))?;
    fs::write(path, format!("{before}{begin}{table}{end}{after}"))?;
    Ok(())
}

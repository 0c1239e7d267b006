//! What this machine is, and how much memory this process has.

use std::fs;
use std::process::Command;

/// Octets of this process that are in memory; `None` where the system doesn't say it like Linux does.
pub(crate) fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// A line about the machine, the compiler and the day.
pub(crate) fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let kibibytes: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
        Some(format!("{} GiB", (kibibytes + (1 << 19)) >> 20))
    });
    let load = fs::read_to_string("/proc/loadavg").ok().and_then(|text| {
        let now = text.split_whitespace().next()?;
        Some(format!("load {now} before"))
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let rust = Command::new("rustc").arg("--version").output().ok();
    let rust = rust.and_then(|output| {
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.split(" (").next()?.trim().to_owned())
    });
    let day = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let parts = [
        Some(day),
        cpu,
        Some(format!("{cores} cores")),
        memory,
        Some(std::env::consts::OS.to_owned()),
        rust,
        load,
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

//! What the benchmarks share.

use std::error::Error;
use std::time::Duration;

/// A number from the environment.
///
/// # Errors
/// A value that is not one.
pub fn number(name: &str, default: usize) -> Result<usize, Box<dyn Error>> {
    Ok(std::env::var(name).ok().map(|v| v.parse()).transpose()?.unwrap_or(default))
}

/// The median of some times; 0 of none.
pub fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A process's memory as Linux counts it, in kB: `VmRSS` now, `VmHWM` at most.
///
/// # Errors
/// A process that is not there.
pub fn memory_kb(pid: u32, what: &str) -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(what)).ok_or("no such figure")?;
    Ok(line.split_whitespace().nth(1).ok_or("no figure")?.parse()?)
}

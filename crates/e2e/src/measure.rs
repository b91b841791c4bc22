//! What a process has used, for the benchmarks.

use std::fs;

/// CPU time of a process so far (user and system), in microseconds; 0 once it has ended.
#[must_use]
pub fn cpu_us(pid: u32) -> f64 {
    // Fields 14 and 15 of proc_pid_stat(5), in ticks of 1/100 s; the name before may have spaces.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let fields = after_name.split(' ').skip(11).take(2);
    fields
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        * 10_000.0
}

/// CPU time of the threads that a process has now, in microseconds, measured in nanoseconds (see
/// `/proc/PID/schedstat`). For times that are short against a tick of [`cpu_us`].
#[must_use]
pub fn thread_cpu_us(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let stat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<f64>().ok()
    });
    nanos.sum::<f64>() / 1_000.0
}

/// Resident memory of a process, in MiB; `None` once it has ended.
#[must_use]
pub fn memory_mib(pid: u32) -> Option<f64> {
    status_mib(pid, "VmRSS:")
}

/// The most resident memory that a process has had, in MiB; `None` once it has ended.
#[must_use]
pub fn peak_memory_mib(pid: u32) -> Option<f64> {
    status_mib(pid, "VmHWM:")
}

/// The median of measured values; not a number if there is none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn status_mib(pid: u32, name: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    let kib = line.split_whitespace().nth(1)?.parse::<f64>().ok()?;
    Some(kib / 1_024.0)
}

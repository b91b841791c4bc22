//! A wrong time of day for processes.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::tools::library;

/// The library that is preloaded.
const LIBRARY: &str = "faketime/libfaketime.so.1";

/// A clock with an offset for processes that are started with [`env`](Self::env). The offset can be set
/// while they run. It doesn't change the monotonic clock, and so neither timers nor durations.
#[derive(Debug)]
pub struct FakeTime {
    dir: TempDir,
}

impl FakeTime {
    /// A clock without an offset.
    #[must_use]
    pub fn new() -> Self {
        let dir = TempDir::with_prefix("time-").expect("a temporary directory");
        let time = Self { dir };
        time.set(0);
        time
    }

    /// Sets the offset, which holds from a process's next reading of the clock on.
    pub fn set(&self, offset_seconds: i64) {
        // Renamed into place, since processes take an empty file for no offset.
        let new = self.dir.path().join("new");
        fs::write(&new, format!("{offset_seconds:+}\n")).expect("a file with an offset");
        fs::rename(new, self.file()).expect("a file with an offset");
    }

    /// The environment of processes with this clock.
    #[must_use]
    pub fn env(&self) -> Vec<(&'static str, String)> {
        fake_time_env(&self.file())
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("offset")
    }
}

impl Default for FakeTime {
    fn default() -> Self {
        Self::new()
    }
}

/// The environment with which a process reads its clock's offset from an existing file.
fn fake_time_env(offset_file: &Path) -> Vec<(&'static str, String)> {
    // With the C library's `malloc` before Redis's jemalloc: jemalloc reads the clock while it is
    // initialised, libfaketime allocates while it is, and both would deadlock.
    let preload = format!("{}:libc.so.6", library(LIBRARY).display());
    let file = offset_file.display().to_string();
    vec![
        ("LD_PRELOAD", preload),
        ("FAKETIME_TIMESTAMP_FILE", file),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
    ]
}

/// Removes the shared memory that a killed process with a wrong clock leaves behind.
pub(crate) fn forget(pid: u32) {
    for name in ["faketime_shm", "sem.faketime_sem"] {
        // Absent with a right clock, and after a clean exit.
        let _ = fs::remove_file(format!("/dev/shm/{name}_{pid}"));
    }
}

//! Another time of day.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::tools::library;

/// What is loaded into processes.
const LIBRARY: &str = "faketime/libfaketime.so.1";

/// A wrong clock for processes that are started with [`env`](Self::env): it is so many seconds off
/// the right one, and can be set while they run. Only the time of day is wrong; timers and
/// durations go by the monotonic clock, which stays right.
#[derive(Debug)]
pub struct FakeTime {
    dir: TempDir,
}

impl FakeTime {
    /// One that is right for the time being.
    #[must_use]
    pub fn new() -> Self {
        let dir = TempDir::with_prefix("time-").expect("a temporary directory");
        let time = Self { dir };
        time.set(0);
        time
    }

    /// Sets the clock so many seconds ahead, or behind. Processes see it when they look next.
    pub fn set(&self, offset_seconds: i64) {
        // Renamed: whoever finds an empty file takes the time for right.
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

/// The environment that makes a process take its clock's offset from a file, which has to exist.
fn fake_time_env(offset_file: &Path) -> Vec<(&'static str, String)> {
    // With the C library's `malloc` before that of jemalloc, which Redis uses: that one asks for
    // the time while it sets itself up, libfaketime allocates while it does, and both would wait
    // for each other forever.
    let preload = format!("{}:libc.so.6", library(LIBRARY).display());
    let file = offset_file.display().to_string();
    vec![
        ("LD_PRELOAD", preload),
        ("FAKETIME_TIMESTAMP_FILE", file),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
    ]
}

/// Removes what a killed process with a wrong clock leaves behind, outside of all directories of
/// the test's.
pub(crate) fn forget(pid: u32) {
    for name in ["faketime_shm", "sem.faketime_sem"] {
        // Absent with a right clock, and after an end in good order.
        let _ = fs::remove_file(format!("/dev/shm/{name}_{pid}"));
    }
}

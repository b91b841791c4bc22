//! A disk that is small enough to be full.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A file system in memory, with all files on it gone when it is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// Mounts one with so much room, counted in whole pages of memory; nothing if that isn't
    /// permitted, as it is to root only. Callers say then what they skip.
    #[must_use]
    pub fn mount(bytes: u64) -> Option<Self> {
        let dir = TempDir::with_prefix("disk-").expect("a temporary directory");
        let options = format!("size={bytes},mode=0755");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null());
        let mounted = mount.status().is_ok_and(|status| status.success());
        mounted.then_some(Self { dir })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves no room at all.
    pub fn fill(&self) {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(self.ballast())
            .expect("a file on the small disk");
        let page = [0; 4096];
        loop {
            match file.write(&page) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("filling {}: {error}", self.path().display()),
            }
        }
    }

    /// Gives the room back that [`fill`](Self::fill) has taken.
    pub fn free(&self) {
        // Absent if it isn't full.
        let _ = fs::remove_file(self.ballast());
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: processes that still have files on it keep them, and nobody finds it any more.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

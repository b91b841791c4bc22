//! A small disk that tests can fill.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A file system in memory; it and its files are gone when it is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// Mounts a disk of this size, rounded to pages. `None` without root's permission to mount; the caller
    /// then reports what it skips.
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

    /// Its mount point.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Fills the disk.
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

    /// Frees the space that [`fill`](Self::fill) has taken.
    pub fn free(&self) {
        // Absent if the disk isn't filled.
        let _ = fs::remove_file(self.ballast());
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: processes keep the files that they have open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

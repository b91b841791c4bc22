//! The directory of a demo whose data isn't kept.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::up::LOCK_FILE;

/// How the directories' names start.
const PREFIX: &str = "rigline-demo-";
/// A file in the directory with the id of the process that created it. The lock file names the process
/// that used the directory last, so they differ once somebody else has used it.
const MARK: &str = "temporary";

/// Creates a directory that is removed when this is dropped, and removes those of demos that were killed.
pub(super) fn create() -> io::Result<TempDir> {
    let dir = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
    fs::write(dir.path().join(MARK), format!("{}\n", std::process::id()))?;
    if let Some(parent) = dir.path().parent() {
        let owner = dir.path().metadata()?.uid();
        for (path, _lock) in left(parent, owner) {
            // The next demo tries again.
            let _ = fs::remove_dir_all(path);
        }
    }
    Ok(dir)
}

/// The directories that killed demos of this user have left, each with its lock.
fn left(parent: &Path, owner: u32) -> Vec<(PathBuf, File)> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(PREFIX.as_bytes())
        })
        // Doesn't follow a link.
        .filter(|entry| {
            let data = entry.metadata();
            data.is_ok_and(|data| data.is_dir() && data.uid() == owner)
        })
        .filter_map(|entry| {
            let path = entry.path();
            let lock = lock_of_dead(&path)?;
            Some((path, lock))
        })
        .collect()
}

/// Locks the directory, if the demo that created it was the last to use it and has ended.
fn lock_of_dead(dir: &Path) -> Option<File> {
    // Without this file, it was just created.
    let lock = File::open(dir.join(LOCK_FILE)).ok()?;
    // A process's lock ends with it, however that ends.
    lock.try_lock().ok()?;
    let read = |file: &str| fs::read_to_string(dir.join(file)).unwrap_or_default();
    let creator = read(MARK);
    let is_own = !creator.trim().is_empty() && creator.trim() == read(LOCK_FILE).trim();
    is_own.then_some(lock)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use tempfile::TempDir;

    use super::{LOCK_FILE, MARK, left};
    use crate::up::DataDir;

    fn make(dir: &Path, name: &str, files: &[(&str, &str)]) {
        fs::create_dir(dir.join(name)).unwrap();
        for (file, content) in files {
            fs::write(dir.join(name).join(file), content).unwrap();
        }
    }

    #[test]
    fn only_directories_that_a_dead_demo_used_last_are_removed() {
        let dir = TempDir::new().unwrap();
        let path = dir.path();
        let own = [(MARK, "7\n"), (LOCK_FILE, "7\n")];
        make(path, "rigline-demo-dead", &own);
        make(path, "rigline-demo-starting", &[(MARK, "7\n")]);
        make(
            path,
            "rigline-demo-locking",
            &[(MARK, "7\n"), (LOCK_FILE, "")],
        );
        make(path, "rigline-demo-kept", &[(LOCK_FILE, "7\n")]);
        make(
            path,
            "rigline-demo-used",
            &[(MARK, "7\n"), (LOCK_FILE, "8\n")],
        );
        make(path, "rigline-demo-empty", &[(MARK, ""), (LOCK_FILE, "")]);
        make(path, "other", &own);
        std::os::unix::fs::symlink(path.join("other"), path.join("rigline-demo-link")).unwrap();
        fs::write(path.join("rigline-demo-file"), "").unwrap();
        let id = format!("{}\n", std::process::id());
        make(path, "rigline-demo-running", &[(MARK, &id)]);
        let running = DataDir::hold(&path.join("rigline-demo-running")).unwrap();
        let owner = path.metadata().unwrap().uid();
        let names = |owner| {
            let mut paths: Vec<_> = left(path, owner)
                .into_iter()
                .map(|(path, _)| path)
                .collect();
            paths.sort();
            paths
        };
        assert_eq!(names(owner), [path.join("rigline-demo-dead")]);
        assert!(names(owner + 1).is_empty(), "another user's");
        drop(running);
        let both = names(owner);
        let names = ["rigline-demo-dead", "rigline-demo-running"];
        assert_eq!(both, names.map(|name| path.join(name)));
    }
}

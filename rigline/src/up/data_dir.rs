//! The directory that one process has to itself.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

/// The queue's file in it.
pub const QUEUE_FILE: &str = "queue.db";
/// The store's file in it.
pub const STORE_FILE: &str = "store.db";
/// The file that whoever has the directory holds locked, with its process id in it.
const LOCK_FILE: &str = "lock";

/// A directory that this process has to itself, until this is dropped or the process ends, however
/// it ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The lock is on it.
    _lock: File,
}

/// Why the directory can't be had.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Another process has it.
    #[error(
        "the data directory {path} is in use by process {holder}: stop that one, or give another \
         --data"
    )]
    Held {
        /// The directory.
        path: String,
        /// The process's id, as far as it is known.
        holder: String,
    },
    /// It can't be made or written to.
    #[error("cannot use the data directory {path}: {error}")]
    Unusable {
        /// The directory.
        path: String,
        /// What went wrong.
        error: std::io::Error,
    },
}

impl DataDir {
    /// Makes the directory if need be, and takes it.
    pub fn hold(path: &Path) -> Result<Self, HoldError> {
        let unusable = |error| HoldError::Unusable {
            path: path.display().to_string(),
            error,
        };
        fs::create_dir_all(path).map_err(unusable)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path.join(LOCK_FILE));
        let mut lock = lock.map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "unknown".to_owned(),
                    id => id.to_owned(),
                };
                let path = path.display().to_string();
                return Err(HoldError::Held { path, holder });
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        let id = format!("{}\n", std::process::id());
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(id.as_bytes()))
            .map_err(unusable)?;
        let dir = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        dir.sync().map_err(unusable)?;
        Ok(dir)
    }

    /// Sees to it that the names in the directory, and its own name, outlast a power cut.
    pub fn sync(&self) -> std::io::Result<()> {
        let whole = self.path.canonicalize()?;
        for dir in [Some(whole.as_path()), whole.parent()]
            .into_iter()
            .flatten()
        {
            File::open(dir)?.sync_all()?;
        }
        Ok(())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::DataDir;

    #[test]
    fn one_has_it_and_the_other_is_told_who() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("deep/data");
        let held = DataDir::hold(&path).unwrap();
        let refused = DataDir::hold(&path).unwrap_err().to_string();
        let id = std::process::id().to_string();
        assert!(
            refused.contains(&id) && refused.contains("--data"),
            "{refused}"
        );
        drop(held);
        DataDir::hold(&path).unwrap();
    }

    #[test]
    fn a_file_is_no_directory() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "").unwrap();
        let refused = DataDir::hold(&path).unwrap_err().to_string();
        assert!(refused.contains("cannot use"), "{refused}");
    }
}

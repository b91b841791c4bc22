//! The data directory, locked by one process.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::lock::{Lock, LockError};

/// Name of the queue's file.
pub const QUEUE_FILE: &str = "queue.db";
/// Name of the store's file.
pub const STORE_FILE: &str = "store.db";
/// Name of the lock file, which holds the process id.
pub(crate) const LOCK_FILE: &str = "lock";

/// Interval between two checks of the files.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Whether a process holds the directory, as far as can be seen.
#[must_use]
pub fn is_held(dir: &Path) -> bool {
    let lock = File::open(dir.join(LOCK_FILE));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// A data directory that this process holds locked, until this is dropped or the process ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: Lock,
}

/// Why the directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Another process holds it.
    #[error(
        "the data directory {path} is in use by process {holder}: stop that one, or give another \
         --data"
    )]
    Held {
        /// The directory.
        path: String,
        /// The process's id, if known.
        holder: String,
    },
    /// A file was removed or replaced while this process uses it. The process would go on writing to a
    /// deleted file.
    #[error(
        "{path} was removed or replaced while this process uses it: stopping, because readings \
         acknowledged from now on would be lost, and those of the last second may be"
    )]
    Replaced {
        /// The file.
        path: String,
    },
    /// The directory can't be created or written to.
    #[error("cannot use the data directory {path}: {error}")]
    Unusable {
        /// The directory.
        path: String,
        /// The cause.
        error: std::io::Error,
    },
}

impl DataDir {
    /// Creates the directory if needed, and locks it.
    pub fn hold(path: &Path) -> Result<Self, HoldError> {
        let unusable = |error| HoldError::Unusable {
            path: path.display().to_string(),
            error,
        };
        // Readings are nobody else's business. An existing directory keeps its mode.
        let mut create = DirBuilder::new();
        create
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(unusable)?;
        let lock = Lock::hold(&path.join(LOCK_FILE)).map_err(|error| match error {
            LockError::Held(holder) => HoldError::Held {
                path: path.display().to_string(),
                holder,
            },
            LockError::Unusable(error) => unusable(error),
        })?;
        let dir = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        dir.sync().map_err(unusable)?;
        Ok(dir)
    }

    /// Makes the directory's entries, and its own entry, durable.
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

    /// Starts watching the lock and these files.
    pub fn watch(&self, files: impl Iterator<Item = PathBuf>) -> std::io::Result<Watch> {
        let files = files.chain([self.path.join(LOCK_FILE)]);
        let files = files.map(|path| Ok((identity(&path)?, path)));
        Ok(Watch {
            files: files.collect::<std::io::Result<_>>()?,
        })
    }

    /// The directory's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Files that are watched for removal and replacement.
#[derive(Debug)]
pub struct Watch {
    files: Vec<(Identity, PathBuf)>,
}

impl Watch {
    /// Returns when a file has been removed or replaced.
    pub async fn lost(&self) -> HoldError {
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            let gone = self.files.iter().find(|(was, path)| {
                match identity(path) {
                    Ok(is) => is != *was,
                    // Another error doesn't mean that the file is gone.
                    Err(error) => error.kind() == std::io::ErrorKind::NotFound,
                }
            });
            if let Some((_, path)) = gone {
                let path = path.display().to_string();
                return HoldError::Replaced { path };
            }
        }
    }
}

/// Device and inode of a file.
type Identity = (u64, u64);

#[cfg(unix)]
fn identity(path: &Path) -> std::io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    let data = fs::metadata(path)?;
    Ok((data.dev(), data.ino()))
}

/// On other systems, only whether the file exists.
#[cfg(not(unix))]
fn identity(path: &Path) -> std::io::Result<Identity> {
    fs::metadata(path).map(|_| (0, 0))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::DataDir;

    #[test]
    fn second_holder_is_refused_with_the_first_ones_process_id() {
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
    fn file_instead_of_a_directory_is_refused() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "").unwrap();
        let refused = DataDir::hold(&path).unwrap_err().to_string();
        assert!(refused.contains("cannot use"), "{refused}");
    }
}

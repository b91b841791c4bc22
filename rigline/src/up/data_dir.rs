//! The directory that one process has to itself.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The queue's file in it.
pub const QUEUE_FILE: &str = "queue.db";
/// The store's file in it.
pub const STORE_FILE: &str = "store.db";
/// The file that whoever has the directory holds locked, with its process id in it.
const LOCK_FILE: &str = "lock";

/// How often files are looked after.
const WATCH_EVERY: Duration = Duration::from_secs(1);

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
    /// Somebody took its files away under the running process, which would go on writing to files
    /// that nobody finds any more.
    #[error(
        "{path} was removed or replaced while this process uses it: stopping, because what is \
         acknowledged from now on would be lost, and what was in the last second may be"
    )]
    TakenAway {
        /// The file.
        path: String,
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

    /// Notices from now on when one of its files is no longer there.
    pub fn watch(&self) -> std::io::Result<Watch> {
        let files = [LOCK_FILE, QUEUE_FILE, STORE_FILE].map(|name| self.path.join(name));
        let files = files.into_iter().map(|path| Ok((identity(&path)?, path)));
        Ok(Watch {
            files: files.collect::<std::io::Result<_>>()?,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Files that have to stay what they are.
#[derive(Debug)]
pub struct Watch {
    files: Vec<(Identity, PathBuf)>,
}

impl Watch {
    /// Returns when one of them has been removed or replaced.
    pub async fn lost(&self) -> HoldError {
        loop {
            tokio::time::sleep(WATCH_EVERY).await;
            let gone = self.files.iter().find(|(was, path)| {
                match identity(path) {
                    Ok(is) => is != *was,
                    // Another error says nothing about the file.
                    Err(error) => error.kind() == std::io::ErrorKind::NotFound,
                }
            });
            if let Some((_, path)) = gone {
                let path = path.display().to_string();
                return HoldError::TakenAway { path };
            }
        }
    }
}

/// Which file a name leads to: device and number.
type Identity = (u64, u64);

#[cfg(unix)]
fn identity(path: &Path) -> std::io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    let data = fs::metadata(path)?;
    Ok((data.dev(), data.ino()))
}

/// Elsewhere only that it is there.
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

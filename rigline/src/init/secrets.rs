//! The directory of secrets: a part for each that may see some of them.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use common::secret::Secret;

/// Each is a volume of its own in the compose file.
const PARTS: [&str; 3] = ["admin", "sink", "notebook"];
/// Held locked by the process that is at work.
const LOCK: &str = "admin/lock";
/// For its owner to read, and to be replaced rather than written to.
const MODE: u32 = 0o400;

/// A file in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// May do everything in `InfluxDB`.
    OperatorToken,
    /// Of `InfluxDB`'s user.
    Password,
    /// The one that was made up for Jupyter.
    JupyterToken,
    /// What this installation's tokens have in their descriptions.
    Installation,
    /// A line for each dashboard that was made: organisation's id, bucket.
    Dashboards,
    /// May write to the bucket.
    SinkToken,
    /// May read from the bucket.
    NotebookToken,
    /// The one that Jupyter goes by; empty if it wants none.
    NotebookJupyterToken,
}

impl Kept {
    fn path(self) -> &'static str {
        match self {
            Self::OperatorToken => "admin/influx-token",
            Self::Password => "admin/influx-password",
            Self::JupyterToken => "admin/jupyter-token",
            Self::Installation => "admin/installation",
            Self::Dashboards => "admin/dashboards",
            Self::SinkToken => "sink/influx-token",
            Self::NotebookToken => "notebook/influx-token",
            Self::NotebookJupyterToken => "notebook/jupyter-token",
        }
    }
}

/// The directory.
#[derive(Debug)]
pub(super) struct Secrets {
    dir: PathBuf,
}

impl Secrets {
    /// As it is; makes nothing.
    pub(super) fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the directory and its parts where they aren't there.
    pub(super) fn make(&self) -> anyhow::Result<()> {
        for part in PARTS {
            let path = self.dir.join(part);
            if path.is_dir() {
                continue;
            }
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .and_then(|()| sync_dir(&self.dir))
                .with_context(|| format!("cannot make {}", path.display()))?;
        }
        Ok(())
    }

    /// The lock, which ends with the process; nothing if another process has it.
    pub(super) fn lock(&self) -> anyhow::Result<Option<File>> {
        let path = self.dir.join(LOCK);
        let unusable = || format!("cannot lock {}", path.display());
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .with_context(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(unusable),
        }
    }

    /// What a file holds, without line ends at its end; nothing if it isn't there.
    pub(super) fn read(&self, kept: Kept) -> anyhow::Result<Option<Secret>> {
        let path = self.path(kept);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n'])))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// As [`read`](Self::read), for what can't be empty.
    pub(super) fn read_full(&self, kept: Kept) -> anyhow::Result<Option<Secret>> {
        let found = self.read(kept)?;
        Ok(found.filter(|secret| !secret.expose().is_empty()))
    }

    /// Makes a file hold this, on disk when it returns: all of it, or what was there before. Whether
    /// it held something else.
    pub(super) fn put(&self, kept: Kept, secret: &Secret) -> anyhow::Result<bool> {
        if self.read(kept)?.as_ref() == Some(secret) {
            return Ok(false);
        }
        let path = self.path(kept);
        write(&path, secret.expose().as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(true)
    }

    /// What a file holds, after making something up for it if there is nothing.
    pub(super) fn ensure(
        &self,
        kept: Kept,
        make_up: impl FnOnce() -> anyhow::Result<Secret>,
    ) -> anyhow::Result<Secret> {
        if let Some(found) = self.read_full(kept)? {
            return Ok(found);
        }
        let secret = make_up()?;
        self.put(kept, &secret)?;
        Ok(secret)
    }

    fn path(&self, kept: Kept) -> PathBuf {
        self.dir.join(kept.path())
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ErrorKind::InvalidInput.into());
    };
    // One name for each file, so that a start that was broken off leaves no more than one behind.
    let new = dir.join(format!(".{}.new", name.display()));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(MODE)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_dir(dir)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use common::secret::Secret;
    use tempfile::TempDir;

    use super::{Kept, Secrets};

    fn made() -> (TempDir, Secrets) {
        let dir = TempDir::new().unwrap();
        let secrets = Secrets::at(&dir.path().join("deep/secrets"));
        secrets.make().unwrap();
        secrets.make().unwrap();
        (dir, secrets)
    }

    #[test]
    fn files_are_for_their_owner_and_replaced_as_a_whole() {
        let (_dir, secrets) = made();
        let path = secrets.dir().join("sink/influx-token");
        assert_eq!(secrets.read(Kept::SinkToken).unwrap(), None);
        assert!(secrets.put(Kept::SinkToken, &"one".into()).unwrap());
        assert!(!secrets.put(Kept::SinkToken, &"one".into()).unwrap());
        let before = fs::File::open(&path).unwrap();
        assert!(secrets.put(Kept::SinkToken, &"two".into()).unwrap());
        // Whoever has the old one open still reads the old one.
        assert_eq!(std::io::read_to_string(before).unwrap(), "one");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400);
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn leftover_of_an_interrupted_write_is_ignored() {
        let (_dir, secrets) = made();
        let torn = secrets.dir().join("admin/.influx-password.new");
        fs::write(&torn, "ha").unwrap();
        fs::set_permissions(&torn, fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(secrets.read(Kept::Password).unwrap(), None);
        let made_up = secrets
            .ensure(Kept::Password, || Ok(Secret::new("whole")))
            .unwrap();
        assert_eq!(made_up.expose(), "whole");
        let kept = secrets
            .ensure(Kept::Password, || anyhow::bail!("it is there"))
            .unwrap();
        assert_eq!(kept, made_up);
        assert!(!torn.exists());
    }

    #[test]
    fn empty_file_counts_as_missing_except_for_jupyter() {
        let (_dir, secrets) = made();
        fs::write(secrets.dir().join("admin/influx-token"), "\n").unwrap();
        assert_eq!(secrets.read_full(Kept::OperatorToken).unwrap(), None);
        secrets.put(Kept::NotebookJupyterToken, &"".into()).unwrap();
        let read = secrets.read(Kept::NotebookJupyterToken).unwrap();
        assert_eq!(read, Some(Secret::new("")));
    }

    #[test]
    fn one_process_at_a_time() {
        let (_dir, secrets) = made();
        let held = secrets.lock().unwrap();
        assert!(held.is_some());
        assert!(secrets.lock().unwrap().is_none());
        drop(held);
        assert!(secrets.lock().unwrap().is_some());
    }
}

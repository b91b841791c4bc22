//! The directory of secrets, with a subdirectory for each container that may read some of them.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use common::secret::Secret;

/// The subdirectories. Each is a volume of the compose file.
const PARTS: [&str; 4] = ["admin", "sink", "api", "notebook"];
/// Locked by the running process.
const LOCK: &str = "admin/lock";
/// The mode of a file: readable by its owner, and replaced instead of written to.
const MODE: u32 = 0o400;

/// A file in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretFile {
    /// The operator token.
    OperatorToken,
    /// The password of `InfluxDB`'s user.
    Password,
    /// The token that was generated for Jupyter.
    JupyterToken,
    /// The name that this installation's tokens have in their descriptions.
    Installation,
    /// A line for each created dashboard: id of the organisation, bucket.
    Dashboards,
    /// The sink's token, which may write to the bucket.
    SinkToken,
    /// The API's token, which may read from the bucket.
    ApiToken,
    /// The notebook's token, which may read from the bucket.
    NotebookToken,
    /// The token that Jupyter uses; empty for none.
    NotebookJupyterToken,
}

impl SecretFile {
    fn path(self) -> &'static str {
        match self {
            Self::OperatorToken => "admin/influx-token",
            Self::Password => "admin/influx-password",
            Self::JupyterToken => "admin/jupyter-token",
            Self::Installation => "admin/installation",
            Self::Dashboards => "admin/dashboards",
            Self::SinkToken => "sink/influx-token",
            Self::ApiToken => "api/influx-token",
            Self::NotebookToken => "notebook/influx-token",
            Self::NotebookJupyterToken => "notebook/jupyter-token",
        }
    }
}

/// The directory of secrets.
#[derive(Debug)]
pub(super) struct Secrets {
    dir: PathBuf,
}

impl Secrets {
    /// Opens the directory without creating anything.
    pub(super) fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Creates the directory and its subdirectories if they are missing.
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
                .with_context(|| format!("cannot create {}", path.display()))?;
        }
        Ok(())
    }

    /// Takes the lock, which ends with the process; `None` if another process holds it.
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

    /// The content of a file without trailing line ends; `None` if it doesn't exist.
    pub(super) fn read(&self, file: SecretFile) -> anyhow::Result<Option<Secret>> {
        let path = self.path(file);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n'])))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Like [`read`](Self::read), but `None` if the file is empty.
    pub(super) fn read_full(&self, file: SecretFile) -> anyhow::Result<Option<Secret>> {
        let found = self.read(file)?;
        Ok(found.filter(|secret| !secret.expose().is_empty()))
    }

    /// Replaces a file atomically and durably. Returns whether its content changed.
    pub(super) fn put(&self, file: SecretFile, secret: &Secret) -> anyhow::Result<bool> {
        if self.read(file)?.as_ref() == Some(secret) {
            return Ok(false);
        }
        let path = self.path(file);
        write(&path, secret.expose().as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(true)
    }

    /// The content of a file. Generates and stores it if the file is missing or empty.
    pub(super) fn get_or_create(
        &self,
        file: SecretFile,
        generate: impl FnOnce() -> anyhow::Result<Secret>,
    ) -> anyhow::Result<Secret> {
        if let Some(found) = self.read_full(file)? {
            return Ok(found);
        }
        let secret = generate()?;
        self.put(file, &secret)?;
        Ok(secret)
    }

    fn path(&self, file: SecretFile) -> PathBuf {
        self.dir.join(file.path())
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ErrorKind::InvalidInput.into());
    };
    // One temporary name for each file, so that interrupted starts leave at most one behind.
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

    use super::{SecretFile, Secrets};

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
        assert_eq!(secrets.read(SecretFile::SinkToken).unwrap(), None);
        assert!(secrets.put(SecretFile::SinkToken, &"one".into()).unwrap());
        assert!(!secrets.put(SecretFile::SinkToken, &"one".into()).unwrap());
        let before = fs::File::open(&path).unwrap();
        assert!(secrets.put(SecretFile::SinkToken, &"two".into()).unwrap());
        // An open handle still reads the old content.
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
        assert_eq!(secrets.read(SecretFile::Password).unwrap(), None);
        let made_up = secrets
            .get_or_create(SecretFile::Password, || Ok(Secret::new("whole")))
            .unwrap();
        assert_eq!(made_up.expose(), "whole");
        let file = secrets
            .get_or_create(SecretFile::Password, || anyhow::bail!("it is there"))
            .unwrap();
        assert_eq!(file, made_up);
        assert!(!torn.exists());
    }

    #[test]
    fn empty_file_counts_as_missing_except_for_jupyter() {
        let (_dir, secrets) = made();
        fs::write(secrets.dir().join("admin/influx-token"), "\n").unwrap();
        assert_eq!(secrets.read_full(SecretFile::OperatorToken).unwrap(), None);
        secrets
            .put(SecretFile::NotebookJupyterToken, &"".into())
            .unwrap();
        let read = secrets.read(SecretFile::NotebookJupyterToken).unwrap();
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

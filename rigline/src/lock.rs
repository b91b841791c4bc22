//! A lock file, which holds the id of the process that has it.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

/// How often a lock is tried that another process has. A command that looks whether a process runs has
/// it for an instant.
const TRIES: u32 = 5;
/// Between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// A locked file, until this is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Why a file can't be locked.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Another process has it; its id, or `unknown`.
    Held(String),
    /// It can't be created or written.
    Unusable(io::Error),
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        Self::Unusable(error)
    }
}

impl Lock {
    /// Creates the file if needed, locks it, and writes the id of this process to it.
    pub(crate) fn hold(path: &Path) -> Result<Self, LockError> {
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)?;
        match lock_with_retries(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(LockError::Held(match holder.trim() {
                    "" => "unknown".to_owned(),
                    id => id.to_owned(),
                }));
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
        Ok(Self { _file: file })
    }
}

fn lock_with_retries(file: &File) -> Result<(), TryLockError> {
    let mut tries = 1;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if tries < TRIES => std::thread::sleep(TRY_AGAIN),
            done => return done,
        }
        tries += 1;
    }
}

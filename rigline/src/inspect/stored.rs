//! Opens the store of a data directory.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use common::settings::path;
use store::SqliteHistory;

use crate::called::up_command;
use crate::up::{DEFAULT_DIR, STORE_FILE};

/// The store to open.
#[derive(Debug, Clone, Args)]
pub struct Stored {
    /// Data directory of `rigline up`
    #[arg(long, env = "RIGLINE_DATA", default_value = DEFAULT_DIR, value_name = "DIR", value_parser = path())]
    data: PathBuf,
}

impl Stored {
    /// Opens the store for reading.
    pub fn open(&self) -> anyhow::Result<SqliteHistory> {
        let path = self.data.join(STORE_FILE);
        check_exists(&path, "store")?;
        SqliteHistory::open_read_only(&path)
            .with_context(|| format!("cannot open {}", path.display()))
    }

    /// The data directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.data
    }
}

/// Fails if there is no file, with the command that creates it.
pub(crate) fn check_exists(path: &Path, what: &str) -> anyhow::Result<()> {
    // Another error is reported when the file is opened.
    if !matches!(path.try_exists(), Ok(false)) {
        return Ok(());
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    bail!(
        "there is no {what} at {}: `{}` creates it",
        path.display(),
        up_command(dir)
    )
}

//! Opens the store of a data directory.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use common::settings::path;
use store::SqliteHistory;

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
        SqliteHistory::open_read_only(&path)
            .with_context(|| format!("cannot open {}", path.display()))
    }
}

//! Opens the store of a data directory.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use common::pipelines::RIGS;
use common::settings::{BadSetting, not_empty, path};
use model::Layout;
use model::pipeline::StoreKind;
use store::SqliteHistory;

use super::pipeline::{chosen, store_kinds};
use crate::called::up_command;
use crate::up::{DEFAULT_DIR, STORE_FILE};

/// The store to open.
#[derive(Debug, Clone, Args)]
pub struct Stored {
    /// Data directory of `rigline up`
    #[arg(long, env = "RIGLINE_DATA", default_value = DEFAULT_DIR, value_name = "DIR", value_parser = path())]
    data: PathBuf,
    /// The pipeline whose rows are read
    #[arg(long, env = "PIPELINE", default_value = RIGS, value_name = "NAME", value_parser = not_empty)]
    pipeline: String,
}

impl Stored {
    /// Chooses the pipeline, if none was asked for.
    pub fn choose(&mut self) -> Result<(), BadSetting> {
        self.pipeline = chosen(&self.pipeline)?;
        Ok(())
    }

    /// Opens the store for reading.
    pub fn open(&self) -> anyhow::Result<SqliteHistory> {
        let path = self.files().join(STORE_FILE);
        let kinds = store_kinds(&self.pipeline);
        if !kinds.is_empty() && !kinds.contains(&StoreKind::Sqlite) {
            let kinds: Vec<_> = kinds.into_iter().map(StoreKind::name).collect();
            bail!(
                "rows of the pipeline {} are in {} only: read them there, or with the API",
                self.pipeline,
                kinds.join(" and ")
            );
        }
        check_exists(&path, "store")?;
        SqliteHistory::open_read_only(&path)
            .with_context(|| format!("cannot open {}", path.display()))
    }

    /// The data directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.data
    }

    /// The directory of the pipeline's files.
    pub(crate) fn files(&self) -> PathBuf {
        files_of(&self.data, &self.pipeline)
    }

    /// How its rows are written.
    pub(crate) fn layout(&self) -> Layout {
        if self.pipeline == RIGS {
            Layout::Rigs
        } else {
            Layout::Tagged
        }
    }
}

/// The directory of a pipeline's files in a data directory.
pub(crate) fn files_of(data: &Path, pipeline: &str) -> PathBuf {
    if pipeline == RIGS {
        data.to_owned()
    } else {
        data.join(pipeline)
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

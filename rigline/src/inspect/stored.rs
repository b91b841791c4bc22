//! Opens the store of a data directory, or that on a server.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use api::PipelineHistory;
use clap::Args;
use common::pipelines::{Pipeline, RIGS};
use common::settings::{BadSetting, Settings, not_empty, path};
use model::Layout;
use model::pipeline::StoreKind;
use store::{InfluxSettings, SqliteHistory};

use super::pipeline::{chosen, find};
use crate::called::up_command;
use crate::history::on_server;
use crate::up::{DEFAULT_DIR, STORE_FILE};

/// The store to open.
#[derive(Debug, Clone, Args)]
pub struct Stored {
    /// Data directory of `rigline up` [default: ./rigline-data, unless InfluxDB is used]
    #[arg(long, env = "RIGLINE_DATA", value_name = "DIR", value_parser = path())]
    data: Option<PathBuf>,
    /// Read rows from InfluxDB. Also the default if `REDIS_HOST` is set and no directory is given. A pipeline whose file
    /// names stores is read from those
    #[arg(long)]
    influx: bool,
    /// The pipeline whose rows are read
    #[arg(long, env = "PIPELINE", default_value = RIGS, value_name = "NAME", value_parser = not_empty)]
    pipeline: String,
    /// Where InfluxDB is.
    #[command(flatten)]
    server: InfluxSettings,
    /// The pipeline, if its rows aren't in a data directory. Found by `check`.
    #[arg(skip)]
    on_server: Option<Pipeline>,
}

impl Stored {
    /// Chooses the pipeline, if none was asked for, finds where its rows are, and checks the settings.
    pub fn check(&mut self) -> Result<(), BadSetting> {
        self.pipeline = chosen(&self.pipeline)?;
        let found = find(&self.pipeline);
        if self.influx && found.is_none() {
            let accepted = "one of PIPELINES, or a pipeline that needs no file";
            return Err(BadSetting::new("PIPELINE", &self.pipeline, accepted));
        }
        self.on_server = found.filter(|pipeline| self.is_on_server(pipeline));
        self.server.check()
    }

    /// Opens the store for reading.
    pub fn open(&self) -> anyhow::Result<PipelineHistory> {
        if let Some(pipeline) = &self.on_server {
            return match on_server(&self.server, pipeline)? {
                PipelineHistory::Unreadable(why) => bail!("{why}"),
                history => Ok(history),
            };
        }
        let path = self.files().join(STORE_FILE);
        check_exists(&path, "store")?;
        let history = SqliteHistory::open_read_only(&path);
        let history = history.with_context(|| format!("cannot open {}", path.display()))?;
        Ok(PipelineHistory::Sqlite(history))
    }

    fn is_on_server(&self, pipeline: &Pipeline) -> bool {
        let stores = pipeline.file().map_or(&[][..], |file| &file.store);
        if stores.is_empty() {
            self.uses_influx()
        } else {
            stores.iter().all(|table| table.kind != StoreKind::Sqlite)
        }
    }

    fn uses_influx(&self) -> bool {
        self.influx || (self.data.is_none() && std::env::var_os("REDIS_HOST").is_some())
    }

    /// The data directory; `None` if rows are read from a server.
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.on_server.is_none().then(|| self.data_dir())
    }

    fn data_dir(&self) -> &Path {
        self.data.as_deref().unwrap_or(Path::new(DEFAULT_DIR))
    }

    /// The directory of the pipeline's files.
    pub(crate) fn files(&self) -> PathBuf {
        files_of(self.data_dir(), &self.pipeline)
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

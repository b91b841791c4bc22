//! Settings of the store of the newest rows.

use common::settings::{BadSetting, RedisSettings};
use model::pipeline::{LATEST_ROWS, PipelineFile, StoreTable, given};
use redis_client::server_of_url;

/// Where the newest rows are, and how many of them are kept.
#[derive(Debug, Clone)]
pub struct LatestSettings {
    /// The server.
    pub server: RedisSettings,
    /// The pipeline's name, which is a part of each key.
    pub pipeline: String,
    /// How many rows of each group, and of all, at least 1.
    pub keep: usize,
    /// The tags whose values make a group; each series is one without.
    pub by: Option<Vec<String>>,
}

impl LatestSettings {
    /// The settings of a table of a pipeline file; `redis` is the server of a table that names none.
    pub fn of_file(
        file: &PipelineFile,
        table: &StoreTable,
        redis: &RedisSettings,
    ) -> Result<Self, BadSetting> {
        let mut settings = Self {
            server: redis.clone(),
            pipeline: file.name.to_string(),
            keep: table.keep.as_deref().copied().unwrap_or(LATEST_ROWS),
            by: table.by.as_deref().cloned(),
        };
        if let Some(url) = given(table.url.as_ref()) {
            let server = server_of_url(url, &redis.tls);
            settings.server = server.map_err(|error| settings.bad(&error.to_string()))?;
        }
        Ok(settings)
    }

    pub(super) fn bad(&self, problem: &str) -> BadSetting {
        BadSetting::File(format!(
            "the pipeline {} can't be used: its store of kind redis-latest: {problem}",
            self.pipeline
        ))
    }
}

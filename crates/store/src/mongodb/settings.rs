//! Settings of the store in MongoDB.

use std::collections::BTreeMap;
use std::time::Duration;

use ::mongodb::options::{ConnectionString, Tls};
use common::secret::Secret;
use common::settings::BadSetting;
use model::Layout;
use model::pipeline::{At, ColumnSource, PipelineFile, StoreTable, given};

const AUTH_SOURCE: &str = "admin";
const DATABASE: &str = "rigline";
const BATCH: usize = 1_000;

/// Where the collection is, and how its documents look.
#[derive(Debug, Clone)]
pub struct MongoSettings {
    /// `mongodb://host:27017`, also with several hosts and options.
    pub url: Secret,
    /// The user, instead of the URL's.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// The database that knows the user.
    pub auth_source: String,
    /// The database.
    pub database: String,
    /// The collection.
    pub collection: String,
    /// Most updates of one command, at least 1.
    pub batch: usize,
    /// The pipeline's name, which is a part of each `_id`.
    pub pipeline: String,
    /// How the keys of series are written.
    pub layout: Layout,
    /// The names of the tags that rows may have. Other members of a document are fields.
    pub tags: Vec<String>,
    /// Members that have another name than their tag or field, or hold times.
    pub columns: BTreeMap<String, ColumnSource>,
    /// The length of a window, for members that hold its end.
    pub every: Duration,
}

impl MongoSettings {
    /// The settings of a table of a pipeline file.
    #[must_use]
    pub fn of_file(file: &PipelineFile, table: &StoreTable) -> Self {
        let given = |value: &Option<At<String>>| given(value.as_ref()).map(str::to_owned);
        let columns = table.columns.iter();
        Self {
            url: Secret::new(given(&table.url).unwrap_or_default()),
            user: given(&table.user),
            password: given(&table.password).map(Secret::new),
            auth_source: given(&table.auth_source).unwrap_or_else(|| AUTH_SOURCE.to_owned()),
            database: given(&table.database).unwrap_or_else(|| DATABASE.to_owned()),
            collection: given(&table.collection).unwrap_or_else(|| file.name.to_string()),
            batch: table.batch.as_deref().copied().unwrap_or(BATCH),
            pipeline: file.name.to_string(),
            layout: Layout::Tagged,
            tags: file.tags().into_iter().map(str::to_owned).collect(),
            columns: columns
                .map(|(member, source)| (member.clone(), (**source).clone()))
                .collect(),
            every: file
                .rows
                .every
                .as_ref()
                .map_or(Duration::ZERO, |every| every.0),
        }
    }

    /// Fails if the URL can't be used, or switches checks of TLS off.
    pub fn check(&self) -> Result<(), BadSetting> {
        self.connection_string().map(|_| ())
    }

    pub(super) fn connection_string(&self) -> Result<ConnectionString, BadSetting> {
        // The URL may hold a password, and so isn't shown.
        let bad = |problem: &str| {
            BadSetting::File(format!(
                "the pipeline {} can't be used: the url of its store can't: {problem}",
                self.pipeline
            ))
        };
        let parsed = ConnectionString::parse(self.url.expose());
        let parsed = parsed.map_err(|error| bad(&error.to_string()))?;
        if let Some(Tls::Enabled(tls)) = &parsed.tls
            && tls.allow_invalid_certificates == Some(true)
        {
            return Err(bad(
                "an option switches off the checks of the server's certificate: name its authority by tlsCAFile",
            ));
        }
        if self.password.is_some() && self.user.is_none() && parsed.credential.is_none() {
            return Err(bad("there is a password without a user"));
        }
        Ok(parsed)
    }
}

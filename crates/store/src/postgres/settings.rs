//! Settings of the store in PostgreSQL.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use common::secret::Secret;
use common::settings::BadSetting;
use common::tls::ClientTls;
use model::Layout;
use model::pipeline::{At, PipelineFile, StoreTable, given};
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use super::error::with_causes;

/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// After how long without traffic the peer is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How long sent bytes may wait for an acknowledgement of the peer.
const UNANSWERED: Duration = Duration::from_secs(30);

/// A server with its database.
#[derive(Debug, Clone)]
pub struct PostgresServer {
    /// `postgres://[user[:password]@]host[:port]/database`, also with several hosts. Options are libpq's, of which
    /// `sslmode` is `disable`, the default, or `require`; the server's certificate is always checked.
    pub url: Secret,
    /// The user, instead of the URL's.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
}

/// Where the table is, and what is in it.
#[derive(Debug, Clone)]
pub struct PostgresSettings {
    /// Where it is.
    pub server: PostgresServer,
    /// The table.
    pub table: String,
    /// The pipeline's name, for messages.
    pub pipeline: String,
    /// How the keys of series are written.
    pub layout: Layout,
    /// The names of the tags that rows may have, in order. Each is a column of the primary key.
    pub tags: Vec<String>,
    /// Tags whose columns are of type bigint.
    pub integer_tags: BTreeSet<String>,
}

/// How to connect.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) config: Config,
    pub(super) tls: Option<ClientTls>,
}

impl PostgresSettings {
    /// The settings of a table of a pipeline file.
    #[must_use]
    pub fn of_file(file: &PipelineFile, table: &StoreTable) -> Self {
        let given = |value: &Option<At<String>>| given(value.as_ref()).map(str::to_owned);
        let integer_tags = table.integer_tags.as_deref().into_iter().flatten();
        Self {
            server: PostgresServer {
                url: Secret::new(given(&table.url).unwrap_or_default()),
                user: given(&table.user),
                password: given(&table.password).map(Secret::new),
            },
            table: given(&table.table).unwrap_or_else(|| file.name.to_string()),
            pipeline: file.name.to_string(),
            layout: Layout::Tagged,
            tags: file.tags().into_iter().map(str::to_owned).collect(),
            integer_tags: integer_tags.cloned().collect(),
        }
    }

    /// Fails if the URL can't be used.
    pub fn check(&self) -> Result<(), BadSetting> {
        let target = self.server.target();
        target.map(|_| ()).map_err(|problem| {
            BadSetting::File(format!(
                "the pipeline {} can't be used: the url of its store can't: {problem}",
                self.pipeline
            ))
        })
    }
}

impl PostgresServer {
    /// Fails with the reason if the URL can't be used.
    pub fn check(&self) -> Result<(), String> {
        self.target().map(|_| ())
    }

    pub(super) fn target(&self) -> Result<Target, String> {
        let url = self.url.expose();
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut tls, mut others) = (None, ClientTls::new("PostgreSQL"), Vec::new());
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let path = || Some(PathBuf::from(value));
            match name {
                "sslmode" => mode = Some(value),
                "sslrootcert" => tls.ca_file = path(),
                "sslcert" => tls.cert_file = path(),
                "sslkey" => tls.key_file = path(),
                _ => others.push(option),
            }
        }
        let is_secure = match mode {
            None | Some("disable") => false,
            // The server's certificate is checked with each of them.
            Some("require" | "verify-ca" | "verify-full") => true,
            Some(_) => return Err("sslmode is disable or require".to_owned()),
        };
        let without_tls = format!("{address}?{}", others.join("&"));
        let mut config: Config = without_tls
            .parse()
            .map_err(|error: tokio_postgres::Error| with_causes(&error))?;
        if let Some(user) = &self.user {
            config.user(user);
        }
        if let Some(password) = &self.password {
            config.password(password.current().expose());
        }
        if config.get_user().is_none() {
            return Err("there is no user".to_owned());
        }
        config.ssl_mode(if is_secure {
            SslMode::Require
        } else {
            SslMode::Disable
        });
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_LIMIT);
        }
        config.application_name("rigline");
        config.keepalives_idle(KEEPALIVE);
        config.tcp_user_timeout(UNANSWERED);
        Ok(Target {
            config,
            tls: is_secure.then_some(tls),
        })
    }
}

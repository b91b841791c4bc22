//! The connections.

use std::time::Duration;

use ::mongodb::options::{ClientOptions, Credential};
use ::mongodb::{Client, Database};
use tokio::time::timeout;

use super::error::Failure;
use super::{ANSWER_LIMIT, MongoSettings};

/// How long connecting to a server may take, and how long finding one that takes writes.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const CONNECTIONS: u32 = 16;

/// The database, which is connected to at the first command.
pub(super) async fn database(settings: &MongoSettings) -> Result<Database, Failure> {
    let parsed = settings.connection_string();
    let parsed = parsed.map_err(|error| Failure::denied(error.to_string()))?;
    let mut options = ClientOptions::parse(parsed).await?;
    options.app_name = Some("rigline".to_owned());
    options.connect_timeout.get_or_insert(CONNECT_LIMIT);
    options
        .server_selection_timeout
        .get_or_insert(CONNECT_LIMIT);
    options.max_pool_size.get_or_insert(CONNECTIONS);
    if settings.user.is_some() || settings.password.is_some() {
        let mut credential = options
            .credential
            .take()
            .unwrap_or_else(Credential::default);
        credential.source = Some(settings.auth_source.clone());
        if settings.user.is_some() {
            credential.username.clone_from(&settings.user);
        }
        if let Some(password) = &settings.password {
            credential.password = Some(password.expose().to_owned());
        }
        options.credential = Some(credential);
    }
    Ok(Client::with_options(options)?.database(&settings.database))
}

/// Waits for the answer to a command, but not for ever.
pub(super) async fn in_time<T>(
    command: impl IntoFuture<Output = ::mongodb::error::Result<T>>,
) -> Result<T, Failure> {
    match timeout(ANSWER_LIMIT, command.into_future()).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::retry(format!(
            "no answer within {ANSWER_LIMIT:?}; FerretDB needs batch = 99 in [[store]]"
        ))),
    }
}

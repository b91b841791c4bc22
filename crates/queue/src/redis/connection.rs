//! A multiplexed connection that reconnects, and the meaning of its errors.

use std::sync::Arc;
use std::time::Duration;

use common::secret::Secret;
use common::tls;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, RedisConnectionInfo, RedisError,
    ServerErrorKind, Value,
};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::reply;
use crate::error::{Cause, QueueError};
use crate::settings::RedisSettings;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// A reply that takes longer counts as lost. An fsync on a busy disk takes less.
const REPLY_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Connection {
    settings: RedisSettings,
    current: Mutex<Current>,
}

/// The current connection. The count tells a caller whose connection failed whether there is a new one
/// since.
#[derive(Default)]
struct Current {
    connection: Option<Open>,
    count: u64,
}

/// An open connection. The task that reads and writes ends with the last clone.
#[derive(Clone)]
struct Open {
    requests: MultiplexedConnection,
    _driver: Arc<JoinSet<()>>,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(settings: &RedisSettings) -> Self {
        Self {
            settings: settings.clone(),
            current: Mutex::default(),
        }
    }

    /// Sends a command that may be repeated.
    pub(super) async fn read(&self, command: &Cmd) -> Result<Value, QueueError> {
        let (mut connection, count) = self.get().await?;
        match connection
            .requests
            .req_packed_command(command)
            .await
            .and_then(Value::extract_error)
        {
            Ok(value) => Ok(value),
            Err(error) => Err(self.failed(count, &error, Repeatable::Yes).await),
        }
    }

    /// Sends read-only commands in one pipeline.
    pub(super) async fn read_all<const N: usize>(
        &self,
        commands: &Pipeline,
    ) -> Result<[Value; N], QueueError> {
        let (mut connection, count) = self.get().await?;
        match commands
            .query_async::<Value>(&mut connection.requests)
            .await
        {
            Ok(value) => reply::exactly(value),
            Err(error) => Err(self.failed(count, &error, Repeatable::Yes).await),
        }
    }

    /// Sends a script call. `None` if Redis hasn't loaded the script, and so hasn't run it.
    pub(super) async fn write(&self, call: &Cmd) -> Result<Option<Value>, QueueError> {
        let (mut connection, count) = self.get().await?;
        match connection
            .requests
            .req_packed_command(call)
            .await
            .and_then(Value::extract_error)
        {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => Ok(None),
            Err(error) => Err(self.failed(count, &error, Repeatable::No).await),
        }
    }

    async fn get(&self) -> Result<(Open, u64), QueueError> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((connection.clone(), current.count));
        }
        match timeout(CONNECT_LIMIT, self.open()).await {
            Ok(Ok(connection)) => {
                current.connection = Some(connection.clone());
                current.count += 1;
                Ok((connection, current.count))
            }
            Ok(Err(QueueError::Unavailable { cause, detail })) => Err(self.away(cause, &detail)),
            Ok(Err(other)) => Err(other),
            Err(_) => Err(self.away(
                Cause::Unreachable,
                &format!("no answer within {CONNECT_LIMIT:?}"),
            )),
        }
    }

    /// Connects and logs in. Each attempt resolves the host name again, since the address may change with a
    /// restart, and reads password and certificates from their files.
    async fn open(&self) -> Result<Open, QueueError> {
        let RedisSettings {
            redis_host,
            redis_port,
            ..
        } = &self.settings;
        let tls = self.settings.client_tls();
        let stream = tls::open(redis_host, *redis_port, tls.as_ref());
        let unreachable = |error| QueueError::unavailable(Cause::Unreachable, error);
        let stream = stream
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(REPLY_LIMIT));
        let login = self.login();
        let opened = MultiplexedConnection::new_with_config(&login, stream, config);
        let (requests, driver) = opened.await.map_err(|error| {
            let explained = tls.as_ref().and_then(|tls| tls.explain(&error, redis_host));
            match explained {
                Some(explained) => unreachable(explained),
                None => classify(&error, Repeatable::Yes),
            }
        })?;
        let mut task = JoinSet::new();
        task.spawn(driver);
        Ok(Open {
            requests,
            _driver: Arc::new(task),
        })
    }

    fn login(&self) -> RedisConnectionInfo {
        let mut login = RedisConnectionInfo::default();
        if let Some(username) = &self.settings.redis_username {
            login = login.set_username(username);
        }
        if let Some(password) = self.settings.redis_password.as_ref().map(Secret::current) {
            login = login.set_password(password.expose());
        }
        login
    }

    fn away(&self, cause: Cause, detail: &str) -> QueueError {
        let RedisSettings {
            redis_host,
            redis_port,
            redis_tls,
            ..
        } = &self.settings;
        // A port for TLS closes the connection or says nothing to who speaks without it, and the other way round.
        let hint = match (cause, redis_tls) {
            (Cause::Unreachable, false) => "; REDIS_TLS=true if that is its port for TLS",
            (Cause::Unreachable, true) => "; is that its port for TLS?",
            _ => "",
        };
        let detail =
            format!("{detail} ({redis_host}:{redis_port}, REDIS_HOST and REDIS_PORT{hint})");
        QueueError::Unavailable { cause, detail }
    }

    /// Drops a broken connection, so that the next call reconnects.
    async fn failed(&self, count: u64, error: &RedisError, repeatable: Repeatable) -> QueueError {
        if is_broken(error) {
            let mut current = self.current.lock().await;
            if current.count == count {
                current.connection = None;
            }
        }
        classify(error, repeatable)
    }
}

/// Whether a request without a reply may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeatable {
    Yes,
    No,
}

fn is_broken(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
        || matches!(error.kind(), ErrorKind::Parse)
}

/// Maps an error. The library's own classification knows too few of the codes.
fn classify(error: &RedisError, repeatable: Repeatable) -> QueueError {
    let message = error.to_string();
    let unavailable = |cause| QueueError::unavailable(cause, &message);
    if error.kind() == ErrorKind::AuthenticationFailed {
        return QueueError::Denied(message);
    }
    // Each command of a pipeline has its own error; the first one decides.
    let of_several = error.clone().into_server_errors();
    let first = of_several.as_deref().and_then(|errors| errors.first());
    match error
        .code()
        .or_else(|| first.map(|(_, error)| error.code()))
        .unwrap_or_default()
    {
        "LOADING" | "MASTERDOWN" => return unavailable(Cause::Loading),
        "READONLY" => return unavailable(Cause::ReadOnly),
        "MISCONF" | "NOREPLICAS" => return unavailable(Cause::CannotPersist),
        "OOM" => return unavailable(Cause::OutOfMemory),
        "BUSY" | "TRYAGAIN" | "CLUSTERDOWN" => return unavailable(Cause::Busy),
        "NOAUTH" | "WRONGPASS" | "NOPERM" => return QueueError::Denied(message),
        "WRONGTYPE" => return QueueError::WrongType(message),
        "MOVED" | "ASK" | "CROSSSLOT" => {
            return QueueError::Incompatible(format!(
                "{message}; Redis Cluster isn't supported yet"
            ));
        }
        _ => {}
    }
    // The errors of a server with a password for a command with many arguments, and of a script whose
    // user lacks a permission.
    if message.contains("unauthenticated") || message.contains("can't run this command") {
        return QueueError::Denied(message);
    }
    if message.contains("Error compiling script") {
        return QueueError::Incompatible(format!("{message}; Redis 7.0 or newer is needed"));
    }
    if repeatable == Repeatable::No {
        return QueueError::Unknown(message);
    }
    if is_broken(error) {
        unavailable(Cause::Unreachable)
    } else {
        unavailable(Cause::Other)
    }
}

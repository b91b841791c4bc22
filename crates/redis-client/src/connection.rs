//! A multiplexed connection that reconnects, and the meaning of its errors.

use std::sync::Arc;
use std::time::Duration;

use common::settings::RedisSettings;
use common::tls;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::error::{Cause, RequestError};
use crate::reply;
use crate::script::Script;
use crate::server::login;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// A reply that takes longer counts as lost. An fsync on a busy disk takes less.
const REPLY_LIMIT: Duration = Duration::from_secs(5);

/// A connection, made when it is first used, and made again when it breaks.
#[derive(Debug)]
pub struct Connection {
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
    /// A connection to this server. Fails if the files of TLS can't be used.
    pub fn new(settings: &RedisSettings) -> Result<Self, RequestError> {
        if let Some(tls) = settings.client_tls() {
            let files = tls.config();
            files.map_err(|error| RequestError::Incompatible(error.to_string()))?;
        }
        Ok(Self {
            settings: settings.clone(),
            current: Mutex::default(),
        })
    }

    /// Sends a command that may be repeated.
    pub async fn read(&self, command: &Cmd) -> Result<Value, RequestError> {
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
    pub async fn read_all<const N: usize>(
        &self,
        commands: &Pipeline,
    ) -> Result<[Value; N], RequestError> {
        let (mut connection, count) = self.get().await?;
        match commands
            .query_async::<Value>(&mut connection.requests)
            .await
        {
            Ok(value) => reply::exactly(value),
            Err(error) => Err(self.failed(count, &error, Repeatable::Yes).await),
        }
    }

    /// Runs a script with the keys and arguments that `fill` adds. Loads it first if Redis hasn't; this is safe,
    /// because NOSCRIPT means that nothing was run.
    pub async fn run(
        &self,
        script: &Script,
        fill: impl Fn(&mut Cmd),
    ) -> Result<Value, RequestError> {
        let mut call = redis::cmd("EVALSHA");
        call.arg(script.hash());
        fill(&mut call);
        if let Some(reply) = self.write(&call).await? {
            return Ok(reply);
        }
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(script.code());
        self.read(&load).await?;
        let reply = self.write(&call).await?;
        reply.ok_or_else(|| reply::unexpected("NOSCRIPT after SCRIPT LOAD"))
    }

    /// Sends a script call. `None` if Redis hasn't loaded the script, and so hasn't run it.
    async fn write(&self, call: &Cmd) -> Result<Option<Value>, RequestError> {
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

    async fn get(&self) -> Result<(Open, u64), RequestError> {
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
            Ok(Err(RequestError::Unavailable { cause, detail })) => Err(self.away(cause, &detail)),
            Ok(Err(other)) => Err(other),
            Err(_) => Err(self.away(
                Cause::Unreachable,
                &format!("no answer within {CONNECT_LIMIT:?}"),
            )),
        }
    }

    /// Connects and logs in. Each attempt resolves the host name again, since the address may change with a
    /// restart, and reads password and certificates from their files.
    async fn open(&self) -> Result<Open, RequestError> {
        let RedisSettings {
            redis_host,
            redis_port,
            ..
        } = &self.settings;
        let tls = self.settings.client_tls();
        let stream = tls::open(redis_host, *redis_port, tls.as_ref());
        let unreachable = |error| RequestError::unavailable(Cause::Unreachable, error);
        let stream = stream
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(REPLY_LIMIT));
        let login = login(&self.settings);
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

    fn away(&self, cause: Cause, detail: &str) -> RequestError {
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
        RequestError::Unavailable { cause, detail }
    }

    /// Drops a broken connection, so that the next call reconnects.
    async fn failed(&self, count: u64, error: &RedisError, repeatable: Repeatable) -> RequestError {
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
fn classify(error: &RedisError, repeatable: Repeatable) -> RequestError {
    let message = error.to_string();
    let unavailable = |cause| RequestError::unavailable(cause, &message);
    if error.kind() == ErrorKind::AuthenticationFailed {
        return RequestError::Denied(message);
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
        "NOAUTH" | "WRONGPASS" | "NOPERM" => return RequestError::Denied(message),
        "WRONGTYPE" => return RequestError::WrongType(message),
        "MOVED" | "ASK" | "CROSSSLOT" => {
            return RequestError::Incompatible(format!(
                "{message}; Redis Cluster isn't supported yet"
            ));
        }
        _ => {}
    }
    // The errors of a server with a password for a command with many arguments, and of a script whose
    // user lacks a permission.
    if message.contains("unauthenticated") || message.contains("can't run this command") {
        return RequestError::Denied(message);
    }
    if message.contains("Error compiling script") {
        return RequestError::Incompatible(format!("{message}; Redis 7.0 or newer is needed"));
    }
    if repeatable == Repeatable::No {
        return RequestError::Unknown(message);
    }
    if is_broken(error) {
        unavailable(Cause::Unreachable)
    } else {
        unavailable(Cause::Other)
    }
}

//! A connection.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::Host;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row as Found, RowStream, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::Failure;
use super::settings::{PostgresServer, Target};

/// How long the server may take for a statement, longer than its own limit below.
const ANSWER_LIMIT: Duration = Duration::from_secs(35);
/// The server's limits of a statement, and of its wait for a lock; how often it checks whether the client is still
/// there. What was committed has to be on disk, also where the server is set up for less.
const SESSION: &str = "SET statement_timeout = '30s'; SET lock_timeout = '10s';
    SET client_connection_check_interval = '1s'; SET TimeZone = 'UTC';
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// Values of a statement.
pub(super) type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection, which ends when it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Otherwise it would wait for what the server still has to say.
        self.task.abort();
    }
}

impl Connection {
    pub(super) async fn open(server: &PostgresServer) -> Result<Self, Failure> {
        let target = server.target();
        let Target { config, tls } = target.map_err(|problem| Failure::denied(&problem))?;
        let address = address(&config);
        // The client's futures are large; few callers connect.
        let opened = in_time(Box::pin(async {
            let (client, task) = match tls {
                None => {
                    let (client, connection) = config.connect(NoTls).await?;
                    (client, tokio::spawn(run(connection)))
                }
                Some(tls) => {
                    let tls = tls.config();
                    let tls = tls.map_err(|error| Failure::denied(&error.to_string()))?;
                    let connector = MakeRustlsConnect::new((*tls).clone());
                    let (client, connection) = config.connect(connector).await?;
                    (client, tokio::spawn(run(connection)))
                }
            };
            Ok(Self { client, task })
        }));
        let opened = opened.await.map_err(|failure| failure.at(&address))?;
        opened.execute(SESSION).await?;
        Ok(opened)
    }

    /// Whether it can be used.
    pub(super) fn is_open(&self) -> bool {
        !self.client.is_closed()
    }

    /// Executes statements without values.
    pub(super) async fn execute(&self, sql: &str) -> Result<(), Failure> {
        in_time(async { Ok(self.client.batch_execute(sql).await?) }).await
    }

    pub(super) async fn prepare(&self, sql: &str) -> Result<Statement, Failure> {
        in_time(async { Ok(self.client.prepare(sql).await?) }).await
    }

    /// Executes a prepared statement.
    pub(super) async fn run(
        &self,
        statement: &Statement,
        values: Values<'_>,
    ) -> Result<(), Failure> {
        in_time(async {
            self.client.execute(statement, values).await?;
            Ok(())
        })
        .await
    }

    /// All rows of a query.
    pub(super) async fn query(&self, sql: &str, values: Values<'_>) -> Result<Vec<Found>, Failure> {
        in_time(async { Ok(self.client.query(sql, values).await?) }).await
    }

    /// The rows of a query one by one.
    pub(super) async fn stream(&self, sql: &str, values: Values<'_>) -> Result<RowStream, Failure> {
        let values = values.iter().copied();
        in_time(async { Ok(self.client.query_raw(sql, values).await?) }).await
    }
}

/// The hosts with their ports, for messages.
fn address(config: &Config) -> String {
    let ports = config.get_ports();
    let shown = config.get_hosts().iter().enumerate().map(|(number, host)| {
        // One port is that of all hosts.
        let port = ports.get(number).or(ports.first()).unwrap_or(&5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            Host::Unix(path) => path.display().to_string(),
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Carries a connection until its end, which its client notices.
async fn run<F: Future<Output = Result<(), tokio_postgres::Error>>>(connection: F) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to PostgreSQL has ended");
    }
}

/// Waits for an answer, but not for ever.
pub(super) async fn in_time<T>(
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match timeout(ANSWER_LIMIT, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::retry(&format!(
            "no answer within {ANSWER_LIMIT:?}"
        ))),
    }
}

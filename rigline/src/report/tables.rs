//! Reports from tables of PostgreSQL.

use clap::Args;
use common::secret::Secret;

use super::inputs::Inputs;
#[cfg(feature = "postgres")]
use super::inputs::left_out;

/// Where the tables are.
#[derive(Debug, Args)]
#[command(next_help_heading = "PostgreSQL")]
pub(super) struct PostgresArgs {
    /// The database with the tables, if no files are given: `postgres://host[:port]/database`; with TLS
    /// `?sslmode=require`
    #[arg(long, env = "POSTGRES_URL", value_name = "URL", hide_env_values = true)]
    postgres_url: Option<Secret>,
    /// The user, instead of the URL's
    #[arg(long, env = "POSTGRES_USER", value_name = "NAME")]
    postgres_user: Option<String>,
    /// The user's password
    #[arg(
        long,
        env = "POSTGRES_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true
    )]
    postgres_password: Option<Secret>,
    /// The table with id, val and time
    #[arg(long, value_name = "TABLE", default_value = "metrics")]
    metrics_table: String,
    /// The table with product, production and time
    #[arg(long, value_name = "TABLE", default_value = "workorders")]
    workorders_table: String,
}

impl PostgresArgs {
    /// Reads both tables as they are at one moment.
    #[cfg(feature = "postgres")]
    pub(super) async fn read(&self) -> anyhow::Result<Inputs> {
        use std::collections::BTreeMap;

        use anyhow::Context;
        use report::{Input, Point};
        use store::{PointsTable, PostgresServer, read_points};

        let url = self.postgres_url.clone();
        let server = PostgresServer {
            url: url.context("give --metrics and --workorders, or --postgres-url")?,
            user: self.postgres_user.clone().filter(|user| !user.is_empty()),
            password: self.postgres_password.clone(),
        };
        let checked = server.check();
        checked.map_err(|problem| anyhow::anyhow!("--postgres-url can't be used: {problem}"))?;
        let tables = [
            PointsTable {
                table: &self.metrics_table,
                id: "id",
                value: "val",
            },
            PointsTable {
                table: &self.workorders_table,
                id: "product",
                value: "production",
            },
        ];
        let mut found: [BTreeMap<i64, Vec<Point>>; 2] = Default::default();
        let read = read_points(&server, &tables, |table, id, time, value| {
            found[table]
                .entry(id)
                .or_default()
                .push(Point { time, value });
        });
        let read = read.await.context("cannot read the tables")?;
        let missing = read.missing.iter().map(|index| {
            let PointsTable { table, id, value } = &tables[*index];
            format!("there is no table {table} with columns {id}, {value} and time yet")
        });
        let mut notes: Vec<_> = missing.collect();
        for (PointsTable { table, id, .. }, rows) in std::iter::zip(&tables, read.unusable) {
            if rows > 0 {
                notes.push(format!(
                    "{rows} rows of {table} can't be used: their {id} is no integer, or their time is missing or infinite"
                ));
            }
        }
        let [parameters, products] = found.map(|points| Input {
            items: points.values().map(|points| points.len() as u64).sum(),
            series: points.into_iter().map(series).collect(),
            ..Input::default()
        });
        for (table, input) in std::iter::zip(&tables, [&parameters, &products]) {
            notes.extend(left_out(table.table, input));
        }
        Ok(Inputs {
            parameters,
            products,
            notes,
        })
    }

    /// Fails: this build can't read PostgreSQL.
    #[cfg(not(feature = "postgres"))]
    #[expect(clippy::unused_async, reason = "it is called as the other one")]
    pub(super) async fn read(&self) -> anyhow::Result<Inputs> {
        let _ = (
            &self.postgres_url,
            &self.postgres_user,
            &self.postgres_password,
            &self.metrics_table,
            &self.workorders_table,
        );
        anyhow::bail!(
            "tables of PostgreSQL can't be read: {}",
            common::settings::built_without("postgres")
        )
    }
}

/// The points of an id. Of several with one time, that with the least value counts: a table has no order.
#[cfg(feature = "postgres")]
fn series((id, mut points): (i64, Vec<report::Point>)) -> (i64, report::Series) {
    points.sort_by(|one, other| one.value.total_cmp(&other.value));
    (id, report::Series::new(points))
}

//! The steps of the set-up, in order.

use std::time::Instant;

use anyhow::Context;
use common::secret::Secret;
use store::{Id, InfluxSetup, Operator, SetupError};

use super::retry::retry_until_done;
use super::secrets::{SecretFile, Secrets};
use super::setup::{PENDING_LIMIT, POLL, RETENTION, Setup, Target};
use super::tokens::{API, NOTEBOOK, SINK};
use super::{InitArgs, USER, print_line, random};

/// The name of the dashboard of the default bucket.
const DASHBOARD: &str = "Rigs";
const DEFAULT_BUCKET: &str = "rigs";

/// Runs all steps.
pub(super) async fn run(args: &InitArgs) -> anyhow::Result<()> {
    let setup = Setup {
        args,
        secrets: Secrets::at(&args.place.secrets),
        influx: InfluxSetup::new(&args.influx)?,
    };
    let _lock = setup.own_secrets().await?;
    retry_until_done("to be ready", async || Ok(setup.influx.health().await?)).await?;
    print_line(format!("InfluxDB at {} is ready", setup.influx.url()));
    let token = retry_until_done("to be set up", async || setup.set_up().await).await?;
    let operator = setup.influx.operator(&token);
    let done = setup.with_operator(&token, &operator).await;
    done.map_err(|error| match error.downcast_ref() {
        Some(SetupError::Unauthorized { .. }) => error.context(
            "the token in use isn't an operator token: put one with all permissions into \
             INFLUX_TOKEN in .env",
        ),
        _ => error,
    })?;
    setup.print_addresses();
    Ok(())
}

impl Setup<'_> {
    async fn own_secrets(&self) -> anyhow::Result<std::fs::File> {
        self.secrets.make()?;
        let mut has_printed = false;
        let lock = loop {
            if let Some(lock) = self.secrets.lock()? {
                break lock;
            }
            if !has_printed {
                print_line("waiting for another rigline init to end");
                has_printed = true;
            }
            tokio::time::sleep(POLL).await;
        };
        let jupyter_token = match &self.args.jupyter_token {
            Some(given) => given.clone(),
            None => self
                .secrets
                .get_or_create(SecretFile::JupyterToken, random::token)?,
        };
        self.secrets
            .put(SecretFile::NotebookJupyterToken, &jupyter_token)?;
        print_line(format!(
            "the secrets are in {}",
            self.secrets.dir().display()
        ));
        Ok(lock)
    }

    /// Runs the steps that need the operator token.
    async fn with_operator(&self, token: &Secret, operator: &Operator) -> anyhow::Result<()> {
        retry_until_done("to take the password", async || {
            self.password(operator).await
        })
        .await?;
        let target =
            retry_until_done("to have the bucket", async || self.target(operator).await).await?;
        for grant in [SINK, API, NOTEBOOK] {
            retry_until_done("to give a token", async || {
                self.grant(&grant, operator, &target).await
            })
            .await?;
        }
        retry_until_done("to have the dashboard", async || {
            self.dashboard(operator, &target.org).await
        })
        .await?;
        retry_until_done("to use the operator token", async || {
            self.keep_operator_token(token, operator, &target).await
        })
        .await
    }

    /// Changes the user's password to a given one.
    async fn password(&self, operator: &Operator) -> anyhow::Result<()> {
        let Some(given) = &self.args.password else {
            return Ok(());
        };
        if self.secrets.read(SecretFile::Password)?.as_ref() == Some(given) {
            return Ok(());
        }
        let Some(user) = operator.user(USER).await? else {
            print_line(format!(
                "InfluxDB has no user {USER}, so INFLUX_PASSWORD isn't used"
            ));
            return Ok(());
        };
        operator
            .set_password(&user, given)
            .await
            .context("cannot change the password to INFLUX_PASSWORD")?;
        self.secrets.put(SecretFile::Password, given)?;
        print_line(format!("the password of {USER} is INFLUX_PASSWORD now"));
        Ok(())
    }

    /// Finds or creates organisation and bucket.
    async fn target(&self, operator: &Operator) -> anyhow::Result<Target> {
        let (org_name, bucket_name) = (&self.args.influx.org, &self.args.influx.bucket);
        let org = match operator.organisation(org_name).await? {
            Some(org) => org,
            None => operator
                .create_organisation(org_name)
                .await
                .with_context(|| format!("cannot create organisation {org_name:?} (INFLUX_ORG)"))?,
        };
        let bucket = match operator.bucket(&org, bucket_name).await? {
            Some(bucket) => bucket,
            None => operator
                .create_bucket(&org, bucket_name, RETENTION)
                .await
                .with_context(|| format!("cannot create bucket {bucket_name:?} (INFLUX_BUCKET)"))?,
        };
        print_line(format!("organisation {org_name} has bucket {bucket_name}"));
        Ok(Target { org, bucket })
    }

    /// Creates the dashboard once. Later changes and its deletion by users are kept.
    async fn dashboard(&self, operator: &Operator, org: &Id) -> anyhow::Result<()> {
        let bucket = &self.args.influx.bucket;
        let name = match bucket.as_str() {
            DEFAULT_BUCKET => DASHBOARD.to_owned(),
            other => format!("{DASHBOARD} in {other}"),
        };
        let made = format!("{} {bucket}", org.as_str());
        let begun = format!("begun: {made}");
        let marks = self.secrets.read(SecretFile::Dashboards)?;
        let marks = marks.map_or_else(String::new, |marks| marks.expose().to_owned() + "\n");
        let has = |mark: &str| marks.lines().any(|line| line == mark);
        if has(&made) {
            return Ok(());
        }
        let is_there = if has(&begun) {
            self.dashboard_appears(operator, org, &name).await?
        } else {
            operator.has_dashboard(org, &name).await?
        };
        if !is_there {
            if !has(&begun) {
                let marks = Secret::new(format!("{marks}{begun}\n"));
                self.secrets.put(SecretFile::Dashboards, &marks)?;
            }
            operator.create_dashboard(org, &name, bucket).await?;
        }
        let others = marks.lines().filter(|line| *line != begun);
        let marks: Vec<_> = others.chain([made.as_str()]).collect();
        let marks = Secret::new(marks.join("\n") + "\n");
        self.secrets.put(SecretFile::Dashboards, &marks)?;
        print_line(format!(
            "dashboard {name} is {}",
            if is_there { "there" } else { "made" }
        ));
        Ok(())
    }

    /// Waits for the dashboard of an earlier request, which may still be running. Returns whether it
    /// exists. A second request would create a second dashboard of the same name.
    async fn dashboard_appears(
        &self,
        operator: &Operator,
        org: &Id,
        name: &str,
    ) -> Result<bool, SetupError> {
        let started = Instant::now();
        while !operator.has_dashboard(org, name).await? {
            if started.elapsed() >= PENDING_LIMIT {
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(true)
    }

    fn print_addresses(&self) {
        let place = &self.args.place;
        print_line("");
        print_line("Everything is set up:");
        print_line(format!("  InfluxDB  {}  (user {USER})", place.influx_page));
        print_line(format!("  Jupyter   {}", place.jupyter_page));
        print_line("Passwords and tokens: docker compose run --rm rigline passwords");
    }
}

//! The steps, in their order.

use std::time::Instant;

use anyhow::Context;
use common::secret::Secret;
use store::{Id, InfluxSetup, Operator, SetupError};

use super::patience::persist;
use super::secrets::{Kept, Secrets};
use super::task::{KEPT_FOR, LOOK_EVERY, MAY_BE_MADE, Target, Task};
use super::tokens::{NOTEBOOK, SINK};
use super::{InitArgs, USER, random, say};

/// The name of the dashboard of the bucket that is there unless told otherwise.
const DASHBOARD: &str = "Rigs";
const DEFAULT_BUCKET: &str = "rigs";

/// Does all of them.
pub(super) async fn run(args: &InitArgs) -> anyhow::Result<()> {
    let task = Task {
        args,
        secrets: Secrets::at(&args.place.secrets),
        influx: InfluxSetup::new(&args.influx)?,
    };
    let _lock = task.own_secrets().await?;
    persist("to be ready", async || Ok(task.influx.health().await?)).await?;
    say(format!("InfluxDB at {} is ready", task.influx.url()));
    let token = persist("to be set up", async || task.set_up().await).await?;
    let operator = task.influx.operator(&token);
    let done = task.with_operator(&operator).await;
    done.map_err(|error| match error.downcast_ref() {
        Some(SetupError::Unauthorized { .. }) => error.context(
            "the token in use isn't an operator token: put one that may do everything into \
             INFLUX_TOKEN in .env",
        ),
        _ => error,
    })?;
    task.say_where();
    Ok(())
}

impl Task<'_> {
    async fn own_secrets(&self) -> anyhow::Result<std::fs::File> {
        self.secrets.make()?;
        let mut has_said = false;
        let lock = loop {
            if let Some(lock) = self.secrets.lock()? {
                break lock;
            }
            if !has_said {
                say("waiting for another rigline init to end");
                has_said = true;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        let jupyter_token = match &self.args.jupyter_token {
            Some(given) => given.clone(),
            None => self.secrets.ensure(Kept::JupyterToken, random::token)?,
        };
        self.secrets
            .put(Kept::NotebookJupyterToken, &jupyter_token)?;
        say(format!(
            "secrets are kept in {}",
            self.secrets.dir().display()
        ));
        Ok(lock)
    }

    /// Everything that takes the operator token.
    async fn with_operator(&self, operator: &Operator) -> anyhow::Result<()> {
        persist("to take the password", async || {
            self.password(operator).await
        })
        .await?;
        let target = persist("to have the bucket", async || self.target(operator).await).await?;
        for grant in [SINK, NOTEBOOK] {
            persist("to give a token", async || {
                self.grant(&grant, operator, &target).await
            })
            .await?;
        }
        persist("to have the dashboard", async || {
            self.dashboard(operator, &target.org).await
        })
        .await
    }

    /// Makes a password that was given the user's.
    async fn password(&self, operator: &Operator) -> anyhow::Result<()> {
        let Some(given) = &self.args.password else {
            return Ok(());
        };
        if self.secrets.read(Kept::Password)?.as_ref() == Some(given) {
            return Ok(());
        }
        let Some(user) = operator.user(USER).await? else {
            say(format!(
                "InfluxDB has no user {USER}, so INFLUX_PASSWORD isn't used"
            ));
            return Ok(());
        };
        operator
            .set_password(&user, given)
            .await
            .context("cannot change the password to INFLUX_PASSWORD")?;
        self.secrets.put(Kept::Password, given)?;
        say(format!("the password of {USER} is INFLUX_PASSWORD now"));
        Ok(())
    }

    /// Finds or makes organisation and bucket.
    async fn target(&self, operator: &Operator) -> anyhow::Result<Target> {
        let (org_name, bucket_name) = (&self.args.influx.org, &self.args.influx.bucket);
        let org = match operator.organisation(org_name).await? {
            Some(org) => org,
            None => operator
                .create_organisation(org_name)
                .await
                .with_context(|| format!("cannot make organisation {org_name:?} (INFLUX_ORG)"))?,
        };
        let bucket = match operator.bucket(&org, bucket_name).await? {
            Some(bucket) => bucket,
            None => operator
                .create_bucket(&org, bucket_name, KEPT_FOR)
                .await
                .with_context(|| format!("cannot make bucket {bucket_name:?} (INFLUX_BUCKET)"))?,
        };
        say(format!("organisation {org_name} has bucket {bucket_name}"));
        Ok(Target { org, bucket })
    }

    /// Makes the dashboard once. Whoever changes or deletes it afterwards has the last word.
    async fn dashboard(&self, operator: &Operator, org: &Id) -> anyhow::Result<()> {
        let bucket = &self.args.influx.bucket;
        let name = match bucket.as_str() {
            DEFAULT_BUCKET => DASHBOARD.to_owned(),
            other => format!("{DASHBOARD} in {other}"),
        };
        let made = format!("{} {bucket}", org.as_str());
        let begun = format!("begun: {made}");
        let marks = self.secrets.read(Kept::Dashboards)?;
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
                self.secrets.put(Kept::Dashboards, &marks)?;
            }
            operator.create_dashboard(org, &name, bucket).await?;
        }
        let others = marks.lines().filter(|line| *line != begun);
        let marks: Vec<_> = others.chain([made.as_str()]).collect();
        let marks = Secret::new(marks.join("\n") + "\n");
        self.secrets.put(Kept::Dashboards, &marks)?;
        say(format!(
            "dashboard {name} is {}",
            if is_there { "there" } else { "made" }
        ));
        Ok(())
    }

    /// Whether the dashboard that an earlier request was to make is there, or comes soon: that request
    /// may still be at work, and InfluxDB would make a second dashboard of the same name.
    async fn dashboard_appears(
        &self,
        operator: &Operator,
        org: &Id,
        name: &str,
    ) -> Result<bool, SetupError> {
        let started = Instant::now();
        while !operator.has_dashboard(org, name).await? {
            if started.elapsed() >= MAY_BE_MADE {
                return Ok(false);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(true)
    }

    fn say_where(&self) {
        let place = &self.args.place;
        say("");
        say("Everything is set up:");
        say(format!("  InfluxDB  {}  (user {USER})", place.influx_page));
        say(format!("  Jupyter   {}", place.jupyter_page));
        say("Passwords and tokens: docker compose run --rm rigline passwords");
    }
}

//! The first set-up of the server, and the operator token.

use std::time::Instant;

use anyhow::{Context, bail};
use common::secret::Secret;
use store::{FirstSetup, SetupError};

use super::secrets::SecretFile;
use super::setup::{PENDING_LIMIT, POLL, RETENTION, Setup};
use super::{USER, print_line, random};

/// The status if the server is already set up.
const CONFLICT: u16 = 422;

impl Setup<'_> {
    /// Sets the server up unless it is already. Returns the operator token.
    pub(super) async fn set_up(&self) -> anyhow::Result<Secret> {
        if self.influx.is_untouched().await? {
            let token = self.given_or(
                SecretFile::OperatorToken,
                self.args.influx.token.as_ref(),
                random::token,
            )?;
            let password = self.given_or(
                SecretFile::Password,
                self.args.password.as_ref(),
                random::password,
            )?;
            let first = FirstSetup {
                user: USER,
                password: &password,
                token: &token,
                org: &self.args.influx.org,
                bucket: &self.args.influx.bucket,
                kept_for: RETENTION,
            };
            match self.influx.set_up(&first).await {
                Ok(()) => print_line(format!("InfluxDB is set up: user {USER}")),
                // The server was set up meanwhile, perhaps by a pending request of an earlier start.
                // Whether the token is accepted shows it.
                Err(SetupError::Refused {
                    status: CONFLICT, ..
                }) => {}
                Err(error @ SetupError::Refused { .. }) => {
                    return Err(error).context(
                        "InfluxDB refuses to be set up; check INFLUX_PASSWORD, INFLUX_ORG and \
                         INFLUX_BUCKET",
                    );
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.accepted_token().await
    }

    /// Returns the given secret after storing it, otherwise the stored secret, otherwise a new one after
    /// storing it.
    fn given_or(
        &self,
        file: SecretFile,
        given: Option<&Secret>,
        generate: impl FnOnce() -> anyhow::Result<Secret>,
    ) -> anyhow::Result<Secret> {
        match given {
            Some(given) => {
                self.secrets.put(file, given)?;
                Ok(given.clone())
            }
            None => self.secrets.get_or_create(file, generate),
        }
    }

    async fn accepted_token(&self) -> anyhow::Result<Secret> {
        let file = self.secrets.read_full(SecretFile::OperatorToken)?;
        let given = self.args.influx.token.as_ref();
        if let Some(token) = given.or(file.as_ref())
            && self.is_accepted_soon(token).await?
        {
            self.secrets.put(SecretFile::OperatorToken, token)?;
            return Ok(token.clone());
        }
        let start_over = "Or start over, if you can do without its data: docker compose down -v \
            deletes InfluxDB's volume with all readings in it";
        let url = self.influx.url();
        match (given, &file) {
            (Some(given), Some(file)) if given != file && self.is_accepted(file).await? => bail!(
                "InfluxDB at {url} doesn't accept INFLUX_TOKEN, but still the token that is kept \
                 here: take INFLUX_TOKEN out of .env. (An operator token can't be changed by giving \
                 another one.)"
            ),
            (Some(_), _) => bail!(
                "InfluxDB at {url} was set up before, and doesn't accept INFLUX_TOKEN: put its \
                 operator token into INFLUX_TOKEN in .env. {start_over}"
            ),
            (None, Some(_)) => bail!(
                "InfluxDB at {url} was set up before, and doesn't accept the token that is kept \
                 here (or was stopped in the middle of its first set-up): put its operator token \
                 into INFLUX_TOKEN in .env. {start_over}"
            ),
            (None, None) => bail!(
                "InfluxDB at {url} was set up by others, or the volume with its token \
                 (admin-secrets) was removed: put its operator token into INFLUX_TOKEN in .env; \
                 influxd recovery auth create-operator makes one. {start_over}"
            ),
        }
    }

    async fn is_accepted_soon(&self, token: &Secret) -> Result<bool, SetupError> {
        let started = Instant::now();
        loop {
            if self.is_accepted(token).await? {
                return Ok(true);
            }
            if started.elapsed() >= PENDING_LIMIT {
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn is_accepted(&self, token: &Secret) -> Result<bool, SetupError> {
        let operator = self.influx.operator(token);
        match operator.organisation(&self.args.influx.org).await {
            Ok(_) => Ok(true),
            // 403: the user is inactive.
            Err(SetupError::Unauthorized { .. } | SetupError::Refused { status: 403, .. }) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

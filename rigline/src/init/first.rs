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

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rights {
    /// The server doesn't accept it.
    None,
    /// It may not read organisations.
    Limited,
    /// It may read organisations.
    Operator,
}

impl Setup<'_> {
    /// Sets the server up unless it is already. Returns the operator token.
    pub(super) async fn set_up(&self) -> anyhow::Result<Secret> {
        if self.influx.is_untouched().await? {
            let token = self.given_or(
                self.args.influx.token.as_ref(),
                SecretFile::OperatorToken,
                random::token,
            )?;
            let password = self.given_or(
                self.args.password.as_ref(),
                SecretFile::Password,
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
                Ok(()) => {
                    self.secrets.put(SecretFile::Password, &password)?;
                    print_line(format!("InfluxDB is set up: user {USER}"));
                }
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

    /// Returns the given secret, otherwise the stored secret, otherwise a new one after storing it. A given
    /// secret isn't stored before the server has accepted it: the server may be another one than that
    /// of the stored secret.
    fn given_or(
        &self,
        given: Option<&Secret>,
        file: SecretFile,
        generate: impl FnOnce() -> anyhow::Result<Secret>,
    ) -> anyhow::Result<Secret> {
        match given {
            Some(given) => Ok(given.clone()),
            None => self.secrets.get_or_create(file, generate),
        }
    }

    /// The given operator token, otherwise the stored one, if it may do what `init` does.
    async fn accepted_token(&self) -> anyhow::Result<Secret> {
        let stored = self.secrets.read_full(SecretFile::OperatorToken)?;
        let given = self.args.influx.token.as_ref();
        let url = self.influx.url();
        let start_over = "While influxd is stopped, influxd recovery auth create-operator makes a new \
            one. Or start over, if you can do without its data: docker compose down -v deletes \
            InfluxDB's volume with all readings in it";
        let Some(token) = given.or(stored.as_ref()) else {
            bail!(
                "InfluxDB at {url} was set up by others, or the volume with its token \
                 (admin-secrets) was removed: put its operator token into INFLUX_TOKEN in .env. \
                 {start_over}"
            );
        };
        let problem = match (self.rights_soon(token).await?, given) {
            (Rights::Operator, _) => return Ok(token.clone()),
            (Rights::Limited, Some(_)) => {
                "INFLUX_TOKEN isn't an operator token, but for instance the sink's".to_owned()
            }
            (Rights::Limited, None) => {
                "the token that is stored here isn't an operator token".to_owned()
            }
            (Rights::None, Some(_)) => {
                format!("InfluxDB at {url} was set up before, and doesn't accept INFLUX_TOKEN")
            }
            (Rights::None, None) => format!(
                "InfluxDB at {url} was set up before, and doesn't accept the token that is stored \
                 here (or was stopped in the middle of its first set-up)"
            ),
        };
        if let (Some(given), Some(stored)) = (given, &stored)
            && given != stored
            && self.rights(stored).await? == Rights::Operator
        {
            bail!(
                "{problem}. InfluxDB accepts the operator token that is stored here: take \
                 INFLUX_TOKEN out of .env. (An operator token can't be changed by giving another one.)"
            );
        }
        bail!("{problem}: put its operator token into INFLUX_TOKEN in .env. {start_over}")
    }

    /// The rights of a token, which an earlier request may be creating.
    async fn rights_soon(&self, token: &Secret) -> Result<Rights, SetupError> {
        let started = Instant::now();
        loop {
            let rights = self.rights(token).await?;
            if rights != Rights::None || started.elapsed() >= PENDING_LIMIT {
                return Ok(rights);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn rights(&self, token: &Secret) -> Result<Rights, SetupError> {
        match self.influx.operator(token).may_read_organisations().await {
            Ok(true) => Ok(Rights::Operator),
            Ok(false) => Ok(Rights::Limited),
            // 403: the user is inactive.
            Err(SetupError::Unauthorized { .. } | SetupError::Refused { status: 403, .. }) => {
                Ok(Rights::None)
            }
            Err(error) => Err(error),
        }
    }
}

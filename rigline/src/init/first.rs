//! The first set-up, and the operator token that comes of it.

use std::time::Instant;

use anyhow::{Context, bail};
use common::secret::Secret;
use store::{FirstSetup, SetupError};

use super::secrets::Kept;
use super::task::{KEPT_FOR, LOOK_EVERY, MAY_BE_MADE, Task};
use super::{USER, random, say};

/// The status of a set-up that comes too late.
const CONFLICT: u16 = 422;

impl Task<'_> {
    /// Sets the server up if nobody has; the operator token.
    pub(super) async fn set_up(&self) -> anyhow::Result<Secret> {
        if self.influx.is_untouched().await? {
            let token = self.given_or(
                Kept::OperatorToken,
                self.args.influx.token.as_ref(),
                random::token,
            )?;
            let password = self.given_or(
                Kept::Password,
                self.args.password.as_ref(),
                random::password,
            )?;
            let first = FirstSetup {
                user: USER,
                password: &password,
                token: &token,
                org: &self.args.influx.org,
                bucket: &self.args.influx.bucket,
                kept_for: KEPT_FOR,
            };
            match self.influx.set_up(&first).await {
                Ok(()) => say(format!("InfluxDB is set up: user {USER}")),
                // Somebody has done it meanwhile, perhaps an earlier start whose request was on its
                // way: the token will tell.
                Err(SetupError::Refused {
                    status: CONFLICT, ..
                }) => {}
                Err(error @ SetupError::Refused { .. }) => {
                    return Err(error).context(
                        "InfluxDB refuses to be set up; snapshot at INFLUX_PASSWORD, INFLUX_ORG and \
                         INFLUX_BUCKET",
                    );
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.accepted_token().await
    }

    /// What was given, kept from now on; else what is kept; else something new. All on disk.
    fn given_or(
        &self,
        kept: Kept,
        given: Option<&Secret>,
        make_up: impl FnOnce() -> anyhow::Result<Secret>,
    ) -> anyhow::Result<Secret> {
        match given {
            Some(given) => {
                self.secrets.put(kept, given)?;
                Ok(given.clone())
            }
            None => self.secrets.ensure(kept, make_up),
        }
    }

    async fn accepted_token(&self) -> anyhow::Result<Secret> {
        let kept = self.secrets.read_full(Kept::OperatorToken)?;
        let given = self.args.influx.token.as_ref();
        if let Some(token) = given.or(kept.as_ref())
            && self.is_accepted_soon(token).await?
        {
            self.secrets.put(Kept::OperatorToken, token)?;
            return Ok(token.clone());
        }
        let start_over = "Or start over, if you can do without its data: docker compose down -v \
            deletes InfluxDB's volume with all readings in it";
        let url = self.influx.url();
        match (given, &kept) {
            (Some(given), Some(kept)) if given != kept && self.is_accepted(kept).await? => bail!(
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
                "InfluxDB at {url} was set up by somebody else, or the volume with its token \
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
            if started.elapsed() >= MAY_BE_MADE {
                return Ok(false);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn is_accepted(&self, token: &Secret) -> Result<bool, SetupError> {
        let operator = self.influx.operator(token);
        match operator.organisation(&self.args.influx.org).await {
            Ok(_) => Ok(true),
            // A user who was made inactive: 403.
            Err(SetupError::Unauthorized { .. } | SetupError::Refused { status: 403, .. }) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

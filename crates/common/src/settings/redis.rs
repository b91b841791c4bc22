//! The Redis server.

use std::path::PathBuf;

use clap::Args;

use super::{BadSetting, RedisTls, Settings, not_empty, path};
use crate::secret::Secret;
use crate::tls::ClientTls;

/// Where Redis is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Redis")]
pub struct RedisSettings {
    /// Host of Redis
    #[arg(long, env = "REDIS_HOST", default_value = "localhost", value_parser = not_empty)]
    pub redis_host: String,
    /// Port of Redis
    #[arg(long, env = "REDIS_PORT", default_value_t = 6379, value_parser = clap::value_parser!(u16).range(1..))]
    pub redis_port: u16,
    /// User, where Redis has users
    #[arg(long, env = "REDIS_USERNAME")]
    pub redis_username: Option<String>,
    /// Password, where Redis wants one
    #[arg(
        long,
        env = "REDIS_PASSWORD",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub redis_password: Option<Secret>,
    /// File that holds the password
    #[arg(long, env = "REDIS_PASSWORD_FILE", value_name = "PATH", value_parser = path())]
    pub redis_password_file: Option<PathBuf>,
    /// Connect with TLS, as with a URL of rediss
    #[arg(long, env = "REDIS_TLS")]
    pub redis_tls: bool,
    /// What is trusted and shown with TLS.
    #[command(flatten)]
    pub tls: RedisTls,
}

impl RedisSettings {
    /// TLS, if it is used.
    #[must_use]
    pub fn client_tls(&self) -> Option<ClientTls> {
        self.redis_tls.then(|| self.tls.client())
    }

    /// A server on this machine, without a login.
    #[must_use]
    pub fn local() -> Self {
        Self {
            redis_host: "localhost".to_owned(),
            redis_port: 6379,
            redis_username: None,
            redis_password: None,
            redis_password_file: None,
            redis_tls: false,
            tls: RedisTls::default(),
        }
    }
}

impl Settings for RedisSettings {
    fn check(&mut self) -> Result<(), BadSetting> {
        let (given, file) = (&mut self.redis_password, &mut self.redis_password_file);
        Secret::resolve("REDIS_PASSWORD", given, file)?;
        self.redis_username = self.redis_username.take().filter(|user| !user.is_empty());
        if self.redis_tls {
            self.tls.client().config()?;
        }
        let user = self.redis_username.clone().unwrap_or_default();
        let ok = user.is_empty() || self.redis_password.is_some();
        BadSetting::unless(ok, "REDIS_USERNAME", &user, "a user with REDIS_PASSWORD")
    }
}

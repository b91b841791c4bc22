//! Which server, and who logs in.

use common::secret::Secret;
use common::settings::{RedisSettings, RedisTls};
use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};

/// Why a URL names no server that can be used. The message doesn't repeat the URL, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

/// The server of a URL, `redis://[user:password@]host[:port]`, or with TLS `rediss://…`, which uses the files of
/// `tls`.
pub fn server_of_url(url: &str, tls: &RedisTls) -> Result<RedisSettings, UrlError> {
    let bad = |error: &dyn std::fmt::Display| UrlError(error.to_string());
    // The library reads the URL, and is built without TLS.
    let with_tls = url.strip_prefix("rediss://");
    let plain = with_tls.map(|rest| format!("redis://{rest}"));
    let read = plain.as_deref().unwrap_or(url).into_connection_info();
    let read = read.map_err(|error| bad(&error))?;
    let ConnectionAddr::Tcp(host, port) = read.addr() else {
        return Err(bad(&"the URL has no host"));
    };
    let login = read.redis_settings();
    let server = RedisSettings {
        redis_host: host.clone(),
        redis_port: *port,
        redis_username: login.username().map(str::to_owned),
        redis_password: login.password().map(Secret::from),
        redis_password_file: None,
        redis_tls: with_tls.is_some(),
        tls: tls.clone(),
    };
    if let Some(tls) = server.client_tls() {
        tls.config().map_err(|error| bad(&error))?;
    }
    Ok(server)
}

/// User and password; a password of a file is read again.
#[must_use]
pub fn login(server: &RedisSettings) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default();
    if let Some(username) = &server.redis_username {
        login = login.set_username(username);
    }
    if let Some(password) = server.redis_password.as_ref().map(Secret::current) {
        login = login.set_password(password.expose());
    }
    login
}

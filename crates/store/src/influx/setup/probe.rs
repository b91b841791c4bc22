//! What can be seen of a server and a bucket over the network, for `rigline check`.

use std::time::Duration;

use chrono::DateTime;
use common::secret::Secret;
use model::Timestamp;
use reqwest::Method;

use super::api::ApiRequest;
use super::{InfluxSetup, SetupError, string_at};

/// What a server says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerSeen {
    /// The version.
    pub version: Option<String>,
    /// The server's clock, rounded down to a second.
    pub time: Option<Timestamp>,
}

/// Whether a token may write to a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteAccess {
    /// It may.
    Allowed,
    /// The server doesn't know the token, or the token isn't active.
    UnknownToken,
    /// There is no such organisation or bucket, or none that the token may see.
    NotFound {
        /// The server's message.
        message: String,
    },
    /// The token may do something else.
    Forbidden,
}

/// How long a bucket keeps its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// For this long.
    For(Duration),
    /// For ever.
    Forever,
    /// The token may not read this. A token that may only write to a bucket can't.
    NotVisible,
}

impl InfluxSetup {
    /// Asks the server for its health, as [`health`](Self::health) does.
    pub async fn server(&self) -> Result<ServerSeen, SetupError> {
        let response = self.client.send(ApiRequest::get("/health")).await?;
        let time = response.date().and_then(timestamp);
        let health = response.expect(&[200])?.json()?;
        if health["status"] != "pass" {
            let detail = format!("its health is {}", health["status"]);
            return Err(SetupError::Away { detail });
        }
        Ok(ServerSeen {
            version: string_at(&health, "/version").map(str::to_owned),
            time,
        })
    }

    /// Sends an empty write, for which the server checks token, organisation and bucket.
    pub async fn write_access(
        &self,
        token: &Secret,
        org: &str,
        bucket: &str,
    ) -> Result<WriteAccess, SetupError> {
        let request = ApiRequest::new(Method::POST, "/api/v2/write")
            .with_token(token)
            .query([("org", org), ("bucket", bucket)])
            .body("text/plain; charset=utf-8", Vec::new());
        let response = self.client.send(request).await?;
        Ok(match response.status {
            401 => WriteAccess::UnknownToken,
            403 => WriteAccess::Forbidden,
            404 => WriteAccess::NotFound {
                message: response.message(),
            },
            _ => response.expect(&[204]).map(|_| WriteAccess::Allowed)?,
        })
    }

    /// How long the bucket keeps its rows.
    pub async fn kept(&self, token: &Secret, org: &str, bucket: &str) -> Result<Kept, SetupError> {
        let request = ApiRequest::get("/api/v2/buckets")
            .with_token(token)
            .query([("org", org), ("name", bucket)]);
        let Some(response) = self.send_authorized(request, 200).await? else {
            return Ok(Kept::NotVisible);
        };
        let list = response.json()?;
        let buckets = list["buckets"].as_array();
        let Some(found) =
            buckets.and_then(|list| list.iter().find(|entry| entry["name"] == bucket))
        else {
            return Ok(Kept::NotVisible);
        };
        let seconds = found["retentionRules"][0]["everySeconds"].as_u64();
        Ok(match seconds.unwrap_or(0) {
            0 => Kept::Forever,
            seconds => Kept::For(Duration::from_secs(seconds)),
        })
    }
}

/// Reads the time of HTTP's header `Date`.
fn timestamp(date: &str) -> Option<Timestamp> {
    let time = DateTime::parse_from_rfc2822(date).ok()?;
    time.timestamp_nanos_opt().map(Timestamp::from_nanos)
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::timestamp;

    #[test]
    fn time_of_an_http_header_is_read() {
        let expected = Timestamp::parse("1994-11-06T08:49:37Z").unwrap();
        assert_eq!(timestamp("Sun, 06 Nov 1994 08:49:37 GMT"), Some(expected));
        assert_eq!(timestamp("yesterday"), None);
    }
}

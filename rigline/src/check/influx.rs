//! The store of the four stages.

use std::time::Duration;

use common::clock::Clock;
use common::secret::Secret;
use common::settings::{TimeLimitSettings, written};
use store::{InfluxSettings, InfluxSetup, Kept, SetupError, WriteAccess};

use super::clocks;
use super::line::{Line, limited};

const SERVER: &str = "InfluxDB";
const TOKEN: &str = "InfluxDB token";
const BUCKET: &str = "InfluxDB bucket";
const RETENTION: &str = "InfluxDB retention";
const CLOCK: &str = "InfluxDB clock";
/// The resolution of HTTP's header `Date`.
const SECOND: Duration = Duration::from_secs(1);
const SHOW_LOG: &str = "look into InfluxDB's log";

/// The lines about server, token and bucket.
pub(super) async fn influx(settings: &InfluxSettings, times: TimeLimitSettings) -> Vec<Line> {
    let setup = match InfluxSetup::new(settings) {
        Ok(setup) => setup,
        Err(error) => return vec![Line::bad(SERVER, error.to_string(), "check INFLUX_URL")],
    };
    let clock = Clock::system();
    let before = clock.now();
    let seen = match limited(SERVER, setup.server()).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(error)) => {
            let next = if settings.is_https() {
                "do what it says, start InfluxDB, or check INFLUX_URL; docs/tls.md is about TLS"
            } else {
                "start InfluxDB, or check INFLUX_URL"
            };
            return vec![Line::bad(SERVER, error.to_string(), next)];
        }
        Err(line) => return vec![line],
    };
    let asked = (before, clock.now());
    let version = seen.version.as_deref().unwrap_or("version not visible");
    let mut lines = vec![Line::ok(SERVER, format!("{}, {version}", setup.url()))];
    match &settings.token {
        Some(token) => lines.extend(bucket(&setup, settings, token, times.max_age).await),
        None => lines.push(Line::bad(
            TOKEN,
            "there is none",
            "set INFLUX_TOKEN or INFLUX_TOKEN_FILE to a token that may write to the bucket",
        )),
    }
    lines.push(match seen.time {
        Some(time) => clocks::line(CLOCK, asked, time, SECOND, times.max_future),
        None => Line::ok(CLOCK, "not visible"),
    });
    lines
}

async fn bucket(
    setup: &InfluxSetup,
    settings: &InfluxSettings,
    token: &Secret,
    max_age: Duration,
) -> Vec<Line> {
    let InfluxSettings { org, bucket, .. } = settings;
    let (access, kept) = tokio::join!(
        limited(BUCKET, setup.write_access(token, org, bucket)),
        limited(RETENTION, setup.kept(token, org, bucket)),
    );
    let access = match access {
        Ok(Ok(access)) => access,
        Ok(Err(error)) => return vec![Line::bad(BUCKET, error.to_string(), SHOW_LOG)],
        Err(line) => return vec![line],
    };
    let mut lines = access_lines(&access, org, bucket);
    if access == WriteAccess::Allowed {
        lines.push(kept.map_or_else(|line| line, |kept| kept_line(kept, max_age)));
    }
    lines
}

fn access_lines(access: &WriteAccess, org: &str, bucket: &str) -> Vec<Line> {
    let known = Line::ok(TOKEN, "known to the server");
    match access {
        WriteAccess::Allowed => {
            let detail = format!("{bucket:?} of {org:?} exists, and the token may write to it");
            vec![known, Line::ok(BUCKET, detail)]
        }
        WriteAccess::UnknownToken => vec![Line::bad(
            TOKEN,
            "the server doesn't know it, or it isn't active",
            format!(
                "set INFLUX_TOKEN to a token of organisation {org:?} that may write to {bucket:?}"
            ),
        )],
        WriteAccess::NotFound { message } => vec![
            known,
            Line::bad(
                BUCKET,
                format!("no {bucket:?} of {org:?} that the token may write to: {message}"),
                "create it (`rigline init` does), or check INFLUX_BUCKET and INFLUX_ORG; the token may also \
                 be one for another bucket",
            ),
        ],
        WriteAccess::Forbidden => vec![
            known,
            Line::bad(
                BUCKET,
                format!("the token may not write to {bucket:?} of {org:?}"),
                "set INFLUX_TOKEN to a token that may write to it",
            ),
        ],
    }
}

fn kept_line(kept: Result<Kept, SetupError>, max_age: Duration) -> Line {
    let max = written(max_age);
    match kept {
        Ok(Kept::Forever) => Line::ok(RETENTION, format!("for ever; MAX_AGE is {max}")),
        Ok(Kept::For(time)) if time > max_age => {
            Line::ok(RETENTION, format!("{}; MAX_AGE is {max}", written(time)))
        }
        Ok(Kept::For(time)) => Line::warn(
            RETENTION,
            format!("{}, not above MAX_AGE ({max})", written(time)),
            "lower MAX_AGE or raise the bucket's retention: rows that are too old for the bucket become \
             dead letters",
        ),
        Ok(Kept::NotVisible) => Line::ok(
            RETENTION,
            format!("not visible with this token; it has to be above MAX_AGE ({max})"),
        ),
        Err(error) => Line::bad(RETENTION, error.to_string(), SHOW_LOG),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use store::Kept;

    use super::super::line::Status;
    use super::kept_line;

    #[test]
    fn a_retention_that_is_not_above_the_highest_age_is_warned_of() {
        let day = Duration::from_hours(24);
        for (kept, status) in [
            (Kept::Forever, Status::Ok),
            (Kept::For(day * 30), Status::Ok),
            (Kept::For(day * 29), Status::Warn),
            (Kept::For(day), Status::Warn),
            (Kept::NotVisible, Status::Ok),
        ] {
            let line = kept_line(Ok(kept), day * 29);
            assert_eq!(line.status, status, "{}", line.detail);
        }
    }
}

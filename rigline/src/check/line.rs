//! One line of the answer.

use std::borrow::Cow;
use std::io::Write;
use std::time::Duration;

use serde::Serialize;

use crate::inspect::output::printable;

/// How long a check may take. Longer than connecting to a server may, whose error says more.
const LIMIT: Duration = Duration::from_secs(7);

/// The next step after an error of TLS, whose text has the remedy.
pub(super) const SEE_TLS: &str = "do what it says; docs/tls.md has more";

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// As it should be, as far as it can be seen.
    Ok,
    /// It works, and something should be changed or watched.
    Warn,
    /// It doesn't work, or it breaks the promise.
    Bad,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// What was found, with the next step if there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    pub(super) check: Cow<'static, str>,
    pub(super) status: Status,
    pub(super) detail: String,
    pub(super) next_step: Option<String>,
}

impl Line {
    /// The line, with the pipeline that it is about.
    pub(super) fn of(self, pipeline: &str) -> Self {
        Self {
            check: format!("{} of {pipeline}", self.check).into(),
            ..self
        }
    }

    pub(super) fn ok(check: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            status: Status::Ok,
            detail: detail.into(),
            next_step: None,
        }
    }

    pub(super) fn warn(
        check: impl Into<Cow<'static, str>>,
        detail: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Self {
        Self {
            status: Status::Warn,
            next_step: Some(next_step.into()),
            ..Self::ok(check, detail)
        }
    }

    pub(super) fn bad(
        check: impl Into<Cow<'static, str>>,
        detail: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Self {
        Self {
            status: Status::Bad,
            ..Self::warn(check, detail, next_step)
        }
    }
}

/// Runs a check. `Err` is the line to print if it takes too long.
pub(super) async fn limited<T>(
    check: &'static str,
    work: impl Future<Output = T>,
) -> Result<T, Line> {
    tokio::time::timeout(LIMIT, work).await.map_err(|_| {
        Line::bad(
            check,
            format!("no answer within {LIMIT:?}"),
            "find out what is slow: the server, or the network to it",
        )
    })
}

/// Prints the lines, aligned, with the next step below each that has one.
pub(super) fn print(out: &mut impl Write, lines: &[Line]) -> std::io::Result<()> {
    let width = lines.iter().map(|line| line.check.len()).max();
    let width = width.unwrap_or(0);
    for line in lines {
        let (word, detail) = (line.status.word(), printable(&line.detail));
        writeln!(out, "{word:<4}  {:<width$}  {detail}", line.check)?;
        if let Some(next) = &line.next_step {
            writeln!(out, "{:<4}  {:<width$}  -> {}", "", "", printable(next))?;
        }
    }
    let count = |status| lines.iter().filter(|line| line.status == status).count();
    writeln!(
        out,
        "{} ok, {} warn, {} bad",
        count(Status::Ok),
        count(Status::Warn),
        count(Status::Bad)
    )
}

#[cfg(test)]
mod tests {
    use super::{Line, limited, print};

    #[test]
    fn lines_are_aligned_and_escaped_with_the_next_step_below() {
        let lines = [
            Line::ok("Redis", "version 8\x1b[2J"),
            Line::warn("raw list", "nearly full", "start the transformer"),
            Line::bad("MQTT login", "refused", "check MQTT_PASSWORD"),
        ];
        let mut out = Vec::new();
        print(&mut out, &lines).unwrap();
        let expected = "ok    Redis       version 8\\u{1b}[2J\n\
                        warn  raw list    nearly full\n                  \
                        -> start the transformer\n\
                        bad   MQTT login  refused\n                  \
                        -> check MQTT_PASSWORD\n\
                        1 ok, 1 warn, 1 bad\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let json = serde_json::to_string(&lines[1]).unwrap();
        let expected = r#"{"check":"raw list","status":"warn","detail":"nearly full","next_step":"start the transformer"}"#;
        assert_eq!(json, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_takes_too_long_is_bad() {
        let never = limited("MQTT broker", std::future::pending::<()>()).await;
        assert_eq!(never.unwrap_err().detail, "no answer within 7s");
    }
}

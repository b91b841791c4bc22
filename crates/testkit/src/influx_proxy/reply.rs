//! Answers in the server's place.

use super::http::Request;
use crate::http::Answer;

/// What of a request reaches the server, which is then answered in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forward {
    /// Nothing.
    Nothing,
    /// All of it.
    All,
    /// Of the body every other line, starting with the first.
    EveryOtherLine,
    /// This body instead of its own.
    Instead(String),
}

/// An answer in the server's place, which doesn't see the request unless it is
/// [forwarded](Self::forwarding).
#[derive(Debug, Clone)]
pub struct Reply {
    pub(super) forward: Forward,
    pub(super) act: Act,
}

#[derive(Debug, Clone)]
pub(super) enum Act {
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    Drip {
        status: u16,
    },
    Silence,
    Cut,
}

impl Reply {
    /// A bare status with a body, as a proxy would send it.
    #[must_use]
    pub fn status(status: u16, body: impl Into<String>) -> Self {
        Self::new(Act::Answer {
            status,
            headers: Vec::new(),
            body: body.into(),
        })
    }

    /// An error of `InfluxDB`'s own, with its JSON.
    #[must_use]
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "code": code, "message": message });
        Self::status(status, body.to_string())
            .header("Content-Type", "application/json; charset=utf-8")
            .header("X-Platform-Error-Code", code)
    }

    /// The answer of `InfluxDB` to a write with lines that it can't parse, which are those that `is_bad`
    /// is true of; nothing if there is none. It stores no line of such a write.
    #[must_use]
    pub fn unparsable(write: &Request, is_bad: impl Fn(&str) -> bool) -> Option<Self> {
        let bad = write.text().lines().filter(|line| is_bad(line));
        let messages: Vec<_> = bad
            .map(|line| format!("unable to parse '{line}': invalid number"))
            .collect();
        (!messages.is_empty()).then(|| Self::error(400, "invalid", &messages.join("\n")))
    }

    /// The answer of a proxy to a body of more than `limit` bytes; nothing if it is smaller.
    #[must_use]
    pub fn too_large(write: &Request, limit: usize) -> Option<Self> {
        let page = "<html><head><title>413 Request Entity Too Large</title></head></html>";
        (write.text().len() > limit).then(|| Self::status(413, page))
    }

    /// The status and a body that never ends.
    #[must_use]
    pub fn drip(status: u16) -> Self {
        Self::new(Act::Drip { status })
    }

    /// No answer, for as long as the client waits.
    #[must_use]
    pub fn silence() -> Self {
        Self::new(Act::Silence)
    }

    /// The connection cut instead of an answer.
    #[must_use]
    pub fn cut() -> Self {
        Self::new(Act::Cut)
    }

    /// With a header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Act::Answer { headers, .. } = &mut self.act {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// With the request, or a part of it, handled by the server first; its answer is lost.
    #[must_use]
    pub fn forwarding(mut self, forward: Forward) -> Self {
        self.forward = forward;
        self
    }

    fn new(act: Act) -> Self {
        Self {
            forward: Forward::Nothing,
            act,
        }
    }
}

impl Act {
    /// The server's own answer.
    pub(super) fn of(answer: Answer) -> Self {
        let hop_by_hop = ["connection", "content-length", "date"];
        let is_kept = |(name, _): &(String, String)| {
            let name = name.to_ascii_lowercase();
            !hop_by_hop.contains(&name.as_str())
        };
        Self::Answer {
            status: answer.status,
            headers: answer.headers.into_iter().filter(is_kept).collect(),
            body: answer.body,
        }
    }

    /// The status, or 0 if there is none.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Answer { status, .. } | Self::Drip { status } => *status,
            Self::Silence | Self::Cut => 0,
        }
    }
}

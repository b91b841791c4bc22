//! Replies that the proxy gives instead of the server.

use super::http::Request;
use crate::http::Answer;

/// The part of a request that is forwarded before the proxy replies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forward {
    /// Nothing.
    Nothing,
    /// All of it.
    All,
    /// Every other line of the body, starting with the first.
    EveryOtherLine,
    /// The request with this body.
    Instead(String),
}

/// A reply instead of the server's. The server receives the request only if it is
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
    /// A status and a body, as from another proxy.
    #[must_use]
    pub fn status(status: u16, body: impl Into<String>) -> Self {
        Self::new(Act::Answer {
            status,
            headers: Vec::new(),
            body: body.into(),
        })
    }

    /// An error of `InfluxDB` with its JSON.
    #[must_use]
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "code": code, "message": message });
        Self::status(status, body.to_string())
            .header("Content-Type", "application/json; charset=utf-8")
            .header("X-Platform-Error-Code", code)
    }

    /// The reply of `InfluxDB` to a write with unparsable lines, which are those for which `is_bad` holds;
    /// `None` if there is none. `InfluxDB` stores no line of such a write.
    #[must_use]
    pub fn unparsable(write: &Request, is_bad: impl Fn(&str) -> bool) -> Option<Self> {
        let bad = write.text().lines().filter(|line| is_bad(line));
        let messages: Vec<_> = bad
            .map(|line| format!("unable to parse '{line}': invalid number"))
            .collect();
        (!messages.is_empty()).then(|| Self::error(400, "invalid", &messages.join("\n")))
    }

    /// The reply of a proxy to a body of more than `limit` bytes; `None` if it is smaller.
    #[must_use]
    pub fn too_large(write: &Request, limit: usize) -> Option<Self> {
        let page = "<html><head><title>413 Request Entity Too Large</title></head></html>";
        (write.text().len() > limit).then(|| Self::status(413, page))
    }

    /// A status and a body that never ends.
    #[must_use]
    pub fn drip(status: u16) -> Self {
        Self::new(Act::Drip { status })
    }

    /// No reply for as long as the client waits.
    #[must_use]
    pub fn silence() -> Self {
        Self::new(Act::Silence)
    }

    /// The connection is cut without a reply.
    #[must_use]
    pub fn cut() -> Self {
        Self::new(Act::Cut)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Act::Answer { headers, .. } = &mut self.act {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Forwards the request, or a part of it, to the server first; the server's response is lost.
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
    /// The server's response.
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

    /// The status, or 0 without one.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Answer { status, .. } | Self::Drip { status } => *status,
            Self::Silence | Self::Cut => 0,
        }
    }
}

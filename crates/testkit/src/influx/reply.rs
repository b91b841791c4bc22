//! Answers: the recorded ones, and others on command.

/// What becomes of the lines of a write that is answered on command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stores {
    /// Nothing.
    Nothing,
    /// All of it.
    All,
    /// Every other line, starting with the first.
    EveryOther,
}

/// An answer to a write. Stores nothing unless it [is told to](Self::storing).
#[derive(Debug, Clone)]
pub struct Reply {
    pub(super) stores: Stores,
    pub(crate) act: Act,
}

#[derive(Debug, Clone)]
pub(crate) enum Act {
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

    /// An error of `InfluxDB`'s own, with its headers and its JSON.
    #[must_use]
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "code": code, "message": message });
        Self::status(status, body.to_string())
            .own()
            .header("Content-Type", "application/json; charset=utf-8")
            .header("X-Platform-Error-Code", code)
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

    /// Storing the good lines, or some of them, nevertheless.
    #[must_use]
    pub fn storing(mut self, stores: Stores) -> Self {
        self.stores = stores;
        self
    }

    /// With the headers that every answer of `InfluxDB` has.
    pub(crate) fn own(self) -> Self {
        self.header("X-Influxdb-Build", "OSS")
            .header("X-Influxdb-Version", "v2.9.1")
    }

    fn new(act: Act) -> Self {
        Self {
            stores: Stores::Nothing,
            act,
        }
    }

    /// For the record: the status, or 0 if there is none.
    pub(crate) fn sent(&self) -> u16 {
        match &self.act {
            Act::Answer { status, .. } | Act::Drip { status } => *status,
            Act::Silence | Act::Cut => 0,
        }
    }
}

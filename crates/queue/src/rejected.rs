//! Inputs that a stage rejected: their dead letters, the quota, and the log.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use common::log_interval::{LogInterval, WARNING_INTERVAL};
use common::metric;
use model::Stage;
use model::dead_letter::{self, KEPT_OF_TOO_LARGE, PayloadDigest, Reason, Rejection};
use model::name::MAX_NAME;
use model::time::Timestamp;

use crate::settings::QueueLimits;

/// The part of the dead letters' limits that one series may use for one reason and day: a tenth.
const QUOTA_DIVISOR: usize = 10;
/// The time that a quota is for.
const QUOTA_INTERVAL: Duration = Duration::from_hours(24);
/// The most pairs of series and reason with a quota of their own. Further ones share one per reason, so
/// that a device can't escape its quota by sending under ever new names.
const MAX_QUOTAS: usize = 10_000;

/// An input that was rejected, for a commit or an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Why.
    pub reason: Reason,
    /// Its dead letter; `None` if the quota of its series is used up.
    pub element: Option<Vec<u8>>,
}

/// Where a rejected input came from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The rig, if it is known, otherwise an empty string.
    pub series: &'a str,
    /// The MQTT topic or the list.
    pub topic: &'a str,
    /// The message or the element.
    pub payload: &'a [u8],
    /// If `payload` is only the beginning of a message that is too large: what the whole is.
    pub truncated: Option<&'a PayloadDigest>,
    /// When it arrived at the stage.
    pub time: Timestamp,
}

/// Makes the dead letters of one stage.
///
/// One series can't evict the dead letters of all others: per reason and day, it may use a tenth of
/// `DEAD_LETTER_LIMIT` and `DEAD_LETTER_BYTES`. What is beyond is counted, but not kept. The quotas are
/// in memory, so a restart starts them again.
#[derive(Debug)]
pub struct DeadLetterEncoder {
    stage: Stage,
    quotas: Quotas,
    log: LogInterval,
    unlogged: Unlogged,
}

/// What was rejected since the last log message.
#[derive(Debug, Default, PartialEq, Eq)]
struct Unlogged {
    /// How many inputs, by reason.
    counts: BTreeMap<&'static str, usize>,
    /// How many of them had no quota left.
    over_quota: usize,
    /// The topic of the last one.
    topic: String,
    /// Why the last one was rejected.
    detail: String,
}

impl DeadLetterEncoder {
    /// For a stage and the limits of its dead letters.
    #[must_use]
    pub fn new(stage: Stage, limits: &QueueLimits) -> Self {
        Self {
            stage,
            quotas: Quotas::new(limits),
            log: LogInterval::new(WARNING_INTERVAL),
            unlogged: Unlogged::default(),
        }
    }

    /// Makes the dead letter of a rejected input, if its series has quota left. Logs a warning with this
    /// input as the example, at most every 30 s; [`log_rest`](Self::log_rest) logs what came in between.
    pub fn encode(&mut self, rejection: &Rejection, input: &Input<'_>) -> Rejected {
        let now = Instant::now();
        let reason = rejection.reason;
        tracing::debug!(%reason, rejection.detail, topic = input.topic, "dead letter");
        let bytes = match reason {
            Reason::TooLarge => input.payload.len().min(KEPT_OF_TOO_LARGE),
            _ => input.payload.len(),
        };
        let is_kept = self.quotas.admit(input.series, reason, bytes, now);
        let unlogged = &mut self.unlogged;
        unlogged.over_quota += usize::from(!is_kept);
        *unlogged.counts.entry(reason.as_str()).or_default() += 1;
        input.topic.clone_into(&mut unlogged.topic);
        rejection.detail.clone_into(&mut unlogged.detail);
        self.log_at(now);
        let element = is_kept.then(|| self.element(rejection, input));
        Rejected { reason, element }
    }

    fn element(&self, rejection: &Rejection, input: &Input<'_>) -> Vec<u8> {
        let Input {
            topic,
            payload,
            time,
            ..
        } = *input;
        match input.truncated {
            Some(whole) => {
                let detail = &rejection.detail;
                dead_letter::encode_truncated(self.stage, detail, topic, payload, whole, time)
            }
            None => dead_letter::encode(self.stage, rejection, topic, payload, time),
        }
    }

    /// Logs a warning about the inputs that were rejected since the last one, if there are any and 30 s have
    /// passed. To be called again and again, also while nothing arrives.
    pub fn log_rest(&mut self) {
        if !self.unlogged.counts.is_empty() {
            self.log_at(Instant::now());
        }
    }

    fn log_at(&mut self, now: Instant) {
        let Some(unlogged) = self.take_due(now) else {
            return;
        };
        let counts = unlogged.counts.iter();
        let counts: Vec<String> = counts
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        tracing::warn!(
            stage = self.stage.name(),
            rejected = counts.join(", "),
            over_quota = unlogged.over_quota,
            topic = unlogged.topic,
            detail = unlogged.detail,
            "rejected inputs became dead letters (topic and detail of the last one); \
             `rigline dlq list` with --pipeline shows them"
        );
    }

    /// What a message that is due `now` is about.
    fn take_due(&mut self, now: Instant) -> Option<Unlogged> {
        let is_due = !self.unlogged.counts.is_empty() && self.log.is_due(now);
        is_due.then(|| std::mem::take(&mut self.unlogged))
    }
}

/// What each series has used today.
#[derive(Debug)]
struct Quotas {
    letters: usize,
    bytes: usize,
    used: HashMap<(Reason, Box<str>), Used>,
    /// When this interval began.
    since: Option<Instant>,
}

#[derive(Debug, Default)]
struct Used {
    letters: usize,
    bytes: usize,
}

impl Quotas {
    fn new(limits: &QueueLimits) -> Self {
        Self {
            letters: limits.dead_letter_limit.div_ceil(QUOTA_DIVISOR),
            bytes: limits.dead_letter_bytes.div_ceil(QUOTA_DIVISOR),
            used: HashMap::new(),
            since: None,
        }
    }

    /// Whether a dead letter with a payload of this size may be kept; then it is counted. The first one
    /// of an interval always may.
    fn admit(&mut self, series: &str, reason: Reason, bytes: usize, now: Instant) -> bool {
        let is_over = |since| now.saturating_duration_since(since) >= QUOTA_INTERVAL;
        if self.since.is_none_or(is_over) {
            self.used.clear();
            self.since = Some(now);
        }
        let mut key = (reason, clipped(series));
        if self.used.len() >= MAX_QUOTAS && !self.used.contains_key(&key) {
            key.1 = Box::default();
        }
        let used = self.used.entry(key).or_default();
        let is_kept = used.letters < self.letters
            && (used.letters == 0 || used.bytes.saturating_add(bytes) <= self.bytes);
        if is_kept {
            used.letters += 1;
            used.bytes = used.bytes.saturating_add(bytes);
        }
        is_kept
    }
}

fn clipped(series: &str) -> Box<str> {
    series[..series.floor_char_boundary(MAX_NAME)].into()
}

/// What to count of rejected inputs once their dead letters are in the list.
#[derive(Debug, Default)]
pub struct Tally(Vec<(Reason, bool)>);

impl Tally {
    /// Takes the dead letters of rejected inputs, for a commit or an append.
    #[must_use]
    pub fn split(rejected: Vec<Rejected>) -> (Vec<Vec<u8>>, Self) {
        let is_kept = |rejected: &Rejected| (rejected.reason, rejected.element.is_some());
        let tally = Self(rejected.iter().map(is_kept).collect());
        let elements = rejected.into_iter().filter_map(|rejected| rejected.element);
        (elements.collect(), tally)
    }

    /// The number of inputs without a dead letter.
    #[must_use]
    pub fn over_quota(&self) -> usize {
        self.0.iter().filter(|(_, is_kept)| !is_kept).count()
    }

    /// Counts the inputs in the metrics.
    pub fn count(&self) {
        for (reason, is_kept) in &self.0 {
            metric::count_dead_letter(*reason, *is_kept);
        }
    }
}

#[cfg(test)]
mod tests;

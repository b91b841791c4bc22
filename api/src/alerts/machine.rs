//! What becomes of an alert of one series, value by value: no I/O and no clock.

use model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rule::Rule;

#[cfg(test)]
mod tests;

/// The state of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AlertState {
    /// Nothing to report
    Ok,
    /// Values are beyond a threshold, not yet for long enough
    Pending,
    /// Reported
    Firing,
    /// Over, after it was reported
    Resolved,
}

impl AlertState {
    /// The name in the API, in logs and metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// What an alert reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AlertKind {
    /// Values beyond a threshold
    Threshold,
    /// A series without new rows
    Stale,
}

/// An alert of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) state: AlertState,
    pub(crate) kind: AlertKind,
    /// The newest value.
    pub(crate) value: Option<f64>,
    /// The threshold that was crossed, while pending or firing.
    threshold: Option<f64>,
    /// When it came into this state.
    #[serde(with = "nanos")]
    pub(crate) since: Timestamp,
    /// The time of the newest row that was evaluated.
    #[serde(with = "nanos")]
    pub(crate) evaluated: Timestamp,
    /// Whether a row that wasn't backfilled has been evaluated. A series that only has old rows, as when its
    /// alert is new, isn't reported as stale.
    is_live: bool,
}

/// An alert that began or ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Transition {
    pub(crate) state: AlertState,
    pub(crate) kind: AlertKind,
    pub(crate) value: Option<f64>,
    pub(crate) threshold: Option<f64>,
    pub(crate) time: Timestamp,
}

impl Machine {
    /// For a series whose rows after this time are to be evaluated.
    pub(crate) const fn new(evaluated: Timestamp) -> Self {
        Self {
            state: AlertState::Ok,
            kind: AlertKind::Threshold,
            value: None,
            threshold: None,
            since: evaluated,
            evaluated,
            is_live: false,
        }
    }

    /// The same with a first row at this time.
    pub(crate) fn begun_at(&self, time: Timestamp) -> Self {
        Self {
            since: time,
            ..self.clone()
        }
    }

    /// Whether only another row has been evaluated, which changed nothing else. Evaluated again, it would change
    /// nothing again.
    pub(crate) fn only_moved_from(&self, before: &Self) -> bool {
        let moved = Self {
            value: self.value,
            evaluated: self.evaluated,
            ..before.clone()
        };
        moved == *self
    }

    /// Rows up to this time needn't be read: they are evaluated already, or backfilled ones that change nothing.
    pub(crate) fn done_until(&self, rule: &Rule, now: Timestamp) -> Timestamp {
        match self.state {
            AlertState::Ok | AlertState::Resolved => self.evaluated.max(rule.backfilled_until(now)),
            AlertState::Pending | AlertState::Firing => self.evaluated,
        }
    }

    /// Evaluates a row; `None` is a value that isn't a number. Rows that aren't newer than the newest one are
    /// ignored.
    pub(crate) fn take(
        &mut self,
        rule: &Rule,
        time: Timestamp,
        value: Option<f64>,
        now: Timestamp,
    ) -> Vec<Transition> {
        let mut transitions = Vec::new();
        if time <= self.evaluated {
            return transitions;
        }
        self.evaluated = time;
        let is_backfilled = time <= rule.backfilled_until(now);
        self.is_live |= !is_backfilled;
        let value = value.filter(|value| value.is_finite());
        self.value = value.or(self.value);
        let is_reported_stale = (self.state, self.kind) == (AlertState::Firing, AlertKind::Stale);
        if is_reported_stale {
            if rule.is_stale(time, now) {
                return transitions;
            }
            transitions.push(self.enter(AlertState::Resolved, time));
        }
        if let Some(value) = value {
            transitions.extend(self.evaluate(rule, time, value, is_backfilled));
        }
        transitions
    }

    fn evaluate(
        &mut self,
        rule: &Rule,
        time: Timestamp,
        value: f64,
        is_backfilled: bool,
    ) -> Option<Transition> {
        if self.state == AlertState::Firing {
            let is_over = rule.is_cleared(value);
            return is_over.then(|| self.enter(AlertState::Resolved, time));
        }
        let Some(threshold) = rule.crossed(value) else {
            if self.state == AlertState::Pending {
                self.enter(AlertState::Ok, time);
            }
            return None;
        };
        if is_backfilled {
            return None;
        }
        if self.state != AlertState::Pending {
            self.enter(AlertState::Pending, time);
            self.kind = AlertKind::Threshold;
        }
        self.threshold = Some(threshold);
        let is_held = time.since(self.since) >= rule.hold;
        is_held.then(|| self.enter(AlertState::Firing, time))
    }

    /// Reports the series as stale if it has had no row for too long, while rows could have come.
    pub(crate) fn check_stale(
        &mut self,
        rule: &Rule,
        now: Timestamp,
        watched_since: Timestamp,
    ) -> Option<Transition> {
        let is_due = self.is_live
            && self.state != AlertState::Firing
            && rule.is_stale(self.evaluated, now)
            && rule
                .stale_after
                .is_some_and(|after| now.since(watched_since) > after);
        is_due.then(|| {
            self.kind = AlertKind::Stale;
            self.threshold = None;
            self.enter(AlertState::Firing, now)
        })
    }

    /// The series has no rows any more.
    pub(crate) fn end(&mut self, now: Timestamp) -> Option<Transition> {
        let is_reported = self.state == AlertState::Firing;
        is_reported.then(|| self.enter(AlertState::Resolved, now))
    }

    fn enter(&mut self, state: AlertState, time: Timestamp) -> Transition {
        self.state = state;
        self.since = time;
        Transition {
            state,
            kind: self.kind,
            value: self.value,
            threshold: self.threshold,
            time,
        }
    }
}

/// A time as nanoseconds since 1970.
mod nanos {
    use model::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    pub(super) fn serialize<S: Serializer>(
        time: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.nanos())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_nanos)
    }
}

//! A slow reference implementation of the rules of windows, written from their text: lists, searched from
//! end to end.

use std::cmp::Ordering;
use std::time::Duration;

use model::dead_letter::Reason;
use model::pipeline::Statistic;
use model::{Timestamp, Value};

use crate::settings::WindowSettings;
use crate::shape::Counts;
use crate::testing::Emission;

/// A sample.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Taken {
    pub(super) series: String,
    pub(super) time: Timestamp,
    pub(super) ingested: Timestamp,
    pub(super) values: Vec<(String, Value)>,
}

/// A reading of a window that can still be corrected.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    pub(super) series: String,
    pub(super) start: Timestamp,
    pub(super) field: String,
    pub(super) time: Timestamp,
    pub(super) value: Value,
    arrival: Duration,
    in_row: bool,
}

#[derive(Debug, Clone)]
struct Series {
    name: String,
    newest: Timestamp,
    last_active: Duration,
}

#[derive(Debug, Clone)]
pub(super) struct ReferenceWindows {
    settings: WindowSettings,
    readings: Vec<Reading>,
    series: Vec<Series>,
    /// Series without windows, and the time before which windows must end to have been let go.
    remembered: Vec<(String, Timestamp)>,
    /// Fields, and when their last reading arrived.
    fields: Vec<(String, Duration)>,
    ingested: Timestamp,
    pub(super) emitted: Vec<Emission>,
    pub(super) counts: Counts,
}

const NEVER: Timestamp = Timestamp::from_nanos(i64::MIN);

impl ReferenceWindows {
    pub(super) fn new(settings: WindowSettings) -> Self {
        Self {
            settings,
            readings: Vec::new(),
            series: Vec::new(),
            remembered: Vec::new(),
            fields: Vec::new(),
            ingested: NEVER,
            emitted: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// As if the process had been started again: timers are gone, the rest is not.
    pub(super) fn restart(&mut self) {
        for reading in &mut self.readings {
            reading.arrival = Duration::ZERO;
        }
        for series in &mut self.series {
            series.last_active = Duration::ZERO;
        }
        let readings = &self.readings;
        self.fields
            .retain(|(field, _)| readings.iter().any(|reading| reading.field == *field));
        for (_, last_arrival) in &mut self.fields {
            *last_arrival = Duration::ZERO;
        }
        self.ingested = NEVER;
    }

    pub(super) fn open_readings(&self) -> usize {
        self.readings
            .iter()
            .filter(|reading| !reading.in_row)
            .count()
    }

    fn end(&self, start: Timestamp) -> Timestamp {
        start.plus(self.settings.every)
    }

    fn is_let_go(&self, name: &str, start: Timestamp) -> bool {
        let series = self.series.iter().find(|series| series.name == *name);
        let is_behind = series
            .is_some_and(|series| self.end(start).plus(self.settings.late_window) < series.newest);
        let mut remembered = self.remembered.iter();
        is_behind || remembered.any(|(other, floor)| other == name && self.end(start) < *floor)
    }

    fn of_window(&self, series: &str, start: Timestamp) -> Vec<&Reading> {
        let readings = self.readings.iter();
        readings
            .filter(|reading| reading.series == series && reading.start == start)
            .collect()
    }

    fn release_idle_fields(&mut self, now: Duration) {
        let (readings, idle) = (&self.readings, self.settings.series_idle);
        self.fields.retain(|(field, last_arrival)| {
            *last_arrival + idle > now || readings.iter().any(|reading| reading.field == *field)
        });
    }

    /// Why a sample is refused.
    fn refuse(&self, taken: &Taken, start: Timestamp) -> Option<Reason> {
        let limits = self.settings.limits;
        let is_known = self.series.iter().any(|series| series.name == taken.series);
        if !is_known && self.series.len() >= limits.max_series {
            return Some(Reason::TooManySeries);
        }
        if self.is_let_go(&taken.series, start) {
            return Some(Reason::TooLate);
        }
        let window = self.of_window(&taken.series, start);
        let mut fields: Vec<&String> = window.iter().map(|reading| &reading.field).collect();
        fields.extend(taken.values.iter().map(|(field, _)| field));
        fields.sort();
        fields.dedup();
        if fields.len() * self.settings.statistics.len() > limits.max_row_fields {
            return Some(Reason::RowTooWide);
        }
        let is_new = |field: &str| !self.fields.iter().any(|(other, _)| other == field);
        let new = taken
            .values
            .iter()
            .filter(|(field, _)| is_new(field))
            .count();
        if new > 0 && self.fields.len() + new > limits.max_fields {
            return Some(Reason::TooManyFields);
        }
        let is_beyond = |(field, value): &(String, Value)| {
            let of_field = window.iter().filter(|reading| reading.field == *field);
            of_field.count() >= self.settings.max_window_readings
                && !self.is_repeated(taken, start, field, value)
        };
        taken
            .values
            .iter()
            .any(is_beyond)
            .then_some(Reason::WindowFull)
    }

    fn is_repeated(&self, taken: &Taken, start: Timestamp, field: &str, value: &Value) -> bool {
        let window = self.of_window(&taken.series, start);
        let mut same = window.iter().filter(|reading| reading.field == *field);
        self.settings.dedupe
            && same.any(|reading| reading.time == taken.time && reading.value == *value)
    }

    pub(super) fn take(&mut self, taken: &Taken, now: Duration) -> Option<Reason> {
        let start = taken.time.tick(self.settings.every);
        let known = self.fields.iter().map(|(field, _)| field.clone());
        let known: Vec<String> = known.collect();
        if taken.values.iter().any(|(field, _)| !known.contains(field)) {
            self.release_idle_fields(now);
        }
        if let Some(reason) = self.refuse(taken, start) {
            return Some(reason);
        }
        self.ingested = self.ingested.max(taken.ingested);
        let mut new = Vec::new();
        for (field, value) in &taken.values {
            self.fields.retain(|(other, _)| other != field);
            self.fields.push((field.clone(), now));
            self.counts.readings += 1;
            if self.is_repeated(taken, start, field, value) {
                self.counts.repeated += 1;
            } else {
                self.counts.open_readings += 1;
                new.push(Reading {
                    series: taken.series.clone(),
                    start,
                    field: field.clone(),
                    time: taken.time,
                    value: value.clone(),
                    arrival: now,
                    in_row: false,
                });
            }
        }
        let is_new = !new.is_empty();
        self.readings.extend(new);
        let newest = taken.time.min(taken.ingested);
        match self
            .series
            .iter_mut()
            .find(|series| series.name == taken.series)
        {
            None => self.series.push(Series {
                name: taken.series.clone(),
                newest,
                last_active: now,
            }),
            Some(series) => {
                series.last_active = now;
                if is_new {
                    series.newest = series.newest.max(newest);
                }
            }
        }
        for (series, start) in self.windows() {
            if self.is_let_go(&series, start) {
                self.let_go(&series, start);
            }
        }
        None
    }

    /// All windows with readings.
    fn windows(&self) -> Vec<(String, Timestamp)> {
        let readings = self.readings.iter();
        let mut windows: Vec<_> = readings
            .map(|reading| (reading.series.clone(), reading.start))
            .collect();
        windows.sort();
        windows.dedup();
        windows
    }

    fn let_go(&mut self, series: &str, start: Timestamp) {
        self.emit(series, start);
        self.readings
            .retain(|reading| reading.series != series || reading.start != start);
    }

    /// When the row of a window is due; none if it has all readings.
    fn due(&self, series: &str, start: Timestamp) -> Option<Duration> {
        let readings = self.of_window(series, start);
        let open = readings.iter().filter(|reading| !reading.in_row);
        let grace = self.settings.grace;
        if readings.iter().any(|reading| reading.in_row) {
            return open.map(|reading| reading.arrival + grace).min();
        }
        open.map(|reading| reading.arrival + self.end(start).since(reading.time) + grace)
            .max()
    }

    pub(super) fn expire(&mut self, now: Duration) {
        for (name, start) in self.windows() {
            if self.due(&name, start).is_some_and(|due| due <= now) {
                self.emit(&name, start);
                let mut series = self.series.iter_mut();
                series
                    .find(|series| series.name == name)
                    .unwrap()
                    .last_active = now;
            }
        }
        for series in self.series.clone() {
            let windows = self.windows();
            let windows = windows.iter().filter(|(name, _)| *name == series.name);
            let ends = windows.clone().map(|(_, start)| self.end(*start));
            let mut waits = windows.map(|(name, start)| self.due(name, *start).is_some());
            if series.last_active + self.settings.series_idle > now || waits.any(|waits| waits) {
                continue;
            }
            let floor = ends.max().unwrap().plus(Duration::from_nanos(1));
            self.remembered.retain(|(name, _)| *name != series.name);
            self.remembered.push((series.name.clone(), floor));
            self.readings
                .retain(|reading| reading.series != series.name);
            self.series.retain(|other| other.name != series.name);
        }
        self.forget_remembered();
    }

    fn forget_remembered(&mut self) {
        let oldest = self.ingested.minus(self.settings.max_age);
        let series = &self.series;
        let is_silent = |name: &String| !series.iter().any(|series| series.name == *name);
        let silent = self.remembered.iter();
        let mut silent: Vec<_> = silent
            .filter(|(name, _)| is_silent(name))
            .cloned()
            .collect();
        silent.sort_by(|a, b| (b.1, &b.0).cmp(&(a.1, &a.0)));
        let is_kept = |(place, (_, floor)): &(usize, &(String, Timestamp))| {
            *floor >= oldest && *place < self.settings.limits.max_series
        };
        let kept = silent.iter().enumerate().filter(is_kept);
        let kept: Vec<String> = kept.map(|(_, (name, _))| name.clone()).collect();
        self.remembered
            .retain(|(name, _)| !is_silent(name) || kept.contains(name));
    }

    fn emit(&mut self, series: &str, start: Timestamp) {
        let window = self.of_window(series, start);
        let window: Vec<Reading> = window.into_iter().cloned().collect();
        let new = window.iter().filter(|reading| !reading.in_row).count();
        if new == 0 {
            return;
        }
        let is_corrected = new < window.len();
        self.counts.in_rows += new as u64;
        self.counts.open_readings -= i64::try_from(new).unwrap();
        let fields = row(&self.settings, &window);
        if !fields.is_empty() {
            self.counts.corrected += u64::from(is_corrected);
            self.counts.windows += u64::from(!is_corrected);
            self.emitted.push((series.to_owned(), start, fields));
        }
        for reading in &mut self.readings {
            if reading.series == series && reading.start == start {
                reading.in_row = true;
            }
        }
    }
}

/// The fields of the row of these readings, by name.
pub(super) fn row(settings: &WindowSettings, window: &[Reading]) -> Vec<(String, Value)> {
    let mut fields: Vec<&String> = window.iter().map(|reading| &reading.field).collect();
    fields.sort();
    fields.dedup();
    let mut row = Vec::new();
    for field in fields {
        let readings = window.iter().filter(|reading| reading.field == *field);
        let mut readings: Vec<_> = readings
            .map(|reading| (reading.time, &reading.value))
            .collect();
        readings.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| order(a.1, b.1)));
        for (name, of) in &settings.statistics {
            if let Some(value) = statistic(*of, &readings) {
                row.push((format!("{field}_{name}"), value));
            }
        }
    }
    row.sort_by(|a, b| a.0.cmp(&b.0));
    row
}

/// A sample as readings that have just arrived.
pub(super) fn readings(settings: &WindowSettings, taken: &Taken) -> Vec<Reading> {
    let values = taken.values.iter();
    values
        .map(|(field, value)| Reading {
            series: taken.series.clone(),
            start: taken.time.tick(settings.every),
            field: field.clone(),
            time: taken.time,
            value: value.clone(),
            arrival: Duration::ZERO,
            in_row: false,
        })
        .collect()
}

/// The order of values of one time: floats, booleans, integers, strings.
fn order(a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Float(_) => 0,
        Value::Bool(_) => 1,
        Value::Integer(_) => 2,
        Value::String(_) => 3,
    };
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "tests have few readings")]
fn statistic(of: Statistic, readings: &[(Timestamp, &Value)]) -> Option<Value> {
    let numbers = readings.iter().filter_map(|(_, value)| value.as_number());
    let mut numbers: Vec<f64> = numbers.collect();
    let count = numbers.len() as f64;
    let sum: f64 = numbers.iter().sum();
    let number = match of {
        Statistic::Count => return i64::try_from(readings.len()).ok().map(Value::Integer),
        Statistic::First => return Some(readings.first()?.1.clone()),
        Statistic::Last => return Some(readings.last()?.1.clone()),
        _ if numbers.is_empty() => return None,
        Statistic::Sum => sum,
        Statistic::Mean => sum / count,
        Statistic::Stddev if numbers.len() == 1 => return None,
        Statistic::Stddev => {
            let squares = numbers.iter().map(|number| (number - sum / count).powi(2));
            (squares.sum::<f64>() / (count - 1.0)).sqrt()
        }
        Statistic::Median | Statistic::Min | Statistic::Max => {
            numbers.sort_by(f64::total_cmp);
            let place = |place: usize| numbers[place];
            match of {
                Statistic::Min => place(0),
                Statistic::Max => place(numbers.len() - 1),
                // Halved first, so that the sum doesn't overflow.
                _ => place((numbers.len() - 1) / 2) / 2.0 + place(numbers.len() / 2) / 2.0,
            }
        }
    };
    number.is_finite().then_some(Value::Float(number))
}

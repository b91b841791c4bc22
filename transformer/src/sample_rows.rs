//! A row for each sample, at the sample's own time, without waiting.
//!
//! There is no state: a sample that is delivered again is written again, as the same row. Stores overwrite
//! it with the same values; a consumer of a stream of rows sees it twice.

use std::time::Duration;

use model::Layout;
use model::dead_letter::Rejection;
use model::element::RawSample;
use queue::State;

use crate::limits::row_too_wide;
use crate::omitted::Examples;
use crate::settings::SampleSettings;
use crate::shape::{Changes, Inconsistent, Shape};

/// Makes a row of each sample.
#[derive(Debug)]
pub struct SampleRows {
    settings: SampleSettings,
    layout: Layout,
    changes: Changes,
}

impl SampleRows {
    /// There is no state to restore: `entries` are logged and deleted.
    #[must_use]
    pub fn load(settings: &SampleSettings, layout: Layout, entries: State) -> Self {
        let mut changes = Changes::default();
        for (key, _) in entries {
            tracing::error!(key = %key.escape_ascii(), "cannot read an entry of the state, deleting it");
            changes.deletes.push(key);
        }
        Self {
            settings: settings.clone(),
            layout,
            changes,
        }
    }
}

impl Shape for SampleRows {
    fn take(
        &mut self,
        sample: &RawSample<'_>,
        _now: Duration,
    ) -> Result<Result<(), Rejection>, Inconsistent> {
        let (width, limit) = (sample.values.len(), self.settings.max_row_fields);
        if width > limit {
            return Ok(Err(row_too_wide(limit, &sample.series, sample.timestamp)));
        }
        let mut element = Vec::with_capacity(64 + sample.series.len() + 24 * width);
        let fields = sample.values.iter();
        let fields = fields.map(|(name, value)| (name.as_str(), value));
        let time = sample.timestamp.tick(self.settings.precision);
        self.layout
            .encode_row_of(&sample.series, time, fields, &mut element);
        self.changes.rows.push(element);
        let counts = &mut self.changes.counts;
        counts.readings += width as u64;
        counts.in_rows += width as u64;
        counts.samples += 1;
        Ok(Ok(()))
    }

    fn expire(&mut self, _now: Duration, _max_rows: usize) -> Result<bool, Inconsistent> {
        Ok(true)
    }

    fn drain(&mut self) -> Result<(), Inconsistent> {
        Ok(())
    }

    fn finish(&mut self) -> Result<Changes, Inconsistent> {
        Ok(std::mem::take(&mut self.changes))
    }

    fn open_rows(&self) -> usize {
        0
    }

    fn take_examples(&mut self) -> Examples {
        Examples::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::dead_letter::Reason;
    use model::element::RawSample;
    use model::{Layout, Name, Timestamp, Value};

    use super::SampleRows;
    use crate::settings::SampleSettings;
    use crate::shape::Shape;

    fn sample(ms: i64, values: Vec<(&'static str, Value)>) -> RawSample<'static> {
        let values = values.into_iter();
        RawSample {
            series: r#"{"device":"R"}"#.into(),
            timestamp: Timestamp::from_millis(ms),
            ingest_time: Timestamp::from_millis(ms + 50),
            values: values
                .map(|(name, value)| (Name::new(name).unwrap(), value))
                .collect(),
        }
    }

    #[test]
    fn a_sample_is_a_row_at_its_own_time() {
        let settings = SampleSettings {
            max_row_fields: 3,
            precision: Duration::ZERO,
        };
        let entries = vec![(b"?".to_vec(), Vec::new())];
        let mut rows = SampleRows::load(&settings, Layout::Tagged, entries);
        let values = vec![
            ("a", Value::Float(1.0)),
            ("n", Value::Integer(2)),
            ("on", Value::Bool(true)),
        ];
        let wide = [values.clone(), vec![("state", Value::String("x".into()))]].concat();
        let mut take = |sample| rows.take(&sample, Duration::ZERO).unwrap();
        assert_eq!(take(sample(1_762_092_000_123, values.clone())), Ok(()));
        let refused = take(sample(0, wide)).unwrap_err();
        assert_eq!(refused.reason, Reason::RowTooWide);
        // Delivered again, it is written again.
        assert_eq!(take(sample(1_762_092_000_123, values)), Ok(()));
        assert!(rows.expire(Duration::from_hours(1), 1).unwrap());
        let changes = rows.finish().unwrap();
        let row = r#"{"tags":{"device":"R"},"timestamp":"2025-11-02T14:00:00.123Z","values":{"a":1.0,"n":2,"on":true}}"#;
        assert_eq!(changes.rows, [row.as_bytes(), row.as_bytes()]);
        let counts = changes.counts;
        assert_eq!((counts.readings, counts.in_rows, counts.samples), (6, 6, 2));
        assert!(changes.puts.is_empty());
        assert_eq!(changes.deletes, [b"?"]);
        assert_eq!(rows.open_rows(), 0);
    }

    #[test]
    fn times_have_no_more_digits_than_the_store_keeps() {
        let settings = SampleSettings {
            max_row_fields: 3,
            precision: Duration::from_millis(1),
        };
        let mut rows = SampleRows::load(&settings, Layout::Tagged, Vec::new());
        for nanos in [-1, 1_999_999] {
            let mut sample = sample(0, vec![("a", Value::Float(1.0))]);
            sample.timestamp = Timestamp::from_nanos(nanos);
            assert_eq!(rows.take(&sample, Duration::ZERO).unwrap(), Ok(()));
        }
        let found = rows.finish().unwrap().rows.into_iter();
        let found: Vec<_> = found
            .map(|row| Layout::Tagged.decode_row(&row).unwrap().timestamp.nanos())
            .collect();
        assert_eq!(found, [-1_000_000, 1_000_000]);
    }
}

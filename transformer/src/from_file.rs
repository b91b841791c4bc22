//! The settings of a pipeline that a file describes.

use std::time::Duration;

use model::Name;
use model::pipeline::{At, Period, PipelineFile, ShapeKind, SourceKind};
use queue::settings::QueueSettings;

use crate::settings::{
    RowLimits, RowSettings, SampleSettings, ShapeSettings, WindowSettings, Work,
};

impl Work {
    /// The settings of the pipeline of a file, with these lists.
    #[must_use]
    pub fn of_file(file: &PipelineFile, queue: QueueSettings) -> Self {
        Self {
            shape: shape(file),
            times: file.limits.times(),
            queue,
        }
    }
}

fn shape(file: &PipelineFile) -> ShapeSettings {
    match file.shape() {
        ShapeKind::Pivot => ShapeSettings::Pivot(pivot(file)),
        ShapeKind::Window => ShapeSettings::Window(window(file)),
        ShapeKind::Sample => ShapeSettings::Sample(SampleSettings {
            max_row_fields: row_limits(file).max_row_fields,
            precision: file.row_precision(),
        }),
    }
}

fn pivot(file: &PipelineFile) -> RowSettings {
    let rows = &file.rows;
    let expected = rows.expected.as_ref().map_or(&[][..], |names| names);
    let align = rows.align.as_ref();
    let align = align.map_or(Duration::from_secs(1), |period| period.0);
    RowSettings {
        // 0 keeps times exact, so two rows could become one where the store has fewer digits.
        align: align.max(file.row_precision()),
        flush_interval: rows
            .flush_interval
            .as_ref()
            .map_or(Duration::from_secs(5), |period| period.0),
        late_window: late_window(file),
        rig_idle: series_idle(file),
        // The file's check refuses names that aren't valid.
        expected_sensors: expected
            .iter()
            .filter_map(|name| Name::new(name.clone()).ok())
            .collect(),
        max_open_rows: rows.max_open_rows.as_deref().copied().unwrap_or(100_000),
        limits: row_limits(file),
    }
}

fn window(file: &PipelineFile) -> WindowSettings {
    let rows = &file.rows;
    let period = |given: Option<&At<Period>>, default| given.map_or(default, |period| period.0);
    WindowSettings {
        // The file's check asks for it.
        every: period(rows.every.as_ref(), Duration::from_secs(1)),
        statistics: file.statistics(),
        names: file.statistic_names().to_owned(),
        grace: period(rows.grace.as_ref(), Duration::from_secs(2)),
        late_window: late_window(file),
        max_age: file.limits.times().max_age,
        series_idle: series_idle(file),
        // A channel delivers once, and the times of its messages may be those of their arrival.
        dedupe: rows.dedupe.as_deref().copied().unwrap_or_else(|| {
            let kind = file.source.kind.as_deref();
            kind != Some(&SourceKind::RedisPubsub)
        }),
        max_window_readings: rows
            .max_window_readings
            .as_deref()
            .copied()
            .unwrap_or(100_000),
        limits: row_limits(file),
    }
}

fn row_limits(file: &PipelineFile) -> RowLimits {
    let limits = &file.limits;
    RowLimits {
        max_series: limits.max_series.as_deref().copied().unwrap_or(100_000),
        max_fields: limits.max_fields.as_deref().copied().unwrap_or(1_000),
        max_row_fields: limits.max_row_fields.as_deref().copied().unwrap_or(256),
    }
}

fn late_window(file: &PipelineFile) -> Duration {
    let given = file.limits.late_window.as_ref();
    given.map_or(Duration::from_mins(1), |period| period.0)
}

fn series_idle(file: &PipelineFile) -> Duration {
    let given = file.limits.series_idle.as_ref();
    given.map_or(Duration::from_hours(1), |period| period.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::pipeline::PipelineFile;

    use super::shape;
    use crate::settings::ShapeSettings;

    #[test]
    fn exact_times_have_no_more_digits_than_the_store_keeps() {
        let align = |store: &str, rows: &str| {
            let text = format!(
                "name = \"a\"\n[source]\ntopic = \"a/{{b}}/{{field}}\"\n[rows]\n{rows}\n[[store]]\n{store}"
            );
            let file = PipelineFile::parse("a.toml", &text, &|_| None).unwrap();
            match shape(&file) {
                ShapeSettings::Pivot(rows) => rows.align,
                ShapeSettings::Sample(samples) => samples.precision,
                ShapeSettings::Window(_) => Duration::MAX,
            }
        };
        let (influx, mongodb) = (
            "kind = \"influx\"",
            "kind = \"mongodb\"\nurl = \"mongodb://h\"",
        );
        let milli = Duration::from_millis(1);
        assert_eq!(align(influx, "align = 0"), Duration::ZERO);
        assert_eq!(align(mongodb, "align = 0"), milli);
        assert_eq!(align(mongodb, "align = \"2s\""), Duration::from_secs(2));
        assert_eq!(align(influx, "shape = \"sample\""), Duration::ZERO);
        assert_eq!(align(mongodb, "shape = \"sample\""), milli);
    }
}

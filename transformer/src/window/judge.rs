//! Whether a sample is taken. It is judged whole before any of it is taken.

use model::Timestamp;
use model::dead_letter::{Reason, Rejection};
use model::element::RawSample;
use smallvec::SmallVec;

use super::Windows;
use super::fields::FieldId;
use super::held::Window;

/// What becomes of the values of a sample, mostly one.
pub(super) type Verdicts = SmallVec<[Verdict; 1]>;

/// What becomes of a value of a sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    /// None for a new field.
    pub(super) field: Option<FieldId>,
    /// Its window has the same reading already.
    pub(super) repeated: bool,
}

impl Windows {
    /// Judges a sample whose window starts then. The fields that it doesn't name have been released if they
    /// are idle, so what remains counts.
    pub(super) fn judge(
        &self,
        sample: &RawSample<'_>,
        start: Timestamp,
    ) -> Result<Verdicts, Rejection> {
        let limits = &self.settings.limits;
        let idle = self.settings.series_idle;
        let series = self.series.find(&sample.series);
        if series.is_none() && self.series.len() >= limits.max_series {
            return Err(limits.too_many_series(&sample.series, idle));
        }
        let floor = self.series.floor(&sample.series);
        if start.plus(self.settings.every) < floor {
            return Err(too_late(sample, start, floor));
        }
        let window = series.and_then(|series| series.windows.get(&start));
        let window = window.and_then(|id| self.held.find(*id));
        let names = sample.values.iter().map(|(name, _)| name);
        let ids: SmallVec<[_; 1]> = names.map(|name| self.fields.id(name)).collect();
        // Before the fields: a row that is full must not use up fields.
        let is_new = |id: &&Option<FieldId>| {
            let held = id.and_then(|id| window?.field(id));
            held.is_none()
        };
        let width = window.map_or(0, Window::width) + ids.iter().filter(is_new).count();
        if width * self.settings.statistics.len() > limits.max_row_fields {
            return Err(limits.row_too_wide(&sample.series, start));
        }
        self.judge_new_fields(sample, &ids)?;
        let mut verdicts = Verdicts::new();
        for ((name, value), field) in std::iter::zip(&sample.values, ids) {
            let held = field.and_then(|field| window?.field(field));
            let repeated = self.settings.dedupe
                && held.is_some_and(|held| held.contains(sample.timestamp, value));
            let is_full = held.is_some_and(|held| held.len() >= self.settings.max_window_readings);
            if is_full && !repeated {
                return Err(self.window_full(sample, start, name));
            }
            verdicts.push(Verdict { field, repeated });
        }
        Ok(verdicts)
    }

    fn judge_new_fields(
        &self,
        sample: &RawSample<'_>,
        ids: &[Option<FieldId>],
    ) -> Result<(), Rejection> {
        let limits = &self.settings.limits;
        let named = std::iter::zip(&sample.values, ids);
        let new = named.filter(|(_, id)| id.is_none());
        let new = new.map(|((name, _), _)| name.as_str());
        let count = new.clone().count();
        if count > 0 && self.fields.len() + count > limits.max_fields {
            let name = new.clone().next().unwrap_or_default();
            return Err(limits.too_many_fields(name, self.settings.series_idle));
        }
        self.fields.check_new(new)
    }

    fn window_full(&self, sample: &RawSample<'_>, start: Timestamp, field: &str) -> Rejection {
        let detail = format!(
            "the window of {} that starts at {start} has {} readings of {field} already \
             (MAX_WINDOW_READINGS)",
            sample.series, self.settings.max_window_readings
        );
        Rejection::new(Reason::WindowFull, detail)
    }
}

fn too_late(sample: &RawSample<'_>, start: Timestamp, floor: Timestamp) -> Rejection {
    let detail = format!(
        "{} is in the window that starts at {start}, and rows of {} are final for windows that end before \
         {floor} (LATE_WINDOW)",
        sample.timestamp, sample.series
    );
    Rejection::new(Reason::TooLate, detail)
}

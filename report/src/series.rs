//! Values with their times.

/// A value with its time, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When it was measured.
    pub time: f64,
    /// What was measured.
    pub value: f64,
}

/// Points in the order of their times, each time once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    points: Vec<Point>,
    /// Points that were there more than once.
    pub repeated: usize,
    /// Points that were left out since their time has another value already.
    pub superseded: usize,
    /// Points that were left out since their time or value isn't finite.
    pub not_finite: usize,
}

impl Series {
    /// Sorts the points. Of several with one time, the first of the list counts.
    #[must_use]
    pub fn new(mut points: Vec<Point>) -> Self {
        let given = points.len();
        points.retain(|point| point.time.is_finite() && point.value.is_finite());
        let mut series = Self {
            not_finite: given - points.len(),
            ..Self::default()
        };
        // Stable: the first of the list stays the first.
        points.sort_by(|a, b| a.time.total_cmp(&b.time));
        points.dedup_by(|next, kept| {
            let is_same_time = next.time.total_cmp(&kept.time).is_eq();
            if is_same_time && next.value.total_cmp(&kept.value).is_eq() {
                series.repeated += 1;
            } else if is_same_time {
                series.superseded += 1;
            }
            is_same_time
        });
        series.points = points;
        series
    }

    /// The points, in the order of their times.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
    }
}

#[cfg(test)]
mod tests {
    use super::{Point, Series};

    fn point(time: f64, value: f64) -> Point {
        Point { time, value }
    }

    #[test]
    fn points_are_sorted_and_the_first_value_of_a_time_counts() {
        let given = [(5.0, 1.0), (3.0, 2.0), (5.0, 9.0), (5.0, 1.0), (3.0, 2.0)];
        let mut points = given.map(|(time, value)| point(time, value)).to_vec();
        points.push(point(f64::NAN, 1.0));
        points.push(point(7.0, f64::INFINITY));
        let series = Series::new(points);
        assert_eq!(series.points(), [point(3.0, 2.0), point(5.0, 1.0)]);
        let counts = [series.repeated, series.superseded, series.not_finite];
        assert_eq!(counts, [2, 1, 2]);
    }
}

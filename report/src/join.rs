//! Brings a parameter to the times of work orders.

use serde::Serialize;

use crate::series::{Point, Series};

/// What stands for a parameter at a work order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// The mean of its values after the work order before, up to this one.
    Mean,
    /// The value on the straight line between the points before and after the work order.
    Interpolated {
        /// How far apart these points may be, in seconds.
        max_gap: f64,
    },
}

/// Which production a parameter is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// As it is recorded. Recorded production is cumulative, so it grows with time.
    Level,
    /// What was added since the work order before.
    Increment,
}

impl Basis {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Level => "level",
            Self::Increment => "increment",
        }
    }
}

/// A parameter and production at the work orders that have both, in the order of their times.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pairs {
    /// Times of the work orders, in seconds since 1970.
    pub times: Vec<f64>,
    /// What stands for the parameter.
    pub parameter: Vec<f64>,
    /// The production.
    pub production: Vec<f64>,
}

impl Join {
    /// What stands for a parameter at each work order of a product; `None` where it has no value.
    #[must_use]
    pub fn values(self, parameter: &Series, orders: &Series) -> Vec<Option<f64>> {
        let mut points = parameter.points();
        let mut before: Option<Point> = None;
        let value = |&order: &Point| {
            let before = before.replace(order);
            match self {
                Self::Mean => mean_between(&mut points, before?.time, order.time),
                Self::Interpolated { max_gap } => interpolated(&mut points, order.time, max_gap),
            }
        };
        orders.points().iter().map(value).collect()
    }
}

impl Pairs {
    /// Pairs the values of a parameter, of [`Join::values`], with the work orders of a product. Work orders without a
    /// value are left out, and the first one if it needs the one before.
    #[must_use]
    pub fn new(values: &[Option<f64>], orders: &Series, basis: Basis) -> Self {
        let mut pairs = Self::default();
        let mut before: Option<Point> = None;
        for (&order, &value) in orders.points().iter().zip(values) {
            let production = match (basis, before) {
                (Basis::Level, _) => Some(order.value),
                (Basis::Increment, Some(before)) => Some(order.value - before.value),
                (Basis::Increment, None) => None,
            };
            if let (Some(value), Some(production)) = (value, production) {
                pairs.times.push(order.time);
                pairs.parameter.push(value);
                pairs.production.push(production);
            }
            before = Some(order);
        }
        pairs
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }
}

/// The mean of the points after `from` up to `to`, if there are any. Moves on to the points after `to`.
fn mean_between(points: &mut &[Point], from: f64, to: f64) -> Option<f64> {
    let start = points.partition_point(|point| point.time <= from);
    let end = points.partition_point(|point| point.time <= to);
    let within = &points[start..end];
    *points = &points[end..];
    if within.is_empty() {
        return None;
    }
    let sum: f64 = within.iter().map(|point| point.value).sum();
    #[expect(clippy::cast_precision_loss, reason = "no series has 2^52 points")]
    let count = within.len() as f64;
    Some(sum / count)
}

/// The value at a time between two points that aren't further apart than `max_gap`. Moves on to the last point up to
/// the time.
fn interpolated(points: &mut &[Point], time: f64, max_gap: f64) -> Option<f64> {
    let after = points.partition_point(|point| point.time < time);
    if let Some(exact) = points.get(after).filter(|point| point.time <= time) {
        let value = exact.value;
        *points = &points[after..];
        return Some(value);
    }
    let before = points.get(after.checked_sub(1)?)?;
    *points = &points[after - 1..];
    let next = points.get(1)?;
    let gap = next.time - before.time;
    if gap > max_gap {
        return None;
    }
    let share = (time - before.time) / gap;
    Some(before.value + share * (next.value - before.value))
}

#[cfg(test)]
mod tests {
    use super::{Basis, Join, Pairs};
    use crate::series::{Point, Series};

    fn series(points: &[(f64, f64)]) -> Series {
        let points = points.iter();
        Series::new(points.map(|&(time, value)| Point { time, value }).collect())
    }

    fn joined(parameter: &[(f64, f64)], join: Join, basis: Basis) -> Vec<(f64, f64, f64)> {
        let orders = series(&[(10.0, 1.0), (20.0, 4.0), (30.0, 4.5), (40.0, 9.0)]);
        let pairs = Pairs::new(&join.values(&series(parameter), &orders), &orders, basis);
        let both = pairs.parameter.iter().zip(&pairs.production);
        let all = pairs.times.iter().zip(both);
        all.map(|(&time, (&value, &production))| (time, value, production))
            .collect()
    }

    #[test]
    fn mean_is_of_the_interval_that_ends_with_the_order() {
        let parameter = [
            (5.0, 100.0),
            (10.0, 100.0),
            (10.5, 1.0),
            (20.0, 2.0),
            (39.0, 7.0),
            (41.0, 100.0),
        ];
        let level = joined(&parameter, Join::Mean, Basis::Level);
        assert_eq!(level, [(20.0, 1.5, 4.0), (40.0, 7.0, 9.0)]);
        let increment = joined(&parameter, Join::Mean, Basis::Increment);
        assert_eq!(increment, [(20.0, 1.5, 3.0), (40.0, 7.0, 4.5)]);
    }

    #[test]
    fn interpolation_needs_a_point_on_both_sides_within_the_gap() {
        let parameter = [(8.0, 0.0), (12.0, 4.0), (20.0, 5.0), (36.0, 9.0)];
        let join = Join::Interpolated { max_gap: 10.0 };
        let level = joined(&parameter, join, Basis::Level);
        // There are 16 s around 30, and nothing after 40.
        assert_eq!(level, [(10.0, 2.0, 1.0), (20.0, 5.0, 4.0)]);
        let increment = joined(&parameter, join, Basis::Increment);
        assert_eq!(increment, [(20.0, 5.0, 3.0)]);
        let wide = Join::Interpolated { max_gap: 16.0 };
        let level = joined(&parameter, wide, Basis::Level);
        assert_eq!(level[2], (30.0, 7.5, 4.5));
    }

    #[test]
    fn nothing_is_joined_with_nothing() {
        for join in [Join::Mean, Join::Interpolated { max_gap: 1e9 }] {
            assert_eq!(joined(&[], join, Basis::Level), []);
            let none = series(&[]);
            let one = join.values(&series(&[(1.0, 1.0)]), &none);
            let one = Pairs::new(&one, &none, Basis::Level);
            assert!(one.is_empty());
        }
    }
}

//! What a row says of the readings of one field.

use model::Value;
use model::pipeline::Statistic;

use super::readings::Readings;

/// The statistics of the readings of one field.
///
/// All but the count are floats, also for integers, so that a field's type never depends on the data; the
/// first and the last value keep their own. Values that aren't numbers are only counted, and have a first
/// and a last one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Summary {
    readings: usize,
    first: Option<Value>,
    last: Option<Value>,
    numbers: Option<Numbers>,
}

#[derive(Debug, Clone, PartialEq)]
struct Numbers {
    sum: f64,
    mean: f64,
    min: f64,
    max: f64,
    /// None for a single number.
    stddev: Option<f64>,
    /// Not a number unless it was asked for.
    median: f64,
}

impl Summary {
    /// Computes the statistics; the median only `with_median`. `numbers` is overwritten; it is passed so
    /// that its memory is used again.
    pub(super) fn of(readings: &mut Readings, with_median: bool, numbers: &mut Vec<f64>) -> Self {
        readings.numbers(numbers);
        Self {
            readings: readings.len(),
            first: readings.first(),
            last: readings.last(),
            numbers: Numbers::of(numbers, with_median),
        }
    }

    /// A statistic, if these readings have it. One that isn't finite is left out.
    pub(super) fn value(&self, statistic: Statistic) -> Option<Value> {
        let number = |of: fn(&Numbers) -> f64| {
            let number = self.numbers.as_ref().map(of);
            number.filter(|number| number.is_finite()).map(Value::Float)
        };
        match statistic {
            Statistic::Count => i64::try_from(self.readings).ok().map(Value::Integer),
            Statistic::First => self.first.clone(),
            Statistic::Last => self.last.clone(),
            Statistic::Mean => number(|numbers| numbers.mean),
            Statistic::Median => number(|numbers| numbers.median),
            Statistic::Min => number(|numbers| numbers.min),
            Statistic::Max => number(|numbers| numbers.max),
            Statistic::Sum => number(|numbers| numbers.sum),
            Statistic::Stddev => number(|numbers| numbers.stddev.unwrap_or(f64::NAN)),
        }
    }
}

impl Numbers {
    /// Of numbers in the order of time and value, so that rounding doesn't depend on the order of
    /// arrival. Their order is lost.
    fn of(numbers: &mut [f64], with_median: bool) -> Option<Self> {
        if numbers.is_empty() {
            return None;
        }
        let count = float(numbers.len());
        let sum: f64 = numbers.iter().sum();
        let mean = sum / count;
        let squares = numbers
            .iter()
            .map(|number| (number - mean) * (number - mean));
        let squares: f64 = squares.sum();
        Some(Self {
            sum,
            mean,
            min: numbers.iter().copied().fold(f64::INFINITY, f64::min),
            max: numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            stddev: (numbers.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
            median: if with_median {
                median(numbers)
            } else {
                f64::NAN
            },
        })
    }
}

/// The middle one, or the mean of the middle two; there has to be one.
fn median(numbers: &mut [f64]) -> f64 {
    let middle = numbers.len() / 2;
    let is_odd = !numbers.len().is_multiple_of(2);
    let (below, upper, _) = numbers.select_nth_unstable_by(middle, f64::total_cmp);
    if is_odd {
        return *upper;
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    f64::midpoint(lower, *upper)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "no window has more readings than a double can count"
)]
const fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use model::pipeline::Statistic;
    use model::{Timestamp, Value};
    use proptest::prelude::*;

    use super::Summary;
    use crate::window::readings::Readings;

    const ALL: [Statistic; 9] = [
        Statistic::Count,
        Statistic::Mean,
        Statistic::Median,
        Statistic::Min,
        Statistic::Max,
        Statistic::Sum,
        Statistic::Stddev,
        Statistic::First,
        Statistic::Last,
    ];

    fn summary(values: &[(i64, Value)]) -> Summary {
        let mut readings = Readings::default();
        for (time, value) in values {
            readings.insert(Timestamp::from_nanos(*time), value);
        }
        Summary::of(&mut readings, true, &mut Vec::new())
    }

    /// All nine in order; "-" for an absent one.
    fn shown(values: &[(i64, Value)]) -> String {
        let summary = summary(values);
        let shown = ALL.map(|statistic| {
            let value = summary.value(statistic);
            value.map_or_else(|| "-".to_owned(), |value| value.to_string())
        });
        shown.join(" ")
    }

    fn floats(values: &[f64]) -> Vec<(i64, Value)> {
        let values = values.iter().enumerate();
        values
            .map(|(time, value)| (i64::try_from(time).unwrap(), Value::Float(*value)))
            .collect()
    }

    #[test]
    fn the_nine_statistics() {
        //                     count mean median min max sum stddev first last
        for (values, expected) in [
            (&[5.0][..], "1 5.0 5.0 5.0 5.0 5.0 - 5.0 5.0"),
            (
                &[4.0, 2.0],
                "2 3.0 3.0 2.0 4.0 6.0 1.4142135623730951 4.0 2.0",
            ),
            (
                &[9.0, 1.0, 2.0],
                "3 4.0 2.0 1.0 9.0 12.0 4.358898943540674 9.0 2.0",
            ),
            (&[1.0, 1.0, 1.0, 1.0], "4 1.0 1.0 1.0 1.0 4.0 0.0 1.0 1.0"),
            (
                &[-1.0, 1.0, -3.0, 3.0],
                "4 0.0 0.0 -3.0 3.0 0.0 2.581988897471611 -1.0 3.0",
            ),
        ] {
            assert_eq!(shown(&floats(values)), expected, "{values:?}");
        }
    }

    #[test]
    fn integers_give_floats_except_for_first_and_last() {
        let values = [3, 1, 2].map(Value::Integer);
        let values: Vec<_> = (0..).zip(values).collect();
        assert_eq!(shown(&values), "3 2.0 2.0 1.0 3.0 6.0 1.0 3 2");
    }

    #[test]
    fn what_is_no_number_is_counted_and_has_a_first_and_a_last() {
        let strings = [
            (2, Value::String("b".into())),
            (1, Value::String("a".into())),
        ];
        assert_eq!(shown(&strings), "2 - - - - - - a b");
        let bools = [(1, Value::Bool(true)), (2, Value::Bool(false))];
        assert_eq!(shown(&bools), "2 - - - - - - true false");
        // Of several types the numbers alone are computed with; count, first and last are of all.
        let mixed = [
            (1, Value::Bool(true)),
            (2, Value::Integer(4)),
            (2, Value::Float(8.0)),
            (3, Value::String("x".into())),
        ];
        assert_eq!(
            shown(&mixed),
            "4 6.0 6.0 4.0 8.0 12.0 2.8284271247461903 true x"
        );
    }

    #[test]
    fn statistics_that_overflow_are_left_out() {
        let huge = floats(&[f64::MAX, f64::MAX]);
        let max = f64::MAX.to_string();
        let expected = Value::Float(f64::MAX);
        let summary = summary(&huge);
        for statistic in [Statistic::Median, Statistic::Min, Statistic::Max] {
            assert_eq!(summary.value(statistic), Some(expected.clone()), "{max}");
        }
        for statistic in [Statistic::Sum, Statistic::Mean, Statistic::Stddev] {
            assert_eq!(summary.value(statistic), None);
        }
    }

    proptest! {
        #[test]
        fn the_median_is_that_of_a_sorted_list(
            values in proptest::collection::vec(-1e300..1e300_f64, 1..200),
        ) {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let middle = sorted.len() / 2;
            let expected = if sorted.len() % 2 == 1 {
                sorted[middle]
            } else {
                sorted[middle - 1] / 2.0 + sorted[middle] / 2.0
            };
            let median = summary(&floats(&values)).value(Statistic::Median);
            prop_assert_eq!(median, Some(Value::Float(expected)));
        }

        /// To the last bit.
        #[test]
        fn no_statistic_depends_on_the_order_of_arrival(
            values in proptest::collection::vec((0_i64..20, -1e9..1e9_f64), 1..60),
            seed in any::<u64>(),
        ) {
            let values: Vec<_> =
                values.into_iter().map(|(time, value)| (time, Value::Float(value))).collect();
            let mut shuffled = values.clone();
            let mut state = seed;
            for place in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let other = usize::try_from(state >> 33).unwrap() % (place + 1);
                shuffled.swap(place, other);
            }
            prop_assert_eq!(summary(&values), summary(&shuffled));
        }
    }
}

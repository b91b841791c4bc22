//! Correlation coefficients, their intervals and p-values.
//!
//! The formulas are those of `SciPy`'s `pearsonr` and `spearmanr`. The interval of a rank correlation is that of Bonett
//! and Wright (2000).

use statrs::function::beta::checked_beta_reg;

/// The quantile of the normal distribution for intervals of 95 %.
const Z_95: f64 = 1.959_963_984_540_054;
/// A series whose deviation is below this part of its mean is constant but for rounding.
const CONSTANT: f64 = 1e-13;

/// The coefficient of Pearson of two series of equal length: how near the pairs are to a straight line. `None` if one of
/// them is constant, has a value that isn't finite, or there are fewer than two pairs.
#[must_use]
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() != y.len() || x.len() < 2 {
        return None;
    }
    let (x, y) = (standardized(x)?, standardized(y)?);
    let products = x.iter().zip(&y).map(|(x, y)| x * y);
    Some(products.sum::<f64>().clamp(-1.0, 1.0))
}

/// The coefficient of Spearman: that of Pearson of the ranks, so how near the pairs are to any monotone curve.
#[must_use]
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    pearson(&ranks(x), &ranks(y))
}

/// Deviations from the mean, as parts of their length as a vector. `None` if they vanish.
fn standardized(values: &[f64]) -> Option<Vec<f64>> {
    let mean = values.iter().sum::<f64>() / count(values.len());
    let deviations: Vec<f64> = values.iter().map(|value| value - mean).collect();
    // Scaled before squares are taken, which could be too large or too small for a number.
    let largest = deviations
        .iter()
        .fold(0.0_f64, |most, it| most.max(it.abs()));
    let scaled = deviations.iter().map(|it| it / largest);
    let norm = largest * scaled.map(|it| it * it).sum::<f64>().sqrt();
    let is_constant = norm <= CONSTANT * mean.abs();
    (norm.is_finite() && norm > 0.0 && !is_constant)
        .then(|| deviations.iter().map(|it| it / norm).collect())
}

/// The ranks of values, from 1 on; equal values have the mean of their ranks.
#[must_use]
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        // By value: -0.0 and 0.0 are equal.
        let same = order[start..].iter();
        let same = same.take_while(|&&place| values[place] <= values[order[start]]);
        let end = start + same.count().max(1);
        let rank = count(start + 1 + end) / 2.0;
        for &place in &order[start..end] {
            ranks[place] = rank;
        }
        start = end;
    }
    ranks
}

/// The probability that a coefficient of `n` pairs is at least this far from 0, if nothing is correlated: of Pearson's,
/// for normal distributions. 1 for two pairs, which are always on a line.
#[must_use]
pub fn p_value(r: f64, n: usize) -> f64 {
    if n < 3 {
        return 1.0;
    }
    // The incomplete beta function with the arguments of Student's t for n - 2 degrees of freedom.
    let rest = (1.0 - r) * (1.0 + r);
    let tail = checked_beta_reg(count(n) / 2.0 - 1.0, 0.5, rest.clamp(0.0, 1.0));
    // Its arguments are within their limits.
    tail.unwrap_or(1.0).clamp(0.0, 1.0)
}

/// The interval of 95 % of Pearson's coefficient, by Fisher's transformation.
#[must_use]
pub fn interval(r: f64, n: usize) -> (f64, f64) {
    transformed(r, n, 1.0)
}

/// The interval of 95 % of Spearman's coefficient.
#[must_use]
pub fn rank_interval(r: f64, n: usize) -> (f64, f64) {
    transformed(r, n, 1.0 + r * r / 2.0)
}

fn transformed(r: f64, n: usize, variance: f64) -> (f64, f64) {
    if n < 4 {
        return (-1.0, 1.0);
    }
    let half = Z_95 * (variance / count(n - 3)).sqrt();
    let center = r.atanh();
    ((center - half).tanh(), (center + half).tanh())
}

/// The p-values of several tests, corrected by the method of Holm: at least one of those that are below a level is
/// there by chance with at most that probability.
#[must_use]
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut corrected = vec![0.0; p.len()];
    let mut largest = 0.0_f64;
    for (place, &index) in order.iter().enumerate() {
        let value = count(p.len() - place) * p[index];
        largest = largest.max(value).min(1.0);
        corrected[index] = largest;
    }
    corrected
}

#[expect(clippy::cast_precision_loss, reason = "no series has 2^52 points")]
fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{holm, interval, p_value, pearson, rank_interval, ranks, spearman};

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} isn't {expected}");
    }

    /// Random pairs, some with ties or near a line, and what `SciPy` 1.17.1 says of them.
    const CASES: &str = include_str!("statistics/scipy.json");

    #[test]
    fn figures_equal_those_of_scipy() {
        let cases: Vec<Value> = serde_json::from_str(CASES).unwrap();
        assert_eq!(cases.len(), 30);
        for case in cases {
            let numbers = |name: &str| -> Vec<f64> {
                let numbers = case[name].as_array().unwrap().iter();
                numbers.map(|number| number.as_f64().unwrap()).collect()
            };
            let (x, y) = (numbers("x"), numbers("y"));
            let r = pearson(&x, &y).unwrap();
            let (low, high) = interval(r, x.len());
            let found = [r, p_value(r, x.len()), low, high];
            let expected = [numbers("pearson"), numbers("interval")].concat();
            for (found, expected) in found.into_iter().zip(expected) {
                near(found, expected);
            }
            let r = spearman(&x, &y).unwrap();
            near(r, numbers("spearman")[0]);
            near(p_value(r, x.len()), numbers("spearman")[1]);
            let (low, high) = rank_interval(r, x.len());
            assert!(low <= r && r <= high, "{low} {r} {high}");
        }
    }

    #[test]
    fn ties_share_the_mean_of_their_ranks() {
        assert_eq!(
            ranks(&[3.0, 1.0, 3.0, 0.0, -0.0]),
            [4.5, 3.0, 4.5, 1.5, 1.5]
        );
        assert_eq!(ranks(&[]), [0.0; 0]);
    }

    #[test]
    fn constant_series_and_single_pairs_have_no_coefficient() {
        for (x, y) in [
            (&[1.0, 1.0, 1.0][..], &[1.0, 2.0, 3.0][..]),
            (&[1.0, 2.0, 3.0], &[0.1, 0.1, 0.1]),
            (&[1.0], &[1.0]),
            (&[1.0, 2.0], &[1.0]),
            (&[1.0, f64::NAN], &[1.0, 2.0]),
            (&[], &[]),
        ] {
            assert_eq!(pearson(x, y), None, "{x:?} {y:?}");
        }
        // Differs by rounding alone.
        let x = [0.1 + 0.2, 0.3, 0.3];
        assert_eq!(pearson(&x, &[1.0, 2.0, 3.0]), None);
    }

    #[test]
    fn large_and_small_values_have_a_coefficient() {
        let y = [1.0, 2.0, 4.0];
        let usual = pearson(&[1.0, 5.0, 2.0], &y).unwrap();
        for scale in [1e-200, 1e200] {
            near(
                pearson(&[scale, 5.0 * scale, 2.0 * scale], &y).unwrap(),
                usual,
            );
        }
    }

    #[test]
    fn few_pairs_prove_nothing() {
        near(pearson(&[1.0, 2.0], &[5.0, 1.0]).unwrap(), -1.0);
        near(p_value(-1.0, 2), 1.0);
        assert_eq!(interval(1.0, 3), (-1.0, 1.0));
        assert_eq!(interval(1.0, 10), (1.0, 1.0));
        near(p_value(1.0, 10), 0.0);
    }

    #[test]
    fn holm_corrects_by_the_number_of_tests_and_keeps_the_order() {
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in corrected.into_iter().zip([0.03, 0.06, 0.06, 0.02]) {
            near(found, expected);
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    }

    proptest! {
        #[test]
        fn coefficients_are_symmetric_and_independent_of_scale(
            pairs in prop::collection::vec((-1e3..1e3_f64, -1e3..1e3_f64), 3..50),
            scale in 0.001..1e3_f64,
            shift in -1e3..1e3_f64,
        ) {
            let (x, y): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            let moved: Vec<f64> = x.iter().map(|x| x * scale + shift).collect();
            let negated: Vec<f64> = x.iter().map(|x| -x).collect();
            for coefficient in [pearson, spearman] {
                let Some(r) = coefficient(&x, &y) else { continue };
                prop_assert!((-1.0..=1.0).contains(&r));
                prop_assert!((coefficient(&y, &x).unwrap() - r).abs() < 1e-9);
                prop_assert!((coefficient(&negated, &y).unwrap() + r).abs() < 1e-9);
                prop_assert!((coefficient(&moved, &y).unwrap() - r).abs() < 1e-6);
            }
        }
    }
}

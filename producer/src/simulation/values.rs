//! Random values.

use std::f64::consts::TAU;

use fastrand::Rng;
use model::pipeline::{Bounds, Distribution, NormalByNumber, Number, Scalar};

/// How the values of a field of a series are drawn.
#[derive(Debug, Clone)]
pub(super) struct Source {
    distribution: Distribution,
    /// The last value of a walk.
    last: f64,
    /// The number of the series, as a share of their count.
    share: f64,
}

impl Source {
    pub(super) fn new(distribution: &Distribution, share: f64) -> Self {
        let last = match distribution {
            Distribution::Walk([start, ..]) => start.0,
            _ => 0.0,
        };
        Self {
            distribution: distribution.clone(),
            last,
            share,
        }
    }

    pub(super) fn draw(&mut self, random: &mut Rng) -> Scalar {
        match &self.distribution {
            Distribution::Normal([Number(mean), Number(deviation)]) => {
                Scalar::Number(rounded(normal(random).mul_add(*deviation, *mean)))
            }
            Distribution::NormalByNumber(NormalByNumber {
                mean: Number(mean),
                variance: [Number(low), Number(high)],
            }) => {
                let variance = (high - low).mul_add(self.share, *low);
                Scalar::Number(rounded(normal(random).mul_add(variance.sqrt(), *mean)))
            }
            Distribution::Uniform(Bounds([Number(low), Number(high)])) => {
                Scalar::Number(rounded(random.f64().mul_add(high - low, *low)))
            }
            Distribution::Walk([_, Number(step), Number(low), Number(high)]) => {
                let moved = normal(random).mul_add(*step, self.last);
                // Not `clamp`, which panics if a file has the limits in the wrong order.
                self.last = moved.max(*low).min(*high);
                Scalar::Number(rounded(self.last))
            }
            Distribution::Choice(values) => match values.len() {
                0 => Scalar::Number(0.0),
                count => values[random.usize(..count)].clone(),
            },
        }
    }
}

/// A value of the standard normal distribution (Box and Muller 1958).
fn normal(random: &mut Rng) -> f64 {
    // Above 0, for the logarithm.
    let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
    radius * (TAU * random.f64()).cos()
}

/// With three decimals, as devices send values.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use model::pipeline::{Bounds, Distribution, Number, Scalar};

    use super::Source;

    fn draw(distribution: &Distribution) -> Vec<f64> {
        let (mut source, mut random) = (Source::new(distribution, 1.0), Rng::with_seed(1));
        let drawn = (0..10_000).map(|_| match source.draw(&mut random) {
            Scalar::Number(number) => number,
            other => unreachable!("{other:?}"),
        });
        drawn.collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "the count is small")]
    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    #[test]
    fn values_follow_their_distribution() {
        let normal = draw(&Distribution::Normal([Number(21.0), Number(0.5)]));
        assert!((mean(&normal) - 21.0).abs() < 0.05, "{}", mean(&normal));
        let squares: Vec<_> = normal.iter().map(|value| (value - 21.0).powi(2)).collect();
        assert!((mean(&squares).sqrt() - 0.5).abs() < 0.05);

        let uniform = draw(&Distribution::Uniform(Bounds([Number(30.0), Number(60.0)])));
        assert!(uniform.iter().all(|value| (30.0..=60.0).contains(value)));
        assert!((mean(&uniform) - 45.0).abs() < 1.0);

        let walk = draw(&Distribution::Walk([
            Number(5.0),
            Number(1.0),
            Number(0.0),
            Number(10.0),
        ]));
        assert!(walk.iter().all(|value| (0.0..=10.0).contains(value)));
        assert!(walk.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 6.0));
    }

    #[test]
    fn choices_are_all_made() {
        let values = ["on", "off"]
            .map(|text| Scalar::String(text.to_owned()))
            .to_vec();
        let mut source = Source::new(&Distribution::Choice(values.clone()), 1.0);
        let mut random = Rng::with_seed(1);
        let drawn: Vec<_> = (0..100).map(|_| source.draw(&mut random)).collect();
        assert!(values.iter().all(|value| drawn.contains(value)));
    }
}

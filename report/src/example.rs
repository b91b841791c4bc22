//! Files of metrics and work orders that look like those of a plant, in which it is known what correlates with what.
//!
//! The same numbers give the same bytes on every machine, so no functions are used whose last digit differs.

use std::io::{self, Write};

use fastrand::Rng;

/// How the means of a product's three parameters correlate with the increments of its production.
pub const STRENGTHS: [f64; 3] = [-0.95, 0.8, 0.55];

/// The first work order: 2026-01-05T08:00:00Z.
const START: i64 = 1_767_600_000;
/// Seconds from a work order to the next.
const EVERY: i64 = 5_000;
/// At most so many seconds more or less.
const SHIFT: i64 = 230;
/// What is added to the production from one work order to the next, and its deviation: sometimes it is below zero.
const STEP: (f64, f64) = (20.0, 8.0);
/// Deviation of measurements from the state of the plant, as part of the deviation of the states.
const NOISE: f64 = 0.2;
/// Seconds of a day, in which some parameters go up and down.
const DAY: f64 = 86_400.0;

/// How much an example has of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Products, with ids from 0 on.
    pub products: u32,
    /// Parameters, with ids from 0 on; at least three for each product.
    pub parameters: u32,
    /// Work orders of each product.
    pub orders: u32,
    /// Measurements of all parameters.
    pub metrics: u32,
}

/// There are too few parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{products} products need at least {needed} parameters, three each, and there are {parameters}"
)]
pub struct TooFewParameters {
    products: u32,
    parameters: u32,
    needed: u64,
}

/// Data with planted relations. Its documents are made while they are written.
#[derive(Debug, Clone)]
pub struct Example {
    sizes: Sizes,
    seed: u64,
    /// For each product the parameters that follow its production, the strongest first.
    planted: Vec<[u32; 3]>,
}

impl Example {
    /// Chooses the parameters that follow production, by the seed.
    pub fn new(sizes: Sizes, seed: u64) -> Result<Self, TooFewParameters> {
        let Sizes {
            products,
            parameters,
            ..
        } = sizes;
        let needed = (3 * u64::from(products)).max(1);
        if u64::from(parameters) < needed {
            return Err(TooFewParameters {
                products,
                parameters,
                needed,
            });
        }
        let mut ids: Vec<u32> = (0..parameters).collect();
        Rng::with_seed(seed).shuffle(&mut ids);
        let planted = (0..products).zip(ids.chunks_exact(3));
        Ok(Self {
            sizes,
            seed,
            planted: planted.map(|(_, ids)| [ids[0], ids[1], ids[2]]).collect(),
        })
    }

    /// For each product, from 0 on, the three parameters whose means between two work orders correlate with what is
    /// produced meanwhile, as strongly as [`STRENGTHS`] says, less the noise of few measurements.
    #[must_use]
    pub fn planted(&self) -> &[[u32; 3]] {
        &self.planted
    }

    /// Writes the work orders as an array of objects with `time`, `product` and `production`: all of a product, then all
    /// of the next. The production is cumulative.
    pub fn write_work_orders(&self, out: &mut impl Write) -> io::Result<()> {
        let mut array = Array::new(out)?;
        for product in 0..self.sizes.products {
            let mut total = 0.0;
            let spans = self.spans(product).take(self.sizes.orders as usize);
            for (number, span) in spans.enumerate() {
                if number > 0 {
                    total += STEP.0 + STEP.1 * span.rate;
                }
                let (time, production) = (span.end, rounded(total));
                array.item(format_args!(
                    r#"{{"time":{time},"product":{product},"production":{production}}}"#
                ))?;
            }
        }
        array.end()
    }

    /// Writes the metrics as an array of objects with `id`, `val` and `time`, in the order of their times.
    pub fn write_metrics(&self, out: &mut impl Write) -> io::Result<()> {
        let mut array = Array::new(out)?;
        let parameters = self.parameters();
        let mut products: Vec<_> = (0..self.sizes.products)
            .map(|product| {
                let mut spans = self.spans(product);
                (spans.next(), spans)
            })
            .collect();
        let mut rng = self.rng(u64::MAX);
        let period = f64::from(self.sizes.orders) * seconds(EVERY);
        let gap = period / f64::from(self.sizes.metrics.max(1));
        let mut at = 0.0;
        for _ in 0..self.sizes.metrics {
            // Mostly short pauses, and some that are three times as long as their mean.
            at += 3.0 * gap * rng.f64() * rng.f64().max(rng.f64());
            #[expect(
                clippy::cast_possible_truncation,
                reason = "at most 2^32 work orders of 5000 s"
            )]
            let time = START + at as i64;
            let id = rng.u32(0..self.sizes.parameters);
            let parameter = parameters[id as usize];
            let state = match parameter.kind {
                Kind::Planted { product, place } => {
                    let (span, later) = &mut products[product];
                    while span.as_ref().is_some_and(|it| it.end < time) {
                        *span = later.next();
                    }
                    span.as_ref().map_or(0.0, |it| it.states[place])
                }
                Kind::Noise => normal(&mut rng),
                Kind::Trend => 4.0 * at / period - 2.0,
                Kind::Wave => 4.0 * ((at / DAY).fract() - 0.5).abs() - 1.0,
            };
            let value = state + NOISE * normal(&mut rng);
            let val = rounded(parameter.mean + parameter.deviation * value);
            array.item(format_args!(r#"{{"id":{id},"val":{val},"time":{time}}}"#))?;
        }
        array.end()
    }

    /// A generator of its own for each purpose, so that both documents have the same states.
    fn rng(&self, purpose: u64) -> Rng {
        // Neighbouring seeds give unrelated generators only after a step.
        let mut rng = Rng::with_seed(self.seed);
        Rng::with_seed(rng.u64(..) ^ Rng::with_seed(purpose).u64(..))
    }

    /// What happens from work order to work order of a product, without an end.
    fn spans(&self, product: u32) -> Spans {
        Spans {
            rng: self.rng(product.into()),
            number: 0,
        }
    }

    fn parameters(&self) -> Vec<Parameter> {
        let mut rng = self.rng(u64::MAX - 1);
        let all = 0..self.sizes.parameters;
        let mut parameters: Vec<_> = all
            .map(|id| {
                let deviation = f64::from(10_u32.pow(rng.u32(0..4))) * (0.5 + rng.f64());
                Parameter {
                    kind: match id % 3 {
                        0 => Kind::Noise,
                        1 => Kind::Trend,
                        _ => Kind::Wave,
                    },
                    mean: deviation * (10.0 * rng.f64() - 2.0),
                    deviation,
                }
            })
            .collect();
        for (product, ids) in self.planted.iter().enumerate() {
            for (place, &id) in ids.iter().enumerate() {
                parameters[id as usize].kind = Kind::Planted { product, place };
            }
        }
        parameters
    }
}

/// What a parameter shows.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A state that goes along with the production of a product; `place` is that in [`STRENGTHS`].
    Planted {
        product: usize,
        place: usize,
    },
    Noise,
    /// It rises from the beginning to the end.
    Trend,
    /// It goes up and down each day.
    Wave,
}

#[derive(Debug, Clone, Copy)]
struct Parameter {
    kind: Kind,
    mean: f64,
    deviation: f64,
}

/// The time after a work order, up to the next.
#[derive(Debug, Clone, Copy)]
struct Span {
    /// When it ends, in seconds since 1970.
    end: i64,
    /// How much is produced, in deviations from the usual.
    rate: f64,
    /// The states of the three parameters that go along with it, each with mean 0 and deviation 1.
    states: [f64; 3],
}

/// The spans of a product.
#[derive(Debug, Clone)]
struct Spans {
    rng: Rng,
    number: i64,
}

impl Iterator for Spans {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let rng = &mut self.rng;
        let end = START + self.number * EVERY + rng.i64(-SHIFT..=SHIFT);
        self.number += 1;
        let rate = normal(rng);
        let states = STRENGTHS
            .map(|strength| strength * rate + (1.0 - strength * strength).sqrt() * normal(rng));
        Some(Span { end, rate, states })
    }
}

/// A number of the normal distribution, but for its ends: the sum of twelve.
fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
const fn seconds(seconds: i64) -> f64 {
    seconds as f64
}

fn rounded(value: f64) -> f64 {
    // -0 would be written with its sign.
    (value * 1_000.0).round() / 1_000.0 + 0.0
}

/// Writes an array with an item a line.
struct Array<'a, W> {
    out: &'a mut W,
    is_empty: bool,
}

impl<'a, W: Write> Array<'a, W> {
    fn new(out: &'a mut W) -> io::Result<Self> {
        out.write_all(b"[")?;
        Ok(Self {
            out,
            is_empty: true,
        })
    }

    fn item(&mut self, item: std::fmt::Arguments<'_>) -> io::Result<()> {
        let before: &[u8] = if self.is_empty { b"\n" } else { b",\n" };
        self.is_empty = false;
        self.out.write_all(before)?;
        self.out.write_fmt(item)
    }

    fn end(self) -> io::Result<()> {
        self.out.write_all(b"\n]\n")
    }
}

#[cfg(test)]
mod tests {
    use super::{Example, Sizes};
    use crate::{Basis, Input, Kind, Options, correlate, read};

    const SIZES: Sizes = Sizes {
        products: 2,
        parameters: 10,
        orders: 200,
        metrics: 6_000,
    };

    fn files(example: &Example) -> [Vec<u8>; 2] {
        let mut files = [Vec::new(), Vec::new()];
        example.write_metrics(&mut files[0]).unwrap();
        example.write_work_orders(&mut files[1]).unwrap();
        files
    }

    fn inputs(example: &Example) -> [Input; 2] {
        let [metrics, orders] = files(example);
        let metrics = read(Kind::Metrics, metrics.as_slice());
        let orders = read(Kind::WorkOrders, orders.as_slice());
        for input in [&metrics, &orders] {
            assert_eq!((input.rejected, &input.broken), (0, &None));
        }
        [metrics, orders]
    }

    #[test]
    fn planted_parameters_are_found_in_their_order() {
        for seed in 0..50 {
            let example = Example::new(SIZES, seed).unwrap();
            let [metrics, orders] = inputs(&example);
            let reports = correlate(&metrics.series, &orders.series, &Options::default());
            assert_eq!(reports.len(), 2);
            for (report, planted) in reports.iter().zip(example.planted()) {
                assert_eq!(report.orders, 200);
                let increment = &report.bases[1];
                assert_eq!(increment.basis, Basis::Increment);
                let found = increment.findings.iter().take(3);
                let found: Vec<_> = found.map(|it| it.parameter).collect();
                assert_eq!(found, planted.map(i64::from), "{seed}");
                let first = increment.findings[0];
                assert!(first.pearson.r < -0.85 && first.n > 150, "{first:?}");
                let (low, high) = first.pearson.interval;
                assert!(low < first.pearson.r && first.pearson.r < high);
                assert!(first.pearson.p <= first.pearson.corrected_p);
                assert!(first.pearson.corrected_p < 1e-9);
                // Production only grows, which no planted parameter does.
                let planted = planted.map(i64::from);
                let level = report.bases[0].findings.iter();
                let mut level = level.filter(|it| planted.contains(&it.parameter));
                assert!(level.all(|it| !it.both_trend));
            }
        }
    }

    #[test]
    fn files_have_the_sizes_and_the_shape_that_were_asked_for() {
        let example = Example::new(SIZES, 7).unwrap();
        let [metrics, orders] = inputs(&example);
        assert_eq!((metrics.items, orders.items), (6_000, 400));
        assert_eq!((metrics.series.len(), orders.series.len()), (10, 2));
        let steps = orders.series.values().flat_map(|it| it.points().windows(2));
        let negative = steps.filter(|pair| pair[1].value < pair[0].value).count();
        assert!((1..20).contains(&negative), "{negative}");
        let [text, orders] = files(&example).map(|file| String::from_utf8(file).unwrap());
        let times = text.lines().filter_map(|line| line.split("time\":").nth(1));
        let times: Vec<_> = times
            .map(|time| time.trim_end_matches(['}', ',']))
            .collect();
        assert_eq!(times.len(), 6_000);
        assert!(times.is_sorted(), "all have ten digits");
        assert!(text.contains("\"val\":-"), "some values are below zero");
        let first = orders.lines().nth(1).unwrap();
        assert!(first.contains("\"product\":0,\"production\":0}"), "{first}");
        let start = |line: &&str| line.contains("\"production\":0}");
        assert_eq!(orders.lines().filter(start).count(), 2);
    }

    #[test]
    fn same_seed_gives_the_same_bytes_and_another_one_others() {
        let of = |seed| files(&Example::new(SIZES, seed).unwrap());
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn parameters_have_to_suffice_for_the_products() {
        let sizes = Sizes {
            parameters: 5,
            ..SIZES
        };
        let refused = Example::new(sizes, 1).unwrap_err().to_string();
        assert!(refused.contains("at least 6"), "{refused}");
        let none = Sizes {
            products: 0,
            parameters: 1,
            orders: 0,
            metrics: 0,
        };
        let none = Example::new(none, 1).unwrap();
        assert_eq!(files(&none), [b"[\n]\n", b"[\n]\n"]);
    }
}

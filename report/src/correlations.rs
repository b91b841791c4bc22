//! Which parameters correlate with the production of each product.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::join::{Basis, Join, Pairs};
use crate::series::Series;
use crate::statistics::{holm, interval, p_value, pearson, rank_interval, spearman};

/// The rank correlation with time from which on a series counts as a trend.
const TREND: f64 = 0.9;
/// Coefficients that are nearer to each other than this are marked: other data could rank them the other way round.
const NEAR: f64 = 0.01;

/// How parameters are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// What stands for a parameter at a work order.
    pub join: Join,
    /// Parameters with fewer pairs are left out.
    pub min_pairs: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            join: Join::Mean,
            min_pairs: 10,
        }
    }
}

/// A coefficient with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The coefficient, from -1 to 1.
    pub r: f64,
    /// The interval of 95 %.
    pub interval: (f64, f64),
    /// The probability of a coefficient at least this far from 0 if nothing is correlated.
    pub p: f64,
    /// The same, corrected by the method of Holm for all parameters that were compared.
    pub corrected_p: f64,
}

/// A parameter and how it goes along with production.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Finding {
    /// The id of the parameter.
    pub parameter: i64,
    /// Pairs that were compared.
    pub n: usize,
    /// The coefficient of Pearson, by which parameters are ranked.
    pub pearson: Estimate,
    /// The coefficient of Spearman.
    pub spearman: Estimate,
    /// Its coefficient is so near to that of the one before or behind it that their order says little.
    pub is_near_tie: bool,
    /// Parameter and production both mostly rise or fall with time, so they would correlate without having anything to
    /// do with each other.
    pub both_trend: bool,
}

/// Why a parameter isn't ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclusion {
    /// It has fewer pairs than [`Options::min_pairs`].
    TooFew {
        /// How many it has.
        n: usize,
    },
    /// It has one value.
    ConstantParameter,
    /// The production has one value.
    ConstantProduction,
}

/// The parameters of a product, by one basis of its production.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BasisReport {
    /// What was compared with the parameters.
    pub basis: Basis,
    /// The parameters, those with the largest coefficients (of either sign) first.
    pub findings: Vec<Finding>,
    /// Parameters that aren't ranked.
    pub excluded: Vec<(i64, Exclusion)>,
}

/// What was found for a product.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProductReport {
    /// The id of the product.
    pub product: i64,
    /// Work orders of it.
    pub orders: usize,
    /// Steps from one work order to the next in which the recorded production falls.
    pub negative_steps: usize,
    /// By each basis.
    pub bases: [BasisReport; 2],
}

/// Compares each parameter with the production of each product. Keys are the ids of parameters and products.
#[must_use]
pub fn correlate(
    parameters: &BTreeMap<i64, Series>,
    products: &BTreeMap<i64, Series>,
    options: &Options,
) -> Vec<ProductReport> {
    let report = |(&product, orders): (&i64, &Series)| {
        let points = orders.points();
        let is_negative = |step: &&[crate::series::Point]| step[1].value < step[0].value;
        let joined = parameters.iter();
        let joined = joined.map(|(&id, it)| (id, options.join.values(it, orders)));
        // It doesn't depend on the basis.
        let joined: Vec<_> = joined.collect();
        let by = |basis| by_basis(&joined, orders, basis, options);
        ProductReport {
            product,
            orders: points.len(),
            negative_steps: points.windows(2).filter(is_negative).count(),
            bases: [by(Basis::Level), by(Basis::Increment)],
        }
    };
    products.iter().map(report).collect()
}

fn by_basis(
    joined: &[(i64, Vec<Option<f64>>)],
    orders: &Series,
    basis: Basis,
    options: &Options,
) -> BasisReport {
    let mut findings = Vec::new();
    let mut excluded = Vec::new();
    for (id, values) in joined {
        let pairs = Pairs::new(values, orders, basis);
        match finding(*id, &pairs, options) {
            Ok(finding) => findings.push(finding),
            Err(exclusion) => excluded.push((*id, exclusion)),
        }
    }
    correct(&mut findings);
    rank(&mut findings);
    BasisReport {
        basis,
        findings,
        excluded,
    }
}

fn finding(parameter: i64, pairs: &Pairs, options: &Options) -> Result<Finding, Exclusion> {
    let n = pairs.len();
    // Two pairs are always on a line.
    if n < options.min_pairs.max(3) {
        return Err(Exclusion::TooFew { n });
    }
    let (values, production) = (&pairs.parameter, &pairs.production);
    let constant = || match pearson(production, &pairs.times) {
        None => Exclusion::ConstantProduction,
        Some(_) => Exclusion::ConstantParameter,
    };
    let straight = pearson(values, production).ok_or_else(constant)?;
    let monotone = spearman(values, production).ok_or_else(constant)?;
    let estimate = |r: f64, interval| {
        let p = p_value(r, n);
        Estimate {
            r,
            interval,
            p,
            corrected_p: p,
        }
    };
    let trends = |values| spearman(values, &pairs.times).is_some_and(|r| r.abs() >= TREND);
    Ok(Finding {
        parameter,
        n,
        pearson: estimate(straight, interval(straight, n)),
        spearman: estimate(monotone, rank_interval(monotone, n)),
        is_near_tie: false,
        both_trend: trends(values) && trends(production),
    })
}

/// Corrects the p-values for the number of parameters.
fn correct(findings: &mut [Finding]) {
    let p_of_pearson: Vec<f64> = findings.iter().map(|it| it.pearson.p).collect();
    let p_of_spearman: Vec<f64> = findings.iter().map(|it| it.spearman.p).collect();
    let corrected = holm(&p_of_pearson).into_iter().zip(holm(&p_of_spearman));
    for (finding, (pearson, spearman)) in findings.iter_mut().zip(corrected) {
        finding.pearson.corrected_p = pearson;
        finding.spearman.corrected_p = spearman;
    }
}

/// Sorts parameters by their coefficients, equal ones by their ids, and marks those that are near to a neighbour.
fn rank(findings: &mut [Finding]) {
    let size = |finding: &Finding| finding.pearson.r.abs();
    findings.sort_by(|a, b| {
        let by_size = size(b).total_cmp(&size(a));
        by_size.then(a.parameter.cmp(&b.parameter))
    });
    for place in 1..findings.len() {
        if size(&findings[place - 1]) - size(&findings[place]) < NEAR {
            findings[place - 1].is_near_tie = true;
            findings[place].is_near_tie = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Exclusion, Options, ProductReport, correlate};
    use crate::join::{Basis, Join};
    use crate::series::{Point, Series};

    /// A series with a value every so many seconds.
    fn series(every: f64, count: u32, value: impl FnMut(u32) -> f64) -> Series {
        let values = (0..count).map(value);
        let times = (0..count).map(|number| f64::from(number) * every);
        let points = times.zip(values).map(|(time, value)| Point { time, value });
        Series::new(points.collect())
    }

    fn ids(report: &ProductReport, basis: Basis) -> Vec<i64> {
        let of_basis = report.bases.iter().find(|it| it.basis == basis).unwrap();
        of_basis.findings.iter().map(|it| it.parameter).collect()
    }

    #[test]
    fn trends_on_both_sides_are_marked_and_near_coefficients_too() {
        let orders = series(10.0, 50, f64::from);
        let parameters = BTreeMap::from([
            (1, series(1.0, 500, f64::from)),
            (2, series(1.0, 500, |number| -f64::from(number))),
            (
                3,
                series(1.0, 500, |number| f64::from(number % 10 + number / 100)),
            ),
        ]);
        let report = &correlate(
            &parameters,
            &BTreeMap::from([(0, orders)]),
            &Options::default(),
        )[0];
        assert_eq!(
            ids(report, Basis::Level),
            [1, 2, 3],
            "equal ones by their ids"
        );
        let level = &report.bases[0].findings;
        assert!(
            level
                .iter()
                .take(2)
                .all(|it| it.both_trend && it.is_near_tie)
        );
        assert!(!level[2].is_near_tie, "{level:?}");
        // The increments are all alike.
        let increment = &report.bases[1];
        assert_eq!(increment.findings, []);
        let constant = [1, 2, 3].map(|id| (id, Exclusion::ConstantProduction));
        assert_eq!(increment.excluded, constant);
    }

    #[test]
    fn parameters_that_say_nothing_are_excluded_with_the_reason() {
        let orders = series(10.0, 30, |number| f64::from(number * number % 17));
        let parameters = BTreeMap::from([
            (1, series(1.0, 300, |_| 5.0)),
            (2, series(1.0, 80, f64::from)),
            (3, Series::default()),
        ]);
        let products = BTreeMap::from([(0, orders), (1, series(1.0, 1, f64::from))]);
        let reports = correlate(&parameters, &products, &Options::default());
        let few = |id, n| (id, Exclusion::TooFew { n });
        let constant = (1, Exclusion::ConstantParameter);
        assert_eq!(
            reports[0].bases[0].excluded,
            [constant, few(2, 8), few(3, 0)]
        );
        assert_eq!(reports[0].negative_steps, 12);
        assert_eq!(
            reports[1].bases[0].excluded,
            [few(1, 0), few(2, 0), few(3, 0)]
        );
        let options = Options {
            join: Join::Interpolated { max_gap: 1.0 },
            min_pairs: 0,
        };
        let reports = correlate(&parameters, &products, &options);
        assert_eq!(reports[0].bases[0].findings.len(), 1, "{reports:?}");
    }
}

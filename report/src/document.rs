//! Reports as CSV, JSON and a page.

mod chart;
mod page;

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::correlations::{BasisReport, Finding, Options, ProductReport};
use crate::series::Series;

/// Everything that a report shows. The same values give the same bytes.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// What was found.
    pub reports: &'a [ProductReport],
    /// The series of the parameters.
    pub parameters: &'a BTreeMap<i64, Series>,
    /// The work orders of the products.
    pub products: &'a BTreeMap<i64, Series>,
    /// How they were compared.
    pub options: &'a Options,
    /// How many parameters of each product are shown.
    pub top: usize,
    /// When it was made, as it is shown.
    pub made: &'a str,
    /// What a reader should know of the data, for instance items that were left out.
    pub notes: &'a [String],
}

/// A report is about series that weren't given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the report names the {kind} {id}, which isn't in its data")]
pub struct UnknownSeries {
    kind: &'static str,
    id: i64,
}

/// The first parameters, with their ranks.
fn top(of: &BasisReport, count: usize) -> impl Iterator<Item = (usize, &Finding)> {
    (1..).zip(&of.findings).take(count)
}

impl Document<'_> {
    /// A line for each product, basis and rank.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut csv = String::from(
            "product,basis,rank,parameter,r,n,p,p_corrected,r_low,r_high,\
             spearman,spearman_p,spearman_p_corrected,near_tie,both_trend\n",
        );
        for report in self.reports {
            for basis in &report.bases {
                for (rank, finding) in top(basis, self.top) {
                    let (product, name) = (report.product, basis.basis.name());
                    let Finding { parameter, n, .. } = finding;
                    let (r, s) = (finding.pearson, finding.spearman);
                    // Writing to a string can't fail.
                    let _ = writeln!(
                        csv,
                        "{product},{name},{rank},{parameter},{},{n},{:e},{:e},{},{},{},{:e},{:e},{},{}",
                        r.r,
                        r.p,
                        r.corrected_p,
                        r.interval.0,
                        r.interval.1,
                        s.r,
                        s.p,
                        s.corrected_p,
                        finding.is_near_tie,
                        finding.both_trend,
                    );
                }
            }
        }
        csv
    }

    /// Everything, with all parameters and not only the first.
    #[must_use]
    pub fn json(&self) -> String {
        let document: Value = json!({
            "made": self.made,
            "join": self.options.join,
            "min_pairs": self.options.min_pairs,
            "notes": self.notes,
            "products": self.reports,
        });
        format!("{document:#}\n")
    }

    /// A page with tables and charts, which needs nothing else. Fails if the reports are about other series.
    pub fn html(&self) -> Result<String, UnknownSeries> {
        page::page(self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::Document;
    use crate::correlations::{Options, correlate};
    use crate::series::{Point, Series};

    fn series(every: f64, count: u32, value: impl Fn(f64) -> f64) -> Series {
        let numbers = (0..count).map(f64::from);
        let points = numbers.map(|number| Point {
            time: 1_767_600_000.0 + number * every,
            value: value(number),
        });
        Series::new(points.collect())
    }

    fn documents() -> [String; 3] {
        let products = BTreeMap::from([(1, series(100.0, 40, |it| it + (it / 3.0).sin()))]);
        let parameters = BTreeMap::from([
            (3, series(10.0, 400, |it| (it / 30.0).cos())),
            (5, series(10.0, 400, |it| it * it)),
            (8, series(10.0, 400, |_| 1.0)),
            (9, series(10.0, 400, |it| it % 7.0)),
            (11, series(10.0, 400, |it| -it)),
        ]);
        let options = Options::default();
        let reports = correlate(&parameters, &products, &options);
        let notes = ["3 <items> can't be used".to_owned()];
        let document = Document {
            reports: &reports,
            parameters: &parameters,
            products: &products,
            options: &options,
            top: 3,
            made: "2026-01-05 12:00 UTC",
            notes: &notes,
        };
        [document.csv(), document.json(), document.html().unwrap()]
    }

    #[test]
    fn csv_has_the_first_three_of_each_basis() {
        let [csv, ..] = documents();
        let lines: Vec<_> = csv.lines().collect();
        assert_eq!(lines.len(), 7, "{csv}");
        assert!(lines[0].starts_with("product,basis,rank,parameter,r,n,p,"));
        assert!(lines[1].starts_with("1,level,1,11,-0.99"), "{csv}");
        assert!(lines[4].starts_with("1,increment,1,3,"), "{csv}");
        let columns = lines[0].split(',').count();
        assert!(lines.iter().all(|line| line.split(',').count() == columns));
    }

    #[test]
    fn json_has_all_parameters_and_why_some_are_left_out() {
        let [_, json, _] = documents();
        let document: Value = serde_json::from_str(&json).unwrap();
        let level = &document["products"][0]["bases"][0];
        assert_eq!(level["basis"], "level");
        assert_eq!(level["findings"].as_array().unwrap().len(), 4);
        assert_eq!(
            level["excluded"][0],
            serde_json::json!([8, "constant_parameter"])
        );
        assert_eq!(level["findings"][0]["both_trend"], true);
    }

    #[test]
    fn page_stands_alone_and_escapes_what_it_shows() {
        let [_, _, page] = documents();
        assert!(page.contains("3 &lt;items&gt; can't be used"));
        assert!(page.contains("mostly rise or fall with time"), "{page}");
        assert_eq!(
            page.matches("<svg").count(),
            12,
            "two for each of six pairs"
        );
        for outside in ["http:", "https:", "src=", "url(", "<script"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }

    #[test]
    fn same_data_give_the_same_documents() {
        assert_eq!(documents(), documents());
    }
}

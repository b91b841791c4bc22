//! The page of a report.

use std::fmt::Write;

use super::chart::{over_time, scatter, short};
use super::{Document, UnknownSeries, top};
use crate::correlations::{BasisReport, Exclusion, Finding, ProductReport};
use crate::join::{Basis, Join, Pairs};

const STYLE: &str = include_str!("page.css");

pub(super) fn page(document: &Document<'_>) -> Result<String, UnknownSeries> {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Parameters and production</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>Parameters and production</h1>\n<p>Made {}.</p>\n",
        escaped(document.made)
    );
    html.push_str(&method(document));
    if !document.notes.is_empty() {
        html.push_str("<h2>About the data</h2>\n<ul>\n");
        for note in document.notes {
            push(&mut html, format_args!("<li>{}</li>\n", escaped(note)));
        }
        html.push_str("</ul>\n");
    }
    if document.reports.is_empty() {
        html.push_str("<p>There are no work orders.</p>\n");
    }
    for report in document.reports {
        product(&mut html, document, report)?;
    }
    Ok(html + "</body>\n</html>\n")
}

fn push(html: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string can't fail.
    let _ = html.write_fmt(text);
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

/// How the figures come about, in plain words.
fn method(document: &Document<'_>) -> String {
    let join = match document.options.join {
        Join::Mean => "its mean from the work order before to this one".to_owned(),
        Join::Interpolated { max_gap } => format!(
            "its value on the straight line between the measurements before and after, if these are at most {} s apart",
            short(max_gap)
        ),
    };
    format!(
        "<h2>Method</h2>\n<p>For each work order of a product, a parameter is represented by {join}. These values are \
         compared with the recorded production (<b>level</b>), and with what was added to it since the work order before \
         (<b>increment</b>). Recorded production is cumulative: its level correlates with everything that rises or falls \
         with time, so the increment says more.</p>\n\
         <p><b>r</b> is the coefficient of Pearson, from -1 to 1: how near the pairs are to a straight line, with its \
         interval of 95 %. Parameters are ranked by its size. <b>ρ</b> is the coefficient of Spearman, the same of the \
         ranks: how near the pairs are to any curve that only rises or only falls. <b>p</b> is the probability of a \
         coefficient at least this far from 0 if nothing is correlated, corrected for the number of parameters (Holm). \
         It holds for independent pairs; values that follow each other in time are not quite independent, so it is \
         rather too small. A correlation is no proof of a cause.</p>\n\
         <p>Parameters with fewer than {} pairs are left out. ≈ marks coefficients that are so near to the one before or \
         behind that their order says little.</p>\n",
        document.options.min_pairs
    )
}

fn product(
    html: &mut String,
    document: &Document<'_>,
    report: &ProductReport,
) -> Result<(), UnknownSeries> {
    let ProductReport {
        product,
        orders,
        negative_steps,
        ..
    } = report;
    push(
        html,
        format_args!("<h2>Product {product}</h2>\n<p>{orders} work orders."),
    );
    if *negative_steps > 0 {
        let times = match negative_steps {
            1 => "once".to_owned(),
            more => format!("{more} times"),
        };
        push(
            html,
            format_args!(" The recorded production falls {times}; these work orders are kept."),
        );
    }
    html.push_str("</p>\n");
    for basis in &report.bases {
        table(html, document, basis);
        charts(html, document, report, basis)?;
    }
    Ok(())
}

fn table(html: &mut String, document: &Document<'_>, basis: &BasisReport) {
    let title = match basis.basis {
        Basis::Level => "By the level of production",
        Basis::Increment => "By the increment of production",
    };
    push(html, format_args!("<h3>{title}</h3>\n"));
    let shown = || top(basis, document.top);
    if shown().any(|(_, finding)| finding.both_trend) {
        html.push_str(
            "<p class=\"warning\">Parameters with ↗ and the production both mostly rise or fall with time. Then the \
             coefficient ranks how steady their trends are, not whether they have to do with each other.</p>\n",
        );
    }
    if basis.findings.is_empty() {
        html.push_str("<p>No parameter can be compared.</p>\n");
    } else {
        html.push_str(
            "<table>\n<tr><th>rank</th><th>parameter</th><th>r</th><th>95 %</th><th>p</th><th>ρ</th><th>p of ρ</th>\
             <th>n</th><th></th></tr>\n",
        );
        for (rank, finding) in shown() {
            row(html, rank, finding);
        }
        html.push_str("</table>\n");
    }
    if !basis.excluded.is_empty() {
        html.push_str("<details><summary>Parameters that are left out</summary>\n<ul>\n");
        for (parameter, exclusion) in &basis.excluded {
            let why = match exclusion {
                Exclusion::TooFew { n } => format!("it has {n} pairs"),
                Exclusion::ConstantParameter => "it is constant".to_owned(),
                Exclusion::ConstantProduction => "the production is constant".to_owned(),
            };
            push(html, format_args!("<li>{parameter}: {why}</li>\n"));
        }
        html.push_str("</ul>\n</details>\n");
    }
}

fn row(html: &mut String, rank: usize, finding: &Finding) {
    let (r, rho) = (finding.pearson, finding.spearman);
    let tie = if finding.is_near_tie { "≈" } else { "" };
    let trend = if finding.both_trend { "↗" } else { "" };
    push(
        html,
        format_args!(
            "<tr><td>{rank}</td><td>{}</td><td>{:+.4}</td><td>{:+.3} to {:+.3}</td><td>{}</td><td>{:+.4}</td>\
             <td>{}</td><td>{}</td><td>{tie}{trend}</td></tr>\n",
            finding.parameter,
            r.r,
            r.interval.0,
            r.interval.1,
            probability(r.corrected_p),
            rho.r,
            probability(rho.corrected_p),
            finding.n,
        ),
    );
}

fn probability(p: f64) -> String {
    match p {
        p if p < 1e-12 => "&lt; 1e-12".to_owned(),
        p if p < 1e-3 => format!("{p:.1e}"),
        p => format!("{p:.3}"),
    }
}

fn charts(
    html: &mut String,
    document: &Document<'_>,
    report: &ProductReport,
    basis: &BasisReport,
) -> Result<(), UnknownSeries> {
    let unknown = |kind, id| move || UnknownSeries { kind, id };
    let orders = document.products.get(&report.product);
    let orders = orders.ok_or_else(unknown("product", report.product))?;
    for (_, finding) in top(basis, document.top) {
        let parameter = document.parameters.get(&finding.parameter);
        let parameter = parameter.ok_or_else(unknown("parameter", finding.parameter))?;
        let values = document.options.join.values(parameter, orders);
        let pairs = Pairs::new(&values, orders, basis.basis);
        let (id, name) = (finding.parameter, basis.basis.name());
        let ends = [pairs.times.first(), pairs.times.last()];
        let ends = ends.map(|time| time.map_or_else(String::new, |time| date(*time)));
        let title = format!("parameter {id} and {name} of production");
        push(
            html,
            format_args!(
                "<figure>{}{}<figcaption>Parameter {id}: {name} of production (upwards) over the parameter, and \
                 <span class=\"first\">the parameter</span> and <span class=\"second\">the production</span> over \
                 time</figcaption></figure>\n",
                scatter(&title, &pairs.parameter, &pairs.production),
                over_time(
                    &title,
                    &pairs.times,
                    [&pairs.parameter, &pairs.production],
                    [&ends[0], &ends[1]]
                ),
            ),
        );
    }
    Ok(())
}

/// The day of a time, in UTC.
fn date(seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "times are limited where they are read"
    )]
    let seconds = seconds as i64;
    let time = chrono::DateTime::from_timestamp(seconds, 0);
    time.map_or_else(String::new, |time| time.format("%Y-%m-%d").to_string())
}

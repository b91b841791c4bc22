//! Writes files to try reports with.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, value_parser};
use common::settings::path;
use report::{Example, STRENGTHS, Sizes};

use super::directory::write_whole;
use crate::inspect::output::stdout;

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct ExampleArgs {
    /// Directory for `metrics.json` and `workorder.json`, created if needed
    #[arg(long, value_name = "DIR", value_parser = path())]
    out: PathBuf,
    /// Replace files that are there
    #[arg(long)]
    replace: bool,
    /// Do nothing if both files are there
    #[arg(long, conflicts_with = "replace")]
    if_missing: bool,
    /// The same seed and sizes give the same files
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Products
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = value_parser!(u32).range(1..))]
    products: u32,
    /// Parameters, at least three for each product
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = value_parser!(u32).range(1..))]
    parameters: u32,
    /// Work orders of each product
    #[arg(long, value_name = "COUNT", default_value_t = 288, value_parser = value_parser!(u32).range(1..))]
    orders: u32,
    /// Measurements of all parameters
    #[arg(long, value_name = "COUNT", default_value_t = 7_000, value_parser = value_parser!(u32).range(1..))]
    metrics: u32,
}

/// Writes both files while they are made, and prints which parameters follow which product.
pub(super) fn write(args: &ExampleArgs) -> anyhow::Result<ExitCode> {
    let sizes = Sizes {
        products: args.products,
        parameters: args.parameters,
        orders: args.orders,
        metrics: args.metrics,
    };
    let example = Example::new(sizes, args.seed)?;
    let directory = &args.out;
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let [metrics, orders] = ["metrics.json", "workorder.json"].map(|name| directory.join(name));
    if args.if_missing && metrics.exists() && orders.exists() {
        let mut out = stdout();
        writeln!(out, "{} has both files", directory.display())?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    for path in [&metrics, &orders] {
        anyhow::ensure!(
            args.replace || !path.exists(),
            "{} is there already: put both files there, or remove it; otherwise give another --out, or --replace",
            path.display()
        );
    }
    write_whole(&metrics, |out| example.write_metrics(out))?;
    write_whole(&orders, |out| example.write_work_orders(out))?;
    let mut out = stdout();
    for (product, parameters) in example.planted().iter().enumerate() {
        let strengths = parameters.iter().zip(STRENGTHS);
        let strengths = strengths.map(|(id, strength)| format!("{id} ({strength:+.2})"));
        let strengths: Vec<_> = strengths.collect();
        let strengths = strengths.join(", ");
        writeln!(out, "product {product} follows parameters {strengths}")?;
    }
    for path in [metrics, orders] {
        writeln!(out, "wrote {}", path.display())?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

//! What a report is made from.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, ensure};
use report::{Input, Kind, Series};

use super::correlations::CorrelationsArgs;

/// Parameters and products, with notes of what was left out.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) parameters: Input,
    pub(super) products: Input,
    pub(super) notes: Vec<String>,
}

/// Reads what the arguments name: files, or otherwise tables.
pub(super) async fn read(args: &CorrelationsArgs) -> anyhow::Result<Inputs> {
    let (Some(metrics), Some(workorders)) = (&args.metrics, &args.workorders) else {
        return args.postgres.read().await;
    };
    let mut notes = Vec::new();
    let is_service = args.every.is_some();
    let parameters = file(Kind::Metrics, metrics, is_service, &mut notes)?;
    let products = file(Kind::WorkOrders, workorders, is_service, &mut notes)?;
    Ok(Inputs {
        parameters,
        products,
        notes,
    })
}

/// Reads a file, and notes what was left out. A file that ends early may be one that is being written: for a service
/// that is an error, since the next report is tried later.
fn file(
    kind: Kind,
    path: &Path,
    is_service: bool,
    notes: &mut Vec<String>,
) -> anyhow::Result<Input> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    let input = report::read(kind, BufReader::with_capacity(1 << 20, file));
    if let Some(broken) = &input.broken {
        let items = input.items;
        let problem = format!("{name} can't be read after {items} items: {broken}");
        ensure!(!is_service, "{problem}");
        notes.push(problem);
    }
    if input.rejected > 0 {
        let shown = input.reasons.iter();
        let shown = shown.map(|(place, reason)| format!("item {place}: {reason}"));
        let shown: Vec<_> = shown.collect();
        let (rejected, items) = (input.rejected, input.items);
        let shown = shown.join("; ");
        notes.push(format!(
            "{rejected} of {items} items of {name} can't be used ({shown})"
        ));
    }
    notes.extend(left_out(&name.to_string(), &input));
    Ok(input)
}

/// A note of the points that were left out, if there are any.
pub(super) fn left_out(name: &str, input: &Input) -> Option<String> {
    let sum = |count: fn(&Series) -> usize| input.series.values().map(count).sum::<usize>();
    let repeated = sum(|it| it.repeated);
    let (superseded, not_finite) = (sum(|it| it.superseded), sum(|it| it.not_finite));
    (repeated + superseded + not_finite > 0).then(|| {
        format!(
            "repeated items of {name}: {repeated}; items with another value for a time that has one: {superseded} (the \
             first one counts); items whose value is no finite number: {not_finite}"
        )
    })
}

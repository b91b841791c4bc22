//! The command `ledger`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use queue::ledger::{Counter, Ledger};

use super::lists::{Purpose, Where};
use super::output::{grouped, stdout};

/// The arguments.
#[derive(Debug, Args)]
pub struct LedgerArgs {
    #[command(flatten)]
    lists: Where,
}

/// Prints both sides of each line. The exit code is 1 if they differ or if elements vanished.
pub async fn show(args: LedgerArgs) -> anyhow::Result<ExitCode> {
    let lists = args.lists.open(Purpose::Read)?;
    let ledger = lists.snapshot().await?.ledger;
    let mut out = stdout();
    writeln!(out, "ledger of {}", lists.place())?;
    for line in ledger.lines() {
        let agrees = if line.left == line.right { "ok" } else { "OFF" };
        let (left, right) = (grouped(line.left), grouped(line.right));
        writeln!(out, "{agrees:<4}{left:>14} = {right:<14} {}", line.text)?;
    }
    writeln!(
        out,
        "stored {} rows; waiting {} readings in rows that are open, {} in the raw list, {} rows; \
         dead letters {}",
        grouped(ledger.get(Counter::RowsStored)),
        grouped(ledger.get(Counter::OpenReadings)),
        grouped(ledger.raw),
        grouped(ledger.normalized),
        grouped(ledger.dead),
    )?;
    writeln!(
        out,
        "of the readings: repeated {}, superseded {}, late {}",
        grouped(ledger.get(Counter::Repeated)),
        grouped(ledger.get(Counter::Superseded)),
        grouped(ledger.get(Counter::Late)),
    )?;
    let trouble = trouble(&ledger);
    writeln!(out, "{}", trouble.as_deref().unwrap_or("balanced"))?;
    out.flush()?;
    Ok(ExitCode::from(u8::from(trouble.is_some())))
}

/// Describes a broken line or vanished elements, if any.
#[must_use]
pub fn trouble(ledger: &Ledger) -> Option<String> {
    if let Some(line) = ledger.broken_line() {
        let off = line.left - line.right;
        return Some(format!("off by {}: {}", grouped(off), line.text));
    }
    let vanished = [
        ("raw", ledger.raw_foreign()),
        ("normalized", ledger.rows_foreign()),
    ];
    let (list, count) = vanished.into_iter().find(|(_, foreign)| *foreign < 0)?;
    let count = grouped(-count);
    Some(format!("{count} elements vanished from the {list} list"))
}

#[cfg(test)]
mod tests {
    use queue::ledger::{Counter, Ledger};

    use super::trouble;

    #[test]
    fn vanished_elements_are_an_error_and_external_ones_are_not() {
        let mut ledger = Ledger::default();
        ledger.raw = 3;
        assert_eq!(trouble(&ledger), None);
        ledger.set(Counter::Accepted, 5);
        assert_eq!(
            trouble(&ledger).as_deref(),
            Some("2 elements vanished from the raw list")
        );
        ledger.set(Counter::RowsTaken, 2);
        let said = trouble(&ledger).unwrap();
        assert!(said.starts_with("off by 2: rows_taken"), "{said}");
    }
}

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
pub async fn show(mut args: LedgerArgs) -> anyhow::Result<ExitCode> {
    let lists = args.lists.open(Purpose::Read).await?;
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
    writeln!(out, "{}", verdict(&ledger))?;
    out.flush()?;
    Ok(ExitCode::from(u8::from(trouble(&ledger).is_some())))
}

/// Says whether the ledger is balanced, and what was omitted.
#[must_use]
pub fn verdict(ledger: &Ledger) -> String {
    match (trouble(ledger), omitted(ledger)) {
        (Some(trouble), _) => trouble,
        (None, Some(omitted)) => format!("balanced; {omitted}"),
        (None, None) => "balanced".to_owned(),
    }
}

/// Describes the readings and rows that aren't stored and won't be, if any. Repeated readings are
/// stored once.
#[must_use]
pub fn omitted(ledger: &Ledger) -> Option<String> {
    let superseded = ledger.get(Counter::Superseded);
    let dead = ledger.get(Counter::DeadIngester) + ledger.get(Counter::DeadTransformer);
    let refused = ledger.get(Counter::DeadSink);
    let mut parts = Vec::new();
    if superseded + dead > 0 {
        let mut causes = Vec::new();
        if superseded > 0 {
            causes.push(format!("{} superseded", grouped(superseded)));
        }
        if dead > 0 {
            causes.push(format!("{} dead letters", grouped(dead)));
        }
        let all = grouped(superseded + dead);
        parts.push(format!("{all} readings omitted: {}", causes.join(", ")));
    }
    if refused > 0 {
        parts.push(format!("{} rows refused by the store", grouped(refused)));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// What readers of rows have to know about readings that aren't in them or that came late: the verdict,
/// unless everything is as it was sent.
#[must_use]
pub fn account(ledger: &Ledger) -> Option<String> {
    if let Some(trouble) = trouble(ledger) {
        return Some(format!("ledger {trouble}"));
    }
    let late = ledger.get(Counter::Late);
    let late = (late > 0).then(|| format!("{} late readings stored", grouped(late)));
    let parts: Vec<_> = omitted(ledger).into_iter().chain(late).collect();
    (!parts.is_empty()).then(|| format!("ledger balanced; {}", parts.join("; ")))
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

    use super::{account, trouble, verdict};

    #[test]
    fn omitted_readings_are_part_of_the_verdict() {
        let of = |superseded, dead, refused| {
            let mut ledger = Ledger::default();
            ledger.set(Counter::Accepted, superseded);
            ledger.set(Counter::RawTaken, superseded);
            ledger.set(Counter::Samples, superseded);
            ledger.set(Counter::Readings, superseded);
            ledger.set(Counter::Superseded, superseded);
            ledger.set(Counter::DeadIngester, dead);
            ledger.set(Counter::DeadSink, refused);
            ledger.set(Counter::RowsOut, refused);
            ledger.set(Counter::RowsTaken, refused);
            ledger.dead = dead + refused;
            verdict(&ledger)
        };
        for (superseded, dead, refused, said) in [
            (0, 0, 0, "balanced"),
            (99, 0, 0, "balanced; 99 readings omitted: 99 superseded"),
            (
                1_000,
                1,
                0,
                "balanced; 1,001 readings omitted: 1,000 superseded, 1 dead letters",
            ),
            (0, 0, 2, "balanced; 2 rows refused by the store"),
        ] {
            assert_eq!(of(superseded, dead, refused), said);
        }
    }

    #[test]
    fn readers_of_rows_hear_of_omitted_and_late_readings_only() {
        let mut ledger = Ledger::default();
        assert_eq!(account(&ledger), None);
        ledger.set(Counter::Late, 2_000);
        let said = account(&ledger);
        assert_eq!(
            said.as_deref(),
            Some("ledger balanced; 2,000 late readings stored")
        );
        ledger.set(Counter::DeadIngester, 3);
        ledger.dead = 3;
        let said = account(&ledger);
        assert_eq!(
            said.as_deref(),
            Some("ledger balanced; 3 readings omitted: 3 dead letters; 2,000 late readings stored")
        );
        ledger.dead = 2;
        assert!(account(&ledger).unwrap().starts_with("ledger off by 1"));
    }

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

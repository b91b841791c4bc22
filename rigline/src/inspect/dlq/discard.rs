//! Discards dead letters.

use std::collections::HashSet;
use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use common::clock::Clock;
use model::dead_letter::{DeadLetter, Summary, id_of};

use super::{Filter, for_each};
use crate::inspect::lists::{Purpose, Where};
use crate::inspect::output::{grouped, printable, stdout};

/// The arguments.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("wanted").required(true).multiple(true))]
pub(super) struct DiscardArgs {
    /// Ids of dead letters
    #[arg(group = "wanted", value_name = "ID")]
    ids: Vec<String>,
    /// All dead letters that weren't replayed or discarded yet, restricted by --reason and --stage
    #[arg(long, group = "wanted", conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    lists: Where,
}

pub(super) async fn run(mut args: DiscardArgs) -> anyhow::Result<ExitCode> {
    let lists = args.lists.open(Purpose::Change).await?;
    let mut wanted: HashSet<String> = args.ids.iter().cloned().collect();
    let mut letters = Vec::new();
    for_each(&lists, |letter| {
        let is_wanted = if args.all {
            let matches = |of: Summary| args.filter.matches(of.stage, of.reason);
            Summary::of(&letter.element).is_some_and(|of| of.handled.is_none() && matches(of))
        } else {
            id_of(&letter.element).is_some_and(|id| wanted.remove(&*id))
        };
        if is_wanted && let Ok(content) = DeadLetter::decode(&letter.element) {
            letters.push((letter, content));
        }
        Ok(())
    })
    .await?;
    let mut out = stdout();
    let (mut done, mut refused) = (0_i64, 0_i64);
    for id in args.ids.iter().filter(|id| wanted.contains(*id)) {
        refused += 1;
        writeln!(out, "{}: there is no such dead letter", printable(id))?;
    }
    for (letter, content) in letters {
        let id = printable(&content.id);
        if let Some(handled) = content.handled() {
            refused += 1;
            writeln!(out, "{id}: was {} before", handled.as_str())?;
            continue;
        }
        let left = content.discarded(Clock::system().now());
        if lists.discard(&letter, &left).await? {
            done += 1;
            writeln!(out, "{id}: discarded")?;
        } else {
            refused += 1;
            writeln!(out, "{id}: is gone, or was replayed or discarded meanwhile")?;
        }
    }
    writeln!(out, "{} discarded, {} not", grouped(done), grouped(refused))?;
    out.flush()?;
    Ok(ExitCode::from(u8::from(refused > 0)))
}

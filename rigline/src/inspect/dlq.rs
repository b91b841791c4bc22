//! Dead letters: looked at, put through once more, taken elsewhere.

mod replay;

use std::collections::VecDeque;
use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use common::settings::count;
use model::Stage;
use model::dead_letter::{DeadLetter, Reason};
use queue::DeadLetterEntry;

use self::replay::ReplayArgs;
use super::lists::{Lists, Purpose, Where};
use super::output::{line, stdout};

/// Letters that are read at once.
const PAGE: usize = 1_000;

/// What to do with dead letters.
#[derive(Debug, Args)]
pub struct DlqArgs {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show them, a line each, the newest last
    List(ListArgs),
    /// Show one with everything that is known of it
    Show(ShowArgs),
    /// Validate them again and put those that pass into their list. What was replayed is marked, and not
    /// replayed again. Exit code 0 if all passed, 1 if not. Readings are judged by the limits given here
    /// and, behind the list, once more by those of the transformer: give it the same
    Replay(ReplayArgs),
    /// Print all of them as they are, a JSON object a line
    Export(ExportArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    /// No more than this many, the newest
    #[arg(long, default_value = "50", value_parser = count)]
    limit: usize,
    #[command(flatten)]
    lists: Where,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// The letter's id, or as much of its end as is unique
    id: String,
    #[command(flatten)]
    lists: Where,
}

#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    lists: Where,
}

/// Which letters to take.
#[derive(Debug, Clone, Args)]
struct Filter {
    /// Only letters with this reason: `bad_value`, `future`, `store_rejected`, ...
    #[arg(long)]
    reason: Option<Reason>,
    /// Only letters of this stage: ingester, transformer or sink
    #[arg(long)]
    stage: Option<Stage>,
}

impl Filter {
    fn matches(&self, letter: &DeadLetter) -> bool {
        self.reason.is_none_or(|reason| reason == letter.reason)
            && self.stage.is_none_or(|stage| stage == letter.stage)
    }
}

/// Does what is asked for.
pub async fn run(args: DlqArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        Action::List(args) => list(args).await,
        Action::Show(args) => show(args).await,
        Action::Replay(args) => replay::run(args).await,
        Action::Export(args) => export(args).await,
    }
}

/// Hands all letters over, the oldest first; ones that aren't ours have no content.
async fn each(
    lists: &Lists,
    mut take: impl FnMut(DeadLetterEntry, Option<DeadLetter>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut skip = 0;
    loop {
        let letters = lists.dead_letters(skip, PAGE).await?;
        let found = letters.len();
        for letter in letters {
            let content = DeadLetter::decode(&letter.element).ok();
            take(letter, content)?;
        }
        if found < PAGE {
            return Ok(());
        }
        skip += found;
    }
}

async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let lists = args.lists.open(Purpose::Read)?;
    let mut newest = VecDeque::new();
    let mut all = 0_usize;
    each(&lists, |_, content| {
        all += 1;
        if let Some(content) = content.filter(|content| args.filter.matches(content)) {
            newest.push_back(content);
            if newest.len() > args.limit {
                newest.pop_front();
            }
        }
        Ok(())
    })
    .await?;
    let widths = [25, 30, 11, 14, 4, 0];
    let mut out = stdout();
    let head = ["id", "time", "stage", "reason", "was", "topic"];
    line(&mut out, &widths, &head)?;
    for letter in &newest {
        let replayed = if letter.replayed.is_some() {
            "done"
        } else {
            ""
        };
        let cells = [
            letter.id.as_str(),
            &letter.time,
            letter.stage.name(),
            letter.reason.as_str(),
            replayed,
            &letter.topic,
        ];
        line(&mut out, &widths, &cells)?;
    }
    writeln!(out, "{} shown of {all}", newest.len())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn show(args: ShowArgs) -> anyhow::Result<ExitCode> {
    let lists = args.lists.open(Purpose::Read)?;
    let mut found = Vec::new();
    each(&lists, |_, content| {
        found.extend(content.filter(|content| content.id.ends_with(&args.id)));
        Ok(())
    })
    .await?;
    let wanted = found.iter().find(|letter| letter.id == args.id);
    let letter = match (wanted, found.as_slice()) {
        (Some(letter), _) | (None, [letter]) => letter,
        (None, []) => anyhow::bail!("there is no letter {}", args.id),
        (None, several) => anyhow::bail!("{} letters end with {}", several.len(), args.id),
    };
    let mut out = stdout();
    for (name, value) in [
        ("id", letter.id.as_str()),
        ("time", &letter.time),
        ("stage", letter.stage.name()),
        ("reason", letter.reason.as_str()),
        ("detail", &letter.detail),
        ("topic", &letter.topic),
        ("replayed", letter.replayed.as_deref().unwrap_or("no")),
        ("payload", letter.encoding.as_deref().unwrap_or("text")),
    ] {
        writeln!(out, "{name:<10}{value}")?;
    }
    writeln!(out, "\n{}", letter.payload)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn export(args: ExportArgs) -> anyhow::Result<ExitCode> {
    let lists = args.lists.open(Purpose::Read)?;
    let mut out = stdout();
    let everything = args.filter.reason.is_none() && args.filter.stage.is_none();
    each(&lists, |letter, content| {
        if everything || content.is_some_and(|content| args.filter.matches(&content)) {
            out.write_all(&letter.element)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    })
    .await?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

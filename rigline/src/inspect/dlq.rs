//! The command `dlq`: shows, replays and exports dead letters.

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
use super::output::{line, printable, printable_lines, stdout};

/// Dead letters per page.
const PAGE: usize = 1_000;

/// The arguments.
#[derive(Debug, Args)]
pub struct DlqArgs {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List dead letters, one per line, the newest last
    List(ListArgs),
    /// Show one dead letter in full
    Show(ShowArgs),
    /// Validate dead letters again and append the valid ones to their list. A replayed dead letter is
    /// marked and not replayed again. Exit code 0 if all were replayed, 1 if not. The limits given here
    /// apply to readings, and then those of the transformer: give it the same limits
    Replay(ReplayArgs),
    /// Print dead letters as stored, one JSON object per line
    Export(ExportArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    /// Most dead letters to list, the newest ones
    #[arg(long, default_value = "50", value_parser = count)]
    limit: usize,
    #[command(flatten)]
    lists: Where,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// Id of the dead letter, or a unique end of it
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

/// The dead letters to select.
#[derive(Debug, Clone, Args)]
struct Filter {
    /// Only dead letters with this reason: `bad_value`, `future`, `store_rejected`, ...
    #[arg(long)]
    reason: Option<Reason>,
    /// Only dead letters of this stage: ingester, transformer or sink
    #[arg(long)]
    stage: Option<Stage>,
}

impl Filter {
    fn matches(&self, letter: &DeadLetter) -> bool {
        self.reason.is_none_or(|reason| reason == letter.reason)
            && self.stage.is_none_or(|stage| stage == letter.stage)
    }
}

/// Runs the command.
pub async fn run(args: DlqArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        Action::List(args) => list(args).await,
        Action::Show(args) => show(args).await,
        Action::Replay(args) => replay::run(args).await,
        Action::Export(args) => export(args).await,
    }
}

/// Calls `take` for all dead letters, the oldest first. An element in another format has no content.
async fn for_each(
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
    for_each(&lists, |_, content| {
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
    let widths = [25, 30, 11, 14, 8, 0];
    let mut out = stdout();
    let head = ["id", "time", "stage", "reason", "replayed", "topic"];
    line(&mut out, &widths, &head)?;
    for letter in &newest {
        let replayed = if letter.replayed.is_some() { "yes" } else { "" };
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
    for_each(&lists, |_, content| {
        found.extend(content.filter(|content| content.id.ends_with(&args.id)));
        Ok(())
    })
    .await?;
    let wanted = found.iter().find(|letter| letter.id == args.id);
    let letter = match (wanted, found.as_slice()) {
        (Some(letter), _) | (None, [letter]) => letter,
        (None, []) => anyhow::bail!("there is no dead letter {}", args.id),
        (None, several) => anyhow::bail!(
            "{} dead letters have ids that end with {}",
            several.len(),
            args.id
        ),
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
        writeln!(out, "{name:<10}{}", printable(value))?;
    }
    writeln!(out, "\n{}", printable_lines(&letter.payload))?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn export(args: ExportArgs) -> anyhow::Result<ExitCode> {
    let lists = args.lists.open(Purpose::Read)?;
    let mut out = stdout();
    let everything = args.filter.reason.is_none() && args.filter.stage.is_none();
    for_each(&lists, |letter, content| {
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

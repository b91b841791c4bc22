//! The command `dlq`: shows, replays, discards and exports dead letters.

mod discard;
mod list;
mod replay;

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use model::Stage;
use model::dead_letter::{DeadLetter, Reason, Summary, id_of};
use queue::DeadLetterEntry;

use self::discard::DiscardArgs;
use self::list::ListArgs;
use self::replay::ReplayArgs;
use super::lists::{Lists, Purpose, Where};
use super::output::{printable, printable_lines, stdout};

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
    /// Count dead letters by reason and stage, and list the newest ones, one per line, the newest last
    List(ListArgs),
    /// Show one dead letter in full
    Show(ShowArgs),
    /// Validate dead letters again, report those that would be refused again, and append the others to
    /// their list. A replayed dead letter is marked and not replayed again. Exit code 0 if all were
    /// replayed, 1 if not. The limits given here apply to readings, and then those of the transformer:
    /// give it the same limits
    Replay(ReplayArgs),
    /// Delete the payloads of dead letters and mark them as discarded; what is left of them stays in the list
    /// until it is trimmed. Exit code 0 if all were discarded, 1 if not
    Discard(DiscardArgs),
    /// Print dead letters as stored, one JSON object per line
    Export(ExportArgs),
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
    fn matches(&self, stage: Stage, reason: Reason) -> bool {
        self.reason.is_none_or(|wanted| wanted == reason)
            && self.stage.is_none_or(|wanted| wanted == stage)
    }

    fn is_empty(&self) -> bool {
        self.reason.is_none() && self.stage.is_none()
    }
}

/// Runs the command.
pub async fn run(args: DlqArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        Action::List(args) => list::run(args).await,
        Action::Show(args) => show(args).await,
        Action::Replay(args) => replay::run(args).await,
        Action::Discard(args) => discard::run(args).await,
        Action::Export(args) => export(args).await,
    }
}

/// Calls `take` for all dead letters, the oldest first.
async fn for_each(
    lists: &Lists,
    mut take: impl FnMut(DeadLetterEntry) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut skip = 0;
    let mut letters = lists.dead_letters(skip, PAGE).await?;
    while !letters.is_empty() {
        let found = letters.len();
        skip += found;
        // The next page is read while this one is processed.
        let next = async {
            if found < PAGE {
                Ok(Vec::new())
            } else {
                lists.dead_letters(skip, PAGE).await
            }
        };
        let process = async { letters.into_iter().try_for_each(&mut take) };
        let (next, processed) = tokio::join!(next, process);
        processed?;
        letters = next?;
    }
    Ok(())
}

async fn show(mut args: ShowArgs) -> anyhow::Result<ExitCode> {
    let lists = args.lists.open(Purpose::Read).await?;
    let mut found = Vec::new();
    for_each(&lists, |letter| {
        if id_of(&letter.element).is_some_and(|id| id.ends_with(&args.id)) {
            let content = DeadLetter::decode(&letter.element).ok();
            found.extend(content);
        }
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
        ("discarded", letter.discarded.as_deref().unwrap_or("no")),
        ("payload", letter.encoding.as_deref().unwrap_or("text")),
    ] {
        writeln!(out, "{name:<10}{}", printable(value))?;
    }
    writeln!(out, "\n{}", printable_lines(&letter.payload))?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn export(mut args: ExportArgs) -> anyhow::Result<ExitCode> {
    let lists = args.lists.open(Purpose::Read).await?;
    let mut out = stdout();
    for_each(&lists, |letter| {
        let matches = |of: Summary| args.filter.matches(of.stage, of.reason);
        if args.filter.is_empty() || Summary::of(&letter.element).is_some_and(matches) {
            out.write_all(&letter.element)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    })
    .await?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

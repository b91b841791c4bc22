//! Dead letters: looked at, put through once more, taken elsewhere.

mod replay;

use std::collections::VecDeque;
use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use common::dead_letter::Letter as Content;
use common::settings::count;
use queue::Letter;

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
    which: Which,
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
    which: Which,
    #[command(flatten)]
    lists: Where,
}

/// Which of the letters are meant.
#[derive(Debug, Clone, Args)]
struct Which {
    /// Those of this reason only: `bad_value`, `future`, `store_rejected`, ...
    #[arg(long)]
    reason: Option<String>,
    /// Those of this stage only
    #[arg(long, value_enum)]
    stage: Option<Stage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    Ingester,
    Transformer,
    Sink,
}

impl Which {
    fn is_meant(&self, letter: &Content) -> bool {
        let stage = self.stage.map(|stage| match stage {
            Stage::Ingester => "ingester",
            Stage::Transformer => "transformer",
            Stage::Sink => "sink",
        });
        let reason = self.reason.as_deref();
        reason.is_none_or(|reason| reason == letter.reason.as_str())
            && stage.is_none_or(|stage| stage == letter.stage)
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
    mut take: impl FnMut(Letter, Option<Content>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut skip = 0;
    loop {
        let letters = lists.letters(skip, PAGE).await?;
        let found = letters.len();
        for letter in letters {
            let content = Content::read(&letter.element).ok();
            take(letter, content)?;
        }
        if found < PAGE {
            return Ok(());
        }
        skip += found;
    }
}

async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let lists = args.lists.open(Purpose::Look)?;
    let mut newest = VecDeque::new();
    let mut all = 0_usize;
    each(&lists, |_, content| {
        all += 1;
        if let Some(content) = content.filter(|content| args.which.is_meant(content)) {
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
            &letter.id,
            &letter.time,
            &letter.stage,
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
    let lists = args.lists.open(Purpose::Look)?;
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
        ("stage", &letter.stage),
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
    let lists = args.lists.open(Purpose::Look)?;
    let mut out = stdout();
    let everything = args.which.reason.is_none() && args.which.stage.is_none();
    each(&lists, |letter, content| {
        if everything || content.is_some_and(|content| args.which.is_meant(&content)) {
            out.write_all(&letter.element)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    })
    .await?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

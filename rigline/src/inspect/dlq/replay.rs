//! Replays dead letters.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use api::StageChecks;
use clap::Args;
use common::clock::Clock;
use common::pipelines::{Pipeline, PipelineSettings};
use common::settings::Settings;
use ingester::settings::ReadingLimits;
use model::Layout;
use model::dead_letter::{DeadLetter, Reason, Summary, id_of};
use queue::{DeadLetterEntry, Replay, Replayed};

use super::{Filter, for_each};
use crate::inspect::lists::{Lists, Purpose, Where};
use crate::inspect::output::{grouped, printable, stdout};
use crate::revalidate::Revalidation;

/// The arguments.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("wanted").required(true).multiple(true))]
pub(super) struct ReplayArgs {
    /// Ids of dead letters
    #[arg(group = "wanted", value_name = "ID")]
    ids: Vec<String>,
    /// All dead letters that weren't replayed yet, restricted by --reason and --stage; those that a user wasn't
    /// allowed only with --reason `not_allowed`
    #[arg(long, group = "wanted", conflicts_with = "ids")]
    all: bool,
    /// The dead letters in this file (`-` for standard input): what `export` printed, with topics or payloads
    /// that were edited. What is in the file is replayed, the dead letter of the same id is marked
    #[arg(long, group = "wanted", value_name = "FILE", conflicts_with_all = ["ids", "all"])]
    edited: Option<PathBuf>,
    /// Only report which dead letters would be refused again
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    filter: Filter,
    /// Limits of a reading.
    #[command(flatten)]
    limits: ReadingLimits,
    /// Where the file of the pipeline is.
    #[command(flatten)]
    pipelines: PipelineSettings,
    #[command(flatten)]
    lists: Where,
}

/// The dead letters to replay.
struct Selected {
    /// As they are in the list, with what to replay.
    letters: Vec<(DeadLetterEntry, DeadLetter)>,
    /// Those that can't be found, with the reason.
    missing: Vec<(String, String)>,
}

pub(super) async fn run(mut args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let purpose = if args.dry_run {
        Purpose::Read
    } else {
        Purpose::Change
    };
    let lists = args.lists.open(purpose).await?;
    let decoder = revalidation(&mut args)?;
    let Selected { letters, missing } = select(&args, &lists).await?;
    let all = letters.len() + missing.len();
    let now = Clock::system().now();
    let mut out = stdout();
    let mut refused = 0_i64;
    let mut refuse = |id: &str, why: &str| {
        refused += 1;
        writeln!(out, "{}: {}", printable(id), printable(why))
    };
    for (id, why) in missing {
        refuse(&id, &why)?;
    }
    let mut valid = Vec::new();
    for (letter, content) in letters {
        match decoder.validate(letter, &content, now) {
            Ok(replay) => valid.push((content.id, replay)),
            Err(why) => refuse(&content.id, &why)?,
        }
    }
    let verb = if args.dry_run { "would be" } else { "are" };
    writeln!(out, "{} of {all} pass and {verb} replayed", valid.len())?;
    // Before the first replay.
    out.flush()?;
    let mut done = 0_i64;
    if !args.dry_run {
        for (id, replay) in valid {
            match append(&lists, &replay).await? {
                Ok(()) => {
                    done += 1;
                    writeln!(out, "{}: replayed", printable(&id))?;
                }
                Err(why) => {
                    refused += 1;
                    writeln!(out, "{}: {why}", printable(&id))?;
                }
            }
        }
        writeln!(out, "{} replayed, {} not", grouped(done), grouped(refused))?;
    }
    out.flush()?;
    Ok(ExitCode::from(u8::from(refused > 0)))
}

/// How the stages of the pipeline validate their inputs.
fn revalidation(args: &mut ReplayArgs) -> anyhow::Result<Revalidation> {
    if args.lists.layout() == Layout::Rigs {
        return Ok(Revalidation::of_rigs(args.limits));
    }
    let name = args.lists.pipeline();
    args.pipelines.check()?;
    match args.pipelines.find(name)? {
        Some(Pipeline::File(file)) => Ok(Revalidation::of_file(&file)),
        Some(Pipeline::Rigs(_)) | None => anyhow::bail!(
            "no file of the pipeline {name} is known: name it with --pipelines or PIPELINES"
        ),
    }
}

async fn select(args: &ReplayArgs, lists: &Lists) -> anyhow::Result<Selected> {
    let mut missing = Vec::new();
    // What to replay for an id; `None` for the dead letter itself.
    let mut wanted: HashMap<String, Option<DeadLetter>> = HashMap::new();
    let mut order = args.ids.clone();
    for id in &args.ids {
        wanted.insert(id.clone(), None);
    }
    if let Some(path) = &args.edited {
        let text = read(path).with_context(|| format!("cannot read {}", path.display()))?;
        for (place, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            match DeadLetter::decode(line.as_bytes()) {
                Ok(letter) => {
                    order.push(letter.id.clone());
                    wanted.insert(letter.id.clone(), Some(letter));
                }
                Err(error) => missing.push((format!("line {}", place + 1), error.to_string())),
            }
        }
    }
    let mut letters = Vec::new();
    for_each(lists, |letter| {
        let edited = if args.all {
            let matches = |of: Summary| {
                of.handled.is_none()
                    && args.filter.matches(of.stage, of.reason)
                    // Otherwise whoever may publish anything could smuggle in readings of others.
                    && (of.reason != Reason::NotAllowed || args.filter.reason.is_some())
            };
            Summary::of(&letter.element)
                .filter(|of| matches(*of))
                .map(|_| None)
        } else {
            id_of(&letter.element).and_then(|id| wanted.remove(&*id))
        };
        let (Some(edited), Ok(mut content)) = (edited, DeadLetter::decode(&letter.element)) else {
            return Ok(());
        };
        if let Some(edited) = edited {
            content.topic = edited.topic;
            content.payload = edited.payload;
            content.encoding = edited.encoding;
        }
        letters.push((letter, content));
        Ok(())
    })
    .await?;
    order.retain(|id| wanted.remove(id).is_some());
    let gone = order
        .into_iter()
        .map(|id| (id, "there is no such dead letter".to_owned()));
    missing.extend(gone);
    Ok(Selected { letters, missing })
}

fn read(path: &Path) -> std::io::Result<String> {
    if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    }
}

/// Appends a dead letter to its list. The error is the reason why it isn't appended.
async fn append(lists: &Lists, replay: &Replay) -> anyhow::Result<Result<(), String>> {
    Ok(match lists.replay(replay).await? {
        Replayed::Done => Ok(()),
        Replayed::Gone => Err("is gone, or was replayed meanwhile".to_owned()),
        Replayed::Full { length } => Err(format!(
            "its list is full ({length} elements): try again later"
        )),
    })
}

//! Replays dead letters.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use common::clock::Clock;
use common::pipelines::{Pipeline, PipelineSettings};
use common::settings::Settings;
use ingester::decoder::{Decoder, MappedDecoder};
use ingester::settings::ReadingLimits;
use model::dead_letter::{DeadLetter, Rejection, Summary, id_of};
use model::{Layout, Stage, Timestamp};
use queue::list::List;
use queue::{DeadLetterEntry, Replay, Replayed};
use transformer::element::decode;

use super::{Filter, for_each};
use crate::inspect::lists::{Lists, Purpose, Where};
use crate::inspect::output::{grouped, printable, stdout};

/// The arguments.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("wanted").required(true).multiple(true))]
pub(super) struct ReplayArgs {
    /// Ids of dead letters
    #[arg(group = "wanted", value_name = "ID")]
    ids: Vec<String>,
    /// All dead letters that weren't replayed yet, restricted by --reason and --stage
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
        Purpose::Replay
    };
    let lists = args.lists.open(purpose).await?;
    let decoder = decoder(&mut args)?;
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
        let checked = if content.replayed.is_some() {
            Err("was replayed before".to_owned())
        } else {
            validate(letter, &content, &decoder, args.lists.layout(), now)
        };
        match checked {
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

/// What the ingester of the pipeline uses.
fn decoder(args: &mut ReplayArgs) -> anyhow::Result<Decoder> {
    if args.lists.layout() == Layout::Rigs {
        return Ok(Decoder::Rigs(args.limits));
    }
    let name = args.lists.pipeline();
    args.pipelines.check()?;
    match args.pipelines.find(name)? {
        Some(Pipeline::File(file)) => Ok(Decoder::Mapped(Box::new(MappedDecoder::new(&file)))),
        Some(Pipeline::Rigs) | None => anyhow::bail!(
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
            let matches = |of: Summary| !of.is_replayed && args.filter.matches(of.stage, of.reason);
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

/// Validates a dead letter again. Returns its replay, or the reason why it can't be replayed.
fn validate(
    letter: DeadLetterEntry,
    content: &DeadLetter,
    decoder: &Decoder,
    layout: Layout,
    now: Timestamp,
) -> Result<Replay, String> {
    let input = content.input().map_err(|error| error.to_string())?;
    let arrived = content.arrived().map_err(|error| error.to_string())?;
    let refused = |rejection: Rejection| {
        format!(
            "is refused again: {} ({})",
            rejection.detail, rejection.reason
        )
    };
    let (list, elements) = match content.stage {
        Stage::Ingester => {
            let (topic, places) = (&content.topic, &content.places);
            let again = decoder.decode_again(topic, &input, arrived, now, places);
            if let Some(rejection) = again.rejection {
                return Err(refused(rejection));
            }
            if again.elements.is_empty() {
                return Err("has no reading that the pipeline takes".to_owned());
            }
            (List::Raw, again.elements.into_vec())
        }
        Stage::Transformer => {
            decode(layout, &input, &decoder.times()).map_err(refused)?;
            (List::Raw, vec![input.into_owned()])
        }
        Stage::Sink => {
            let row = layout
                .decode_row(&input)
                .map_err(|error| error.to_string())?;
            let mut element = Vec::with_capacity(192);
            layout.encode_row(&row, &mut element);
            (List::Normalized, vec![element])
        }
    };
    Ok(Replay {
        marked: DeadLetter::marked(&letter.element, now),
        entry: letter,
        list,
        elements,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::settings::TimeLimitSettings;
    use ingester::decoder::Decoder;
    use ingester::settings::ReadingLimits;
    use model::dead_letter::{DeadLetter, Reason, Rejection, encode};
    use model::time::Timestamp;
    use model::{Layout, Stage};
    use queue::DeadLetterEntry;
    use queue::list::List;

    use super::validate;

    const TOPIC: &str = "rigs/R/measurements/pressure";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis((1_762_093_200 + second) * 1_000)
    }

    /// List and element of a dead letter of second 0, replayed at second 100.
    fn replayed(stage: Stage, reason: Reason, input: &[u8]) -> Result<(List, String), String> {
        let rejection = Rejection::new(reason, "why");
        let element = encode(stage, &rejection, TOPIC, input, at(0));
        let content = DeadLetter::decode(&element).unwrap();
        let limits = ReadingLimits {
            times: TimeLimitSettings {
                max_future: Duration::from_mins(1),
                max_age: Duration::from_hours(1),
            },
            max_payload: 2_000,
        };
        let letter = DeadLetterEntry { place: 0, element };
        let replay = validate(
            letter,
            &content,
            &Decoder::Rigs(limits),
            Layout::Rigs,
            at(100),
        )?;
        let [element] = replay.elements.try_into().unwrap();
        Ok((replay.list, String::from_utf8(element).unwrap()))
    }

    #[test]
    fn reading_from_the_future_is_accepted_once_its_time_has_come() {
        let early = format!(r#"{{"timestamp":"{}","value":7}}"#, at(150));
        let (list, element) = replayed(Stage::Ingester, Reason::Future, early.as_bytes()).unwrap();
        assert_eq!(list, List::Raw);
        assert!(
            element.contains(&format!(r#""timestamp":"{}""#, at(150))),
            "{element}"
        );
        assert!(
            element.contains(&format!(r#""ingest_time":"{}""#, at(100))),
            "{element}"
        );
        let earlier = format!(r#"{{"timestamp":"{}","value":7}}"#, at(200));
        let refused = replayed(Stage::Ingester, Reason::Future, earlier.as_bytes()).unwrap_err();
        assert!(refused.contains("future"), "{refused}");
    }

    #[test]
    fn reading_without_a_timestamp_gets_its_arrival() {
        let (_, element) = replayed(Stage::Ingester, Reason::Poison, br#"{"value":7}"#).unwrap();
        assert!(
            element.contains(&format!(r#""timestamp":"{}""#, at(0))),
            "{element}"
        );
    }

    #[test]
    fn replayed_rows_go_to_the_normalized_list() {
        let row = format!(r#"{{"rig_id":"R","timestamp":"{}","pressure":2.5}}"#, at(0));
        let (list, element) = replayed(Stage::Sink, Reason::StoreRejected, row.as_bytes()).unwrap();
        assert_eq!((list, element), (List::Normalized, row));
        assert!(replayed(Stage::Sink, Reason::BadElement, b"{}").is_err());
        assert!(replayed(Stage::Transformer, Reason::BadElement, b"hello").is_err());
        let clipped = replayed(Stage::Ingester, Reason::TooLarge, &[b' '; 3_000]).unwrap_err();
        assert!(clipped.contains("first KiB"), "{clipped}");
    }
}

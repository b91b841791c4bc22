//! Replays dead letters.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use common::clock::Clock;
use ingester::decode::decode_again;
use ingester::settings::ReadingLimits;
use model::dead_letter::{DeadLetter, Rejection};
use model::{Stage, Timestamp, element};
use queue::list::List;
use queue::{DeadLetterEntry, Replay, Replayed};
use transformer::element::decode;

use super::{Filter, for_each};
use crate::inspect::lists::{Lists, Purpose, Where};
use crate::inspect::output::{printable, stdout};

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
    #[command(flatten)]
    filter: Filter,
    /// Limits of a reading.
    #[command(flatten)]
    limits: ReadingLimits,
    #[command(flatten)]
    lists: Where,
}

impl ReplayArgs {
    fn is_wanted(&self, letter: &DeadLetter) -> bool {
        if self.all {
            self.filter.matches(letter) && letter.replayed.is_none()
        } else {
            self.ids.contains(&letter.id)
        }
    }
}

pub(super) async fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let lists = args.lists.clone().open(Purpose::Replay)?;
    let mut wanted = Vec::new();
    for_each(&lists, |letter, content| {
        let content = content.filter(|content| args.is_wanted(content));
        wanted.extend(content.map(|content| (letter, content)));
        Ok(())
    })
    .await?;
    let mut out = stdout();
    let (mut done, mut failed) = (0, 0);
    for id in &args.ids {
        if !wanted.iter().any(|(_, content)| content.id == *id) {
            failed += 1;
            writeln!(out, "{id}: there is no such dead letter")?;
        }
    }
    for (letter, content) in wanted {
        match replay(&lists, letter, &content, &args.limits).await? {
            Ok(()) => {
                done += 1;
                writeln!(out, "{}: replayed", content.id)?;
            }
            Err(why) => {
                failed += 1;
                writeln!(out, "{}: {}", content.id, printable(&why))?;
            }
        }
    }
    writeln!(out, "{done} replayed, {failed} not")?;
    out.flush()?;
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// Replays a dead letter. The error is the reason why it isn't replayed.
async fn replay(
    lists: &Lists,
    letter: DeadLetterEntry,
    content: &DeadLetter,
    limits: &ReadingLimits,
) -> anyhow::Result<Result<(), String>> {
    if content.replayed.is_some() {
        return Ok(Err("was replayed before".to_owned()));
    }
    let replay = match validate(letter, content, limits, Clock::system().now()) {
        Ok(replay) => replay,
        Err(refused) => return Ok(Err(refused)),
    };
    Ok(match lists.replay(&replay).await? {
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
    limits: &ReadingLimits,
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
    let mut element = Vec::with_capacity(192);
    let list = match content.stage {
        Stage::Ingester => {
            let decoded = decode_again(&content.topic, &input, arrived, now, limits);
            element::encode_reading(&decoded.map_err(refused)?.reading, &mut element);
            List::Raw
        }
        Stage::Transformer => {
            let reading = decode(&input, &limits.times.limits()).map_err(refused)?;
            element::encode_reading(&reading, &mut element);
            List::Raw
        }
        Stage::Sink => {
            let row = element::decode_row(&input).map_err(|error| error.to_string())?;
            element::encode_row(&row, &mut element);
            List::Normalized
        }
    };
    Ok(Replay {
        marked: DeadLetter::marked(&letter.element, now),
        entry: letter,
        list,
        element,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::settings::TimeLimitSettings;
    use ingester::settings::ReadingLimits;
    use model::Stage;
    use model::dead_letter::{DeadLetter, Reason, Rejection, encode};
    use model::time::Timestamp;
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
        let replay = validate(letter, &content, &limits, at(100))?;
        let element = String::from_utf8(replay.element).unwrap();
        Ok((replay.list, element))
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

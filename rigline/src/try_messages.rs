//! The command `try`: what messages become in a pipeline, without a server.

mod input;
mod place;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use common::clock::Clock;
use common::pipelines::{built_in, read};
use ingester::decoder::MappedDecoder;
use ingester::mapping::{Mapped, MappedSample, RejectedPart};
use model::pipeline::{PipelineFile, ShapeKind};
use model::{Timestamp, Value};
use serde_json::json;

use self::input::Message;
use self::place::excerpt;
use crate::cli::EXIT_USAGE;
use crate::inspect::output::stdout;
use crate::pipelines;

/// The default of `align`.
const ALIGN: Duration = Duration::from_secs(1);

/// The arguments.
#[derive(Debug, Args)]
pub struct TryArgs {
    /// The pipeline file, or the name of a built-in pipeline
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Payloads; without any, messages are read from standard input: lines of TOPIC, a tab and the payload,
    /// or lines of JSON with the members topic and payload
    #[arg(value_name = "MESSAGE")]
    messages: Vec<String>,
    /// The topic of the payloads
    #[arg(long, default_value = "", hide_default_value = true)]
    topic: String,
    /// When the messages arrived, for captured ones: the limits of their times are relative to it [default: now]
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    arrived: Option<Timestamp>,
    /// Print a JSON object for each message
    #[arg(long)]
    json: bool,
}

/// Prints what each message becomes. The exit code is 1 if anything would be a dead letter.
pub fn run(args: &TryArgs) -> anyhow::Result<ExitCode> {
    let built_in = args.file.to_str().and_then(built_in);
    let file = match built_in.unwrap_or_else(|| read(&args.file)) {
        Ok(file) => file,
        Err(error) => {
            pipelines::report(&error);
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let decoder = MappedDecoder::new(&file);
    let clock = Clock::system();
    let mut out = stdout();
    let mut has_dead_letter = false;
    let mut show = |message: Message| -> anyhow::Result<()> {
        let arrived = args.arrived.unwrap_or_else(|| clock.now());
        let mapped = map(&decoder, &message, arrived);
        has_dead_letter |= !mapped.rejected.is_empty();
        if args.json {
            writeln!(out, "{}", as_json(&mapped))?;
        } else {
            write!(out, "{}", as_text(&file, &message, &mapped))?;
        }
        Ok(())
    };
    if args.messages.is_empty() {
        for message in input::lines(std::io::stdin().lock()) {
            show(message?)?;
        }
    } else {
        for payload in &args.messages {
            show(Message {
                topic: args.topic.clone(),
                payload: payload.clone().into_bytes(),
            })?;
        }
    }
    out.flush()?;
    Ok(ExitCode::from(u8::from(has_dead_letter)))
}

/// What a message becomes; one of which nothing can be used is one rejected part.
fn map(decoder: &MappedDecoder, message: &Message, arrived: Timestamp) -> Mapped {
    let mapped = decoder.map(&message.topic, &message.payload, arrived, arrived);
    mapped.unwrap_or_else(|rejection| Mapped {
        rejected: vec![RejectedPart {
            place: String::new(),
            rejection,
        }],
        ..Mapped::default()
    })
}

fn as_json(mapped: &Mapped) -> serde_json::Value {
    let samples = mapped.samples.iter().map(|mapped| {
        let sample = &mapped.sample;
        let tags = sample.tags.iter();
        let tags = tags.map(|(name, value)| (name.to_string(), json!(value.as_str())));
        let values = sample.values.iter();
        let values = values.map(|(name, value)| (name.to_string(), json_of(value)));
        json!({
            "tags": tags.collect::<serde_json::Map<_, _>>(),
            "timestamp": sample.timestamp.to_string(),
            "time_from": mapped.time_from.as_deref().unwrap_or("arrival"),
            "values": values.collect::<serde_json::Map<_, _>>(),
        })
    });
    let rejected = mapped.rejected.iter().map(|part| {
        let rejection = &part.rejection;
        json!({
            "reason": rejection.reason.as_str(),
            "detail": rejection.detail,
            "place": part.place,
        })
    });
    json!({
        "samples": samples.collect::<Vec<_>>(),
        "dead_letters": rejected.collect::<Vec<_>>(),
        "filtered": mapped.filtered > 0 && mapped.samples.is_empty() && mapped.rejected.is_empty(),
    })
}

fn json_of(value: &Value) -> serde_json::Value {
    match value {
        Value::Float(number) => json!(number),
        Value::Integer(number) => json!(number),
        Value::Bool(value) => json!(value),
        Value::String(text) => json!(text),
    }
}

fn as_text(file: &PipelineFile, message: &Message, mapped: &Mapped) -> String {
    let payload = String::from_utf8_lossy(&message.payload);
    let mut lines = vec![format!("{} {payload}", message.topic)];
    for sample in &mapped.samples {
        lines.extend(sample_lines(file, sample));
    }
    for part in &mapped.rejected {
        let rejection = &part.rejection;
        lines.push(format!(
            "  dead letter {}: {}",
            rejection.reason, rejection.detail
        ));
        lines.extend(
            excerpt(&payload, part)
                .into_iter()
                .map(|line| format!("    {line}")),
        );
    }
    for (count, what) in [
        (mapped.filtered, "filtered: the pipeline doesn't want it"),
        (mapped.empty, "empty: no readings in it"),
        (
            mapped.skipped,
            "skipped: neither a number nor a boolean, and not named",
        ),
    ] {
        if count > 0 {
            lines.push(format!("  {count} {what}"));
        }
    }
    let lines = lines.iter().map(|line| escaped(line) + "\n");
    lines.collect()
}

fn sample_lines(file: &PipelineFile, mapped: &MappedSample) -> Vec<String> {
    let sample = &mapped.sample;
    let tags = sample.tags.iter();
    let tags: Vec<_> = tags
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let from = mapped.time_from.as_deref();
    let from = from.map_or_else(
        || "time of arrival".to_owned(),
        |from| format!("from {from}"),
    );
    let mut lines = vec![format!(
        "  {} {} ({from})",
        tags.join(" "),
        sample.timestamp
    )];
    for (name, value) in &sample.values {
        let (kind, text) = match value {
            Value::Float(number) => ("float", number.to_string()),
            Value::Integer(number) => ("integer", number.to_string()),
            Value::Bool(value) => ("bool", value.to_string()),
            Value::String(text) => ("string", format!("{text:?}")),
        };
        lines.push(format!("    {name} = {text} ({kind})"));
    }
    lines.push(format!("    {}", row_line(file, sample.timestamp)));
    lines
}

/// Which row the readings become part of.
fn row_line(file: &PipelineFile, time: Timestamp) -> String {
    let rows = &file.rows;
    let length = |period: Option<Duration>| period.unwrap_or(ALIGN);
    match file.shape() {
        ShapeKind::Sample => format!("row of its own at {time}"),
        ShapeKind::Pivot => {
            let align = length(rows.align.as_ref().map(|align| align.0));
            format!("part of the row at {}", time.tick(align))
        }
        ShapeKind::Window => {
            let every = length(rows.every.as_ref().map(|every| every.0));
            let start = time.tick(every);
            format!("part of the window from {start} to {}", start.plus(every))
        }
    }
}

/// What a device sent, without control characters.
fn escaped(line: &str) -> String {
    let plain = |c: char| {
        if c.is_control() {
            c.escape_default().to_string()
        } else {
            c.to_string()
        }
    };
    line.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ingester::decoder::MappedDecoder;
    use model::Timestamp;

    use super::{as_json, input, map};

    /// If this variable is set, the expected results are written again.
    const WRITE: &str = "RIGLINE_WRITE";

    /// What the messages of an example become: a line of JSON each.
    fn mapped(file: &Path) -> String {
        let decoder = MappedDecoder::new(&common::pipelines::read(file).unwrap());
        let messages = std::fs::read(file.with_extension("messages")).unwrap();
        let arrived = Timestamp::parse("2027-03-31T08:05:00Z").unwrap();
        let lines = input::lines(messages.as_slice()).map(|message| {
            let mapped = map(&decoder, &message.unwrap(), arrived);
            as_json(&mapped).to_string() + "\n"
        });
        lines.collect()
    }

    #[test]
    fn messages_of_the_examples_become_what_is_expected() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/devices");
        let mut files = 0;
        for entry in std::fs::read_dir(dir).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            files += 1;
            let (found, expected) = (mapped(&file), file.with_extension("expected"));
            if std::env::var_os(WRITE).is_some() {
                std::fs::write(&expected, &found).unwrap();
            }
            let expected = std::fs::read_to_string(&expected).unwrap();
            assert_eq!(found, expected, "{}", file.display());
        }
        assert!(files >= 9, "{files} examples");
    }
}

//! Writes a pipeline file that fits what a broker sends.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use common::clock::Clock;
use common::settings::{MqttTls, positive_duration};
use ingester::mapping::Mapping;
use model::pipeline::PipelineFile;
use serde_json::Value as Json;
use transport::{MqttSettings, MqttVersion, capture};

use crate::inspect::output::{printable, stdout};

/// The most messages that are captured.
const MOST: usize = 10_000;
/// The most topics and payloads that the file shows.
const SHOWN: usize = 5;

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// The broker, such as `mqtt://user:password@host:1883`, or with TLS `mqtts://host:8883`
    #[arg(long, value_name = "URL")]
    url: String,
    /// Version of MQTT to speak to a broker. 5 tells why the broker refuses something, and its limits
    #[arg(long, env = "MQTT_VERSION", value_enum, default_value_t)]
    mqtt_version: MqttVersion,
    /// TLS.
    #[command(flatten)]
    tls: MqttTls,
    /// The topics to listen to
    #[arg(long, value_name = "FILTER")]
    topic: String,
    /// How long to listen
    #[arg(long = "for", value_name = "DURATION", default_value = "30s", value_parser = positive_duration)]
    time: Duration,
    /// The file to write; it must not exist
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// A message: topic and payload.
type Message = (String, Bytes);

/// Listens, and writes the file.
pub(super) async fn run(args: &NewArgs) -> anyhow::Result<()> {
    let mut mqtt = MqttSettings::at("localhost", 1883);
    mqtt.tls = args.tls.clone();
    mqtt.mqtt_version = args.mqtt_version;
    mqtt.set_url(&args.url)?;
    let name = args
        .file
        .file_stem()
        .map(|stem| name_of(&stem.to_string_lossy()));
    let name = name.filter(|name| !name.is_empty());
    let name = name.context("the file's name has no letter or digit to name the pipeline by")?;
    let mut out = stdout();
    writeln!(
        out,
        "listening to {} for {:?}",
        printable(&args.topic),
        args.time
    )?;
    out.flush()?;
    let messages = capture(&mqtt, &args.topic, args.time, MOST).await?;
    if messages.is_empty() {
        bail!("no message came for {} within {:?}", args.topic, args.time);
    }
    let text = describe(&name, &messages);
    let path = args.file.display().to_string();
    let file = PipelineFile::parse(&path, &text, &|_| None)?;
    let mut new = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&args.file)
        .with_context(|| format!("cannot create {path}"))?;
    new.write_all(text.as_bytes())
        .with_context(|| format!("cannot write {path}"))?;
    let (samples, rejected) = counts(&file, &messages);
    writeln!(
        out,
        "{} messages, of which the pipeline makes {samples} samples and {rejected} dead letters; wrote {path}",
        messages.len()
    )?;
    out.flush()?;
    Ok(())
}

/// The samples and the dead letters that a pipeline makes of messages.
fn counts(file: &PipelineFile, messages: &[Message]) -> (usize, usize) {
    let (mapping, now) = (Mapping::new(file), Clock::system().now());
    let mut counts = (0, 0);
    for (topic, payload) in messages {
        match mapping.map(topic, payload, now) {
            Ok(mapped) => {
                counts.0 += mapped.samples.len();
                counts.1 += usize::from(!mapped.rejected.is_empty());
            }
            Err(_) => counts.1 += 1,
        }
    }
    counts
}

/// A name that a pipeline can have.
fn name_of(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    let lower = text.to_ascii_lowercase();
    lower.chars().filter(|c| allowed(*c)).take(64).collect()
}

/// The text of a file that fits these messages, of which there is at least one.
fn describe(name: &str, messages: &[Message]) -> String {
    let topics: BTreeSet<&str> = messages.iter().map(|(topic, _)| topic.as_str()).collect();
    let payloads: Vec<Option<Json>> = messages
        .iter()
        .map(|(_, payload)| serde_json::from_slice(payload).ok())
        .collect();
    let is_composed = |json: &Option<Json>| {
        let json = json.as_ref();
        json.is_some_and(|json| json.is_object() || json.is_array())
    };
    let composed = payloads.iter().filter(|json| is_composed(json)).count();
    let is_text = composed * 2 < messages.len();
    let mut text = format!(
        "# Made of {} messages of {} topics.\n",
        messages.len(),
        topics.len()
    );
    for topic in topics.iter().take(SHOWN) {
        let _ = writeln!(text, "#   {}", printable(topic));
    }
    let _ = writeln!(
        text,
        "name = \"{name}\"\n\n[source]\ntopic = {}",
        Json::from(template(&topics, is_text))
    );
    text.push_str(
        "# Topics to leave out, for instance: ignore = [\"**/availability\"]\n\n[message]\n",
    );
    if is_text {
        text.push_str(
            "# The payload is the value. Texts that mean that there is none:\nformat = \"text\"\n",
        );
        text.push_str("missing = [\"unavailable\", \"unknown\"]\n");
        return text;
    }
    text.push_str("# Every member that is a number or a boolean is a field: include and exclude take patterns.\n");
    let members = members(payloads.iter().flatten());
    for (member, kind) in members.iter().take(40) {
        let _ = writeln!(text, "#   {} ({kind})", printable(member));
    }
    text
}

/// The members of objects, also of those in arrays, with the kinds of their values.
fn members<'a>(payloads: impl Iterator<Item = &'a Json>) -> BTreeMap<String, &'static str> {
    let mut members = BTreeMap::new();
    for payload in payloads {
        let objects: Vec<&Json> = match payload {
            Json::Array(elements) => elements.iter().collect(),
            other => vec![other],
        };
        for object in objects {
            for (name, value) in object.as_object().into_iter().flatten() {
                let kind = match value {
                    Json::Number(_) => "number",
                    Json::Bool(_) => "boolean",
                    Json::String(_) => "text: needs type = \"string\" or a map",
                    Json::Object(_) => "object: its members are joined by _",
                    Json::Array(_) => "array: each points to it",
                    Json::Null => continue,
                };
                members.insert(name.clone(), kind);
            }
        }
    }
    members
}

/// A template that fits the topics: levels that differ are tags, and the last one names the field if
/// payloads are single values.
fn template(topics: &BTreeSet<&str>, is_text: bool) -> String {
    let split: Vec<Vec<&str>> = topics
        .iter()
        .map(|topic| topic.split('/').collect())
        .collect();
    let shortest = split.iter().map(Vec::len).min().unwrap_or(0);
    let is_even = split.iter().all(|levels| levels.len() == shortest);
    let is_same = |place: usize| {
        let mut levels = split.iter().filter_map(|levels| levels.get(place));
        let first = levels.next();
        levels.all(|level| Some(level) == first)
    };
    if !is_even {
        let common = (0..shortest).take_while(|place| is_same(*place)).count();
        let first = split.first().map_or(&[][..], Vec::as_slice);
        let mut levels: Vec<String> = first
            .iter()
            .take(common)
            .map(|level| (*level).to_owned())
            .collect();
        levels.push("{device...}".to_owned());
        return levels.join("/");
    }
    let levels = (0..shortest).map(|place| {
        let is_last = place + 1 == shortest;
        let level = split.first().and_then(|levels| levels.get(place)).copied();
        let level = level.unwrap_or_default();
        if is_last && is_text && shortest > 1 {
            "{field}".to_owned()
        } else if is_same(place) && topics.len() > 1 {
            level.to_owned()
        } else if is_last {
            "{device}".to_owned()
        } else if topics.len() > 1 {
            format!("{{level{}}}", place + 1)
        } else {
            level.to_owned()
        }
    });
    levels.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::pipeline::PipelineFile;

    use super::{Message, counts, describe, name_of};

    fn messages(list: &[(&str, &'static str)]) -> Vec<Message> {
        let own = |(topic, payload): &(&str, &'static str)| {
            ((*topic).to_owned(), Bytes::from_static(payload.as_bytes()))
        };
        list.iter().map(own).collect()
    }

    #[test]
    fn file_takes_the_messages_that_it_was_made_of() {
        for (list, topic, samples) in [
            (
                &[
                    ("zigbee2mqtt/a/b", r#"{"t":1,"on":true}"#),
                    ("zigbee2mqtt/c", r#"{"t":2}"#),
                ][..],
                "zigbee2mqtt/{device...}",
                2,
            ),
            (
                &[
                    ("tele/x/SENSOR", r#"{"t":1}"#),
                    ("tele/y/SENSOR", r#"{"t":{"v":2}}"#),
                ][..],
                "tele/{level2}/SENSOR",
                2,
            ),
            (
                &[("home/k/temp", "21"), ("home/b/hum", "50")][..],
                "home/{level2}/{field}",
                2,
            ),
            (&[("one", r#"[{"v":1},{"v":2}]"#)][..], "{device}", 2),
        ] {
            let messages = messages(list);
            let text = describe("p", &messages);
            let file = PipelineFile::parse("p.toml", &text, &|_| None);
            assert!(file.is_ok(), "{}", file.unwrap_err());
            let file = file.unwrap();
            assert_eq!(file.source.topic.as_ref().unwrap().as_str(), topic);
            assert_eq!(counts(&file, &messages), (samples, 0), "{text}");
        }
    }

    #[test]
    fn names_are_made_of_the_file() {
        assert_eq!(name_of("My Plant.v2"), "myplantv2");
        assert_eq!(name_of("..."), "");
    }
}

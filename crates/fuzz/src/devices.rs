//! What a device sends.

use std::sync::LazyLock;

use common::pipelines::built_in;
use ingester::decoder::MappedDecoder;
use model::Layout;
use model::element::encode_sample;
use model::pipeline::{PipelineFile, TopicTemplate};
use model::time::Timestamp;
use tokio::runtime::{Builder, Runtime};
use transport::generated::{begin_websocket, decode_connect, decode_packets, read_frames};

use crate::choice;

/// Ways to read a message, besides those of the built-in pipelines.
const FILES: [&str; 5] = [
    "[source]\ntopic = \"a/{device}\"\n",
    "[source]\ntopic = \"a/{device}\"\n[message]\neach = \"/*\"\ntime_format = \"unix_ms\"\ntags = { k = \"$key\" }\n\
     where = { \"^/a\" = true }\nrename = { a = \"b\" }\nsnake = true\nmissing = [\"off\"]\n",
    "[source]\ntopic = \"a/{device}\"\n[message]\nformat = \"senml\"\nsplit = \"{line}.{field}\"\n",
    "[source]\ntopic = \"a/{device}\"\n[message]\nname = \"/n\"\nvalue = \"/v\"\ntime = [\"/t\", \"/u\"]\n\
     time_zone = \"Europe/Berlin\"\ntime_format = \"%Y-%m-%d %H:%M:%S\"\n[fields.\"*\"]\nscale = 0.1\n\
     range = [-40, 85]\ndecimal_comma = true\nstrip_unit = true\n",
    "[source]\ntopic = \"a/{device}\"\n[message]\nformat = \"text\"\n[fields.value]\ntype = \"integer\"\n\
     map = { ON = 1 }\n",
];

static DECODERS: LazyLock<Vec<MappedDecoder>> = LazyLock::new(|| {
    let written = FILES.iter().map(|text| {
        let text = format!("name = \"fuzz\"\n{text}");
        PipelineFile::parse("fuzz.toml", &text, &|_| None).unwrap()
    });
    let built_in = ["rigs", "colors"].map(|name| built_in(name).unwrap().unwrap());
    let files = written.chain(built_in);
    files.map(|file| MappedDecoder::new(&file)).collect()
});

/// Packets of MQTT. They are the same whether they arrive at once or in two parts.
pub fn mqtt(data: &[u8]) {
    let _ = decode_connect(data);
    let Some((part, packets)) = choice(data) else {
        return;
    };
    let whole = decode_packets(packets, packets.len());
    assert_eq!(decode_packets(packets, part), whole);
}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().unwrap());

/// Frames of a WebSocket, and the request that begins one. The bytes in the frames are the same whether the frames
/// arrive at once or in two parts.
pub fn websocket(data: &[u8]) {
    let Some((part, frames)) = choice(data) else {
        return;
    };
    let (first, rest) = frames.split_at(part.min(frames.len()));
    RUNTIME.block_on(async {
        begin_websocket(frames).await;
        let whole = read_frames(frames, &[]).await;
        assert_eq!(read_frames(first, rest).await, whole);
    });
}

/// A topic template, and behind a zero byte a topic. What the template matches, its filter does.
pub fn topic(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let (template, topic) = text.split_once('\0').unwrap_or((text, "a/b/c"));
    let Ok(template) = template.parse::<TopicTemplate>() else {
        return;
    };
    let filter = template.filter();
    if let Some(found) = template.matches(topic) {
        assert!(fits(&filter, topic), "{filter:?} {topic:?} {found:?}");
    }
}

/// Whether a topic matches an MQTT filter.
fn fits(filter: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// A message, read in one of several ways. What it holds can be written to a list and read back.
pub fn message(data: &[u8]) {
    let Some((way, payload)) = choice(data) else {
        return;
    };
    let topics = ["a/device", "rigs/RIG-1/measurements/pressure", "color"];
    let decoder = &DECODERS[way % DECODERS.len()];
    let arrived = Timestamp::from_nanos(1_800_000_000_000_000_000);
    for topic in topics {
        let Ok(mapped) = decoder.map(topic, payload, arrived, arrived) else {
            continue;
        };
        for part in mapped.samples {
            let mut element = Vec::new();
            encode_sample(&part.sample, arrived, &mut element);
            let read = Layout::Tagged.decode_sample(&element).unwrap();
            assert_eq!(read.timestamp, part.sample.timestamp);
            assert_eq!(read.values.len(), part.sample.values.len());
        }
    }
}

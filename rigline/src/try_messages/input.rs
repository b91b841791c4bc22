//! Messages from standard input.

use std::io::BufRead;

use anyhow::Context;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A message to try.
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
}

/// A line as `producer --replay` takes it.
#[derive(Deserialize)]
struct Captured {
    topic: String,
    payload: Box<RawValue>,
}

/// The messages of lines; empty ones are left out.
pub(super) fn lines(input: impl BufRead) -> impl Iterator<Item = anyhow::Result<Message>> {
    let lines = input.lines().enumerate();
    lines.filter_map(|(index, line)| {
        let line = match line.context("cannot read standard input") {
            Ok(line) if line.trim().is_empty() => return None,
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        Some(message(&line).with_context(|| format!("line {} of standard input", index + 1)))
    })
}

fn message(line: &str) -> anyhow::Result<Message> {
    if let Some((topic, payload)) = line.split_once('\t') {
        return Ok(Message {
            topic: topic.to_owned(),
            payload: payload.as_bytes().to_owned(),
        });
    }
    let captured: Captured = serde_json::from_str(line)
        .context("neither TOPIC, a tab and the payload, nor JSON with topic and payload")?;
    let raw = captured.payload.get();
    // A payload that isn't JSON is in a string.
    let payload = match serde_json::from_str::<String>(raw) {
        Ok(text) => text,
        Err(_) => raw.to_owned(),
    };
    Ok(Message {
        topic: captured.topic,
        payload: payload.into_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn lines_hold_a_topic_and_a_payload() {
        let input = "a/b\t{\"x\": 1}\n\n{\"topic\":\"c\",\"payload\":{\"y\":2}}\n{\"topic\":\"d\",\"payload\":\"on\"}\nnothing\n";
        let messages: Vec<_> = lines(input.as_bytes())
            .map(|message| {
                let message = message.map_err(|error| error.to_string())?;
                Ok((message.topic, String::from_utf8(message.payload).unwrap()))
            })
            .collect();
        let good = |topic: &str, payload: &str| Ok((topic.to_owned(), payload.to_owned()));
        let expected = [
            good("a/b", "{\"x\": 1}"),
            good("c", "{\"y\":2}"),
            good("d", "on"),
            Err("line 5 of standard input".to_owned()),
        ];
        assert_eq!(messages, expected);
    }
}

//! Replays of files.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::NamedTempFile;
use testkit::{Mosquitto, StageProcess};

use super::{PATIENCE, PRODUCER, listen, messages, start, start_with};

/// A file with this text.
fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

/// A line with a payload as it is to be written.
fn line(topic: &str, payload: &str) -> String {
    format!("{{\"topic\":\"{topic}\",\"payload\":{payload}}}\n")
}

fn ended(mut producer: StageProcess) -> (Option<i32>, String) {
    let code = producer.wait_exit(PATIENCE).and_then(|ended| ended.code());
    (code, producer.logs())
}

#[test]
fn payloads_arrive_unchanged_and_in_order() {
    let broker = Mosquitto::start();
    let written = [
        r#"{"value":1.50,"timestamp":"2025-11-02T14:21:33Z"}"#,
        r#"{ "timestamp" : 1e9 , "value" : [1,  2] }"#,
        "1.0000000000000000000001",
        "null",
        r#"{"timestamp":"2025-11-02T14:21:33Z","value":"1"}"#,
        r#"{"timestamp":4102444800,"value":1}"#,
    ];
    let texts = ["", "not JSON", "{\"value\":1", "a\0b\nc\u{e4}\u{1f600}"];
    let mut text = String::new();
    let mut want = Vec::new();
    for (place, payload) in written.into_iter().enumerate() {
        let topic = format!("rigs/R/measurements/s{place}");
        text += &line(&topic, payload);
        want.push((topic, payload.as_bytes().to_vec()));
    }
    for payload in texts {
        let line = json!({"payload": payload, "topic": "any/topic"}).to_string();
        text += &["\n", &line, "\n"].concat();
        want.push(("any/topic".to_owned(), payload.as_bytes().to_vec()));
    }
    // As many levels as Mosquitto takes, and characters of all lengths.
    for topic in ["x/".repeat(200), "ä/€ $/\u{1f600}".to_owned()] {
        text += &line(&topic, "5");
        want.push((topic, b"5".to_vec()));
    }
    let file = file(text.trim_end());
    let listener = listen(&broker, want.len());
    let producer = start_with(&broker, &[("REPLAY", path(&file)), ("SPEED", "max")]);
    let (code, said) = ended(producer);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("sent=12 acknowledged=12"), "{said}");
    assert_eq!(messages(listener), want);
}

#[test]
fn gaps_between_timestamps_are_kept_and_earlier_lines_follow_at_once() {
    let broker = Mosquitto::start();
    let at = |ms: u64| format!(r#"{{"timestamp":{},"value":{ms}}}"#, 1_762_093_293_000 + ms);
    let payloads = [
        at(0),
        "1".to_owned(),
        at(1_500),
        at(500),
        r#"{"timestamp":"1999-12-31T23:59:59Z"}"#.to_owned(),
        at(2_000),
    ];
    let text: String = payloads.iter().map(|payload| line("t", payload)).collect();
    let file = file(&text);
    let listener = listen(&broker, payloads.len());
    let start = Instant::now();
    let producer = start_with(&broker, &[("REPLAY", path(&file)), ("SPEED", "10x")]);
    let (code, said) = ended(producer);
    assert_eq!(code, Some(0), "{said}");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(200), "{took:?}");
    let found: Vec<Vec<u8>> = messages(listener)
        .into_iter()
        .map(|(_, payload)| payload)
        .collect();
    assert_eq!(found, payloads.map(String::into_bytes));
}

/// Runs the producer with this standard input.
fn fed(broker: &Mosquitto, input: &str, args: &[&str]) -> Output {
    let mut command = Command::new(PRODUCER);
    command.env_clear().args(args);
    command.args(["--mqtt-port", &broker.port().to_string()]);
    command.args(["--admin-addr", "127.0.0.1:0", "--log-format", "human"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut producer = command.spawn().unwrap();
    producer
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    producer.wait_with_output().unwrap()
}

#[test]
fn standard_input_can_be_replayed_up_to_a_count() {
    let broker = Mosquitto::start();
    let listener = listen(&broker, 3);
    let input: String = (0..9).map(|n| line("t", &n.to_string())).collect();
    let output = fed(&broker, &input, &["--replay", "-", "--count", "3"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("sent=3 acknowledged=3"), "{said}");
    let found: Vec<Vec<u8>> = messages(listener)
        .into_iter()
        .map(|(_, payload)| payload)
        .collect();
    assert_eq!(found, [b"0", b"1", b"2"]);
}

#[test]
fn a_replay_that_waits_can_be_stopped_and_ends_after_a_duration() {
    let broker = Mosquitto::start();
    let text = line("t", r#"{"timestamp":1}"#) + &line("t", r#"{"timestamp":99999999}"#);
    let file = file(&text);
    let mut producer = start_with(&broker, &[("REPLAY", path(&file))]);
    assert!(producer.ready(PATIENCE), "{}", producer.logs());
    producer.terminate();
    let (code, said) = ended(producer);
    assert_eq!(code, Some(0), "{said}");
    let producer = start_with(&broker, &[("REPLAY", path(&file)), ("DURATION", "1s")]);
    let (code, said) = ended(producer);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("sent=1 acknowledged=1"), "{said}");
    assert!(
        said.contains("waiting") && said.contains("line=2"),
        "{said}"
    );
}

#[test]
fn invalid_lines_are_counted_and_the_others_are_sent() {
    let broker = Mosquitto::start();
    let mut text = line("t", "1") + "not JSON\n" + &line("a/+", "2") + &line("a\\u0001b", "2");
    text += &["x".repeat((1 << 20) + 1).as_str(), "\n"].concat();
    text += &"{}\n".repeat(10);
    text += &line("t", "3");
    let file = file(&text);
    let listener = listen(&broker, 2);
    let (code, said) = ended(start_with(&broker, &[("REPLAY", path(&file))]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("sent=2 acknowledged=2"), "{said}");
    assert!(
        said.contains(&format!("skipped 14 invalid lines of {}", path(&file))),
        "{said}"
    );
    let logged = said
        .lines()
        .filter(|line| line.contains("skipping an invalid line"));
    let numbers: Vec<bool> = logged
        .zip(2..)
        .map(|(said, number)| said.contains(&format!("line={number} ")))
        .collect();
    assert_eq!(numbers, [true; 5], "{said}");
    let found: Vec<Vec<u8>> = messages(listener)
        .into_iter()
        .map(|(_, payload)| payload)
        .collect();
    assert_eq!(found, [b"1", b"3"]);
}

#[test]
fn settings_without_effect_on_a_replay_are_refused() {
    let file = file("");
    for (variable, given) in [
        ("RIGS", "2"),
        ("INTERVAL", "2s"),
        ("FAST", "true"),
        ("SEED", "2"),
        ("MISSING", "0.1"),
        ("DUPLICATED", "0.1"),
        ("LATE", "0.1"),
        ("LATE_BY", "1s"),
        ("GARBLED", "0.1"),
        ("SHUFFLED", "0.1"),
        ("CLOCK_OFFSET", "1s"),
    ] {
        let (code, said) = ended(start(&[("REPLAY", path(&file)), (variable, given)]));
        assert_eq!(code, Some(64), "{variable}: {said}");
        assert!(said.contains(variable) && said.contains("REPLAY"), "{said}");
    }
    // The defaults may be written out, and nothing is no file.
    let broker = Mosquitto::start();
    let usual = [("REPLAY", path(&file)), ("RIGS", "10"), ("LATE_BY", "30s")];
    assert_eq!(ended(start_with(&broker, &usual)).0, Some(0));
    let fleet = [("REPLAY", ""), ("RIGS", "2"), ("COUNT", "1")];
    assert_eq!(ended(start_with(&broker, &fleet)).0, Some(0));
    fs::remove_file(file.path()).unwrap();
    let (code, said) = ended(start(&[("REPLAY", path(&file))]));
    assert_eq!(code, Some(64), "{said}");
    assert!(
        said.contains("REPLAY") && said.contains(path(&file)) && said.contains("No such file"),
        "{said}"
    );
}

#[test]
fn lines_that_are_larger_than_the_broker_takes_are_left_out_with_an_error() {
    let broker = Mosquitto::start_with(&["allow_anonymous true", "max_packet_size 1000"]);
    let large = format!("\"{}\"", "x".repeat(2_000));
    let text = [line("t", "1"), line("large", &large), line("t", "2")].concat();
    let file = file(&text);
    let listener = listen(&broker, 2);
    let settings = [
        ("REPLAY", path(&file)),
        ("SPEED", "max"),
        ("MQTT_VERSION", "5"),
        ("MQTT_CLIENT_ID", "replay"),
    ];
    let (code, said) = ended(start_with(&broker, &settings));
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "larger than the broker takes, and is dropped",
        "sent=3 acknowledged=2 too_large=1",
        "dropped 1 messages",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let received = messages(listener).into_iter().map(|(_, payload)| payload);
    assert_eq!(received.collect::<Vec<_>>(), [b"1", b"2"]);
    let logs = broker.logs();
    assert_eq!(logs.matches(" as replay ").count(), 1, "{logs}");
}

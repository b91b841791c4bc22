//! The producer as a process, with a real broker.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use model::time::Timestamp;
use model::topic;
use serde_json::Value;
use testkit::{Mosquitto, StageProcess};

mod fleet;
mod process;
mod replay;

const PATIENCE: Duration = Duration::from_secs(30);
const PRODUCER: &str = env!("CARGO_BIN_EXE_producer");

fn start(env: &[(&str, &str)]) -> StageProcess {
    StageProcess::spawn_binary(Path::new(PRODUCER), env)
}

fn start_with(broker: &Mosquitto, env: &[(&str, &str)]) -> StageProcess {
    let port = broker.port().to_string();
    let mut all = vec![("MQTT_HOST", "127.0.0.1"), ("MQTT_PORT", &port)];
    all.extend_from_slice(env);
    start(&all)
}

/// A client that ends after `count` messages; subscribed when this returns.
fn listen(broker: &Mosquitto, count: usize) -> Child {
    let count = (1 + count).to_string();
    // The retained message shows that the subscription works.
    let mut mark = broker.client("mosquitto_pub");
    assert!(
        mark.args(["-t", "mark", "-m", "subscribed", "-r"])
            .status()
            .unwrap()
            .success()
    );
    let mut command = broker.client("mosquitto_sub");
    command.args(["-q", "1", "-W", "30", "-C", &count, "-F", "%t %x"]);
    let child = command.args(["-t", "#"]).stdout(Stdio::piped()).spawn();
    std::thread::sleep(Duration::from_millis(300));
    child.unwrap()
}

/// Topic and payload of every message.
fn messages(listener: Child) -> Vec<(String, Vec<u8>)> {
    let output = String::from_utf8(listener.wait_with_output().unwrap().stdout).unwrap();
    let messages = output.lines().map(|line| {
        let (topic, hex) = line.rsplit_once(' ').unwrap();
        let digits = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16);
        let bytes = hex.as_bytes().chunks(2).map(|pair| digits(pair).unwrap());
        (topic.to_owned(), bytes.collect())
    });
    messages.filter(|(topic, _)| topic != "mark").collect()
}

/// Rig, sensor, timestamp and value of a message.
fn reading(topic: &str, payload: &[u8]) -> (String, String, Timestamp, f64) {
    let (rig, sensor) = topic::parse(topic).unwrap();
    let json: Value = serde_json::from_slice(payload).unwrap();
    let text = json["timestamp"].as_str().unwrap();
    assert!(text.ends_with('Z') && text.len() == 24, "{text}");
    let value = json["value"].as_f64().unwrap();
    let timestamp = Timestamp::parse(text).unwrap();
    (rig.to_string(), sensor.to_string(), timestamp, value)
}

/// Those of every message.
fn heard(listener: Child) -> Vec<(String, String, Timestamp, f64)> {
    let messages = messages(listener);
    messages
        .iter()
        .map(|(topic, payload)| reading(topic, payload))
        .collect()
}

//! Pipelines that a file describes, with a source in memory.

use std::path::Path;
use std::time::Duration;

use common::clock::Clock;
use ingester::decoder::{Decoder, MappedDecoder};
use ingester::settings::Work;
use model::dead_letter::DeadLetter;
use model::pipeline::PipelineFile;
use model::{Layout, Timestamp};
use queue::ledger::Counter;
use queue::list::List;
use queue::testing::{Running, TempQueue, assert_exact, wait_until};
use testkit::{Launch, Mosquitto, Redis};
use transport::MemoryBroker;

const GREENHOUSE: &str = r#"
name = "greenhouse"
[source]
topic = "zigbee2mqtt/{device...}"
ignore = "zigbee2mqtt/bridge/**"
[message]
each = "/readings"
fields = "*"
exclude = "linkquality"
[fields.humidity]
range = [0, 100]
[fields.on]
type = "bool"
"#;

fn queue() -> TempQueue {
    TempQueue::new(queue::testing::settings().of_pipeline("greenhouse"))
}

fn start(queue: &TempQueue, broker: &MemoryBroker) -> Running {
    let file = PipelineFile::parse("greenhouse.toml", GREENHOUSE, &|_| None).unwrap();
    let work = Work {
        decoder: Decoder::Mapped(Box::new(MappedDecoder::new(&file))),
        queue: queue.settings().clone(),
    };
    let (handle, broker) = (queue.open(), broker.clone());
    Running::start_at(Clock::system(), |process| {
        ingester::run(work, handle, move |_, _| broker.session(), process)
    })
}

/// Waits until this many messages are acknowledged.
async fn acknowledged(broker: &MemoryBroker, count: usize) {
    wait_until("acknowledgements", || broker.acknowledged().len() >= count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_of_several_samples_is_appended_at_once_and_acknowledged_once() {
    let (queue, broker) = (queue(), MemoryBroker::default());
    let stage = start(&queue, &broker);
    let now = Clock::system().now();
    broker.publish(
        "zigbee2mqtt/upstairs/bath room",
        format!(
            r#"{{"readings":[{{"ts":"{now}","temperature":21,"on":true,"linkquality":7}},{{"humidity":"55.5"}},{{"humidity":45.5}}]}}"#
        ),
    );
    acknowledged(&broker, 1).await;
    stage.stop().await;
    let items = queue.items(List::Raw);
    let samples: Vec<_> = items
        .iter()
        .map(|item| Layout::Tagged.decode_sample(item).unwrap())
        .collect();
    // The second holds no number: under `*` a string is none.
    assert_eq!(samples.len(), 2);
    assert_eq!(samples[0].series, r#"{"device":"upstairs/bath room"}"#);
    assert_eq!(samples[0].timestamp, now);
    let values: Vec<_> = samples[0]
        .values
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    assert_eq!(values, ["on=Bool(true)", "temperature=Float(21.0)"]);
    assert_eq!(samples[1].timestamp, samples[1].ingest_time);
    let ledger = queue.ledger().await;
    assert_eq!(ledger.get(Counter::Accepted), 2);
    assert_exact(&ledger);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_parts_are_one_dead_letter_and_unwanted_messages_are_none() {
    let (queue, broker) = (queue(), MemoryBroker::default());
    let stage = start(&queue, &broker);
    let old = Clock::system().now().minus(Duration::from_hours(24 * 40));
    broker.publish(
        "zigbee2mqtt/a",
        format!(
            r#"{{"readings":[{{"humidity":50}},{{"humidity":101}},{{"ts":"{old}","humidity":1}}]}}"#
        ),
    );
    broker.publish("zigbee2mqtt/bridge/state", "online");
    broker.publish("zigbee2mqtt/a", r#"{"readings":[{"linkquality":3}]}"#);
    broker.publish("zigbee2mqtt/a", "{");
    acknowledged(&broker, 4).await;
    stage.stop().await;
    assert_eq!(broker.acknowledged(), [0, 1, 2, 3]);
    assert_eq!(queue.items(List::Raw).len(), 1);
    let letters: Vec<_> = queue
        .items(List::Dead)
        .iter()
        .map(|item| DeadLetter::decode(item).unwrap())
        .collect();
    let reasons: Vec<_> = letters
        .iter()
        .map(|letter| letter.reason.as_str())
        .collect();
    assert_eq!(reasons, ["out_of_range", "not_json"]);
    assert_eq!(letters[0].places, ["/readings/1", "/readings/2"]);
    assert!(letters[1].places.is_empty());
    assert_exact(&queue.ledger().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_were_not_acknowledged_are_taken_again_after_a_restart() {
    let (queue, broker) = (queue(), MemoryBroker::default());
    for value in 0..10 {
        broker.publish(
            "zigbee2mqtt/a",
            format!(r#"{{"readings":[{{"x":{value}}}]}}"#),
        );
    }
    let stage = start(&queue, &broker);
    acknowledged(&broker, 10).await;
    stage.stop().await;
    broker.publish("zigbee2mqtt/a", r#"{"readings":[{"x":10}]}"#);
    let stage = start(&queue, &broker);
    acknowledged(&broker, 11).await;
    stage.stop().await;
    assert_eq!(queue.items(List::Raw).len(), 11);
    assert_exact(&queue.ledger().await);
}

/// How long a process may take.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn process_runs_several_pipelines_with_lists_of_their_own() {
    let (broker, redis) = (Mosquitto::start(), Redis::start());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("home.toml");
    let file = "name = \"home\"\n[source]\ntopic = \"home/{room}/{field}\"\n[message]\nformat = \"text\"\n";
    std::fs::write(&path, file).unwrap();
    let colors = dir.path().join("colors.toml");
    let file = "name = \"colors\"\n[source]\nkind = \"redis-pubsub\"\nchannel = \"color_data\"\n[message]\n\
                tags = { color = \"/color\" }\nfields = { value = \"/value\" }\n";
    std::fs::write(&colors, file).unwrap();
    let pipelines = format!("rigs,{},{}", path.display(), colors.display());
    let mut stage = Launch::binary(Path::new(env!("CARGO_BIN_EXE_ingester")))
        .env("MQTT_HOST", "127.0.0.1")
        .env("MQTT_PORT", &broker.port().to_string())
        .env("REDIS_HOST", "127.0.0.1")
        .env("REDIS_PORT", &redis.port().to_string())
        .env("PIPELINES", &pipelines)
        .spawn();
    assert!(stage.ready(SOON), "{}", stage.logs());
    for (topic, payload) in [
        ("rigs/R/measurements/a", r#"{"value":1}"#),
        ("home/kitchen/temperature", "21.5"),
        ("home/kitchen/temperature", "warm"),
    ] {
        let mut client = broker.client("mosquitto_pub");
        client.args(["-q", "1", "-t", topic, "-m", payload]);
        assert!(client.status().unwrap().success());
    }
    let published = redis.cli(&["PUBLISH", "color_data", r#"{"color":"green","value":17}"#]);
    assert_eq!(published, "1");
    let lengths = || {
        [
            "raw_events",
            "home:raw_events",
            "home:dead_letters",
            "colors:raw_events",
        ]
        .map(|list| redis.cli(&["LLEN", list]))
    };
    assert!(
        testkit::wait_until(SOON, || lengths() == ["1", "1", "1", "1"]),
        "{:?}",
        lengths()
    );
    let element = redis.cli(&["LINDEX", "home:raw_events", "0"]);
    let sample = Layout::Tagged.decode_sample(element.as_bytes()).unwrap();
    assert_eq!(sample.series, r#"{"room":"kitchen"}"#);
    assert!(sample.timestamp > Timestamp::from_millis(0));
    let health = stage.get("/readyz");
    for name in ["\"ingester\"", "\"ingester/home\"", "\"redis_pubsub\""] {
        assert!(health.contains(name), "{name}: {health}");
    }
    stage.terminate();
    assert!(stage.wait_exit(SOON).is_some_and(|ended| ended.success()));
}

#[test]
fn file_that_cannot_be_used_ends_the_process_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("home.toml");
    std::fs::write(&path, "name = \"home\"\n[source]\nkind = \"amqp\"\n").unwrap();
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_ingester"))
        .args(["--pipelines", &path.display().to_string()])
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(64));
    let message = String::from_utf8(ended.stderr).unwrap();
    assert!(message.contains("home.toml:3:"), "{message}");
    assert!(message.contains("amqp"), "{message}");
}

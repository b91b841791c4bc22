//! System 2, all of it: what facilities send over MQTT becomes the compacted readings of each window in Kafka, which the
//! paths of the API show from MongoDB.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use common::clock::Clock;
use model::Timestamp;
use model::pipeline::PipelineFile;
use producer::simulation::Simulation;
use serde_json::{Value, json};
use testkit::{Kafka, MongoDb, Mosquitto, Redis, StageProcess, wait_until};

use crate::statistics::{Statistics, WINDOW_MS, differences};
use crate::system_api::SystemApi;

const SOON: Duration = Duration::from_mins(1);
/// Messages that are simulated: 30 of each sensor of two facilities.
const MESSAGES: usize = 180;

/// A message as a topic and a JSON object.
type Message = (String, Value);

#[derive(Default)]
struct Windows(BTreeMap<(String, i64, String), Vec<f64>>);

impl Windows {
    fn add(&mut self, (topic, payload): &Message) {
        let levels: Vec<_> = topic.split('/').collect();
        assert_eq!((levels[0], levels.len()), ("sensor_readings", 3), "{topic}");
        let start = payload["ts"].as_i64().unwrap().div_euclid(WINDOW_MS) * WINDOW_MS;
        let key = (levels[1].to_owned(), start, levels[2].to_owned());
        let values = self.0.entry(key).or_default();
        values.push(payload["val"].as_f64().unwrap());
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    fn statistics(self) -> Statistics {
        let mut statistics = Statistics::new();
        for ((facility, start, field), values) in self.0 {
            let average = values.iter().sum::<f64>() / values.len() as f64;
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            for (name, value) in [("avg", average), ("min", low), ("max", high)] {
                let key = (facility.clone(), start, format!("{name}_{field}"));
                statistics.insert(key, value);
            }
        }
        statistics
    }
}

fn publish(broker: &Mosquitto, topic: &str, payload: &str) {
    let mut client = broker.client("mosquitto_pub");
    client.args(["-q", "1", "-t", topic, "-m", payload]);
    assert!(client.status().unwrap().success());
}

/// Messages that can't be used, and one that isn't wanted. Returns the number of dead letters.
fn publish_rubbish(broker: &Mosquitto, now: i64) -> usize {
    let bad = [
        "no JSON".to_owned(),
        json!({ "val": 1 }).to_string(),
        json!({ "ts": now }).to_string(),
        json!({ "ts": now, "val": null }).to_string(),
        json!({ "ts": "soon", "val": 1 }).to_string(),
        json!({ "ts": now, "val": "warm" }).to_string(),
        json!({ "ts": now, "val": true }).to_string(),
    ];
    for payload in &bad {
        publish(broker, "sensor_readings/facility_9/humidity", payload);
    }
    let good = json!({ "ts": now, "val": 1 }).to_string();
    publish(broker, "sensor_readings/facility_9/wind", &good);
    publish(broker, "sensor_readings/facility_9/humidity/old", &good);
    bad.len()
}

/// Readings of a facility with one sensor, which arrive in another window than theirs. Returns the start of the first
/// window.
fn publish_late(broker: &Mosquitto, now: i64, windows: &mut Windows) -> i64 {
    let start = now.div_euclid(WINDOW_MS) * WINDOW_MS - 20 * WINDOW_MS;
    for (place, value) in [(0, 60.0), (999, 10.0), (500, 20.5), (1_000, 7.0)] {
        let topic = "sensor_readings/facility_8/humidity".to_owned();
        let payload = json!({ "ts": start + place, "val": value });
        publish(broker, &topic, &payload.to_string());
        windows.add(&(topic, payload));
    }
    start
}

/// Runs the producer, and returns what a subscriber sees of it.
fn simulated(broker: &Mosquitto) -> Vec<Message> {
    let mut retained = broker.client("mosquitto_pub");
    retained.args(["-r", "-t", "ready", "-m", "{}"]);
    assert!(retained.status().unwrap().success());
    let mut subscriber = broker.client("mosquitto_sub");
    let count = (MESSAGES + 1).to_string();
    // The retained message comes after both subscriptions.
    subscriber.args([
        "-v",
        "-t",
        "sensor_readings/#",
        "-t",
        "ready",
        "-W",
        "60",
        "-C",
        &count,
    ]);
    let mut subscriber = subscriber.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(subscriber.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready {}");
    let (port, count) = (broker.port().to_string(), MESSAGES.to_string());
    let mut producer = StageProcess::spawn(
        "producer",
        &[
            ("PIPELINES", "facilities"),
            ("MQTT_HOST", "127.0.0.1"),
            ("MQTT_PORT", &port),
            ("NUM_FACILITIES", "2"),
            ("REPORTING_INTERVAL", "100ms"),
            ("COUNT", &count),
        ],
    );
    let messages = lines.map(|line| {
        let line = line.unwrap();
        let (topic, payload) = line.split_once(' ').unwrap();
        (topic.to_owned(), serde_json::from_str(payload).unwrap())
    });
    let messages: Vec<_> = messages.collect();
    assert!(subscriber.wait().unwrap().success());
    let ended = producer.wait_exit(SOON);
    assert!(
        ended.is_some_and(|ended| ended.success()),
        "{}",
        producer.logs()
    );
    messages
}

/// What the API shows of these facilities, page by page.
fn shown(api: &SystemApi, facilities: &[&str]) -> Statistics {
    let mut shown = Statistics::new();
    for facility in facilities {
        for offset in (0..).step_by(20) {
            let page = api.json(&format!("/api/sensors/{facility}?offset={offset}&limit=20"));
            let readings = page["data"].as_array().unwrap();
            for reading in readings {
                let time = |name: &str| {
                    let text = reading["window"][name].as_str().unwrap();
                    Timestamp::parse(text).unwrap().nanos() / 1_000_000
                };
                let start = time("start_time");
                assert_eq!(time("end_time"), start + WINDOW_MS, "{reading}");
                let members = reading.as_object().unwrap();
                for (name, value) in members.iter().filter(|(_, value)| value.is_number()) {
                    let key = ((*facility).to_owned(), start, name.clone());
                    let twice = shown.insert(key, value.as_f64().unwrap());
                    assert_eq!(twice, None, "{reading}");
                }
            }
            if readings.len() < 20 {
                break;
            }
        }
    }
    shown
}

/// Asserts that Kafka has one record of each window.
fn assert_in_kafka_once(kafka: &Kafka, expected: &Statistics, facilities: &[&str]) {
    let windows: BTreeSet<_> = expected
        .keys()
        .map(|(facility, start, _)| (facility.clone(), *start))
        .collect();
    let records = kafka.consume("compacted_sensor_readings");
    let keys: Vec<_> = records
        .iter()
        .map(|record| record["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys.len(), windows.len(), "each window once");
    assert!(keys.iter().all(|key| facilities.contains(key)), "{keys:?}");
}

/// Asserts that the ingester has left out one message that isn't wanted.
fn assert_one_filtered(ingester: &StageProcess) {
    let metrics = ingester.get("/metrics");
    let filtered = metrics.lines().find(|line| {
        line.starts_with("rigline_left_out_total") && line.contains("reason=\"filtered\"")
    });
    assert!(
        filtered.is_some_and(|line| line.ends_with(" 1")),
        "{metrics}"
    );
}

#[test]
fn windows_of_facilities_are_compacted_and_shown_and_nothing_else() {
    let (broker, redis) = (Mosquitto::start(), Redis::start());
    let (kafka, server) = (Kafka::start(), MongoDb::start());
    let ports = [broker.port(), redis.port(), kafka.port(), server.port()];
    let ports = ports.map(|port| port.to_string());
    let env = [
        ("PIPELINES", "facilities,facilities-store"),
        ("COMPACTION_INTERVAL", "1s"),
        ("MQTT_HOST", "127.0.0.1"),
        ("MQTT_PORT", &ports[0]),
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &ports[1]),
        ("KAFKA_HOST", "127.0.0.1"),
        ("KAFKA_PORT", &ports[2]),
        ("MONGO_HOST", "127.0.0.1"),
        ("MONGO_PORT", &ports[3]),
        ("MONGO_BATCH", "99"),
    ];
    let mut stages =
        ["ingester", "transformer", "sink"].map(|name| StageProcess::spawn(name, &env));
    for stage in &stages {
        assert!(stage.ready(SOON), "{}", stage.logs());
    }
    let api = SystemApi::start("facilities", &env);
    let now = Clock::system().now().nanos() / 1_000_000;
    let bad = publish_rubbish(&broker, now);
    let mut windows = Windows::default();
    let start = publish_late(&broker, now, &mut windows);
    let messages = simulated(&broker);
    assert_eq!(messages.len(), MESSAGES);
    stages[2].kill();
    stages[2] = StageProcess::spawn("sink", &env);
    for message in &messages {
        windows.add(message);
    }
    let expected = windows.statistics();
    let single = |name: &str| expected[&("facility_8".to_owned(), start, name.to_owned())];
    assert_eq!(
        ["min_humidity", "max_humidity"]
            .map(single)
            .map(f64::to_bits),
        [10.0_f64, 60.0].map(f64::to_bits)
    );
    let facilities = ["facility_1", "facility_2", "facility_8"];
    let mut wrong = Vec::new();
    let is_equal = wait_until(SOON, || {
        wrong = differences(&expected, &shown(&api, &facilities));
        wrong.is_empty()
    });
    assert!(
        is_equal,
        "{} differ: {:#?}\n{}",
        wrong.len(),
        wrong.first(),
        stages[2].logs()
    );
    assert_in_kafka_once(&kafka, &expected, &facilities);

    let letters = || redis.cli(&["LLEN", "facilities:dead_letters"]);
    assert!(
        wait_until(SOON, || letters() == bad.to_string()),
        "{}",
        letters()
    );
    assert_one_filtered(&stages[0]);
    assert_first_half_is_served(&api, bad);
}

/// The API has dead letters and health of the pipeline to Kafka, too, from which no rows can be read.
fn assert_first_half_is_served(api: &SystemApi, bad: usize) {
    let path = "/api/v1/pipelines/facilities";
    let letters = api.json(&format!("{path}/dead-letters"));
    assert_eq!(
        letters["dead_letters"].as_array().unwrap().len(),
        bad,
        "{letters}"
    );
    let health = api.json(&format!("{path}/health"));
    assert_eq!(health["ready"], true, "{health}");
    let (status, body) = api.text(&format!("{path}/series"));
    assert_eq!(status, 422, "{body}");
    assert!(body.contains("can't be read from its stores"), "{body}");
}

/// The mean of the numbers and their variance.
#[expect(clippy::cast_precision_loss, reason = "the count is small")]
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2));
    (mean, squares.sum::<f64>() / (count - 1.0))
}

#[test]
fn variance_grows_with_the_number_of_the_facility() {
    const TEXT: &str = include_str!("../../../../pipelines/facilities.toml");
    let variable = |name: &str| (name == "NUM_FACILITIES").then(|| "4".to_owned());
    let file = PipelineFile::parse("facilities.toml", TEXT, &variable);
    let mut simulation = Simulation::new(&file.unwrap(), 1).unwrap();
    assert_eq!(
        (simulation.series(), simulation.interval().as_secs()),
        (4, 5)
    );
    let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for _ in 0..4_000 {
        for message in simulation.round(Timestamp::from_millis(1_767_600_000_123)) {
            let payload: Value = serde_json::from_slice(&message.payload).unwrap();
            let members = payload.as_object().unwrap();
            assert_eq!(members["ts"], 1_767_600_000_123_i64, "{payload}");
            assert_eq!(members.len(), 2, "{payload}");
            let value = members["val"].as_f64().unwrap();
            values.entry(message.topic).or_default().push(value);
        }
    }
    assert_eq!(values.len(), 12, "{:?}", values.keys());
    for (sensor, expected) in [
        ("humidity", 50.0),
        ("pressure", 1013.0),
        ("temperature", 20.0),
    ] {
        let (low, high) = (0.01 * expected, 0.1 * expected);
        let step = (high - low) / 4.0;
        for number in 1..=4_u32 {
            let drawn = &values[&format!("sensor_readings/facility_{number}/{sensor}")];
            let (mean, variance) = moments(drawn);
            let wanted = f64::from(number).mul_add(step, low);
            // Four standard errors each.
            let of_mean = 4.0 * (wanted / 4_000.0).sqrt();
            let of_variance = 4.0 * wanted * (2.0_f64 / 4_000.0).sqrt();
            assert!(
                (mean - expected).abs() < of_mean,
                "{sensor} {number}: {mean}"
            );
            assert!(
                (variance - wanted).abs() < of_variance,
                "{sensor} {number}: {variance} instead of {wanted}"
            );
        }
    }
}

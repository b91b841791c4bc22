//! The producer as a process, with a real broker.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use common::time::Timestamp;
use common::topic;
use producer::fleet::{Faults, Fleet, SENSORS};
use serde_json::Value;
use testkit::{Mosquitto, Stage};

const PATIENCE: Duration = Duration::from_secs(30);

fn start(env: &[(&str, &str)]) -> Stage {
    Stage::spawn_binary(Path::new(env!("CARGO_BIN_EXE_producer")), env)
}

fn start_with(broker: &Mosquitto, env: &[(&str, &str)]) -> Stage {
    let port = broker.port().to_string();
    let mut all = vec![("MQTT_HOST", "127.0.0.1"), ("MQTT_PORT", &port)];
    all.extend_from_slice(env);
    start(&all)
}

/// A client that ends after `count` messages; subscribed when this returns.
fn listen(broker: &Mosquitto, count: usize) -> Child {
    let count = count.to_string();
    // The retained message shows that the subscription works.
    let mut mark = broker.client("mosquitto_pub");
    assert!(
        mark.args(["-t", "mark", "-m", "subscribed", "-r"])
            .status()
            .unwrap()
            .success()
    );
    let mut command = broker.client("mosquitto_sub");
    command.args(["-q", "1", "-W", "30", "-C", &count, "-F", "%t %p"]);
    command.args(["-t", "mark", "-t", "rigs/#"]);
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    child
}

/// Rig, sensor, timestamp and value of every message.
fn heard(listener: Child) -> Vec<(String, String, Timestamp, f64)> {
    let output = String::from_utf8(listener.wait_with_output().unwrap().stdout).unwrap();
    let messages = output.lines().filter(|line| *line != "mark subscribed");
    messages
        .map(|line| {
            let (topic, payload) = line.split_once(' ').unwrap();
            let (rig, sensor) = topic::parse(topic).unwrap();
            let json: Value = serde_json::from_str(payload).unwrap();
            let text = json["timestamp"].as_str().unwrap();
            assert!(text.ends_with('Z') && text.len() == 24, "{text}");
            let value = json["value"].as_f64().unwrap();
            (
                rig.to_owned(),
                sensor.to_owned(),
                Timestamp::parse(text).unwrap(),
                value,
            )
        })
        .collect()
}

#[test]
fn a_fast_run_sends_what_its_seed_says() {
    let broker = Mosquitto::start();
    let listener = listen(&broker, 1 + 600);
    let names = ["RIG-1".to_owned(), "RIG-42".to_owned()];
    let mut producer = start_with(
        &broker,
        &[
            ("RIGS", "RIG-1,RIG-42"),
            ("FAST", "true"),
            ("COUNT", "600"),
            ("SEED", "7"),
        ],
    );
    let ended = producer.wait_exit(PATIENCE).expect("it ends by itself");
    assert!(ended.success(), "{}", producer.logs());
    let said = producer.logs();
    assert!(
        said.contains("sent=600 acknowledged=600 unacknowledged=0"),
        "{said}"
    );

    let fleet = Fleet::new(&names, 7, Faults::default());
    let messages = heard(listener);
    assert_eq!(messages.len(), 600);
    let start = messages[0].2;
    let mut last = start;
    for (place, (rig, sensor, timestamp, value)) in messages.into_iter().enumerate() {
        let (round, rig_place, sensor_place) = (place / 12, place % 12 / 6, place % 6);
        assert_eq!(timestamp, start.plus(Duration::from_secs(round as u64)));
        assert_eq!(
            (&rig, &*sensor),
            (&names[rig_place], SENSORS[sensor_place].name)
        );
        assert_eq!(
            value.to_bits(),
            fleet.value(rig_place, sensor_place, round as u64).to_bits()
        );
        last = timestamp;
    }
    let age = common::clock::Clock::system().now().since(last);
    assert!(
        age > Duration::ZERO && age < Duration::from_secs(30),
        "ends {age:?} ago"
    );
}

#[test]
fn faults_are_seen_on_the_wire() {
    let broker = Mosquitto::start();
    let faults = Faults {
        missing: 0.1,
        duplicated: 0.2,
        late: 0.3,
        late_by: Duration::from_secs(3),
        garbled: 0.0,
    };
    let names = ["R".to_owned()];
    let fleet = Fleet::new(&names, 1, faults);
    let mut expected = BTreeMap::new();
    for (round, sensor) in (0..100).flat_map(|round| (0..6).map(move |sensor| (round, sensor))) {
        let fate = fleet.fate(0, sensor, round);
        if fate.copies > 0 {
            expected.insert((round, SENSORS[sensor].name.to_owned()), fate);
        }
    }
    let count = expected.values().map(|fate| fate.copies).sum::<usize>();
    let listener = listen(&broker, 1 + count);
    let mut producer = start_with(
        &broker,
        &[
            ("RIGS", "R"),
            ("FAST", "1"),
            ("COUNT", "600"),
            ("MISSING", "0.1"),
            ("DUPLICATED", "0.2"),
            ("LATE", "0.3"),
            ("LATE_BY", "3s"),
        ],
    );
    assert!(
        producer
            .wait_exit(PATIENCE)
            .is_some_and(|ended| ended.success())
    );
    assert!(
        producer.logs().contains(&format!("sent={count} ")),
        "{}",
        producer.logs()
    );

    let messages = heard(listener);
    let start = messages.iter().map(|message| message.2).min().unwrap();
    let mut newest = 0;
    let mut seen: BTreeMap<(u64, String), usize> = BTreeMap::new();
    for (_, sensor, timestamp, _) in messages {
        let round = timestamp.since(start).as_secs();
        let fate = expected[&(round, sensor.clone())];
        // Late ones come before the other readings of the round in which they are due.
        let due = if fate.late { round + 3 } else { round };
        assert!(
            newest <= due && due <= newest + 1,
            "round {round} came in round {newest}"
        );
        newest = newest.max(due);
        *seen.entry((round, sensor)).or_default() += 1;
    }
    let want: BTreeMap<_, _> = expected
        .into_iter()
        .map(|(key, fate)| (key, fate.copies))
        .collect();
    assert_eq!(seen, want);
}

#[test]
fn told_to_stop_it_waits_for_acknowledgements_and_says_how_many() {
    let broker = Mosquitto::start();
    let mut producer = start_with(&broker, &[("RIGS", "3"), ("INTERVAL", "100ms")]);
    assert!(producer.ready(PATIENCE), "{}", producer.logs());
    std::thread::sleep(Duration::from_secs(1));
    let metrics = producer.get("/metrics");
    assert!(
        metrics.contains(r#"rigline_produced_readings_total{state="acknowledged"}"#),
        "{metrics}"
    );
    producer.terminate();
    let ended = producer
        .wait_exit(Duration::from_secs(3))
        .expect("it stops");
    assert_eq!(ended.code(), Some(0), "{}", producer.logs());
    assert!(
        producer.logs().contains("unacknowledged=0"),
        "{}",
        producer.logs()
    );
}

#[test]
fn without_a_broker_it_says_what_it_could_not_deliver() {
    let mut broker = Mosquitto::start();
    broker.stop();
    let mut producer = start_with(&broker, &[("FAST", "true"), ("COUNT", "60")]);
    assert!(!producer.ready(Duration::from_secs(1)));
    producer.terminate();
    assert!(
        producer.wait_exit(Duration::from_secs(8)).is_none(),
        "it waits for the broker"
    );
    let ended = producer
        .wait_exit(Duration::from_secs(2))
        .expect("it stops within ten seconds");
    assert_eq!(ended.code(), Some(0), "{}", producer.logs());
    let said = producer.logs();
    assert!(
        said.contains("WARN") && said.contains("sent=60 acknowledged=0 unacknowledged=60"),
        "{said}"
    );
}

#[test]
fn bad_settings_are_named() {
    for (variable, given) in [
        ("RIGS", "a,,b"),
        ("INTERVAL", "0"),
        ("FAST", "maybe"),
        ("COUNT", "many"),
        ("SEED", "-1"),
        ("LATE", "2"),
        ("LATE_BY", "soon"),
        ("MQTT_PORT", "0"),
        ("MQTT_PASSWORD", "without a user"),
    ] {
        let mut producer = start(&[(variable, given)]);
        let ended = producer.wait_exit(PATIENCE).expect("it ends at once");
        let said = producer.logs();
        assert_eq!(ended.code(), Some(64), "{variable}: {said}");
        let named = if variable == "MQTT_PASSWORD" {
            "MQTT_USERNAME"
        } else {
            variable
        };
        assert!(
            said.contains(named) && said.contains("accepted"),
            "{variable}: {said}"
        );
    }
    let mut producer = start(&[("COUNT", "5"), ("DURATION", "5s")]);
    assert_eq!(
        producer.wait_exit(PATIENCE).and_then(|ended| ended.code()),
        Some(64)
    );
}

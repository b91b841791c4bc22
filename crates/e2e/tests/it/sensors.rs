//! System 3: readings of sensors are in MongoDB, the last ten in Redis, and its own paths show both.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use queue::Queue;
use queue::redis::RedisQueue;
use queue::testing::{assert_exact, redis_settings, settings};
use serde_json::Value;
use testkit::{MongoDb, Mosquitto, Redis, StageProcess, wait_until};

use crate::readings::all_stored;
use crate::system_api::SystemApi;

const SOON: Duration = Duration::from_mins(1);
/// Readings of each sensor.
const READINGS: usize = 24;
const SENSORS: [(&str, &str); 2] = [
    ("temperature", "temperature_sensor"),
    ("humidity", "humidity_sensor"),
];

/// What is sent: a kind, a sensor, a time in UTC and a value.
struct Sent {
    sensor: &'static str,
    kind: &'static str,
    time: String,
    value: f64,
}

fn publish(broker: &Mosquitto, topic: &str, lines: &str) {
    let mut client = broker.client("mosquitto_pub");
    client.args(["-q", "1", "-t", topic, "-l"]);
    let mut client = client.stdin(Stdio::piped()).spawn().unwrap();
    client
        .stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    assert!(client.wait().unwrap().success());
}

/// Readings of two sensors, as the original and others write them, on a day of the last weeks.
fn publish_readings(broker: &Mosquitto, day: &str) -> Vec<Sent> {
    let mut sent = Vec::new();
    for (place, (kind, sensor)) in SENSORS.into_iter().enumerate() {
        let mut lines = String::new();
        for number in 0..READINGS {
            let (minute, second) = (number / 2, 30 * (number % 2) + place);
            let value = 20.0 + f64::from(u8::try_from(number).unwrap()) / 4.0;
            // With a zone, without one, and in another zone.
            let (time, value_text) = match number % 3 {
                0 => (
                    format!("{day}T08:{minute:02}:{second:02}.123456Z"),
                    value.to_string(),
                ),
                1 => (
                    format!("{day}T08:{minute:02}:{second:02}.123456"),
                    format!("\"{value}\""),
                ),
                _ => (
                    format!("{day}T10:{minute:02}:{second:02}.123456+02:00"),
                    value.to_string(),
                ),
            };
            writeln!(
                lines,
                r#"{{"sensor_id":"{sensor}","value":{value_text},"timestamp":"{time}"}}"#
            )
            .unwrap();
            sent.push(Sent {
                sensor,
                kind,
                // MongoDB keeps milliseconds.
                time: format!("{day}T08:{minute:02}:{second:02}.123Z"),
                value,
            });
        }
        publish(broker, &format!("sensors/{kind}"), &lines);
    }
    sent.sort_by(|one, other| one.time.cmp(&other.time));
    sent
}

/// Asserts that items are these readings.
fn assert_readings<'a>(items: &Value, sent: impl IntoIterator<Item = &'a Sent>) {
    let items = items.as_array().unwrap();
    let found: Vec<_> = items
        .iter()
        .map(|item| {
            let id = item["_id"]["$oid"].as_str().unwrap();
            assert_eq!(id.len(), 24, "{item}");
            assert_eq!(item.as_object().unwrap().len(), 5, "{item}");
            let text = |name: &str| item[name].as_str().unwrap().to_owned();
            (
                text("sensor_id"),
                text("kind"),
                text("timestamp"),
                item["value"].as_f64().unwrap(),
            )
        })
        .collect();
    let sent = sent.into_iter();
    let expected: Vec<_> = sent
        .map(|sent| {
            (
                sent.sensor.to_owned(),
                sent.kind.to_owned(),
                sent.time.clone(),
                sent.value,
            )
        })
        .collect();
    assert_eq!(found, expected);
}

fn assert_latest(api: &SystemApi, sent: &[Sent]) {
    let newest = || sent.iter().rev();
    let ten = api.json("/latestten");
    assert_readings(&ten["latestten"], newest().take(10));
    for (_, sensor) in SENSORS {
        let of_sensor = || newest().filter(|sent| sent.sensor == sensor).take(10);
        let ten = api.json(&format!("/latestten/{sensor}"));
        assert_readings(&ten["latestTenBySensorID"], of_sensor());
        assert_eq!(api.json(&format!("/latest-readings/{sensor}")), ten);
    }
    let none = api.json("/latestten/unknown%22%7D");
    assert_eq!(none["latestTenBySensorID"], serde_json::json!([]));
    assert_eq!(api.text("/latest-readings/unknown").0, 404);
}

fn assert_ranges(api: &SystemApi, day: &str, sent: &[Sent]) {
    let all = api.json("/allData");
    assert_readings(&all["alldata"], sent.iter().rev());
    assert_eq!(all["pagination"]["total"], sent.len());
    let page = api.json("/alldata?offset=5&limit=7");
    assert_readings(&page["alldata"], sent.iter().rev().skip(5).take(7));

    // Both ends are included: the first and the last are those of the range.
    let (first, last) = (&sent[3].time, &sent[11].time);
    for path in ["/startoenddate", "/starttoenddate"] {
        let found = api.json(&format!("{path}?startDate={first}&endDate={last}"));
        assert_readings(&found[format!("From {first} to {last}")], &sent[3..=11]);
    }
    let found = api.json(&format!("/startoenddate?startDate={day}&endDate={day}"));
    assert_readings(&found[format!("From {day} to {day}")], sent);
    let found = api.json("/startoenddate?startDate=2001-01-01&endDate=2001-01-02");
    assert_readings(&found["From 2001-01-01 to 2001-01-02"], &[]);

    for path in ["/readings/", "/readings", "/sensor-readings"] {
        let query = "min_value=21&max_value=22.5&sensor_id=humidity_sensor";
        let found = api.json(&format!("{path}?start={day}&{query}"));
        let fits = |sent: &&Sent| (21.0..=22.5).contains(&sent.value) && sent.kind == "humidity";
        assert_readings(&found["readings"], sent.iter().filter(fits));
    }
    for (path, status) in [
        ("/startoenddate", 422),
        ("/startoenddate?startDate=2026-01-01", 422),
        ("/startoenddate?startDate=x&endDate=2026-01-01", 422),
        (
            "/startoenddate?startDate=2026-01-02&endDate=2026-01-01",
            400,
        ),
        ("/readings/?min_value=2&max_value=1", 400),
        ("/allData?limit=1001", 422),
        ("/nothing", 404),
    ] {
        let (found, body) = api.text(path);
        assert_eq!(found, status, "{path}: {body}");
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert!(problem["detail"].is_string(), "{path}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_are_in_mongodb_and_the_last_ten_in_redis() {
    let (broker, redis, server) = (Mosquitto::start(), Redis::start(), MongoDb::start());
    let ports = [broker.port(), redis.port(), server.port()].map(|port| port.to_string());
    let env = [
        ("PIPELINES", "sensors"),
        ("MQTT_HOST", "127.0.0.1"),
        ("MQTT_PORT", &ports[0]),
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &ports[1]),
        ("MONGO_HOST", "127.0.0.1"),
        ("MONGO_PORT", &ports[2]),
        ("MONGO_BATCH", "99"),
    ];
    let stages = ["ingester", "transformer", "sink"].map(|name| StageProcess::spawn(name, &env));
    for stage in &stages {
        assert!(stage.ready(SOON), "{}", stage.logs());
    }
    let now = model::Timestamp::from_nanos(common::clock::Clock::system().now().nanos());
    let day = now.minus(Duration::from_hours(72)).to_string()[..10].to_owned();
    let sent = publish_readings(&broker, &day);
    publish(
        &broker,
        "sensors/temperature",
        "no json\n{\"sensor_id\":\"a\",\"value\":\"warm\"}\n{\"value\":1}\n",
    );
    let queue = RedisQueue::new(
        &settings().of_pipeline("sensors"),
        &redis_settings(redis.port()),
    );
    let queue = queue.unwrap();
    let started = std::time::Instant::now();
    loop {
        let ledger = queue.snapshot().await.unwrap().ledger;
        if all_stored(&ledger) && ledger.dead == 3 {
            assert_exact(&ledger);
            break;
        }
        assert!(
            started.elapsed() < SOON,
            "{ledger:#?}\n{}",
            stages[2].logs()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let api = SystemApi::start("sensors", &env);
    assert_latest(&api, &sent);
    assert_ranges(&api, &day, &sent);
    assert!(
        api.text("/").1.contains("/startoenddate?"),
        "{}",
        api.text("/").1
    );
    assert!(api.text("/docs").1.contains("openapi.json"));
    let health = api.health();
    for server in ["redis", "redis-latest", "mongodb"] {
        assert!(
            health.contains(&format!("\"name\":\"{server}\"")),
            "{health}"
        );
    }
    let document = api.json("/openapi.json");
    assert!(document["paths"]["/latestten/{sensor_id}"].is_object());
    assert!(document["paths"]["/api/v1/pipelines"].is_object());
    assert!(document["components"]["schemas"]["Reading"].is_object());
}

#[test]
fn publisher_has_the_variables_of_the_original() {
    let broker = Mosquitto::start();
    let port = broker.port().to_string();
    let mut listener = broker.client("mosquitto_sub");
    listener.args(["-t", "sensors/#", "-C", "5", "-W", "30", "-F", "%t %p"]);
    let listener = listener.stdout(Stdio::piped()).spawn().unwrap();
    let env = [
        ("PIPELINES", "sensors"),
        ("MQTT_HOST", "127.0.0.1"),
        ("MQTT_PORT", &port),
        ("SENSOR_ID", "humidity_sensor"),
        ("SENSOR_TYPE", "humidity"),
        ("RANGE", "25-100"),
        ("FREQUENCY", "0.2"),
    ];
    let mut publisher = StageProcess::spawn("producer", &env);
    let output = listener.wait_with_output().unwrap();
    publisher.terminate();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), 5, "{lines}\n{}", publisher.logs());
    for line in lines.lines() {
        let (topic, payload) = line.split_once(' ').unwrap();
        assert_eq!(topic, "sensors/humidity");
        let payload: Value = serde_json::from_str(payload).unwrap();
        assert_eq!(payload["sensor_id"], "humidity_sensor");
        assert!(
            (25.0..=100.0).contains(&payload["value"].as_f64().unwrap()),
            "{payload}"
        );
        assert!(
            payload["timestamp"].as_str().unwrap().ends_with('Z'),
            "{payload}"
        );
    }
    assert!(wait_until(SOON, || publisher.has_exited()));
}

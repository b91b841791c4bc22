//! System 1: the statistics of colors in the real InfluxDB are those that the messages have.

use std::time::Duration;

use common::clock::Clock;
use model::Timestamp;
use testkit::influxdb::{BUCKET, ORG, TOKEN};
use testkit::{InfluxDb, Redis, StageProcess};

use crate::statistics::{Sent, WINDOW_MS, assert_stored, expected};

const SOON: Duration = Duration::from_secs(30);
const COLORS: [&str; 4] = ["red", "blue", "green", "yellow"];

/// Messages of several windows, in no order.
fn messages(now: Timestamp) -> Vec<Sent> {
    let start = now.nanos() / 1_000_000 / WINDOW_MS * WINDOW_MS - 20 * WINDOW_MS;
    let sent = (0..600_i64).map(|number| Sent {
        series: COLORS[usize::try_from(number % 4).unwrap()],
        ms: start + number * 7_919 % (10 * WINDOW_MS),
        value: f64::from(i32::try_from(number * 37 % 100 + 1).unwrap()),
    });
    sent.collect()
}

#[test]
fn windows_of_colors_in_influxdb_are_those_of_the_messages() {
    let (redis, influxdb) = (Redis::start(), InfluxDb::start());
    let (redis_port, influx_port) = (redis.port().to_string(), influxdb.port().to_string());
    let env = [
        ("PIPELINES", "colors"),
        ("WINDOW", "1s"),
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &redis_port),
        ("INFLUXDB_HOST", "127.0.0.1"),
        ("INFLUXDB_PORT", &influx_port),
        ("INFLUXDB_TOKEN", TOKEN),
        ("INFLUXDB_ORG", ORG),
        ("INFLUXDB_BUCKET", BUCKET),
    ];
    let stages = ["ingester", "transformer", "sink"].map(|name| StageProcess::spawn(name, &env));
    for stage in &stages {
        assert!(stage.ready(SOON), "{}", stage.logs());
    }
    let sent = messages(Clock::system().now());
    for (place, message) in sent.iter().enumerate() {
        let time = Timestamp::from_millis(message.ms);
        let (color, value) = (message.series, message.value);
        // As the statement, the system's README and its code have them.
        let json = match place % 2 {
            0 => format!(r#"{{"timestamp":"{time}","color":"{color}","value":{value}}}"#),
            _ => format!(
                r#"{{"timestamp":"{time}","color":"{color}","name":"value_{color}","value":{value}}}"#
            ),
        };
        let receivers = redis.cli(&["PUBLISH", "color_data", &json]);
        assert_eq!(receivers, "1");
    }
    assert_stored(&influxdb, "color", &expected(&sent), SOON);
}

#[test]
fn generator_publishes_to_the_channel() {
    let redis = Redis::start();
    let port = redis.port().to_string();
    let env = [
        ("PIPELINES", "colors"),
        ("GENERATOR_INTERVAL", "0.05"),
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &port),
        ("COUNT", "40"),
    ];
    let mut generator = StageProcess::spawn("producer", &env);
    let ended = generator.wait_exit(SOON);
    assert!(
        ended.is_some_and(|ended| ended.success()),
        "{}",
        generator.logs()
    );
    let published = redis.cli(&["INFO", "commandstats"]);
    assert!(
        published.contains("cmdstat_publish:calls=40,"),
        "{published}"
    );
}

//! The stores and the sources that pipeline files name.

use std::time::Duration;

use tempfile::TempDir;
use testkit::{InfluxDb, Kafka, Launch, MongoDb, Mosquitto, Redis, free_port};

use super::{Servers, detail};
use crate::fixture::{SOON, binary};

const FILE: &str = r#"
name = "press"
[source]
topic = "press/{device}/{field}"

[[store]]
kind = "mongodb"
url = "mongodb://127.0.0.1:${MONGO_PORT}"

[[store]]
kind = "redis-latest"

[[store]]
kind = "kafka"
url = "kafka://127.0.0.1:${KAFKA_PORT}"
topic = "press"
"#;

#[test]
fn stores_of_pipelines_are_asked_and_influxdb_only_if_one_uses_it() {
    let (mosquitto, redis) = (Mosquitto::start(), Redis::start());
    let (mut mongo, mut kafka) = (MongoDb::start(), Kafka::start());
    let influx = InfluxDb::shared();
    let bucket = influx.create_bucket(Some(Duration::from_hours(30 * 24)));
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("press.toml");
    std::fs::write(&path, FILE).unwrap();
    let servers = Servers::new(&mosquitto, &redis, influx, &bucket)
        .with("PIPELINES", &path.display().to_string())
        .with("INFLUX_URL", "http://127.0.0.1:1")
        .with("MONGO_PORT", &mongo.port().to_string())
        .with("KAFKA_PORT", &kafka.port().to_string());
    assert_eq!(servers.bad(), ["kafka of press"], "there is no topic");
    kafka.create_topic("press", 1);
    let (faults, lines) = servers.faults();
    assert!(
        faults.iter().all(|(status, _)| status == "warn"),
        "{lines:#}"
    );
    assert_eq!(detail(&lines, "MQTT subscription"), "press/+/+ at QoS 1");
    for store in ["mongodb", "redis-latest"] {
        let check = format!("{store} of press");
        assert_eq!(detail(&lines, &check), "takes rows");
    }
    assert_eq!(
        detail(&lines, "kafka of press"),
        "the topic \"press\" exists"
    );

    let path = format!("rigs,{}", path.display());
    let with_rigs = servers.with("PIPELINES", &path);
    assert_eq!(with_rigs.bad(), ["InfluxDB"]);
    mongo.kill();
    kafka.kill();
    assert_eq!(servers.bad(), ["mongodb of press", "kafka of press"]);
}

/// A source of each kind that is asked.
const SOURCES: [(&str, &str); 3] = [
    (
        "topic",
        "kind = \"kafka\"\nurl = \"kafka://127.0.0.1:${KAFKA_PORT}\"\ntopic = \"readings\"",
    ),
    (
        "stream",
        "kind = \"http-stream\"\nurl = \"http://127.0.0.1:${FEED_PORT}/items\"",
    ),
    (
        "other",
        "url = \"mqtt://127.0.0.1:${OTHER_PORT}\"\ntopic = \"other/{device}\"",
    ),
];

#[test]
fn sources_of_pipelines_are_asked() {
    let (mut broker, redis) = (Mosquitto::start(), Redis::start());
    let (mongo, kafka) = (MongoDb::start(), Kafka::start());
    let dir = TempDir::new().unwrap();
    let mut paths = Vec::new();
    for (name, source) in SOURCES {
        let path = dir.path().join(format!("{name}.toml"));
        let message = "[message]\ntags = { id = \"/id\" }\nfields = { value = \"/value\" }\n";
        let store = "[[store]]\nkind = \"mongodb\"\nurl = \"mongodb://127.0.0.1:${MONGO_PORT}\"\n";
        let file = format!("name = \"{name}\"\n[source]\n{source}\n{message}{store}");
        std::fs::write(&path, file).unwrap();
        paths.push(path.display().to_string());
    }
    let port = free_port();
    let env = vec![
        ("REDIS_HOST", "127.0.0.1".to_owned()),
        ("REDIS_PORT", redis.port().to_string()),
        ("PIPELINES", paths.join(",")),
        ("KAFKA_PORT", kafka.port().to_string()),
        ("MONGO_PORT", mongo.port().to_string()),
        ("FEED_PORT", port.to_string()),
        ("OTHER_PORT", broker.port().to_string()),
    ];
    let servers = Servers { env };
    assert_eq!(servers.bad(), ["source of topic", "source of stream"]);

    kafka.create_topic("readings", 1);
    let items = dir.path().join("items.json");
    std::fs::write(&items, r#"[{"id": "a", "value": 1}]"#).unwrap();
    let mut feed = Launch::binary(binary())
        .args(&["feed", &format!("items={}", items.display())])
        .env("FEED_ADDR", &format!("127.0.0.1:{port}"))
        .spawn();
    assert!(feed.ready(SOON), "{}", feed.logs());
    let (faults, lines) = servers.faults();
    assert!(
        faults.iter().all(|(status, _)| status == "warn"),
        "{lines:#}"
    );
    assert_eq!(
        detail(&lines, "source of topic"),
        "the topic \"readings\" exists"
    );
    assert_eq!(detail(&lines, "source of stream"), "the stream can be read");
    assert_eq!(
        detail(&lines, "MQTT subscription of other"),
        "other/+ at QoS 1"
    );
    feed.terminate();
    broker.kill();
    assert_eq!(servers.bad(), ["source of stream", "MQTT broker of other"]);
}

//! The stores that pipeline files name.

use std::time::Duration;

use tempfile::TempDir;
use testkit::{InfluxDb, Kafka, MongoDb, Mosquitto, Redis};

use super::{Servers, detail};

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

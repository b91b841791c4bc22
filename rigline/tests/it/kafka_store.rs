//! One process with a pipeline whose rows go to its file and to Kafka.

use std::process::Command;
use std::time::Duration;

use testkit::{Kafka, wait_until};

use crate::fixture::{Up, binary, payload, second, text};

const FILE: &str = r#"
name = "press"
[source]
topic = "rigs/{rig_id}/measurements/{field}"
[[store]]
kind = "kafka"
url = "${KAFKA_URL}"
topic = "press"
partitions = 1
[[store]]
kind = "sqlite"
"#;

#[test]
fn rows_of_one_process_go_to_its_file_and_to_kafka() {
    let broker = Kafka::start();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("press.toml");
    std::fs::write(&path, FILE).unwrap();
    let url = format!("kafka://127.0.0.1:{}", broker.port());
    let up = Up::start(&[
        ("PIPELINES", &*path.display().to_string()),
        ("KAFKA_URL", &url),
    ]);
    let time = second();
    up.publish("pressure", &payload(time, 1.5));
    let rows = ["rows", "--pipeline", "press", "--format", "csv"];
    let _ = up.wait_for_output(&rows, "1.5");
    let mut records = Vec::new();
    assert!(wait_until(Duration::from_mins(1), || {
        records = broker.consume("press");
        !records.is_empty()
    }));
    assert_eq!((records.len(), &records[0]["key"]), (1, &"MINE".into()));
    drop(up);
    // Without a store from which rows can be read, it doesn't start.
    let only = FILE.replace("[[store]]\nkind = \"sqlite\"\n", "");
    std::fs::write(&path, only).unwrap();
    let output = Command::new(binary())
        .arg("up")
        .env_clear()
        .envs([
            ("PIPELINES", &*path.display().to_string()),
            ("KAFKA_URL", &*url),
            (
                "RIGLINE_DATA",
                &*dir.path().join("data").display().to_string(),
            ),
            ("MQTT_LISTEN", "127.0.0.1:0"),
            ("API_ADDR", "127.0.0.1:0"),
            ("ADMIN_ADDR", "127.0.0.1:0"),
        ])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = text(&output);
    assert!(said.contains("can't be read from its stores"), "{said}");
}

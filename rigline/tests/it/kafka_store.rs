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

    // Without a store from which rows can be read, the rest is served.
    let only = FILE.replace("[[store]]\nkind = \"sqlite\"\n", "");
    std::fs::write(&path, &only).unwrap();
    let api = testkit::free_port();
    let up = Up::start(&[
        ("PIPELINES", &*path.display().to_string()),
        ("KAFKA_URL", &url),
        ("API_ADDR", &format!("127.0.0.1:{api}")),
    ]);
    up.publish("pressure", &payload(time, 2.5));
    assert!(wait_until(Duration::from_mins(1), || {
        broker.consume("press").len() == 2
    }));
    let get =
        |what: &str| testkit::http_get(api, &format!("/api/v1/pipelines/press/{what}")).unwrap();
    let (status, body) = get("series");
    assert_eq!(status, 422, "{body}");
    assert!(body.contains("can't be read from its stores"), "{body}");
    assert_eq!(get("health").0, 200);
    assert_eq!(get("dead-letters").0, 200);
    up.stop();

    // Alerts are about stored rows.
    let alert = "[[alert]]\nname = \"high\"\nfield = \"pressure\"\nabove = 2\n";
    std::fs::write(&path, format!("{only}{alert}")).unwrap();
    let refused = Command::new(binary())
        .args(["up", "--data"])
        .arg(dir.path().join("data"))
        .args(["--mqtt-listen", "127.0.0.1:0", "--api-addr", "127.0.0.1:0"])
        .env("PIPELINES", &path)
        .env("KAFKA_URL", &url)
        .env("ADMIN_ADDR", "127.0.0.1:0")
        .output()
        .unwrap();
    let said = text(&refused);
    assert_eq!(refused.status.code(), Some(64), "{said}");
    assert!(said.contains("its alerts need them"), "{said}");
}

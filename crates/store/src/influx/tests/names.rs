//! What the server makes of names that it needs for itself, and measurements.

use std::collections::BTreeMap;

use model::{Name, Timestamp, Value};
use serde_json::json;
use testkit::influxdb::ORG;
use testkit::{InfluxDb, InfluxProxy};

use super::{detail, kind, row, store};
use crate::{InfluxStore, Measurement, MeasurementError, Store};

/// Sends a line as it is.
async fn send(store: &InfluxStore, line: &str) -> Result<(), crate::WriteError> {
    store.send(line.as_bytes().to_vec(), 1).await
}

#[tokio::test]
async fn field_named_time_is_lost_on_the_server() {
    let server = InfluxProxy::start();
    let store = store(&server);
    let answer = send(&store, "m,a=1 time=1 1").await;
    assert_eq!(kind(&answer), "rejected");
    assert!(detail(&answer).contains("\"time\""), "{answer:?}");
    assert_eq!(server.points(), []);
    // The reason why such a row isn't even sent.
    send(&store, "m,a=1 f=2,time=1 1").await.unwrap();
    let fields: Vec<_> = server.points().into_iter().map(|it| it.field).collect();
    assert_eq!(fields, ["f"]);

    let mut of_time = row("R", 1.0);
    of_time
        .fields
        .push((Name::new("time").unwrap(), 2.0.into()));
    let answer = store.write(&[row("R", 1.0), of_time]).await;
    assert_eq!(
        detail(&answer),
        "row 2 of 2: a field can't be named \"time\" in InfluxDB"
    );
    assert_eq!(server.received().len(), 2);
}

#[tokio::test]
async fn tags_with_reserved_names_are_refused_by_the_server_or_spoil_queries() {
    for name in ["time", "_field", "_measurement"] {
        let server = InfluxProxy::start();
        let answer = send(&store(&server), &format!("m,{name}=x f=1 1")).await;
        assert_eq!(kind(&answer), "rejected");
        assert!(detail(&answer).contains("reserved tag key"), "{answer:?}");
    }
    for name in ["_time", "_value"] {
        let server = InfluxProxy::start();
        send(&store(&server), &format!("m,{name}=x f=1 1"))
            .await
            .unwrap();
        let flux = format!(
            "from(bucket: {:?}) |> range(start: 0) |> drop(columns: [\"_start\"])",
            server.bucket()
        );
        let path = format!("/api/v2/query?org={ORG}");
        let (status, words) = InfluxDb::shared().ask("POST", &path, &json!({ "query": flux }));
        assert_eq!(status, 400, "{words}");
    }
    for name in ["_start", "_stop"] {
        let server = InfluxProxy::start();
        send(&store(&server), &format!("m,{name}=x f=1 1"))
            .await
            .unwrap();
        assert_eq!(server.points()[0].tags, BTreeMap::new(), "{name}");
    }
}

#[tokio::test]
async fn string_that_is_too_long_is_rejected_by_the_server_too() {
    const MOST: usize = 1 << 20;
    let server = InfluxProxy::start();
    let store = store(&server);
    let mut longest = row("R", 1.0);
    longest.fields[0].1 = Value::String("\u{e9}".repeat(MOST / 2));
    store.write(&[longest.clone()]).await.unwrap();
    let answer = send(&store, &format!("m f=\"{}\" 1", "x".repeat(MOST + 1))).await;
    assert_eq!(kind(&answer), "rejected");
    assert!(detail(&answer).contains("is too long"), "{answer:?}");
    longest.fields[0].1 = Value::String("x".repeat(MOST + 1));
    let answer = store.write(&[longest]).await;
    assert_eq!(kind(&answer), "rejected");
    assert!(
        detail(&answer).contains("at most 1048576"),
        "{}",
        detail(&answer)
    );
}

#[test]
fn measurement_is_a_name_that_can_be_read_back() {
    for (bad, error) in [
        ("#a", MeasurementError::Comment),
        ("_a", MeasurementError::Reserved),
        ("a\\,b", MeasurementError::Backslash),
    ] {
        assert_eq!(Measurement::new(bad), Err(error), "{bad}");
    }
    for bad in [
        String::new(),
        "a\nb".into(),
        "\u{85}".into(),
        "x".repeat(257),
    ] {
        let error = Measurement::new(bad.as_str()).unwrap_err();
        assert!(matches!(error, MeasurementError::Name(_)), "{bad:?}");
        assert!(!error.to_string().is_empty());
    }
    assert_eq!(Measurement::default().as_str(), "rig_measurements");
}

#[tokio::test]
async fn several_measurements_are_side_by_side() {
    let server = InfluxProxy::start();
    let names = [
        "rig_measurements",
        "m",
        " ",
        "a,b c=d",
        "\"q\"'",
        "\u{1f600}",
        "a#_",
        "m=",
        "-1",
    ];
    let bucket = store(&server);
    for (name, value) in names.into_iter().zip(1_u32..) {
        let measurement = Measurement::new(name).unwrap();
        assert_eq!(measurement.as_str(), name);
        let store = bucket.clone().with_measurement(measurement);
        // The same series, time and field in each.
        store.write(&[row("R", value.into())]).await.unwrap();
    }
    let mut found: Vec<_> = server
        .points()
        .into_iter()
        .map(|point| (point.value, point.measurement))
        .collect();
    found.sort_by(|one, other| one.0.total_cmp(&other.0));
    let found: Vec<_> = found.into_iter().map(|(_, name)| name).collect();
    assert_eq!(found, names);
}

#[tokio::test]
async fn rows_need_no_tags() {
    let server = InfluxProxy::start();
    let mut no_tags = row("R", 1.5);
    no_tags.tags.clear();
    no_tags.timestamp = Timestamp::from_nanos(7);
    store(&server).write(&[no_tags]).await.unwrap();
    let points = server.points();
    assert_eq!((points.len(), points[0].value), (1, 1.5));
    assert_eq!(points[0].tags, BTreeMap::new());
}

use std::collections::BTreeMap;
use std::time::Duration;

use common::secret::Secret;
use common::settings::InfluxTls;
use model::{Name, Row, Timestamp};
use testkit::influx_proxy::{Forward, Reply};
use testkit::influxdb::{ORG, TOKEN};
use testkit::{InfluxDb, InfluxProxy};

use super::{InfluxSettings, InfluxStore};
use crate::{Store, WriteError};

mod faults;
mod names;
mod settings;
mod tls;

const TICK: i64 = 1_762_093_293_000_000_000;

fn settings(server: &InfluxProxy) -> InfluxSettings {
    InfluxSettings {
        url: server.url(),
        token: Some(Secret::new(TOKEN)),
        token_file: None,
        tls: InfluxTls::default(),
        org: ORG.into(),
        bucket: server.bucket().into(),
        timeout: Duration::from_secs(5),
    }
}

fn store(server: &InfluxProxy) -> InfluxStore {
    InfluxStore::new(&settings(server)).unwrap()
}

fn row(rig: &str, value: f64) -> Row<'_> {
    let mut row = Row::of_rig(Name::new(rig).unwrap(), Timestamp::from_nanos(TICK));
    row.fields
        .push((Name::new("temp_inlet").unwrap(), value.into()));
    row
}

/// The first result that isn't a broken connection.
async fn answered(ask: impl AsyncFn() -> Result<(), WriteError>) -> Result<(), WriteError> {
    for _ in 0..20 {
        let answer = ask().await;
        if kind(&answer) != "retry" {
            return answer;
        }
    }
    ask().await
}

/// The error's kind, without its message.
fn kind(answer: &Result<(), WriteError>) -> &'static str {
    match answer {
        Ok(()) => "ok",
        Err(WriteError::Retry { after: None, .. }) => "retry",
        Err(WriteError::Retry { after: Some(_), .. }) => "retry after",
        Err(WriteError::TooLarge { .. }) => "too large",
        Err(WriteError::Rejected { .. }) => "rejected",
        Err(WriteError::Denied { .. }) => "denied",
    }
}

fn detail(answer: &Result<(), WriteError>) -> String {
    answer.as_ref().unwrap_err().to_string()
}

#[tokio::test]
async fn written_rows_are_stored() {
    let server = InfluxProxy::start();
    let store = store(&server);
    let values = [
        0.0,
        78.0,
        78.2,
        -0.5,
        0.1 + 0.2,
        f64::MAX,
        f64::MIN_POSITIVE,
        5e-324,
        1e16,
    ];
    let names: Vec<String> = (0..values.len()).map(|i| format!("RIG-{i}")).collect();
    let rows: Vec<Row<'_>> = names.iter().zip(values).map(|(n, v)| row(n, v)).collect();
    store.write(&rows).await.unwrap();
    store.write(&rows).await.unwrap();
    assert_eq!((server.count(), server.changed()), (values.len(), 0));
    for (name, value) in names.iter().zip(values) {
        assert_eq!(
            server.row(name, TICK),
            BTreeMap::from([("temp_inlet".into(), value)])
        );
    }
    let mut second = row("RIG-1", 1.5);
    second.fields[0].0 = Name::new("pressure").unwrap();
    store.write(&[second]).await.unwrap();
    assert_eq!(
        server.row("RIG-1", TICK).len(),
        2,
        "fields of one row are merged"
    );
    assert_eq!(server.received()[0].lines, values.len());
}

#[tokio::test]
async fn no_rows_need_no_request_and_a_preflight_writes_nothing() {
    let server = InfluxProxy::start();
    store(&server).write(&[]).await.unwrap();
    assert!(server.received().is_empty());
    store(&server).preflight().await.unwrap();
    let received = server.received();
    assert_eq!(
        (received.len(), received[0].bytes, received[0].status),
        (1, 0, 204)
    );
}

#[tokio::test]
async fn every_status_maps_to_the_next_step() {
    let server = InfluxProxy::start();
    let store = store(&server);
    for (status, writing, empty) in [
        (200, "retry", "retry"),
        (202, "retry", "retry"),
        (301, "retry", "retry"),
        (304, "retry", "retry"),
        (307, "retry", "retry"),
        (308, "retry", "retry"),
        (400, "rejected", "denied"),
        (401, "denied", "denied"),
        (402, "retry", "retry"),
        (403, "denied", "denied"),
        (404, "denied", "denied"),
        (405, "retry", "retry"),
        (408, "retry", "retry"),
        (410, "retry", "retry"),
        (413, "too large", "denied"),
        (418, "retry", "retry"),
        (422, "rejected", "denied"),
        (429, "retry", "retry"),
        (499, "retry", "retry"),
        (500, "retry", "retry"),
        (501, "retry", "retry"),
        (502, "retry", "retry"),
        (503, "retry", "retry"),
        (504, "retry", "retry"),
        (599, "retry", "retry"),
    ] {
        server.reply_next([Reply::status(status, "words"), Reply::status(status, "")]);
        let answer = store.write(&[row("R", 1.0)]).await;
        let words = detail(&answer);
        assert_eq!(kind(&answer), writing, "{status}");
        assert!(
            (status == 304 || words.contains("words")) && words.contains(&status.to_string()),
            "{words}"
        );
        assert_eq!(
            kind(&store.preflight().await),
            empty,
            "empty write, {status}"
        );
    }
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn recorded_errors_map_to_the_next_step_and_keep_the_servers_message() {
    let server = InfluxProxy::start();
    let store = store(&server);
    let engine = "unexpected error writing points to database: engine: \
                  cache-max-memory-size exceeded: (1137340/1048576)";
    for (status, code, message, expected) in [
        (
            400,
            "invalid",
            "unable to parse 'm v=': missing field value",
            "rejected",
        ),
        (
            422,
            "unprocessable entity",
            "partial write: … dropped=1",
            "rejected",
        ),
        (
            499,
            "invalid",
            "unable to read data: unexpected EOF",
            "retry",
        ),
        (
            500,
            "internal error",
            "An internal error has occurred - check server logs",
            "retry",
        ),
        (
            500,
            "internal error",
            "unable to read data: unexpected EOF",
            "retry",
        ),
        (500, "internal error", engine, "retry"),
        (
            500,
            "internal error",
            "error loading series file … no space left on device",
            "retry",
        ),
    ] {
        server.reply_next([Reply::error(status, code, message)]);
        let answer = store.write(&[row("R", 1.0)]).await;
        let words = detail(&answer);
        assert_eq!(kind(&answer), expected, "{message}");
        assert!(words.ends_with(message) && !words.contains('{'), "{words}");
    }
    let timeout = "unexpected error writing points to database: timeout";
    server.reply_next([Reply::error(500, "internal error", timeout).forwarding(Forward::All)]);
    assert_eq!(kind(&store.write(&[row("R", 1.0)]).await), "retry");
    assert_eq!(server.count(), 1);
    store.write(&[row("R", 1.0)]).await.unwrap();
    assert_eq!(
        (server.count(), server.changed()),
        (1, 0),
        "the repeat changed something"
    );
}

#[tokio::test]
async fn retry_after_header_is_not_available() {
    let server = InfluxProxy::start();
    server.reply_next([Reply::status(503, "").header("Retry-After", "7")]);
    assert_eq!(kind(&store(&server).write(&[row("R", 1.0)]).await), "retry");
}

#[tokio::test]
async fn a_refused_row_is_rejected() {
    let twenty_years = Duration::from_hours(20 * 365 * 24);
    let server = InfluxProxy::with_retention(Some(twenty_years));
    let store = store(&server);
    let mut rows = [row("GOOD", 1.0), row("BAD", 2.0)];
    server.reply_by(|write| Reply::unparsable(write, |line| line.contains("BAD")));
    let answer = store.write(&rows).await;
    let words = detail(&answer);
    assert_eq!(kind(&answer), "rejected");
    assert!(
        words.contains("unable to parse 'rig_measurements,rig_id=BAD"),
        "{words}"
    );
    assert_eq!(server.count(), 0);

    server.reply_by_nothing();
    rows[1].timestamp = Timestamp::from_nanos(0);
    let answer = store.write(&rows).await;
    let words = detail(&answer);
    assert_eq!(kind(&answer), "rejected");
    assert!(words.contains("outside retention policy"), "{words}");
    assert_eq!(server.count(), 1);

    let line = format!("rig_measurements,rig_id=X pressure=1i {TICK}");
    InfluxDb::shared().write(server.bucket(), &line);
    let mut conflicting = row("R", 1.0);
    conflicting.fields[0].0 = Name::new("pressure").unwrap();
    let words = detail(&store.write(&[conflicting]).await);
    assert!(words.contains("already exists as type"), "{words}");
}

#[tokio::test]
async fn row_that_cannot_be_encoded_is_rejected_without_a_request() {
    let server = InfluxProxy::start();
    let answer = store(&server)
        .write(&[row("R", 1.0), row("R", f64::NAN)])
        .await;
    assert_eq!(
        detail(&answer),
        "row 2 of 2: \"temp_inlet\" is NaN, which is no number that can be stored"
    );
    assert_eq!(kind(&answer), "rejected");
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn wrong_settings_are_denied_with_what_to_fix() {
    let server = InfluxProxy::start();
    let right = settings(&server);
    let token = |text: &str| Some(Secret::new(text));
    let read_only = InfluxDb::shared().create_token("read", server.bucket());
    for (wrong, variable, said) in [
        (
            InfluxSettings {
                token: token("secret-but-wrong"),
                ..right.clone()
            },
            "INFLUX_TOKEN",
            "unauthorized access",
        ),
        (
            InfluxSettings {
                token: None,
                ..right.clone()
            },
            "set INFLUX_TOKEN",
            "unauthorized access",
        ),
        (
            InfluxSettings {
                token: token(&read_only),
                ..right.clone()
            },
            "INFLUX_TOKEN",
            "insufficient permissions",
        ),
        (
            InfluxSettings {
                org: "nope".into(),
                ..right.clone()
            },
            "INFLUX_ORG",
            "\"nope\" not found",
        ),
        (
            InfluxSettings {
                bucket: "nö pe".into(),
                ..right.clone()
            },
            "INFLUX_BUCKET",
            "bucket \"nö pe\" not found",
        ),
    ] {
        let store = InfluxStore::new(&wrong).unwrap();
        // InfluxDB may close the connection of a request that it refuses before it has answered.
        let rows = [row("R", 1.0)];
        let write = async || store.write(&rows).await;
        let preflight = async || store.preflight().await;
        for answer in [answered(write).await, answered(preflight).await] {
            let words = detail(&answer);
            assert_eq!(kind(&answer), "denied", "{words}");
            assert!(words.contains(variable) && words.contains(said), "{words}");
        }
    }
    let no_org = InfluxStore::new(&InfluxSettings {
        org: String::new(),
        ..right
    })
    .unwrap();
    let words = detail(&no_org.preflight().await);
    assert!(
        words.contains("INFLUX_ORG") && words.contains("Please provide either"),
        "{words}"
    );
}

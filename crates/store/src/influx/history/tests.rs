//! What the server refuses, and servers that are unavailable, silent or something else.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::secret::Secret;
use common::settings::InfluxTls;
use model::{Layout, Name, Row, Timestamp};
use testkit::influx_proxy::Reply;
use testkit::influxdb::{ORG, TOKEN};
use testkit::{InfluxDb, InfluxProxy};

use crate::history::{History, Latest, Selection};
use crate::{InfluxHistory, InfluxSettings, InfluxStore, Measurement, ReadError, Store};

fn settings(url: String, bucket: &str) -> InfluxSettings {
    InfluxSettings {
        url,
        token: Some(Secret::new(TOKEN)),
        token_file: None,
        tls: InfluxTls::default(),
        org: ORG.into(),
        bucket: bucket.into(),
        timeout: Duration::from_secs(5),
    }
}

fn reader(settings: &InfluxSettings) -> InfluxHistory {
    InfluxHistory::new(settings, Measurement::default(), Layout::Rigs).unwrap()
}

fn behind(server: &InfluxProxy) -> InfluxHistory {
    reader(&settings(server.url(), server.bucket()))
}

/// The error's kind, without its message.
fn kind(answer: &Result<Vec<Latest>, ReadError>) -> &'static str {
    match answer {
        Ok(_) => "ok",
        Err(ReadError::Unavailable { .. }) => "unavailable",
        Err(ReadError::BadRequest { .. }) => "bad request",
        Err(ReadError::Denied { .. }) => "denied",
    }
}

fn detail(answer: &Result<Vec<Latest>, ReadError>) -> String {
    answer.as_ref().unwrap_err().to_string()
}

#[tokio::test]
async fn every_status_maps_to_the_next_step() {
    let server = InfluxProxy::start();
    let history = behind(&server);
    for (status, expected) in [
        (202, "unavailable"),
        (302, "unavailable"),
        (400, "bad request"),
        (401, "denied"),
        (403, "denied"),
        (404, "denied"),
        (408, "unavailable"),
        (413, "bad request"),
        (422, "bad request"),
        (429, "unavailable"),
        (499, "unavailable"),
        (500, "unavailable"),
        (503, "unavailable"),
    ] {
        server.reply_next([Reply::error(status, "code", "what the server says")]);
        let answer = history.latest("R").await;
        assert_eq!(kind(&answer), expected, "{status}: {answer:?}");
        let words = detail(&answer);
        assert!(words.contains(&status.to_string()), "{words}");
        assert!(words.contains("what the server says"), "{words}");
    }
}

#[tokio::test]
async fn what_an_operator_has_to_check_is_named() {
    let server = InfluxDb::shared();
    let bucket = server.create_bucket(None);
    let good = settings(server.url(), &bucket);
    assert_eq!(kind(&reader(&good).latest("R").await), "ok");
    let token = |token: Option<String>| InfluxSettings {
        token: token.map(Secret::new),
        ..good.clone()
    };
    let bad = [
        (
            settings(server.url(), "nowhere"),
            "INFLUX_BUCKET (\"nowhere\")",
        ),
        (token(None), "set INFLUX_TOKEN"),
        (token(Some("wrong".into())), "check INFLUX_TOKEN"),
        (
            token(Some(server.create_token("write", &bucket))),
            "INFLUX_TOKEN has to be one that may read the bucket",
        ),
        (
            InfluxSettings {
                org: "nobody".into(),
                ..good.clone()
            },
            "INFLUX_ORG (\"nobody\")",
        ),
    ];
    for (settings, part) in bad {
        let answer = reader(&settings).latest("R").await;
        assert_eq!(kind(&answer), "denied", "{answer:?}");
        assert!(detail(&answer).contains(part), "{answer:?}");
    }
    let reading = token(Some(server.create_token("read", &bucket)));
    assert_eq!(kind(&reader(&reading).latest("R").await), "ok");
}

#[tokio::test]
async fn unavailable_server_is_unavailable() {
    let mut server = InfluxProxy::start();
    let history = behind(&server);
    assert_eq!(kind(&history.latest("R").await), "ok");
    server.stop();
    // The first may find a connection that was cut, the second finds no server.
    assert_eq!(kind(&history.latest("R").await), "unavailable");
    let answer = history.latest("R").await;
    assert_eq!(kind(&answer), "unavailable");
    let words = detail(&answer);
    assert!(
        words.contains(&server.url()) && words.contains("refused"),
        "{words}"
    );
    server.restart();
    assert_eq!(kind(&history.latest("R").await), "ok");
    server.reply_next([Reply::cut()]);
    assert_eq!(kind(&history.latest("R").await), "unavailable");
}

#[tokio::test]
async fn timeout_is_enforced() {
    let server = InfluxProxy::start();
    let mut settings = settings(server.url(), server.bucket());
    settings.timeout = Duration::from_millis(200);
    let history = reader(&settings);
    for (reply, part) in [
        (Reply::silence(), "didn't respond within 200ms"),
        (Reply::drip(200), "didn't respond within 200ms"),
        (Reply::drip(500), "answered 500"),
    ] {
        server.reply_next([reply]);
        let started = Instant::now();
        let answer = history.latest("R").await;
        assert_eq!(kind(&answer), "unavailable");
        assert!(detail(&answer).contains(part), "{answer:?}");
        let took = started.elapsed();
        assert!(took < Duration::from_secs(30), "{took:?}");
    }
}

#[tokio::test]
async fn error_within_a_response_is_an_error() {
    let server = InfluxProxy::start();
    let history = behind(&server);
    let points = "#datatype,string,long,dateTime:RFC3339,double,string,string\r\n\
        ,result,table,_time,_value,_field,rig_id\r\n\
        ,_result,0,1970-01-01T00:00:01Z,1.5,temp,R\r\n\r\n";
    let error =
        "#datatype,string,string\r\n,error,reference\r\n,memory allocation limit reached,\r\n";
    server.reply_next([Reply::status(200, points)]);
    assert_eq!(history.latest("R").await.unwrap()[0].value, 1.5.into());
    for (body, part) in [
        (
            format!("{points}{error}"),
            "memory allocation limit reached",
        ),
        (error.to_owned(), "memory allocation limit reached"),
        (points[..points.len() - 5].to_owned(), "can't be read"),
        (format!("<html>Token {TOKEN}</html>\n"), "can't be read"),
    ] {
        server.reply_next([Reply::status(200, body)]);
        let answer = history.latest("R").await;
        assert_eq!(kind(&answer), "unavailable", "{answer:?}");
        assert!(detail(&answer).contains(part), "{answer:?}");
        assert!(!detail(&answer).contains(TOKEN), "{answer:?}");
    }
}

#[tokio::test]
async fn tokens_are_hidden_and_redirects_not_followed() {
    let (server, elsewhere) = (InfluxProxy::start(), InfluxProxy::start());
    let history = behind(&server);
    assert!(!format!("{history:?}").contains(TOKEN));
    let target = format!("{}/api/v2/query?org={ORG}", elsewhere.url());
    for status in [301, 302, 303, 307, 308] {
        server.reply_next([Reply::status(status, "").header("Location", &target)]);
        let words = detail(&history.latest("R").await);
        assert!(words.contains("INFLUX_URL"), "{words}");
    }
    assert!(elsewhere.requests().is_empty());
    let page = format!("Authorization: Token {TOKEN}{}", "\u{e9}".repeat(200_000));
    for status in [400, 401, 500] {
        server.reply_next([Reply::status(status, page.as_str())]);
        let words = detail(&history.latest("R").await);
        assert!(
            words.contains("Token ***") && !words.contains(TOKEN),
            "{words}"
        );
        assert!(words.len() < 2_500, "{} bytes", words.len());
    }
}

/// The scripts that the server receives for whatever is asked for.
async fn scripts(server: &InfluxProxy, series: &str, field: &str) -> BTreeSet<String> {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let record = Arc::clone(&seen);
    server.reply_by(move |request| {
        let body: serde_json::Value = serde_json::from_slice(request.text().as_bytes()).ok()?;
        let script = body["query"].as_str()?.to_owned();
        record.lock().unwrap().insert(script);
        None
    });
    let history = InfluxHistory::new(
        &settings(server.url(), server.bucket()),
        Measurement::new("m").unwrap(),
        Layout::Tagged,
    );
    let history = history.unwrap();
    let fields = [field.to_owned()];
    let of = Selection {
        series,
        fields: &fields,
        from: Timestamp::from_millis(0),
        to: Timestamp::from_millis(10_000),
    };
    assert_eq!(history.range(of, 5).await.unwrap().rows.len(), 1);
    assert_eq!(history.newest(of, 5).await.unwrap().rows.len(), 1);
    history.buckets(of, Duration::from_secs(1)).await.unwrap();
    history.statistics(of).await.unwrap();
    assert_eq!(history.latest(series).await.unwrap().len(), 1);
    history.fields(Some(series)).await.unwrap();
    history.series().await.unwrap();
    server.reply_by_nothing();
    seen.lock().unwrap().clone()
}

#[tokio::test]
async fn nothing_of_a_request_is_in_a_script() {
    let server = InfluxProxy::start();
    let store = InfluxStore::new(&settings(server.url(), server.bucket())).unwrap();
    let store = store.with_measurement(Measurement::new("m").unwrap());
    let mut seen = BTreeSet::new();
    let strange = "x\") |> yield(name: \"${p_bucket}\") //";
    for name in ["plain", strange] {
        let name = Name::new(name).unwrap();
        let row = Row {
            tags: vec![(name.clone(), name.clone())],
            timestamp: Timestamp::from_millis(1_000),
            fields: vec![(name.clone(), 1.5.into())],
        };
        store.write(std::slice::from_ref(&row)).await.unwrap();
        let key = Layout::Tagged.series_key(&row.tags);
        let scripts = scripts(&server, &key, &name).await;
        assert!(scripts.len() > 2, "{scripts:?}");
        assert!(seen.is_empty() || seen == scripts);
        assert!(!format!("{scripts:?}").contains("plain"));
        seen = scripts;
    }
}

//! A real InfluxDB, and the proxy in front of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use testkit::influx_proxy::{Forward, Reply};
use testkit::influxdb::{BUCKET, ORG, TOKEN};
use testkit::{InfluxDb, InfluxProxy, http_get};

const LINES: &str = "m,k=a x=1 1\nm,k=b x=2 2\nm,k=c x=3 3";

/// Writes lines through the proxy; returns the status, or `None` without a response within a second.
fn write(proxy: &InfluxProxy, lines: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(proxy.url().strip_prefix("http://")?).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    write!(
        stream,
        "POST /api/v2/write?org={ORG}&bucket={} HTTP/1.1\r\nAuthorization: Token {TOKEN}\r\n\
         Content-Length: {}\r\n\r\n{lines}",
        proxy.bucket(),
        lines.len()
    )
    .ok()?;
    stream.shutdown(Shutdown::Write).ok()?;
    let (mut answer, begun) = (Vec::new(), Instant::now());
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece).ok()? {
            0 => break,
            _ if begun.elapsed() > Duration::from_secs(1) => return None,
            count => answer.extend_from_slice(&piece[..count]),
        }
    }
    let answer = String::from_utf8(answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

#[test]
fn influxdb_keeps_its_data_over_restarts() {
    let mut server = InfluxDb::start();
    server.write(BUCKET, "m,k=a\\ b x=1.5,y=-0.1 7");
    server.kill();
    assert!(http_get(server.port(), "/health").is_err());
    server.restart();
    let points = server.points(BUCKET);
    assert_eq!(points.len(), 2);
    let point = &points[0];
    assert_eq!((point.measurement.as_str(), point.nanos), ("m", 7));
    assert_eq!(point.tags["k"], "a b");
    assert_eq!((point.field.as_str(), point.value), ("x", 1.5));
    let sums = "range(start: 0) |> sum() |> group() |> sort(columns: [\"_field\"])";
    let rows = server.query(&format!("from(bucket: \"{BUCKET}\") |> {sums}"));
    let sums: Vec<_> = rows.iter().map(|row| row["_value"].as_str()).collect();
    assert_eq!(sums, ["1.5", "-0.1"]);
    assert!(server.accepts_password("admin", "password"));
    assert!(!server.accepts_password("admin", "another one"));
}

#[test]
fn influxdb_returns_every_value_that_was_ever_written() {
    let mut server = InfluxDb::start();
    for value in [1.5, 0.1 + 0.2, f64::MAX, 1.5] {
        server.write(BUCKET, &format!("m,k=a x={value:e},y=1 7"));
        server.write(BUCKET, "other,k=a x=7 7");
        server.kill();
        server.restart();
    }
    let written = server.written("m").into_iter();
    let of_x = written.filter(|point| point.field == "x");
    let values: Vec<_> = of_x
        .map(|point| {
            assert_eq!((point.tags["k"].as_str(), point.nanos), ("a", 7));
            point.value
        })
        .collect();
    assert_eq!(values, [1.5, 0.1 + 0.2, f64::MAX, 1.5]);
    assert_eq!(server.points(BUCKET).len(), 3);
}

#[test]
fn buckets_have_separate_rows_tokens_and_retention() {
    let server = InfluxDb::shared();
    let (one, other) = (server.create_bucket(None), server.create_bucket(None));
    server.write(&one, LINES);
    assert_eq!(
        (server.points(&one).len(), server.points(&other).len()),
        (3, 0)
    );
    let token = format!("Token {}", server.create_token("read", &one));
    let (_, seen) = server.ask_as(&token, "GET", "/api/v2/buckets", &serde_json::Value::Null);
    let names: Vec<_> = seen["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| &b["name"])
        .collect();
    assert_eq!(names, [one.as_str()]);
}

#[test]
fn proxy_forwards_and_replies() {
    let mut proxy = InfluxProxy::start();
    assert_eq!(write(&proxy, LINES), Some(204));
    assert_eq!(write(&proxy, "m x="), Some(400), "the server's own answer");
    proxy.reply_next([
        Reply::status(503, "busy"),
        Reply::cut(),
        Reply::silence(),
        Reply::drip(200),
    ]);
    let replies = [0; 4].map(|_| write(&proxy, "m,k=d x=4 4"));
    assert_eq!(replies, [Some(503), None, None, None]);
    assert_eq!(proxy.count(), 3);
    proxy.reply_next([
        Reply::cut().forwarding(Forward::EveryOtherLine),
        Reply::status(500, "").forwarding(Forward::All),
    ]);
    let lines = LINES.replace("k=", "k=z");
    assert_eq!(write(&proxy, &lines), None);
    assert_eq!(proxy.count(), 5);
    assert_eq!(write(&proxy, &lines), Some(500));
    assert_eq!((proxy.count(), proxy.changed()), (6, 0));
    assert_eq!(write(&proxy, "m,k=a x=2 1"), Some(204));
    assert_eq!(proxy.changed(), 1);
    proxy.reply_by(|write| Reply::unparsable(write, |line| line.contains("k=b")));
    assert_eq!(write(&proxy, LINES), Some(400));
    proxy.reply_by(|write| Reply::too_large(write, 12));
    assert_eq!(
        [write(&proxy, LINES), write(&proxy, "m,k=a x=2 1")],
        [Some(413), Some(204)]
    );
    proxy.reply_by_nothing();
    let statuses: Vec<_> = proxy.received().iter().map(|write| write.status).collect();
    assert_eq!(
        statuses,
        [204, 400, 503, 0, 0, 200, 0, 500, 204, 400, 413, 204]
    );
    proxy.stop();
    assert_eq!(write(&proxy, LINES), None);
    proxy.restart();
    assert_eq!(write(&proxy, LINES), Some(204));
}

#[test]
fn proxy_counts_requests_and_goes_down() {
    let proxy = InfluxProxy::start();
    proxy.slow_down(Duration::from_millis(1));
    proxy.reply_at(2, Reply::cut());
    assert_eq!(write(&proxy, LINES), Some(204));
    assert!(!proxy.has_replied());
    assert_eq!(write(&proxy, LINES), None);
    assert!(proxy.has_replied());
    proxy.reply_at_and_go_down(1, Reply::status(503, ""));
    assert_eq!([0; 2].map(|_| write(&proxy, LINES)), [Some(503), None]);
    proxy.revive();
    assert_eq!(write(&proxy, LINES), Some(204));
    assert_eq!(proxy.requests(), ["POST /api/v2/write"; 4]);
}

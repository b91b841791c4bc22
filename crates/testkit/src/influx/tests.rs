use std::io::{Read, Write};
use std::net::TcpStream;

use super::{BUCKET, Influx, ORG, READ_TOKEN, Refusal, Reply, Stores, TOKEN, Value, parse_line};

/// Status and body of a write.
fn write(server: &Influx, query: &str, token: &str, lines: &str) -> (u16, String) {
    let address = server.url().replace("http://", "");
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(
        stream,
        "POST /api/v2/write?{query} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Token {token}\r\n\
         Content-Length: {}\r\n\r\n{lines}",
        lines.len()
    )
    .unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.into(),
    )
}

#[test]
fn lines_are_read_as_the_recorded_server_reads_them() {
    let point = parse_line(r"m\ 1,a\,b=c\=d,e=f\g x=1,y\ z=-2.5e3,n=7i 42", 1).unwrap();
    assert_eq!(point.key.measurement, "m 1");
    assert_eq!(point.key.tags["a,b"], "c=d");
    assert_eq!(point.key.tags["e"], r"f\g");
    assert_eq!(
        point.fields,
        [
            ("x".into(), Value::Float(1.0)),
            ("y z".into(), Value::Float(-2500.0)),
            ("n".into(), Value::Integer(7)),
        ]
    );
    assert_eq!(point.key.nanos, 42);
    assert_eq!(parse_line("m v=1 42", 1_000).unwrap().key.nanos, 42_000);
    let range = "time outside range -9223372036854775806 - 9223372036854775806";
    for (line, why) in [
        (",a=b v=1 1", "missing measurement"),
        ("m", "missing fields"),
        ("m,a=b", "missing fields"),
        ("m,=b v=1 1", "missing tag key"),
        ("m,a= v=1 1", "missing tag value"),
        ("m,a v=1 1", "missing tag value"),
        ("m,a=b=c v=1 1", "invalid tag format"),
        ("m,a=b,a=c v=1 1", "duplicate tags"),
        (r"m,a=b\ v=1 1", "invalid tag format"),
        ("m v 1", "invalid field format"),
        ("m =1 1", "missing field key"),
        ("m v= 1", "missing field value"),
        ("m v=NaN 1", "invalid number"),
        ("m v=1x 1", "invalid number"),
        ("m v=inf 1", "invalid boolean"),
        ("m v=+1 1", "invalid boolean"),
        ("m v=1e400 1", "invalid float"),
        ("m v=1 1.5", "bad timestamp"),
        ("m v=1 1\r", "bad timestamp"),
        ("m v=1 9223372036854775807", range),
    ] {
        assert_eq!(parse_line(line, 1), Err(why.to_owned()), "{line}");
    }
    assert_eq!(
        parse_line("m v=1 1700000000000", 1_000_000_000).unwrap_err(),
        range
    );
}

#[test]
fn stores_merges_and_answers_as_recorded() {
    let server = Influx::start();
    let right = format!("org={ORG}&bucket={BUCKET}&precision=s");
    assert_eq!(write(&server, &right, TOKEN, "m,k=a x=1,y=1 1\n").0, 204);
    assert_eq!(write(&server, &right, TOKEN, "m,k=a y=2,z=2 1\n").0, 204);
    let points = server.points();
    let (key, fields) = points.first_key_value().unwrap();
    assert_eq!((key.nanos, points.len()), (1_000_000_000, 1));
    let values: Vec<_> = fields.values().copied().collect();
    assert_eq!(values, [1.0, 2.0, 2.0].map(Value::Float));
    assert_eq!(server.changed(), 1);

    let (status, body) = write(&server, &right, TOKEN, "m v=1 2\nm v=x 2\nm v=1x 3");
    assert_eq!(status, 400);
    assert_eq!(
        body,
        r#"{"code":"invalid","message":"unable to parse 'm v=x 2': invalid boolean\nunable to parse 'm v=1x 3': invalid number"}"#
    );
    let (status, body) = write(&server, &right, TOKEN, "m x=1i 2\nm x=1 3");
    assert_eq!(status, 422);
    assert!(
        body.contains(r#"input field \"x\" on measurement \"m\" is type integer, already exists as type float dropped=1"#),
        "{body}"
    );
    assert_eq!(server.count(), 2, "422 stores the rest, 400 nothing");
    for (query, token, status) in [
        (right.as_str(), "wrong", 401),
        (&right, READ_TOKEN, 403),
        ("org=my-org&bucket=nope", TOKEN, 404),
        ("org=my-org", TOKEN, 404),
        ("org=nope&bucket=rigs", TOKEN, 404),
        ("bucket=rigs", TOKEN, 400),
        (&right, TOKEN, 204),
    ] {
        assert_eq!(
            write(&server, query, token, "").0,
            status,
            "{query} {token}"
        );
    }
}

#[test]
fn fails_on_command() {
    let mut server = Influx::start();
    let query = format!("org={ORG}&bucket={BUCKET}");
    let status = |server: &Influx, lines| write(server, &query, TOKEN, lines).0;
    server.refuse(Refusal::OutsideRetention, |line| line.contains("bad"));
    assert_eq!(status(&server, "m bad=1 1\nm v=1 2"), 422);
    assert_eq!(server.count(), 1);
    server.refuse(Refusal::Unreadable, |line| line.contains("bad"));
    assert_eq!(status(&server, "m bad=1 3\nm v=1 4"), 400);
    assert_eq!(server.count(), 1);
    server.refuse_nothing();
    server.limit_body(Some(10));
    assert_eq!(status(&server, "m bad=1 3\nm v=1 4"), 413);
    server.limit_body(None);
    server.reply_next([Reply::status(500, "").storing(Stores::EveryOther)]);
    assert_eq!(status(&server, "m v=1 5\nm v=1 6\nm v=1 7"), 500);
    assert_eq!(server.count(), 3);
    server.reply_always(Some(Reply::status(503, "")));
    assert_eq!(status(&server, ""), 503);
    server.reply_always(None);
    server.restart();
    assert_eq!(status(&server, "m v=1 8"), 204);
    assert_eq!(server.count(), 4, "a restart keeps the data");
    assert_eq!(server.received()[0].lines, 2);
}

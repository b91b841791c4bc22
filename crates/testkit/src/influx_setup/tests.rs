use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::{Break, Forward, InfluxSetupServer, State};

/// Status and body; nothing if there was no answer.
fn ask(server: &InfluxSetupServer, what: &str, token: &str, body: &str) -> Option<(u16, Value)> {
    let address = server.url().replace("http://", "");
    let mut stream = TcpStream::connect(&address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{what} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Token {token}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).unwrap_or(Value::Null)))
}

const SETUP: &str = r#"{"username":"admin","password":"password","org":"o","bucket":"b","token":"op","retentionPeriodSeconds":60}"#;

fn set_up() -> InfluxSetupServer {
    let server = InfluxSetupServer::start();
    let made = ask(&server, "POST /api/v2/setup", "", SETUP).unwrap();
    assert_eq!(made.0, 201);
    assert_eq!(made.1["auth"]["token"], "op");
    server
}

fn make_token(server: &InfluxSetupServer, action: &str) -> (String, String) {
    let state = server.state();
    let (org, bucket) = (&state.organisations[0].id, &state.buckets[0].id);
    let resource = json!({ "type": "buckets", "id": bucket, "orgID": org });
    let permissions = json!([{ "action": action, "resource": resource }]);
    let body = json!({ "orgID": org, "description": action, "permissions": permissions });
    let made = ask(
        server,
        "POST /api/v2/authorizations",
        "op",
        &body.to_string(),
    )
    .unwrap();
    assert_eq!(made.0, 201, "{}", made.1);
    let text = |name: &str| made.1[name].as_str().unwrap().to_owned();
    (text("id"), text("token"))
}

#[test]
fn it_is_set_up_once() {
    let server = InfluxSetupServer::start();
    let allowed = || ask(&server, "GET /api/v2/setup", "", "").unwrap();
    assert_eq!(allowed(), (200, json!({ "allowed": true })));
    let short = SETUP.replace("\"password\",", "\"short\",");
    assert_eq!(
        ask(&server, "POST /api/v2/setup", "", &short).unwrap().0,
        400
    );
    assert_eq!(allowed().1["allowed"], true);
    assert_eq!(
        ask(&server, "POST /api/v2/setup", "", SETUP).unwrap().0,
        201
    );
    assert_eq!(allowed().1["allowed"], false);
    let again = ask(&server, "POST /api/v2/setup", "", SETUP).unwrap();
    assert_eq!(again.0, 422);
    assert_eq!(again.1["message"], "onboarding has already been completed");
}

#[test]
fn tokens_are_told_once_and_may_do_one_thing() {
    let server = set_up();
    let (_, writer) = make_token(&server, "write");
    let (id, reader) = make_token(&server, "read");
    let listed = ask(&server, "GET /api/v2/authorizations", "op", "")
        .unwrap()
        .1;
    let values = listed["authorizations"].as_array().unwrap();
    assert_eq!(values.len(), 3);
    assert!(
        values.iter().all(|entry| entry["token"] == ""),
        "{values:?}"
    );
    let query = r#"{"query":"from(bucket: \"b\") |> range(start: -1s)"}"#;
    let status = |what: &str, token: &str, body: &str| ask(&server, what, token, body).unwrap().0;
    let (write, read) = (
        "POST /api/v2/write?org=o&bucket=b",
        "POST /api/v2/query?org=o",
    );
    for (token, write_status, read_status) in [
        (writer.as_str(), 204, 404),
        (&reader, 403, 200),
        ("op", 204, 200),
        ("unknown", 401, 401),
    ] {
        assert_eq!(status(write, token, ""), write_status, "{token}");
        assert_eq!(status(read, token, query), read_status, "{token}");
        let makes = status("POST /api/v2/orgs", token, r#"{"name":"o"}"#);
        assert_eq!(makes, if token == "op" { 422 } else { 401 }, "{token}");
    }
    for (what, expected) in [
        ("POST /api/v2/write?org=o&bucket=nope", 404),
        ("POST /api/v2/write?org=nope&bucket=b", 404),
        ("POST /api/v2/write?bucket=b", 400),
        ("GET /api/v2/orgs?org=nope", 404),
        ("GET /api/v2/orgs?org=o", 200),
        ("GET /api/v2/users?name=nope", 404),
        ("GET /api/v2/buckets?name=nope", 404),
    ] {
        assert_eq!(status(what, "op", ""), expected, "{what}");
    }
    let delete = format!("DELETE /api/v2/authorizations/{id}");
    assert_eq!(status(&delete, "op", ""), 204);
    assert_eq!(status(&delete, "op", ""), 404);
    assert_eq!(status(write, &reader, ""), 401);
}

#[test]
fn breaks_off_on_command() {
    let server = InfluxSetupServer::start();
    server.break_at(1, Break::Before);
    assert_eq!(ask(&server, "POST /api/v2/setup", "", SETUP), None);
    assert!(server.has_broken() && server.state() == State::default());
    server.break_at(1, Break::Status(503));
    assert_eq!(
        ask(&server, "POST /api/v2/setup", "", SETUP).unwrap().0,
        503
    );
    server.break_down_at(1, Break::After);
    assert_eq!(ask(&server, "POST /api/v2/setup", "", SETUP), None);
    assert_eq!(server.state().tokens.len(), 1);
    assert_eq!(ask(&server, "GET /health", "", ""), None);
    server.revive();
    assert_eq!(ask(&server, "GET /health", "", "").unwrap().0, 200);
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn templates_are_checked() {
    let server = set_up();
    let org = server.state().organisations[0].id.clone();
    let apply = |chart: &Value| {
        let spec = json!({ "name": "mine", "charts": [chart] });
        let object = json!({ "apiVersion": "influxdata.com/v2alpha1", "kind": "Dashboard", "metadata": { "name": "mine" }, "spec": spec });
        let body = json!({ "orgID": org, "template": { "contents": [object] } });
        ask(
            &server,
            "POST /api/v2/templates/apply",
            "op",
            &body.to_string(),
        )
        .unwrap()
    };
    let axes = json!([{ "name": "x" }, { "name": "y" }]);
    let good = json!({ "kind": "XY", "geom": "line", "width": 1, "height": 1, "axes": axes });
    assert_eq!(apply(&good).0, 201);
    for (field, bad) in [
        ("kind", json!("Pie")),
        ("width", json!(0)),
        ("axes", json!([])),
    ] {
        let mut chart = good.clone();
        chart[field] = bad;
        assert_eq!(apply(&chart).0, 422, "{field}");
    }
    assert_eq!(server.state().dashboards.len(), 1);
}

#[test]
fn a_forward_is_a_host_and_a_port() {
    for good in [
        "http://127.0.0.1:8428",
        "http://victoria-metrics:8428/",
        "http://[::1]:1",
    ] {
        assert!(Forward::to(good).is_some(), "{good}");
    }
    for bad in [
        "127.0.0.1:8428",
        "http://host",
        "http://:1",
        "https://host:1",
    ] {
        assert!(Forward::to(bad).is_none(), "{bad}");
    }
}

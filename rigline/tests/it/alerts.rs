//! Alerts of a pipeline file in the one process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value as Json;
use testkit::{mqtt_client, wait_until};

use crate::fixture::{SOON, Up};

/// An HTTP server that takes every event and keeps its body.
struct Receiver {
    addr: SocketAddr,
    bodies: Arc<Mutex<Vec<Json>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bodies);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                kept.lock().unwrap().push(receive(connection.unwrap()));
            }
        });
        Self { addr, bodies }
    }

    /// The states of the events, without repeated deliveries.
    fn states(&self) -> Vec<String> {
        let mut events = self.bodies.lock().unwrap().clone();
        events.dedup_by(|later, earlier| later["id"] == earlier["id"]);
        let states = events.iter();
        states
            .map(|event| event["state"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn receive(mut connection: TcpStream) -> Json {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let answer = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    connection.write_all(answer.as_bytes()).unwrap();
    serde_json::from_slice(&body).unwrap()
}

fn publish(up: &Up, value: f64) {
    let mut client = mqtt_client("mosquitto_pub", up.port);
    client.args([
        "-q",
        "1",
        "-t",
        "oven/a",
        "-m",
        &format!("{{\"t\":{value}}}"),
    ]);
    assert!(client.status().unwrap().success());
}

/// What the API shows.
fn alerts(up: &Up) -> Json {
    let logs = up.stage.logs_with("curl http://");
    let (_, address) = logs.split_once("curl http://").unwrap();
    let (address, _) = address.split_once('/').unwrap();
    let path = "/api/v1/pipelines/oven/alerts";
    let shown = common::admin::check(address.parse().unwrap(), path).unwrap();
    serde_json::from_str(&shown).unwrap()
}

fn wait_for_state(up: &Up, state: &str) -> Json {
    let mut shown = Json::Null;
    let found = wait_until(SOON, || {
        shown = alerts(up);
        shown["states"][0]["state"] == state
    });
    assert!(found, "{state}: {shown:#}\n{}", up.stage.logs());
    shown
}

#[test]
fn alert_is_shown_and_posted_and_outlives_a_kill() {
    let receiver = Receiver::start();
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("oven.toml");
    let text = format!(
        "name = \"oven\"\n[source]\ntopic = \"oven/{{oven}}\"\n[message]\nfields = {{ t = \"/t\" }}\n[[alert]]\n\
         name = \"hot\"\nfield = \"t\"\nabove = 90\nclear_below = 85\nwebhooks = [\"http://{}/hook\"]\n",
        receiver.addr
    );
    std::fs::write(&path, text).unwrap();
    let settings = [("PIPELINES", path.to_str().unwrap())];
    let up = Up::start(&settings);
    publish(&up, 20.0);
    wait_for_state(&up, "ok");
    publish(&up, 95.5);
    let shown = wait_for_state(&up, "firing");
    assert_eq!(shown["rules"][0]["condition"], "above 90, clears below 85");
    assert_eq!(shown["states"][0]["value"], 95.5);
    assert_eq!(shown["states"][0]["series"], r#"{"oven":"a"}"#);
    assert!(wait_until(SOON, || receiver.states() == ["firing"]));
    let event = receiver.bodies.lock().unwrap()[0].clone();
    assert_eq!(event["id"], shown["events"][0]["id"]);
    assert_eq!(event["tags"]["oven"], "a");
    for line in [
        "rigline_alerts_firing{pipeline=\"oven\"} 1",
        "rigline_alert_events_total{pipeline=\"oven\",state=\"firing\"} 1",
        "rigline_webhook_deliveries_total{outcome=\"delivered\"} 1",
    ] {
        // A delivery counts when the receiver's answer is there, which is after the receiver has it.
        let is_there = || up.stage.get("/metrics").contains(line);
        assert!(
            wait_until(SOON, is_there),
            "{line}\n{}",
            up.stage.get("/metrics")
        );
    }

    let up = Up::start_in(up.kill(), &settings);
    let again = wait_for_state(&up, "firing");
    assert_eq!(again["events"], shown["events"]);
    assert_eq!(again["states"], shown["states"]);
    publish(&up, 80.0);
    let shown = wait_for_state(&up, "resolved");
    assert_eq!(shown["events"].as_array().unwrap().len(), 2);
    assert!(wait_until(SOON, || receiver.states() == ["firing", "resolved"]));
    let ledger = up.run_ok(&["ledger", "--pipeline", "oven"]);
    assert!(ledger.contains("balanced"), "{ledger}");
    let ready = up.stage.get("/readyz");
    assert!(ready.contains("\"stage\":\"alerts/oven\""), "{ready}");
    drop(up.stop());
}

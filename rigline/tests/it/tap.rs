//! The command `tap`, on Redis, on a data directory and on a broker.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use common::clock::Clock;
use model::Stage;
use model::dead_letter::{Reason, Rejection, encode};
use queue::redis::RedisQueue;
use queue::{Append, Commit, Queue};
use rustix::process::{Pid, Signal, kill_process};
use testkit::{Certificates, Mosquitto, Redis, free_port, mqtt_client, wait_until};

use crate::fixture::{SOON, Up, binary, payload, second, text};

/// A running command, whose lines are read as they come.
struct Tap {
    child: Child,
    lines: Receiver<String>,
}

impl Tap {
    fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.stdin(Stdio::null()).spawn().unwrap();
        let output: ChildStdout = child.stdout.take().unwrap();
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(SOON).unwrap()
    }

    /// Ends it as Ctrl-C does. Returns its further lines and its error output.
    fn interrupt(mut self) -> (Vec<String>, String) {
        let id = Pid::from_child(&self.child);
        kill_process(id, Signal::INT).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        let mut errors = String::new();
        let mut from = self.child.stderr.take().unwrap();
        from.read_to_string(&mut errors).unwrap();
        (self.lines.iter().collect(), errors)
    }
}

fn on_redis(redis: &Redis, args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("tap").args(args).env_clear();
    command.env("REDIS_HOST", "127.0.0.1");
    command.env("REDIS_PORT", redis.port().to_string());
    command
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn reading(rig: &str, value: u32) -> Vec<u8> {
    let time = "\"timestamp\":\"2027-01-01T00:00:00Z\",\"ingest_time\":\"2027-01-01T00:00:01Z\"";
    format!("{{\"rig_id\":\"{rig}\",\"sensor\":\"pressure\",\"value\":{value}.5,{time}}}")
        .into_bytes()
}

fn of_raw(values: impl IntoIterator<Item = u32>) -> Append {
    Append {
        raw: values
            .into_iter()
            .map(|value| reading("A", value))
            .collect(),
        ..Append::default()
    }
}

fn has_value(line: &str, value: u32) -> bool {
    line.contains(&format!("\"value\":{value}.5,"))
}

#[tokio::test]
async fn readings_in_redis_are_shown_once_and_those_that_left_are_counted() {
    let redis = Redis::start();
    let settings = queue::testing::redis_settings(redis.port());
    let queue = RedisQueue::new(&queue::testing::settings(), &settings).unwrap();
    let lease = queue.lease(Stage::Transformer, "nonce", SOON).await;
    let lease = lease.unwrap().unwrap();
    queue.append(&of_raw(0..20)).await.unwrap();
    queue
        .append(&Append {
            raw: vec![reading("B-7", 20), b"no json \x1b[2J".to_vec()],
            ..Append::default()
        })
        .await
        .unwrap();

    let last = out(&on_redis(&redis, &["raw", "--number", "3"])
        .output()
        .unwrap());
    let last: Vec<&str> = last.lines().collect();
    assert!(has_value(last[0], 19) && has_value(last[1], 20), "{last:?}");
    assert_eq!(last[2], "{\"element\":\"no json \\u001b[2J\"}");
    let of_b = out(&on_redis(&redis, &["raw", "--filter", "B-*"])
        .output()
        .unwrap());
    assert!(has_value(&of_b, 20) && of_b.lines().count() == 1, "{of_b}");
    let of_a = out(&on_redis(&redis, &["raw", "--filter", "A"])
        .output()
        .unwrap());
    assert!(has_value(&of_a, 10) && of_a.lines().count() == 10, "{of_a}");

    let tap = Tap::start(on_redis(&redis, &["raw", "--number", "1", "--follow"]));
    assert!(tap.line().contains("no json"));
    queue.append(&of_raw(30..33)).await.unwrap();
    for value in 30..33 {
        let line = tap.line();
        assert!(has_value(&line, value), "{line}");
    }
    // More than are read at once.
    queue.append(&of_raw(100..2_600)).await.unwrap();
    for value in 100..2_600 {
        let line = tap.line();
        assert!(has_value(&line, value), "{line}");
    }
    // Stopped while elements come and go, it can't have seen them.
    let id = Pid::from_child(&tap.child);
    kill_process(id, Signal::STOP).unwrap();
    let state = format!("/proc/{}/stat", tap.child.id());
    let is_stopped = || std::fs::read_to_string(&state).is_ok_and(|state| state.contains(") T "));
    assert!(wait_until(SOON, is_stopped));
    // Redis answers a request that was on its way before this one, so before there is more.
    let _ = redis.cli(&["PING"]);
    queue.append(&of_raw(3_000..3_004)).await.unwrap();
    let commit = Commit {
        take: 22 + 3 + 2_500 + 3,
        ..Commit::default()
    };
    queue.commit(&lease, &commit).await.unwrap();
    kill_process(id, Signal::CONT).unwrap();
    let line = tap.line();
    assert!(has_value(&line, 3_003), "{line}");
    // What was flushed starts from its head.
    let _ = redis.cli(&["FLUSHALL"]);
    queue.append(&of_raw([9])).await.unwrap();
    let line = tap.line();
    assert!(has_value(&line, 9), "{line}");
    let (rest, errors) = tap.interrupt();
    assert_eq!(rest, Vec::<String>::new());
    assert!(
        errors.contains("3 not shown: they left the list"),
        "{errors}"
    );
    assert!(errors.contains("flushed, emptied or replaced"), "{errors}");
    let taken = redis.cli(&["LLEN", "raw_events"]);
    assert_eq!(taken.trim(), "1", "tap takes nothing");
}

#[tokio::test]
async fn dead_letters_are_shown_once_also_if_others_are_not_kept_or_one_is_marked() {
    let redis = Redis::start();
    let settings = queue::testing::redis_settings(redis.port());
    let queue = RedisQueue::new(&queue::testing::settings(), &settings).unwrap();
    let letter = |payload: &str| {
        let rejection = Rejection::new(Reason::NotJson, "no JSON");
        let topic = "rigs/R/measurements/pressure";
        let now = Clock::system().now();
        encode(Stage::Ingester, &rejection, topic, payload.as_bytes(), now)
    };
    let append = async |payloads: &[&str], over_quota: usize| {
        let dead = payloads.iter().map(|payload| letter(payload)).collect();
        let append = Append {
            dead,
            over_quota,
            ..Append::default()
        };
        queue.append(&append).await.unwrap();
    };
    append(&["first", "second"], 0).await;
    let tap = Tap::start(on_redis(&redis, &["dead", "--follow"]));
    assert!(tap.line().contains("first"));
    assert!(tap.line().contains("second"));
    append(&[], 5).await;
    append(&["{\"value\":3}"], 1).await;
    assert!(tap.line().contains("value"));
    let mut replay = Command::new(binary());
    replay.args(["dlq", "replay", "--all"]).env_clear();
    replay.env("REDIS_HOST", "127.0.0.1");
    replay.env("REDIS_PORT", redis.port().to_string());
    let replayed = text(&replay.output().unwrap());
    assert!(replayed.contains("1 replayed, 2 not"), "{replayed}");
    append(&["fourth"], 0).await;
    assert!(tap.line().contains("fourth"));
    let (rest, errors) = tap.interrupt();
    assert_eq!(rest, Vec::<String>::new());
    assert!(errors.contains(" not shown"), "{errors}");
    let none = on_redis(&redis, &["dead", "--filter", "rigs/S/*"]).output();
    assert_eq!(out(&none.unwrap()), "");
}

#[test]
fn a_data_directory_is_read_beside_its_process_and_when_it_is_stopped() {
    let up = Up::start(&[("FLUSH_INTERVAL", "1h"), ("RIG_IDLE", "2h")]);
    up.publish("pressure", "no json");
    up.wait_for_output(&["tap", "dead"], "\"not_json\"");
    let mut command = Command::new(binary());
    command.args(["tap", "dead", "--follow"]).env_clear();
    command.env("RIGLINE_DATA", up.data());
    let tap = Tap::start(command);
    assert!(tap.line().contains("\"no json\""));
    up.publish("pressure", "also none");
    assert!(tap.line().contains("\"also none\""));
    let (rest, _) = tap.interrupt();
    assert_eq!(rest, Vec::<String>::new());
    // The listener has no subscriptions.
    let mut messages = Command::new(binary());
    messages.args(["tap", "messages"]).env_clear();
    messages.env("MQTT_HOST", "127.0.0.1");
    messages.env("MQTT_PORT", up.port.to_string());
    let refused = messages.output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused).contains("takes no subscriptions"));
    let data = up.data();
    let _dir = up.stop();
    let dead = crate::fixture::run(&data, &["tap", "dead", "--number", "1"]);
    assert!(out(&dead).contains("\"also none\""));
    assert_eq!(out(&crate::fixture::run(&data, &["tap", "rows"])), "");
}

#[test]
fn messages_of_the_one_process_are_shown_by_its_api() {
    let api = free_port();
    let up = Up::start(&[
        ("API_ADDR", &format!("127.0.0.1:{api}")),
        ("API_TOKEN", "a token of the tests"),
    ]);
    let command = |args: &[&str]| {
        let mut command = Command::new(binary());
        command.args(["tap", "messages"]).args(args).env_clear();
        command.env("API_URL", format!("http://127.0.0.1:{api}"));
        command
    };
    let refused = command(&[]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused).contains("answers 401"), "{}", text(&refused));
    let elsewhere = command(&["--api", "http://127.0.0.1:1"]).output().unwrap();
    assert_eq!(elsewhere.status.code(), Some(2));
    assert!(
        text(&elsewhere).contains("can't be read"),
        "{}",
        text(&elsewhere)
    );

    let mut all = command(&["--follow", "--filter", "*/pressure"]);
    let tap = Tap::start({
        all.env("API_TOKEN", "a token of the tests");
        all
    });
    // Until it watches, nothing is shown.
    let shown = wait_until(SOON, || {
        up.publish("pressure", "begin");
        tap.lines.try_recv().is_ok()
    });
    assert!(shown);
    while tap.lines.recv_timeout(Duration::from_secs(1)).is_ok() {}
    up.publish("flow_rate", "1");
    up.publish("pressure", "no json");
    let line: serde_json::Value = serde_json::from_str(&tap.line()).unwrap();
    assert_eq!(line["payload"], "no json");
    assert!(
        line["topic"].as_str().unwrap().ends_with("/pressure"),
        "{line}"
    );
    // What the process does with it is as without a watcher.
    up.wait_for_output(&["tap", "dead"], "no json");
    let (rest, _) = tap.interrupt();
    assert_eq!(rest, Vec::<String>::new());
    up.stop();
}

#[test]
fn an_api_at_https_that_is_not_trusted_comes_with_the_remedy() {
    let made = Certificates::new();
    made.issue("api", &["localhost"]);
    let (api, plain) = (free_port(), free_port());
    let file = |path: PathBuf| path.display().to_string();
    let up = Up::start(&[
        ("API_ADDR", &format!("127.0.0.1:{api}")),
        ("API_TLS_CERT_FILE", &file(made.certificate("api"))),
        ("API_TLS_KEY_FILE", &file(made.key("api"))),
    ]);
    let other = Up::start(&[("API_ADDR", &format!("127.0.0.1:{plain}"))]);
    let command = |host: &str, port: u16, ca: Option<&Certificates>| {
        let mut command = Command::new(binary());
        command.args(["tap", "messages", "--follow"]).env_clear();
        command.args(["--api", &format!("https://{host}:{port}")]);
        command.envs(ca.map(|made| ("API_CA_FILE", made.ca())));
        command
    };
    let untrusted = Certificates::new();
    for (host, port, ca, remedy) in [
        ("localhost", api, Some(&untrusted), "set API_CA_FILE"),
        ("127.0.0.1", api, Some(&made), "connect to a name in it"),
        ("localhost", plain, Some(&made), "speak TLS at this port"),
    ] {
        let refused = command(host, port, ca).output().unwrap();
        assert_eq!(refused.status.code(), Some(2));
        let said = text(&refused);
        assert!(said.contains(remedy) && said.contains(host), "{said}");
        assert!(!said.contains("API_SERVER_NAME"), "{said}");
    }
    let tap = Tap::start(command("localhost", api, Some(&made)));
    let is_shown = || {
        up.publish("pressure", "1");
        tap.lines.try_recv().is_ok()
    };
    assert!(wait_until(SOON, is_shown));
    tap.interrupt();
    up.stop();
    other.stop();
}

#[test]
fn messages_of_the_broker_are_shown_beside_other_subscribers() {
    let mosquitto = Mosquitto::start();
    let publish = |topic: &str, payload: &str, options: &[&str]| {
        let mut client = mqtt_client("mosquitto_pub", mosquitto.port());
        client
            .args(["-q", "1", "-t", topic, "-m", payload])
            .args(options);
        assert!(client.status().unwrap().success());
    };
    let reading = payload(second(), 2.5);
    publish("rigs/KEPT/measurements/pressure", &reading, &["-r"]);
    let command = |args: &[&str]| {
        let mut command = Command::new(binary());
        command.args(["tap", "messages"]).args(args).env_clear();
        command.env("MQTT_HOST", "127.0.0.1");
        command.env("MQTT_PORT", mosquitto.port().to_string());
        command
    };
    let one = out(&command(&["--number", "1"]).output().unwrap());
    let one: serde_json::Value = serde_json::from_str(&one).unwrap();
    assert_eq!(one["topic"], "rigs/KEPT/measurements/pressure");
    assert_eq!(one["retained"], true);
    assert_eq!(one["payload"], reading);

    // Both are subscribed once the retained message has arrived.
    let filters = ["--filter", "rigs/A/*", "--filter", "rigs/KEPT/*"];
    let tap = Tap::start(command(&[&["--follow"], &filters[..]].concat()));
    assert!(tap.line().contains("KEPT"));
    let mut other = mqtt_client("mosquitto_sub", mosquitto.port());
    other.args(["-t", "rigs/#", "-C", "3"]);
    let other = Tap::start(other);
    assert_eq!(other.line(), reading);
    publish("rigs/AB/measurements/pressure", "1", &[]);
    publish("rigs/A/measurements/pressure", "on \x1b[2J", &[]);
    let line = tap.line();
    assert!(
        line.contains("\"topic\":\"rigs/A/measurements/pressure\""),
        "{line}"
    );
    assert!(line.contains("\"payload\":\"on \\u001b[2J\""), "{line}");
    let (rest, _) = tap.interrupt();
    assert_eq!(rest, Vec::<String>::new());
    // The other subscriber has all of them.
    assert_eq!(other.line(), "1");
    assert_eq!(other.line(), "on \x1b[2J");
    let mut closed = command(&["--mqtt-port", "1"]);
    assert_eq!(closed.output().unwrap().status.code(), Some(2));
}

#[test]
fn a_reader_that_ends_ends_it_quietly() {
    let up = Up::start(&[]);
    for _ in 0..30 {
        up.publish("pressure", &"x".repeat(20_000));
    }
    up.wait_for_output(&["dlq", "list"], " of 30");
    let mut command = Command::new("sh");
    let script = "\"$0\" tap dead --number 30 | head -c 10";
    command
        .args(["-c", script])
        .arg(binary())
        .env("RIGLINE_DATA", up.data());
    let output = command.output().unwrap();
    assert_eq!(output.stdout.len(), 10);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

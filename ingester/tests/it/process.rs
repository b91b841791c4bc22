//! The ingester as a process.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use testkit::{Launch, Mosquitto, Redis, wait_until};

const SOON: Duration = Duration::from_secs(30);
/// More lines than the log's queue holds.
const MESSAGES: usize = 6_000;

#[test]
fn blocked_standard_error_does_not_stop_the_stage() {
    let (broker, redis) = (Mosquitto::start(), Redis::start());
    let (mut stage, output) = Launch::binary(Path::new(env!("CARGO_BIN_EXE_ingester")))
        .env("MQTT_HOST", "127.0.0.1")
        .env("MQTT_PORT", &broker.port().to_string())
        .env("REDIS_HOST", "127.0.0.1")
        .env("REDIS_PORT", &redis.port().to_string())
        .env("RUST_LOG", "debug")
        .spawn_blocked();
    assert!(stage.ready(SOON));
    // Each becomes a dead letter with a log line.
    let mut client = broker.client("mosquitto_pub");
    client.args(["-q", "1", "-l", "-t", "rigs/RIG-1/measurements/temp"]);
    let mut client = client.stdin(Stdio::piped()).spawn().unwrap();
    let lines = "no reading\n".repeat(MESSAGES);
    let mut input = client.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).unwrap();
    drop(input);
    assert!(client.wait().unwrap().success());
    let letters = || redis.cli(&["HGET", "rigline:rigs:ledger", "dead_ingester"]);
    let expected = MESSAGES.to_string();
    assert!(wait_until(SOON, || letters() == expected), "{}", letters());
    assert!(output.unread() > 3_000, "{} bytes", output.unread());
    stage.terminate();
    let ended = stage.wait_exit(SOON);
    assert!(ended.is_some_and(|ended| ended.success()), "{ended:?}");
}

#[test]
fn messages_that_the_broker_dropped_are_counted_and_warned_of() {
    let lines = [
        "allow_anonymous true",
        "max_queued_messages 10",
        "sys_interval 1",
    ];
    let (broker, redis) = (Mosquitto::start_with(&lines), Redis::start());
    // A client with a session that is away, as an ingester that has stopped.
    let mut away = broker.client("mosquitto_sub");
    away.args(["-c", "-E", "-q", "1", "-i", "away", "-t", "rigs/#"]);
    assert!(away.status().unwrap().success());
    let mut client = broker.client("mosquitto_pub");
    client.args(["-q", "1", "-t", "rigs/RIG-1/measurements/temp", "-m", "1"]);
    client.args(["--repeat", "60"]);
    assert!(client.status().unwrap().success());

    let mut stage = Launch::binary(Path::new(env!("CARGO_BIN_EXE_ingester")))
        .env("MQTT_HOST", "127.0.0.1")
        .env("MQTT_PORT", &broker.port().to_string())
        .env("REDIS_HOST", "127.0.0.1")
        .env("REDIS_PORT", &redis.port().to_string())
        .spawn();
    assert!(stage.ready(SOON), "{}", stage.logs());
    let dropped = || {
        stage
            .get("/metrics")
            .contains("rigline_broker_dropped_messages 50")
    };
    assert!(wait_until(SOON, dropped), "{}", stage.get("/metrics"));
    let _ = stage.logs_with("the broker has dropped messages");
    stage.terminate();
    assert!(stage.wait_exit(SOON).is_some_and(|ended| ended.success()));
}

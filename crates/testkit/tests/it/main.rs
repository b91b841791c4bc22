//! The servers start, keep their data over restarts, and end with their handles.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod influxdb;
mod machine;
mod redis;
mod stage_process;
mod tcp_proxy;

use std::net::TcpStream;

use testkit::{MongoDb, Mosquitto, Redis, free_port};

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[test]
fn redis_keeps_its_data_unless_restarted_without() {
    let mut redis = Redis::start();
    assert_eq!(redis.cli(&["RPUSH", "list", "a", "b"]), "2");
    redis.kill();
    assert!(!listens(redis.port()));
    redis.restart();
    assert_eq!(redis.cli(&["LRANGE", "list", "0", "-1"]), "a\nb");
    redis.restart_without_data();
    assert_eq!(redis.cli(&["LLEN", "list"]), "0");
    let port = redis.port();
    drop(redis);
    assert!(!listens(port));
}

#[test]
fn mongodb_answers_at_the_same_port_after_a_kill() {
    let mut server = MongoDb::start();
    let port = server.port();
    assert_eq!(server.url(), format!("mongodb://127.0.0.1:{port}"));
    server.kill();
    assert!(!listens(port));
    server.restart();
    assert!(listens(port));
    server.stop();
    assert!(!listens(port));
    assert!(listens(MongoDb::shared().port()));
}

#[test]
fn mosquitto_keeps_its_data_unless_restarted_without() {
    let mut broker = Mosquitto::start();
    let retained = |broker: &Mosquitto| {
        let mut sub = broker.client("mosquitto_sub");
        let run = sub
            .args(["-t", "t", "-C", "1", "-W", "1"])
            .output()
            .unwrap();
        String::from_utf8(run.stdout).unwrap()
    };
    let mut publish = broker.client("mosquitto_pub");
    assert!(
        publish
            .args(["-t", "t", "-m", "kept", "-r", "-q", "1"])
            .status()
            .unwrap()
            .success()
    );
    broker.restart();
    assert_eq!(retained(&broker), "kept\n");
    broker.restart_without_data();
    assert_eq!(retained(&broker), "");
    let port = broker.port();
    drop(broker);
    assert!(!listens(port));
}

#[test]
fn mosquitto_loses_corrupt_data_and_failed_restarts_return_the_log() {
    let mut broker = Mosquitto::start();
    assert!(!broker.corrupt_database());
    let publish = |broker: &Mosquitto| {
        let mut publish = broker.client("mosquitto_pub");
        publish.args(["-t", "t", "-m", "m", "-r", "-q", "1"]);
        publish.status().unwrap().success()
    };
    assert!(publish(&broker));
    broker.stop();
    assert!(broker.corrupt_database());
    let refused = broker.try_restart().unwrap_err();
    assert!(refused.contains("persist"), "{refused}");
    assert!(broker.has_exited());
    broker.restart_without_data();
    assert!(publish(&broker));
    broker.set_lines(&["allow_anonymous false"]);
    assert!(publish(&broker));
    broker.restart();
    assert!(!publish(&broker));
}

#[test]
fn ports_are_free_and_never_returned_twice() {
    let (first, second) = (free_port(), free_port());
    assert_ne!(first, second);
    assert!(!listens(first) && !listens(second));
}

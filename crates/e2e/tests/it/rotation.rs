//! Passwords and tokens are replaced in their files and at the servers while readings come: none is lost.

mod certificates;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use e2e::Chain;
use serde_json::Value;
use testkit::influxdb::BUCKET;
use testkit::{InfluxDb, Mosquitto, Redis, wait_until, write_password_file};

use crate::readings::{SOON, payload, this_second};

/// Readings that are published in each phase.
const READINGS: i64 = 200;

/// Writes a file by renaming, so that no reader sees half of it.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

/// Changes the password of Redis, and disconnects all clients.
fn set_redis_password(redis: &Redis, old: &str, new: &str) {
    let login: &[&str] = match old {
        "" => &[],
        old => &["-a", old, "--no-auth-warning"],
    };
    let _ = redis.cli(&[login, &["CONFIG", "SET", "requirepass", new]].concat());
    let login = ["-a", new, "--no-auth-warning"];
    let _ = redis.cli(&[&login[..], &["CLIENT", "KILL", "TYPE", "normal"]].concat());
}

fn revoke(influxdb: &InfluxDb, token: &str) {
    let all = influxdb.list("/api/v2/authorizations", "authorizations");
    let of_token = |one: &&Value| one["token"] == token;
    let id = all.iter().find(of_token).unwrap()["id"].as_str().unwrap();
    let path = format!("/api/v2/authorizations/{id}");
    assert_eq!(influxdb.ask("DELETE", &path, &Value::Null).0, 204);
}

/// Publishes the readings of a phase, each of a second of its own, and waits until the broker has all. `login` are
/// options of `mosquitto_pub`.
fn publish(chain: &Chain, login: &[String], first_second: i64, phase: i64) {
    let mut lines = String::new();
    for number in phase * READINGS..(phase + 1) * READINGS {
        let line = payload(first_second + 1_000 * number, 0.5);
        lines = format!("{lines}{line}\n");
    }
    let mut client = chain.mosquitto.client("mosquitto_pub");
    client.args(login).args(["-q", "1", "-l"]);
    client.args(["-t", "rigs/R/measurements/pressure"]);
    let mut child = client.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).unwrap();
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn rotated_secrets_lose_no_reading() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let path = |name: &str| file(name).display().to_string();
    write_password_file(&file("users"), "ann", "first");
    let line = format!("password_file {}", path("users"));
    let mosquitto = Mosquitto::start_with(&["allow_anonymous false", &line]);
    replace(&file("mqtt"), "first");
    replace(&file("redis"), "first");
    let mut chain = Chain::around(
        mosquitto,
        Redis::start(),
        &[
            ("MQTT_USERNAME", "ann"),
            ("MQTT_PASSWORD_FILE", &path("mqtt")),
            ("REDIS_PASSWORD_FILE", &path("redis")),
            ("INFLUX_TOKEN", ""),
            ("INFLUX_TOKEN_FILE", &path("influx")),
            ("FLUSH_INTERVAL", "200ms"),
        ],
    );
    let tokens = ["first", "second"].map(|_| chain.influxdb.create_token("write", BUCKET));
    replace(&file("influx"), &tokens[0]);
    set_redis_password(&chain.redis, "", "first");
    let stages = chain.spawn_all();
    let first_second = this_second() - 2_000_000;
    let stored = |chain: &Chain, phases: i64| {
        let count = usize::try_from(phases * READINGS).unwrap();
        let is_stored = || chain.influxdb.points(BUCKET).len() == count;
        let logs = || stages.each_ref().map(|stage| stage.logs()).concat();
        assert!(wait_until(3 * SOON, is_stored), "{phases}: {}", logs());
    };
    let login = |password: &str| ["-u", "ann", "-P", password].map(str::to_owned);
    let [first, second] = ["first", "second"].map(login);
    publish(&chain, &first, first_second, 0);
    stored(&chain, 1);

    write_password_file(&file("users"), "ann", "second");
    chain.mosquitto.restart();
    publish(&chain, &second, first_second, 1);
    replace(&file("mqtt"), "second");
    stored(&chain, 2);

    set_redis_password(&chain.redis, "first", "second");
    publish(&chain, &second, first_second, 2);
    replace(&file("redis"), "second");
    stored(&chain, 3);

    revoke(&chain.influxdb, &tokens[0]);
    publish(&chain, &second, first_second, 3);
    replace(&file("influx"), &tokens[1]);
    stored(&chain, 4);
}

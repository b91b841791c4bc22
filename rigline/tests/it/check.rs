//! The command `check`, against real servers with good and with bad settings.

mod pipelines;
#[cfg(all(feature = "kafka", feature = "mongodb"))]
mod stores;
mod tls;

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use testkit::influxdb::TOKEN;
use testkit::{InfluxDb, Mosquitto, Redis, free_port};
use transport::hash_password;

use crate::fixture::{Up, binary, text};

/// Addresses and logins of servers.
struct Servers {
    env: Vec<(&'static str, String)>,
}

impl Servers {
    fn new(mosquitto: &Mosquitto, redis: &Redis, influx: &InfluxDb, bucket: &str) -> Self {
        let env = vec![
            ("MQTT_HOST", "127.0.0.1".to_owned()),
            ("MQTT_PORT", mosquitto.port().to_string()),
            ("REDIS_HOST", "127.0.0.1".to_owned()),
            ("REDIS_PORT", redis.port().to_string()),
            ("INFLUX_URL", influx.url()),
            ("INFLUX_TOKEN", influx.create_token("write", bucket)),
            ("INFLUX_BUCKET", bucket.to_owned()),
        ];
        Self { env }
    }

    fn with(&self, name: &'static str, value: &str) -> Self {
        let mut env = self.env.clone();
        env.retain(|(other, _)| *other != name);
        env.push((name, value.to_owned()));
        Self { env }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.arg("check").args(args).env_clear();
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.output().unwrap()
    }

    /// The lines that aren't ok, as status and check, and the whole answer.
    fn faults(&self) -> (Vec<(String, String)>, Value) {
        let output = self.run(&["--json"]);
        let lines: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        assert!(lines.is_array(), "{}", text(&output));
        let of = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
        let faults: Vec<_> = lines
            .as_array()
            .unwrap()
            .iter()
            .filter(|line| line["status"] != "ok")
            .map(|line| (of(line, "status"), of(line, "check")))
            .collect();
        let is_bad = faults.iter().any(|(status, _)| status == "bad");
        assert_eq!(output.status.code(), Some(i32::from(is_bad)), "{lines:#}");
        for line in lines.as_array().unwrap() {
            let has_next = line["next_step"].is_string();
            assert_eq!(has_next, line["status"] != "ok", "{line}");
        }
        (faults, lines)
    }

    /// The checks that are bad.
    fn bad(&self) -> Vec<String> {
        let (faults, _) = self.faults();
        let bad = faults.into_iter().filter(|(status, _)| status == "bad");
        bad.map(|(_, check)| check).collect()
    }
}

fn detail<'a>(lines: &'a Value, check: &str) -> &'a str {
    let mut all = lines.as_array().unwrap().iter();
    let line = all.find(|line| line["check"] == check);
    assert!(line.is_some(), "no {check}: {lines:#}");
    line.unwrap()["detail"].as_str().unwrap()
}

#[test]
fn servers_of_the_documentation_are_good_and_what_breaks_the_promise_is_bad() {
    let (mut mosquitto, mut redis) = (Mosquitto::start(), Redis::start());
    let influx = InfluxDb::shared();
    let bucket = influx.create_bucket(Some(Duration::from_hours(30 * 24)));
    let good = Servers::new(&mosquitto, &redis, influx, &bucket);
    let (faults, lines) = good.faults();
    let only = [("warn".to_owned(), "MQTT persistence".to_owned())];
    assert_eq!(faults, only, "{lines:#}");
    assert!(detail(&lines, "MQTT broker").contains("mosquitto version"));
    assert!(detail(&lines, "MQTT limits").contains("QoS up to 2"));
    assert!(detail(&lines, "InfluxDB retention").starts_with("not visible"));
    assert_eq!(detail(&lines, "Redis clock"), "agrees with this machine's");
    assert_eq!(detail(&lines, "ledger"), "balanced");
    let shown = text(&good.run(&[]));
    assert!(shown.contains("\nok    Redis appendfsync"), "{shown}");
    assert!(shown.ends_with(" ok, 1 warn, 0 bad\n"), "{shown}");

    // A token that may read the bucket's settings, too.
    let operator = good.with("INFLUX_TOKEN", TOKEN);
    let (_, lines) = operator.faults();
    assert_eq!(detail(&lines, "InfluxDB retention"), "30d; MAX_AGE is 29d");
    let (faults, _) = operator.with("MAX_AGE", "90d").faults();
    let short = ("warn".to_owned(), "InfluxDB retention".to_owned());
    assert!(faults.contains(&short), "{faults:?}");
    assert_eq!(good.with("INFLUX_TOKEN", "wrong").bad(), ["InfluxDB token"]);
    assert_eq!(good.with("INFLUX_TOKEN", "").bad(), ["InfluxDB token"]);
    assert_eq!(
        good.with("INFLUX_BUCKET", "none").bad(),
        ["InfluxDB bucket"]
    );
    assert_eq!(good.with("INFLUX_ORG", "none").bad(), ["InfluxDB bucket"]);
    let closed = free_port().to_string();
    assert_eq!(good.with("MQTT_PORT", &closed).bad(), ["MQTT broker"]);
    assert_eq!(good.with("REDIS_PORT", &closed).bad(), ["Redis"]);
    let nobody = format!("http://127.0.0.1:{closed}");
    assert_eq!(good.with("INFLUX_URL", &nobody).bad(), ["InfluxDB"]);

    // A lost element, and a full list.
    let _ = redis.cli(&["RPUSH", "raw_events", "{}", "{}"]);
    let (_, lines) = good.faults();
    assert!(detail(&lines, "raw list").starts_with("2 of 1,000,000"));
    assert_eq!(good.with("QUEUE_LIMIT", "2").bad(), ["raw list"]);
    let _ = redis.cli(&["HSET", "rigline:rigs:ledger", "accepted", "3"]);
    assert_eq!(good.bad(), ["ledger"]);
    let _ = redis.cli(&["FLUSHALL"]);

    redis.set_options(&["--appendonly", "no", "--appendfsync", "everysec"]);
    redis.restart();
    let bad = good.bad();
    assert_eq!(bad, ["Redis appendonly", "Redis appendfsync"]);

    mosquitto.set_lines(&["allow_anonymous true", "max_qos 0"]);
    mosquitto.restart();
    assert!(good.bad().contains(&"MQTT limits".to_owned()));
}

#[test]
fn logins_that_are_refused_are_bad_and_what_access_rules_hide_is_not() {
    let dir = TempDir::new().unwrap();
    let users = dir.path().join("users");
    // A format of Mosquitto 2's own.
    let made = testkit::tool("mosquitto_passwd")
        .args(["-c", "-b"])
        .arg(&users)
        .args(["fleet", "right"])
        .status();
    assert!(made.unwrap().success());
    let file = format!("password_file {}", users.display());
    let mosquitto = Mosquitto::start_with(&["allow_anonymous false", &file]);
    let redis = Redis::start();
    let influx = InfluxDb::shared();
    let bucket = influx.create_bucket(None);
    let servers = Servers::new(&mosquitto, &redis, influx, &bucket);
    assert_eq!(servers.bad(), ["MQTT login"], "without a user");
    let known = servers.with("MQTT_USERNAME", "fleet");
    assert_eq!(known.with("MQTT_PASSWORD", "wrong").bad(), ["MQTT login"]);
    let known = known.with("MQTT_PASSWORD", "right");
    assert_eq!(known.bad(), Vec::<String>::new());

    // A user of Redis who may do what the stages do, and nothing else.
    let rules = [
        "ACL", "SETUSER", "stages", "on", ">secret", "~*", "+@all", "-config", "-info",
    ];
    let _ = redis.cli(&rules);
    let limited = known.with("REDIS_USERNAME", "stages");
    let limited = limited.with("REDIS_PASSWORD", "secret");
    let (faults, lines) = limited.faults();
    assert!(
        faults.iter().all(|(status, _)| status == "warn"),
        "{lines:#}"
    );
    assert!(detail(&lines, "Redis appendfsync").starts_with("not visible"));
    assert!(detail(&lines, "Redis appendonly").starts_with("not visible"));
    assert_eq!(limited.with("REDIS_PASSWORD", "wrong").bad(), ["Redis"]);
}

#[test]
fn data_directory_its_process_and_its_listener_are_checked() {
    let dir = TempDir::new().unwrap();
    let users = dir.path().join("users");
    std::fs::write(&users, hash_password("rig", "right").unwrap() + "\n").unwrap();
    let up = Up::start(&[("MQTT_USERS", users.to_str().unwrap())]);
    let directory = Servers {
        env: vec![
            ("RIGLINE_DATA", up.data().display().to_string()),
            ("MQTT_PORT", up.port.to_string()),
            ("MQTT_HOST", "127.0.0.1".to_owned()),
            ("MQTT_USERNAME", "rig".to_owned()),
        ],
    };
    let right = directory.with("MQTT_PASSWORD", "right");
    let (faults, lines) = right.faults();
    assert_eq!(faults, [], "{lines:#}");
    assert!(detail(&lines, "store").ends_with("0 series"));
    let wrong = directory.with("MQTT_PASSWORD", "wrong");
    assert_eq!(wrong.bad(), ["MQTT login"]);
    let unknown = directory.with("MQTT_USERNAME", "");
    let (faults, lines) = unknown.faults();
    let none_given = ("warn".to_owned(), "MQTT login".to_owned());
    assert_eq!(faults, [none_given], "{lines:#}");
    let kept = up.stop();
    assert_eq!(right.bad(), ["MQTT listener", "process"]);
    drop(kept);
    let gone = right.bad();
    assert_eq!(gone, ["MQTT listener", "process", "queue", "store"]);
}

#[test]
fn settings_that_cannot_be_used_end_it_with_64_before_a_socket_opens() {
    let servers = Servers { env: Vec::new() };
    for (name, value) in [
        ("INFLUX_URL", "localhost:8086"),
        ("MQTT_PASSWORD", "without a user"),
        ("LEASE", "1ms"),
        ("MQTT_PORT", "none"),
    ] {
        let output = servers.with(name, value).run(&[]);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(64), "{name}: {said}");
    }
}

//! No output of any program holds a secret that it was given: neither logs nor metrics, errors or help.

use std::process::Command;

use e2e::{Chain, Role};
use testkit::influxdb::TOKEN;
use testkit::{Launch, StageProcess, free_port, http_get, mqtt_client, stage_binary, wait_until};

use crate::readings::SOON;

const MQTT: &str = "mqtt-s3cret-41";
const REDIS: &str = "redis-s3cret-42";
const INFLUX: &str = "influx-s3cret-43";
const API: &str = "api-s3cret-44";
const JWT: &str = "jwt-s3cret-45-which-is-long-enough-for-hs256";
/// What all secrets but the token of the tests' InfluxDB hold.
const MARK: &str = "s3cret";

/// Secrets as variables.
const GIVEN: [(&str, &str); 7] = [
    ("MQTT_USERNAME", "ann"),
    ("MQTT_PASSWORD", MQTT),
    ("REDIS_PASSWORD", REDIS),
    ("INFLUX_TOKEN", INFLUX),
    ("API_TOKEN", API),
    ("API_JWT_SECRET", JWT),
    ("RUST_LOG", "trace"),
];

#[track_caller]
fn assert_hidden(what: &str, output: &str) {
    for secret in [MARK, TOKEN] {
        let line = output.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{what}: {line:?}");
    }
}

fn assert_process_is_silent(what: &str, process: &StageProcess) {
    assert_hidden(what, &process.logs());
    for path in ["/metrics", "/readyz", "/healthz"] {
        assert_hidden(&format!("{what} {path}"), &process.get(path));
    }
}

fn api_of(chain: &Chain, extra: &[(&str, &str)]) -> StageProcess {
    Launch::binary(&stage_binary("rigline"))
        .args(&["api"])
        .envs(chain.env())
        .envs(extra)
        .spawn()
}

#[test]
fn running_stages_print_no_secret() {
    let chain = Chain::start(&GIVEN);
    let _ = chain.redis.cli(&["CONFIG", "SET", "requirepass", REDIS]);
    let token = [("INFLUX_TOKEN", TOKEN)];
    let mut processes: Vec<_> = Role::ALL
        .map(|role| (role.name(), chain.spawn(role.name(), &token)))
        .into();
    processes.push(("api", api_of(&chain, &token)));
    for (name, process) in &processes {
        assert!(process.ready(SOON), "{name}: {}", process.logs());
    }
    chain.publish("rigs/A/measurements/pressure", "{\"value\":1}");
    let stored = || {
        processes[2]
            .1
            .get("/metrics")
            .contains("rigline_rows_total")
    };
    assert!(wait_until(SOON, stored));
    for (name, process) in &processes {
        assert_process_is_silent(name, process);
    }
}

#[test]
fn stages_that_are_refused_print_no_secret() {
    let chain = Chain::start(&GIVEN);
    let _ = chain
        .redis
        .cli(&["CONFIG", "SET", "requirepass", "another"]);
    let mut processes: Vec<_> = Role::ALL
        .map(|role| (role.name(), chain.spawn(role.name(), &[])))
        .into();
    processes.push(("api", api_of(&chain, &[])));
    for (name, process) in &processes {
        let is_refused = || process.logs().contains("REDIS_PASSWORD");
        assert!(wait_until(SOON, is_refused), "{name}: {}", process.logs());
        assert_process_is_silent(name, process);
    }
    let mut check = Command::new(stage_binary("rigline"));
    check.arg("check").env_clear();
    check.envs(chain.env().iter().map(|(name, value)| (name, value)));
    let output = check.output().unwrap();
    let said = format!("{output:?}");
    assert!(said.contains("INFLUX_TOKEN"), "{said}");
    assert_hidden("check", &said);
}

#[test]
fn one_process_prints_no_secret_of_its_clients() {
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users");
    let hash = transport::hash_password("ann", MQTT).unwrap();
    std::fs::write(&users, hash).unwrap();
    let port = free_port();
    let mqtt = free_port();
    let up = Launch::binary(&stage_binary("rigline"))
        .args(&["up"])
        .envs(&GIVEN)
        .envs(&[
            (
                "RIGLINE_DATA",
                dir.path().join("data").display().to_string(),
            ),
            ("MQTT_USERS", users.display().to_string()),
            ("MQTT_LISTEN", format!("127.0.0.1:{mqtt}")),
            ("API_ADDR", format!("127.0.0.1:{port}")),
        ])
        .spawn();
    assert!(up.ready(SOON), "{}", up.logs());
    for password in [MQTT, "wrong-s3cret-46"] {
        let mut client = mqtt_client("mosquitto_pub", mqtt);
        client.args(["-u", "ann", "-P", password, "-q", "1"]);
        client.args(["-t", "rigs/A/measurements/pressure", "-m", "1"]);
        assert_eq!(client.status().unwrap().success(), password == MQTT);
    }
    let path = "/api/v1/pipelines?token=s3cret-47";
    let (status, body) = http_get(port, path).unwrap();
    assert_eq!(status, 401, "{body}");
    assert_hidden("an answer", &body);
    assert_process_is_silent("up", &up);
}

#[test]
fn help_and_errors_print_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("own.toml");
    let url = "mqtt://ann:url-s3cret-48@127.0.0.1/path";
    let text = format!("name = \"own\"\n[source]\ntopic = \"a/{{b}}\"\nurl = \"{url}\"\n");
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let stages: [(&str, &[&str]); 5] = [
        ("ingester", &["MQTT_USERNAME="]),
        ("transformer", &["REDIS_PASSWORD_FILE=/nowhere"]),
        ("sink", &["INFLUX_URL=http://ann:url-s3cret-49@host"]),
        ("rigline api", &["API_JWT_SECRET=short-s3cret"]),
        ("ingester", &["PIPELINES=FILE"]),
    ];
    for (program, wrong) in stages {
        let mut words = program.split(' ');
        let binary = stage_binary(words.next().unwrap());
        let run = |more: &[&str], wrong: &[&str]| {
            let mut command = Command::new(&binary);
            command
                .args(words.clone())
                .args(more)
                .env_clear()
                .envs(GIVEN);
            for setting in wrong {
                let (name, value) = setting.split_once('=').unwrap();
                command.env(name, value.replace("FILE", &file));
            }
            command.output().unwrap()
        };
        let help = run(&["--help"], &[]);
        assert!(help.status.success(), "{help:?}");
        assert_hidden(program, &String::from_utf8_lossy(&help.stdout));
        let refused = run(&[], wrong);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(
            refused.status.code(),
            Some(64),
            "{program} {wrong:?}: {said}"
        );
        assert_hidden(program, &said);
    }
}

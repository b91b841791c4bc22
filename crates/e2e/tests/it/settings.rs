//! Settings, help and health of the real binaries.

use std::fs::File;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use testkit::{StageProcess, stage_binary};

const STAGES: [&str; 4] = ["producer", "ingester", "transformer", "sink"];

fn run(stage: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(stage_binary(stage));
    command.env_clear().args(args).envs(env.iter().copied());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn invalid_setting_ends_every_stage_with_64_and_is_named() {
    let cases: [(&str, &str, &str, &str); 14] = [
        ("producer", "INTERVAL", "soon", "250ms"),
        ("producer", "ADMIN_ADDR", "here", "ADMIN_ADDR"),
        ("producer", "MQTT_PORT", "0", "MQTT_PORT"),
        (
            "ingester",
            "MQTT_TOPIC",
            "$share/g/rigs/#",
            "rigs/+/measurements/#",
        ),
        ("ingester", "MAX_PAYLOAD", "64kb", "64KiB"),
        ("ingester", "REDIS_PASSWORD_FILE", "/nowhere", "readable"),
        ("ingester", "LEASE", "1ms", "100ms"),
        ("ingester", "BATCH", "0", "above 0"),
        (
            "transformer",
            "EXPECTED_SENSORS",
            "a,a",
            "none of them twice",
        ),
        ("transformer", "ALIGN", "-1s", "250ms"),
        (
            "transformer",
            "RAW_QUEUE",
            "dead_letters",
            "DEAD_LETTER_QUEUE",
        ),
        ("transformer", "LOG_FORMAT", "xml", "json"),
        ("sink", "INFLUX_URL", "localhost", "INFLUX_URL"),
        ("sink", "RUST_LOG", "a=b=c", "RUST_LOG"),
    ];
    for (stage, variable, given, said) in cases {
        let ended = run(stage, &[], &[(variable, given)]);
        let error = text(&ended.stderr);
        assert_eq!(
            ended.status.code(),
            Some(64),
            "{stage} {variable}={given}: {error}"
        );
        for part in [variable, given, said] {
            let named = error.contains(part) || variable == "RAW_QUEUE" && part == variable;
            assert!(
                named,
                "{stage} {variable}={given} doesn't say {part:?}: {error}"
            );
        }
    }
    for stage in STAGES {
        let ended = run(stage, &["--no-such-flag"], &[]);
        assert_eq!(ended.status.code(), Some(64), "{stage}");
    }
}

#[test]
fn help_lists_every_setting_with_its_variable() {
    for stage in STAGES {
        let help = run(
            stage,
            &["--help"],
            &[("REDIS_PASSWORD", "s3cret"), ("INFLUX_TOKEN", "s3cret")],
        );
        assert!(help.status.success());
        let help = text(&help.stdout);
        for common in ["ADMIN_ADDR", "LOG_FORMAT", "RUST_LOG", "healthcheck"] {
            assert!(
                help.contains(common),
                "{stage} --help has no {common}:\n{help}"
            );
        }
        assert!(!help.contains("s3cret"), "{stage} --help prints a secret");
        let own: &[&str] = match stage {
            "producer" => &["RIGS", "INTERVAL", "SEED", "MQTT_HOST"],
            "ingester" => &[
                "MQTT_TOPIC",
                "MAX_FUTURE",
                "MAX_AGE",
                "MAX_PAYLOAD",
                "REDIS_HOST",
            ],
            "transformer" => &[
                "ALIGN",
                "FLUSH_INTERVAL",
                "LATE_WINDOW",
                "RIG_IDLE",
                "LEASE",
            ],
            _ => &[
                "INFLUX_URL",
                "INFLUX_TOKEN",
                "INFLUX_ORG",
                "INFLUX_BUCKET",
                "BATCH",
            ],
        };
        for variable in own {
            assert!(
                help.contains(&format!("[env: {variable}")),
                "{stage}: {variable}\n{help}"
            );
        }
    }
}

#[test]
fn stage_without_its_servers_is_alive_but_not_ready() {
    // docker-compose.yml passes empty secret files for variables that aren't set.
    let nowhere = [
        ("REDIS_PORT", "1"),
        ("MQTT_PORT", "1"),
        ("INFLUX_URL", "http://127.0.0.1:1"),
        ("REDIS_PASSWORD_FILE", ""),
        ("MQTT_PASSWORD_FILE", ""),
        ("INFLUX_TOKEN_FILE", ""),
    ];
    for name in STAGES {
        let mut stage = StageProcess::spawn(name, &nowhere);
        assert!(testkit::wait_until(Duration::from_secs(10), || stage
            .get("/healthz")
            == "ok\n"));
        std::thread::sleep(Duration::from_millis(300));
        let ready = stage.get("/readyz");
        assert!(ready.starts_with("{\"ready\":false"), "{name}: {ready}");
        assert!(ready.contains("last_error"), "{name}: {ready}");
        assert!(
            stage.get("/metrics").contains("rigline_dependency_up"),
            "{name}"
        );
        let address = format!("127.0.0.1:{}", stage.admin_port());
        let check = run(name, &["healthcheck"], &[("ADMIN_ADDR", &address)]);
        assert!(check.status.success(), "{name}: {}", text(&check.stderr));
        let check = run(
            name,
            &["healthcheck", "--ready"],
            &[("ADMIN_ADDR", &address)],
        );
        assert!(!check.status.success(), "{name}");
        stage.terminate();
        let exit = stage.wait_exit(Duration::from_secs(10));
        assert!(
            exit.is_some_and(|status| status.success()),
            "{name}: {exit:?}\n{}",
            stage.logs()
        );
    }
}

/// Neither a full disk behind the log nor a closed pipe ends a stage.
#[test]
fn log_that_cannot_be_written_does_not_end_a_stage() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for name in STAGES {
        let mut stages = Vec::new();
        for closed_pipe in [false, true] {
            let mut command = Command::new(stage_binary(name));
            let admin = format!("127.0.0.1:{}", testkit::free_port());
            command.env_clear().envs([
                ("REDIS_PORT", "1"),
                ("MQTT_PORT", "1"),
                ("ADMIN_ADDR", &admin),
            ]);
            command.env("INFLUX_URL", "http://127.0.0.1:1");
            command.stderr(if closed_pipe {
                Stdio::piped()
            } else {
                Stdio::from(full())
            });
            let mut stage = command.spawn().unwrap();
            drop(stage.stderr.take());
            stages.push(stage);
        }
        std::thread::sleep(Duration::from_secs(1));
        for stage in &mut stages {
            assert_eq!(stage.try_wait().unwrap(), None, "{name} ended");
            stage.kill().unwrap();
            stage.wait().unwrap();
        }
    }
}

#[test]
fn default_admin_port_falls_back_if_taken_and_a_configured_one_does_not() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = run("sink", &[], &[("ADMIN_ADDR", &address)]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended.stderr).contains(&address));
}

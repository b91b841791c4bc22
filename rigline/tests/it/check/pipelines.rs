//! Pipelines that files describe.

use testkit::Redis;

use super::{Servers, detail};
use crate::fixture::{binary, text};

fn with_pipelines(redis: &Redis, pipelines: &str) -> Servers {
    let env = vec![
        ("REDIS_HOST", "127.0.0.1".to_owned()),
        ("REDIS_PORT", redis.port().to_string()),
        ("PIPELINES", pipelines.to_owned()),
        // Stores that aren't there.
        ("INFLUX_URL", "http://127.0.0.1:1".to_owned()),
        ("POSTGRES_PORT", "1".to_owned()),
    ];
    Servers { env }
}

#[test]
fn lists_of_each_pipeline_are_checked_and_mqtt_only_if_one_uses_it() {
    let redis = Redis::start();
    let _ = redis.cli(&["RPUSH", "metrics:raw_events", "{}"]);
    let (_, lines) = with_pipelines(&redis, "colors,metrics").faults();
    assert!(detail(&lines, "raw list of colors").starts_with("0 of"));
    assert!(detail(&lines, "raw list of metrics").starts_with("1 of"));
    let checks = lines.as_array().unwrap().iter();
    let checks: Vec<_> = checks.filter_map(|line| line["check"].as_str()).collect();
    assert!(
        checks.iter().all(|check| !check.starts_with("MQTT")),
        "{checks:?}"
    );
    let of_redis = checks.iter().filter(|check| **check == "Redis clock");
    assert_eq!(of_redis.count(), 1, "{checks:?}");
    let (_, lines) = with_pipelines(&redis, "rigs,metrics").faults();
    assert!(detail(&lines, "MQTT broker").contains("1883"));
}

#[test]
fn commands_show_the_only_pipeline_or_ask_which() {
    let redis = Redis::start();
    let _ = redis.cli(&["RPUSH", "metrics:raw_events", "{}"]);
    let run = |pipelines: &str, args: &[&str]| {
        let mut command = std::process::Command::new(binary());
        command.args(args).env_clear();
        let servers = with_pipelines(&redis, pipelines);
        command.envs(servers.env);
        command.output().unwrap()
    };
    let has_postgres = cfg!(feature = "postgres");
    for (pipelines, args, code, part) in [
        ("metrics", &["ledger"][..], 0, "1 in the raw list"),
        ("rigs,metrics", &["ledger"], 0, "0 in the raw list"),
        (
            "colors,metrics",
            &["ledger", "--pipeline", "metrics"],
            0,
            "1 in the raw list",
        ),
        (
            "colors,metrics",
            &["dlq", "list"],
            64,
            "one of PIPELINES: colors, metrics",
        ),
        ("nothing/here.toml", &["ledger"], 0, "0 in the raw list"),
        (
            "metrics",
            &["rows"],
            if has_postgres { 2 } else { 64 },
            if has_postgres {
                "localhost:1"
            } else {
                "--features postgres"
            },
        ),
    ] {
        let output = run(pipelines, args);
        let shown = text(&output);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{pipelines} {args:?}: {shown}"
        );
        assert!(shown.contains(part), "{pipelines} {args:?}: {shown}");
    }
}

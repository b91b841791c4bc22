//! Rows on servers, shown by commands.

use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;
use testkit::influxdb::{ORG, TOKEN};
use testkit::{InfluxDb, MongoDb, Postgres, mqtt_client, wait_until};

use crate::fixture::{SOON, Up, binary, text};

/// Two rows at 8:00 and 8:01 of 5 January 2026.
const LINES: &str = "rig_measurements,rig_id=A temperature=7.5 1767600000000000000\n\
                     rig_measurements,rig_id=A temperature=8.5 1767600060000000000\n";
const FROM: &[&str] = &["--from", "2026-01-05T00:00:00Z"];

/// A command with these variables only.
fn command(args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(binary());
    command.args(args).env_clear().stdin(Stdio::null());
    command.envs(env.iter().copied());
    command
}

fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    command(args, env).output().unwrap()
}

/// Ends a process when the test ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn rows_of_rigs_are_read_from_influxdb() {
    let server = InfluxDb::shared();
    let bucket = server.create_bucket(None);
    server.write(&bucket, LINES);
    let (url, blind) = (server.url(), server.create_token("write", &bucket));
    let env = |token| {
        [
            ("INFLUX_URL", url.as_str()),
            ("INFLUX_TOKEN", token),
            ("INFLUX_ORG", ORG),
            ("INFLUX_BUCKET", bucket.as_str()),
        ]
    };
    let csv = ["rows", "--format", "csv"];
    let rows = text(&run(&[&csv, FROM, &["--influx"]].concat(), &env(TOKEN)));
    assert_eq!(
        rows,
        "rig_id,time,temperature\nA,2026-01-05T08:00:00Z,7.5\nA,2026-01-05T08:01:00Z,8.5\n"
    );
    let beside_redis = [&env(TOKEN)[..], &[("REDIS_HOST", "127.0.0.1")]].concat();
    assert_eq!(text(&run(&[&csv, FROM].concat(), &beside_redis)), rows);
    let newest = [&csv, FROM, &["--influx", "--limit", "1"]].concat();
    assert_eq!(
        text(&run(&newest, &env(TOKEN))),
        "rig_id,time,temperature\nA,2026-01-05T08:01:00Z,8.5\n"
    );
    let rigs = text(&run(&["rigs", "--influx"], &env(TOKEN)));
    let rig = rigs.lines().nth(1).expect("a rig");
    assert!(
        rig.starts_with("A ")
            && rig.contains("2026-01-05T08:01:00Z")
            && rig.ends_with("temperature"),
        "{rigs}"
    );

    let gone = [
        ("INFLUX_URL", "http://127.0.0.1:1"),
        ("INFLUX_TOKEN", TOKEN),
    ];
    for (args, env, part) in [
        (&["rows", "--influx"][..], &env(&blind)[..], "INFLUX_TOKEN"),
        (&["rows", "--influx"], &gone, "http://127.0.0.1:1"),
        (&["rows", "--data", "/none"], &beside_redis, "/none"),
    ] {
        let output = run(args, env);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(part) && !said.contains(&blind), "{said}");
    }
    let unknown = run(&["rows", "--influx", "--pipeline", "x"], &env(TOKEN));
    assert_eq!(unknown.status.code(), Some(64), "{}", text(&unknown));
}

#[test]
fn rows_in_influxdb_are_followed() {
    let server = InfluxDb::shared();
    let bucket = server.create_bucket(None);
    server.write(&bucket, LINES);
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("followed");
    let url = server.url();
    let env = [
        ("INFLUX_URL", url.as_str()),
        ("INFLUX_TOKEN", TOKEN),
        ("INFLUX_ORG", ORG),
        ("INFLUX_BUCKET", bucket.as_str()),
    ];
    let follow = [&["rows", "--influx", "--follow", "--format", "csv"], FROM].concat();
    let mut follower = command(&follow, &env);
    let follower = follower.stdout(std::fs::File::create(&log).unwrap());
    let _follower = Killed(follower.spawn().unwrap());
    let said = || std::fs::read_to_string(&log).unwrap();
    assert!(wait_until(SOON, || said().contains("8.5")), "{}", said());
    server.write(
        &bucket,
        "rig_measurements,rig_id=A temperature=9.5 1767600120000000000",
    );
    assert!(wait_until(SOON, || said().contains("9.5")), "{}", said());
    assert_eq!(said().lines().count(), 4, "each row once: {}", said());
}

/// A pipeline with this store, of the messages on one topic.
fn file(name: &str, store: &str) -> String {
    format!(
        "name = \"{name}\"\n[source]\ntopic = \"greenhouse/{{device}}\"\n[rows]\nshape = \"sample\"\n\
         [fields.state]\ntype = \"string\"\n[limits]\nmax_age = \"none\"\n[[store]]\nkind = {store}\n"
    )
}

#[test]
fn rows_of_each_server_are_the_same() {
    let (influx, postgres, mongodb) = (InfluxDb::shared(), Postgres::shared(), MongoDb::shared());
    let bucket = influx.create_bucket(None);
    let stores = [
        (
            "one",
            format!(
                "\"influx\"\nurl = \"{}\"\ntoken = \"{TOKEN}\"\norg = \"{ORG}\"\nbucket = \"{bucket}\"",
                influx.url()
            ),
        ),
        (
            "two",
            format!(
                "\"postgres\"\nurl = \"{}\"\ntable = \"{}\"",
                postgres.url(),
                Postgres::table()
            ),
        ),
        (
            "three",
            format!(
                "\"mongodb\"\nurl = \"{}\"\ndatabase = \"{}\"\ncollection = \"c\"",
                mongodb.url(),
                MongoDb::database()
            ),
        ),
    ];
    let dir = TempDir::new().unwrap();
    let mut paths = Vec::new();
    for (name, store) in &stores {
        let path = dir.path().join(format!("{name}.toml"));
        std::fs::write(&path, file(name, store)).unwrap();
        paths.push(path.display().to_string());
    }
    let paths = paths.join(",");
    let up = Up::start(&[("PIPELINES", &paths), ("RETENTION", "0")]);
    let mut client = mqtt_client("mosquitto_pub", up.port);
    let message = "{\"timestamp\":\"2026-01-05T08:00:00Z\",\"temperature\":21.5,\"state\":\"a b\"}";
    client.args(["-q", "1", "-t", "greenhouse/D", "-m", message]);
    assert!(client.status().unwrap().success());
    for (name, _) in &stores {
        let args = [&["rows", "--format", "csv", "--pipeline", name], FROM].concat();
        let mut said = String::new();
        let are_equal = wait_until(SOON, || {
            said = text(&run(&args, &[("PIPELINES", &paths)]));
            said == "device,time,state,temperature\nD,2026-01-05T08:00:00Z,a b,21.5\n"
        });
        assert!(are_equal, "{name}: {said}\n{}", up.stage.logs());
        let rigs = text(&run(
            &["rigs", "--pipeline", name],
            &[("PIPELINES", &paths)],
        ));
        assert!(
            rigs.contains("device=D") && rigs.contains("state,temperature"),
            "{rigs}"
        );
    }
    up.stop();
}

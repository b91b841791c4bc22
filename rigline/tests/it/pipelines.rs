//! Pipelines of files in one process.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use testkit::{Redis, free_port, http_post, mqtt_client, wait_until};

use crate::fixture::{SOON, Up, binary, payload, second, text};

/// A directory with pipeline files.
pub fn files(files: &[(&str, &str)]) -> (TempDir, String) {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| -> PathBuf { dir.path().join(format!("{name}.toml")) };
    for (name, text) in files {
        std::fs::write(path(name), format!("name = \"{name}\"\n{text}")).unwrap();
    }
    let paths: Vec<_> = files
        .iter()
        .map(|(name, _)| path(name).display().to_string())
        .collect();
    (dir, paths.join(","))
}

fn publish(up: &Up, topic: &str, payload: &str) {
    let mut client = mqtt_client("mosquitto_pub", up.port);
    client.args(["-q", "1", "-t", topic, "-m", payload]);
    assert!(client.status().unwrap().success());
}

fn check_dead_letters(up: &Up) {
    // What another pipeline wants is no dead letter of `rigs`.
    for (pipeline, letters) in [("rigs", 0), ("home", 1)] {
        let ledger = up.run_ok(&["ledger", "--pipeline", pipeline]);
        assert!(ledger.contains("balanced"), "{ledger}");
        assert!(
            ledger.contains(&format!("dead letters {letters}")),
            "{pipeline}: {ledger}"
        );
    }
    let letters = up.run_ok(&["dlq", "list", "--pipeline", "home"]);
    assert!(
        letters.contains("bad_value") && letters.contains("home/hall"),
        "{letters}"
    );
}

#[test]
fn several_pipelines_share_the_listener_and_have_files_of_their_own() {
    let (_dir, paths) = files(&[
        (
            "home",
            // One row, also if a second passes between its two messages.
            "[source]\ntopic = \"home/{room}/{field}\"\n[message]\nformat = \"text\"\n[rows]\nalign = \"1d\"\nflush_interval = \"100ms\"",
        ),
        (
            "all",
            "[source]\ntopic = \"{device...}\"\n[message]\nfields = { x = \"/value\" }",
        ),
    ]);
    let up = Up::start(&[
        ("PIPELINES", &format!("rigs,{paths}")),
        ("FLUSH_INTERVAL", "100ms"),
    ]);
    let time = second();
    // This message goes to two pipelines.
    up.publish("pressure", &payload(time, 1.5));
    publish(&up, "home/kitchen, left/temperature", "21.5");
    publish(&up, "home/kitchen, left/humidity", "55");
    publish(&up, "home/hall/temperature", "warm");
    let of_home = |format| {
        [
            "rows",
            "--pipeline",
            "home",
            "--last",
            "2d",
            "--format",
            format,
        ]
    };
    let row = up.wait_for_output(
        &[&of_home("ndjson")[..], &["room=kitchen, left"]].concat(),
        "\"humidity\":55.0,\"temperature\":21.5",
    );
    assert!(
        row.starts_with(r#"{"tags":{"room":"kitchen, left"},"timestamp":""#),
        "{row}"
    );
    let csv = [
        "rows",
        "--pipeline",
        "home",
        "--last",
        "2d",
        "--format",
        "csv",
    ];
    let csv = up.run_ok(&csv);
    assert!(
        csv.starts_with("room,time,humidity,temperature\n\"kitchen, left\","),
        "{csv}"
    );
    up.wait_for_output(&["rows", "--format", "csv"], &format!("MINE,{time},1.5"));
    let all = up.wait_for_output(&["rows", "--pipeline", "all", "--format", "csv"], "1.5");
    assert!(all.contains("rigs/MINE/measurements/pressure"), "{all}");
    check_dead_letters(&up);
    let series = up.run_ok(&["series", "--pipeline", "home"]);
    assert!(series.contains("room=kitchen, left"), "{series}");
    let ready = up.stage.get("/readyz");
    for stage in ["ingester", "sink/home", "transformer/all"] {
        assert!(ready.contains(&format!("\"stage\":\"{stage}\"")), "{ready}");
    }
    drop(up.stop());
}

#[test]
fn message_that_no_pipeline_wants_is_a_dead_letter_of_the_first() {
    let (_dir, paths) = files(&[
        ("one", "[source]\ntopic = \"one/{a}\""),
        ("two", "[source]\ntopic = \"two/{a}\""),
    ]);
    let up = Up::start(&[("PIPELINES", &paths)]);
    publish(&up, "three/x", "{\"v\":1}");
    let letters = up.wait_for_output(&["dlq", "list", "--pipeline", "one"], "bad_topic");
    assert!(letters.contains("three/x"), "{letters}");
    drop(up.stop());
}

#[test]
fn rejected_parts_of_a_message_are_replayed_once_they_are_edited() {
    let (dir, paths) = files(&[(
        "plc",
        "[source]\ntopic = \"plc/{line}\"\n[message]\neach = \"/r\"\nname = \"/id\"\nvalue = \"/v\"\n\
         [rows]\nflush_interval = \"100ms\"",
    )]);
    let up = Up::start(&[("PIPELINES", &paths)]);
    publish(
        &up,
        "plc/1",
        r#"{"r":[{"id":"a","v":1},{"id":"b","v":"warm"},{"id":"c","v":[]},{"id":"d","v":4}]}"#,
    );
    let rows = ["rows", "--pipeline", "plc", "--format", "csv"];
    up.wait_for_output(&rows, "line,time,a,d");
    let exported = up.run_ok(&["dlq", "export", "--pipeline", "plc"]);
    let edited = dir.path().join("edited.ndjson");
    std::fs::write(
        &edited,
        exported.replace("\\\"warm\\\"", "2.5").replace("[]", "3.5"),
    )
    .unwrap();
    let replay = ["dlq", "replay", "--pipeline", "plc", "--edited"];
    let replay = [&replay[..], &[edited.to_str().unwrap()]].concat();
    let refused = text(&up.run(&replay));
    assert!(refused.contains("--pipelines"), "{refused}");
    up.run_ok(&[&replay[..], &["--pipelines", &paths]].concat());
    let csv = up.wait_for_output(&rows, "line,time,a,b,c,d");
    assert!(csv.contains("2.5,3.5"), "{csv}");
    let ledger = up.run_ok(&["ledger", "--pipeline", "plc"]);
    // Only what was rejected is replayed.
    assert!(ledger.contains("4 = 4 "), "{ledger}");
    drop(up.stop());
}

#[test]
fn changed_pipeline_file_loses_nothing_that_waits() {
    let pipeline = |every: &str| {
        let text = format!(
            "[source]\ntopic = \"p/{{device}}\"\n[rows]\nshape = \"window\"\nevery = \"{every}\"\nstatistics = [\"count\"]"
        );
        files(&[("p", &text)])
    };
    let (_dir, paths) = pipeline("1h");
    let up = Up::start(&[("PIPELINES", &paths)]);
    publish(&up, "p/a", "{\"v\":1}");
    up.wait_for_output(
        &["ledger", "--pipeline", "p"],
        "waiting 1 readings in rows that are open",
    );
    let data = up.stop();
    let (_dir, paths) = pipeline("30m");
    let up = Up::start_in(data, &[("PIPELINES", &paths)]);
    up.wait_for_output(
        &["rows", "--pipeline", "p", "--last", "2h", "--format", "csv"],
        ",1",
    );
    let ledger = up.run_ok(&["ledger", "--pipeline", "p"]);
    assert!(ledger.contains("balanced"), "{ledger}");
    drop(up.stop());
}

#[test]
fn pipeline_receives_from_redis_pubsub() {
    let redis = Redis::start();
    let url = format!("redis://127.0.0.1:{}", redis.port());
    let text = format!(
        "[source]\nkind = \"redis-pubsub\"\nchannel = \"c\"\nurl = \"{url}\"\n[message]\ntags = {{ color = \"/color\" }}\n\
         fields = {{ value = \"/value\" }}"
    );
    let (_dir, paths) = files(&[("colors2", &text)]);
    let up = Up::start(&[("PIPELINES", &paths)]);
    let publish = || redis.cli(&["PUBLISH", "c", r#"{"color":"green","value":17}"#]) == "1";
    assert!(wait_until(SOON, publish));
    up.wait_for_output(
        &["rows", "--pipeline", "colors2", "--format", "csv"],
        "green,",
    );
    drop(up.stop());
}

#[test]
fn pipeline_receives_over_http() {
    let text = "[source]\nkind = \"http\"\npath = \"/rooms/{room}/climate\"";
    let (_dir, paths) = files(&[("rooms", text)]);
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let up = Up::start(&[("PIPELINES", &paths), ("HTTP_ADDR", &address)]);
    let (status, body) = http_post(port, "/rooms/bath/climate", "{\"temperature\": 21.5}").unwrap();
    assert_eq!(status, 204, "{body}");
    let rows = ["rows", "--pipeline", "rooms", "--format", "csv"];
    let rows = up.wait_for_output(&rows, ",21.5");
    assert!(rows.contains("bath,"), "{rows}");
    let (status, body) = http_post(port, "/rooms", "1").unwrap();
    assert_eq!(status, 404, "{body}");
    assert!(body.contains("/rooms/{room}/climate"), "{body}");
    drop(up.stop());
}

#[test]
fn file_that_cannot_be_used_ends_with_64_and_its_place() {
    let (_dir, path) = files(&[("bad", "[source]\ntopic = \"a/{b\"")]);
    let ended = Command::new(binary())
        .args(["up", "--pipelines", &path])
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(64));
    let said = text(&ended);
    assert!(said.contains("bad.toml:3:9"), "{said}");
}

/// A build without the store names what it lacks, and one with it what is wrong, neither with the password.
#[test]
fn store_in_mongodb_that_cannot_be_used_ends_with_64() {
    let store = "[source]\ntopic = \"a/{b}\"\n[[store]]\nkind = \"mongodb\"\n\
                 url = \"mongodb://u:secret@h/?tls=true&tlsInsecure=true\"";
    let (_dir, path) = files(&[("plant", store)]);
    let part = if cfg!(feature = "mongodb") {
        "tlsCAFile"
    } else {
        "--features mongodb"
    };
    for command in ["up", "demo", "sink", "api"] {
        let ended = Command::new(binary())
            .args([command, "--pipelines", &path])
            .output()
            .unwrap();
        let said = text(&ended);
        assert_eq!(ended.status.code(), Some(64), "{command}: {said}");
        assert!(
            said.contains(part) && said.contains("plant"),
            "{command}: {said}"
        );
        assert!(!said.contains("secret"), "{command}: {said}");
    }
}

/// The paths of another system need its pipeline and its stores.
#[test]
fn api_paths_without_their_pipeline_end_with_64() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().display().to_string();
    for paths in ["sensors", "facilities"] {
        let args = ["up", "--data", &data, "--api-paths", paths];
        let ended = Command::new(binary())
            .args(args)
            .args(["--mqtt-listen", "127.0.0.1:0", "--api-addr", "127.0.0.1:0"])
            .env("ADMIN_ADDR", "127.0.0.1:0")
            .output()
            .unwrap();
        let said = text(&ended);
        assert_eq!(ended.status.code(), Some(64), "{paths}: {said}");
        assert!(said.contains("API_PATHS"), "{paths}: {said}");
    }
}

#[test]
fn messages_are_tried_with_a_built_in_pipeline() {
    let message = "{\"id\":3,\"val\":-12.5,\"time\":1767600000}";
    let mut tried = Command::new(binary());
    let tried = text(&tried.args(["try", "metrics", message]).output().unwrap());
    assert!(
        tried.contains("id=3 2026-01-05T08:00:00Z") && tried.contains("val = -12.5"),
        "{tried}"
    );
    let mut unknown = Command::new(binary());
    let unknown = unknown.args(["try", "metricz", message]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(64), "{}", text(&unknown));
}

#[test]
fn built_in_pipelines_are_listed_and_shown() {
    let list = text(
        &Command::new(binary())
            .args(["pipelines", "list"])
            .output()
            .unwrap(),
    );
    assert!(list.contains("rigs") && list.contains("colors"), "{list}");
    let shown = Command::new(binary())
        .args(["pipelines", "show", "colors"])
        .output()
        .unwrap();
    assert!(text(&shown).contains("color_data"));
    assert!(list.contains("facilities-store System 2"), "{list}");
    let show = |name: &str| {
        let shown = Command::new(binary())
            .args(["pipelines", "show", name])
            .output();
        shown.unwrap().stdout
    };
    let dir = TempDir::with_prefix("pipelines-").unwrap();
    let path = dir.path().join("mine.toml");
    std::fs::write(&path, show("facilities-store")).unwrap();
    let check = || {
        let mut check = Command::new(binary());
        check
            .args(["pipelines", "check"])
            .arg(&path)
            .output()
            .unwrap()
    };
    let refused = check();
    assert_eq!(refused.status.code(), Some(64));
    let name = "compacted_reading.binpb";
    let said = text(&refused);
    assert!(said.contains(&format!("show {name} >")), "{said}");
    std::fs::write(path.with_file_name(name), show(name)).unwrap();
    let checked = check();
    assert!(checked.status.success(), "{}", text(&checked));
    let unknown = Command::new(binary())
        .args(["pipelines", "show", "none"])
        .output()
        .unwrap();
    assert_eq!(unknown.status.code(), Some(2));
}

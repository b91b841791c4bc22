//! The command `up`.

use std::fs;
use std::process::Command;

use producer::fleet::SENSORS;
use testkit::{Launch, SmallDisk, free_port, mqtt_client, wait_until};

use crate::fixture::{SOON, Up, binary, payload, run, second, text};

#[test]
fn what_a_device_publishes_is_a_row_in_the_data_directory() {
    let up = Up::start(&[]);
    let time = second();
    for (place, sensor) in (1_u8..).zip(SENSORS.map(|sensor| sensor.name)) {
        up.publish(sensor, &payload(time, 1.5 * f64::from(place)));
    }
    up.wait_for_output(&["ledger"], "stored 1 rows");
    let rows = up.run_ok(&["rows", "MINE", "--format", "ndjson"]);
    let expected = format!(
        "{{\"rig_id\":\"MINE\",\"timestamp\":\"{time}\",\"current\":9.0,\"flow_rate\":6.0,\
         \"pressure\":4.5,\"temp_inlet\":1.5,\"temp_outlet\":3.0,\"voltage\":7.5}}\n"
    );
    assert_eq!(rows, expected);
    let ready = up.stage.get("/readyz");
    for stage in ["ingester", "transformer", "sink"] {
        assert!(ready.contains(&format!("\"stage\":\"{stage}\"")), "{ready}");
    }
    let metrics = up.stage.get("/metrics");
    assert!(
        metrics.contains("rigline_readings_total{stage=\"ingester\"} 6"),
        "{metrics}"
    );
}

#[test]
fn stop_keeps_waiting_rows_for_the_next_start() {
    let settings = [("FLUSH_INTERVAL", "1h"), ("RIG_IDLE", "2h")];
    let up = Up::start(&settings);
    let time = second();
    up.publish("pressure", &payload(time, 2.5));
    let said = up.wait_for_output(&["ledger"], "waiting 1 readings in rows that are open");
    assert!(said.contains("balanced"), "{said}");
    let dir = up.stop();
    // The commands also work while no process runs.
    let data = dir.path().join("data");
    assert!(text(&run(&data, &["ledger"])).contains("waiting 1 readings"));

    let up = Up::start_in(dir, &settings);
    up.publish("flow_rate", &payload(time, 7.0));
    up.wait_for_output(&["ledger"], "waiting 2 readings in rows that are open");
    // After SIGKILL, too, and without waiting for the old lease to expire.
    let dir = up.kill();
    let up = Up::start_in(dir, &[("FLUSH_INTERVAL", "100ms")]);
    up.wait_for_output(
        &["rows", "--format", "csv"],
        &format!("MINE,{time},7.0,2.5"),
    );
    up.run_ok(&["ledger"]);
}

#[test]
fn second_process_is_refused_with_the_first_ones_process_id() {
    let up = Up::start(&[]);
    let listen = format!("127.0.0.1:{}", free_port());
    let second = run(&up.data(), &["up", "--mqtt-listen", &listen]);
    let said = text(&second);
    let id = up.stage.pid().to_string();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains(&id) && said.contains("--data"), "{said}");
}

/// Many rows in sequence with one sensor too many: the rows are the cause, not the store.
#[test]
fn rows_above_the_sensor_limit_are_dead_letters_and_others_are_stored() {
    // The store's own limit, of sensors that have values.
    let up = Up::start(&[("FLUSH_INTERVAL", "100ms"), ("MAX_FIELDS", "2000")]);
    let lines: Vec<String> = (0..1_020)
        .map(|n| {
            let topic = format!("rigs/R{n}/measurements/s{n}");
            format!("{{\"topic\":\"{topic}\",\"payload\":{{\"value\":1}}}}")
        })
        .collect();
    let file = up.data().join("many.ndjson");
    fs::write(&file, lines.join("\n")).unwrap();
    let port = up.port.to_string();
    let ended = Command::new(binary())
        .args(["producer", "--mqtt-host", "127.0.0.1", "--mqtt-port", &port])
        .args(["--speed", "max", "--replay"])
        .arg(&file)
        .output();
    let ended = ended.unwrap();
    assert!(ended.status.success(), "{}", text(&ended));
    let said = up.wait_for_output(&["ledger"], "stored 1,000 rows");
    up.wait_for_output(&["dlq", "list", "--stage", "sink"], "of 20");
    up.publish("s7", "{\"value\":7.5}");
    up.wait_for_output(&["rows", "MINE", "--sensors", "s7"], "7.5");
    assert!(said.contains("balanced"), "{said}");
}

#[test]
fn removed_files_end_the_process_before_more_is_acknowledged() {
    for file in ["queue.db", "store.db", "lock"] {
        let mut up = Up::start(&[]);
        fs::rename(up.data().join(file), up.data().join("aside")).unwrap();
        let ended = up.stage.wait_exit(SOON);
        assert_eq!(ended.and_then(|e| e.code()), Some(1), "{file}");
        let logs = up.stage.logs();
        assert!(
            logs.contains(file) && logs.contains("removed or replaced"),
            "{logs}"
        );
    }
}

#[test]
fn missing_file_of_the_data_directory_is_logged() {
    let up = Up::start(&[]);
    up.publish("pressure", "{\"value\":1}");
    let dir = up.stop();
    fs::remove_file(dir.path().join("data/store.db")).unwrap();
    let up = Up::start_in(dir, &[]);
    let _ = up.stage.logs_with("store.db is missing or empty");
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let up = Up::start(&[]);
    let listen = format!("127.0.0.1:{}", up.port);
    for command in ["up", "demo"] {
        let dir = tempfile::TempDir::new().unwrap();
        let ended = run(dir.path(), &[command, "--mqtt-listen", &listen]);
        let said = text(&ended);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(
            said.contains(&listen) && said.contains("--mqtt-listen"),
            "{said}"
        );
    }
}

#[test]
fn bad_settings_end_the_process_before_it_creates_files() {
    let dir = tempfile::TempDir::new().unwrap();
    let data = dir.path().join("data");
    let cases: [(&[&str], &[&str]); 10] = [
        (
            &["--mqtt-listen", "0.0.0.0:0"],
            &["MQTT_USERS", "ALLOW_ANONYMOUS"],
        ),
        (&["--mqtt-listen", "here"], &["MQTT_LISTEN", "here"]),
        (
            &["--retention", "7d"],
            &["error: RETENTION (--retention): \"7d\"", "MAX_AGE"],
        ),
        (
            &["--max-age", "20000d"],
            &[
                "error: MAX_AGE (--max-age): \"20000d\"",
                "RETENTION, which is 30d",
            ],
        ),
        (
            &["--max-age", "40d", "--retention", "31d"],
            &[
                "error: RETENTION (--retention): \"31d\"",
                "MAX_AGE, which is 40d",
            ],
        ),
        (&["--max-age", "soon"], &["MAX_AGE (--max-age)"]),
        (&["--batch", "0"], &["BATCH"]),
        (&["--mqtt-users", "/nowhere"], &["MQTT_USERS", "/nowhere"]),
        (&["--raw-queue", "mine"], &["--raw-queue"]),
        // Others could read all data.
        (&["--api-addr", "0.0.0.0:0"], &["API_ADDR", "API_TOKEN"]),
    ];
    for (args, named) in cases {
        let ended = run(&data, &[&["up"], args].concat());
        let said = text(&ended);
        assert_eq!(ended.status.code(), Some(64), "{args:?}: {said}");
        for part in named {
            assert!(said.contains(part), "{args:?} doesn't name {part}: {said}");
        }
    }
    assert!(!data.exists());
}

#[test]
fn with_a_password_file_only_those_in_it_may_publish() {
    let dir = tempfile::TempDir::new().unwrap();
    let users = dir.path().join("users");
    let set = |user: &str, password: &str| {
        let mut passwd = Command::new(binary());
        passwd.arg("passwd").arg(&users).arg(user);
        passwd.stdin(std::process::Stdio::piped());
        let mut running = passwd.spawn().unwrap();
        let mut input = running.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, password.as_bytes()).unwrap();
        drop(input);
        assert!(running.wait().unwrap().success());
    };
    set("rig", "first");
    set("rig", "s3cret\n");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&users).unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "{mode:o}: others may read it");
    let users = users.display().to_string();
    // The demo's rigs could not publish.
    let demo = run(dir.path(), &["demo", "--mqtt-users", &users]);
    assert_eq!(demo.status.code(), Some(64), "{}", text(&demo));
    // Logins take seconds on a busy machine, and the reading is to wait for all of them.
    let settings = [
        ("MQTT_USERS", &*users),
        ("FLUSH_INTERVAL", "1h"),
        ("RIG_IDLE", "2h"),
    ];
    let mut up = Up::start(&settings);
    let port = up.port;
    let publish = move |login: &[&str]| {
        let mut client = mqtt_client("mosquitto_pub", port);
        client.args(["-q", "1", "-t", "rigs/MINE/measurements/pressure"]);
        client.args(["-m", "{\"value\":1}"]);
        client.args(login).output().unwrap().status.success()
    };
    assert!(publish(&["-u", "rig", "-P", "s3cret"]));
    assert!(!publish(&["-u", "rig", "-P", "first"]));
    assert!(!publish(&["-u", "other", "-P", "s3cret"]));
    assert!(!publish(&[]));
    up.wait_for_output(&["ledger"], "waiting 1 readings");
    let _ = up.stage.logs_with("-u USER -P PASSWORD");

    // A changed file counts from the next SIGHUP on.
    set("other", "new");
    set("rig", "changed");
    assert!(publish(&["-u", "rig", "-P", "s3cret"]));
    let mut reload = |message: &str| {
        up.stage.hang_up();
        let _ = up.stage.logs_with(message);
    };
    reload("INFO read MQTT_USERS again");
    assert!(publish(&["-u", "other", "-P", "new"]));
    assert!(publish(&["-u", "rig", "-P", "changed"]));
    assert!(!publish(&["-u", "rig", "-P", "s3cret"]));
    // A file that can't be read changes nothing.
    fs::write(&users, "rig:plain").unwrap();
    reload("the users are as before");
    assert!(publish(&["-u", "other", "-P", "new"]));
    up.stop();
}

#[test]
#[expect(clippy::print_stdout, reason = "what is skipped is said")]
fn full_disk_is_logged_and_retried() {
    let Some(disk) = SmallDisk::mount(8 << 20) else {
        println!("skipped: a small disk needs root");
        return;
    };
    let port = free_port();
    let data = disk.path().join("data").display().to_string();
    let stage = Launch::binary(binary())
        .args(&["up", "--data", &data, "--mqtt-listen"])
        .args(&[&format!("127.0.0.1:{port}")])
        .spawn();
    assert!(stage.ready(SOON), "{}", stage.logs());
    disk.fill();
    // Each waits for its acknowledgement, which doesn't come once the log's free pages are used up.
    let publish = |number: usize, wait: &str| {
        let topic = "rigs/MINE/measurements/pressure";
        let body = format!("{{\"value\":1,\"pad\":\"{}\"}}", "x".repeat(60_000));
        let mut client = testkit::tool("timeout");
        let publisher = mqtt_client("mosquitto_pub", port);
        client.envs(publisher.get_envs().filter_map(|(k, v)| Some((k, v?))));
        client.arg(wait).arg(publisher.get_program());
        client.args(publisher.get_args());
        client.args(["-q", "1", "-t", topic, "-m", &body]);
        assert!(number < 2_000, "the disk has no end");
        client.status().unwrap().success()
    };
    let mut number = 0;
    while publish(number, "3") {
        number += 1;
    }
    let said = wait_until(SOON, || {
        let ready = stage.get("/readyz");
        ready.contains("\"ready\":false") && ready.contains("disk is full")
    });
    assert!(said, "{}\n{}", stage.get("/readyz"), stage.logs());
    disk.free();
    assert!(
        stage.ready(SOON),
        "{}\n{}",
        stage.get("/readyz"),
        stage.logs()
    );
    assert!(publish(0, "30"));
    let mut logs = String::new();
    let balanced = wait_until(SOON, || {
        logs = text(&run(std::path::Path::new(&data), &["ledger"]));
        logs.contains("balanced")
    });
    assert!(balanced, "{logs}");
}

#[test]
fn message_is_posted_over_http_and_acknowledged_when_it_is_on_disk() {
    let up = Up::start(&[]);
    let logs = up.stage.logs_with("curl http://127.0.0.1:");
    let (_, address) = logs
        .split_once("curl http://127.0.0.1:")
        .expect("the line to copy");
    let (port, _) = address.split_once('/').expect("a path");
    let port = port.parse().expect("a port");
    let send = |topic: &str, body: &str| {
        let path = format!("/api/v1/pipelines/rigs/messages?topic={topic}");
        testkit::http_post(port, &path, body).unwrap()
    };
    let topic = "rigs/MINE/measurements/pressure";
    assert_eq!(send(topic, "{\"value\": 2.5}"), (204, String::new()));
    let (status, answer) = send(topic, "{\"value\": \"off\"}");
    assert_eq!(status, 422, "{answer}");
    assert!(answer.contains("bad_value"), "{answer}");
    let (status, answer) = send("elsewhere", "1");
    assert_eq!(status, 422, "{answer}");
    assert!(answer.contains("bad_topic"), "{answer}");
    // What was answered survives a kill.
    let dir = up.kill();
    let up = Up::start_in(dir, &[]);
    up.wait_for_output(&["rows", "--last", "1h"], "2.5");
    up.wait_for_output(&["dlq", "list"], "2 shown of 2");
    up.run_ok(&["ledger"]);
    up.stop();
}

#[test]
fn stored_row_is_read_over_http() {
    let up = Up::start(&[]);
    up.publish("temp", "{\"value\":21.5}");
    up.wait_for_output(&["rows", "--last", "1h"], "21.5");
    let logs = up.stage.logs_with("curl http://");
    let (_, page) = logs.split_once("dashboard: ").expect("the dashboard");
    let (_, address) = logs.split_once("curl http://").expect("the line to copy");
    let (address, path) = address.split_once('/').expect("a path");
    let path = path.lines().next().expect("a line");
    assert_eq!(path, "api/v1/pipelines/rigs/latest");
    assert!(page.starts_with(&format!("http://{address}\n")), "{page}");
    let address = address.parse().expect("an address");
    let latest = common::admin::check(address, &format!("/{path}")).unwrap();
    let latest: serde_json::Value = serde_json::from_str(&latest).unwrap();
    assert_eq!(latest["series"][0]["key"], "MINE");
    assert_eq!(latest["series"][0]["values"][0]["value"], 21.5);
    let health = common::admin::check(address, "/api/v1/pipelines/rigs/health").unwrap();
    let health: serde_json::Value = serde_json::from_str(&health).unwrap();
    assert_eq!(
        (&health["ready"], &health["balanced"]),
        (&true.into(), &true.into())
    );
    // An open connection doesn't hold up the stop.
    let _open = std::net::TcpStream::connect(address).unwrap();
    up.stop();
}

//! Rules about who may publish what, and ports for other protocols.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use testkit::{Certificates, free_port, mqtt_client, wait_until};

use crate::fixture::{SOON, Up};

#[test]
fn a_refused_message_is_a_dead_letter_that_names_the_user_and_rules_are_read_again() {
    let dir = tempfile::TempDir::new().unwrap();
    let (users, rules) = (dir.path().join("users"), dir.path().join("rules"));
    fs::write(&users, transport::hash_password("ann", "right").unwrap()).unwrap();
    fs::write(&rules, "pattern write rigs/%u/measurements/#\n").unwrap();
    let settings = [
        ("MQTT_USERS", users.to_str().unwrap()),
        ("MQTT_ACL", rules.to_str().unwrap()),
        ("DEAD_LETTER_LIMIT", "30"),
        ("FLUSH_INTERVAL", "1h"),
        ("RIG_IDLE", "2h"),
    ];
    let mut up = Up::start(&settings);
    let port = up.port;
    let publish = move |rig: &str, version: &str, count: u32| {
        let mut client = mqtt_client("mosquitto_pub", port);
        client.args([
            "-q",
            "1",
            "-t",
            &format!("rigs/{rig}/measurements/pressure"),
        ]);
        client.args([
            "-m",
            "{\"value\":1}",
            "-u",
            "ann",
            "-P",
            "right",
            "-V",
            version,
        ]);
        client.args(["--repeat", &count.to_string()]);
        let output = client.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert_eq!(publish("ann", "mqttv5", 1), "");
    up.wait_for_output(&["ledger"], "waiting 1 readings");
    assert!(publish("bob", "mqttv5", 1).contains("Not authorized"));
    let listed = up.wait_for_output(&["dlq", "list"], "not_allowed");
    assert!(listed.contains("bob/pressure"), "{listed}");
    let exported = up.run_ok(&["dlq", "export"]);
    assert!(
        exported.contains(r#"user \"ann\" (client id"#),
        "{exported}"
    );
    // Three letters are the quota of the user, whatever rigs it names.
    for rig in ["bob", "eve", "joe"] {
        publish(rig, "mqttv311", 2);
    }
    let listed = up.run_ok(&["dlq", "list"]);
    assert!(listed.contains("3  not_allowed"), "{listed}");
    let metric = "rigline_dead_letters_over_quota_total{reason=\"not_allowed\"} 4";
    let counted = || up.stage.get("/metrics").contains(metric);
    assert!(wait_until(SOON, counted), "{}", up.stage.get("/metrics"));

    let mut reload = |text: &str, message: &str| {
        fs::write(&rules, text).unwrap();
        up.stage.hang_up();
        let _ = up.stage.logs_with(message);
    };
    reload("topic wirte a", "the rules are as before");
    assert!(publish("bob", "mqttv5", 1).contains("Not authorized"));
    reload("user ann\ntopic write rigs/#\n", "INFO read MQTT_ACL again");
    assert_eq!(publish("bob", "mqttv5", 1), "");
    assert!(up.run_ok(&["ledger"]).contains("balanced"));
    // They are replayed only when asked for.
    let replay = |more: &[&str]| up.run_ok(&[&["dlq", "replay", "--all"], more].concat());
    assert!(replay(&["--dry-run"]).contains("0 of 0 pass"));
    assert!(replay(&["--reason", "not_allowed"]).contains("3 of 3 pass"));
    up.stop();
}

/// A client that has the port of another protocol finds the right one in the log.
#[test]
fn the_log_names_the_port_for_what_a_client_speaks() {
    let certificates = Certificates::new();
    certificates.issue("listener", &["127.0.0.1"]);
    let file = |path: PathBuf| path.display().to_string();
    let (tls, web_socket) = (free_port(), free_port());
    let address = |port: u16| format!("127.0.0.1:{port}");
    let up = Up::start(&[
        ("MQTT_TLS_LISTEN", &address(tls)),
        (
            "MQTT_TLS_CERT_FILE",
            &file(certificates.certificate("listener")),
        ),
        ("MQTT_TLS_KEY_FILE", &file(certificates.key("listener"))),
        ("MQTT_WS_LISTEN", &address(web_socket)),
    ]);
    for line in [
        format!("MQTT with TLS on 127.0.0.1:{tls}"),
        format!("MQTT over WebSocket on 127.0.0.1:{web_socket}"),
    ] {
        let _ = up.stage.logs_with(&line);
    }
    // A ClientHello, a request of HTTP, and one for WebSocket; MQTT to the others. One line of each kind is logged in
    // ten seconds.
    let hello = b"\x16\x03\x01\x02\0\x01\0".as_slice();
    let mqtt = b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0";
    let page = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let upgrade = b"GET /mqtt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
    for (port, bytes) in [
        (up.port, hello),
        (up.port, page),
        (up.port, upgrade),
        (tls, mqtt),
        (tls, page),
        (web_socket, mqtt),
        (web_socket, hello),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(bytes).unwrap();
        let ended = stream.read(&mut [0; 100]);
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
    let metric = "rigline_mqtt_refused_total{reason=\"wrong_protocol\"} 7";
    let counted = || up.stage.get("/metrics").contains(metric);
    assert!(wait_until(SOON, counted), "{}", up.stage.get("/metrics"));
    let logs = up.stage.logs_with("it speaks TLS");
    let line = logs.lines().find(|line| line.contains("it speaks TLS"));
    let line = line.unwrap_or_default();
    let port = format!("127.0.0.1:{tls} (MQTT_TLS_LISTEN)");
    assert!(line.contains("WARN") && line.contains(&port), "{logs}");
    up.stop();
}

//! Clients of other projects, and our own publisher.

use std::fs;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use common::health::Dependency;
use common::secret::Secret;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use testkit::{Mosquitto, python_with_clients, tool};
use transport::{ListenSettings, MqttSettings, Publisher, hash_password};

use super::server::{Message, Server, settings};
use crate::harness::TIMEOUT;

const TOPIC: &str = "rigs/RIG-1/measurements/pressure";

fn mosquitto_pub(server: &Server, arguments: &[&str]) -> Output {
    tool("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &server.port(), "-t", TOPIC])
        .args(arguments)
        .output()
        .unwrap()
}

fn message(payload: &str, qos: u8) -> Message {
    (TOPIC.to_owned(), payload.as_bytes().to_vec(), qos)
}

fn with_users(lines: &str) -> (tempfile::TempDir, ListenSettings) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    fs::write(&path, lines).unwrap();
    let mut settings = settings();
    settings.mqtt_users = Some(path);
    (dir, settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_pub_is_served() {
    let server = Server::start(&settings()).await;
    let mut expected = Vec::new();
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            if (version, qos) == ("mqttv5", "2") {
                continue;
            }
            let payload = format!("{version} {qos}");
            let will = ["--will-topic", "wills", "--will-payload", "gone", "-r"];
            let arguments = [&["-V", version, "-q", qos, "-m", &payload], &will[..]].concat();
            let output = mosquitto_pub(&server, &arguments);
            assert!(output.status.success(), "{output:?}");
            expected.push(message(&payload, qos.parse().unwrap()));
            server.messages(expected.len()).await;
        }
    }
    // The client knows from the CONNACK that QoS 2 isn't supported, but exits with success.
    let output = mosquitto_pub(&server, &["-V", "mqttv5", "-q", "2", "-m", "x"]);
    let output_text = String::from_utf8_lossy(&output.stderr);
    assert!(output_text.contains("QoS not supported"), "{output_text}");
    let old = mosquitto_pub(&server, &["-V", "mqttv31", "-m", "x"]);
    assert!(!old.status.success(), "{old:?}");
    let will = [
        "-V",
        "mqttv5",
        "-m",
        "x",
        "--will-topic",
        "w",
        "--will-qos",
        "2",
    ];
    let will = mosquitto_pub(&server, &will);
    assert!(!will.status.success(), "{will:?}");
    assert_eq!(server.messages(expected.len()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_users_of_a_mosquitto_password_file_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users");
    let mut make = tool("mosquitto_passwd");
    make.args(["-b", "-c"]).arg(&file).args(["ann", "right"]);
    assert!(make.status().unwrap().success());
    let mut settings = settings();
    settings.mqtt_users = Some(file);
    let server = Server::start(&settings).await;
    for version in ["mqttv311", "mqttv5"] {
        for (user, password, right) in [
            ("ann", "right", true),
            ("ann", "wrong", false),
            ("ann", "", false),
            ("eve", "right", false),
        ] {
            let login = [
                "-V", version, "-u", user, "-P", password, "-m", "x", "-q", "1",
            ];
            let output = mosquitto_pub(&server, &login);
            assert_eq!(
                output.status.success(),
                right,
                "{user} {password} {output:?}"
            );
        }
        let output = mosquitto_pub(&server, &["-V", version, "-m", "x", "-q", "1"]);
        assert!(!output.status.success(), "{output:?}");
    }
    settings.allow_anonymous = true;
    let open = Server::start(&settings).await;
    let anonymous = mosquitto_pub(&open, &["-m", "x", "-q", "1"]);
    assert!(anonymous.status.success(), "{anonymous:?}");
    let wrong = mosquitto_pub(&open, &["-m", "x", "-q", "1", "-u", "ann", "-P", "wrong"]);
    assert!(!wrong.status.success(), "{wrong:?}");
    assert_eq!(server.messages(2).await.len(), 2);
}

#[test]
fn mosquitto_accepts_our_password_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users");
    let lines = [("ann", "right"), ("bob", "päss wörd")].map(|(u, p)| hash_password(u, p).unwrap());
    fs::write(&file, format!("{}\n{}\n", lines[0], lines[1])).unwrap();
    let line = format!("password_file {}", file.display());
    let broker = Mosquitto::start_with(&["allow_anonymous false", &line]);
    let login = |user, password| {
        let mut command = broker.client("mosquitto_pub");
        command.args(["-t", "t", "-m", "x", "-u", user, "-P", password]);
        command.output().unwrap().status.success()
    };
    assert!(login("ann", "right") && login("bob", "päss wörd"));
    assert!(!login("ann", "wrong"));
}

fn paho(server: &Server, protocol: &str, count: &str, login: [&str; 2]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/listener/window.py");
    let mut command: Command = python_with_clients();
    command
        .args([script, &server.port(), protocol, count, "100"])
        .args(login);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn paho_is_served_in_both_versions() {
    let (_dir, settings) = with_users(&hash_password("ann", "right").unwrap());
    let server = Server::start(&settings).await;
    for (protocol, before) in [("4", 0), ("5", 3_000)] {
        let output_text = paho(&server, protocol, "3000", ["ann", "right"]);
        assert_eq!(output_text, "3000 in order");
        let messages = server.messages(before + 3_000).await;
        let expected = (0..3_000).map(|number| message(&number.to_string(), 1));
        assert!(messages[before..].iter().cloned().eq(expected));
        let output_text = paho(&server, protocol, "1", ["ann", "wrong"]);
        assert!(output_text.starts_with("refused:"), "{output_text}");
    }
}

/// At most 20 of 500 messages are under way at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn rumqttc_publishes_with_qos_2() {
    let server = Server::start(&settings()).await;
    let options = MqttOptions::new("device", "127.0.0.1", server.address.port());
    let (client, mut events) = AsyncClient::new(options, 20);
    let mut left = 500;
    tokio::spawn(async move {
        for number in 0..left {
            let payload = number.to_string();
            let sent = client.publish(TOPIC, QoS::ExactlyOnce, false, payload);
            sent.await.unwrap();
        }
        // The event loop ends when it is dropped.
        std::future::pending::<()>().await;
    });
    let completed = async {
        while left > 0 {
            if let Event::Incoming(Packet::PubComp(_)) = events.poll().await.unwrap() {
                left -= 1;
            }
        }
    };
    tokio::time::timeout(TIMEOUT, completed).await.unwrap();
    let expected = (0..500).map(|number| message(&number.to_string(), 2));
    assert!(server.messages(500).await.into_iter().eq(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_publisher_is_served() {
    let (_dir, settings) = with_users(&hash_password("ann", "right").unwrap());
    let server = Server::start(&settings).await;
    let mut settings = MqttSettings::at("127.0.0.1", server.address.port());
    settings.mqtt_username = "ann".into();
    settings.mqtt_password = Some(Secret::new("right"));
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let list = acknowledged.clone();
    let dependency = Dependency::unreported("mqtt");
    let publisher = Publisher::start(&settings, "sender", dependency, move |id| {
        list.lock().unwrap().push(id);
    });
    for id in 0..20_000 {
        publisher
            .publish(id, TOPIC.into(), id.to_string())
            .await
            .unwrap();
    }
    assert!(publisher.drain(TIMEOUT).await);
    publisher.close().await;
    assert!(acknowledged.lock().unwrap().iter().copied().eq(0..20_000));
    let expected = (0..20_000).map(|id| message(&id.to_string(), 1));
    assert!(server.messages(20_000).await.into_iter().eq(expected));
}

//! TLS below MQTT and below WebSocket.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;

use testkit::{Certificates, tool};
use transport::{ListenSettings, Listener};

use super::raw::Raw;
use super::server::{Server, listen, receive, settings};

fn settings_tls(certificates: &Certificates) -> ListenSettings {
    certificates.issue("listener", &["127.0.0.1"]);
    let mut settings = settings();
    let sockets = &mut settings.sockets;
    sockets.mqtt_tls_listen = Some(settings.mqtt_listen);
    sockets.mqtt_wss_listen = Some(settings.mqtt_listen);
    sockets.mqtt_tls_cert_file = Some(certificates.certificate("listener"));
    sockets.mqtt_tls_key_file = Some(certificates.key("listener"));
    settings
}

fn publish(address: SocketAddr, authority: &Path, more: &[&str]) -> Output {
    let mut client = tool("mosquitto_pub");
    client.args(["-h", "127.0.0.1", "-p", &address.port().to_string()]);
    client.arg("--cafile").arg(authority);
    client.args(["-q", "1", "-t", "t", "-m", "x"]).args(more);
    client.output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_pub_publishes_by_tls_with_a_certificate_that_is_read_again() {
    let certificates = Certificates::new();
    let settings = settings_tls(&certificates);
    let (listener, mut listening) = listen(&settings).await;
    let address = listener.tls_addr().unwrap();
    let acknowledge = tokio::spawn(async move {
        loop {
            let deliveries = receive(&mut listening, 1).await;
            super::server::ack(&listening, deliveries);
        }
    });
    for version in ["mqttv311", "mqttv5"] {
        let output = publish(address, &certificates.ca(), &["-V", version]);
        assert!(output.status.success(), "{output:?}");
    }
    let output = publish(address, &certificates.ca(), &["--tls-version", "tlsv1.2"]);
    assert!(output.status.success(), "{output:?}");
    // Now by another authority, which the client doesn't trust.
    let others = Certificates::new();
    others.issue("listener", &["127.0.0.1"]);
    let copy = |from: &Path, to: &Path| std::fs::copy(from, to).unwrap();
    copy(
        &others.certificate("listener"),
        &certificates.certificate("listener"),
    );
    copy(&others.key("listener"), &certificates.key("listener"));
    assert!(publish(address, &certificates.ca(), &[]).status.success());
    let reload = listener.reload();
    reload();
    assert!(!publish(address, &certificates.ca(), &[]).status.success());
    assert!(publish(address, &others.ca(), &[]).status.success());
    // A certificate that can't be read changes nothing.
    std::fs::write(certificates.certificate("listener"), "nothing").unwrap();
    reload();
    assert!(publish(address, &others.ca(), &[]).status.success());
    acknowledge.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cn_of_a_client_certificate_is_the_user() {
    let certificates = Certificates::new();
    certificates.issue("ann", &[]);
    let mut settings = settings_tls(&certificates);
    settings.sockets.mqtt_tls_client_ca_file = Some(certificates.ca());
    let rules = certificates.dir().join("rules");
    std::fs::write(&rules, "user ann\ntopic write t\n").unwrap();
    settings.mqtt_acl = Some(rules);
    let listener = Listener::bind(&settings).await.unwrap();
    let mut listening = listener.start(&common::health::Dependency::unreported("mqtt"));
    let address = listener.tls_addr().unwrap();
    let authority = certificates.ca();
    let (cert, key) = (certificates.certificate("ann"), certificates.key("ann"));
    let task = tokio::task::spawn_blocking(move || {
        let login = [
            "--cert",
            cert.to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
        ];
        let with = publish(address, &authority, &[&login, &["-u", "eve"][..]].concat());
        assert!(with.status.success(), "{with:?}");
        let without = publish(address, &authority, &[]);
        assert!(!without.status.success(), "{without:?}");
        let others = Certificates::new();
        others.issue("ann", &[]);
        let (cert, key) = (others.certificate("ann"), others.key("ann"));
        let login = [
            "--cert",
            cert.to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
        ];
        let other = publish(address, &authority, &login);
        assert!(!other.status.success(), "{other:?}");
    });
    let deliveries = receive(&mut listening, 1).await;
    // Ann may publish here, and nobody else.
    assert_eq!(deliveries[0].refused, None);
    super::server::ack(&listening, deliveries);
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn websocket_works_over_tls() {
    let certificates = Certificates::new();
    let (listener, mut listening) = listen(&settings_tls(&certificates)).await;
    let address = listener.web_socket_tls_addr().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/listener/wss.py");
    let mut client = testkit::python_with_clients();
    client
        .args([script, &address.port().to_string()])
        .arg(certificates.ca());
    let client = tokio::task::spawn_blocking(move || client.output().unwrap());
    let deliveries = receive(&mut listening, 1).await;
    assert_eq!(deliveries[0].payload, b"by wss"[..]);
    super::server::ack(&listening, deliveries);
    let output = client.await.unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_speak_something_else_are_disconnected() {
    let certificates = Certificates::new();
    let server = Server::start(&settings_tls(&certificates)).await;
    for bytes in [
        b"\x16\x03\x01\x02\0\x01\0".as_slice(),
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut raw = Raw::open(server.address);
        raw.send(bytes);
        raw.closed();
    }
}

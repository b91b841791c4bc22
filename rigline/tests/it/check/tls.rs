//! Servers and ports of `rigline up` with TLS, and WebSocket.

use std::path::Path;

use serde_json::Value;
use testkit::influxdb::BUCKET;
use testkit::{Certificates, InfluxDb, Mosquitto, Redis, free_port, write_password_file};

use super::{Servers, detail};
use crate::fixture::Up;

const OK: [(String, String); 0] = [];

fn fault(status: &str, check: &str) -> (String, String) {
    (status.to_owned(), check.to_owned())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn next_step<'a>(lines: &'a Value, check: &str) -> &'a str {
    let mut all = lines.as_array().unwrap().iter();
    let line = all.find(|line| line["check"] == check);
    line.and_then(|line| line["next_step"].as_str()).unwrap()
}

/// The settings of clients that show the certificate `checker`.
fn with_certificate(servers: &Servers, made: &Certificates) -> Servers {
    let (ca, cert) = (text(&made.ca()), text(&made.certificate("checker")));
    let key = text(&made.key("checker"));
    servers
        .with("MQTT_CA_FILE", &ca)
        .with("MQTT_CERT_FILE", &cert)
        .with("MQTT_KEY_FILE", &key)
        .with("REDIS_CA_FILE", &ca)
        .with("REDIS_CERT_FILE", &cert)
        .with("REDIS_KEY_FILE", &key)
        .with("INFLUX_CA_FILE", &ca)
}

#[test]
fn servers_with_tls_are_good_and_what_is_wrong_has_its_remedy() {
    let made = Certificates::new();
    for name in ["broker", "redis", "influxdb"] {
        made.issue(name, &["localhost"]);
    }
    made.issue("checker", &[]);
    let users = made.dir().join("users");
    write_password_file(&users, "ann", "right");
    let file = format!("password_file {}", users.display());
    let lines = ["allow_anonymous false", &file, "require_certificate true"];
    let mosquitto = Mosquitto::start_with_tls(&made, &lines);
    let (redis, redis_port) = Redis::start_with_tls(&made, "yes");
    let mut influx = InfluxDb::start();
    let plain = Servers::new(&mosquitto, &redis, &influx, BUCKET);
    influx.restart_with_tls(&made);
    let url = format!("https://localhost:{}", influx.port());
    let good = with_certificate(&plain, &made)
        .with("MQTT_HOST", "localhost")
        .with("MQTT_TLS", "true")
        .with("MQTT_VERSION", "5")
        .with("MQTT_USERNAME", "ann")
        .with("MQTT_PASSWORD", "right")
        .with("REDIS_HOST", "localhost")
        .with("REDIS_PORT", &redis_port.to_string())
        .with("REDIS_TLS", "true")
        .with("INFLUX_URL", &url);
    let (faults, lines) = good.faults();
    assert_eq!(faults, [fault("warn", "MQTT persistence")], "{lines:#}");
    assert!(detail(&lines, "InfluxDB").starts_with(&url));
    assert!(detail(&lines, "MQTT limits").contains("QoS up to 2"));

    let untrusted = Certificates::new();
    let ca = text(&untrusted.ca());
    for (check, setting, value) in [
        ("MQTT broker", "MQTT_CA_FILE", ca.as_str()),
        ("MQTT broker", "MQTT_SERVER_NAME", "broker.example"),
        ("Redis", "REDIS_CA_FILE", &ca),
        ("Redis", "REDIS_SERVER_NAME", "redis.example"),
        ("InfluxDB", "INFLUX_CA_FILE", &ca),
        ("InfluxDB", "INFLUX_SERVER_NAME", "influx.example"),
    ] {
        let wrong = good.with(setting, value);
        assert_eq!(wrong.bad(), [check]);
        let (_, lines) = wrong.faults();
        assert!(detail(&lines, check).contains(setting), "{lines:#}");
        assert!(
            next_step(&lines, check).contains("docs/tls.md"),
            "{lines:#}"
        );
    }
    // No TLS at ports that have it.
    assert_eq!(good.with("MQTT_TLS", "false").bad(), ["MQTT broker"]);
    assert_eq!(good.with("REDIS_TLS", "false").bad(), ["Redis"]);
    let http = url.replace("https", "http");
    assert_eq!(good.with("INFLUX_URL", &http).bad(), ["InfluxDB"]);
}

#[test]
fn other_ports_of_the_listener_are_checked() {
    let made = Certificates::new();
    made.issue("listener", &["localhost"]);
    made.issue("checker", &[]);
    let [tls, web_socket, both] = [(); 3].map(|()| free_port());
    let address = |port: u16| format!("127.0.0.1:{port}");
    let (cert, key) = (
        text(&made.certificate("listener")),
        text(&made.key("listener")),
    );
    let (tls_at, web_socket_at, both_at) = (address(tls), address(web_socket), address(both));
    let authority = text(&made.ca());
    let listens = [
        ("MQTT_TLS_LISTEN", tls_at.as_str()),
        ("MQTT_WS_LISTEN", &web_socket_at),
        ("MQTT_WSS_LISTEN", &both_at),
        ("MQTT_TLS_CERT_FILE", &cert),
        ("MQTT_TLS_KEY_FILE", &key),
    ];
    let up = Up::start(&listens);
    let mut env: Vec<_> = listens.map(|(name, value)| (name, value.to_owned())).into();
    env.extend([
        ("RIGLINE_DATA", up.data().display().to_string()),
        ("MQTT_HOST", "localhost".to_owned()),
        ("MQTT_PORT", up.port.to_string()),
        ("MQTT_CA_FILE", authority.clone()),
    ]);
    let good = Servers { env };
    let (faults, lines) = good.faults();
    assert_eq!(faults, OK, "{lines:#}");
    let [of_tls, of_web_socket, of_both] =
        ["TLS", "WebSocket", "WebSocket with TLS"].map(|what| format!("MQTT listener, {what}"));
    for check in [&of_tls, &of_web_socket, &of_both] {
        assert!(detail(&lines, check).ends_with(", takes connections"));
    }

    let untrusted = Certificates::new();
    let wrong = good.with("MQTT_CA_FILE", &text(&untrusted.ca()));
    assert_eq!(wrong.bad(), [of_tls.clone(), of_both.clone()]);
    assert!(detail(&wrong.faults().1, &of_both).contains("MQTT_CA_FILE"));
    // Plain MQTT where WebSocket is expected, and nothing at all.
    let wrong = good.with("MQTT_WS_LISTEN", &address(up.port));
    assert_eq!(wrong.bad(), [of_web_socket.as_str()]);
    let closed = good.with("MQTT_WS_LISTEN", &address(free_port()));
    assert_eq!(closed.bad(), [of_web_socket.as_str()]);

    // A listener that asks for certificates.
    up.stop();
    let up = Up::start(&[&listens[..], &[("MQTT_TLS_CLIENT_CA_FILE", &authority)]].concat());
    let good = good
        .with("RIGLINE_DATA", &up.data().display().to_string())
        .with("MQTT_PORT", &up.port.to_string())
        .with("MQTT_TLS_CLIENT_CA_FILE", &authority);
    let (faults, lines) = good.faults();
    let untried = [fault("warn", &of_tls), fault("warn", &of_both)];
    assert_eq!(faults, untried, "{lines:#}");
    let (faults, lines) = with_certificate(&good, &made).faults();
    assert_eq!(faults, OK, "{lines:#}");
    up.stop();
}

//! Authorities, and certificates of servers and of clients.

use std::fs;

use e2e::{Chain, Role};
use queue::ledger::{Counter, Ledger};
use queue::testing::assert_exact;
use tempfile::TempDir;
use testkit::influxdb::BUCKET;
use testkit::{Certificates, Mosquitto, Redis};

use super::{READINGS, publish, replace};
use crate::readings::{SOON, this_second};

/// The servers, with the prefix of the settings of each.
const SERVERS: [(&str, &str); 3] = [
    ("broker", "MQTT"),
    ("redis", "REDIS"),
    ("influxdb", "INFLUX"),
];

/// An authority with certificates of all servers, and of a client.
fn authority() -> Certificates {
    let made = Certificates::new();
    for (name, _) in SERVERS {
        made.issue(name, &["localhost"]);
    }
    made.issue("client", &[]);
    made
}

/// Replaces the files of a server by those of another authority.
fn renew_server(name: &str, of: &Certificates, by: &Certificates) {
    let certificate = [by.certificate(name), by.key(name), by.ca()];
    for (old, new) in [of.certificate(name), of.key(name), of.ca()]
        .iter()
        .zip(certificate)
    {
        replace(old, &fs::read_to_string(new).unwrap());
    }
}

/// The files of the stages: for each kind of server of their own.
struct Ours(TempDir);

impl Ours {
    const NAMES: [(&str, &str); 3] = [
        ("CA", "ca.pem"),
        ("CERT", "client.pem"),
        ("KEY", "client.key"),
    ];

    fn renew(&self, prefix: &str, by: &Certificates) {
        for (what, name) in Self::NAMES {
            let text = fs::read_to_string(by.dir().join(name)).unwrap();
            replace(&self.0.path().join(format!("{prefix}_{what}")), &text);
        }
    }

    fn settings(&self) -> Vec<(String, String)> {
        let of_server = |(_, prefix): (&str, &str)| {
            Self::NAMES.map(|(what, _)| {
                let path = self.0.path().join(format!("{prefix}_{what}"));
                (format!("{prefix}_{what}_FILE"), path.display().to_string())
            })
        };
        SERVERS.into_iter().flat_map(of_server).collect()
    }
}

/// The options of `mosquitto_pub` for a client of this authority.
fn login(made: &Certificates) -> Vec<String> {
    let files = [
        ("--cafile", made.ca()),
        ("--cert", made.certificate("client")),
        ("--key", made.key("client")),
    ];
    let files = files.map(|(option, path)| [option.to_owned(), path.display().to_string()]);
    let host = ["-h".to_owned(), "localhost".to_owned()];
    [&host, files.as_flattened()].concat()
}

async fn wait_until_stored(chain: &Chain, readings: i64) {
    let is_stored = |ledger: &Ledger| ledger.get(Counter::RowsStored) == readings;
    assert_exact(&chain.wait_for(3 * SOON, is_stored).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotated_certificates_lose_no_reading() {
    let (of_servers, renewed) = (authority(), authority());
    let ours = Ours(TempDir::new().unwrap());
    for (_, prefix) in SERVERS {
        ours.renew(prefix, &of_servers);
    }
    let lines = ["allow_anonymous true", "require_certificate true"];
    let mosquitto = Mosquitto::start_with_tls(&of_servers, &lines);
    let (redis, redis_port) = Redis::start_with_tls(&of_servers, "yes");
    let mut chain = Chain::around(mosquitto, redis, &[("FLUSH_INTERVAL", "200ms")]);
    chain.influxdb.restart_with_tls(&of_servers);
    let port = redis_port.to_string();
    let url = format!("https://localhost:{}", chain.influxdb.port());
    let files = ours.settings();
    let mut settings = vec![
        ("MQTT_HOST", "localhost"),
        ("MQTT_TLS", "true"),
        ("REDIS_HOST", "localhost"),
        ("REDIS_PORT", port.as_str()),
        ("REDIS_TLS", "true"),
        ("INFLUX_URL", &url),
    ];
    settings.extend(files.iter().map(|(name, value)| (&**name, &**value)));
    let mut stages = Role::ALL.map(|role| chain.spawn(role.name(), &settings));
    for stage in &stages {
        assert!(stage.ready(SOON), "{}", stage.logs());
    }
    let first_second = this_second() - 2_000_000;
    publish(&chain, &login(&of_servers), first_second, 0);
    wait_until_stored(&chain, READINGS).await;
    for (phase, (server, prefix)) in (1..).zip(SERVERS) {
        renew_server(server, &of_servers, &renewed);
        match server {
            "broker" => chain.mosquitto.restart(),
            "redis" => chain.redis.restart(),
            _ => chain.influxdb.restart_with_tls(&of_servers),
        }
        publish(&chain, &login(&renewed), first_second, phase);
        ours.renew(prefix, &renewed);
        for stage in &mut stages {
            stage.hang_up();
        }
        wait_until_stored(&chain, (phase + 1) * READINGS).await;
    }
    chain.influxdb.restart();
    let expected = usize::try_from(4 * READINGS).unwrap();
    assert_eq!(chain.influxdb.points(BUCKET).len(), expected);
}

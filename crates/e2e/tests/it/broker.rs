//! `MQTT_VERSION=5` of all stages, with a real broker: plain, and with TLS and passwords.

use e2e::Chain;
use queue::ledger::{Counter, Ledger};
use queue::testing::assert_exact;
use testkit::{Certificates, Mosquitto, Redis, write_password_file};

use crate::readings::{SOON, all_stored, assert_stored};

const RIGS: [&str; 2] = ["RIG-1", "RIG-42"];
/// Readings that a rig sends of each sensor in a run of the producer.
const ROUNDS: u64 = 50;

/// Runs the producer once, with a fleet of two rigs.
fn produce(chain: &Chain) {
    let (rigs, count) = (RIGS.join(","), (ROUNDS * 12).to_string());
    let fleet = [
        ("RIGS", rigs.as_str()),
        ("SEED", "7"),
        ("FAST", "true"),
        ("COUNT", &count),
    ];
    let mut producer = chain.spawn("producer", &fleet);
    let exit = producer.wait_exit(SOON);
    let is_success = exit.is_some_and(|status| status.success());
    assert!(is_success, "{}", producer.logs());
}

/// Publishes while the ingester is stopped, starts it again, and expects all readings in the store. Both clients
/// of the broker have to speak MQTT 5.
async fn assert_every_reading_is_stored(chain: &Chain) {
    let [mut ingester, _transformer, _sink] = chain.spawn_all();
    ingester.terminate();
    assert!(ingester.wait_exit(SOON).is_some_and(|exit| exit.success()));
    produce(chain);
    let _ingester = chain.spawn("ingester", &[]);
    let rows = i64::try_from(2 * ROUNDS).unwrap();
    let is_done = |ledger: &Ledger| all_stored(ledger) && ledger.get(Counter::RowsStored) == rows;
    let ledger = chain.wait_for(SOON, is_done).await;
    assert_exact(&ledger);
    assert_eq!(ledger.dead, 0, "{ledger:#?}");
    assert_stored(&chain.rows(), &RIGS, 7, ROUNDS);
    let logs = chain.mosquitto.logs();
    for name in ["rigline-producer", "rigline-ingester"] {
        let is_login = |line: &&str| line.contains("New client connected") && line.contains(name);
        let mut logins = logs.lines().filter(is_login).peekable();
        assert!(logins.peek().is_some(), "no {name}: {logs}");
        assert!(logins.all(|line| line.contains("(p5, ")), "{logs}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stages_of_mqtt_5_store_every_reading() {
    let chain = Chain::start(&[("MQTT_VERSION", "5")]);
    assert_every_reading_is_stored(&chain).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stages_of_mqtt_5_store_every_reading_over_tls_with_passwords() {
    let made = Certificates::new();
    made.issue("broker", &["localhost"]);
    let users = made.dir().join("users");
    write_password_file(&users, "ann", "right");
    let file = format!("password_file {}", users.display());
    let mosquitto = Mosquitto::start_with_tls(&made, &["allow_anonymous false", &file]);
    let ca = made.ca().display().to_string();
    let settings = [
        ("MQTT_VERSION", "5"),
        ("MQTT_HOST", "localhost"),
        ("MQTT_TLS", "true"),
        ("MQTT_CA_FILE", &ca),
        ("MQTT_USERNAME", "ann"),
        ("MQTT_PASSWORD", "right"),
    ];
    let chain = Chain::around(mosquitto, Redis::start(), &settings);
    assert_every_reading_is_stored(&chain).await;
}

//! Windows hold every reading once, whatever is killed between readings, closings and corrections.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use common::clock::Clock;
use e2e::chain::{Chain, Role};
use model::Timestamp;
use queue::Queue;
use queue::ledger::Counter;
use tempfile::TempDir;

use crate::statistics::{Sent, WINDOW_MS, assert_stored, expected};

const SOON: Duration = Duration::from_mins(1);
const DEVICES: [&str; 3] = ["a", "b", "c"];
/// How often something is killed.
const KILLS: usize = 30;
/// Readings between two kills.
const READINGS: usize = 60;

const PIPELINE: &str = r#"
name = "plant"
[source]
topic = "plant/{device}"
[message]
fields = { v = "/v" }
[rows]
shape = "window"
every = "1s"
statistics = ["count", "mean", "median", "min", "max"]
names = "{statistic}"
grace = "100ms"
[limits]
late_window = "10m"
"#;

/// Readings of windows that are open, and of some that closed long ago. A time of a device has one value
/// only: two would be one reading that was corrected.
fn readings(rng: &mut fastrand::Rng, now_ms: i64, taken: &mut BTreeSet<(usize, i64)>) -> Vec<Sent> {
    let mut sent = Vec::new();
    while sent.len() < READINGS {
        let device = rng.usize(..DEVICES.len());
        let age = if rng.bool() {
            rng.i64(0..800)
        } else {
            rng.i64(0..20 * WINDOW_MS)
        };
        let ms = now_ms - age;
        if taken.insert((device, ms)) {
            let value = f64::from(rng.i32(-1_000..1_000)) / 8.0;
            sent.push(Sent {
                series: DEVICES[device],
                ms,
                value,
            });
        }
    }
    sent
}

/// Publishes with QoS 1; some readings twice, as devices do that missed an acknowledgement.
fn publish(chain: &Chain, rng: &mut fastrand::Rng, sent: &[Sent]) {
    for device in DEVICES {
        let mut client = chain.mosquitto.client("mosquitto_pub");
        client.args(["-q", "1", "-l", "-t", &format!("plant/{device}")]);
        let mut client = client.stdin(Stdio::piped()).spawn().unwrap();
        let mut input = client.stdin.take().unwrap();
        for reading in sent.iter().filter(|reading| reading.series == device) {
            let time = Timestamp::from_millis(reading.ms);
            let line = format!(r#"{{"timestamp":"{time}","v":{}}}"#, reading.value);
            for _ in 0..=usize::from(rng.u8(..10) == 0) {
                writeln!(input, "{line}").unwrap();
            }
        }
        drop(input);
        assert!(client.wait().unwrap().success());
    }
}

#[expect(clippy::print_stdout, reason = "a failed run can be repeated")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_between_readings_closings_and_corrections_change_no_window() {
    let seed = std::env::var("RIGLINE_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("seed {seed} (RIGLINE_SEED={seed} repeats the choices)");
    let mut rng = fastrand::Rng::with_seed(seed);
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("plant.toml");
    std::fs::write(&path, PIPELINE).unwrap();
    let mut chain = Chain::start(&[("PIPELINES", path.to_str().unwrap()), ("LEASE", "1s")]);
    let mut stages = chain.spawn_all();
    let (mut all, mut taken) = (Vec::new(), BTreeSet::new());
    for _ in 0..KILLS {
        let now_ms = Clock::system().now().nanos() / 1_000_000;
        let sent = readings(&mut rng, now_ms, &mut taken);
        publish(&chain, &mut rng, &sent);
        all.extend(sent);
        tokio::time::sleep(Duration::from_millis(rng.u64(0..400))).await;
        let victim = rng.usize(..=Role::ALL.len());
        if victim == Role::ALL.len() {
            chain.redis.kill();
            chain.redis.restart();
        } else {
            stages[victim].kill();
            stages[victim] = chain.spawn(Role::ALL[victim].name(), &[]);
        }
    }
    assert_stored(&chain.influxdb, "device", &expected(&all), SOON);
    let settings = queue::testing::settings().of_pipeline("plant");
    let ledger = chain.queue_of(&settings).snapshot().await.unwrap().ledger;
    let is_balanced = |line: &queue::ledger::Line| line.left == line.right;
    assert!(ledger.lines().iter().all(is_balanced), "{ledger:?}");
    let sent = i64::try_from(all.len()).unwrap();
    let readings = ledger.get(Counter::Readings) - ledger.get(Counter::Repeated);
    assert_eq!((readings, ledger.get(Counter::DeadTransformer)), (sent, 0));
}

//! Readings in, rows out, over real servers and real processes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use common::clock::Clock;
use common::time::Timestamp;
use e2e::rows::Rows;
use e2e::{Chain, Role};
use producer::fleet::{Faults, Fleet};
use queue::ledger::{Counter, Ledger};
use queue::testing::{assert_exact, assert_holds};

const SENSORS: [&str; 6] = [
    "temp_inlet",
    "temp_outlet",
    "pressure",
    "flow_rate",
    "voltage",
    "current",
];
const SOON: Duration = Duration::from_secs(20);

/// The second before this one, in milliseconds since 1970.
fn this_second() -> i64 {
    Clock::system().now().seconds() * 1_000
}

fn payload(ms: i64, value: f64) -> String {
    format!(
        "{{\"timestamp\":\"{}\",\"value\":{value}}}",
        Timestamp::from_millis(ms)
    )
}

fn all_stored(ledger: &Ledger) -> bool {
    ledger.raw == 0
        && ledger.normalized == 0
        && ledger.get(Counter::OpenReadings) == 0
        && ledger.get(Counter::RowsStored) > 0
}

/// The one value of each cell.
fn values(rows: &Rows) -> BTreeMap<(String, i64, String), f64> {
    let one = |values: &Vec<f64>| {
        assert!(
            values
                .iter()
                .all(|value| value.to_bits() == values[0].to_bits()),
            "{values:?}"
        );
        values[0]
    };
    rows.iter()
        .map(|(cell, values)| (cell.clone(), one(values)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_any_client_publishes_arrives_as_a_complete_row_within_a_second() {
    let chain = Chain::start(&[]);
    let _stages = chain.spawn_all();
    let second = this_second();
    for (place, sensor) in (0_i32..).zip(SENSORS) {
        let value = 10.25 * f64::from(place + 1);
        chain.publish(
            &format!("rigs/RIG-7/measurements/{sensor}"),
            &payload(second + 7, value),
        );
    }
    let published = Instant::now();
    let ledger = chain.wait_for(SOON, all_stored).await;
    assert!(
        published.elapsed() < Duration::from_secs(1),
        "{:?}",
        published.elapsed()
    );
    assert_exact(&ledger);
    assert_eq!(ledger.get(Counter::RowsStored), 1, "one row: {ledger:#?}");
    let expected: BTreeMap<_, _> = (0_i32..)
        .zip(SENSORS)
        .map(|(place, sensor)| {
            (
                ("RIG-7".to_owned(), second, sensor.to_owned()),
                10.25 * f64::from(place + 1),
            )
        })
        .collect();
    assert_eq!(values(&chain.rows()), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_our_producer_sends_is_stored_value_by_value() {
    const ROUNDS: u64 = 50;
    let chain = Chain::start(&[]);
    let _stages = chain.spawn_all();
    let count = (ROUNDS * 12).to_string();
    let fleet = [
        ("RIGS", "RIG-1,RIG-42"),
        ("SEED", "7"),
        ("FAST", "true"),
        ("COUNT", count.as_str()),
    ];
    let mut producer = chain.spawn("producer", &fleet);
    let exit = producer.wait_exit(SOON);
    assert!(
        exit.is_some_and(|status| status.success()),
        "{}",
        producer.logs()
    );
    let rows = i64::try_from(2 * ROUNDS).unwrap();
    let ledger = chain
        .wait_for(SOON, |ledger| {
            all_stored(ledger) && ledger.get(Counter::RowsStored) == rows
        })
        .await;
    assert_exact(&ledger);
    let stored = values(&chain.rows());
    assert_eq!(stored.len(), usize::try_from(ROUNDS).unwrap() * 12);
    let names = ["RIG-1", "RIG-42"].map(str::to_owned);
    let fleet = Fleet::new(&names, 7, Faults::default());
    let ticks: BTreeSet<i64> = stored.keys().map(|(_, ms, _)| *ms).collect();
    for (round, ms) in (0..ROUNDS).zip(&ticks) {
        for (rig, name) in names.iter().enumerate() {
            for (place, sensor) in producer::fleet::SENSORS.iter().enumerate() {
                let cell = (name.clone(), *ms, sensor.name.to_owned());
                let sent = fleet.value(rig, place, round);
                let found = stored.get(&cell).map(|value| value.to_bits());
                assert_eq!(found, Some(sent.to_bits()), "{cell:?} = {sent}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_becomes_dead_letters_and_the_good_part_goes_on() {
    let chain = Chain::start(&[("FLUSH_INTERVAL", "200ms")]);
    let _stages = chain.spawn_all();
    let now = this_second();
    chain.publish("rigs/R/measurements/pressure/extra", "{\"value\":1}");
    chain.publish("rigs/R/measurements/time", "{\"value\":1}");
    chain.publish("rigs/R/measurements/pressure", "{\"value\":");
    chain.publish("rigs/R/measurements/pressure", "[1]");
    chain.publish(
        "rigs/R/measurements/pressure",
        &payload(now + 3_600_000, 1.0),
    );
    chain.publish(
        "rigs/R/measurements/pressure",
        "{\"timestamp\":0,\"value\":1}",
    );
    chain.publish("rigs/R/measurements/pressure", &"x".repeat(70_000));
    chain.publish("rigs/R/measurements/pressure", &payload(now, 2.5));
    let _ = chain
        .redis
        .cli(&["RPUSH", "raw_events", "a stranger's element"]);
    let _ = chain
        .redis
        .cli(&["RPUSH", "normalized_events", "{\"rig_id\":\"R\"}"]);
    let ledger = chain
        .wait_for(SOON, |ledger| {
            all_stored(ledger)
                && ledger.get(Counter::DeadTransformer) == 1
                && ledger.get(Counter::DeadSink) == 1
        })
        .await;
    assert_holds(&ledger);
    assert_eq!((ledger.raw_foreign(), ledger.rows_foreign()), (1, 1));
    assert_eq!(
        values(&chain.rows()),
        BTreeMap::from([(("R".into(), now, "pressure".into()), 2.5)])
    );

    let letters = chain.redis.cli(&["LRANGE", "dead_letters", "0", "-1"]);
    discard_as_the_readme_says(&chain);
    let ledger = chain.ledger().await;
    assert_eq!((ledger.dead, ledger.get(Counter::Discarded)), (0, 9));
    assert_holds(&ledger);
    let mut reasons: Vec<String> = letters
        .lines()
        .map(|line| {
            let letter: serde_json::Value = serde_json::from_str(line).unwrap();
            for member in ["id", "time", "stage", "detail", "topic", "payload"] {
                assert!(letter[member].is_string(), "{member} of {line}");
            }
            let text = |member: &str| letter[member].as_str().unwrap().to_owned();
            format!("{} {}", text("stage"), text("reason"))
        })
        .collect();
    reasons.sort();
    assert_eq!(
        reasons,
        [
            "ingester bad_name",
            "ingester bad_topic",
            "ingester future",
            "ingester not_json",
            "ingester not_object",
            "ingester past",
            "ingester too_large",
            "sink bad_element",
            "transformer bad_element",
        ]
    );
}

fn discard_as_the_readme_says(chain: &Chain) {
    let readme = include_str!("../../../../README.md");
    let command = readme.split("redis-cli eval \"").nth(1).unwrap();
    let (script, keys) = command.lines().next().unwrap().split_once("\" ").unwrap();
    let mut eval = vec!["EVAL", script];
    eval.extend(keys.split(' '));
    assert_eq!(chain.redis.cli(&eval), "9");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_row_rules_hold_over_the_whole_chain() {
    let chain = Chain::start(&[("FLUSH_INTERVAL", "300ms"), ("EXPECTED_SENSORS", "a,b")]);
    let _stages = chain.spawn_all();
    let now = this_second();
    let publish = |sensor: &str, ms: i64, value: f64| {
        chain.publish(
            &format!("rigs/R/measurements/{sensor}"),
            &payload(ms, value),
        );
    };
    // Complete; then a repeat, a faster device, and a sensor that nobody expects.
    publish("a", now, 1.0);
    publish("b", now + 400, 2.0);
    publish("a", now, 1.0);
    publish("a", now + 500, 9.0);
    publish("c", now, 3.0);
    // Partial: flushed by the timer, with nothing arriving behind it.
    publish("a", now - 1_000, 4.0);
    // Behind the window: a row of its own.
    publish("a", now - 61_000, 5.0);
    publish("b", now - 61_000, 6.0);
    let ledger = chain
        .wait_for(SOON, |ledger| {
            all_stored(ledger) && ledger.get(Counter::RowsStored) == 5
        })
        .await;
    assert_exact(&ledger);
    let counted = [
        Counter::Repeated,
        Counter::Superseded,
        Counter::Late,
        Counter::InRows,
    ];
    assert_eq!(
        counted.map(|counter| ledger.get(counter)),
        [1, 1, 2, 6],
        "{ledger:#?}"
    );
    let cell = |ms: i64, sensor: &str| ("R".to_owned(), ms, sensor.to_owned());
    let expected = BTreeMap::from([
        (cell(now, "a"), 1.0),
        (cell(now, "b"), 2.0),
        (cell(now, "c"), 3.0),
        (cell(now - 1_000, "a"), 4.0),
        (cell(now - 61_000, "a"), 5.0),
        (cell(now - 61_000, "b"), 6.0),
    ]);
    assert_eq!(values(&chain.rows()), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stages_start_in_any_order_wait_and_stop_in_time() {
    let mut chain = Chain::start(&[("FLUSH_INTERVAL", "60s")]);
    chain.redis.stop();
    chain.mosquitto.stop();
    chain.victoria.stop();
    let mut stages: Vec<_> = Role::ALL
        .iter()
        .rev()
        .map(|role| chain.spawn(role.name(), &[]))
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for stage in &stages {
        assert!(stage.get("/readyz").starts_with("{\"ready\":false"));
    }
    chain.victoria.restart();
    chain.mosquitto.restart();
    chain.redis.restart();
    for stage in &stages {
        assert!(stage.ready(SOON), "{}", stage.logs());
    }
    let second = this_second();
    chain.publish("rigs/R/measurements/pressure", &payload(second, 2.5));
    let open = chain
        .wait_for(SOON, |ledger| ledger.get(Counter::OpenReadings) == 1)
        .await;
    assert_exact(&open);
    for stage in &mut stages {
        stage.terminate();
    }
    for stage in &mut stages {
        let exit = stage.wait_exit(Duration::from_secs(10));
        assert!(
            exit.is_some_and(|status| status.success()),
            "{exit:?}\n{}",
            stage.logs()
        );
    }
    // The open row stayed in the state: it wasn't flushed early, and isn't lost.
    let stopped = chain.ledger().await;
    assert_eq!(
        (
            stopped.get(Counter::OpenReadings),
            stopped.get(Counter::RowsOut)
        ),
        (1, 0)
    );
    let _again = chain.spawn("transformer", &[("FLUSH_INTERVAL", "200ms")]);
    let _sink = chain.spawn("sink", &[]);
    let ledger = chain.wait_for(SOON, all_stored).await;
    assert_exact(&ledger);
    let expected = BTreeMap::from([(("R".into(), second, "pressure".into()), 2.5)]);
    assert_eq!(values(&chain.rows()), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_replica_waits_and_takes_over() {
    let chain = Chain::start(&[("LEASE", "500ms"), ("FLUSH_INTERVAL", "100ms")]);
    let mut first = chain.spawn_all();
    let second = Role::ALL.map(|role| chain.spawn(role.name(), &[]));
    for stage in &second {
        assert!(stage.ready(SOON), "{}", stage.logs());
        assert!(
            testkit::wait_until(SOON, || stage.get("/readyz").contains("\"standby\"")),
            "{}",
            stage.get("/readyz")
        );
    }
    let now = this_second();
    let one_more = |stored: i64| {
        let value = f64::from(i32::try_from(stored).unwrap());
        chain.publish(
            "rigs/R/measurements/pressure",
            &payload(now - stored * 1_000, value),
        );
        chain.wait_for(SOON, move |ledger| {
            ledger.get(Counter::RowsStored) == stored + 1
        })
    };
    one_more(0).await;
    // One is told to stop, one is killed, one stands still for longer than its lease.
    first[0].terminate();
    first[1].kill();
    first[2].freeze();
    one_more(1).await;
    first[2].thaw();
    let ledger = one_more(2).await;
    assert_exact(&ledger);
    assert_eq!(values(&chain.rows()).len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_redis_is_said_loudly_and_survived() {
    let chain = Chain::start(&[("LEASE", "300ms"), ("FLUSH_INTERVAL", "100ms")]);
    let stages = chain.spawn_all();
    let now = this_second();
    chain.publish("rigs/R/measurements/pressure", &payload(now, 1.0));
    chain.wait_for(SOON, all_stored).await;
    let _ = chain.redis.cli(&["FLUSHALL"]);
    for stage in &stages {
        assert!(
            testkit::wait_until(SOON, || stage
                .get("/metrics")
                .contains("rigline_queue_resets_total 1")),
            "{}",
            stage.logs()
        );
        assert!(
            testkit::wait_until(SOON, || stage.logs().contains("flushed, emptied, put back")),
            "{}",
            stage.logs()
        );
    }
    chain.publish("rigs/R/measurements/pressure", &payload(now - 1_000, 2.0));
    let ledger = chain.wait_for(SOON, all_stored).await;
    assert_exact(&ledger);
    assert_eq!(values(&chain.rows()).len(), 2);
}

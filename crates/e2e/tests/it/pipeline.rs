//! The pipeline from readings to rows in real processes, in both deployments.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use e2e::{Deployment, Pipeline, sensors};
use queue::ledger::{Counter, Ledger};
use queue::testing::assert_exact;

use crate::readings::{SOON, all_stored, assert_stored, payload, reasons, this_second, values};

/// Runs each test in this deployment.
macro_rules! tests_on {
    ($deployment:expr, $($name:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($deployment).await;
            }
        )+
    };
}

/// All tests in both deployments.
macro_rules! tests_on_both {
    ($($name:ident),+ $(,)?) => {
        mod servers {
            use e2e::Deployment;

            tests_on!(Deployment::Servers, $($name),+);
        }

        mod one_process {
            use e2e::Deployment;

            tests_on!(Deployment::OneProcess, $($name),+);
        }
    };
}

tests_on_both! {
    readings_of_any_client_are_stored_as_a_complete_row_within_a_second,
    every_value_of_the_producer_is_stored,
    invalid_messages_become_dead_letters_and_valid_ones_are_stored,
    row_rules_hold_in_the_whole_pipeline,
    open_rows_survive_a_stop,
    acknowledged_readings_survive_kills,
}

async fn readings_of_any_client_are_stored_as_a_complete_row_within_a_second(on: Deployment) {
    let pipeline = Pipeline::start(on, &[]);
    let second = this_second();
    for (place, sensor) in (0_i32..).zip(sensors()) {
        let value = 10.25 * f64::from(place + 1);
        pipeline.publish(
            &format!("rigs/RIG-7/measurements/{sensor}"),
            &payload(second + 7, value),
        );
    }
    let published = Instant::now();
    let ledger = pipeline.wait_for(SOON, all_stored).await;
    assert!(
        published.elapsed() < Duration::from_secs(1),
        "{:?}",
        published.elapsed()
    );
    assert_exact(&ledger);
    assert_eq!(ledger.get(Counter::RowsStored), 1, "one row: {ledger:#?}");
    let expected: BTreeMap<_, _> = (0_i32..)
        .zip(sensors())
        .map(|(place, sensor)| {
            (
                ("RIG-7".to_owned(), second, sensor.to_owned()),
                10.25 * f64::from(place + 1),
            )
        })
        .collect();
    assert_eq!(values(&pipeline.rows().await), expected);
}

async fn every_value_of_the_producer_is_stored(on: Deployment) {
    const ROUNDS: u64 = 50;
    let pipeline = Pipeline::start(on, &[]);
    let count = (ROUNDS * 12).to_string();
    let fleet = [
        ("RIGS", "RIG-1,RIG-42"),
        ("SEED", "7"),
        ("FAST", "true"),
        ("COUNT", count.as_str()),
    ];
    let mut producer = pipeline.producer(&fleet);
    let exit = producer.wait_exit(SOON);
    assert!(
        exit.is_some_and(|status| status.success()),
        "{}",
        producer.logs()
    );
    let rows = i64::try_from(2 * ROUNDS).unwrap();
    let ledger = pipeline
        .wait_for(SOON, |ledger| {
            all_stored(ledger) && ledger.get(Counter::RowsStored) == rows
        })
        .await;
    assert_exact(&ledger);
    assert_stored(&pipeline.rows().await, &["RIG-1", "RIG-42"], 7, ROUNDS);
}

async fn invalid_messages_become_dead_letters_and_valid_ones_are_stored(on: Deployment) {
    let pipeline = Pipeline::start(on, &[("FLUSH_INTERVAL", "200ms")]);
    let now = this_second();
    let (pressure, future) = ("rigs/R/measurements/pressure", now + 3_600_000);
    pipeline.publish("rigs/R/measurements/pressure/extra", "{\"value\":1}");
    pipeline.publish("rigs/R/measurements/time", "{\"value\":1}");
    pipeline.publish(pressure, "{\"value\":");
    pipeline.publish(pressure, "[1]");
    pipeline.publish(pressure, &payload(future, 1.0));
    pipeline.publish(pressure, "{\"timestamp\":0,\"value\":1}");
    pipeline.publish(pressure, &"x".repeat(70_000));
    pipeline.publish(pressure, &payload(now, 2.5));
    let ledger = pipeline.wait_for(SOON, all_stored).await;
    assert_exact(&ledger);
    assert_eq!(
        (ledger.dead, ledger.get(Counter::DeadIngester)),
        (7, 7),
        "{ledger:#?}"
    );
    assert_eq!(
        values(&pipeline.rows().await),
        BTreeMap::from([(("R".into(), now, "pressure".into()), 2.5)])
    );
    assert_eq!(
        reasons(&pipeline.dead_letters().await),
        [
            "ingester bad_name",
            "ingester bad_topic",
            "ingester future",
            "ingester not_json",
            "ingester not_object",
            "ingester past",
            "ingester too_large",
        ]
    );
}

async fn row_rules_hold_in_the_whole_pipeline(on: Deployment) {
    let pipeline = Pipeline::start(
        on,
        &[("FLUSH_INTERVAL", "300ms"), ("EXPECTED_SENSORS", "a,b")],
    );
    let now = this_second();
    let publish = |sensor: &str, ms: i64, value: f64| {
        pipeline.publish(
            &format!("rigs/R/measurements/{sensor}"),
            &payload(ms, value),
        );
    };
    // Complete; then a repetition, a faster device, and an unknown sensor.
    publish("a", now, 1.0);
    publish("b", now + 400, 2.0);
    publish("a", now, 1.0);
    publish("a", now + 500, 9.0);
    publish("c", now, 3.0);
    // Partial: flushed by the timer, without any later reading.
    publish("a", now - 1_000, 4.0);
    // Later than the window: a separate row.
    publish("a", now - 61_000, 5.0);
    publish("b", now - 61_000, 6.0);
    let ledger = pipeline
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
    assert_eq!(values(&pipeline.rows().await), expected);
}

async fn open_rows_survive_a_stop(on: Deployment) {
    let mut pipeline = Pipeline::start(on, &[("FLUSH_INTERVAL", "60s")]);
    let second = this_second();
    pipeline.publish("rigs/R/measurements/pressure", &payload(second, 2.5));
    let is_open = |ledger: &Ledger| ledger.get(Counter::OpenReadings) == 1;
    assert_exact(&pipeline.wait_for(SOON, is_open).await);
    pipeline.stop();
    // The open row stayed in the state: it was neither flushed early nor lost.
    let stopped = pipeline.ledger().await;
    assert!(is_open(&stopped), "{stopped:#?}");
    assert_eq!(stopped.get(Counter::RowsOut), 0, "{stopped:#?}");
    pipeline.start_again(&[("FLUSH_INTERVAL", "200ms")]);
    let ledger = pipeline.wait_for(SOON, all_stored).await;
    assert_exact(&ledger);
    let expected = BTreeMap::from([(("R".into(), second, "pressure".into()), 2.5)]);
    assert_eq!(values(&pipeline.rows().await), expected);
}

async fn acknowledged_readings_survive_kills(on: Deployment) {
    let quick = [("FLUSH_INTERVAL", "200ms"), ("LEASE", "500ms")];
    let mut pipeline = Pipeline::start(on, &quick);
    let now = this_second();
    let sent = |number: i32| (now - i64::from(number) * 1_000, f64::from(number) + 0.5);
    for number in 0..5 {
        let (time, value) = sent(number);
        // `publish` returns when the message is acknowledged.
        pipeline.publish("rigs/R/measurements/pressure", &payload(time, value));
        pipeline.kill();
        pipeline.start_again(&[]);
    }
    let ledger = pipeline
        .wait_for(SOON, |ledger| {
            all_stored(ledger) && ledger.get(Counter::RowsStored) == 5
        })
        .await;
    assert_exact(&ledger);
    let expected = (0..5).map(sent);
    let expected = expected.map(|(time, value)| (("R".into(), time, "pressure".into()), value));
    assert_eq!(values(&pipeline.rows().await), expected.collect());
}

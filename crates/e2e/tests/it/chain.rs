//! The pipeline on servers: foreign elements in the lists, the order of starts, standbys, and an emptied
//! Redis.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::{Chain, Deployment, Pipeline, Role};
use queue::ledger::Counter;
use queue::testing::{assert_exact, assert_holds};
use testkit::Redis;

use crate::readings::{SOON, all_stored, payload, reasons, this_second, values};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_elements_become_dead_letters_that_can_be_discarded() {
    let pipeline = Pipeline::start(Deployment::Servers, &[("FLUSH_INTERVAL", "200ms")]);
    let redis = &pipeline.chain().redis;
    pipeline.publish("rigs/R/measurements/pressure", "{\"value\":");
    pipeline.publish("rigs/R/measurements/pressure", &payload(this_second(), 2.5));
    let _ = redis.cli(&["RPUSH", "raw_events", "a stranger's element"]);
    let _ = redis.cli(&["RPUSH", "normalized_events", "{\"rig_id\":\"R\"}"]);
    let ledger = pipeline
        .wait_for(SOON, |ledger| {
            all_stored(ledger)
                && ledger.get(Counter::DeadTransformer) == 1
                && ledger.get(Counter::DeadSink) == 1
        })
        .await;
    assert_holds(&ledger);
    assert_eq!((ledger.raw_foreign(), ledger.rows_foreign()), (1, 1));
    assert_eq!(
        reasons(&pipeline.dead_letters().await),
        [
            "ingester not_json",
            "sink bad_element",
            "transformer bad_element",
        ]
    );
    discard_as_documented(redis, "3");
    let ledger = pipeline.ledger().await;
    assert_eq!((ledger.dead, ledger.get(Counter::Discarded)), (0, 3));
    assert_holds(&ledger);
}

fn discard_as_documented(redis: &Redis, count: &str) {
    let page = include_str!("../../../../docs/operations.md");
    let command = page.split("redis-cli eval \"").nth(1).unwrap();
    let (script, keys) = command.lines().next().unwrap().split_once("\" ").unwrap();
    let mut eval = vec!["EVAL", script];
    eval.extend(keys.split(' '));
    assert_eq!(redis.cli(&eval), count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stages_start_in_any_order_and_stop_in_time() {
    let mut chain = Chain::start(&[("FLUSH_INTERVAL", "60s")]);
    chain.redis.stop();
    chain.mosquitto.stop();
    chain.influxdb.stop();
    let mut stages: Vec<_> = Role::ALL
        .iter()
        .rev()
        .map(|role| chain.spawn(role.name(), &[]))
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for stage in &stages {
        assert!(stage.get("/readyz").starts_with("{\"ready\":false"));
    }
    chain.influxdb.restart();
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
    // The open row stayed in the state: it was neither flushed early nor lost.
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
async fn second_replica_waits_and_takes_over() {
    let chain = Chain::start(&[("LEASE", "2s"), ("FLUSH_INTERVAL", "100ms")]);
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
    // One is stopped, one is killed, one is frozen for longer than its lease.
    first[0].terminate();
    first[1].kill();
    first[2].freeze();
    one_more(1).await;
    first[2].thaw();
    let ledger = one_more(2).await;
    assert_exact(&ledger);
    assert_eq!(values(&chain.rows()).len(), 3);
}

/// How many resets a stage has counted. One `FLUSHALL` may count twice: another instance, and a
/// commit number that went back.
fn resets(metrics: &str) -> u64 {
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix("rigline_queue_resets_total "));
    value.map_or(0, |value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emptied_redis_is_logged_and_counted_and_stages_continue() {
    let chain = Chain::start(&[("LEASE", "2s"), ("FLUSH_INTERVAL", "100ms")]);
    let stages = chain.spawn_all();
    let now = this_second();
    chain.publish("rigs/R/measurements/pressure", &payload(now, 1.0));
    chain.wait_for(SOON, all_stored).await;
    let _ = chain.redis.cli(&["FLUSHALL"]);
    for stage in &stages {
        assert!(
            testkit::wait_until(SOON, || resets(&stage.get("/metrics")) >= 1),
            "{}",
            stage.logs()
        );
        assert!(
            testkit::wait_until(SOON, || stage.logs().contains("flushed, emptied, restored")),
            "{}",
            stage.logs()
        );
    }
    chain.publish("rigs/R/measurements/pressure", &payload(now - 1_000, 2.0));
    let ledger = chain.wait_for(SOON, all_stored).await;
    assert_exact(&ledger);
    assert_eq!(values(&chain.rows()).len(), 2);
}

//! The store of the newest rows in Redis. It has no history, so what it promises is here and not in the contract.

use common::secret::Secret;
use common::settings::RedisSettings;
use model::{Row, Timestamp, Value};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use store::{LatestSettings, LatestStore, Store, WriteError};
use testkit::{Redis, TcpProxy};

use crate::fixture::{exact, string, tagged};
use crate::writes::STRANGE;

fn settings(port: u16, keep: usize) -> LatestSettings {
    LatestSettings {
        server: RedisSettings {
            redis_host: "127.0.0.1".into(),
            redis_port: port,
            ..RedisSettings::local()
        },
        pipeline: "tests".into(),
        keep,
        by: None,
    }
}

fn open(redis: &Redis, keep: usize) -> LatestStore {
    LatestStore::new(&settings(redis.port(), keep)).unwrap()
}

fn set(redis: &Redis, command: &[&str]) {
    assert_eq!(redis.cli(command), "OK", "{command:?}");
}

fn sensor(name: &str, second: i64, value: f64) -> Row<'static> {
    tagged(&[("sensor", name)], second, &[("value", value.into())])
}

fn key(name: &str) -> String {
    format!("{{\"sensor\":\"{name}\"}}")
}

#[tokio::test]
async fn the_newest_rows_of_each_series_and_of_all_are_kept() {
    let redis = Redis::start();
    let store = open(&redis, 3);
    assert_eq!(store.newest(None).await.unwrap(), []);
    for second in [5, 1, 9, 3, 7] {
        store
            .write(&[sensor("a", second, 1.0), sensor("b", second + 10, 2.0)])
            .await
            .unwrap();
    }
    let of = |name, seconds: [i64; 3], value| seconds.map(|second| sensor(name, second, value));
    let newest = store.newest(Some(&key("a"))).await.unwrap();
    assert_eq!(newest, of("a", [9, 7, 5], 1.0));
    let newest = store.newest(Some(&key("b"))).await.unwrap();
    assert_eq!(newest, of("b", [19, 17, 15], 2.0));
    assert_eq!(store.newest(None).await.unwrap(), newest);
    assert_eq!(store.newest(Some(&key("c"))).await.unwrap(), []);
    // Of each series three rows, two sets of series, and that of all.
    assert_eq!(redis.cli(&["DBSIZE"]), "9");
}

#[tokio::test]
async fn tags_can_be_named_that_make_groups() {
    let redis = Redis::start();
    let settings = LatestSettings {
        by: Some(vec!["sensor".into()]),
        ..settings(redis.port(), 3)
    };
    let store = LatestStore::new(&settings).unwrap();
    let row = |kind, second| {
        let tags = [("kind", kind), ("sensor", "a")];
        tagged(&tags, second, &[("value", 1.0.into())])
    };
    for second in 0..4 {
        let rows = [row("humidity", second), row("temperature", second)];
        store.write(&rows).await.unwrap();
    }
    let newest = store.newest(Some(&key("a"))).await.unwrap();
    let last = [
        row("temperature", 3),
        row("humidity", 3),
        row("temperature", 2),
    ];
    assert_eq!(newest, last);
}

#[tokio::test]
async fn rows_of_one_key_are_merged_and_written_again() {
    let redis = Redis::start();
    let store = open(&redis, 2);
    let row = |fields: &[(&str, Value)]| tagged(&[], 1, fields);
    let rows = [
        row(&[("a", 1.0.into()), ("b", Value::Integer(2))]),
        row(&[("b", string("x")), ("c", Value::Bool(true))]),
    ];
    for _ in 0..2 {
        store.write(&rows).await.unwrap();
    }
    let merged = row(&[
        ("a", 1.0.into()),
        ("b", string("x")),
        ("c", Value::Bool(true)),
    ]);
    assert_eq!(store.newest(Some("{}")).await.unwrap(), [merged]);
}

#[tokio::test]
async fn values_names_and_times_come_back_exactly() {
    let redis = Redis::start();
    let store = open(&redis, 100);
    let values = [
        Value::Float(0.1 + 0.2),
        Value::Float(-0.0),
        Value::Float(5e-324),
        Value::Float(f64::MAX),
        Value::Float(1e16),
        Value::Integer(i64::MIN),
        Value::Integer(i64::MAX),
        Value::Bool(false),
        string("\u{0}\n\"\u{1f600}"),
    ];
    let fields: Vec<_> = STRANGE
        .iter()
        .copied()
        .zip(values.iter().cycle().cloned())
        .collect();
    let mut row = tagged(&[("a b", "{\"c\": \"d\"}"), ("e", " ")], 0, &fields);
    row.fields.sort_by(|one, other| one.0.cmp(&other.0));
    for nanos in [i64::MIN, -1, 0, 1, 999, 1_000, i64::MAX] {
        row.timestamp = Timestamp::from_nanos(nanos);
        store.write(std::slice::from_ref(&row)).await.unwrap();
    }
    let found = store.newest(None).await.unwrap();
    let times: Vec<_> = found.iter().map(|row| row.timestamp.nanos()).collect();
    assert_eq!(times, [i64::MAX, 1_000, 999, 1, 0, -1, i64::MIN]);
    for found in found {
        assert_eq!(found.tags, row.tags);
        for (one, other) in std::iter::zip(&found.fields, &row.fields) {
            assert_eq!((&one.0, exact(&one.1)), (&other.0, exact(&other.1)));
        }
    }
}

/// Batches of rows of few series at few times, and how many of them are kept.
fn batches() -> impl Strategy<Value = (usize, Vec<Vec<Row<'static>>>)> {
    let row = (0..3_usize, 0..12_i64, 0..3_usize, any::<i32>()).prop_map(
        |(series, second, field, value)| {
            let value = Value::Integer(value.into());
            tagged(
                &[("s", ["a", "b", "c"][series])],
                second,
                &[(["x", "y", "z"][field], value)],
            )
        },
    );
    let batches = prop::collection::vec(prop::collection::vec(row, 1..20), 1..6);
    (1..5_usize, batches)
}

/// What a list of all rows would hold: those of one key merged, the newest first.
fn model(rows: &[Row<'static>], series: Option<&str>, keep: usize) -> Vec<Row<'static>> {
    let mut merged: Vec<Row<'static>> = Vec::new();
    for row in rows
        .iter()
        .filter(|row| series.is_none_or(|of| &*row.tags[0].1 == of))
    {
        let key =
            |other: &&mut Row<'_>| (&other.tags, other.timestamp) == (&row.tags, row.timestamp);
        let Some(known) = merged.iter_mut().find(key) else {
            merged.push(row.clone());
            continue;
        };
        let (name, value) = &row.fields[0];
        match known.fields.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => *old = value.clone(),
            None => known.fields.push((name.clone(), value.clone())),
        }
    }
    merged.sort_by(|one, other| (other.timestamp, &other.tags).cmp(&(one.timestamp, &one.tags)));
    merged.truncate(keep);
    for row in &mut merged {
        row.fields.sort_by(|one, other| one.0.cmp(&other.0));
    }
    merged
}

/// Rows older than the newest ones are dropped when they come, so a row that comes back has lost what it had before.
/// It can't come back among the newest ones, and so the result is that of keeping everything.
#[test]
fn the_result_is_that_of_keeping_everything() {
    let redis = Redis::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let run = runner.run(&batches(), |(keep, batches)| {
        set(&redis, &["FLUSHALL"]);
        let store = open(&redis, keep);
        runtime.block_on(async {
            for batch in &batches {
                store.write(batch).await.unwrap();
            }
            let all = batches.concat();
            assert_eq!(store.newest(None).await.unwrap(), model(&all, None, keep));
            let mut rows = 0;
            for series in ["a", "b", "c"] {
                let found = store
                    .newest(Some(&format!("{{\"s\":\"{series}\"}}")))
                    .await
                    .unwrap();
                assert_eq!(found, model(&all, Some(series), keep));
                rows += found.len();
            }
            let left: usize = redis
                .cli(&["EVAL", "return #redis.call('KEYS', '*:row:*')", "0"])
                .parse()
                .unwrap();
            assert_eq!(left, rows, "rows that no set has");
        });
        Ok(())
    });
    run.unwrap();
}

#[tokio::test]
async fn errors_say_what_to_do_next() {
    let redis = Redis::start();
    let store = open(&redis, 10);
    let row = [sensor("a", 1, 1.0)];
    store.preflight().await.unwrap();

    set(
        &redis,
        &["SET", "rigline:tests:latest:of:{\"sensor\":\"a\"}", "x"],
    );
    let Err(WriteError::Denied { detail }) = store.write(&row).await else {
        panic!("another type of key was accepted");
    };
    assert!(
        detail.contains("rigline:tests:latest") && detail.contains("move it"),
        "{detail}"
    );
    set(&redis, &["FLUSHALL"]);

    set(&redis, &["CONFIG", "SET", "maxmemory", "1"]);
    for refused in [store.write(&row).await, store.preflight().await] {
        assert!(
            matches!(&refused, Err(WriteError::Retry { detail, .. }) if detail.contains("memory limit")),
            "{refused:?}"
        );
    }
    set(&redis, &["CONFIG", "SET", "maxmemory", "0"]);

    set(
        &redis,
        &[
            "ACL", "SETUSER", "reader", "on", ">word", "~*", "+@read", "+evalsha", "+script",
        ],
    );
    let mut settings = settings(redis.port(), 10);
    settings.server.redis_username = Some("reader".into());
    for (password, part) in [("wrong", "REDIS_PASSWORD"), ("word", "the user's rights")] {
        settings.server.redis_password = Some(Secret::new(password));
        let reader = LatestStore::new(&settings).unwrap();
        for refused in [reader.write(&row).await, reader.preflight().await] {
            let Err(WriteError::Denied { detail }) = refused else {
                panic!("{refused:?}");
            };
            assert!(detail.contains(part), "{detail}");
            assert!(!detail.contains("word\""), "{detail}");
        }
    }
    set(&redis, &["REPLICAOF", "127.0.0.1", "1"]);
    for refused in [store.write(&row).await, store.preflight().await] {
        assert!(
            matches!(&refused, Err(WriteError::Retry { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn rows_are_written_again_after_a_lost_reply() {
    let redis = Redis::start();
    let proxy = TcpProxy::start(redis.port());
    let store = LatestStore::new(&settings(proxy.port(), 10)).unwrap();
    let row = [sensor("a", 1, 1.0)];
    store.write(&row).await.unwrap();
    proxy.cut_reply("EVALSHA", 1);
    assert!(matches!(
        store.write(&row).await,
        Err(WriteError::Retry { .. })
    ));
    store.write(&row).await.unwrap();
    assert_eq!(store.newest(None).await.unwrap(), row);
}

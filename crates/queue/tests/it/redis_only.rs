//! Behaviour that only a real Redis server shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::harness::Process;
use common::health::Dependency;
use common::secret::Secret;
use model::Stage;
use queue::error::Cause;
use queue::redis::RedisQueue;
use queue::settle::{Settled, settle};
use queue::testing::redis_settings;
use queue::{Append, Appended, Commit, Queue, QueueError};
use testkit::{Action, Direction, Redis, TcpProxy};

use crate::fixture::{Fixture, LEASE, OnRedis, items, nonce, peek, settings, take};

fn queue_at(port: u16) -> RedisQueue {
    RedisQueue::new(&settings(), &redis_settings(port)).unwrap()
}

fn cause<T>(result: &Result<T, QueueError>) -> Option<Cause> {
    match result {
        Err(QueueError::Unavailable { cause, .. }) => Some(*cause),
        _ => None,
    }
}

#[tokio::test]
async fn keys_have_the_documented_names() {
    let fixture = OnRedis::start();
    let mut other = settings();
    other.pipeline = "lab".into();
    other.raw_queue = "lab_raw".into();
    other.normalized_queue = "lab_normalized".into();
    other.dead_letter_queue = "lab_dead".into();
    let (queue, lab) = (fixture.queue(), fixture.open(&other));
    let readings = Append {
        raw: items(0..2),
        dead: items(2..3),
        ..Append::default()
    };
    queue.append(&readings).await.unwrap();
    take(&queue, Stage::Transformer).await;
    take(&lab, Stage::Transformer).await;
    lab.append(&Append {
        raw: items(0..7),
        dead: Vec::new(),
        ..Append::default()
    })
    .await
    .unwrap();
    assert_eq!(
        fixture.0.cli(&["LRANGE", "raw_events", "0", "-1"]),
        "item-0\nitem-1"
    );
    assert_eq!(
        fixture.0.cli(&["HGET", "rigline:rigs:ledger", "accepted"]),
        "2"
    );
    assert_eq!(
        fixture.0.cli(&["HGET", "rigline:lab:ledger", "accepted"]),
        "7"
    );
    assert_eq!(
        fixture.0.cli(&["HGET", "rigline:rigs:meta", "partitions"]),
        "1"
    );
    assert_eq!(fixture.0.cli(&["LLEN", "lab_raw"]), "7");
    assert_eq!(fixture.0.cli(&["LINDEX", "dead_letters", "0"]), "item-2");
}

/// Two independent consumers of one list would trim elements that the other one hasn't processed.
#[tokio::test]
async fn list_belongs_to_one_pipeline() {
    let fixture = OnRedis::start();
    take(&fixture.queue(), Stage::Sink).await;
    let mut other = settings();
    other.pipeline = "lab".into();
    other.raw_queue = "lab_raw".into();
    let refused = fixture
        .open(&other)
        .lease(Stage::Transformer, &nonce(), LEASE)
        .await;
    let Err(QueueError::Incompatible(said)) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        said.contains("normalized_events belongs to pipeline rigs"),
        "{said}"
    );
}

#[tokio::test]
async fn counters_that_are_no_numbers_refuse_writes() {
    let fixture = OnRedis::start();
    let queue = fixture.queue();
    let readings = Append {
        raw: items(0..2),
        dead: items(2..3),
        ..Append::default()
    };
    queue.append(&readings).await.unwrap();
    let lease = take(&queue, Stage::Transformer).await;
    let _ = fixture
        .0
        .cli(&["HSET", "rigline:rigs:ledger", "in_rows", "abc"]);
    let change = Commit {
        take: 1,
        outputs: items(5..6),
        counts: vec![(queue::ledger::Counter::InRows, 1)],
        ..Commit::default()
    };
    let refused = queue.commit(&lease, &change).await;
    assert!(
        matches!(refused, Err(QueueError::WrongType(_))),
        "{refused:?}"
    );
    let _ = fixture.0.cli(&[
        "HSET",
        "rigline:rigs:ledger",
        "in_rows",
        "0",
        "accepted",
        "x",
    ]);
    let refused = queue.append(&readings).await;
    assert!(
        matches!(refused, Err(QueueError::WrongType(_))),
        "{refused:?}"
    );
    let peeked = peek(&queue, &lease).await;
    assert_eq!((peeked.items, peeked.output_length), (items(0..2), 0));
}

#[tokio::test]
async fn large_state_is_read_completely() {
    let fixture = OnRedis::start();
    let queue = fixture.queue();
    let long = Duration::from_mins(1);
    let lease = queue
        .lease(Stage::Transformer, &nonce(), long)
        .await
        .unwrap()
        .unwrap();
    let entries = |numbers: std::ops::Range<usize>| {
        items(numbers)
            .into_iter()
            .map(|key| (key, b"value".to_vec()))
            .collect::<Vec<_>>()
    };
    for number in 0..5_u64 {
        let first = usize::try_from(number).unwrap() * 10_000;
        let puts = entries(first..first + 10_000);
        queue
            .commit(
                &lease,
                &Commit {
                    number,
                    puts,
                    ..Commit::default()
                },
            )
            .await
            .unwrap();
    }
    let (mut state, mut expected) = (queue.state(&lease).await.unwrap(), entries(0..50_000));
    state.sort();
    expected.sort();
    assert_eq!(state, expected);
}

#[tokio::test]
async fn flushed_scripts_are_loaded_again() {
    let fixture = OnRedis::start();
    let queue = fixture.queue();
    let lease = take(&queue, Stage::Transformer).await;
    for number in 0..5 {
        let _ = fixture.0.cli(&["SCRIPT", "FLUSH"]);
        queue
            .append(&Append {
                raw: items(0..1),
                dead: Vec::new(),
                ..Append::default()
            })
            .await
            .unwrap();
        let _ = fixture.0.cli(&["SCRIPT", "FLUSH"]);
        let change = Commit {
            number,
            take: 1,
            ..Commit::default()
        };
        queue.commit(&lease, &change).await.unwrap();
    }
    assert_eq!(peek(&queue, &lease).await.length, 0);
}

#[tokio::test]
async fn redis_at_its_memory_limit_refuses_appends_and_drains() {
    let fixture = OnRedis::start();
    let queue = fixture.queue();
    let heavy = Append {
        raw: vec![vec![b'x'; 100_000]; 20],
        dead: Vec::new(),
        ..Append::default()
    };
    queue.append(&heavy).await.unwrap();
    let _ = fixture.0.cli(&["CONFIG", "SET", "maxmemory", "1mb"]);
    assert_eq!(cause(&queue.append(&heavy).await), Some(Cause::OutOfMemory));
    let lease = take(&queue, Stage::Transformer).await;
    queue.renew(&lease).await.unwrap();
    assert_eq!(queue.peek(&lease, 0, 50).await.unwrap().items.len(), 20);
    assert_eq!(queue.snapshot().await.unwrap().ledger.raw, 20);
    let small = Commit {
        take: 19,
        outputs: items(0..3),
        ..Commit::default()
    };
    queue.commit(&lease, &small).await.unwrap();
    let _ = fixture.0.cli(&["CONFIG", "SET", "maxmemory", "20mb"]);
    let after = queue
        .append(&Append {
            raw: items(0..1),
            dead: Vec::new(),
            ..Append::default()
        })
        .await;
    let (length, accepted) = (2, 21);
    assert_eq!(after, Ok(Appended::Done { length, accepted }));
}

#[tokio::test]
async fn servers_that_cannot_write_have_different_causes() {
    let fixture = OnRedis(Redis::start_with(&["--enable-protected-configs", "yes"]));
    let queue = fixture.queue();
    let one = Append {
        raw: items(0..1),
        dead: Vec::new(),
        ..Append::default()
    };
    let _ = fixture.0.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_eq!(cause(&queue.append(&one).await), Some(Cause::ReadOnly));
    let _ = fixture.0.cli(&["REPLICAOF", "NO", "ONE"]);
    queue.append(&one).await.unwrap();
    // A snapshot that fails makes Redis refuse writes, as a full disk does.
    let _ = fixture.0.cli(&["CONFIG", "SET", "save", "3600 1"]);
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("gone");
    std::fs::create_dir(&gone).unwrap();
    let _ = fixture
        .0
        .cli(&["CONFIG", "SET", "dir", gone.to_str().unwrap()]);
    std::fs::remove_dir(&gone).unwrap();
    let _ = fixture.0.cli(&["BGSAVE"]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(cause(&queue.append(&one).await), Some(Cause::CannotPersist));
}

#[tokio::test]
async fn password_is_required_and_used() {
    let redis = Redis::start();
    let _ = redis.cli(&["CONFIG", "SET", "requirepass", "open sesame"]);
    let refused = queue_at(redis.port())
        .lease(Stage::Sink, &nonce(), LEASE)
        .await;
    assert!(matches!(refused, Err(QueueError::Denied(_))), "{refused:?}");
    let mut login = redis_settings(redis.port());
    login.redis_password = Some(Secret::new("wrong"));
    let wrong = RedisQueue::new(&settings(), &login).unwrap();
    let refused = wrong.lease(Stage::Sink, &nonce(), LEASE).await;
    assert!(matches!(refused, Err(QueueError::Denied(_))), "{refused:?}");
    login.redis_password = Some(Secret::new("open sesame"));
    let right = RedisQueue::new(&settings(), &login).unwrap();
    take(&right, Stage::Sink).await;
}

#[tokio::test]
async fn unavailable_server_is_retried() {
    let mut redis = Redis::start();
    let queue = queue_at(redis.port());
    let one = Append {
        raw: items(0..1),
        dead: Vec::new(),
        ..Append::default()
    };
    queue.append(&one).await.unwrap();
    redis.kill();
    let failed = queue.append(&one).await;
    assert!(
        matches!(
            failed,
            Err(QueueError::Unknown(_) | QueueError::Unavailable { .. })
        ),
        "{failed:?}"
    );
    assert_eq!(cause(&queue.append(&one).await), Some(Cause::Unreachable));
    redis.restart();
    let (length, accepted) = (2, 2);
    let after = queue.append(&one).await;
    assert_eq!(after, Ok(Appended::Done { length, accepted }));
}

#[tokio::test]
async fn queue_with_other_partitions_is_refused() {
    let fixture = OnRedis::start();
    let _ = fixture
        .0
        .cli(&["HSET", "rigline:rigs:meta", "partitions", "4"]);
    let refused = fixture.queue().lease(Stage::Sink, &nonce(), LEASE).await;
    assert!(
        matches!(refused, Err(QueueError::Incompatible(_))),
        "{refused:?}"
    );
}

/// The connection is cut before the commit reaches the server, or after the server has applied it and
/// before its reply arrives; each many times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_over_cut_connections_are_settled() {
    const ROUNDS: usize = 25;
    for direction in [Direction::Reply, Direction::Request] {
        let redis = Redis::start();
        let cuts = Arc::new(AtomicUsize::new(0));
        let armed = Arc::new(AtomicUsize::new(0));
        let (count, trigger) = (Arc::clone(&cuts), Arc::clone(&armed));
        let proxy = TcpProxy::start_with_handler(redis.port(), move |_, now, _| {
            let cut = now == direction && trigger.swap(0, Ordering::SeqCst) == 1;
            count.fetch_add(usize::from(cut), Ordering::SeqCst);
            if cut { Action::Cut } else { Action::Pass }
        });
        let queue = queue_at(proxy.port());
        queue
            .append(&Append {
                raw: items(0..ROUNDS),
                dead: Vec::new(),
                ..Append::default()
            })
            .await
            .unwrap();
        let long = Duration::from_mins(1);
        let lease = queue
            .lease(Stage::Transformer, &nonce(), long)
            .await
            .unwrap()
            .unwrap();
        let (dependency, never) = (Dependency::unreported("queue"), Process::default());
        for number in 0..ROUNDS {
            let peeked = queue.peek(&lease, 0, 1).await.unwrap();
            assert_eq!(peeked.items, items(number..number + 1));
            let change = Commit {
                number: peeked.number,
                take: 1,
                outputs: peeked.items,
                ..Commit::default()
            };
            armed.store(1, Ordering::SeqCst);
            let settled = settle(&queue, &lease, &change, &dependency, &never).await;
            assert_eq!(settled, Settled::Applied, "{direction:?} round {number}");
        }
        assert_eq!(cuts.load(Ordering::SeqCst), ROUNDS, "{direction:?}");
        let sink = take(&queue, Stage::Sink).await;
        assert_eq!(
            peek(&queue, &sink).await.items,
            items(0..ROUNDS),
            "{direction:?}: each once"
        );
    }
}

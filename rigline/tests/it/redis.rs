//! The same commands on the lists in Redis.

use std::process::{Command, Output};
use std::time::Duration;

use common::clock::Clock;
use model::Stage;
use model::dead_letter::{Reason, Rejection, encode};
use queue::redis::RedisQueue;
use queue::settings::QueueSettings;
use queue::{Append, Queue};
use testkit::Redis;

use crate::fixture::{binary, text};

fn run(redis: &Redis, args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(args).env_clear();
    command.env("REDIS_HOST", "127.0.0.1");
    command.env("REDIS_PORT", redis.port().to_string());
    command.output().unwrap()
}

#[tokio::test]
async fn ledger_and_dead_letters_of_redis() {
    let redis = Redis::start();
    let settings = queue::testing::redis_settings(redis.port());
    let queue = RedisQueue::new(&queue::testing::settings(), &settings).unwrap();
    let rejection = Rejection::new(Reason::Poison, "it was mended since");
    let now = Clock::system().now();
    let topic = "rigs/R/measurements/pressure";
    let letter = encode(Stage::Ingester, &rejection, topic, b"{\"value\":2.5}", now);
    let append = Append {
        raw: Vec::new(),
        dead: vec![letter],
        ..Append::default()
    };
    queue.append(&append).await.unwrap();

    let list = text(&run(&redis, &["dlq", "list"]));
    assert!(
        list.contains("poison") && list.contains("1 shown of 1"),
        "{list}"
    );
    let replayed = run(&redis, &["dlq", "replay", "--all"]);
    assert_eq!(replayed.status.code(), Some(0), "{}", text(&replayed));
    let raw = redis.cli(&["LRANGE", "raw_events", "0", "-1"]);
    assert!(raw.contains("\"value\":2.5"), "{raw}");
    let again = text(&run(&redis, &["dlq", "replay", "--all"]));
    assert!(again.contains("0 replayed, 0 not"), "{again}");
    let ledger = run(&redis, &["ledger"]);
    assert_eq!(ledger.status.code(), Some(0), "{}", text(&ledger));

    // A vanished element is an error, and so is a counter that doesn't match.
    let _ = redis.cli(&["LPOP", "raw_events"]);
    let ledger = run(&redis, &["ledger"]);
    assert_eq!(ledger.status.code(), Some(1));
    assert!(text(&ledger).contains("1 elements vanished from the raw list"));
    let _ = redis.cli(&["HSET", "rigline:rigs:ledger", "rows_stored", "5"]);
    let ledger = run(&redis, &["ledger"]);
    assert_eq!(ledger.status.code(), Some(1));
    assert!(text(&ledger).contains("OFF"), "{}", text(&ledger));
    drop(redis);
}

#[tokio::test]
async fn rigs_under_another_name_and_pipelines_of_files_are_told_apart() {
    let redis = Redis::start();
    let server = queue::testing::redis_settings(redis.port());
    let rigs = QueueSettings {
        pipeline: "plant1".to_owned(),
        ..queue::testing::settings()
    };
    let plant = rigs.of_pipeline("plant2");
    for settings in [&rigs, &plant] {
        let queue = RedisQueue::new(settings, &server).unwrap();
        // The lease registers the owner of the lists.
        queue
            .lease(Stage::Ingester, "nonce", Duration::from_secs(1))
            .await
            .unwrap();
        let rejection = Rejection::new(Reason::Poison, "it was mended since");
        let now = Clock::system().now();
        let topic = format!("rigs/{}/measurements/pressure", settings.pipeline);
        let letter = encode(Stage::Ingester, &rejection, &topic, b"{\"value\":2.5}", now);
        let append = Append {
            dead: vec![letter],
            ..Append::default()
        };
        queue.append(&append).await.unwrap();
    }
    for name in ["plant1", "plant2"] {
        let list = text(&run(&redis, &["dlq", "list", "--pipeline", name]));
        let from = format!("{name}/");
        assert!(
            list.contains(&from) && list.contains("1 shown of 1"),
            "{list}"
        );
    }
    // Without a file, what `rigs` takes can be replayed.
    let replayed = run(&redis, &["dlq", "replay", "--all", "--pipeline", "plant1"]);
    assert_eq!(replayed.status.code(), Some(0), "{}", text(&replayed));
    let refused = text(&run(
        &redis,
        &["dlq", "replay", "--all", "--pipeline", "plant2"],
    ));
    assert!(
        refused.contains("no file of the pipeline plant2"),
        "{refused}"
    );
}

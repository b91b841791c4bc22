//! Redis Pub/Sub against the real server.

use std::time::Duration;

use common::health::Health;
use common::settings::{RedisSettings, RedisTls};
use testkit::Redis;
use tokio::time::timeout;
use transport::{Channels, Delivery, PubSubSettings, RedisSubscriber, Source};

use crate::harness::{TIMEOUT, up};

fn start(redis: &Redis, channels: Channels) -> (RedisSubscriber, Health) {
    let health = Health::default();
    let server = RedisSettings {
        redis_host: "127.0.0.1".into(),
        redis_port: redis.port(),
        ..RedisSettings::local()
    };
    let settings = PubSubSettings::at(&server, channels);
    let session = RedisSubscriber::start(&settings, health.dependency("redis_pubsub"));
    (session, health)
}

async fn receive(session: &mut RedisSubscriber, count: usize) -> Vec<(String, String)> {
    let mut batch: Vec<Delivery<()>> = Vec::new();
    while batch.len() < count {
        let received = timeout(TIMEOUT, session.recv_batch(count, &mut batch));
        received.await.expect("messages").unwrap();
    }
    let shown = |delivery: &Delivery<()>| {
        let payload = String::from_utf8(delivery.payload.to_vec()).unwrap();
        (delivery.topic.clone(), payload)
    };
    batch.iter().map(shown).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_channel_or_a_pattern_are_received() {
    let redis = Redis::start();
    let (mut named, named_health) = start(&redis, Channels::Name("color_data".into()));
    let (mut matched, matched_health) = start(&redis, Channels::Pattern("color_*".into()));
    up(&named_health).await;
    up(&matched_health).await;
    for (channel, payload) in [
        ("color_data", "a"),
        ("color_other", "b"),
        ("color_data", "c"),
    ] {
        let receivers = redis.cli(&["PUBLISH", channel, payload]);
        assert_ne!(receivers, "0");
    }
    let of = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        let own = |(channel, payload): &(&str, &str)| ((*channel).into(), (*payload).into());
        list.iter().map(own).collect()
    };
    let first = receive(&mut named, 2).await;
    assert_eq!(first, of(&[("color_data", "a"), ("color_data", "c")]));
    let all = [
        ("color_data", "a"),
        ("color_other", "b"),
        ("color_data", "c"),
    ];
    assert_eq!(receive(&mut matched, 3).await, of(&all));
    named.close().await;
    matched.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscription_is_made_again_after_the_server_was_away() {
    let mut redis = Redis::start();
    let (mut session, health) = start(&redis, Channels::Name("c".into()));
    up(&health).await;
    redis.restart();
    let publish = async {
        loop {
            // The number of clients that received it.
            if redis.cli(&["PUBLISH", "c", "after"]) == "1" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(TIMEOUT, publish).await.expect("a subscription");
    assert_eq!(receive(&mut session, 1).await[0].1, "after");
    session.close().await;
}

#[test]
fn url_and_its_password_are_used_and_not_shown() {
    let (channels, tls) = (Channels::Name("c".into()), RedisTls::default());
    let settings =
        PubSubSettings::from_url("redis://u:secret@host:1234", &tls, channels.clone()).unwrap();
    let shown = format!("{settings:?}");
    assert!(shown.contains("host") && shown.contains("1234"), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
    assert!(PubSubSettings::from_url("http://host", &tls, channels).is_err());
}

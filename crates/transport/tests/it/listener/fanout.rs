//! Several pipelines behind one listener.

use std::sync::Arc;
use std::time::Duration;

use common::health::Dependency;
use tokio::time::timeout;
use transport::{Delivery, Fanout, FanoutSession, Listener, Listening, Source, Wants};

use super::raw::{Raw, puback, publish};
use super::server::settings;
use crate::harness::TIMEOUT;

type Session = FanoutSession<Listening>;
type Ticket = <Session as Source>::Ticket;

/// A listener whose pipelines want topics with these beginnings.
async fn listen(beginnings: &[&'static str]) -> (Arc<Listener>, Fanout<Listening>) {
    let listener = Arc::new(Listener::bind(&settings()).await.unwrap());
    let wants = beginnings.iter().map(|beginning| -> Wants {
        let beginning = *beginning;
        Box::new(move |topic: &str| topic.starts_with(beginning))
    });
    let started = Arc::clone(&listener);
    let start = move || started.start(&Dependency::unreported("mqtt"));
    let fanout = Fanout::new(start, wants.collect());
    (listener, fanout)
}

/// Waits for `count` messages.
async fn receive(session: &mut Session, count: usize) -> Vec<Delivery<Ticket>> {
    let mut deliveries = Vec::new();
    while deliveries.len() < count {
        let left = count - deliveries.len();
        let received = timeout(TIMEOUT, session.recv_batch(left, &mut deliveries)).await;
        received.expect("messages").unwrap();
    }
    deliveries
}

fn topics(deliveries: &[Delivery<Ticket>]) -> Vec<&str> {
    deliveries
        .iter()
        .map(|delivery| delivery.topic.as_str())
        .collect()
}

fn ack(session: &Session, deliveries: Vec<Delivery<Ticket>>) {
    session.ack(deliveries.into_iter().map(|delivery| delivery.ticket));
}

#[tokio::test(flavor = "multi_thread")]
async fn message_is_acknowledged_once_all_its_pipelines_have_acknowledged_it() {
    let (listener, fanout) = listen(&["a", "ab"]).await;
    let (mut first, mut second) = (fanout.session(0), fanout.session(1));
    let mut raw = Raw::v4(listener.local_addr(), "device");
    let sent = [("ab", 1), ("a", 2), ("abc", 3), ("x", 4)];
    let packets = sent.map(|(topic, id)| publish(topic, id, b"1"));
    raw.send(&packets.concat());
    // The first pipeline has what no pipeline wants, too.
    let at_first = receive(&mut first, 4).await;
    let at_second = receive(&mut second, 2).await;
    assert_eq!(topics(&at_first), ["ab", "a", "abc", "x"]);
    assert_eq!(topics(&at_second), ["ab", "abc"]);
    ack(&first, at_first);
    // The ping has the only answer: the first message isn't acknowledged by the second pipeline.
    raw.send(b"\xc0\0");
    raw.expect(b"\xd0\0");
    ack(&second, at_second);
    raw.expect(&[puback(1), puback(2), puback(3), puback(4)].concat());
    first.close().await;
    second.close().await;
    raw.closed();
}

#[tokio::test(flavor = "multi_thread")]
async fn pipeline_that_is_behind_pauses_only_the_connections_that_publish_to_it() {
    const SENT: u16 = 60_000;
    let (listener, fanout) = listen(&["a", "b"]).await;
    let (mut slow, mut fast) = (fanout.session(0), fanout.session(1));
    let mut flood = Raw::v4(listener.local_addr(), "flood");
    let flooding = tokio::task::spawn_blocking(move || {
        for id in 1..=SENT {
            flood.send(&publish("a", id, &[b'1'; 100]));
        }
        flood
    });
    let mut held = receive(&mut slow, 10_000).await;
    let mut raw = Raw::v4(listener.local_addr(), "device");
    for id in 1..=100 {
        raw.send(&publish("b", id, b"1"));
        let deliveries = receive(&mut fast, 1).await;
        ack(&fast, deliveries);
        raw.expect(&puback(id));
    }
    // What the connection has sent further waits in the network.
    let quiet = Duration::from_millis(300);
    while let Ok(received) = timeout(quiet, slow.recv_batch(1_000, &mut held)).await {
        received.unwrap();
    }
    // 10,000 that aren't acknowledged, and the 20,000 that the listener may have read before it paused, in batches.
    assert!(held.len() < 40_000, "{} messages", held.len());
    let mut taken = held.len();
    ack(&slow, held);
    while taken < usize::from(SENT) {
        let deliveries = receive(&mut slow, 1_000.min(usize::from(SENT) - taken)).await;
        taken += deliveries.len();
        ack(&slow, deliveries);
    }
    let mut flood = flooding.await.unwrap();
    let pubacks: Vec<u8> = (1..=SENT).flat_map(puback).collect();
    flood.expect(&pubacks);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_delivered_again_after_a_pipeline_has_ended_its_session() {
    let (listener, fanout) = listen(&["a", "b"]).await;
    let (mut first, mut second) = (fanout.session(0), fanout.session(1));
    let mut raw = Raw::v4(listener.local_addr(), "device");
    raw.send(&publish("a", 1, b"1"));
    assert_eq!(receive(&mut first, 1).await.len(), 1);
    first.close().await;
    raw.closed();
    // The other pipeline's session has ended, too.
    let mut batch = Vec::new();
    let ended = timeout(TIMEOUT, second.recv_batch(1, &mut batch)).await;
    assert!(ended.expect("an end").is_err());

    let (mut first, second) = (fanout.session(0), fanout.session(1));
    let mut raw = Raw::v4(listener.local_addr(), "device");
    raw.send(&publish("a", 1, b"1"));
    let deliveries = receive(&mut first, 1).await;
    ack(&first, deliveries);
    raw.expect(&puback(1));
    drop((first, second));
}

//! Webhooks on a real HTTP server.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::fixture::{Alerts, now};
use super::{HOT, events};

/// A receiver that answers with a status, and records what it has answered.
#[derive(Clone)]
struct Receiver {
    addr: SocketAddr,
    status: Arc<AtomicU16>,
    received: Arc<Mutex<Vec<(u16, Json)>>>,
}

impl Receiver {
    /// A status of 0 answers nothing.
    async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            addr: listener.local_addr().unwrap(),
            status: Arc::new(AtomicU16::new(status)),
            received: Arc::default(),
        };
        let routes = Router::new()
            .route("/hook", post(receive))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        receiver
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.addr)
    }

    fn received(&self) -> Vec<(u16, Json)> {
        self.received.lock().unwrap().clone()
    }

    /// Waits until it has answered this often with this status. Returns these events.
    async fn wait_for(&self, status: u16, count: usize) -> Vec<Json> {
        for _ in 0..400 {
            let received = self.received().into_iter();
            let found: Vec<_> = received
                .filter_map(|(answered, event)| (answered == status).then_some(event))
                .collect();
            if found.len() >= count {
                return found;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("{status}, {count} times: {:#?}", self.received());
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let event: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!(headers["idempotency-key"], event["id"].as_str().unwrap());
    assert_eq!(headers["content-type"], "application/json");
    let status = receiver.status.load(Ordering::Relaxed);
    receiver.received.lock().unwrap().push((status, event));
    if status == 0 {
        std::future::pending::<()>().await;
    }
    StatusCode::from_u16(status).unwrap()
}

fn with_webhooks(receivers: &[&Receiver]) -> String {
    let urls: Vec<_> = receivers.iter().map(|receiver| receiver.url()).collect();
    format!("{HOT}webhooks = {}\n", json!(urls))
}

#[tokio::test]
async fn event_is_posted_until_it_is_taken_also_after_a_restart() {
    let receiver = Receiver::start(503).await;
    let fixture = Alerts::new(&with_webhooks(&[&receiver]));
    let running = fixture.start();
    let time = now();
    fixture.store("a", time, 95.0).await;
    let refused = receiver.wait_for(503, 2).await;
    assert_eq!(refused[0], refused[1], "the same event");
    let expected = json!({
        "id": refused[0]["id"],
        "alert": "hot",
        "pipeline": "p",
        "series": r#"{"device":"a"}"#,
        "tags": {"device": "a"},
        "field": "t",
        "kind": "threshold",
        "state": "firing",
        "value": 95.0,
        "threshold": 90.0,
        "time": time.to_string(),
    });
    assert_eq!(refused[0], expected);
    running.kill();
    receiver.status.store(204, Ordering::Relaxed);
    let fixture = fixture.restarted();
    let running = fixture.start();
    assert_eq!(receiver.wait_for(204, 1).await, [expected]);
    // The next one comes behind it, and a stop leaves nothing to be sent again.
    fixture.store("a", now(), 1.0).await;
    let taken = receiver.wait_for(204, 2).await;
    assert_eq!(taken[1]["state"], "resolved");
    assert_ne!(taken[1]["id"], taken[0]["id"]);
    sleep(Duration::from_millis(200)).await;
    running.stop().await;
    let fixture = fixture.restarted();
    let _running = fixture.start();
    fixture
        .wait_for("the states are there", |it| events(it).len() == 2)
        .await;
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!(receiver.wait_for(204, 2).await.len(), 2);
}

#[tokio::test]
async fn slow_receiver_holds_up_nothing_else() {
    let (slow, failing, other) = (
        Receiver::start(0).await,
        Receiver::start(500).await,
        Receiver::start(200).await,
    );
    let fixture = Alerts::new(&with_webhooks(&[&slow, &failing, &other]));
    let _running = fixture.start();
    for value in [95.0, 1.0, 96.0] {
        fixture.store("a", now(), value).await;
        sleep(Duration::from_millis(20)).await;
    }
    let taken = other.wait_for(200, 3).await;
    let values: Vec<_> = taken.iter().map(|event| event["value"].clone()).collect();
    assert_eq!(values, [json!(95.0), json!(1.0), json!(96.0)], "in order");
    failing.wait_for(500, 2).await;
    let waits = failing.received();
    assert_eq!(waits[0].1["id"], waits[1].1["id"], "the first one first");
    assert_eq!(slow.received().len(), 1);
    // Once it answers, the rest follows in order.
    failing.status.store(201, Ordering::Relaxed);
    let ids =
        |events: &[Json]| -> Vec<Json> { events.iter().map(|event| event["id"].clone()).collect() };
    assert_eq!(ids(&failing.wait_for(201, 3).await), ids(&taken));
}

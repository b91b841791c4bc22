//! Messages that are posted.

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use serde_json::json;
use transport::{MemoryBroker, Source};

use crate::fixture::{Answer, Fixture};
use crate::problems::assert_problem;

const POST: &str = "/api/v1/pipelines/rigs/messages?topic=a/b";

/// Posts a body while messages are received and acknowledged as an ingester does. Returns the answer, and the
/// messages in order.
async fn post(
    fixture: &Fixture,
    kind: &str,
    body: &'static str,
) -> (Answer, Vec<(String, String)>) {
    let mut session = fixture.inbox.beside(MemoryBroker::default().session());
    let mut taken = Vec::new();
    let take = async {
        loop {
            let mut batch = Vec::new();
            session.recv_batch(100, &mut batch).await.unwrap();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            taken.extend(batch.iter().map(|it| (it.topic.clone(), text(&it.payload))));
            session.ack(batch.into_iter().map(|it| it.ticket));
        }
    };
    let headers = [(header::CONTENT_TYPE, kind)];
    let send = fixture.send(Method::POST, POST, &headers, Body::from(body));
    let answer = tokio::select! {
        answer = send => answer,
        never = take => never,
    };
    taken.sort();
    (answer, taken)
}

fn of_topic<const N: usize>(payloads: [&str; N]) -> Vec<(String, String)> {
    payloads
        .map(|payload| ("a/b".to_owned(), payload.to_owned()))
        .into()
}

#[tokio::test]
async fn messages_are_answered_when_they_are_durable() {
    let fixture = Fixture::new();
    let (answer, taken) = post(&fixture, "text/plain", "1\n2").await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
    assert_eq!(taken, of_topic(["1\n2"]));
    let (answer, taken) = post(&fixture, "application/x-ndjson", "1\n\n 2\r\n3").await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
    assert_eq!(taken, of_topic(["1", "2", "3"]));
}

#[tokio::test]
async fn compressed_messages_are_taken() {
    let fixture = Fixture::new();
    // `printf '{"value": 2.5}' | gzip -n`.
    let small = [
        31, 139, 8, 0, 0, 0, 0, 0, 2, 255, 171, 86, 42, 75, 204, 41, 77, 85, 178, 82, 48, 210, 51,
        173, 5, 0, 11, 25, 113, 204, 14, 0, 0, 0,
    ];
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CONTENT_ENCODING, "gzip"),
    ];
    let mut session = fixture.inbox.beside(MemoryBroker::default().session());
    let mut batch = Vec::new();
    let (answer, ()) = tokio::join!(
        fixture.send(Method::POST, POST, &headers, Body::from(small.to_vec())),
        async {
            session.recv_batch(1, &mut batch).await.unwrap();
            assert_eq!(batch[0].payload, "{\"value\": 2.5}");
            session.ack(batch.drain(..).map(|it| it.ticket));
        }
    );
    // The fixture wants a digit.
    assert_problem(&answer, StatusCode::UNPROCESSABLE_ENTITY, "1 of 1", "small");
    let mut broken = small;
    broken[12] ^= 255;
    let answer = fixture
        .send(Method::POST, POST, &headers, Body::from(broken.to_vec()))
        .await;
    assert_problem(&answer, StatusCode::BAD_REQUEST, "", "broken");
    let unknown = [(header::CONTENT_ENCODING, "br")];
    let answer = fixture
        .send(Method::POST, POST, &unknown, Body::from("1"))
        .await;
    assert_problem(&answer, StatusCode::UNSUPPORTED_MEDIA_TYPE, "", "br");
}

#[tokio::test]
async fn bad_messages_are_named_and_the_others_are_taken() {
    let fixture = Fixture::new();
    let (answer, taken) = post(&fixture, "application/x-ndjson", "1\nx\n3").await;
    let taken_all = "the bad one, too, so that it becomes a dead letter";
    assert_eq!(taken, of_topic(["1", "3", "x"]), "{taken_all}");
    assert_problem(&answer, StatusCode::UNPROCESSABLE_ENTITY, "1 of 3", "x");
    let expected = json!([{"line": 2, "reason": "bad_value", "detail": "no digit"}]);
    assert_eq!(answer.json()["errors"], expected);
}

#[tokio::test(start_paused = true)]
async fn messages_that_nothing_takes_are_refused() {
    let fixture = Fixture::new();
    let answer = fixture.post(POST, &[], &json!(1)).await;
    assert_problem(
        &answer,
        StatusCode::SERVICE_UNAVAILABLE,
        "may be stored later",
        "full",
    );
    assert_eq!(answer.header(header::RETRY_AFTER), "5");
    let elsewhere = "/api/v1/pipelines/elsewhere/messages?topic=a";
    let answer = fixture.post(elsewhere, &[], &json!(1)).await;
    assert_problem(&answer, StatusCode::NOT_FOUND, "no ingester", "elsewhere");
    let answer = fixture.get("/api/v1/pipelines/elsewhere/messages").await;
    assert_problem(&answer, StatusCode::NOT_FOUND, "no ingester", "watched");
    let answer = fixture
        .post("/api/v1/pipelines/rigs/messages", &[], &json!(1))
        .await;
    assert_problem(
        &answer,
        StatusCode::UNPROCESSABLE_ENTITY,
        "topic",
        "no topic",
    );
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson")];
    let many = Body::from("1\n".repeat(1_001));
    let answer = fixture.send(Method::POST, POST, &headers, many).await;
    assert_problem(
        &answer,
        StatusCode::UNPROCESSABLE_ENTITY,
        "at most 1000",
        "many",
    );
}

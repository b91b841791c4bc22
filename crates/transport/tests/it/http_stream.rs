//! Streams of a server that does what the test says.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use common::health::Health;
use model::pipeline::PipelineFile;
use model::position::{PositionStep, Positions};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use transport::{
    Delivery, HttpStreamSettings, HttpStreamSource, HttpStreamTicket, HttpStreamTls, Source,
};

use crate::harness::{TIMEOUT, up};

type Message = Delivery<HttpStreamTicket>;

/// A part of a response.
enum Part {
    Text(String),
    /// The connection breaks.
    Cut,
    /// Nothing for this long.
    Wait(Duration),
}

/// A response.
enum Answer {
    Lines(Vec<Part>),
    Status(StatusCode, &'static str),
}

/// A server with an answer for each request; those after the last get lines that never come.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    /// The queries that came, with the header `Authorization`.
    requests: Arc<Mutex<Vec<(String, String)>>>,
}

impl Script {
    async fn start(answers: Vec<Answer>) -> (Self, u16) {
        let script = Self::default();
        script.answers.lock().unwrap().extend(answers);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = Router::new()
            .route("/plant/metrics", get(answer))
            .with_state(script.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (script, port)
    }

    fn queries(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().map(|(query, _)| query.clone()).collect()
    }
}

async fn answer(State(script): State<Script>, uri: Uri, headers: HeaderMap) -> Response {
    let query = uri.query().unwrap_or_default().to_owned();
    let authorization = headers.get(header::AUTHORIZATION);
    let authorization = authorization.map_or("", |value| value.to_str().unwrap());
    let mut requests = script.requests.lock().unwrap();
    requests.push((query, authorization.to_owned()));
    drop(requests);
    let next = script.answers.lock().unwrap().pop_front();
    let parts = match next {
        Some(Answer::Status(status, body)) => return (status, body).into_response(),
        Some(Answer::Lines(parts)) => parts,
        None => vec![Part::Wait(TIMEOUT * 2)],
    };
    let (send, receive) = mpsc::channel::<io::Result<Bytes>>(1);
    tokio::spawn(async move {
        for part in parts {
            let piece = match part {
                Part::Wait(time) => {
                    sleep(time).await;
                    continue;
                }
                Part::Text(text) => Ok(text.into()),
                Part::Cut => Err(io::Error::other("cut")),
            };
            let _ = send.send(piece).await;
        }
    });
    Body::from_stream(ReceiverStream::new(receive)).into_response()
}

fn line(cursor: u32) -> String {
    format!("{{\"cursor\":\"f-{cursor}\",\"item\":{{ \"n\": {cursor} }}}}\n")
}

fn lines(cursors: std::ops::RangeInclusive<u32>) -> Part {
    Part::Text(cursors.map(line).collect())
}

fn settings(port: u16, login: &str, more: &str) -> HttpStreamSettings {
    let text = format!(
        "name = \"plant\"\n[source]\nkind = \"http-stream\"\n\
         url = \"http://{login}127.0.0.1:{port}/plant/metrics\"\n{more}"
    );
    let file = PipelineFile::parse("plant.toml", &text, &|_| None).unwrap();
    HttpStreamSettings::of_file(&file, &HttpStreamTls::default()).unwrap()
}

fn start(settings: &HttpStreamSettings, positions: &Positions) -> (HttpStreamSource, Health) {
    let health = Health::default();
    let source = HttpStreamSource::start(settings, health.dependency("http-stream"), positions);
    (source, health)
}

async fn receive(source: &mut HttpStreamSource, count: usize) -> Vec<Message> {
    let mut batch = Vec::new();
    while batch.len() < count {
        let more = source.recv_batch(count - batch.len(), &mut batch);
        timeout(TIMEOUT, more).await.expect("messages").unwrap();
    }
    batch
}

fn numbers(batch: &[Message]) -> Vec<String> {
    let text = |message: &Message| String::from_utf8(message.payload.to_vec()).unwrap();
    batch.iter().map(text).collect()
}

fn expected(numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
    numbers
        .map(|number| format!("{{ \"n\": {number} }}"))
        .collect()
}

fn step(source: &HttpStreamSource, batch: &[Message]) -> PositionStep {
    let mut steps = source.steps(batch.iter().map(|message| &message.ticket));
    assert_eq!(steps.len(), 1);
    steps.remove(0)
}

fn last_error(health: &Health) -> String {
    let dependency = health.report().dependencies.into_iter().next();
    dependency.unwrap().last_error.unwrap_or_default()
}

async fn wait_for_error(health: &Health, words: &str) {
    let is_there = async {
        while !last_error(health).contains(words) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let found = timeout(TIMEOUT, is_there).await;
    assert!(
        found.is_ok(),
        "{words:?} is not in {:?}",
        last_error(health)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_that_breaks_in_a_line_is_read_on_from_the_last_whole_one() {
    let half = || Part::Text(line(4)[..20].to_owned());
    let (script, port) = Script::start(vec![
        Answer::Lines(vec![lines(1..=3), half(), Part::Cut]),
        Answer::Lines(vec![Part::Text("\n\n".into()), Part::Cut]),
        Answer::Lines(vec![lines(4..=4), Part::Text("\r\n".into()), lines(5..=6)]),
        Answer::Lines(vec![half()]),
        Answer::Lines(vec![Part::Text(line(7).trim_end().to_owned())]),
    ])
    .await;
    let (mut source, health) = start(&settings(port, "", ""), &Positions::new());
    let first = receive(&mut source, 3).await;
    assert_eq!(first[0].topic, "plant/metrics");
    assert_eq!(numbers(&first), expected(1..=3));
    let partition = format!("http://127.0.0.1:{port}/plant/metrics");
    let mut wanted = PositionStep {
        partition,
        from: String::new(),
        to: "f-3".into(),
    };
    assert_eq!(step(&source, &first), wanted);
    source.ack(first.into_iter().map(|message| message.ticket));
    let rest = receive(&mut source, 4).await;
    assert_eq!(numbers(&rest), expected(4..=7));
    (wanted.from, wanted.to) = ("f-3".into(), "f-7".into());
    assert_eq!(step(&source, &rest), wanted);
    up(&health).await;
    let queries = script.queries();
    let after = ["", "&after=f-3", "&after=f-3", "&after=f-6", "&after=f-6"];
    let after = after.map(|after| format!("follow=true{after}"));
    assert_eq!(queries[..5], after);
    source.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_file_is_read_from_its_start() {
    let (script, port) = Script::start(vec![
        Answer::Status(StatusCode::GONE, "{\"detail\":\"replaced\"}"),
        Answer::Lines(vec![lines(1..=2)]),
        Answer::Status(StatusCode::GONE, ""),
        Answer::Lines(vec![lines(1..=1)]),
    ])
    .await;
    let partition = format!("http://127.0.0.1:{port}/plant/metrics");
    let positions = Positions::from([
        (partition, "old-9".to_owned()),
        ("http://other/metrics".to_owned(), "x".to_owned()),
    ]);
    let (mut source, _) = start(&settings(port, "", ""), &positions);
    let first = receive(&mut source, 2).await;
    let PositionStep { from, to, .. } = step(&source, &first);
    assert_eq!((&*from, &*to), ("old-9", "f-2"));
    source.ack(first.into_iter().map(|message| message.ticket));
    let second = receive(&mut source, 1).await;
    let PositionStep { from, to, .. } = step(&source, &second);
    assert_eq!((&*from, &*to), ("f-2", "f-1"));
    let after = ["&after=old-9", "", "&after=f-2", ""];
    let after = after.map(|after| format!("follow=true{after}"));
    assert_eq!(script.queries()[..4], after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_reported_and_tried_again() {
    let nonsense = "<html>\n".to_owned();
    let (script, port) = Script::start(vec![
        Answer::Status(
            StatusCode::SERVICE_UNAVAILABLE,
            "{\"detail\":\"come back later\"}",
        ),
        Answer::Status(StatusCode::GONE, "nothing"),
        Answer::Lines(vec![lines(1..=2), Part::Text(nonsense), lines(3..=3)]),
        Answer::Lines(vec![Part::Text(
            "{\"error\":\"the file ends early\"}\n".into(),
        )]),
        Answer::Lines(vec![Part::Wait(TIMEOUT * 2)]),
        Answer::Lines(vec![lines(3..=3)]),
    ])
    .await;
    let settings = settings(port, "", "").with_silence(Duration::from_secs(1));
    let (mut source, health) = start(&settings, &Positions::new());
    wait_for_error(&health, "503: come back later").await;
    wait_for_error(&health, "410: it says nothing").await;
    let first = receive(&mut source, 2).await;
    assert_eq!(numbers(&first), expected(1..=2));
    wait_for_error(&health, "a cursor and an item: \"<html>\"").await;
    wait_for_error(&health, "the server says: the file ends early").await;
    wait_for_error(&health, "nothing has come for 1s").await;
    assert_eq!(numbers(&receive(&mut source, 1).await), expected(3..=3));
    let queries = script.queries();
    assert!(
        queries[3..]
            .iter()
            .all(|query| query == "follow=true&after=f-2"),
        "{queries:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_that_are_invalid_or_too_long_take_their_place() {
    let long = "x".repeat(300_000);
    let (_script, port) = Script::start(vec![Answer::Lines(vec![
        lines(1..=1),
        Part::Text("{\"cursor\":\"f-2\",\"invalid\":\"{\\\"a\\\"\"}\n".into()),
        Part::Text(format!("{{\"cursor\":\"f-3\",\"item\":\"{long}")),
        Part::Text(format!(
            "{long}\"}}\n{{\"cursor\":\"f-4\",\"item\":null}}\n"
        )),
        lines(5..=5),
    ])])
    .await;
    let limit = "[limits]\nmax_payload = 1000\n";
    let (mut source, _) = start(&settings(port, "", limit), &Positions::new());
    let batch = receive(&mut source, 5).await;
    let texts = numbers(&batch);
    assert_eq!(texts[..2], ["{ \"n\": 1 }", "{\"a\""]);
    // More than the limit, so the ingester rejects it; not all of it.
    assert!(
        (1_001..3_000).contains(&texts[2].len()),
        "{}",
        texts[2].len()
    );
    assert_eq!(texts[3..], ["null", "{ \"n\": 5 }"]);
    assert_eq!(step(&source, &batch).to, "f-5");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_ends_at_once_is_not_asked_all_the_time() {
    let empty = || Answer::Lines(Vec::new());
    let (script, port) = Script::start((0..1_000).map(|_| empty()).collect()).await;
    let (source, health) = start(&settings(port, "", ""), &Positions::new());
    up(&health).await;
    sleep(Duration::from_secs(4)).await;
    // Waits of at least 250 ms that double: after 0, 0.25, 0.75, 1.75 and 3.75 s, if there is no jitter.
    let asked = script.queries().len();
    assert!((2..=6).contains(&asked), "{asked}");
    source.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_or_login_is_sent_and_not_shown() {
    for (login, more, sent) in [
        ("", "token = \"sec ret\"\n", "Bearer sec ret"),
        ("me:p%40ss@", "", "Basic bWU6cEBzcw=="),
        ("me:pass@", "token = \"t\"\n", "Bearer t"),
        ("", "", ""),
    ] {
        let (script, port) = Script::start(vec![Answer::Lines(vec![lines(1..=1)])]).await;
        let settings = settings(port, login, more);
        for secret in ["sec ret", "p@ss", "p%40ss"] {
            assert!(!format!("{settings:?}").contains(secret));
        }
        let (mut source, _) = start(&settings, &Positions::new());
        let batch = receive(&mut source, 1).await;
        let partition = format!("http://127.0.0.1:{port}/plant/metrics");
        assert_eq!(step(&source, &batch).partition, partition);
        assert_eq!(script.requests.lock().unwrap()[0].1, sent);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reader_that_is_slow_holds_up_the_server_and_loses_nothing() {
    let last_sent = Arc::new(Mutex::new(0));
    let counted = last_sent.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let endless = move || {
        let (outgoing, incoming) = mpsc::channel::<Result<String, Infallible>>(1);
        let counted = counted.clone();
        tokio::spawn(async move {
            for number in 1.. {
                if outgoing.send(Ok(line(number))).await.is_err() {
                    return;
                }
                *counted.lock().unwrap() = number;
            }
        });
        async { Body::from_stream(ReceiverStream::new(incoming)) }
    };
    let app = Router::new().route("/plant/metrics", get(endless));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let (mut source, _) = start(&settings(port, "", ""), &Positions::new());
    let first = receive(&mut source, 1).await;
    assert_eq!(numbers(&first), expected(1..=1));
    let mut before = 0;
    let stands_still = async {
        loop {
            sleep(Duration::from_millis(500)).await;
            let now = *last_sent.lock().unwrap();
            if now == before {
                return now;
            }
            before = now;
        }
    };
    let waiting = timeout(TIMEOUT, stands_still)
        .await
        .expect("the server waits");
    let rest = receive(&mut source, usize::try_from(waiting).unwrap()).await;
    assert_eq!(numbers(&rest), expected(2..=waiting + 1));
    source.close().await;
}

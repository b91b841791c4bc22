//! The live stream.

use std::time::Duration;

use api::{ApiSettings, Server};
use axum::body::BodyDataStream;
use axum::http::{StatusCode, header};
use clap::Parser;
use common::harness::Process;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;

use crate::fixture::Fixture;

const STREAM: &str = "/api/v1/pipelines/rigs/stream";
/// Longer than any event takes.
const LIMIT: Duration = Duration::from_secs(30);

/// A reader of a stream.
struct Reader {
    body: BodyDataStream,
    text: String,
}

impl Reader {
    async fn open(fixture: &Fixture, path: &str) -> Self {
        let response = fixture.open(path).await;
        assert_eq!(response.status(), StatusCode::OK);
        let kind = response.headers().get(header::CONTENT_TYPE).unwrap();
        assert_eq!(kind, "text/event-stream");
        Self {
            body: response.into_body().into_data_stream(),
            text: String::new(),
        }
    }

    /// The next event with its data.
    async fn next(&mut self) -> (String, Json) {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| {
                    let found = event.lines().find_map(|line| line.strip_prefix(name));
                    found.map(str::to_owned)
                };
                let found = field("event: ").zip(field("data: "));
                if let Some((name, data)) = found {
                    return (name, serde_json::from_str(&data).unwrap());
                }
                continue;
            }
            let part = timeout(LIMIT, self.body.next()).await.unwrap();
            let part = part.unwrap().unwrap();
            self.text.push_str(std::str::from_utf8(&part).unwrap());
        }
    }

    /// The data of the next event of this name.
    async fn find(&mut self, wanted: &str) -> Json {
        loop {
            let (name, data) = self.next().await;
            if name == wanted {
                return data;
            }
        }
    }
}

/// Stores rows, and counts them as the sink does.
async fn store(fixture: &Fixture, rig: &'static str, count: u32, total: u32) {
    fixture.store(rig, count).await;
    let sql = format!("INSERT OR REPLACE INTO ledger VALUES ('rows_stored', {total})");
    fixture.queue.run(&sql);
}

/// The keys of an event `rows`.
fn keys(rows: &Json) -> Vec<&str> {
    let series = rows["series"].as_array().unwrap().iter();
    series.map(|one| one["key"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn first_state_is_whole_and_then_changes_arrive() {
    let fixture = Fixture::new();
    fixture.store("RIG-1", 1).await;
    fixture.store("RIG-2", 2).await;
    let mut reader = Reader::open(&fixture, STREAM).await;
    let (name, rows) = reader.next().await;
    assert_eq!((name.as_str(), &rows["all"]), ("rows", &json!(true)));
    assert_eq!(keys(&rows), ["RIG-1", "RIG-2"]);
    assert_eq!(
        rows["series"][0]["values"][0],
        json!({"field": "flow", "value": 0.0, "time": "2026-01-31T08:00:00Z"})
    );
    let (name, figures) = reader.next().await;
    assert_eq!(name, "figures");
    assert_eq!(figures["balanced"], true);
    assert_eq!(
        figures["lists"][0]["limit"],
        fixture.queue.settings().limits.queue_limit
    );
    assert_eq!(figures["ledger"].as_array().unwrap().len(), 6);
    let stages = figures["stages"].as_array().unwrap().iter();
    let stages: Vec<_> = stages.map(|stage| &stage["name"]).collect();
    assert_eq!(stages, ["ingester", "transformer", "sink"]);

    store(&fixture, "RIG-2", 4, 2).await;
    let rows = reader.find("rows").await;
    assert_eq!(rows["all"], false);
    assert_eq!(keys(&rows), ["RIG-2"]);
    assert_eq!(rows["series"][0]["values"][0]["value"], 3.0);
    // Counted without having been taken.
    assert_eq!(reader.find("figures").await["balanced"], false);

    // Another reader gets all of what was read already.
    let mut other = Reader::open(&fixture, STREAM).await;
    assert_eq!(keys(&other.find("rows").await), ["RIG-1", "RIG-2"]);
}

#[tokio::test]
async fn slow_reader_gets_the_newest_state() {
    let fixture = Fixture::new();
    fixture.store("RIG-1", 1).await;
    let mut slow = Reader::open(&fixture, STREAM).await;
    let mut fast = Reader::open(&fixture, STREAM).await;
    slow.find("rows").await;
    fast.find("rows").await;
    for count in 2..=8 {
        store(&fixture, "RIG-1", count, count).await;
        fast.find("rows").await;
    }
    let mut seen = 0;
    loop {
        let rows = slow.find("rows").await;
        seen += 1;
        if rows["series"][0]["values"][0]["value"] == 7.0 {
            break;
        }
    }
    // One that was waiting to be sent, and the newest; not all seven.
    assert!(seen <= 3, "{seen}");
}

#[tokio::test]
async fn problems_are_told_and_other_events_go_on() {
    let fixture = Fixture::new();
    let mut reader = Reader::open(&fixture, "/api/v1/pipelines/elsewhere/stream").await;
    // A store that doesn't answer doesn't hold up the figures.
    let problem = reader.find("problem").await;
    assert_eq!(
        (&problem["of"], &problem["status"]),
        (&json!("rows"), &json!(503))
    );
    reader.find("figures").await;

    let mut reader = Reader::open(&fixture, STREAM).await;
    reader.find("figures").await;
    fixture.queue.run("ALTER TABLE ledger RENAME TO elsewhere");
    for _ in 0..2 {
        let problem = reader.find("problem").await;
        assert_eq!(
            (&problem["of"], &problem["status"]),
            (&json!("figures"), &json!(503))
        );
    }
    fixture.queue.run("ALTER TABLE elsewhere RENAME TO ledger");
    assert_eq!(reader.find("recovered").await, json!({"of": "figures"}));
    assert_eq!(reader.next().await.0, "figures");
}

#[tokio::test]
async fn streams_are_limited() {
    let fixture = Fixture::new();
    let mut open = Vec::new();
    for _ in 0..500 {
        let response = fixture.open(STREAM).await;
        assert_eq!(response.status(), StatusCode::OK);
        open.push(response);
    }
    let refused = fixture.get(STREAM).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    let detail = refused.json()["detail"].clone();
    assert!(detail.as_str().unwrap().contains("500 streams"), "{detail}");
    // A reader that goes makes room for another one.
    open.pop();
    let again = async {
        while fixture.open(STREAM).await.status() != StatusCode::OK {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, again).await.unwrap();
}

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    api: ApiSettings,
}

#[tokio::test]
async fn stop_ends_streams() {
    let fixture = Fixture::new();
    let settings = Settings::parse_from(["test", "--api-addr", "127.0.0.1:0"]).api;
    let server = Server::bind(&settings).await.unwrap();
    let addr = server.addr();
    let (api, process) = (fixture.api.clone(), Process::default());
    let stop = process.stop.clone();
    let running = tokio::spawn(async move { server.run(api, &settings, process).await });
    let mut client = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {STREAM} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 64];
    timeout(LIMIT, client.read_exact(&mut first))
        .await
        .unwrap()
        .unwrap();
    assert!(first.starts_with(b"HTTP/1.1 200"));
    stop.cancel();
    let mut rest = Vec::new();
    timeout(LIMIT, client.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    // The last chunk, so the stream has ended and wasn't cut.
    assert!(rest.ends_with(b"0\r\n\r\n"));
    timeout(LIMIT, running).await.unwrap().unwrap().unwrap();
}

//! What is sent to the HTTP API.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use api::{AlertBoard, Api, ApiSettings, PipelineHistory, ServedPipeline, StageChecks};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, StatusCode, header};
use clap::Parser;
use common::clock::Clock;
use common::health::Health;
use common::pipelines::Pipeline;
use model::dead_letter::{DeadLetter, Rejection};
use model::{Layout, Timestamp};
use queue::testing::TempQueue;
use queue::{DeadLetterEntry, Lists, Replay};
use store::{SqliteSettings, SqliteStore};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt;
use transport::{Inbox, MemoryBroker, Source};

use crate::choice;

/// Where a body, or a query, is sent.
const REQUESTS: [(Method, &str, &str); 8] = [
    (Method::POST, "messages?topic=a", "application/json"),
    (Method::POST, "messages?topic=a", "application/x-ndjson"),
    (Method::POST, "dead-letters/replay", "application/json"),
    (Method::POST, "dead-letters/discard", "application/json"),
    (Method::GET, "rows", ""),
    (Method::GET, "buckets", ""),
    (Method::GET, "statistics", ""),
    (Method::GET, "dead-letters", ""),
];

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    api: ApiSettings,
}

/// Takes everything.
#[derive(Debug)]
struct Anything;

impl StageChecks for Anything {
    fn validate(&self, _: DeadLetterEntry, _: &DeadLetter, _: Timestamp) -> Result<Replay, String> {
        Err("is refused again".to_owned())
    }

    fn check(&self, _: &str, _: &[u8], _: Timestamp) -> Option<Rejection> {
        None
    }
}

struct Server {
    router: Router,
    runtime: Runtime,
    _queue: TempQueue,
    _dir: TempDir,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap();
    let _entered = runtime.enter();
    let dir = TempDir::with_prefix("fuzz-").unwrap();
    let kept = SqliteSettings {
        retention: Duration::ZERO,
    };
    let path = dir.path().join("store.db");
    let store = SqliteStore::open(&path, &kept, Layout::Rigs, Clock::system()).unwrap();
    let queue = TempQueue::new(queue::testing::settings());
    let inbox = Inbox::default();
    let mut session = inbox.beside(MemoryBroker::default().session());
    runtime.spawn(async move {
        let mut batch = Vec::new();
        while session.recv_batch(100, &mut batch).await.is_ok() {
            session.ack(batch.drain(..).map(|delivery| delivery.ticket));
        }
    });
    let pipeline = ServedPipeline {
        pipeline: Pipeline::Rigs(None),
        lists: Lists::Sqlite(queue.open()),
        history: PipelineHistory::Sqlite(store.history()),
        latest: None,
        stages: Arc::new(Anything),
        alerts: AlertBoard::default(),
        inbox: Some(inbox),
    };
    let api = Api::new(vec![pipeline], Health::for_stage("up"), Clock::system());
    Server {
        router: api::router(api, &Settings::parse_from(["fuzz"]).api).unwrap(),
        runtime,
        _queue: queue,
        _dir: dir,
    }
});

/// A request: its body, or its query. It is answered, and not by an internal error.
pub fn http(data: &[u8]) {
    let Some((place, content)) = choice(data) else {
        return;
    };
    let (method, path, kind) = &REQUESTS[place % REQUESTS.len()];
    let path = format!("/api/v1/pipelines/rigs/{path}");
    let request = if *method == Method::POST {
        let request = Request::post(path).header(header::CONTENT_TYPE, *kind);
        request.body(Body::from(content.to_vec()))
    } else {
        // Bytes that can't be in a query make no request.
        let query = String::from_utf8_lossy(content);
        Request::get(format!("{path}?{query}")).body(Body::empty())
    };
    let Ok(mut request) = request else {
        return;
    };
    let from = SocketAddr::from(([127, 0, 0, 1], 7));
    request.extensions_mut().insert(ConnectInfo(from));
    let answer = SERVER
        .runtime
        .block_on(SERVER.router.clone().oneshot(request));
    let status = answer.unwrap().status();
    assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR);
}

//! An API over a store and lists in temporary files.

use std::time::Duration;

use api::{Api, ApiSettings, PipelineHistory, ServedPipeline};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::response::Response;
use clap::Parser;
use common::clock::Clock;
use common::health::Health;
use common::pipelines::Pipeline;
use common::secret::Secret;
use model::{Layout, Name, Row, Timestamp, Value};
use queue::testing::TempQueue;
use serde_json::Value as Json;
use store::{SqliteSettings, SqliteStore, Store};
use tempfile::TempDir;
use tower::ServiceExt;

/// The time of the first row.
pub const FIRST: &str = "2026-01-31T08:00:00Z";

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    api: ApiSettings,
}

/// An API with the pipeline `rigs`, and one whose store it can't read.
pub struct Fixture {
    pub queue: TempQueue,
    pub health: Health,
    pub api: Api,
    store: SqliteStore,
    router: Router,
    _dir: TempDir,
}

/// What was answered.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |it| it.to_str().unwrap())
    }
}

impl Fixture {
    pub fn new() -> Self {
        Self::with_token(None)
    }

    pub fn with_token(token: Option<&str>) -> Self {
        let mut settings = Settings::parse_from(["test"]).api;
        settings.api_token = token.map(Secret::new);
        let dir = TempDir::with_prefix("api-").unwrap();
        let kept = SqliteSettings {
            retention: Duration::ZERO,
        };
        let path = dir.path().join("store.db");
        let store = SqliteStore::open(&path, &kept, Layout::Rigs, Clock::system()).unwrap();
        let queue = TempQueue::new(queue::testing::settings());
        let file = "name = \"elsewhere\"\n[source]\ntopic = \"x/{device}\"\n[[store]]\nkind = \"influx\"\n";
        let file = model::pipeline::PipelineFile::parse("x.toml", file, &|_| None).unwrap();
        let pipelines = vec![
            ServedPipeline {
                pipeline: Pipeline::Rigs,
                queue: queue.open(),
                history: PipelineHistory::Sqlite(store.history()),
            },
            ServedPipeline {
                pipeline: Pipeline::File(file.into()),
                queue: queue.open(),
                history: PipelineHistory::Unreadable("influx"),
            },
        ];
        let health = Health::for_stage("up");
        let api = Api::new(pipelines, health.clone(), Clock::system());
        Self {
            queue,
            health,
            store,
            router: api::router(api.clone(), &settings),
            api,
            _dir: dir,
        }
    }

    /// Stores rows of a rig, a second apart.
    pub async fn store(&self, rig: &'static str, count: u32) {
        let first = Timestamp::parse(FIRST).unwrap();
        let row = |second: u32| {
            let time = first.plus(Duration::from_secs(second.into()));
            let mut row = Row::of_rig(Name::new(rig).unwrap(), time);
            let field = |name: &'static str, value| (Name::new(name).unwrap(), value);
            row.fields = vec![field("flow", Value::Float(f64::from(second)))];
            if second.is_multiple_of(2) {
                row.fields.push(field("temp", Value::Float(20.5)));
            }
            row
        };
        let rows: Vec<_> = (0..count).map(row).collect();
        self.store.write(&rows).await.unwrap();
    }

    /// Opens a stream without reading from it.
    pub async fn open(&self, path: &str) -> Response {
        let request = Request::get(path).body(Body::empty()).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[]).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(header::HeaderName, &str)]) -> Answer {
        self.ask(Method::GET, path, headers).await
    }

    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(header::HeaderName, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer {
            status,
            headers,
            body: body.to_vec(),
        }
    }

    /// What is answered to a request that has to succeed.
    pub async fn get_json(&self, path: &str) -> Json {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        answer.json()
    }
}

//! An API over a store and lists in temporary files.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::{AlertBoard, Api, ApiSettings, PipelineHistory, ServedPipeline, StageChecks};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::response::Response;
use clap::Parser;
use common::clock::Clock;
use common::health::Health;
use common::pipelines::Pipeline;
use common::secret::Secret;
use common::settings::InfluxTls;
use model::dead_letter::{DeadLetter, Reason, Rejection};
use model::{Layout, Name, Row, Timestamp, Value};
use queue::list::List;
use queue::testing::TempQueue;
use queue::{DeadLetterEntry, Lists, Replay};
use serde_json::Value as Json;
use store::{InfluxHistory, InfluxSettings, Measurement, SqliteSettings, SqliteStore, Store};
use tempfile::TempDir;
use tower::ServiceExt;
use transport::Inbox;

/// The time of the first row.
pub const FIRST: &str = "2026-01-31T08:00:00Z";

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    api: ApiSettings,
}

/// An API with the pipeline `rigs`, and one whose InfluxDB doesn't run.
pub struct Fixture {
    pub queue: TempQueue,
    pub health: Health,
    /// Messages that are posted to the pipeline `rigs`. Nothing takes them.
    pub inbox: Inbox,
    pub api: Api,
    store: SqliteStore,
    router: Router,
    _dir: TempDir,
}

/// Takes payloads that begin with a digit.
#[derive(Debug)]
pub struct Digits;

impl StageChecks for Digits {
    fn validate(
        &self,
        letter: DeadLetterEntry,
        content: &DeadLetter,
        now: Timestamp,
    ) -> Result<Replay, String> {
        if !content
            .payload
            .starts_with(|first: char| first.is_ascii_digit())
        {
            return Err("is refused again: no digit".to_owned());
        }
        Ok(Replay {
            marked: DeadLetter::marked(&letter.element, now),
            entry: letter,
            list: List::Raw,
            elements: vec![content.payload.clone().into_bytes()],
        })
    }

    fn check(&self, _: &str, payload: &[u8], _: Timestamp) -> Option<Rejection> {
        let is_bad = !payload.first().is_some_and(u8::is_ascii_digit);
        is_bad.then(|| Rejection::new(Reason::BadValue, "no digit"))
    }
}

/// What was answered.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// An InfluxDB that doesn't run.
fn nowhere() -> InfluxHistory {
    let settings = InfluxSettings {
        // The port of the discard service, which nobody uses any more.
        url: "http://127.0.0.1:9".into(),
        token: None,
        token_file: None,
        tls: InfluxTls::default(),
        org: "my-org".into(),
        bucket: "rigs".into(),
        timeout: Duration::from_secs(5),
    };
    InfluxHistory::new(&settings, Measurement::default(), Layout::Tagged).unwrap()
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
        Self::with_tokens(token, None)
    }

    pub fn with_tokens(token: Option<&str>, jwt_secret: Option<&str>) -> Self {
        let mut settings = Settings::parse_from(["test"]).api;
        settings.api_token = token.map(Secret::new);
        settings.api_jwt_secret = jwt_secret.map(Secret::new);
        let dir = TempDir::with_prefix("api-").unwrap();
        let kept = SqliteSettings {
            retention: Duration::ZERO,
        };
        let path = dir.path().join("store.db");
        let store = SqliteStore::open(&path, &kept, Layout::Rigs, Clock::system()).unwrap();
        let queue = TempQueue::new(queue::testing::settings());
        let inbox = Inbox::default();
        let file = "name = \"elsewhere\"\n[source]\ntopic = \"x/{device}\"\n[[store]]\nkind = \"influx\"\n";
        let file = model::pipeline::PipelineFile::parse("x.toml", file, &|_| None).unwrap();
        let elsewhere = Pipeline::File(file.into());
        let pipelines = vec![
            ServedPipeline {
                pipeline: Pipeline::Rigs(None),
                lists: Lists::Sqlite(queue.open()),
                history: PipelineHistory::Sqlite(store.history()),
                latest: None,
                stages: Arc::new(Digits),
                alerts: AlertBoard::default(),
                inbox: Some(inbox.clone()),
            },
            ServedPipeline {
                alerts: AlertBoard::of(&elsewhere),
                inbox: None,
                pipeline: elsewhere,
                lists: Lists::Sqlite(queue.open()),
                history: PipelineHistory::Influx(nowhere()),
                latest: None,
                stages: Arc::new(Digits),
            },
        ];
        let health = Health::for_stage("up");
        let api = Api::new(pipelines, health.clone(), Clock::system());
        Self {
            queue,
            health,
            inbox,
            store,
            router: api::router(api.clone(), &settings).unwrap(),
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

    /// Stores rows of a rig with the one field `flow`, each this long ago.
    pub async fn store_past(&self, rig: &'static str, ages: &[Duration]) {
        let now = Clock::system().now();
        let row = |age: &Duration| {
            let mut row = Row::of_rig(Name::new(rig).unwrap(), now.minus(*age));
            row.fields = vec![(Name::new("flow").unwrap(), Value::Float(1.0))];
            row
        };
        let rows: Vec<_> = ages.iter().map(row).collect();
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
        self.send(method, path, headers, Body::empty()).await
    }

    /// Sends a JSON body.
    pub async fn post(
        &self,
        path: &str,
        headers: &[(header::HeaderName, &str)],
        body: &Json,
    ) -> Answer {
        let mut all = vec![(header::CONTENT_TYPE, "application/json")];
        all.extend_from_slice(headers);
        self.send(Method::POST, path, &all, Body::from(body.to_string()))
            .await
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(header::HeaderName, &str)],
        body: Body,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        answer(&self.router, request.body(body).unwrap()).await
    }

    /// What is answered to a request that has to succeed.
    pub async fn get_json(&self, path: &str) -> Json {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        answer.json()
    }
}

/// The router of an API without a token.
pub fn router(api: Api) -> Router {
    api::router(api, &settings(&[])).unwrap()
}

/// Settings with these arguments.
pub fn settings(arguments: &[&str]) -> ApiSettings {
    Settings::parse_from(["test"].iter().chain(arguments)).api
}

/// What a router answers.
pub async fn answer(router: &Router, mut request: Request<Body>) -> Answer {
    let from = SocketAddr::from(([192, 0, 2, 1], 7));
    request.extensions_mut().insert(ConnectInfo(from));
    let response = router.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Answer {
        status,
        headers,
        body: body.to_vec(),
    }
}

/// What a router answers to a request that has to succeed.
pub async fn get_json(router: &Router, path: &str) -> Json {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let answer = answer(router, request).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}");
    answer.json()
}

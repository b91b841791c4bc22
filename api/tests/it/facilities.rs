//! The paths of system 2, over documents of a server that speaks MongoDB's protocol.

use std::sync::Arc;

use api::{AlertBoard, Api, PipelineHistory, ServedPipeline};
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use common::clock::Clock;
use common::health::Health;
use common::pipelines::Pipeline;
use model::pipeline::PipelineFile;
use model::{Name, Row, Timestamp, Value};
use queue::Lists;
use queue::testing::TempQueue;
use serde_json::{Value as Json, json};
use store::{MongoSettings, MongoStore, Store};
use testkit::MongoDb;

use crate::fixture::{Answer, Digits, answer, settings};

const FILE: &str = include_str!("../../../pipelines/facilities-store.toml");
/// The start of the first window, in seconds since 1970: 2026-01-05T08:00:00Z.
const FIRST: i64 = 1_767_600_000;

struct Facilities {
    store: MongoStore,
    router: Router,
    _queue: TempQueue,
}

impl Facilities {
    fn on(port: u16, arguments: &[&str]) -> Self {
        let port = port.to_string();
        let file = PipelineFile::parse("facilities-store.toml", FILE, &|name| match name {
            "MONGO_HOST" => Some("127.0.0.1".to_owned()),
            "MONGO_PORT" => Some(port.clone()),
            "MONGO_BATCH" => Some("99".to_owned()),
            _ => None,
        });
        let file = file.unwrap();
        let mut of_file = MongoSettings::of_file(&file, &file.store[0]);
        of_file.database = MongoDb::database();
        let store = MongoStore::new(&of_file, Clock::system()).unwrap();
        let queue = TempQueue::new(queue::testing::settings());
        let pipeline = Pipeline::File(file.into());
        let served = ServedPipeline {
            alerts: AlertBoard::of(&pipeline),
            pipeline,
            lists: Lists::Sqlite(queue.open()),
            history: PipelineHistory::Mongodb(store.history()),
            latest: None,
            stages: Arc::new(Digits),
            inbox: None,
        };
        let api = Api::new(vec![served], Health::for_stage("api"), Clock::system());
        let arguments = [&["--api-paths", "facilities"], arguments].concat();
        Self {
            store,
            router: api::router(api, &settings(&arguments)).unwrap(),
            _queue: queue,
        }
    }

    fn start() -> Self {
        Self::on(MongoDb::shared().port(), &[])
    }

    async fn ask(&self, method: Method, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        answer(&self.router, request.body(Body::empty()).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path).await
    }

    async fn json(&self, path: &str) -> Json {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        assert_eq!(answer.header(header::CONTENT_TYPE), "application/json");
        let text = answer.text();
        assert!(text == "[]" || text.contains("\n  "), "{text}");
        answer.json()
    }

    /// Asserts that the answer is this error, as the original writes it.
    async fn assert_error(&self, path: &str, status: u16, error: &str) {
        let answer = self.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert_eq!(answer.header(header::CONTENT_TYPE), "application/json");
        let expected = json!({ "error": error }).to_string();
        assert_eq!(answer.text(), expected, "{path}");
    }
}

fn name(text: &str) -> Name<'static> {
    Name::new(text.to_owned()).unwrap()
}

/// A row of a facility's window with this number.
fn row(facility: &str, window: u32, fields: &[(&str, f64)]) -> Row<'static> {
    let start = FIRST + 10 * i64::from(window);
    let end = Timestamp::from_millis((start + 10) * 1_000).to_string();
    let fields = fields.iter();
    let mut row = Row {
        tags: [(name("facility_name"), name(facility))].into(),
        timestamp: Timestamp::from_millis(start * 1_000),
        fields: fields
            .map(|(field, value)| (name(field), Value::Float(*value)))
            .collect(),
    };
    row.fields.push((name("end_time"), Value::String(end)));
    row
}

/// The readings of an answer by their `avg_humidity`.
fn humidities(page: &Json) -> Vec<f64> {
    let readings = page["data"].as_array().unwrap().iter();
    readings
        .map(|reading| reading["avg_humidity"].as_f64().unwrap())
        .collect()
}

#[tokio::test]
async fn readings_are_pages_with_the_newest_window_first() {
    let facilities = Facilities::start();
    let rows = (0..25).map(|window| row("facility_1", window, &[("avg_humidity", window.into())]));
    let mut rows: Vec<_> = rows.collect();
    let fields = [("avg_humidity", 50.5), ("min_temperature", 0.0)];
    rows.push(row("Halle 7/süd", 1, &fields));
    facilities.store.write(&rows).await.unwrap();

    let path = "/api/sensors/Halle%207%2Fs%C3%BCd";
    let mut one = facilities.json(path).await;
    let received = one["data"][0].as_object_mut().unwrap();
    let received = received.remove("received_at").unwrap();
    let received = Timestamp::parse(received.as_str().unwrap()).unwrap();
    let age = Clock::system().now().since(received).as_secs();
    assert!(age < 60, "{age} s");
    // What wasn't measured isn't there, and 0 is.
    let reading = json!({
        "avg_humidity": 50.5,
        "facility_name": "Halle 7/süd",
        "min_temperature": 0.0,
        "window": { "start_time": "2026-01-05T08:00:10Z", "end_time": "2026-01-05T08:00:20Z" },
    });
    let expected = json!({
        "data": [reading],
        "pagination": { "offset": 0, "limit": 10, "total": 1 },
    });
    assert_eq!(one, expected);

    for (query, offset, limit, newest, count) in [
        ("", 0, 10, 24.0, 10),
        ("?limit=0&offset=", 0, 10, 24.0, 10),
        ("?limit=100&offset=0", 0, 20, 24.0, 20),
        ("?limit=3&offset=7", 7, 3, 17.0, 3),
        ("?offset=20&limit=20", 20, 20, 4.0, 5),
    ] {
        let page = facilities
            .json(&format!("/api/sensors/facility_1{query}"))
            .await;
        let expected: Vec<_> = (0..count).map(|place| newest - f64::from(place)).collect();
        assert_eq!(humidities(&page), expected, "{query}");
        let pagination = json!({ "offset": offset, "limit": limit, "total": 25 });
        assert_eq!(page["pagination"], pagination, "{query}");
    }
    for (path, offset, total) in [
        ("/api/sensors/none", 0, 0),
        ("/api/sensors/facility_1?offset=25", 25, 25),
        (
            "/api/sensors/facility_1?offset=99999999999999999999",
            u64::MAX,
            25,
        ),
    ] {
        let empty = json!({
            "data": [],
            "pagination": { "offset": offset, "limit": 10, "total": total },
        });
        assert_eq!(facilities.json(path).await, empty, "{path}");
    }
}

/// The sample's standard deviation in two passes.
fn deviation(values: &[f64]) -> f64 {
    let count = f64::from(u32::try_from(values.len()).unwrap());
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2));
    (squares.sum::<f64>() / (count - 1.0)).sqrt()
}

#[tokio::test]
async fn stats_are_deviations_of_means_by_facility() {
    let facilities = Facilities::start();
    assert_eq!(
        facilities.json("/api/stats?sensors=humidity").await,
        json!([])
    );
    // Large values that are close to each other, in more documents than an answer of the server has.
    let pressure = |window: u32| 1e9 + f64::from(window % 7);
    let humidity = |window: u32| f64::from(window % 5) / 2.0;
    let rows = (0..1_500).map(|window| {
        let fields = [
            ("avg_humidity", humidity(window)),
            ("avg_pressure", pressure(window)),
            // Of these, nothing is said.
            ("max_pressure", 1e12 * f64::from(window)),
        ];
        // Some windows have no pressure.
        let fields = &fields[..if window % 3 == 0 { 1 } else { 3 }];
        row("facility_10", window, fields)
    });
    let mut rows: Vec<_> = rows.collect();
    rows.push(row("facility_2", 0, &[("avg_humidity", 1.0)]));
    rows.push(row("facility_2", 1, &[("max_humidity", 2.0)]));
    facilities.store.write(&rows).await.unwrap();

    let stats = facilities
        .json("/api/stats?sensors=pressure,co2,humidity,pressure")
        .await;
    let pressures: Vec<_> = (0..1_500)
        .filter(|window| window % 3 != 0)
        .map(pressure)
        .collect();
    let humidities: Vec<_> = (0..1_500).map(humidity).collect();
    let close = |found: &Json, expected: f64| {
        let found = found["stdev"].as_f64().unwrap();
        assert!((found / expected - 1.0).abs() < 1e-9, "{found} {expected}");
    };
    close(&stats[0]["pressure"], deviation(&pressures));
    close(&stats[0]["humidity"], deviation(&humidities));
    assert_eq!(stats[0]["_id"], "facility_10");
    assert_eq!(stats[0].as_object().unwrap().len(), 3, "{stats}");
    let none = json!({ "stdev": null });
    let of_few = json!({ "_id": "facility_2", "humidity": none, "pressure": none });
    assert_eq!(stats[1], of_few);
    assert_eq!(stats.as_array().unwrap().len(), 2);
    let one = facilities.json("/api/stats?sensors=temperature").await;
    assert_eq!(one[1], json!({ "_id": "facility_2", "temperature": none }));
}

#[tokio::test]
async fn errors_are_those_of_the_original() {
    let facilities = Facilities::start();
    for (query, name, got) in [
        ("limit=abc", "limit", "abc"),
        ("offset=-1", "offset", "-1"),
        ("limit=1.5", "limit", "1.5"),
        ("limit=%22%3C", "limit", "\"<"),
    ] {
        let error = format!("Invalid {name}: must be a non-negative integer; got '{got}'");
        let path = format!("/api/sensors/facility_1?{query}");
        facilities.assert_error(&path, 400, &error).await;
    }
    let error = "At least one valid sensor name must be provided";
    for query in ["", "?sensors=", "?sensors=co2,%20"] {
        let path = format!("/api/stats{query}");
        facilities.assert_error(&path, 400, error).await;
    }
    for path in [
        "/",
        "/nothing",
        "/api",
        "/api/sensors",
        "/api/sensors/",
        "/api/sensors/a/b",
        "/api/sensors/%FF",
        "/api/stats/",
        "/latestten",
    ] {
        facilities.assert_error(path, 404, "Not found").await;
    }
    let posted = facilities.ask(Method::POST, "/api/stats").await;
    let said = (posted.status, posted.text());
    let expected = (StatusCode::NOT_FOUND, r#"{"error":"Not found"}"#.to_owned());
    assert_eq!(said, expected);
    // Rigline's own paths are as they always are.
    let unknown = facilities.get("/api/v1/nothing").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let kind = unknown.header(header::CONTENT_TYPE);
    assert_eq!(kind, "application/problem+json");
    for path in ["/docs", "/login", "/api/v1/pipelines"] {
        assert_eq!(facilities.get(path).await.status, StatusCode::OK, "{path}");
    }
    let document: Json = facilities.get("/openapi.json").await.json();
    for path in [
        "/api/sensors/{facility_name}",
        "/api/stats",
        "/api/v1/pipelines",
    ] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    assert!(document["components"]["schemas"]["CompactedReading"].is_object());
}

#[tokio::test]
async fn server_that_is_down_is_an_internal_error() {
    let facilities = Facilities::on(testkit::free_port(), &[]);
    for path in ["/api/sensors/facility_1", "/api/stats?sensors=humidity"] {
        facilities
            .assert_error(path, 500, "Internal server error")
            .await;
    }
}

#[tokio::test]
async fn requests_need_the_token_if_there_is_one() {
    let facilities = Facilities::on(MongoDb::shared().port(), &["--api-token", "secret"]);
    let path = "/api/sensors/facility_1";
    let refused = facilities.get(path).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let request = Request::get(path).header(header::AUTHORIZATION, "Bearer secret");
    let answered = answer(&facilities.router, request.body(Body::empty()).unwrap()).await;
    assert_eq!(answered.status, StatusCode::OK, "{}", answered.text());
}

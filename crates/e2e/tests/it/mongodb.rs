//! A pipeline whose rows are in MongoDB: values that are sent are there, once each, also if the server is killed
//! meanwhile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::clock::Clock;
use model::pipeline::PipelineFile;
use model::{Row, Timestamp};
use queue::ledger::Ledger;
use queue::redis::RedisQueue;
use queue::testing::{assert_exact, redis_settings, settings};
use queue::{Queue, Snapshot};
use serde_json::Value;
use store::history::Selection;
use store::{History, MongoHistory, MongoSettings, MongoStore};
use tempfile::TempDir;
use testkit::influxdb::{ORG, TOKEN};
use testkit::{
    InfluxDb, Launch, MongoDb, Mosquitto, Redis, StageProcess, http_get, stage_binary, wait_until,
};

use crate::readings::{all_stored, payload, this_second};

const SOON: Duration = Duration::from_mins(1);
const NAME: &str = "plant";
const SERIES: &str = r#"{"device":"D"}"#;

const FILE: &str = r#"
name = "plant"

[source]
topic = "plant/{device}/{field}"

[message]
value = "/value"

[rows]
flush_interval = "200ms"

[[store]]
kind = "mongodb"
url = "${MONGO_URL}"
password = "${MONGO_PASSWORD:-}"
collection = "readings"
batch = 99

[store.columns]
"at.tick" = "$time"
machine = "device"
stored = "$now"
"#;

/// Writes the pipeline file.
fn file_in(dir: &Path) -> PathBuf {
    let path = dir.join("plant.toml");
    std::fs::write(&path, FILE).unwrap();
    path
}

fn history(url: &str) -> MongoHistory {
    let file = PipelineFile::parse("plant.toml", FILE, &|name| {
        (name == "MONGO_URL").then(|| url.into())
    });
    let file = file.unwrap();
    let settings = MongoSettings::of_file(&file, &file.store[0]);
    MongoStore::new(&settings, Clock::system())
        .unwrap()
        .history()
}

async fn rows(history: &MongoHistory) -> Vec<Row<'static>> {
    let of = Selection {
        series: SERIES,
        fields: &[],
        from: Timestamp::from_nanos(0),
        to: Timestamp::from_nanos(i64::MAX),
    };
    let page = history.range(of, 10_000).await.unwrap();
    assert_eq!(page.next, None);
    page.rows
}

/// The values of the rows by time in milliseconds and field. No time is there twice.
fn values(rows: &[Row<'_>]) -> BTreeMap<(i64, String), f64> {
    assert!(rows.is_sorted_by(|one, next| one.timestamp < next.timestamp));
    let cells = rows.iter().flat_map(|row| {
        let ms = row.timestamp.nanos() / 1_000_000;
        let fields = row.fields.iter();
        fields.map(move |(name, value)| ((ms, name.to_string()), value.as_number().unwrap()))
    });
    cells.collect()
}

async fn ledger(redis: &Redis) -> Ledger {
    let queue = RedisQueue::new(&settings().of_pipeline(NAME), &redis_settings(redis.port()));
    let Snapshot { ledger, .. } = queue.unwrap().snapshot().await.unwrap();
    ledger
}

fn publish(broker: &Mosquitto, from: i64, count: i64, sent: &mut BTreeMap<(i64, String), f64>) {
    for number in from..from + count {
        let ms = this_second() - 600_000 + number * 1_000;
        for (field, value) in [("speed", 0.5), ("power", 100.25)] {
            let value = value + f64::from(i32::try_from(number).unwrap());
            let mut client = broker.client("mosquitto_pub");
            let topic = format!("plant/D/{field}");
            client.args(["-q", "1", "-t", &topic, "-m", &payload(ms, value)]);
            assert!(client.status().unwrap().success());
            sent.insert((ms, field.to_owned()), value);
        }
    }
}

/// Starts the three stages, and waits until they are ready.
fn start_stages(env: &[(&str, &str)]) -> [StageProcess; 3] {
    let stages = ["ingester", "transformer", "sink"].map(|name| StageProcess::spawn(name, env));
    for stage in &stages {
        assert!(stage.ready(SOON), "{}", stage.logs());
    }
    stages
}

/// Waits until the ledger has stored everything. Asserts that it is exact, and that the values are those that were
/// sent.
async fn assert_all_stored(
    history: &MongoHistory,
    redis: &Redis,
    sink: &StageProcess,
    sent: &BTreeMap<(i64, String), f64>,
) {
    let started = std::time::Instant::now();
    loop {
        // In this order: the last row may be in the first of several stores only.
        let is_complete = values(&rows(history).await).len() == sent.len();
        let now = ledger(redis).await;
        if is_complete && all_stored(&now) {
            assert_exact(&now);
            break;
        }
        assert!(started.elapsed() < SOON, "{now:#?}\n{}", sink.logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(values(&rows(history).await), *sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_are_sent_are_in_mongodb_though_it_is_killed_meanwhile() {
    let (broker, redis, mut server) = (Mosquitto::start(), Redis::start(), MongoDb::start());
    let dir = TempDir::with_prefix("mongodb-").unwrap();
    let path = file_in(dir.path());
    let (broker_port, redis_port) = (broker.port().to_string(), redis.port().to_string());
    let url = server.url();
    let env = [
        ("PIPELINES", path.to_str().unwrap()),
        ("MONGO_URL", &url),
        ("MQTT_HOST", "127.0.0.1"),
        ("MQTT_PORT", &broker_port),
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &redis_port),
    ];
    let stages = start_stages(&env);
    let sink = &stages[2];
    let mut sent = BTreeMap::new();
    publish(&broker, 0, 20, &mut sent);
    assert!(wait_until(SOON, || sink
        .get("/readyz")
        .contains("\"ready\":true")));
    server.kill();
    publish(&broker, 20, 20, &mut sent);
    assert!(wait_until(SOON, || sink
        .get("/readyz")
        .contains("\"ready\":false")));
    server.restart();
    publish(&broker, 40, 20, &mut sent);
    assert_all_stored(&history(&url), &redis, sink, &sent).await;
    assert_api(&env, sent.len(), &mut server);
}

/// While one of two stores is killed, the other has each row once; afterwards both have all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_go_to_mongodb_and_influxdb() {
    let (broker, redis, mut server) = (Mosquitto::start(), Redis::start(), MongoDb::start());
    let influx = InfluxDb::shared();
    let bucket = influx.create_bucket(None);
    let dir = TempDir::with_prefix("mongodb-").unwrap();
    let path = dir.path().join("plant.toml");
    std::fs::write(&path, format!("{FILE}\n[[store]]\nkind = \"influx\"\n")).unwrap();
    let (broker_port, redis_port) = (broker.port().to_string(), redis.port().to_string());
    let (url, influx_url) = (server.url(), influx.url());
    let env = [
        ("PIPELINES", path.to_str().unwrap()),
        ("MONGO_URL", &url),
        ("MQTT_HOST", "127.0.0.1"),
        ("MQTT_PORT", &broker_port),
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &redis_port),
        ("INFLUX_URL", &influx_url),
        ("INFLUX_TOKEN", TOKEN),
        ("INFLUX_ORG", ORG),
        ("INFLUX_BUCKET", &bucket),
    ];
    let stages = start_stages(&env);
    let sink = &stages[2];
    let ready = sink.get("/readyz");
    assert!(
        ready.contains("store-mongodb") && ready.contains("store-influx"),
        "{ready}"
    );
    let mut sent = BTreeMap::new();
    publish(&broker, 0, 10, &mut sent);
    server.kill();
    publish(&broker, 10, 10, &mut sent);
    assert!(wait_until(SOON, || sink
        .get("/readyz")
        .contains("\"ready\":false")));
    server.restart();
    assert_all_stored(&history(&url), &redis, sink, &sent).await;
    let of_influx = influx.points(&bucket).into_iter();
    let of_influx = of_influx.map(|point| ((point.nanos / 1_000_000, point.field), point.value));
    assert_eq!(of_influx.collect::<BTreeMap<_, _>>(), sent);
}

/// The API beside the stages reads the same rows, and names the server when it is away.
fn assert_api(env: &[(&str, &str)], values: usize, server: &mut MongoDb) {
    let api = Launch::binary(&stage_binary("rigline"))
        .args(&["api"])
        .envs(env)
        .spawn();
    assert!(api.ready(SOON), "{}\n{}", api.get("/readyz"), api.logs());
    assert!(wait_until(SOON, || api.get("/readyz").contains("mongodb")));
    let logs = api.logs_with("url=\"http://127.0.0.1:");
    let (_, address) = logs.split_once("url=\"http://127.0.0.1:").unwrap();
    let digits: String = address.chars().take_while(char::is_ascii_digit).collect();
    let series = SERIES
        .replace('{', "%7B")
        .replace('}', "%7D")
        .replace('"', "%22");
    let path = format!("/api/v1/pipelines/{NAME}/rows?series={series}&limit=1000");
    let (status, body) = http_get(digits.parse().unwrap(), &path).unwrap();
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let rows = answer["rows"].as_array().unwrap();
    assert_eq!(2 * rows.len(), values, "{body}");
    server.kill();
    let down = "\"name\":\"mongodb\",\"state\":\"down\"";
    let is_reported = || api.get("/readyz").contains(down);
    assert!(wait_until(SOON, is_reported), "{}", api.get("/readyz"));
    let is_named = || api.get("/readyz").contains("no server answers: 127.0.0.1:");
    assert!(wait_until(SOON, is_named), "{}", api.get("/readyz"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_stores_in_mongodb() {
    let server = MongoDb::start();
    let dir = TempDir::with_prefix("mongodb-").unwrap();
    let path = file_in(dir.path());
    let url = server.url();
    let env = [("PIPELINES", path.to_str().unwrap()), ("MONGO_URL", &url)];
    let process = e2e::OneProcess::new(&env);
    let running = process.spawn(&[]);
    assert!(running.ready(SOON), "{}", running.logs());
    let ms = this_second();
    process.publish("plant/D/speed", &payload(ms + 400, 1.5));
    let (history, started) = (history(&url), std::time::Instant::now());
    let expected = BTreeMap::from([((ms, "speed".to_owned()), 1.5)]);
    while values(&rows(&history).await) != expected {
        assert!(started.elapsed() < SOON, "{}", running.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

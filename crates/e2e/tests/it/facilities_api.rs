//! System 2: compacted readings from Kafka are documents in MongoDB, and its own paths show them.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Timestamp;
use queue::Queue;
use queue::redis::RedisQueue;
use queue::testing::{assert_exact, redis_settings, settings};
use serde_json::{Map, Value, json};
use testkit::{Kafka, MongoDb, Redis, StageProcess, wait_until};

use crate::readings::all_stored;
use crate::system_api::SystemApi;

const SOON: Duration = Duration::from_mins(2);
const TOPIC: &str = "compacted_sensor_readings";
/// The numbers of the fields in `compacted_reading.proto`.
const FIELDS: [(&str, u8); 9] = [
    ("avg_humidity", 4),
    ("avg_temperature", 5),
    ("avg_pressure", 6),
    ("max_humidity", 7),
    ("max_temperature", 8),
    ("max_pressure", 9),
    ("min_humidity", 10),
    ("min_temperature", 11),
    ("min_pressure", 12),
];
/// Windows of each facility.
const WINDOWS: u32 = 24;
/// The length of a window, in seconds.
const EVERY: i64 = 10;
/// What a window's start is after a whole second, in nanoseconds. MongoDB keeps milliseconds.
const NANOS: i64 = 123_456_000;

/// A field of bytes: number, wire type 2, length, content. All are short here.
fn nested(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    assert!(length < 128);
    [&[number << 3 | 2, length], content].concat()
}

/// A field of a whole number: number, wire type 0, seven bits a byte with the lowest first.
fn varint(number: u8, mut value: i64) -> Vec<u8> {
    let mut bytes = vec![number << 3];
    while value >= 128 {
        bytes.push(u8::try_from(value & 127).unwrap() | 128);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

/// A time, this many seconds since 1970 and [`NANOS`].
fn timestamp(number: u8, seconds: i64) -> Vec<u8> {
    nested(number, &[varint(1, seconds), varint(2, NANOS)].concat())
}

/// What a facility has measured in a window.
struct Reading {
    facility: String,
    /// Seconds since 1970.
    start: i64,
    values: Vec<(&'static str, f64)>,
}

impl Reading {
    /// The second facility has no thermometer.
    fn of(facility: u32, window: u32, start: i64) -> Self {
        let fields = FIELDS.into_iter();
        let fields = fields.filter(|(name, _)| facility == 1 || !name.ends_with("temperature"));
        // Others in each window, also 0 in some.
        let value = |number: u8| f64::from(window * u32::from(number) % 17) / 4.0;
        Self {
            facility: format!("facility_{facility}"),
            start,
            values: fields.map(|(name, number)| (name, value(number))).collect(),
        }
    }

    fn window(&self) -> Vec<u8> {
        let times = [timestamp(1, self.start), timestamp(2, self.start + EVERY)];
        nested(2, &times.concat())
    }

    /// Its message, with this window.
    fn message(&self, window: &[u8]) -> Vec<u8> {
        let mut message = nested(1, self.facility.as_bytes());
        message.extend(window);
        for (name, value) in &self.values {
            let (_, number) = FIELDS.iter().find(|(known, _)| known == name).unwrap();
            // Wire type 1.
            message.push(number << 3 | 1);
            message.extend(value.to_le_bytes());
        }
        message
    }

    fn record(&self) -> Value {
        record(&self.facility, &self.message(&self.window()))
    }

    /// What the API has to show of it, without `received_at`.
    fn shown(&self) -> Value {
        let time = |seconds: i64| Timestamp::from_millis(seconds * 1_000 + 123).to_string();
        let values = self.values.iter();
        let mut shown: Map<_, _> = values
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        shown.insert("facility_name".into(), json!(self.facility));
        let window = json!({
            "start_time": time(self.start),
            "end_time": time(self.start + EVERY),
        });
        shown.insert("window".into(), window);
        shown.into()
    }
}

fn record(key: &str, message: &[u8]) -> Value {
    json!({ "key": key, "value": STANDARD.encode(message), "base64": true })
}

/// Readings of two facilities in order of time, of which the oldest are older than other pipelines take them.
fn readings() -> Vec<Reading> {
    let now = common::clock::Clock::system().now().seconds();
    let mut readings = Vec::new();
    for window in 0..WINDOWS {
        let days = if window == 0 { 90 } else { 1 };
        let start = now - days * 86_400 + EVERY * i64::from(window);
        for facility in [1, 2] {
            readings.push(Reading::of(facility, window, start));
        }
    }
    readings
}

/// Records of which nothing can be stored: no message, none that names a facility, and without a window, its end or its
/// start.
fn bad_records() -> [Value; 5] {
    let now = common::clock::Clock::system().now().seconds();
    let good = Reading::of(1, 1, now - 3_600);
    let nameless = Reading {
        facility: String::new(),
        ..Reading::of(1, 1, now - 3_600)
    };
    let endless = nested(2, &timestamp(1, good.start));
    let startless = nested(2, &timestamp(2, good.start));
    [
        record("a", b"\xff\xff no message"),
        nameless.record(),
        record("c", &good.message(&[])),
        record("d", &good.message(&endless)),
        record("e", &good.message(&startless)),
    ]
}

async fn wait_until_stored(redis: &Redis, stages: &[StageProcess; 3]) {
    let queue = RedisQueue::new(
        &settings().of_pipeline("facilities-store"),
        &redis_settings(redis.port()),
    );
    let queue = queue.unwrap();
    let started = Instant::now();
    loop {
        let ledger = queue.snapshot().await.unwrap().ledger;
        if all_stored(&ledger) && ledger.dead == 5 {
            assert_exact(&ledger);
            return;
        }
        let logs = || stages.each_ref().map(|stage| stage.logs()).concat();
        assert!(started.elapsed() < SOON, "{ledger:#?}\n{}", logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn assert_pages(api: &SystemApi, readings: &[Reading]) {
    for facility in ["facility_1", "facility_2"] {
        let of_facility = readings
            .iter()
            .rev()
            .filter(|reading| reading.facility == facility);
        let expected: Vec<_> = of_facility.map(Reading::shown).collect();
        let mut found = Vec::new();
        for (offset, limit, count) in [(0, 10, 10), (10, 20, 14)] {
            let path = format!("/api/sensors/{facility}?offset={offset}&limit={limit}");
            let mut page = api.json(&path);
            let pagination = json!({ "offset": offset, "limit": limit, "total": WINDOWS });
            assert_eq!(page["pagination"], pagination);
            let data = page["data"].as_array_mut().unwrap();
            assert_eq!(data.len(), count, "{path}");
            for mut reading in data.drain(..) {
                let received = reading.as_object_mut().unwrap().remove("received_at");
                let received = received.unwrap();
                assert!(Timestamp::parse(received.as_str().unwrap()).is_ok());
                found.push(reading);
            }
        }
        assert_eq!(found, expected);
    }
    let nobody = json!({ "data": [], "pagination": { "offset": 0, "limit": 10, "total": 0 } });
    assert_eq!(api.json("/api/sensors/nobody"), nobody);
}

/// The sample's standard deviation of a field in two passes; null if there is none.
fn deviation(readings: &[Reading], facility: &str, field: &str) -> Option<f64> {
    let of_facility = readings
        .iter()
        .filter(|reading| reading.facility == facility);
    let values = of_facility.flat_map(|reading| &reading.values);
    let values = values.filter(|(name, _)| *name == field);
    let values: Vec<_> = values.map(|(_, value)| *value).collect();
    let count = f64::from(u32::try_from(values.len()).unwrap());
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2));
    (values.len() > 1).then(|| (squares.sum::<f64>() / (count - 1.0)).sqrt())
}

fn assert_stats(api: &SystemApi, readings: &[Reading]) {
    let stats = api.json("/api/stats?sensors=temperature,humidity,co2");
    let stats = stats.as_array().unwrap();
    assert_eq!(stats.len(), 2, "{stats:?}");
    for (found, facility) in stats.iter().zip(["facility_1", "facility_2"]) {
        assert_eq!(found["_id"], facility);
        assert_eq!(found.as_object().unwrap().len(), 3, "{found}");
        for sensor in ["temperature", "humidity"] {
            let expected = deviation(readings, facility, &format!("avg_{sensor}"));
            let found = &found[sensor]["stdev"];
            let is_close = match expected {
                Some(expected) => (found.as_f64().unwrap() - expected).abs() < 1e-9,
                None => found.is_null(),
            };
            assert!(is_close, "{facility} {sensor}: {found} {expected:?}");
        }
    }
    assert_eq!(deviation(readings, "facility_2", "avg_temperature"), None);
}

/// Each bad record is a dead letter that says why.
fn assert_dead_letters(api: &SystemApi) {
    let counts = api.json("/api/v1/pipelines/facilities-store/dead-letters/counts");
    let counts = counts["counts"].as_array().unwrap().iter();
    let mut reasons: Vec<_> = counts
        .map(|count| (count["reason"].as_str().unwrap(), &count["count"]))
        .collect();
    reasons.sort_unstable_by_key(|(reason, _)| *reason);
    let expected = [
        ("missing_tag", &json!(1)),
        ("missing_value", &json!(3)),
        ("not_json", &json!(1)),
    ];
    assert_eq!(reasons, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_from_kafka_are_in_mongodb_and_at_the_paths_of_the_original() {
    let (broker, redis, server) = (Kafka::start(), Redis::start(), MongoDb::start());
    broker.create_topic(TOPIC, 3);
    let ports = [broker.port(), redis.port(), server.port()].map(|port| port.to_string());
    let env = [
        ("PIPELINES", "facilities-store"),
        ("KAFKA_HOST", "127.0.0.1"),
        ("KAFKA_PORT", &ports[0]),
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &ports[1]),
        ("MONGO_HOST", "127.0.0.1"),
        ("MONGO_PORT", &ports[2]),
        ("MONGO_BATCH", "99"),
    ];
    let stages = ["ingester", "transformer", "sink"].map(|name| StageProcess::spawn(name, &env));
    let readings = readings();
    let mut records: Vec<_> = readings.iter().map(Reading::record).collect();
    // The producer sends some again.
    records.extend(records[5..9].to_vec());
    records.extend(bad_records());
    broker.produce(TOPIC, &records);
    wait_until_stored(&redis, &stages).await;

    let api = SystemApi::start("facilities", &env);
    assert_pages(&api, &readings);
    assert_stats(&api, &readings);
    assert_dead_letters(&api);
    for (path, status, error) in [
        (
            "/api/sensors/facility_1?limit=abc",
            400,
            "Invalid limit: must be a non-negative integer; got 'abc'",
        ),
        (
            "/api/stats?sensors=co2",
            400,
            "At least one valid sensor name must be provided",
        ),
        ("/", 404, "Not found"),
    ] {
        let answer = api.text(path);
        assert_eq!(answer, (status, json!({ "error": error }).to_string()));
    }
    // The group's offsets follow what is read.
    let all = i64::try_from(records.len()).unwrap();
    let read = || {
        let offsets = broker.group_offsets("data_server_group", TOPIC);
        let offsets = offsets.as_object().unwrap().values();
        let offsets = offsets.filter_map(Value::as_i64).filter(|at| *at > 0);
        offsets.sum::<i64>()
    };
    assert!(wait_until(SOON, || read() == all), "{} of {all}", read());
}

//! What only the store in MongoDB does: documents as others expect them, and errors of the server.

use std::time::Duration;

use ::mongodb::bson::{Bson, DateTime, Document, doc};
use ::mongodb::{Client, Collection};
use common::clock::Clock;
use common::secret::Secret;
use model::pipeline::PipelineFile;
use model::{Row, Timestamp, Value};
use store::{History, MongoSettings, MongoStore, RowsAtFault, Store, WriteError};
use testkit::{Certificates, MongoDb, TcpProxy};

mod dates;

use crate::fixture::mongodb::settings;
use crate::fixture::{rows_of, string, tagged};

/// The documents of another system that this file makes: a window with its start and its end within it.
const FACILITIES: &str = r#"
name = "facilities-store"

[source]
topic = "sensor_readings/{facility_name}/{field}"

[message]
value = "/val"

[rows]
shape = "window"
every = "10s"
statistics = { avg = "mean", min = "min", max = "max" }
names = "{statistic}_{field}"

[[store]]
kind = "mongodb"
url = "URL"
database = "DATABASE"
collection = "compacted_sensor_readings"
batch = 99

[store.columns]
"window.start_time" = "$start"
"window.end_time" = "$end"
received_at = "$now"
"#;

/// Those of a third: tag and time have the names that they came with.
const SENSORS: &str = r#"
name = "sensors"

[source]
topic = "sensors/+"

[message]
tags = { sensor = "/sensor_id" }
value = "/value"
time_zone = "UTC"

[[store]]
kind = "mongodb"
url = "URL"
database = "DATABASE"
collection = "sensor_readings"
batch = 99

[store.columns]
timestamp = "$time"
sensor_id = "sensor"
"#;

struct OfFile {
    store: MongoStore,
    collection: Collection<Document>,
}

impl OfFile {
    async fn start(text: &str) -> Self {
        let database = MongoDb::database();
        let text = text
            .replace("URL", &MongoDb::shared().url())
            .replace("DATABASE", &database);
        let file = PipelineFile::parse("a.toml", &text, &|_| None).unwrap();
        assert_eq!(file.row_precision(), Duration::from_millis(1));
        let settings = MongoSettings::of_file(&file, &file.store[0]);
        let client = Client::with_uri_str(MongoDb::shared().url()).await.unwrap();
        Self {
            store: MongoStore::new(&settings, Clock::system()).unwrap(),
            collection: client.database(&database).collection(&settings.collection),
        }
    }

    /// The documents in order of their `_id`, without it.
    async fn documents(&self) -> Vec<Document> {
        let mut found = self
            .collection
            .find(doc! {})
            .sort(doc! { "_id": 1 })
            .await
            .unwrap();
        let mut documents = Vec::new();
        while found.advance().await.unwrap() {
            let mut document = Document::try_from(found.current()).unwrap();
            assert!(matches!(document.remove("_id"), Some(Bson::ObjectId(_))));
            documents.push(sorted(document));
        }
        documents
    }
}

/// Order has no meaning: the server puts what an update sets in order.
fn sorted(document: Document) -> Document {
    let mut members: Vec<_> = document.into_iter().collect();
    members.sort_by(|one, other| one.0.cmp(&other.0));
    members.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_of_windows_are_those_of_the_facilities() {
    let names = ["humidity", "pressure", "temperature"];
    let of = OfFile::start(FACILITIES).await;
    let fields = |plus: f64| -> Vec<(String, Value)> {
        let statistics = ["avg", "max", "min"].iter().zip([50.25, 51.5, 49.0]);
        let fields = statistics.flat_map(|(statistic, value)| {
            names.map(|name| (format!("{statistic}_{name}"), Value::Float(value + plus)))
        });
        fields.collect()
    };
    let row = |plus| {
        let fields = fields(plus);
        let fields = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()));
        let fields: Vec<_> = fields.collect();
        tagged(&[("facility_name", "facility_1")], 1_767_600_000, &fields)
    };
    let before = DateTime::now();
    of.store.write(&[row(0.0)]).await.unwrap();
    let first = of.documents().await;
    // A correction of the window, a second later.
    tokio::time::sleep(Duration::from_millis(20)).await;
    of.store.write(&[row(1.0)]).await.unwrap();
    let found = of.documents().await;
    assert_eq!(found.len(), 1);
    let received = found[0].get_datetime("received_at").unwrap();
    assert_eq!(received, first[0].get_datetime("received_at").unwrap());
    assert!(*received >= before && *received <= DateTime::now());
    let mut expected: Document = fields(1.0)
        .into_iter()
        .map(|(name, value)| (name, Bson::Double(value.as_number().unwrap())))
        .collect();
    expected.insert("facility_name", "facility_1");
    expected.insert("received_at", *received);
    let (start, end) = (1_767_600_000_000, 1_767_600_010_000);
    expected.insert(
        "window",
        doc! {
            "end_time": DateTime::from_millis(end),
            "start_time": DateTime::from_millis(start),
        },
    );
    assert_eq!(sorted_deeply(&found[0]), sorted(expected));
    let history = of.store.history();
    let read = rows_of(&history, r#"{"facility_name":"facility_1"}"#).await;
    assert_eq!(read, [row(1.0)]);
    let indexes = of.collection.list_index_names().await.unwrap();
    for name in ["rigline_series_time", "rigline_time"] {
        assert!(indexes.contains(&name.to_owned()), "{indexes:?}");
    }
}

fn sorted_deeply(document: &Document) -> Document {
    let members = document.iter().map(|(name, value)| match value {
        Bson::Document(inner) => (name.clone(), Bson::Document(sorted_deeply(inner))),
        other => (name.clone(), other.clone()),
    });
    sorted(members.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_of_samples_are_those_of_the_sensors() {
    let of = OfFile::start(SENSORS).await;
    let row = Row {
        timestamp: Timestamp::parse("2026-01-05T08:00:00.123Z").unwrap(),
        ..tagged(
            &[("sensor", "temperature_sensor")],
            0,
            &[("value", Value::Float(21.75))],
        )
    };
    for _ in 0..2 {
        of.store.write(std::slice::from_ref(&row)).await.unwrap();
    }
    let expected = doc! {
        "sensor_id": "temperature_sensor",
        "timestamp": DateTime::from_millis(1_767_600_000_123),
        "value": 21.75,
    };
    assert_eq!(of.documents().await, [expected]);
    let read = rows_of(&of.store.history(), r#"{"sensor":"temperature_sensor"}"#).await;
    assert_eq!(read, [row]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_mean_something_else_are_escaped() {
    let of = OfFile::start(SENSORS).await;
    let names = [
        "_id",
        "a.b",
        "$set",
        "timestamp",
        "sensor_id",
        "sensor",
        "time",
    ];
    let fields: Vec<_> = names
        .iter()
        .map(|name| (*name, Value::Bool(true)))
        .collect();
    let row = tagged(&[("sensor", "S")], 1, &fields);
    of.store.write(std::slice::from_ref(&row)).await.unwrap();
    let expected = doc! {
        "%24set": true,
        "%__id": true,
        "%_sensor_id": true,
        "%_timestamp": true,
        "a%2Eb": true,
        "sensor": true,
        "sensor_id": "S",
        "time": true,
        "timestamp": DateTime::from_millis(1_000),
    };
    assert_eq!(of.documents().await, [expected]);
    let mut read = rows_of(&of.store.history(), r#"{"sensor":"S"}"#).await;
    crate::fixture::sort(&mut read);
    let mut expected = [row];
    crate::fixture::sort(&mut expected);
    assert_eq!(read, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_the_server_refuses_is_named() {
    let row = |second, value: f64| tagged(&[], second, &[("x", Value::Float(value))]);
    let in_column = |member: &str, database: &str| {
        let mut settings = settings(&MongoDb::shared().url(), database, &[]);
        settings
            .columns
            .insert(member.to_owned(), "x".parse().unwrap());
        // FerretDB counts updates of a command from 0 only if there is one.
        settings.batch = 1;
        MongoStore::new(&settings, Clock::system()).unwrap()
    };
    let database = MongoDb::database();
    in_column("a.b", &database)
        .write(&[row(3, 0.5)])
        .await
        .unwrap();
    // In this document, there is a number where the next store needs a document.
    let store = in_column("a.b.c", &database);
    let rows: Vec<_> = (0..6).map(|second| row(second, 1.5)).collect();
    match store.write(&rows).await {
        Err(WriteError::Rejected { detail, at_fault }) => {
            assert!(detail.starts_with("row 4 of 6: "), "{detail}");
            assert_eq!(at_fault, RowsAtFault::Some);
        }
        other => panic!("{other:?}"),
    }
    store.preflight().await.unwrap();
    // Those before it are stored, and the others can be.
    assert_eq!(rows_of(&store.history(), "{}").await, rows[..3]);
    store.write(&rows[4..]).await.unwrap();
    assert_eq!(rows_of(&store.history(), "{}").await.len(), 5);
    let large = tagged(&[], 9, &[("large", string(&"x".repeat(16 << 20)))]);
    match store.write(&[rows[0].clone(), large]).await {
        Err(WriteError::Rejected { detail, .. }) => {
            assert!(detail.starts_with("row 2 of 2: it has 16777"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
    let of_other = tagged(&[("none", "x")], 1, &[("x", Value::Float(0.5))]);
    match store.write(&[of_other]).await {
        Err(WriteError::Rejected { detail, .. }) => assert!(detail.contains("no tag"), "{detail}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_killed_server_are_written_again_after_its_restart() {
    let mut server = MongoDb::start();
    let settings = settings(&server.url(), "d", &["device"]);
    let store = MongoStore::new(&settings, Clock::system()).unwrap();
    let row = |second| tagged(&[("device", "D")], second, &[("x", Value::Integer(second))]);
    let rows: Vec<_> = (0..300).map(row).collect();
    store.write(&rows[..200]).await.unwrap();
    server.kill();
    for written in [store.write(&rows[100..]).await, store.preflight().await] {
        assert!(
            matches!(written, Err(WriteError::Retry { .. })),
            "{written:?}"
        );
    }
    let read = store.history().series().await;
    assert!(
        matches!(read, Err(store::ReadError::Unavailable { .. })),
        "{read:?}"
    );
    server.restart();
    let mut attempts = 0;
    while let Err(error) = store.write(&rows[100..]).await {
        assert!(matches!(error, WriteError::Retry { .. }), "{error:?}");
        attempts += 1;
        assert!(attempts < 20, "{error:?}");
    }
    assert_eq!(rows_of(&store.history(), r#"{"device":"D"}"#).await, rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_whose_answers_are_lost_are_written_again() {
    let server = MongoDb::shared();
    let proxy = TcpProxy::start(server.port());
    let url = format!("mongodb://127.0.0.1:{}", proxy.port());
    let settings = settings(&url, &MongoDb::database(), &["device"]);
    let store = MongoStore::new(&settings, Clock::system()).unwrap();
    let row = |second| tagged(&[("device", "D")], second, &[("x", Value::Integer(second))]);
    let rows: Vec<_> = (0..150).map(row).collect();
    store.write(&rows[..1]).await.unwrap();
    for cut in [TcpProxy::cut_reply, TcpProxy::cut_request] {
        cut(&proxy, "updates", 1);
        let written = store.write(&rows).await;
        assert!(
            matches!(written, Err(WriteError::Retry { .. })),
            "{written:?}"
        );
        assert_eq!(proxy.remaining_plans(), 0);
    }
    store.write(&rows).await.unwrap();
    assert_eq!(rows_of(&store.history(), r#"{"device":"D"}"#).await, rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_are_rounded_down_and_rows_of_a_millisecond_are_one() {
    let settings = settings(&MongoDb::shared().url(), &MongoDb::database(), &[]);
    let store = MongoStore::new(&settings, Clock::system()).unwrap();
    let row = |nanos, field: &str| Row {
        timestamp: Timestamp::from_nanos(nanos),
        ..tagged(&[], 0, &[(field, Value::Float(0.5))])
    };
    store
        .write(&[row(1_000_001, "a"), row(1_999_999, "b"), row(-1, "a")])
        .await
        .unwrap();
    let fields = [("a", Value::Float(0.5)), ("b", Value::Float(0.5))];
    let merged = Row {
        timestamp: Timestamp::from_nanos(1_000_000),
        ..tagged(&[], 0, &fields)
    };
    let history = store.history();
    assert_eq!(
        rows_of(&history, "{}").await,
        [row(-1_000_000, "a"), merged]
    );
    assert_eq!(history.fields(Some("{}")).await.unwrap(), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_with_tls_are_trusted_by_their_authority_only() {
    let certificates = Certificates::new();
    certificates.issue("server", &["127.0.0.1", "localhost"]);
    certificates.issue("client", &[]);
    let server = MongoDb::start_with_tls(&certificates, "server");
    let (cert, key) = (
        certificates.certificate("client"),
        certificates.key("client"),
    );
    let both = certificates.dir().join("both.pem");
    let text = [cert, key].map(|path| std::fs::read_to_string(path).unwrap());
    std::fs::write(&both, text.concat()).unwrap();
    let url = format!("mongodb://localhost:{}/?tls=true", server.port());
    let trusting = format!("{url}&tlsCAFile={}", certificates.ca().display());
    let known = format!("{trusting}&tlsCertificateKeyFile={}", both.display());
    let store = |url: &str| MongoStore::new(&settings(url, "d", &[]), Clock::system()).unwrap();
    let row = tagged(&[], 1, &[("x", Value::Float(0.5))]);
    store(&known)
        .write(std::slice::from_ref(&row))
        .await
        .unwrap();
    assert_eq!(rows_of(&store(&known).history(), "{}").await, [row]);
    for refused in [&url, &trusting] {
        let written = store(refused).preflight().await;
        assert!(
            matches!(written, Err(WriteError::Retry { .. })),
            "{refused}: {written:?}"
        );
    }
    let missing = store(&format!("{url}&tlsCAFile=/none.pem"))
        .preflight()
        .await;
    assert!(
        matches!(missing, Err(WriteError::Denied { .. })),
        "{missing:?}"
    );
}

#[test]
fn settings_that_cannot_be_used_are_named_without_their_secrets() {
    let of = |url: &str| {
        let built = MongoStore::new(&settings(url, "d", &[]), Clock::system());
        built.unwrap_err().to_string()
    };
    for (url, part) in [
        ("mongodb://u:se/cret@h", "password"),
        ("mongodb://u:secret@h:99999", "port"),
        (
            "mongodb://u:secret@h/?tls=true&tlsInsecure=true",
            "tlsCAFile",
        ),
        (
            "mongodb://u:secret@h/?tls=true&tlsAllowInvalidCertificates=true",
            "tlsCAFile",
        ),
        ("mongodb+srv://u:secret@h", "srv"),
    ] {
        let said = of(url);
        assert!(said.contains(part) && said.contains("tests"), "{said}");
        assert!(
            !said.contains("secret") && !said.contains("cret@"),
            "{said}"
        );
    }
    let with_password = MongoSettings {
        password: Some(Secret::new("secret")),
        ..settings("mongodb://h", "d", &[])
    };
    let built = MongoStore::new(&with_password, Clock::system());
    assert!(built.unwrap_err().to_string().contains("without a user"));
    assert!(!format!("{with_password:?}").contains("secret"));
}

//! What only the store in PostgreSQL does: tables as others expect them, and errors of the server.

use std::time::{Duration, Instant};

use common::secret::Secret;
use model::pipeline::PipelineFile;
use model::{Row, Value};
use store::{
    History, PointsTable, PostgresServer, PostgresSettings, PostgresStore, Store, WriteError,
    read_points,
};
use testkit::{Certificates, Postgres, TcpProxy};

use crate::fixture::postgres::settings;
use crate::fixture::{rows_of, string, tagged};

const LIMIT: Duration = Duration::from_secs(30);

/// Values of parameters by id, as system 4 has them.
const METRICS: &str = r#"
name = "metrics"

[source]
topic = "metrics"

[message]
tags = { id = "/id" }
fields = { val = "/val" }
time = "/time"

[[store]]
kind = "postgres"
url = "URL"
table = "TABLE"
integer_tags = ["id"]
"#;

fn float(value: f64) -> Value {
    Value::Float(value)
}

fn metric(id: &str, second: i64, value: f64) -> Row<'static> {
    tagged(&[("id", id)], second, &[("val", float(value))])
}

fn of_file(url: &str, table: &str) -> PostgresStore {
    let text = METRICS.replace("URL", url).replace("TABLE", table);
    let file = PipelineFile::parse("a.toml", &text, &|_| None).unwrap();
    let settings = PostgresSettings::of_file(&file, &file.store[0]);
    PostgresStore::new(&settings).unwrap()
}

fn detail(answer: Result<(), WriteError>) -> String {
    match answer {
        Err(WriteError::Rejected { detail, at_fault }) => {
            format!("{at_fault:?} rejected: {detail}")
        }
        Err(WriteError::Denied { detail }) => format!("denied: {detail}"),
        Err(WriteError::Retry { detail, .. }) => format!("retry: {detail}"),
        other => format!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn table_of_metrics_is_that_of_the_original() {
    let server = Postgres::shared();
    let table = Postgres::table();
    let store = of_file(&server.url(), &table);
    let rows = [
        metric("15", 1_625_578_288, -12.5),
        metric("3", 1_625_578_288, 0.25),
        metric("15", 1_625_578_289, 1.0),
    ];
    for _ in 0..2 {
        store.write(&rows).await.unwrap();
    }
    // A correction.
    store
        .write(&[metric("3", 1_625_578_288, 0.5)])
        .await
        .unwrap();
    let columns = format!(
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns
         WHERE table_name = '{table}' ORDER BY ordinal_position"
    );
    assert_eq!(
        server.query(&columns),
        "id|bigint|NO\ntime|timestamp with time zone|NO\nval|double precision|YES"
    );
    let all =
        format!("SELECT id, extract(epoch FROM time)::bigint, val FROM {table} ORDER BY id, time");
    assert_eq!(
        server.query(&all),
        "3|1625578288|0.5\n15|1625578288|-12.5\n15|1625578289|1"
    );
    let history = store.history();
    let keys: Vec<_> = history.series().await.unwrap();
    let keys: Vec<_> = keys.into_iter().map(|series| series.key).collect();
    assert_eq!(keys, [r#"{"id":"15"}"#, r#"{"id":"3"}"#]);
    assert_eq!(
        rows_of(&history, &keys[0]).await,
        [rows[0].clone(), rows[2].clone()]
    );
    for key in [r#"{"id":"003"}"#, r#"{"id":"x"}"#, "{}"] {
        assert_eq!(rows_of(&history, key).await, [], "{key}");
    }
    for (tags, part) in [
        (&[("id", "x")][..], "\"x\" isn't an integer"),
        (&[("id", "03")], "\"03\" isn't an integer"),
        (
            &[("id", "9223372036854775808")],
            "isn't an integer of 64 bits",
        ),
        (&[], "no tag \"id\""),
        (&[("id", "3"), ("other", "x")], "\"other\""),
    ] {
        let bad = tagged(tags, 1, &[("val", float(1.0))]);
        let answer = detail(store.write(&[rows[0].clone(), bad]).await);
        assert!(
            answer.starts_with("Some rejected: row 2 of 2: "),
            "{answer}"
        );
        assert!(answer.contains(part), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writing_the_same_rows_again_writes_nothing() {
    let server = Postgres::shared();
    let table = Postgres::table();
    let store = of_file(&server.url(), &table);
    let rows: Vec<_> = (0..100).map(|second| metric("1", second, 0.5)).collect();
    store.write(&rows).await.unwrap();
    let versions =
        format!("SELECT count(DISTINCT xmin::text), max(xmin::text::bigint) FROM {table}");
    let before = server.query(&versions);
    store.write(&rows).await.unwrap();
    assert_eq!(server.query(&versions), before);
    // It can fail.
    store.write(&[metric("1", 5, 0.75)]).await.unwrap();
    assert_ne!(server.query(&versions), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_do_not_fit_are_denied() {
    let server = Postgres::shared();
    for (columns, part) in [
        ("id bigint, val real, time timestamptz", "primary key ()"),
        (
            "id text, time timestamptz, PRIMARY KEY (id, time)",
            "\"id\" of the table",
        ),
        (
            "id bigint, time timestamp, PRIMARY KEY (id, time)",
            "without time zone, but has to be of type timestamp with time zone",
        ),
        (
            "id bigint, site text, time timestamptz, PRIMARY KEY (id, site, time)",
            "primary key (id, site, time), but the pipeline's tags need (id, time)",
        ),
        (
            "id bigint, val real, time timestamptz, PRIMARY KEY (id, time)",
            "\"val\" of the table",
        ),
    ] {
        let table = Postgres::table();
        let _ = server.query(&format!("CREATE TABLE {table} ({columns})"));
        let store = of_file(&server.url(), &table);
        let answer = detail(store.write(&[metric("1", 1, 0.5)]).await);
        assert!(answer.starts_with("denied: "), "{columns}: {answer}");
        assert!(answer.contains(part), "{columns}: {answer}");
    }
    // One that was made by hand, with the key in another order and a column that isn't Rigline's.
    let table = Postgres::table();
    let columns = "time timestamptz, id bigint, note text, at date, PRIMARY KEY (time, id)";
    let _ = server.query(&format!("CREATE TABLE {table} ({columns})"));
    let store = of_file(&server.url(), &table);
    store.write(&[metric("1", 1, 0.5)]).await.unwrap();
    let rows = rows_of(&store.history(), r#"{"id":"1"}"#).await;
    assert_eq!(rows, [metric("1", 1, 0.5)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_or_column_that_was_removed_is_made_again() {
    let server = Postgres::shared();
    let table = Postgres::table();
    let store = of_file(&server.url(), &table);
    for removal in [
        format!("DROP TABLE {table}"),
        format!("ALTER TABLE {table} DROP COLUMN val"),
    ] {
        store.write(&[metric("1", 1, 0.5)]).await.unwrap();
        let _ = server.query(&removal);
        let answer = detail(store.write(&[metric("1", 2, 0.5)]).await);
        assert!(answer.starts_with("retry: "), "{answer}");
        store.write(&[metric("1", 2, 0.5)]).await.unwrap();
        let found = server.query(&format!("SELECT count(val) FROM {table}"));
        assert_eq!(found, "1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_the_server_refuses_are_rejected_and_others_go_on() {
    let server = Postgres::shared();
    let settings = settings(&server.url(), &["site"]);
    let store = PostgresStore::new(&settings).unwrap();
    let row = |site: &str, name: &str, value: Value| tagged(&[("site", site)], 1, &[(name, value)]);
    store.write(&[row("A", "a", float(1.0))]).await.unwrap();
    for (bad, part) in [
        (row("B", "s", string("a\0b")), "U+0000"),
        (row("B", &"x".repeat(64), float(1.0)), "63 bytes"),
        (
            row("B", "a", string("x")),
            "is string, but already exists as type float",
        ),
    ] {
        let answer = detail(store.write(&[row("A", "a", float(2.0)), bad]).await);
        assert!(
            answer.starts_with("Some rejected: row 2 of 2: "),
            "{answer}"
        );
        assert!(answer.contains(part), "{answer}");
    }
    // A row that is too wide for a page. PostgreSQL can't say which one of several it is.
    let names: Vec<_> = (0..1_100).map(|number| format!("f{number}")).collect();
    let fields: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), float(0.5)))
        .collect();
    let wide = tagged(&[("site", "B")], 1, &fields);
    let answer = detail(store.write(&[wide]).await);
    assert!(
        answer.starts_with("Some rejected: row is too big"),
        "{answer}"
    );
    // One column too many.
    let more: Vec<_> = (0..600).map(|number| format!("g{number}")).collect();
    let fields: Vec<_> = more
        .iter()
        .map(|name| (name.as_str(), float(0.5)))
        .collect();
    let answer = detail(store.write(&[tagged(&[("site", "B")], 1, &fields)]).await);
    assert!(
        answer.starts_with("Some rejected: tables can have at most"),
        "{answer}"
    );
    let rule = format!("ALTER TABLE {} ADD CHECK (a < 10)", settings.table);
    let _ = server.query(&rule);
    let answer = detail(store.write(&[row("A", "a", float(11.0))]).await);
    assert!(answer.starts_with("Unknown rejected: "), "{answer}");
    store.write(&[row("A", "a", float(9.0))]).await.unwrap();
    store.preflight().await.unwrap();
    let rows = rows_of(&store.history(), r#"{"site":"A"}"#).await;
    assert_eq!(rows, [row("A", "a", float(9.0))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permissions_and_passwords_are_denied() {
    let server = Postgres::shared();
    let table = Postgres::table();
    let _ = server.query(&format!("CREATE ROLE {table}_user LOGIN"));
    let url = server.url().replace("rigline@", &format!("{table}_user@"));
    let store = of_file(&url, &table);
    let answer = detail(store.preflight().await);
    assert!(
        answer.contains("permission denied for schema public (SQLSTATE 42501)"),
        "{answer}"
    );
    of_file(&server.url(), &table).preflight().await.unwrap();
    for grant in ["SELECT", "INSERT", "UPDATE"] {
        let answer = detail(store.preflight().await);
        assert!(
            answer.starts_with("denied: permission denied for table"),
            "{answer}"
        );
        let _ = server.query(&format!("GRANT {grant} ON {table} TO {table}_user"));
    }
    store.preflight().await.unwrap();
    let missing = server.url().replace("/postgres", "/nowhere");
    let answer = detail(of_file(&missing, &table).preflight().await);
    assert!(
        answer.contains(": database \"nowhere\" ") && answer.starts_with("denied: 127.0.0.1:"),
        "{answer}"
    );
    let nobody = server.url().replace("rigline@", "nobody_of_this_name@");
    let answer = detail(of_file(&nobody, &table).preflight().await);
    assert!(answer.contains(": role "), "{answer}");
    // A server that takes no writes for now, as a standby.
    let _ = server.query(&format!(
        "ALTER ROLE {table}_user SET default_transaction_read_only = on"
    ));
    let answer = detail(of_file(&url, &table).preflight().await);
    assert!(answer.starts_with("retry: "), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_is_asked_again() {
    let mut server = Postgres::start();
    let table = Postgres::table();
    let store = of_file(&server.url(), &table);
    let history = store.history();
    store.write(&[metric("1", 1, 0.5)]).await.unwrap();
    assert_eq!(history.fields(None).await.unwrap(), ["val"]);
    server.kill();
    // The server's processes of the connections end some time after it.
    let started = Instant::now();
    let answer = loop {
        match store.write(&[metric("1", 2, 0.5)]).await {
            Ok(()) => assert!(started.elapsed() < LIMIT, "a killed server takes rows"),
            refused => break detail(refused),
        }
    };
    assert!(answer.starts_with("retry: "), "{answer}");
    while history.series().await.is_ok() {
        assert!(started.elapsed() < LIMIT, "a killed server answers");
    }
    server.restart();
    store.write(&[metric("1", 2, 0.5)]).await.unwrap();
    assert_eq!(rows_of(&history, r#"{"id":"1"}"#).await.len(), 2);
    let durable = server.query("SELECT 1");
    assert_eq!(durable, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_lost_are_no_answers() {
    let server = Postgres::shared();
    let table = Postgres::table();
    let proxy = TcpProxy::start(server.port());
    let url = server
        .url()
        .replace(&server.port().to_string(), &proxy.port().to_string());
    let store = of_file(&url, &table);
    store.write(&[metric("1", 1, 0.5)]).await.unwrap();
    proxy.reset_connections();
    let again = store.write(&[metric("1", 2, 0.5)]).await;
    if again.is_err() {
        store.write(&[metric("1", 2, 0.5)]).await.unwrap();
    }
    let found = server.query(&format!("SELECT count(*) FROM {table}"));
    assert_eq!(found, "2");
    // A write that is dropped leaves nothing behind that a later one could take for its answer.
    for second in 0..20 {
        let rows: Vec<_> = (0..200)
            .map(|step| metric("2", second * 200 + step, 0.5))
            .collect();
        let write = store.write(&rows);
        let limit = Duration::from_micros(200 * u64::try_from(second).unwrap());
        let _ = tokio::time::timeout(limit, write).await;
        store.write(&rows).await.unwrap();
    }
    let found = server.query(&format!("SELECT count(*) FROM {table} WHERE id = 2"));
    assert_eq!(found, "4000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_used_if_the_url_says_so() {
    let made = Certificates::new();
    made.issue("postgres", &["localhost"]);
    let server = Postgres::start_with_tls(&made, "postgres");
    let table = Postgres::table();
    let ca = made.ca().display().to_string();
    let url = server.url().replace("127.0.0.1", "localhost");
    let secure = format!("{url}?sslmode=require&sslrootcert={ca}");
    let store = of_file(&secure, &table);
    store.write(&[metric("1", 1, 0.5)]).await.unwrap();
    let shown = server.query(
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
         WHERE application_name = 'rigline' AND ssl",
    );
    assert_eq!(shown, "1");
    // Another authority, and a name that the certificate isn't for.
    let answer = detail(
        of_file(&format!("{url}?sslmode=require"), &table)
            .preflight()
            .await,
    );
    assert!(answer.starts_with("denied: "), "{answer}");
    let other = secure.replace("localhost", "127.0.0.2");
    let answer = detail(of_file(&other, &table).preflight().await);
    assert!(!answer.starts_with("Ok"), "{answer}");
    for (option, part) in [
        ("sslmode=prefer", "sslmode is disable or require"),
        ("sslmood=1", "sslmood"),
    ] {
        let text = METRICS.replace("URL", &format!("{url}?{option}"));
        let file = PipelineFile::parse("a.toml", &text, &|_| None).unwrap();
        let settings = PostgresSettings::of_file(&file, &file.store[0]);
        let error = settings.check().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn points_of_any_table_with_ids_are_read() {
    let server = Postgres::shared();
    let (mine, other) = (Postgres::table(), Postgres::table());
    let store = of_file(&server.url(), &mine);
    let rows = [metric("3", 10, 0.5), metric("15", -5, -1.5)];
    store.write(&rows).await.unwrap();
    let _ = server.query(&format!(
        "CREATE TABLE {other} (product numeric, production real, time timestamp);
         INSERT INTO {other} VALUES (1, 0.25, '1970-01-01 00:00:01.5'), (2, NULL, '1970-01-01'),
            (NULL, 1, '1970-01-01'), (1.5, 1, '1970-01-01'), ('NaN', 1, '1970-01-01'), (1e30, 1, '1970-01-01'),
            (3, 1, 'infinity'), (3, 1, NULL)"
    ));
    let reader = PostgresServer {
        url: Secret::new(server.url()),
        user: None,
        password: None,
    };
    let other = format!("public.{other}");
    let tables = [
        PointsTable {
            table: &mine,
            id: "id",
            value: "val",
        },
        PointsTable {
            table: &other,
            id: "product",
            value: "production",
        },
    ];
    let mut found = Vec::new();
    let read = read_points(&reader, &tables, |table, id, time, value| {
        found.push((table, id, time, value));
    });
    let read = read.await.unwrap();
    assert_eq!((read.missing, read.unusable), (vec![], vec![0, 6]));
    found.sort_by(|one, other| one.partial_cmp(other).unwrap());
    assert_eq!(
        found,
        [(0, 3, 10.0, 0.5), (0, 15, -5.0, -1.5), (1, 1, 1.5, 0.25)]
    );
    let missing = [
        PointsTable {
            table: "nowhere",
            ..tables[0].clone()
        },
        tables[0].clone(),
        PointsTable {
            value: "nothing",
            ..tables[0].clone()
        },
    ];
    let mut found = 0;
    let read = read_points(&reader, &missing, |_, _, _, _| found += 1).await;
    assert_eq!((read.unwrap().missing, found), (vec![0, 2], 2));
}

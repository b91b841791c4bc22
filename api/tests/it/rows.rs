//! Series and their rows.

use std::time::Duration;

use axum::http::header;
use serde_json::{Value as Json, json};

use crate::fixture::{FIRST, Fixture};

const ROWS: &str = "/api/v1/pipelines/rigs/rows?series=RIG-1&from=2026-01-31T08:00:00Z";

fn times(page: &Json) -> Vec<String> {
    let rows = page["rows"].as_array().unwrap().iter();
    rows.map(|row| row["time"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn series_and_newest_values_are_listed() {
    let fixture = Fixture::new();
    assert_eq!(
        fixture.get_json("/api/v1/pipelines/rigs/series").await,
        json!({"series": []})
    );
    fixture.store("RIG-2", 2).await;
    fixture.store("RIG-1", 1).await;
    let series = fixture.get_json("/api/v1/pipelines/rigs/series").await;
    let series = series["series"].as_array().unwrap().clone();
    let keys: Vec<_> = series.iter().map(|one| one["key"].clone()).collect();
    assert_eq!(keys, ["RIG-1", "RIG-2"]);
    assert_eq!(series[1]["tags"], json!({"rig_id": "RIG-2"}));
    assert_eq!(series[1]["first"], FIRST);
    assert_eq!(series[1]["last"], "2026-01-31T08:00:01Z");
    assert!(series[1]["age_seconds"].as_f64().unwrap() > 3600.0);
    assert_eq!(
        series[1]["fields"],
        json!([{"name": "flow"}, {"name": "temp"}])
    );

    let all = fixture.get_json("/api/v1/pipelines/rigs/latest").await;
    assert_eq!(all["series"].as_array().unwrap().len(), 2);
    let one = fixture
        .get_json("/api/v1/pipelines/rigs/latest?series=RIG-2")
        .await;
    assert_eq!(one["series"][0]["key"], all["series"][1]["key"]);
    let values = one["series"][0]["values"].as_array().unwrap();
    let seen: Vec<_> = values
        .iter()
        .map(|it| (&it["field"], &it["value"], &it["time"]))
        .collect();
    assert_eq!(
        seen,
        [
            (&json!("flow"), &json!(1.0), &json!("2026-01-31T08:00:01Z")),
            (&json!("temp"), &json!(20.5), &json!(FIRST)),
        ]
    );
}

#[tokio::test]
async fn series_are_stale_after_twice_their_usual_period() {
    let fixture = Fixture::new();
    let minutes = |ages: &[u64]| -> Vec<_> {
        let ages = ages.iter().copied();
        ages.map(Duration::from_mins).collect()
    };
    fixture
        .store_past("EACH-HOUR", &minutes(&[110, 170, 230]))
        .await;
    fixture
        .store_past("HOURLY-BEFORE", &minutes(&[140, 200, 260]))
        .await;
    // A gap isn't the usual period.
    fixture
        .store_past("EACH-MINUTE", &minutes(&[3, 4, 5, 500, 501, 502]))
        .await;
    fixture.store_past("NOW", &minutes(&[0])).await;
    fixture.store_past("ONCE", &minutes(&[1])).await;
    let stale = async || {
        let series = fixture.get_json("/api/v1/pipelines/rigs/series").await;
        let series = series["series"].as_array().unwrap().clone();
        let stale = series.into_iter().filter(|one| one["stale"] == true);
        stale
            .map(|one| one["key"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let expected = ["EACH-MINUTE", "HOURLY-BEFORE", "ONCE"];
    assert_eq!(stale().await, expected);
    assert_eq!(stale().await, expected);
    // Rows come again, and the next silence counts by what the period is then.
    fixture.store_past("HOURLY-BEFORE", &minutes(&[20])).await;
    fixture.store_past("EACH-MINUTE", &minutes(&[0])).await;
    assert_eq!(stale().await, ["ONCE"]);
}

#[tokio::test]
async fn pages_hold_each_row_once_in_both_orders() {
    let fixture = Fixture::new();
    fixture.store("RIG-1", 25).await;
    fixture.store("RIG-2", 5).await;
    let mut orders = Vec::new();
    for order in ["oldest", "newest"] {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("{ROWS}&limit=10&order={order}{cursor}");
            let page = fixture.get_json(&path).await;
            all.extend(times(&page));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(all.len(), 25, "{order}");
        orders.push(all);
    }
    orders[1].reverse();
    assert_eq!(orders[0], orders[1]);
    assert!(orders[0].is_sorted());
    assert_eq!(orders[0][0], FIRST);
}

#[tokio::test]
async fn ranges_are_half_open_and_fields_are_selected() {
    let fixture = Fixture::new();
    fixture.store("RIG-1", 25).await;
    let page = fixture
        .get_json(&format!("{ROWS}&to=2026-01-31T08:00:03Z&field=temp"))
        .await;
    assert_eq!(
        page,
        json!({"rows": [
            {"time": FIRST, "tags": {"rig_id": "RIG-1"}, "values": {"temp": 20.5}},
            {"time": "2026-01-31T08:00:02Z", "tags": {"rig_id": "RIG-1"}, "values": {"temp": 20.5}},
        ]})
    );
    // The same start, in seconds and in milliseconds, with an offset, and twice the same field.
    for from in ["1769846400", "1769846400000", "2026-01-31T09:00:00%2B01:00"] {
        let path = format!(
            "/api/v1/pipelines/rigs/rows?series=RIG-1&from={from}&to=2026-01-31T08:00:03Z&field=temp&field=temp"
        );
        assert_eq!(fixture.get_json(&path).await, page, "{from}");
    }
}

#[tokio::test]
async fn csv_and_ndjson_hold_all_rows_of_the_range() {
    let fixture = Fixture::new();
    // More than a page.
    fixture.store("RIG-1", 10_050).await;
    let csv = fixture
        .get_with(ROWS, &[(header::ACCEPT, "text/csv")])
        .await;
    assert_eq!(csv.header(header::CONTENT_TYPE), "text/csv; charset=utf-8");
    let csv = csv.text();
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("time,rig_id,flow,temp"));
    assert_eq!(lines.next(), Some("2026-01-31T08:00:00Z,RIG-1,0.0,20.5"));
    assert_eq!(lines.next(), Some("2026-01-31T08:00:01Z,RIG-1,1.0,"));
    assert_eq!(lines.count(), 10_048);

    let ndjson = fixture
        .get_with(ROWS, &[(header::ACCEPT, "application/x-ndjson")])
        .await;
    let ndjson = ndjson.text();
    let rows: Vec<Json> = ndjson
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 10_050);
    let page = fixture.get_json(&format!("{ROWS}&limit=10000")).await;
    assert_eq!(page["rows"].as_array().unwrap()[..], rows[..10_000]);
}

#[tokio::test]
async fn buckets_and_statistics_are_of_the_range() {
    let fixture = Fixture::new();
    fixture.store("RIG-1", 25).await;
    let of = "series=RIG-1&field=flow&from=2026-01-31T08:00:05Z&to=2026-01-31T08:00:25Z";
    let buckets = fixture
        .get_json(&format!("/api/v1/pipelines/rigs/buckets?{of}&every=10s"))
        .await;
    let found: Vec<_> = buckets["fields"][0]["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["start"].as_str().unwrap(), &it["count"], &it["mean"]))
        .collect();
    assert_eq!(
        found,
        [
            (FIRST, &json!(5), &json!(7.0)),
            ("2026-01-31T08:00:10Z", &json!(10), &json!(14.5)),
            ("2026-01-31T08:00:20Z", &json!(5), &json!(22.0)),
        ]
    );
    let whole = fixture
        .get_json(&format!("/api/v1/pipelines/rigs/statistics?{of}"))
        .await;
    let whole = &whole["fields"][0];
    assert_eq!(whole["name"], "flow");
    let whole = &whole["statistics"];
    assert_eq!(
        (&whole["count"], &whole["mean"]),
        (&json!(20), &json!(14.5))
    );
    assert_eq!((&whole["min"], &whole["max"]), (&json!(5.0), &json!(24.0)));
    let stddev = whole["stddev"].as_f64().unwrap();
    assert!((stddev - 5.916_079_783).abs() < 1e-6, "{stddev}");
    assert_eq!(whole["start"], "2026-01-31T08:00:05Z");
}

#[tokio::test]
async fn large_responses_are_compressed_if_the_client_can() {
    let fixture = Fixture::new();
    fixture.store("RIG-1", 500).await;
    let plain = fixture.get(ROWS).await;
    let packed = fixture
        .get_with(ROWS, &[(header::ACCEPT_ENCODING, "gzip")])
        .await;
    assert_eq!(packed.header(header::CONTENT_ENCODING), "gzip");
    assert!(packed.body.len() * 4 < plain.body.len());
}

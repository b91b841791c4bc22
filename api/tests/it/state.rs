//! Pipelines and their state.

use queue::list::List;
use serde_json::json;

use crate::fixture::Fixture;

#[tokio::test]
async fn pipelines_are_listed() {
    let fixture = Fixture::new();
    assert_eq!(
        fixture.get_json("/api/v1/pipelines").await,
        json!({"pipelines": [
            {"name": "rigs", "source": "mqtt", "shape": "pivot", "store": "sqlite"},
            {"name": "elsewhere", "source": "mqtt", "shape": "sample", "store": "influx"},
        ]})
    );
}

#[tokio::test]
async fn health_shows_lists_ledger_and_dependencies() {
    let fixture = Fixture::new();
    let stage = fixture.health.add_stage("sink");
    let store = stage.dependency("store");
    let other = fixture.health.add_stage("sink/elsewhere");
    other.dependency("store").up();
    fixture.queue.append(vec![b"{}".to_vec(); 3]).await;
    let health = fixture.get_json("/api/v1/pipelines/rigs/health").await;
    assert_eq!(
        (&health["ready"], &health["balanced"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(
        health["lists"],
        json!({"raw": 3, "normalized": 0, "dead_letters": 0})
    );
    assert_eq!(health["counters"]["accepted"], 3);
    assert_eq!(health["ledger"].as_array().unwrap().len(), 6);
    let dependencies = health["dependencies"].as_array().unwrap();
    assert_eq!(dependencies.len(), 1);
    assert_eq!(dependencies[0]["stage"], "sink");
    assert_eq!(dependencies[0]["state"], "waiting");
    store.up();
    let health = fixture.get_json("/api/v1/pipelines/rigs/health").await;
    assert_eq!(health["ready"], true);
    let other = fixture.get_json("/api/v1/pipelines/elsewhere/health").await;
    assert_eq!(other["dependencies"][0]["state"], "up");

    // An element that another program took.
    assert_eq!(fixture.queue.items(List::Raw).len(), 3);
    fixture
        .queue
        .run("DELETE FROM raw WHERE id = (SELECT max(id) FROM raw)");
    let health = fixture.get_json("/api/v1/pipelines/rigs/health").await;
    assert_eq!(health["balanced"], false);
}

//! Alerts over a real store and a real queue, with receivers of webhooks.

mod fixture;
mod webhooks;

use std::time::Duration;

use axum::http::StatusCode;
use queue::testing::{Delivery, FaultyQueue};
use serde_json::{Value as Json, json};

use self::fixture::{Alerts, now};
use crate::fixture::Fixture;

/// An alert at once, with hysteresis.
const HOT: &str = "[[alert]]\nname = \"hot\"\nfield = \"t\"\nabove = 90\nclear_below = 85\n";

/// States without their times, as `series: state value`.
fn states(alerts: &Json) -> Vec<String> {
    let states = alerts["states"].as_array().unwrap().iter();
    let word = |it: &Json| {
        let (series, state) = (
            it["series"].as_str().unwrap(),
            it["state"].as_str().unwrap(),
        );
        format!("{series}: {state} {}", it["value"])
    };
    states.map(word).collect()
}

/// Events as `state value`, the newest first.
fn events(alerts: &Json) -> Vec<String> {
    let events = alerts["events"].as_array().unwrap().iter();
    let word = |it: &Json| format!("{} {}", it["state"].as_str().unwrap(), it["value"]);
    events.map(word).collect()
}

#[tokio::test]
async fn pipeline_without_alerts_has_empty_lists() {
    let fixture = Fixture::new();
    for pipeline in ["rigs", "elsewhere"] {
        let path = format!("/api/v1/pipelines/{pipeline}/alerts");
        let empty = json!({"rules": [], "states": [], "events": []});
        assert_eq!(fixture.get_json(&path).await, empty);
    }
    let answer = fixture.get("/api/v1/pipelines/none/alerts").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn alerts_begin_and_end_by_series() {
    let fixture = Alerts::new(HOT);
    let rules = json!([{
        "name": "hot", "field": "t", "condition": "above 90, clears below 85", "for_seconds": 0.0,
    }]);
    assert_eq!(fixture.get().await["rules"], rules);
    let _running = fixture.start();
    fixture.store("b", now(), 20.0).await;
    fixture.store("a", now(), 95.0).await;
    let shown = fixture
        .wait_for("the alert fires", |it| events(it) == ["firing 95.0"])
        .await;
    assert_eq!(
        states(&shown),
        [
            r#"{"device":"a"}: firing 95.0"#,
            r#"{"device":"b"}: ok 20.0"#
        ]
    );
    assert_eq!(shown["events"][0]["kind"], "threshold");
    // Between the limits nothing changes.
    fixture.store("a", now(), 87.0).await;
    fixture
        .wait_for("the row is evaluated", |it| {
            states(it)[0].ends_with("firing 87.0")
        })
        .await;
    fixture.store("a", now(), 85.0).await;
    let shown = fixture
        .wait_for("the alert ends", |it| events(it).len() == 2)
        .await;
    assert_eq!(events(&shown), ["resolved 85.0", "firing 95.0"]);
    assert_eq!(shown["states"][0]["since"], shown["events"][0]["time"]);
    // Nothing is committed while nothing changes.
    let number = fixture.commits().await;
    fixture.store("b", now(), 21.0).await;
    fixture
        .wait_for("the row is evaluated", |it| {
            states(it)[1].ends_with("ok 21.0")
        })
        .await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(fixture.commits().await, number);
}

#[tokio::test]
async fn states_outlive_the_process_that_evaluates() {
    let text =
        format!("{HOT}\n[[alert]]\nname = \"long\"\nfield = \"t\"\nabove = 90\nfor = \"2s\"\n");
    let fixture = Alerts::new(&text);
    let first = now();
    let running = fixture.start();
    fixture.store("a", first, 95.0).await;
    let shown = fixture
        .wait_for("both have evaluated", |it| {
            states(it).join(" ").contains("pending")
        })
        .await;
    let id = shown["events"][0]["id"].clone();
    let committed = fixture.state();
    running.kill();
    // Another process takes over once the lease of the first one has expired.
    let fixture = fixture.restarted();
    assert!(fixture.get().await["states"].as_array().unwrap().is_empty());
    let running = fixture.start();
    let shown = fixture
        .wait_for("the states are there again", |it| states(it).len() == 2)
        .await;
    assert_eq!(shown["events"][0]["id"], id);
    assert_eq!(fixture.state(), committed, "nothing is evaluated twice");
    // The time to hold goes on from the first row.
    fixture
        .store("a", first.plus(Duration::from_secs(2)), 96.0)
        .await;
    let shown = fixture
        .wait_for("the second alert fires", |it| events(it).len() == 2)
        .await;
    assert_eq!(events(&shown), ["firing 96.0", "firing 95.0"]);
    assert_eq!(shown["events"][0]["alert"], "long");
    // Another stop, which gives the lease back.
    running.stop().await;
    let fixture = fixture.restarted();
    let _running = fixture.start();
    fixture
        .store("a", first.plus(Duration::from_secs(3)), 1.0)
        .await;
    let shown = fixture
        .wait_for("both end", |it| events(it).len() == 4)
        .await;
    assert_eq!(events(&shown)[..2], ["resolved 1.0", "resolved 1.0"]);
}

#[tokio::test]
async fn lost_replies_and_lost_leases_report_nothing_twice() {
    let fixture = Alerts::new(HOT);
    let deliveries = [Delivery::Applied, Delivery::Dropped, Delivery::Delayed];
    let faulty = FaultyQueue::new(fixture.queue.open(), &deliveries);
    let _first = fixture.start_on(faulty.clone());
    let mut expected = Vec::new();
    for (value, event) in [
        (95.0, "firing 95.0"),
        (1.0, "resolved 1.0"),
        (96.0, "firing 96.0"),
    ] {
        fixture.store("a", now(), value).await;
        expected.insert(0, event);
        fixture.wait_for(event, |it| events(it) == expected).await;
    }
    assert!(faulty.calls() > deliveries.len(), "each fault has been");
    // A standby takes over from a holder that doesn't know yet that its lease is lost.
    let _second = fixture.start();
    tokio::time::sleep(Duration::from_millis(500)).await;
    for (value, event) in [(2.0, "resolved 2.0"), (97.0, "firing 97.0")] {
        fixture.queue.expire_leases();
        fixture.store("a", now(), value).await;
        expected.insert(0, event);
        fixture.wait_for(event, |it| events(it) == expected).await;
    }
    let shown = fixture.get().await;
    let mut ids: Vec<_> = shown["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].to_string())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), expected.len());
}

#[tokio::test]
async fn nothing_is_evaluated_while_a_stage_is_down() {
    let fixture = Alerts::new(&format!("{HOT}stale_after = \"5s\"\n"));
    let _running = fixture.start();
    fixture.store("a", now(), 20.0).await;
    fixture
        .wait_for("the row is evaluated", |it| states(it).len() == 1)
        .await;
    fixture.sink.down(&"away");
    // A round that has begun may end.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    fixture.store("a", now(), 95.0).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(events(&fixture.get().await).is_empty());
    fixture.sink.up();
    let shown = fixture
        .wait_for("the alert fires", |it| !events(it).is_empty())
        .await;
    assert_eq!(
        events(&shown),
        ["firing 95.0"],
        "and the series isn't stale"
    );
}

#[tokio::test]
async fn silent_series_is_stale_and_back() {
    let fixture = Alerts::new(&format!("{HOT}stale_after = \"4s\"\n"));
    assert_eq!(fixture.get().await["rules"][0]["stale_after_seconds"], 4.0);
    let _running = fixture.start();
    fixture.store("a", now(), 20.0).await;
    let shown = fixture
        .wait_for("the series is stale", |it| events(it) == ["firing 20.0"])
        .await;
    assert_eq!(shown["events"][0]["kind"], "stale");
    assert_eq!(shown["states"][0]["kind"], "stale");
    // On a busy machine, a single row might be as old when it is read.
    let rows = async {
        loop {
            fixture.store("a", now(), 21.0).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let is_back = |it: &Json| events(it) == ["resolved 21.0", "firing 20.0"];
    tokio::select! {
        _ = fixture.wait_for("the series is back", is_back) => {}
        () = rows => {}
    }
}

#[tokio::test]
async fn backfilled_rows_and_unreadable_stores_raise_nothing() {
    let fixture = Alerts::new(HOT);
    let _running = fixture.start();
    let old = now().minus(Duration::from_hours(1));
    // More than the pages of a round.
    fixture.store_many("a", old, 12_000).await;
    let shown = fixture
        .wait_for("the rows are evaluated", |it| states(it).len() == 1)
        .await;
    assert!(events(&shown).is_empty());
    assert_eq!(states(&shown), [r#"{"device":"a"}: ok 99.0"#]);
    fixture.store("a", now(), 99.5).await;
    let shown = fixture
        .wait_for("the alert fires", |it| !events(it).is_empty())
        .await;
    assert_eq!(events(&shown), ["firing 99.5"]);
}

//! Dead letters.

use model::dead_letter::{Reason, Rejection, encode};
use model::{Stage, Timestamp};
use queue::{Append, Queue};
use serde_json::json;

use crate::fixture::Fixture;

const DEAD: &str = "/api/v1/pipelines/rigs/dead-letters";

async fn add(fixture: &Fixture, reason: Reason, payload: &[u8]) {
    let rejection = Rejection::new(reason, "why");
    let letter = encode(
        Stage::Ingester,
        &rejection,
        "a/b",
        payload,
        Timestamp::from_millis(7),
    );
    let append = Append {
        dead: vec![letter],
        ..Append::default()
    };
    fixture.queue.open().append(&append).await.unwrap();
}

#[tokio::test]
async fn newest_dead_letters_come_first_and_are_filtered_and_counted() {
    let fixture = Fixture::new();
    add(&fixture, Reason::NotJson, b"{\"value").await;
    add(&fixture, Reason::BadValue, b"one").await;
    add(&fixture, Reason::BadValue, &[0xff, 0]).await;
    fixture
        .queue
        .push_foreign(queue::list::List::Dead, b"not ours");
    let all = fixture.get_json(DEAD).await;
    let all = all["dead_letters"].as_array().unwrap();
    let seen: Vec<_> = all
        .iter()
        .map(|it| (&it["reason"], &it["payload"]))
        .collect();
    assert_eq!(
        seen,
        [
            (&json!("bad_value"), &json!("/wA=")),
            (&json!("bad_value"), &json!("one")),
            (&json!("not_json"), &json!("{\"value")),
        ]
    );
    assert_eq!(all[0]["encoding"], "base64");
    assert_eq!(
        (&all[1]["topic"], &all[1]["detail"]),
        (&json!("a/b"), &json!("why"))
    );
    let some = fixture
        .get_json(&format!("{DEAD}?reason=bad_value&stage=ingester&limit=1"))
        .await;
    assert_eq!(
        some["dead_letters"].as_array().unwrap().as_slice(),
        &all[..1]
    );
    let none = fixture.get_json(&format!("{DEAD}?stage=sink")).await;
    assert_eq!(none, json!({"dead_letters": []}));
    assert_eq!(
        fixture.get_json(&format!("{DEAD}/counts")).await,
        json!({
            "counts": [
                {"stage": "ingester", "reason": "bad_value", "replayed": false, "count": 2},
                {"stage": "ingester", "reason": "not_json", "replayed": false, "count": 1},
            ],
            "foreign": 1,
        })
    );
    let id = all[2]["id"].as_str().unwrap();
    assert_eq!(&fixture.get_json(&format!("{DEAD}/{id}")).await, &all[2]);
}

//! Dead letters.

use model::dead_letter::{Reason, Rejection, encode};
use model::{Stage, Timestamp};
use queue::list::List;
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
    fixture.queue.push_foreign(List::Dead, b"not ours");
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
                {"stage": "ingester", "reason": "bad_value", "replayed": false, "discarded": false, "count": 2},
                {"stage": "ingester", "reason": "not_json", "replayed": false, "discarded": false, "count": 1},
            ],
            "foreign": 1,
        })
    );
    let id = all[2]["id"].as_str().unwrap();
    assert_eq!(&fixture.get_json(&format!("{DEAD}/{id}")).await, &all[2]);
}

async fn ids(fixture: &Fixture, query: &str) -> Vec<String> {
    let list = fixture.get_json(&format!("{DEAD}{query}")).await;
    let list = list["dead_letters"].as_array().unwrap().clone();
    let id = |it: serde_json::Value| it["id"].as_str().unwrap().to_owned();
    list.into_iter().map(id).collect()
}

#[tokio::test]
async fn dead_letters_are_replayed_and_discarded_once() {
    let fixture = Fixture::new();
    for payload in [&b"1"[..], b"two", b"3"] {
        add(&fixture, Reason::BadValue, payload).await;
    }
    let all = ids(&fixture, "").await;
    let [third, second, first] = [&*all[0], &*all[1], &*all[2]];
    let change = async |verb: &str, ids: &[&str]| {
        let path = format!("{DEAD}/{verb}");
        let answer = fixture.post(&path, &[], &json!({ "ids": ids })).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let refused = |id: &str, detail: &str| json!({"id": id, "detail": detail});
    assert_eq!(
        change("replay", &[second, first, "none", first]).await,
        json!({
            "done": [first],
            "refused": [
                refused("none", "there is no such dead letter"),
                refused(second, "is refused again: no digit"),
            ],
        })
    );
    assert_eq!(fixture.queue.items(List::Raw), [b"1"]);
    assert_eq!(
        change("discard", &[first, second]).await,
        json!({"done": [second], "refused": [refused(first, "was replayed before")]})
    );
    assert_eq!(
        change("discard", &[second]).await,
        json!({"done": [], "refused": [refused(second, "was discarded before")]})
    );
    assert_eq!(ids(&fixture, "").await, [third, first]);
    let with_discarded = ids(&fixture, "?discarded=true").await;
    assert_eq!(with_discarded, [third, second, first]);
    let left = fixture.get_json(&format!("{DEAD}/{second}")).await;
    assert_eq!(
        (&left["payload"], &left["topic"]),
        (&json!(""), &json!("a/b"))
    );
    assert!(left["discarded"].is_string(), "{left}");
    let counts = fixture.get_json(&format!("{DEAD}/counts")).await;
    let counts = counts["counts"].as_array().unwrap().iter();
    let counts: Vec<_> = counts
        .map(|it| {
            (
                it["replayed"].clone(),
                it["discarded"].clone(),
                it["count"].clone(),
            )
        })
        .collect();
    let no = || json!(false);
    assert_eq!(
        counts,
        [
            (no(), no(), json!(1)),
            (no(), json!(true), json!(1)),
            (json!(true), no(), json!(1))
        ]
    );
    let health = fixture.get_json("/api/v1/pipelines/rigs/health").await;
    assert_eq!(health["counters"]["raw_replayed"], 1, "{health}");
}

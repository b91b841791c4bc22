//! Statistics in buckets.

use std::time::Duration;

use model::Value;
use store::history::Selection;
use store::{History, Store};

use super::{all_of_1970, owned};
use crate::fixture::{Fixture, all, row, seconds, string, tagged};

pub(super) async fn buckets_start_at_multiples_of_their_length<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let rows: Vec<_> = [-11, -10, -1, 0, 3, 9, 25]
        .iter()
        .zip(1..)
        .map(|(second, value)| row("R", *second, &[("a", f64::from(value))]))
        .collect();
    store.write(&rows).await.unwrap();
    store.write(&[row("R", 4, &[("b", 1.0)])]).await.unwrap();
    let ask = async |from, to| {
        let of = Selection {
            from: seconds(from),
            to: seconds(to),
            ..all("R")
        };
        let found = history.buckets(of, Duration::from_secs(10)).await.unwrap();
        let seen = found.into_iter().map(|field| {
            let buckets = field.buckets.into_iter();
            let seen = buckets.map(|it| (it.start.seconds(), it.count, it.mean, it.min, it.max));
            (field.field, seen.collect::<Vec<_>>())
        });
        seen.collect::<Vec<_>>()
    };
    let b = ("b".to_owned(), vec![(0, 1, 1.0, 1.0, 1.0)]);
    let buckets = vec![
        (-20, 1, 1.0, 1.0, 1.0),
        (-10, 2, 2.5, 2.0, 3.0),
        (0, 3, 5.0, 4.0, 6.0),
        (20, 1, 7.0, 7.0, 7.0),
    ];
    assert_eq!(ask(-100, 100).await, [("a".to_owned(), buckets), b.clone()]);
    let cut = vec![(-10, 1, 3.0, 3.0, 3.0), (0, 2, 4.5, 4.0, 5.0)];
    assert_eq!(ask(-5, 9).await, [("a".to_owned(), cut), b]);
    assert_eq!(ask(10, 20).await, []);
    assert_eq!(ask(20, 10).await, []);
}

pub(super) async fn buckets_of_large_values_keep_small_differences<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let rows: Vec<_> = (0..1_000)
        .map(|second| {
            let small = f64::from(u8::try_from(second % 2).unwrap()) / 1_024.0;
            row("R", second, &[("a", 1e9 + small)])
        })
        .collect();
    store.write(&rows).await.unwrap();
    let hour = Duration::from_hours(1);
    let found = history.buckets(all_of_1970(), hour).await.unwrap();
    let bucket = found[0].buckets[0];
    assert_eq!(bucket.count, 1_000);
    assert!((bucket.mean - (1e9 + 0.5 / 1_024.0)).abs() < 1e-6);
    let exact = 0.5 / 1_024.0 * (1_000.0_f64 / 999.0).sqrt();
    assert!((bucket.stddev.unwrap() - exact).abs() < 1e-9 * exact.max(1.0));
    let single = history.buckets(all_of_1970(), Duration::from_secs(1));
    assert_eq!(single.await.unwrap()[0].buckets[7].stddev, None);
}

pub(super) async fn buckets_are_of_numbers_only<F: Fixture>(fixture: &F) {
    let (store, history) = (fixture.store(), fixture.history());
    let of = &[("rig_id", "R")][..];
    let fields = |float, integer| {
        [
            ("bool", Value::Bool(true)),
            ("float", Value::Float(float)),
            ("integer", Value::Integer(integer)),
            ("string", string("7")),
        ]
    };
    let rows = [
        tagged(of, 1, &fields(0.5, -3)),
        tagged(of, 2, &fields(1.5, 1 << 53)),
    ];
    store.write(&rows).await.unwrap();
    let hour = Duration::from_hours(1);
    let found = history.buckets(all_of_1970(), hour).await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|it| (it.field.as_str(), it.buckets[0].count, it.buckets[0].max))
        .collect();
    let most = 9_007_199_254_740_992.0;
    assert_eq!(found, [("float", 2, 1.5), ("integer", 2, most)]);
    let fields = owned(&["bool", "string"]);
    let of = Selection {
        fields: &fields,
        ..all_of_1970()
    };
    assert_eq!(history.buckets(of, hour).await.unwrap(), []);
    assert_eq!(history.range(of, 10).await.unwrap().rows.len(), 2);
}

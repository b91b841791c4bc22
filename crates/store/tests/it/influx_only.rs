//! What the store in `InfluxDB` reads in several queries, beside the same rows in SQLite.

use std::time::Duration;

use model::{Row, Timestamp, Value};
use store::history::{Page, Selection};
use store::{History, Store};

use crate::fixture::{OnInflux, OnSqlite, Written, all, seconds, string, tagged};

const KEY: &str = "{\"device\":\"D\"}";
const DAY: i64 = 86_400;

fn row(second: i64, fields: &[(&str, Value)]) -> Row<'static> {
    tagged(&[("device", "D")], second, fields)
}

/// Both stores with these rows.
async fn filled(rows: &[Row<'_>]) -> (OnInflux, OnSqlite) {
    let (influx, sqlite) = (
        <OnInflux as Written>::start(),
        <OnSqlite as Written>::start(),
    );
    for rows in rows.chunks(1_000) {
        influx.store().write(rows).await.unwrap();
        Written::store(&sqlite).write(rows).await.unwrap();
    }
    (influx, sqlite)
}

/// All pages of a selection, upwards or downwards.
async fn pages<H: History>(
    history: &H,
    mut of: Selection<'_>,
    limit: usize,
    is_newest: bool,
) -> Vec<Page> {
    let mut pages = Vec::new();
    loop {
        let page = if is_newest {
            history.newest(of, limit).await.unwrap()
        } else {
            history.range(of, limit).await.unwrap()
        };
        let next = page.next;
        assert!(!page.rows.is_empty() || next.is_none());
        pages.push(page);
        match next {
            Some(next) if is_newest => of.to = next,
            Some(next) => of.from = next,
            None => return pages,
        }
    }
}

async fn assert_same<H: History, G: History>(one: &H, other: &G, of: Selection<'_>) {
    let minute = Duration::from_mins(1);
    assert_eq!(
        one.buckets(of, minute).await.unwrap(),
        other.buckets(of, minute).await.unwrap()
    );
    assert_eq!(
        one.statistics(of).await.unwrap(),
        other.statistics(of).await.unwrap()
    );
    for is_newest in [false, true] {
        for limit in [300, 1_000, usize::MAX] {
            let found = pages(one, of, limit, is_newest).await;
            let expected = pages(other, of, limit, is_newest).await;
            let rows = |pages: Vec<Page>| -> Vec<Row<'static>> {
                pages.into_iter().flat_map(|page| page.rows).collect()
            };
            assert!(rows(found) == rows(expected), "{limit} {is_newest} {of:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dense_and_sparse_fields_are_read_as_from_sqlite() {
    let mut rows = vec![
        row(-40 * DAY, &[("sparse", Value::Float(1.5))]),
        row(
            40 * DAY,
            &[("sparse", Value::Float(2.5)), ("late", string("x"))],
        ),
    ];
    for second in 0..3_000 {
        let mut fields = vec![("dense", Value::Integer(second))];
        if second % 100 == 0 {
            fields.push(("b", Value::Bool(second % 200 == 0)));
            fields.push(("float", Value::Float(0.1)));
        }
        if second % 7 == 0 {
            let text = if second % 3 == 0 { "" } else { "a\r\nb" };
            fields.push(("text", string(text)));
        }
        rows.push(row(second, &fields));
    }
    let (influx, sqlite) = filled(&rows).await;
    let near = Selection {
        from: seconds(17),
        to: seconds(2_900),
        ..all(KEY)
    };
    let wide = Selection {
        from: seconds(-41 * DAY),
        to: seconds(28 * DAY),
        ..near
    };
    let sparse = ["b", "late", "sparse", "text"].map(str::to_owned);
    let of_sparse = Selection {
        fields: &sparse,
        ..wide
    };
    for of in [near, wide, of_sparse] {
        assert_same(influx.history(), Written::history(&sqlite), of).await;
    }
    // Pages of the same size are the same, with their ends.
    for is_newest in [false, true] {
        let found = pages(influx.history(), wide, 500, is_newest).await;
        assert_eq!(
            found,
            pages(Written::history(&sqlite), wide, 500, is_newest).await
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_points_than_a_response_may_have_are_read_in_several() {
    let names: Vec<String> = (0..600).map(|number| format!("f{number:03}")).collect();
    let mut rows: Vec<_> = names
        .iter()
        .zip(1_u32..)
        .map(|(name, number)| {
            row(
                i64::from(number * 3),
                &[(name, Value::Float(number.into()))],
            )
        })
        .collect();
    for second in 0..2_600_u32 {
        let noise = f64::from(second * 7_919 % 1_009) / 16.0;
        rows.push(row(second.into(), &[("dense", Value::Float(1e9 + noise))]));
    }
    let (influx, sqlite) = filled(&rows).await;
    let of = Selection {
        from: Timestamp::from_nanos(0),
        to: seconds(DAY),
        ..all(KEY)
    };
    let statistics = influx.history().statistics(of).await.unwrap();
    assert_eq!(
        (statistics.len(), statistics[0].statistics.count),
        (601, 2_600)
    );
    assert_same(influx.history(), Written::history(&sqlite), of).await;
}

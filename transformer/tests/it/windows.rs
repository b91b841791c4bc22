//! Windows on a queue: when their rows are emitted and corrected, restarts, and lost replies.

use std::collections::BTreeMap;
use std::time::Duration;

use common::clock::Clock;
use model::element::encode_sample;
use model::pipeline::Statistic;
use model::{Layout, Name, Sample, Timestamp, Value};
use queue::ledger::Counter;
use queue::list::List;
use queue::settings::QueueSettings;
use queue::testing::{Delivery, FaultyQueue, MemoryQueue, TempQueue, assert_exact, limited};
use queue::{Append, Queue};
use tokio::time::{Instant, sleep};
use transformer::settings::{ShapeSettings, WindowSettings, Work};

use crate::fixture::{NEVER, at, row_limits, settings_of, start_on};

const EVERY: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_secs(2);
/// The polls and commits that may pass between a limit and its effect.
const TOLERANCE: Duration = Duration::from_millis(100);

/// The queue of a pipeline that a file describes.
fn queue_settings(batch: usize) -> QueueSettings {
    limited(|limits| limits.batch = batch).of_pipeline("plant")
}

fn work(queue: &QueueSettings, grace: Duration) -> Work {
    let statistics = [
        ("count", Statistic::Count),
        ("median", Statistic::Median),
        ("max", Statistic::Max),
    ];
    Work {
        shape: ShapeSettings::Window(WindowSettings {
            every: EVERY,
            statistics: statistics.map(|(name, of)| (name.to_owned(), of)).to_vec(),
            names: "{statistic}".to_owned(),
            grace,
            late_window: NEVER,
            max_age: NEVER,
            series_idle: NEVER,
            dedupe: true,
            max_window_readings: 100_000,
            limits: row_limits(),
        }),
        ..settings_of(queue, grace)
    }
}

/// A sample of the device that arrived at its time.
fn sample(device: &str, time: Timestamp, value: f64) -> Vec<u8> {
    let sample = Sample {
        tags: vec![(Name::new("device").unwrap(), Name::new(device).unwrap())],
        timestamp: time,
        values: vec![(Name::new("v").unwrap(), Value::Float(value))],
    };
    let mut element = Vec::new();
    encode_sample(&sample, time, &mut element);
    element
}

/// The statistics of a window.
type Statistics = BTreeMap<String, f64>;

fn statistics(count: f64, median: f64, max: f64) -> Statistics {
    let named = [("count", count), ("median", median), ("max", max)];
    named.map(|(name, value)| (name.to_owned(), value)).into()
}

/// The rows, in the order of the list: device, start of the window, statistics.
fn rows(elements: &[Vec<u8>]) -> Vec<(String, Timestamp, Statistics)> {
    let decode = |element: &Vec<u8>| {
        let row = Layout::Tagged.decode_row(element).unwrap();
        let fields = row.fields.iter();
        let fields = fields.map(|(name, value)| (name.to_string(), value.as_number().unwrap()));
        (row.tags[0].1.to_string(), row.timestamp, fields.collect())
    };
    elements.iter().map(decode).collect()
}

/// Statistics by device and start of the window.
type Stored = BTreeMap<(String, Timestamp), Statistics>;

/// What a store ends with: the last row of each window.
fn stored(queue: &TempQueue) -> Stored {
    let rows = rows(&queue.items(List::Normalized)).into_iter();
    rows.map(|(device, start, statistics)| ((device, start), statistics))
        .collect()
}

async fn append(queue: &MemoryQueue, raw: Vec<Vec<u8>>) {
    let append = Append {
        raw,
        ..Append::default()
    };
    queue.append(&append).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn row_is_emitted_when_its_window_is_over_and_again_when_a_reading_corrects_it() {
    let settings = queue_settings(5_000);
    let queue = MemoryQueue::new(&settings, Clock::system().now());
    let stage = start_on(queue.clone(), work(&settings, GRACE));
    stage.ready().await;
    let emitted = || rows(&queue.items(List::Normalized));
    let time_until = async |count: usize| {
        let started = Instant::now();
        while emitted().len() < count {
            assert!(started.elapsed() < 10 * EVERY, "{:?}", emitted());
            sleep(Duration::from_millis(5)).await;
        }
        started.elapsed()
    };
    append(&queue, vec![sample("a", at(0, 250), 1.0)]).await;
    // The series is silent from now on.
    let elapsed = time_until(1).await;
    let rest = EVERY.saturating_sub(Duration::from_millis(250));
    let expected = rest + GRACE;
    assert!(
        (expected..expected + TOLERANCE).contains(&elapsed),
        "{elapsed:?}"
    );
    assert_eq!(
        emitted()[0],
        ("a".to_owned(), at(0, 0), statistics(1.0, 1.0, 1.0))
    );

    append(&queue, vec![sample("a", at(3, 0), 4.0)]).await;
    append(
        &queue,
        vec![sample("a", at(4, 0), 2.0), sample("a", at(0, 250), 1.0)],
    )
    .await;
    let elapsed = time_until(2).await;
    assert!((GRACE..GRACE + TOLERANCE).contains(&elapsed), "{elapsed:?}");
    assert_eq!(
        emitted()[1],
        ("a".to_owned(), at(0, 0), statistics(3.0, 2.0, 4.0))
    );
    sleep(2 * EVERY).await;
    assert_eq!(emitted().len(), 2, "one correction for all of them");
    stage.stop().await;
}

/// Readings of two devices in 12 windows of which each gets some in every round, so that rows that were emitted
/// are corrected after a restart. Returns what the store has to end with.
fn rounds(rounds: i64) -> (Vec<Vec<Vec<u8>>>, Stored) {
    let mut values: BTreeMap<(String, Timestamp), Vec<f64>> = BTreeMap::new();
    let mut appends = Vec::new();
    for round in 0..rounds {
        let mut raw = Vec::new();
        for window in 0..12_i64 {
            for device in ["a", "b"] {
                // Near its end, so that the window is due soon after the arrival.
                let time = at(window * 10 + 9, 900 + round);
                let value = f64::from(i32::try_from(round * 7 % 5 + window).unwrap());
                raw.push(sample(device, time, value));
                let window = (device.to_owned(), at(window * 10, 0));
                values.entry(window).or_default().push(value);
            }
        }
        // One is delivered twice.
        raw.push(raw[3].clone());
        appends.push(raw);
    }
    let expected = values.into_iter().map(|(window, mut values)| {
        values.sort_by(f64::total_cmp);
        let (count, middle) = (values.len(), values.len() / 2);
        let median = if count % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        let length = f64::from(u32::try_from(count).unwrap());
        (window, statistics(length, median, values[count - 1]))
    });
    (appends, expected.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_in_the_middle_of_windows_and_corrections_change_nothing() {
    let settings = queue_settings(7);
    let queue = TempQueue::new(settings.clone());
    let (appends, expected) = rounds(10);
    let mut taken = 0;
    for (round, raw) in appends.into_iter().enumerate() {
        let before = taken;
        taken += i64::try_from(raw.len()).unwrap();
        queue.append(raw).await;
        let stage = start_on(queue.open(), work(&settings, Duration::from_millis(1)));
        let some = before + i64::try_from(round).unwrap();
        queue.wait_count(Counter::RawTaken, some).await;
        if round % 2 == 0 {
            stage.stop().await;
        } else {
            stage.kill().await;
            queue.expire_leases();
        }
        assert_exact(&queue.ledger().await);
        // The next round needs all of this one to be taken, since it can be killed at any element.
        let stage = start_on(queue.open(), work(&settings, NEVER));
        queue.wait_count(Counter::RawTaken, taken).await;
        stage.kill().await;
        queue.expire_leases();
    }
    let stage = start_on(queue.open(), work(&settings, Duration::from_millis(1)));
    let ledger = queue
        .wait_for(|ledger| ledger.get(Counter::OpenReadings) == 0)
        .await;
    stage.stop().await;
    assert_exact(&ledger);
    assert_eq!(stored(&queue), expected);
    assert_eq!(ledger.get(Counter::Repeated), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_replies_of_commits_change_no_window() {
    use Delivery::{Answered, Applied, Delayed, Dropped};
    let settings = queue_settings(7);
    let queue = TempQueue::new(settings.clone());
    let (appends, expected) = rounds(4);
    let deliveries = [
        Applied, Dropped, Answered, Delayed, Dropped, Dropped, Applied, Answered, Delayed, Applied,
    ];
    let faulty = FaultyQueue::new(queue.open(), &deliveries);
    let stage = start_on(faulty.clone(), work(&settings, Duration::from_millis(1)));
    for raw in appends {
        queue.append(raw).await;
    }
    let taken =
        |ledger: &queue::ledger::Ledger| ledger.raw == 0 && ledger.get(Counter::OpenReadings) == 0;
    queue.wait_for(taken).await;
    // Corrections of the last elements may be on their way.
    let is_whole = |queue: &TempQueue| stored(queue) == expected;
    for _ in 0..200 {
        if is_whole(&queue) {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    stage.stop().await;
    assert!(
        faulty.calls() > deliveries.len(),
        "{} commits",
        faulty.calls()
    );
    assert_eq!(stored(&queue), expected);
    let ledger = queue.ledger().await;
    assert_exact(&ledger);
    assert_eq!(ledger.get(Counter::Repeated), 4);
}

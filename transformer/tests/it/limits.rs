//! One device at its limits, and the other devices beside it.

use std::time::Duration;

use model::Stage;
use model::dead_letter::{DeadLetter, Reason};
use queue::ledger::Counter;
use queue::list::List;
use queue::testing::{TempQueue, assert_holds, limited};

use crate::fixture::{SENSORS, decode, reading, row, start};

/// A device that sends 3,000 fields for one timestamp gets a row of 256; of the rest, its quota of dead
/// letters is kept and everything is counted. The other device's rows are complete.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn device_with_ever_new_fields_does_not_hold_up_or_evict_others() {
    let queue = TempQueue::new(limited(|limits| {
        (limits.batch, limits.dead_letter_limit) = (500, 1_000);
    }));
    let mut raw = vec![reading("HUGE", 0, "first", 1.0)];
    for second in 0..100 {
        raw.extend((0..30).map(|field| {
            let name = format!("field{}", second * 30 + field);
            reading("HUGE", 0, &name, 1.0)
        }));
        raw.extend(SENSORS.map(|sensor| reading("R", second, sensor, 1.0)));
    }
    let sent = i64::try_from(raw.len()).unwrap();
    queue.push_foreign(List::Raw, b"not ours");
    queue.append(raw).await;
    let stage = start(&queue, Duration::from_millis(10));
    queue
        .wait_for(|ledger| ledger.raw == 0 && ledger.get(Counter::OpenReadings) == 0)
        .await;
    stage.stop().await;

    let rows = decode(&queue.drain(Stage::Sink).await);
    let fields = SENSORS.map(|sensor| (sensor, 1.0));
    let others: Vec<_> = (0..100).map(|second| row("R", second, &fields)).collect();
    assert!(others.iter().all(|other| rows.contains(other)));
    let huge = rows.iter().filter(|row| !others.contains(row));
    let fields: usize = huge.map(|(_, _, fields)| fields.len()).sum();
    assert_eq!(fields, 256);

    let ledger = queue.ledger().await;
    let refused = 3_001 - 256;
    assert_eq!(ledger.get(Counter::DeadTransformer), refused + 1);
    assert_eq!(ledger.get(Counter::RawTaken), sent + 1);
    assert_eq!(
        ledger.get(Counter::Trimmed),
        refused - 100,
        "a tenth of 1,000 is kept"
    );
    assert_holds(&ledger);
    let letters = queue.items(List::Dead);
    let reasons: Vec<Reason> = letters
        .iter()
        .map(|letter| DeadLetter::decode(letter).unwrap().reason)
        .collect();
    let count = |reason| reasons.iter().filter(|found| **found == reason).count();
    assert_eq!(
        (count(Reason::RowTooWide), count(Reason::BadElement)),
        (100, 1)
    );
}

//! Too much, too late, too often, and in the wrong order.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::Role;
use fastrand::Rng;
use queue::ledger::Counter;
use testkit::Weather;

use super::SOON;
use crate::arena::{Arena, until};
use crate::message::{Cell, Kind, Message, SENSORS};
use crate::oracle::Terms;
use crate::scenario::{Report, Scenario, Task};
use crate::traffic::{Batch, cells, complete, rounds};

/// What belongs here.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "overload",
        about: "ten times as much as the store takes: lists stay within their limits, memory flat",
        run: overload,
    },
    Scenario {
        name: "backlog",
        about: "a long list in an order that spreads rows far apart: none is cut in pieces",
        run: backlog,
    },
    Scenario {
        name: "late-burst",
        about: "everything of a long outage of the devices at once",
        run: late_burst,
    },
    Scenario {
        name: "five-times",
        about: "every message five times",
        run: five_times,
    },
    Scenario {
        name: "reordering",
        about: "shuffled within a minute, one in a hundred ten minutes late",
        run: reordering,
    },
];

/// Resident memory that no stage may need under overload.
const MEMORY: u64 = 128 << 20;

fn overload(task: &Task) -> anyhow::Result<Report> {
    const LIMIT: i64 = 5_000;
    const BATCH: i64 = 1_000;
    const RIGS: u16 = 50;
    let setup = task
        .setup()
        .with("QUEUE_LIMIT", LIMIT.to_string())
        .with("BATCH", BATCH.to_string());
    let mut arena = Arena::start(setup)?;
    // About 100 bytes a row of six readings: 1,500 readings a second, a tenth of the load.
    arena.wires.store.set(Weather::Throttle(25_000));
    arena.load(Duration::from_millis(20), complete(RIGS));
    let time = task.seconds(15, 120);
    let started = Instant::now();
    let (mut raw, mut normalized, mut memory) = (0, 0, 0);
    while started.elapsed() < time {
        let ledger = arena.ledger()?;
        raw = raw.max(ledger.raw);
        normalized = normalized.max(ledger.normalized);
        for (_, stage) in &arena.stages {
            memory = memory.max(stage.rss_bytes().unwrap_or(0));
        }
        sleep(Duration::from_millis(50));
    }
    let (sent, seconds) = (arena.traffic().sent(), time.as_secs());
    let accepted = arena.ledger()?.get(Counter::Accepted);
    ensure!(
        i64::try_from(sent)? > accepted + 10 * LIMIT,
        "the broker kept nothing back: {accepted} of {sent} accepted"
    );
    for (name, longest) in [("raw", raw), ("normalized", normalized)] {
        ensure!(
            longest >= LIMIT,
            "the {name} list never was full ({longest}), so nothing was shown"
        );
        ensure!(
            longest <= LIMIT + BATCH,
            "the {name} list grew to {longest}, its limit is {LIMIT}"
        );
    }
    ensure!(memory < MEMORY, "a stage needed {memory} bytes");
    arena.wires.store.set(Weather::Clear);
    let verdict = arena.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!(
            "{sent} messages in {seconds} s; longest lists {raw} and {normalized} (limit {LIMIT}, batch {BATCH}), largest stage {} MiB",
            memory >> 20
        ),
        1,
    ))
}

fn backlog(task: &Task) -> anyhow::Result<Report> {
    const RIGS: u16 = 300;
    let rows = u32::try_from(task.times(20).min(30))?;
    let setup = task
        .setup()
        // Between the taking of a lease and its first renewal are several slow answers.
        .with("LEASE", "5s")
        .with("FLUSH_INTERVAL", "300ms")
        .with("BATCH", "200");
    let mut arena = Arena::start(setup)?;
    let transformer = Role::Transformer as usize;
    arena.stage(transformer).kill();
    let batches = (0..rows).map(|row| -> Batch {
        let mut cells: Vec<Cell> = cells(RIGS, row).collect();
        cells.sort_by_key(|cell| cell.sensor);
        let kind = Kind::Reading;
        cells
            .into_iter()
            .map(|cell| Message { cell, kind })
            .collect()
    });
    arena.load(Duration::ZERO, batches);
    until("the load is over", SOON, || arena.load_is_over())?;
    let all = i64::from(rows) * i64::from(RIGS) * 6;
    arena.wait_for("a backlog", SOON, |ledger| ledger.raw == all)?;
    // 400 ms a batch: longer than rows wait for more, unless the list goes on.
    arena.wires.redis[transformer].set(Weather::Delay(Duration::from_millis(100)));
    arena.respawn(transformer, None);
    let started = Instant::now();
    arena.wait_for("a list's end", SOON, |ledger| ledger.raw == 0)?;
    let drained = started.elapsed();
    // Else no row would have had the time to be flushed in pieces.
    ensure!(drained > Duration::from_secs(2), "through in {drained:?}");
    let verdict = arena.finish_whole(Terms {
        whole_rows: true,
        ..Terms::default()
    })?;
    Ok(Report::new(
        verdict,
        format!(
            "{} rows, each spread over 9 batches, in one piece; {:.1} s to the list's end",
            u32::from(RIGS) * rows,
            drained.as_secs_f64()
        ),
        1,
    ))
}

fn late_burst(task: &Task) -> anyhow::Result<Report> {
    let time = task.seconds(600, 3_600);
    let rows = u32::try_from(time.as_secs() * 10)?;
    let mut arena = Arena::start(task.setup())?;
    let seed = task.seed;
    arena.load(Duration::ZERO, rounds(4, seed).take(usize::try_from(rows)?));
    let verdict = arena.finish_whole(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!(
            "{} min of 4 rigs, two hours old, at once",
            time.as_secs() / 60
        ),
        1,
    ))
}

fn five_times(task: &Task) -> anyhow::Result<Report> {
    let rows = task.times(1).min(300);
    let mut arena = Arena::start(task.setup())?;
    let batches = complete(20).take(rows).map(|batch| batch.repeat(5));
    arena.load(Duration::from_millis(50), batches);
    let verdict = arena.finish_whole(Terms::default())?;
    let (repeated, all) = (arena.ledger()?.get(Counter::Repeated), verdict.stored);
    ensure!(
        repeated >= 4 * i64::try_from(all)?,
        "{repeated} repeated readings for {all} cells"
    );
    Ok(Report::new(
        verdict,
        format!("{rows} rows of 20 rigs, every message five times, {repeated} repeated readings"),
        1,
    ))
}

fn reordering(task: &Task) -> anyhow::Result<Report> {
    const RIGS: u16 = 2;
    const MINUTE: u32 = 600;
    // Long enough that what is ten minutes late comes in between others.
    let rows = 20 * MINUTE;
    let mut rng = Rng::with_seed(task.seed);
    let mut messages: Vec<(u32, Message)> = (0..rows)
        .flat_map(|row| cells(RIGS, row))
        .map(|cell| {
            let late = if rng.u8(..100) == 0 { 10 * MINUTE } else { 0 };
            let kind = Kind::Reading;
            (cell.row + rng.u32(..MINUTE) + late, Message { cell, kind })
        })
        .collect();
    messages.sort_by_key(|(at, _)| *at);
    let messages: Vec<Message> = messages.into_iter().map(|(_, message)| message).collect();
    let batches: Vec<Batch> = messages.chunks(1_000).map(<[Message]>::to_vec).collect();
    let mut arena = Arena::start(task.setup().with("LATE_WINDOW", "60s"))?;
    arena.load(Duration::from_millis(10), batches.into_iter());
    let verdict = arena.finish_whole(Terms {
        late: true,
        ..Terms::default()
    })?;
    let readings = usize::try_from(rows)? * usize::from(RIGS) * SENSORS.len();
    ensure!(
        verdict.stored == readings,
        "{} of {readings} cells stored",
        verdict.stored
    );
    let late = arena.ledger()?.get(Counter::Late);
    // One in a hundred, each in a row of its own as a rule.
    ensure!(late > 0, "nothing came later than the window");
    Ok(Report::new(
        verdict,
        format!("{readings} readings in a wrong order, {late} rows of late ones"),
        1,
    ))
}

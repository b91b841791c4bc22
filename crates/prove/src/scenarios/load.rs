//! Too much, too late, too often, and in the wrong order.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::Role;
use fastrand::Rng;
use queue::ledger::Counter;
use queue::testing::audit::WriteLock;
use testkit::Network;

use super::SOON;
use crate::environment::{Environment, until};
use crate::message::{Cell, Kind, Message, SENSORS};
use crate::oracle::Terms;
use crate::scenario::{BOTH, Report, SERVERS, Scenario, Task};
use crate::traffic::{Batch, cells, complete, rounds};

/// What belongs here.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "overload",
        about: "ten times as much as the store takes, or a store that takes nothing: lists stay within their limits, memory flat",
        on: BOTH,
        run: overload,
    },
    Scenario {
        name: "backlog",
        about: "a long list in an order that spreads rows far apart: none is cut in pieces",
        on: SERVERS,
        run: backlog,
    },
    Scenario {
        name: "late-burst",
        about: "everything of a long outage of the devices at once",
        on: BOTH,
        run: late_burst,
    },
    Scenario {
        name: "five-times",
        about: "every message five times",
        on: BOTH,
        run: five_times,
    },
    Scenario {
        name: "reordering",
        about: "shuffled within a minute, one in a hundred ten minutes late",
        on: BOTH,
        run: reordering,
    },
];

/// Resident memory that no stage may need under overload.
const MEMORY: u64 = 128 << 20;
/// `QUEUE_LIMIT` and `BATCH` under overload.
const LIMIT: i64 = 5_000;
const BATCH: i64 = 1_000;

fn overload(task: &Task) -> anyhow::Result<Report> {
    const RIGS: u16 = 50;
    let setup = task
        .setup()
        .with("QUEUE_LIMIT", LIMIT.to_string())
        .with("BATCH", BATCH.to_string());
    let mut environment = Environment::start(setup)?;
    let brake = if environment.is_one_process() {
        // Another program that works on the file: nothing is stored.
        Some(WriteLock::take(&environment.one_process().store_file()))
    } else {
        // About 100 bytes a row of six readings: 1,500 readings a second, a tenth of the load.
        environment
            .proxies
            .store()
            .set_network(Network::Throttle(25_000));
        None
    };
    environment.load(Duration::from_millis(20), complete(RIGS));
    let time = task.seconds(15, 120);
    let seen = watch(&environment, time)?;
    let sent = environment.traffic().sent();
    if environment.is_one_process() {
        stands_still(&environment)?;
    } else {
        let accepted = environment.ledger()?.get(Counter::Accepted);
        ensure!(
            i64::try_from(sent)? > accepted + 10 * LIMIT,
            "the broker kept nothing back: {accepted} of {sent} accepted"
        );
    }
    for (name, longest) in [("raw", seen.raw), ("normalized", seen.normalized)] {
        ensure!(
            longest >= LIMIT,
            "the {name} list never was full ({longest}), so nothing was shown"
        );
        ensure!(
            longest <= LIMIT + BATCH,
            "the {name} list grew to {longest}, its limit is {LIMIT}"
        );
    }
    ensure!(seen.memory < MEMORY, "a stage needed {} bytes", seen.memory);
    match brake {
        Some(lock) => drop(lock),
        None => environment.proxies.store().set_network(Network::Ok),
    }
    let verdict = environment.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!(
            "{sent} messages in {} s; longest lists {} and {} (limit {LIMIT}, batch {BATCH}), largest process {} MiB",
            time.as_secs(),
            seen.raw,
            seen.normalized,
            seen.memory >> 20
        ),
        1,
    ))
}

/// The most that was seen.
#[derive(Debug, Default)]
struct Seen {
    raw: i64,
    normalized: i64,
    memory: u64,
}

/// Watches lists and memory for so long, from when the lists of the one process are full.
fn watch(environment: &Environment, time: Duration) -> anyhow::Result<Seen> {
    if environment.is_one_process() {
        environment.wait_for("full lists", SOON, |ledger| {
            ledger.raw >= LIMIT && ledger.normalized >= LIMIT
        })?;
    }
    let mut seen = Seen::default();
    let started = Instant::now();
    while started.elapsed() < time {
        let ledger = environment.ledger()?;
        seen.raw = seen.raw.max(ledger.raw);
        seen.normalized = seen.normalized.max(ledger.normalized);
        for (_, stage) in &environment.stages {
            seen.memory = seen.memory.max(stage.rss_bytes().unwrap_or(0));
        }
        sleep(Duration::from_millis(50));
    }
    Ok(seen)
}

/// The one process takes no more, and acknowledges no more: who publishes has to wait.
fn stands_still(environment: &Environment) -> anyhow::Result<()> {
    let now = |environment: &Environment| -> anyhow::Result<(i64, usize)> {
        let accepted = environment.ledger()?.get(Counter::Accepted);
        Ok((accepted, environment.traffic().acknowledged()))
    };
    let before = now(environment)?;
    sleep(Duration::from_secs(2));
    let after = now(environment)?;
    ensure!(
        before == after,
        "went on with full lists: accepted and acknowledged {before:?}, then {after:?}"
    );
    Ok(())
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
    let mut environment = Environment::start(setup)?;
    let transformer = Role::Transformer as usize;
    environment.stage(transformer).kill();
    let batches = (0..rows).map(|row| -> Batch {
        let mut cells: Vec<Cell> = cells(RIGS, row).collect();
        cells.sort_by_key(|cell| cell.sensor);
        let kind = Kind::Reading;
        cells
            .into_iter()
            .map(|cell| Message { cell, kind })
            .collect()
    });
    environment.load(Duration::ZERO, batches);
    until("the load is over", SOON, || environment.load_is_over())?;
    let all = i64::from(rows) * i64::from(RIGS) * 6;
    environment.wait_for("a backlog", SOON, |ledger| ledger.raw == all)?;
    // 400 ms a batch: longer than rows wait for more, unless the list goes on.
    environment.proxies.redis()[transformer]
        .set_network(Network::Delay(Duration::from_millis(100)));
    environment.respawn(transformer, None)?;
    let started = Instant::now();
    environment.wait_for("a list's end", SOON, |ledger| ledger.raw == 0)?;
    let drained = started.elapsed();
    // Else no row would have had the time to be flushed in pieces.
    ensure!(drained > Duration::from_secs(2), "through in {drained:?}");
    let verdict = environment.finish_whole(Terms {
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
    let mut environment = Environment::start(task.setup())?;
    let seed = task.seed;
    environment.load(Duration::ZERO, rounds(4, seed).take(usize::try_from(rows)?));
    let verdict = environment.finish_whole(Terms::default())?;
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
    let mut environment = Environment::start(task.setup())?;
    let batches = complete(20).take(rows).map(|batch| batch.repeat(5));
    environment.load(Duration::from_millis(50), batches);
    let verdict = environment.finish_whole(Terms::default())?;
    let (repeated, all) = (environment.ledger()?.get(Counter::Repeated), verdict.stored);
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
    let mut environment = Environment::start(task.setup().with("LATE_WINDOW", "60s"))?;
    environment.load(Duration::from_millis(10), batches.into_iter());
    let verdict = environment.finish_whole(Terms {
        late: true,
        ..Terms::default()
    })?;
    let readings = usize::try_from(rows)? * usize::from(RIGS) * SENSORS.len();
    ensure!(
        verdict.stored == readings,
        "{} of {readings} cells stored",
        verdict.stored
    );
    let late = environment.ledger()?.get(Counter::Late);
    // One in a hundred, each in a row of its own as a rule.
    ensure!(late > 0, "nothing came later than the window");
    Ok(Report::new(
        verdict,
        format!("{readings} readings in a wrong order, {late} rows of late ones"),
        1,
    ))
}

//! The load is unusual: too large, late, repeated, or out of order.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::Role;
use fastrand::Rng;
use queue::ledger::Counter;
use queue::testing::audit::WriteLock;
use testkit::Network;

use super::{TIMEOUT, report};
use crate::environment::{Environment, until};
use crate::message::{Cell, Kind, Message, SENSORS};
use crate::oracle::Expectations;
use crate::scenario::{Parameters, Report, Scenario};
use crate::traffic::{Batch, cells, complete, rounds};

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::on_both(
        "overload",
        "ten times the store's throughput, or a store that accepts nothing: lists stay within their limits, memory is bounded",
        overload,
    ),
    Scenario::on_servers(
        "backlog",
        "a long list in an order that spreads each row over many batches: every row is emitted whole",
        backlog,
    ),
    Scenario::on_both(
        "late-burst",
        "the readings of a long outage of the devices arrive at once",
        late_burst,
    ),
    Scenario::on_both("five-times", "every message is sent five times", five_times),
    Scenario::on_both(
        "reordering",
        "messages shuffled within a minute, one in a hundred ten minutes late",
        reordering,
    ),
];

/// The most resident memory of a stage under overload.
const MAX_MEMORY: u64 = 128 << 20;
/// `QUEUE_LIMIT` and `BATCH` under overload.
const LIMIT: i64 = 5_000;
const BATCH: i64 = 1_000;

fn overload(params: &Parameters) -> anyhow::Result<Report> {
    const RIGS: u16 = 50;
    let setup = params
        .setup()
        .with("QUEUE_LIMIT", LIMIT.to_string())
        .with("BATCH", BATCH.to_string());
    let mut environment = Environment::start(setup)?;
    let store_lock = if environment.is_one_process() {
        // As another program that has locked the file: nothing is stored.
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
    let time = params.duration(15, 120);
    let seen = observe(&environment, time)?;
    let sent = environment.traffic().sent();
    if environment.is_one_process() {
        ensure_stopped(&environment)?;
    } else {
        let accepted = environment.ledger()?.get(Counter::Accepted);
        ensure!(
            i64::try_from(sent)? > accepted + 10 * LIMIT,
            "too many messages accepted: {accepted} of {sent}"
        );
    }
    for (name, longest) in [("raw", seen.raw), ("normalized", seen.normalized)] {
        ensure!(
            longest >= LIMIT,
            "the {name} list was never full ({longest})"
        );
        ensure!(
            longest <= LIMIT + BATCH,
            "the {name} list grew to {longest}, its limit is {LIMIT}"
        );
    }
    ensure!(
        seen.memory < MAX_MEMORY,
        "a stage used {} bytes",
        seen.memory
    );
    match store_lock {
        Some(lock) => drop(lock),
        None => environment.proxies.store().set_network(Network::Ok),
    }
    report(
        &mut environment,
        format!(
            "{sent} messages in {} s; longest lists {} and {} (limit {LIMIT}, batch {BATCH}), largest process {} MiB",
            time.as_secs(),
            seen.raw,
            seen.normalized,
            seen.memory >> 20
        ),
        1,
    )
}

/// The maxima that were observed.
#[derive(Debug, Default)]
struct Maxima {
    raw: i64,
    normalized: i64,
    memory: u64,
}

/// Observes lists and memory for this time, which starts when the single process's lists are full.
fn observe(environment: &Environment, time: Duration) -> anyhow::Result<Maxima> {
    if environment.is_one_process() {
        environment.wait_for("full lists", TIMEOUT, |ledger| {
            ledger.raw >= LIMIT && ledger.normalized >= LIMIT
        })?;
    }
    let mut seen = Maxima::default();
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

/// The single process accepts and acknowledges no more messages.
fn ensure_stopped(environment: &Environment) -> anyhow::Result<()> {
    let now = |environment: &Environment| -> anyhow::Result<(i64, usize)> {
        let accepted = environment.ledger()?.get(Counter::Accepted);
        Ok((accepted, environment.traffic().acknowledged()))
    };
    let before = now(environment)?;
    sleep(Duration::from_secs(2));
    let after = now(environment)?;
    ensure!(
        before == after,
        "continued with full lists: accepted and acknowledged {before:?}, then {after:?}"
    );
    Ok(())
}

fn backlog(params: &Parameters) -> anyhow::Result<Report> {
    const RIGS: u16 = 300;
    let rows = u32::try_from(params.times(20).min(30))?;
    let setup = params
        .setup()
        // Several slow requests lie between taking a lease and its first renewal.
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
    until("the end of the load", TIMEOUT, || {
        environment.load_has_ended()
    })?;
    let all = i64::from(rows) * i64::from(RIGS) * 6;
    environment.wait_for("a backlog", TIMEOUT, |ledger| ledger.raw == all)?;
    // 400 ms per batch: longer than FLUSH_INTERVAL, which must not apply before the list's end.
    environment.proxies.redis()[transformer]
        .set_network(Network::Delay(Duration::from_millis(100)));
    environment.respawn(transformer, None)?;
    let started = Instant::now();
    environment.wait_for("an empty list", TIMEOUT, |ledger| ledger.raw == 0)?;
    let drained = started.elapsed();
    // Otherwise no row would have had the time to be flushed in pieces.
    ensure!(
        drained > Duration::from_secs(2),
        "drained within {drained:?}"
    );
    let findings = environment.finish_after_load(Expectations {
        whole_rows: true,
        ..Expectations::default()
    })?;
    Ok(Report::new(
        findings,
        format!(
            "{} rows, each spread over 9 batches, emitted whole; drained in {:.1} s",
            u32::from(RIGS) * rows,
            drained.as_secs_f64()
        ),
        1,
    ))
}

fn late_burst(params: &Parameters) -> anyhow::Result<Report> {
    let time = params.duration(600, 3_600);
    let rows = u32::try_from(time.as_secs() * 10)?;
    let mut environment = Environment::start(params.setup())?;
    let seed = params.seed;
    environment.load(Duration::ZERO, rounds(4, seed).take(usize::try_from(rows)?));
    let findings = environment.finish_after_load(Expectations::default())?;
    Ok(Report::new(
        findings,
        format!(
            "{} min of readings of 4 rigs, two hours old, at once",
            time.as_secs() / 60
        ),
        1,
    ))
}

fn five_times(params: &Parameters) -> anyhow::Result<Report> {
    let rows = params.times(1).min(300);
    let mut environment = Environment::start(params.setup())?;
    let batches = complete(20).take(rows).map(|batch| batch.repeat(5));
    environment.load(Duration::from_millis(50), batches);
    let findings = environment.finish_after_load(Expectations::default())?;
    let (repeated, all) = (
        environment.ledger()?.get(Counter::Repeated),
        findings.stored,
    );
    ensure!(
        repeated >= 4 * i64::try_from(all)?,
        "{repeated} repeated readings for {all} cells"
    );
    Ok(Report::new(
        findings,
        format!("{rows} rows of 20 rigs, every message five times, {repeated} repeated readings"),
        1,
    ))
}

fn reordering(params: &Parameters) -> anyhow::Result<Report> {
    const RIGS: u16 = 2;
    const MINUTE: u32 = 600;
    // Long enough that late messages arrive between others.
    let rows = 20 * MINUTE;
    let mut rng = Rng::with_seed(params.seed);
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
    let mut environment = Environment::start(params.setup().with("LATE_WINDOW", "60s"))?;
    environment.load(Duration::from_millis(10), batches.into_iter());
    let findings = environment.finish_after_load(Expectations {
        late_readings: true,
        ..Expectations::default()
    })?;
    let readings = usize::try_from(rows)? * usize::from(RIGS) * SENSORS.len();
    ensure!(
        findings.stored == readings,
        "{} of {readings} cells stored",
        findings.stored
    );
    let late = environment.ledger()?.get(Counter::Late);
    // One in a hundred, usually each in its own row.
    ensure!(late > 0, "no reading was later than the window");
    Ok(Report::new(
        findings,
        format!("{readings} readings out of order, {late} rows of late readings"),
        1,
    ))
}

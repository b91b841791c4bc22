//! The machine fails: wrong clocks, blocked log output, no file descriptors, no memory.

use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, ensure};
use common::clock::Clock;
use e2e::Role;
use queue::ledger::Counter;
use testkit::{BlockedOutput, FakeTime, mqtt_client};

use super::{RIGS, ROW_INTERVAL, TIMEOUT, report, start_loaded, start_loaded_with};
use crate::environment::{Environment, until};
use crate::message::{Kind, Message};
use crate::scenario::{Parameters, Report, Scenario};
use crate::traffic::rounds;

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::on_servers(
        "ingester-clock",
        "the ingester's clock is a day ahead, then a day behind",
        ingester_clock,
    ),
    Scenario::on_servers(
        "standby-clock",
        "standbys with clocks a day ahead take no lease",
        standby_clock,
    ),
    Scenario::on_servers(
        "redis-clock",
        "Redis's clock jumps an hour forward and back, also while a lease's holder is dead",
        redis_clock,
    ),
    Scenario::on_both(
        "blocked-log",
        "the stages' log output is never read",
        blocked_log,
    ),
    Scenario::on_both(
        "descriptors",
        "all connections break while no file descriptor is free",
        descriptors,
    ),
    Scenario::on_both(
        "memory-limit",
        "stages run out of memory and abort",
        memory_limit,
    ),
];

/// The most log lines that a stage buffers.
const BUFFERED_LINES: usize = 4_096;
const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;

fn ingester_clock(params: &Parameters) -> anyhow::Result<Report> {
    let clock = FakeTime::new();
    let mut environment = Environment::without_stages(params.setup());
    let env = clock.env();
    environment.spawn(Role::Ingester, None, &env);
    environment.spawn(Role::Transformer, None, &[]);
    environment.spawn(Role::Sink, None, &[]);
    environment.ready()?;
    environment.load(ROW_INTERVAL, rounds(RIGS, params.seed));
    for offset in [DAY, -DAY] {
        environment.wait_progress(10, TIMEOUT)?;
        clock.set(offset);
        until("the ingester reports it", TIMEOUT, || {
            environment.reports(0, "clock") && environment.reports(0, "apart")
        })?;
        // Requests in flight are done by then.
        sleep(Duration::from_secs(1));
        let before = environment.ledger()?;
        sleep(Duration::from_secs(3));
        let after = environment.ledger()?;
        for counter in [Counter::Accepted, Counter::DeadIngester] {
            ensure!(
                before.get(counter) == after.get(counter),
                "accepted a message with a wrong clock: {before:#?} {after:#?}"
            );
        }
        clock.set(0);
    }
    environment.wait_progress(100, TIMEOUT)?;
    report(
        &mut environment,
        "a day ahead and a day behind: accepted nothing, reported it, recovered",
        2,
    )
}

/// Tomorrow's date, as in log lines.
fn tomorrow() -> String {
    let time = Clock::system().now().plus(Duration::from_hours(24));
    time.to_string()[..10].to_owned()
}

fn tokens(environment: &Environment) -> Vec<String> {
    Role::ALL
        .map(|role| {
            let key = format!("rigline:rigs:consumer:{}", role.name());
            environment.chain().redis.cli(&["HGET", &key, "tokens"])
        })
        .to_vec()
}

fn standby_clock(params: &Parameters) -> anyhow::Result<Report> {
    let clock = FakeTime::new();
    clock.set(DAY);
    let env = clock.env();
    let mut environment = start_loaded(params)?;
    let before = tokens(&environment);
    let mut dates = vec![tomorrow()];
    for role in Role::ALL {
        environment.spawn(role, None, &env);
    }
    sleep(params.duration(5, 60));
    let after = tokens(&environment);
    dates.push(tomorrow());
    for (role, stage) in &mut environment.stages[3..] {
        let logs = stage.logs();
        let is_ahead = dates.iter().any(|date| logs.starts_with(date));
        ensure!(is_ahead, "the {}'s clock isn't ahead:\n{logs}", role.name());
        let status = stage.get("/readyz");
        ensure!(status.contains("\"standby\""), "{}: {status}", role.name());
        stage.terminate();
        ensure!(stage.wait_exit(Duration::from_secs(10)).is_some());
    }
    environment.stages.truncate(3);
    ensure!(
        before == after,
        "standbys took leases from their holders: {before:?} {after:?}"
    );
    report(&mut environment, "standbys a day ahead took no lease", 3)
}

/// Sets Redis's clock, and checks that Redis uses it.
fn set_redis_clock(environment: &Environment, clock: &FakeTime, offset: i64) -> anyhow::Result<()> {
    clock.set(offset);
    let time = environment.chain().redis.cli(&["TIME"]);
    let seconds: i64 = time.lines().next().unwrap_or_default().parse()?;
    let off = seconds - Clock::system().now().nanos() / 1_000_000_000;
    ensure!(
        (off - offset).abs() < 60,
        "Redis's clock is {off} s off, not {offset}"
    );
    Ok(())
}

fn redis_clock(params: &Parameters) -> anyhow::Result<Report> {
    let clock = FakeTime::new();
    let mut setup = params.setup();
    setup.redis_env = clock.env();
    let mut environment = Environment::start(setup)?;
    environment.load(ROW_INTERVAL, rounds(RIGS, params.seed));
    let mut jumps = 0;
    for _ in 0..params.times(50).min(10) {
        for offset in [HOUR, 0, -HOUR, 0] {
            set_redis_clock(&environment, &clock, offset)?;
            jumps += 1;
            sleep(Duration::from_secs(2));
            if offset == 0 {
                environment.wait_progress(10, TIMEOUT)?;
            }
        }
        // A lease's holder dies, and by Redis's clock the lease lasts an hour longer.
        for role in [Role::Transformer, Role::Sink] {
            environment.stage(role as usize).kill();
            set_redis_clock(&environment, &clock, -HOUR)?;
            environment.respawn(role as usize, None)?;
            until("the lease", Duration::from_secs(20), || {
                environment.holds_lease(role as usize)
            })
            .with_context(|| role.name())?;
            set_redis_clock(&environment, &clock, 0)?;
            jumps += 2;
            environment.wait_progress(10, TIMEOUT)?;
        }
    }
    report(&mut environment, format!("{jumps} jumps of an hour"), jumps)
}

fn blocked_log(params: &Parameters) -> anyhow::Result<Report> {
    let mut environment = Environment::without_stages(params.setup());
    let mut outputs = Vec::new();
    // The pipe is full before the stage's first line.
    let full = ["sh", "-c", r#"head -c 4096 /dev/zero && exec "$0" "$@""#];
    for role in environment.roles() {
        let env = [("RUST_LOG", "trace".to_owned())];
        let launch = environment.launch(*role, None, &env).wrapper(&full);
        let (stage, output) = launch.spawn_blocked();
        environment.stages.push((*role, stage));
        outputs.push(output);
    }
    environment.ready()?;
    // With RUST_LOG=trace the ingester logs a line for each invalid message, and the sink some 20 for
    // each write: soon more than they buffer. The transformer logs hardly anything.
    let load = rounds(RIGS, params.seed).map(|mut batch| {
        let kind = Kind::Garbled;
        let garbled: Vec<_> = batch.iter().map(|Message { cell, .. }| *cell).collect();
        batch.extend(garbled.into_iter().map(|cell| Message { cell, kind }));
        batch
    });
    environment.load(ROW_INTERVAL, load);
    let before = environment.ledger()?;
    let lines = 2 * i64::try_from(BUFFERED_LINES)?;
    let after = environment.wait_for("many lines", TIMEOUT, |ledger| {
        let since = |counter| ledger.get(counter) - before.get(counter);
        since(Counter::DeadIngester) > lines && since(Counter::RowsStored) > 1_000
    })?;
    let unread: Vec<_> = outputs.iter().map(BlockedOutput::unread).collect();
    let full = unread.iter().all(|bytes| *bytes == 4096);
    ensure!(full, "the pipes aren't full: {unread:?}");
    let lines = after.get(Counter::DeadIngester) - before.get(Counter::DeadIngester);
    // Stages also exit while their output isn't read.
    report(
        &mut environment,
        format!(
            "full pipes from the start; all stages ran on for {lines} lines of the ingester, and exited"
        ),
        outputs.len(),
    )
}

fn descriptors(params: &Parameters) -> anyhow::Result<Report> {
    let mut environment = start_loaded(params)?;
    let stages = environment.roles().len();
    let times = params.times(50).min(10);
    for _ in 0..times {
        environment.wait_progress(10, TIMEOUT)?;
        let opened = |environment: &Environment| -> Vec<u64> {
            // Without the load's, whose process has no limit.
            let proxies = environment.proxies.all().into_iter().skip(1);
            proxies.map(|(_, proxy)| proxy.connections()).collect()
        };
        for (_, stage) in &mut environment.stages {
            // The first three stay open, so that no descriptor below this is ever free.
            stage.limit_files(3);
        }
        let before = opened(&environment);
        for (_, proxy) in environment.proxies.all() {
            proxy.reset_connections();
        }
        sleep(Duration::from_secs(3));
        let now = opened(&environment);
        ensure!(now == before, "descriptors were free: {before:?}, {now:?}");
        if environment.is_one_process() {
            // The kernel accepts its connections, and the process never answers them.
            let before = environment.traffic().acknowledged();
            sleep(Duration::from_secs(1));
            let now = environment.traffic().acknowledged();
            ensure!(now == before, "a descriptor was free: {before}, {now}");
        }
        for (role, stage) in &mut environment.stages {
            ensure!(!stage.has_exited(), "the {} ended", role.name());
            stage.unlimit_files();
        }
        environment.wait_progress(100, TIMEOUT)?;
    }
    report(
        &mut environment,
        format!("{times} times no free descriptor for 3 s: no stage connected"),
        times * stages,
    )
}

fn memory_limit(params: &Parameters) -> anyhow::Result<Report> {
    // Otherwise each thread has memory in reserve, to which the limit doesn't apply.
    let mut environment = start_loaded_with(params.setup().with("MALLOC_ARENA_MAX", "1"), params)?;
    let times = params.times(20).clamp(3, 20);
    let mut aborted = 0;
    for round in 0..times {
        let index = round % environment.roles().len();
        environment.wait_progress(10, TIMEOUT)?;
        // Its memory suffices for small batches; after the freeze a large one waits.
        environment.stage(index).freeze();
        // The single process is never far behind, so it gets the largest message that it accepts.
        let publisher = environment
            .is_one_process()
            .then(|| large_message(&environment))
            .transpose()?;
        sleep(Duration::from_secs(3));
        let stage = environment.stage(index);
        // Less than it has: its next allocation fails, and it aborts.
        stage.limit_memory(1 << 20);
        stage.thaw();
        let ended = stage.wait_exit(Duration::from_secs(10));
        let logs = stage.logs();
        // A stage whose free memory suffices is killed instead.
        stage.kill();
        if let Some(mut publisher) = publisher {
            publisher.kill()?;
            publisher.wait()?;
        }
        if let Some(ended) = ended {
            let role = environment.stages[index].0.name();
            ensure!(
                !ended.success() && logs.contains("memory allocation"),
                "the {role} ended with {ended} for another reason:\n{logs}"
            );
            aborted += 1;
        }
        environment.respawn(index, None)?;
    }
    ensure!(aborted > 0, "no stage ran out of memory");
    report(
        &mut environment,
        format!("{aborted} of {times} stages ran out of memory"),
        aborted,
    )
}

/// A client that publishes a message that is too large for a reading, but not for the listener.
fn large_message(environment: &Environment) -> anyhow::Result<Child> {
    let file = environment.stages[0].1.dir().join("payload");
    std::fs::write(&file, "x".repeat(1_000_000))?;
    let mut client = mqtt_client("mosquitto_pub", environment.proxies.load.port());
    client.args(["-q", "1", "-t", "rigs/RIG-0001/measurements/pressure", "-f"]);
    Ok(client.arg(&file).stderr(Stdio::null()).spawn()?)
}

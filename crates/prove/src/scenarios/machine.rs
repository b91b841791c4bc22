//! Wrong clocks, logs that nobody reads, and too few descriptors and too little memory.

use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, ensure};
use common::clock::Clock;
use e2e::Role;
use queue::ledger::Counter;
use testkit::{BlockedOutput, FakeTime, mqtt_client};

use super::{PAUSE, RIGS, SOON, loaded, loaded_with};
use crate::environment::{Environment, until};
use crate::message::{Kind, Message};
use crate::oracle::Terms;
use crate::scenario::{BOTH, Report, SERVERS, Scenario, Task};
use crate::traffic::rounds;

/// What belongs here.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "ingester-clock",
        about: "the ingester's clock is a day ahead, then a day behind",
        on: SERVERS,
        run: ingester_clock,
    },
    Scenario {
        name: "standby-clock",
        about: "standbys whose clocks are a day ahead leave the holders one_process",
        on: SERVERS,
        run: standby_clock,
    },
    Scenario {
        name: "redis-clock",
        about: "Redis's clock jumps an hour ahead and back, also while a holder of a lease is dead",
        on: SERVERS,
        run: redis_clock,
    },
    Scenario {
        name: "blocked-log",
        about: "nobody reads what the stages log",
        on: BOTH,
        run: blocked_log,
    },
    Scenario {
        name: "descriptors",
        about: "no file descriptor is free while all connections break",
        on: BOTH,
        run: descriptors,
    },
    Scenario {
        name: "memory-limit",
        about: "stages run out of memory and die of it",
        on: BOTH,
        run: memory_limit,
    },
];

/// Log lines that a stage keeps for a reader at most.
const WAITING_LINES: usize = 4_096;
const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;

fn ingester_clock(task: &Task) -> anyhow::Result<Report> {
    let clock = FakeTime::new();
    let mut environment = Environment::without_stages(task.setup());
    let env: Vec<(String, String)> = clock.env();
    let env: Vec<(&str, String)> = env
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    environment.spawn(Role::Ingester, None, &env);
    environment.spawn(Role::Transformer, None, &[]);
    environment.spawn(Role::Sink, None, &[]);
    environment.ready()?;
    environment.load(PAUSE, rounds(RIGS, task.seed));
    for offset in [DAY, -DAY] {
        environment.wait_progress(10, SOON)?;
        clock.set(offset);
        until("the ingester says so", SOON, || {
            environment.stages[0].1.get("/readyz").contains("clock")
                && environment.stages[0].1.get("/readyz").contains("apart")
        })?;
        // What was under way is done by then.
        sleep(Duration::from_secs(1));
        let before = environment.ledger()?;
        sleep(Duration::from_secs(3));
        let after = environment.ledger()?;
        for counter in [Counter::Accepted, Counter::DeadIngester] {
            ensure!(
                before.get(counter) == after.get(counter),
                "took something with a wrong clock: {before:#?} {after:#?}"
            );
        }
        clock.set(0);
    }
    environment.wait_progress(100, SOON)?;
    let verdict = environment.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        "a day ahead and a day behind: took nothing, said why, went on".to_owned(),
        2,
    ))
}

/// A day later than today, as a log's lines begin.
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

fn standby_clock(task: &Task) -> anyhow::Result<Report> {
    let clock = FakeTime::new();
    clock.set(DAY);
    let env = clock.env();
    let env: Vec<(&str, String)> = env
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    let mut environment = loaded(task)?;
    let before = tokens(&environment);
    let mut dates = vec![tomorrow()];
    for role in Role::ALL {
        environment.spawn(role, None, &env);
    }
    sleep(task.seconds(5, 60));
    let after = tokens(&environment);
    dates.push(tomorrow());
    for (role, stage) in &mut environment.stages[3..] {
        let logs = stage.logs();
        let is_ahead = dates.iter().any(|date| logs.starts_with(date));
        ensure!(is_ahead, "the {}'s clock is right:\n{logs}", role.name());
        let said = stage.get("/readyz");
        ensure!(said.contains("\"standby\""), "{}: {said}", role.name());
        stage.terminate();
        ensure!(stage.wait_exit(Duration::from_secs(10)).is_some());
    }
    environment.stages.truncate(3);
    ensure!(
        before == after,
        "leases were taken from those who held them: {before:?} {after:?}"
    );
    let verdict = environment.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        "standbys a day ahead took no lease".to_owned(),
        3,
    ))
}

/// Sets Redis's clock and sees to it that Redis goes by it.
fn set_redis_clock(environment: &Environment, clock: &FakeTime, offset: i64) -> anyhow::Result<()> {
    clock.set(offset);
    let said = environment.chain().redis.cli(&["TIME"]);
    let seconds: i64 = said.lines().next().unwrap_or_default().parse()?;
    let off = seconds - Clock::system().now().nanos() / 1_000_000_000;
    ensure!(
        (off - offset).abs() < 60,
        "Redis's clock is {off} s off, not {offset}"
    );
    Ok(())
}

fn redis_clock(task: &Task) -> anyhow::Result<Report> {
    let clock = FakeTime::new();
    let mut setup = task.setup();
    setup.redis_env = clock.env();
    let mut environment = Environment::start(setup)?;
    environment.load(PAUSE, rounds(RIGS, task.seed));
    let mut jumps = 0;
    for _ in 0..task.times(50).min(10) {
        for offset in [HOUR, 0, -HOUR, 0] {
            set_redis_clock(&environment, &clock, offset)?;
            jumps += 1;
            sleep(Duration::from_secs(2));
            if offset == 0 {
                environment.wait_progress(10, SOON)?;
            }
        }
        // A holder dies, and its lease seems to last an hour longer.
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
            environment.wait_progress(10, SOON)?;
        }
    }
    let verdict = environment.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!("{jumps} jumps of an hour"),
        jumps,
    ))
}

fn blocked_log(task: &Task) -> anyhow::Result<Report> {
    let mut environment = Environment::without_stages(task.setup());
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
    // At its loudest the ingester logs a line for each message that is none, and the sink some 20
    // for each write: soon more than wait in memory. The transformer says hardly anything.
    let load = rounds(RIGS, task.seed).map(|mut batch| {
        let kind = Kind::Garbled;
        let garbled: Vec<_> = batch.iter().map(|Message { cell, .. }| *cell).collect();
        batch.extend(garbled.into_iter().map(|cell| Message { cell, kind }));
        batch
    });
    environment.load(PAUSE, load);
    let before = environment.ledger()?;
    let lines = 2 * i64::try_from(WAITING_LINES)?;
    let after = environment.wait_for("many lines", SOON, |ledger| {
        let since = |counter| ledger.get(counter) - before.get(counter);
        since(Counter::DeadIngester) > lines && since(Counter::RowsStored) > 1_000
    })?;
    let unread: Vec<_> = outputs.iter().map(BlockedOutput::unread).collect();
    let full = unread.iter().all(|bytes| *bytes == 4096);
    ensure!(full, "the pipes aren't full: {unread:?}");
    let lines = after.get(Counter::DeadIngester) - before.get(Counter::DeadIngester);
    // Stages end while nobody reads, too.
    let verdict = environment.finish(Terms::default())?;
    let pipes = outputs.len();
    drop(outputs);
    Ok(Report::new(
        verdict,
        format!(
            "pipes full from the start; all went on for {lines} lines of the ingester's, and ended"
        ),
        pipes,
    ))
}

fn descriptors(task: &Task) -> anyhow::Result<Report> {
    let mut environment = loaded(task)?;
    let times = task.times(50).min(10);
    for _ in 0..times {
        environment.wait_progress(10, SOON)?;
        let opened = |environment: &Environment| -> Vec<u64> {
            // Without the load's, whose process has all it wants.
            let proxies = environment.proxies.all().into_iter().skip(1);
            proxies.map(|(_, wire)| wire.connections()).collect()
        };
        for (_, stage) in &mut environment.stages {
            // The first three stay open, so that none below this is ever free.
            stage.limit_files(3);
        }
        let before = opened(&environment);
        for (_, wire) in environment.proxies.all() {
            wire.reset_connections();
        }
        sleep(Duration::from_secs(3));
        let now = opened(&environment);
        ensure!(now == before, "descriptors were free: {before:?}, {now:?}");
        if environment.is_one_process() {
            // The kernel takes its connections, and nobody greets who is there.
            let before = environment.traffic().acknowledged();
            sleep(Duration::from_secs(1));
            let now = environment.traffic().acknowledged();
            ensure!(now == before, "a descriptor was free: {before}, {now}");
        }
        for (role, stage) in &mut environment.stages {
            ensure!(!stage.has_exited(), "the {} ended", role.name());
            stage.unlimit_files();
        }
        environment.wait_progress(100, SOON)?;
    }
    let verdict = environment.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!("{times} times no descriptor for 3 s: no stage got a connection"),
        times * environment.roles().len(),
    ))
}

fn memory_limit(task: &Task) -> anyhow::Result<Report> {
    // Else each thread has room in reserve, which the limit doesn't touch.
    let mut environment = loaded_with(task.setup().with("MALLOC_ARENA_MAX", "1"), task)?;
    let times = task.times(20).clamp(3, 20);
    let mut died = 0;
    for round in 0..times {
        let place = round % environment.roles().len();
        environment.wait_progress(10, SOON)?;
        // What it has is enough for small batches. A large one waits when it wakes up.
        environment.stage(place).freeze();
        // The one process is never far behind: a message as large as it takes is what it has no room for.
        let guest = environment
            .is_one_process()
            .then(|| large_message(&environment))
            .transpose()?;
        sleep(Duration::from_secs(3));
        let stage = environment.stage(place);
        // Less than it has: the next that it asks for is refused, and it aborts.
        stage.limit_memory(1 << 20);
        stage.thaw();
        let ended = stage.wait_exit(Duration::from_secs(10));
        let logs = stage.logs();
        // One whose free memory lasts is killed instead, which is no other end.
        stage.kill();
        if let Some(mut guest) = guest {
            guest.kill()?;
            guest.wait()?;
        }
        if let Some(ended) = ended {
            let role = environment.stages[place].0.name();
            ensure!(
                !ended.success() && logs.contains("memory allocation"),
                "the {role} ended with {ended} of something else:\n{logs}"
            );
            died += 1;
        }
        environment.respawn(place, None)?;
    }
    ensure!(died > 0, "no stage died of it");
    let verdict = environment.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!("{died} of {times} stages died for want of memory"),
        died,
    ))
}

/// Somebody who publishes a message that is too large to be a reading, and not to be received.
fn large_message(environment: &Environment) -> anyhow::Result<Child> {
    let file = environment.stages[0].1.dir().join("payload");
    std::fs::write(&file, "x".repeat(1_000_000))?;
    let mut client = mqtt_client("mosquitto_pub", environment.proxies.load.port());
    client.args(["-q", "1", "-t", "rigs/RIG-0001/measurements/pressure", "-f"]);
    Ok(client.arg(&file).stderr(Stdio::null()).spawn()?)
}

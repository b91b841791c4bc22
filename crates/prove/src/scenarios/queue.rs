//! Redis killed, slow, full, emptied, and answering into the void.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use e2e::Role;
use queue::ledger::Counter;
use testkit::Network;

use super::points::write_of;
use super::{PAUSE, RIGS, SOON, loaded};
use crate::environment::{Environment, until};
use crate::oracle::{Losing, Terms};
use crate::scenario::{Report, SERVERS, Scenario, Task};
use crate::traffic::rounds;

/// What belongs here.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "redis-kills",
        about: "SIGKILL to Redis, and started again",
        on: SERVERS,
        run: kills,
    },
    Scenario {
        name: "lost-replies",
        about: "every script's answer is lost after Redis has carried it out",
        on: SERVERS,
        run: lost_replies,
    },
    Scenario {
        name: "redis-slow",
        about: "Redis stands still for longer than an answer is waited for, and is far away for a while",
        on: SERVERS,
        run: slow,
    },
    Scenario {
        name: "script-flush",
        about: "SCRIPT FLUSH over and over",
        on: SERVERS,
        run: script_flush,
    },
    Scenario {
        name: "maxmemory",
        about: "Redis at its memory limit: takes nothing new, drains, recovers by itself",
        on: SERVERS,
        run: maxmemory,
    },
    Scenario {
        name: "redis-loading",
        about: "Redis takes long to read its data after a restart",
        on: SERVERS,
        run: loading,
    },
    Scenario {
        name: "wrong-types",
        about: "each key in turn becomes one of a wrong type for a while",
        on: SERVERS,
        run: wrong_types,
    },
    Scenario {
        name: "redis-tail-cut",
        about: "the end of Redis's file is cut off while it is down: a loss that has to be noticed",
        on: SERVERS,
        run: tail_cut,
    },
    Scenario {
        name: "redis-emptied",
        about: "Redis exchanged for an empty one, and FLUSHALL: said loudly, goes on",
        on: SERVERS,
        run: emptied,
    },
];

fn kills(task: &Task) -> anyhow::Result<Report> {
    let mut environment = loaded(task)?;
    let times = task.times(10);
    for _ in 0..times {
        sleep(Duration::from_millis(environment.rng.u64(200..1_200)));
        environment.chain_mut().redis.kill();
        sleep(Duration::from_millis(environment.rng.u64(0..500)));
        environment.chain_mut().redis.restart();
        environment.wait_progress(1, SOON)?;
    }
    let verdict = environment.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!("{times} SIGKILLs of Redis"),
        times,
    ))
}

/// Renewals are the only calls of so many parts, and so are leases and releases.
const RENEW: &str = "*6\r\n$7\r\nEVALSHA";
const LEASE: &str = "*15\r\n$7\r\nEVALSHA";
const RELEASE: &str = "*5\r\n$7\r\nEVALSHA";

fn lost_replies(task: &Task) -> anyhow::Result<Report> {
    let mut environment = loaded(task)?;
    let times = u32::try_from(task.times(10))?;
    let mut cuts = 0;
    // Scripts that Redis doesn't know yet are called twice; this is about what is carried out.
    environment.stage(0).terminate();
    let exit = environment.stage(0).wait_exit(Duration::from_secs(10));
    ensure!(exit.is_some(), "the ingester doesn't stop");
    environment.respawn(0, None)?;
    for role in Role::ALL {
        for marker in [write_of(role), RENEW] {
            for _ in 0..times {
                cuts += cut_once(&environment, role, marker)?;
            }
        }
        for _ in 0..times {
            stop_unanswered(&mut environment, role, RELEASE)?;
            let wire = &environment.proxies.redis()[role as usize];
            let before = wire.cuts();
            wire.cut_reply(LEASE, 1);
            environment.respawn(role as usize, None)?;
            let wire = &environment.proxies.redis()[role as usize];
            until("a lease", SOON, || wire.cuts() > before)?;
            cuts += 2;
        }
    }
    environment.wait_progress(1, SOON)?;
    let verdict = environment.finish(Terms::default())?;
    let facts = format!("{cuts} answers lost, {times} of each script of each stage");
    Ok(Report::new(verdict, facts, usize::try_from(cuts)?))
}

/// Stops a stage that holds its lease; the answer to the marked request is lost.
fn stop_unanswered(
    environment: &mut Environment,
    role: Role,
    marker: &'static str,
) -> anyhow::Result<()> {
    until("the lease", SOON, || environment.holds_lease(role as usize))?;
    let before = environment.proxies.redis()[role as usize].cuts();
    environment.proxies.redis()[role as usize].cut_reply(marker, 1);
    environment.stage(role as usize).terminate();
    let exit = environment
        .stage(role as usize)
        .wait_exit(Duration::from_secs(10));
    ensure!(
        exit.is_some_and(|exit| exit.success())
            && environment.proxies.redis()[role as usize].cuts() > before,
        "no release of the {}:\n{}",
        role.name(),
        environment.stages[role as usize].1.logs()
    );
    Ok(())
}

fn cut_once(environment: &Environment, role: Role, marker: &'static str) -> anyhow::Result<u32> {
    let wire = &environment.proxies.redis()[role as usize];
    let before = wire.cuts();
    wire.cut_reply(marker, 1);
    until("a request to cut", SOON, || wire.cuts() > before)
        .with_context(|| format!("{} {marker:?}", role.name()))?;
    Ok(1)
}

fn slow(task: &Task) -> anyhow::Result<Report> {
    let mut environment = loaded(task)?;
    let times = task.times(100).min(10);
    for _ in 0..times {
        environment.chain_mut().redis.freeze();
        sleep(Duration::from_secs(8));
        environment.chain_mut().redis.thaw();
        environment.wait_progress(100, SOON)?;
    }
    // There and back takes a quarter of the lease.
    for wire in environment.proxies.redis() {
        wire.set_network(Network::Delay(Duration::from_millis(125)));
    }
    for role in Role::ALL {
        // Whoever takes a lease on so long a way keeps it.
        environment.stage(role as usize).kill();
        environment.respawn(role as usize, None)?;
    }
    environment.wait_progress(200, SOON)?;
    for wire in environment.proxies.redis() {
        wire.set_network(Network::Ok);
    }
    let verdict = environment.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!("{times} times 8 s without an answer; 250 ms away"),
        times,
    ))
}

fn script_flush(task: &Task) -> anyhow::Result<Report> {
    let mut environment = loaded(task)?;
    let times = task.times(1) * 3;
    for _ in 0..times {
        let _ = environment.chain().redis.cli(&["SCRIPT", "FLUSH"]);
        sleep(Duration::from_millis(5));
    }
    environment.wait_progress(1, SOON)?;
    let verdict = environment.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!("{times} times SCRIPT FLUSH"),
        times,
    ))
}

fn maxmemory(task: &Task) -> anyhow::Result<Report> {
    // The memory of emitted cells has to stay small beside the list.
    let mut environment = Environment::start(task.setup().with("LATE_WINDOW", "10s"))?;
    let transformer = Role::Transformer as usize;
    environment.load(Duration::from_millis(20), rounds(RIGS, task.seed));
    environment.wait_progress(1, SOON)?;
    let times = task.times(50).min(10);
    for _ in 0..times {
        let _ = environment
            .chain()
            .redis
            .cli(&["CONFIG", "SET", "maxmemory", "0"]);
        environment.stage(transformer).kill();
        environment.wait_for("a long list", SOON, |ledger| ledger.raw > 30_000)?;
        let memory = environment.chain().redis.cli(&["INFO", "memory"]);
        let used = memory
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"))
            .context("no used_memory")?;
        let limit = used.trim().parse::<u64>()? * 9 / 10;
        let _ = environment
            .chain()
            .redis
            .cli(&["CONFIG", "SET", "maxmemory", &limit.to_string()]);
        until("the ingester says so", SOON, || {
            environment.stages[0]
                .1
                .get("/readyz")
                .contains("memory limit")
        })?;
        let accepted = environment.ledger()?.get(Counter::Accepted);
        sleep(Duration::from_secs(1));
        ensure!(
            environment.ledger()?.get(Counter::Accepted) == accepted,
            "took more, at the limit"
        );
        environment.respawn(transformer, None)?;
        environment.wait_for("recovery", SOON, |ledger| {
            ledger.get(Counter::Accepted) > accepted + 10_000 && ledger.raw < 5_000
        })?;
    }
    let verdict = environment.finish(Terms::default())?;
    let facts = format!("{times} times at the limit, drained and recovered by itself");
    Ok(Report::new(verdict, facts, times))
}

fn loading(task: &Task) -> anyhow::Result<Report> {
    let mut environment = Environment::without_stages(task.setup());
    let wanted = task.seconds(5, 30);
    // A thousand keys that take their time.
    environment
        .chain_mut()
        .redis
        .make_loading_slow(1_000, wanted / 1_000);
    for role in Role::ALL {
        environment.spawn(role, None, &[]);
    }
    environment.ready()?;
    environment.load(PAUSE, rounds(RIGS, task.seed));
    environment.wait_progress(1, SOON)?;
    environment.chain_mut().redis.kill();
    environment.chain_mut().redis.restart_without_waiting();
    let started = Instant::now();
    for (role, stage) in &environment.stages {
        until("stages say that it is loading", SOON, || {
            stage.get("/readyz").contains("loading")
        })
        .with_context(|| role.name())?;
    }
    until("redis is done", wanted * 4 + SOON, || {
        environment.chain().redis.is_answering()
    })?;
    let took = started.elapsed();
    environment.wait_progress(100, SOON)?;
    let verdict = environment.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!("LOADING for {} s", took.as_secs()),
        1,
    ))
}

/// Puts a text in the place of a key, in one step, and what was there back.
const SPOIL: &str = "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], 'saved') end \
     return redis.call('SET', KEYS[1], 'of a wrong type')";
const MEND: &str = "redis.call('DEL', KEYS[1]) \
     if redis.call('EXISTS', 'saved') == 1 then redis.call('RENAME', 'saved', KEYS[1]) end \
     return 'OK'";

fn wrong_types(task: &Task) -> anyhow::Result<Report> {
    let mut environment = loaded(task)?;
    let keys = [
        ("raw_events", Role::Ingester),
        ("raw_events", Role::Transformer),
        ("normalized_events", Role::Transformer),
        ("normalized_events", Role::Sink),
        ("dead_letters", Role::Ingester),
        ("rigline:rigs:ledger", Role::Ingester),
        ("rigline:rigs:consumer:sink", Role::Sink),
        ("rigline:rigs:state:transformer", Role::Transformer),
    ];
    let pids: Vec<u32> = environment
        .stages
        .iter()
        .map(|(_, stage)| stage.pid())
        .collect();
    for (key, role) in keys {
        let _ = environment.chain().redis.cli(&["EVAL", SPOIL, "1", key]);
        let told = until("a stage names the key", SOON, || {
            let said = environment.stages[role as usize].1.get("/readyz");
            said.contains(key) || said.contains("WRONGTYPE")
        });
        let _ = environment.chain().redis.cli(&["EVAL", MEND, "1", key]);
        told.with_context(|| format!("{key}, {}", role.name()))?;
        environment.wait_progress(10, SOON)?;
    }
    let now: Vec<u32> = environment
        .stages
        .iter()
        .map(|(_, stage)| stage.pid())
        .collect();
    ensure!(pids == now, "a stage ended");
    let verdict = environment.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!("{} keys", keys.len()),
        keys.len(),
    ))
}

/// Resets that the stages have counted.
fn resets(environment: &Environment) -> u64 {
    let counted = environment.stages.iter().map(|(_, stage)| {
        let metrics = stage.get("/metrics");
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("rigline_queue_resets_total "));
        line.and_then(|value| value.parse().ok()).unwrap_or(0)
    });
    counted.sum()
}

fn tail_cut(task: &Task) -> anyhow::Result<Report> {
    let mut environment = loaded(task)?;
    let times = task.times(20);
    let mut noticed = 0;
    for _ in 0..times {
        sleep(Duration::from_millis(environment.rng.u64(500..1_500)));
        let before = resets(&environment);
        environment.chain_mut().redis.kill();
        let bytes = environment.rng.u64(1..200);
        let _ = environment.chain().redis.cut_aof_tail(bytes);
        // As README says: Redis itself would bring half of a torn transaction back at its next start.
        environment.chain().redis.mend_aof();
        environment.chain_mut().redis.restart();
        environment.wait_progress(100, SOON)?;
        noticed += usize::from(resets(&environment) > before);
    }
    let terms = Terms {
        losing: Losing::Queue,
        ..Terms::default()
    };
    let verdict = environment.finish(terms)?;
    ensure!(
        verdict.lost_by_queue == 0 || noticed > 0,
        "{} readings were lost and nobody noticed",
        verdict.lost_by_queue
    );
    let facts = format!("{times} tails cut off, {noticed} of these losses said by a stage");
    Ok(Report::new(verdict, facts, times))
}

fn emptied(task: &Task) -> anyhow::Result<Report> {
    let mut environment = loaded(task)?;
    let mut back = 0;
    for way in ["exchanged", "flushed"] {
        environment.wait_progress(200, SOON)?;
        // So that a stage has seen what there was.
        sleep(Duration::from_secs(1));
        if way == "exchanged" {
            environment.chain_mut().redis.restart_without_data();
        } else {
            let _ = environment.chain().redis.cli(&["FLUSHALL"]);
        }
        for (role, stage) in &environment.stages {
            until("every stage says so", SOON, || {
                stage
                    .logs()
                    .matches("was flushed, emptied, put back")
                    .count()
                    >= if way == "exchanged" { 1 } else { 2 }
            })
            .with_context(|| format!("{}, {way}", role.name()))?;
        }
        back = environment.traffic().sent();
        environment.wait_progress(200, SOON)?;
    }
    let counted = resets(&environment);
    ensure!(
        counted == 6,
        "counted {counted} times instead of once by each stage for each way"
    );
    let terms = Terms {
        losing: Losing::Queue,
        ..Terms::default()
    };
    let verdict = environment.finish(terms)?;
    ensure!(
        verdict.last_lost.is_none_or(|place| place < back),
        "lost something after it was back: {:?} of {back}",
        verdict.last_lost
    );
    let facts =
        "exchanged and flushed; each stage said so with the last totals and went on".to_owned();
    Ok(Report::new(verdict, facts, 2))
}

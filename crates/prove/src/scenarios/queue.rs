//! Redis fails: killed, slow, full, emptied, or its replies are lost.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use e2e::Role;
use queue::ledger::Counter;
use testkit::{Network, StageProcess};

use super::points::write_marker;
use super::{RIGS, ROW_INTERVAL, TIMEOUT, report, start_loaded};
use crate::environment::{Environment, until};
use crate::oracle::{AllowedLoss, Expectations};
use crate::scenario::{Parameters, Report, Scenario};
use crate::traffic::rounds;

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::on_servers("redis-kills", "Redis is killed and restarted", kills),
    Scenario::on_servers(
        "lost-replies",
        "the reply of every script is lost after Redis has carried it out",
        lost_replies,
    ),
    Scenario::on_servers(
        "redis-slow",
        "Redis freezes for longer than the timeout of requests, then replies with a delay",
        slow,
    ),
    Scenario::on_servers("script-flush", "SCRIPT FLUSH over and over", script_flush),
    Scenario::on_servers(
        "maxmemory",
        "Redis at its memory limit accepts nothing new, is drained, and recovers by itself",
        maxmemory,
    ),
    Scenario::on_servers(
        "redis-loading",
        "Redis loads its data slowly after a restart",
        loading,
    ),
    Scenario::on_servers(
        "wrong-types",
        "each key in turn has a wrong type for a while",
        wrong_types,
    ),
    Scenario::on_servers(
        "redis-tail-cut",
        "the end of Redis's file is cut off while it is down: a loss that has to be detected",
        tail_cut,
    ),
    Scenario::on_servers(
        "redis-emptied",
        "Redis loses its data, and FLUSHALL: the stages log an error and continue",
        emptied,
    ),
];

fn kills(params: &Parameters) -> anyhow::Result<Report> {
    let mut environment = start_loaded(params)?;
    let times = params.times(10);
    for _ in 0..times {
        sleep(Duration::from_millis(environment.rng.u64(200..1_200)));
        environment.chain_mut().redis.kill();
        sleep(Duration::from_millis(environment.rng.u64(0..500)));
        environment.chain_mut().redis.restart();
        environment.wait_progress(1, TIMEOUT)?;
    }
    report(
        &mut environment,
        format!("{times} SIGKILLs of Redis"),
        times,
    )
}

/// Markers of renewals, leases and releases: only they have this number of arguments.
const RENEW: &str = "*6\r\n$7\r\nEVALSHA";
const LEASE: &str = "*16\r\n$7\r\nEVALSHA";
const RELEASE: &str = "*5\r\n$7\r\nEVALSHA";

fn lost_replies(params: &Parameters) -> anyhow::Result<Report> {
    let mut environment = start_loaded(params)?;
    let times = u32::try_from(params.times(10))?;
    let mut cuts = 0;
    // A script that Redis doesn't know yet is called twice, and only the second call counts.
    environment.stop(0)?;
    environment.respawn(0, None)?;
    for role in Role::ALL {
        for marker in [write_marker(role), RENEW] {
            for _ in 0..times {
                cuts += cut_once(&environment, role, marker)?;
            }
        }
        for _ in 0..times {
            stop_with_cut_reply(&mut environment, role, RELEASE)?;
            let proxy = &environment.proxies.redis()[role as usize];
            let before = proxy.cuts();
            proxy.cut_reply(LEASE, 1);
            environment.respawn(role as usize, None)?;
            let proxy = &environment.proxies.redis()[role as usize];
            until("a lease", TIMEOUT, || proxy.cuts() > before)?;
            cuts += 2;
        }
    }
    environment.wait_progress(1, TIMEOUT)?;
    let summary = format!("{cuts} replies lost, {times} of each script of each stage");
    report(&mut environment, summary, usize::try_from(cuts)?)
}

/// Stops a stage that holds its lease; the reply to the request with this marker is lost.
fn stop_with_cut_reply(
    environment: &mut Environment,
    role: Role,
    marker: &'static str,
) -> anyhow::Result<()> {
    until("the lease", TIMEOUT, || {
        environment.holds_lease(role as usize)
    })?;
    let before = environment.proxies.redis()[role as usize].cuts();
    environment.proxies.redis()[role as usize].cut_reply(marker, 1);
    environment.stop(role as usize)?;
    ensure!(
        environment.proxies.redis()[role as usize].cuts() > before,
        "the {} didn't release its lease:\n{}",
        role.name(),
        environment.stages[role as usize].1.logs()
    );
    Ok(())
}

fn cut_once(environment: &Environment, role: Role, marker: &'static str) -> anyhow::Result<u32> {
    let proxy = &environment.proxies.redis()[role as usize];
    let before = proxy.cuts();
    proxy.cut_reply(marker, 1);
    until("a request to cut", TIMEOUT, || proxy.cuts() > before)
        .with_context(|| format!("{} {marker:?}", role.name()))?;
    Ok(1)
}

fn slow(params: &Parameters) -> anyhow::Result<Report> {
    let mut environment = start_loaded(params)?;
    let times = params.times(100).min(10);
    for _ in 0..times {
        environment.chain_mut().redis.freeze();
        sleep(Duration::from_secs(8));
        environment.chain_mut().redis.thaw();
        environment.wait_progress(100, TIMEOUT)?;
    }
    // A round trip takes a quarter of the lease.
    for proxy in environment.proxies.redis() {
        proxy.set_network(Network::Delay(Duration::from_millis(125)));
    }
    for role in Role::ALL {
        // A stage has to keep a lease that it takes with this delay.
        environment.stage(role as usize).kill();
        environment.respawn(role as usize, None)?;
    }
    environment.wait_progress(200, TIMEOUT)?;
    for proxy in environment.proxies.redis() {
        proxy.set_network(Network::Ok);
    }
    report(
        &mut environment,
        format!("{times} times no reply for 8 s; then 250 ms per round trip"),
        times,
    )
}

fn script_flush(params: &Parameters) -> anyhow::Result<Report> {
    let mut environment = start_loaded(params)?;
    let times = params.times(1) * 3;
    for _ in 0..times {
        let _ = environment.chain().redis.cli(&["SCRIPT", "FLUSH"]);
        sleep(Duration::from_millis(5));
    }
    environment.wait_progress(1, TIMEOUT)?;
    report(
        &mut environment,
        format!("{times} times SCRIPT FLUSH"),
        times,
    )
}

fn maxmemory(params: &Parameters) -> anyhow::Result<Report> {
    // The state has to stay small compared to the list.
    let mut environment = Environment::start(params.setup().with("LATE_WINDOW", "10s"))?;
    let transformer = Role::Transformer as usize;
    environment.load(Duration::from_millis(20), rounds(RIGS, params.seed));
    environment.wait_progress(1, TIMEOUT)?;
    let times = params.times(50).min(10);
    for _ in 0..times {
        let _ = environment
            .chain()
            .redis
            .cli(&["CONFIG", "SET", "maxmemory", "0"]);
        environment.stage(transformer).kill();
        environment.wait_for("a long list", TIMEOUT, |ledger| ledger.raw > 30_000)?;
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
        until("the ingester reports it", TIMEOUT, || {
            environment.reports(0, "memory limit")
        })?;
        let accepted = environment.ledger()?.get(Counter::Accepted);
        sleep(Duration::from_secs(1));
        ensure!(
            environment.ledger()?.get(Counter::Accepted) == accepted,
            "accepted more at the limit"
        );
        environment.respawn(transformer, None)?;
        environment.wait_for("recovery", TIMEOUT, |ledger| {
            ledger.get(Counter::Accepted) > accepted + 10_000 && ledger.raw < 5_000
        })?;
    }
    let summary = format!("{times} times at the limit, drained and recovered by itself");
    report(&mut environment, summary, times)
}

fn loading(params: &Parameters) -> anyhow::Result<Report> {
    let mut environment = Environment::without_stages(params.setup());
    let wanted = params.duration(5, 30);
    // A thousand keys that load slowly.
    environment
        .chain_mut()
        .redis
        .make_loading_slow(1_000, wanted / 1_000);
    for role in Role::ALL {
        environment.spawn(role, None, &[]);
    }
    environment.ready()?;
    environment.load(ROW_INTERVAL, rounds(RIGS, params.seed));
    environment.wait_progress(1, TIMEOUT)?;
    environment.chain_mut().redis.kill();
    environment.chain_mut().redis.restart_without_waiting();
    let started = Instant::now();
    for (role, stage) in &environment.stages {
        until("stages report that it is loading", TIMEOUT, || {
            stage.get("/readyz").contains("loading")
        })
        .with_context(|| role.name())?;
    }
    until("Redis has loaded", wanted * 4 + TIMEOUT, || {
        environment.chain().redis.is_answering()
    })?;
    let took = started.elapsed();
    environment.wait_progress(100, TIMEOUT)?;
    report(
        &mut environment,
        format!("LOADING for {} s", took.as_secs()),
        1,
    )
}

/// Replaces the value of a key by a string, atomically.
const REPLACE_KEY: &str = "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], 'saved') end \
     return redis.call('SET', KEYS[1], 'of a wrong type')";
/// Restores the value that [`REPLACE_KEY`] has replaced.
const RESTORE_KEY: &str = "redis.call('DEL', KEYS[1]) \
     if redis.call('EXISTS', 'saved') == 1 then redis.call('RENAME', 'saved', KEYS[1]) end \
     return 'OK'";

fn wrong_types(params: &Parameters) -> anyhow::Result<Report> {
    let mut environment = start_loaded(params)?;
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
        let _ = environment
            .chain()
            .redis
            .cli(&["EVAL", REPLACE_KEY, "1", key]);
        let reported = until("a stage reports the key", TIMEOUT, || {
            let status = environment.stages[role as usize].1.get("/readyz");
            status.contains(key) || status.contains("WRONGTYPE")
        });
        let _ = environment
            .chain()
            .redis
            .cli(&["EVAL", RESTORE_KEY, "1", key]);
        reported.with_context(|| format!("{key}, {}", role.name()))?;
        environment.wait_progress(10, TIMEOUT)?;
    }
    let now: Vec<u32> = environment
        .stages
        .iter()
        .map(|(_, stage)| stage.pid())
        .collect();
    ensure!(pids == now, "a stage ended");
    report(&mut environment, format!("{} keys", keys.len()), keys.len())
}

/// The number of resets that the stages have counted.
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

fn tail_cut(params: &Parameters) -> anyhow::Result<Report> {
    let mut environment = start_loaded(params)?;
    let times = params.times(20);
    let mut detected = 0;
    for _ in 0..times {
        sleep(Duration::from_millis(environment.rng.u64(500..1_500)));
        let before = resets(&environment);
        environment.chain_mut().redis.kill();
        let bytes = environment.rng.u64(1..200);
        let _ = environment.chain().redis.cut_aof_tail(bytes);
        // As the documentation says: Redis itself would carry out half of a torn transaction.
        environment.chain().redis.repair_aof();
        environment.chain_mut().redis.restart();
        environment.wait_progress(100, TIMEOUT)?;
        detected += usize::from(resets(&environment) > before);
    }
    let expectations = Expectations {
        allowed_loss: AllowedLoss::Queue,
        ..Expectations::default()
    };
    let findings = environment.finish(expectations)?;
    ensure!(
        findings.lost_by_queue == 0 || detected > 0,
        "{} readings were lost and no stage detected it",
        findings.lost_by_queue
    );
    let summary = format!("{times} tails cut off, {detected} of these losses reported by a stage");
    Ok(Report::new(findings, summary, times))
}

fn emptied(params: &Parameters) -> anyhow::Result<Report> {
    let mut environment = start_loaded(params)?;
    let mut recovered_at = 0;
    for event in ["emptied", "flushed"] {
        environment.wait_progress(200, TIMEOUT)?;
        // So that every stage has read the ledger before.
        sleep(Duration::from_secs(1));
        let logged = |stage: &StageProcess| {
            let logs = stage.logs();
            logs.matches("was flushed, emptied, restored").count()
        };
        let stages = environment.stages.iter();
        let before: Vec<usize> = stages.map(|(_, stage)| logged(stage)).collect();
        if event == "emptied" {
            environment.chain_mut().redis.restart_without_data();
        } else {
            let _ = environment.chain().redis.cli(&["FLUSHALL"]);
        }
        for ((role, stage), before) in environment.stages.iter().zip(before) {
            until("every stage logs it", TIMEOUT, || logged(stage) > before)
                .with_context(|| format!("{}, {event}", role.name()))?;
        }
        recovered_at = environment.traffic().sent();
        environment.wait_progress(200, TIMEOUT)?;
    }
    let counted = resets(&environment);
    // By each of three stages for each of two events: one for the new instance, and another if the stage
    // was committing and its commit number went back.
    ensure!(
        (6..=12).contains(&counted),
        "{counted} resets counted instead of 6 to 12"
    );
    let expectations = Expectations {
        allowed_loss: AllowedLoss::Queue,
        ..Expectations::default()
    };
    let findings = environment.finish(expectations)?;
    ensure!(
        findings.last_lost.is_none_or(|index| index < recovered_at),
        "lost a reading after Redis was back: {:?} of {recovered_at}",
        findings.last_lost
    );
    let summary = "emptied and flushed; each stage logged it with the last totals and continued";
    Ok(Report::new(findings, summary, 2))
}

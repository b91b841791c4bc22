//! Processes are frozen, absent, stopped and replaced by standbys.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::ensure;
use common::faults::Point;
use e2e::Role;
use queue::ledger::Counter;

use super::points::{occurrence, points};
use super::{RIGS, ROW_INTERVAL, TIMEOUT, report, start_loaded};
use crate::environment::{Environment, StopAt, until};
use crate::oracle::Expectations;
use crate::scenario::{Parameters, Report, Scenario};
use crate::traffic::rounds;

/// The scenarios of this module.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::on_both(
        "stalls",
        "SIGSTOP at every point for longer than the lease; a standby takes over, if there is one, and the stage resumes",
        stalls,
    ),
    Scenario::on_both(
        "absence",
        "all replicas of a stage, or the single process, are absent for a while",
        absence,
    ),
    Scenario::on_both("stops", "SIGTERM and restart under load", stops),
    Scenario::on_servers(
        "takeover",
        "a standby takes over within LEASE + 1 s after a kill, and at once after SIGTERM",
        takeover,
    ),
];

fn stalls(params: &Parameters) -> anyhow::Result<Report> {
    let mut environment = Environment::start(params.setup().with("LEASE", "500ms"))?;
    if !environment.is_one_process() {
        for role in Role::ALL {
            environment.spawn(role, None, &[]);
        }
    }
    environment.ready()?;
    environment.load(ROW_INTERVAL, rounds(RIGS, params.seed));
    let mut hit: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for round in 0..params.times(8) {
        let roles = environment.roles();
        let (frozen, role) = (round % roles.len(), roles[round % roles.len()]);
        // In every other round the stage resumes when the standby has taken the lease and done nothing
        // else, so that its commit is refused for its token alone.
        let early = matches!(role, Role::Transformer | Role::Sink) && round / 3 % 2 == 0;
        let points = points(role);
        let point = if early {
            Point::BeforeCommit
        } else {
            points[environment.rng.usize(..points.len())]
        };
        let stop = StopAt {
            point,
            signal: "stop",
            occurrence: occurrence(role, point, &mut environment.rng),
        };
        environment.stage(frozen).kill();
        if !environment.is_one_process() {
            environment.stage(frozen + 3).kill();
        }
        environment.respawn(frozen, Some(stop))?;
        until("the stage freezes", Duration::from_secs(20), || {
            environment.stages[frozen].1.is_stopped()
        })?;
        *hit.entry((role.name(), stop.point.name())).or_default() += 1;
        resume_after_lease(&mut environment, frozen, early)?;
        sleep(Duration::from_millis(environment.rng.u64(100..600)));
    }
    let stalls: usize = hit.values().sum();
    report(
        &mut environment,
        format!("{stalls} stalls beyond the lease, at {} points", hit.len()),
        stalls,
    )
}

/// Resumes the stage at this index when its lease has expired and the standby, if any, has taken it.
fn resume_after_lease(
    environment: &mut Environment,
    frozen: usize,
    early: bool,
) -> anyhow::Result<()> {
    let standby = frozen + 3;
    // Two leases of this scenario.
    let expiry = Duration::from_millis(1_000 + environment.rng.u64(0..800));
    if environment.is_one_process() {
        sleep(expiry);
        environment.stage(frozen).thaw();
        // Its pending commit is refused, and it takes its lease again.
        return environment.wait_progress(1, Duration::from_secs(30));
    }
    if early {
        let taken = StopAt {
            point: Point::AfterLease,
            signal: "stop",
            occurrence: 1,
        };
        environment.respawn(standby, Some(taken))?;
        until("a takeover", Duration::from_secs(20), || {
            environment.stages[standby].1.is_stopped()
        })?;
        environment.stage(frozen).thaw();
        sleep(Duration::from_millis(100));
        environment.stage(standby).thaw();
    } else {
        environment.respawn(standby, None)?;
        sleep(expiry);
        environment.wait_progress(1, Duration::from_secs(30))?;
        environment.stage(frozen).thaw();
    }
    Ok(())
}

fn absence(params: &Parameters) -> anyhow::Result<Report> {
    let mut environment = start_loaded(params)?;
    let absence = params.duration(5, 60);
    let roles = environment.roles();
    for index in 0..roles.len() {
        sleep(Duration::from_secs(1));
        environment.stage(index).kill();
        sleep(absence);
        environment.respawn(index, None)?;
        environment.wait_progress(100, TIMEOUT)?;
    }
    let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
    let (names, seconds) = (names.join(", "), absence.as_secs());
    let summary = format!("{names} absent for {seconds} s each");
    report(&mut environment, summary, roles.len())
}

fn stops(params: &Parameters) -> anyhow::Result<Report> {
    let mut environment = start_loaded(params)?;
    let roles = environment.roles();
    let times = params.times(20) * roles.len();
    for round in 0..times {
        let index = round % roles.len();
        sleep(Duration::from_millis(environment.rng.u64(100..1_500)));
        environment.stop(index)?;
        environment.respawn(index, None)?;
        environment.wait_progress(10, TIMEOUT)?;
    }
    report(
        &mut environment,
        format!("{times} times SIGTERM with exit code 0, and restarted"),
        times,
    )
}

fn takeover(params: &Parameters) -> anyhow::Result<Report> {
    let lease = Duration::from_secs(3);
    let mut environment = Environment::start(params.setup().with("LEASE", "3s"))?;
    for role in Role::ALL {
        environment.spawn(role, None, &[]);
    }
    environment.ready()?;
    environment.load(ROW_INTERVAL, rounds(RIGS, params.seed));
    let (mut slowest_kill, mut slowest_stop) = (Duration::ZERO, Duration::ZERO);
    let mut holder = [0, 1, 2];
    let rounds = params.times(50);
    for round in 0..rounds * 3 {
        let role = Role::ALL[round % 3];
        let held = holder[role as usize];
        let other = if held < 3 { held + 3 } else { held - 3 };
        until("a standby", Duration::from_secs(20), || {
            environment.reports(other, "\"standby\"")
        })?;
        let is_kill = round / 3 % 2 == 0;
        if is_kill {
            environment.stage(held).kill();
        } else {
            environment.stop(held)?;
        }
        let ended = Instant::now();
        until("a takeover", Duration::from_secs(20), || {
            environment.holds_lease(other)
        })?;
        let took = ended.elapsed();
        if is_kill {
            slowest_kill = slowest_kill.max(took);
        } else {
            slowest_stop = slowest_stop.max(took);
        }
        holder[role as usize] = other;
        environment.respawn(held, None)?;
    }
    let stored = environment.ledger()?.get(Counter::RowsStored);
    ensure!(stored > 0, "nothing was stored");
    let findings = environment.finish(Expectations::default())?;
    ensure!(
        slowest_kill <= lease + Duration::from_secs(1),
        "took over {slowest_kill:?} after a kill"
    );
    ensure!(
        slowest_stop <= Duration::from_secs(1),
        "took over {slowest_stop:?} after SIGTERM"
    );
    Ok(Report::new(
        findings,
        format!(
            "{} takeovers; the slowest {:.1} s after a kill (LEASE 3 s), {:.2} s after SIGTERM",
            rounds * 3,
            slowest_kill.as_secs_f64(),
            slowest_stop.as_secs_f64()
        ),
        rounds * 3,
    ))
}

//! Processes that are frozen, away, stopped, and replaced.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::ensure;
use common::faults::Point;
use e2e::Role;
use queue::ledger::Counter;

use super::points::{points, times};
use super::{PAUSE, RIGS, SOON, loaded};
use crate::environment::{Environment, Stop, until};
use crate::oracle::Terms;
use crate::scenario::{BOTH, Report, SERVERS, Scenario, Task};
use crate::traffic::rounds;

/// What belongs here.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "stalls",
        about: "SIGSTOP at every point for longer than the lease; a standby takes over, if there can be one, and the sleeper wakes up",
        on: BOTH,
        run: stalls,
    },
    Scenario {
        name: "absence",
        about: "all replicas of a stage, or the one process, are gone for a while",
        on: BOTH,
        run: absence,
    },
    Scenario {
        name: "stops",
        about: "SIGTERM under load, and started again",
        on: BOTH,
        run: stops,
    },
    Scenario {
        name: "takeover",
        about: "a standby takes over within LEASE + 1 s after a kill, and at once after SIGTERM",
        on: SERVERS,
        run: takeover,
    },
];

fn stalls(task: &Task) -> anyhow::Result<Report> {
    let mut environment = Environment::start(task.setup().with("LEASE", "500ms"))?;
    if !environment.is_one_process() {
        for role in Role::ALL {
            environment.spawn(role, None, &[]);
        }
    }
    environment.ready()?;
    environment.load(PAUSE, rounds(RIGS, task.seed));
    let mut hit: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for round in 0..task.times(8) {
        let roles = environment.roles();
        let (sleeper, role) = (round % roles.len(), roles[round % roles.len()]);
        // Every other time the sleeper wakes up while the other has the lease and nothing more: its
        // commit is refused for its token, and for nothing else.
        let early = matches!(role, Role::Transformer | Role::Sink) && round / 3 % 2 == 0;
        let points = points(role);
        let point = if early {
            Point::BeforeCommit
        } else {
            points[environment.rng.usize(..points.len())]
        };
        let stop = Stop {
            point,
            how: "stop",
            time: times(role, point, &mut environment.rng),
        };
        environment.stage(sleeper).kill();
        if !environment.is_one_process() {
            environment.stage(sleeper + 3).kill();
        }
        environment.respawn(sleeper, Some(stop))?;
        until("the sleeper falls asleep", Duration::from_secs(20), || {
            environment.stages[sleeper].1.is_stopped()
        })?;
        *hit.entry((role.name(), stop.point.name())).or_default() += 1;
        sleep_and_wake(&mut environment, sleeper, early)?;
        sleep(Duration::from_millis(environment.rng.u64(100..600)));
    }
    let verdict = environment.finish(Terms::default())?;
    let stalls: usize = hit.values().sum();
    Ok(Report::new(
        verdict,
        format!("{stalls} stalls beyond the lease, at {} points", hit.len()),
        stalls,
    ))
}

/// Lets the stage at this place sleep until its lease is over, and another has it if there is one.
fn sleep_and_wake(
    environment: &mut Environment,
    sleeper: usize,
    early: bool,
) -> anyhow::Result<()> {
    let standby = sleeper + 3;
    // Two leases of the stalls.
    let over = Duration::from_millis(1_000 + environment.rng.u64(0..800));
    if environment.is_one_process() {
        sleep(over);
        environment.stage(sleeper).thaw();
        // Nobody took over: what it had in hand is refused, and it takes its lease anew.
        return environment.wait_progress(1, Duration::from_secs(30));
    }
    if early {
        let taken = Stop {
            point: Point::AfterLease,
            how: "stop",
            time: 1,
        };
        environment.respawn(standby, Some(taken))?;
        until("a takeover", Duration::from_secs(20), || {
            environment.stages[standby].1.is_stopped()
        })?;
        environment.stage(sleeper).thaw();
        sleep(Duration::from_millis(100));
        environment.stage(standby).thaw();
    } else {
        environment.respawn(standby, None)?;
        sleep(over);
        environment.wait_progress(1, Duration::from_secs(30))?;
        environment.stage(sleeper).thaw();
    }
    Ok(())
}

fn absence(task: &Task) -> anyhow::Result<Report> {
    let mut environment = loaded(task)?;
    let away = task.seconds(5, 60);
    let roles = environment.roles();
    for place in 0..roles.len() {
        sleep(Duration::from_secs(1));
        environment.stage(place).kill();
        sleep(away);
        environment.respawn(place, None)?;
        environment.wait_progress(100, SOON)?;
    }
    let verdict = environment.finish(Terms::default())?;
    let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
    Ok(Report::new(
        verdict,
        format!("{} away for {} s each", names.join(", "), away.as_secs()),
        roles.len(),
    ))
}

fn stops(task: &Task) -> anyhow::Result<Report> {
    let mut environment = loaded(task)?;
    let roles = environment.roles();
    let times = task.times(20) * roles.len();
    for round in 0..times {
        let place = round % roles.len();
        sleep(Duration::from_millis(environment.rng.u64(100..1_500)));
        environment.stage(place).terminate();
        let stage = environment.stage(place);
        let exit = stage.wait_exit(Duration::from_secs(20));
        ensure!(
            exit.is_some_and(|exit| exit.success()),
            "the {} ended with {exit:?}:\n{}",
            roles[place].name(),
            stage.logs()
        );
        environment.respawn(place, None)?;
        environment.wait_progress(10, SOON)?;
    }
    let verdict = environment.finish(Terms::default())?;
    Ok(Report::new(
        verdict,
        format!("{times} times SIGTERM, ended well, and went on"),
        times,
    ))
}

fn takeover(task: &Task) -> anyhow::Result<Report> {
    let lease = Duration::from_secs(3);
    let mut environment = Environment::start(task.setup().with("LEASE", "3s"))?;
    for role in Role::ALL {
        environment.spawn(role, None, &[]);
    }
    environment.ready()?;
    environment.load(PAUSE, rounds(RIGS, task.seed));
    let (mut slowest_kill, mut slowest_stop) = (Duration::ZERO, Duration::ZERO);
    let mut holder = [0, 1, 2];
    let rounds = task.times(50);
    for round in 0..rounds * 3 {
        let role = Role::ALL[round % 3];
        let held = holder[role as usize];
        let other = if held < 3 { held + 3 } else { held - 3 };
        until("a standby", Duration::from_secs(20), || {
            environment.stages[other]
                .1
                .get("/readyz")
                .contains("\"standby\"")
        })?;
        let is_kill = round / 3 % 2 == 0;
        if is_kill {
            environment.stage(held).kill();
        } else {
            environment.stage(held).terminate();
            let exit = environment.stage(held).wait_exit(Duration::from_secs(10));
            ensure!(exit.is_some(), "the {} doesn't stop", role.name());
        }
        let gone = Instant::now();
        until("a takeover", Duration::from_secs(20), || {
            environment.holds_lease(other)
        })?;
        let took = gone.elapsed();
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
    let verdict = environment.finish(Terms::default())?;
    ensure!(
        slowest_kill <= lease + Duration::from_secs(1),
        "took over {slowest_kill:?} after a kill"
    );
    ensure!(
        slowest_stop <= Duration::from_secs(1),
        "took over {slowest_stop:?} after SIGTERM"
    );
    Ok(Report::new(
        verdict,
        format!(
            "{} takeovers; the slowest {:.1} s after a kill (LEASE 3 s), {:.2} s after SIGTERM",
            rounds * 3,
            slowest_kill.as_secs_f64(),
            slowest_stop.as_secs_f64()
        ),
        rounds * 3,
    ))
}
